"""What the reading of one file yields, before the folder is put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from auto_dev.stories.model import Problem, Story


class Origin(IntEnum):
    """Where a story was stated; of the same story the highest wins and the others fill what it lacks."""

    ROW = 1  # a row of a table
    SECTION = 2  # a section of an index file
    SIDE = 3  # story.yaml beside the story's Markdown
    FILE = 4  # a file of its own


@dataclass(frozen=True, slots=True)
class Found:
    """A story with the names of the fields that were really stated. ``place``: which table or file, for duplicates."""

    story: Story
    origin: Origin
    stated: frozenset[str]
    line: int
    place: str


@dataclass(slots=True)
class Reading:
    """One file. ``kind``: story, index, companion, document or unreadable."""

    path: str
    kind: str = "document"
    found: list[Found] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    containers: dict[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # id of an epic or milestone → ids of its leaves
