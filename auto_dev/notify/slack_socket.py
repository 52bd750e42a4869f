"""Slack's Socket Mode: interactions come through a connection that we open, so that nothing need be reachable.

slack_sdk has a client for it. This one is ours since that one tries a used-up address for ever when its first
connection fails, waits the same few seconds however long Slack is away, writes the address with its ticket into the
log, closes the old connection before it has the new one, and knows no NO_PROXY (docs/decisions/).
https://docs.slack.dev/apis/events-api/using-socket-mode
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from auto_dev.notify.channel import SendError
from auto_dev.notify.slack_answers import Answers
from auto_dev.notify.slack_api import SlackApi, checked_token
from auto_dev.tasks import end_tasks

CONNECT_S: Final = 15.0
HELLO_S: Final = 10.0
HEARTBEAT_S: Final = 15.0  # a connection that does not answer a ping within half of it is given up
MAX_MESSAGE: Final = 4 * 1024**2
SHORT_S: Final = 5.0  # a life so short is no sign of health
RETIRE_S: Final = 30.0  # how long an old connection may go on beside its successor

log = logging.getLogger(__name__)


def app_id_of(app_token: str) -> str:
    """The app's id, which stands in its token (``xapp-1-A0123-…``); "" when it does not."""
    parts = app_token.split("-")
    return parts[2] if len(parts) > 3 and parts[0] == "xapp" and parts[2].startswith("A") else ""


class SocketDoor:
    """Holds a connection while ``serve`` runs."""

    def __init__(self, api: SlackApi, app_token: str, answers: Answers) -> None:
        self._api = api
        self._token = checked_token(app_token, "SLACK_APP_TOKEN")
        self._answers = answers
        self._lives: set[asyncio.Task[None]] = set()
        self._crowd_told = False

    async def serve(self, up: Callable[[], None]) -> None:
        """Take interactions until the connection ends and has no successor. Raises SendError."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            try:
                while True:
                    retiring = asyncio.Event()
                    life = asyncio.create_task(self._live(session, retiring, up))
                    self._lives.add(life)
                    life.add_done_callback(self._ended)
                    began = asyncio.get_running_loop().time()
                    told = asyncio.create_task(retiring.wait())
                    await asyncio.wait({life, told}, return_when=asyncio.FIRST_COMPLETED)
                    told.cancel()
                    if not retiring.is_set():
                        await life
                        raise SendError("Slack closed the connection")
                    if asyncio.get_running_loop().time() - began < SHORT_S:
                        raise SendError("Slack ends each connection at once", mend="Is Socket Mode on for the app?")
            finally:
                await end_tasks(*self._lives)

    def _ended(self, life: asyncio.Task[None]) -> None:
        self._lives.discard(life)
        if not life.cancelled() and (error := life.exception()) is not None:
            log.info("a connection ended", extra={"action": "slack_socket_ended", "why": str(error)})

    async def _live(self, session: aiohttp.ClientSession, retiring: asyncio.Event, up: Callable[[], None]) -> None:
        """One connection's life. ``retiring`` is set when Slack asks for another one in its place."""
        async with await self._connect(session) as socket:
            try:
                async with asyncio.timeout(HELLO_S):
                    hello = _object((await socket.receive()).data)
            except TimeoutError:
                raise SendError("Slack does not greet") from None
            if hello.get("type") != "hello":
                raise SendError("Slack does not greet")
            self._look_around(hello)
            up()
            with suppress(TimeoutError):  # a successor has taken over by then
                async with asyncio.timeout(None) as limit:
                    async for message in socket:
                        envelope = _object(message.data)
                        if envelope.get("type") == "disconnect":
                            retiring.set()
                            limit.reschedule(asyncio.get_running_loop().time() + RETIRE_S)
                        elif envelope.get("envelope_id"):
                            self._answers.follow(self._take(socket, envelope))

    async def _connect(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        url = str((await self._api.call("apps.connections.open", token=self._token)).get("url", ""))
        parts = urlsplit(url)
        here = self._api.base_url.startswith("http://")  # a stand-in on this machine
        if parts.scheme != "wss" and not (here and parts.scheme == "ws"):
            raise SendError("Slack gave an address that is not wss", mend="Check notify.slack.api_url.")
        try:
            async with asyncio.timeout(CONNECT_S):
                proxy = None if here else proxy_to(parts.hostname or "")
                return await session.ws_connect(url, heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE, proxy=proxy)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:  # its text would hold the address and its ticket
            raise SendError(f"Slack's socket cannot be reached: {type(error).__name__}") from None

    async def _take(self, socket: aiohttp.ClientWebSocketResponse, envelope: dict[str, Any]) -> None:
        payload, status, body = envelope.get("payload"), 200, None
        after = None
        if envelope.get("type") == "interactive" and isinstance(payload, dict):
            handled = await self._answers.handle(payload)
            status, body, after = handled.status, handled.json, handled.after
        if status == 200:
            answer = {"envelope_id": envelope["envelope_id"], **({"payload": body} if body is not None else {})}
            try:
                await socket.send_str(json.dumps(answer))
            except (aiohttp.ClientError, ConnectionError) as error:
                # The answer is committed; Slack tells the person that it is not sure, the message tells what is.
                log.warning("not acknowledged", extra={"action": "slack_not_acked", "why": type(error).__name__})
        if after is not None:
            await after()

    def _look_around(self, hello: dict[str, Any]) -> None:
        others = int(hello.get("num_connections") or 0) - len(self._lives)
        if others > 0 and not self._crowd_told:
            self._crowd_told = True
            log.warning(
                "another program may be connected with this SLACK_APP_TOKEN: Slack gives each click to one of them "
                "alone. Give each project an app of its own.",
                extra={"action": "slack_crowd"},
            )


def _object(text: object) -> dict[str, Any]:
    """The JSON object in a message; empty for anything else."""
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def proxy_to(host: str) -> str | None:
    """The proxy of the environment for a TLS connection to ``host``, unless NO_PROXY names it."""
    proxies = urllib.request.getproxies()
    if not host or urllib.request.proxy_bypass(host):
        return None
    given = proxies.get("https") or proxies.get("all") or ""
    return given if given.startswith(("http://", "https://")) else None
