"""A gateway over a real ledger and a scripted model server, and clients that speak its four protocols."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import aiohttp
from yarl import URL

from auto_dev.budget.gateway import Gateway, Grant, Upstreams, Watch
from auto_dev.budget.ledger import Ledger
from auto_dev.budget.limits import BudgetLimits
from auto_dev.budget.meter import RunMeter
from auto_dev.budget.prices import price_table
from auto_dev.config import PriceConfig
from auto_dev.store.database import Database
from tests.model_server import Entry, ModelServer

PROJECT = "p"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DOLLAR = 1_000_000
LIMITS = BudgetLimits(day=50 * DOLLAR, week=200 * DOLLAR, story=10 * DOLLAR)
KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-real-0123456789abcdef",
    "OPENAI_API_KEY": "sk-openai-real-0123456789abcdef",
    "GEMINI_API_KEY": "AIza-real-0123456789abcdef",
}
HELLO = [{"role": "user", "content": "Hello"}]
CLAUDE, GPT, FLASH = "claude-sonnet-4-6", "gpt-5", "gemini-2.5-flash"
PATHS = {
    "anthropic": "/v1/messages",
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "gemini": f"/v1beta/models/{FLASH}:generateContent",
    "gemini-stream": f"/v1beta/models/{FLASH}:streamGenerateContent?alt=sse",
}
WIRES = ("anthropic", "chat", "responses", "gemini")


def request(wire: str, *, stream: bool = False, text: str = "Hello", cap: int | None = 1000, **more: Any) -> Any:
    """Path and body of an ordinary request."""
    body: dict[str, Any]
    if wire == "gemini":
        body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        if cap is not None:
            body["generationConfig"] = {"maxOutputTokens": cap}
        return PATHS["gemini-stream" if stream else "gemini"], body | more
    if wire == "responses":
        body, name = {"model": GPT, "input": text}, "max_output_tokens"
    else:
        body = {"model": CLAUDE if wire == "anthropic" else GPT, "messages": [{"role": "user", "content": text}]}
        name = "max_tokens" if wire == "anthropic" else "max_completion_tokens"
    if cap is not None:
        body[name] = cap
    if stream:
        body["stream"] = True
    return PATHS[wire], body | more


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


@dataclass
class Kit:
    """Everything of one test."""

    server: ModelServer
    gateway: Gateway
    grant: Grant
    ledger: Ledger
    db: Database
    http: aiohttp.ClientSession
    upstreams: Upstreams
    clock: list[datetime]
    meter: RunMeter
    extra: dict[str, Any] = field(default_factory=dict)

    async def post(
        self, path: str, body: Any = None, *, data: bytes | None = None, headers: Mapping[str, str] | None = None,
        token: str | None = None, method: str = "POST",
    ) -> Reply:  # fmt: skip
        sent = {"x-api-key": self.grant.token if token is None else token, "content-type": "application/json"}
        payload = json.dumps(body).encode() if data is None and body is not None else data
        async with self.http.request(
            method,
            URL(self.gateway.url + path, encoded=True),
            data=BytesIO(payload) if payload is not None else None,
            headers=sent | dict(headers or {}),
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def ask(self, wire: str, **options: Any) -> Reply:
        path, body = request(wire, **options)
        return await self.post(path, body)

    @property
    def last(self) -> Entry:
        return self.server.record[-1]

    async def rows(self) -> list[dict[str, Any]]:
        """All reservations, once everything is booked."""
        await self.grant.booked()
        rows = await self.db.fetch_all("SELECT * FROM reservations ORDER BY created_at, id")
        return [dict(row) for row in rows]

    async def charged(self) -> int:
        """What all requests were charged; nothing may be open."""
        rows = await self.rows()
        assert [row for row in rows if row["status"] == "open"] == []
        return sum(row["charged_microusd"] or 0 for row in rows)

    async def in_full(self) -> bool:
        """Whether the one request was charged with all that was set aside."""
        (row,) = await self.rows()
        return bool(row["status"] == "settled" and row["charged_microusd"] == row["amount_microusd"] and row["note"])


@asynccontextmanager
async def kit(
    db: Database,
    server: ModelServer,
    *,
    limits: BudgetLimits = LIMITS,
    prices: Mapping[str, PriceConfig] | None = None,
    refusal: int = 400,
    watch: Watch | None = None,
    keys: Mapping[str, str] = KEYS,
    wait_s: float = 5.0,
    upstream: str = "",
) -> AsyncIterator[Kit]:
    """A gateway with one grant in front of ``server``."""
    clock = [NOW]
    ledger = Ledger(db.pool, PROJECT, lambda: clock[0])
    await ledger.ensure_caps(limits)
    meter = RunMeter(ledger, "run-1", "story-1", limits, price_table(prices or {}, lambda: clock[0]), wait_s=wait_s)
    async with server, Gateway(keys.get, lambda: clock[0]) as gateway, aiohttp.ClientSession() as http:
        base = upstream or server.url
        upstreams = Upstreams(base, base, base)
        async with gateway.grant("run-1", meter, upstreams, refusal=refusal, watch=watch) as grant:
            yield Kit(server, gateway, grant, ledger, db, http, upstreams, clock, meter)


def events(reply: Reply) -> list[Any]:
    """The data of a stream's events."""
    return [
        json.loads(line[5:])
        for line in reply.text.splitlines()
        if line.startswith("data:") and line[5:].strip() != "[DONE]"
    ]
