"""The Slack channel against a stand-in of Slack's Web API on loopback, and the outbox's rules through it.

The stand-in is a small HTTP server in this file. It refuses what Slack's documentation says that Slack refuses: blocks
past their limits, empty texts, duplicate ids, unknown threads, wrong tokens.
"""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import pytest

from auto_dev.config import SlackConfig
from auto_dev.notify import facts
from auto_dev.notify.channel import Channel, Closed, Item, Outgoing, Receipt, SendError
from auto_dev.notify.outbox import LEASE_S, Deliverer, enqueue
from auto_dev.notify.slack import SlackChannel
from auto_dev.store.database import Database

pytestmark = pytest.mark.integration

TOKEN = "xoxb-canary"
START = datetime.now(UTC)


class RefusedError(Exception):
    """What the stand-in answers as ok: false."""


@dataclass
class Slack:
    """The stand-in's memory. ``script`` holds (method, what happens instead) once each: an error code, a status, or
    "vanish": the request is carried out, but the connection breaks before the answer."""

    url: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    script: list[tuple[str, str | int]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    page: int = 100

    def answer(self, method: str, body: dict[str, Any], token: str) -> dict[str, Any]:
        self.calls.append(method)
        self.tokens.add(token)
        if token != TOKEN:
            raise RefusedError("invalid_auth")
        if method == "auth.test":
            return {"team": "T", "user": "auto-dev"}
        if method == "chat.postMessage":
            return self.post(body)
        if method == "chat.update":
            old = next((m for m in self.messages if m["ts"] == body["ts"] and body["channel"] == "C0000001"), None)
            if old is None:
                raise RefusedError("message_not_found")
            check(body)
            old.update({key: body[key] for key in ("text", "blocks")})
            return {"channel": "C0000001", "ts": body["ts"]}
        if method in ("conversations.history", "conversations.replies"):
            if body["channel"] != "C0000001":
                raise RefusedError("channel_not_found")
            root = body.get("ts")
            skip = int(body.get("cursor", 0))
            found = [
                message
                for message in reversed(self.messages)
                if float(message["ts"]) >= float(body["oldest"])
                and (message.get("thread_ts") == root or message["ts"] == root)
            ]
            rest = {"next_cursor": str(skip + self.page)} if len(found) > skip + self.page else {}
            return {"messages": found[skip : skip + self.page], "response_metadata": rest}
        raise RefusedError("unknown_method")

    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("channel") not in ("#auto-dev", "C0000001"):
            raise RefusedError("channel_not_found")
        if body.get("thread_ts") and body["thread_ts"] not in {m["ts"] for m in self.messages}:
            raise RefusedError("thread_not_found")
        check(body)
        stamp = f"{datetime.now(UTC).timestamp() + len(self.messages):.6f}"
        self.messages.append({**body, "ts": stamp})
        return {"channel": "C0000001", "ts": stamp, "message": body}


def check(body: dict[str, Any]) -> None:
    """The limits of https://docs.slack.dev/reference/block-kit/blocks and of chat.postMessage."""
    given = body.get("blocks", [])
    if not str(body.get("text", "")).strip() and not given:
        raise RefusedError("no_text")
    if len(body.get("text", "")) > 40_000:
        raise RefusedError("msg_too_long")
    bad = not isinstance(given, list) or len(given) > 50
    names = [b["block_id"] for b in given if "block_id" in b]
    actions = [e["action_id"] for b in given if b["type"] == "actions" for e in b["elements"]]
    bad |= len(names) != len(set(names)) or len(actions) != len(set(actions)) or any(len(n) > 255 for n in names)
    if bad or not all(fits(b) for b in given):
        raise RefusedError("invalid_blocks")


def fits(block: dict[str, Any]) -> bool:
    def size(value: dict[str, Any], limit: int) -> bool:
        return 0 < len(value["text"].encode("utf-16-le")) // 2 <= limit

    match block["type"]:
        case "header":
            return bool(block["text"]["type"] == "plain_text") and size(block["text"], 150)
        case "section":
            cells = block.get("fields", [])
            has = "text" in block or bool(cells)
            return has and len(cells) <= 10 and all(size(c, 2000) for c in cells) and (
                "text" not in block or size(block["text"], 3000)
            )  # fmt: skip
        case "context":
            return 0 < len(block["elements"]) <= 10 and all(size(e, 2000) for e in block["elements"])
        case "actions":
            return 0 < len(block["elements"]) <= 25 and all(
                size(e["text"], 75) and len(e["value"]) <= 2000 and 0 < len(e["action_id"]) <= 255
                for e in block["elements"]
            )
    return False


@pytest.fixture
def slack() -> Iterator[Slack]:
    state = Slack()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            is_json = self.headers["content-type"].startswith("application/json")
            body = json.loads(raw) if is_json else dict(parse_qsl(raw.decode()))
            method = self.path.removeprefix("/api/")
            instead = next((i for i, (name, _) in enumerate(state.script) if name == method), None)
            what = state.script.pop(instead)[1] if instead is not None else None
            if isinstance(what, int):
                state.calls.append(method)
                self.reply(what, {429: {"retry-after": "7"}, 302: {"location": "/api/x"}}.get(what, {}), b"<html>")
                return
            try:
                if what is not None and what != "vanish":
                    state.calls.append(method)
                    raise RefusedError(what)
                token = self.headers["authorization"].removeprefix("Bearer ")
                answer = {"ok": True, **state.answer(method, body, token)}
            except RefusedError as refused:
                answer = {"ok": False, "error": str(refused)}
            if what == "vanish":
                self.close_connection = True
                return
            self.reply(200, {"content-type": "application/json"}, json.dumps(answer).encode())

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/api/"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def channel(slack: Slack) -> AsyncIterator[SlackChannel]:
    made = SlackChannel(SlackConfig(api_url=slack.url), TOKEN)
    yield made
    await made.close()


def asked(decision: str = "d-1", story: str = "WINT-1") -> facts.Fact:
    return facts.decision_opened(
        decision_id=decision,
        story_id=story,
        story_title="Roles",
        question="Which roles?",
        why="two fit",
        evidence=[{"title": "story", "excerpt": "a\nb"}],
        options=[{"id": "a", "label": "A", "recommended": True}, {"id": "b", "label": "B"}],
    )


ANSWER = Closed("d-1", answer="A", by="ann", via="cli", at=START)


def failed(story: str = "WINT-1", run: str = "r1") -> facts.Fact:
    return facts.run_failed(run_id=run, story_id=story, story_title="Roles", reason="3 tests fail")


def outgoing(fact: facts.Fact, **more: Any) -> Outgoing:
    return Outgoing("todo", fact.key, (Item(fact.kind, fact.payload),), START, **more)


async def failure(channel: SlackChannel, message: Outgoing) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(message)
    return caught.value


async def test_a_decision_prompt_is_posted_with_buttons(slack: Slack, channel: SlackChannel) -> None:
    receipt = await channel.send(outgoing(asked()))
    (message,) = slack.messages
    assert receipt.data["ts"] == receipt.data["thread"] == message["ts"]
    buttons = next(block for block in message["blocks"] if block["type"] == "actions")["elements"]
    assert [json.loads(b["value"]) for b in buttons] == [
        {"decision": "d-1", "option": "a"},
        {"decision": "d-1", "option": "b"},
    ]
    assert "auto-dev decide d-1 --answer b" in message["text"]
    assert message["unfurl_links"] is False
    assert slack.tokens == {TOKEN}
    assert await channel.check() == "#auto-dev in T as auto-dev"


@pytest.mark.parametrize(
    "text", ["<!channel> @here", "&" * 9000, "😀" * 9000, "", "x" * 10_000, "`" * 900, "\u202e\x00"]
)
async def test_hostile_text_is_never_refused(text: str, slack: Slack, channel: SlackChannel) -> None:
    fact = facts.decision_opened(
        decision_id="d-1",
        story_id=text,
        story_title=text,
        question=text,
        why=text,
        evidence=[{"title": text, "excerpt": text}] * 5,
        options=[{"id": f"{i}{text}", "label": text} for i in range(40)],
    )
    receipt = await channel.send(outgoing(fact))
    assert receipt.problem == ""
    assert len(slack.messages) == 1


async def test_messages_of_one_story_make_one_thread(slack: Slack, channel: SlackChannel) -> None:
    first = await channel.send(outgoing(asked()))
    second = await channel.send(outgoing(failed(), thread=first.data))
    assert slack.messages[1]["thread_ts"] == slack.messages[0]["ts"]
    assert slack.messages[1]["reply_broadcast"] is True
    assert second.data["thread"] == first.data["thread"]


async def test_an_answer_changes_the_prompt_in_place(slack: Slack, channel: SlackChannel) -> None:
    prompt = await channel.send(outgoing(asked()))
    assert prompt.data["asks"] == ["d-1"]
    for _ in range(2):
        await channel.settle(outgoing(asked(), earlier=prompt.data), {"d-1": ANSWER})
    (message,) = slack.messages
    assert not any(block["type"] == "actions" for block in message["blocks"])
    assert "A, by ann, on the command line" in message["text"]
    assert "Which roles?" in message["text"]


async def test_a_question_that_nobody_asks_any_more_says_so(slack: Slack, channel: SlackChannel) -> None:
    prompt = await channel.send(outgoing(asked()))
    await channel.settle(outgoing(asked(), earlier=prompt.data), {"d-1": Closed("d-1")})
    (message,) = slack.messages
    assert not any(block["type"] == "actions" for block in message["blocks"])
    assert "No longer asked" in message["text"]


async def test_a_prompt_that_is_gone_needs_no_answer(slack: Slack, channel: SlackChannel) -> None:
    for gone in ({}, {"channel": "C0000001", "ts": "1.0"}):
        await channel.settle(outgoing(asked(), earlier=gone), {"d-1": ANSWER})
    assert slack.messages == []


async def test_a_rate_limit_is_obeyed_when_an_answer_is_shown(slack: Slack, channel: SlackChannel) -> None:
    prompt = await channel.send(outgoing(asked()))
    slack.script = [("chat.update", 429)]
    with pytest.raises(SendError) as caught:
        await channel.settle(outgoing(asked(), earlier=prompt.data), {"d-1": ANSWER})
    assert (caught.value.retry_after, caught.value.whole_channel) == (7, True)


async def test_what_follows_a_message_up_is_a_reply(slack: Slack, channel: SlackChannel) -> None:
    prompt = await channel.send(outgoing(asked()))
    await channel.send(outgoing(failed(), about={**prompt.data, "of": 1}))
    assert slack.messages[1]["thread_ts"] == slack.messages[0]["ts"]


async def test_a_deleted_thread_is_left(slack: Slack, channel: SlackChannel) -> None:
    receipt = await channel.send(outgoing(failed(), thread={"thread": "1.0", "to": "#auto-dev", "channel": "C0000001"}))
    assert "thread_ts" not in slack.messages[0]
    assert receipt.problem == "thread_not_found: sent without thread_ts"
    assert receipt.data["thread"] == slack.messages[0]["ts"]


async def test_blocks_that_slack_does_not_take_are_left_out(slack: Slack, channel: SlackChannel) -> None:
    slack.script = [("chat.postMessage", "invalid_blocks")]
    receipt = await channel.send(outgoing(asked()))
    assert "blocks" not in slack.messages[0]
    assert "auto-dev decide d-1 --answer a" in slack.messages[0]["text"]
    assert receipt.problem == "invalid_blocks: sent without blocks"


async def test_a_rate_limit_is_obeyed(slack: Slack, channel: SlackChannel) -> None:
    slack.script = [("chat.postMessage", 429)]
    error = await failure(channel, outgoing(failed()))
    assert error.retry_after == 7
    assert error.whole_channel
    assert not error.permanent


@pytest.mark.parametrize(
    "code", ["invalid_auth", "channel_not_found", "not_in_channel", "is_archived", "missing_scope"]
)
async def test_what_only_a_person_can_mend_says_how(code: str, slack: Slack, channel: SlackChannel) -> None:
    slack.script = [("chat.postMessage", code)]
    error = await failure(channel, outgoing(failed()))
    assert error.permanent
    assert error.whole_channel
    assert code in str(error)
    assert error.mend
    assert TOKEN not in str(error)


@pytest.mark.parametrize("what", [500, 503, "internal_error", "fatal_error", "vanish"])
async def test_an_answer_that_says_nothing_leaves_it_unconfirmed(
    what: str | int, slack: Slack, channel: SlackChannel
) -> None:
    slack.script = [("chat.postMessage", what)]
    error = await failure(channel, outgoing(failed()))
    assert error.unconfirmed
    assert not error.permanent


@pytest.mark.parametrize("what", [200, 302, 404])
async def test_an_answer_that_is_not_slacks_is_an_error(what: int, slack: Slack, channel: SlackChannel) -> None:
    slack.script = [("chat.postMessage", what)]
    error = await failure(channel, outgoing(failed()))
    assert "is not Slack's" in str(error)
    assert len(slack.calls) == 1, "a redirect would carry the token elsewhere"


async def test_a_slack_that_is_gone_is_tried_again() -> None:
    made = SlackChannel(SlackConfig(api_url="http://127.0.0.1:1/api/"), TOKEN)
    error = await failure(made, outgoing(failed()))
    assert not error.unconfirmed
    assert error.whole_channel
    await made.close()


async def test_a_message_that_had_arrived_is_not_sent_again(slack: Slack, channel: SlackChannel) -> None:
    slack.script = [("chat.postMessage", "vanish")]
    assert (await failure(channel, outgoing(asked()))).unconfirmed
    latest = {"to": "#auto-dev", "channel": "C0000001", "thread": "1.0"}
    receipt = await channel.send(outgoing(asked(), unconfirmed=True, latest=latest))
    assert receipt.data["found"] is True
    assert receipt.data["ts"] == slack.messages[0]["ts"]
    assert len(slack.messages) == 1


async def test_a_reply_that_had_arrived_is_found_in_its_thread(slack: Slack, channel: SlackChannel) -> None:
    root = (await channel.send(outgoing(asked()))).data
    slack.script = [("chat.postMessage", "vanish")]
    await failure(channel, outgoing(failed(), thread=root))
    receipt = await channel.send(outgoing(failed(), thread=root, unconfirmed=True))
    assert receipt.data["thread"] == root["ts"]
    assert len(slack.messages) == 2


@pytest.mark.parametrize("hidden", ["metadata", "blocks"])
async def test_either_mark_is_enough_to_recognise_a_message(hidden: str, slack: Slack, channel: SlackChannel) -> None:
    latest = (await channel.send(outgoing(asked()))).data
    del slack.messages[0][hidden]
    receipt = await channel.send(outgoing(asked(), unconfirmed=True, latest=latest))
    assert receipt.data["found"] is True
    assert len(slack.messages) == 1


async def test_a_busy_channel_is_looked_through_page_by_page(slack: Slack, channel: SlackChannel) -> None:
    latest = (await channel.send(outgoing(asked()))).data
    for i in range(7):
        await channel.send(outgoing(failed(f"S-{i}", f"r{i}")))
    slack.page = 2
    receipt = await channel.send(outgoing(asked(), unconfirmed=True, latest=latest))
    assert receipt.data["ts"] == latest["ts"]
    assert slack.calls.count("conversations.history") == 4
    slack.page = 1
    receipt = await channel.send(outgoing(asked(), unconfirmed=True, latest=latest))
    assert receipt.problem == "may be a repeat: the channel's history is too long to look through"


async def test_a_message_that_had_not_arrived_is_sent(slack: Slack, channel: SlackChannel) -> None:
    latest = (await channel.send(outgoing(asked()))).data
    await channel.send(outgoing(failed("WINT-2"), unconfirmed=True, latest=latest))
    assert slack.calls == ["chat.postMessage", "conversations.history", "chat.postMessage"]
    assert len(slack.messages) == 2


async def test_without_the_scope_to_look_it_is_sent_again_and_says_so(slack: Slack, channel: SlackChannel) -> None:
    latest = (await channel.send(outgoing(asked()))).data
    slack.script = [("conversations.history", "missing_scope")]
    receipt = await channel.send(outgoing(asked(), unconfirmed=True, latest=latest))
    assert len(slack.messages) == 2
    assert receipt.problem == "may be a repeat: conversations.history: missing_scope"


async def test_a_look_that_fails_for_now_sends_nothing(slack: Slack, channel: SlackChannel) -> None:
    latest = (await channel.send(outgoing(asked()))).data
    slack.script = [("conversations.history", 429)]
    assert (await failure(channel, outgoing(asked(), unconfirmed=True, latest=latest))).retry_after == 7
    assert len(slack.messages) == 1


# Through the outbox.


class CrashError(BaseException):
    """The process dies here."""


class Dying:
    """The channel of a process that dies between sending and recording."""

    def __init__(self, inner: Channel, deaths: int) -> None:
        self.name = inner.name
        self.inner = inner
        self.deaths = deaths

    async def send(self, message: Outgoing) -> Receipt:
        receipt = await self.inner.send(message)
        if self.deaths:
            self.deaths -= 1
            raise CrashError
        return receipt

    async def check(self) -> str:
        return await self.inner.check()

    async def close(self) -> None:
        await self.inner.close()


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


async def put(db: Database, *given: facts.Fact) -> None:
    async with db.transaction() as conn:
        for fact in given:
            await enqueue(conn, project_id="todo", channels=["slack"], **fact.row())


async def receipts(db: Database) -> list[dict[str, Any]]:
    rows = await db.fetch_all("SELECT receipt FROM outbox WHERE delivered_at IS NOT NULL ORDER BY id")
    return [row["receipt"] for row in rows]


async def test_a_crash_between_sending_and_recording_repeats_nothing(
    db: Database, slack: Slack, channel: SlackChannel
) -> None:
    clock = Clock()
    await put(db, asked("d-0", "WINT-0"))
    await Deliverer(db.pool, "todo", {"slack": channel}, clock).deliver_due()
    await put(db, *(failed(f"WINT-{i}", f"r{i}") for i in range(1, 4)))
    deliverer = Deliverer(db.pool, "todo", {"slack": Dying(channel, deaths=3)}, clock)
    for _ in range(3):
        with pytest.raises(CrashError):
            await deliverer.deliver_due()
    assert len(slack.messages) == 4
    assert await deliverer.deliver_due() == 0, "what is claimed is left alone until the claim runs out"
    clock.forward(LEASE_S + 1)
    restarted = Deliverer(db.pool, "todo", {"slack": channel}, clock)
    assert await restarted.deliver_due() == 3
    assert len(slack.messages) == 4
    assert [receipt.get("found", False) for receipt in await receipts(db)] == [False, True, True, True]


async def test_a_crashed_group_comes_again_as_the_same_group(db: Database, slack: Slack, channel: SlackChannel) -> None:
    clock = Clock()
    await put(db, asked("d-0", "WINT-0"))
    await Deliverer(db.pool, "todo", {"slack": channel}, clock).deliver_due()

    def paused(i: int) -> facts.Fact:
        return facts.run_paused(
            run_id=f"r{i}", story_id=f"S-{i}", story_title="T", reason="no money", cause="budget", since="1"
        )

    await put(db, *(paused(i) for i in range(5)))
    clock.forward(30)
    with pytest.raises(CrashError):
        await Deliverer(db.pool, "todo", {"slack": Dying(channel, deaths=1)}, clock).deliver_due()
    await put(db, paused(5))
    clock.forward(LEASE_S + 1)
    deliverer = Deliverer(db.pool, "todo", {"slack": channel}, clock)
    assert await deliverer.deliver_due() == 5
    assert len(slack.messages) == 2
    clock.forward(601)
    assert await deliverer.deliver_due() == 1
    assert len(slack.messages) == 3


async def test_a_story_has_one_thread(db: Database, slack: Slack, channel: SlackChannel) -> None:
    deliverer = Deliverer(db.pool, "todo", {"slack": channel}, Clock())
    await put(db, asked("d-1", "WINT-1"), failed("WINT-1"), asked("d-2", "WINT-2"))
    assert await deliverer.deliver_due() == 3
    root = slack.messages[0]["ts"]
    assert [message.get("thread_ts") for message in slack.messages] == [None, root, None]
