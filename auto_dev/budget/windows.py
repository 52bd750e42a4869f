"""Which stretch of time a day's or a week's limit covers, in the project's timezone. Pure.

A day begins at the first instant whose local date is that day, and never begins twice: where the clock is set back
over midnight (St. John's did so at 00:01 until 2011), the repeated hour belongs to the new day, so that no limit is
handed out again. Where midnight does not exist (Cairo, Beirut), the day begins with the jump.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from auto_dev.model import Scope

_DAY = timedelta(days=1)


def day_key(now: datetime, zone: ZoneInfo) -> str:
    """The day that ``now`` belongs to, as ``2026-02-09``."""
    return _day(now, zone).isoformat()


def week_key(now: datetime, zone: ZoneInfo) -> str:
    """The ISO week that ``now`` belongs to, as ``2026-W07``; it begins on Monday and may belong to another year."""
    year, week, _ = _day(now, zone).isocalendar()
    return f"{year:04d}-W{week:02d}"


def next_reset(scope: Scope, now: datetime, zone: ZoneInfo) -> datetime | None:
    """The first instant (UTC) of the next window; None for a story or a run, which never start over."""
    today = _day(now, zone)
    if scope is Scope.DAY:
        return day_start(today + _DAY, zone)
    if scope is Scope.WEEK:
        return day_start(today + (7 - today.weekday()) * _DAY, zone)
    return None


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The first instant (UTC) whose local date is ``day`` or later.

    A midnight that happens twice is read as its first one. One that does not exist is read with the offset before the
    jump, which is the instant of the jump: in no zone since 1970 does a jump begin before midnight and end after it.
    """
    return datetime.combine(day, time(0), zone).astimezone(UTC)


def _day(now: datetime, zone: ZoneInfo) -> date:
    today = now.astimezone(zone).date()
    return today + _DAY if day_start(today + _DAY, zone) <= now else today
