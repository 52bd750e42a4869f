"""What counts as an anomaly of one run, with the clock in the test's hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.budget.anomaly import (
    COST_RATE,
    DAY_SHARE,
    FLOOR,
    KINDS,
    PANIC_TIMES,
    REPEATS,
    RUNAWAY_COST,
    SAME_REQUEST,
    TIMES,
    WINDOW_S,
    RunWatch,
)
from auto_dev.model import MICRO

pytestmark = pytest.mark.unit

PLENTY = 10**12
DOLLAR = MICRO
MINUTES = WINDOW_S / 60


class Clock:
    """Monotonic seconds that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def watch(clock: Clock | None = None, *, usual: int | None = None, day: int = PLENTY, **more: object) -> RunWatch:
    return RunWatch(clock or Clock(), usual_per_minute=usual, day_limit=day, **more)  # type: ignore[arg-type]


def kind_of(seen: RunWatch) -> str | None:
    """What was found last."""
    return seen.found.kind if seen.found else None


# ── the same request ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_request_is_let_pass_twenty_times_and_no_more() -> None:
    seen = watch()
    assert [seen.asked(b"one") for _ in range(REPEATS)] == [""] * REPEATS
    assert seen.asked(b"two") == ""
    assert kind_of(seen) is None
    assert seen.asked(b"one") == "the same model request was made 21 times (more than 20)"
    assert kind_of(seen) == SAME_REQUEST
    assert seen.asked(b"two") == ""


def test_a_waiver_lets_its_kind_pass_for_the_run_and_no_other() -> None:
    seen = watch(waived={SAME_REQUEST}, day=10 * DOLLAR, others=lambda: True)
    assert not any(seen.asked(b"one") for _ in range(5 * REPEATS))
    assert "$6.00 of today's $10.00" in seen.booked(6 * DOLLAR)
    assert kind_of(seen) == DAY_SHARE
    seen.waive(DAY_SHARE)
    assert kind_of(seen) is None
    assert seen.booked(DOLLAR) == ""


# ── the cost per minute ───────────────────────────────────────────────────────────────────────────────────────────


def spend(seen: RunWatch, clock: Clock, per_minute: float, minutes: float, every_s: float = 6.0) -> str:
    """The first report while so much is spent evenly; "" for none."""
    for _ in range(round(minutes * 60 / every_s)):
        clock.now += every_s
        if reason := seen.booked(round(per_minute * every_s / 60)):
            return reason
    return ""


def test_three_times_the_usual_is_let_pass_and_a_little_more_is_not() -> None:
    clock = Clock()
    seen = watch(clock, usual=DOLLAR)
    assert spend(seen, clock, TIMES * DOLLAR, 30) == ""
    reason = spend(seen, clock, 1.2 * TIMES * DOLLAR, 30)
    assert reason.endswith("a minute over the last 5 minutes, 3.0 times the usual $1.00")
    assert seen.found is not None
    assert (seen.found.kind, seen.found.reason, seen.found.panic) == (COST_RATE, reason, False)


def test_without_a_history_no_rate_is_judged() -> None:
    clock = Clock()
    assert spend(watch(clock), clock, 1000 * DOLLAR, 30) == ""


def test_what_was_spent_long_ago_does_not_count() -> None:
    clock = Clock()
    seen = watch(clock, usual=DOLLAR)
    assert spend(seen, clock, TIMES * DOLLAR, MINUTES) == ""
    clock.now += WINDOW_S
    assert spend(seen, clock, TIMES * DOLLAR, MINUTES) == ""


