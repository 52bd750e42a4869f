"""The ledger: money is set aside before a request is sent, and booked when its cost is known.

What may be spent is decided inside PostgreSQL, with the rows of all scopes locked: however many requests, processes
and crashes, no window goes over its cap. What its caller never settles stays set aside until it is reconciled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4, uuid5

import psycopg
from psycopg_pool import AsyncConnectionPool

from auto_dev.budget import caps
from auto_dev.budget.batch import Answer, Batches, Connection, Op, Room, window_of
from auto_dev.budget.books import Books
from auto_dev.budget.limits import (
    CENT,
    Alert,
    BudgetExceededError,
    BudgetLimits,
    BudgetOverview,
    Granted,
    OnAlert,
    Window,
    checked_amount,
    refusal,
)
from auto_dev.budget.windows import next_reset
from auto_dev.errors import BudgetError
from auto_dev.model import Scope
from auto_dev.text import jsonable, line

__all__ = ["Alert", "BudgetExceededError", "BudgetLimits", "BudgetOverview", "Granted", "Ledger", "OnAlert", "Window"]

T = TypeVar("T")

UNKNOWN_USAGE: Final = "the usage is unknown: charged in full"
OWNER_DIED: Final = "its owner ended before the usage was known: charged in full"
CANCELLED: Final = "cancelled before it was used"

WAIT_S: Final = 300.0
_FIRST_PAUSE_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 0.25
_WITHDRAWAL_TIMEOUT_S: Final = 10.0
_BARRIER_TIMEOUT_S: Final = 10.0
_BOOKINGS: Final = UUID("6f1b5b0e-3c57-4a0e-9d5e-2a1f6d2f8c11")  # makes ids of bookings out of their names

log = logging.getLogger(__name__)


class Ledger(Books):
    """The money of one project. ``clock`` gives aware UTC datetimes and decides which day it is.

    Calls that come together go to the database together (see batch.py): many at once cost hardly more than one.
    """

    def __init__(self, pool: AsyncConnectionPool[Connection], project_id: str, clock: Callable[[], datetime]) -> None:
        super().__init__(pool, project_id, clock)
        self._room = Room()
        self._batches = Batches(pool, project_id, self._room.freed)

    # -- requests

    async def enter(self, run_id: str, story_id: str, limits: BudgetLimits, *, floor_microusd: int = CENT) -> int:
        """Let a run start something that spends, or raise BudgetExceededError when a scope has nothing left.

        Nothing left means less than ``floor_microusd`` even if all that others have set aside came back. Brings the
        limits of the story (and run) to ``limits`` first. Returns what remains in the tightest scope.
        """
        now = self._clock()
        async with self._pool.connection() as conn, conn.transaction():
            await caps.apply_limits(conn, self._project, limits.own_windows(run_id, story_id), now)
        states = await self._read(limits.windows(run_id, story_id, now), limits, now)
        short = [state for state in states if state.unspent_microusd < floor_microusd]
        if short:
            raise refusal(short, floor_microusd, limits.zone)
        return min(state.unspent_microusd for state in states)

    async def reserve(
        self,
        run_id: str,
        story_id: str,
        model: str,
        amount_microusd: int,
        limits: BudgetLimits,
        *,
        least_microusd: int | None = None,
    ) -> Granted:
        """Set ``amount_microusd`` aside in all scopes at once; where less is left, that, if ``least_microusd`` are.

        Without ``least_microusd`` it is all or nothing. Raises BudgetExceededError when not even the least fits now. A
        call that is cancelled or loses its connection leaves nothing set aside.
        """
        op = self._reserve_op(run_id, story_id, model, amount_microusd, least_microusd, limits)
        self._batches.add(op)
        try:
            await asyncio.wait([op.done])
            answer = op.done.result()
        except BaseException as error:
            refused = isinstance(error, psycopg.Error) and not isinstance(error, psycopg.OperationalError)
            if not refused and not self._batches.take_back(op):
                await _uninterrupted(self._withdraw(op))
            raise
        if answer["granted"] is None:
            states = [window_of(row, next_reset(Scope(row["scope"]), op.at, limits.zone)) for row in answer["windows"]]
            raise refusal(states, op.record["least"], limits.zone)
        return Granted(op.id, answer["granted"])

    async def acquire(
        self,
        run_id: str,
        story_id: str,
        model: str,
        amount_microusd: int,
        limits: BudgetLimits,
        *,
        least_microusd: int | None = None,
        wait_s: float = WAIT_S,
    ) -> Granted:
        """Like ``reserve``, but wait up to ``wait_s`` seconds while open reservations may still make room.

        What this ledger settles or releases wakes those who wait; what other processes do is found by asking again.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return await self.reserve(
                    run_id, story_id, model, amount_microusd, limits, least_microusd=least_microusd
                )
            except BudgetExceededError as error:
                left = deadline - loop.time()
                if left <= 0 or not error.could_free:
                    raise
                lacking = error.wanted_microusd - (error.window.unspent_microusd - error.reserved_microusd)
                wanted = error.wanted_microusd
            await self._room.wait(lacking, wanted, min(pause, left))
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
        answer = await self._settle(reservation, cost_microusd, usage, note, alert_at, on_alert)
        if answer["status"] == "released":
            raise BudgetError(f"the reservation {reservation} was released and cannot be settled")
        return int(answer["charged"])

    async def release(self, reservation: str) -> None:
        """Give a reservation back whose request was certainly never sent. A repetition does nothing.

        Raises BudgetError for an unknown or settled reservation.
        """
        answer = await self._close(Op("release", reservation, self._clock(), {"note": ""}))
        if answer["status"] == "settled":
            raise BudgetError(f"the reservation {reservation} was settled and cannot be released")

    async def book(
        self,
        run_id: str,
        story_id: str,
        model: str,
        cost_microusd: int,
        limits: BudgetLimits,
        *,
        booking: str,
        usage: Mapping[str, Any] | None = None,
        note: str = "",
        on_alert: OnAlert | None = None,
    ) -> Window:
        """Book what was spent already, without a reservation, in all scopes; what a cap has no room for is overrun.

        ``booking`` names the fact within the run (a turn, say): the same is booked once. Cancelling the call does not
        undo it. Returns the window that has the least left.
        """
        op = Op(
            "book",
            uuid5(_BOOKINGS, f"{self._project}\0{run_id}\0{booking}").hex,
            self._clock(),
            {
                "run": run_id,
                "story": story_id,
                "model": line(model, 200),
                "cost": checked_amount(cost_microusd, "the cost to book"),
                "usage": jsonable(usage or {}),
                "note": line(note, 500),
            },
            alert_at=limits.alert_at,
            on_alert=on_alert,
        )
        op.windows = limits.windows(run_id, story_id, op.at)
        try:
            answer = await self._batches.answer(op)
        except psycopg.errors.UniqueViolation:  # another process has just booked it
            answer = await self._batches.answer(_again(op))
        states = [window_of(row, next_reset(Scope(row["scope"]), op.at, limits.zone)) for row in answer["windows"]]
        return min(states, key=lambda state: state.unspent_microusd)

    async def reconcile(self, run_ids: Sequence[str], *, alert_at: float = 1.0, on_alert: OnAlert | None = None) -> int:
        """Charge the open reservations of runs whose owner died, in full; return how many there were.

        Only for runs that nobody works on: their requests may have been answered, and nobody can tell any more. What a
        killed owner's last statement may still be doing in the server is waited for.
        """
        if not run_ids:
            return 0
        try:
            async with asyncio.timeout(_BARRIER_TIMEOUT_S):
                await self._rows("wait_for_batches", {"project": self._project})
        except TimeoutError:  # what it may still set aside is charged when its run is reconciled again
            log.warning("a batch of the ledger does not end", extra={"action": "ledger_batch_stuck"})
        rows = await self._rows("open_reservations", {"project": self._project, "runs": list(run_ids)})
        closings = [self._settle(row["id"], None, None, OWNER_DIED, alert_at, on_alert) for row in rows]
        results = await asyncio.gather(*closings, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return sum(result["status"] == "open" for result in results if not isinstance(result, BaseException))

    # -- limits

    async def ensure_caps(self, limits: BudgetLimits) -> None:
        """Bring today's and this week's limit to ``limits``, unless a person set another for just this window.

        For start-up and every reload of the configuration; cheap when nothing changed. A limit lowered below what is
        spent and reserved lets nothing more be reserved.
        """
        now = self._clock()
        async with self._pool.connection() as conn, conn.transaction():
            await caps.apply_limits(conn, self._project, limits.shared_windows(now), now)

    async def raise_limit(
        self, scope: Scope, key: str, to_microusd: int, by: str, reason: str, limits: BudgetLimits
    ) -> Window:
        """Set the limit of one window (up or down) on a person's word, and record who and why.

        ``key`` is a story's or run's id; for day and week it may be empty and can only be the current window's. Holds
        for this window alone, whatever the configuration says, also after a restart. Raises BudgetError.
        """
        now = self._clock()
        checked_amount(to_microusd, "the new limit")
        if not by.strip() or by == caps.CONFIGURATION:
            raise BudgetError("a limit is raised in somebody's name", mend="Say who raises it.")
        target = caps.target(scope, key, limits, now)
        async with self._pool.connection() as conn, conn.transaction():
            changed = await caps.set_limit(conn, self._project, target, to_microusd, by, reason, now)
        return window_of(changed, next_reset(scope, now, limits.zone))

    # -- inside

    def _reserve_op(
        self,
        run_id: str,
        story_id: str,
        model: str,
        amount_microusd: int,
        least_microusd: int | None,
        limits: BudgetLimits,
    ) -> Op:
        amount = checked_amount(amount_microusd, "the amount to reserve")
        least = amount if least_microusd is None else checked_amount(least_microusd, "the least amount to reserve")
        now = self._clock()
        record = {
            "run": run_id,
            "story": story_id,
            "model": line(model, 200),
            "amount": amount,
            "least": min(least, amount),
        }
        return Op("reserve", uuid4().hex, now, record, limits.windows(run_id, story_id, now))

    async def _settle(
        self,
        reservation: str,
        cost_microusd: int | None,
        usage: Mapping[str, Any] | None,
        note: str,
        alert_at: float,
        on_alert: OnAlert | None,
    ) -> Answer:
        record = {"cost": cost_microusd, "usage": jsonable(usage or {}), "note": line(note, 500)}
        op = Op("settle", reservation, self._clock(), record, alert_at=alert_at, on_alert=on_alert)
        return await self._close(op)

    async def _close(self, op: Op) -> Answer:
        """End a reservation; ``status`` of the answer is what it was before. Raises BudgetError for an unknown one."""
        if op.id != line(op.id, 200):
            raise _unknown(op.id)
        answer = await self._batches.answer(op)
        while answer["status"] == "raced":
            answer = await self._batches.answer(_again(op))
        if answer["status"] is None:
            raise _unknown(op.id)
        return answer

    async def _withdraw(self, op: Op) -> None:
        """Make sure that a reservation whose caller will never learn its id does not stand."""
        status, record = "raced", {**op.record, "note": CANCELLED}
        try:
            async with asyncio.timeout(_WITHDRAWAL_TIMEOUT_S):
                await asyncio.wait([op.done])
                lost = op.done.cancelled() or op.done.exception() is not None
                if not lost and op.done.result()["granted"] is None:
                    return
                while status == "raced":
                    withdrawal = Op("withdraw", op.id, self._clock(), record)
                    self._batches.add(withdrawal)
                    await asyncio.wait([withdrawal.done])
                    status = withdrawal.done.result()["status"]
        except (psycopg.Error, TimeoutError) as error:
            # The database is gone. Should the reservation stand, it is charged when its run is reconciled.
            log.warning("a reservation could not be withdrawn: %s", error, extra={"action": "reservation_left_open"})


def _again(op: Op) -> Op:
    return Op(op.kind, op.id, op.at, op.record, op.windows, op.alert_at, op.on_alert)


def _unknown(reservation: str) -> BudgetError:
    return BudgetError(f"there is no reservation {line(reservation, 80)!r}")


async def _uninterrupted(work: Coroutine[Any, Any, T]) -> T:
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
