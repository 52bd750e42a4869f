"""The ledger on a real PostgreSQL: what it grants, books, refuses, announces and remembers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from auto_dev.budget.batch import QUERIES, Op
from auto_dev.budget.ledger import Alert, BudgetExceededError, BudgetLimits, Ledger
from auto_dev.budget.limits import MAX_MICROUSD
from auto_dev.budget.meter import Metered, RunMeter
from auto_dev.budget.prices import Spent, price_table
from auto_dev.config import PriceConfig
from auto_dev.errors import BudgetError
from auto_dev.model import Scope
from auto_dev.store.database import Database

pytestmark = pytest.mark.integration

PROJECT = "todo"
LIMITS = BudgetLimits(day=1_000_000, week=3_000_000, story=500_000, timezone="Europe/Berlin")
MODEL = "claude-sonnet-4-5"
Connection = AsyncConnection[DictRow]


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 2, 10, 12, tzinfo=UTC)  # a Tuesday

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(db: Database, clock: Clock) -> Ledger:
    return Ledger(db.pool, PROJECT, clock)


async def check_sums(db: Database) -> None:
    """The three rules that hold at every commit, read in one snapshot."""
    wrong = await db.fetch_all("""
        SELECT w.*, sums.open, sums.charged, latest.to_microusd
          FROM budget_windows w
          LEFT JOIN LATERAL (
                SELECT coalesce(sum(r.amount_microusd) FILTER (WHERE r.status = 'open'), 0) AS open,
                       coalesce(sum(r.charged_microusd), 0) AS charged
                  FROM reservations r WHERE w.id = ANY (r.windows)) sums ON true
          LEFT JOIN LATERAL (
                SELECT to_microusd FROM budget_raises b
                 WHERE b.project_id = w.project_id AND b.scope = w.scope AND b.key = w.key
                 ORDER BY id DESC LIMIT 1) latest ON true
         WHERE w.reserved_microusd <> sums.open OR w.spent_microusd + w.overrun_microusd <> sums.charged
            OR w.cap_microusd <> greatest(coalesce(latest.to_microusd, w.cap_microusd),
                                          w.spent_microusd + w.reserved_microusd)""")
    assert wrong == []


@pytest.fixture(autouse=True)
async def sums_agree_in_the_end(db: Database) -> Any:
    yield
    await check_sums(db)


async def reserve(ledger: Ledger, amount: int, limits: BudgetLimits = LIMITS, story: str = "A", run: str = "r1") -> str:
    return (await ledger.reserve(run, story, MODEL, amount, limits)).id


async def test_a_reservation_counts_in_every_scope_until_it_is_settled_to_the_real_cost(
    db: Database, ledger: Ledger
) -> None:
    taken = await reserve(ledger, 300_000)
    rows = await db.fetch_all("SELECT scope, key, cap_microusd, reserved_microusd FROM budget_windows ORDER BY scope")
    assert [tuple(row.values()) for row in rows] == [
        ("day", "2026-02-10", 1_000_000, 300_000),
        ("week", "2026-W07", 3_000_000, 300_000),
        ("story", "A", 500_000, 300_000),
    ]
    assert await ledger.settle(taken, 120_000) == 120_000
    overview = await ledger.overview(LIMITS)
    assert (overview.day.spent_microusd, overview.day.reserved_microusd, overview.day.remaining_microusd) == (
        120_000, 0, 880_000
    )  # fmt: skip
    assert overview.week.remaining_microusd == 2_880_000
    assert overview.remaining_microusd == 880_000
    assert overview.day.resets_at == datetime(2026, 2, 10, 23, tzinfo=UTC)
    assert overview.week.resets_at == datetime(2026, 2, 15, 23, tzinfo=UTC)


async def test_a_run_counts_against_its_own_limit_where_it_has_one(db: Database, ledger: Ledger) -> None:
    limits = replace(LIMITS, run=100)
    await reserve(ledger, 100, limits, run="r1")
    with pytest.raises(BudgetExceededError) as refused:
        await reserve(ledger, 1, limits, run="r1")
    assert refused.value.scope is Scope.RUN
    await reserve(ledger, 100, limits, run="r2")


@pytest.mark.parametrize(
    ("limits", "scope"),
    [
        (BudgetLimits(99, 1000, 1000), Scope.DAY),
        (BudgetLimits(1000, 99, 1000), Scope.WEEK),
        (BudgetLimits(1000, 1000, 99), Scope.STORY),
        (BudgetLimits(1000, 1000, 1000, run=99), Scope.RUN),
        (BudgetLimits(0, 1000, 1000), Scope.DAY),
    ],
)
async def test_what_does_not_fit_into_one_scope_is_set_aside_in_none(
    db: Database, ledger: Ledger, limits: BudgetLimits, scope: Scope
) -> None:
    with pytest.raises(BudgetExceededError) as refused:
        await reserve(ledger, 100, limits)
    assert refused.value.scope is scope
    assert not refused.value.could_free
    assert await db.fetch_all("SELECT id FROM reservations") == []
    assert await db.fetch_all("SELECT id FROM budget_windows WHERE reserved_microusd <> 0") == []


async def test_the_last_micro_dollar_can_be_spent_and_none_after_it(ledger: Ledger) -> None:
    await ledger.settle(await reserve(ledger, 500_000), None)
    with pytest.raises(BudgetExceededError):
        await reserve(ledger, 1)
    assert await ledger.settle(await reserve(ledger, 500_000, story="B"), None) == 500_000
    with pytest.raises(BudgetExceededError) as refused:
        await reserve(ledger, 1, story="C")
    assert refused.value.scope is Scope.DAY


async def test_an_unknown_usage_is_charged_in_full_and_noted(db: Database, ledger: Ledger) -> None:
    taken = await reserve(ledger, 7)
    assert await ledger.settle(taken, None) == 7
    row = await db.fetch_one("SELECT status, charged_microusd, note FROM reservations")
    assert row == {"status": "settled", "charged_microusd": 7, "note": "the usage is unknown: charged in full"}


async def test_a_cost_above_the_reservation_is_an_overrun_that_counts(ledger: Ledger) -> None:
    taken = await reserve(ledger, 400_000)
    assert await ledger.settle(taken, 650_000) == 650_000
    day = (await ledger.overview(LIMITS)).day
    assert (day.spent_microusd, day.overrun_microusd, day.remaining_microusd) == (400_000, 250_000, 350_000)
    with pytest.raises(BudgetExceededError):
        await reserve(ledger, 350_001, story="B")
    with pytest.raises(BudgetExceededError) as refused:
        await reserve(ledger, 1)
    assert refused.value.spent_microusd == 650_000
    await reserve(ledger, 350_000, story="B")


async def test_settling_and_releasing_happen_once(ledger: Ledger) -> None:
    settled, released = await reserve(ledger, 100), await reserve(ledger, 100)
    assert [await ledger.settle(settled, cost) for cost in (40, 90, None)] == [40, 40, 40]
    await ledger.release(released)
    await ledger.release(released)
    with pytest.raises(BudgetError, match="was released and cannot be settled"):
        await ledger.settle(released, 10)
    with pytest.raises(BudgetError, match="was settled and cannot be released"):
        await ledger.release(settled)
    day = (await ledger.overview(LIMITS)).day
    assert (day.cost_microusd, day.reserved_microusd) == (40, 0)


@pytest.mark.parametrize("unknown", ["", "nothing", "x'; DROP TABLE reservations; --", "ü" * 5000])
async def test_an_unknown_reservation_is_refused(ledger: Ledger, unknown: str) -> None:
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: ledger.settle(unknown, 1), lambda: ledger.settle(unknown, None), lambda: ledger.release(unknown),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(BudgetError, match="there is no reservation"):
            await call()


async def test_another_projects_reservation_is_unknown(db: Database, clock: Clock, ledger: Ledger) -> None:
    taken = await reserve(ledger, 100)
    other = Ledger(db.pool, "other", clock)
    with pytest.raises(BudgetError, match="there is no reservation"):
        await other.settle(taken, 0)
    assert (await other.overview(LIMITS)).day.reserved_microusd == 0
    assert await other.reconcile(["r1"]) == 0


async def test_two_connections_that_settle_at_once_book_one_cost(db: Database, ledger: Ledger) -> None:
    for _ in range(20):
        taken = await reserve(ledger, 1000, story="A")
        answers = await asyncio.gather(*(ledger.settle(taken, cost) for cost in (100, 200, 300, 400)))
        assert len(set(answers)) == 1
    row = await db.fetch_one("SELECT sum(charged_microusd) AS total FROM reservations")
    assert row is not None
    assert (await ledger.overview(LIMITS)).day.cost_microusd == row["total"]


async def test_settle_against_release_has_one_winner(ledger: Ledger) -> None:
    for _ in range(20):
        taken = await reserve(ledger, 1000)
        results = await asyncio.gather(ledger.settle(taken, 10), ledger.release(taken), return_exceptions=True)
        assert sum(isinstance(result, BudgetError) for result in results) == 1


@pytest.mark.parametrize(
    "amount", [-1, math.nan, math.inf, 1.0, True, None, "7", MAX_MICROUSD + 1, 2**63 - 1, 2**63, 2**200]
)
async def test_what_is_no_amount_is_refused_before_the_database_sees_it(ledger: Ledger, amount: Any) -> None:
    with pytest.raises(BudgetError, match="the amount to reserve is not a whole number of micro-dollars"):
        await reserve(ledger, amount)
    if amount is not None:
        taken = await reserve(ledger, 5)
        with pytest.raises(BudgetError, match="the cost of the request is not a whole number"):
            await ledger.settle(taken, amount)
        assert await ledger.settle(taken, None) == 5
    with pytest.raises(BudgetError, match="the new limit is not"):
        await ledger.raise_limit(Scope.DAY, "", amount, "me", "", LIMITS)


async def test_the_largest_amounts_fit_into_the_sums(ledger: Ledger) -> None:
    huge = BudgetLimits(MAX_MICROUSD, MAX_MICROUSD, MAX_MICROUSD)
    taken = await reserve(ledger, MAX_MICROUSD, huge)
    with pytest.raises(BudgetExceededError):
        await reserve(ledger, MAX_MICROUSD, huge)
    small = [await reserve(ledger, 0, huge) for _ in range(3)]
    for reservation in (taken, *small):
        await ledger.settle(reservation, MAX_MICROUSD)
    assert (await ledger.overview(huge)).day.cost_microusd == 4 * MAX_MICROUSD
    assert await ledger.cost_of_run("r1") == 4 * MAX_MICROUSD


async def test_hostile_names_of_models_are_stored_harmlessly(db: Database, ledger: Ledger) -> None:
    for model in ("a\x00b", "\ud800", "x" * 100_000, "naïve/模型'; --"):
        taken = await ledger.reserve("r", "S", model, 1, LIMITS)
        await ledger.settle(taken.id, 1, usage={"x\x00": math.nan}, note="\x00")
    rows = await db.fetch_all("SELECT model FROM reservations")
    assert all(len(row["model"]) <= 200 for row in rows)


# -- days, weeks


async def test_a_late_settlement_goes_into_the_day_it_was_reserved_in(
    db: Database, ledger: Ledger, clock: Clock
) -> None:
    clock.now = datetime(2026, 2, 15, 22, 59, 59, tzinfo=UTC)  # Sunday, one second to midnight
    taken = await reserve(ledger, 1000)
    clock.now += timedelta(seconds=1)
    assert (await ledger.overview(LIMITS)).day.key == "2026-02-16"
    await ledger.settle(taken, 600)
    overview = await ledger.overview(LIMITS)
    assert (overview.day.cost_microusd, overview.week.cost_microusd) == (0, 0)
    rows = await db.fetch_all("SELECT key, spent_microusd FROM budget_windows WHERE scope <> 'story' ORDER BY scope")
    assert [tuple(row.values()) for row in rows] == [("2026-02-15", 600), ("2026-W07", 600)]


async def test_a_new_day_has_its_whole_limit_within_the_week(ledger: Ledger, clock: Clock) -> None:
    for day in range(3):
        await ledger.settle(await reserve(ledger, 1_000_000, replace(LIMITS, story=10**9)), None)
        with pytest.raises(BudgetExceededError) as refused:
            await reserve(ledger, 1, replace(LIMITS, story=10**9))
        assert refused.value.scope is (Scope.WEEK if day == 2 else Scope.DAY)  # the one that lasts longer
        clock.now += timedelta(days=1)
    with pytest.raises(BudgetExceededError) as refused:
        await reserve(ledger, 1, replace(LIMITS, story=10**9))
    assert refused.value.scope is Scope.WEEK
    assert refused.value.resets_at == datetime(2026, 2, 15, 23, tzinfo=UTC)


async def test_the_day_of_25_hours_is_one_day(ledger: Ledger, clock: Clock) -> None:
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)  # 25 October in Berlin, the clock goes back at 03:00
    for hour in range(25):
        clock.now = start + timedelta(hours=hour)
        await ledger.settle(await reserve(ledger, 10), None)
    assert (await ledger.overview(LIMITS)).day.cost_microusd == 250
    clock.now = start + timedelta(hours=25)
    assert (await ledger.overview(LIMITS)).day.cost_microusd == 0


async def test_history_lists_the_last_days(ledger: Ledger, clock: Clock) -> None:
    for day in range(5):
        await ledger.settle(await reserve(ledger, 10), day)
        clock.now += timedelta(days=1)
    days = await ledger.history(4, LIMITS)
    assert [(day.key, day.cost_microusd) for day in days] == [("2026-02-14", 4), ("2026-02-13", 3), ("2026-02-12", 2)]


# -- waiting


async def test_a_request_waits_for_room_and_takes_it(ledger: Ledger) -> None:
    taken = await reserve(ledger, 500_000)
    waiting = asyncio.create_task(ledger.acquire("r1", "A", MODEL, 300_000, LIMITS, wait_s=30))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    await ledger.settle(taken, 100_000)
    async with asyncio.timeout(10):
        assert await ledger.settle((await waiting).id, None) == 300_000


async def test_a_request_that_waits_in_vain_is_refused_at_its_deadline(ledger: Ledger) -> None:
    await reserve(ledger, 500_000)
    with pytest.raises(BudgetExceededError) as refused:
        await ledger.acquire("r1", "A", MODEL, 1, LIMITS, wait_s=0.05)
    assert refused.value.could_free
    assert refused.value.reserved_microusd == 500_000


async def test_a_request_that_no_settlement_could_make_room_for_is_refused_at_once(ledger: Ledger) -> None:
    await ledger.settle(await reserve(ledger, 400_000), None)
    await reserve(ledger, 100_000)
    async with asyncio.timeout(5):
        with pytest.raises(BudgetExceededError) as refused:
            await ledger.acquire("r1", "A", MODEL, 100_001, LIMITS, wait_s=60)
    assert not refused.value.could_free


async def test_a_cancelled_wait_leaves_nothing_behind(db: Database, ledger: Ledger) -> None:
    await reserve(ledger, 500_000)
    waiting = asyncio.create_task(ledger.acquire("r1", "A", MODEL, 1, LIMITS, wait_s=60))
    await asyncio.wait([waiting], timeout=0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(await db.fetch_all("SELECT id FROM reservations WHERE status = 'open'")) == 1


async def test_a_request_that_waits_over_midnight_gets_the_new_days_money(ledger: Ledger, clock: Clock) -> None:
    await reserve(ledger, 500_000)
    await reserve(ledger, 500_000, story="B")
    waiting = asyncio.create_task(ledger.acquire("r3", "C", MODEL, 400_000, LIMITS, wait_s=30))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    clock.now += timedelta(days=1)
    async with asyncio.timeout(10):
        await waiting
    assert (await ledger.overview(LIMITS)).day.reserved_microusd == 400_000


async def test_a_reserve_that_is_cancelled_at_any_moment_leaves_nothing_set_aside(db: Database, ledger: Ledger) -> None:
    await reserve(ledger, 1)
    async with await psycopg.AsyncConnection.connect(db.conninfo) as blocker:
        for turns in range(12):
            async with blocker.transaction(force_rollback=True):
                await blocker.execute("SELECT 1 FROM budget_windows WHERE scope = 'day' FOR UPDATE")
                task = asyncio.create_task(reserve(ledger, 100))
                for _ in range(turns):
                    await asyncio.sleep(0)
                if turns > 9:  # it waits for the lock by now
                    await asyncio.wait([task], timeout=0.05)
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await ledger.overview(LIMITS)).day.reserved_microusd == 1


async def test_a_settlement_goes_through_although_its_caller_is_cancelled(db: Database, ledger: Ledger) -> None:
    taken = await reserve(ledger, 100)
    async with await psycopg.AsyncConnection.connect(db.conninfo) as blocker:
        await blocker.execute("SELECT 1 FROM budget_windows FOR UPDATE")
        task = asyncio.create_task(ledger.settle(taken, 60))
        await asyncio.wait([task], timeout=0.05)
        task.cancel()
        await asyncio.wait([task], timeout=0.05)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await ledger.settle(taken, None) == 60


async def test_a_reservation_whose_statement_arrives_after_its_withdrawal_does_not_stand(
    db: Database, ledger: Ledger
) -> None:
    late = ledger._reserve_op("r", "A", MODEL, 5, None, LIMITS)
    late.done.set_exception(psycopg.OperationalError("the connection is lost"))
    await ledger._withdraw(late)
    again = ledger._reserve_op("r", "A", MODEL, 5, None, LIMITS)
    again.id = late.id
    other = asyncio.create_task(reserve(ledger, 7))
    with pytest.raises(psycopg.errors.UniqueViolation):
        await ledger._batches.answer(again)
    await other
    assert (await ledger.overview(LIMITS)).day.reserved_microusd == 7
    with pytest.raises(BudgetError, match="was released"):
        await ledger.settle(late.id, 1)


# -- less than was asked for


@pytest.mark.parametrize(
    ("amount", "least", "granted"),
    [(500_000, None, 500_000), (500_001, 1, 500_000), (500_001, 500_000, 500_000), (900_000, 0, 500_000), (7, 90, 7)],
)
async def test_what_the_tightest_scope_has_left_is_granted_if_it_is_enough(
    ledger: Ledger, amount: int, least: int | None, granted: int
) -> None:
    taken = await ledger.reserve("r1", "A", MODEL, amount, LIMITS, least_microusd=least)
    assert taken.amount_microusd == granted
    overview = await ledger.overview(LIMITS)
    assert (overview.day.reserved_microusd, overview.week.reserved_microusd) == (granted, granted)
    assert await ledger.settle(taken.id, None) == granted


async def test_less_than_the_least_is_not_granted(db: Database, ledger: Ledger) -> None:
    await ledger.settle(await reserve(ledger, 400_000), None)
    with pytest.raises(BudgetExceededError, match=r"\$0\.15 needed") as refused:
        await ledger.reserve("r1", "A", MODEL, 300_000, LIMITS, least_microusd=150_000)
    assert refused.value.wanted_microusd == 150_000
    assert not refused.value.could_free
    await reserve(ledger, 1)
    with pytest.raises(BudgetExceededError) as refused:
        await ledger.reserve("r1", "A", MODEL, 300_000, LIMITS, least_microusd=100_000)
    assert refused.value.could_free
    with pytest.raises(BudgetError, match="the least amount to reserve is not"):
        await ledger.reserve("r1", "A", MODEL, 1, LIMITS, least_microusd=-1)
    await ledger.settle((await ledger.reserve("r1", "A", MODEL, 5, LIMITS, least_microusd=0)).id, 700_000)
    with pytest.raises(BudgetExceededError):  # nothing is left, and something is gone beyond it
        await ledger.reserve("r1", "A", MODEL, 5, LIMITS, least_microusd=0)


async def test_clients_that_take_what_is_left_share_it_exactly(ledger: Ledger) -> None:
    async def take(number: int) -> int:
        try:
            taken = await ledger.reserve("r1", f"S{number}", MODEL, 150_000, LIMITS, least_microusd=1)
        except BudgetExceededError:
            return 0
        return taken.amount_microusd

    amounts = await asyncio.gather(*(take(number) for number in range(12)))
    assert sorted(amounts) == [0] * 5 + [100_000] + [150_000] * 6
    assert (await ledger.overview(LIMITS)).day.remaining_microusd == 0


# -- what was spent already


async def test_what_was_spent_already_is_booked_in_every_scope_once(db: Database, ledger: Ledger) -> None:
    for _ in range(2):
        window = await ledger.book("r1", "A", MODEL, 120_000, LIMITS, booking="turn-1", usage={"input": 7}, note="turn")
        assert (window.scope, window.unspent_microusd) == (Scope.STORY, 380_000)
    overview = await ledger.overview(LIMITS)
    assert (overview.day.spent_microusd, overview.week.spent_microusd, overview.day.overrun_microusd) == (
        120_000, 120_000, 0
    )  # fmt: skip
    rows = await db.fetch_all("SELECT status, amount_microusd, charged_microusd, usage, note FROM reservations")
    assert [tuple(row.values()) for row in rows] == [("settled", 120_000, 120_000, {"input": 7}, "turn")]
    await ledger.book("r1", "A", MODEL, 1, LIMITS, booking="turn-2")
    await ledger.book("r2", "A", MODEL, 1, LIMITS, booking="turn-1")
    assert await ledger.cost_of_story("A") == 120_002


async def test_a_booking_beyond_a_cap_is_an_overrun_that_spares_what_is_set_aside(ledger: Ledger) -> None:
    held = await reserve(ledger, 200_000)
    window = await ledger.book("r1", "A", MODEL, 450_000, LIMITS, booking="1")
    assert (window.spent_microusd, window.overrun_microusd, window.reserved_microusd) == (300_000, 150_000, 200_000)
    assert window.resets_at is None
    day = (await ledger.overview(LIMITS)).day
    assert (day.spent_microusd, day.overrun_microusd) == (450_000, 0)
    with pytest.raises(BudgetExceededError):
        await reserve(ledger, 1)
    await ledger.settle(held, 200_000)
    with pytest.raises(BudgetExceededError):
        await ledger.enter("r1", "A", LIMITS)
    assert (await ledger.book("r1", "A", MODEL, 10, LIMITS, booking="2")).overrun_microusd == 150_010


async def test_a_booking_announces_what_it_crosses(db: Database, ledger: Ledger) -> None:
    told, on_alert = recorder()
    limits = replace(LIMITS, day=100)
    for _ in range(2):
        await ledger.book("r1", "A", MODEL, 99, limits, booking="1", on_alert=on_alert)
    assert told == ["budget-day-2026-02-10"]
    assert len(await db.fetch_all("SELECT id FROM events")) == 1
    with pytest.raises(BudgetError, match="the cost to book is not"):
        await ledger.book("r1", "A", MODEL, -1, limits, booking="2")


async def test_two_ledgers_that_book_the_same_fact_book_it_once(db: Database, clock: Clock) -> None:
    ledgers = [Ledger(db.pool, PROJECT, clock) for _ in range(4)]
    for turn in range(10):
        await asyncio.gather(
            *(one.book("r1", "A", MODEL, 100, LIMITS, booking=f"turn-{turn}") for one in ledgers)
        )  # fmt: skip
    assert (await ledgers[0].overview(LIMITS)).day.cost_microusd == 1000


# -- many at once


async def test_calls_that_come_together_go_out_together(db: Database, ledger: Ledger) -> None:
    await reserve(ledger, 1)
    before = await commits(db)
    taken = await asyncio.gather(*(reserve(ledger, 10, story=str(number % 9)) for number in range(100)))
    await asyncio.gather(*(ledger.settle(one, 5) for one in taken))
    assert len(set(taken)) == 100
    assert await commits(db) - before <= 8  # a few batches, and the checks of their connections
    assert (await ledger.overview(LIMITS)).day.cost_microusd == 500


async def commits(db: Database) -> int:
    """How many transactions have been given a number so far."""
    row = await db.fetch_one("SELECT pg_current_xact_id()::text::bigint AS n")
    assert row is not None
    return int(row["n"])


async def test_one_operation_that_cannot_be_done_does_not_keep_the_others_from_being_done(ledger: Ledger) -> None:
    good = [reserve(ledger, 10, story=str(number)) for number in range(20)]
    bad = [reserve(ledger, 10, run="nul\x00"), reserve(ledger, 10, story="half \ud800 a pair")]
    results = await asyncio.gather(*good[:7], bad[0], *good[7:13], bad[1], *good[13:], return_exceptions=True)
    failed = [result for result in results if not isinstance(result, str)]
    assert [isinstance(error, psycopg.DataError) for error in failed] == [True, True]
    assert (await ledger.overview(LIMITS)).day.reserved_microusd == 200


async def test_an_alert_that_cannot_be_written_fails_its_own_settlement_only(ledger: Ledger) -> None:
    told, on_alert = recorder()

    async def broken(conn: Connection, alert: Alert) -> None:
        raise ZeroDivisionError

    taken = [await reserve(ledger, 100_000, story=str(number)) for number in range(10)]
    results = await asyncio.gather(
        *(ledger.settle(one, None, alert_at=0.5, on_alert=broken) for one in taken[:8]),
        *(ledger.settle(one, None, alert_at=0.5, on_alert=on_alert) for one in taken[8:]),
        return_exceptions=True,
    )
    # Four stay below the line; each that would cross it with the broken alert fails; with the sound one it does not.
    assert [isinstance(result, ZeroDivisionError) for result in results] == [False] * 4 + [True] * 4 + [False] * 2
    assert told == ["budget-day-2026-02-10"]
    assert (await ledger.overview(LIMITS)).day.cost_microusd == 600_000


async def test_what_comes_back_wakes_those_who_wait_at_once(
    db: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auto_dev.budget.ledger._FIRST_PAUSE_S", 60.0)
    monkeypatch.setattr("auto_dev.budget.ledger._LONGEST_PAUSE_S", 60.0)
    ledger = Ledger(db.pool, PROJECT, clock)
    held = [await reserve(ledger, 100_000) for _ in range(5)]
    waiting = [asyncio.create_task(ledger.acquire("r1", "A", MODEL, 50_000, LIMITS)) for _ in range(6)]
    done, _ = await asyncio.wait(waiting, timeout=0.1)
    assert not done
    async with asyncio.timeout(10):
        await ledger.release(held[0])  # room for two
        await asyncio.wait(waiting[:2])
        await ledger.settle(held[1], 60_000)
        await ledger.settle(held[2], 90_000)  # together room for one
        await waiting[2]
        await asyncio.gather(ledger.settle(held[3], 0), ledger.settle(held[4], 50_000))
        await asyncio.gather(*waiting)
    assert (await ledger.overview(LIMITS)).day.reserved_microusd == 300_000


async def test_cancelled_in_the_queue_or_on_the_wire_a_reserve_leaves_nothing(db: Database, ledger: Ledger) -> None:
    await reserve(ledger, 1)
    async with await psycopg.AsyncConnection.connect(db.conninfo) as blocker:
        async with blocker.transaction(force_rollback=True):
            await blocker.execute("SELECT 1 FROM budget_windows WHERE scope = 'day' FOR UPDATE")
            wire = asyncio.create_task(reserve(ledger, 100))
            await asyncio.wait([wire], timeout=0.05)
            queued = [asyncio.create_task(reserve(ledger, 100)) for _ in range(3)]
            await asyncio.wait(queued, timeout=0.05)
            for task in (wire, *queued[:2]):
                task.cancel()
            await asyncio.wait(queued[:2], timeout=5)
            assert all(task.cancelled() for task in queued[:2])  # what was not sent need not be waited for
        assert await queued[2]
        with pytest.raises(asyncio.CancelledError):
            await wire
    assert (await ledger.overview(LIMITS)).day.reserved_microusd == 101
    assert len(await db.fetch_all("SELECT id FROM reservations")) == 3  # the cancelled one was released


async def test_a_lost_connection_leaves_nothing_set_aside_and_the_next_call_goes_on(
    db: Database, ledger: Ledger
) -> None:
    kept = await reserve(ledger, 1)
    async with await psycopg.AsyncConnection.connect(db.conninfo, autocommit=True) as blocker:
        async with blocker.transaction(force_rollback=True):
            await blocker.execute("SELECT 1 FROM budget_windows WHERE scope = 'day' FOR UPDATE")
            tasks = [asyncio.create_task(reserve(ledger, 100)), asyncio.create_task(ledger.settle(kept, 1))]
            await asyncio.wait(tasks, timeout=0.05)
            await blocker.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'"
            )
        for task in tasks:
            with pytest.raises(psycopg.OperationalError):
                await task
    day = (await ledger.overview(LIMITS)).day
    assert (day.reserved_microusd, day.cost_microusd) == (1, 0)
    assert await ledger.settle(kept, 1) == 1
    await reserve(ledger, 100)


async def test_two_ledgers_on_one_database_lock_in_one_order(db: Database, clock: Clock) -> None:
    """Batches of the same stories, runs and closings in every order, from four ledgers at once."""
    limits = replace(LIMITS, day=10**9, week=10**9, story=10**9, run=10**9)
    ledgers = [Ledger(db.pool, PROJECT, clock) for _ in range(4)]

    async def client(ledger: Ledger, number: int) -> None:
        for step in range(15):
            stories = [f"S{(number * 7 + step * 3 + n) % 10}" for n in range(4)]
            taken = await asyncio.gather(
                *(ledger.reserve(f"r{number}-{step}", story, MODEL, 10, limits) for story in stories)
            )
            await asyncio.gather(*(ledger.settle(one.id, 5) for one in reversed(taken)))

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(24):
            group.create_task(client(ledgers[number % 4], number))
    assert (await ledgers[0].overview(limits)).day.cost_microusd == 24 * 15 * 4 * 5


# -- limits that change


async def test_a_changed_configuration_applies_to_the_current_windows(db: Database, ledger: Ledger) -> None:
    await ledger.settle(await reserve(ledger, 300_000), None)
    await ledger.ensure_caps(replace(LIMITS, day=2_000_000))
    assert (await ledger.overview(LIMITS)).day.remaining_microusd == 1_700_000
    await ledger.ensure_caps(replace(LIMITS, day=2_000_000))
    changes = await ledger.changes()
    assert [(row["scope"], row["from_microusd"], row["to_microusd"], row["by"]) for row in changes] == [
        ("day", 1_000_000, 2_000_000, "auto-dev.toml")
    ]


async def test_a_limit_lowered_below_what_is_in_use_lets_nothing_more_be_spent(ledger: Ledger) -> None:
    await ledger.settle(await reserve(ledger, 200_000), None)
    held = await reserve(ledger, 200_000)
    await ledger.ensure_caps(replace(LIMITS, day=250_000))
    day = (await ledger.overview(LIMITS)).day
    assert (day.cap_microusd, day.remaining_microusd) == (400_000, 0)
    await ledger.settle(held, 30_000)  # makes 170,000 free again, of which the new limit allows 20,000
    day = (await ledger.overview(LIMITS)).day
    assert (day.cap_microusd, day.remaining_microusd) == (250_000, 20_000)
    await ledger.ensure_caps(replace(LIMITS, day=0))
    held = await reserve(ledger, 0)
    with pytest.raises(BudgetExceededError):
        await reserve(ledger, 1)
    await ledger.release(held)
    assert (await ledger.overview(LIMITS)).day.remaining_microusd == 0


async def test_a_raise_is_recorded_and_holds_for_its_window_only(db: Database, ledger: Ledger, clock: Clock) -> None:
    raised = await ledger.raise_limit(Scope.DAY, "", 5_000_000, "  Ada\x00 ", "release day", LIMITS)
    assert (raised.key, raised.cap_microusd) == ("2026-02-10", 5_000_000)
    later = Ledger(db.pool, PROJECT, clock)  # as after a restart
    await later.ensure_caps(LIMITS)
    await later.ensure_caps(replace(LIMITS, day=2_000_000))
    assert (await later.overview(LIMITS)).day.cap_microusd == 5_000_000
    change = (await later.changes())[0]
    assert (change["from_microusd"], change["to_microusd"], change["by"], change["reason"], change["at"]) == (
        1_000_000, 5_000_000, "Ada", "release day", clock.now
    )  # fmt: skip
    clock.now += timedelta(days=1)
    await later.ensure_caps(LIMITS)
    assert (await later.overview(LIMITS)).day.cap_microusd == 1_000_000


async def test_the_latest_raise_counts_and_may_lower(ledger: Ledger) -> None:
    for limit in (5_000_000, 100_000):
        await ledger.raise_limit(Scope.WEEK, "2026-W07", limit, "Ada", "", LIMITS)
    assert (await ledger.overview(LIMITS)).week.remaining_microusd == 100_000
    with pytest.raises(BudgetExceededError):
        await reserve(ledger, 100_001)


async def test_raising_a_full_storys_limit_lets_its_run_go_on(ledger: Ledger) -> None:
    await ledger.settle(await reserve(ledger, 500_000), None)
    with pytest.raises(BudgetExceededError):
        await ledger.enter("r1", "A", LIMITS)
    await ledger.raise_limit(Scope.STORY, "A", 600_000, "Ada", "", LIMITS)
    assert await ledger.enter("r1", "A", LIMITS) == 100_000
    await reserve(ledger, 100_000)


async def test_a_lowered_limit_that_is_raised_again_gives_back_what_it_says(ledger: Ledger) -> None:
    await reserve(ledger, 400_000)
    await ledger.ensure_caps(replace(LIMITS, day=100_000))
    await ledger.raise_limit(Scope.DAY, "", 450_000, "Ada", "", LIMITS)
    assert (await ledger.changes())[0]["from_microusd"] == 100_000
    assert (await ledger.overview(LIMITS)).day.remaining_microusd == 50_000


@pytest.mark.parametrize(
    ("scope", "key", "by", "says"),
    [
        (Scope.DAY, "2026-02-09", "Ada", "is not the current day, which is 2026-02-10"),
        (Scope.WEEK, "2026-W08", "Ada", "is not the current week"),
        (Scope.STORY, "", "Ada", "which story is meant"),
        (Scope.RUN, "r1", "Ada", "runs have no limit of their own"),
        (Scope.DAY, "", " ", "in somebody's name"),
        (Scope.DAY, "", "auto-dev.toml", "in somebody's name"),
    ],
)
async def test_a_raise_of_nothing_sensible_is_refused(
    db: Database, ledger: Ledger, scope: Scope, key: str, by: str, says: str
) -> None:
    with pytest.raises(BudgetError, match=says):
        await ledger.raise_limit(scope, key, 1, by, "", LIMITS)
    assert await db.fetch_all("SELECT id FROM budget_raises") == []


async def test_a_new_attempt_brings_its_own_policys_limit_for_the_story(ledger: Ledger) -> None:
    await ledger.settle(await reserve(ledger, 500_000), None)
    assert await ledger.enter("r2", "A", replace(LIMITS, story=700_000)) == 200_000
    await reserve(ledger, 200_000, run="r2")


# -- the enforcer


async def test_a_run_with_money_left_may_start(ledger: Ledger) -> None:
    assert await ledger.enter("r1", "A", LIMITS) == 500_000
    await ledger.settle(await reserve(ledger, 450_000), None)
    assert await ledger.enter("r1", "A", LIMITS) == 50_000


@pytest.mark.parametrize(
    ("limits", "scope"),
    [
        (replace(LIMITS, day=0), Scope.DAY), (replace(LIMITS, week=0), Scope.WEEK),
        (replace(LIMITS, story=0), Scope.STORY),
        (replace(LIMITS, run=0), Scope.RUN), (replace(LIMITS, day=9_999), Scope.DAY),
    ],
)  # fmt: skip
async def test_no_agent_is_started_without_a_cent_in_every_scope(
    ledger: Ledger, limits: BudgetLimits, scope: Scope
) -> None:
    with pytest.raises(BudgetExceededError) as refused:
        await ledger.enter("r1", "A", limits)
    assert refused.value.scope is scope
    assert not refused.value.could_free


async def test_money_that_others_have_only_set_aside_does_not_keep_a_run_from_starting(ledger: Ledger) -> None:
    await reserve(ledger, 500_000)
    assert await ledger.enter("r1", "A", LIMITS) == 500_000


async def test_the_floor_can_be_set(ledger: Ledger) -> None:
    with pytest.raises(BudgetExceededError):
        await ledger.enter("r1", "A", LIMITS, floor_microusd=500_001)


# -- alerts


def recorder() -> tuple[list[str], Callable[[Connection, Alert], Awaitable[None]]]:
    told: list[str] = []

    async def on_alert(conn: Connection, alert: Alert) -> None:
        told.append(alert.key)
        await conn.execute(
            "INSERT INTO events (project_id, kind, data) VALUES (%s, 'BUDGET_ALERT', %s::jsonb)",
            (PROJECT, f'{{"key": "{alert.key}"}}'),
        )

    return told, on_alert


async def test_an_alert_goes_out_once_per_window_with_the_settlement_that_crossed_the_line(
    db: Database, ledger: Ledger, clock: Clock
) -> None:
    told, on_alert = recorder()
    for cost in (500_000, 299_999, 1, 100_000):
        taken = await reserve(ledger, cost, story=str(cost))
        await ledger.settle(taken, cost, alert_at=0.8, on_alert=on_alert)
    assert told == ["budget-day-2026-02-10"]
    assert len(await db.fetch_all("SELECT id FROM events")) == 1
    assert (await ledger.overview(LIMITS)).day.alerted_at == clock.now
    assert (await ledger.overview(LIMITS)).week.alerted_at is None


async def test_a_settlement_whose_alert_cannot_be_written_does_not_happen(db: Database, ledger: Ledger) -> None:
    taken = await reserve(ledger, 500_000, replace(LIMITS, day=500_000))

    async def broken(conn: Connection, alert: Alert) -> None:
        await conn.execute("SELECT 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        await ledger.settle(taken, None, alert_at=0.8, on_alert=broken)
    day = (await ledger.overview(LIMITS)).day
    assert (day.cost_microusd, day.reserved_microusd, day.alerted_at) == (0, 500_000, None)
    told, on_alert = recorder()
    await ledger.settle(taken, None, alert_at=0.8, on_alert=on_alert)
    assert told == ["budget-day-2026-02-10"]


async def test_sixteen_settlements_at_once_make_one_alert(db: Database, ledger: Ledger) -> None:
    told, on_alert = recorder()
    taken = [await reserve(ledger, 60_000, story=str(n)) for n in range(16)]
    await asyncio.gather(*(ledger.settle(one, None, alert_at=0.8, on_alert=on_alert) for one in taken))
    assert told == ["budget-day-2026-02-10"]
    assert len(await db.fetch_all("SELECT id FROM events")) == 1


# -- what a crash leaves


async def test_open_reservations_of_dead_runs_are_charged_in_full_once(db: Database, ledger: Ledger) -> None:
    await reserve(ledger, 100, run="dead")
    await reserve(ledger, 200, run="dead2")
    alive = await reserve(ledger, 300, run="alive")
    done = await reserve(ledger, 400, run="dead")
    await ledger.settle(done, 1)
    told, on_alert = recorder()
    assert await ledger.reconcile(["dead", "dead2", "never"], alert_at=0.0001, on_alert=on_alert) == 2
    assert await ledger.reconcile(["dead", "dead2"]) == 0
    assert told == ["budget-day-2026-02-10", "budget-week-2026-W07"]
    assert (await ledger.cost_of_run("dead"), await ledger.cost_of_run("dead2")) == (101, 200)
    assert (await ledger.overview(LIMITS)).day.reserved_microusd == 300
    notes = await db.fetch_all("SELECT note FROM reservations WHERE run_id = 'dead2'")
    assert notes == [{"note": "its owner ended before the usage was known: charged in full"}]
    await ledger.release(alive)


async def test_reconciling_waits_for_what_a_dead_owner_still_has_under_way(db: Database, clock: Clock) -> None:
    """A killed client's last statement may still be at work in the server: it waits for a lock, then it commits."""
    dead, ledger = Ledger(db.pool, PROJECT, clock), Ledger(db.pool, PROJECT, clock)
    await ledger.release(await reserve(ledger, 1))
    async with await psycopg.AsyncConnection.connect(db.conninfo) as blocker:
        async with blocker.transaction(force_rollback=True):
            await blocker.execute("SELECT 1 FROM budget_windows WHERE scope = 'day' FOR UPDATE")
            late = asyncio.create_task(reserve(dead, 300, run="dead"))
            await asyncio.wait([late], timeout=0.1)
            reconciling = asyncio.create_task(ledger.reconcile(["dead"]))
            done, _ = await asyncio.wait([reconciling, late], timeout=0.1)
            assert not done
        assert await reconciling == 1
        await late
    assert await db.fetch_all("SELECT id FROM reservations WHERE status = 'open'") == []
    assert await ledger.cost_of_run("dead") == 300


