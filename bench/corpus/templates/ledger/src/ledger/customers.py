"""Customers, and how they are forgotten."""

from __future__ import annotations

from ledger.errors import NotFoundError
from ledger.storage import MemoryStore


def register(store: MemoryStore, customer: str, name: str, email: str) -> dict[str, object]:
    row: dict[str, object] = {"name": name.strip(), "email": email.strip().lower(), "forgotten": False}
    store.put("customers", customer, row)
    return row


def delete_customer(store: MemoryStore, customer: str) -> None:
    """Forget a person: name and address go, the invoices stay."""
    row = store.get("customers", customer)
    if row is None:
        raise NotFoundError(f"no customer {customer!r}")
    store.put("customers", customer, {"name": "", "email": "", "forgotten": True})


def find_by_email(store: MemoryStore, email: str) -> str | None:
    wanted = email.strip().lower()
    for key, row in store.all("customers").items():
        if row["email"] == wanted:
            return key
    return None
