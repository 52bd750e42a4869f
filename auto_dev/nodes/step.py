"""What surrounds every node: where the run is, whether it may go on, and what happens when the node cannot."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from langgraph.runtime import Runtime

from auto_dev.budget.limits import BudgetExceededError
from auto_dev.errors import AutoDevError, StaleLeaseError
from auto_dev.model import Phase
from auto_dev.nodes.context import AnomalyError, Node, RunContext, RunEndedError, RunPausedError
from auto_dev.nodes.leaving import redact_error
from auto_dev.nodes.problem import ask_about, ask_about_anomaly
from auto_dev.nodes.state import StoryState
from auto_dev.notify.facts import budget_cause
from auto_dev.store import runs

log = logging.getLogger(__name__)


class GraphNode(Protocol):
    """A node as LangGraph calls it."""

    async def __call__(self, state: StoryState, *, runtime: Runtime[RunContext]) -> dict[str, Any]: ...


def over_budget(error: BudgetExceededError) -> RunPausedError:
    """The pause of a run that a limit stops."""
    cause = budget_cause(error.scope, error.window.key)
    return RunPausedError(f"budget: {error.what}", error.resets_at, cause=cause)


def step(name: str, phase: Phase, progress: int, node: Node, *, spends: bool = False) -> GraphNode:
    """``node`` as a LangGraph node called ``name``.

    Before it: the run stops here if the daemon is stopping or somebody paused it; with ``spends`` the budget enforcer
    must let it in. A known error becomes a decision for a person; a pause and a lost lease go up to the runner.
    """

    async def run(state: StoryState, *, runtime: Runtime[RunContext]) -> dict[str, Any]:
        context = runtime.context
        if (interruption := context.services.interruption()) is not None:
            raise interruption
        async with context.services.db.pool.connection() as conn:
            await runs.enter_node(conn, context.lease, context.run_id, name, phase, progress)
        try:
            if spends:
                await context.services.ledger.enter(context.run_id, context.story.id, context.limits())
            return dict(await _cleanly(node, state, context))
        except BudgetExceededError as error:
            raise over_budget(error) from error
        except (RunPausedError, RunEndedError, StaleLeaseError):
            raise
        except AnomalyError as error:
            if error.panic:
                await context.services.panic(error.what, context.run_id, error.kind)
                raise RunPausedError(f"panic: {error.what}") from error
            return dict(await ask_about_anomaly(state, context, name, error))
        except AutoDevError as error:
            about = {"action": "node_problem", "run": context.run_id, "node": name, "why": str(error)}
            log.warning("%s stopped in step %s", context.story.id, name, extra=about)
            return dict(await ask_about(state, context, name, error))

    run.__name__ = name
    return run


async def _cleanly(node: Node, state: StoryState, context: RunContext) -> StoryState:
    """What ``node`` makes of ``state``. A known error says no credential, whatever a program printed."""
    try:
        return await node(state, context)
    except AutoDevError as error:
        await redact_error(context, error)
        raise
