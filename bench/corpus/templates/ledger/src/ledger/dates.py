"""Due dates."""

from __future__ import annotations

from datetime import date, timedelta


def due(issued: date, days: int = 14) -> date:
    """Weekends push the due date to Monday."""
    day = issued + timedelta(days=days)
    while day.weekday() >= 5:
        day += timedelta(days=1)
    return day


def overdue(issued: date, today: date, days: int = 14) -> bool:
    return today > due(issued, days)
