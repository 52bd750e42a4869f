"""Do the project's own commands pass before any work? What fails already is not held against the story."""

from __future__ import annotations

from auto_dev.gates.baseline import judge_baseline
from auto_dev.gates.engine import rule as rule_one
from auto_dev.model import Route
from auto_dev.nodes.bench import baseline_outcomes, forget_baseline
from auto_dev.nodes.commands import outcome_row
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.leaving import redacted
from auto_dev.nodes.state import StoryState
from auto_dev.nodes.verdicts import rule


async def baseline(state: StoryState, context: RunContext) -> StoryState:
    """Run the commands on the base commit (once per commit and project) and judge them before money is spent."""
    outcomes = await baseline_outcomes(context, state["base_sha"])
    context.save("baseline.json", [outcome_row(outcome) for outcome in outcomes])
    judgement = await redacted(context, judge_baseline(outcomes))
    duration = int(sum(outcome.duration_s for outcome in outcomes) * 1000)
    ruled = rule_one(
        "baseline",
        judgement,
        advisory="baseline" in context.policy.gates.advisory,
        waived=state.get("waived", {}).get("baseline", ""),
        duration_ms=duration,
    )
    if ruled.judgement.route is Route.ASK:
        forget_baseline(context, state["base_sha"])  # what a person mends must be looked at again
    return await rule(state, context, "baseline", [ruled])
