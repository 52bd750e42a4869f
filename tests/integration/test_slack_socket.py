"""Socket Mode and the keeping open of the way in: reconnects, hand-overs, outages, and what is said about them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from auto_dev.config import Config, NotifyConfig
from auto_dev.daemon.desk import SlackDesk
from auto_dev.errors import NotifyError
from auto_dev.notify import slack_link
from auto_dev.notify.channel import SendError
from auto_dev.notify.slack_answers import Answers
from auto_dev.notify.slack_api import SlackApi
from auto_dev.notify.slack_desk import UnavailableError
from auto_dev.notify.slack_link import Link, Whoami, open_link
from auto_dev.notify.slack_socket import SocketDoor
from auto_dev.store.database import Database
from tests.conftest import Eventually
from tests.slack_support import (
    ANN,
    APP,
    APP_TOKEN,
    BOT_TOKEN,
    SIGNING_SECRET,
    TICKET,
    StandIn,
    press,
    put_decision,
    row_of,
    stand_in,
    submit,
)  # fmt: skip

pytestmark = pytest.mark.integration

SECRETS = {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN, "SLACK_SIGNING_SECRET": SIGNING_SECRET}


def now() -> datetime:
    return datetime.now(UTC)


def config(slack: StandIn, **more: Any) -> Config:
    given = {"deciders": [ANN], "api_url": slack.api_url, **more}
    return Config(
        notify=NotifyConfig.model_validate(
            {"channels": ["slack", "email"], "email": {"to": ["a@b.example"]}, "slack": given}
        )
    )


@dataclass
class Quick:
    """Pauses of a hundredth of a second; what they would have been is noted."""

    pauses: list[float] = field(default_factory=list)

    def __call__(self, failures: int, error: NotifyError, chance: float) -> float:
        self.pauses.append(slack_link.pause(failures, error, 0))
        return 0.01


@dataclass
class World:
    db: Database
    slack: StandIn
    quick: Quick = field(default_factory=Quick)

    def desk(self) -> SlackDesk:
        return SlackDesk(self.db, "todo", lambda: config(self.slack), now)

    @asynccontextmanager
    async def link(self, **more: Any) -> AsyncIterator[asyncio.Task[None]]:
        api = SlackApi(self.slack.api_url, BOT_TOKEN)
        whoami = Whoami(api)
        answers = Answers(self.desk(), api, whoami, APP)

        async def close() -> None:
            await answers.close()
            await api.close()

        door = SocketDoor(api, APP_TOKEN, answers)
        link = Link(door, whoami, self.desk(), close=close, pauses=self.quick, **more)
        task = asyncio.create_task(link.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def alerts(self) -> list[str]:
        rows = await self.db.fetch_all("SELECT data FROM events WHERE kind = 'ALERT' ORDER BY id")
        return [row["data"]["text"] for row in rows]


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    async with stand_in() as slack:
        await put_decision(db, "d-1")
        yield World(db, slack)


async def test_an_envelope_is_the_answer_and_is_acknowledged_after_it(world: World, eventually: Eventually) -> None:
    async with world.link():
        await eventually(lambda: world.slack.sockets)
        await world.slack.push(press("d-1", "a"), "e-1")
        await eventually(lambda: "e-1" in world.slack.acks)
        assert (await row_of(world.db, "d-1"))["answer"] == "a"
        assert world.slack.acks["e-1"] is None
        tokens = {method: token for method, _, token in world.slack.calls}
        assert tokens["apps.connections.open"] == APP_TOKEN
        assert tokens["auth.test"] == BOT_TOKEN


async def test_a_dialog_gets_its_words_of_refusal_in_the_acknowledgement(world: World, eventually: Eventually) -> None:
    async with world.link():
        await eventually(lambda: world.slack.sockets)
        await world.slack.push(submit("d-1", "waive", " "), "e-1")
        await world.slack.push(submit("d-1", "waive", "because"), "e-2")
        await eventually(lambda: len(world.slack.acks) == 2)
        assert world.slack.acks["e-1"]["response_action"] == "errors"
        assert world.slack.acks["e-2"] is None
        assert (await row_of(world.db, "d-1"))["answer_text"] == "because"


async def test_what_is_not_for_us_is_not_taken(world: World, eventually: Eventually) -> None:
    async with world.link():
        await eventually(lambda: world.slack.sockets)
        await world.slack.sockets[-1].send_str("not json")
        await world.slack.sockets[-1].send_str("[1]")
        await world.slack.sockets[-1].send_bytes(b"\x00")
        await world.slack.push(press("d-1", "a", team={"id": "T0EVIL"}), "e-foreign")
        await world.slack.push({"type": "event_callback"}, "e-event", kind="events_api")
        await world.slack.push({"command": "/x"}, "e-command", kind="slash_commands")
        await world.slack.push(press("d-1", "b"), "e-ours")
        await eventually(lambda: "e-ours" in world.slack.acks)
        assert set(world.slack.acks) == {"e-event", "e-command", "e-ours"}
        assert len(world.slack.sockets) == 1, "and the connection stays"


async def test_the_same_envelope_again_counts_once(world: World, eventually: Eventually) -> None:
    async with world.link():
        await eventually(lambda: world.slack.sockets)
        for _ in range(5):
            await world.slack.push(press("d-1", "a"), "e-1")
        await eventually(lambda: len(world.slack.told()) == 4)
        told = await world.db.fetch_all("SELECT 1 FROM events WHERE kind = 'DECISION_ANSWERED'")
        assert len(told) == 1


async def test_slack_asks_for_a_new_connection_and_the_old_one_serves_until_it_ends(
    world: World, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auto_dev.notify.slack_socket.SHORT_S", 0.0)
    await put_decision(world.db, "d-2")
    async with world.link():
        await eventually(lambda: world.slack.sockets)
        old = world.slack.sockets[0]
        await old.send_json({"type": "disconnect", "reason": "refresh_requested"})
        await eventually(lambda: len(world.slack.sockets) == 2)
        await old.send_json({"type": "interactive", "envelope_id": "e-old", "payload": press("d-1", "a")})
        await world.slack.push(press("d-2", "b"), "e-new")
        await eventually(lambda: set(world.slack.acks) == {"e-old", "e-new"})
        await old.close()
        await world.slack.push(press("d-2", "b"), "e-later")
        await eventually(lambda: "e-later" in world.slack.acks)
        assert len(world.slack.sockets) == 2
    assert world.quick.pauses == [], "that was no failure"


async def test_a_lost_connection_comes_back_and_pauses_grow_while_it_does_not(
    world: World, eventually: Eventually
) -> None:
    world.slack.lives = ["close", "refuse", "mute", "serve"]
    world.slack.script = [("apps.connections.open", 503)]
    async with world.link():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("auto_dev.notify.slack_socket.HELLO_S", 0.1)
            await eventually(lambda: world.slack.sockets and not world.slack.lives)
            await eventually(lambda: len(world.slack.sockets) == 3)
        await world.slack.push(press("d-1", "a"), "e-1")
        await eventually(lambda: "e-1" in world.slack.acks)
    assert world.quick.pauses == [1, 2, 4, 8]
    assert await world.alerts() == [], "an outage of a moment is nothing to tell"


async def test_an_outage_is_told_of_once_by_other_ways(world: World, eventually: Eventually) -> None:
    time = 0.0

    def clock() -> float:
        nonlocal time
        time += 20
        return time

    world.slack.script = [("auth.test", 503)] * 12
    async with world.link(clock=clock):
        await eventually(lambda: world.slack.sockets)
    (alert,) = await world.alerts()
    assert "Slack answered 503" in alert
    (row,) = await world.db.fetch_all("SELECT channel, kind, urgent FROM outbox")
    assert row == {"channel": "email", "kind": "alert", "urgent": True}


async def test_a_token_that_is_refused_is_told_of_at_once(world: World, eventually: Eventually) -> None:
    world.slack.script = [("apps.connections.open", "invalid_auth")] * 3
    async with world.link():
        await eventually(lambda: world.slack.sockets)
    (alert,) = await world.alerts()
    assert "invalid_auth" in alert
    assert "SLACK_APP_TOKEN" in alert
    assert world.quick.pauses == [600, 600, 600]


async def test_slack_asks_to_wait_and_is_obeyed(world: World, eventually: Eventually) -> None:
    world.slack.script = [("apps.connections.open", 429)]
    async with world.link():
        await eventually(lambda: world.slack.sockets)
    assert world.quick.pauses == [1.0]


async def test_a_defect_of_the_way_in_ends_nothing(db: Database, eventually: Eventually) -> None:
    class Broken:
        served = 0

        async def serve(self, up: Any) -> None:
            self.served += 1
            raise ZeroDivisionError

    class Deaf(SlackDesk):
        async def trouble(self, text: str) -> None:
            raise UnavailableError("away")

    async def whoami() -> Any:
        return None

    async def close() -> None:
        pass

    door, times = Broken(), iter(range(0, 10_000, 100))
    desk = Deaf(db, "todo", Config, now)
    link = Link(door, whoami, desk, close=close, clock=lambda: float(next(times)), pauses=lambda *_: 0.0)
    task = asyncio.create_task(link.run())
    await eventually(lambda: door.served > 5)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_address_that_is_taken_is_tried_again(world: World, eventually: Eventually) -> None:
    port = int(world.slack.url.rpartition(":")[2])
    taken = config(world.slack, listen=f"127.0.0.1:{port}", mode="http")
    link = open_link(taken.notify, SECRETS.get, world.desk(), now, "http")
    link._pauses = world.quick
    task = asyncio.create_task(link.run())
    await eventually(lambda: len(world.quick.pauses) >= 3)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_address_without_tls_is_not_connected_to() -> None:
    api = SlackApi("https://slack.example/api/", BOT_TOKEN)

    async def call(*_: Any, **__: Any) -> dict[str, Any]:
        return {"url": "ws://slack.example/x"}

    api.call = call  # type: ignore[method-assign]
    door = SocketDoor(api, APP_TOKEN, None)  # type: ignore[arg-type]
    with pytest.raises(SendError, match="not wss"):
        await door.serve(lambda: None)
    await api.close()


async def test_another_program_with_the_same_token_is_noticed_and_no_secret_is_logged(
    world: World, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    world.slack.lives = ["close", "refuse"]
    world.slack.greeting = {"type": "hello", "num_connections": 2}
    with caplog.at_level(logging.DEBUG):
        async with world.link():
            await eventually(lambda: len(world.slack.sockets) == 2)
            hook = f"{world.slack.url}/hooks/canaryhook"
            await world.slack.push(press("d-1", "a", user="U0EVE", response_url=hook), "e-1")
            await eventually(lambda: world.slack.replies)
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("auto_dev")]
    assert [line.partition(" be ")[0] for line in ours if "another program" in line] == ["another program may"]
    said = " ".join(f"{line}" for line in ours) + "".join(
        str(r.__dict__) for r in caplog.records if "auto_dev" in r.name
    )
    for canary in (BOT_TOKEN, APP_TOKEN, TICKET, "canaryhook", "canarytrigger"):
        assert canary not in said
