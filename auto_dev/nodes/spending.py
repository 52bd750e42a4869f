"""What a run spends beside the gateway, and what is unusual in it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from auto_dev.agents.base import AgentResult, Event, Reported
from auto_dev.budget.anomaly import RunWatch
from auto_dev.budget.limits import BudgetExceededError, Window
from auto_dev.errors import BudgetError
from auto_dev.nodes.context import AnomalyError, RunContext
from auto_dev.store import panics

log = logging.getLogger(__name__)

_REST_S: Final = 0.2


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
        window, cost = await self._book(event)
        if window.unspent_microusd <= 0:
            raise BudgetExceededError(window, cost, self._context.limits().zone)
        if self._watch.booked(cost):
            found = self._watch.found
            assert found is not None
            raise AnomalyError(found)

    async def book_rest(self, events: AsyncIterator[Event | AgentResult]) -> None:
        """Book what the agent has told of already when its turn is to be ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_REST_S):
                async for event in events:
                    if not isinstance(event, Reported):
                        continue
                    try:
                        await self._book(event)
                    except BudgetError as error:
                        log.warning("%s", error, extra={"action": "not_booked", "run": self._context.run_id})

    async def _book(self, event: Reported) -> tuple[Window, int]:
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
        return window, cost
