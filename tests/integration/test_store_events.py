"""Events are read completely, whatever the order of commits."""

from __future__ import annotations

import pytest

from auto_dev.store import events
from auto_dev.store.database import Database

pytestmark = pytest.mark.integration


async def test_an_event_that_commits_late_is_not_missed(db: Database) -> None:
    async with db.pool.connection() as slow, db.pool.connection() as quick, db.pool.connection() as reader:
        async with slow.transaction():
            await events.emit(slow, "p", "FIRST")  # has the lower id and commits last
            async with quick.transaction():
                await events.emit(quick, "p", "SECOND")
            assert await events.after(reader, "p", 0) == []  # not yet: it would make the reader step over FIRST
        found = await events.after(reader, "p", 0)
        assert [event["kind"] for event in found] == ["FIRST", "SECOND"]
        assert [event["kind"] for event in await events.after(reader, "p", found[0]["id"])] == ["SECOND"]
        assert await events.after(reader, "p", found[1]["id"]) == []


async def test_ids_out_of_order_are_read_once_each(db: Database) -> None:
    async with db.pool.connection() as one, db.pool.connection() as other, db.pool.connection() as reader:
        async with one.transaction():
            await one.execute("SELECT pg_current_xact_id()")  # the older transaction …
            async with other.transaction():
                await events.emit(other, "p", "A")
            await events.emit(one, "p", "B")  # … with the higher id
        seen: list[str] = []
        last = 0
        for event in await events.after(reader, "p", last, limit=1):
            seen.append(event["kind"])
            last = event["id"]
        seen += [event["kind"] for event in await events.after(reader, "p", last)]
        assert sorted(seen) == ["A", "B"]
