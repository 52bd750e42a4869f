"""When the daily summary is due, and when it is quiet: pure, and safe over changes of the clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Slot:
    """One day's summary: it covers ``since`` (the slot before) to ``at``, both aware UTC."""

    day: date
    since: datetime
    at: datetime

    @property
    def key(self) -> str:
        """The outbox key: at most one summary per day."""
        return f"summary:{self.day.isoformat()}"

    @property
    def reminder_key(self) -> str:
        """The same for the day's reminder."""
        return f"reminder:{self.day.isoformat()}"


@dataclass(frozen=True, slots=True)
class Quiet:
    """Whether it is quiet ``now``, and when it was quiet last: aware UTC, None where there are no quiet hours."""

    now: bool = False
    began: datetime | None = None
    ended: datetime | None = None


def slot_of(day: date, at: time, zone: ZoneInfo) -> Slot:
    """The slot of ``day`` at the local time ``at``.

    A time that the clock skips is taken with the offset before the change, a time that it shows twice is the first.
    """
    return Slot(day, _instant(day - timedelta(days=1), at, zone), _instant(day, at, zone))


def latest_slot(now: datetime, at: time, zone: ZoneInfo) -> Slot:
    """The newest slot that is not in the future. ``now`` is aware."""
    today = now.astimezone(zone).date()
    # Two days back, not one: where a clock skips a whole day (Samoa did), that day's slot comes with the next one's.
    days = (today + timedelta(days=offset) for offset in (0, -1, -2))
    return next(slot for day in days if (slot := slot_of(day, at, zone)).at <= now)


def next_slot(now: datetime, at: time, zone: ZoneInfo) -> Slot:
    """The next slot that is still to come."""
    return slot_of(latest_slot(now, at, zone).day + timedelta(days=1), at, zone)


def due(now: datetime, at: time, zone: ZoneInfo, *, since: datetime) -> Slot | None:
    """The slot whose summary should be sent now, if any.

    ``since`` is when the project began: slots before it had nothing to tell. A machine that slept through the time
    of day sends the summary when it wakes; the slot's key keeps it to one per day.
    """
    slot = latest_slot(now, at, zone)
    return slot if slot.at > since else None


def quiet_at(now: datetime, window: tuple[time, time] | None, zone: ZoneInfo) -> Quiet:
    """How things stand at ``now`` (aware) with the quiet hours ``window``, a time of day to another one."""
    if window is None:
        return Quiet()
    start, end = window
    began = latest_slot(now, start, zone).at
    day = began.astimezone(zone).date()
    ends = (_instant(day + timedelta(days=offset), end, zone) for offset in (0, 1, 2))
    # A window that the clock leaves out altogether has no length, and is over when it begins.
    until = next((moment for moment in ends if moment > began), began)
    return Quiet(True, began) if now < until else Quiet(False, began, until)


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at.replace(fold=0), tzinfo=zone).astimezone(UTC)
