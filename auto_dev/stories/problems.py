"""Short ways to say what is wrong with a file."""

from __future__ import annotations

from auto_dev import text as texts
from auto_dev.stories.model import Problem

_LIMIT = 100_000  # characters: a cycle names all of its files, however many there are


_MOST = 200  # problems told of one file


def bounded(path: str, problems: list[Problem]) -> list[Problem]:
    """At most 200 problems of one file; what more errors hold back stays held back."""
    if len(problems) <= _MOST:
        return problems
    ordered = sorted(problems, key=lambda problem: problem.level != "error")
    rest = ordered[_MOST - 1 :]
    message = f"{len(rest)} more problems in this file"
    held = tuple(dict.fromkeys(name for problem in rest if problem.level == "error" for name in problem.story_ids))
    last = error(path, message, story_ids=held) if held else warning(path, message)
    return [*ordered[: _MOST - 1], last]


def error(
    path: str, message: str, mend: str = "", *, line: int | None = None, story_ids: tuple[str, ...] = ()
) -> Problem:
    """A problem that holds back ``story_ids``."""
    return Problem(
        level="error", path=path, message=texts.line(message, _LIMIT), mend=mend, line=line, story_ids=story_ids
    )


def warning(
    path: str, message: str, mend: str = "", *, line: int | None = None, story_ids: tuple[str, ...] = ()
) -> Problem:
    """A problem that only tells."""
    return Problem(
        level="warning", path=path, message=texts.line(message, _LIMIT), mend=mend, line=line, story_ids=story_ids
    )
