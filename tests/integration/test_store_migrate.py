"""Migrations: new, step by step, at once from many sides, and refused where they must be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import langgraph.checkpoint.postgres.base as checkpoints
import psycopg
import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from auto_dev.errors import StoreError
from auto_dev.store import migrate as module
from auto_dev.store.database import Database
from auto_dev.store.migrate import Step, digest, migrate, read_ours

pytestmark = pytest.mark.integration

# Everything that two databases must have in common to be the same.
CATALOG = """
SELECT 'column' AS kind, table_schema || '.' || table_name || '.' || column_name AS name,
       concat_ws(' ', udt_schema, udt_name, is_nullable, column_default, is_generated) AS what
  FROM information_schema.columns WHERE table_schema LIKE 'auto\\_dev%'
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace::regnamespace::text LIKE 'auto\\_dev%'
UNION ALL
SELECT 'index', schemaname || '.' || indexname, indexdef FROM pg_indexes WHERE schemaname LIKE 'auto\\_dev%'
UNION ALL
SELECT 'function', oid::regprocedure::text, pg_get_functiondef(oid)
  FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'auto\\_dev%'
UNION ALL
SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(t.oid)
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE NOT tgisinternal AND c.relnamespace::regnamespace::text LIKE 'auto\\_dev%'
UNION ALL
SELECT 'view', schemaname || '.' || viewname, definition FROM pg_views WHERE schemaname LIKE 'auto\\_dev%'
UNION ALL
SELECT 'enum', enumtypid::regtype::text, string_agg(enumlabel, ',' ORDER BY enumsortorder)
  FROM pg_enum GROUP BY enumtypid
UNION ALL
SELECT 'applied', component || ' ' || version, digest FROM auto_dev.migrations
ORDER BY 1, 2
"""


async def _connect(url: str) -> AsyncConnection[DictRow]:
    return await AsyncConnection.connect(url, autocommit=True, row_factory=dict_row)


async def _catalog(connection: AsyncConnection[DictRow]) -> list[DictRow]:
    return await (await connection.execute(CATALOG)).fetchall()


async def test_migrated_step_by_step_is_the_same_as_created_new(
    empty_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = read_ours(), list(checkpoints.MIGRATIONS)
    async with await _connect(empty_url) as connection:
        for count in range(1, max(len(ours), len(theirs)) + 1):
            monkeypatch.setattr(checkpoints, "MIGRATIONS", theirs[:count])
            if count > 1:
                await _forget_packages(connection)
            assert await migrate(connection, ours[:count])
        assert not await migrate(connection)
        async with await _connect(database_url) as new:
            assert await _catalog(connection) == await _catalog(new)


async def _forget_packages(connection: AsyncConnection[DictRow]) -> None:
    """As if another version of LangGraph's package were installed than the one that was seen last."""
    await connection.execute("UPDATE auto_dev.migrations SET name = '0' WHERE component = 'auto_dev_checkpoints'")


