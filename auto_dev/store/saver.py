"""LangGraph's checkpoints, fenced by the lease: what a stale owner writes does not land.

Import this module only where graphs run: it brings LangGraph with it (1 s).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.postgres.base import PRUNE_DELETE_THREADS_SQL
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from auto_dev import sql
from auto_dev.store.leases import Lease, fence


class FencedSaver(AsyncPostgresSaver):
    """The saver of one story's run over the shared ``Database.checkpoints`` pool.

    Every write is one transaction that first checks the lease's ``epoch``, and holds off a new owner until its commit.
    Raises StaleLeaseError once the epoch has moved on. One saver per run: a shared one would serialise all runs'
    queries behind its lock.
    """

    def __init__(
        self, pool: AsyncConnectionPool[AsyncConnection[DictRow]], project_id: str, story_id: str, epoch: int
    ) -> None:
        # None allows the library's list of safe types alone, whatever LANGGRAPH_STRICT_MSGPACK said at its import.
        super().__init__(pool, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        self._pool = pool
        self._lease = Lease(project_id, story_id, "", epoch)

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        """A cursor; the library asks for ``pipeline`` where it writes, and there it gets a fenced transaction."""
        async with self._pool.connection() as connection:
            if not pipeline:
                async with connection.cursor(binary=True, row_factory=dict_row) as cursor:
                    yield cursor
                return
            async with connection.transaction():
                await fence(connection, self._lease)
                async with connection.cursor(binary=True, row_factory=dict_row) as cursor:
                    yield cursor


async def delete_threads(pool: AsyncConnectionPool[AsyncConnection[DictRow]], thread_ids: Sequence[str]) -> int:
    """Delete all that is stored of the threads (run ids), in one transaction; how many rows went."""
    if not thread_ids:
        return 0
    async with pool.connection() as connection, connection.transaction():
        counts = [
            (await connection.execute(statement, (list(thread_ids),))).rowcount
            for statement in PRUNE_DELETE_THREADS_SQL
        ]
    return sum(counts)


async def prune_finished(
    pool: AsyncConnectionPool[AsyncConnection[DictRow]], keep_days: float, batch: int = 200
) -> int:
    """Delete the threads of runs that ended more than ``keep_days`` ago; how many threads went, at most ``batch``."""
    async with pool.connection() as connection:
        query = sql.load("auto_dev.store", "schema.sql")["finished_threads"]
        rows = await (await connection.execute(query, {"keep_days": keep_days, "batch": batch})).fetchall()
    thread_ids = [row["thread_id"] for row in rows]
    await delete_threads(pool, thread_ids)
    return len(thread_ids)
