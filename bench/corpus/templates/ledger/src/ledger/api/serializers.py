"""Invoices as JSON."""

from __future__ import annotations

from ledger.invoices import Invoice


def invoice_json(invoice: Invoice) -> dict[str, object]:
    return {
        "id": invoice.id,
        "customer": invoice.customer,
        "status": invoice.status,
        "total": {"amount": invoice.total.amount, "currency": invoice.currency},
        "lines": [{"text": line.text, "quantity": line.quantity, "price": line.price.amount} for line in invoice.lines],
    }
