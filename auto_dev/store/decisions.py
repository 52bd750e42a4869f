"""Decisions: a question that stops one run. The first valid answer counts, exactly once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from auto_dev.errors import UsageError
from auto_dev.model import DecisionStatus, RunStatus
from auto_dev.store import runs
from auto_dev.store.events import QUERIES, Connection, emit
from auto_dev.text import clean, jsonable, line

BUDGET = "budget"  # the kind of a question that a paused run asks, not a waiting one: it wants money, not a direction
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no look-alikes: people type these


@dataclass(frozen=True, slots=True)
class Question:
    """What a run asks. ``key`` names the place in the run, so that a node that runs twice asks once.

    ``options``: 2–5 of {"id", "label", "action", "recommended", "wants_text", "data"}.
    """

    key: str
    kind: str
    question: str
    why: str
    options: Sequence[Mapping[str, Any]]
    evidence: Sequence[Mapping[str, Any]] = field(default=())


class ClosedError(UsageError):
    """The decision of ``row`` is no longer open: it was answered, or its run ended in another way."""

    def __init__(self, what: str, row: Mapping[str, Any]) -> None:
        super().__init__(what)
        self.row = row


class UnknownError(UsageError):
    """The project has no such decision."""


def _new_id() -> str:
    return "d-" + "".join(secrets.choice(_ALPHABET) for _ in range(6))


async def ask(conn: Connection, project: str, story: str, run: str, question: Question) -> tuple[DictRow, bool]:
    """Open the decision, or find it when this place of the run asked before; (row, whether it is new)."""
    cursor = await conn.execute(
        QUERIES["insert_decision"],
        {
            "id": _new_id(),
            "project": project,
            "story": story,
            "run": run,
            "key": question.key,
            "kind": question.kind,
            "question": clean(question.question, 2000),
            "why": clean(question.why, 4000),
            "evidence": Jsonb(jsonable(list(question.evidence), text_limit=4000)),
            "options": Jsonb(jsonable(list(question.options), text_limit=1000)),
        },
    )
    new = await cursor.fetchone() is not None
    found = await conn.execute(QUERIES["decision_by_key"], {"run": run, "key": question.key})
    row = await found.fetchone()
    if row is None:
        raise RuntimeError(f"decision {question.key} of run {run} vanished")
    if new:
        await emit(conn, project, "DECISION_OPENED", story=story, run=run, decision=row["id"], question=row["question"])
    return row, new


async def answer(
    conn: Connection, project: str, decision: str, option: str, *, text: str = "", by: str, via: str
) -> DictRow:
    """Record a person's answer and make the run runnable, in the caller's transaction; return the decision's row.

    Raises UsageError for an unknown or foreign decision, an option that it does not have, a missing text; ClosedError
    when it is no longer open (it says who answered what).
    """
    row = _open(await (await conn.execute(QUERIES["lock_decision"], {"id": decision})).fetchone(), project, decision)
    chosen = option_of(row, option)
    if chosen.get("wants_text") and not text.strip():
        raise UsageError(f"the answer {option!r} needs a text", mend="Give it with --text.")
    await conn.execute(
        QUERIES["answer_decision"],
        {"id": decision, "answer": option, "text": clean(text, 8000), "by": line(by, 100), "via": via},
    )
    run = await (await conn.execute(QUERIES["lock_run"], {"run": row["run_id"]})).fetchone()
    if run is not None and run["status"] == RunStatus.WAITING:
        # A run that is still on its way into the wait finds the answer when it gets there.
        await runs.requeue(conn, project, row["run_id"], [RunStatus.WAITING])
    await emit(
        conn, project, "DECISION_ANSWERED", story=row["story_id"], run=row["run_id"], decision=decision,
        answer=option, by=by, via=via,
    )  # fmt: skip
    return await get(conn, decision)


async def require_open(conn: Connection, project: str, decision: str) -> DictRow:
    """The project's open decision. Raises UsageError: there is none, or who answered what, or why it is closed."""
    row = await (await conn.execute(QUERIES["get_decision"], {"id": decision})).fetchone()
    return _open(row, project, decision)


def unknown(decision: str) -> UnknownError:
    """The error for a decision that does not exist."""
    return UnknownError(f"there is no decision {line(decision, 40)!r}", mend="`auto-dev decide` lists the open ones.")


def _open(row: DictRow | None, project: str, decision: str) -> DictRow:
    if row is None or row["project_id"] != project:
        raise unknown(decision)
    if row["status"] == DecisionStatus.ANSWERED:
        said = f"decision {decision} was answered by {row['answered_by']} ({row['answered_via']}): {label_of(row)}"
        raise ClosedError(said, row)
    if row["status"] == DecisionStatus.CANCELLED:
        raise ClosedError(f"decision {decision} is closed: its run ended in another way", row)
    return row


def option_of(row: Mapping[str, Any], option: str) -> Mapping[str, Any]:
    """The decision's option of that id. Raises UsageError when it has none."""
    chosen: Mapping[str, Any] | None = next((o for o in row["options"] if o["id"] == option), None)
    if chosen is None:
        known = ", ".join(o["id"] for o in row["options"])
        raise UsageError(f"decision {row['id']} has no answer {line(option, 40)!r}", mend=f"Its answers are: {known}.")
    return chosen


def label_of(row: Mapping[str, Any]) -> str:
    """The chosen option's label, as people know it."""
    return next(
        (line(str(o.get("label") or o["id"])) for o in row["options"] if o["id"] == row["answer"]), row["answer"]
    )


async def get(conn: Connection, decision: str) -> DictRow:
    """The decision's row. Raises UsageError when there is none."""
    row = await (await conn.execute(QUERIES["get_decision"], {"id": decision})).fetchone()
    if row is None:
        raise unknown(decision)
    return row


async def lock(conn: Connection, decision: str) -> DictRow:
    """The decision's row, locked until the transaction ends."""
    row = await (await conn.execute(QUERIES["lock_decision"], {"id": decision})).fetchone()
    if row is None:
        raise RuntimeError(f"decision {decision} vanished")
    return row


async def open_ones(conn: Connection, project: str) -> list[DictRow]:
    """Open decisions, oldest first."""
    return await (await conn.execute(QUERIES["open_decisions"], {"project": project})).fetchall()


async def closed_ones(conn: Connection, project: str, limit: int) -> list[DictRow]:
    """What was answered or fell away, the latest first."""
    return await (await conn.execute(QUERIES["closed_decisions"], {"project": project, "limit": limit})).fetchall()


async def of_run(conn: Connection, run: str) -> list[DictRow]:
    """Every decision of a run, oldest first."""
    return await (await conn.execute(QUERIES["run_decisions"], {"run": run})).fetchall()


async def cancel_shortfall(conn: Connection, run: str) -> None:
    """Close what a run asked when its money was used up: it goes on, so there is some."""
    await conn.execute(QUERIES["cancel_shortfall"], {"run": run})


async def cancel(conn: Connection, run: str) -> None:
    """Close what a run still asks: it ended in another way."""
    await conn.execute(QUERIES["cancel_decisions"], {"run": run})
