"""One metered request: reserve, send, pass the answer on, book. Whatever happens in between, something is booked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from enum import Enum
from hashlib import blake2b
from typing import Any, Final

import aiohttp
import orjson
import psycopg
from yarl import URL

import auto_dev.budget.gateway.bodies as bodies
import auto_dev.budget.gateway.headers as headers
import auto_dev.budget.gateway.rates as rates
from auto_dev.budget.gateway.aside import Aside
from auto_dev.budget.gateway.errors import RefusedError
from auto_dev.budget.gateway.grant import Grant, Stop
from auto_dev.budget.gateway.guard import HIDDEN, Guard
from auto_dev.budget.gateway.learned import Beginning, Learned, tightened
from auto_dev.budget.gateway.plans import Call, Plan, Shape
from auto_dev.budget.gateway.routes import Route
from auto_dev.budget.gateway.upstream import KEY_NAMES, Upstream
from auto_dev.budget.gateway.usage import Events, UsageError, data_of
from auto_dev.budget.limits import BudgetExceededError
from auto_dev.budget.meter import Admitted
from auto_dev.errors import BudgetError
from auto_dev.text import line

Send = Callable[[dict[str, Any]], Awaitable[None]]

_ERROR_LIMIT: Final = 1024 * 1024
_ANSWER_LIMIT: Final = 64 * 1024 * 1024
_BYTES_PER_TOKEN: Final = 16
_HIDDEN_TOKEN: Final = b"[token]"
_UNREACHED_IN_A_ROW: Final = 3
_FAILED_IN_A_ROW: Final = 6
_AWAY: Final = timedelta(minutes=5)  # when a service that is away is asked again
_SECRET_LENGTH: Final = 16  # characters; no provider's key is shorter
_IN_A_ROW: Final = 10  # short limits without an answer between them: then it is no short one
_BOOKING_PAUSES_S: Final = (0.2, 1.0, 5.0, 10.0)
# Providers do not bill a request that they turn away.
_FREE: Final = frozenset((400, 401, 402, 403, 404, 405, 413, 415, 422, 429))

log = logging.getLogger(__name__)


class CutError(Exception):
    """The answer broke off after its beginning had been passed on."""


class _Fate(Enum):
    FREE = "free"  # never sent, or certainly not billed
    UNKNOWN = "unknown"
    ANSWERED = "answered"


class Exchange:
    """A request of ``grant`` along ``route``; ``started`` tells whether the client has the head of an answer."""

    def __init__(
        self, upstream: Upstream, learned: Learned, aside: Aside, grant: Grant, route: Route, given: dict[str, str],
        send: Send,
    ) -> None:  # fmt: skip
        self._upstream = upstream
        self._learned = learned
        self._aside = aside
        self._beginning: Beginning | None = None
        self._grant = grant
        self._route = route
        self._given = given
        self._send = send
        self._base: str = getattr(grant.upstreams, route.vendor)
        self._key = ""
        self._fate = _Fate.FREE
        self._note = ""
        self.started = False

    async def run(self, raw: bytes) -> None:
        """Answer the request whose body is ``raw``. Raises RefusedError when nothing was answered, or CutError."""
        size = len(raw)
        body, plan, digest = await self._aside.run(size, self._planned, raw)
        self._watch(digest)
        self._key = await self._ready()
        admitted = await self._admit(plan)
        try:
            plan.apply(admitted.output_tokens, admitted.searches)
            await self._relay(plan, await self._aside.run(size, self._payload, body))
        finally:
            self._grant.book(self._booking(plan, admitted))

    async def pass_through(self, method: str, raw: bytes) -> None:
        """Answer a request that costs nothing."""
        if method == "POST":
            await self._aside.run(len(raw), bodies.parse, raw)
        self._key = await self._ready()
        payload = raw.replace(self._grant.token.encode(), _HIDDEN_TOKEN) if method == "POST" else None
        await self._exchange(method, payload, None)

    # -- before

    def _planned(self, raw: bytes) -> tuple[bodies.Body, Plan, bytes]:
        """The request as it was read, its plan, and what two equal requests have in common."""
        body = bodies.parse(raw)
        host = URL(self._base).host or ""
        call = Call(body, len(raw), self._route.model, self._route.sse, host, self._grant.meter.prices, self._given)
        assert self._route.api is not None
        plan = self._route.api.plan(call)
        self._beginning = self._learned.beginning(self._base, plan)
        return body, tightened(plan, self._beginning), blake2b(raw, digest_size=16).digest()

    def _payload(self, body: bodies.Body) -> bytes:
        return bodies.dump(body).replace(self._grant.token.encode(), _HIDDEN_TOKEN)

    def _watch(self, digest: bytes) -> None:
        if self._grant.watch is not None and (why := self._grant.watch.asked(digest)):
            self._grant.set_stop(Stop("anomaly", why))
            raise RefusedError(why, None)

    async def _ready(self) -> str:
        """The key, unless the provider must not be asked now."""
        if (limit := self._upstream.limit(self._route.vendor, self._base)) is not None:
            self._stop_for(limit)
            raise RefusedError(self._limit_text(limit), None)
        return await self._upstream.key(self._route.vendor, self._base)

    async def _admit(self, plan: Plan) -> Admitted:
        meter, grant = self._grant.meter, self._grant
        try:
            admitted = await meter.admit(plan.metered)
            if admitted.clamped and grant.bookings:
                # What this very run has used is about to be booked, and may make room for all of it.
                await meter.release(admitted.reservation)
                await grant.booked()
                admitted = await meter.admit(plan.metered)
        except BudgetExceededError as error:
            grant.set_stop(Stop("budget", str(error), error.resets_at, f"{error.scope} {error.window.key}", error))
            raise RefusedError(str(error), None) from None
        except BudgetError as error:
            raise RefusedError(str(error), None) from None
        except (psycopg.Error, TimeoutError) as error:
            log.warning("the ledger cannot be asked: %s", line(str(error)), extra={"action": "ledger_unreachable"})
            raise RefusedError("the ledger's database cannot be reached, and without it nothing is sent", 502) from None
        return admitted

    # -- the answer

    async def _relay(self, plan: Plan, payload: bytes) -> None:
        self._fate = _Fate.UNKNOWN
        await self._exchange("POST", payload, plan)

    async def _exchange(self, method: str, payload: bytes | None, plan: Plan | None) -> None:
        sent = headers.to_upstream(self._given, self._grant.token)
        try:
            async with self._upstream.request(
                self._route.vendor, self._base, method, self._route.path, sent, self._key, payload
            ) as response:
                if 200 <= response.status < 300:
                    await self._answered(response, plan)
                else:
                    await self._failed(response)
        except aiohttp.ClientConnectorError as error:
            self._fate = _Fate.FREE
            self._away(f"{self._base} cannot be reached: {error.os_error}", _UNREACHED_IN_A_ROW)
            raise RefusedError(f"{self._base} cannot be reached: {error.os_error}", 502) from None
        except (aiohttp.ClientError, TimeoutError, OSError, UsageError) as error:
            said = f"the answer of {self._base} broke off: {type(error).__name__} {line(str(error), 100)}"
            self._note = f"{said}: charged in full"
            if self.started:
                raise CutError(said) from None
            raise RefusedError(said, 504 if isinstance(error, TimeoutError) else 502) from None

    async def _answered(self, response: aiohttp.ClientResponse, plan: Plan | None) -> None:
        if plan is None:
            await self._whole(response, await _read(response, _ANSWER_LIMIT))
            return
        self._fate = _Fate.ANSWERED
        kind = response.content_type
        if plan.shape is Shape.EVENTS and kind == "text/event-stream":
            await self._stream(response, self._events(response, plan))
        elif plan.shape is Shape.ARRAY:
            await self._stream(response, self._array(response, plan))
        else:
            text = await _read(response, _ANSWER_LIMIT)
            for shape in _shapes(text):
                plan.reader.whole(shape)
            self._completed(plan)
            await self._whole(response, text)
            return
        self._completed(plan)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _completed(self, plan: Plan) -> None:
        if plan.reader.done and not plan.reader.failed:
            self._grant.answered()

    async def _stream(self, response: aiohttp.ClientResponse, chunks: AsyncIterator[bytes]) -> None:
        guarded = Guard(self._secret)
        await self._start(response, [])
        async for chunk in chunks:
            if cleaned := guarded.cleaned(chunk):
                await self._send({"type": "http.response.body", "body": cleaned, "more_body": True})
        if rest := guarded.rest():
            await self._send({"type": "http.response.body", "body": rest, "more_body": True})

    async def _events(self, response: aiohttp.ClientResponse, plan: Plan) -> AsyncIterator[bytes]:
        events, reader = Events(), plan.reader
        async for chunk in response.content.iter_any():
            # Everything is read before it is passed on: a client that hangs up with the last byte pays its usage.
            kept = [event for event in events.feed(chunk) if not reader.event(data_of(event))]
            if not plan.strip_usage:
                yield chunk
            elif kept:
                yield b"".join(kept)
        if rest := events.rest:
            hidden = reader.event(data_of(rest)) and plan.strip_usage
            if plan.strip_usage and not hidden:
                yield rest

    async def _array(self, response: aiohttp.ClientResponse, plan: Plan) -> AsyncIterator[bytes]:
        text = bytearray()
        async for chunk in response.content.iter_any():
            text += chunk
            if len(text) > _ANSWER_LIMIT:
                raise UsageError("the answer does not end")
            yield chunk
        for shape in _shapes(bytes(text)):
            plan.reader.whole(shape)

    # -- failures

    async def _failed(self, response: aiohttp.ClientResponse) -> None:
        """A reply that is no answer: who may be asked again and when, what is booked, and what the client gets."""
        status, grant = response.status, self._grant
        text = (await _read(response, _ERROR_LIMIT)).decode("utf-8", "replace")
        text = text.replace(self._secret, "[key]") if self._secret else text
        given = {name.lower(): value for name, value in response.headers.items()}
        if status in _FREE or 300 <= status < 400 or rates.is_overloaded(status, given, text):
            self._fate = _Fate.FREE
        self._note = f"the provider answered HTTP {status}: charged in full"
        limit = rates.limited(status, given, text, self._upstream.now())
        if limit is not None:
            if not limit.short:
                self._upstream.set_limit(self._route.vendor, self._base, limit)
            if not limit.short or grant.limited_again() >= _IN_A_ROW:
                self._stop_for(limit)
                raise RefusedError(self._limit_text(limit), None)
        elif status in (401, 403):
            self._upstream.forget_key(self._route.vendor)
            name = KEY_NAMES[self._route.vendor]
            what = f"refuses the key {name}" if self._key else f"wants a key, and {name} is not set"
            raise RefusedError(f"{self._base} {what} (HTTP {status}): {rates.message(text)}", None)
        elif 300 <= status < 400:
            key = f"gateway.{self._route.vendor}_url"
            raise RefusedError(f"{self._base} answers with a redirect, which is not followed; correct {key}", None)
        elif status >= 500:
            self._away(f"{self._base} answers HTTP {status}: {rates.message(text)}", _FAILED_IN_A_ROW)
        await self._whole(response, text.encode("utf-8"))

    def _away(self, what: str, most: int) -> None:
        """The service is away. Agents ask again for minutes, and pay for some of it: after ``most`` times in a row the
        run waits instead. Raises RefusedError then."""
        if self._grant.failed_again() >= most:
            self._grant.set_stop(Stop("rate_limit", what, self._upstream.now() + _AWAY, f"away {self._route.vendor}"))
            raise RefusedError(what, None)

    @property
    def _secret(self) -> str:
        """The key, if it is one: a short word that a server of one's own is given may occur in any answer."""
        return self._key if len(self._key) >= _SECRET_LENGTH else ""

    def _stop_for(self, limit: rates.Limited) -> None:
        kind = "refused" if limit.unpaid else "rate_limit"
        resets = None if limit.unpaid else limit.resets_at
        self._grant.set_stop(Stop(kind, self._limit_text(limit), resets, f"{kind} {self._route.vendor}"))

    def _limit_text(self, limit: rates.Limited) -> str:
        host = URL(self._base).host
        if limit.unpaid:
            return f"{host} wants to be paid first: {limit.detail}"
        return f"{host} is not to be asked before {limit.resets_at:%Y-%m-%d %H:%M:%S} UTC: {limit.detail}"

    # -- to the client

    async def _whole(self, response: aiohttp.ClientResponse, text: bytes) -> None:
        if self._secret:
            text = text.replace(self._secret.encode(), HIDDEN)
        await self._start(response, [(b"content-length", str(len(text)).encode())])
        await self._send({"type": "http.response.body", "body": text, "more_body": False})

    async def _start(self, response: aiohttp.ClientResponse, more: list[tuple[bytes, bytes]]) -> None:
        kept = headers.to_client(response.headers.items(), self._key)
        status = response.status if response.status < 600 else 502
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": kept + more})

    # -- after

    async def _booking(self, plan: Plan, admitted: Admitted) -> None:
        """Book what became of the request; if the database is away, again, and in the end leave it to the ledger."""
        for pause in (*_BOOKING_PAUSES_S, None):
            try:
                charged = await self._book(plan, admitted)
            except (psycopg.Error, TimeoutError, OSError) as error:
                if pause is None:
                    log.error(
                        "a request was not booked and stays set aside until it is reconciled: %s", line(str(error)),
                        extra={"action": "booking_failed", "reservation": admitted.reservation},
                    )  # fmt: skip
                    return
                await asyncio.sleep(pause)
            except BudgetError as error:
                log.error("a request was not booked: %s", error, extra={"action": "booking_failed"})
                return
            else:
                break
        if self._grant.watch is not None and (why := self._grant.watch.booked(charged)):
            self._grant.set_stop(Stop("anomaly", why))

    async def _book(self, plan: Plan, admitted: Admitted) -> int:
        meter = self._grant.meter
        if self._fate is _Fate.FREE:
            await meter.release(admitted.reservation)
            return 0
        if self._fate is _Fate.UNKNOWN:
            return await meter.bill(admitted, None, self._note or "no answer came: charged in full")
        reader = plan.reader
        spent, note = reader.verdict(
            plan.text_bytes,
            hidden=plan.hidden,
            output_tokens=admitted.output_tokens * plan.metered.candidates,
            cut=not reader.done,
        )
        if spent is not None and not note and self._beginning is not None and _usual(spent.input, plan.text_bytes):
            self._learned.learn(self._beginning, spent.input)
        return await meter.bill(admitted, spent, note or self._note)


def _usual(tokens: int, text_bytes: int) -> bool:
    """Whether a text may well have so few tokens; a count that is only just possible is no ground to build on."""
    return tokens * _BYTES_PER_TOKEN >= text_bytes


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    parts, size = [], 0
    async for chunk in response.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            raise UsageError("the answer does not end")
    return b"".join(parts)


def _shapes(text: bytes) -> list[Any]:
    """What an answer that came in one piece consists of."""
    try:
        shape = orjson.loads(text)
    except ValueError:
        return []
    return shape if isinstance(shape, list) else [shape]
