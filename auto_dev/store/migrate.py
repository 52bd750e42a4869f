"""Brings a database to the schema of this program: ours, LangGraph's checkpoints, procrastinate's jobs.

When all is current that costs one query and imports neither library. Otherwise the work is done under an advisory
lock: step by step, each in its own transaction, or on a new database all in one.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import importlib.util
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from auto_dev import sql
from auto_dev.errors import StoreError

OURS = "auto_dev"
CHECKPOINTS = "auto_dev_checkpoints"
JOBS = "auto_dev_jobs"
CHECKPOINTS_PACKAGE = "langgraph-checkpoint-postgres"
LOCK_TIMEOUT_S = 120.0

_FILE = re.compile(r"^(\d{4})_(\w+)\.sql$")
_UPGRADE = "Upgrade auto-dev, or point it to another database."


@dataclass(frozen=True, slots=True)
class Step:
    """One migration. ``name``: its file, or for LangGraph the version of the package that was last seen with it."""

    component: str
    version: int
    name: str
    digest: str = ""
    text: str = ""


def digest(text: str) -> str:
    """What tells an edited migration; line ends do not count."""
    return hashlib.sha256("\n".join(text.splitlines()).encode()).hexdigest()


def read_ours() -> list[Step]:
    """The numbered files of ``auto_dev/store/migrations``. Raises ValueError for a gap or a name that does not fit."""
    steps = []
    for file in resources.files("auto_dev.store.migrations").iterdir():
        if not file.name.endswith(".sql"):
            continue
        match = _FILE.match(file.name)
        if match is None:
            raise ValueError(f"{file.name}: name a migration like 0001_initial.sql")
        text = file.read_text("utf-8")
        steps.append(Step(OURS, int(match[1]), file.name, digest(text), text))
    steps.sort(key=lambda step: step.version)
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise ValueError(f"migrations are numbered without gaps: {[step.name for step in steps]}")
    return steps


def missing_of_ours(wanted: Sequence[Step], applied: Sequence[Step]) -> list[Step]:
    """What is still to be applied. Raises StoreError when the database is newer or was made by an edited file."""
    known = {step.version: step for step in wanted}
    for done in applied:
        file = known.get(done.version)
        if file is None:
            raise StoreError(f"the schema is newer than this program (migration {done.name})", mend=_UPGRADE)
        if file.digest != done.digest:
            raise StoreError(
                f"the migration {file.name} was edited after it was applied",
                mend="Restore the file; put changes into a new migration.",
            )
    versions = {step.version for step in applied}
    return [step for step in wanted if step.version not in versions]


def missing_of_jobs(wanted: Sequence[str], applied: Sequence[Step]) -> list[str]:
    """procrastinate's migrations that are not applied. Raises StoreError when the database has newer ones."""
    done = {step.name for step in applied}
    if newer := sorted(done.difference(wanted)):
        raise StoreError(f"the job tables are newer than the installed procrastinate ({newer[-1]})", mend=_UPGRADE)
    return [name for name in wanted if name not in done]


async def migrate(connection: AsyncConnection[DictRow], steps: Sequence[Step] | None = None) -> bool:
    """Bring the database of an autocommit ``connection`` to this program's schema; whether anything was to be done.

    ``steps`` replace our own migrations, for tests. Raises StoreError: newer schema, edited migration.
    """
    ours = read_ours() if steps is None else list(steps)
    applied = await _applied(connection)
    if applied is not None and _is_current(ours, applied):
        return False
    queries = sql.load("auto_dev.store", "schema.sql")
    await _take_lock(connection)
    try:
        applied = await _applied(connection)
        if applied is None:
            async with connection.transaction():
                await connection.execute(queries["bootstrap"])
                await _apply_all(connection, ours, [])
        else:
            await _apply_all(connection, ours, applied)
    finally:
        if not connection.closed:
            await connection.execute(queries["unlock"])
    return True


def _is_current(ours: Sequence[Step], applied: Sequence[Step]) -> bool:
    checkpoints = [step for step in applied if step.component == CHECKPOINTS]
    return (
        not missing_of_ours(ours, _of(OURS, applied))
        and not missing_of_jobs([path.name for path in _job_files()], _of(JOBS, applied))
        and bool(checkpoints)
        and checkpoints[-1].name == importlib.metadata.version(CHECKPOINTS_PACKAGE)
    )


def _of(component: str, steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.component == component]


async def _applied(connection: AsyncConnection[DictRow]) -> list[Step] | None:
    """What the database says was applied, by component and version; None when it was never touched."""
    try:
        rows = await (await connection.execute(sql.load("auto_dev.store", "schema.sql")["applied"])).fetchall()
    except psycopg.errors.UndefinedTable:
        return None
    return [Step(**row) for row in rows]


