"""Discounts: percentages with a cap, the best one wins."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.errors import InvalidError
from ledger.money import Money


@dataclass(frozen=True)
class Discount:
    code: str
    percent: int
    cap: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 100:
            raise InvalidError("a discount is between 1 and 100 percent")

    def off(self, price: Money) -> Money:
        """What is taken off ``price``."""
        amount = price.times(self.percent, 100).amount
        if self.cap is not None:
            amount = min(amount, self.cap)
        return Money(amount, price.currency)


def best(price: Money, discounts: list[Discount]) -> Money:
    """The price after the discount that takes off most."""
    if not discounts:
        return price
    return price - max(discount.off(price) for discount in discounts)
