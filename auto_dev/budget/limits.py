"""Limits, the windows they cover, and what a ledger says about them: frozen values and pure arithmetic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from auto_dev.budget import windows
from auto_dev.config import Config
from auto_dev.errors import BudgetError
from auto_dev.model import MICRO, Scope, microusd, money

MAX_MICROUSD: Final = 10**15  # a billion dollars: sums of many such amounts stay inside a bigint
CENT: Final = MICRO // 100

_NAMES: Final = {Scope.DAY: "today's", Scope.WEEK: "this week's", Scope.STORY: "the story's", Scope.RUN: "the run's"}


def checked_amount(amount: object, what: str) -> int:
    """``amount`` if it is a whole number of micro-dollars that the ledger can hold. Raises BudgetError."""
    if type(amount) is not int or not 0 <= amount <= MAX_MICROUSD:
        raise BudgetError(
            f"{what} is not a whole number of micro-dollars between 0 and {MAX_MICROUSD}: {str(amount)[:40]}"
        )
    return amount


@dataclass(frozen=True, slots=True)
class WindowKey:
    """One scope over one stretch of time (or one story, one run), and its limit in micro-dollars."""

    scope: Scope
    key: str
    limit_microusd: int


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """Limits in micro-dollars. ``run`` is None where runs have no limit of their own; 0 lets nothing be spent."""

    day: int
    week: int
    story: int
    timezone: str = "UTC"
    alert_at: float = 0.8
    run: int | None = None

    def __post_init__(self) -> None:
        for name in ("day", "week", "story"):
            checked_amount(getattr(self, name), f"the limit per {name}")
        if self.run is not None:
            checked_amount(self.run, "the limit per run")

    @classmethod
    def of(cls, policy: Config) -> Self:
        """The limits that a policy sets."""
        budget = policy.budget
        return cls(
            day=microusd(budget.daily),
            week=microusd(budget.weekly),
            story=microusd(budget.story),
            timezone=policy.run.timezone,
            alert_at=budget.alert_at,
        )

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def shared_windows(self, now: datetime) -> tuple[WindowKey, ...]:
        """Today's and this week's window: shared by all runs of the project."""
        return (
            WindowKey(Scope.DAY, windows.day_key(now, self.zone), self.day),
            WindowKey(Scope.WEEK, windows.week_key(now, self.zone), self.week),
        )

    def own_windows(self, run_id: str, story_id: str) -> tuple[WindowKey, ...]:
        """The windows of one story and, where it has a limit, one run."""
        story = WindowKey(Scope.STORY, story_id, self.story)
        return (story,) if self.run is None else (story, WindowKey(Scope.RUN, run_id, self.run))

    def windows(self, run_id: str, story_id: str, now: datetime) -> tuple[WindowKey, ...]:
        """Every window that a request of this run counts in, in the order in which rows are locked."""
        return (*self.shared_windows(now), *self.own_windows(run_id, story_id))


@dataclass(frozen=True, slots=True)
class Window:
    """A window as the ledger has it, in micro-dollars.

    ``spent_microusd`` was reserved first, ``overrun_microusd`` was billed beyond a reservation; the cost is their sum.
    ``cap_microusd`` is the limit in force, never less than what is spent and reserved already.
    """

    scope: Scope
    key: str
    cap_microusd: int
    spent_microusd: int = 0
    reserved_microusd: int = 0
    overrun_microusd: int = 0
    alerted_at: datetime | None = None
    resets_at: datetime | None = None

    @property
    def cost_microusd(self) -> int:
        return self.spent_microusd + self.overrun_microusd

    @property
    def remaining_microusd(self) -> int:
        """What may still be reserved."""
        return max(self.unspent_microusd - self.reserved_microusd, 0)

    @property
    def unspent_microusd(self) -> int:
        """What would remain if everything that is set aside came back; negative after an overrun."""
        return self.cap_microusd - self.cost_microusd

    def alarms(self, alert_at: float) -> bool:
        """Whether the cost has reached the share ``alert_at`` of the limit."""
        return self.cost_microusd > 0 and self.cost_microusd >= self.cap_microusd * alert_at


@dataclass(frozen=True, slots=True)
class Granted:
    """Money that was set aside for one request: the reservation's id, and how much it is."""

    id: str
    amount_microusd: int


@dataclass(frozen=True, slots=True)
class BudgetOverview:
    """Today and this week. ``alert_at`` is the share of a limit at which an alert goes out."""

    day: Window
    week: Window
    alert_at: float

    @property
    def remaining_microusd(self) -> int:
        return min(self.day.remaining_microusd, self.week.remaining_microusd)


@dataclass(frozen=True, slots=True)
class Alert:
    """A day's or week's cost has reached ``alert_at`` of its limit. ``key`` names the fact, once per window."""

    window: Window
    alert_at: float

    @property
    def key(self) -> str:
        return f"budget-{self.window.scope}-{self.window.key}"

    @property
    def line(self) -> str:
        window = self.window
        spent, cap = money(window.cost_microusd), money(window.cap_microusd)
        return f"{spent} of {_NAMES[window.scope]} {cap} are spent (alert at {self.alert_at:.0%})"


OnAlert = Callable[[AsyncConnection[DictRow], Alert], Awaitable[None]]
"""Called inside the transaction that crossed the line; what it writes with the connection commits with it."""


class BudgetExceededError(BudgetError):
    """A limit leaves no room for the amount that was asked for.

    ``could_free`` tells whether open reservations of other requests may still make room; ``resets_at`` (UTC) when the
    window starts over, None for a story or a run.
    """

    def __init__(self, window: Window, wanted_microusd: int, zone: ZoneInfo) -> None:
        self.window = window
        self.scope = window.scope
        self.wanted_microusd = wanted_microusd
        self.cap_microusd = window.cap_microusd
        self.spent_microusd = window.cost_microusd
        self.reserved_microusd = window.reserved_microusd
        self.could_free = window.reserved_microusd > 0 and wanted_microusd <= window.unspent_microusd
        self.resets_at = window.resets_at
        held = f", {money(window.reserved_microusd)} set aside" if window.reserved_microusd else ""
        resets = (
            f"; it starts over at {window.resets_at.astimezone(zone):%Y-%m-%d %H:%M %Z}" if window.resets_at else ""
        )
        super().__init__(
            f"{_NAMES[window.scope]} limit of {money(window.cap_microusd)} is reached: "
            f"{money(self.spent_microusd)} spent{held}, {money(wanted_microusd)} needed{resets}",
            mend="Raise it with `auto-dev budget raise`, or wait.",
        )


def refusal(states: Sequence[Window], wanted_microusd: int, zone: ZoneInfo) -> BudgetExceededError:
    """Why ``wanted_microusd`` does not fit. Of several full windows, the one that keeps the run waiting longest.

    Raises ValueError when it fits into all of them.
    """
    full = [state for state in states if state.unspent_microusd - state.reserved_microusd < wanted_microusd]
    if not full:
        raise ValueError("the amount fits into every window")

    def wait(state: Window) -> tuple[bool, bool, float]:
        frees = state.reserved_microusd > 0 and wanted_microusd <= state.unspent_microusd
        return not frees, state.resets_at is None, state.resets_at.timestamp() if state.resets_at else 0.0

    return BudgetExceededError(max(full, key=wait), wanted_microusd, zone)