async def _take_lock(connection: AsyncConnection[DictRow]) -> None:
    query = sql.load("auto_dev.store", "schema.sql")["lock"]
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        row = await (await connection.execute(query)).fetchone()
        if row and row["taken"]:
            return
        if time.monotonic() > deadline:
            raise StoreError("another process is migrating the database and does not finish", mend="Look at it first.")
        await asyncio.sleep(0.02)


async def _apply_all(connection: AsyncConnection[DictRow], ours: Sequence[Step], applied: Sequence[Step]) -> None:
    for step in missing_of_ours(ours, _of(OURS, applied)):
        async with connection.transaction():
            await _execute(connection, OURS, step.text)
            await _record(connection, step)
    await _apply_checkpoints(connection, _of(CHECKPOINTS, applied))
    await _apply_jobs(connection, _of(JOBS, applied))


async def _apply_checkpoints(connection: AsyncConnection[DictRow], applied: Sequence[Step]) -> None:
    from langgraph.checkpoint.postgres.base import MIGRATIONS

    package = importlib.metadata.version(CHECKPOINTS_PACKAGE)
    last = applied[-1].version if applied else -1
    if last >= len(MIGRATIONS):
        raise StoreError(f"the checkpoint tables are newer than the installed {CHECKPOINTS_PACKAGE}", mend=_UPGRADE)
    if last == len(MIGRATIONS) - 1 and applied[-1].name != package:
        await connection.execute(
            sql.load("auto_dev.store", "schema.sql")["rename"],
            {"component": CHECKPOINTS, "version": last, "name": package},
        )
    record = sql.load("auto_dev.store", "schema.sql")["checkpoint_version"]
    for version in range(last + 1, len(MIGRATIONS)):
        text = MIGRATIONS[version]
        step = Step(CHECKPOINTS, version, package, digest(text), text)
        if not applied:  # nobody uses the tables yet: CONCURRENTLY would only keep this out of a transaction
            text = text.replace(" CONCURRENTLY", "")
        await _apply_foreign(connection, step, text)
        async with connection.transaction():
            await _execute(connection, CHECKPOINTS, "")
            await connection.execute(record, {"version": version})


async def _apply_jobs(connection: AsyncConnection[DictRow], applied: Sequence[Step]) -> None:
    files = {path.name: path for path in _job_files()}
    missing = missing_of_jobs(list(files), applied)
    if not applied:  # schema.sql is what all the migrations together lead to
        schema = next(iter(files.values())).parent.with_name("schema.sql")
        async with connection.transaction():
            await _execute(connection, JOBS, schema.read_text("utf-8"))
            for number, name in enumerate(missing, 1):
                await _record(connection, Step(JOBS, number, name, digest(files[name].read_text("utf-8"))))
        return
    for number, name in enumerate(missing, max(step.version for step in applied) + 1):
        text = files[name].read_text("utf-8")
        await _apply_foreign(connection, Step(JOBS, number, name, digest(text), text), text)


async def _apply_foreign(connection: AsyncConnection[DictRow], step: Step, text: str) -> None:
    """Apply a library's step: in a transaction, unless it builds an index that forbids one."""
    if "CONCURRENTLY" not in text.upper():
        async with connection.transaction():
            await _execute(connection, step.component, text)
            await _record(connection, step)
        return
    set_path = sql.load("auto_dev.store", "schema.sql")["set_search_path"]
    row = await (await connection.execute("SELECT current_setting('search_path') AS path")).fetchone()
    await connection.execute(set_path, {"path": step.component, "local": False})
    try:
        await connection.execute(text)
        await _record(connection, step)
    finally:
        if row is not None and not connection.closed:
            await connection.execute(set_path, {"path": row["path"], "local": False})


async def _execute(connection: AsyncConnection[DictRow], schema: str, text: str) -> None:
    """Run ``text``, perhaps many statements, with ``schema`` as the search path until the transaction ends."""
    queries = sql.load("auto_dev.store", "schema.sql")
    await connection.execute(queries["set_search_path"], {"path": schema, "local": True})
    if text:
        await connection.execute(text)


async def _record(connection: AsyncConnection[DictRow], step: Step) -> None:
    await connection.execute(
        sql.load("auto_dev.store", "schema.sql")["record"],
        {"component": step.component, "version": step.version, "name": step.name, "digest": step.digest},
    )


def _job_files() -> list[Path]:
    """procrastinate's migration files in order, found without importing it (0.4 s)."""
    spec = importlib.util.find_spec("procrastinate")
    locations = (spec.submodule_search_locations if spec else None) or []
    files = sorted(path for place in locations for path in Path(place, "sql", "migrations").glob("*.sql"))
    if not files:
        raise StoreError("the installed procrastinate has no migrations", mend="Reinstall auto-dev.")
    return files
