"""The run ends: in one transaction its success, what that unblocks, and the messages about it."""

from __future__ import annotations

from auto_dev.model import PullState, RunStatus
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.state import PROCEED, StoryState
from auto_dev.notify import facts
from auto_dev.store import runs
from auto_dev.store.events import QUERIES, emit, wake


async def report(_state: StoryState, context: RunContext) -> StoryState:
    """Finish the run. Dependents lose one unmet dependency each here, and nowhere else but in the reconcile scan."""
    services = context.services
    cost = await services.ledger.cost_of_story(context.story.id)
    async with context.write() as conn:
        await runs.transition(conn, context.run_id, [RunStatus.RUNNING], RunStatus.SUCCEEDED)
        await services.ledger.score(context.run_id, conn)
        cursor = await conn.execute(QUERIES["get_pull"], {"project": context.project, "story": context.story.id})
        pull = await cursor.fetchone()
        await emit(
            conn, context.project, "TASK_COMPLETED", story=context.story.id, run=context.run_id,
            pull_request=pull["url"] if pull else "", cost_microusd=cost,
        )  # fmt: skip
        unblocked: list[str] = []
        if services.dependencies == "stacked":
            found = await conn.execute(
                QUERIES["satisfy_dependency"], {"project": context.project, "story": context.story.id}
            )
            unblocked = [row["id"] for row in await found.fetchall()]
        if unblocked:
            await emit(
                conn, context.project, "TASKS_UNBLOCKED", story=context.story.id, run=context.run_id, stories=unblocked
            )
            await services.dispatch(conn)
        if pull is not None:
            fact = facts.pull_request_ready(
                run_id=context.run_id,
                story_id=context.story.id,
                story_title=context.story.title,
                state=PullState(pull["state"]),
                branch=pull["branch"],
                base=pull["base"],
                number=pull["number"],
                url=pull["url"],
                cost_microusd=cost,
            )
            await services.tell(conn, fact)
        await wake(conn, context.project)
    return {"route": PROCEED}
