"""Clicks and dialogs of Slack over signed HTTP, on a real database: what counts, what is refused, what is said."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from aiohttp import web

from auto_dev.config import Config, NotifyConfig
from auto_dev.daemon.control import Control
from auto_dev.daemon.desk import SlackDesk
from auto_dev.errors import AutoDevError
from auto_dev.notify.channel import SendError
from auto_dev.notify.slack_answers import Answers
from auto_dev.notify.slack_api import Identity, SlackApi
from auto_dev.notify.slack_desk import Asked, Desk, Person, UnavailableError
from auto_dev.notify.slack_http import MAX_BODY, PATH, HttpDoor
from auto_dev.notify.slack_link import Whoami, open_link
from auto_dev.store.database import Database
from tests.conftest import Eventually
from tests.slack_support import (
    ANN,
    APP,
    APP_TOKEN,
    BOT_TOKEN,
    CHANNEL,
    EVE,
    SIGNING_SECRET,
    TEAM,
    Caller,
    StandIn,
    at_once,
    facts_now,
    press,
    put_decision,
    row_of,
    signed,
    stand_in,
    submit,
)  # fmt: skip

pytestmark = pytest.mark.integration


BUTTON = {"action_id": "decide/d-1/a", "value": '{"decision": "d-1", "option": "a"}', "type": "button"}
DIALOG = {"type": "modal", "callback_id": "decide"}
SECRETS = {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN, "SLACK_SIGNING_SECRET": SIGNING_SECRET}


def now() -> datetime:
    return datetime.now(UTC)


def config(*deciders: str) -> Config:
    return Config(notify=NotifyConfig.model_validate({"channels": ["slack"], "slack": {"deciders": deciders}}))


@dataclass
class World:
    """Slack's stand-in, the desk of the project ``todo`` and an open door; ``config`` is what the file says now."""

    db: Database
    slack: StandIn
    config: Config = field(default_factory=lambda: config(ANN))
    caller: Caller = field(init=False)

    def desk(self) -> SlackDesk:
        return SlackDesk(self.db, "todo", lambda: self.config, now)

    @asynccontextmanager
    async def door(self, desk: Desk | None = None) -> AsyncIterator[Caller]:
        """A door of its own, as after a restart."""
        api, chosen = SlackApi(self.slack.api_url, BOT_TOKEN), desk or self.desk()
        answers = Answers(chosen, api, Whoami(api))
        door = HttpDoor("127.0.0.1:0", SIGNING_SECRET, answers, chosen, now)
        open_now = asyncio.Event()
        task = asyncio.create_task(door.serve(open_now.set))
        await open_now.wait()
        async with httpx.AsyncClient(timeout=20) as client:
            try:
                yield Caller(f"http://127.0.0.1:{door.port}{PATH}", client)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await answers.close()
                await api.close()

    async def send(self, payload: dict[str, Any] | bytes, **how: Any) -> int:
        return (await self.caller.send(payload, **how)).status_code

    def control(self, via: str = "cli") -> Control:
        return Control(self.db, "todo", "me", via, ("slack",))


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    async with stand_in() as slack:
        made = World(db, slack)
        await put_decision(db, "d-1")
        async with made.door() as caller:
            made.caller = caller
            yield made


# What counts


async def test_a_press_is_the_answer(world: World) -> None:
    assert await world.send(press("d-1", "a")) == 200
    row = await row_of(world.db, "d-1")
    assert (row["status"], row["answer"], row["answered_by"], row["answered_via"]) == (
        "answered", "a", "u0ann (U0ANN)", "slack",
    )  # fmt: skip
    found = await facts_now(world.db)
    assert found["runs"] == [{"id": "run-d-1", "status": "queued", "reason": ""}]
    assert [event["kind"] for event in found["events"]].count("DECISION_ANSWERED") == 1
    assert len(found["jobs"]) == 1
    assert world.slack.told() == []


async def test_an_answer_with_words_opens_a_dialog_and_takes_what_is_sent(world: World, eventually: Eventually) -> None:
    assert await world.send(press("d-1", "waive")) == 200
    (opened,) = await eventually(lambda: world.slack.made("views.open"))
    assert opened["trigger_id"]
    assert json.loads(opened["view"]["private_metadata"]) == {"decision": "d-1", "option": "waive"}
    assert (await row_of(world.db, "d-1"))["status"] == "open"
    for empty in ("", "  \n ", None):
        response = await world.caller.send(submit("d-1", "waive", empty))
        assert response.json()["response_action"] == "errors"
        assert (await row_of(world.db, "d-1"))["status"] == "open"
    response = await world.caller.send(submit("d-1", "waive", "it is a <b>fixture</b>\x00"))
    assert (response.status_code, response.text) == (200, "")
    row = await row_of(world.db, "d-1")
    assert (row["answer"], row["answer_text"]) == ("waive", "it is a <b>fixture</b>")


