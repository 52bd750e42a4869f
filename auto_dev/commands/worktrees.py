"""``auto-dev worktrees``: what lies there, what is unsaved in it, and what may go."""

from __future__ import annotations

from typing import Any

from auto_dev.commands import output
from auto_dev.commands.here import Here, here
from auto_dev.daemon.checkout import git_of, look
from auto_dev.errors import ExitCode
from auto_dev.store import leases
from auto_dev.worktrees.mirror import Mirror
from auto_dev.worktrees.worktree import Worktrees


async def _open(place: Here) -> Worktrees:
    repository = await look(place.root, place.home, place.config)
    mirror = Mirror(place.place.state, repository, git_of(place.home))
    await mirror.ensure()
    return Worktrees(mirror, place.place.worktrees)


async def worktrees(*, cleanup: bool, as_json: bool) -> ExitCode:
    """List them, or remove those that no lease holds and no unsaved work is in."""
    place = await here()
    async with place.database() as db, db.pool.connection() as conn:
        held = await leases.held(conn, place.project_id)
        needed = await _needed(place, conn)
    trees = await _open(place)
    if cleanup:
        report = await trees.cleanup(held | needed)
        facts = {
            "removed": list(report.removed),
            "kept": [{"story": story, "reason": reason} for story, reason in report.kept.items()],
        }
        if as_json:
            output.emit_json(facts)
        else:
            output.say(f"Removed {len(report.removed)} worktrees.")
            for story, reason in report.kept.items():
                output.say(f"kept {story}: {reason}")
        return ExitCode.DONE
    infos = await trees.list()
    if as_json:
        output.emit_json(
            {
                "worktrees": [
                    {"story": i.story_id, "path": str(i.path), "branch": i.branch, "unsaved": i.unsaved,
                     "leased": i.story_id in held}
                    for i in infos
                ]
            }
        )  # fmt: skip
    elif not infos:
        output.say("No worktrees.")
    else:
        output.table(
            ("story", "state", "path"),
            [(i.story_id, "in use" if i.story_id in held else "unsaved work" if i.unsaved else "idle", str(i.path))
             for i in infos],
        )  # fmt: skip
    return ExitCode.DONE


async def _needed(place: Here, conn: Any) -> set[str]:
    """Stories whose run goes on later: waiting, paused or queued."""
    from auto_dev.model import ACTIVE_RUN
    from auto_dev.store import backlog

    return {row["id"] for row in await backlog.rows(conn, place.project_id) if row["run_status"] in ACTIVE_RUN}


async def discard_worktree(place: Here, db: Any, story: str) -> str:
    """Remove a story's worktree, its work first saved; returns where that lies."""
    async with db.pool.connection() as conn:
        held = await leases.held(conn, place.project_id)
    if story in held:
        return "its worktree, until the daemon has let go of it"
    trees = await _open(place)
    worktree = trees.get(story)
    if worktree is None:
        return f"branch auto-dev/{story}"
    ref = await trees.remove(worktree)
    return f"branch auto-dev/{story}" + (f" and {ref}" if ref else "")
