"""Several stories in one Markdown file: sections headed ``ID: Title``, or the rows of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from auto_dev.stories import body, build, criteria, ids, keys, markdown, status
from auto_dev.stories.build import Built, Source
from auto_dev.stories.found import Found, Origin
from auto_dev.stories.frontmatter import Field
from auto_dev.stories.model import Problem
from auto_dev.stories.yamltree import Node, Scalar, Seq

_INDEX_NAME = re.compile(
    r"(?:^|[^a-z])(?:index|stories|backlog|tasks|tickets|epics|issues|work[-_ ]?orders)(?:[^a-z]|$)", re.IGNORECASE
)
_EVIDENCE: Final = frozenset(
    {"status", "depends_on", "blocked_by", "goal", "priority", "acceptance_criteria", "estimate_hours", "estimate"}
)
_COLUMNS: Final = _EVIDENCE | {"size", "blocks"}
_ID_HEADERS: Final = frozenset(
    {"id", "story", "story_id", "task", "ticket", "issue", "item", "key", "wo", "work_order", "no"}
)
_TITLE_HEADERS: Final = frozenset(
    {"title", "name", "feature", "summary", "description", "story", "task", "story_title", "what"}
)
_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_STRUCK_HEADING = re.compile(r"\s*[^\w~]*~~.*~~\s*$")


@dataclass(frozen=True, slots=True)
class _Section:
    heading: markdown.Heading
    story_id: str
    title: str
    end: int


def is_index_name(path: str) -> bool:
    """Whether the file's name says that it lists stories."""
    return bool(_INDEX_NAME.search(PurePosixPath(path).stem))


def read(path: str, doc: markdown.Document, first_line: int, *, announced: bool) -> tuple[list[Found], list[Problem]]:
    """The stories in a file that is not one story. ``announced``: name or frontmatter call it an index."""
    found: list[Found] = []
    problems: list[Problem] = []
    for built, origin, line, place in [
        *((*_section(path, doc, first_line, part), path) for part in _sections(doc, announced=announced)),
        *_rows(path, doc, first_line, announced=announced),
    ]:
        found.append(Found(built.story, origin, built.stated, line, place))
        problems += built.problems
    return found, problems


def _sections(doc: markdown.Document, *, announced: bool) -> list[_Section]:
    candidates = [(heading, *ids.in_heading(heading.text)) for heading in doc.headings]
    named = [(heading, story_id, title) for heading, story_id, title in candidates if story_id]
    kept = []
    for position, (heading, story_id, title) in enumerate(named):
        following = named[position + 1][0].line if position + 1 < len(named) else len(doc.lines)
        end = min(heading.end - 1, following) if following > heading.line else heading.end
        if announced or _told(doc, heading.line + 1, max(end, heading.line + 1)):
            kept.append((heading, story_id, title))
    sections = []
    for position, (heading, story_id, title) in enumerate(kept):
        following = kept[position + 1][0].line if position + 1 < len(kept) else len(doc.lines)
        sections.append(_Section(heading, story_id, title, min(heading.end, following)))
    return sections


def _told(doc: markdown.Document, start: int, end: int) -> bool:
    """Whether the lines state something that only a story has."""
    lines = doc.lines[start:end]
    if any(item.key in _EVIDENCE for item in markdown.bold_fields(lines, 0, plain=True)):
        return True
    return bool(criteria.in_body("\n".join(lines)))


def _section(path: str, doc: markdown.Document, first_line: int, part: _Section) -> tuple[Built, Origin, int]:
    start = part.heading.line + 1
    text = doc.text(start, part.end)
    inner = markdown.document("\n".join(doc.lines[start : part.end]))
    line = first_line + part.heading.line
    fields = [
        item
        for item in markdown.bold_fields(inner.lines, first_line + start, plain=True)
        if not criteria.is_heading(item.name) and not _step(item.name)
    ]
    struck = bool(_STRUCK_HEADING.match(part.heading.text))
    if struck and not any(item.key == "status" for item in fields):
        fields.append(Field("status", Scalar("superseded", line, plain=True), line))
    source = Source(
        path=path,
        line=line,
        fields=fields,
        fallback=body.section_fields(inner, first_line + start),
        body=text,
        story_id=part.story_id,
        title=part.title,
        body_criteria=criteria.of_document(inner),
        lane=status.lane(path),
    )
    return build.build(source), Origin.SECTION, line


