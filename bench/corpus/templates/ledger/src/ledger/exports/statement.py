"""A customer's statement as text."""

from __future__ import annotations

from ledger.invoices import Invoice
from ledger.money import Money


def statement(customer: str, invoices: list[Invoice]) -> str:
    mine = [invoice for invoice in invoices if invoice.customer == customer]
    lines = [f"{invoice.id}  {invoice.status:5}  {invoice.total}" for invoice in mine]
    open_total: dict[str, Money] = {}
    for invoice in mine:
        if invoice.status == "open":
            known = open_total.get(invoice.currency, Money(0, invoice.currency))
            open_total[invoice.currency] = known + invoice.total
    lines += [f"open: {total}" for total in open_total.values()]
    return "\n".join(lines)
