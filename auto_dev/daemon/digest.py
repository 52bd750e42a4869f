"""What is told by the clock: the daily summary and the daily reminder, each put into the outbox once a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from auto_dev.budget.limits import BudgetLimits
from auto_dev.config import Config, parse_clock, parse_window
from auto_dev.nodes.context import Services
from auto_dev.notify.facts import daily_summary, reminder
from auto_dev.notify.schedule import Quiet, Slot, due, quiet_at
from auto_dev.notify.summary import Summary, gather_summary
from auto_dev.store import decisions
from auto_dev.store.database import Pool
from auto_dev.store.events import QUERIES

REMIND_AFTER: Final = timedelta(hours=4)  # what was asked just before the reminder needs none


async def day_summary(pool: Pool, project: str, limits: BudgetLimits, now: datetime) -> Summary:
    """The last 24 hours up to ``now``."""
    return await gather_summary(
        pool,
        project,
        since=now - timedelta(days=1),
        until=now,
        zone=limits.zone,
        daily_microusd=limits.day,
        weekly_microusd=limits.week,
    )


@dataclass(slots=True)
class Told:
    """The keys of what this daemon put into the outbox last: only so that it need not be gathered again."""

    summary: str = ""
    reminder: str = ""


def quiet_hours(config: Config, now: datetime) -> Quiet:
    """How things stand with the configured quiet hours."""
    hours = config.notify.quiet_hours
    return quiet_at(now, parse_window(hours) if hours else None, ZoneInfo(config.run.timezone))


async def tell_when_due(services: Services, config: Config, told: Told) -> None:
    """Enqueue what the clock asks for; the keys keep it to one a day, over restarts too."""
    if services.channels:
        told.summary = await _summary(services, config, told.summary)
        told.reminder = await _reminder(services, config, told.reminder)


async def _slot(services: Services, config: Config, clock: str | None) -> Slot | None:
    """The latest slot at the time of day ``clock`` since the project began."""
    project = await services.db.fetch_one(QUERIES["get_project"], {"project": services.place.id})
    if clock is None or project is None:
        return None
    return due(services.clock(), parse_clock(clock), ZoneInfo(config.run.timezone), since=project["created_at"])


async def _reminder(services: Services, config: Config, last: str) -> str:
    slot = await _slot(services, config, config.notify.reminder)
    if slot is None or slot.reminder_key == last:
        return last
    async with services.db.transaction() as conn:
        rows = await decisions.open_ones(conn, services.place.id)
        waiting = [row for row in rows if row["created_at"] <= slot.at - REMIND_AFTER]
        if waiting:
            await services.tell(conn, reminder(waiting, key=slot.reminder_key))
    return slot.reminder_key


async def _summary(services: Services, config: Config, last: str) -> str:
    slot = await _slot(services, config, config.notify.daily_summary)
    if slot is None or slot.key == last:
        return last
    limits = BudgetLimits.of(config)
    gathered = await gather_summary(
        services.db.pool,
        services.place.id,
        since=slot.since,
        until=slot.at,
        zone=limits.zone,
        daily_microusd=limits.day,
        weekly_microusd=limits.week,
    )
    async with services.db.transaction() as conn:
        await services.tell(conn, daily_summary(gathered, key=slot.key))
    return slot.key
