"""When the schedule's window opens, also where the local clock jumps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.config import Config, in_window, parse_window
from auto_dev.daemon.scheduler import window_opens

pytestmark = pytest.mark.unit

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC", "Africa/Casablanca")


def policy(schedule: str | None, zone: str = "Europe/Berlin") -> Config:
    return Config.model_validate({"run": {"schedule": schedule, "timezone": zone}})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "now", "opens"),
    [
        (None, "2026-03-29T00:59", None),
        ("08:00-18:00", "2026-06-01T06:00", None),
        ("08:00-18:00", "2026-06-01T16:00", "2026-06-02T06:00"),  # the end is outside
        ("22:00-06:00", "2026-06-01T10:00", "2026-06-01T20:00"),
        # The clock goes from 02:00 to 03:00 at 01:00 UTC.
        ("02:30-04:00", "2026-03-29T00:10", "2026-03-29T01:00"),  # the beginning does not exist: at the jump
        ("02:10-02:50", "2026-03-29T00:10", "2026-03-30T00:10"),  # nothing of it exists: the next day's
        ("08:00-18:00", "2026-03-28T20:00", "2026-03-29T06:00"),
        # The clock goes from 03:00 back to 02:00 at 01:00 UTC.
        ("02:15-02:45", "2026-10-25T00:50", "2026-10-25T01:15"),  # it comes a second time
        ("01:30-02:30", "2026-10-25T00:40", "2026-10-25T01:00"),  # back into its middle
        ("08:00-18:00", "2026-10-24T20:00", "2026-10-25T07:00"),
    ],
)
def test_the_window_opens_at_its_first_minute_by_the_local_clock(
    schedule: str | None, now: str, opens: str | None
) -> None:
    assert window_opens(policy(schedule), at(now)) == (at(opens) if opens else None)


CLOCK = st.integers(0, 24 * 60 - 1).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
MOMENT = st.floats(0, 3 * 365 * 86_400).map(lambda seconds: at("2025-01-01T00:00") + timedelta(seconds=seconds))


@given(st.tuples(CLOCK, CLOCK).filter(lambda pair: pair[0] != pair[1]), MOMENT, st.sampled_from(ZONES))
def test_it_is_closed_until_it_opens_and_then_open(pair: tuple[str, str], now: datetime, zone: str) -> None:
    config, window = policy(f"{pair[0]}-{pair[1]}", zone), parse_window(f"{pair[0]}-{pair[1]}")
    opens = window_opens(config, now)
    if opens is None:
        assert in_window(now.astimezone(ZoneInfo(zone)).time(), window)
        return
    assert now < opens <= now + timedelta(hours=50)
    assert window_opens(config, opens) is None
    assert window_opens(config, opens - timedelta(seconds=1)) == opens
