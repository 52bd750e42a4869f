"""Read a folder of stories. ``read_file`` is pure; ``read_folder`` walks, reads bytes and puts the files together."""

from __future__ import annotations

import codecs
from pathlib import Path, PurePosixPath

from auto_dev import text as texts
from auto_dev.stories import body, build, check, criteria, epics, frontmatter, ids, index, keys, merge, status, walk
from auto_dev.stories.found import Found, Origin, Reading
from auto_dev.stories.frontmatter import Field, Front
from auto_dev.stories.model import Backlog, Problem, Story
from auto_dev.stories.problems import bounded, error, warning
from auto_dev.stories.yamltree import flat, is_null

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_YAML = (".yaml", ".yml")


def read_folder(folder: Path) -> Backlog:
    """Every story below ``folder``, in the order of paths, with every problem found.

    Raises StoryError when ``folder`` is missing, is no folder, or holds no file that could be a story.
    """
    files, problems = walk.walk(folder)
    readings = []
    for path, data in files:
        if isinstance(data, Problem):
            readings.append(_unread(path, data))
        else:
            readings.append(parse(path, data))
    stories, documents, more = merge.merge(readings)
    return check.check(stories, [*problems, *more], files=len(files), documents=documents)


def read_file(path: str, data: bytes) -> tuple[list[Story], list[Problem]]:
    """The stories in one file, ``path`` being relative to the folder, and what is wrong with it. Never raises."""
    reading = parse(path, data)
    return [found.story for found in reading.found], reading.problems


def parse(path: str, data: bytes) -> Reading:
    """One file, with what the folder needs to know about it. Never raises."""
    text = decode(path, data)
    if isinstance(text, Problem):
        return _unread(path, text)
    reading = epics.read(path, text) if PurePosixPath(path).suffix.lower() in _YAML else _markdown(path, text)
    reading.problems = bounded(path, reading.problems)
    return reading


def decode(path: str, data: bytes) -> str | Problem:
    """The file's text, cleaned, with ``\\n`` line ends; a problem when it is no text."""
    mark, encoding = next(((bom, name) for bom, name in _BOMS if data.startswith(bom)), (b"", "utf-8"))
    mend = "Save it as UTF-8."
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as fault:
        offset = fault.start + len(mark)
        return error(path, f"not {encoding.upper()}: byte {offset} ({data[offset]:#04x}) does not fit", mend)
    if "\0" in text:
        offset = data.index(b"\0") if encoding == "utf-8" else text.index("\0")
        return error(path, f"not text: a NUL at byte {offset}", mend)
    # Unicode's own line separators are line breaks to YAML but not to people's editors.
    return texts.clean(text).translate({0x2028: " ", 0x2029: " ", 0xFEFF: ""})


def _unread(path: str, problem: Problem) -> Reading:
    """A file that cannot be read: its name may still tell which story is held back."""
    story_id = _named(path)
    if not story_id or ids.is_companion_name(path):
        return Reading(path, "unreadable", problems=[problem])
    held = problem.model_copy(update={"story_ids": (story_id,)})
    story = Story(id=story_id, title=story_id, path=path)
    return Reading(path, "story", [Found(story, Origin.FILE, frozenset(), 1, path)], [held])


def _named(path: str) -> str:
    """The id with letters that a file's name or its story folder tells."""
    stem = PurePosixPath(path).stem
    return ids.leading(stem) or (ids.folder_id(path) if ids.own_rank(path, "") == 1 else "")


def _markdown(path: str, text: str) -> Reading:
    front = frontmatter.read(path, text)
    told = body.read(front.body, front.body_line)
    stated = build.id_of(front.fields)
    kind = _type(front)
    if stated and not _accompanies(path, stated, kind) and not _is_document(front, kind, kinds=keys.OTHER_TYPES):
        return _story(path, front, told, stated)
    if ids.is_companion_name(path):
        return Reading(path, "companion", problems=_only_warnings(front.problems))
    named = _named(path)
    document_type = _is_document(front, kind)
    certain = named and (named[0].isupper() or told.heading_id.lower() == named.lower())
    if not document_type and certain and told.heading_id.lower() in ("", named.lower()):
        return _story(path, front, told, named)
    announced = index.is_index_name(path) or "index" in kind or "stories" in kind
    found, problems = index.read(path, told.document, front.body_line, announced=announced)
    if _is_whole(found, told, front.body_line):
        return _story(path, front, told, told.heading_id)
    if found:
        return Reading(path, "index", found, [*_only_warnings(front.problems), *problems])
    if document_type:
        return Reading(path, "document", problems=_only_warnings(front.problems))
    return _unnamed(path, front, told, named)


