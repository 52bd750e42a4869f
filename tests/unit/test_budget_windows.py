"""Days and weeks of a budget, in zones that make it hard."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_dev.budget.windows import day_key, day_start, next_reset, week_key
from auto_dev.model import Scope

pytestmark = pytest.mark.unit

# Summer time at 01:00, 02:00 and at midnight (Cairo, Beirut, Havana), set back over midnight (St. John's until 2011,
# Sao Paulo until 2019), half an hour (Lord Howe), odd offsets, a day left out (Apia, 2011-12-30).
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Sao_Paulo", "America/St_Johns",
    "Africa/Cairo", "Asia/Beirut", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati",
    "America/Nuuk", "America/Asuncion", "Asia/Gaza", "Asia/Pyongyang", "Africa/Casablanca", "Antarctica/Troll",
)  # fmt: skip
SECOND = timedelta(seconds=1)

instants = st.datetimes(datetime(1985, 1, 1), datetime(2037, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
zones = st.sampled_from(ZONES).map(ZoneInfo)
scopes = st.sampled_from((Scope.DAY, Scope.WEEK))


def key(scope: Scope, now: datetime, zone: ZoneInfo) -> str:
    return day_key(now, zone) if scope is Scope.DAY else week_key(now, zone)


@pytest.mark.parametrize(
    ("now", "zone", "day", "week"),
    [
        ("2026-02-09T12:00Z", "UTC", "2026-02-09", "2026-W07"),
        ("2026-02-08T23:30Z", "UTC", "2026-02-08", "2026-W06"),
        ("2026-02-08T23:30Z", "Europe/Berlin", "2026-02-09", "2026-W07"),
        ("2027-01-01T12:00Z", "UTC", "2027-01-01", "2026-W53"),
        ("2024-12-30T12:00Z", "UTC", "2024-12-30", "2025-W01"),
        ("2026-01-01T03:00Z", "America/New_York", "2025-12-31", "2026-W01"),
        ("2011-12-30T10:00Z", "Pacific/Apia", "2011-12-31", "2011-W52"),
    ],
)
def test_a_moment_belongs_to_its_local_day_and_iso_week(now: str, zone: str, day: str, week: str) -> None:
    moment = datetime.fromisoformat(now)
    assert (day_key(moment, ZoneInfo(zone)), week_key(moment, ZoneInfo(zone))) == (day, week)


@pytest.mark.parametrize(
    ("scope", "now", "zone", "reset"),
    [
        (Scope.DAY, "2026-02-09T12:00Z", "UTC", "2026-02-10T00:00Z"),
        (Scope.WEEK, "2026-02-09T12:00Z", "UTC", "2026-02-16T00:00Z"),
        (Scope.DAY, "2026-03-28T23:30Z", "Europe/Berlin", "2026-03-29T22:00Z"),  # a day of 23 hours
        (Scope.DAY, "2026-10-24T22:00Z", "Europe/Berlin", "2026-10-25T23:00Z"),  # a day of 25 hours
        (Scope.WEEK, "2026-03-25T12:00Z", "Europe/Berlin", "2026-03-29T22:00Z"),
        (Scope.DAY, "2026-04-23T12:00Z", "Africa/Cairo", "2026-04-23T22:00Z"),  # 00:00 does not exist
        (Scope.DAY, "2011-12-29T20:00Z", "Pacific/Apia", "2011-12-30T10:00Z"),
    ],
)
def test_the_next_window_begins_at_local_midnight(scope: Scope, now: str, zone: str, reset: str) -> None:
    assert next_reset(scope, datetime.fromisoformat(now), ZoneInfo(zone)) == datetime.fromisoformat(reset)


@pytest.mark.parametrize("scope", [Scope.STORY, Scope.RUN])
def test_a_story_and_a_run_never_start_over(scope: Scope) -> None:
    assert next_reset(scope, datetime(2026, 2, 9, tzinfo=UTC), ZoneInfo("UTC")) is None


def test_a_clock_set_back_over_midnight_does_not_hand_the_limit_out_again() -> None:
    # At 00:01 on 7 November 2010, St. John's went back to 23:01 on the 6th.
    zone = ZoneInfo("America/St_Johns")
    first = datetime(2010, 11, 7, 2, 30, tzinfo=UTC)  # 00:00 on the 7th, for the first time
    again = first + timedelta(minutes=30)
    assert again.astimezone(zone).date() == date(2010, 11, 6)
    assert [day_key(moment, zone) for moment in (first - SECOND, first, again, first + timedelta(hours=2))] == [
        "2010-11-06", "2010-11-07", "2010-11-07", "2010-11-07"
    ]  # fmt: skip
    assert week_key(first - SECOND, zone) == week_key(again, zone) == "2010-W44"


def test_a_repeated_midnight_hour_belongs_to_the_day_once() -> None:
    # Havana repeats 00:00 to 01:00 on 1 November 2026.
    zone = ZoneInfo("America/Havana")
    start = day_start(date(2026, 11, 1), zone)
    assert start == datetime(2026, 11, 1, 4, tzinfo=UTC)
    hours = [day_key(start + timedelta(hours=hour), zone) for hour in (0, 1, 2, 24)]
    assert hours == ["2026-11-01"] * 4
    assert day_key(start + timedelta(hours=25), zone) == "2026-11-02"


def test_a_clock_set_back_at_the_stroke_of_midnight_makes_the_old_day_longer() -> None:
    # At what would be midnight after 24 October 2026, Nuuk goes back to 23:00: the 25th has not begun before.
    zone = ZoneInfo("America/Nuuk")
    again = datetime(2026, 10, 25, 1, tzinfo=UTC)
    assert again.astimezone(zone).isoformat() == "2026-10-24T23:00:00-02:00"
    assert [day_key(again + timedelta(minutes=minutes), zone) for minutes in (-1, 0, 59, 60)] == [
        "2026-10-24", "2026-10-24", "2026-10-24", "2026-10-25"
    ]  # fmt: skip
    assert day_start(date(2026, 10, 25), zone) - day_start(date(2026, 10, 24), zone) == timedelta(hours=25)


HOUR = timedelta(hours=1)


def clock_changes(zone: ZoneInfo, year: int) -> list[datetime]:
    """The instants of a year at which the zone's clock is set, to the minute."""
    hours = [datetime(year, 1, 1, tzinfo=UTC) + n * HOUR for n in range(366 * 24)]
    found = []
    for hour in hours:
        if hour.astimezone(zone).utcoffset() != (hour + HOUR).astimezone(zone).utcoffset():
            minutes = (hour + timedelta(minutes=n) for n in range(61))
            found.append(
                next(m for m in minutes if m.astimezone(zone).utcoffset() != hour.astimezone(zone).utcoffset())
            )
    return found