async def test_a_press_of_what_wants_words_is_no_answer_by_itself(world: World) -> None:
    assert await world.send(press("d-1", "waive")) == 200
    assert (await row_of(world.db, "d-1"))["status"] == "open"


async def test_who_is_too_late_is_told_who_answered_what(world: World, eventually: Eventually) -> None:
    await world.control().answer("d-1", "b")
    before = await facts_now(world.db)
    assert await world.send(press("d-1", "a")) == 200
    (said,) = await eventually(world.slack.told)
    assert said == "This was answered already: Take B, by me, on the command line. Nothing was changed."
    response = await world.caller.send(submit("d-1", "waive", "words"))
    assert response.json()["response_action"] == "update"
    assert "Take B, by me" in response.text
    assert await facts_now(world.db) == before


async def test_whoever_may_not_decide_is_told_so_and_nothing_changes(world: World, eventually: Eventually) -> None:
    before = await facts_now(world.db)
    assert await world.send(press("d-1", "a", user=EVE)) == 200
    assert await world.send(press("d-1", "waive", user=EVE)) == 200
    said = await eventually(lambda: len(world.slack.told()) == 2 and world.slack.told())
    assert said[0] == "You may not decide here. Whoever owns auto-dev.toml can add U0EVE to its deciders."
    response = await world.caller.send(submit("d-1", "waive", "words", user=EVE))
    assert "You may not decide here" in response.text
    assert world.slack.made("views.open") == []
    assert await facts_now(world.db) == before


async def test_who_may_decide_is_what_the_file_says_now(world: World, eventually: Eventually) -> None:
    world.config = config()
    assert await world.send(press("d-1", "a")) == 200
    (said,) = await eventually(world.slack.told)
    assert "deciders is empty" in said
    world.config = config(EVE)
    assert await world.send(press("d-1", "a", user=EVE)) == 200
    assert (await row_of(world.db, "d-1"))["answered_by"] == "u0eve (U0EVE)"


