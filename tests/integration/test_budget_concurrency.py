"""The ledger under pressure: many clients, cancellations, a killed process, and every sequence of calls."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import textwrap
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auto_dev.budget.ledger import BudgetExceededError, BudgetLimits, Ledger
from auto_dev.errors import BudgetError
from auto_dev.model import Scope
from auto_dev.store.database import Database

pytestmark = pytest.mark.integration

NOON = datetime(2026, 2, 10, 12, tzinfo=UTC)
PROJECT = "todo"
STORIES = 8
CLIENTS = 64


def now() -> datetime:
    return NOON


async def check_books(db: Database, *, caps: bool = True) -> None:
    """No window over its cap, its sums those of its reservations, every reservation in one window per scope."""
    wrong = await db.fetch_all(
        """
        SELECT w.*, sums.open, sums.charged
          FROM budget_windows w
          LEFT JOIN LATERAL (
                SELECT coalesce(sum(r.amount_microusd) FILTER (WHERE r.status = 'open'), 0) AS open,
                       coalesce(sum(r.charged_microusd), 0) AS charged
                  FROM reservations r WHERE w.id = ANY (r.windows)) sums ON true
         WHERE w.reserved_microusd <> sums.open OR w.spent_microusd + w.overrun_microusd <> sums.charged
            OR %(caps)s AND w.spent_microusd + w.overrun_microusd + w.reserved_microusd > w.cap_microusd""",
        {"caps": caps},
    )
    assert wrong == []
    stray = await db.fetch_all(
        "SELECT id FROM reservations WHERE cardinality(windows) <> CASE WHEN windows = '{}' THEN 0 ELSE 3 END"
    )
    assert stray == []


async def spend(ledger: Ledger, client: int, limits: BudgetLimits, seed: int) -> None:
    """Reserve, pause and book, until a limit is reached for good."""
    chance = random.Random(seed)
    story, refusals = f"S{client % STORIES}", 0
    while refusals < 3:
        amount = chance.randint(1, 400)
        try:
            taken = await ledger.acquire(f"run-{client}", story, "m", amount, limits, wait_s=20)
        except BudgetExceededError:
            refusals += 1
            continue
        await asyncio.sleep(chance.random() * 0.002)
        if chance.random() < 0.1:
            await ledger.release(taken.id)
        else:
            await ledger.settle(taken.id, None if chance.random() < 0.1 else chance.randint(0, amount))


async def together(clients: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; a failure ends the others, a deadlock the test."""
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client)


async def sample(db: Database, done: asyncio.Event) -> None:
    """Look at the books from outside while they change."""
    while not done.is_set():
        await check_books(db)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), 0.1)


async def test_64_clients_over_three_scopes_never_exceed_and_nearly_exhaust_the_limits(db: Database) -> None:
    limits = BudgetLimits(day=60_000, week=70_000, story=9_000)
    ledger = Ledger(db.pool, PROJECT, now)
    done = asyncio.Event()
    watcher = asyncio.create_task(sample(db, done))
    await together(spend(ledger, client, limits, client) for client in range(CLIENTS))
    done.set()
    await watcher
    await check_books(db)
    overview = await ledger.overview(limits)
    assert overview.day.reserved_microusd == 0
    assert 0.95 * limits.day <= overview.day.cost_microusd <= limits.day
    assert sum((await ledger.costs_by_story()).values()) == overview.day.cost_microusd


