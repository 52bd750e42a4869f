"""The agent works; what it did is read from git, not from its words."""

from __future__ import annotations

from auto_dev.model import Phase
from auto_dev.nodes.briefing import work_brief
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.desk import Desk, worktree_job
from auto_dev.nodes.state import PROCEED, StoryState, start_of
from auto_dev.nodes.turn import STOPPED, agent_turn
from auto_dev.store.events import QUERIES
from auto_dev.worktrees.site import Worktree


async def implement(state: StoryState, context: RunContext) -> StoryState:
    """One turn in the worktree; then everything in it is committed to the story's branch by the host."""
    if state.get("turnless"):
        return {"route": PROCEED, "head_sha": state["head_sha"]}
    worktree = await context.services.worktrees.create(
        context.story.id, context.run_id, start_of(state), context.branch
    )
    brief = await work_brief(state, context, worktree.path)
    desk = Desk.worker(context, escalated=state.get("escalated", False))
    try:
        await agent_turn(
            context, await worktree_job(context, worktree, Phase.IMPLEMENT, state.get("round", 0), desk, brief)
        )
    except STOPPED:
        # What it did until it was stopped is work, and is kept. A cancelled turn is not collected: the lease may be
        # somebody else's by now, and the next owner adopts the worktree as it stands.
        await _collect(context, worktree)
        raise
    return {"route": PROCEED, "head_sha": await _collect(context, worktree)}


async def _collect(context: RunContext, worktree: Worktree) -> str:
    collected = await context.services.worktrees.collect(
        worktree,
        f"{context.story.id}: {context.story.title}",
        {"Story": context.story.id, "Run": context.run_id},
    )
    async with context.write() as conn:
        await conn.execute(QUERIES["set_head"], {"run": context.run_id, "head_sha": collected.head_sha})
    return collected.head_sha
