"""Worktrees of runs that ended: removed when nobody needs them, with whatever is unsaved in them salvaged first."""

from __future__ import annotations

import logging
from collections.abc import Collection

from auto_dev.errors import GitError
from auto_dev.model import RunStatus
from auto_dev.nodes.context import Services
from auto_dev.store import leases, runs
from auto_dev.worktrees.folders import delete

log = logging.getLogger(__name__)

OVER = (RunStatus.SUCCEEDED, RunStatus.SKIPPED, RunStatus.ABORTED)  # a failed run's worktree is kept to be looked at


async def tidy(services: Services, busy: Collection[str] = ()) -> list[str]:
    """Remove what is over; returns the stories. A worktree that git cannot remove is left, and said in the log.

    ``busy``: stories whose agent this daemon is still ending, though a person ended the run and its lease is free.
    """
    removed = []
    for info in await services.worktrees.list(look=False):
        async with services.db.pool.connection() as conn:
            run = await runs.get(conn, info.run_id)
            held = await leases.held(conn, services.place.id)
        worktree = services.worktrees.get(info.story_id)
        if run is None or run["status"] not in OVER or info.story_id in {*held, *busy} or worktree is None:
            continue
        if worktree.run_id != info.run_id:
            continue  # a later run has it by now
        try:
            ref = await services.worktrees.remove(worktree)
        except GitError as error:
            log.warning("worktree left", extra={"action": "tidy_failed", "run": info.run_id, "why": str(error)})
            continue
        for name in ("tmp", "cache"):
            await delete(services.place.runs / info.story_id / info.run_id / "agent" / name)
        removed.append(info.story_id)
        log.info("worktree removed", extra={"action": "tidy", "run": info.run_id, "why": ref or "nothing unsaved"})
    return removed
