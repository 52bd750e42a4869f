"""What a run is given at the gateway: a token, and what became of its requests."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, Self

from yarl import URL

from auto_dev.budget.gateway.aside import held_by_grant
from auto_dev.budget.gateway.listener import Listener
from auto_dev.budget.limits import BudgetExceededError
from auto_dev.budget.meter import RunMeter
from auto_dev.config import GatewayConfig
from auto_dev.errors import ConfigError
from auto_dev.tasks import end_tasks


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Where the providers are: URLs without a slash at the end."""

    anthropic: str
    openai: str
    gemini: str

    @classmethod
    def of(cls, config: GatewayConfig) -> Self:
        """The configured ones. Raises ConfigError for what is no http(s) URL."""
        return cls(
            anthropic=_base("gateway.anthropic_url", config.anthropic_url, "/v1"),
            openai=_base("gateway.openai_url", config.openai_url, "/v1"),
            gemini=_base("gateway.gemini_url", config.gemini_url, "/v1beta"),
        )


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run must stop. ``kind``: budget | rate_limit | refused | anomaly | halted.

    ``cause`` groups messages that say the same: the budget's scope and window. ``error``: the limit that is reached,
    for "budget".
    """

    kind: str
    detail: str
    resets_at: datetime | None = None
    cause: str = ""
    error: BudgetExceededError | None = None


class Watch(Protocol):
    """Looks for what is not normal; an answer other than "" says why the run must pause."""

    def asked(self, digest: bytes) -> str: ...
    def booked(self, microusd: int) -> str: ...


class Grant:
    """One turn's access to the models, while its block lasts.

    Leaving the block revokes the token, ends what is under way, and waits until everything is booked. ``refusal`` is
    the HTTP status that makes this agent stop. ``last_turn`` is time.monotonic() of the last complete answer, of the
    beginning before that; ``requests`` counts what was asked of models.
    """

    def __init__(
        self,
        run_id: str,
        meter: RunMeter,
        upstreams: Upstreams,
        refusal: int,
        watch: Watch | None,
        members: set[Grant],
        listener: Callable[[Grant], Listener],
    ) -> None:
        self.run_id = run_id
        self.meter = meter
        self.upstreams = upstreams
        self.refusal = refusal
        self.watch = watch
        self.token = f"sk-auto-dev-{secrets.token_hex(24)}"
        self.requests = 0
        self.last_turn = time.monotonic()
        self.held = held_by_grant()
        self.under_way: set[asyncio.Task[None]] = set()
        self.bookings: set[asyncio.Task[None]] = set()
        self._members = members
        self._new_listener = listener
        self._listeners: list[Listener] = []
        self._stop: Stop | None = None
        self._stopped = asyncio.Event()
        self._limited = self._failed = 0

    async def __aenter__(self) -> Self:
        self._members.add(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._members.discard(self)
        await _uncancelled(self._end())

    @property
    def stop(self) -> Stop | None:
        """Why the run must stop, if it must."""
        return self._stop

    async def stopped(self) -> Stop:
        """Wait until the run must stop."""
        await self._stopped.wait()
        assert self._stop is not None
        return self._stop

    async def listen(self, socket: Path) -> None:
        """Serve this grant alone on the unix socket ``socket`` too, until the block ends."""
        listener = self._new_listener(self)
        await listener.listen_unix(socket)
        self._listeners.append(listener)

    # -- for the gateway

    def set_stop(self, stop: Stop) -> None:
        """The first reason stays."""
        if self._stop is None:
            self._stop = stop
            self._stopped.set()

    def answered(self) -> None:
        """A model's answer is complete."""
        self.last_turn = time.monotonic()
        self._limited = self._failed = 0

    def failed_again(self) -> int:
        """How often in a row, this time included, the provider failed or could not be reached."""
        self._failed += 1
        return self._failed

    def limited_again(self) -> int:
        """How often in a row, this time included, the provider asked to wait."""
        self._limited += 1
        return self._limited

    def book(self, booking: Coroutine[Any, Any, None]) -> None:
        """Book something beside the answers."""
        task = asyncio.ensure_future(booking)
        self.bookings.add(task)
        task.add_done_callback(self.bookings.discard)

    async def booked(self) -> None:
        """Wait until everything that is to be booked is booked."""
        while self.bookings:
            await asyncio.wait(set(self.bookings))

    async def cut(self) -> None:
        """End what is under way."""
        await end_tasks(*self.under_way)

    async def _end(self) -> None:
        await self.cut()
        for listener in self._listeners:
            await listener.close()
        await self.booked()


async def _uncancelled(work: Coroutine[Any, Any, None]) -> None:
    """Finish ``work`` even when cancelled; the cancellation takes effect afterwards."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError


def _base(key: str, url: str, version: str) -> str:
    """``url`` without what the gateway adds itself."""
    try:
        parsed = URL(url)
    except ValueError:
        parsed = URL()
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query_string or parsed.fragment:
        raise ConfigError(
            f"{key}: not an http or https URL (given: {url!r})", mend="Write it like https://api.example.com."
        )
    return str(parsed).rstrip("/").removesuffix(version).rstrip("/")
