"""What the ledger writes, many operations at a time: whatever waits goes out in one statement and one commit.

One flusher per ledger is under way while anything waits, so a lone operation goes at once and those that come while a
batch is on the wire form the next one. All that is decided is decided by ``ledger_batch`` inside PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg_pool import AsyncConnectionPool

from auto_dev import sql
from auto_dev.budget.limits import Alert, OnAlert, Window, WindowKey
from auto_dev.model import Scope

Connection = AsyncConnection[DictRow]
Answer = Mapping[str, Any]  # what ledger_batch says of one operation

QUERIES: Final = sql.load("auto_dev.budget", "ledger.sql")
LARGEST: Final = 128  # operations in a batch: locks are held for some 10 ms
TIMEOUT_S: Final = 30.0

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Op:
    """One operation. ``record`` is what ``ledger_batch`` reads; ``done`` gets its answer or its error."""

    kind: str
    id: str
    at: datetime
    record: dict[str, Any] = field(default_factory=dict)
    windows: Sequence[WindowKey] = ()
    alert_at: float = 1.0
    on_alert: OnAlert | None = None
    done: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _AlertFailedError(Exception):
    """``op`` must not happen, since its alert could not be written."""

    def __init__(self, op: Op) -> None:
        super().__init__()
        self.op = op


class Batches:
    """The one writer of a ledger. ``freed`` is told how many micro-dollars a batch has made free."""

    def __init__(self, pool: AsyncConnectionPool[Connection], project: str, freed: Callable[[int], None]) -> None:
        self._pool = pool
        self._project = project
        self._freed = freed
        self._waiting: deque[Op] = deque()
        self._flusher: asyncio.Task[None] | None = None

    def add(self, op: Op) -> None:
        """Let ``op`` go out with the next batch."""
        op.done.add_done_callback(_seen)  # whoever asked may be gone
        self._waiting.append(op)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())

    def take_back(self, op: Op) -> bool:
        """Whether ``op`` was still waiting: then it will never happen."""
        if op not in self._waiting:
            return False
        self._waiting.remove(op)
        return True

    async def answer(self, op: Op) -> Answer:
        """Let ``op`` go out; its answer. Cancelling the call does not undo it, and takes effect afterwards."""
        self.add(op)
        cancelled: asyncio.CancelledError | None = None
        while not op.done.done():
            try:
                await asyncio.wait([op.done])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            if not op.done.cancelled() and (failed := op.done.exception()) is not None:
                cancelled.add_note(f"and what had to be finished first failed: {failed}")
            raise cancelled
        return op.done.result()

    # -- the flusher

    async def _flush(self) -> None:
        batch: list[Op] = []
        try:
            while self._waiting:
                try:
                    async with self._pool.connection() as conn:
                        while self._waiting:
                            batch = self._next()
                            async with asyncio.timeout(TIMEOUT_S):
                                await self._send(conn, batch)
                            batch = []
                except Exception as error:  # noqa: BLE001 (whoever waits for the answer gets it)
                    # Without a connection all have waited in vain; with a broken one, only those on the wire.
                    _fail(batch or self._drain(), error)
                    batch = []
        finally:
            for op in (*batch, *self._drain()):  # the loop is being closed: nobody will answer
                op.done.cancel()

    def _next(self) -> list[Op]:
        """The operations that waited longest. One reservation is never touched twice in a batch."""
        batch: dict[str, Op] = {}
        later = []
        while self._waiting and len(batch) < LARGEST:
            op = self._waiting.popleft()
            if op.id in batch:
                later.append(op)
            else:
                batch[op.id] = op
        self._waiting.extendleft(reversed(later))
        return list(batch.values())

    def _drain(self) -> list[Op]:
        left = list(self._waiting)
        self._waiting.clear()
        return left

    async def _send(self, conn: Connection, ops: list[Op]) -> None:
        """Do ``ops`` together; if the server refuses them, find the one that it refuses, so that the others happen."""
        try:
            answers = await self._execute(conn, ops)
        except _AlertFailedError as failed:
            failed.op.done.set_exception(failed.__cause__ or failed)
            if rest := [op for op in ops if op is not failed.op]:
                await self._send(conn, rest)
            return
        except psycopg.Error as error:
            if isinstance(error, psycopg.OperationalError) or conn.closed:
                raise  # the server's trouble, not that of an operation
            if len(ops) == 1:
                _fail(ops, error)
                return
            half = len(ops) // 2
            await self._send(conn, ops[:half])
            await self._send(conn, ops[half:])
            return
        for op, answer in zip(ops, answers, strict=True):
            if not op.done.done():
                op.done.set_result(answer)
        if freed := sum(answer.get("freed", 0) for answer in answers):
            self._freed(freed)

    async def _execute(self, conn: Connection, ops: Sequence[Op]) -> list[Answer]:
        """One statement, which is its own transaction; only where an alert is due, one that announces it as well."""
        params = {"project": self._project, **_encoded(ops), "announce": False}
        answer = await self._call(conn, params)
        if answer is None:
            async with conn.transaction():
                answer = await self._call(conn, {**params, "announce": True})
                assert answer is not None  # that is only the answer to a caller who does not announce
                for alert in answer["alerts"]:
                    await _announce(conn, ops[alert["n"] - 1], alert["window"])
        results: list[Answer] = answer["results"]
        return results

    async def _call(self, conn: Connection, params: Mapping[str, Any]) -> Any:
        row = await (await conn.execute(QUERIES["batch"], params)).fetchone()
        assert row is not None  # a function call has one row
        return row["answer"]


class Room:
    """Who waits for money to come back. Wakes in order of arrival as many as what came back may be enough for."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], tuple[int, int]] = {}  # what it lacks, what it wants

    async def wait(self, lacking_microusd: int, wanted_microusd: int, timeout_s: float) -> None:
        """Wait until it may be worth another try, at most ``timeout_s`` seconds."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[woken] = (lacking_microusd, wanted_microusd)
        try:
            await asyncio.wait([woken], timeout=timeout_s)
        finally:
            self._waiting.pop(woken, None)

    def freed(self, microusd: int) -> None:
        """So much has come back. Windows are not told apart: who is woken too early asks once in vain."""
        left = microusd
        for woken, (lacking, wanted) in list(self._waiting.items()):
            if lacking > microusd or left <= 0:
                self._waiting[woken] = (lacking - microusd, wanted)
                continue
            left -= wanted
            del self._waiting[woken]
            woken.set_result(None)


async def _announce(conn: Connection, op: Op, window: Mapping[str, Any]) -> None:
    """Tell whoever wants to know, in the transaction that crossed the line. Raises _AlertFailedError."""
    assert op.on_alert is not None  # the function announces nothing to others
    try:
        await op.on_alert(conn, Alert(window_of(window), op.alert_at))
    except Exception as error:
        if conn.closed:
            raise
        raise _AlertFailedError(op) from error


def _seen(done: asyncio.Future[Answer]) -> None:
    if not done.cancelled():
        done.exception()


def _fail(ops: Iterable[Op], error: BaseException) -> None:
    for op in ops:
        if not op.done.done():
            op.done.set_exception(error)


def _encoded(ops: Sequence[Op]) -> dict[str, str]:
    """The operations and the windows that they name, as ``ledger_batch`` wants them."""
    windows: dict[tuple[Scope, str], dict[str, Any]] = {}
    records = []
    for n, op in enumerate(ops, 1):
        places = []
        at = op.at.isoformat()
        for window in op.windows:
            known = windows.setdefault(
                (window.scope, window.key),
                {
                    "n": len(windows) + 1,
                    "scope": window.scope,
                    "key": window.key,
                    "cap": window.limit_microusd,
                    "at": at,
                },
            )
            places.append(known["n"])
        record = {"n": n, "kind": op.kind, "id": op.id, "at": at, "w": places, **op.record}
        if op.on_alert is not None:
            record["alert_at"] = op.alert_at
        records.append(record)
    return {"ops": json.dumps(records), "windows": json.dumps(list(windows.values()))}


def window_of(row: Mapping[str, Any], resets_at: datetime | None = None) -> Window:
    """A row of ``budget_windows``, or what ``ledger_batch`` says of one."""
    return Window(
        scope=Scope(row["scope"]),
        key=row["key"],
        cap_microusd=row["cap_microusd"],
        spent_microusd=row.get("spent_microusd", 0),
        reserved_microusd=row.get("reserved_microusd", 0),
        overrun_microusd=row.get("overrun_microusd", 0),
        alerted_at=row.get("alerted_at"),
        resets_at=resets_at,
    )
