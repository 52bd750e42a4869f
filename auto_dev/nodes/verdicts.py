"""The gate node's core: verdicts become rows, and together they say where the run goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.types.json import Jsonb

from auto_dev.gates.engine import Ruled, settle
from auto_dev.gates.question import question_for
from auto_dev.model import Route
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.problem import open_question
from auto_dev.nodes.state import PROCEED, REPAIR, StoryState
from auto_dev.store import decisions
from auto_dev.store.events import QUERIES, emit_all


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
    settled = settle(ruled, attempts_left, state.get("seen", {}))
    seen = dict(settled.digests)
    if settled.route is Route.PROCEED:
        return {"route": PROCEED}
    # Also when a person is asked: the answer may be another try, whose brief needs the evidence.
    context.save(f"findings-{round_number}.json", {"findings": settled.findings})
    if settled.route is Route.REPAIR:
        return {"route": REPAIR, "seen": seen}
    question = question_for(settled, context.story)
    asked = await open_question(
        state,
        context,
        node,
        decisions.Question(
            key=f"gate:{node}:{round_number}:{state.get('questions', 0)}",
            kind=question.kind,
            question=question.question,
            why=question.why,
            options=[option.to_json() for option in question.options],
            evidence=question.evidence,
        ),
    )
    return {**asked, "seen": seen}


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
