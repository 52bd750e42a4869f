"""The database as the rest of auto-dev sees it: two pools on a server that is fit, migrated and kept alive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from auto_dev.errors import StoreError
from auto_dev.store import preflight
from auto_dev.store.embedded import EmbeddedServer
from auto_dev.store.migrate import migrate
from auto_dev.tasks import end_tasks

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]
Params = Mapping[str, Any] | Sequence[Any]

APPLICATION = "auto-dev"
CONNECT_TIMEOUT_S = 10
# psycopg_pool waits 1, 2, 4, 8 … seconds between attempts: given up early, the next request starts afresh at once.
RECONNECT_TIMEOUT_S = 10.0
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Database:
    """``pool`` for our tables and jobs, ``checkpoints`` for LangGraph's; connections are autocommit, rows are dicts.

    ``conninfo`` connects anything else (a worker, a listener) with the search path of ``pool``.
    ``server`` is the embedded server, or None for one that somebody else runs.
    """

    def __init__(self, conninfo: str, server: EmbeddedServer | None, size: int) -> None:
        self.server = server
        self.conninfo = _with_options(conninfo, "auto_dev, auto_dev_jobs")
        self.pool: Pool = self._make_pool("auto-dev", self.conninfo, size)
        self.checkpoints: Pool = self._make_pool(
            "checkpoints", _with_options(conninfo, "auto_dev_checkpoints, auto_dev"), size
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str | None, folder: Path, *, size: int = 10) -> AsyncIterator[Database]:
        """Connect to ``url``, or to the embedded server of ``folder`` when it is None; check and migrate it.

        ``size`` is the most connections of each pool. Raises StoreError.
        """
        async with AsyncExitStack() as stack:
            server = None if url is not None else await stack.enter_async_context(EmbeddedServer.open(folder))
            conninfo = server.conninfo if server else parse_url(url or "")
            database = cls(conninfo, server, size)
            await database._prepare()
            if server:
                stack.push_async_callback(end_tasks, asyncio.create_task(database._watch(server)))
            for pool in (database.pool, database.checkpoints):
                await pool.open()
                stack.push_async_callback(pool.close)
            yield database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        """A connection inside a transaction: committed at the end, rolled back by an exception."""
        async with self.pool.connection() as connection, connection.transaction():
            yield connection

    async def fetch_all(self, query: LiteralString, params: Params | None = None) -> list[DictRow]:
        """All rows of one statement."""
        async with self.pool.connection() as connection:
            return await (await connection.execute(query, params)).fetchall()

    async def fetch_one(self, query: LiteralString, params: Params | None = None) -> DictRow | None:
        """The first row of one statement, or None."""
        async with self.pool.connection() as connection:
            return await (await connection.execute(query, params)).fetchone()

    async def execute(self, query: LiteralString, params: Params | None = None) -> int:
        """Run one statement; how many rows it touched."""
        async with self.pool.connection() as connection:
            return (await connection.execute(query, params)).rowcount

    async def _prepare(self) -> None:
        where = describe(self.conninfo)
        try:
            async with await AsyncConnection.connect(self.conninfo, autocommit=True, row_factory=dict_row) as first:
                await preflight.check(first, where)
                await migrate(first)
        except StoreError as error:
            raise error if error.where else StoreError(error.what, where=where, mend=error.mend) from error
        except psycopg.Error as error:
            raise _refused(error, where) from error

    async def _watch(self, server: EmbeddedServer) -> None:
        """Bring the embedded server back when it dies. An idle connection tells at once, and costs nothing."""
        while True:
            try:
                async with await AsyncConnection.connect(self.conninfo, autocommit=True) as sentinel:
                    async for _ in sentinel.notifies():
                        pass
            except psycopg.OperationalError as error:
                log.warning("the database is gone: %s", error, extra={"action": "database_lost"})
            try:
                await server.ensure()
                await self.pool.check()
                await self.checkpoints.check()
            except (StoreError, psycopg.Error, OSError) as error:
                log.error("the database does not come back: %s", error, extra={"action": "database_gone"})
                await asyncio.sleep(RETRY_S)

    def _make_pool(self, name: str, conninfo: str, size: int) -> Pool:
        async def resolve() -> str:
            if self.server:  # a new connection is made after the old one was lost, perhaps with the server
                try:
                    await self.server.ensure()
                except (StoreError, OSError) as error:
                    raise psycopg.OperationalError(str(error)) from error
            return conninfo

        return AsyncConnectionPool(
            resolve,
            min_size=1,
            max_size=size,
            open=False,
            name=name,
            kwargs={"autocommit": True, "row_factory": dict_row, "prepare_threshold": None},
            check=AsyncConnectionPool.check_connection,
            reconnect_timeout=RECONNECT_TIMEOUT_S,
        )


def parse_url(url: str) -> str:
    """``url`` as a conninfo string. Raises StoreError, which never repeats the URL: it may hold a password."""
    try:
        if url.startswith(("postgres://", "postgresql://")):
            return make_conninfo(url)
    except psycopg.ProgrammingError:
        pass
    raise StoreError(
        "the database URL cannot be read", mend="Write it like postgresql://user:password@host:5432/database."
    )


def describe(conninfo: str) -> str:
    """Where a conninfo leads, without the password."""
    parts = conninfo_to_dict(conninfo)
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    database = parts.get("dbname") or parts.get("user") or "of the user's name"
    return f"PostgreSQL at {host} port {parts.get('port') or 5432}, database {database}"


def _with_options(conninfo: str, search_path: str) -> str:
    """``conninfo`` with our search path, UTC and name; options of the user's own stay in front."""
    parts = conninfo_to_dict(conninfo)
    path = search_path.replace(" ", "")
    options = f"{parts.get('options') or ''} -c search_path={path} -c timezone=UTC".strip()
    timeout = parts.get("connect_timeout") or CONNECT_TIMEOUT_S
    return make_conninfo(conninfo, options=options, application_name=APPLICATION, connect_timeout=timeout)


def _refused(error: psycopg.Error, where: str) -> StoreError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = [line.rpartition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
    reason = said[-1] if said else lines[0].rpartition("failed: ")[2]
    mend = "Check that the server runs and that host, port, user, password and database are right."
    return StoreError(f"cannot use the database: {reason}", where=where, mend=mend)
