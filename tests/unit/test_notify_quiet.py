"""Quiet hours by the clock on the wall, and what a reminder says."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.config import NotifyConfig
from auto_dev.notify import facts
from auto_dev.notify.message import parse
from auto_dev.notify.outbox import wanted
from auto_dev.notify.schedule import Quiet, quiet_at

pytestmark = pytest.mark.unit

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = (time(22), time(7))


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def test_without_quiet_hours_it_is_never_quiet() -> None:
    assert quiet_at(at("2026-02-09T03:00"), None, BERLIN) == Quiet()


@pytest.mark.parametrize(
    ("now", "quiet"),
    [("2026-02-09T21:59", False), ("2026-02-09T22:00", True), ("2026-02-10T06:59", True), ("2026-02-10T07:00", False)],
)
def test_a_night_begins_and_ends_to_the_minute(now: str, quiet: bool) -> None:
    assert quiet_at(at(now), NIGHT, BERLIN).now is quiet


def test_after_the_night_it_is_known_when_it_was() -> None:
    found = quiet_at(at("2026-02-10T12:00"), NIGHT, BERLIN)
    assert found == Quiet(False, at("2026-02-09T22:00"), at("2026-02-10T07:00"))


def test_a_lunch_break_within_one_day() -> None:
    lunch = (time(12), time(13))
    assert quiet_at(at("2026-02-09T12:30"), lunch, BERLIN).now
    assert not quiet_at(at("2026-02-09T13:00"), lunch, BERLIN).now
    assert quiet_at(at("2026-02-09T11:00"), lunch, BERLIN).ended == at("2026-02-08T13:00")


def test_the_clock_may_change_within_the_night() -> None:
    spring = quiet_at(at("2026-03-29T08:00"), NIGHT, BERLIN)
    assert spring.began is not None
    assert spring.ended is not None
    assert spring.ended - spring.began == timedelta(hours=8)
    autumn = quiet_at(at("2026-10-25T08:00"), NIGHT, BERLIN)
    assert autumn.began is not None
    assert autumn.ended is not None
    assert autumn.ended - autumn.began == timedelta(hours=10)


def test_hours_that_the_clock_leaves_out_are_not_quiet_for_a_day() -> None:
    gap = (time(2, 10), time(2, 50))  # does not exist on this day
    assert not quiet_at(at("2026-03-29T12:00"), gap, BERLIN).now


moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
clocks = st.times().map(lambda value: value.replace(second=0, microsecond=0))


@given(moments, clocks, clocks, st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"]))
def test_at_any_moment_it_is_quiet_since_then_or_was_until_then(
    now: datetime, start: time, end: time, zone: str
) -> None:
    if start == end:
        return
    found = quiet_at(now, (start, end), ZoneInfo(zone))
    assert found.began is not None
    assert found.began <= now
    if found.now:
        assert now - found.began <= timedelta(hours=26)
    else:
        assert found.ended is not None
        assert found.began <= found.ended <= now


def waiting(number: int) -> dict[str, object]:
    option = {"id": "retry", "label": "Try again", "action": "retry", "recommended": True, "wants_text": False}
    return {"id": f"d-{number}", "story_id": f"S-{number}", "question": f"What about {number}?", "options": [option]}


def test_a_reminder_of_one_decision_can_be_answered_where_it_stands() -> None:
    fact = facts.reminder([waiting(1)], key="reminder:2026-02-10")
    message = parse(fact.payload)
    assert (message.decision_id, [choice.id for choice in message.choices]) == ("d-1", ["retry"])
    assert wanted("email", fact.kind, fact.urgent)


def test_a_reminder_of_many_lists_them() -> None:
    message = parse(facts.reminder([waiting(n) for n in range(40)], key="k").payload)
    assert message.headline == "40 decisions wait for you"
    assert message.listing[0] == "What about 0? (auto-dev decide d-0)"
    assert message.listing[-1] == "… and 15 more"


@pytest.mark.parametrize("value", ["javascript:alert(1)", "example.com", "https://", "ftp://x"])
def test_links_lead_to_web_addresses_only(value: str) -> None:
    with pytest.raises(ValueError, match="use an address"):
        NotifyConfig(dashboard_url=value)
