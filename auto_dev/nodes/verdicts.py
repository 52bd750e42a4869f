"""The gate node's core: verdicts become rows, and together they say where the run goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg.types.json import Jsonb

from auto_dev.gates.engine import Ruled
from auto_dev.gates.question import question_for
from auto_dev.gates.settle import Round, Settled, settle
from auto_dev.model import Route
from auto_dev.nodes.attempts import attempts_of
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.problem import open_question
from auto_dev.nodes.state import PROCEED, REPAIR, StoryState
from auto_dev.store import decisions
from auto_dev.store.events import QUERIES, emit_all

_TRAIL: Final = 16  # rounds; more than there can be repairs between two words of a person


async def rule(state: StoryState, context: RunContext, node: str, ruled: Sequence[Ruled]) -> StoryState:
    """Store the verdicts of one round and route: proceed, repair with the findings, or ask a person."""
    round_number = state.get("round", 0)
    async with context.write() as conn:
        async with conn.cursor() as cursor:
            await cursor.executemany(
                QUERIES["insert_verdict"], [_row(context.run_id, round_number, item) for item in ruled]
            )
        await emit_all(
            conn, context.project, "GATE_JUDGED", [_fact(item) for item in ruled],
            story=context.story.id, run=context.run_id,
        )  # fmt: skip
    attempts_left = context.policy.run.repair_attempts - state.get("repairs", 0)
    trail = state.get("trail", [])
    can_escalate = context.policy.agent.escalated is not None and not state.get("escalated", False)
    settled = settle(ruled, attempts_left, [Round.read(row) for row in trail], escalation=can_escalate)
    if settled.round is None:
        return {"route": PROCEED}
    # Also when a person is asked: the answer may be another try, whose brief needs the evidence.
    context.save(f"findings-{round_number}.json", {"findings": settled.findings, "files": _files(settled)})
    found: StoryState = {"seen": dict(settled.digests), "trail": [*trail, settled.round.to_json()][-_TRAIL:]}
    if settled.route is Route.REPAIR:
        return {**found, "route": REPAIR, "escalated": settled.escalate or state.get("escalated", False)}
    return {**found, **await _ask(state, context, node, settled, can_escalate=can_escalate)}


async def _ask(
    state: StoryState, context: RunContext, node: str, settled: Settled, *, can_escalate: bool
) -> StoryState:
    """Ask a person, with what was tried and what it cost."""
    number = state.get("round", 0)
    other = context.policy.agent.escalated
    question = question_for(
        settled,
        context.story,
        tried=await attempts_of(context, number + 1) if node != "baseline" else (),
        escalation=other.label if other is not None and can_escalate else "",
        cost_microusd=await context.services.ledger.cost_of_run(context.run_id),
    )
    return await open_question(
        state,
        context,
        node,
        decisions.Question(
            key=f"gate:{node}:{number}:{state.get('questions', 0)}",
            kind=question.kind,
            question=question.question,
            why=question.why,
            options=[option.to_json() for option in question.options],
            evidence=question.evidence,
        ),
    )


def _files(settled: Settled) -> list[str]:
    """The files that the evidence names, in its order."""
    named = (str(item["file"]) for one in settled.stopped for item in one.judgement.evidence if item.get("file"))
    return list(dict.fromkeys(named))[:50]


def _row(run: str, round_number: int, item: Ruled) -> dict[str, Any]:
    return {
        "run": run,
        "gate": item.gate,
        "round": round_number,
        "verdict": item.judgement.verdict,
        "route": item.judgement.route,
        "reason": item.judgement.reason,
        "evidence": Jsonb([dict(entry) for entry in item.judgement.evidence]),
        "advisory": item.advisory,
        "duration_ms": item.duration_ms,
    }


def _fact(item: Ruled) -> dict[str, Any]:
    return {"gate": item.gate, "verdict": item.judgement.verdict, "reason": item.judgement.reason}
