"""The one place where a run waits for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langgraph.runtime import Runtime
from langgraph.types import interrupt
from psycopg.types.json import Jsonb

from auto_dev.errors import StoreError
from auto_dev.model import ACTIVE_RUN, RunStatus
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.state import PROCEED, STOP, StoryState
from auto_dev.store import decisions, runs
from auto_dev.store.events import QUERIES, Connection, emit, wake
from auto_dev.stories import bullets, criteria

# Where an answer sends the run, by the node that asked.
RETRY_AT: Final[Mapping[str, str]] = {
    "verify": "implement", "repair": "implement", "review": "implement", "publish": "implement",
}  # fmt: skip
AFTER: Final[Mapping[str, str]] = {
    "prepare": "baseline", "baseline": "estimate", "estimate": "plan", "plan": "implement", "implement": "verify",
    "verify": "review", "review": "publish", "publish": "report",
}  # fmt: skip


async def ask(state: StoryState, *, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """Wait for the answer to ``state["decision_id"]`` and route by it.

    Nothing stands before the interrupt: a node runs again from its top when it is resumed. The resumed value is only a
    wake-up; the answer is read from the decision's row, so that a forged or repeated one has no effect.
    """
    interrupt({"decision_id": state.get("decision_id", "")})
    context = runtime.context
    async with context.write() as conn:
        row = await decisions.lock(conn, state["decision_id"])
        if row["run_id"] != context.run_id or row["answer"] is None:
            raise StoreError(f"decision {row['id']} has no answer for run {context.run_id}")
        await conn.execute(QUERIES["apply_decision"], {"id": row["id"]})
        option = next(o for o in row["options"] if o["id"] == row["answer"])
        update = await _apply(conn, context, state, option, row)
    return dict(update)


async def _apply(
    conn: Connection, context: RunContext, state: StoryState, option: Mapping[str, Any], row: Mapping[str, Any]
) -> StoryState:
    action, asked_by, text = str(option["action"]), state["asked_by"], str(row["answer_text"])
    if action in ("skip", "abandon"):
        await end_by_person(conn, context, skip=action == "skip", by=str(row["answered_by"]))
        return {"route": STOP}
    if action == "waive":
        await conn.execute(
            QUERIES["waive_verdicts"],
            {"run": context.run_id, "round": state.get("round", 0), "by": row["answered_by"], "reason": text},
        )
        waived = {**state.get("waived", {}), **state.get("seen", {})}
        # The waiver covers the failures that the person saw. `verify` judges again: gates that it had left out, because
        # a person was to be asked anyway, still have to pass.
        onward = asked_by if asked_by in ("verify", "publish") else AFTER[asked_by]
        return {"route": onward, "waived": waived, "repairs": 0, "trail": []}
    if action == "criteria":
        await _judge_by(conn, context, criteria_in(text))
        return {"route": asked_by}
    if action == "choose":
        choice = text or str(option["label"])
        await _hint(conn, context, f"You asked: {row['question']}\nThe answer is: {choice}")
    elif text:
        await _hint(conn, context, text)
    if action == PROCEED:
        return {"route": AFTER[asked_by]}
    if action == "resume":
        return {"route": asked_by}  # the same node once more, in the same round
    nobody_looked = row["kind"] == "review" and asked_by == "review"
    if nobody_looked or (row["kind"] == "problem" and asked_by in ("review", "publish")):
        return {"route": asked_by}  # nothing is wrong with the work: nobody has looked at it yet, or it cannot leave
    target = RETRY_AT.get(asked_by, asked_by)
    # A person has spoken: all counts anew, and the configured agent has its turn unless the other one is wanted.
    kept = row["kind"] == "problem" and state.get("escalated", False)
    again: StoryState = {"route": target, "repairs": 0, "seen": {}, "trail": [], "escalated": kept}
    if action == "escalate":
        again["escalated"] = True
    if target == "implement":
        again["turnless"] = False
        if asked_by != "implement":
            again["round"] = state.get("round", 0) + 1
    return again


def criteria_in(text: str) -> tuple[str, ...]:
    """The acceptance criteria in a person's words: list items, or else one on each line."""
    lines = [line for line in text.splitlines() if line.strip()]
    if any(bullets.bullet(line) is not None for line in lines):
        return tuple(criteria.unique(criteria.of_lines(lines)))
    return tuple(dict.fromkeys(bullets.unchecked(" ".join(line.split())) for line in lines))


async def _judge_by(conn: Connection, context: RunContext, wanted: Sequence[str]) -> None:
    """Make the criteria part of this run's story, as if its file had stated them."""
    context.story = context.story.model_copy(update={"acceptance_criteria": tuple(wanted)})
    await conn.execute(QUERIES["set_criteria"], {"run": context.run_id, "criteria": Jsonb(list(wanted))})


async def _hint(conn: Connection, context: RunContext, text: str) -> None:
    if text in context.hint:
        return  # the node ran before and its checkpoint was lost
    context.hint = f"{context.hint}\n\n{text}".strip()
    await conn.execute(QUERIES["set_hint"], {"run": context.run_id, "hint": context.hint})


async def end_by_person(conn: Connection, context: RunContext, *, skip: bool, by: str) -> None:
    """End the run as a person decided. Its branch and worktree stay until they are cleaned up, with nothing lost."""
    status = RunStatus.SKIPPED if skip else RunStatus.ABORTED
    reason = f"{'skipped' if skip else 'abandoned'} by {by}"
    await runs.transition(conn, context.run_id, ACTIVE_RUN, status, reason)
    await decisions.cancel(conn, context.run_id)
    if skip:
        await conn.execute(
            QUERIES["skip_story"], {"project": context.project, "story": context.story.id, "reason": reason}
        )
    else:
        await conn.execute(QUERIES["unorder_story"], {"project": context.project, "story": context.story.id})
    await emit(conn, context.project, "TASK_STATUS_CHANGED", story=context.story.id, run=context.run_id, status=status)
    await wake(conn, context.project)
