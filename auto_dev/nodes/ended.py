"""A pull request that a person merged, closed or opened again: what that means for its story and for others."""

from __future__ import annotations

from auto_dev.forge.base import Pull
from auto_dev.model import PullState, RunStatus
from auto_dev.nodes.context import Services
from auto_dev.store import backlog, follow_ups
from auto_dev.store.events import QUERIES, Connection, emit, wake
from auto_dev.store.follow_ups import FOLLOW_UPS


def ended_words(pull: Pull) -> str:
    """``its pull request was merged by ann``."""
    by = f" by {pull.ended_by}" if pull.ended_by else ""
    return f"its pull request was {pull.state}{by}"


async def pull_ended(conn: Connection, services: Services, story: str, known: PullState, pull: Pull) -> bool:
    """Take in that a pull request was merged or closed, in the caller's transaction; False when that was known.

    What works on the story ends, with its work kept. Merged: the story is done, and what waits for it may start.
    Closed: the story is skipped, and what waits for it goes on waiting.
    """
    project = services.place.id
    if known is pull.state:
        return False
    run = await follow_ups.end_active_run(conn, project, story, RunStatus.SKIPPED, ended_words(pull))
    cursor = await conn.execute(
        FOLLOW_UPS["end_pull"],
        {
            "project": project,
            "number": pull.number,
            "state": pull.state,
            "by": pull.ended_by,
            "at": pull.ended_at,
            "merge_sha": pull.merge_sha,
        },
    )
    if await cursor.fetchone() is None:
        return False
    await conn.execute(FOLLOW_UPS["drop_all"], {"project": project, "number": pull.number})
    merged = pull.state is PullState.MERGED
    await emit(
        conn, project, "TASK_STATUS_CHANGED", story=story, run=run, status="done" if merged else "skipped",
        pull_request=pull.url, by=pull.ended_by, reason=ended_words(pull),
    )  # fmt: skip
    if merged:
        services.tips.clear()  # the base branch has new work
        await unblock(conn, services, story)
    else:
        await backlog.reconcile(conn, project, services.dependencies == "stacked")
    await wake(conn, project)
    return True


async def pull_reopened(conn: Connection, services: Services, story: str, pull: Pull) -> bool:
    """Take in that a closed pull request is open again, in the caller's transaction; False when that was known."""
    project = services.place.id
    cursor = await conn.execute(
        FOLLOW_UPS["reopen_pull"], {"project": project, "number": pull.number, "state": pull.state}
    )
    if await cursor.fetchone() is None:
        return False
    await emit(
        conn, project, "TASK_STATUS_CHANGED", story=story, status="in_review", pull_request=pull.url,
        reason="its pull request was opened again",
    )  # fmt: skip
    if services.dependencies == "stacked":
        await unblock(conn, services, story)
    await wake(conn, project)
    return True


async def unblock(conn: Connection, services: Services, story: str, run: str | None = None) -> None:
    """Let what waited for ``story`` lose one unmet dependency, and start what may start now."""
    project = services.place.id
    found = await conn.execute(QUERIES["satisfy_dependency"], {"project": project, "story": story})
    unblocked = [row["id"] for row in await found.fetchall()]
    if unblocked:
        await emit(conn, project, "TASKS_UNBLOCKED", story=story, run=run, stories=unblocked)
        await services.dispatch(conn)
