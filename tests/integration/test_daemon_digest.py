"""What the clock asks for: one reminder and one summary a day, however often somebody looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from auto_dev.config import Config
from auto_dev.daemon import digest
from auto_dev.daemon.service import Daemon
from tests.integration.conftest import MakeProject, Project

pytestmark = pytest.mark.integration

MORNING = datetime(2031, 3, 3, 9, 30, tzinfo=UTC)  # years after the project began


async def told(project: Project) -> list[dict[str, Any]]:
    return await project.fetch("SELECT key, kind, urgent, payload FROM outbox WHERE kind = 'reminder' ORDER BY id")


async def look(daemon: Daemon, moment: datetime, **notify: Any) -> None:
    daemon.services.clock = lambda: moment
    config = Config.model_validate({"notify": {"daily_summary": None, **notify}})
    await digest.tell_when_due(daemon.services, config, digest.Told())


async def test_what_waits_is_reminded_of_once_a_day(project: MakeProject) -> None:
    made = project({"ASKS-1": [], "ASKS-2": []})
    await made.once()
    async with made.open(order=False) as daemon:
        daemon.services.channels = ("slack",)
        for minutes in range(0, 120, 30):
            await look(daemon, MORNING + timedelta(minutes=minutes))
        (only,) = await told(made)
        assert only["key"] == "reminder:2031-03-03"
        assert only["urgent"]
        assert only["payload"]["headline"] == "2 decisions wait for you"
        await look(daemon, MORNING + timedelta(days=1))
        assert len(await told(made)) == 2


async def test_what_was_asked_just_now_or_answered_is_not_reminded_of(project: MakeProject) -> None:
    made = project({"ASKS-1": []})
    await made.once()
    async with made.open(order=False) as daemon:
        daemon.services.channels = ("slack",)
        await made.fetch("UPDATE decisions SET created_at = %s", MORNING - timedelta(hours=1))
        await look(daemon, MORNING)
        assert await told(made) == []
        (row,) = await made.fetch("SELECT id FROM decisions")
        await made.control(daemon).answer(row["id"], "skip")
        await look(daemon, MORNING + timedelta(days=1))
        assert await told(made) == []


async def test_no_reminder_where_none_is_wanted(project: MakeProject) -> None:
    made = project({"ASKS-1": []})
    await made.once()
    async with made.open(order=False) as daemon:
        daemon.services.channels = ("slack",)
        await look(daemon, MORNING, reminder=None)
        assert await told(made) == []
