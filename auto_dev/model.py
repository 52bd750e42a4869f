"""Values shared by all layers: the enumerations of the product and small frozen records.

Each enumeration that the database knows has a Postgres ``ENUM`` of the same members; a test holds them together.
Money is an ``int`` of micro-dollars everywhere (suffix ``_microusd``); times are aware UTC datetimes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MICRO: Final = 1_000_000  # micro-dollars in a dollar


class FileStatus(StrEnum):
    """A story's status as its file (or a person) states it."""

    BACKLOG = "backlog"
    READY = "ready"
    PARKED = "parked"
    DONE = "done"


class StoryStatus(StrEnum):
    """A story's status as everybody sees it: derived from facts, never stored (SPEC: view ``story_status``)."""

    BACKLOG = "backlog"
    READY = "ready"
    PARKED = "parked"
    BLOCKED = "blocked"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    IN_REVIEW = "in_review"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    INVALID = "invalid"  # the file has an error that holds the story back


class RunStatus(StrEnum):
    """What a run is doing. Transitions are guarded in SQL (``transition_run``)."""

    QUEUED = "queued"  # a job is deferred, no worker has it yet
    RUNNING = "running"  # a worker holds its lease
    WAITING = "waiting"  # a decision is open; no slot is used
    PAUSED = "paused"  # budget, schedule, operator, stop; the reason is part of it
    SUCCEEDED = "succeeded"  # a draft pull request (or a local branch with its body) exists
    FAILED = "failed"
    SKIPPED = "skipped"  # a person said so
    ABORTED = "aborted"  # a person said so


ACTIVE_RUN: Final = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.PAUSED)


class Phase(StrEnum):
    """What a person sees of a run's progress."""

    PREPARE = "prepare"
    PLAN = "plan"
    IMPLEMENT = "implement"
    VERIFY = "verify"
    REVIEW = "review"
    PUBLISH = "publish"


class Trigger(StrEnum):
    MANUAL = "manual"
    AUTOPILOT = "autopilot"


class RunKind(StrEnum):
    STORY = "story"  # works on the story from its beginning
    FOLLOW_UP = "follow_up"  # goes on from what an earlier run published


class Cause(StrEnum):
    """Why a published story is worked on again."""

    CHECK = "check"  # a check of the present head failed
    REMARK = "remark"  # somebody who may write to the repository said something
    MOVED = "moved"  # what the story is stacked on was merged or rewritten
    CONFLICT = "conflict"  # the pull request cannot be merged any more


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105 (a verdict, no secret)
    CONCERNS = "concerns"
    FAIL = "fail"
    WAIVED = "waived"


class Route(StrEnum):
    """Where a verdict sends the run."""

    PROCEED = "proceed"
    REPAIR = "repair"
    ASK = "ask"


class DecisionStatus(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    CANCELLED = "cancelled"  # its run ended in another way


class Scope(StrEnum):
    """What a budget limit covers. Rows are locked in this order."""

    DAY = "day"
    WEEK = "week"
    STORY = "story"
    RUN = "run"


class ReservationStatus(StrEnum):
    OPEN = "open"  # set aside, the request may be under way
    SETTLED = "settled"  # charged with the real usage
    RELEASED = "released"  # the request was certainly never sent


class PullState(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"
    LOCAL = "local"  # no forge: a branch, a patch series and the body as a file


@dataclass(frozen=True, slots=True)
class NewBlob:
    """The content of a file that no known commit holds. ``sha`` names it in git, ``size`` is in bytes."""

    path: str
    sha: str
    size: int


@dataclass(frozen=True, slots=True)
class NewCommit:
    """A commit that would leave with a push, and the contents that it brings. ``author``: name and address."""

    sha: str
    author: str
    message: str
    blobs: tuple[NewBlob, ...] = ()


def microusd(dollars: float | str) -> int:
    """Dollars as micro-dollars, rounded half up. Raises ValueError for NaN, infinity or a negative amount."""
    from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

    try:
        amount = Decimal(str(dollars))
    except InvalidOperation:
        raise ValueError(f"not an amount of dollars: {dollars!r}") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"not an amount of dollars: {dollars!r}")
    return int((amount * MICRO).to_integral_value(rounding=ROUND_HALF_UP))


def dollars(amount_microusd: int) -> float:
    """Micro-dollars as dollars, for output only: sums are made on the integers."""
    return amount_microusd / MICRO


def money(amount_microusd: int) -> str:
    """``$1.23``; four digits below one cent, so that a small cost is not shown as nothing."""
    value = amount_microusd / MICRO
    return f"${value:,.4f}" if 0 < abs(value) < 0.01 else f"${value:,.2f}"
