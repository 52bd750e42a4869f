"""The meter that an agent's requests go through: prices on one side, the ledger on the other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from auto_dev.budget.ledger import WAIT_S, Ledger
from auto_dev.budget.limits import BudgetLimits, OnAlert
from auto_dev.budget.prices import STANDARD, PriceTable, Rates, Spent, Terms
from auto_dev.errors import BudgetError

_ABSURD: Final = 4  # times what a request was reckoned to take at most: that is no usage any more, but a mistake
_SLACK: Final = 10_000  # tokens


@dataclass(frozen=True, slots=True)
class Metered:
    """One request before it is sent, at its worst. Tokens.

    ``input_tokens`` is an upper bound of what the model reads, ``output_tokens`` what ``candidates`` answers may have
    each; the budget may lower that to ``least_output``, not below. With ``searches`` (look-ups that the provider makes
    by itself) the model reads everything again after each, at most ``window`` tokens. ``terms`` are all that the price
    may depend on.
    """

    model: str
    input_tokens: int
    output_tokens: int
    least_output: int
    candidates: int = 1
    searches: int = 0
    window: int = 0
    writes: str = "any"
    media: bool = False
    terms: tuple[Terms, ...] = (STANDARD,)
    factor: Decimal = Decimal(1)

    def input_with(self, searches: int) -> int:
        """The most input tokens when so many searches are made."""
        return self.input_tokens if not searches else (searches + 1) * max(self.window, self.input_tokens)

    def worst_microusd(self, rates: Rates, output_tokens: int, searches: int) -> int:
        """The most that the request can cost."""
        worst = rates.input * self.input_with(searches) + rates.output * output_tokens * self.candidates
        worst += rates.search * searches + rates.request
        return int((worst * self.factor).to_integral_value(rounding=ROUND_CEILING))


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may be sent, with this many tokens of output and searches at most."""

    reservation: str
    amount_microusd: int
    output_tokens: int
    searches: int
    clamped: bool
    at: datetime
    request: Metered


class RunMeter:
    """Meters the requests that one run makes through the gateway.

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
        self.prices = prices
        self._on_alert = on_alert
        self._wait_s = wait_s

    async def admit(self, request: Metered) -> Admitted:
        """Set the worst case aside in all scopes, lowered to what the budget still allows.

        Waits while others may make room, then raises BudgetExceededError; BudgetError for what has no known price.
        """
        at = self.prices.now()
        size = max(request.input_tokens, request.window if request.searches else 0)
        rates = self.prices.rates(
            request.model, size, request.terms, at, writes=request.writes, media=request.media or request.searches > 0
        )
        wanted = request.worst_microusd(rates, request.output_tokens, request.searches)
        least_output = min(request.least_output, request.output_tokens)
        least = request.worst_microusd(rates, least_output, min(request.searches, 1))
        granted = await self._ledger.acquire(
            self._run_id, self._story_id, request.model, wanted, self._limits,
            least_microusd=min(least, wanted), wait_s=self._wait_s,
        )  # fmt: skip
        output, searches = request.output_tokens, request.searches
        if granted.amount_microusd < wanted:
            while searches > 1 and request.worst_microusd(rates, least_output, searches) > granted.amount_microusd:
                searches -= 1
            output = _most_output(request, rates, searches, granted.amount_microusd, least_output)
        clamped = (output, searches) != (request.output_tokens, request.searches)
        return Admitted(granted.id, granted.amount_microusd, output, searches, clamped, at, request)

    async def bill(self, admitted: Admitted, spent: Spent | None, note: str = "") -> int:
        """Book what a request used (None: unknown) and return micro-dollars charged.

        What is unknown or cannot be true is charged in full.
        """
        cost, tokens = None, {}
        if spent is not None:
            tokens = _shown(spent)
            cost, doubt = self._judged(admitted, spent)
            note = doubt or note
        return await self._ledger.settle(
            admitted.reservation, cost, usage=tokens, note=note,
            alert_at=self._limits.alert_at, on_alert=self._on_alert,
        )  # fmt: skip

    async def release(self, reservation: str) -> None:
        """Give a reservation back whose request was certainly never sent, or is certainly not billed."""
        await self._ledger.release(reservation)

    def _judged(self, admitted: Admitted, spent: Spent) -> tuple[int | None, str]:
        """The cost of ``spent``; None with the reason when it cannot be believed."""
        request = admitted.request
        try:
            cost = self.prices.bill_microusd(request.model, spent, admitted.at)
        except BudgetError as error:
            return None, f"charged in full: {error}"
        bounds = (
            ("input", spent.input, request.input_with(admitted.searches)),
            ("output", spent.output, admitted.output_tokens * request.candidates),
        )
        for name, used, bound in bounds:
            if used > _ABSURD * bound + _SLACK:
                return None, f"charged in full: {used} {name} tokens are reported where at most {bound} are possible"
        if cost > admitted.amount_microusd:
            return cost, "cost more than was set aside"
        return cost, ""


def _most_output(request: Metered, rates: Rates, searches: int, amount: int, least: int) -> int:
    """The most output tokens whose worst case fits into ``amount``; ``least`` is known to fit."""
    per_token = rates.output * request.candidates * request.factor
    if not per_token:
        return request.output_tokens
    fixed = request.worst_microusd(rates, 0, searches)
    most = max(int((amount - fixed) / per_token), least)
    return min(most, request.output_tokens)


def _shown(spent: Spent) -> dict[str, Any]:
    """The usage as it is kept: what is not there is left out."""
    names = ("cache_read", "cache_write", "cache_write_1h", "audio", "searches")
    shown: dict[str, Any] = {"input": spent.input, "output": spent.output}
    shown |= {name: value for name in names if (value := getattr(spent, name))}
    return shown | dict(spent.terms)
