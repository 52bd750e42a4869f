"""The pure parts of answers in Slack: who signed, what fits, which way in, what a closed question says."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View
from slack_sdk.signature import Clock, SignatureVerifier

from auto_dev.config import NotifyConfig, SlackConfig, parse
from auto_dev.errors import ConfigError, NotifyError
from auto_dev.notify import blocks, facts
from auto_dev.notify.block_limits import problems, view_problems
from auto_dev.notify.channel import Closed, Item, SendError
from auto_dev.notify.message import Choice, Message
from auto_dev.notify.message import parse as parse_message
from auto_dev.notify.settled import NO_LONGER, asked_in, closed_of, settled_message
from auto_dev.notify.slack_api import SlackApi, checked_token
from auto_dev.notify.slack_desk import Asked, Person
from auto_dev.notify.slack_http import payload_in
from auto_dev.notify.slack_link import pause, plan
from auto_dev.notify.slack_messages import brief, render_message, without_story
from auto_dev.notify.slack_signature import ForgedError, verify
from auto_dev.notify.slack_socket import app_id_of, proxy_to
from auto_dev.notify.slack_views import notice, text_dialog

pytestmark = pytest.mark.unit

NOW = datetime(2026, 2, 9, 12, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
SECRET = "s3cret"
ANN = Closed("d-1", answer="A", text="because", by="ann (U1)", via="slack", at=NOW)


def sign(body: bytes, stamp: str = STAMP, secret: str = SECRET) -> str:
    return "v0=" + hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()


# Signatures


def test_a_request_of_slack_is_taken_and_has_a_digest_of_its_own() -> None:
    first = verify(SECRET, [STAMP], [sign(b"a")], b"a", NOW)
    assert first == verify(SECRET, [STAMP], [sign(b"a")], b"a", NOW + timedelta(seconds=9))
    assert first.digest != verify(SECRET, [STAMP], [sign(b"b")], b"b", NOW).digest
    assert first.until > NOW + timedelta(seconds=300), "remembered for longer than it is taken"


@pytest.mark.parametrize(
    ("stamps", "signatures", "body"),
    [
        ([], [sign(b"a")], b"a"),
        ([STAMP], [], b"a"),
        ([STAMP, STAMP], [sign(b"a")], b"a"),
        ([STAMP], [sign(b"a"), sign(b"a")], b"a"),
        ([STAMP], [sign(b"a")], b"b"),
        ([STAMP], [sign(b"a")], b"a "),
        ([STAMP], [sign(b"a")], b""),
        ([STAMP], [sign(b"a").upper()], b"a"),
        ([STAMP], [sign(b"a")[3:]], b"a"),
        ([STAMP], ["v1" + sign(b"a")[2:]], b"a"),
        ([STAMP], [sign(b"a") + " "], b"a"),
        ([STAMP], [sign(b"a", secret="other")], b"a"),
        ([STAMP], [sign(b"a", secret="")], b"a"),
        ([STAMP], ["v0="], b"a"),
        ([STAMP], ["v0=\u00e4\udcff"], b"a"),
        ([STAMP], [""], b"a"),
        ([f" {STAMP}"], [sign(b"a", f" {STAMP}")], b"a"),
        ([f"{STAMP}.0"], [sign(b"a", f"{STAMP}.0")], b"a"),
        ([f"-{STAMP}"], [sign(b"a", f"-{STAMP}")], b"a"),
        (["1e9"], [sign(b"a", "1e9")], b"a"),
        (["\u0661" * 10], ["v0=x"], b"a"),
        (["9" * 400], [sign(b"a", "9" * 400)], b"a"),
        ([str(int(STAMP) - 301)], [sign(b"a", str(int(STAMP) - 301))], b"a"),
        ([str(int(STAMP) + 301)], [sign(b"a", str(int(STAMP) + 301))], b"a"),
    ],
)
def test_what_slack_did_not_sign_now_is_refused(stamps: list[str], signatures: list[str], body: bytes) -> None:
    with pytest.raises(ForgedError):
        verify(SECRET, stamps, signatures, body, NOW)


@given(body=st.binary(max_size=200), shift=st.integers(-400, 400), flip=st.integers(0, 70), changed=st.booleans())
def test_the_signature_is_judged_as_slacks_own_library_does(body: bytes, shift: int, flip: int, changed: bool) -> None:
    stamp = str(int(STAMP) + shift)
    signature = sign(body, stamp)
    if changed:
        place = min(flip, len(signature) - 1)
        signature = signature[:place] + chr(ord(signature[place]) ^ 1) + signature[place + 1 :]

    class At(Clock):
        def now(self) -> float:
            return NOW.timestamp()

    try:
        theirs = SignatureVerifier(SECRET, At()).is_valid(body, stamp, signature)
    except (UnicodeDecodeError, ValueError):
        theirs = not changed and abs(shift) <= 300  # it fails on bytes that are no text
    try:
        verify(SECRET, [stamp], [signature], body, NOW)
        ours = True
    except ForgedError:
        ours = False
    assert ours == theirs


@pytest.mark.parametrize(
    ("body", "kind", "found"),
    [
        (urlencode({"payload": '{"a": 1}'}).encode(), "application/x-www-form-urlencoded", {"a": 1}),
        (b'{"type": "url_verification"}', "application/json", {"type": "url_verification"}),
        (b'{"a": 1}', "application/x-www-form-urlencoded", None),
        (b"payload=", "application/x-www-form-urlencoded", None),
        (b"payload=%7B", "application/x-www-form-urlencoded", None),
        (b"payload=%FF%FE", "application/x-www-form-urlencoded", None),
        (b"a=1&" * 30 + b"payload=%7B%7D", "application/x-www-form-urlencoded", None),
        (b"[1]", "application/json", None),
        (b"[" * 100_000, "application/json", None),
        (b"\xff", "application/json", None),
        (b"", "application/json", None),
    ],
)
def test_only_a_json_object_is_a_payload(body: bytes, kind: str, found: Any) -> None:
    assert payload_in(body, kind) == found


# Where replies and tokens go


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://hooks.slack.com/actions/T/1/x", True),
        ("https://hooks.slack.com:443/actions/T/1/x", True),
        ("https://slack.com/hooks/x", True),
        ("http://hooks.slack.com/actions/T/1/x", False),
        ("https://hooks.slack.com:8443/x", False),
        ("https://hooks.slack.com.evil.example/x", False),
        ("https://evil.example/hooks.slack.com", False),
        ("https://hooks.slack.com@evil.example/x", False),
        ("https://evil.example\\@hooks.slack.com/x", False),
        ("https://evil.example#@hooks.slack.com/x", False),
        ("https://u:p@hooks.slack.com/x", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("http://127.0.0.1:3100/", False),
        ("https://slack.com:99999/", False),
        ("https://[::1", False),
        ("file:///etc/passwd", False),
        ("https://hooks.slack-gov.com/x", False),
        ("//hooks.slack.com/x", False),
        ("https://hooks.slack.com /x", False),
        ("", False),
    ],
)
async def test_a_reply_goes_to_slack_and_nowhere_else(url: str, good: bool) -> None:
    api = SlackApi("https://slack.com/api/", "xoxb-1")
    assert api.is_slacks(url) is good
    await api.close()


async def test_a_stand_ins_address_is_taken_at_its_own_port_alone() -> None:
    api = SlackApi("http://127.0.0.1:4000/api/", "xoxb-1")
    assert api.is_slacks("http://127.0.0.1:4000/_hooks/1")
    assert not api.is_slacks("http://127.0.0.1:4001/_hooks/1")
    assert not api.is_slacks("http://localhost:4000/_hooks/1")
    await api.close()
    gov = SlackApi("https://slack-gov.com/api/", "xoxb-1")
    assert gov.is_slacks("https://hooks.slack-gov.com/x")
    await gov.close()


@pytest.mark.parametrize("token", ["xapp-1\r\nHost: x", "xapp ü", "xapp 7", "xapp-\x00"])
def test_what_is_no_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(NotifyError, match="SLACK_APP_TOKEN") as caught:
        checked_token(token, "SLACK_APP_TOKEN")
    assert token not in str(caught.value)


def test_an_app_token_names_its_app() -> None:
    assert app_id_of("xapp-1-A012345-678-abc") == "A012345"
    for other in ("xapp-1", "xoxb-1-A012345-678-abc", "", "xapp-1-B01-2-3"):
        assert app_id_of(other) == ""


def test_a_proxy_is_used_unless_it_is_told_to_leave_a_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert proxy_to("wss-primary.slack.com") == "http://proxy.example:3128"
    monkeypatch.setenv("no_proxy", "slack.com")
    assert proxy_to("wss-primary.slack.com") is None
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("https_proxy", "socks5://proxy.example")
    assert proxy_to("wss-primary.slack.com") is None


# Which way in


def notify(**slack: Any) -> NotifyConfig:
    return NotifyConfig.model_validate({"channels": ["slack"], "slack": {"deciders": ["U012AB3CD"], **slack}})


APP, SIGNING = {"SLACK_APP_TOKEN": "xapp-1"}, {"SLACK_SIGNING_SECRET": "s"}


@pytest.mark.parametrize(
    ("mode", "secrets", "chosen"),
    [
        (None, APP, "socket"),
        (None, SIGNING, "http"),
        (None, {**APP, **SIGNING}, "socket"),
        (None, {}, "off"),
        (None, {"SLACK_APP_TOKEN": " "}, "off"),
        ("http", {**APP, **SIGNING}, "http"),
        ("off", {**APP, **SIGNING}, "off"),
    ],
)
def test_the_way_in_follows_from_the_secrets(mode: str | None, secrets: dict[str, str], chosen: str) -> None:
    found = plan(notify(mode=mode), secrets.get)
    assert found.mode == chosen
    assert found.buttons is (chosen != "off")
    if not secrets and mode is None:
        assert "SLACK_APP_TOKEN" in found.note
    else:
        assert found.note == "" or chosen == "off"


@pytest.mark.parametrize(("mode", "name"), [("socket", "SLACK_APP_TOKEN"), ("http", "SLACK_SIGNING_SECRET")])
def test_a_missing_secret_is_named_at_the_start(mode: str, name: str) -> None:
    with pytest.raises(NotifyError, match=rf'{name} is not set, but notify.slack.mode is "{mode}". Set {name} in'):
        plan(notify(mode=mode), lambda _: None)


def test_nobody_decides_where_nobody_is_named() -> None:
    found = plan(notify(deciders=[]), APP.get)
    assert (found.mode, found.buttons) == ("socket", False)
    assert "nobody may decide in Slack" in found.note
    assert plan(NotifyConfig(), APP.get).mode == "off", "Slack is no channel of this project"


@pytest.mark.parametrize(
    "line",
    ['deciders = ["@ann"]', 'deciders = ["u012"]', 'listen = "3101"', 'listen = "0.0.0.0:70000"', 'listen = "a b:1"',
     'mode = "webhook"'],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match=r"notify\.slack\."):
        parse(f"[notify.slack]\n{line}", "x")


def test_addresses_to_listen_on() -> None:
    for text in ("127.0.0.1:3101", "[::1]:3101", "localhost:0"):
        assert SlackConfig(listen=text).listen == text


@given(failures=st.integers(0, 100_000), chance=st.floats(0, 1))
def test_pauses_grow_from_a_second_to_a_minute(failures: int, chance: float) -> None:
    assert 1 <= pause(failures, NotifyError("x"), chance) <= 75
    assert pause(failures, SendError("x", permanent=True), chance) >= 600
    assert pause(failures, SendError("x", retry_after=7), chance) >= 7


# What is shown


def opened(**more: Any) -> Message:
    given: dict[str, Any] = {
        "decision_id": "d-1", "story_id": "S-1", "story_title": "Title", "question": "S-1: which one?",
        "why": "both fit",
        "evidence": [{"title": "tests", "excerpt": "one\ntwo"}, {"title": "confidence", "number": 0.7}],
        "options": [
            {"id": "a", "label": "A", "recommended": True},
            {"id": "hint", "label": "With a hint", "action": "retry_hint", "wants_text": True},
            {"id": "skip", "label": "Skip the story", "action": "skip"},
        ],
    }  # fmt: skip
    return parse_message(facts.decision_opened(**{**given, **more}).payload)


def buttons_of(message: Message) -> list[dict[str, Any]]:
    _, parts = render_message(message)
    return [element for block in parts if block["type"] == "actions" for element in block["elements"]]


def test_a_question_comes_first_and_is_short() -> None:
    text, parts = render_message(opened())
    assert [block["type"] for block in parts] == [
        "header", "context", "section", "section", "section", "actions", "context",
    ]  # fmt: skip
    assert parts[0]["text"]["text"] == "Which one?"
    assert parts[1]["elements"][0]["text"] == "S-1 - Title"
    assert parts[3]["text"]["text"] == "confidence: `0.7`"
    assert text.splitlines()[0] == "S-1 - Title: Which one?"
    assert "auto-dev decide d-1" in parts[-1]["elements"][0]["text"]


def test_why_is_not_said_twice() -> None:
    _, parts = render_message(opened(question="S-1: both fit. Which one?", evidence=[]))
    assert [block["type"] for block in parts] == ["header", "context", "actions", "context"]


def test_what_ends_something_asks_once_more_and_what_wants_words_shows_it() -> None:
    first, hint, skip = buttons_of(opened())
    assert (first["style"], "confirm" in first) == ("primary", False)
    assert hint["text"]["text"] == "With a hint…"
    assert skip["confirm"]["title"]["text"] == "Skip the story?"
    assert set(json.loads(skip["value"])) == {"decision", "option"}


def test_answers_that_a_phone_would_cut_are_spelt_out() -> None:
    long = [{"id": str(i), "label": f"{i} answer of a good length which a phone would cut"} for i in range(3)]
    _, parts = render_message(opened(options=long))
    spelt = next(block for block in parts if block["type"] == "section" and "3. 2 answer" in block["text"]["text"])
    assert "which a phone would cut" in spelt["text"]["text"]
    assert all(blocks.units(button["text"]["text"]) <= 40 for button in buttons_of(opened(options=long)))


def test_without_a_listener_there_are_no_buttons_but_commands() -> None:
    _, parts = render_message(opened(), buttons=False)
    assert not [block for block in parts if block["type"] == "actions"]
    assert "auto-dev decide d-1 --answer a" in parts[-1]["elements"][0]["text"]


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        ("S-1: which one?", "which one?"),
        ("S-1 (A title: with (more)): tests fail. Go on?", "tests fail. Go on?"),
        ("S-1 stopped in step “plan”", "S-1 stopped in step “plan”"),
        ("S-10: which one?", "S-10: which one?"),
        ("S-1", "S-1"),
        ("", ""),
    ],
)
def test_a_question_does_not_name_its_story_twice(question: str, shown: str) -> None:
    assert without_story(question, "S-1") == shown


def test_an_excerpt_is_cut_to_what_one_reads_on_a_phone() -> None:
    assert brief("a\n" * 30).count("\n") == 10
    assert len(brief("x" * 9000)) == 600
    assert brief("short") == "short"


def test_a_closed_question_says_who_answered_what() -> None:
    message = settled_message(opened(), {"d-1": ANN})
    text, parts = render_message(message)
    assert not [block for block in parts if block["type"] == "actions"]
    said = json.dumps(parts, ensure_ascii=False)
    assert "*✓ A*" in said
    assert "> because" in said
    assert f"by ann (U1), in Slack · <!date^{STAMP}^" in said
    assert "A, by ann (U1), in Slack" in text
    assert message.one_line == "S-1 - Title: S-1: which one? → A, by ann (U1), in Slack"
    assert settled_message(message, {"d-1": ANN}) is message, "a closed one stays as it is"
    assert NO_LONGER in json.dumps(render_message(settled_message(opened(), {"d-1": Closed("d-1")})))


def test_what_a_message_asks_is_told_by_what_it_says() -> None:
    ask = Item("decision", facts.decision_opened(
        decision_id="d-1", story_id="S", story_title="T", question="Q", why="", evidence=[],
        options=[{"id": "a", "label": "A"}]).payload)  # fmt: skip
    summary = Item("summary", {"waiting": [{"decision_id": "d-2"}, {"decision_id": "d-1"}, "x", {}]})
    told = Item("alert", {"decision_id": "d-9"})
    assert asked_in([ask, summary, told, ask]) == ["d-1", "d-2"]


def test_a_rows_answer_is_its_options_label() -> None:
    row = {
        "id": "d-1", "status": "answered", "answer": "a", "answer_text": "t", "answered_by": "ann",
        "answered_via": "cli", "answered_at": NOW.isoformat(), "options": [{"id": "a", "label": "The first"}],
    }  # fmt: skip
    assert closed_of(row) == Closed("d-1", "The first", "t", "ann", "cli", NOW)
    assert closed_of({**row, "status": "cancelled"}) == Closed("d-1")
    assert closed_of({**row, "answer": "gone"}).answer == "gone"


def test_a_person_is_named_with_the_id_that_counts() -> None:
    assert Person("U1", "ann\n<!channel>").said == "ann <!channel> (U1)"
    assert Person("U1").said == "U1"


# Limits


HOSTILE = st.text(max_size=300) | st.sampled_from(
    ["", "<!channel>", "&" * 4000, "😀" * 4000, "\x00\u202e\ud800", "a\n" * 500]
)


@settings(max_examples=80, deadline=None)
@given(text=HOSTILE, count=st.integers(0, 30), closed=st.booleans())
def test_any_question_fits_what_slack_takes(text: str, count: int, closed: bool) -> None:
    actions = ("skip", "abandon", "retry_hint", text)
    message = Message(
        headline=text, story_id=text, story_title=text, paragraphs=(text or "?", text), decision_id="d-1",
        excerpts=parse_message({"headline": "h", "excerpts": [{"title": text, "text": text}] * 3}).excerpts,
        choices=tuple(
            Choice(id=f"{i}{text}", label=text, action=actions[i % 4], wants_text=i % 2 == 0, recommended=i == 1)
            for i in range(count)
        ),
    )  # fmt: skip
    if closed:
        message = settled_message(message, {"d-1": Closed("d-1", text or "A", text, text, text, NOW)})
    said, parts = render_message(message)
    sent = blocks.message(parts, "marker")
    assert problems(sent) == []
    assert said.strip()
    for block in sent:
        parsed = Block.parse(block)
        assert parsed is not None
        parsed.validate_json()


@settings(max_examples=80, deadline=None)
@given(text=HOSTILE, action=st.sampled_from(["retry_hint", "waive", "raise_budget", "criteria", "x"]))
def test_any_dialog_fits_what_slack_takes(text: str, action: str) -> None:
    for view in (text_dialog(Asked("d-1", "a", text, text, action, wants_text=True)), notice(text)):
        assert view_problems(view) == []
        View(**{**view, "state": None}).validate_json()


GOOD: dict[str, Any] = {"type": "section", "text": {"type": "mrkdwn", "text": "x"}}
PRESS: dict[str, Any] = {"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "A"}, "value": "v"}


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [GOOD] * 51,
        [{**GOOD, "text": {"type": "mrkdwn", "text": " "}}],
        [{**GOOD, "text": {"type": "mrkdwn", "text": "x" * 3001}}],
        [{**GOOD, "text": {"type": "mrkdwn", "text": "😀" * 1501}}],
        [{**GOOD, "text": "x"}],
        [{"type": "section"}],
        [{"type": "section", "fields": [GOOD["text"]] * 11}],
        [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}],
        [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}],
        [{"type": "context", "elements": []}],
        [{"type": "context", "elements": [GOOD["text"]] * 11}],
        [{"type": "actions", "elements": []}],
        [{"type": "actions", "elements": [{**PRESS, "action_id": f"a{i}"} for i in range(26)]}],
        [{"type": "actions", "elements": [PRESS, PRESS]}],
        [{"type": "actions", "elements": [{**PRESS, "action_id": ""}]}],
        [{"type": "actions", "elements": [{**PRESS, "action_id": "a" * 256}]}],
        [{"type": "actions", "elements": [{**PRESS, "value": "v" * 2001}]}],
        [{"type": "actions", "elements": [{**PRESS, "style": "loud"}]}],
        [{"type": "actions", "elements": [{**PRESS, "text": {"type": "plain_text", "text": "x" * 76}}]}],
        [{"type": "actions", "elements": [{**PRESS, "confirm": {}}]}],
        [{**GOOD, "block_id": "b"}, {**GOOD, "block_id": "b"}],
        [{**GOOD, "block_id": "b" * 256}],
        [{"type": "video"}],
        [{"type": "input", "block_id": "b", "element": {"type": "plain_text_input", "action_id": "a"}}],
    ],
)  # fmt: skip
def test_what_slack_would_refuse_is_found_before(bad: list[Any]) -> None:
    assert problems(bad)


def test_a_dialog_that_slack_would_refuse_is_found_before() -> None:
    good = text_dialog(Asked("d-1", "a", "A", "Q?", "waive", wants_text=True))
    changes: list[dict[str, Any]] = [
        {"title": {"type": "plain_text", "text": "x" * 25}},
        {"private_metadata": "x" * 3001},
        {"callback_id": "x" * 256},
        {"blocks": []},
    ]
    for change in changes:
        assert view_problems({**good, **change})
    del good["submit"]
    assert view_problems(good)


def test_a_dialog_carries_names_and_nothing_else() -> None:
    view = text_dialog(Asked("d-1", "waive", "Accept it", "Which?", "waive", wants_text=True))
    assert json.loads(view["private_metadata"]) == {"decision": "d-1", "option": "waive"}


def test_a_reminder_has_the_buttons_and_says_what_it_is() -> None:
    row = {"id": "d-1", "story_id": "S-1", "question": "S-1: which one?", "options": [{"id": "a", "label": "A"}]}
    fact = facts.reminder([row], key="reminder:1")
    message = parse_message(fact.payload)
    _, parts = render_message(message)
    assert parts[1]["elements"][0]["text"] == "S-1 · Still waiting for you"
    assert len(buttons_of(message)) == 1
    assert asked_in([Item(fact.kind, fact.payload)]) == ["d-1"]
    assert buttons_of(settled_message(message, {"d-1": ANN})) == []
