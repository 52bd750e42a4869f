"""What messages say: facts, grouping, and their form as text, HTML and Slack blocks under hostile input."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from auto_dev.model import PullState, Scope
from auto_dev.notify import blocks, facts
from auto_dev.notify.message import Choice, Message, merge, parse, safe_url, story_label
from auto_dev.notify.render import render_email, render_mail
from auto_dev.notify.schedule import Slot
from auto_dev.notify.slack_messages import render_message, render_slack
from auto_dev.notify.summary import (
    Budget,
    CompletedStory,
    RunningStory,
    StoppedStory,
    Summary,
    WaitingStory,
    from_payload,
    render_text,
    to_payload,
)

pytestmark = pytest.mark.unit

HOSTILE = [
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "</mj-text><mj-raw><script>1</script></mj-raw><mj-include path='/etc/passwd' />",
    "<!channel> <!here> <@U012345> @channel @here @Everyone <https://evil.example|click>",
    "Subject\r\nBcc: victim@example.com\r\n\r\nbody",
    "x" * 10_000,
    "&" * 5_000,
    "\U0001f600" * 4_000,
    "safe\u202egnp.exe\u202c \u2066hidden\u2069 \x1b[31mred\x1b[0m \x00nul \ud800lone",
    "``` } {{ 7 * 7 }} {% raw %} ${x} *bold* ```",
    "\"quotes\" 'single' --answer $(rm -rf /) `id`",
    "",
]
OPTIONS: list[dict[str, Any]] = [
    {"id": "a", "label": "Resume with A", "recommended": True},
    {"id": "hint", "label": "Retry with a hint", "wants_text": True},
    {"id": "skip", "label": "Skip the story"},
]


def opened(text: str = "Which roles to include first?", decision: str = "d-7kq2mn") -> facts.Fact:
    return facts.decision_opened(
        decision_id=decision,
        story_id="WINT-0210",
        story_title=f"Role Pack Templates {text}",
        question=text,
        why=f"why {text}",
        evidence=[{"title": text, "file": f"a/{text}.py", "line": 3, "excerpt": text}] * 9,
        options=[*OPTIONS, {"id": text or "z", "label": text}],
    )


def every_fact(text: str) -> Iterator[facts.Fact]:
    story: dict[str, Any] = {"story_id": text, "story_title": text}
    yield opened(text)
    yield facts.decision_answered(
        decision_id="d-1", question=text, answer=text, answer_text=text, by=text, via=text, **story
    )
    yield facts.run_failed(run_id="r1", reason=text, **story)
    yield facts.run_paused(run_id="r1", reason=text, cause=text, since="1", resumes=text, **story)
    yield facts.pull_request_ready(
        run_id="r1", state=PullState.DRAFT, branch=text, base=text, number=3, url=f"https://x.example/{text}", **story
    )
    yield facts.budget_alert(scope=Scope.DAY, window=text, spent_microusd=40_000_000, cap_microusd=50_000_000)
    yield facts.budget_reached(scope=Scope.WEEK, window=text, spent_microusd=1, cap_microusd=0)
    yield facts.project_paused(reason=text, since="7")


def a_summary(text: str = "", stories: int = 1) -> Summary:
    many = range(stories)
    name = f"WINT-0180{text}"
    return Summary(
        project_id=f"todo{text}",
        day=date(2026, 2, 9),
        since=datetime(2026, 2, 8, 17, tzinfo=UTC),
        until=datetime(2026, 2, 9, 17, tzinfo=UTC),
        completed=tuple(
            CompletedStory(name, f"Examples Framework{text}", 4_210_000, "draft", f"auto-dev/{name}", 12, "https://f.example/12")
            for _ in many
        ),
        waiting=tuple(
            WaitingStory(name, f"Role{text}", f"d-{i}", f"Which roles?{text}", "", (Choice(id="a", label=f"A{text}"),))
            for i in many
        ),
        paused=tuple(StoppedStory(name, f"Paused one{text}", f"the story's budget is used{text}") for _ in many),
        failed=tuple(StoppedStory(name, f"Worktree Tracking{text}", f"missing test{text}") for _ in many),
        running=tuple(RunningStory(name, f"Scoreboard{text}", "verify", 78) for _ in many),
        queued=4,
        blocked=2,
        invalid=1,
        older_in_review=3,
        cost_microusd=23_410_000,
        today=Budget(50_000_000, 23_410_000, 0),
        week=Budget(200_000_000, 90_000_000, 1_000_000),
        paused_reason=text,
    )  # fmt: skip


class Tags(HTMLParser):
    """Collects what a mail program would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def assert_harmless_html(html: str) -> None:
    tags = Tags()
    tags.feed(html)
    assert not tags.tags & {"script", "img", "iframe", "link", "object", "form", "mj-include", "mj-raw", "svg"}
    assert not [name for name, _ in tags.attributes if name.startswith("on") or name == "src"]
    targets = [value for name, value in tags.attributes if name == "href"]
    assert all(value.startswith(("https://", "http://")) for value in targets)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", html)


