"""Invoices, refunds and payouts."""

__version__ = "1.8.0"
