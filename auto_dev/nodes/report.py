"""The run ends: in one transaction its success, what that unblocks, and the messages about it."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg.rows import DictRow

from auto_dev.model import PullState, RunStatus
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.ended import unblock
from auto_dev.nodes.state import PROCEED, StoryState
from auto_dev.notify import facts
from auto_dev.store import follow_ups, runs
from auto_dev.store.events import Connection, emit, wake


async def report(state: StoryState, context: RunContext) -> StoryState:
    """Finish the run. Dependents lose one unmet dependency each here, and nowhere else but in the reconcile scan."""
    services = context.services
    cost = await services.ledger.cost_of_story(context.story.id)
    left_behind = await _left_behind(context, state["head_sha"])
    async with context.write() as conn:
        await runs.transition(conn, context.run_id, [RunStatus.RUNNING], RunStatus.SUCCEEDED)
        pull = await follow_ups.pull_of(conn, context.project, context.story.id)
        if context.follow_up:
            await emit(
                conn, context.project, "PULL_REQUEST_UPDATED", story=context.story.id, run=context.run_id,
                pull_request=pull["url"] if pull else "", purpose=context.purpose, cost_microusd=cost,
            )  # fmt: skip
        else:
            await services.ledger.score(context.run_id, conn)
            await emit(
                conn, context.project, "TASK_COMPLETED", story=context.story.id, run=context.run_id,
                pull_request=pull["url"] if pull else "", cost_microusd=cost,
            )  # fmt: skip
        await follow_ups.note_rewritten(conn, context.project, context.story.id, state["head_sha"], left_behind)
        if services.dependencies == "stacked":
            await unblock(conn, services, context.story.id, context.run_id)
        if left_behind:
            await services.dispatch(conn)
        if pull is not None:
            await _tell(conn, context, pull, cost)
        await wake(conn, context.project)
    return {"route": PROCEED}


async def _left_behind(context: RunContext, head: str) -> Mapping[int, str]:
    """Open pull requests (number → story) that were built on commits which this story's branch has no more."""
    async with context.services.db.pool.connection() as conn:
        rows = await follow_ups.stacked_on(conn, context.project, context.story.id)
    history = context.services.worktrees.history
    return {row["number"]: row["story_id"] for row in rows if not await history.is_ancestor(row["sha"], head)}


async def _tell(conn: Connection, context: RunContext, pull: DictRow, cost: int) -> None:
    about = {
        "run_id": context.run_id, "story_id": context.story.id, "story_title": context.story.title,
        "url": pull["url"], "cost_microusd": cost,
    }  # fmt: skip
    if context.follow_up:
        fact = facts.pull_request_updated(**about, purpose=context.purpose)
    else:
        fact = facts.pull_request_ready(
            **about, state=PullState(pull["state"]), branch=pull["branch"], base=pull["base"], number=pull["number"]
        )
    await context.services.tell(conn, fact)
