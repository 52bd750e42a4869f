"""Amounts: an integer of the smallest unit and a currency."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.errors import InvalidError
from ledger.generated.currencies import DIGITS


@dataclass(frozen=True, order=True)
class Money:
    amount: int
    currency: str

    def __post_init__(self) -> None:
        if self.currency not in DIGITS:
            raise InvalidError(f"unknown currency {self.currency!r}")

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.amount - other.amount, self.currency)

    def times(self, numerator: int, denominator: int = 1) -> Money:
        """Rounded half up."""
        doubled = 2 * self.amount * numerator + denominator
        return Money(doubled // (2 * denominator), self.currency)

    def split(self, parts: int) -> list[Money]:
        """Shares that differ by one unit at most and sum to the whole."""
        if parts < 1:
            raise InvalidError("at least one part is needed")
        share, rest = divmod(self.amount, parts)
        return [Money(share + (1 if index < rest else 0), self.currency) for index in range(parts)]

    def __str__(self) -> str:
        digits = DIGITS[self.currency]
        if digits == 0:
            return f"{self.amount} {self.currency}"
        whole, part = divmod(abs(self.amount), 10**digits)
        sign = "-" if self.amount < 0 else ""
        return f"{sign}{whole}.{part:0{digits}d} {self.currency}"

    def _same(self, other: Money) -> None:
        if other.currency != self.currency:
            raise InvalidError(f"{self.currency} and {other.currency} cannot be combined")


def parse(text: str) -> Money:
    """``"12.50 EUR"`` as Money. Raises InvalidError."""
    try:
        number, currency = text.split()
        digits = DIGITS[currency]
        whole, _, part = number.partition(".")
        if len(part) > digits:
            raise ValueError(text)
        return Money(int(whole + part.ljust(digits, "0")), currency)
    except (ValueError, KeyError):
        raise InvalidError(f"not an amount: {text!r}") from None
