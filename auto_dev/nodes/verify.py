"""The gates judge what was committed, from evidence that auto-dev itself observed."""

from __future__ import annotations

from auto_dev.agents.base import Outcome
from auto_dev.gates.base import Change, CommandOutcome, GateContext, Judgement
from auto_dev.gates.decisions import without_answered
from auto_dev.gates.engine import rule as rule_one
from auto_dev.gates.engine import run_gates
from auto_dev.gates.registry import gates_for
from auto_dev.model import Phase, Route, Verdict
from auto_dev.nodes.commands import CommandBench, outcome_from
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.state import StoryState
from auto_dev.nodes.turn import answers_of, report_of, turn_of
from auto_dev.nodes.verdicts import rule


async def verify(state: StoryState, context: RunContext) -> StoryState:
    """Run every gate on the committed tree; store the verdicts; route."""
    round_number = state.get("round", 0)
    attempts_left = context.policy.run.repair_attempts - state.get("repairs", 0)
    accepted = state.get("waived", {})
    async with CommandBench(context, f"verify-{round_number}") as bench:
        gate_context = await gate_context_of(state, context, bench)
        ruled = await run_gates(gates_for(context.policy), gate_context, attempts_left=attempts_left, waived=accepted)
    if (claim := _turn_verdict(context, round_number)) is not None:
        ruled.insert(0, rule_one("agent", claim, waived=accepted.get("agent", "")))
    return await rule(state, context, "verify", ruled)


async def gate_context_of(state: StoryState, context: RunContext, bench: CommandBench) -> GateContext:
    """Everything that the gates may look at for the present round."""
    history = context.services.worktrees.history
    base, head = state["base_sha"], state["head_sha"]
    report, problem = report_of(context, Phase.IMPLEMENT, state.get("round", 0))
    if report is not None:
        report = without_answered(report, list(await answers_of(context)))
    outcomes = [outcome_from(row) for row in context.load("baseline.json") or []]
    baseline: dict[str, CommandOutcome] = {outcome.name: outcome for outcome in outcomes}
    changes = await history.changes(base, head)
    return GateContext(
        story=context.story,
        policy=context.policy,
        base_sha=base,
        head_sha=head,
        round=state.get("round", 0),
        changes=tuple(
            Change(c.path, c.status, c.additions, c.deletions, c.binary, c.old_path, c.mode) for c in changes
        ),
        report=report,
        report_problem=problem,
        baseline=baseline,
        read=history.read,
        diff=lambda path: history.diff(base, head, path),
        run_command=bench.run,
    )


def _turn_verdict(context: RunContext, round_number: int) -> Judgement | None:
    """How the agent's process ended, as a verdict: never a reason to trust it, but worth a look when it went wrong."""
    turn = turn_of(context, Phase.IMPLEMENT, round_number)
    outcome, detail = turn.get("outcome", Outcome.FINISHED), str(turn.get("detail", ""))
    if outcome == Outcome.FINISHED:
        return None
    stopped = outcome in (Outcome.TIMED_OUT, Outcome.STUCK)
    return Judgement(
        Verdict.FAIL if stopped else Verdict.CONCERNS,
        f"the agent's turn ended as {outcome}: {detail}" if detail else f"the agent's turn ended as {outcome}",
        Route.ASK if stopped else Route.PROCEED,
        ({"title": "how the agent ended", "excerpt": detail},) if detail else (),
    )
