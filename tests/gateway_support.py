"""A gateway with a real ledger in front of the scripted model server, for tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from auto_dev.budget.gateway import Gateway, Grant, Upstreams
from auto_dev.budget.ledger import Ledger
from auto_dev.budget.limits import BudgetLimits
from auto_dev.budget.meter import RunMeter
from auto_dev.budget.prices import price_table
from auto_dev.store.database import Database
from tests.model_server import ModelServer

LIMITS = BudgetLimits(day=50_000_000, week=200_000_000, story=50_000_000, timezone="UTC")
KEY = "sk-real-canary-0123456789"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Till:
    """What stands between an agent and the models, and its books."""

    db: Database
    ledger: Ledger
    gateway: Gateway
    models: ModelServer
    grant: Grant

    async def rows(self) -> list[dict[str, Any]]:
        """All reservations, oldest first."""
        return [
            dict(row)
            for row in await self.db.fetch_all(
                "SELECT status, model, amount_microusd, charged_microusd, note, usage"
                " FROM reservations ORDER BY created_at"
            )
        ]

    async def charged(self) -> int:
        """Micro-dollars that the ledger booked."""
        return sum(row["charged_microusd"] or 0 for row in await self.rows())

    async def settled(self) -> list[dict[str, Any]]:
        """Wait until nothing is being booked; the reservations, of which none may be open."""
        await self.grant.booked()
        rows = await self.rows()
        assert [row for row in rows if row["status"] == "open"] == []
        return rows


@asynccontextmanager
async def open_till(
    db: Database,
    models: ModelServer,
    *,
    limits: BudgetLimits = LIMITS,
    wait_s: float = 0.2,
    refusal: int = 400,
    upstreams: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    watch: Any = None,
) -> AsyncIterator[Till]:
    """A gateway with one grant. ``upstreams`` None: all providers are ``models``."""
    known = keys if keys is not None else {f"{name}_API_KEY": KEY for name in ("ANTHROPIC", "OPENAI", "GEMINI")}
    ledger = Ledger(db.pool, "todo", now)
    meter = RunMeter(ledger, "run-1", "TODO-1", limits, price_table({}, now), wait_s=wait_s)
    where = dict.fromkeys(("anthropic", "openai", "gemini"), models.url) | dict(upstreams or {})
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(Gateway(known.get, now))
        grant = gateway.grant("run-1", meter, Upstreams(**where), refusal=refusal, watch=watch)
        await stack.enter_async_context(grant)
        yield Till(db, ledger, gateway, models, grant)


def messages(**more: Any) -> bytes:
    """A request to the Messages API."""
    body = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": "Hello there."}],
        **more,
    }
    return json.dumps(body).encode()
