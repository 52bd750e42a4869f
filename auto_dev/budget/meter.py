"""The meter that an agent's requests go through: prices on one side, the ledger on the other."""

from __future__ import annotations

from datetime import datetime

from auto_dev.budget.ledger import WAIT_S, Ledger
from auto_dev.budget.limits import BudgetLimits, OnAlert
from auto_dev.budget.prices import PriceTable, TokenUsage
from auto_dev.errors import BudgetError


class RunMeter:
    """Meters the requests of one run; fits the Meter that agents are given.

    A request that does not fit waits up to ``wait_s`` seconds for room.
    """

    def __init__(
        self,
        ledger: Ledger,
        run_id: str,
        story_id: str,
        limits: BudgetLimits,
        prices: PriceTable,
        on_alert: OnAlert | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        self._ledger = ledger
        self._run_id = run_id
        self._story_id = story_id
        self._limits = limits
        self._prices = prices
        self._on_alert = on_alert
        self._wait_s = wait_s

    async def reserve(self, model: str, input_tokens: int, max_output_tokens: int) -> str:
        """Set the worst case aside in all scopes; return the reservation's id.

        Waits while others may make room, then raises BudgetExceededError; BudgetError for a model without a price.
        """
        amount = self._prices.worst_case_microusd(model, input_tokens, max_output_tokens)
        return await self._ledger.acquire(
            self._run_id, self._story_id, model, amount, self._limits, wait_s=self._wait_s
        )

    async def settle(self, reservation: str, usage: TokenUsage | None) -> int:
        """Book the real usage and return micro-dollars charged; a usage that cannot be true is charged in full."""
        cost, note, tokens = None, "", {}
        if usage is not None:
            names = ("input", "output", "cache_read", "cache_write")
            tokens = {name: getattr(usage, name) for name in names}
            model, at = await self._ledger.request_of(reservation)
            cost, note = self._cost(model, at, usage)
        return await self._ledger.settle(
            reservation, cost, usage=tokens, note=note, alert_at=self._limits.alert_at, on_alert=self._on_alert
        )

    async def release(self, reservation: str) -> None:
        """Give a reservation back whose request was certainly never sent."""
        await self._ledger.release(reservation)

    def _cost(self, model: str, at: datetime, usage: TokenUsage) -> tuple[int | None, str]:
        try:
            return self._prices.cost_microusd(model, usage, at), ""
        except BudgetError as error:
            return None, f"charged in full: {error}"
