"""A second look by the agent, when its configuration asks for one. It may not change anything."""

from __future__ import annotations

from auto_dev.gates.base import Judgement
from auto_dev.gates.engine import rule as rule_one
from auto_dev.model import Phase, Route, Verdict
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.state import PROCEED, StoryState, start_of
from auto_dev.nodes.turn import STOPPED, agent_turn, report_of
from auto_dev.nodes.verdicts import rule

_DIFF_LIMIT = 60_000  # characters


async def review(state: StoryState, context: RunContext) -> StoryState:
    """Give the reviewer the diff; a report that says ``blocked`` sends the work back with its words."""
    if "review" not in context.policy.agent.phases or state.get("turnless"):
        return {"route": PROCEED}
    worktrees = context.services.worktrees
    round_number = state.get("round", 0)
    worktree = await worktrees.create(context.story.id, context.run_id, start_of(state), context.branch)
    diff = await worktrees.history.diff(state["base_sha"], state["head_sha"], limit=_DIFF_LIMIT)
    try:
        await agent_turn(context, worktree, Phase.REVIEW, round_number, extra=diff)
    except STOPPED:
        # What the reviewer changed must not become the story's work, whichever node the run goes on with.
        await worktrees.reset(worktree, state["head_sha"])
        raise
    await worktrees.reset(worktree, state["head_sha"])
    report, problem = await report_of(context, Phase.REVIEW, round_number)
    if report is None:
        judgement = Judgement(Verdict.CONCERNS, f"the review left no usable report: {problem}", Route.ASK)
    elif report.blocked:
        evidence = ({"title": "the reviewer's words", "excerpt": report.blocked},)
        judgement = Judgement(Verdict.FAIL, "the review found a blocking fault", Route.REPAIR, evidence)
    else:
        judgement = Judgement(Verdict.PASS, report.summary or "the review found nothing that blocks")
    ruled = rule_one(
        "review",
        judgement,
        advisory="review" in context.policy.gates.advisory,
        waived=state.get("waived", {}).get("review", ""),
    )
    return await rule(state, context, "review", [ruled])
