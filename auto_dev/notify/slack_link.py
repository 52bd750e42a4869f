"""The way in from Slack, kept open: whatever happens to Slack or the network, it is tried again, and told of once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from auto_dev.config import NotifyConfig
from auto_dev.errors import NotifyError
from auto_dev.notify.channel import SendError
from auto_dev.notify.slack_api import Identity, SlackApi
from auto_dev.notify.slack_desk import Desk, UnavailableError

QUIET_S: Final = 60.0  # an outage that is shorter is told of in the log alone
HEALTHY_S: Final = 30.0  # a connection that lasted so long ends the outage before it
LONGEST_PAUSE_S: Final = 60.0
PERMANENT_PAUSE_S: Final = 600.0

Secrets = Callable[[str], str | None]
Mode = Literal["socket", "http", "off"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """How answers of people come in from Slack. ``note``: what is to be said about it at the start, or ""."""

    mode: Mode
    note: str = ""
    buttons: bool = False


def plan(config: NotifyConfig, secrets: Secrets) -> Plan:
    """Choose by the configuration, else by the secrets that there are. Raises NotifyError for a missing secret."""
    if "slack" not in config.channels or config.slack.mode == "off":
        return Plan("off")
    app, signing = (bool((secrets(name) or "").strip()) for name in ("SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET"))
    mode: Mode = config.slack.mode or ("socket" if app else "http" if signing else "off")
    if mode == "off":
        return Plan(
            "off",
            'Slack messages have no buttons: set SLACK_APP_TOKEN (docs/slack.md), or mode = "off" in [notify.slack]',
        )
    for wanted, there, name, what in (
        ("socket", app, "SLACK_APP_TOKEN", "the app-level token of your Slack app (xapp-…, with connections:write)"),
        ("http", signing, "SLACK_SIGNING_SECRET", "the signing secret of your Slack app"),
    ):
        if mode == wanted and not there:
            raise NotifyError(
                f'{name} is not set, but notify.slack.mode is "{mode}"',
                mend=f'Set {name} in the environment or keyring ({what}), or mode = "off".',
            )
    if not config.slack.deciders:
        return Plan(mode, "nobody may decide in Slack: set deciders in [notify.slack] (docs/slack.md)")
    return Plan(mode, buttons=True)


class Door(Protocol):
    """A way in."""

    async def serve(self, up: Callable[[], None]) -> None:
        """Call ``up`` when it is open, take interactions, return or raise SendError or OSError when it is closed."""
        ...


def pause(failures: int, error: NotifyError, chance: float) -> float:
    """Seconds to wait after so many failures in a row: 1, 2, 4 … 60, what Slack asks for, or minutes for a mistake."""
    if isinstance(error, SendError) and error.retry_after is not None:
        return min(max(error.retry_after, 1.0), 3600.0) + chance
    if isinstance(error, SendError) and error.permanent:
        return PERMANENT_PAUSE_S * (1 + 0.1 * chance)
    return min(2.0 ** min(max(failures, 1) - 1, 10), LONGEST_PAUSE_S) * (1 + 0.25 * chance)


class Whoami:
    """Who we are in Slack: asked once it is needed, and kept."""

    def __init__(self, api: SlackApi) -> None:
        self._api = api
        self._known: Identity | None = None
        self._lock = asyncio.Lock()

    async def __call__(self) -> Identity:
        """Raises SendError while Slack does not say."""
        async with self._lock:
            if self._known is None:
                self._known = await self._api.identity()
            return self._known


class Link:
    """Keeps the door open. ``run`` until cancelled; it never raises for anything that Slack or the network does."""

    def __init__(
        self,
        door: Door,
        whoami: Callable[[], Awaitable[Identity]],
        desk: Desk,
        *,
        close: Callable[[], Awaitable[None]],
        clock: Callable[[], float] | None = None,
        pauses: Callable[[int, NotifyError, float], float] = pause,
    ) -> None:
        self._door = door
        self._whoami = whoami
        self._desk = desk
        self._close = close
        self._time = clock or asyncio.get_running_loop().time
        self._pauses = pauses
        self._up_at: float | None = None
        self._down_since: float | None = None
        self._told = False

    async def run(self) -> None:
        """Open, serve, and open again."""
        failures = 0
        try:
            while True:
                error = await self._once()
                failures = 1 if self._was_healthy() else failures + 1
                try:
                    await self._mourn(error)
                except Exception:
                    log.exception("an outage could not be told of", extra={"action": "slack_defect"})
                await asyncio.sleep(self._pauses(failures, error, random.random()))  # noqa: S311 (jitter)
        finally:
            await self._close()

    async def _once(self) -> NotifyError:
        self._up_at = None
        try:
            await self._whoami()
            await self._door.serve(self._up)
        except SendError as error:
            return error
        except OSError as error:
            return NotifyError(
                f"cannot listen there: {error.strerror or error}",
                where="notify.slack.listen",
                mend="Is the port taken? Set another address.",
            )
        except Exception as error:
            # A defect here is no reason to hold up any work: kept visible, and tried again.
            log.exception("the way in from Slack failed unexpectedly", extra={"action": "slack_defect"})
            return NotifyError(f"internal error: {type(error).__name__}")
        return SendError("the connection was closed")

    def _up(self) -> None:
        self._up_at = self._time()
        log.info("answers in Slack are taken", extra={"action": "slack_up"})

    def _was_healthy(self) -> bool:
        return self._up_at is not None and self._time() - self._up_at >= HEALTHY_S

    async def _mourn(self, error: NotifyError) -> None:
        if self._was_healthy() or self._down_since is None:
            self._down_since, self._told = self._time(), False
        log.warning("answers in Slack are not taken", extra={"action": "slack_down", "why": str(error)})
        lasting = isinstance(error, SendError) and error.permanent
        if self._told or not (lasting or self._time() - self._down_since >= QUIET_S):
            return
        try:
            await self._desk.trouble(str(error))
            self._told = True
        except UnavailableError as away:
            log.warning("not told of either", extra={"action": "slack_down_untold", "why": str(away)})


def open_link(config: NotifyConfig, secrets: Secrets, desk: Desk, clock: Callable[[], datetime], mode: Mode) -> Link:
    """The link of the given mode ("socket" or "http"). Raises NotifyError for what cannot be a token or address."""
    from auto_dev.notify.slack_answers import Answers
    from auto_dev.notify.slack_http import HttpDoor
    from auto_dev.notify.slack_socket import SocketDoor, app_id_of

    for chatty in ("httpx", "httpcore", "slack_bolt", "slack_sdk", "aiohttp"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # below that they tell of addresses that let others reply
    api = SlackApi(config.slack.api_url, (secrets("SLACK_BOT_TOKEN") or "").strip())
    whoami = Whoami(api)
    app_token = (secrets("SLACK_APP_TOKEN") or "").strip()
    answers = Answers(desk, api, whoami, app_id_of(app_token))

    async def close() -> None:
        await answers.close()
        await api.close()

    door: Door
    if mode == "socket":
        door = SocketDoor(api, app_token, answers)
    else:
        door = HttpDoor(config.slack.listen, (secrets("SLACK_SIGNING_SECRET") or "").strip(), answers, desk, clock)
    return Link(door, whoami, desk, close=close)
