"""The pure parts of the channels: addresses, secrets, the schedule of the summary, waiting times."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.config import NotifyConfig, SlackConfig
from auto_dev.errors import NotifyError
from auto_dev.notify.channel import SendError
from auto_dev.notify.email import parse_mailbox, parse_server
from auto_dev.notify.outbox import backoff, wanted
from auto_dev.notify.registry import make_channels
from auto_dev.notify.schedule import Slot, due, latest_slot, next_slot, slot_of
from auto_dev.notify.slack import SlackChannel

pytestmark = pytest.mark.unit

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"]
BERLIN = ZoneInfo("Europe/Berlin")
BOTH = NotifyConfig.model_validate({"channels": ["slack", "email"], "email": {"to": ["me@example.com"]}})
SECRETS = {"SLACK_BOT_TOKEN": "xoxb-1", "AUTO_DEV_SMTP_URL": "smtp://127.0.0.1:1025"}


@pytest.mark.parametrize(
    ("url", "port", "use_tls", "start_tls", "verify"),
    [
        ("smtp://u:p@mail.example.com", 587, False, True, True),
        ("smtp://mail.example.com:25", 25, False, None, True),
        ("smtp+starttls://mail.example.com", 587, False, True, True),
        ("smtps://u:p@mail.example.com", 465, True, False, True),
        ("smtps://u:p@127.0.0.1:4650", 4650, True, False, True),
        ("smtp://127.0.0.1:1025", 1025, False, None, False),
        ("smtp://u:p@127.0.0.1:1025", 1025, False, None, False),
        ("smtp://u:p@[::1]:1025", 1025, False, None, False),
        ("smtp+starttls://u:p@localhost:1025", 1025, False, True, True),
    ],
)
def test_credentials_travel_encrypted_but_for_this_machine(
    url: str, port: int, use_tls: bool, start_tls: bool | None, verify: bool
) -> None:
    server = parse_server(url)
    assert (server.port, server.use_tls, server.start_tls, server.verify) == (port, use_tls, start_tls, verify)


def test_reserved_characters_of_a_password_are_percent_encoded() -> None:
    server = parse_server("smtp://me%40example.com:p%2Fw%3A%40@mail.example.com")
    assert (server.username, server.password) == ("me@example.com", "p/w:@")
    assert "p/w" not in repr(server)


@pytest.mark.parametrize(
    "url",
    ["", "mail.example.com", "http://u:hidden@x", "smtp://", "smtp://u:hidden@", "smtp://u:hidden@x:99999",
     "smtp://u:hidden@x/path", "smtp://u:hidden@x?tls=no", "smtp://hidden@x", "smtp://:hidden@x", "smtp://[::1"],
)  # fmt: skip
def test_a_bad_mail_server_is_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(NotifyError) as caught:
        parse_server(url)
    assert "AUTO_DEV_SMTP_URL" in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["me@example.com", "Me <me@example.com>", '"Doe, Jane" <me@example.com>', "auto-dev@localhost"]
)
def test_one_mail_address_is_taken(text: str) -> None:
    assert parse_mailbox(text, "notify.email.to").addr_spec.split("@")[0] in ("me", "auto-dev")


@pytest.mark.parametrize(
    "text",
    ["", "me", "me@", "@example.com", "a@x.example, b@x.example", "me@example.com\r\nBcc: b@x.example",
     "me@example.com\n", "a@b@c", "Group: a@x.example;b@x.example;", "me @example.com <"],
)  # fmt: skip
def test_what_is_not_one_mail_address_is_refused(text: str) -> None:
    with pytest.raises(NotifyError, match=r"notify\.email\.to"):
        parse_mailbox(text, "notify.email.to")


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_a_missing_secret_stops_the_start_and_says_what_to_do(missing: str) -> None:
    secrets = {name: value for name, value in SECRETS.items() if name != missing}
    with pytest.raises(NotifyError, match=f"{missing} is not set.*Set {missing} in the environment"):
        make_channels(BOTH, secrets.get)


async def test_channels_are_made_as_configured() -> None:
    channels = make_channels(BOTH, SECRETS.get)
    assert list(channels) == ["slack", "email"]
    assert make_channels(NotifyConfig(), SECRETS.get) == {}
    for channel in channels.values():
        await channel.close()


@pytest.mark.parametrize("url", ["http://slack.com/api/", "slack.com", "ftp://127.0.0.1/", ""])
def test_the_slack_token_never_travels_in_the_clear(url: str) -> None:
    with pytest.raises(NotifyError, match=r"notify\.slack\.api_url"):
        SlackChannel(SlackConfig(api_url=url), "xoxb-1")


@pytest.mark.parametrize("token", ["xoxb-1\r\nHost: x", "xoxb ü", "a b"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(NotifyError, match="SLACK_BOT_TOKEN"):
        SlackChannel(SlackConfig(), token)


def test_mail_carries_the_summary_and_what_is_urgent_only() -> None:
    assert wanted("email", "summary", False)
    assert wanted("email", "decision", True)
    assert not wanted("email", "decided", False)
    assert wanted("slack", "decision", True)
    assert not wanted("slack", "decided", False), "the question turns into its answer"


@given(attempts=st.integers(0, 10_000), chance=st.floats(0, 1))
def test_waiting_times_double_from_5_seconds_to_30_minutes(attempts: int, chance: float) -> None:
    wait = backoff(attempts, SendError("x"), chance)
    assert timedelta(seconds=5) <= wait <= timedelta(minutes=30)
    assert backoff(attempts + 1, SendError("x"), 0) >= backoff(attempts, SendError("x"), 0)


def test_what_only_a_person_can_mend_is_tried_every_few_hours() -> None:
    assert timedelta(hours=6) <= backoff(1, SendError("x", permanent=True), 1) <= timedelta(hours=7)


def test_a_channel_that_asks_to_wait_is_obeyed_within_reason() -> None:
    assert backoff(1, SendError("x", retry_after=42), 0) == timedelta(seconds=42)
    assert backoff(1, SendError("x", retry_after=1e12), 0) == timedelta(days=1)
    assert backoff(1, SendError("x", retry_after=-5), 0) == timedelta(seconds=1)


def local(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def test_the_newest_slot_is_todays_once_its_time_has_come() -> None:
    assert latest_slot(local("2026-02-09T17:59:59"), time(18), BERLIN).day == date(2026, 2, 8)
    slot = latest_slot(local("2026-02-09T18:00:00"), time(18), BERLIN)
    assert slot.day == date(2026, 2, 9)
    assert slot.key == "summary:2026-02-09"
    assert (slot.at - slot.since) == timedelta(days=1)
    assert next_slot(local("2026-02-09T18:00:00"), time(18), BERLIN).day == date(2026, 2, 10)


def test_a_slot_before_the_project_began_is_not_due() -> None:
    now = local("2026-02-09T20:00:00")
    assert due(now, time(18), BERLIN, since=local("2026-02-09T19:00:00")) is None
    slot = due(now, time(18), BERLIN, since=local("2026-02-09T09:00:00"))
    assert slot is not None
    assert slot.day == date(2026, 2, 9)


def test_a_machine_that_slept_over_its_time_sends_when_it_wakes() -> None:
    slot = due(local("2026-02-10T07:00:00"), time(18), BERLIN, since=local("2026-02-01T00:00:00"))
    assert slot is not None
    assert slot.day == date(2026, 2, 9)


def test_a_skipped_time_of_day_comes_once() -> None:
    slot = slot_of(date(2026, 3, 29), time(2, 30), BERLIN)
    assert slot.at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert slot.at - slot.since == timedelta(hours=24)


def test_a_doubled_time_of_day_comes_once() -> None:
    first = slot_of(date(2026, 10, 25), time(2, 30), BERLIN)
    assert first.at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert latest_slot(first.at + timedelta(hours=1), time(2, 30), BERLIN) == first


def test_a_skipped_day_is_survived() -> None:
    apia = ZoneInfo("Pacific/Apia")  # went from 29 to 31 December 2011
    assert latest_slot(local("2011-12-31T02:00:00", apia), time(18), apia).day == date(2011, 12, 29)
    assert latest_slot(local("2011-12-31T18:00:00", apia), time(18), apia).day == date(2011, 12, 31)


@given(
    start=st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001
    minutes=st.integers(1, 24 * 60),
    at=st.times().map(lambda t: t.replace(second=0, microsecond=0, tzinfo=None)),
    zone=st.sampled_from(ZONES),
)
def test_every_day_has_one_summary_and_no_moment_is_left_out(
    start: datetime, minutes: int, at: time, zone: str
) -> None:
    place = ZoneInfo(zone)
    seen: list[Slot] = []
    now = start.replace(tzinfo=UTC)
    for _ in range(40):
        slot = latest_slot(now, at, place)
        assert slot.at <= now < next_slot(now, at, place).at
        assert timedelta(hours=22) <= slot.at - slot.since <= timedelta(hours=26)
        if not seen or seen[-1] != slot:
            seen.append(slot)
        now += timedelta(minutes=minutes)
    for before, after in pairwise(seen):
        assert (after.day - before.day).days == 1
        assert after.since == before.at
