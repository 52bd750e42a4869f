"""Do the project's own commands pass before any work? What fails already is not held against the story."""

from __future__ import annotations

from auto_dev.gates.baseline import judge_baseline
from auto_dev.gates.engine import rule as rule_one
from auto_dev.nodes.commands import baseline_outcomes, outcome_row
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.state import StoryState
from auto_dev.nodes.verdicts import rule


async def baseline(state: StoryState, context: RunContext) -> StoryState:
    """Run the commands on the base commit (once per commit and project) and judge them before money is spent."""
    # "It is mended: check again" must not be answered from what was kept.
    again = state.get("asked_by") == "baseline"
    outcomes = await baseline_outcomes(context, state["base_sha"], again=again)
    context.save("baseline.json", [outcome_row(outcome) for outcome in outcomes])
    judgement = judge_baseline(outcomes)
    duration = int(sum(outcome.duration_s for outcome in outcomes) * 1000)
    ruled = rule_one(
        "baseline",
        judgement,
        advisory="baseline" in context.policy.gates.advisory,
        waived=state.get("waived", {}).get("baseline", ""),
        duration_ms=duration,
    )
    return await rule(state, context, "baseline", [ruled])
