"""A story as it was read: plain frozen values, no I/O."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from auto_dev.model import FileStatus


class Story(BaseModel):
    """One unit of work. ``extra`` keeps unknown frontmatter; ``path`` is relative to the folder that was read.

    ``declared_status`` is what the file or folder says, in its own word; ``status`` what it means here.
    JSON-serialisable: ``model_dump(mode="json")`` is stored in the database and read back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    path: str
    goal: str = ""
    context: tuple[str, ...] = ()
    acceptance_criteria: tuple[str, ...] = ()
    non_goals: tuple[str, ...] = ()
    stop_conditions: tuple[str, ...] = ()
    priority: int = 3
    tags: tuple[str, ...] = ()
    estimate_hours: float | None = None
    status: FileStatus = FileStatus.READY
    declared_status: str = ""
    depends_on: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    base_branch: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    era: str | None = None
    body: str = ""
    extra: dict[str, Any] = {}
    position: int = 0


class Problem(BaseModel):
    """Something about a file. An ``error`` holds back the stories in ``story_ids``; a ``warning`` only tells."""

    model_config = ConfigDict(frozen=True)

    level: str  # "error" | "warning"
    path: str
    message: str
    mend: str = ""
    line: int | None = None
    story_ids: tuple[str, ...] = ()


class Document(BaseModel):
    """A file in which there is no story: a ``companion`` of one, a plain ``document``, or ``unreadable``."""

    model_config = ConfigDict(frozen=True)

    path: str
    kind: str


class Backlog(BaseModel):
    """A folder as read: the stories in a stable order, and every problem found. ``files``: how many were looked at."""

    model_config = ConfigDict(frozen=True)

    stories: tuple[Story, ...]
    problems: tuple[Problem, ...]
    files: int
    documents: tuple[Document, ...] = ()

    def held_back(self) -> dict[str, Problem]:
        """Story id → the first error that holds it back."""
        held: dict[str, Problem] = {}
        for problem in self.problems:
            if problem.level == "error":
                for story_id in problem.story_ids:
                    held.setdefault(story_id, problem)
        return held
