"""Reconcile first, then dispatch: the one authority over which runs exist and may run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import DictRow

from auto_dev.budget.limits import CENT, BudgetLimits
from auto_dev.config import Config, in_window, parse_window
from auto_dev.daemon.graphs import graph_version
from auto_dev.daemon.reactions import due
from auto_dev.model import RunStatus, Trigger
from auto_dev.nodes.context import Services
from auto_dev.store import backlog, follow_ups, panics, runs
from auto_dev.store.events import QUERIES, Connection, emit
from auto_dev.stories.model import Story

log = logging.getLogger(__name__)

STOPPED = "stopped"  # reason of a run that a stopping daemon left; the next one takes it up
OPERATOR = "paused by you"
_SEARCH_MINUTES = 3 * 24 * 60  # more than a day: a short window may fall into the hour that a clock leaves out


@dataclass(frozen=True, slots=True)
class Idle:
    """Why nothing was started: "" when something was or could be."""

    reason: str = ""


def window_opens(config: Config, now: datetime) -> datetime | None:
    """None inside the schedule's window (or without one); else the first minute inside it, in UTC.

    Minute for minute, for the local clock may jump into the window, over its beginning, or back before it.
    """
    if config.run.schedule is None:
        return None
    window, zone = parse_window(config.run.schedule), ZoneInfo(config.run.timezone)

    def is_open(moment: datetime) -> bool:
        return in_window(moment.astimezone(zone).time(), window)

    if is_open(now):
        return None
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    later = (minute + timedelta(minutes=ahead) for ahead in range(1, _SEARCH_MINUTES))
    return next((opening for opening in later if is_open(opening)), minute + timedelta(minutes=_SEARCH_MINUTES))


class Scheduler:
    """Makes queued runs out of stories, and runnable runs out of orphaned, due and resumed ones."""

    def __init__(self, services: Services, config: Callable[[], Config], in_hand: Callable[[], list[str]]) -> None:
        self._services = services
        self._config = config
        self._in_hand = in_hand

    async def recover(self, conn: Connection) -> list[str]:
        """Take up what the daemons before this one left; the caller holds the project's lock. Returns the runs."""
        services = self._services
        project = services.place.id
        await conn.execute(QUERIES["forget_dead_jobs"], {"queue": runs.queue_name(project)})
        orphans = await self._requeue_orphans(conn)
        cursor = await conn.execute(QUERIES["paused_runs"], {"project": project})
        for row in await cursor.fetchall():
            if row["reason"] == STOPPED:
                await runs.requeue(conn, project, row["id"], [RunStatus.PAUSED])
        await self._give_jobs(conn)
        return orphans

    async def reconcile(self, conn: Connection) -> None:
        """Repair what a crash or a lost message left: edges, orphaned, due and jobless runs."""
        services = self._services
        project = services.place.id
        await backlog.reconcile(conn, project, services.dependencies == "stacked")
        await self._requeue_orphans(conn)
        await conn.execute(
            QUERIES["forget_lost_jobs"],
            {"queue": runs.queue_name(project), "daemon": services.daemon_id, "in_hand": self._in_hand()},
        )
        cursor = await conn.execute(QUERIES["due_runs"], {"project": project, "now": services.clock()})
        for row in await cursor.fetchall():
            await runs.requeue(conn, project, row["id"], [RunStatus.PAUSED])
            await emit(conn, project, "RUN_RESUMED", run=row["id"])
        await self._give_jobs(conn)

    async def orphans(self, conn: Connection) -> list[str]:
        """Runs that say they run but whose lease nobody alive holds; locked for the caller."""
        return [row["id"] for row in await self._orphans(conn)]

    async def _orphans(self, conn: Connection) -> list[DictRow]:
        services = self._services
        cursor = await conn.execute(
            QUERIES["orphaned_runs"],
            {"project": services.place.id, "daemon": services.daemon_id, "in_hand": self._in_hand()},
        )
        # Once more: a run may have been taken in hand between the question and its answer.
        return [row for row in await cursor.fetchall() if row["id"] not in self._in_hand()]

    async def _requeue_orphans(self, conn: Connection) -> list[str]:
        project = self._services.place.id
        orphans = await self._orphans(conn)
        for row in orphans:
            await runs.requeue(conn, project, row["id"], [RunStatus.RUNNING])
            await emit(conn, project, "RUN_RECOVERED", story=row["story_id"], run=row["id"])
        return [row["id"] for row in orphans]

    async def _give_jobs(self, conn: Connection) -> None:
        project = self._services.place.id
        cursor = await conn.execute(
            QUERIES["jobless_runs"],
            {"project": project, "queue": runs.queue_name(project), "in_hand": self._in_hand()},
        )
        for row in await cursor.fetchall():
            await runs.defer(conn, project, row["id"], runs.RESUMED)

    async def dispatch(self, conn: Connection) -> Idle:
        """Start what may start now, within the slots that are free. Safe to call from several transactions at once."""
        services = self._services
        project, config = services.place.id, self._config()
        row = await (await conn.execute(QUERIES["get_project"], {"project": project})).fetchone()
        if panics.of(row) is not None:
            return Idle("panic")
        if row is None or row["paused"]:
            return Idle("paused")
        if window_opens(config, services.clock()) is not None:
            return Idle("schedule")
        counts = await (await conn.execute(QUERIES["count_active"], {"project": project})).fetchone()
        assert counts is not None
        free = config.run.max_parallel - counts["running"] - counts["queued"]
        if free <= 0:
            return Idle()
        overview = await services.ledger.overview(BudgetLimits.of(config))
        if min(overview.day.unspent_microusd, overview.week.unspent_microusd) < CENT:
            return Idle("budget")
        try:
            # Two finished stories may both see the child that they unblock; the index lets one of them have it.
            async with conn.transaction():
                # What is nearly done comes first.
                free -= await self._follow_up(conn, config, free)
                for story_id in await backlog.candidates(conn, project, free):
                    await self._start(conn, story_id, config)
        except psycopg.errors.UniqueViolation:
            log.info("a run was started elsewhere", extra={"action": "dispatch_race"})
        return Idle()

    async def _follow_up(self, conn: Connection, config: Config, limit: int) -> int:
        """Start what answers open pull requests; how many runs that are. A fact and its run are one commit."""
        project = self._services.place.id
        found = await due(conn, self._services, config, limit)
        for one in found:
            row = await backlog.row(conn, project, one.story)
            former = await runs.get(conn, one.follows)
            assert row is not None
            assert former is not None
            story = backlog.story_of(row)
            if not story.acceptance_criteria:  # a person may have stated them
                stated = tuple(former["policy"]["story"].get("acceptance_criteria") or ())
                story = story.model_copy(update={"acceptance_criteria": stated})
            run = await start_run(
                conn, project, story, config, former["base_branch"],
                trigger=Trigger(former["triggered_by"]), follows=one.follows, purpose=one.reaction.purpose,
            )  # fmt: skip
            await follow_ups.take(conn, project, one.number, run, one.reaction.take)
        return len(found)

    async def _start(self, conn: Connection, story_id: str, config: Config) -> None:
        row = await backlog.row(conn, self._services.place.id, story_id)
        assert row is not None
        await start_run(
            conn, self._services.place.id, backlog.story_of(row), config, self._services.repository.base_branch
        )


async def start_run(
    conn: Connection,
    project: str,
    story: Story,
    config: Config,
    base_branch: str,
    *,
    trigger: Trigger = Trigger.MANUAL,
    hint: str = "",
    follows: str | None = None,
    purpose: str = "",
) -> str:
    """Make a run of ``story`` under the policy as it is now, with its job, in the caller's transaction.

    ``follows``: the run whose published work a follow-up goes on from, for ``purpose``.
    """
    return await runs.create(
        conn,
        project,
        story.id,
        policy={"config": config.model_dump(mode="json", by_alias=True), "story": story.model_dump(mode="json")},
        branch=f"auto-dev/{story.id}",
        base_branch=story.base_branch or base_branch,
        graph_version=graph_version(config.run.graph),
        triggered_by=trigger,
        hint=hint,
        follows=follows,
        purpose=purpose,
    )
