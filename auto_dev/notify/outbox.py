"""The outbox: messages are written in the transaction that makes the fact, and delivered at least once.

A message that may have arrived although nobody recorded it (a crash, a lost answer) is sent again with the same
identity, so that its channel can recognise it. Several messages of one cause become one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from auto_dev import sql
from auto_dev.notify.channel import Channel, Item, Outgoing, Receipt, SendError, Settles
from auto_dev.notify.schedule import Quiet
from auto_dev.notify.settle import settle_closed
from auto_dev.text import jsonable, line

_QUERIES = sql.load("auto_dev.notify", "outbox.sql")
log = logging.getLogger(__name__)

HOLD_S = 10.0  # how long a message with a cause waits for others of it
WINDOW_S = 600.0  # one message per cause and channel in this time
SEND_TIMEOUT_S = 60.0
LEASE_S = 150.0  # outlives SEND_TIMEOUT_S, so that nobody else claims what is still being sent
POLL_S = 3.0
MAX_PER_PASS = 100  # messages per channel and pass
PERMANENT_RETRY_S = 6 * 3600.0
MAX_RETRY_AFTER_S = 24 * 3600.0

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]
_SELDOM = ("email", "apprise")  # what rings or fills a mailbox, where nobody wants each step of a story


@dataclass(frozen=True, slots=True)
class Problem:
    """What a channel could not deliver. ``waiting`` of ``messages`` are still undelivered; ``permanent``: only a person
    can mend it."""

    channel: str
    error: str
    messages: int
    waiting: int
    since: datetime
    attempts: int
    next_attempt_at: datetime | None
    permanent: bool


def wanted(channel: str, kind: str, urgent: bool) -> bool:
    """Whether this channel carries such a message: mail is for the daily summary and for what is urgent.

    In Slack no message tells of an answer: the question itself turns into it (``settle``).
    """
    if channel == "slack":
        return kind != "decided"
    return channel not in _SELDOM or urgent or kind == "summary"


async def enqueue(
    conn: AsyncConnection[DictRow],
    *,
    project_id: str,
    channels: Iterable[str],
    key: str,
    kind: str,
    payload: Mapping[str, Any],
    urgent: bool = False,
) -> None:
    """Write a message in the caller's transaction; the same project, channel and ``key`` again changes nothing.

    Messages with the same ``payload["cause"]`` are delivered as one.
    """
    names = [name for name in dict.fromkeys(channels) if wanted(name, kind, urgent)]
    if not names:
        return
    await conn.execute(
        _QUERIES["enqueue"],
        {
            "project": project_id,
            "channels": names,
            "key": key,
            "kind": kind,
            "payload": Jsonb(jsonable(payload)),
            "urgent": urgent,
            "hold_s": HOLD_S if payload.get("cause") else 0.0,
        },
    )
    await conn.execute(_QUERIES["wake"], {"project": project_id})


async def problems(conn: AsyncConnection[DictRow], project_id: str) -> list[Problem]:
    """What could not be delivered, one entry per channel and error, oldest first."""
    cursor = await conn.execute(_QUERIES["problems"], {"project": project_id})
    return [Problem(**row) for row in await cursor.fetchall()]


def backoff(attempts: int, error: SendError, chance: float) -> timedelta:
    """How long to wait after the ``attempts``-th failed attempt; ``chance`` in 0..1 is the jitter.

    5 s … 30 min, doubling; hours when only a person can help; what the channel asked for when it did.
    """
    if error.retry_after is not None:
        return timedelta(seconds=min(max(error.retry_after, 1.0), MAX_RETRY_AFTER_S) + chance)
    if error.permanent:
        return timedelta(seconds=PERMANENT_RETRY_S * (1 + 0.1 * chance))
    seconds = min(5.0 * 2 ** min(max(attempts, 1) - 1, 20), 1200.0)
    return timedelta(seconds=seconds * (1 + 0.5 * chance))


def _held(channel: str, lead: DictRow, quiet: Quiet) -> dict[str, datetime | None]:
    """The quiet hours through which ``lead`` was held, where what they held becomes one message."""
    began, ended = quiet.began, quiet.ended
    if channel not in _SELDOM or began is None or ended is None or lead["kind"] == "summary":
        return {"held_from": None, "held_to": None}
    held = began <= lead["created_at"] < ended
    return {"held_from": began if held else None, "held_to": ended if held else None}


@dataclass(frozen=True, slots=True)
class _Claim:
    """Rows that make one message, the most urgent and then the oldest first, and until when they are ours."""

    rows: tuple[DictRow, ...]
    until: datetime
    unconfirmed: bool

    @property
    def ids(self) -> list[int]:
        return [row["id"] for row in self.rows]

    @property
    def group(self) -> str:
        return str(self.rows[0]["receipt"]["group"])


class Deliverer:
    """Delivers a project's outbox through its channels. One per daemon; several do no harm."""

    def __init__(
        self,
        pool: Pool,
        project_id: str,
        channels: Mapping[str, Channel],
        clock: Callable[[], datetime],
        *,
        chance: Callable[[], float] = random.random,
        quiet: Callable[[datetime], Quiet] = lambda _: Quiet(),
    ) -> None:
        self._pool = pool
        self._project = project_id
        self._channels = channels
        self._clock = clock
        self._chance = chance
        self._quiet = quiet
        self._wake = asyncio.Event()
        self._paused_until: dict[str, datetime] = {}
        self._unsettled = 0  # attempts in a row that failed to show an answer

    def wake(self) -> None:
        """Make ``run`` look at once."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop`` is set; a message that is being sent then is finished first.

        A database that is away is waited for. Cancelling is safe at any moment.
        """
        fresh = True
        while not stop.is_set():
            self._wake.clear()
            try:
                if fresh:
                    await self._execute("retry_permanent", {"now": self._clock()})
                    fresh = False
                await self._deliver(stop=stop)
            except psycopg.Error:
                log.exception("the outbox cannot be read", extra={"action": "outbox_unavailable"})
            await self._sleep(stop)

    async def _sleep(self, stop: asyncio.Event) -> None:
        waits = {asyncio.ensure_future(event.wait()) for event in (stop, self._wake)}
        try:
            await asyncio.wait(waits, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def deliver_due(self, *, flush: bool = False) -> int:
        """Deliver what is due; return how many outbox rows were delivered.

        ``flush`` waits neither for more messages of a cause nor for the end of quiet hours: for a daemon that ends,
        after which nobody would send them. Never raises for a channel's failure; raises psycopg.Error when the database
        is away.
        """
        return await self._deliver(flush=flush)

    async def _deliver(self, *, flush: bool = False, stop: asyncio.Event | None = None) -> int:
        # Channels side by side: a mail server that hangs does not hold up Slack.
        results = await asyncio.gather(
            *(self._drain(channel, flush, stop) for channel in self._channels.values()), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return sum(result for result in results if isinstance(result, int))

    async def _drain(self, channel: Channel, flush: bool, stop: asyncio.Event | None) -> int:
        count = 0
        for _ in range(MAX_PER_PASS):
            paused = self._paused_until.get(channel.name)
            if (stop is not None and stop.is_set()) or (paused is not None and self._clock() < paused):
                break
            claim = await self._claim(channel.name, flush)
            if claim is None:
                break
            count += await self._send(channel, claim)
        await self._settle(channel)
        return count

    async def _settle(self, channel: Channel) -> None:
        """Turn questions that are closed by now into their answers, in what was delivered before."""
        paused = self._paused_until.get(channel.name)
        if not isinstance(channel, Settles) or (paused is not None and self._clock() < paused):
            return
        try:
            await settle_closed(self._pool, self._project, channel.name, channel)
            self._unsettled = 0
        except SendError as error:
            self._unsettled += 1
            self._paused_until[channel.name] = self._clock() + backoff(self._unsettled, error, self._chance())
            log.warning("%s: an answer is not shown: %s", channel.name, error, extra={"action": "not_settled"})

    async def _claim(self, channel: str, flush: bool) -> _Claim | None:
        now = self._clock()
        quiet = self._quiet(now)
        base: dict[str, Any] = {"project": self._project, "channel": channel, "now": now, "flush": flush}
        base["quiet"] = quiet.now and not flush
        async with self._pool.connection() as conn, conn.transaction():
            await conn.execute(_QUERIES["serialize_claims"], base)
            await conn.execute(_QUERIES["drop_stale"], base)
            lead = await (await conn.execute(_QUERIES["claim_lead"], {**base, "window_s": WINDOW_S})).fetchone()
            if lead is None:
                return None
            # A claim that ran out was never confirmed: its process died, or could not record what happened.
            unconfirmed = lead["claimed_until"] is not None or bool(lead["receipt"].get("unconfirmed"))
            until = now + timedelta(seconds=LEASE_S)
            params = {
                **base,
                "until": until,
                "lead": lead["id"],
                "again": "group" in lead["receipt"],
                "group": lead["receipt"].get("group", lead["key"]),
                "cause": lead["payload"].get("cause") or "",
                **_held(channel, lead, quiet),
            }
            rows = await (await conn.execute(_QUERIES["claim_group"], params)).fetchall()
        ordered = sorted(rows, key=lambda row: (not row["urgent"], int(row["id"])))
        return _Claim(tuple(ordered), until, unconfirmed)

    async def _send(self, channel: Channel, claim: _Claim) -> int:
        message = await self._outgoing(channel.name, claim)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                receipt = await channel.send(message)
        except SendError as error:
            await self._failed(channel.name, claim, error)
            return 0
        except TimeoutError:
            await self._failed(channel.name, claim, SendError("no answer in time", unconfirmed=True))
            return 0
        except Exception as error:
            # A channel's own defect: kept visible, retried rarely, and no reason to hold up anything else.
            log.exception("a channel failed unexpectedly", extra={"action": "channel_defect"})
            defect = SendError(f"internal error: {type(error).__name__}", permanent=True, unconfirmed=True)
            await self._failed(channel.name, claim, defect)
            return 0
        await self._delivered(claim, receipt)
        return len(claim.rows)

    async def _outgoing(self, channel: str, claim: _Claim) -> Outgoing:
        lead = claim.rows[0]
        story = str(lead["payload"].get("story_id") or "") if len(claim.rows) == 1 else ""
        params = {
            "project": self._project,
            "channel": channel,
            "story": story,
            "about": lead["payload"].get("about") or "",
        }
        async with self._pool.connection() as conn:
            found = await (await conn.execute(_QUERIES["context"], params)).fetchone() or {}
        return Outgoing(
            project_id=self._project,
            key=claim.group,
            items=tuple(Item(row["kind"], row["payload"]) for row in claim.rows),
            created_at=lead["created_at"],
            urgent=any(row["urgent"] for row in claim.rows),
            unconfirmed=claim.unconfirmed,
            earlier=lead["receipt"],
            thread=found.get("thread"),
            about=found.get("about"),
            latest=found.get("latest"),
        )

    async def _delivered(self, claim: _Claim, receipt: Receipt) -> None:
        story = claim.rows[0]["payload"].get("story_id") if len(claim.rows) == 1 else None
        data = {**receipt.data, "group": claim.group, "of": len(claim.rows), **({"story": story} if story else {})}
        await self._execute(
            "delivered",
            {"ids": claim.ids, "now": self._clock(), "receipt": Jsonb(jsonable(data)), "problem": receipt.problem},
        )
        if receipt.problem:
            log.warning("delivered in part: %s", receipt.problem, extra={"action": "message_delivered_in_part"})

    async def _failed(self, channel: str, claim: _Claim, error: SendError) -> None:
        now = self._clock()
        after = now + backoff(max(row["attempts"] for row in claim.rows), error, self._chance())
        if error.whole_channel:
            self._paused_until[channel] = after
        known = {**claim.rows[0]["receipt"], **error.reached}
        receipt: dict[str, Any] = {"permanent": True} if error.permanent else {}
        if error.unconfirmed or claim.unconfirmed or error.reached:
            # What may have arrived must come again as the same message, with the same rows in it.
            known.pop("permanent", None)
            receipt |= {**known, "unconfirmed": error.unconfirmed or claim.unconfirmed}
        await self._execute(
            "failed",
            {
                "ids": claim.ids,
                "claim": claim.until,
                "next": after,
                "error": line(str(error), 500),
                "receipt": Jsonb(jsonable(receipt)),
            },
        )
        log.warning("%s: not delivered: %s", channel, line(str(error)), extra={"action": "message_not_delivered"})

    async def _execute(self, query: str, params: Mapping[str, Any]) -> None:
        async with self._pool.connection() as conn:
            await conn.execute(_QUERIES[query], {"project": self._project, **params})