def check_blocks(text: str, given_blocks: list[blocks.Block]) -> None:
    """Slack's limits: those that slack_sdk knows, and those that it does not."""
    result = blocks.message(given_blocks, "marker")
    assert text.strip()
    assert blocks.units(text) <= blocks.FALLBACK
    assert 0 < len(result) <= 50
    assert result[0]["block_id"] == "marker"
    ids: list[str] = []
    for entry in result:
        parsed = Block.parse(entry)
        assert parsed is not None
        parsed.validate_json()
        for piece in entry.get("elements", []):
            if piece["type"] == "button":
                ids.append(piece["action_id"])
                assert blocks.units(piece["text"]["text"]) <= 75
                assert blocks.units(piece["value"]) <= 2000
        if entry["type"] == "section":
            for value in [*([entry["text"]] if "text" in entry else []), *entry.get("fields", [])]:
                assert 0 < blocks.units(value["text"]) <= (3000 if "text" in entry else 2000)
        if entry["type"] == "actions":
            assert 0 < len(entry["elements"]) <= 25
    assert len(ids) == len(set(ids))
    shown = [{"type": "mrkdwn", "text": text}, *texts(result)]
    for piece in shown:
        assert not re.search(r"<[!@#]", piece["text"])
        assert not re.search(r"@(channel|here|everyone)\b", piece["text"], re.IGNORECASE)
        if piece["type"] == "mrkdwn":
            assert not re.search(r"<(?!https?://(f\.example|x\.example|127\.0\.0\.1))", piece["text"])
    json.dumps([text, result]).encode()


def texts(value: Any) -> list[dict[str, Any]]:
    """All text objects in blocks, wherever they are."""
    if isinstance(value, dict):
        own = [value] if value.get("type") in ("mrkdwn", "plain_text") else []
        return own + [found for entry in value.values() for found in texts(entry)]
    return [found for entry in value for found in texts(entry)] if isinstance(value, list) else []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_in_every_form(text: str) -> None:
    for fact in every_fact(text):
        message = parse(json.loads(json.dumps(dict(fact.payload), ensure_ascii=True)))
        mail = render_mail(message, f"todo{text}", dashboard_url="http://127.0.0.1:3100/")
        assert len(mail.subject.splitlines()) == 1
        assert len(mail.subject) <= 200
        assert_harmless_html(mail.html)
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", mail.text)
        check_blocks(*render_message(message, dashboard_url="http://127.0.0.1:3100/"))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_in_a_summary(text: str) -> None:
    from auto_dev.text import jsonable

    summary = from_payload(jsonable(to_payload(a_summary(text.encode("utf-8", "replace").decode(), stories=3))))
    mail = render_email(summary)
    assert len(mail.subject.splitlines()) == 1
    assert_harmless_html(mail.html)
    check_blocks(*render_slack(summary))


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=400), count=st.integers(0, 60))
def test_any_text_fits_slacks_limits_and_stays_text_in_html(text: str, count: int) -> None:
    message = Message(
        headline=text,
        story_id=text,
        story_title=text,
        paragraphs=(text * 20,) * (count % 7),
        details=((text, text),) * count,
        listing=(text * 5,) * count,
        decision_id="d-1",
        choices=tuple(Choice(id=f"{i}{text}", label=text) for i in range(count)),
    )
    rendered, parts = render_message(message)
    for entry in blocks.message(parts, "m"):
        parsed = Block.parse(entry)
        assert parsed is not None
        parsed.validate_json()
    assert rendered
    assert_harmless_html(render_mail(message, text).html)


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("&<>a😀\n"), max_size=200), limit=st.integers(1, 60))
def test_a_cut_never_splits_an_entity(text: str, limit: int) -> None:
    said = blocks.escaped(text, limit)
    assert blocks.units(said) <= limit
    assert re.sub(r"&(?:amp|lt|gt);", "", said).count("&") == 0


