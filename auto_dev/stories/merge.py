"""Put the files of a folder together: one story may be told by its own file, by an index and by a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from auto_dev.stories import ids
from auto_dev.stories.found import Found, Origin, Reading
from auto_dev.stories.model import Document, Problem, Story
from auto_dev.stories.problems import warning


def merge(readings: Sequence[Reading]) -> tuple[list[Story], tuple[Document, ...], list[Problem]]:
    """The stories in order, the files that are none, and all problems. Real duplicates stay, for the checker."""
    problems = [problem for reading in readings for problem in reading.problems]
    demoted = _companions(readings)
    groups = _groups([found for reading in readings for found in reading.found if id(found) not in demoted])
    stories: list[tuple[int, Story]] = []
    places = {id(found): i for i, found in enumerate(found for reading in readings for found in reading.found)}
    for group in groups.values():
        for found, story in _united(group, problems):
            stories.append((places[id(found)], story))
    stories.sort(key=lambda entry: entry[0])
    _expand(stories, readings)
    numbered = [story.model_copy(update={"position": position}) for position, (_, story) in enumerate(stories)]
    return numbered, _documents(readings, demoted), _still(problems, numbered, demoted, readings)


def _groups(found: Sequence[Found]) -> dict[str, list[Found]]:
    """By id. An index may write an id in another case than the story's own file does."""
    own = {entry.story.id.casefold(): entry.story.id for entry in found if entry.origin is Origin.FILE}
    groups: dict[str, list[Found]] = {}
    for entry in found:
        name = entry.story.id
        if entry.origin is not Origin.FILE:
            name = own.get(name.casefold(), name)
        groups.setdefault(name, []).append(entry)
    return groups


def _still(
    problems: Iterable[Problem], stories: Iterable[Story], demoted: set[int], readings: Sequence[Reading]
) -> list[Problem]:
    """Nothing about a companion document counts but that it is broken, and that holds nothing back. The same goes for
    a broken story.yaml beside the story's Markdown."""
    read = {story.id.lower(): story.path for story in stories}
    alive = set(read.values())
    gone = {found.story.path for reading in readings for found in reading.found if id(found) in demoted} - alive
    beside = {
        reading.path
        for reading in readings
        if reading.kind == "unreadable" and read.get(ids.folder_id(reading.path).lower(), reading.path) != reading.path
    }
    kept = (problem for problem in problems if problem.level == "error" or problem.path not in gone)
    return [
        problem.model_copy(update={"level": "warning"}) if problem.path in gone | beside else problem
        for problem in kept
    ]


def _companions(readings: Sequence[Reading]) -> set[int]:
    """Files in a story's own folder that state its id too: the one that is named by the bare id is the story."""
    by_folder: dict[tuple[str, str], list[Found]] = {}
    for reading in readings:
        for found in reading.found:
            if found.origin is Origin.FILE:
                folder = _own_folder(found.story)
                if folder:
                    by_folder.setdefault((folder, found.story.id.lower()), []).append(found)
    demoted: set[int] = set()
    for group in by_folder.values():
        ranked = sorted(group, key=lambda found: (ids.own_rank(found.story.path, found.story.id), found.story.path))
        best = ids.own_rank(ranked[0].story.path, ranked[0].story.id)
        for found in ranked[1:]:
            deeper = len(PurePosixPath(found.story.path).parts) > len(PurePosixPath(ranked[0].story.path).parts)
            if ids.own_rank(found.story.path, found.story.id) > best or deeper:
                demoted.add(id(found))
    return demoted


def _own_folder(story: Story) -> str:
    """The outermost folder that belongs to the story and that its file lies in."""
    parts = PurePosixPath(story.path).parts[:-1]
    for depth in range(1, len(parts) + 1):
        name = parts[depth - 1]
        if name.lower() == story.id.lower() or (
            ids.is_own_folder(name) and ids.leading(name).lower() == story.id.lower()
        ):
            return "/".join(parts[:depth])
    return ""


def _united(group: list[Found], problems: list[Problem]) -> list[tuple[Found, Story]]:
    """The strongest entries of one id, filled from the weaker ones. Several strongest ones stay: duplicates."""
    top = max(found.origin for found in group)
    strongest = [found for found in group if found.origin is top]
    if top is Origin.ROW:  # rows of different tables speak of the same story, rows of one table do not
        strongest = [found for found in strongest if found.place == strongest[0].place]
    weaker = [found for found in group if not any(found is other for other in strongest)]
    weaker.sort(key=lambda found: -found.origin)
    result = []
    for found in strongest:
        story, stated = found.story, set(found.stated)
        for other in weaker:
            story = _filled(story, stated, other, problems)
        result.append((found, story))
    return result


def _filled(story: Story, stated: set[str], other: Found, problems: list[Problem]) -> Story:
    weak = other.story
    update: dict[str, Any] = {name: getattr(weak, name) for name in other.stated - stated}
    if "status" in update:
        update["declared_status"] = weak.declared_status
    elif "status" in other.stated and weak.status is not story.status:
        message = f"{weak.id}: {story.path} says {story.declared_status!r}, this says {weak.declared_status!r}"
        problems.append(warning(weak.path, f"{message}; the story's own file counts", line=other.line))
    extra = {name: value for name, value in weak.extra.items() if name not in story.extra}
    if extra:
        update["extra"] = {**story.extra, **extra}
    if not story.body.strip() and weak.body.strip():
        update["body"] = weak.body
    stated |= other.stated
    return story.model_copy(update=update) if update else story


def _expand(stories: list[tuple[int, Story]], readings: Sequence[Reading]) -> None:
    """A dependency on an epic or milestone is one on every task in it."""
    containers = {name: leaves for reading in readings for name, leaves in reading.containers.items()}
    real = {story.id for _, story in stories}
    for number, (place, story) in enumerate(stories):
        needed = [
            leaf
            for name in story.depends_on
            for leaf in (containers[name] if name in containers and name not in real else (name,))
        ]
        if tuple(needed) != story.depends_on:
            kept = tuple(dict.fromkeys(leaf for leaf in needed if leaf != story.id))
            stories[number] = (place, story.model_copy(update={"depends_on": kept}))


def _documents(readings: Sequence[Reading], demoted: set[int]) -> tuple[Document, ...]:
    documents = []
    for reading in readings:
        gone = [found for found in reading.found if id(found) in demoted]
        kind = "companion" if gone and len(gone) == len(reading.found) else reading.kind
        if kind in ("companion", "document", "unreadable"):
            documents.append(Document(path=reading.path, kind=kind))
    return tuple(documents)