async def test_clients_that_are_cancelled_at_random_leave_the_books_in_order(db: Database) -> None:
    limits = BudgetLimits(day=10**9, week=10**9, story=3_000)  # the stories' limits make them wait as well
    ledger = Ledger(db.pool, PROJECT, now)
    chance = random.Random(7)

    async def client(number: int) -> None:
        for attempt in range(4):
            task = asyncio.create_task(spend(ledger, number, limits, number * 10 + attempt))
            await asyncio.wait([task], timeout=chance.random() * 0.2)
            task.cancel()
            await asyncio.wait([task], timeout=30)
            assert task.done(), "a cancellation was lost"
            assert task.cancelled() or task.exception() is None

    await together(client(number) for number in range(CLIENTS))
    await check_books(db)
    rows = await db.fetch_all("SELECT count(*) AS n FROM reservations WHERE status <> 'released'")
    assert rows[0]["n"] > 0
    # Clients that were cancelled between reserving and booking have left open reservations: those of dead owners.
    await ledger.reconcile([f"run-{number}" for number in range(CLIENTS)])
    await check_books(db)
    assert (await ledger.overview(limits)).day.reserved_microusd == 0


async def test_connections_that_are_lost_under_load_leave_nothing_that_its_caller_does_not_know_of(
    db: Database,
) -> None:
    limits = BudgetLimits(day=10**9, week=10**9, story=10**9)
    ledger = Ledger(db.pool, PROJECT, now)
    done = asyncio.Event()
    losses = 0

    async def client(number: int) -> None:
        nonlocal losses
        chance = random.Random(number)
        while not done.is_set():
            try:
                taken = await ledger.reserve(f"run-{number}", f"S{number % STORIES}", "m", 10, limits)
            except psycopg.OperationalError:
                losses += 1
                continue
            cost = chance.choice([None, 0, 4, 10])
            while True:  # settling again is safe
                try:
                    assert await ledger.settle(taken.id, cost) == (10 if cost is None else cost)
                    break
                except psycopg.OperationalError:
                    losses += 1

    async def cut() -> None:
        async with await psycopg.AsyncConnection.connect(db.conninfo, autocommit=True) as admin:
            for _ in range(25):
                before = losses
                async with asyncio.timeout(20):
                    while losses == before:  # whoever is in a batch right now
                        await admin.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active'"
                            " AND datname = current_database() AND pid <> pg_backend_pid()"
                        )
                        await asyncio.sleep(0.005)
        done.set()

    await together([cut(), *(client(number) for number in range(32))])
    assert losses >= 25
    assert await db.fetch_all("SELECT id FROM reservations WHERE status = 'open'") == []
    await check_books(db)
    assert (await ledger.overview(limits)).day.cost_microusd > 0


CHILD = """
    import asyncio, itertools, sys
    from datetime import UTC, datetime
    from pathlib import Path
    from auto_dev.budget.ledger import BudgetLimits, Ledger
    from auto_dev.store.database import Database

    async def client(ledger, number):
        limits = BudgetLimits(10**9, 10**9, 10**9)
        for n in itertools.count():
            taken = await ledger.acquire(f"child-{number}", f"S{number % 8}", "m", 100 + n % 7, limits)
            if n % 3:
                await ledger.settle(taken.id, 50)

    async def main(url, folder):
        async with Database.open(url, Path(folder)) as db:
            ledger = Ledger(db.pool, "todo", lambda: datetime(2026, 2, 10, 12, tzinfo=UTC))
            await asyncio.gather(*(client(ledger, number) for number in range(16)))

    asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_process_leaves_reservations_that_are_charged_in_full(
    db: Database, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    limits = BudgetLimits(10**9, 10**9, 10**9)
    ledger = Ledger(db.pool, PROJECT, now)
    folder = tmp_path_factory.mktemp("child")
    runs = [f"child-{number}" for number in range(16)]
    for _ in range(3):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(CHILD), database_url, str(folder)
        )
        try:
            async with asyncio.timeout(60):
                before = await count(db)
                while await count(db) < before + 200:
                    assert child.returncode is None
                    await asyncio.sleep(0.02)
        finally:
            if child.returncode is None:
                child.kill()
            await child.wait()
        await everything_ended(db)
        await check_books(db)
        held = (await ledger.overview(limits)).day
        assert held.reserved_microusd > 0
        assert await ledger.reconcile(runs) > 0
        day = (await ledger.overview(limits)).day
        assert (day.reserved_microusd, day.cost_microusd) == (0, held.cost_microusd + held.reserved_microusd)
        await check_books(db)


async def count(db: Database) -> int:
    rows = await db.fetch_all("SELECT count(*) AS n FROM reservations WHERE status = 'settled'")
    return int(rows[0]["n"])


async def everything_ended(db: Database) -> None:
    """Wait until the server has noticed that the process is gone: only this test's connections are left at work."""
    async with asyncio.timeout(20):
        while await db.fetch_all(
            """SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                  AND state <> 'idle'"""
        ):
            await asyncio.sleep(0.02)


