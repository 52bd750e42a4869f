"""Text from outside as Markdown that means nothing but its letters: pure.

A forge acts on text in three passes, and each needs its own answer. Markdown is stopped by backslashes and entities.
Mentions, references, bare addresses and emoji are found in the *rendered* text, where both are gone again, so they are
broken with a zero-width space. Closing keywords ("fixes #1") only work with a reference, so they are stopped with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from auto_dev.text import clean, line

ZERO_WIDTH = "\u200b"

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "$": "&#36;"}
_ESCAPED = frozenset("\\`*_[]~")
_LEADING = re.compile(r"^([-+=#])|^(\d{1,9})([.)])")
_BREAKS = (
    (re.compile(r"@(?=\w)"), f"@{ZERO_WIDTH}"),
    (re.compile(r"#(?=\w)"), f"#{ZERO_WIDTH}"),
    (re.compile(r"(GH-)(?=\d)", re.IGNORECASE), rf"\1{ZERO_WIDTH}"),
    (re.compile(r"://"), f":{ZERO_WIDTH}//"),
    (re.compile(r"(www)(?=\.)", re.IGNORECASE), rf"\1{ZERO_WIDTH}"),
    (re.compile(r":(?=[\w+-]+:)"), f":{ZERO_WIDTH}"),
    (re.compile(r"\[(?=!)"), f"[{ZERO_WIDTH}"),
)
_BACKTICKS = re.compile(r"`+")


def defuse(text: str) -> str:
    """``text`` without a working mention, reference, address, emoji code or alert; it looks the same."""
    for pattern, replacement in _BREAKS:
        text = pattern.sub(replacement, text)
    return text


def inline(text: str, limit: int = 300) -> str:
    """``text`` on one line of at most ``limit`` characters (before escaping), safe in a paragraph, list or table."""
    flat = defuse(line(text, limit))
    out: list[str] = []
    for index, char in enumerate(flat):
        if char in _ENTITIES:
            out.append(_ENTITIES[char])
        elif char in _ESCAPED and not (char == "_" and _inside_word(flat, index)):
            out.append(f"\\{char}")
        else:
            out.append(char)
    return _LEADING.sub(lambda m: f"\\{m[1]}" if m[1] else f"{m[2]}\\{m[3]}", "".join(out))


def _inside_word(text: str, index: int) -> bool:
    """Whether the underscore at ``index`` stands between letters or digits, where it means nothing (snake_case)."""
    return 0 < index < len(text) - 1 and text[index - 1].isalnum() and text[index + 1].isalnum()


def quoted(text: str, limit: int = 4_000) -> str:
    """``text`` as a block quote that keeps its lines; "" for blank text."""
    lines = [inline(each, limit) for each in clean(text, limit).strip().split("\n")]
    kept = [each for index, each in enumerate(lines) if each or (index and lines[index - 1])]
    return "\n".join(f"> {each}".rstrip() for each in kept) if any(kept) else ""


def code(text: str, limit: int = 200, *, cell: bool = False) -> str:
    """``text`` as a code span, with as many backticks as it needs.

    In a table cell, text with a pipe is written as plain text: renderers disagree about a backslash before it.
    """
    flat = line(text, limit)
    if not flat or (cell and "|" in flat):
        return inline(flat, limit)
    ticks = "`" * (_longest_run(flat) + 1)
    pad = " " if flat[0] == "`" or flat[-1] == "`" else ""
    return f"{ticks}{pad}{flat}{pad}{ticks}"


def fence(lines: Iterable[str], language: str = "") -> str:
    """``lines`` as a fenced code block; blank ones are left out."""
    flat = [each for each in (line(text, 2_000) for text in lines) if each]
    ticks = "`" * max(3, _longest_run("\n".join(flat)) + 1)
    return "\n".join([f"{ticks}{language}", *flat, ticks])


def folded(heading: str, text: str) -> str:
    """``text`` (safe Markdown) behind a heading that opens it; "" for none. ``heading`` is our own words."""
    return f"<details>\n<summary>{heading}</summary>\n\n{text}\n\n</details>" if text else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are safe already (``inline``, ``code`` with ``cell``)."""
    lines = [_row(header), _row(["---"] * len(header))]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{len(row)} cells under {len(header)} headings")
        lines.append(_row(row))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)
