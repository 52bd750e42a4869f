"""Parsing by tree-sitter: bounded in size, time and depth, so that no source holds up the daemon."""

from __future__ import annotations

import time
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
_LONGEST_S: Final = 1.0  # of processor time; 512 KB of ordinary source take a third of it
_NODES: Final = 250_000  # of a tree; 512 KB of ordinary source make 200,000
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


@cache
def _language(grammar: str) -> tree_sitter.Language:
    return tree_sitter.Language(_GRAMMARS[grammar]())


def parse(grammar: str, source: bytes) -> Node:
    """The root of the syntax tree of ``source``; it may hold error nodes. Raises TooLong."""
    parser = tree_sitter.Parser(_language(grammar))
    ends = time.thread_time() + _LONGEST_S
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