async def test_reconciling_by_several_at_once_charges_each_reservation_once_while_others_work(
    db: Database, clock: Clock
) -> None:
    limits = replace(LIMITS, day=10**9, week=10**9, story=10**9)
    ledgers = [Ledger(db.pool, PROJECT, clock) for _ in range(3)]
    for number in range(40):
        await reserve(ledgers[0], 10, limits, run=f"dead-{number % 3}", story=str(number % 5))

    async def work(ledger: Ledger) -> None:
        for _ in range(40):
            await ledger.settle(await reserve(ledger, 10, limits, run="alive"), 4)

    dead = [f"dead-{number}" for number in range(3)]
    counts = await asyncio.gather(*(ledger.reconcile(dead) for ledger in ledgers), *(work(one) for one in ledgers))
    assert sum(count for count in counts if count is not None) == 40
    assert await ledgers[0].reconcile(dead) == 0
    assert await ledgers[0].cost_of_run("alive") == 480
    assert (await ledgers[0].overview(limits)).day.cost_microusd == 880
    assert (await ledgers[0].overview(limits)).day.reserved_microusd == 0


async def test_costs_are_known_per_run_and_story(ledger: Ledger) -> None:
    for run, story, cost in (("r1", "A", 10), ("r2", "A", 20), ("r3", "B", 5)):
        await ledger.settle(await reserve(ledger, 100, run=run, story=story), cost)
    await reserve(ledger, 100, run="r4", story="C")
    assert await ledger.cost_of_run("r2") == 20
    assert (await ledger.cost_of_story("A"), await ledger.cost_of_story("never")) == (30, 0)
    assert await ledger.costs_by_story() == {"A": 30, "B": 5, "C": 0}


