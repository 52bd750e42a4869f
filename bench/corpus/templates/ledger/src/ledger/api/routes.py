"""Routes: they check permissions, call the rules and shape answers."""

from __future__ import annotations

from ledger import customers, permissions
from ledger.api.serializers import invoice_json
from ledger.errors import NotFoundError
from ledger.invoices import Invoice
from ledger.storage import MemoryStore

PAGE = 100


def list_invoices(invoices: list[Invoice], role: str, limit: int = 20) -> dict[str, object]:
    permissions.require(role, "invoice:read")
    limit = max(1, min(limit, PAGE))
    return {"invoices": [invoice_json(invoice) for invoice in invoices[:limit]]}


def get_invoice(invoices: list[Invoice], role: str, wanted: str) -> dict[str, object]:
    permissions.require(role, "invoice:read")
    for invoice in invoices:
        if invoice.id == wanted:
            return invoice_json(invoice)
    raise NotFoundError(f"no invoice {wanted!r}")


def delete_customer(store: MemoryStore, role: str, customer: str) -> dict[str, object]:
    permissions.require(role, "customer:delete")
    customers.delete_customer(store, customer)
    return {"deleted": customer}
