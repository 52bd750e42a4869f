"""Bullets, checkboxes and the joining of an item's lines to one text; shared by frontmatter and Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable

BULLET = re.compile(r"([-*+\u2022\u25e6\u25aa\u2023\u00b7]|\d{1,4}[.)])(?:[ \t]+|$)")
_CHECKBOX = re.compile(r"(?:\[[ xX~\u2713\u2714-]?\](?=\s|$)|[\u2610\u2611\u2612])\s*")


def width(line: str) -> int:
    """The column at which the text of ``line`` begins, a tab going on to the next multiple of four."""
    column = 0
    for char in line:
        if char == "\t":
            column += 4 - column % 4
        elif char == " ":
            column += 1
        else:
            break
    return column


def bullet(line: str) -> str | None:
    """The text after a line's list marker; ``None`` when the line is no list item."""
    stripped = line.strip()
    match = BULLET.match(stripped)
    return stripped[match.end() :].strip() if match else None


def unchecked(text: str) -> str:
    """``[x] done`` → ``done``. A text that is nothing but a checkbox stays."""
    match = _CHECKBOX.match(text)
    return text[match.end() :].strip() or text if match else text


def joined(lines: Iterable[str]) -> str:
    """An item's lines as one: continuation lines by a space, nested items after a colon, separated by semicolons."""
    head: list[str] = []
    children: list[list[str]] = []
    for line in lines:
        child = bullet(line) if (head or children) else None
        if child is not None:
            children.append([unchecked(child)])
        elif line.strip():
            (children[-1] if children else head).append(line)
    text = _flat(head)
    nested = "; ".join(filter(None, map(_flat, children)))
    if not (text and nested):
        return text or nested
    gap = " " if text[-1] in ":;,.!?\u2014-" else ": "
    return text + gap + nested


def _flat(parts: Iterable[str]) -> str:
    return " ".join(" ".join(parts).split())
