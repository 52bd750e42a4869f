"""Panic: a project in which nothing may run until a person releases it. The database refuses work, whoever asks.

A panic stands in the project's row. From its commit on no lease is claimed, no run is made and none resumes
(``claim_lease``, ``candidates``, ``due_runs``), with or without a daemon that knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.rows import DictRow

from auto_dev.store.events import QUERIES, Connection, emit
from auto_dev.text import line

PREFIX: Final = "panic: "  # of the reason of a run that a panic paused


@dataclass(frozen=True, slots=True)
class Panic:
    """Since when (UTC), why, and who said so."""

    since: datetime
    reason: str
    by: str

    @property
    def line(self) -> str:
        """The reason that its runs are paused for."""
        return f"{PREFIX}{self.reason}"


def of(project: Mapping[str, Any] | None) -> Panic | None:
    """The panic of a row of ``projects``, or None."""
    if project is None or project["panicked_at"] is None:
        return None
    return Panic(project["panicked_at"], project["panic_reason"], project["panicked_by"])


async def standing(conn: Connection, project: str) -> Panic | None:
    """The project's panic, or None."""
    return of(await (await conn.execute(QUERIES["get_project"], {"project": project})).fetchone())


async def declare(conn: Connection, project: str, reason: str, by: str) -> tuple[Panic | None, bool]:
    """Block all work, and whether that is new: the first panic stands. (None, False) for an unknown project.

    In a transaction of its own: who claims a run holds the project's row, and may wait for what the caller holds.
    """
    values = {"project": project, "reason": line(reason, 500), "by": line(by, 100)}
    row = await (await conn.execute(QUERIES["declare_panic"], values)).fetchone()
    if row is not None:
        return of(row), True
    return await standing(conn, project), False


async def stop_runs(conn: Connection, project: str, panic: Panic) -> list[DictRow]:
    """Pause every queued and running run and take its story from its owner; the rows (id, story_id).

    Only after the panic's commit: what runs now was claimed before, and nothing is claimed after.
    """
    await conn.execute(QUERIES["revoke_active_leases"], {"project": project})
    rows = await (await conn.execute(QUERIES["panic_runs"], {"project": project, "reason": panic.line})).fetchall()
    for row in rows:
        await emit(conn, project, "RUN_PAUSED", story=row["story_id"], run=row["id"], reason=panic.line, resume_at=None)
    return rows


async def lift(conn: Connection, project: str) -> Panic | None:
    """Let work begin again; the panic that stood, or None. The project's row stays locked until the commit."""
    await conn.execute(QUERIES["lock_project"], {"project": project})
    former = await standing(conn, project)
    if former is not None:
        await conn.execute(QUERIES["lift_panic"], {"project": project})
    return former


async def trees(conn: Connection, project: str, boot_id: str) -> list[tuple[int, int]]:
    """The process trees that daemons of this boot of this machine wrote down: pid and start time of their watchers."""
    cursor = await conn.execute(QUERIES["recorded_trees"], {"project": project, "boot": boot_id})
    return [(row["pid"], row["started"]) for row in await cursor.fetchall()]


async def waived(conn: Connection, project: str, run: str) -> frozenset[str]:
    """The kinds of anomalies that a person let pass for this run: by an answer, or by releasing its panic."""
    cursor = await conn.execute(QUERIES["waived_anomalies"], {"project": project, "run": run})
    return frozenset(row["kind"] for row in await cursor.fetchall())
