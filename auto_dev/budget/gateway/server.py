"""The gateway: HTTP in front, grants by token, exchanges behind."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, Final, Self

import auto_dev.budget.gateway.bodies as bodies
import auto_dev.budget.gateway.errors as errors
import auto_dev.budget.gateway.headers as headers
import auto_dev.budget.gateway.routes as routes
from auto_dev.budget.gateway.aside import Aside, Room, held_by_all
from auto_dev.budget.gateway.errors import RefusedError
from auto_dev.budget.gateway.exchange import CutError, Exchange
from auto_dev.budget.gateway.grant import Grant, Stop, Upstreams, Watch
from auto_dev.budget.gateway.learned import Learned
from auto_dev.budget.gateway.listener import Crowd, Listener
from auto_dev.budget.gateway.upstream import Upstream
from auto_dev.budget.meter import RunMeter
from auto_dev.tasks import end_tasks
from auto_dev.text import line

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_UNKNOWN: Final = "this token is not known here, or its run has ended"
_ROOT: Final = b'{"service":"auto-dev gateway"}'

log = logging.getLogger(__name__)


class Gateway:
    """Stands between agents and providers while its block lasts; ``url`` is on the loopback interface.

    ``keys`` gives the providers' keys by the names of their variables; ``clock`` gives aware UTC datetimes.
    """

    def __init__(self, keys: Callable[[str], str | None], clock: Callable[[], datetime]) -> None:
        self._upstream = Upstream(keys, clock)
        self._learned = Learned()
        self._held = held_by_all()
        self._aside = Aside()
        self._crowd = Crowd()
        self._grants: set[Grant] = set()
        self._halted = ""
        self._halting: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._aside.close)
            await stack.enter_async_context(self._upstream)
            listener = Listener(self._app(None), self._crowd)
            stack.push_async_callback(listener.close)
            self.url = await listener.listen_tcp()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        for grant in list(self._grants):
            await grant.__aexit__(None, None, None)
        if self._halting:
            await asyncio.wait(set(self._halting))
        await self._stack.aclose()

    def grant(
        self, run_id: str, meter: RunMeter, upstreams: Upstreams, *, refusal: int = 400, watch: Watch | None = None
    ) -> Grant:
        """Access for one turn of a run, as an async context manager."""

        def listener(grant: Grant) -> Listener:
            return Listener(self._app(grant), self._crowd)

        return Grant(run_id, meter, upstreams, refusal, watch, self._grants, listener)

    def halt(self, reason: str) -> None:
        """Refuse every request from now on; what is under way is cut, and charged."""
        self._halted = line(reason, 200) or "everything is stopped"
        for grant in self._grants:
            grant.set_stop(Stop("halted", self._halted))
            task = asyncio.ensure_future(grant.cut())
            self._halting.add(task)
            task.add_done_callback(self._halting.discard)

    def release(self) -> None:
        """Let new requests through again; grants that were stopped stay stopped."""
        self._halted = ""

    # -- requests

    def _app(self, only: Grant | None) -> Callable[[Any, Any, Any], Awaitable[None]]:
        """The ASGI application of one socket; with ``only`` it knows no other grant."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await self._serve(scope, receive, send, only)

        return app

    async def _serve(self, scope: Scope, receive: Receive, send: Send, only: Grant | None) -> None:
        path = scope["raw_path"].decode("latin-1")
        if path == "/" and scope["method"] in ("GET", "HEAD"):
            await _answer(send, 200, _ROOT)  # Claude Code asks whether anybody is there
            return
        try:
            query = routes.query_of(scope["query_string"])
            grant = self._known(headers.tokens(scope["headers"], query.pop("key", "")), only)
        except RefusedError as refused:
            await _answer(send, refused.status or 400, errors.body("", refused.status or 400, refused.message))
            return
        started = _Started(send)
        try:
            await self._granted(grant, scope, path, query, receive, started)
        except RefusedError as refused:
            status = refused.status or grant.refusal
            if refused.status is None:
                grant.set_stop(Stop("refused", refused.message))
            await _answer(send, status, errors.body(routes.vendor_of(path), status, refused.message))
        except bodies.GoneError:
            pass
        except Exception:  # a fault of ours: it must be seen, and must not look like one of the budget
            log.exception("a request failed in the gateway", extra={"action": "gateway_failed", "run": grant.run_id})
            if not started.begun:
                text = errors.body(routes.vendor_of(path), 502, "the gateway failed; its log says why")
                await _answer(send, 502, text)

    async def _granted(
        self, grant: Grant, scope: Scope, path: str, query: dict[str, str], receive: Receive, send: _Started
    ) -> None:
        given = headers.lower(scope["headers"])
        method = scope["method"]
        route = routes.route(
            method, path, query, anthropic=bool(given.get("anthropic-version") or given.get("x-api-key"))
        )
        with Room(grant.held, self._held) as room:
            raw = await bodies.read(receive, given, room, self._aside) if method == "POST" else b""
            self._check(grant)
            exchange = Exchange(self._upstream, self._learned, self._aside, grant, route, given, send)
            await self._exchanged(grant, exchange, route, method, raw, receive, send)

    async def _exchanged(
        self, grant: Grant, exchange: Exchange, route: routes.Route, method: str, raw: bytes, receive: Receive,
        send: _Started,
    ) -> None:  # fmt: skip
        """Let the exchange run until it ends, the client hangs up, or it is cut."""
        if route.api is not None:
            grant.requests += 1
            work = asyncio.ensure_future(exchange.run(raw))
        else:
            work = asyncio.ensure_future(exchange.pass_through(method, raw))
        grant.under_way.add(work)
        work.add_done_callback(grant.under_way.discard)
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            hung_up = gone.done() and not work.done()
            await end_tasks(work, gone)
        if work.cancelled():
            if hung_up or send.begun:
                raise bodies.GoneError
            raise RefusedError(grant.stop.detail if grant.stop else _UNKNOWN, None)
        if isinstance(error := work.exception(), CutError):
            log.info("%s", error, extra={"action": "answer_cut", "run": grant.run_id})
            raise bodies.GoneError
        if error is not None:
            raise error

    def _known(self, given: set[str], only: Grant | None) -> Grant:
        """The grant whose token was given. Raises RefusedError, always the same."""
        found = {
            grant
            for grant in ([only] if only is not None else self._grants)
            for token in given
            if grant in self._grants and hmac.compare_digest(grant.token, token)
        }
        if len(found) != 1:
            raise RefusedError(_UNKNOWN, 400)
        return found.pop()

    def _check(self, grant: Grant) -> None:
        """Raises RefusedError when nothing may be sent for ``grant`` any more."""
        if self._halted:
            grant.set_stop(Stop("halted", self._halted))
            raise RefusedError(self._halted, None)
        if grant not in self._grants:
            raise RefusedError(_UNKNOWN, 400)
        if grant.stop is not None and grant.stop.kind in ("anomaly", "halted"):
            raise RefusedError(grant.stop.detail, None)


class _Started:
    """A ``send`` that remembers whether anything was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: dict[str, Any]) -> None:
        self.begun = True
        await self._send(message)


async def _gone(receive: Receive) -> None:
    """Wait until the client hangs up (or has its whole answer)."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, body: bytes) -> None:
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status in (413, 429):
        head.append((b"connection", b"close"))  # the rest of what is too large is not waited for
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": False})