def _step(name: str) -> bool:
    return name.strip().casefold() in ("given", "when", "then", "and", "but", "as a", "i want", "so that")


def _rows(
    path: str, doc: markdown.Document, first_line: int, *, announced: bool
) -> list[tuple[Built, Origin, int, str]]:
    built = []
    index = 0
    while index + 1 < len(doc.lines):
        head = not doc.code[index] and "|" in doc.lines[index] and _RULE.match(doc.lines[index + 1])
        if not head or "|" not in doc.lines[index + 1]:
            index += 1
            continue
        end = index + 2
        while end < len(doc.lines) and "|" in doc.lines[end] and doc.lines[end].strip():
            end += 1
        rows = [_cells(line) for line in doc.lines[index:end]]
        columns = _columns(rows[0], rows[2:], announced=announced)
        for offset, cells in enumerate(rows[2:]):
            line = first_line + index + 2 + offset
            row = _row(path, rows[0], cells, columns, line) if columns else None
            if row:
                built.append((row, Origin.ROW, line, f"{path}:{first_line + index}"))
        index = end
    return built


def _cells(line: str) -> list[str]:
    text = re.sub(r"^\s*\||(?<!\\)\|\s*$", "", line)
    return [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", text)]


@dataclass(frozen=True, slots=True)
class _Columns:
    story_id: int
    title: int  # -1: the id's cell holds the title too


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]], *, announced: bool) -> _Columns | None:
    """Which columns hold id and title; ``None`` when the table lists no stories."""
    names = [keys.snake(markdown.label(cell)) for cell in header]
    own = next((i for i, name in enumerate(names) if name in _ID_HEADERS and _has_ids(rows, i)), -1)
    if own < 0 and header and not re.search(r"\w", header[0]) and _has_ids(rows, 0):
        own = 0  # a column headed "#"
    if own < 0:
        return None
    title = next((i for i, name in enumerate(names) if i != own and name in _TITLE_HEADERS), -1)
    titled = title >= 0 or any(_id_cell(row[own])[1] for row in rows if len(row) > own)
    told = any(keys.known(name) in _COLUMNS for i, name in enumerate(names) if i not in (own, title))
    return _Columns(own, title) if titled and (told or announced) else None


def _has_ids(rows: Sequence[Sequence[str]], column: int) -> bool:
    cells = [row[column] for row in rows if len(row) > column and row[column]]
    return bool(cells) and sum(bool(_id_cell(cell)[0]) for cell in cells) * 2 >= len(cells)


def _id_cell(cell: str) -> tuple[str, str]:
    linked = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell)
    return ids.in_heading(
        re.sub(r"[*_`]{1,2}(?=\S)|(?<=\S)[*`]{1,2}", "", linked) if "_" not in linked else linked.strip("*`")
    )


def _row(path: str, header: Sequence[str], cells: Sequence[str], columns: _Columns, line: int) -> Built | None:
    story_id, rest = _id_cell(cells[columns.story_id]) if len(cells) > columns.story_id else ("", "")
    if not story_id:
        return None
    title = cells[columns.title] if 0 <= columns.title < len(cells) and cells[columns.title] else rest
    fields = []
    for position, cell in enumerate(cells[: len(header)]):
        if position in (columns.story_id, columns.title) or not re.search(r"\w", cell):
            continue
        name = re.sub(r"[*_`]{2}|[*`]", "", header[position]).strip() or f"column {position + 1}"
        if criteria.is_heading(name) or keys.known(name) in keys.SENTENCES:
            items = [part.strip() for part in re.split(r"<br\s*/?>|;", cell) if part.strip()]
            node: Node = Seq(tuple(Scalar(item, line) for item in items), line)
        else:
            node = Scalar(cell, line, plain=True)
        fields.append(Field(name, node, line, bold=True))
    struck = cells[columns.story_id].strip().startswith("~~")
    if struck and not any(item.key == "status" for item in fields):
        fields.append(Field("status", Scalar("superseded", line, plain=True), line))
    plain_title = re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`]", lambda match: match[1] or "", title).strip()
    source = Source(path=path, line=line, fields=fields, story_id=story_id, title=plain_title, lane=status.lane(path))
    return build.build(source)
