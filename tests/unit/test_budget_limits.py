"""Limits, windows and refusals as plain values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from auto_dev.budget.limits import MAX_MICROUSD, Alert, BudgetLimits, Window, checked_amount, refusal
from auto_dev.config import Config
from auto_dev.errors import BudgetError, ExitCode
from auto_dev.model import Scope

pytestmark = pytest.mark.unit

BERLIN = ZoneInfo("Europe/Berlin")
TONIGHT = datetime(2026, 2, 9, 23, tzinfo=UTC)
SUNDAY = datetime(2026, 2, 15, 23, tzinfo=UTC)


def test_the_limits_are_those_of_the_policy() -> None:
    policy = Config.model_validate(
        {"budget": {"daily": 12.34, "weekly": 0, "story": 0.1, "alert_at": 0.5}, "run": {"timezone": "Europe/Berlin"}}
    )
    assert BudgetLimits.of(policy) == BudgetLimits(12_340_000, 0, 100_000, "Europe/Berlin", 0.5)


def test_a_request_counts_in_day_week_and_story_and_in_its_run_where_that_is_limited() -> None:
    limits = BudgetLimits(3, 2, 1, "Europe/Berlin")
    assert [(window.scope, window.key, window.limit_microusd) for window in limits.windows("r", "s", TONIGHT)] == [
        (Scope.DAY, "2026-02-10", 3), (Scope.WEEK, "2026-W07", 2), (Scope.STORY, "s", 1)
    ]  # fmt: skip
    limited = BudgetLimits(3, 2, 1, run=0).windows("r", "s", TONIGHT)
    assert [window.scope for window in limited] == [Scope.DAY, Scope.WEEK, Scope.STORY, Scope.RUN]
    assert limited[-1].key == "r"


@pytest.mark.parametrize(
    "amount", [-1, 1.0, float("nan"), float("inf"), True, None, "7", MAX_MICROUSD + 1, 2**63, 10**400]
)
def test_what_is_no_amount_of_money_is_refused_in_one_line(amount: Any) -> None:
    with pytest.raises(BudgetError, match="whole number of micro-dollars") as refused:
        checked_amount(amount, "the amount to reserve")
    assert len(str(refused.value)) < 200
    with pytest.raises(BudgetError):
        BudgetLimits(amount, 1, 1)


def test_remaining_never_shows_less_than_nothing() -> None:
    window = Window(Scope.DAY, "d", 100, spent_microusd=90, reserved_microusd=10, overrun_microusd=5)
    assert (window.cost_microusd, window.remaining_microusd, window.unspent_microusd) == (95, 0, 5)


def test_an_alert_is_due_from_its_share_on_but_not_for_spending_nothing() -> None:
    def alarms(cap: int, spent: int, overrun: int = 0) -> bool:
        return Window(Scope.DAY, "d", cap, spent, 0, overrun).alarms(0.8)

    assert [alarms(100, 79), alarms(100, 80), alarms(100, 70, 10), alarms(0, 0), alarms(0, 0, 1)] == [
        False, True, True, False, True
    ]  # fmt: skip
    alert = Alert(Window(Scope.WEEK, "2026-W07", 200_000_000, 160_000_000), 0.8)
    assert alert.key == "budget-week-2026-W07"
    assert alert.line == "$160.00 of this week's $200.00 are spent (alert at 80%)"


def test_a_refusal_names_the_limit_the_sums_and_the_way_on() -> None:
    day = Window(Scope.DAY, "2026-02-09", 50_000_000, 49_000_000, 500_000, 0, resets_at=TONIGHT)
    error = refusal([day], 1_200_000, BERLIN)
    assert str(error) == (
        "today's limit of $50.00 is reached: $49.00 spent, $0.50 set aside, $1.20 needed; "
        "it starts over at 2026-02-10 00:00 CET. Raise it with `auto-dev budget raise`, or wait."
    )
    assert error.exit_code is ExitCode.BUDGET
    assert (error.scope, error.cap_microusd, error.spent_microusd, error.reserved_microusd) == (
        Scope.DAY, 50_000_000, 49_000_000, 500_000
    )  # fmt: skip
    assert error.resets_at == TONIGHT


@pytest.mark.parametrize(
    ("spent", "reserved", "wanted", "could"),
    [(0, 100, 1, True), (50, 50, 50, True), (50, 50, 51, False), (100, 0, 1, False)],
)  # fmt: skip
def test_waiting_only_helps_when_open_reservations_hold_the_room(
    spent: int, reserved: int, wanted: int, could: bool
) -> None:
    assert refusal([Window(Scope.STORY, "s", 100, spent, reserved)], wanted, BERLIN).could_free is could


def test_of_several_full_windows_the_one_that_lasts_longest_is_named() -> None:
    day = Window(Scope.DAY, "d", 10, 10, resets_at=TONIGHT)
    week = Window(Scope.WEEK, "w", 10, 10, resets_at=SUNDAY)
    story = Window(Scope.STORY, "s", 10, 10)
    freeing = Window(Scope.STORY, "s", 10, 0, 10)
    roomy = Window(Scope.STORY, "s", 100)
    assert refusal([day, week, roomy], 1, BERLIN).scope is Scope.WEEK
    assert refusal([day, week, story], 1, BERLIN).scope is Scope.STORY
    assert refusal([day, freeing], 1, BERLIN).scope is Scope.DAY
    with pytest.raises(ValueError, match="fits"):
        refusal([roomy], 1, BERLIN)
