"""Other channels by apprise, against a real HTTP server: nobody hears twice because somebody else did not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from auto_dev.config import NotifyConfig
from auto_dev.errors import NotifyError
from auto_dev.notify import facts
from auto_dev.notify.channel import Item, Outgoing, SendError
from auto_dev.notify.other import AppriseChannel
from auto_dev.notify.registry import make_channels

pytest.importorskip("apprise", reason="the extra other-channels is not installed")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),  # one of apprise's plugins
]

TOKEN = "canary-" + "9" * 12


@asynccontextmanager
async def hook(status: int = 200) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook's address without its scheme, and what it was told."""
    said: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        said.append(json.loads(await request.read()))
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/{rest:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}", said
    finally:
        await runner.cleanup()


def outgoing(**more: Any) -> Outgoing:
    fact = facts.run_failed(run_id="r1", story_id="S-1", story_title="Tags", reason="3 tests <b>fail</b>")
    return Outgoing("todo", fact.key, (Item(fact.kind, fact.payload),), datetime.now(UTC), **more)


async def test_every_address_gets_the_message() -> None:
    async with hook() as (one, said), hook() as (two, heard):
        receipt = await AppriseChannel(f"json://{one}/a json://{two}/b").send(outgoing())
    assert len(said) == len(heard) == 1
    assert said[0]["title"] == "[auto-dev todo] Story failed: S-1 - Tags"
    assert said[0]["type"] == "failure"
    assert "3 tests <b>fail</b>" in said[0]["message"]
    assert len(receipt.data["accepted"]) == 2


async def test_who_was_reached_is_left_out_of_the_next_try() -> None:
    async with hook() as (good, said), hook(500) as (bad, _):
        channel = AppriseChannel(f"json://me:{TOKEN}@{good}, json://me:{TOKEN}@{bad}")
        with pytest.raises(SendError) as caught:
            await channel.send(outgoing())
        assert "address 2" in str(caught.value)
        assert TOKEN not in str(caught.value) + json.dumps(caught.value.reached)
        with pytest.raises(SendError):
            await channel.send(outgoing(earlier=caught.value.reached))
        assert len(said) == 1


def test_an_address_that_is_none_is_refused_without_repeating_it() -> None:
    with pytest.raises(NotifyError) as caught:
        AppriseChannel(f"ntfy://topic nonsense://{TOKEN}")
    assert "address 2" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_the_channel_is_made_from_the_environment() -> None:
    config = NotifyConfig(channels=["apprise"])
    assert list(make_channels(config, lambda _: "ntfy://topic")) == ["apprise"]
    with pytest.raises(NotifyError, match="AUTO_DEV_APPRISE_URLS is not set"):
        make_channels(config, lambda _: None)