async def test_a_whisper_goes_to_the_thread_and_to_slack_alone(world: World, eventually: Eventually) -> None:
    asked: list[str] = []

    async def note(request: web.Request) -> web.Response:
        asked.append(str(request.url))
        return web.Response()

    trap = web.Application()
    trap.router.add_route("*", "/{tail:.*}", note)
    runner = web.AppRunner(trap, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    outside = f"http://127.0.0.1:{runner.addresses[0][1]}/latest/meta-data"
    place = {"type": "message", "message_ts": "1.2", "channel_id": CHANNEL, "thread_ts": "1.1"}
    await world.send(press("d-1", "a", user=EVE, response_url=outside, container=place))
    (whisper,) = await eventually(lambda: world.slack.made("chat.postEphemeral"))
    assert (whisper["channel"], whisper["user"], whisper["thread_ts"]) == (CHANNEL, EVE, "1.1")
    await world.send(press("d-1", "a", user=EVE, response_url=f"{world.slack.url}/hooks/1"))
    (reply,) = await eventually(lambda: world.slack.replies)
    assert (reply["response_type"], reply["replace_original"]) == ("ephemeral", False)
    assert asked == []
    await runner.cleanup()


async def test_a_whisper_waits_when_slack_asks_for_it(world: World, eventually: Eventually) -> None:
    world.slack.script = [("chat.postEphemeral", 429)]
    began = time.monotonic()
    await world.send(press("d-1", "a", user=EVE))
    await eventually(lambda: len(world.slack.made("chat.postEphemeral")) == 2)
    assert time.monotonic() - began >= 1


async def test_a_dialog_that_does_not_open_is_told_of(world: World, eventually: Eventually) -> None:
    world.slack.script = [("views.open", "expired_trigger_id")]
    assert await world.send(press("d-1", "waive")) == 200
    (said,) = await eventually(world.slack.told)
    assert "auto-dev decide d-1 --answer waive" in said


async def test_what_is_whispered_calls_nobody(world: World, eventually: Eventually) -> None:
    await world.send(press("<!channel> @here", "<@U1>", user=ANN))
    (said,) = await eventually(world.slack.told)
    assert "<" not in said
    assert "@here" not in said


MONEY = {"id": "raise_to", "label": "Raise it to this", "action": "raise_budget", "wants_text": True, "data": {}}


async def test_an_amount_that_is_none_keeps_the_dialog_open_and_a_good_one_raises_the_limit(world: World) -> None:
    await put_decision(world.db, "d-money", options=[MONEY])
    await world.db.execute("UPDATE decisions SET kind = 'budget' WHERE id = 'd-money'")
    for text in ("a lot", "-5", "nan", "1e99"):
        response = await world.caller.send(submit("d-money", "raise_to", text))
        assert response.json()["response_action"] == "errors", text
        assert (await row_of(world.db, "d-money"))["status"] == "open"
    response = await world.caller.send(submit("d-money", "raise_to", "$25"))
    assert (response.status_code, response.text) == (200, "")
    (raised,) = await world.db.fetch_all("SELECT to_microusd, by FROM budget_raises")
    assert raised == {"to_microusd": 25_000_000, "by": "u0ann (U0ANN)"}


# What is refused


async def test_of_other_workspaces_apps_and_shapes_nothing_is_taken(world: World) -> None:
    before = await facts_now(world.db)
    bad: list[tuple[dict[str, Any] | bytes, int]] = [
        (press("d-1", "a", team={"id": "T0OTHER"}), 403),
        (press("d-1", "a", team=None), 403),
        (press("d-1", "a", api_app_id="A0OTHER"), 403),
        (press("d-1", "a", api_app_id=""), 403),
        (press("d-1", "a", team={"id": TEAM}, enterprise={"id": "E1"}, api_app_id="A1"), 403),
        (press("d-1", "a", actions=[]), 400),
        (press("d-1", "a", actions="x"), 400),
        (press("d-1", "a", actions=[{"value": "x"}]), 400),
        ({**press("d-1", "a"), "user": "x"}, 400),
        ({**press("d-1", "a"), "user": {"id": 7}}, 400),
        ({**submit("d-1", "waive", "x"), "view": {**DIALOG, "type": "workflow_step"}}, 400),
        (press("d-1", "a", actions=[{**BUTTON, "value": "not json"}]), 400),
        (press("d-1", "a", actions=[{**BUTTON, "value": '{"decision": "d-1"}'}]), 400),
        (press("d-1", "a", actions=[{**BUTTON, "value": '{"decision": "d-1", "option": "a", "x": 1}'}]), 400),
        (press("d-1", "a", actions=[{**BUTTON, "action_id": "other"}]), 404),
        ({**submit("d-1", "waive", "x"), "view": None}, 400),
        ({**submit("d-1", "waive", "x"), "view": {**DIALOG, "private_metadata": "[]"}}, 400),
        ({**submit("d-1", "waive", "x"), "view": {**DIALOG, "callback_id": "other"}}, 404),
        ({"type": "event_callback", "event": {"type": "message"}}, 200),
        ({"type": "view_closed"}, 200),
        ({"no": "type"}, 200),
        (b"payload=%7B", 400),
        (b"nothing", 400),
        (b"\xff\xfe", 400),
    ]  # fmt: skip
    for payload, status in bad:
        assert await world.send(payload) == status, payload
    assert await facts_now(world.db) == before


async def test_slack_may_check_the_address(world: World) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "abc", "token": "t"}).encode()
    _, headers = signed(body)
    response = await world.caller.client.post(
        world.caller.url, content=body, headers={**headers, "Content-Type": "application/json"}
    )
    assert response.json() == {"challenge": "abc"}


async def test_a_repeated_request_is_refused_also_after_a_restart(world: World) -> None:
    body, headers = signed(press("d-1", "a"))
    first = await world.caller.client.post(world.caller.url, content=body, headers=headers)
    before = await facts_now(world.db)
    again = await world.caller.client.post(world.caller.url, content=body, headers=headers)
    async with world.door() as restarted:
        after = await restarted.client.post(restarted.url, content=body, headers=headers)
        retried = {**headers, "X-Slack-Retry-Num": "1", "X-Slack-Retry-Reason": "http_timeout"}
        third = await restarted.client.post(restarted.url, content=body, headers=retried)
        anew = await restarted.send(press("d-1", "a"))
    assert [r.status_code for r in (first, again, after, third, anew)] == [200, 409, 409, 409, 200]
    assert await facts_now(world.db) == before