@settings(max_examples=60, deadline=None)
@given(zones, st.integers(1985, 2036), st.integers(0, 59))
def test_around_every_change_of_the_clock_days_neither_repeat_nor_leave_a_gap(
    zone: ZoneInfo, year: int, second: int
) -> None:
    for change in clock_changes(zone, year):
        moments = [change + timedelta(minutes=10 * n, seconds=-second) for n in range(-6 * 27, 6 * 27)]
        keys = [day_key(moment, zone) for moment in moments]
        assert keys == sorted(keys)
        for moment, day in zip(moments, keys, strict=True):
            # Ahead of the local date only while the clock shows the evening before for a second time.
            local = moment.astimezone(zone)
            assert day == local.date().isoformat() or (
                day == (local.date() + timedelta(days=1)).isoformat()
                and day_start(date.fromisoformat(day), zone) <= moment < change + 2 * HOUR
            )


@settings(max_examples=60, deadline=None)
@given(scopes, zones, instants)
def test_windows_follow_each_other_without_an_hour_between_them(scope: Scope, zone: ZoneInfo, now: datetime) -> None:
    start, seen = now, [key(scope, now, zone)]
    usual = timedelta(days=1) if scope is Scope.DAY else timedelta(days=7)
    for step in range(60):
        end = next_reset(scope, start, zone)
        assert end is not None
        if step:  # Apia left a day out, and the week around it had six
            assert usual - 2 * HOUR <= end - start <= usual + 2 * HOUR or usual - (end - start) == timedelta(days=1)
        assert key(scope, end - timedelta(microseconds=1), zone) == seen[-1]
        seen.append(key(scope, end, zone))
        start = end
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/St_Johns"])
def test_weeks_run_through_the_turn_of_every_year(zone: str) -> None:
    where = ZoneInfo(zone)
    for year in range(1996, 2037):  # Kiritimati left out the last day of 1994
        moments = [datetime(year, 12, 20, tzinfo=UTC) + n * HOUR for n in range(24 * 24)]
        weeks = {week_key(moment, where): moment.astimezone(where).isocalendar() for moment in moments}
        assert list(weeks) == sorted(weeks)
        assert all(text == f"{iso.year}-W{iso.week:02d}" for text, iso in weeks.items())
        full = [sum(week_key(moment, where) == text for moment in moments) for text in list(weeks)[1:-1]]
        assert full == [7 * 24] * len(full)


@given(scopes, zones, instants, st.timedeltas(timedelta(0), timedelta(days=3)))
def test_keys_only_ever_rise(scope: Scope, zone: ZoneInfo, now: datetime, later: timedelta) -> None:
    assert key(scope, now, zone) <= key(scope, now + later, zone)


@given(scopes, zones, instants)
def test_the_reset_is_the_first_instant_of_the_next_window(scope: Scope, zone: ZoneInfo, now: datetime) -> None:
    reset = next_reset(scope, now, zone)
    assert reset is not None
    assert now < reset <= now + timedelta(days=2 if scope is Scope.DAY else 8)
    assert key(scope, reset - SECOND / 1000, zone) == key(scope, now, zone) < key(scope, reset, zone)


@given(zones, instants)
def test_the_week_starts_over_together_with_a_day(zone: ZoneInfo, now: datetime) -> None:
    week = next_reset(Scope.WEEK, now, zone)
    assert week is not None
    assert next_reset(Scope.DAY, week - SECOND, zone) == week
