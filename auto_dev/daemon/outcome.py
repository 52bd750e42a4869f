"""What a pass over the backlog came to: whether anything can still happen, and the exit code."""

from __future__ import annotations

from dataclasses import dataclass

from auto_dev.errors import ExitCode
from auto_dev.store import backlog
from auto_dev.store.decisions import BUDGET
from auto_dev.store.events import QUERIES, Connection


@dataclass(frozen=True, slots=True)
class Outlook:
    """Counts of what matters for the end of ``--once``.

    ``decisions``: open ones that a run waits for; that a story may cost more is asked, too, and counts as ``budget``.
    ``startable``: stories that would start if a slot were free. ``held``: stories that were ordered and that neither a
    question nor the budget keeps from going on, but a pause, the schedule or a panic.
    """

    busy: int = 1
    startable: int = 0
    decisions: int = 0
    budget: int = 0
    failures: int = 0
    held: int = 0
    delayed: int = 0
    broken: str = ""

    @property
    def finished(self) -> bool:
        """Nothing runs, nothing can start, and nothing will resume by itself soon."""
        return self.busy == 0 and self.startable == 0 and self.delayed == 0


def exit_code(outlook: Outlook) -> ExitCode:
    """3 when decisions are open, else 4 when the budget stopped something, else 1, else 0.

    1 for failures, and for what is held up: a script that reads 0 may rely on all being done.
    """
    if outlook.broken:
        return ExitCode.ERROR
    if outlook.decisions:
        return ExitCode.WAITS
    if outlook.budget:
        return ExitCode.BUDGET
    return ExitCode.ERROR if outlook.failures or outlook.held else ExitCode.DONE


async def outlook(conn: Connection, project: str, idle_reason: str) -> Outlook:
    """The state of the project's stories, as facts. ``idle_reason``: why the dispatcher starts nothing, or ""."""
    rows = [row for row in await backlog.rows(conn, project) if row["present"] or row["run_id"]]
    statuses = [row["status"] for row in rows]
    asked = await (await conn.execute(QUERIES["open_decisions"], {"project": project})).fetchall()
    paused = [row for row in rows if row["status"] == "paused"]
    over_budget = sum(1 for row in paused if str(row["reason"]).startswith("budget"))
    # Rate limits and the like resume by themselves soon; a budget or a schedule may take all night.
    delayed = sum(
        1 for row in paused if row["resume_at"] is not None and not str(row["reason"]).startswith(("budget", "outside"))
    )
    queued = sum(1 for row in rows if row["run_status"] == "queued")
    running = sum(1 for row in rows if row["run_status"] == "running")
    startable = sum(1 for row in rows if row["status"] == "queued" and row["run_status"] != "queued")
    unanswered = sum(1 for row in rows if row["status"] == "in_review" and row["run_status"] == "failed")
    held = len(paused) - over_budget - delayed
    if idle_reason == "panic":  # nothing is claimed and nothing resumes
        held, queued, delayed = held + queued + delayed, 0, 0
    return Outlook(
        busy=running + queued,
        startable=0 if idle_reason else startable,
        decisions=sum(1 for row in asked if row["kind"] != BUDGET),
        budget=over_budget + (startable if idle_reason == "budget" else 0),
        failures=statuses.count("failed") + statuses.count("invalid") + unanswered,
        held=held + (startable if idle_reason not in ("", "budget") else 0),
        delayed=delayed,
    )
