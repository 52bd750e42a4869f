"""Slack's requests over HTTP: one path, signed by Slack, each taken once.

A reverse proxy or tunnel with TLS stands in front; what comes through is believed for its signature alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs

from aiohttp import web

from auto_dev.config import parse_listen
from auto_dev.notify.slack_answers import Answers, Handled
from auto_dev.notify.slack_desk import Desk, UnavailableError
from auto_dev.notify.slack_signature import ForgedError, verify
from auto_dev.notify.sparing import Sparing

PATH: Final = "/slack/events"
MAX_BODY: Final = 2 * 1024**2  # a click carries its whole message, percent-encoded: 1.2 MB at the very most
READ_S: Final = 1.0
REMEMBER_S: Final = 0.7
ALL_S: Final = 2.7
MOST_AT_ONCE: Final = 20

log = logging.getLogger(__name__)


class HttpDoor:
    """Listens while ``serve`` runs. ``port`` is the real one by then."""

    def __init__(
        self, listen: str, signing_secret: str, answers: Answers, desk: Desk, clock: Callable[[], datetime]
    ) -> None:
        self.host, self.port = parse_listen(listen)
        self._secret = signing_secret
        self._answers = answers
        self._desk = desk
        self._clock = clock
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._sparing = Sparing(log)

    async def serve(self, up: Callable[[], None]) -> None:
        """Take requests until cancelled. Raises OSError when the address cannot be had."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post(PATH, self._take)
        runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.host, self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            up()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        if self._room.locked():
            return web.Response(status=503)
        try:
            async with self._room, asyncio.timeout(ALL_S):
                handled = await self._handled(request)
        except TimeoutError:
            handled = Handled(503)
        if handled.after is not None:
            self._answers.follow(_do(handled.after))
        kind = "application/json" if handled.json is not None else "text/plain"
        return web.Response(status=handled.status, text=handled.body, content_type=kind)

    async def _handled(self, request: web.Request) -> Handled:
        try:
            async with asyncio.timeout(READ_S):
                body = await request.read()
            headers = request.headers
            stamps, signatures = (
                headers.getall(name, []) for name in ("X-Slack-Request-Timestamp", "X-Slack-Signature")
            )
            signed = verify(self._secret, stamps, signatures, body, self._clock())
            async with asyncio.timeout(REMEMBER_S):
                if not await self._desk.first(signed.digest, signed.until):
                    self._sparing.warn("slack_replayed", "a repeated request is refused")
                    return Handled(409)
        except ForgedError as error:
            self._sparing.warn("slack_forged", f"a request is refused: {error}")
            return Handled(401)
        except (UnavailableError, TimeoutError):
            return Handled(503)
        payload = payload_in(body, request.content_type)
        return Handled(400) if payload is None else await self._answers.handle(payload)


async def _do(after: Callable[[], Any]) -> None:
    await after()


def payload_in(body: bytes, content_type: str) -> dict[str, Any] | None:
    """The JSON object of a request: the form's ``payload``, or the body itself; None when there is none."""
    try:
        text = body.decode()
        if content_type == "application/x-www-form-urlencoded":
            text = parse_qs(text, strict_parsing=True, max_num_fields=20)["payload"][0]
        payload = json.loads(text)
    except (ValueError, KeyError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None
