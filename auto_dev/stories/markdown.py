"""The outline of a Markdown text: headings, sections and bold fields, blind to code and comments."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from auto_dev.stories import bullets, keys
from auto_dev.stories.frontmatter import Field
from auto_dev.stories.yamltree import Node, Scalar, Seq

FENCE = re.compile(r"\s*(?:[-*+]\s+)?(`{3,}|~{3,})([^`]*)$")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*)$")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-{2,})\s*$")
# "**Depends On:** A" and "**Depends On**: A", also as a list item.
BOLD_FIELD = re.compile(
    r"\s*(?:[-*+>]\s+)?(?:\*\*|__)([^*_:\n]{1,60}?)\s*(?::\s*(?:\*\*|__)|(?:\*\*|__)\s*:)[ \t]*(.*)$"
)
_INLINE_FIELD = re.compile(
    r"(?<=\S)\s{1,9}[|\u00b7\u2022]\s{1,9}(?=(?:\*\*|__)[^*_:\n]{1,60}?\s*(?::\s*(?:\*\*|__)|(?:\*\*|__)\s*:))"
)
_PLAIN_FIELD = re.compile(r"\s*(?:[-*+]\s+)?([A-Za-z][A-Za-z _-]{1,30}?)[ \t]*:(?:[ \t]+(.*))?$")
BOLD_LINE = re.compile(r"\s*(?:\*\*|__)([^*\n]+?)(?:\*\*|__)\s*:?\s*$")
_RULE = re.compile(r"\s*([-*_])(?:\s*\1){2,}\s*$")


@dataclass(frozen=True, slots=True)
class Heading:
    """``line`` is an index into the lines; the section is ``lines[line + 1 : end]``."""

    level: int
    text: str
    line: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """Lines with a mask: ``code[i]`` says that line ``i`` is inside a closed code fence or a comment."""

    lines: Sequence[str]
    code: Sequence[bool]
    headings: Sequence[Heading]

    def text(self, start: int, end: int) -> str:
        return "\n".join(self.lines[start:end]).strip("\n")


def document(text: str) -> Document:
    lines = text.split("\n")
    code = mask(lines)
    return Document(lines, code, _headings(lines, code))


def mask(lines: Sequence[str]) -> list[bool]:
    """Which lines are code or comment. A fence or comment that is never closed hides nothing: no text is lost in it."""
    hidden = [False] * len(lines)
    unclosed: dict[str, int] = {}  # fence character → the shortest fence that nothing closes; keeps this linear
    index = 0
    while index < len(lines):
        end = _hidden_end(lines, index, unclosed)
        if end is not None:
            hidden[index : end + 1] = [True] * (end + 1 - index)
            index = end
        index += 1
    return hidden


def _hidden_end(lines: Sequence[str], start: int, unclosed: dict[str, int]) -> int | None:
    """The last line of the code or comment that begins at ``start``."""
    line = lines[start]
    if "<!--" in line and line.lstrip().startswith("<!--"):
        return _search(lines, start, "!", 1, unclosed)
    match = FENCE.match(line) if "```" in line or "~~~" in line else None
    return _search(lines, start, match[1][0], len(match[1]), unclosed) if match else None


def _search(lines: Sequence[str], start: int, char: str, length: int, unclosed: dict[str, int]) -> int | None:
    if length >= unclosed.get(char, sys.maxsize):
        return None
    for index in range(start if char == "!" else start + 1, len(lines)):
        if char == "!":
            if "-->" in lines[index]:
                return index if not lines[index].split("-->", 1)[1].strip() else None
        elif char * length in lines[index] and not lines[index].strip().strip(char):
            return index
    unclosed[char] = length
    return None


def _headings(lines: Sequence[str], code: Sequence[bool]) -> list[Heading]:
    found: list[tuple[int, str, int]] = []  # level, text, line
    for index, line in enumerate(lines):
        if not line or code[index]:
            continue
        match = _HEADING.match(line)
        if match:
            found.append((len(match[1]), match[2].strip().rstrip("#").rstrip(), index))
        elif index and _UNDERLINE.match(line) and not code[index - 1] and _is_title(lines, index - 1):
            found.append((1 if "=" in line else 2, lines[index - 1].strip(), index - 1))
    ends = [len(lines)] * len(found)
    open_: list[int] = []
    for position, (level, _, at) in enumerate(found):
        while open_ and found[open_[-1]][0] >= level:
            ends[open_.pop()] = at
        open_.append(position)
    return [Heading(level, text, at, end) for (level, text, at), end in zip(found, ends, strict=True)]


def _is_title(lines: Sequence[str], index: int) -> bool:
    """Whether a line that is underlined is a heading: people also put a rule right below a field or a list."""
    line = lines[index]
    if not line.strip() or (index and lines[index - 1].strip()) or line.lstrip().startswith(("#", ">", "|", "<")):
        return False
    return bullets.bullet(line) is None and not BOLD_FIELD.match(line) and not _RULE.match(line)


def is_underline(line: str) -> bool:
    return bool(_UNDERLINE.match(line))


def label(text: str) -> str:
    """A heading or label without decoration: ``✅ 6. Acceptance Criteria (MVP):`` → ``acceptance criteria (mvp)``."""
    plain = re.sub(r"[*_`]|<[^>]*>", "", text[:300]).strip().rstrip(":").casefold()
    return re.sub(r"^(?:\d+(?:\.\d+)*[.)]?\s+)?[^\w(]*", "", plain).strip()


def bold_fields(lines: Sequence[str], first_line: int, *, plain: bool) -> list[Field]:
    """The bold fields in ``lines``; with ``plain`` also ``Status: Ready`` lines of keys that we know.

    A value goes on over the following lines, up to a blank line, the next field or a heading; an empty one takes the
    list or paragraph that follows.
    """
    found: list[Field] = []
    code = mask(lines)
    index = 0
    while index < len(lines):
        matches = [] if code[index] or not lines[index] else _field_starts(lines[index], plain=plain)
        if not matches:
            index += 1
            continue
        end = _value_end(lines, code, index, bool(matches[-1][1]), plain=plain)
        for name, value in matches[:-1]:
            found.append(Field(name, Scalar(value, first_line + index, plain=True), first_line + index, bold=True))
        name, value = matches[-1]
        line = first_line + index
        found.append(Field(name, _value(value, lines[index + 1 : end], line), line, bold=True))
        index = max(end, index + 1)
    return found


def _field_starts(line: str, *, plain: bool) -> list[tuple[str, str]]:
    starts = []
    for part in _INLINE_FIELD.split(line):
        match = BOLD_FIELD.match(part)
        if match:
            starts.append((match[1].strip(), match[2].strip()))
    if not starts and plain:
        match = _PLAIN_FIELD.match(line)
        if match and keys.known(match[1]) not in ("", "context", "description", "title", "goal"):
            starts.append((match[1].strip(), (match[2] or "").strip()))
    return starts


def _value_end(lines: Sequence[str], code: Sequence[bool], start: int, has_value: bool, *, plain: bool) -> int:
    index = start + 1
    if not BOLD_FIELD.match(_INLINE_FIELD.split(lines[start])[0]) and has_value:
        return index  # "Status: Ready" ends with its line
    if not has_value:  # the value may begin after blank lines
        while index < len(lines) and not lines[index].strip():
            index += 1
    listed = index < len(lines) and bullets.bullet(lines[index]) is not None
    while index < len(lines):
        line = lines[index]
        if _HEADING.match(line) or _RULE.match(line) or (not code[index] and _ends(line, plain=plain)):
            break
        if not line.strip():
            following = next((lines[later] for later in range(index, len(lines)) if lines[later].strip()), "")
            if not (listed and (bullets.bullet(following) is not None or following[:1].isspace())):
                break
        index += 1
    return index


def _ends(line: str, *, plain: bool) -> bool:
    starts = _field_starts(line, plain=plain)
    return bool(starts) and (bullets.bullet(line) is None or bool(keys.known(starts[0][0])))


def _value(value: str, more: Sequence[str], line: int) -> Node:
    items = _items(more)
    if items and not value:
        return Seq(tuple(Scalar(text, line) for text in items), line)
    return Scalar(bullets.joined([value, *more]) if more else value, line, plain=True)


def _items(lines: Sequence[str]) -> list[str]:
    """The items of a list; empty when the first line that says something is no item."""
    told = [line for line in lines if line.strip()]
    if not told or bullets.bullet(told[0]) is None:
        return []
    column = bullets.width(told[0])
    items: list[list[str]] = []
    for line in told:
        text = bullets.bullet(line)
        if text is not None and bullets.width(line) <= column + 1:
            items.append([text])
        else:
            items[-1].append(line)
    return [bullets.unchecked(bullets.joined(item)) for item in items]


def list_items(lines: Sequence[str]) -> list[str]:
    """The items of the first list among ``lines``."""
    start = next((index for index, line in enumerate(lines) if bullets.bullet(line) is not None), None)
    if start is None:
        return []
    rows = list(lines[start:])
    stop = next((index for index, line in enumerate(rows) if _HEADING.match(line) or BOLD_LINE.match(line)), len(rows))
    return _items(rows[:stop])


def paragraph(lines: Sequence[str]) -> str:
    """The first paragraph among ``lines``, on one line."""
    told: list[str] = []
    for line in lines:
        if _HEADING.match(line) or (told and not line.strip()):
            break
        if line.strip() and not line.lstrip().startswith("<!--") and not is_underline(line):
            told.append(line.strip().lstrip("> "))
    return " ".join(" ".join(told).split())


def is_rule(line: str) -> bool:
    return bool(_RULE.match(line))
