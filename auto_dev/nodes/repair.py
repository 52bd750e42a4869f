"""Another turn for the agent, with the evidence of what failed."""

from __future__ import annotations

from auto_dev.nodes.context import RunContext
from auto_dev.nodes.state import PROCEED, StoryState
from auto_dev.store.events import emit


async def repair(state: StoryState, context: RunContext) -> StoryState:
    """Count the attempt; the findings already lie in the run's folder for the next brief."""
    round_number = state.get("round", 0) + 1
    async with context.write() as conn:
        await emit(
            conn, context.project, "RUN_REPAIRS", story=context.story.id, run=context.run_id, round=round_number,
            escalated=state.get("escalated", False),
        )  # fmt: skip
    return {"route": PROCEED, "round": round_number, "repairs": state.get("repairs", 0) + 1, "turnless": False}
