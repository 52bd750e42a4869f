"""The ledger: money is set aside before a request is sent, and booked when its cost is known.

What may be spent is decided inside PostgreSQL, with the rows of all scopes locked: however many requests, processes
and crashes, no window goes over its cap. What its caller never settles stays set aside until it is reconciled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from auto_dev import sql
from auto_dev.budget.estimate import FinishedRun
from auto_dev.budget.limits import (
    CENT,
    Alert,
    BudgetExceededError,
    BudgetLimits,
    BudgetOverview,
    OnAlert,
    Window,
    WindowKey,
    checked_amount,
    refusal,
)
from auto_dev.budget.windows import next_reset
from auto_dev.errors import BudgetError
from auto_dev.model import Scope
from auto_dev.text import jsonable, line

__all__ = ["Alert", "BudgetExceededError", "BudgetLimits", "BudgetOverview", "Ledger", "OnAlert", "Window"]

Connection = AsyncConnection[DictRow]
T = TypeVar("T")

QUERIES: Final = sql.load("auto_dev.budget", "ledger.sql")
CONFIGURATION: Final = "auto-dev.toml"  # who changed a limit, when it was no person's single decision
UNKNOWN_USAGE: Final = "the usage is unknown: charged in full"
OWNER_DIED: Final = "its owner ended before the usage was known: charged in full"

WAIT_S: Final = 300.0
_FIRST_PAUSE_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 0.25
_BOOKING_TIMEOUT_S: Final = 30.0
_WITHDRAWAL_TIMEOUT_S: Final = 10.0

log = logging.getLogger(__name__)


class Ledger:
    """The money of one project. ``clock`` gives aware UTC datetimes and decides which day it is."""

    def __init__(self, pool: AsyncConnectionPool[Connection], project_id: str, clock: Callable[[], datetime]) -> None:
        self._pool = pool
        self._project = project_id
        self._clock = clock

    # -- requests

    async def enter(self, run_id: str, story_id: str, limits: BudgetLimits, *, floor_microusd: int = CENT) -> int:
        """Let a run start something that spends, or raise BudgetExceededError when a scope has nothing left.

        Nothing left means less than ``floor_microusd`` even if all that others have set aside came back. Brings the
        limits of the story (and run) to ``limits`` first. Returns what remains in the tightest scope.
        """
        now = self._clock()
        await self._apply_limits(limits.own_windows(run_id, story_id), now)
        states = await self._read(limits.windows(run_id, story_id, now), limits, now)
        short = [state for state in states if state.unspent_microusd < floor_microusd]
        if short:
            raise refusal(short, floor_microusd, limits.zone)
        return min(state.unspent_microusd for state in states)

    async def reserve(self, run_id: str, story_id: str, model: str, amount_microusd: int, limits: BudgetLimits) -> str:
        """Set ``amount_microusd`` aside in all scopes at once and return the reservation's id.

        Raises BudgetExceededError when it does not fit now. A call that is cancelled or loses its connection leaves
        nothing set aside.
        """
        now = self._clock()
        wanted = limits.windows(run_id, story_id, now)
        params = {
            "id": uuid4().hex,
            "project": self._project,
            "run": run_id,
            "story": story_id,
            "model": line(model, 200),
            "amount": checked_amount(amount_microusd, "the amount to reserve"),
            "now": now,
            **_columns(wanted),
        }
        try:
            rows = await self._rows("reserve", params)
            if len(rows) < len(wanted):
                await self._rows("open_windows", {**params, "caps": [window.limit_microusd for window in wanted]})
                rows = await self._rows("reserve", params)
        except BaseException:
            await self._uninterrupted(self._withdraw(params))
            raise
        if not rows[0]["granted"]:
            raise refusal([_window(row, limits, now) for row in rows], amount_microusd, limits.zone)
        return str(params["id"])

    async def acquire(
        self,
        run_id: str,
        story_id: str,
        model: str,
        amount_microusd: int,
        limits: BudgetLimits,
        *,
        wait_s: float = WAIT_S,
    ) -> str:
        """Like ``reserve``, but wait up to ``wait_s`` seconds while open reservations may still make room."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        pause = _FIRST_PAUSE_S
        cancellations = _cancellations()
        while True:
            taken, refused = None, None
            try:
                taken = await self.reserve(run_id, story_id, model, amount_microusd, limits)
            except BudgetExceededError as error:
                refused = error
            # Up to Python 3.11 asyncio.wait_for, which psycopg waits with, loses a cancellation that comes together
            # with the answer; without this a cancelled request would go on, or wait until its deadline.
            if _cancellations() > cancellations:
                if taken is not None:
                    await self._uninterrupted(self._close(taken, "released", note="cancelled before it was used"))
                raise asyncio.CancelledError
            if taken is not None:
                return taken
            left = deadline - loop.time()
            if refused is not None and (left <= 0 or not refused.could_free):
                raise refused
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def settle(
        self,
        reservation: str,
        cost_microusd: int | None,
        *,
        usage: Mapping[str, Any] | None = None,
        note: str = "",
        alert_at: float = 1.0,
        on_alert: OnAlert | None = None,
    ) -> int:
        """Book what a request cost (None: unknown, the whole reservation) and return the micro-dollars charged.

        Happens once: a repetition returns what was charged. What exceeds the reservation counts as overrun. Goes into
        the windows that were reserved in, whatever day it is now. Cancelling the call does not undo it. Raises
        BudgetError for an unknown or released reservation.
        """
        if cost_microusd is None:
            note = note or UNKNOWN_USAGE
        else:
            checked_amount(cost_microusd, "the cost of the request")
        charged = await self._uninterrupted(
            self._close(reservation, "settled", cost_microusd, usage or {}, note, alert_at, on_alert)
        )
        if charged is not None:
            return charged
        row = await self._reservation(reservation)
        if row["status"] != "settled":
            raise BudgetError(f"the reservation {reservation} was released and cannot be settled")
        return int(row["charged_microusd"])

    async def release(self, reservation: str) -> None:
        """Give a reservation back whose request was certainly never sent. A repetition does nothing.

        Raises BudgetError for an unknown or settled reservation.
        """
        if await self._uninterrupted(self._close(reservation, "released")) is None:
            row = await self._reservation(reservation)
            if row["status"] != "released":
                raise BudgetError(f"the reservation {reservation} was settled and cannot be released")

    async def reconcile(self, run_ids: Sequence[str], *, alert_at: float = 1.0, on_alert: OnAlert | None = None) -> int:
        """Charge the open reservations of runs whose owner died, in full; return how many there were.

        Only for runs that nobody works on: their requests may have been answered, and nobody can tell any more.
        """
        charged = 0
        for row in await self._rows("open_reservations", {"project": self._project, "runs": list(run_ids)}):
            done = await self._close(row["id"], "settled", None, {}, OWNER_DIED, alert_at, on_alert)
            charged += done is not None
        return charged

    async def request_of(self, reservation: str) -> tuple[str, datetime]:
        """The model of a reservation and when it was made. Raises BudgetError for an unknown one."""
        row = await self._reservation(reservation)
        return row["model"], row["created_at"]

    # -- limits

    async def ensure_caps(self, limits: BudgetLimits) -> None:
        """Bring today's and this week's limit to ``limits``, unless a person set another for just this window.

        For start-up and every reload of the configuration; cheap when nothing changed. A limit lowered below what is
        spent and reserved lets nothing more be reserved.
        """
        now = self._clock()
        await self._apply_limits(limits.shared_windows(now), now)

    async def raise_limit(
        self, scope: Scope, key: str, to_microusd: int, by: str, reason: str, limits: BudgetLimits
    ) -> Window:
        """Set the limit of one window (up or down) on a person's word, and record who and why.

        ``key`` is a story's or run's id; for day and week it may be empty and can only be the current window's. Holds
        for this window alone, whatever the configuration says, also after a restart. Raises BudgetError.
        """
        now = self._clock()
        checked_amount(to_microusd, "the new limit")
        if not by.strip() or by == CONFIGURATION:
            raise BudgetError("a limit is raised in somebody's name", mend="Say who raises it.")
        target = _target(scope, key, limits, now)
        async with self._pool.connection() as conn, conn.transaction():
            row = (await self._open_and_lock(conn, (target,), now))[0]
            before = await self._entries(conn, target)
            changed = await self._enter(conn, row, before["latest"], to_microusd, line(by, 200), line(reason, 500), now)
        return _window(changed, limits, now)

    # -- reading

    async def overview(self, limits: BudgetLimits) -> BudgetOverview:
        """Today's and this week's limit, cost and remainder. Writes nothing."""
        now = self._clock()
        day, week = await self._read(limits.shared_windows(now), limits, now)
        return BudgetOverview(day=day, week=week, alert_at=limits.alert_at)

    async def cost_of_run(self, run_id: str) -> int:
        """Micro-dollars that a run's settled requests were charged."""
        rows = await self._rows("cost_of_run", {"project": self._project, "run": run_id})
        return int(rows[0]["cost"])

    async def cost_of_story(self, story_id: str) -> int:
        """Micro-dollars that all runs of a story were charged."""
        rows = await self._rows("costs_by_story", {"project": self._project, "story": story_id})
        return int(rows[0]["cost"]) if rows else 0

    async def costs_by_story(self) -> dict[str, int]:
        """Story id → micro-dollars, for every story that ever came near a model."""
        rows = await self._rows("costs_by_story", {"project": self._project, "story": None})
        return {row["story_id"]: row["cost"] for row in rows}

    async def history(self, days: int, limits: BudgetLimits) -> list[Window]:
        """The last ``days`` days on which anything happened, today first."""
        now = self._clock()
        since = (now.astimezone(limits.zone) - timedelta(days=days - 1)).date().isoformat()
        rows = await self._rows("history", {"project": self._project, "since": since})
        return [_window(row, None, now) for row in rows]

    async def changes(self, limit: int = 50) -> list[DictRow]:
        """The latest changes of limits, newest first: scope, key, from_microusd, to_microusd, by, reason, at."""
        return await self._rows("changes", {"project": self._project, "limit": limit})

    async def finished_runs(self) -> tuple[FinishedRun, ...]:
        """What finished stories cost: the history that estimates are made from."""
        rows = await self._rows("finished_runs", {"project": self._project})
        return tuple(
            FinishedRun(row["story_id"], row["cost"], row["estimate_hours"], tuple(row["tags"])) for row in rows
        )

    # -- inside

    async def _rows(self, name: str, params: Mapping[str, Any]) -> list[DictRow]:
        async with self._pool.connection() as conn:
            cursor = await conn.execute(QUERIES[name], params)
            return await cursor.fetchall() if cursor.description else []

    async def _reservation(self, reservation: str) -> DictRow:
        rows = await self._rows("reservation", {"project": self._project, "id": reservation})
        if not rows:
            raise BudgetError(f"there is no reservation {line(reservation, 80)!r}")
        return rows[0]

    async def _read(self, wanted: Sequence[WindowKey], limits: BudgetLimits, now: datetime) -> list[Window]:
        """The wanted windows in their order; one that does not exist yet has its whole limit left."""
        rows = await self._rows("read_windows", {"project": self._project, **_columns(wanted)})
        known = {(row["scope"], row["key"]): row for row in rows}
        return [
            _window(
                known.get((window.scope, window.key))
                or {"scope": window.scope, "key": window.key, "cap_microusd": window.limit_microusd},
                limits,
                now,
            )
            for window in wanted
        ]

    async def _close(
        self,
        reservation: str,
        status: str,
        cost_microusd: int | None = None,
        usage: Mapping[str, Any] | None = None,
        note: str = "",
        alert_at: float = 1.0,
        on_alert: OnAlert | None = None,
    ) -> int | None:
        """End an open reservation; what was charged, or None when it was not open."""
        params = {
            "id": reservation,
            "project": self._project,
            "status": status,
            "cost": cost_microusd,
            "usage": Jsonb(jsonable(usage or {})),
            "note": line(note, 500),
            "now": self._clock(),
        }
        async with asyncio.timeout(_BOOKING_TIMEOUT_S), self._pool.connection() as conn, conn.transaction():
            rows = await (await conn.execute(QUERIES["close_reservation"], params)).fetchall()
            if not rows:
                return None
            if full := [row["id"] for row in rows if row["was_full"]]:
                await conn.execute(QUERIES["shrink_caps"], {"project": self._project, "windows": full})
            if on_alert is not None:
                await self._alert(conn, rows, alert_at, on_alert)
        return int(rows[0]["charged"])

    async def _alert(self, conn: Connection, rows: Sequence[DictRow], alert_at: float, on_alert: OnAlert) -> None:
        """Announce each day or week whose cost crossed the line, once, in the transaction that crossed it."""
        now = self._clock()
        for row in rows:
            window = _window(row, None, now)
            if window.scope not in (Scope.DAY, Scope.WEEK) or window.alerted_at or not window.alarms(alert_at):
                continue
            await conn.execute(QUERIES["mark_alerted"], {"window": row["id"], "now": now})
            await on_alert(conn, Alert(window, alert_at))

    async def _withdraw(self, params: Mapping[str, Any]) -> None:
        """Make sure that a reservation whose caller will never learn its id does not stand."""
        try:
            async with asyncio.timeout(_WITHDRAWAL_TIMEOUT_S):
                if not await self._rows("bar_reservation", params):
                    await self._close(params["id"], "released", note="cancelled before it was used")
        except (psycopg.Error, TimeoutError) as error:
            # The database is gone. Should the reservation stand, it is charged when its run is reconciled.
            log.warning("a reservation could not be withdrawn: %s", error, extra={"action": "reservation_left_open"})

    async def _uninterrupted(self, work: Coroutine[Any, Any, T]) -> T:
        """Finish ``work`` even if the caller is cancelled meanwhile; a cancellation takes effect afterwards."""
        task = asyncio.ensure_future(work)
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            if not task.cancelled() and (failed := task.exception()) is not None:
                cancelled.add_note(f"and what had to be finished first failed: {failed}")
            raise cancelled
        return task.result()

    async def _open_and_lock(self, conn: Connection, wanted: Sequence[WindowKey], now: datetime) -> list[DictRow]:
        params = {
            "project": self._project,
            "now": now,
            "caps": [window.limit_microusd for window in wanted],
            **_columns(wanted),
        }
        await conn.execute(QUERIES["open_windows"], params)
        return await (await conn.execute(QUERIES["lock_windows"], params)).fetchall()

    async def _entries(self, conn: Connection, window: WindowKey) -> DictRow:
        params = {
            "project": self._project,
            "scope": window.scope,
            "key": window.key,
            "configuration": CONFIGURATION,
        }
        row = await (await conn.execute(QUERIES["limit_entries"], params)).fetchone()
        assert row is not None  # a SELECT of two values has one row
        return row

    async def _apply_limits(self, wanted: Sequence[WindowKey], now: datetime) -> None:
        """Bring windows to the configured limits where they differ. A person's own limit for a window stays."""
        async with self._pool.connection() as conn, conn.transaction():
            for row, window in zip(await self._open_and_lock(conn, wanted, now), wanted, strict=True):
                entries = await self._entries(conn, window)
                current = row["cap_microusd"] if entries["latest"] is None else entries["latest"]
                limit = window.limit_microusd if entries["by_person"] is None else entries["by_person"]
                if limit != current:
                    await self._enter(conn, row, current, limit, CONFIGURATION, "the configured limit changed", now)

    async def _enter(
        self, conn: Connection, row: DictRow, before: int | None, limit: int, by: str, reason: str, now: datetime
    ) -> DictRow:
        params = {
            "window": row["id"],
            "before": row["cap_microusd"] if before is None else before,
            "limit": limit,
            "by": by,
            "reason": reason,
            "now": now,
        }
        changed = await (await conn.execute(QUERIES["enter_limit"], params)).fetchone()
        assert changed is not None  # the row is locked by this transaction
        return changed


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def _columns(wanted: Sequence[WindowKey]) -> dict[str, list[str]]:
    return {"scopes": [str(window.scope) for window in wanted], "keys": [window.key for window in wanted]}