async def test_clients_of_windows_that_do_not_exist_yet_do_not_wait_for_each_other_in_a_circle(db: Database) -> None:
    """New stories, new days and changes of limits at once: every order of creating and locking windows."""
    limits = BudgetLimits(10**9, 10**9, 10**9, run=10**9)

    async def client(number: int) -> None:
        chance = random.Random(number)
        for step in range(12):
            day = NOON + timedelta(days=chance.randint(0, 3))
            ledger = Ledger(db.pool, PROJECT, lambda day=day: day)  # type: ignore[misc]
            story, run = f"S{chance.randint(0, 5)}-{step}", f"R{chance.randint(0, 3)}-{step}"
            match chance.randint(0, 5):
                case 0:
                    await ledger.ensure_caps(replace(limits, day=10**9 + chance.randint(0, 5)))
                case 1:
                    await ledger.raise_limit(Scope.STORY, story, 10**9 + step, "Ada", "", limits)
                case 2:
                    await ledger.enter(run, story, replace(limits, story=10**9 + chance.randint(0, 5)))
                case _:
                    taken = await ledger.reserve(run, story, "m", 10, limits)
                    await ledger.settle(taken.id, 5)
                    await ledger.reconcile([run])

    await together(client(number) for number in range(32))
    wrong = await db.fetch_all("SELECT id FROM budget_windows WHERE reserved_microusd <> 0")
    assert wrong == []


# -- every sequence of calls against a simple model


@dataclass
class Model:
    """What the ledger should be: plain sums."""

    limits: BudgetLimits
    day: int = 0
    raised: dict[int, int] = field(default_factory=dict)
    booked: list[tuple[str, int, int, int, int]] = field(default_factory=list)  # state, day, story, amount, charge

    def used(self, day: int | None = None, story: int | None = None) -> tuple[int, int]:
        cost = held = 0
        for state, on, of, amount, charge in self.booked:
            if day in (None, on) and story in (None, of):
                cost += charge
                held += amount if state == "open" else 0
        return cost, held

    def room(self, story: int) -> int:
        scopes = (
            (self.used(day=self.day), self.raised.get(self.day, self.limits.day)),
            (self.used(), self.limits.week),
            (self.used(story=story), self.limits.story),
        )
        return min(limit - cost - held for (cost, held), limit in scopes)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 2), st.integers(1, 60)),
        st.tuples(st.just("take"), st.integers(0, 2), st.integers(1, 60)),
        st.tuples(st.just("book"), st.integers(0, 2), st.integers(0, 60)),
        st.tuples(st.just("settle"), st.integers(0, 11), st.none() | st.integers(0, 80)),
        st.tuples(st.just("release"), st.integers(0, 11), st.none()),
        st.tuples(st.just("tomorrow"), st.none(), st.none()),
        st.tuples(st.just("raise"), st.none(), st.integers(0, 300)),
        st.tuples(st.just("reconcile"), st.integers(0, 2), st.none()),
    ),
    max_size=30,
)


