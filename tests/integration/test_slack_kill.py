"""An acknowledged press is never lost, whenever the process dies: Slack does not send it again."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from auto_dev.notify.slack_http import PATH
from auto_dev.store.database import Database
from tests.slack_support import Caller, press, put_decision, row_of, stand_in

pytestmark = pytest.mark.integration

ROUNDS, CROWD = 3, 16


@asynccontextmanager
async def process(database_url: str, api_url: str) -> AsyncIterator[tuple[Caller, asyncio.subprocess.Process]]:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.slack_process", database_url, api_url,
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert started.stdout is not None
    port = int(await started.stdout.readline())
    async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
        try:
            yield Caller(f"http://127.0.0.1:{port}{PATH}", client), started
        finally:
            if started.returncode is None:
                started.send_signal(signal.SIGKILL)
            await started.wait()


async def acknowledged(caller: Caller, decision: str) -> bool:
    try:
        return (await caller.send(press(decision, "a"))).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize(("moment", "status"), [("before", "open"), ("after", "answered")])
async def test_dying_around_the_commit_acknowledges_nothing(
    moment: str, status: str, db: Database, database_url: str
) -> None:
    name = f"d-{moment}"
    await put_decision(db, name)
    async with stand_in() as slack, process(database_url, slack.api_url) as (caller, started):
        assert not await acknowledged(caller, name)
        assert await started.wait() == -signal.SIGKILL
    assert (await row_of(db, name))["status"] == status


@pytest.mark.timeout(300)  # four processes, each to be killed
async def test_whatever_was_acknowledged_is_answered_after_any_death(db: Database, database_url: str) -> None:
    chance = random.Random(11)
    taken: list[str] = []
    left: list[str] = []
    async with stand_in() as slack:
        for number in range(ROUNDS + 1):
            async with process(database_url, slack.api_url) as (caller, started):
                for name in left:  # after a restart, all can be answered; on a busy machine not at the first press
                    assert await acknowledged(caller, name) or await acknowledged(caller, name)
                if number == ROUNDS:
                    break
                names = [f"d-{number}-{i}" for i in range(CROWD)]
                for name in names:
                    await put_decision(db, name)
                acks = await _under_fire(caller, started, names, chance.randrange(1, CROWD - 4))
            taken += acks
            left = [name for name in names if name not in acks]
            for name in taken:
                assert (await row_of(db, name))["status"] == "answered", f"{name} was acknowledged and is lost"
    events = await db.fetch_all("SELECT run_id FROM events WHERE kind = 'DECISION_ANSWERED'")
    assert len(events) == len({event["run_id"] for event in events}) == ROUNDS * CROWD
    assert len(await db.fetch_all("SELECT 1 FROM procrastinate_jobs")) == ROUNDS * CROWD


async def _under_fire(caller: Caller, started: asyncio.subprocess.Process, names: list[str], until: int) -> list[str]:
    """Click all at once, and kill the process when so many are acknowledged; which ones those were."""
    acks: list[str] = []

    async def click(name: str) -> None:
        if await acknowledged(caller, name):
            acks.append(name)
        if len(acks) >= until and started.returncode is None:
            started.send_signal(signal.SIGKILL)
            await started.wait()

    await asyncio.gather(*(click(name) for name in names))
    return acks
