"""128 clients in several processes spend a day's and a week's budget while processes are killed under them.

``AUTO_DEV_PRESSURE=10`` makes the budget and the number of kills ten times as large.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import textwrap
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from auto_dev.budget.ledger import BudgetLimits, Ledger
from auto_dev.store.database import Database

pytestmark = pytest.mark.integration

SCALE: Final = int(os.environ.get("AUTO_DEV_PRESSURE", "1"))
PROJECT: Final = "todo"
PROCESSES: Final = 4
CLIENTS: Final = 32  # in each process
KILLS: Final = 4 * SCALE  # on each day
DAY: Final = 1_000_000 * SCALE
LIMITS: Final = BudgetLimits(day=DAY, week=DAY * 3 // 2, story=DAY // 6)  # twelve stories
TUESDAY: Final = datetime(2026, 2, 10, 12, tzinfo=UTC)
WEDNESDAY: Final = datetime(2026, 2, 11, 12, tzinfo=UTC)

CHILD: Final = """
    import asyncio, random, sys
    from datetime import datetime
    from pathlib import Path
    from auto_dev.budget.ledger import BudgetExceededError, BudgetLimits, Ledger
    from auto_dev.store.database import Database

    async def client(ledger, limits, run, chance):
        for _ in range(3):
            try:
                while True:
                    amount = chance.randint(1, 600)
                    least = chance.choice([None, 1, max(amount // 2, 1)])
                    story = f"S{chance.randint(0, 11)}"
                    taken = await ledger.acquire(run, story, "m", amount, limits, least_microusd=least, wait_s=30)
                    assert (least or 1) <= taken.amount_microusd <= amount
                    await asyncio.sleep(chance.random() * 0.002)  # the request
                    match chance.randint(0, 9):
                        case 0: await ledger.release(taken.id)
                        case 1: await ledger.settle(taken.id, None)
                        case _: await ledger.settle(taken.id, chance.randint(0, taken.amount_microusd))
            except BudgetExceededError:
                pass

    async def main(url, folder, name, now, clients, *limits):
        async with Database.open(url, Path(folder)) as db:
            ledger = Ledger(db.pool, "todo", lambda: datetime.fromisoformat(now))
            limits = BudgetLimits(*map(int, limits))
            async with asyncio.TaskGroup() as group:
                for n in range(int(clients)):
                    group.create_task(client(ledger, limits, f"{name}-{n}", random.Random(f"{name}-{n}")))

    asyncio.run(main(*sys.argv[1:]))
"""


class Clients:
    """One process with its clients, each of which is a run of its own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, errors: Path) -> None:
        self.name = name
        self.process = process
        self.errors = errors
        self.runs = [f"{name}-{n}" for n in range(CLIENTS)]

    @classmethod
    async def start(cls, name: str, url: str, folder: Path, now: datetime) -> Clients:
        errors = folder / f"{name}.err"
        limits = (str(LIMITS.day), str(LIMITS.week), str(LIMITS.story))
        arguments = (url, str(folder), name, now.isoformat(), str(CLIENTS), *limits)
        with errors.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", textwrap.dedent(CHILD), *arguments, stderr=file
            )
        return cls(name, process, errors)


async def over_and_unequal(db: Database) -> list[Any]:
    """In one snapshot: windows over their cap, or whose sums are not those of their reservations."""
    return await db.fetch_all(
        """
        WITH sums AS (
            SELECT u.id, coalesce(sum(r.amount_microusd) FILTER (WHERE r.status = 'open'), 0) AS open,
                   coalesce(sum(r.charged_microusd), 0) AS charged
              FROM reservations r CROSS JOIN LATERAL unnest(r.windows) AS u (id)
             GROUP BY u.id)
        SELECT w.*, sums.*
          FROM budget_windows w LEFT JOIN sums ON sums.id = w.id
         WHERE w.spent_microusd + w.overrun_microusd + w.reserved_microusd > w.cap_microusd
            OR w.reserved_microusd <> coalesce(sums.open, 0)
            OR w.spent_microusd + w.overrun_microusd <> coalesce(sums.charged, 0)"""
    )


async def watch(db: Database, done: asyncio.Event) -> None:
    """Look at the books from outside while they change."""
    while not done.is_set():
        assert await over_and_unequal(db) == []
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), 0.2)


async def deadlocks(db: Database) -> int:
    row = await db.fetch_one("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert row is not None
    return int(row["deadlocks"])


async def settled(db: Database) -> int:
    row = await db.fetch_one("SELECT count(*) AS n FROM reservations WHERE status = 'settled'")
    assert row is not None
    return int(row["n"])


async def spend_a_day(
    db: Database, url: str, folder: Path, now: datetime, eventually: Callable[..., Awaitable[Any]]
) -> int:
    """Let the clients spend until nothing is left, killing processes at random; how many reservations that left."""
    chance = random.Random(now.isoformat())
    ledger = Ledger(db.pool, PROJECT, lambda: now)
    running = [await Clients.start(f"{now:%a}{n}", url, folder, now) for n in range(PROCESSES)]
    left = 0
    try:
        for kill in range(KILLS):
            before = await settled(db)
            more = chance.randint(50, 600)

            async def worked(enough: int = before + more) -> bool:
                alive = any(one.process.returncode is None for one in running)
                return not alive or await settled(db) >= enough

            await eventually(worked, timeout_s=60)
            victim = running.pop(chance.randrange(len(running)))
            if victim.process.returncode is None:
                victim.process.kill()
            await victim.process.wait()
            left += await ledger.reconcile(victim.runs)
            assert await ledger.reconcile(victim.runs) == 0
            running.append(await Clients.start(f"{now:%a}{PROCESSES + kill}", url, folder, now))
        async with asyncio.timeout(60 + 60 * SCALE):
            for one in running:
                assert await one.process.wait() == 0, one.errors.read_text()
    finally:
        for one in running:
            if one.process.returncode is None:
                one.process.kill()
            await one.process.wait()
    return left


async def test_128_clients_under_kills_spend_nearly_everything_and_nothing_more(
    db: Database, database_url: str, tmp_path: Path, eventually: Callable[..., Awaitable[Any]]
) -> None:
    before = await deadlocks(db)
    done = asyncio.Event()
    watcher = asyncio.create_task(watch(db, done))
    left = 0
    try:
        for now in (TUESDAY, WEDNESDAY):
            left += await spend_a_day(db, database_url, tmp_path, now, eventually)
    finally:
        done.set()
        await watcher
    assert await over_and_unequal(db) == []
    assert left > 0, "no kill met an open reservation"
    assert await db.fetch_all("SELECT id FROM reservations WHERE status = 'open'") == []
    overview = await Ledger(db.pool, PROJECT, lambda: WEDNESDAY).overview(LIMITS)
    tuesday = (await Ledger(db.pool, PROJECT, lambda: TUESDAY).overview(LIMITS)).day
    assert 0.95 * LIMITS.day <= tuesday.cost_microusd <= LIMITS.day
    assert 0.95 * LIMITS.week <= overview.week.cost_microusd <= LIMITS.week
    assert (overview.day.overrun_microusd, overview.week.overrun_microusd) == (0, 0)
    assert overview.day.cost_microusd + tuesday.cost_microusd == overview.week.cost_microusd
    assert await deadlocks(db) == before
