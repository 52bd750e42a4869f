"""The daily summary from a real database, and its way through the outbox to both channels' forms."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from psycopg.types.json import Jsonb

from auto_dev.errors import NotifyError
from auto_dev.model import MICRO
from auto_dev.notify.render import render_email
from auto_dev.notify.schedule import slot_of
from auto_dev.notify.summary import Summary, gather_summary, render_text
from auto_dev.store.database import Database

pytestmark = pytest.mark.integration

ZONE = ZoneInfo("Europe/Berlin")
SLOT = slot_of(date(2026, 2, 9), time(18), ZONE)
NOON = datetime(2026, 2, 9, 12, tzinfo=UTC)
EARLIER = datetime(2026, 2, 7, 12, tzinfo=UTC)


class Filler:
    """Writes a project's rows."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def sql(self, statement: Any, *params: Any) -> None:
        async with self.db.pool.connection() as conn:
            await conn.execute(statement, params)

    async def project(self) -> None:
        await self.sql("INSERT INTO projects (id, root, state_dir) VALUES ('todo', '/', '/')")

    async def story(self, story: str, title: str, run: str | None = None, **more: Any) -> None:
        await self.sql(
            "INSERT INTO stories (project_id, id, title, path, file_status, spec, digest, ordered_at,"
            " dependencies_left) VALUES ('todo', %s, %s, 'p', 'ready', '{}', '', now(), %s)",
            story,
            title,
            more.get("left", 0),
        )
        if run:
            await self.sql(
                "INSERT INTO runs (id, project_id, story_id, attempt, status, reason, progress, graph_version, policy,"
                " branch, base_branch, ended_at)"
                " VALUES (%s, 'todo', %s, 1, %s::run_status, %s, %s, '', '{}', %s, 'main', %s)",
                f"run-{story}",
                story,
                run,
                more.get("reason", ""),
                more.get("progress", 0),
                f"auto-dev/{story}",
                more.get("ended"),
            )

    async def pull(self, story: str, number: int | None, state: str = "draft") -> None:
        await self.sql(
            "INSERT INTO pull_requests (project_id, story_id, run_id, branch, base, head_sha, state, number, url,"
            " title) VALUES ('todo', %s, %s, %s, 'main', '', %s::pull_state, %s, %s, '')",
            story,
            f"run-{story}",
            f"auto-dev/{story}",
            state,
            number,
            f"https://forge.example/pull/{number}" if number else "",
        )

    async def spend(self, story: str, dollars: float, at: datetime) -> None:
        await self.sql(
            "INSERT INTO reservations (id, project_id, run_id, story_id, model, amount_microusd, charged_microusd,"
            " windows, status, settled_at)"
            " VALUES (gen_random_uuid()::text, 'todo', %s, %s, 'm', %s, %s, '{}', 'settled', %s)",
            f"run-{story}",
            story,
            round(dollars * MICRO),
            round(dollars * MICRO),
            at,
        )


async def gather(db: Database) -> Summary:
    return await gather_summary(
        db.pool,
        "todo",
        since=SLOT.since,
        until=SLOT.at,
        zone=ZONE,
        daily_microusd=50 * MICRO,
        weekly_microusd=200 * MICRO,
    )


async def test_a_day_as_a_person_finds_it(db: Database) -> None:
    fill = Filler(db)
    await fill.project()
    for number, (story, title, cost) in enumerate(
        [("WINT-0180", "Examples Framework", 4.21), ("WINT-0190", "Patch Queue Pattern", 3.87)], start=1
    ):
        await fill.story(story, title, "succeeded", ended=NOON)
        await fill.pull(story, number)
        await fill.spend(story, cost - 1, NOON)
        await fill.spend(story, 1, EARLIER)
    await fill.story("WINT-0100", "Of another day", "succeeded", ended=EARLIER)
    await fill.pull("WINT-0100", 9)
    await fill.story("WINT-0200", "Local", "succeeded", ended=NOON)
    await fill.pull("WINT-0200", None, "local")
    await fill.story("WINT-0210", "Role Pack Templates", "waiting")
    await fill.sql(
        "INSERT INTO decisions (id, project_id, story_id, run_id, key, kind, question, options)"
        " VALUES ('d-7kq2mn', 'todo', 'WINT-0210', 'run-WINT-0210', 'k', 'plan', 'Which roles?', %s)",
        Jsonb([{"id": "a", "label": "Resume with A", "recommended": True}, {"id": "skip", "label": "Skip Story"}]),
    )
    await fill.story("WINT-0300", "Poor", "paused", reason="the daily budget is reached")
    await fill.story("WINT-1130", "Worktree\nTracking", "failed", reason="QA gate failed", ended=NOON)
    await fill.story("WINT-3090", "Scoreboard Metrics", "running", progress=78)
    await fill.story("WINT-4000", "Next")
    await fill.story("WINT-4001", "After that", left=1)
    await fill.sql(
        "INSERT INTO budget_windows (project_id, scope, key, cap_microusd, spent_microusd, reserved_microusd)"
        " VALUES ('todo', 'day', '2026-02-09', 60000000, 23410000, 1000000)"
    )
    summary = await gather(db)
    assert [(s.story_id, s.cost_microusd, s.number) for s in summary.completed] == [
        ("WINT-0180", 4_210_000, 1),
        ("WINT-0190", 3_870_000, 2),
        ("WINT-0200", 0, None),
    ]
    assert [choice.label for choice in summary.waiting[0].choices] == ["Resume with A", "Skip Story"]
    assert summary.paused[0].reason == "the daily budget is reached"
    assert (summary.failed[0].title, summary.failed[0].reason) == ("Worktree Tracking", "QA gate failed")
    assert summary.running[0].progress == 78
    assert (summary.queued, summary.blocked, summary.older_in_review) == (1, 1, 1)
    assert summary.cost_microusd == round((4.21 - 1 + 3.87 - 1) * MICRO), "only what was spent since the last summary"
    assert summary.today.left_microusd == 35_590_000, "a raised limit counts, and so does what is set aside"
    assert summary.week.left_microusd == 200_000_000, "nothing was spent in this week's window yet"
    text = render_text(summary)
    assert "Daily Summary - Feb 9, 2026 (todo)" in text
    assert "auto-dev decide d-7kq2mn --answer skip" in text
    assert "2 completed" not in render_email(summary).subject
    assert "3 completed, 1 waiting for you, 1 failed" in render_email(summary).subject


async def test_a_new_project_has_an_empty_summary(db: Database) -> None:
    await Filler(db).project()
    summary = await gather(db)
    assert "Nothing was completed" in render_text(summary)
    assert summary.today.left_microusd == 50_000_000


async def test_a_paused_project_says_why(db: Database) -> None:
    fill = Filler(db)
    await fill.project()
    await fill.sql("UPDATE projects SET paused = true, paused_reason = '3 failures in a row'")
    assert "Everything is paused: 3 failures in a row" in render_text(await gather(db))


async def test_a_long_list_is_cut_and_counted(db: Database) -> None:
    fill = Filler(db)
    await fill.project()
    for i in range(30):
        await fill.story(f"S-{i:02}", "T", "failed", reason="x", ended=NOON)
    summary = await gather(db)
    assert len(summary.failed) == 25
    assert summary.cut == 5
    assert "5 more not shown here" in render_text(summary)


async def test_an_unknown_project_is_an_error(db: Database) -> None:
    with pytest.raises(NotifyError, match="there is no project 'todo'"):
        await gather(db)
