"""What the ledger says: windows, costs of runs and stories, the history of estimates. Writes only their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any, Final

from psycopg_pool import AsyncConnectionPool

from auto_dev.budget.batch import QUERIES, Connection, window_of
from auto_dev.budget.caps import columns
from auto_dev.budget.estimate import FinishedRun, Scored
from auto_dev.budget.limits import BudgetLimits, BudgetOverview, Window, WindowKey
from auto_dev.budget.windows import day_key, next_reset

USUAL_RUNS: Final = 3  # fewer finished runs, or fewer minutes in all, do not say what is usual
USUAL_MINUTES: Final = 10


class Books:
    """The reading half of a ledger. ``clock`` gives aware UTC datetimes and decides which day it is."""

    def __init__(self, pool: AsyncConnectionPool[Connection], project_id: str, clock: Callable[[], datetime]) -> None:
        self._pool = pool
        self._project = project_id
        self._clock = clock

    # -- windows

    async def overview(self, limits: BudgetLimits) -> BudgetOverview:
        """Today's and this week's limit, cost and remainder. Writes nothing."""
        now = self._clock()
        day, week = await self._read(limits.shared_windows(now), limits, now)
        return BudgetOverview(day=day, week=week, alert_at=limits.alert_at)

    async def history(self, days: int, limits: BudgetLimits) -> list[Window]:
        """The last ``days`` days on which anything happened, today first."""
        now = self._clock()
        since = (now.astimezone(limits.zone) - timedelta(days=days - 1)).date().isoformat()
        rows = await self._rows("history", {"project": self._project, "since": since})
        return [window_of(row) for row in rows]

    async def changes(self, limit: int = 50) -> list[dict[str, Any]]:
        """The latest changes of limits, newest first: scope, key, from_microusd, to_microusd, by, reason, at."""
        return await self._rows("changes", {"project": self._project, "limit": limit})

    # -- costs

    async def cost_of_run(self, run_id: str) -> int:
        """Micro-dollars that a run's settled requests were charged."""
        rows = await self._rows("cost_of_run", {"project": self._project, "run": run_id})
        return int(rows[0]["cost"])

    async def spent_today(self, run_id: str, limits: BudgetLimits) -> int:
        """Micro-dollars that a run's settled requests were charged in today's window."""
        today = day_key(self._clock(), limits.zone)
        rows = await self._rows("cost_of_run_today", {"project": self._project, "run": run_id, "day": today})
        return int(rows[0]["cost"])

    async def cost_of_story(self, story_id: str) -> int:
        """Micro-dollars that all runs of a story were charged."""
        rows = await self._rows("costs_by_story", {"project": self._project, "story": story_id})
        return int(rows[0]["cost"]) if rows else 0

    async def costs_by_story(self) -> dict[str, int]:
        """Story id → micro-dollars, for every story that ever came near a model."""
        rows = await self._rows("costs_by_story", {"project": self._project, "story": None})
        return {row["story_id"]: row["cost"] for row in rows}

    # -- estimates

    async def finished_runs(self) -> tuple[FinishedRun, ...]:
        """What finished stories cost, oldest first: the history that estimates are made from."""
        rows = await self._rows("finished_runs", {"project": self._project})
        return tuple(
            FinishedRun(row["story_id"], row["cost"], row["estimate_hours"], tuple(row["tags"]), row["agent"])
            for row in rows
        )

    async def score(self, run_id: str, conn: Connection | None = None) -> None:
        """Keep what the run's estimate said and what the story has cost by now, at the end of the run.

        A repetition replaces what was kept. With ``conn`` it is part of that transaction. A run that is unknown is
        left alone.
        """
        params = {"project": self._project, "run": run_id, "now": self._clock()}
        if conn is not None:
            await conn.execute(QUERIES["score"], params)
        else:
            await self._rows("score", params)

    async def estimates(self, limit: int = 50) -> list[Scored]:
        """The latest scored estimates of stories that were finished, newest first."""
        rows = await self._rows("estimates", {"project": self._project, "limit": limit})
        return [
            Scored(
                run_id=row["run_id"],
                story_id=row["story_id"],
                low=row["low_microusd"],
                high=row["high_microusd"],
                cost_microusd=row["cost_microusd"],
                at=row["scored_at"],
            )
            for row in rows
        ]

    async def usual_per_minute(self, days: int = 14) -> int | None:
        """Micro-dollars that a minute of one run usually costs at most; None with too little history.

        The median, over the runs that were finished in the last ``days`` days, of what nine of ten minutes in which
        the run paid for something cost at most. A minute that costs several times that is unusual.
        """
        since = self._clock() - timedelta(days=days)
        rows = await self._rows("usual_minutes", {"project": self._project, "since": since})
        if len(rows) < USUAL_RUNS or sum(row["minutes"] for row in rows) < USUAL_MINUTES:
            return None
        return round(median(row["minute_microusd"] for row in rows)) or None

    # -- inside

    async def _rows(self, name: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        async with self._pool.connection() as conn:
            cursor = await conn.execute(QUERIES[name], params)
            return await cursor.fetchall() if cursor.description else []

    async def _read(self, wanted: Sequence[WindowKey], limits: BudgetLimits, now: datetime) -> list[Window]:
        """The wanted windows in their order; one that does not exist yet has its whole limit left."""
        rows = await self._rows("read_windows", {"project": self._project, **columns(wanted)})
        known = {(row["scope"], row["key"]): row for row in rows}
        return [
            window_of(
                known.get((window.scope, window.key))
                or {"scope": window.scope, "key": window.key, "cap_microusd": window.limit_microusd},
                next_reset(window.scope, now, limits.zone),
            )
            for window in wanted
        ]
