"""Invoices as CSV for the accountants."""

from __future__ import annotations

import csv
import io

from ledger.invoices import Invoice

COLUMNS = ("id", "customer", "status", "amount", "currency")


def export(invoices: list[Invoice]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for invoice in invoices:
        writer.writerow([invoice.id, invoice.customer, invoice.status, invoice.total.amount, invoice.currency])
    return out.getvalue()