class Play:
    """One sequence of calls, on the ledger and on the model."""

    def __init__(self, db: Database) -> None:
        self.model = Model(BudgetLimits(day=100, week=220, story=130))
        self.db = db
        self.project = uuid4().hex
        self.ledger = Ledger(db.pool, self.project, lambda: NOON + timedelta(days=self.model.day))
        self.ids: list[str] = []

    async def reserve(self, story: int, amount: int, least: int | None = None) -> None:
        room = self.model.room(story)
        try:
            taken = await self.ledger.reserve(
                f"r{story}", f"s{story}", "m", amount, self.model.limits, least_microusd=least
            )
        except BudgetExceededError:
            assert room < (amount if least is None else least)
        else:
            assert taken.amount_microusd == (amount if least is None else min(amount, room)) <= room
            self.ids.append(taken.id)
            self.model.booked.append(("open", self.model.day, story, taken.amount_microusd, 0))

    async def take(self, story: int, amount: int) -> None:
        await self.reserve(story, amount, least=min(amount, 20))

    async def book(self, story: int, cost: int) -> None:
        for _ in range(2):
            await self.ledger.book(f"r{story}", f"s{story}", "m", cost, self.model.limits, booking=str(len(self.ids)))
        row = await self.db.fetch_one(
            "SELECT id FROM reservations WHERE project_id = %s AND id <> ALL (%s)", [self.project, self.ids]
        )
        assert row is not None
        self.ids.append(row["id"])
        self.model.booked.append(("settled", self.model.day, story, cost, cost))

    async def settle(self, index: int, cost: int | None) -> None:
        if index >= len(self.ids):
            return
        state, day, story, amount, charge = self.model.booked[index]
        if state == "released":
            with pytest.raises(BudgetError):
                await self.ledger.settle(self.ids[index], cost)
            return
        if state == "open":
            charge = amount if cost is None else cost
        assert await self.ledger.settle(self.ids[index], cost) == charge
        self.model.booked[index] = ("settled", day, story, amount, charge)

    async def release(self, index: int, _: None) -> None:
        if index >= len(self.ids):
            return
        state, day, story, amount, charge = self.model.booked[index]
        if state == "settled":
            with pytest.raises(BudgetError):
                await self.ledger.release(self.ids[index])
            return
        await self.ledger.release(self.ids[index])
        self.model.booked[index] = ("released", day, story, amount, charge)

    async def tomorrow(self, _: None, __: None) -> None:
        self.model.day = min(self.model.day + 1, 4)  # the week has five days left

    async def raise_(self, _: None, limit: int) -> None:
        await self.ledger.raise_limit(Scope.DAY, "", limit, "Ada", "", self.model.limits)
        self.model.raised[self.model.day] = limit

    async def reconcile(self, story: int, _: None) -> None:
        await self.ledger.reconcile([f"r{story}"])
        for index, (state, day, of, amount, _charge) in enumerate(self.model.booked):
            if state == "open" and of == story:
                self.model.booked[index] = ("settled", day, of, amount, amount)

    async def compare(self) -> None:
        overview = await self.ledger.overview(self.model.limits)
        day, week = overview.day, overview.week
        assert (day.cost_microusd, day.reserved_microusd) == self.model.used(day=self.model.day)
        assert (week.cost_microusd, week.reserved_microusd) == self.model.used()
        for story in range(3):
            assert await self.ledger.cost_of_story(f"s{story}") == self.model.used(story=story)[0]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions)
async def test_every_sequence_of_calls_does_what_a_simple_model_does(
    db: Database, sequence: list[tuple[str, int | None, int | None]]
) -> None:
    play = Play(db)
    calls: dict[str, Callable[..., Awaitable[None]]] = {
        "reserve": play.reserve, "take": play.take, "book": play.book, "settle": play.settle, "release": play.release,
        "tomorrow": play.tomorrow,
        "raise": play.raise_, "reconcile": play.reconcile,
    }  # fmt: skip
    for name, first, second in sequence:
        await calls[name](first, second)
        await play.compare()
    await check_books(db, caps=False)  # overruns may exceed a cap, and are counted as such
