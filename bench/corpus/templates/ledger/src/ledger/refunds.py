"""Refunds: never more than was paid."""

from __future__ import annotations

from ledger.errors import InvalidError
from ledger.invoices import Invoice
from ledger.money import Money

WINDOW_DAYS = 30


def refundable(invoice: Invoice, refunded: list[Money]) -> Money:
    """What may still be refunded of a paid invoice."""
    if invoice.status != "paid":
        return Money(0, invoice.currency)
    left = invoice.total
    for amount in refunded:
        left = left - amount
    return left


def refund(invoice: Invoice, amount: Money, refunded: list[Money], age_days: int) -> list[Money]:
    """The refunds after one more. Raises InvalidError."""
    if amount.amount <= 0:
        raise InvalidError("a refund must be positive")
    if age_days > WINDOW_DAYS:
        raise InvalidError(f"refunds end after {WINDOW_DAYS} days")
    if amount > refundable(invoice, refunded):
        raise InvalidError("more than was paid cannot be refunded")
    return [*refunded, amount]
