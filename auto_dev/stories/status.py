"""Status words and swim lanes: what a file or its folder says, and what that means here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from auto_dev.model import FileStatus

READY_WORDS: Final = (
    "ready todo to-do open pending new planned approved ready-to-work ready-to-start ready-to-go ready-for-work "
    "not-started selected next reopened refined groomed queued scheduled accepted"
)
BACKLOG_WORDS: Final = (
    "backlog draft drafts idea ideas proposed proposal deferred elaboration created icebox future later someday inbox "
    "unrefined"
)
PARKED_WORDS: Final = (
    "parked blocked on-hold hold paused in-progress progress in-review review uat qa testing test active wip doing "
    "started working assigned current awaiting waiting stalled"
)
DONE_WORDS: Final = (
    "done completed complete merged shipped closed archive archived finished released deployed implemented resolved "
    "fixed"
)
DROPPED_WORDS: Final = (
    "cancelled canceled superseded wontfix wont-fix wont-do duplicate obsolete deprecated abandoned rejected deleted "
    "removed dropped skipped replaced not-needed invalid"
)

_MEANING: Final[dict[str, FileStatus]] = {
    **dict.fromkeys(READY_WORDS.split(), FileStatus.READY),
    **dict.fromkeys(BACKLOG_WORDS.split(), FileStatus.BACKLOG),
    **dict.fromkeys(PARKED_WORDS.split(), FileStatus.PARKED),
    **dict.fromkeys((DONE_WORDS + " " + DROPPED_WORDS).split(), FileStatus.DONE),
}
_DROPPED: Final = frozenset(DROPPED_WORDS.split())
_PATTERNS: Final = (
    (
        re.compile(r"ready-(for|to)-(work|dev|develop|development|implement|implementation|start|build|code|coding)"),
        "READY",
    ),
    (re.compile(r"(ready-(for|to)|needs?|requires?|awaiting|waiting|pending|in|under|you|failed)-.+"), "PARKED"),
    (re.compile(r".+-(review|qa|uat|testing|failed|progress|hold)"), "PARKED"),
)
_LANE = re.compile(
    r"(ready|needs?|in|under|awaiting|waiting|failed)-(?:(?:for|to)-)?"
    r"((code|peer|design|qa|po|pm|final|ready)-)*(review|qa|uat|test|testing|verification|work|split|refinement|"
    r"fix|fixes|progress|dev|development|implementation|merge|deploy|release|elaboration|info|approval)"
)
# Words that are common as names of ordinary folders, so that a folder of this name is no lane.
_NO_LANES: Final = frozenset(
    [
        "new",
        "next",
        "current",
        "future",
        "test",
        "testing",
        "fixed",
        "resolved",
        "replaced",
        "removed",
        "invalid",
        "progress",
        "hold",
        "selected",
        "assigned",
        "started",
        "working",
    ]
)
# "backlog/tasks/x.md" is how a well-known tool names its root: there "backlog" says nothing about the story.
_ROOT_PARTS: Final = frozenset({"tasks", "stories", "items", "tickets", "issues"})


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a status word means. ``known``: it is one of our words; ``dropped``: given up rather than finished."""

    word: str
    status: FileStatus
    known: bool = True
    dropped: bool = False


def normal(word: str) -> str:
    """``**✅ In Progress** (since May)`` → ``in-progress``."""
    text = re.sub(r"^\s*\[[ xX~-]?\]\s*", "", word.strip().strip("*_`~\"' "))
    text = re.sub(r"<!--.*?-->|['\u2019`*~]", "", text, flags=re.DOTALL)
    text = re.split(r"[(\[,;:#|\u2014\u2013\n]|\s-+\s|\s/\s|->|\u2192|\.(?:\s|$)", text.strip(), maxsplit=1)[0]
    return re.sub(r"[^a-z0-9/]+", "-", text.casefold()).strip("-/")


def meaning(word: str) -> Meaning | None:
    """What ``word`` means; ``None`` when it says nothing. An unknown word means parked, with ``known`` false."""
    key = normal(word)
    if not key:
        return None if not re.search(r"\w", word) else Meaning(word, FileStatus.PARKED, known=False)
    for candidate in (key, key.split("/")[0], re.sub(r"[-\d/]+$", "", key)):
        if candidate in _MEANING:
            return Meaning(candidate, _MEANING[candidate], dropped=candidate in _DROPPED)
        for pattern, status in _PATTERNS:
            if pattern.fullmatch(candidate):
                return Meaning(candidate, FileStatus[status])
    return Meaning(key, FileStatus.PARKED, known=False)


def lane(path: str) -> str:
    """The swim lane that a file lies in: the nearest folder that is named like a status; empty when there is none."""
    folders = PurePosixPath(path).parts[:-1]
    for index in range(len(folders) - 1, -1, -1):
        key = normal(folders[index])
        below = folders[index + 1].casefold() if index + 1 < len(folders) else ""
        if key in _NO_LANES or (key == "backlog" and below in _ROOT_PARTS):
            continue
        if key in _MEANING or _LANE.fullmatch(key):
            return folders[index]
    return ""


def known_words() -> str:
    """The words to use, for messages."""
    return "ready, backlog, parked, done (also todo, draft, blocked, in-progress, completed and the like)"
