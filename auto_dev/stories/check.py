"""The checks over all stories of a folder: ids, dependencies, cycles. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from auto_dev.model import FileStatus
from auto_dev.stories import order
from auto_dev.stories.model import Backlog, Document, Problem, Story
from auto_dev.stories.problems import error, warning


def check(
    stories: Iterable[Story],
    problems: Iterable[Problem],
    *,
    files: int | None = None,
    documents: tuple[Document, ...] = (),
) -> Backlog:
    """The stories with their dependencies resolved (``blocks`` turned round), and every problem.

    An error holds back only the stories that it names: all duplicates of an id, the story with a dangling dependency,
    the members of a cycle. What depends on them is no error; it waits.
    """
    told = list(stories)
    found = list(problems)
    found += _missing(told)
    found += _duplicates(told)
    told, more = _resolved(told)
    found += more
    found += _cycles(told)
    looked_at = files if files is not None else len({story.path for story in told})
    return Backlog(stories=tuple(told), problems=tuple(found), files=looked_at, documents=documents)


def _missing(stories: Sequence[Story]) -> list[Problem]:
    return [error(story.path, "has no id", "Add `id: …`.", story_ids=("",)) for story in stories if not story.id]


def _duplicates(stories: Sequence[Story]) -> list[Problem]:
    """Ids that differ in case only count too: they become branch names, and some file systems know no case."""
    groups: dict[str, list[Story]] = {}
    for story in stories:
        groups.setdefault(story.id.casefold(), []).append(story)
    problems = []
    for group in groups.values():
        if len(group) < 2 or not group[0].id:
            continue
        names = list(dict.fromkeys(story.id for story in group))
        paths = list(dict.fromkeys(story.path for story in group))
        where = " and ".join(paths) if len(paths) > 1 else f"{paths[0]} ({len(group)} times)"
        what = (
            f"the id {names[0]} is used"
            if len(names) == 1
            else f"the ids {' and '.join(names)} differ in case only; they are"
        )
        message = f"{what} more than once: in {where}" if len(names) == 1 else f"{what} in {where}"
        problems.append(error(paths[0], message, "Give each story an id of its own.", story_ids=tuple(names)))
    return problems


def _resolved(stories: Sequence[Story]) -> tuple[list[Story], list[Problem]]:
    """Dependencies under the ids that the stories really have, with the edges that ``blocks`` adds."""
    names = _Names(stories)
    problems: list[Problem] = []
    added: dict[str, list[str]] = {}
    for story in stories:
        for blocked in story.blocks:
            target = names.find(blocked)
            if target:
                added.setdefault(target, []).append(story.id)
            else:
                message = f"{story.id} says that it blocks {blocked}, which is no story here"
                problems.append(warning(story.path, message, "Correct the id, or take it out."))
    result = []
    for story in stories:
        needed, dangling = [], []
        for name in (*story.depends_on, *added.get(story.id, ())):
            target = names.find(name)
            needed.append(target or name)
            if not target:
                dangling.append(name)
        if dangling:
            problems.append(_dangling(story, dangling))
        depends_on = tuple(dict.fromkeys(needed))
        blocks = tuple(dict.fromkeys(names.find(name) or name for name in story.blocks))
        changed = depends_on != story.depends_on or blocks != story.blocks
        result.append(story.model_copy(update={"depends_on": depends_on, "blocks": blocks}) if changed else story)
    return result, problems


def _dangling(story: Story, names: Sequence[str]) -> Problem:
    listed = ", ".join(names)
    what = "which is no story" if len(names) == 1 else "which are no stories"
    message = f"{story.id} depends on {listed}, {what} in this folder"
    mend = f"Correct it; if it is finished, strike it through (~~{names[0]}~~) or take it out."
    if story.status is FileStatus.DONE:  # nothing waits for it any more
        return warning(story.path, message, mend)
    return error(story.path, message, mend, story_ids=(story.id,))


class _Names:
    """Finds a story by its id, by its id in another case, or by the name of its file."""

    def __init__(self, stories: Sequence[Story]) -> None:
        self.exact = {story.id for story in stories if story.id}
        self.folded: dict[str, set[str]] = {}
        for story in stories:
            if story.id:
                self.folded.setdefault(story.id.casefold(), set()).add(story.id)
        self.files: dict[str, set[str]] = {}
        for story in stories:
            stem = PurePosixPath(story.path).stem.casefold()
            self.files.setdefault(stem, set()).add(story.id)

    def find(self, name: str) -> str:
        if name in self.exact:
            return name
        folded = name.casefold()
        stem = folded.removesuffix(".md").rsplit("/", 1)[-1]
        for table, key in ((self.folded, folded), (self.files, stem)):
            found = table.get(key, set())
            if len(found) == 1:
                return next(iter(found))
        return ""


def _cycles(stories: Sequence[Story]) -> list[Problem]:
    """Dependencies of finished stories bind nobody and are left out."""
    by_id = {story.id: story for story in stories}
    edges = {
        story.id: [name for name in story.depends_on if name in by_id] if story.status is not FileStatus.DONE else []
        for story in by_id.values()
    }
    problems = []
    for members in order.cycles(edges):
        around = " → ".join(f"{name} ({by_id[name].path})" for name in [*members.path, members.path[0]])
        message = f"depends on itself in a circle: {around}"
        if len(members.all) > len(members.path):
            others = sorted(members.all - set(members.path))
            message += f"; also caught in it: {', '.join(f'{name} ({by_id[name].path})' for name in others)}"
        told = tuple(sorted(members.all))
        mend = "Take one of these dependencies out."
        problems.append(error(by_id[members.path[0]].path, message, mend, story_ids=told))
    return problems
