"""What open pull requests ask for: facts that are noted once and answered by one run each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from auto_dev import sql
from auto_dev.model import ACTIVE_RUN, Cause, RunStatus
from auto_dev.store import decisions, leases, runs
from auto_dev.store.events import QUERIES, Connection
from auto_dev.text import jsonable, line

FOLLOW_UPS = sql.load("auto_dev.store", "follow_ups.sql")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a pull request asks for. ``head_sha``: of checks and conflicts, the commit that they are about.

    ``at`` is the forge's time, ``seen`` ours; ``set_aside``: why no run answers it.
    """

    key: str
    cause: Cause
    head_sha: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None
    seen: datetime | None = None
    set_aside: str = ""


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A story that another one is built on: its branch, and the commit of it that the other one began at."""

    story: str
    branch: str
    sha: str

    def row(self) -> dict[str, str]:
        return {"story": self.story, "branch": self.branch, "sha": self.sha}


def predecessors(rows: Sequence[Mapping[str, str]]) -> tuple[Predecessor, ...]:
    """``runs.stacked_on`` as values."""
    return tuple(Predecessor(row["story"], row["branch"], row["sha"]) for row in rows)


def fact_of(row: DictRow) -> Fact:
    return Fact(
        row["key"], Cause(row["cause"]), row["head_sha"], row["data"], row["happened_at"], row["seen_at"],
        row["set_aside"],
    )  # fmt: skip


async def watched(conn: Connection, project: str, closed_since: datetime) -> list[DictRow]:
    """The pull requests to look after."""
    found = await conn.execute(FOLLOW_UPS["watched"], {"project": project, "closed_since": closed_since})
    return await found.fetchall()


async def add(conn: Connection, project: str, number: int, story: str, facts: Sequence[Fact]) -> list[str]:
    """Note facts; the keys of those that are new."""
    new = []
    for fact in facts:
        cursor = await conn.execute(
            FOLLOW_UPS["add_fact"],
            {
                "project": project,
                "number": number,
                "story": story,
                "key": fact.key,
                "cause": fact.cause,
                "head_sha": fact.head_sha,
                "data": Jsonb(jsonable(dict(fact.data), text_limit=6000)),
                "at": fact.at,
            },
        )
        new += [row["key"] for row in await cursor.fetchall()]
    return new


async def waiting(conn: Connection, project: str, number: int) -> list[Fact]:
    """What no run has answered yet, oldest first."""
    found = await conn.execute(FOLLOW_UPS["waiting_facts"], {"project": project, "number": number})
    return [fact_of(row) for row in await found.fetchall()]


async def of_run(conn: Connection, run: str) -> list[Fact]:
    """What a run answers, oldest first."""
    found = await conn.execute(FOLLOW_UPS["facts_of_run"], {"run": run})
    return [fact_of(row) for row in await found.fetchall()]


async def attempts(conn: Connection, project: str, story: str, number: int) -> tuple[int, int]:
    """How often an agent answered this pull request: since a person last spoke, and ever."""
    found = await conn.execute(FOLLOW_UPS["attempts"], {"project": project, "story": story, "number": number})
    row = await found.fetchone()
    assert row is not None
    return int(row["used"]), int(row["total"])


async def take(conn: Connection, project: str, number: int, run: str, keys: Sequence[str]) -> None:
    """Let ``run`` answer these facts, in the transaction that makes it."""
    await conn.execute(FOLLOW_UPS["take_facts"], {"project": project, "number": number, "run": run, "keys": list(keys)})


async def set_aside(conn: Connection, project: str, number: int, keys: Sequence[str], why: str) -> None:
    """No run answers these facts, for now."""
    await conn.execute(
        FOLLOW_UPS["set_aside"], {"project": project, "number": number, "keys": list(keys), "why": line(why, 300)}
    )


async def end_active_run(conn: Connection, project: str, story: str, status: RunStatus, reason: str) -> str | None:
    """End what works on a story whose pull request is over; the run. Its work stays on its branch or a salvage ref.

    The lease first: a run that is about to publish holds it, and everybody locks in this order.
    """
    found = await conn.execute(FOLLOW_UPS["active_run"], {"project": project, "story": story})
    if await found.fetchone() is None:
        return None
    await leases.revoke(conn, project, story)
    found = await conn.execute(FOLLOW_UPS["active_run"], {"project": project, "story": story})
    row = await found.fetchone()
    if row is None:
        return None
    await decisions.cancel(conn, row["id"])
    await runs.transition(conn, row["id"], ACTIVE_RUN, status, reason)
    return str(row["id"])


async def note_rewritten(conn: Connection, project: str, story: str, head: str, numbers: Mapping[int, str]) -> None:
    """The branch of ``story`` was rewritten: what was built on it (number → story) has to move."""
    for number, dependent in numbers.items():
        data = {"rewritten": [story]}
        await add(conn, project, number, dependent, [Fact(f"moved:{story}:{head}", Cause.MOVED, data=data)])


async def stacked_on(conn: Connection, project: str, story: str) -> list[DictRow]:
    """Open pull requests that were built on the branch of ``story``: story_id, number, and the commit of it."""
    found = await conn.execute(FOLLOW_UPS["stacked_on"], {"project": project, "story": story})
    return await found.fetchall()


async def pulls(conn: Connection, project: str) -> dict[str, DictRow]:
    """How every story's pull request stands, by story."""
    found = await conn.execute(FOLLOW_UPS["pull_states"], {"project": project})
    return {row["story_id"]: row for row in await found.fetchall()}


async def pull_of(conn: Connection, project: str, story: str) -> DictRow | None:
    """The pull request of a story."""
    return await (await conn.execute(QUERIES["get_pull"], {"project": project, "story": story})).fetchone()
