"""Invoices and their life: draft, open, paid, void."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ledger.errors import InvalidError
from ledger.money import Money

MOVES = {
    "draft": {"open", "void"},
    "open": {"paid", "void"},
    "paid": set(),
    "void": set(),
}


@dataclass(frozen=True)
class Line:
    text: str
    price: Money
    quantity: int = 1

    @property
    def total(self) -> Money:
        return self.price.times(self.quantity)


@dataclass(frozen=True)
class Invoice:
    id: str
    customer: str
    currency: str
    lines: tuple[Line, ...] = field(default=())
    status: str = "draft"

    @property
    def total(self) -> Money:
        total = Money(0, self.currency)
        for line in self.lines:
            total = total + line.total
        return total

    def add(self, line: Line) -> Invoice:
        if self.status != "draft":
            raise InvalidError("only a draft can be changed")
        if line.price.currency != self.currency:
            raise InvalidError("an invoice has one currency")
        return replace(self, lines=(*self.lines, line))

    def move(self, status: str) -> Invoice:
        if status not in MOVES.get(self.status, set()):
            raise InvalidError(f"an invoice that is {self.status} cannot become {status}")
        return replace(self, status=status)