def test_a_decision_prompt_has_buttons_and_says_how_to_answer_without_them() -> None:
    text, parts = render_message(parse(opened().payload))
    buttons = next(block for block in parts if block["type"] == "actions")["elements"]
    assert [json.loads(button["value"]) for button in buttons][:3] == [
        {"decision": "d-7kq2mn", "option": "a"},
        {"decision": "d-7kq2mn", "option": "hint"},
        {"decision": "d-7kq2mn", "option": "skip"},
    ]
    assert [button.get("style") for button in buttons][:2] == ["primary", None]
    assert "auto-dev decide d-7kq2mn --answer a" in text
    assert 'auto-dev decide d-7kq2mn --answer hint --text "..."' in text
    assert "Which roles to include first?" in text


def test_two_options_with_one_id_make_one_button() -> None:
    parts = blocks.decision_buttons("d-1", [Choice(id="a", label="A"), Choice(id="a", label="again")])
    assert [element["text"]["text"] for element in parts[0]["elements"]] == ["A"]


def test_a_message_of_too_many_blocks_is_cut_and_says_so() -> None:
    cut = blocks.message([block for i in range(80) for block in blocks.section(f"n{i}")], "m")
    assert len(cut) == 50
    assert "cut" in cut[-1]["elements"][0]["text"]


def test_the_same_button_twice_in_a_message_is_kept_once() -> None:
    row = blocks.decision_buttons("d-1", [Choice(id="a", label="A")])
    assert len(blocks.message([*blocks.section("x"), *row, *row], "m")) == 2


def test_one_message_stands_for_many_of_one_cause() -> None:
    messages = [
        parse(
            facts.run_paused(
                run_id=f"r{i}", story_id=f"S-{i}", story_title="T", reason="the daily budget is reached",
                cause="budget", since="1",
            ).payload
        )
        for i in range(40)
    ]  # fmt: skip
    merged = merge(messages)
    assert merged.headline == "Paused (40 stories)"
    assert len(merged.listing) == 26
    assert merged.listing[0] == "S-0 - T: the daily budget is reached"
    assert merged.listing[-1] == "… and 15 more"
    check_blocks(*render_message(merged))


def test_merged_decisions_each_keep_their_id() -> None:
    merged = merge([parse(opened(decision=f"d-{i}").payload) for i in range(3)])
    assert [f"auto-dev decide d-{i}" in merged.listing[i] for i in range(3)] == [True] * 3


def test_different_facts_of_one_cause_name_the_first() -> None:
    reached = facts.budget_reached(scope=Scope.DAY, window="2026-02-09", spent_microusd=5, cap_microusd=5)
    merged = merge([parse(reached.payload), parse(opened().payload)])
    assert merged.headline == "The daily budget is reached, and 1 more"
    assert merged.tone == "bad"


def test_keys_name_the_fact() -> None:
    assert opened().key == "decision:d-7kq2mn"
    slot = Slot(date(2026, 2, 9), datetime(2026, 2, 8, tzinfo=UTC), datetime(2026, 2, 9, tzinfo=UTC))
    assert facts.daily_summary(a_summary(), key=slot.key).key == "summary:2026-02-09"
    raised = [
        facts.budget_alert(scope=Scope.DAY, window="2026-02-09", spent_microusd=8, cap_microusd=cap).key
        for cap in (10, 20)
    ]
    assert len(set(raised)) == 2, "a raised limit alerts anew"


def test_urgent_is_what_needs_a_person_now() -> None:
    urgent = {fact.kind for fact in every_fact("x") if fact.urgent}
    assert urgent == {"decision", "run_failed", "budget_alert", "alert"}
    assert not facts.budget_alert(scope=Scope.DAY, window="d", spent_microusd=8, cap_microusd=10).urgent


