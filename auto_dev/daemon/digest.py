"""The daily summary: gathered when it is due, put into the outbox once a day."""

from __future__ import annotations

from datetime import datetime, timedelta

from auto_dev.budget.limits import BudgetLimits
from auto_dev.config import Config, parse_clock
from auto_dev.nodes.context import Services
from auto_dev.notify.facts import daily_summary
from auto_dev.notify.schedule import due
from auto_dev.notify.summary import Summary, gather_summary
from auto_dev.store.database import Pool
from auto_dev.store.events import QUERIES


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


async def send_when_due(services: Services, config: Config, last: str) -> str:
    """Enqueue the summary of the latest slot, unless it is ``last``; its key keeps it to one a day, over restarts too.

    Returns the key of the latest slot.
    """
    if config.notify.daily_summary is None or not services.channels:
        return last
    limits = BudgetLimits.of(config)
    project = await services.db.fetch_one(QUERIES["get_project"], {"project": services.place.id})
    if project is None:
        return last
    at = parse_clock(config.notify.daily_summary)
    slot = due(services.clock(), at, limits.zone, since=project["created_at"])
    if slot is None or slot.key == last:
        return last
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
