"""Questions in Slack, answered there: the real daemon against local-slack, in both ways that answers come in.

Where a person presses something, a real browser does, in local-slack's page.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect

from auto_dev.errors import AutoDevError
from auto_dev.notify import facts, outbox
from tests import local_slack
from tests.conftest import Eventually
from tests.integration.conftest import MakeProject, Project
from tests.local_slack import ALICE, BOB, LocalSlack, button
from tests.slack_support import at_once

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

CHROMIUM = Path("/usr/bin/chromium")
RESUMED_S = 3.0

Start = Callable[..., Awaitable[LocalSlack]]
Open = Callable[[LocalSlack], Awaitable[Page]]


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
        await slack.client.aclose()


@pytest.fixture
async def open_page() -> AsyncIterator[Open]:
    """A real browser on local-slack's page."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser: apt install chromium ({CHROMIUM})")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        async def at(slack: LocalSlack) -> Page:
            page = await browser.new_page(viewport={"width": 1200, "height": 1600})
            await page.goto(slack.url)
            return page

        yield at
        await browser.close()


async def prompts(slack: LocalSlack, eventually: Eventually, number: int = 1) -> dict[str, dict[str, Any]]:
    """The open questions by their story, once there are so many."""

    async def found() -> Any:
        asked = [m for m in await slack.messages() if any(b["type"] == "actions" for b in m.get("blocks", []))]
        return asked if len(asked) == number else None

    return {message["text"].split(" - ")[0]: message for message in await eventually(found, 60)}


async def shown(slack: LocalSlack, stamp: str) -> str:
    """What the message says now."""
    return next(f"{m.get('blocks')} {m['text']}" for m in await slack.messages() if m["ts"] == stamp)


async def resumed(project: Project, story: str) -> bool:
    """Whether the story's run has entered a step after its answer."""
    rows = await project.fetch(
        "SELECT 1 FROM events s JOIN events a ON a.run_id = s.run_id AND a.kind = 'DECISION_ANSWERED' AND a.id < s.id"
        " WHERE s.story_id = %s AND s.kind = 'RUN_STEP'",
        story,
    )
    return bool(rows)


async def answers_of(project: Project, story: str) -> list[dict[str, Any]]:
    return await project.fetch(
        "SELECT answer, answer_text, answered_by, answered_via FROM decisions WHERE story_id = %s", story
    )


def there(page: Page, message: dict[str, Any]) -> Any:
    return page.locator(f'.msg[data-ts="{message["ts"]}"]')


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_a_press_in_the_page_resumes_the_run_at_once(
    mode: str, start_slack: Start, open_page: Open, project: MakeProject, eventually: Eventually
) -> None:
    slack = await start_slack(mode)
    world = project({"ASKS-1": []}, config=slack.config())
    page = await open_page(slack)
    async with world.serving(once=False):
        message = (await prompts(slack, eventually))["ASKS-1"]
        place = there(page, message)
        await expect(place).to_contain_text("Accept the work as it is?")
        began = time.monotonic()
        await place.get_by_role("button", name="Try again", exact=True).click()
        await eventually(lambda: resumed(world, "ASKS-1"), RESUMED_S)
        took = time.monotonic() - began
        assert took < RESUMED_S, f"the run took {took:.2f} s to resume"
        await expect(place).to_contain_text("✓ Try again", timeout=10_000)
        await expect(place).to_contain_text("by alice (U0ALICE), in Slack")
        await expect(place.get_by_role("button")).to_have_count(0)
        await eventually(lambda: world.calls()["ASKS-1"] == 2)
    (answer,) = [a for a in await answers_of(world, "ASKS-1") if a["answer"]]
    assert answer == {
        "answer": "retry", "answer_text": "", "answered_by": "alice (U0ALICE)", "answered_via": "slack",
    }  # fmt: skip