# -- the meter that agents get

PRICES = price_table({"cheap": PriceConfig(input=10, output=10)}, lambda: datetime(2026, 2, 10, tzinfo=UTC))


REQUEST = Metered("cheap", input_tokens=1000, output_tokens=2000, least_output=2000)


async def test_the_meter_reserves_the_worst_case_and_books_the_usage(db: Database, ledger: Ledger) -> None:
    meter = RunMeter(ledger, "r1", "A", LIMITS, PRICES)
    admitted = await meter.admit(REQUEST)
    assert (await ledger.overview(LIMITS)).day.reserved_microusd == 30_000
    assert await meter.bill(admitted, Spent(input=900, output=100, cache_read=50)) == 10_000
    row = await db.fetch_one("SELECT usage FROM reservations")
    assert row == {"usage": {"input": 900, "output": 100, "cache_read": 50}}
    assert await meter.bill(admitted, Spent(input=1, output=1)) == 10_000


@pytest.mark.parametrize(
    "spent",
    [
        None, Spent(0, 0), Spent(-1, 0), Spent(10, 0, cache_read=11), Spent(10**40, 0), Spent(0, 7),
        Spent(float("nan"), 1), Spent("\x00", 0),  # type: ignore[arg-type]
    ],
)  # fmt: skip
async def test_a_lying_or_missing_usage_is_charged_in_full(db: Database, ledger: Ledger, spent: Spent | None) -> None:
    meter = RunMeter(ledger, "r1", "A", LIMITS, PRICES)
    assert await meter.bill(await meter.admit(REQUEST), spent) == 30_000
    row = await db.fetch_one("SELECT note FROM reservations")
    assert row is not None
    assert "charged in full" in row["note"]


