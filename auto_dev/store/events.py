"""Events: append-only facts, written in the transaction that makes them true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from auto_dev import sql
from auto_dev.text import jsonable

Connection = AsyncConnection[DictRow]
QUERIES = sql.load("auto_dev.store", "queries.sql")


async def emit(
    conn: Connection, project: str, kind: str, *, story: str | None = None, run: str | None = None, **data: Any
) -> None:
    """Append one event. ``data`` is made safe for JSON; ``kind`` is upper case, such as ``TASK_COMPLETED``."""
    await conn.execute(
        QUERIES["emit_event"],
        {"project": project, "kind": kind, "story": story, "run": run, "data": Jsonb(jsonable(data))},
    )


async def emit_all(
    conn: Connection, project: str, kind: str, facts: Sequence[Mapping[str, Any]], *, story: str, run: str
) -> None:
    """Append several events of one kind in one round trip; ``facts`` are their data."""
    async with conn.cursor() as cursor:
        await cursor.executemany(
            QUERIES["emit_event"],
            [
                {"project": project, "kind": kind, "story": story, "run": run, "data": Jsonb(jsonable(fact))}
                for fact in facts
            ],
        )


async def wake(conn: Connection, project: str) -> None:
    """Make the project's daemon look at once, when this transaction commits."""
    await conn.execute(QUERIES["wake"], {"project": project})


async def after(
    conn: Connection, project: str, event_id: int, *, story: str | None = None, limit: int = 500
) -> list[DictRow]:
    """The events that follow the one with ``event_id`` (0: all), oldest first; none is ever missed or repeated."""
    cursor = await conn.execute(
        QUERIES["recent_events"], {"project": project, "after": event_id, "story": story, "limit": limit}
    )
    return await cursor.fetchall()