async def test_what_is_remembered_is_forgotten_when_it_is_too_old(world: World) -> None:
    for _ in range(3):
        await world.send(press("d-1", "b", user=EVE))
    await world.db.execute("UPDATE slack_requests SET expires_at = now() - interval '1 second'")
    await world.send(press("d-1", "b", user=EVE))
    assert await world.db.fetch_one("SELECT count(*)::int AS n FROM slack_requests") == {"n": 1}


async def test_only_posts_of_a_decent_size_to_the_one_path_are_read(world: World) -> None:
    client, url = world.caller.client, world.caller.url
    assert (await client.get(url)).status_code == 405
    assert (await client.post(url.replace(PATH, "/"), content=b"x")).status_code == 404
    assert (await world.caller.send(b"x" * (MAX_BODY + 1))).status_code == 413
    assert (await client.post(url, content=b"x")).status_code == 401

    host, port = url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npayload=".encode())
    async with asyncio.timeout(5):
        assert b" 503 " in await reader.readline(), "whoever sends slowly is not waited for"
    writer.close()


async def test_another_projects_decision_is_not_answered(world: World, eventually: Eventually) -> None:
    await put_decision(world.db, "d-2", project="other")
    before = await facts_now(world.db)
    assert await world.send(press("d-2", "a")) == 200
    (said,) = await eventually(world.slack.told)
    assert "each needs an app of its own" in said
    assert await facts_now(world.db) == before


@pytest.mark.parametrize("action", ["abort", "skip"])
async def test_a_decision_whose_run_was_ended_is_not_answered(
    action: str, world: World, eventually: Eventually
) -> None:
    await (world.control().abort("S-d-1") if action == "abort" else world.control().skip("S-d-1"))
    before = await facts_now(world.db)
    assert await world.send(press("d-1", "a")) == 200
    assert await eventually(world.slack.told) == ["This is no longer asked: its run ended in another way."]
    assert await facts_now(world.db) == before


@dataclass
class Away:
    """A desk whose database does not answer: at once, or not at all."""

    hang: bool

    async def _nothing(self) -> Any:
        if self.hang:
            await asyncio.Event().wait()
        raise UnavailableError("away")

    async def look(self, who: Person, decision: str, option: str) -> Asked:
        found: Asked = await self._nothing()
        return found

    async def answer(self, who: Person, decision: str, option: str, text: str = "") -> None:
        await self._nothing()

    async def first(self, digest: str, until: datetime) -> bool:
        return True

    async def trouble(self, text: str) -> None:
        await self._nothing()


@pytest.mark.parametrize("hang", [False, True])
async def test_a_click_that_cannot_be_recorded_is_not_acknowledged_and_that_within_3_seconds(
    hang: bool, world: World, eventually: Eventually
) -> None:
    async with world.door(Away(hang)) as caller:
        began = time.monotonic()
        assert (await caller.send(press("d-1", "a"))).status_code == 503
        response = await caller.send(submit("d-1", "waive", "words"))
        assert response.json()["response_action"] == "errors", "the words are not lost"
        assert time.monotonic() - began < 6
        (said,) = await eventually(world.slack.told)
        assert "not certain" in said


async def test_while_slack_does_not_say_who_we_are_nothing_is_taken(world: World) -> None:
    world.slack.script = [("auth.test", 503), ("auth.test", "invalid_auth")]
    async with world.door() as caller:
        assert (await caller.send(press("d-1", "a"))).status_code == 503
        assert (await caller.send(press("d-1", "a"))).status_code == 503
        assert (await row_of(world.db, "d-1"))["status"] == "open"
        assert (await caller.send(press("d-1", "a"))).status_code == 200