async def test_a_released_request_costs_nothing(ledger: Ledger) -> None:
    meter = RunMeter(ledger, "r1", "A", LIMITS, PRICES)
    await meter.release((await meter.admit(REQUEST)).reservation)
    assert (await ledger.overview(LIMITS)).day.remaining_microusd == 1_000_000


async def test_a_model_without_a_price_reserves_nothing(db: Database, ledger: Ledger) -> None:
    meter = RunMeter(ledger, "r1", "A", LIMITS, PRICES)
    with pytest.raises(BudgetError, match="no price is known"):
        await meter.admit(replace(REQUEST, model="unheard-of"))
    assert await db.fetch_all("SELECT id FROM reservations") == []


async def test_the_meter_announces_alerts_and_stops_at_the_limit(ledger: Ledger) -> None:
    told, on_alert = recorder()
    meter = RunMeter(ledger, "r1", "A", replace(LIMITS, day=100_000), PRICES, on_alert, 0)
    large = replace(REQUEST, input_tokens=5000, output_tokens=5000, least_output=5000)
    await meter.bill(await meter.admit(large), Spent(input=5000, output=3000))
    assert told == ["budget-day-2026-02-10"]
    with pytest.raises(BudgetExceededError, match=r"today's limit of \$0\.10 is reached"):
        await meter.admit(large)