async def test_a_current_database_costs_one_query_and_no_library(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Counting(AsyncConnection[DictRow]):
        async def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
            asked.append(str(query))
            return await super().execute(query, *arguments, **options)

    monkeypatch.setattr(module, "_apply_all", None)
    async with await Counting.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        assert not await migrate(connection)
    assert len(asked) == 1


async def test_many_processes_at_once_migrate_once(empty_url: str) -> None:
    async def start() -> bool:
        async with await _connect(empty_url) as connection:
            return await migrate(connection)

    await asyncio.gather(*(start() for _ in range(8)))
    async with await _connect(empty_url) as connection:
        assert not await migrate(connection)
        rows = await (await connection.execute("SELECT count(*) AS n FROM auto_dev.migrations")).fetchone()
        assert rows == {"n": len(read_ours()) + len(checkpoints.MIGRATIONS) + len(module._job_files())}


async def test_an_index_built_concurrently_does_not_wait_for_those_who_wait_for_the_lock(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = list(checkpoints.MIGRATIONS)
    first = next(number for number, text in enumerate(theirs) if "CONCURRENTLY" in text)
    async with await _connect(empty_url) as connection:
        monkeypatch.setattr(checkpoints, "MIGRATIONS", theirs[:first])
        await migrate(connection)
        await _forget_packages(connection)
        before = await (await connection.execute("SHOW search_path")).fetchone()
        monkeypatch.setattr(checkpoints, "MIGRATIONS", theirs)
        async with await _connect(empty_url) as other:
            async with asyncio.timeout(30):
                await asyncio.gather(migrate(connection), migrate(other))
        assert await (await connection.execute("SHOW search_path")).fetchone() == before


async def test_a_failed_first_migration_leaves_nothing(empty_url: str) -> None:
    broken = [*read_ours(), Step("auto_dev", 99, "0099_broken.sql", "", "CREATE TABLE kept (); SELECT 1/0")]
    async with await _connect(empty_url) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await migrate(connection, broken)
        left = await (await connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ 'auto'")).fetchall()
        assert left == []
        assert await migrate(connection)


async def test_a_failed_later_migration_keeps_what_was_there_and_can_be_repeated(database_url: str) -> None:
    ours = read_ours()
    text = "CREATE TABLE later (); SELECT 1/0"
    number = len(ours) + 1
    async with await _connect(database_url) as connection:
        for _ in range(2):
            with pytest.raises(psycopg.errors.DivisionByZero):
                await migrate(connection, [*ours, Step("auto_dev", number, "broken.sql", digest(text), text)])
        text = "CREATE TABLE later ()"
        assert await migrate(connection, [*ours, Step("auto_dev", number, "mended.sql", digest(text), text)])
        await connection.execute("SELECT FROM auto_dev.later")
        with pytest.raises(StoreError, match=r"newer than this program \(migration mended\.sql\)"):
            await migrate(connection)


async def test_an_edited_migration_is_refused(database_url: str) -> None:
    first, *rest = read_ours()
    edited = Step(first.component, first.version, first.name, digest(first.text + "\n-- more"))
    async with await _connect(database_url) as connection:
        with pytest.raises(StoreError, match=r"0001_initial\.sql was edited after it was applied"):
            await migrate(connection, [edited, *rest])


async def test_newer_library_tables_are_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await _connect(database_url) as connection:
        files = module._job_files()
        monkeypatch.setattr(module, "_job_files", lambda: files[:-1])
        with pytest.raises(StoreError, match=r"newer than the installed procrastinate"):
            await migrate(connection)
        monkeypatch.undo()
        await _forget_packages(connection)
        monkeypatch.setattr(checkpoints, "MIGRATIONS", checkpoints.MIGRATIONS[:-1])
        with pytest.raises(StoreError, match="newer than the installed langgraph-checkpoint-postgres"):
            await migrate(connection)


async def test_a_new_procrastinate_migration_is_applied_once(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = tmp_path / "99.00.00_01_later.sql"
    later.write_text("ALTER TABLE procrastinate_jobs ADD COLUMN later int")
    files = [*module._job_files(), later]
    monkeypatch.setattr(module, "_job_files", lambda: files)
    async with await _connect(database_url) as connection:
        assert await migrate(connection)
        assert not await migrate(connection)
        await connection.execute("SELECT later FROM auto_dev_jobs.procrastinate_jobs")


async def test_langgraphs_own_setup_finds_nothing_to_do(db: Database) -> None:
    async with db.checkpoints.connection() as connection:
        before = await _catalog(connection)
        await AsyncPostgresSaver(connection).setup()
        assert await _catalog(connection) == before


async def test_a_killed_migration_does_not_hold_the_lock(
    empty_url: str, eventually: Callable[..., Awaitable[Any]]
) -> None:
    slow = [*read_ours(), Step("auto_dev", 99, "0099_slow.sql", "", "SELECT pg_sleep(600)")]
    async with await _connect(empty_url) as first, await _connect(empty_url) as second:
        hanging = asyncio.create_task(migrate(first, slow))

        async def sleeping() -> DictRow | None:
            query = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
            return await (await second.execute(query)).fetchone()

        row = await eventually(sleeping)
        await second.execute("SELECT pg_terminate_backend(%s)", [row["pid"]])
        with pytest.raises(psycopg.OperationalError):
            await hanging
        assert await migrate(second)
