"""What a run spends beside the gateway, and what is unusual in it."""

from __future__ import annotations

import time

from auto_dev.agents.base import Reported
from auto_dev.budget.anomaly import RunWatch
from auto_dev.budget.limits import BudgetExceededError
from auto_dev.nodes.context import AnomalyError, RunContext
from auto_dev.store import panics


async def watch_of(context: RunContext) -> RunWatch:
    """Looks for what is not usual in the spending of this run; a person's waivers hold for the whole run."""
    if context.watch is None:
        context.watch = await _new_watch(context)
    return context.watch


async def _new_watch(context: RunContext) -> RunWatch:
    services, limits = context.services, context.limits()
    async with services.db.pool.connection() as conn:
        waived = await panics.waived(conn, context.project, context.run_id)
    return RunWatch(
        time.monotonic,
        usual_per_minute=await services.ledger.usual_per_minute(),
        day_limit=(await services.ledger.overview(limits)).day.cap_microusd,
        spent_today=await services.ledger.spent_today(context.run_id, limits),
        others=lambda: services.others(context.run_id),
        waived=waived,
    )


class Reports:
    """Books what an agent with a login of its own says that its requests took, at the prices of the API.

    Nothing can be refused beforehand there: a limit is overrun by one turn of the model at most, then the run stops.
    """

    def __init__(self, context: RunContext, watch: RunWatch) -> None:
        self._context = context
        self._watch = watch
        self._count = 0
        self._begun = context.services.clock().isoformat()

    async def book(self, event: Reported) -> None:
        """Raises BudgetExceededError when a limit is reached, BudgetError for a model without a price, AnomalyError."""
        context, services = self._context, self._context.services
        self._count += 1
        cost = services.prices(context.policy).cost_microusd(event.model, event.usage, services.clock())
        limits = context.limits()
        names = ("input", "output", "cache_read", "cache_write")
        window = await services.ledger.book(
            context.run_id,
            context.story.id,
            event.model,
            cost,
            limits,
            booking=f"{self._begun} {self._count}",
            usage={name: getattr(event.usage, name) for name in names},
            note="as the agent reported it",
            on_alert=context.alert,
        )
        if window.unspent_microusd <= 0:
            raise BudgetExceededError(window, cost, limits.zone)
        if self._watch.booked(cost):
            found = self._watch.found
            assert found is not None
            raise AnomalyError(found)