async def test_a_dialog_takes_words_and_whoever_may_not_decide_is_told_so(
    start_slack: Start, open_page: Open, project: MakeProject, eventually: Eventually
) -> None:
    slack = await start_slack("socket")
    world = project({"ASKS-1": []}, config=slack.config())
    page = await open_page(slack)
    async with world.serving(once=False):
        place = there(page, (await prompts(slack, eventually))["ASKS-1"])
        await page.get_by_role("combobox").select_option(BOB)
        await place.get_by_role("button", name="Skip the story").click()
        await expect(page.get_by_text("You may not decide here")).to_be_visible(timeout=10_000)
        assert world.statuses_now() == {"ASKS-1": "waiting"}
        await page.get_by_role("combobox").select_option(ALICE)
        await place.get_by_role("button", name="Accept it as it is, with a reason").click()
        dialog = page.locator(".modal")
        await expect(dialog).to_contain_text("Your reason stands in the pull request")
        await dialog.get_by_role("textbox").fill("   ")
        await dialog.get_by_role("button", name="Send").click()
        await expect(dialog).to_contain_text("Write a few words first")
        assert world.statuses_now() == {"ASKS-1": "waiting"}
        await dialog.get_by_role("textbox").fill("a <b>spike</b> & @channel")
        await dialog.get_by_role("button", name="Send").click()
        await expect(dialog).to_have_count(0)
        await expect(place).to_contain_text("spike", timeout=10_000)  # its page shows entities as they are sent
        await eventually(lambda: world.statuses_now() == {"ASKS-1": "in_review"}, 60)
    (answer,) = await answers_of(world, "ASKS-1")
    assert (answer["answer"], answer["answer_text"]) == ("waive", "a <b>spike</b> & @channel")


async def test_a_question_turns_into_its_end_whoever_ends_it_and_a_late_press_is_told(
    start_slack: Start, project: MakeProject, eventually: Eventually
) -> None:
    slack = await start_slack("socket")
    world = project({f"ASKS-{i}": [] for i in range(3)}, config=slack.config())
    async with world.serving(once=False) as (daemon, _):
        asked = await prompts(slack, eventually, 3)
        ids = {row["story_id"]: row["id"] for row in await world.fetch("SELECT id, story_id FROM decisions")}
        # Half of the questions stand in a summary too, with buttons of their own.
        await world.fetch("SELECT 1")
        async with daemon.services.db.transaction() as conn:
            fact = facts.daily_summary(await _summary(daemon), key="summary:test")
            await outbox.enqueue(conn, project_id=daemon.services.place.id, channels=["slack"], **fact.row())
        summary = (await prompts(slack, eventually, 4))["Daily Summary"]
        control = world.control(daemon)
        await control.answer(ids["ASKS-0"], "waive", "fine")
        await control.abort("ASKS-1")

        async def ended() -> bool:
            first, second = await shown(slack, asked["ASKS-0"]["ts"]), await shown(slack, asked["ASKS-1"]["ts"])
            both = await shown(slack, summary["ts"])
            return (
                "by me, test" in first and "No longer asked" in second and "No longer asked" in both
                and "Accept it as it is, with a reason, by me, test" in both
            )  # fmt: skip

        await eventually(ended)
        left = next(m for m in await slack.messages() if m["ts"] == summary["ts"])
        assert [block["elements"][0]["value"] for block in left["blocks"] if block["type"] == "actions"] == [
            button(asked["ASKS-2"], "retry_hint")["value"]
        ]
        for story in ("ASKS-0", "ASKS-1"):
            await slack.click(asked[story], "retry")
        whispers = await eventually(lambda: _whispers(slack, 2))
        assert "answered already: Accept it as it is, with a reason, by me, test" in whispers[0]
        assert "no longer asked" in whispers[1]
        await slack.click(left, "skip")
        await eventually(lambda: world.statuses_now()["ASKS-2"] == "skipped")
        rows = await eventually(lambda: _nothing_asked(slack))
    assert rows
    assert {story: len(await answers_of(world, story)) for story in ids} == dict.fromkeys(ids, 1)


