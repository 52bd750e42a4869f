"""Parsing by tree-sitter: bounded in size, time and depth, so that no source holds up the daemon."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

import tree_sitter
import tree_sitter_go
import tree_sitter_javascript
import tree_sitter_python
import tree_sitter_rust
import tree_sitter_typescript
from tree_sitter import Node

DEEPEST: Final = 160  # levels of nesting that are read; what is deeper is kept as text
LONGEST_S: Final = 1.0  # of processor time for all of a file; 120 KB of ordinary source take 0.4
_PARSED_S: Final = 0.5  # for the parser alone; 250 KB of ordinary source take 0.1
_NODES: Final = 150_000  # of a tree; 250 KB of ordinary source make 85,000
_TICKS: Final = 256
_CHUNK: Final = 16_384
_FAULTS: Final = 20
_VISITS: Final = 20_000
_BREAKING: Final = frozenset(b"(){}[]\"'`")
_GRAMMARS: Final = {
    "python": tree_sitter_python.language,
    "javascript": tree_sitter_javascript.language,
    "typescript": tree_sitter_typescript.language_typescript,
    "tsx": tree_sitter_typescript.language_tsx,
    "go": tree_sitter_go.language,
    "rust": tree_sitter_rust.language,
}


class TooLong(Exception):  # noqa: N818 (it is an outcome, not a fault of ours)
    """The source takes longer to parse than any honest source does."""


class _Clock(threading.local):
    """The processor time that the file which this thread reads may still take; ``ends`` 0: nothing is measured."""

    ends = 0.0
    ticks = 0


_CLOCK: Final = _Clock()


@contextmanager
def measured() -> Iterator[None]:
    """Whatever is read within raises TooLong once it took more than any honest source does."""
    if _CLOCK.ends:
        yield
        return
    _CLOCK.ends = time.thread_time() + LONGEST_S
    try:
        yield
    finally:
        _CLOCK.ends = 0.0


def tick() -> None:
    """One more step was made. Raises TooLong when there were too many."""
    _CLOCK.ticks += 1
    if _CLOCK.ticks % _TICKS == 0 and _CLOCK.ends and time.thread_time() > _CLOCK.ends:
        raise TooLong


@cache
def _language(grammar: str) -> tree_sitter.Language:
    return tree_sitter.Language(_GRAMMARS[grammar]())


def parse(grammar: str, source: bytes) -> Node:
    """The root of the syntax tree of ``source``; it may hold error nodes. Raises TooLong."""
    parser = tree_sitter.Parser(_language(grammar))
    ends = min(time.thread_time() + _PARSED_S, _CLOCK.ends or math.inf)
    calls = 0

    def late(_offset: int, _error: bool) -> bool:
        nonlocal calls
        calls += 1
        return calls % 32 == 0 and time.thread_time() > ends

    try:
        tree = parser.parse(lambda offset, _: source[offset : offset + _CHUNK], progress_callback=late)
    except ValueError as error:  # what tree-sitter says when the callback ends it
        raise TooLong from error
    if tree.root_node.descendant_count > _NODES:
        raise TooLong
    return tree.root_node


def parse_piece(grammar: str, source: bytes) -> Node:
    """Like ``parse`` for the few words of a macro: without the clock, so at most a few kilobytes may be given."""
    return tree_sitter.Parser(_language(grammar)).parse(source).root_node


def faults(root: Node) -> tuple[int, ...]:
    """The lines of the first syntax errors below ``root``.

    A word or two that the grammar does not know (it lags behind its language) is none: what breaks a file is a bracket
    or a quote that is missing or stands alone, or a stretch of lines that makes no sense.
    """
    found: list[int] = []
    stack = [root]
    visits = 0
    while stack and len(found) < _FAULTS and visits < _VISITS:
        node = stack.pop()
        visits += 1
        if node.is_missing or (node.is_error and _breaks(node)):
            found.append(node.start_point.row + 1)
        elif node.has_error:
            stack.extend(reversed(node.children))
    return tuple(found)


def _breaks(node: Node) -> bool:
    if node.end_point.row > node.start_point.row + 1:
        return True
    return not _BREAKING.isdisjoint(node.text or b"")
