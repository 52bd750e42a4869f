"""Another look at the finished change, by agents that may only read it; code decides what of their word counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from auto_dev.config import ReviewGate
from auto_dev.gates.base import Change
from auto_dev.gates.engine import rule as rule_one
from auto_dev.gates.review import Former, Subject, former_of, judge_reviews
from auto_dev.nodes.briefing import file_lines
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.leaving import redacted
from auto_dev.nodes.reviewers import Assignment, reviewed
from auto_dev.nodes.state import PROCEED, StoryState
from auto_dev.nodes.verdicts import rule
from auto_dev.store import runs
from auto_dev.worktrees.parse import FileChange

_DIFF_LIMIT: Final = 400_000  # bytes


async def review(state: StoryState, context: RunContext) -> StoryState:
    """Have every configured reviewer read the change, one after the other; faults that they agree on send it back."""
    reviewers = context.policy.reviewers
    if not reviewers or state.get("turnless"):
        return {"route": PROCEED}
    began = time.monotonic()
    given = await _assignment(state, context)
    reads = [await reviewed(context, given, number, config) for number, config in enumerate(reviewers)]
    quorum = (context.policy.gates.review or ReviewGate()).quorum
    ruled = rule_one(
        "review",
        await redacted(context, judge_reviews(reads, quorum, given.former)),
        advisory="review" in context.policy.gates.advisory,
        waived=state.get("waived", {}).get("review", ""),
        duration_ms=int((time.monotonic() - began) * 1000),
    )
    return await rule(state, context, "review", [ruled])


async def _assignment(state: StoryState, context: RunContext) -> Assignment:
    history = context.services.worktrees.history
    base, head, number = state["base_sha"], state["head_sha"], state.get("round", 0)
    changes = await history.changes(base, head)
    async with context.services.db.pool.connection() as conn:
        rows = await runs.earlier_verdicts(conn, context.run_id, number + 1)
    return Assignment(
        base=base,
        head=head,
        round=number,
        asked=state.get("questions", 0),
        diff=await history.diff(base, head, limit=_DIFF_LIMIT),
        files=file_lines(changes),
        gates=[f"{row['gate']}: {row['verdict']}, {row['reason']}" for row in rows if _of_now(row, number)],
        former=_former(rows, number),
        subject=_subject(context, base, head, changes),
    )


def _of_now(row: dict[str, Any], number: int) -> bool:
    return bool(row["gate"] != "review" and (row["round"] == number or row["gate"] == "baseline"))


def _former(rows: Sequence[dict[str, Any]], number: int) -> tuple[Former, ...]:
    """The faults for which the last review before this round sent the work back."""
    before = [row for row in rows if row["gate"] == "review" and row["round"] < number]
    return former_of(before[-1]["evidence"]) if before else ()


def _subject(context: RunContext, base: str, head: str, changes: Sequence[FileChange]) -> Subject:
    """The change as findings are looked up in it; each file is read once."""
    history = context.services.worktrees.history
    files: dict[str, bytes | None] = {}
    diffs: dict[str, str] = {}

    async def read(path: str) -> bytes | None:
        if path not in files:
            files[path] = await history.read(head, path)
        return files[path]

    async def diff(path: str) -> str:
        if path not in diffs:
            diffs[path] = await history.diff(base, head, path)
        return diffs[path]

    found = tuple(Change(c.path, c.status, c.additions, c.deletions, c.binary, c.old_path, c.mode) for c in changes)
    return Subject(found, read, diff)