def _unnamed(path: str, front: Front, told: body.Body, named: str) -> Reading:
    """No id is stated and none of the surer signs is there."""
    number = ids.leading_number(PurePosixPath(path).stem)
    telling = {item.key for item in front.fields if not is_null(item.node)}
    sure = bool(telling & keys.TELLING or told.criteria)
    hints = {"status", "goal", "priority", "depends_on", "blocked_by"} & {item.key for item in told.fields}
    if told.heading_id and (sure or hints or named):
        return _story(path, front, told, told.heading_id)
    if named and (sure or hints or telling & {"status", "title"}):
        return _story(path, front, told, named)
    # A number before a name is common: documents of a series have it too, and criteria of success.
    if number and (telling & keys.TELLING or {"status", "title"} <= telling or criteria.announced(told.document)):
        return _story(path, front, told, number)
    if telling & keys.TELLING or _type(front) in keys.STORY_TYPES:
        return _without_id(path, front, told)
    broken = [problem for problem in front.problems if problem.level == "error"]
    if broken:
        first = broken[0]
        message = f"no story in this file: {first.message}"
        return Reading(path, "document", problems=[warning(path, message, first.mend, line=first.line)])
    return Reading(path, "document", problems=front.problems)


def _without_id(path: str, front: Front, told: body.Body) -> Reading:
    """Meant as a story, but nothing tells its id: held back under a provisional one."""
    stem = PurePosixPath(path).stem
    provisional = ids.suggest(stem if stem.lower() not in ("readme", "story", "index") else path) or "story"
    mend = f"Add `id: …` to its frontmatter, or begin the file's name with an id ({provisional[:20].upper()}-1-….md)."
    front.problems.append(error(path, "has no id", mend, line=1, story_ids=(provisional,)))
    return _story(path, front, told, provisional)


def _is_document(front: Front, kind: str, kinds: frozenset[str] = frozenset()) -> bool:
    """Whether ``type`` says that the file is no story (without an id: any type but a story's), and no key says more."""
    other = kind in kinds if kinds else bool(kind) and kind not in keys.STORY_TYPES
    return other and not any(item.key in keys.TELLING - {"depends_on", "blocks"} for item in front.fields)


def _type(front: Front) -> str:
    """``type`` or ``doc_type`` of the frontmatter, in snake case."""
    for item in front.fields:
        if keys.snake(item.name) in ("doc_type", "type", "doctype", "kind"):
            return keys.snake(flat(item.node))
    return ""


def _accompanies(path: str, stated: str, kind: str) -> bool:
    """Whether a file that states a story's id is yet another document about it: ``ELAB-X-1.md``, ``type: proof``."""
    if ids.own_rank(path, stated) < 2:
        return False
    of_its_folder = ids.folder_id(path).lower() == stated.lower()
    if kind and kind not in keys.STORY_TYPES and (of_its_folder or kind.startswith(("elab", "proof", "qa", "review"))):
        return True
    return ids.is_companion_name(path) and (of_its_folder or PurePosixPath(path).stem.lower().endswith(stated.lower()))


def _is_whole(found: list[Found], told: body.Body, first_line: int) -> bool:
    """Whether the only story is the file itself: its first heading names it."""
    first = told.document.headings[0] if told.document.headings else None
    if not first or len(found) != 1 or found[0].origin is not Origin.SECTION:
        return False
    return first.level == 1 and found[0].line == first_line + first.line


def _only_warnings(problems: list[Problem]) -> list[Problem]:
    """Broken frontmatter of a document that is no story holds nothing back."""
    return [problem.model_copy(update={"level": "warning"}) for problem in problems]


def _story(path: str, front: Front, told: body.Body, story_id: str) -> Reading:
    fields: list[Field] = list(front.fields)
    fallback = told.fields
    if not front.present:  # the bold fields are all that there is: unknown ones are kept too
        fields, fallback = [item for item in told.fields if not item.key], told.fields
    source = build.Source(
        path=path,
        fields=fields,
        fallback=fallback,
        body=front.body,
        story_id=story_id,
        title=told.heading
        or (told.document.headings[0].text if told.document.headings and not told.heading_id else ""),
        body_criteria=told.criteria,
        lane=status.lane(path),
        problems=front.problems,
    )
    built = build.build(source)
    found = Found(built.story, Origin.FILE, built.stated, 1, path)
    return Reading(path, "story", [found], list(built.problems))
