"""What this story may cost, from the project's own history: written down before money is spent."""

from __future__ import annotations

from auto_dev.budget.estimate import estimate as estimate_cost
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.state import PROCEED, StoryState
from auto_dev.store.events import emit

SCORED = 20  # how many former estimates say how good they are


async def estimate(_state: StoryState, context: RunContext) -> StoryState:
    """Write the range down before money is spent. What a follow-up costs says nothing about stories."""
    if context.follow_up:
        return {"route": PROCEED}
    ledger = context.services.ledger
    expected = estimate_cost(
        [context.story],
        await ledger.finished_runs(),
        context.limits(),
        agent=context.policy.agent.kind,
        scored=await ledger.estimates(SCORED),
    )
    context.save("estimate.json", {"low": expected.low, "high": expected.high, "basis": expected.basis})
    async with context.write() as conn:
        await emit(
            conn, context.project, "RUN_ESTIMATED", story=context.story.id, run=context.run_id,
            low_microusd=expected.low, high_microusd=expected.high, basis=expected.basis,
        )  # fmt: skip
    return {"route": PROCEED}
