"""From stated fields to a story: every field normalised, everything else kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from auto_dev import text as texts
from auto_dev.model import FileStatus
from auto_dev.stories import bullets, criteria, ids, keys, status, values
from auto_dev.stories.frontmatter import Field
from auto_dev.stories.links import Links
from auto_dev.stories.model import Problem, Story
from auto_dev.stories.problems import error, warning
from auto_dev.stories.yamltree import Map, Node, Scalar, Seq, flat, is_null, merged, typed

_TEXT_KEYS: Final = ("text", "criterion", "description", "statement", "title", "name")
_MANY: Final = 20  # warnings of one kind for one story
_UNDERWAY: Final = "Set `status: ready` to hand it over."


@dataclass(frozen=True, slots=True)
class Source:
    """All that is known of one story. ``story_id`` and ``title``: as a heading or the file's name tells them."""

    path: str
    line: int = 1
    fields: Sequence[Field] = ()
    fallback: Sequence[Field] = ()  # stated in the body; each counts only when ``fields`` says nothing about its key
    body: str = ""
    story_id: str = ""
    title: str = ""
    body_criteria: Sequence[str] = ()
    lane: str = ""
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class Built:
    story: Story
    stated: frozenset[str]
    problems: tuple[Problem, ...]


def build(source: Source) -> Built:
    """The story of ``source``. Always yields one, however broken; errors name its id and so hold it back."""
    return _Builder(source).build()


def id_of(fields: Iterable[Field]) -> str:
    """The id that the fields state; empty when they state none."""
    told = list(fields)
    for key in ("id", "other_id"):
        for item in told:
            value = flat(item.node).strip("`*\"' ") if isinstance(item.node, Scalar) and not is_null(item.node) else ""
            if item.key == key and value and (key == "id" or keys.snake(item.name) not in ("story", "key", "ticket")):
                return value
            if item.key == key and value and (ids.leading(value) == value or value.isdigit()):
                return value
    return ""


def sentences(node: Node) -> list[str]:
    """A list of sentences, however it is written: a sequence, one text, a text with bullets, or groups of lists."""
    if isinstance(node, Scalar):
        if is_null(node):
            return []
        return criteria.of_lines(node.text.split("\n")) if "\n" in node.text.strip() else _told([node.text])
    if isinstance(node, Seq):
        return _told(text for item in node.items for text in _sentence(item))
    found: list[str] = []
    for name, value, _ in merged(node):
        found += [f"{name}: {flat(value)}"] if isinstance(value, Scalar) and not is_null(value) else sentences(value)
    return _told(found)


def _told(found: Iterable[str]) -> list[str]:
    flattened = (bullets.unchecked(" ".join(text.split())) for text in found)
    return criteria.unique(text for text in flattened if text)


def _sentence(item: Node) -> list[str]:
    if isinstance(item, Map):
        return [_structured(item)]
    if isinstance(item, Seq):
        return ["; ".join(text for inner in item.items for text in _sentence(inner))]
    return [] if is_null(item) and not item.text else [item.text]


def _structured(item: Map) -> str:
    """``{id: AC1, text: …, done: false}`` → ``AC1: … (done: false)``; any other map as it was written."""
    pairs = [(name, value) for name, value, _ in merged(item)]
    text = next((value for key in _TEXT_KEYS for name, value in pairs if name.casefold() == key), None)
    if text is None:
        return flat(item)
    own = next((value for name, value in pairs if name.casefold() in ("id", "ref", "key")), None)
    rest = [f"{name}: {flat(value)}" for name, value in pairs if value is not text and value is not own and flat(value)]
    lead = f"{flat(own)}: " if own is not None and flat(own) else ""
    return lead + flat(text) + (f" ({'; '.join(rest)})" if rest else "")


def _without_id(title: str, story_id: str) -> str:
    """``WISH-7: Gallery`` → ``Gallery``: the id is shown beside the title anyway."""
    found, rest = ids.in_heading(title)
    return rest if found and found.lower() == story_id.lower() and rest else title