def _window(row: Mapping[str, Any], limits: BudgetLimits | None, now: datetime) -> Window:
    scope = Scope(row["scope"])
    return Window(
        scope=scope,
        key=row["key"],
        cap_microusd=row["cap_microusd"],
        spent_microusd=row.get("spent_microusd", 0),
        reserved_microusd=row.get("reserved_microusd", 0),
        overrun_microusd=row.get("overrun_microusd", 0),
        alerted_at=row.get("alerted_at"),
        resets_at=next_reset(scope, now, limits.zone) if limits else None,
    )


def _target(scope: Scope, key: str, limits: BudgetLimits, now: datetime) -> WindowKey:
    """The window that a person means. Raises BudgetError when there is none that could be changed."""
    if scope in (Scope.DAY, Scope.WEEK):
        current = next(window for window in limits.shared_windows(now) if window.scope is scope)
        if key not in ("", current.key):
            raise BudgetError(f"{key} is not the current {scope}, which is {current.key}")
        return current
    if not key:
        raise BudgetError(f"which {scope} is meant is not said", mend=f"Give the {scope}'s id.")
    if scope is Scope.STORY:
        return WindowKey(scope, key, limits.story)
    if limits.run is None:
        raise BudgetError("runs have no limit of their own", mend="Raise the limit of the story, the day or the week.")
    return WindowKey(scope, key, limits.run)
