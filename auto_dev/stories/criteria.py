"""Acceptance criteria in a Markdown body: checkboxes, bullets, numbers, tables and Given/When/Then blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from auto_dev.stories import bullets, markdown

_SUFFIX = r"(?:\s*(?:[:(\u2013\u2014-].*|checklist|for\s.*|of\s.*|list))?"
_FAMILIES: Final = (
    re.compile(
        rf"(?:[a-z]+\s+){{0,2}}acceptance\s+criteri(?:a|on){_SUFFIX}$|acceptance(?:\s+tests)?$|acs?\s*(?:\(.*\)|list)?$"
    ),
    re.compile(rf"(?:success|exit|completion)\s+criteria{_SUFFIX}$"),
    re.compile(rf"definition\s+of\s+done{_SUFFIX}$|dod$|done\s+when$"),
)
# "Acceptance Criteria - Evidence" and the like are reports about criteria.
_REPORT = re.compile(
    r"\b(?:evidence|verification|verified|status|coverage|mapping|matrix|results?|review|trace\w*|summary)\b"
)
_LABELLED = re.compile(
    r"(?:[*_`\[]*)(?:AC(?![A-Za-z])|(?:CRITERION|CRITERIA|SCENARIO|GIVEN)\b)[-\s#.]{0,4}\d*(?:\.\d+){0,4}[A-Za-z]?"
    r"[*_`\]]{0,6}\s{0,9}(?:[:.)\u2013\u2014(-]|\Z)",
    re.IGNORECASE,
)
_GHERKIN = re.compile(r"[*_`]*(scenario(?:\s+outline)?|given|when|then|and|but|examples?)\b[*_`:]*", re.IGNORECASE)
_STEPS: Final = 30  # how far back the steps of a scenario are looked at
_TABLE_RULE = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*$")
_PLACEHOLDER: Final = frozenset({"", "tbd", "todo", "n/a", "none", "-", "...", "\u2026", "to be defined", "\u2014"})


def in_body(body: str) -> list[str]:
    """The acceptance criteria that a body states; a definition of done counts only when there are no others."""
    return of_document(markdown.document(body))


def of_document(doc: markdown.Document) -> list[str]:
    for family in range(len(_FAMILIES)):
        found: list[str] = []
        for start, end in _sections(doc, family):
            found += of_lines(doc.lines[start:end])
        if found:
            return unique(found)
    return []


def announced(doc: markdown.Document) -> bool:
    """Whether the document really speaks of acceptance criteria, not only of success or being done."""
    return bool(_sections(doc, 0))


def is_heading(text: str) -> bool:
    """Whether a heading or bold label announces acceptance criteria."""
    return _family(text) == 0


def _family(text: str) -> int:
    plain = markdown.label(text)
    for index, pattern in enumerate(_FAMILIES):
        if pattern.match(plain) and not _REPORT.search(plain):
            return index
    return -1


def _sections(doc: markdown.Document, family: int) -> list[tuple[int, int]]:
    """Line ranges under the headings and bold labels of one family, without those that lie in another range."""
    ranges = [(h.line + 1, h.end) for h in doc.headings if _family(h.text) == family]
    heading_lines = {heading.line for heading in doc.headings}
    for index, line in enumerate(doc.lines):
        if not line or doc.code[index] or index in heading_lines:
            continue
        announced = _label_of(line)
        if announced and _family(announced) == family:
            ranges.append((index, _label_end(doc, index, heading_lines)))
    ranges.sort()
    outer: list[tuple[int, int]] = []
    for start, end in ranges:
        if not outer or start >= outer[-1][1]:
            outer.append((start, end))
    return outer


def _label_of(line: str) -> str:
    """The label of a bold line, a bold field or a plain ``Acceptance criteria:`` line."""
    stripped = line.strip().lstrip("> ")
    match = markdown.BOLD_LINE.match(stripped) or markdown.BOLD_FIELD.match(stripped)
    if match:
        return match[1]
    if stripped.endswith(":") and len(stripped) < 60 and bullets.bullet(line) is None:
        return stripped
    summary = re.match(r"\s*<(?:summary|h[1-6]|strong|b)>(.*?)</", line, re.IGNORECASE)
    return summary[1] if summary else ""


def _label_end(doc: markdown.Document, start: int, heading_lines: set[int]) -> int:
    """A label's section ends at the next heading, rule or label that is not itself a criterion's."""
    for index in range(start + 1, len(doc.lines)):
        if index in heading_lines:
            return index
        line = doc.lines[index]
        if doc.code[index] or bullets.bullet(line) is not None or line[:1].isspace():
            continue
        match = markdown.BOLD_LINE.match(line) or markdown.BOLD_FIELD.match(line)
        if match and not _LABELLED.match(match[1]) and not _GHERKIN.match(match[1]):
            return index
        if markdown.is_rule(line):
            return index
    return len(doc.lines)


@dataclass(slots=True)
class _Reader:
    """Gathers criteria line by line. ``open``: the lines of the item at hand."""

    found: list[str] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    column: int = 0
    kind: str = ""  # item | label | gherkin | text
    after_blank: bool = False

    def close(self) -> None:
        text = bullets.joined(self.open)
        if text:
            (self.paragraphs if self.kind == "text" else self.found).append(text)
        self.open, self.kind = [], ""

    def begin(self, kind: str, text: str, column: int) -> None:
        self.close()
        self.kind, self.open, self.column = kind, [text], column


def of_lines(lines: Sequence[str]) -> list[str]:
    """All criteria in the lines of a section; its paragraphs, then its code, count when there is nothing else."""
    found = _gathered(lines, markdown.mask(lines))
    if not found and any("```" in line or "~~~" in line for line in lines):
        bare = [line for line in lines if not markdown.FENCE.match(line)]
        found = _gathered(bare, [False] * len(bare))
    return found


def _gathered(lines: Sequence[str], code: Sequence[bool]) -> list[str]:
    reader = _Reader()
    index = 0
    while index < len(lines):
        line = lines[index]
        if code[index]:
            index = _hidden(reader, lines, code, index)
            continue
        if line.lstrip().startswith("|") or (index + 1 < len(lines) and _is_table(line, lines[index + 1])):
            index = _table(reader, lines, index)
            continue
        _line(reader, line)
        reader.after_blank = not line.strip()
        index += 1
    reader.close()
    found = reader.found or reader.paragraphs
    return [text for text in map(_trim, found) if not _is_placeholder(text)]


def _is_placeholder(text: str) -> bool:
    return text.casefold().rstrip(".") in _PLACEHOLDER or bool(re.fullmatch(r"\[[ xX]?\]", text))


def _line(reader: _Reader, raw: str) -> None:
    line = re.sub(r"^\s{0,3}(?:>\s?)+", "", raw)
    stripped = line.strip()
    column = bullets.width(line)
    rule = markdown.is_rule(line) or markdown.is_underline(line)
    if not stripped or rule:
        if reader.kind == "text" or rule:
            reader.close()
        return
    heading = re.match(r"#{1,6}\s+(.*)", stripped)
    if heading or markdown.BOLD_LINE.match(line):
        text = heading[1] if heading else stripped
        _label(reader, text.strip())
        return
    item = bullets.bullet(line)
    if item is not None:
        _item(reader, line, item, column)
    elif reader.open and (column > reader.column or not reader.after_blank) and not _starts_anew(reader, stripped):
        reader.open.append(line)
    else:
        _text(reader, stripped, column)


def _label(reader: _Reader, text: str) -> None:
    """A heading inside the section: a criterion when it is numbered as one, else the name of a group."""
    reader.close()
    plain = text.strip("*_# ").rstrip(":").strip()
    if _LABELLED.match(plain) and _family(plain) != 0:
        reader.begin("label", plain, -1)


def _item(reader: _Reader, line: str, item: str, column: int) -> None:
    text = bullets.unchecked(item)
    if reader.kind == "label" and not (_LABELLED.match(text) and not _GHERKIN.match(text)):
        reader.open.append(line)
        return
    nested = reader.kind == "item" and column > reader.column + 1
    if nested or (
        reader.kind in ("item", "gherkin") and column <= reader.column + 1 and _continues_scenario(reader, text)
    ):
        reader.open.append(line if nested else f"  {text}")
        return
    reader.begin("item", text, column)


def _text(reader: _Reader, stripped: str, column: int) -> None:
    announced = _label_of(stripped)
    if announced and _family(announced) >= 0:  # the line that opened the section, perhaps with a first criterion on it
        match = markdown.BOLD_FIELD.match(stripped)
        reader.close()
        if match and match[2].strip():
            reader.begin("item", match[2].strip(), column)
        return
    if _continues_scenario(reader, stripped):
        reader.open.append(stripped)
    elif _LABELLED.match(stripped) and not _GHERKIN.match(stripped):
        reader.begin("item", stripped, column)
    elif _GHERKIN.match(stripped):
        reader.begin("gherkin", stripped, column)
    else:
        reader.begin("text", stripped, column)


def _starts_anew(reader: _Reader, stripped: str) -> bool:
    """Whether a line that could go on with the item at hand begins something of its own."""
    if _GHERKIN.match(stripped):
        return reader.kind in ("text", "gherkin")
    return bool(_LABELLED.match(stripped))


def _continues_scenario(reader: _Reader, text: str) -> bool:
    """Whether ``text`` is a further step of the Given/When/Then block at hand."""
    step = _GHERKIN.match(text)
    first = _GHERKIN.match(reader.open[0].strip()) if reader.open else None
    if not step or not first:
        return False
    word, opener = step[1].casefold().split()[0], first[1].casefold().split()[0]
    if opener not in ("given", "scenario", "when") or word == "scenario":
        return False
    recent = reader.open[-_STEPS:]
    words = [match[1].casefold() for match in map(_GHERKIN.match, map(_bare, recent)) if match]
    ended = "then" in words or bool(re.search(r"\bthen\b", " ".join(recent), re.IGNORECASE))
    if word in ("given", "when"):
        return not ended and (opener in ("given", "scenario") and "when" not in words)
    return word in ("and", "but", "example", "examples") or not ended


def _bare(line: str) -> str:
    text = bullets.bullet(line)
    return (line if text is None else text).strip()


def _hidden(reader: _Reader, lines: Sequence[str], code: Sequence[bool], start: int) -> int:
    """A code block or comment: scenarios in it are criteria, code belongs to the item that it follows."""
    if lines[start].lstrip().startswith("<!--"):
        return next((index + 1 for index in range(start, len(lines)) if "-->" in lines[index]), len(lines))
    end = start
    while end < len(lines) and code[end]:
        end += 1
        if end < len(lines) and markdown.FENCE.match(lines[end - 1]) and end - start > 1:
            break
    inner = lines[start + 1 : end - 1]
    if any(re.match(r"\s*(?:scenario|given)\b", line, re.IGNORECASE) for line in inner):
        reader.close()
        for line in inner:
            if line.strip() and not re.match(r"\s*(?:feature|background)\s*:", line, re.IGNORECASE):
                _text(reader, line.strip(), 0)
        reader.close()
    elif reader.open and lines[start][:1].isspace():
        reader.open += [f"  {line.strip()}" for line in inner if line.strip()]
    return max(end, start + 1)


def _is_table(line: str, following: str) -> bool:
    return "|" in line and "|" in following and bool(_TABLE_RULE.match(following))


def _table(reader: _Reader, lines: Sequence[str], start: int) -> int:
    """Rows of a table, the header left out: a leading number or ``AC1`` goes before a colon."""
    reader.close()
    index = start
    body = _is_table(lines[start], lines[start + 1]) if start + 1 < len(lines) else False
    while index < len(lines) and "|" in lines[index]:
        skip = body and index <= start + 1
        if not skip and not _TABLE_RULE.match(lines[index]):
            cells = [cell.strip() for cell in lines[index].strip().strip("|").split("|")]
            told = [cell for cell in cells if re.search(r"\w", cell)]
            if len(told) > 1 and re.fullmatch(r"\d+", told[0]):
                told = told[1:]
            if told:
                lead = f"{told[0]}: " if len(told) > 1 and re.fullmatch(r"[*`]*AC[-\s]?\d+[*`]*", told[0]) else ""
                reader.found.append(lead + " \u2014 ".join(told[1:] if lead else told))
        index += 1
    return max(index, start + 1)


def _trim(text: str) -> str:
    return bullets.unchecked(text).strip()


def sameness(text: str) -> str:
    """What makes two criteria the same: letters and digits without case, emphasis and a leading ``AC1:``."""
    plain = re.sub(r"[*_`]", "", text).casefold()
    bare = re.sub(r"^\s*ac[-\s]?\d+[a-z]?\s*[:.)\u2013\u2014-]\s*", "", plain) or plain
    return " ".join(bare.split()).rstrip(".;, ")


def unique(criteria: Iterable[str]) -> list[str]:
    """Without exact repetitions."""
    return list(dict.fromkeys(criteria))


def united(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Both, in order; one of the second that says the same as one of the first is left out."""
    known = {sameness(text) for text in first}
    return unique([*first, *(text for text in second if sameness(text) not in known)])
