"""The database as everybody uses it, on the embedded server and by URL, and when it is refused."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.rows import DictRow

from auto_dev.errors import StoreError
from auto_dev.store.database import Database
from auto_dev.store.embedded import EmbeddedServer

pytestmark = pytest.mark.integration

Eventually = Callable[..., Awaitable[Any]]
PROJECT = "INSERT INTO projects (id, root, state_dir) VALUES (%s, '/r', '/s')"


async def test_a_fresh_database_is_migrated_and_empty(db: Database) -> None:
    assert await db.fetch_all("SELECT id FROM story_status") == []
    assert await db.fetch_one("SELECT count(*) AS jobs FROM procrastinate_jobs") == {"jobs": 0}
    assert await db.fetch_one("SELECT 1 WHERE false") is None
    assert await db.execute(PROJECT, ["p"]) == 1


async def test_a_transaction_commits_as_a_whole_or_not_at_all(db: Database) -> None:
    async with db.transaction() as connection:
        await connection.execute(PROJECT, ["kept"])

    async def fail() -> None:
        async with db.transaction() as connection:
            await connection.execute(PROJECT, ["lost"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await db.fetch_all("SELECT id FROM projects") == [{"id": "kept"}]


async def test_connections_have_the_promised_settings(db: Database) -> None:
    async def settings(connection: psycopg.AsyncConnection[DictRow]) -> list[str]:
        names = ("search_path", "application_name", "timezone")
        rows = [await (await connection.execute(f"SHOW {name}".encode())).fetchone() for name in names]
        assert connection.autocommit
        assert connection.prepare_threshold is None
        return [next(iter(row.values())) for row in rows if row]

    async with db.pool.connection() as connection:
        assert await settings(connection) == ["auto_dev,auto_dev_jobs", "auto-dev", "UTC"]
    async with db.checkpoints.connection() as connection:
        assert await settings(connection) == ["auto_dev_checkpoints,auto_dev", "auto-dev", "UTC"]
    async with await psycopg.AsyncConnection.connect(db.conninfo) as plain:
        assert (await (await plain.execute("SHOW search_path")).fetchone()) == ("auto_dev,auto_dev_jobs",)


async def test_options_in_the_url_stay(database_url: str, tmp_path: Path) -> None:
    url = f"{database_url}&options={quote('-c lock_timeout=1234ms')}&connect_timeout=7"
    async with Database.open(url, tmp_path) as db:
        assert await db.fetch_one("SHOW lock_timeout") == {"lock_timeout": "1234ms"}
        assert await db.fetch_one("SHOW search_path") == {"search_path": "auto_dev,auto_dev_jobs"}
        assert "connect_timeout=7" in db.conninfo


async def test_a_procrastinate_worker_runs_on_the_same_database(db: Database) -> None:
    import procrastinate

    done = []
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=db.conninfo))

    @app.task(name="note")
    async def note(text: str) -> None:
        done.append(text)

    async with app.open_async():
        await note.defer_async(text="later")
        await app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)
    assert done == ["later"]


async def test_lost_connections_of_a_foreign_server_are_replaced(db: Database, eventually: Eventually) -> None:
    async def answers() -> bool:
        try:
            return await db.fetch_one("SELECT 1 AS one") == {"one": 1}
        except psycopg.OperationalError:
            return False

    async with db.checkpoints.connection() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert await eventually(answers)


async def test_a_statement_that_is_cancelled_gives_its_connection_back(database_url: str, tmp_path: Path) -> None:
    async with Database.open(database_url, tmp_path, size=1) as db:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await db.execute("SELECT pg_sleep(600)")
        assert await db.fetch_one("SELECT 1 AS one") == {"one": 1}


async def test_opening_and_closing_leaves_no_connection(
    database_url: str, server: EmbeddedServer, tmp_path: Path, eventually: Eventually
) -> None:
    for _ in range(5):
        async with Database.open(database_url, tmp_path) as db:
            await db.fetch_one("SELECT 1")
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]

    async def none_left() -> bool:
        async with await psycopg.AsyncConnection.connect(server.conninfo) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
            return (await (await connection.execute(query, [name])).fetchone()) == (0,)

    assert await eventually(none_left)


# ---------------------------------------------------------------- refusals


async def _refusal(url: str, folder: Path) -> str:
    with pytest.raises(StoreError) as caught:
        async with Database.open(url, folder):
            pass
    assert "\n" not in str(caught.value)
    assert caught.value.mend
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@127.0.0.1:1/db",
        "postgresql://me:hunter2@127.0.0.1:1/db?nonsense=hunter2",
        "postgres//me:hunter2@localhost",
        "mysql://me:hunter2@localhost/db",
        "postgresql://me:hunter2@no-such-host.invalid/db",
        "postgresql://me:hunter2@[::1/db",
        "",
    ],
)
async def test_a_url_that_leads_nowhere_is_one_line_without_the_password(url: str, tmp_path: Path) -> None:
    message = await _refusal(url, tmp_path)
    assert "hunter2" not in message
    assert "database" in message


async def test_a_refused_connection_names_host_port_and_database(tmp_path: Path) -> None:
    message = await _refusal("postgresql://me:hunter2@127.0.0.1:1/stories", tmp_path)
    assert "PostgreSQL at 127.0.0.1 port 1, database stories: cannot use the database: " in message
    assert "refused" in message.lower()


async def test_an_unknown_database_is_named(database_url: str, tmp_path: Path) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    assert 'database "nowhere" does not exist' in await _refusal(database_url.replace(str(name), "nowhere"), tmp_path)


async def test_a_database_with_another_encoding_is_refused(server: EmbeddedServer, tmp_path: Path) -> None:
    async with await psycopg.AsyncConnection.connect(server.conninfo, autocommit=True) as connection:
        await connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' STRATEGY FILE_COPY")
        try:
            url = f"postgresql:///latin?host={quote(str(server.place.socket), safe='')}&user=auto_dev"
            assert "'latin' is LATIN1, not UTF8" in await _refusal(url, tmp_path)
        finally:
            await connection.execute("DROP DATABASE latin WITH (FORCE)")


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("synchronous_commit=off", "synchronous_commit is off"),
        ("default_transaction_read_only=on", "the server is read-only"),
    ],
)
async def test_a_session_that_could_lose_work_is_refused(
    database_url: str, tmp_path: Path, option: str, expected: str
) -> None:
    assert expected in await _refusal(f"{database_url}&options={quote('-c ' + option)}", tmp_path)


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_could_lose_work_is_refused(short_tmp: Path, setting: str) -> None:
    folder = short_tmp / f"unsafe-{setting}"
    async with EmbeddedServer.open(folder, linger_s=0, settings={setting: "off"}) as unsafe:
        url = f"postgresql:///postgres?host={quote(str(unsafe.place.socket), safe='')}&user=auto_dev"
        assert f"{setting} is off" in await _refusal(url, folder)


async def test_a_role_that_may_not_create_schemas_is_refused_unless_they_exist(
    empty_url: str, database_url: str, tmp_path: Path
) -> None:
    for url in (empty_url, database_url):
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("DROP ROLE IF EXISTS weak")
            await connection.execute("CREATE ROLE weak")
            if url == database_url:
                for schema in ("auto_dev", "auto_dev_checkpoints", "auto_dev_jobs"):
                    await connection.execute(f"GRANT ALL ON SCHEMA {schema} TO weak".encode())
                    await connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO weak".encode())
        weak = f"{url}&options={quote('-c role=weak')}"
        if url == empty_url:
            message = await _refusal(weak, tmp_path)
            assert "role 'weak' may not create schemas" in message
            assert "GRANT CREATE ON DATABASE" in message
        else:
            async with Database.open(weak, tmp_path) as db:
                assert await db.fetch_one("SELECT current_user AS role") == {"role": "weak"}
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("DROP OWNED BY weak")
            await connection.execute("DROP ROLE weak")


async def test_a_schema_newer_than_the_program_is_refused(database_url: str, tmp_path: Path) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("INSERT INTO auto_dev.migrations VALUES ('auto_dev', 9999, '9999_future.sql', 'x')")
    message = await _refusal(database_url, tmp_path)
    assert "newer than this program (migration 9999_future.sql)" in message
    assert "Upgrade auto-dev" in message


async def test_an_open_database_by_url_outlives_a_restart_of_its_server(
    short_tmp: Path, eventually: Eventually
) -> None:
    folder = short_tmp / "restarted"
    async with EmbeddedServer.open(folder, linger_s=0) as foreign:
        url = f"postgresql:///postgres?host={quote(str(foreign.place.socket), safe='')}&user=auto_dev"
        async with Database.open(url, folder, size=2) as db:
            assert db.server is None
            os.kill(int((foreign.place.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

            async def answers() -> bool:
                await foreign.ensure()
                try:
                    return await db.fetch_one("SELECT 1 AS one") == {"one": 1}
                except psycopg.OperationalError:
                    return False

            assert await eventually(answers)
