"""YAML as a tree that keeps what the author wrote: text instead of dates and numbers, every duplicate key, lines.

Built from parser events without recursion, with bounds on depth and on what aliases may expand to. Nothing is ever
constructed: a tag has no effect, a Python tag is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from auto_dev import text as texts

MAX_DEPTH: Final = 40
MAX_EXPANDED: Final = 100_000  # nodes after aliases are followed

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(?:0|[1-9]\d{0,17})\Z")
_FLOAT = re.compile(r"[-+]?\d{1,17}\.\d{1,17}\Z")
_CONSTANTS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """``text`` as written, cleaned; ``plain``: neither quoted nor a block, so that ``true`` and ``7`` have a type."""

    text: str
    line: int
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Seq:
    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Map:
    pairs: tuple[tuple[Node, Node], ...]
    line: int


Node = Scalar | Seq | Map


class TreeError(Exception):
    """Not YAML, or YAML that is refused: one line, and the line number in the file."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


@dataclass(slots=True)
class _Frame:
    mapping: bool
    line: int
    anchor: str | None
    nodes: list[Node] = field(default_factory=list)
    size: int = 1
    depth: int = 1


def parse(source: str, first_line: int = 1) -> list[Node]:
    """The documents in ``source`` (cleaned), whose first line is line ``first_line`` of its file. Raises TreeError."""
    try:
        return _Composer(first_line).compose(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise TreeError(texts.line(str(problem), 160), first_line + (mark.line if mark else 0)) from None
    except (ValueError, OverflowError) as error:  # impossible escapes such as "\U00110000"
        raise TreeError(texts.line(str(error), 160), first_line) from None


class _Composer:
    def __init__(self, first_line: int) -> None:
        self.first_line = first_line
        self.documents: list[Node] = []
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Node, int, int] | None] = {}
        self.expanded = 0

    def compose(self, source: str) -> list[Node]:
        for event in _events(source):
            line = self.first_line + event.start_mark.line
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors = {}
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event.anchor or "", line)
            elif isinstance(event, yaml.ScalarEvent):
                self._tag(event.tag, line)
                plain = not event.style and event.implicit[0]
                # Only an escape can bring back what was cleaned from the source.
                text = texts.clean(event.value) if event.style == '"' else event.value
                self._add(Scalar(text, line, plain), 1, 0, event.anchor)
            elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
                self._tag(event.tag, line)
                self._open(_Frame(isinstance(event, yaml.MappingStartEvent), line, event.anchor))
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                self._close()
        return self.documents

    def _open(self, frame: _Frame) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise TreeError(f"nested more than {MAX_DEPTH} levels deep", frame.line)
        if frame.anchor:
            self.anchors[frame.anchor] = None
        self.stack.append(frame)

    def _close(self) -> None:
        frame = self.stack.pop()
        nodes = tuple(frame.nodes)
        node: Node = (
            Map(tuple(zip(nodes[::2], nodes[1::2], strict=True)), frame.line)
            if frame.mapping
            else Seq(nodes, frame.line)
        )
        self._add(node, frame.size, frame.depth, frame.anchor)

    def _alias(self, anchor: str, line: int) -> None:
        if anchor not in self.anchors:
            raise TreeError(f"alias *{anchor} names nothing", line)
        target = self.anchors[anchor]
        if target is None:
            raise TreeError(f"alias *{anchor} contains itself", line)
        self.expanded += target[1]
        if self.expanded > MAX_EXPANDED:
            raise TreeError(f"aliases expand to more than {MAX_EXPANDED:,} values", line)
        self._add(*target, None)

    def _add(self, node: Node, size: int, depth: int, anchor: str | None) -> None:
        if len(self.stack) + depth > MAX_DEPTH:  # aliases may nest what is shallow in the source
            raise TreeError(f"nested more than {MAX_DEPTH} levels deep", node.line)
        if anchor:
            self.anchors[anchor] = (node, size, depth)
        if self.stack:
            frame = self.stack[-1]
            frame.nodes.append(node)
            frame.size += size
            frame.depth = max(frame.depth, depth + 1)
        else:
            self.documents.append(node)

    def _tag(self, tag: str | None, line: int) -> None:
        if tag and "python/" in tag:
            raise TreeError(f"the tag {texts.line(tag, 60)!r} is refused", line)


def _events(source: str) -> Iterator[Any]:
    return yaml.parse(source, Loader=_Loader)  # type: ignore[no-any-return,unused-ignore]


def merged(node: Map) -> Iterator[tuple[str, Node, int]]:
    """The pairs of a mapping as (key text, value, line), ``<<`` merges after its own keys."""
    own: set[str] = set()
    merges: list[Node] = []
    for key, value in node.pairs:
        name = flat(key)
        if name == "<<" and not isinstance(value, Scalar):
            merges += value.items if isinstance(value, Seq) else [value]
            continue
        own.add(name)
        yield name, value, key.line
    for merge in merges:
        for key, value in merge.pairs if isinstance(merge, Map) else ():
            name = flat(key)
            if name not in own:
                own.add(name)
                yield name, value, key.line


def typed(node: Node) -> Any:
    """``node`` as JSON: plain numbers, booleans and nulls get their type, dates stay text."""
    if isinstance(node, Seq):
        return [typed(item) for item in node.items]
    if isinstance(node, Map):
        result: dict[str, Any] = {}
        for number, (name, value, _) in enumerate(merged(node)):
            result[name if name not in result else f"{name} ({number})"] = typed(value)
        return result
    if node.plain:
        if node.text in _CONSTANTS:
            return _CONSTANTS[node.text]
        if _INTEGER.match(node.text):
            return int(node.text)
        if _FLOAT.match(node.text):
            return float(node.text)
    return node.text


def flat(node: Node) -> str:
    """``node`` on one line, as near to what was written as a tree can tell."""
    if isinstance(node, Scalar):
        return " ".join(node.text.split())
    if isinstance(node, Seq):
        return "; ".join(filter(None, (flat(item) for item in node.items)))
    parts = []
    for name, value, _ in merged(node):
        shown = flat(value)
        parts.append(
            f"{name}: {shown}" if shown else f"{name}:" if isinstance(value, Scalar) and not value.plain else name
        )
    return "; ".join(parts)


def is_null(node: Node) -> bool:
    """Whether the value is missing: ``key:``, ``key: null``, ``key: ~``."""
    return isinstance(node, Scalar) and node.plain and node.text in _CONSTANTS and _CONSTANTS[node.text] is None
