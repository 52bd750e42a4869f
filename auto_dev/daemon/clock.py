"""The one place where the time is read; everything else is handed a clock."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The clock of the running program; everything below is handed it."""
    return datetime.now(UTC)