@pytest.mark.parametrize("usual", [0, 1, FLOOR // 100])
def test_tiny_amounts_never_alarm(usual: int) -> None:
    clock = Clock()
    seen = watch(clock, usual=usual)
    assert spend(seen, clock, 0.99 * FLOOR, 30) == ""
    assert spend(seen, clock, 1.3 * FLOOR, 30) != ""
    assert kind_of(seen) == COST_RATE


def test_one_dear_request_is_no_rate_and_a_second_one_is() -> None:
    clock = Clock()
    seen = watch(clock, usual=DOLLAR // 10)
    assert seen.booked(4 * DOLLAR) == ""
    assert seen.booked(1) != ""


def test_a_turn_that_is_booked_at_once_counts_over_its_length() -> None:
    hour = 3600.0
    assert watch(usual=DOLLAR).booked(180 * DOLLAR, over_s=hour) == ""
    assert "3.0 times" in watch(usual=DOLLAR).booked(183 * DOLLAR, over_s=hour)
    assert watch(usual=DOLLAR).booked(601 * DOLLAR, over_s=hour).endswith("10.0 times the usual $1.00")


def test_ten_times_the_usual_at_once_is_a_panic() -> None:
    seen = watch(usual=DOLLAR)
    assert seen.booked(DOLLAR) == ""
    assert "10.2 times the usual $1.00" in seen.booked(50 * DOLLAR)
    assert seen.found is not None
    assert (seen.found.kind, seen.found.panic) == (RUNAWAY_COST, True)
    seen.booked(0)  # and stays one, whatever is booked of what was under way
    for _ in range(REPEATS + 1):
        seen.asked(b"one")
    assert seen.found.panic


def test_who_lets_three_times_pass_is_still_guarded_against_ten() -> None:
    clock = Clock()
    seen = watch(clock, usual=DOLLAR, waived={COST_RATE})
    assert spend(seen, clock, 0.99 * PANIC_TIMES * DOLLAR, 30) == ""
    assert spend(seen, clock, 1.5 * PANIC_TIMES * DOLLAR, 30) != ""
    assert seen.found is not None
    assert seen.found.panic


def test_who_lets_ten_times_pass_is_asked_about_three() -> None:
    clock = Clock()
    seen = watch(clock, usual=DOLLAR, waived={RUNAWAY_COST})
    assert spend(seen, clock, 20 * DOLLAR, 30) != ""
    assert kind_of(seen) == COST_RATE
    both = watch(clock, usual=DOLLAR, waived={RUNAWAY_COST, COST_RATE})
    assert spend(both, clock, 20 * DOLLAR, 30) == ""


# ── most of the day's money ───────────────────────────────────────────────────────────────────────────────────────


def test_over_half_of_the_day_pauses_while_others_wait() -> None:
    waiting = [False]
    seen = watch(day=10 * DOLLAR, spent_today=4 * DOLLAR, others=lambda: waiting[0])
    assert seen.booked(DOLLAR) == ""  # exactly half
    assert seen.booked(1) == ""  # over half, but nobody else is there
    waiting[0] = True
    assert seen.booked(0).startswith("this run alone has used $5.00 of today's $10.00")
    assert watch(day=0, others=lambda: True).booked(0) == ""


# ── against a plain computation ───────────────────────────────────────────────────────────────────────────────────


@given(
    bookings=st.lists(st.tuples(st.floats(0, 400), st.integers(0, 20 * DOLLAR)), max_size=40),
    usual=st.none() | st.integers(0, 2 * DOLLAR),
    day=st.integers(0, 100 * DOLLAR),
    others=st.booleans(),
    waived=st.sets(st.sampled_from(KINDS)),
)
def test_every_report_is_what_a_plain_computation_says(
    bookings: list[tuple[float, int]], usual: int | None, day: int, others: bool, waived: set[str]
) -> None:
    clock = Clock()
    seen = watch(clock, usual=usual, day=day, others=lambda: others, waived=waived)
    past: list[tuple[float, int]] = []
    for wait, amount in bookings:
        clock.now += wait
        past.append((clock.now, amount))
        seen.found = None
        reason = seen.booked(amount)
        window = [cost for at, cost in past if clock.now - at < WINDOW_S]
        basis = None if usual is None else max(usual, FLOOR / TIMES)
        rate = sum(window) / MINUTES
        fast = {
            kind
            for kind, times in ((RUNAWAY_COST, PANIC_TIMES), (COST_RATE, TIMES))
            if basis is not None and len(window) > 1 and rate > times * basis
        } - waived
        large = 0 < day < 2 * sum(cost for _, cost in past) and others and DAY_SHARE not in waived
        expected = RUNAWAY_COST if RUNAWAY_COST in fast else COST_RATE if fast else DAY_SHARE if large else None
        assert kind_of(seen) == expected
        assert bool(reason) == (expected is not None)
        assert "\n" not in reason


@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=120))
def test_requests_are_counted_each_for_itself(requests: list[bytes]) -> None:
    seen, counts = watch(), dict.fromkeys(requests, 0)
    for request in requests:
        counts[request] += 1
        assert bool(seen.asked(request)) == (counts[request] > REPEATS)
