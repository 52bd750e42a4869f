"""Questions in Slack, answered there: the real daemon against local-slack, in both ways that answers come in."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests import local_slack
from tests.conftest import Eventually
from tests.integration.conftest import MakeProject
from tests.local_slack import LocalSlack

pytestmark = pytest.mark.integration

Start = Callable[..., Awaitable[LocalSlack]]


@pytest.fixture
async def start_slack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """``await start_slack("socket")`` or "http": a workspace, and its secrets in the environment."""
    local_slack.require()
    started: list[LocalSlack] = []

    async def start(mode: str) -> LocalSlack:
        slack = LocalSlack(tmp_path, mode, local_slack.free_port() if mode == "http" else 0)
        started.append(slack)
        await slack.start()
        for name, value in slack.secrets().items():
            monkeypatch.setenv(name, value)
        return slack

    yield start
    for slack in started:
        await slack.stop()


async def prompt(slack: LocalSlack, eventually: Eventually, number: int = 1) -> dict[str, Any]:
    """The newest question, once there are so many."""

    async def found() -> Any:
        asked = [m for m in await slack.messages() if any(b["type"] == "actions" for b in m.get("blocks", []))]
        return asked if len(asked) >= number else None

    return dict((await eventually(found))[-1])


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_a_press_resumes_the_run_and_the_question_turns_into_its_answer(
    mode: str, start_slack: Start, project: MakeProject, eventually: Eventually
) -> None:
    slack = await start_slack(mode)
    world = project({"ASKS-1": []}, config=slack.config())
    async with world.serving(once=False) as (_daemon, _task):
        message = await prompt(slack, eventually)
        print(message)
        began = time.monotonic()
        await slack.click(message, "skip")
        await eventually(lambda: world.statuses_now() == {"ASKS-1": "skipped"}, 3)
        took = time.monotonic() - began
        print(took)

        async def turned():
            return [m for m in await slack.messages() if "✓" in str(m.get("blocks"))]

        (m,) = await eventually(turned)
        print(m)
        print([l for l in await slack.log() if l["dir"] == "internal"] if 0 else (await slack.log())[-3:])
