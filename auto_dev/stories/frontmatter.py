"""Frontmatter: found, split off, and read field by field, so that one bad line does not take the others with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from auto_dev import text as texts
from auto_dev.stories import bullets, keys, lenient, yamltree
from auto_dev.stories.model import Problem
from auto_dev.stories.problems import error, warning
from auto_dev.stories.yamltree import Map, Node, Scalar, Seq, TreeError

QUOTE_IT: Final = "Put the text in quotes."


@dataclass(frozen=True, slots=True)
class Field:
    """One stated value: ``name`` as written, ``key`` ours or empty. ``bold``: from the text of a body or table."""

    name: str
    node: Node
    line: int
    bold: bool = False
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", keys.known(self.name))


@dataclass(slots=True)
class Front:
    """What a file says before its body, whose first line is ``body_line``. ``present``: there is frontmatter."""

    fields: list[Field] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    body: str = ""
    body_line: int = 1
    present: bool = False


def read(path: str, text: str) -> Front:
    """Split ``text`` (cleaned, ``\\n`` line ends) into fields and body. Never raises."""
    lines = text.split("\n")
    start = _opening(lines)
    if start is None:
        return Front(body=text)
    opening = lines[start].rstrip()
    end = _closing(lines, start, opening)
    if opening == "+++":
        return _toml(path, lines, start, end)
    if end is not None and not _looks_like_fields(lines[start + 1 : end]):
        return Front(body=text)  # a rule, not frontmatter
    if end is None:
        return _unclosed(path, text, lines, start)
    front = _split(lines, end + 1, start)
    front.fields, front.problems = fields(path, "\n".join(lines[start + 1 : end]), start + 2)
    return front


def _opening(lines: Sequence[str]) -> int | None:
    """The line that opens the frontmatter. People put their first heading above it."""
    for index, line in enumerate(lines[:20]):
        if line.rstrip() in ("---", "+++"):
            return index
        if line.strip() and not re.match(r"#{1,6}\s|<!--.*-->\s*$", line):
            return None
    return None


def _split(lines: list[str], body_start: int, start: int) -> Front:
    """The body keeps what stands above the frontmatter; blank lines stand in for it, so that line numbers stay true."""
    above = [*lines[:start], *[""] * (body_start - start)] if any(line.strip() for line in lines[:start]) else []
    first = 1 if above else body_start + 1
    return Front(body="\n".join([*above, *lines[body_start:]]), body_line=first, present=True)


def _closing(lines: list[str], start: int, fence: str) -> int | None:
    closers = (fence, "...") if fence == "---" else (fence,)
    for index in range(start + 1, len(lines)):
        if lines[index].rstrip() in closers:
            return index
    return None


def _looks_like_fields(lines: Sequence[str]) -> bool:
    """Whether the lines are meant as keys: the first line that says something is one, or any line is one of ours."""
    meaning = [line for line in lines if line.strip() and not line.startswith("#")]
    if not meaning:
        return not any(line.strip() for line in lines)
    matches = [match for match in map(lenient.KEY_LINE.match, meaning) if match]
    return any(keys.known(match["key"]) for match in matches) or bool(lenient.KEY_LINE.match(meaning[0]))


def _unclosed(path: str, text: str, lines: list[str], start: int) -> Front:
    """Frontmatter that is never closed: the fields end where lines stop being fields."""
    end = start + 1
    for index in range(start + 1, len(lines)):
        line = lines[index]
        if line.startswith("#"):
            break
        deeper = line[:1].isspace() or bullets.bullet(line) is not None
        if line.strip() and not deeper and not lenient.KEY_LINE.match(line):
            break
        end = index + 1 if line.strip() else end
    if not _looks_like_fields(lines[start + 1 : end]) or end == start + 1:
        return Front(body=text)
    front = _split(lines, end, start)
    front.fields, front.problems = fields(path, "\n".join(lines[start + 1 : end]), start + 2)
    front.problems.insert(
        0, error(path, "the frontmatter is never closed", "Put a line with --- after its last key.", line=start + 1)
    )
    return front


def _toml(path: str, lines: list[str], start: int, end: int | None) -> Front:
    if end is None:
        front = Front(body="\n".join(lines), present=True)
        front.problems = [
            error(path, "the frontmatter is never closed", "Put a line with +++ after it.", line=start + 1)
        ]
        return front
    front = _split(lines, end + 1, start)
    try:
        data = tomllib.loads("\n".join(lines[start + 1 : end]))
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as fault:
        where = re.search(r"at line (\d+)", str(fault))
        line = start + 1 + int(where[1]) if where else start + 1
        mend = "Mend the TOML between the +++ lines, or write YAML between --- lines."
        front.problems = [error(path, f"the frontmatter is not TOML: {texts.line(str(fault), 120)}", mend, line=line)]
        front.fields = _toml_ids(lines[start + 1 : end], start + 2)
        return front
    front.fields = [Field(name, plain_node(value, start + 2), start + 2) for name, value in data.items()]
    return front


def _toml_ids(lines: Sequence[str], first_line: int) -> list[Field]:
    found = []
    for offset, line in enumerate(lines):
        match = re.match(r"""\s*(\w+)\s*=\s*["']([^"']*)["']\s*(?:#.*)?$""", line)
        if match and keys.known(match[1]):
            found.append(Field(match[1], Scalar(match[2], first_line + offset), first_line + offset))
    return found


def plain_node(value: Any, line: int) -> Node:
    """A Python value (from TOML) as a tree."""
    if isinstance(value, Mapping):
        return Map(tuple((Scalar(texts.clean(str(k)), line), plain_node(v, line)) for k, v in value.items()), line)
    if isinstance(value, list):
        return Seq(tuple(plain_node(item, line) for item in value), line)
    if isinstance(value, bool):
        return Scalar(str(value).lower(), line, plain=True)
    if isinstance(value, str):
        return Scalar(texts.clean(value), line)
    return Scalar(texts.clean(str(value)), line, plain=True)


def fields(path: str, source: str, first_line: int) -> tuple[list[Field], list[Problem]]:
    """The fields of the YAML mapping ``source``, whose first line is line ``first_line`` of the file."""
    repaired = lenient.quoted(source)
    problems: list[Problem]
    try:
        found, problems = _whole(repaired, first_line), []
    except TreeError as fault:
        return _by_chunks(path, repaired, first_line, fault)
    if repaired != source:
        try:
            yamltree.parse(source, first_line)
        except TreeError as fault:
            problems.append(_odd(path, fault.line, fault.what))
    return found, problems


def _odd(path: str, line: int, what: str) -> Problem:
    return warning(path, f"not quite YAML ({what}); it is taken as it was written", QUOTE_IT, line=line)


def _whole(source: str, first_line: int) -> list[Field]:
    documents = yamltree.parse(source, first_line)
    if not documents or yamltree.is_null(documents[0]):
        return []
    root = documents[0]
    if not isinstance(root, Map) or len(documents) > 1:
        raise TreeError("the frontmatter is no list of keys and values", first_line)
    return [Field(name, node, line) for name, node, line in yamltree.merged(root)]


def _by_chunks(path: str, source: str, first_line: int, fault: TreeError) -> tuple[list[Field], list[Problem]]:
    """Read key by key. What only one reading fits is taken with a warning; anything else is an error."""
    found: list[Field] = []
    problems: list[Problem] = []
    stray: list[tuple[int, str]] = []
    for offset, chunk in _chunks(source.split("\n")):
        line = first_line + offset
        if ":" not in chunk[0]:
            stray.append((line, chunk[0]))
            continue
        try:
            found += _whole("\n".join(chunk), line)
        except TreeError as inner:
            field_, problem = _raw(path, chunk, line, inner)
            problems.append(problem)
            found += [field_] if field_ else []
    problems += _stray(path, stray)
    if not problems:  # each key by itself is well formed, together they are not: anchors across keys, indentation
        mend = "Indent the keys alike, and begin each at the start of its line."
        problems.append(error(path, f"the frontmatter is not YAML: {fault.what}", mend, line=fault.line))
    return found, problems


def _chunks(lines: list[str]) -> list[tuple[int, list[str]]]:
    """The lines of each top-level key with their offset; what belongs to no key is a chunk of its own."""
    chunks: list[tuple[int, list[str]]] = []
    for offset, line in enumerate(lines):
        own = bool(line.strip()) and not line[0].isspace() and bullets.bullet(line) is None and line[0] not in "#]}"
        if own or not chunks:
            chunks.append((offset, [line]))
        else:
            chunks[-1][1].append(line)
    return [(offset, chunk) for offset, chunk in chunks if any(line.strip() for line in chunk)]


def _stray(path: str, lines: Sequence[tuple[int, str]]) -> list[Problem]:
    """One error for all lines that belong to no key."""
    if not lines:
        return []
    shown = ", ".join(repr(texts.line(text, 60)) for _, text in lines[:3])
    more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
    mend = "Write `key: value`, or indent the line if it continues the one before."
    message = f"in the frontmatter this is neither a key nor a list item: {shown}{more}"
    return [error(path, message, mend, line=lines[0][0])]


def _raw(path: str, chunk: list[str], line: int, fault: TreeError) -> tuple[Field | None, Problem]:
    match = lenient.KEY_LINE.match(chunk[0])
    if not match:
        return None, _stray(path, [(line, chunk[0])])[0]
    name, value = match["key"].strip("\"'"), match["rest"].strip()
    more = [text for text in chunk[1:] if text.strip() and not text.lstrip().startswith("# ")]
    # A list or map that does not parse has several readings, but for a title it is just text.
    text_only = value[:1] not in ("[", "{") or keys.known(name) in keys.TEXTS
    if value and not more and text_only and not lenient.unbalanced(value) and value[0] not in "&*!|>":
        bare = re.sub(r"\s#\s.*$", "", value).rstrip()
        return Field(name, Scalar(bare, line, plain=True), line), _odd(path, line, fault.what)
    items = _raw_items(more, line)
    if not value and items and "refused" not in fault.what and "more than" not in fault.what:
        return Field(name, Seq(tuple(items), line), line), _odd(
            path, min(fault.line, line + len(chunk) - 1), fault.what
        )
    text = "\n".join([value, *chunk[1:]]).strip()
    mend = "Close every quote and bracket, indent with spaces, and put odd text in quotes."
    where = min(fault.line, line + len(chunk) - 1)
    problem = error(path, f"the frontmatter key {name!r} is not YAML: {fault.what}", mend, line=where)
    if "refused" in fault.what or "more than" in fault.what:
        return None, problem
    kept: Node = Seq(tuple(items), line) if items else Scalar(text, line)
    return Field(name, kept, line), problem


def _raw_items(lines: list[str], line: int) -> list[Node]:
    """List items with their continuation lines; empty when the lines are no list."""
    if not lines or bullets.bullet(lines[0]) is None:
        return []
    column = bullets.width(lines[0])
    items: list[list[str]] = []
    for text in lines:
        item = bullets.bullet(text)
        if item is not None and bullets.width(text) <= column:
            items.append([item])
        else:
            items[-1].append(text)
    return [Scalar(bullets.joined(item), line) for item in items]
