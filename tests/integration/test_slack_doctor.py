"""What ``doctor`` finds in a Slack setup, against the stand-in; nothing is posted and no connection is opened."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from auto_dev.commands.slack_check import NEEDED, WANTED, check_slack
from auto_dev.config import NotifyConfig
from tests.slack_support import ANN, APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, StandIn, stand_in

pytestmark = pytest.mark.integration

ALL = "chat:write,channels:history,channels:read,users:read"
SOCKET = {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN}
HTTP = {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_SIGNING_SECRET": SIGNING_SECRET}
PAGE = Path(__file__).parents[2] / "docs" / "slack.md"


@pytest.fixture
async def slack() -> AsyncIterator[StandIn]:
    async with stand_in() as state:
        state.scopes = ALL
        yield state


async def found(slack: StandIn, secrets: dict[str, str] = SOCKET, **more: Any) -> list[tuple[str, str]]:
    given = {"api_url": slack.api_url, "deciders": [ANN], **more}
    return await check_slack(NotifyConfig.model_validate({"channels": ["slack"], "slack": given}), secrets.get)


def complaints(said: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [entry for entry in said if entry[0] != "ok"]


async def test_a_good_setup_is_told(slack: StandIn) -> None:
    said = await found(slack)
    assert complaints(said) == []
    assert [text for _, text in said] == [
        "auto-dev in Team", "the app is in #auto-dev", "SLACK_APP_TOKEN opens connections",
    ]  # fmt: skip
    assert slack.made("chat.postMessage") == []
    assert slack.sockets == []
    assert "3101" in (await found(slack, HTTP))[-1][1]


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({"scopes": "channels:history,channels:read,users:read"}, "error", "scope chat:write is missing"),
        ({"scopes": "chat:write,channels:read,users:read"}, "warning", "channels:history"),
        ({"scopes": "chat:write,groups:history,groups:read"}, "warning", "users:read"),
        ({"scopes": ""}, "warning", "does not say"),
        ({"channels": [{"id": "C1", "name": "other"}]}, "error", "/invite"),
        ({"script": [("users.info", "user_not_found")]}, "error", f"{ANN}, who may decide, is not"),
        ({"script": [("apps.connections.open", "invalid_auth")]}, "error", "opens no connection: invalid_auth"),
        ({"script": [("auth.test", "token_revoked")]}, "error", "token_revoked"),
        ({"script": [("auth.test", 503)]}, "warning", "503"),
    ],
)
async def test_what_does_not_fit_is_named(slack: StandIn, change: dict[str, Any], level: str, words: str) -> None:
    for name, value in change.items():
        setattr(slack, name, value)
    assert any(entry[0] == level and words in entry[1] for entry in complaints(await found(slack)))


async def test_what_is_missing_here_is_named(slack: StandIn) -> None:
    ((level, text),) = await found(slack, {})
    assert (level, "SLACK_BOT_TOKEN is not set" in text) == ("error", True)
    assert "SLACK_APP_TOKEN" in complaints(await found(slack, {"SLACK_BOT_TOKEN": BOT_TOKEN}))[-1][1]
    assert "SLACK_SIGNING_SECRET is not set" in (await found(slack, SOCKET, mode="http"))[0][1]
    assert "nobody may decide" in complaints(await found(slack, deciders=[]))[-1][1]
    for entry in (*await found(slack), *await found(slack, HTTP)):
        assert not any(secret in entry[1] for secret in (BOT_TOKEN, APP_TOKEN, SIGNING_SECRET))


def test_the_manifest_of_the_page_has_what_is_asked_for() -> None:
    block = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0]
    manifest = yaml.safe_load(block)
    assert {*NEEDED, *WANTED} <= set(manifest["oauth_config"]["scopes"]["bot"])
    assert manifest["settings"]["interactivity"]["is_enabled"] is True
    assert manifest["settings"]["socket_mode_enabled"] is True