class _Builder:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems = list(source.problems)
        self.stated: set[str] = set()
        self.extra: dict[str, Any] = {}
        self.kept: dict[str, int] = {}
        told = {item.key for item in source.fields if not is_null(item.node)}
        self.fields = [*source.fields, *(item for item in source.fallback if item.key and item.key not in told)]
        self.used: set[int] = set()

    def build(self) -> Built:
        source = self.source
        story_id = self._id()
        title = self._title(story_id)
        self._duplicates()
        links = self._links()
        declared, file_status = self._status()
        story = Story(
            id=story_id,
            title=title,
            path=source.path,
            goal=self._goal(),
            context=self._list("context"),
            acceptance_criteria=self._criteria(),
            non_goals=self._list("non_goals"),
            stop_conditions=self._list("stop_conditions"),
            priority=self._priority(),
            tags=self._tags(),
            estimate_hours=self._estimate(),
            status=file_status,
            declared_status=declared,
            depends_on=tuple(links.depends_on),
            blocks=tuple(links.blocks),
            related=tuple(links.related),
            base_branch=self._text("base_branch"),
            created_at=self._text("created_at"),
            updated_at=self._text("updated_at"),
            era=self._text("era"),
            body=source.body.strip("\n"),
            extra=self._extra(),
        )
        own = tuple(
            problem.model_copy(update={"story_ids": (story_id,)}) if not problem.story_ids else problem
            for problem in self.problems
        )
        return Built(story, frozenset(self.stated), own)

    def _of(self, *wanted: str) -> list[Field]:
        """The fields with one of these keys that say something; they are used then and do not go into ``extra``."""
        found = [item for item in self.fields if item.key in wanted]
        self.used |= {id(item) for item in found}
        return [item for item in found if not is_null(item.node)]

    def _warn(self, message: str, mend: str = "", line: int | None = None) -> None:
        self.problems.append(warning(self.source.path, message, mend, line=line))

    def _id(self) -> str:
        stated = id_of(self.fields)
        story_id = texts.line(stated or self.source.story_id, 200)
        for item in self.fields:
            if item.key in ("id", "other_id") and stated and flat(item.node).strip("`*\"' ") == stated:
                self.used.add(id(item))
                break
        reason = ids.fault(story_id)
        if reason:
            other = ids.suggest(story_id)
            mend = f"Use letters, digits, '.', '_' and '-', at most 64{f', for example {other}' if other else ''}."
            told = error(
                self.source.path,
                f"the id {story_id!r} cannot be a branch name: it {reason}",
                mend,
                line=self.source.line,
            )
            self.problems.append(told)
        return story_id

    def _title(self, story_id: str) -> str:
        told = sorted(self._of("title"), key=lambda item: keys.snake(item.name) != "title")
        named = [item for item in told if keys.snake(item.name) == keys.snake(told[0].name)]
        for item in told[len(named) :]:
            self._keep(item.name, item.node)
        title = texts.line(flat(named[-1].node), 300) if named else ""
        if title or self.source.title:
            self.stated |= {"title"}
            return _without_id(title or texts.line(self.source.title, 300), story_id)
        self._warn("has no title; its id is shown instead", "Add `title: …`.", self.source.line)
        return story_id

    def _duplicates(self) -> None:
        """A key stated twice: YAML would silently keep the last one only."""
        seen: dict[str, Field] = {}
        before = len(self.problems)
        for item in self.source.fields:
            name = keys.snake(item.name)
            first = seen.setdefault(name, item)
            if first is item:
                continue
            if item.key == "size" or flat(first.node) == flat(item.node) or (not item.key and item.bold):
                continue
            many = item.key in keys.SENTENCES | keys.DEPENDENCIES | {"tags"}
            how = "all their items count" if many else f"the last one counts: {texts.line(flat(item.node), 60)!r}"
            seen[name] = item
            if not many and item.key:
                self._keep(f"{first.name} (line {first.line})", first.node)
            if len(self.problems) - before <= _MANY:
                message = f"the key {item.name!r} is stated twice (lines {first.line} and {item.line}); {how}"
                self._warn(message, "", item.line)

    def _goal(self) -> str:
        goal = " ".join(flat(item.node) for item in self._of("goal")[-1:])
        described = self._of("description")
        if goal:
            self.stated.add("goal")
            for item in described:
                self._keep(item.name, item.node)
            return goal
        if described:
            self.stated.add("goal")
            return (
                described[-1].node.text.strip() if isinstance(described[-1].node, Scalar) else flat(described[-1].node)
            )
        return ""

    def _list(self, *wanted: str) -> tuple[str, ...]:
        found = [text for item in self._of(*wanted) for text in sentences(item.node)]
        if found:
            self.stated.add(wanted[0])
        return tuple(criteria.unique(found))

    def _criteria(self) -> tuple[str, ...]:
        stated = self._list("acceptance_criteria")
        both = criteria.united(stated, self.source.body_criteria)
        success, done = self._of("success_criteria"), self._of("definition_of_done")
        for others in (success, done):
            if not both:
                both = criteria.unique(text for item in others for text in sentences(item.node))
            else:
                for item in others:
                    self._keep(item.name, item.node)
        if both:
            self.stated.add("acceptance_criteria")
        return tuple(both)

    def _tags(self) -> tuple[str, ...]:
        found: list[str] = []
        for item in self._of("tags"):
            node = item.node
            parts = node.text.split(",") if isinstance(node, Scalar) else sentences(node)
            found += [part.strip().strip("`\"'[]") for part in parts]
        told = tuple(dict.fromkeys(tag for tag in found if tag and not values.is_nothing(tag)))
        if told:
            self.stated.add("tags")
        return told

    def _priority(self) -> int:
        told = self._of("priority")
        if not told or values.is_nothing(flat(told[-1].node)):
            return 3
        shown = flat(told[-1].node)
        scalar = isinstance(told[-1].node, Scalar)
        priority, wrong = (
            values.priority(shown) if scalar else (3, f"priority {shown!r} is no single value; taken as 3")
        )
        self.stated.add("priority")
        if wrong:
            self._warn(wrong, "Use 1 (first) to 5, or CRITICAL, HIGH, MEDIUM, LOW.", told[-1].line)
            self._keep(told[-1].name, told[-1].node)
        return priority

    def _estimate(self) -> float | None:
        hours: float | None = None
        for key in ("estimate_hours", "estimate", "size"):
            for item in self._of(key):
                shown = flat(item.node)
                read = values.estimate(shown) if not values.is_nothing(shown) else None
                if read is None or hours is not None:
                    self._keep(item.name, item.node)
                if read is None and key != "size" and not values.is_nothing(shown):
                    self._warn(
                        f"estimate {shown!r} is not understood; it is kept", "Use hours, or S, M, L, XL.", item.line
                    )
                hours = read if hours is None else hours
        if hours is not None:
            self.stated.add("estimate_hours")
        return hours

    def _links(self) -> Links:
        links = Links()
        for key in ("depends_on", "blocked_by", "blocks", "related"):
            for item in self._of(key):
                links.add(key, item.node)
                self.stated |= {"blocks"} if key == "blocks" else {"related"} if key == "related" else {"depends_on"}
        if links.blocks:
            self.stated.add("blocks")
        if links.related:
            self.stated.add("related")
        for text in links.unknown:
            self._warn(f"this part of its dependencies is not understood: {text}", "Use depends_on: [ID, …].")
            self.extra.setdefault("dependency_notes", []).append(text)
        if links.notes:
            self.extra.setdefault("dependency_notes", []).extend(links.notes)
        return links

    def _status(self) -> tuple[str, FileStatus]:
        told = self._of("status")
        word = texts.line(flat(told[-1].node), 120) if told else ""
        stated, by_lane = status.meaning(word), status.meaning(self.source.lane) if self.source.lane else None
        line = told[-1].line if told else None
        if stated or by_lane:
            self.stated.add("status")
        if by_lane:
            if stated and stated.status != by_lane.status:
                self._warn(
                    f"lies in {self.source.lane}/ but says status {word!r}; the folder counts",
                    "Move the file, or change its status.",
                    line,
                )
            self._about(by_lane, f"lies in {self.source.lane}/", "Move it to ready/ to hand it over.", None)
            return self.source.lane, by_lane.status
        if stated:
            self._about(stated, f"has status {word!r}", _UNDERWAY, line)
            return word, stated.status
        return "", FileStatus.READY

    def _about(self, read: status.Meaning, what: str, mend: str, line: int | None) -> None:
        if not read.known:
            self._warn(f"{what}, which is no known status; it is held as parked", f"Use {status.known_words()}.", line)
        elif read.dropped:
            self._warn(f"{what}; it counts as done, so that what depends on it can start", "", line)
        elif read.status is FileStatus.PARKED and read.word != "parked":
            self._warn(f"{what}: it seems to be under way elsewhere or held, and is not started", mend, line)

    def _text(self, key: str) -> str | None:
        told = self._of(key)
        shown = texts.line(flat(told[-1].node), 200) if told else ""
        if not shown or values.is_nothing(shown):
            return None
        self.stated.add(key)
        return shown

    def _keep(self, name: str, node: Node) -> None:
        number = self.kept.get(name, 1)
        free = name if number == 1 else f"{name} ({number})"
        while free in self.extra:
            number += 1
            free = f"{name} ({number})"
        self.kept[name] = number + 1
        self.extra[free] = typed(node)

    def _extra(self) -> dict[str, Any]:
        for item in self.fields:
            if id(item) not in self.used:
                self._keep(item.name, item.node)
        kept: dict[str, Any] = texts.jsonable(self.extra, text_limit=100_000, depth=64)
        return kept
