"""Many clients, three scopes, clients that hang up, and a gateway that is killed: not a cent over, none lost."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from auto_dev.budget.ledger import OWNER_DIED, Ledger
from auto_dev.store.database import Database
from tests.integration.gateway_kit import DOLLAR, PROJECT, WIRES, request
from tests.model_server import Answer, Asked, Entry, ModelServer, Tokens

pytestmark = pytest.mark.integration

CLIENTS = 128
STORIES = ("A", "B", "C")
ROUNDS = int(os.environ.get("GATEWAY_ROUNDS", "1"))  # more for a heavy round
DAY = 4 * DOLLAR
HERE = Path(__file__).parent


@dataclass
class Gate:
    """Where the gateway is now; clients wait while it is away."""

    url: str = ""
    tokens: list[str] = field(default_factory=list)
    up: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def gateway(gate: Gate, settings: dict[str, Any]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "gateway_process.py"), json.dumps(settings),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        told = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        gate.url, gate.tokens = told["url"], told["tokens"]
        gate.up.set()
        yield process
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def model(chance: random.Random) -> Callable[[Asked], Answer]:
    """Every request takes a number of input tokens of its own, by which its booking is found."""

    def scenario(asked: Asked) -> Answer:
        output = chance.randint(1, asked.max_output or 1000)
        return Answer("word " * output, usage=Tokens(1000 + asked.number, output), pieces=3, pause_s=0.002)

    return scenario


async def client(http: aiohttp.ClientSession, gate: Gate, number: int, seed: int) -> int:
    """Asks until it is refused; how often it was answered."""
    chance = random.Random(seed * 1000 + number)
    answered = 0
    while True:
        await gate.up.wait()
        wire, stream = chance.choice(WIRES), chance.random() < 0.7
        path, body = request(wire, stream=stream, text="x" * 6000, cap=1000)
        headers = {"x-api-key": gate.tokens[number % len(gate.tokens)]}
        try:
            async with http.post(gate.url + path, json=body, headers=headers) as response:
                if response.status == 400:
                    assert "limit of" in await response.text()
                    return answered
                assert response.status == 200
                if stream and chance.random() < 0.1:
                    await response.content.readany()
                    response.close()  # hangs up in the middle
                    continue
                await response.read()
                answered += 1
        except aiohttp.ClientError:
            await asyncio.sleep(0.02)  # the gateway was killed; a real client waits a moment, too


@pytest.mark.timeout(120 * ROUNDS)
@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_not_a_cent_over_and_nothing_lost_when_the_gateway_is_killed(
    database_url: str, tmp_path: Path, seed: int
) -> None:
    server = ModelServer(model(random.Random(seed)), keep_bodies=False)
    gate = Gate()
    connector = aiohttp.TCPConnector(limit=0)
    async with server, aiohttp.ClientSession(connector=connector) as http:
        settings = {
            "database": database_url, "upstream": server.url, "stories": STORIES, "day": DAY, "week": 50 * DOLLAR,
            "story": DAY * 45 // 100, "wait_s": 3,
        }  # fmt: skip
        async with Database.open(database_url, tmp_path) as db:
            async with gateway(gate, settings) as first:
                clients = [asyncio.create_task(client(http, gate, number, seed)) for number in range(CLIENTS)]
                while server.record.cost_microusd < DAY // 2:
                    await asyncio.sleep(0.01)
                gate.up.clear()
                first.kill()
                await first.wait()
            ledger = Ledger(db.pool, PROJECT, lambda: datetime.now(UTC))
            assert await ledger.reconcile([f"run-{story}" for story in STORIES]) > 0
            async with gateway(gate, settings):
                answered = sum(await asyncio.gather(*clients))
            rows = [dict(row) for row in await db.fetch_all("SELECT * FROM reservations")]
            windows = [dict(row) for row in await db.fetch_all("SELECT * FROM budget_windows")]
    judge(rows, windows, list(server.record), answered)


def judge(rows: list[dict[str, Any]], windows: list[dict[str, Any]], record: list[Entry], answered: int) -> None:
    assert {row["status"] for row in rows} <= {"settled", "released"}
    charged = sum(row["charged_microusd"] or 0 for row in rows)
    # Not a micro-dollar over any limit, and every window is the sum of what was charged in it.
    for window in windows:
        assert window["reserved_microusd"] == window["overrun_microusd"] == 0
        assert window["spent_microusd"] <= window["cap_microusd"]
        if window["scope"] in ("day", "week"):
            assert window["spent_microusd"] == charged
    assert sum(window["spent_microusd"] for window in windows if window["scope"] == "story") == charged
    assert charged >= 0.95 * DAY
    # Everything that was answered is booked to the micro-dollar, and everything that broke off with at least its cost.
    booked = {row["usage"]["input"]: row for row in rows if row["status"] == "settled" and not row["note"]}
    exact = 0
    for entry in record:
        assert entry.usage is not None
        row = booked.pop(entry.usage.input, None)
        if row is not None and entry.outcome == "complete":
            assert row["charged_microusd"] == entry.cost_microusd
            exact += 1
    assert booked == {}
    # What the kill met between its answer and its booking is charged in full, and nothing else is without a booking.
    killed = sum(row["note"] == OWNER_DIED for row in rows)
    assert 0 < killed <= CLIENTS
    assert exact + killed >= answered
    assert exact > 100
    assert sum(entry.cost_microusd for entry in record) <= charged <= DAY
