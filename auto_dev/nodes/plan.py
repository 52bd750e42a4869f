"""A plan by the agent, when its configuration asks for one. What it changes in the worktree is thrown away."""

from __future__ import annotations

from auto_dev.gates.critical import CriticalGate, judge_plan
from auto_dev.gates.engine import rule as rule_one
from auto_dev.model import Phase
from auto_dev.nodes.briefing import plan_brief
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.desk import Desk, worktree_job
from auto_dev.nodes.leaving import accepted_of
from auto_dev.nodes.state import PROCEED, StoryState, start_of
from auto_dev.nodes.turn import STOPPED, agent_turn, report_of
from auto_dev.nodes.verdicts import rule


async def plan(state: StoryState, context: RunContext) -> StoryState:
    """Keep the plan's summary in the run's folder; ``implement`` puts it into the brief. What it announces that only a
    person may decide is asked before any of it is done."""
    if "plan" not in context.policy.agent.phases or context.follow_up or state.get("turnless"):
        return {"route": PROCEED}
    worktrees = context.services.worktrees
    worktree = await worktrees.create(context.story.id, context.run_id, start_of(state), context.branch)
    brief = await plan_brief(context, worktree.path)
    try:
        await agent_turn(context, await worktree_job(context, worktree, Phase.PLAN, 0, Desk.worker(context), brief))
    except STOPPED:
        await worktrees.reset(worktree, state["base_sha"])
        raise
    await worktrees.reset(worktree, state["base_sha"])
    report, problem = await report_of(context, Phase.PLAN, 0)
    summary = report.summary if report else ""
    context.save("plan.json", {"summary": summary, "problem": problem})
    return await judged(state, context, summary)


async def judged(state: StoryState, context: RunContext, summary: str) -> StoryState:
    """What the critical gate makes of a plan's words."""
    accepted = await accepted_of(context)
    ruled = rule_one(
        "plan",
        judge_plan(summary, context.policy.decisions.autonomy, accepted),
        advisory=not {"plan", CriticalGate.name}.isdisjoint(context.policy.gates.advisory),
        waived=state.get("waived", {}).get("plan", ""),
        accepted=accepted,
    )
    return await rule(state, context, "plan", [ruled])