async def test_no_secret_and_no_address_of_a_reply_gets_into_the_log(
    world: World, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    open_link(world.config.notify, SECRETS.get, world.desk(), now, "http")
    with caplog.at_level(logging.DEBUG):
        async with world.door() as caller:
            hook = f"{world.slack.url}/hooks/canaryhook"
            await caller.send(press("d-1", "a", user=EVE, response_url=hook))
            await caller.send(press("d-1", "waive"))
            await caller.send(press("d-1", "a", actions=[{"action_id": "other", "value": "x", "type": "button"}]))
            await caller.send(press("d-1", "a"), secret="wrong")
            await caller.send({"type": "block_actions", "response_url": hook})
            await eventually(lambda: world.slack.replies and world.slack.made("views.open"))
    said = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    for canary in (BOT_TOKEN, APP_TOKEN, SIGNING_SECRET, "canaryhook", "canarytrigger"):
        assert canary not in said


async def test_a_thousand_forged_late_and_repeated_answers_change_nothing(world: World) -> None:
    db = world.db
    for name in ("d-2", "d-3", "d-4"):
        await put_decision(db, name)
    await put_decision(db, "d-5", project="other")
    await world.control().answer("d-2", "b")
    await world.control().abort("S-d-3")
    genuine = signed(press("d-4", "a"))
    assert (await world.caller.client.post(world.caller.url, content=genuine[0], headers=genuine[1])).status_code == 200
    before = await facts_now(db)
    chance = random.Random(7)

    def attack(kind: int) -> tuple[bytes, dict[str, str]]:
        option = chance.choice(["a", "b", "waive", "abandon", "nope", ""])
        match kind:
            case 0:
                return signed(press("d-1", "a"), secret=chance.choice(["", "x", SIGNING_SECRET + "x", BOT_TOKEN]))
            case 1:
                return signed(press("d-1", "a"), shift=chance.choice([-301, -3000, 360, 10**8]))
            case 2:
                body, headers = signed(press("d-1", "a"))
                return body.replace(b"d-1", b"d-4"), headers
            case 3:
                return signed(press("d-1", option or "a", team={"id": "T0EVIL"}))
            case 4:
                return signed(press("d-1", option or "a", api_app_id="A0EVIL"))
            case 5:
                return signed(press("d-1", option or "a", user=chance.choice([EVE, "", "U0ann", "u0ann", "U0ANN "])))
            case 6:
                return signed(press(chance.choice(["d-0", "d-1 ", "D-1", "", "' OR 1=1 --", "d-5"]), option or "a"))
            case 7:
                return signed(press("d-1", chance.choice(["nope", "A", "a ", "0", "' OR 1=1"])))
            case 8:
                return signed(press(chance.choice(["d-2", "d-3", "d-4"]), option or "a"))
            case 9:
                return genuine
            case 10:
                return signed(submit("d-1", "waive", chance.choice(["", " ", "\n", None])))
            case _:
                return signed(submit(chance.choice(["d-2", "d-3", "d-4", "d-5"]), "waive", "words"))

    async def shoot(number: int) -> int:
        body, headers = attack(number % 12)
        return (await world.caller.client.post(world.caller.url, content=body, headers=headers)).status_code

    seen: set[int] = set()
    for start in range(0, 1008, 12):
        seen |= set(await asyncio.gather(*(shoot(start + i) for i in range(12))))
    assert seen <= {200, 400, 401, 403, 409, 503}
    assert await facts_now(db) == before
    assert await world.send(press("d-1", "a")) == 200
    assert (await row_of(db, "d-1"))["answer"] == "a", "and the right one still counts"


async def test_the_same_decision_answered_in_slack_and_by_command_at_once_counts_once(world: World) -> None:
    rounds = 40
    won: dict[str, int] = {"slack": 0, "cli": 0}
    for number in range(rounds):
        name = f"r-{number}"
        await put_decision(world.db, name)
        work = [world.send(press(name, "a")), world.send(press(name, "b")), world.control().answer(name, "b")]
        random.Random(number).shuffle(work)
        results = await at_once(*work)
        assert all(result == 200 or isinstance(result, (dict, AutoDevError)) for result in results), results
        row = await row_of(world.db, name)
        assert row["status"] == "answered"
        won[row["answered_via"]] += 1
        told = await world.db.fetch_all(
            "SELECT data FROM events WHERE run_id = %s AND kind = 'DECISION_ANSWERED'", (f"run-{name}",)
        )
        assert [event["data"]["answer"] for event in told] == [row["answer"]]
        jobs = await world.db.fetch_all(
            "SELECT id FROM procrastinate_jobs WHERE args ->> 'run_id' = %s", (f"run-{name}",)
        )
        assert len(jobs) == 1
    assert sum(won.values()) == rounds


# The token itself


async def test_a_token_says_who_it_is(world: World) -> None:
    api = SlackApi(world.slack.api_url, BOT_TOKEN)
    assert await api.identity() == Identity(TEAM, "U0BOT", "B0BOT", "Team", "auto-dev", APP)
    assert await api.scopes() == {"chat:write", "channels:history"}
    world.slack.script = [("bots.info", "missing_scope")]
    assert (await api.identity()).app_id == ""
    world.slack.script = [("bots.info", 503)]
    with pytest.raises(SendError):
        await api.identity()
    await api.close()


def test_the_door_is_not_open_to_the_world_by_default() -> None:
    assert Config().notify.slack.listen.startswith("127.0.0.1:")
