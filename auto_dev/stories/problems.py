"""Short ways to say what is wrong with a file."""

from __future__ import annotations

from auto_dev import text as texts
from auto_dev.stories.model import Problem

_LIMIT = 100_000  # characters: a cycle names all of its files, however many there are


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
