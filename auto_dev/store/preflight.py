"""Is this server fit for the work? Refusals say what is wrong and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from auto_dev import sql
from auto_dev.errors import StoreError
from auto_dev.store.binaries import MINIMUM_MAJOR


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says about itself. ``version`` as in ``server_version_num``: 150004."""

    version: int
    encoding: str
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    read_only: bool
    database: str
    role: str
    may_create: bool


def problem(facts: Facts) -> tuple[str, str] | None:
    """The first thing that makes the server unfit, and its mend; None when it is fit."""
    alter = "Run: ALTER SYSTEM SET {0} = on; SELECT pg_reload_conf();"
    if facts.version < MINIMUM_MAJOR * 10_000:
        return (
            f"the server is PostgreSQL {facts.version // 10_000}, too old",
            f"Use PostgreSQL {MINIMUM_MAJOR} or later.",
        )
    if facts.encoding != "UTF8":
        return (
            f"the encoding of database {facts.database!r} is {facts.encoding}, not UTF8",
            "Make another: CREATE DATABASE auto_dev ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0;",
        )
    if facts.fsync == "off":
        return "fsync is off: a power cut would lose committed work", alter.format("fsync")
    if facts.full_page_writes == "off":
        return "full_page_writes is off: a power cut would damage the data", alter.format("full_page_writes")
    if facts.synchronous_commit == "off":
        return "synchronous_commit is off: a crash would lose committed work", alter.format("synchronous_commit")
    if facts.read_only:
        return "the server is read-only", "Connect to the primary, and set default_transaction_read_only = off."
    if not facts.may_create:
        return (
            f"the role {facts.role!r} may not create schemas in database {facts.database!r}",
            f'Run: GRANT CREATE ON DATABASE "{facts.database}" TO "{facts.role}";',
        )
    return None


async def check(connection: AsyncConnection[DictRow], where: str) -> None:
    """Ask the server about itself (one query). Raises StoreError when it is unfit."""
    row = await (await connection.execute(sql.load("auto_dev.store", "schema.sql")["facts"])).fetchone()
    if row is None:
        raise StoreError("the server does not say what it is", where=where)
    if found := problem(Facts(**row)):
        raise StoreError(found[0], where=where, mend=found[1])
