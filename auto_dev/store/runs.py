"""Runs: one attempt at a story each. Every change of status is guarded by the database."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from auto_dev.errors import TransitionError
from auto_dev.model import Phase, RunKind, RunStatus, Trigger
from auto_dev.store.events import QUERIES, Connection, emit
from auto_dev.store.leases import Lease, fenced
from auto_dev.text import line

FRESH, RESUMED = 0, 10  # job priorities: what a person unblocked goes first


def new_id() -> str:
    """An id for a run, which is also its LangGraph thread and its folder's name."""
    return secrets.token_hex(6)


def queue_name(project: str) -> str:
    """The procrastinate queue of a project's runs."""
    return f"run:{project}"


async def create(
    conn: Connection,
    project: str,
    story: str,
    *,
    policy: Mapping[str, Any],
    branch: str,
    base_branch: str,
    graph_version: str,
    triggered_by: Trigger = Trigger.MANUAL,
    hint: str = "",
    follows: str | None = None,
    purpose: str = "",
) -> str:
    """Make a queued run with its job; return its id. The index ``runs_one_active`` refuses a second active one.

    ``follows``: the run whose published work it goes on from, for ``purpose``.
    """
    run = new_id()
    kind = RunKind.FOLLOW_UP if follows else RunKind.STORY
    await conn.execute(
        QUERIES["insert_run"],
        {
            "run": run,
            "project": project,
            "story": story,
            "triggered_by": triggered_by,
            "graph_version": graph_version,
            "policy": Jsonb(dict(policy)),
            "branch": branch,
            "base_branch": base_branch,
            "hint": hint,
            "kind": kind,
            "purpose": line(purpose, 300),
            "follows": follows,
        },
    )
    await defer(conn, project, run)
    await emit(
        conn, project, "RUN_QUEUED", story=story, run=run, triggered_by=triggered_by, run_kind=kind, purpose=purpose
    )
    return run


async def defer(conn: Connection, project: str, run: str, priority: int = FRESH) -> None:
    """Make the job that works on the run, in the caller's transaction."""
    await conn.execute(QUERIES["defer_run"], {"queue": queue_name(project), "priority": priority, "run": run})


async def transition(conn: Connection, run: str, allowed: Iterable[RunStatus], to: RunStatus, reason: str = "") -> None:
    """Move a run to another status. Raises TransitionError when it is in none of ``allowed``."""
    try:
        await conn.execute(
            QUERIES["transition_run"],
            {"run": run, "from": [str(status) for status in allowed], "to": to, "reason": line(reason, 500)},
        )
    except psycopg.Error as error:
        if error.sqlstate == "AD001":
            raise TransitionError(str(error.diag.message_primary)) from None
        raise


async def requeue(
    conn: Connection, project: str, run: str, allowed: Iterable[RunStatus], priority: int = RESUMED
) -> None:
    """Make a waiting, paused or orphaned run runnable again, with its job."""
    await transition(conn, run, allowed, RunStatus.QUEUED)
    await defer(conn, project, run, priority)


async def pause(conn: Connection, run: str, reason: str, resume_at: datetime | None) -> bool:
    """Pause a running or queued run; False when it was in another state by now."""
    cursor = await conn.execute(QUERIES["pause_run"], {"run": run, "reason": line(reason, 500), "resume_at": resume_at})
    return cursor.rowcount == 1


async def get(conn: Connection, run: str) -> DictRow | None:
    """The run's row."""
    return await (await conn.execute(QUERIES["get_run"], {"run": run})).fetchone()


async def latest(conn: Connection, project: str, story: str) -> DictRow | None:
    """The latest attempt at a story."""
    return await (await conn.execute(QUERIES["latest_run"], {"project": project, "story": story})).fetchone()


async def enter_node(conn: Connection, lease: Lease, run: str, node: str, phase: Phase, progress: int) -> None:
    """Record where a run is, with an event. ``progress`` in percent never falls. Raises StaleLeaseError."""
    with fenced():
        await conn.execute(
            QUERIES["enter_node"],
            {
                "project": lease.project_id,
                "story": lease.story_id,
                "epoch": lease.epoch,
                "run": run,
                "node": node,
                "phase": phase,
                "progress": progress,
            },
        )


async def accepted(conn: Connection, run: str) -> frozenset[str]:
    """The fingerprints of the findings that a person accepted in this run, in whichever round."""
    rows = await (await conn.execute(QUERIES["accepted_findings"], {"run": run})).fetchall()
    return frozenset(row["fingerprint"] for row in rows)


async def phases(conn: Connection, project: str, run: str) -> list[DictRow]:
    """Time at work and cost of the run so far: {"phase", "seconds", "cost"} (micro-dollars)."""
    return await (await conn.execute(QUERIES["phases_of_run"], {"project": project, "run": run})).fetchall()


async def flaky(conn: Connection, project: str, run: str) -> list[DictRow]:
    """What failed now and then in the run: {"command", "tests": [...]}."""
    return await (await conn.execute(QUERIES["flaky_of_run"], {"project": project, "run": run})).fetchall()


async def open_branches(conn: Connection, project: str, story: str) -> list[DictRow]:
    """The branches of other stories that may be merged: in review, or worked on with commits."""
    return await (await conn.execute(QUERIES["open_branches"], {"project": project, "story": story})).fetchall()


async def verdicts(conn: Connection, run: str) -> list[DictRow]:
    """The last verdict of each gate."""
    return await (await conn.execute(QUERIES["latest_verdicts"], {"run": run})).fetchall()


async def earlier_verdicts(conn: Connection, run: str, round_number: int) -> list[DictRow]:
    """What the gates said in the rounds before ``round_number``, oldest first."""
    return await (await conn.execute(QUERIES["earlier_verdicts"], {"run": run, "round": round_number})).fetchall()
