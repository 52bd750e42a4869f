"""What a story says about other stories: depends on, blocks, related."""

from __future__ import annotations

from dataclasses import dataclass, field

from auto_dev.stories import ids, keys, values
from auto_dev.stories.yamltree import Map, Node, Seq, flat, is_null, merged


@dataclass(slots=True)
class Links:
    """Ids by relation, with the notes written beside them."""

    depends_on: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    related: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add(self, key: str, node: Node) -> None:
        """Take over all ids in ``node``; a map may itself say depends_on, blocked_by, blocks, related."""
        if isinstance(node, Map):
            for name, value, _ in merged(node):
                relation = keys.known(name)
                if relation in keys.DEPENDENCIES:
                    self.add(relation, value)
                elif ids.leading(name) == name:
                    self._ids(key, f"{name} ({flat(value)})" if flat(value) else name)
                elif not values.is_nothing(flat(value)):
                    self.unknown.append(f"{name}: {flat(value)}")
        elif isinstance(node, Seq):
            for item in node.items:
                self._item(key, item)
        elif not is_null(node):
            self._ids(key, node.text)

    def _item(self, key: str, item: Node) -> None:
        if not isinstance(item, Map):
            self.add(key, item)
            return
        pairs = {name.casefold(): value for name, value, _ in merged(item)}
        own = next((pairs[name] for name in ("id", "story", "story_id", "task", "ref", "name") if name in pairs), None)
        if own is None:
            self.add(key, item)
            return
        rest = "; ".join(f"{name}: {flat(value)}" for name, value in pairs.items() if value is not own and flat(value))
        self._ids(key, f"{flat(own)} ({rest})" if rest else flat(own))

    def _ids(self, key: str, text: str) -> None:
        read = values.dependencies(text)
        target = {"blocks": self.blocks, "related": self.related}.get(key, self.depends_on)
        target += [found for found in read.ids if found not in target]
        self.notes += [f"{key}: {note}" for note in read.notes]
