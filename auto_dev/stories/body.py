"""A story's Markdown body: its first heading, the fields it states, its acceptance criteria."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from auto_dev.stories import bullets, criteria, ids, keys, markdown
from auto_dev.stories.frontmatter import Field
from auto_dev.stories.yamltree import Node, Scalar, Seq

# Headings whose section is a field. "Context" and "Description" are prose for the brief and stay in the body.
_SECTIONS: Final = frozenset({"goal", "non_goals", "stop_conditions", "status", "priority", "depends_on", "blocked_by"})


@dataclass(frozen=True, slots=True)
class Body:
    """``heading``: the first one, without its id; ``fields`` in the order in which they count."""

    document: markdown.Document
    heading: str
    heading_id: str
    fields: tuple[Field, ...]
    criteria: tuple[str, ...]


def read(text: str, first_line: int) -> Body:
    doc = markdown.document(text)
    first = doc.headings[0] if doc.headings else None
    heading_id, heading = ids.in_heading(first.text) if first else ("", "")
    told = [*preamble(doc, first_line), *section_fields(doc, first_line)]
    return Body(doc, heading, heading_id, tuple(told), tuple(criteria.of_document(doc)))


def preamble(doc: markdown.Document, first_line: int) -> list[Field]:
    """Fields before the second heading, where files without frontmatter keep them."""
    start = doc.headings[0].line + 1 if doc.headings and not _text_before(doc) else 0
    later = [heading.line for heading in doc.headings if heading.line >= start]
    end = later[0] if later else len(doc.lines)
    found = markdown.bold_fields(doc.lines[start:end], first_line + start, plain=True)
    return [item for item in found if not criteria.is_heading(item.name)]


def _text_before(doc: markdown.Document) -> bool:
    return any(line.strip() for line in doc.lines[: doc.headings[0].line])


def section_fields(doc: markdown.Document, first_line: int) -> list[Field]:
    """``## Goal``, ``## Non-goals``, ``## Stop conditions``, ``## Status`` and the like as fields."""
    found = []
    for heading in doc.headings:
        name = re.sub(r"\s?\(.*\)$", "", markdown.label(heading.text)).strip()
        key = keys.known(name)
        if key not in _SECTIONS:
            continue
        inner = [h.line for h in doc.headings if heading.line < h.line < heading.end]
        lines = doc.lines[heading.line + 1 : inner[0] if inner else heading.end]
        node = _section_node(key, lines, first_line + heading.line)
        if node is not None:
            found.append(Field(name, node, first_line + heading.line))
    return found


def _section_node(key: str, lines: Sequence[str], line: int) -> Node | None:
    if key in ("depends_on", "blocked_by"):
        named = [ids.leading(re.sub(r"^[\W_]+", "", bullets.unchecked(item))) for item in markdown.list_items(lines)]
        told = [Scalar(name, line) for name in named if name]
        return Seq(tuple(told), line) if told else None
    if key in ("non_goals", "stop_conditions"):
        items = markdown.list_items(lines) or list(filter(None, [markdown.paragraph(lines)]))
        return Seq(tuple(Scalar(item, line) for item in items), line) if items else None
    text = markdown.paragraph(lines)
    if key != "goal" and len(text) > 60:
        return None  # prose about the status, not a status
    return Scalar(text, line) if text else None