@pytest.mark.parametrize(
    ("story_id", "title", "label"),
    [
        ("WINT-1", "Role Packs", "WINT-1 - Role Packs"),
        ("WINT-1", "WINT-1: Role Packs", "WINT-1 - Role Packs"),
        ("WINT-1", "", "WINT-1"),
        ("WINT-1", "WINT-1", "WINT-1"),
        ("", "Only a title", "Only a title"),
    ],
)
def test_a_storys_label_says_its_id_once(story_id: str, title: str, label: str) -> None:
    assert story_label(story_id, title) == label


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://github.com/o/r/pull/1", True),
        ("http://127.0.0.1:3000/o/r/pulls/1?x=1&y=2", True),
        ("javascript:alert(1)", False),
        ("javascript://x.example/%0aalert(1)", False),
        ("data:text/html,x", False),
        ("https://x.example/a|b", False),
        ("https://x.example/a b", False),
        ("https://x.example/\r\nBcc: x", False),
        ("https://[::1", False),
        ("https:///path", False),
        ("", False),
    ],
)
def test_only_web_addresses_become_links(url: str, kept: bool) -> None:
    assert safe_url(url) == (url if kept else "")


def test_an_evidence_place_is_shown_once() -> None:
    payload = opened("q").payload
    assert parse(payload).excerpts[0].title == "q (a/q.py:3)"
    assert len(parse(payload).excerpts) == facts.MAX_EVIDENCE


def test_the_summary_survives_the_outbox() -> None:
    summary = a_summary("ü", stories=2)
    assert from_payload(json.loads(json.dumps(to_payload(summary)))) == summary


def test_the_summary_text_is_what_a_person_sees_when_coming_home() -> None:
    text = render_text(a_summary())
    assert "Daily Summary - Feb 9, 2026 (todo)" in text
    assert "Completed (1 PR ready for review):\n✓ WINT-0180 - Examples Framework" in text
    assert "$4.21\n    Review PR #12: https://f.example/12" in text
    assert '→ Decision required: "Which roles?"' in text
    assert "auto-dev decide d-0 --answer a" in text
    assert "✗ WINT-0180 - Worktree Tracking\n    → missing test" in text
    assert re.search(r"◐ WINT-0180 - Scoreboard +78 % complete\n", text)
    assert "Total cost: $23.41\nBudget remaining: $26.59 today, $109.00 this week" in text
    assert "4 queued, 2 blocked by other stories" in text
    assert max(len(entry) for entry in text.splitlines() if "auto-dev" not in entry and "queued" not in entry) <= 72


def test_a_quiet_day_says_so() -> None:
    quiet = a_summary(stories=0)
    assert "Nothing was completed" in render_text(quiet)
    assert "Nothing was completed" in render_email(quiet).html
    assert "nothing new" in render_email(quiet).subject
    check_blocks(*render_slack(quiet))


def test_a_branch_without_a_forge_is_named() -> None:
    local = CompletedStory("S-1", "T", 0, "local", "auto-dev/S-1")
    summary = from_payload({**to_payload(a_summary(stories=0)), "completed": [local]})
    text = render_text(summary)
    assert "Completed (1 branch ready for review):" in text
    assert "branch auto-dev/S-1" in text


def test_a_summary_of_many_stories_fits_slack_and_is_quick_to_read() -> None:
    summary = a_summary(" of some length", stories=25)
    check_blocks(*render_slack(summary))
    assert len(render_email(summary).html.encode()) < 102_000, "Gmail cuts longer mails"


def test_a_dashboard_address_becomes_a_link() -> None:
    mail = render_mail(parse(opened().payload), "todo", dashboard_url="http://127.0.0.1:3100/")
    assert 'href="http://127.0.0.1:3100/decisions/d-7kq2mn"' in mail.html
    assert "Dashboard: http://127.0.0.1:3100/decisions/d-7kq2mn" in mail.text


def test_a_mail_loads_nothing_from_anywhere() -> None:
    html = render_email(a_summary()).html
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", html))
    assert addresses == {"https://f.example/12", "http://www.w3.org/1999/xhtml"}
    assert "@import" not in html