async def test_the_daemon_may_restart_between_question_and_answer(
    start_slack: Start, project: MakeProject, eventually: Eventually
) -> None:
    slack = await start_slack("http")
    world = project({"ASKS-1": []}, config=slack.config())
    async with world.serving(once=False):
        message = (await prompts(slack, eventually))["ASKS-1"]
        await eventually(lambda: world.statuses_now() == {"ASKS-1": "waiting"})
    await slack.click(message, "skip")  # nobody listens
    assert world.statuses_now() == {"ASKS-1": "waiting"}
    async with world.serving(once=False):

        async def pressed() -> bool:
            await slack.click(message, "skip")
            return world.statuses_now() == {"ASKS-1": "skipped"}

        await eventually(pressed)
        await eventually(lambda: _nothing_asked(slack))
    assert len([m for m in await slack.messages() if m.get("subtype") != "ephemeral"]) == 1


async def test_slack_may_be_away_at_the_start_and_come_back(
    start_slack: Start, project: MakeProject, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "backoff", lambda *_: timedelta(seconds=0.3))
    slack = await start_slack("socket")
    world = project({"WORK-1": [], "ASKS-1": []}, config=slack.config())
    await slack.stop()
    async with world.serving(once=False):
        await eventually(lambda: world.statuses_now() == {"WORK-1": "in_review", "ASKS-1": "waiting"}, 60)
        await slack.start()
        message = (await prompts(slack, eventually))["ASKS-1"]

        async def listens() -> bool:
            return any("hello" in entry["summary"] for entry in await slack.log())

        await eventually(listens)
        await slack.stop()
        await slack.start()  # what was said is forgotten, but the button in somebody's hand is not
        await eventually(listens, 30)
        slack_message = {**message, "blocks": message["blocks"]}
        await slack.click(slack_message, "skip")
        await eventually(lambda: world.statuses_now()["ASKS-1"] == "skipped")


async def test_slack_and_a_command_at_once_count_once_in_the_running_daemon(
    start_slack: Start, project: MakeProject, eventually: Eventually
) -> None:
    slack = await start_slack("socket")
    names = [f"ASKS-{i}" for i in range(6)]
    world = project({name: [] for name in names}, config=slack.config() + "[run]\nmax_parallel = 2\n")
    async with world.serving(once=False) as (daemon, _):
        asked = await prompts(slack, eventually, len(names))
        ids = {row["story_id"]: row["id"] for row in await world.fetch("SELECT id, story_id FROM decisions")}
        for name in names:
            results = await at_once(
                slack.click(asked[name], "skip"), slack.click(asked[name], "skip"),
                world.control(daemon).answer(ids[name], "abandon"),
            )  # fmt: skip
            assert all(r is None or isinstance(r, (dict, AutoDevError)) for r in results), results
        await eventually(lambda: not set(world.statuses_now().values()) & {"waiting", "queued", "running"})
        await eventually(lambda: _nothing_asked(slack))
    events = await world.fetch("SELECT run_id FROM events WHERE kind = 'DECISION_ANSWERED'")
    assert len(events) == len({event["run_id"] for event in events}) == len(names)


async def _summary(daemon: Any) -> Any:
    from auto_dev.budget.limits import BudgetLimits
    from auto_dev.daemon.digest import day_summary

    services = daemon.services
    return await day_summary(services.db.pool, services.place.id, BudgetLimits.of(daemon.config), services.clock())


async def _whispers(slack: LocalSlack, number: int) -> list[str]:
    found = [m["text"] for m in await slack.messages() if m.get("subtype") == "ephemeral"]
    return found if len(found) == number else []


async def _nothing_asked(slack: LocalSlack) -> bool:
    return not any(b["type"] == "actions" for m in await slack.messages() for b in m.get("blocks", []))