# -- many reservations


async def test_no_question_or_batch_reads_all_reservations(db: Database, ledger: Ledger) -> None:
    taken = await reserve(ledger, 1)
    await db.execute(
        """INSERT INTO reservations (id, project_id, run_id, story_id, model, amount_microusd, charged_microusd,
                                     windows, status, settled_at)
           SELECT 'old-' || n, %s, 'run-' || n %% 300, 'S', 'm', 0, 0, '{}', 'settled', now()
             FROM generate_series(1, 30000) n""",
        [PROJECT],
    )
    await db.execute("ANALYZE reservations")
    params = {
        "project": PROJECT,
        "run": "run-7",
        "day": "2026-02-10",
        "runs": ["run-7"],
        "id": taken,
        "now": datetime.now(UTC),
    }
    for name in ("cost_of_run", "cost_of_run_today", "open_reservations", "score"):
        plan = await db.fetch_all(b"EXPLAIN " + QUERIES[name].encode(), params)  # type: ignore[arg-type]
        assert "Seq Scan on reservations" not in "\n".join(row["QUERY PLAN"] for row in plan), name
    again = ledger._reserve_op("r", "A", MODEL, 5, None, LIMITS)
    closing = Op("settle", taken, datetime.now(UTC), {"cost": 1, "usage": {}, "note": ""})
    async with db.pool.connection() as conn, conn.transaction():
        await ledger._batches._send(conn, [again, closing])
        cursor = await conn.execute("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'reservations'")
        assert await cursor.fetchall() == [{"seq_scan": 0}]
    assert again.done.result() == {"granted": 5}
