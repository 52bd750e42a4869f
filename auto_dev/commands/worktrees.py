"""``auto-dev worktrees``: what lies there, what is unsaved in it, and what may go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auto_dev.commands import output
from auto_dev.commands.here import Here, here
from auto_dev.daemon.checkout import git_of, look
from auto_dev.errors import ExitCode
from auto_dev.store import leases
from auto_dev.worktrees.mirror import Mirror
from auto_dev.worktrees.worktree import CleanupReport, WorktreeInfo, Worktrees


async def _open(place: Here) -> Worktrees:
    repository = await look(place.root, place.home, place.config)
    mirror = Mirror(place.place.state, repository, git_of(place.home))
    await mirror.ensure()
    return Worktrees(mirror, place.place.worktrees)


async def worktrees(*, cleanup: bool, as_json: bool) -> ExitCode:
    """List them, or remove those that no lease holds and no unsaved work is in."""
    place = await here()
    held: set[str] = set()
    needed: set[str] = set()
    trees: Worktrees | None = None
    if place.known:
        async with place.database() as db, db.pool.connection() as conn:
            held, needed = await leases.held(conn, place.project_id), await _needed(place, conn)
        trees = await _open(place)
    if cleanup:
        _print_cleanup(await trees.cleanup(held | needed) if trees else CleanupReport((), {}), as_json)
    else:
        _print_worktrees(await trees.list() if trees else [], held, as_json)
    return ExitCode.DONE


def _print_cleanup(done: CleanupReport, as_json: bool) -> None:
    if as_json:
        kept = [{"story": story, "reason": reason} for story, reason in done.kept.items()]
        output.emit_json({"removed": list(done.removed), "kept": kept})
        return
    output.say(f"Removed {len(done.removed)} worktrees.")
    for story, reason in done.kept.items():
        output.say(f"kept {story}: {reason}")


def _print_worktrees(infos: Sequence[WorktreeInfo], held: set[str], as_json: bool) -> None:
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
        states = ["in use" if i.story_id in held else "unsaved work" if i.unsaved else "idle" for i in infos]
        output.table(
            ("story", "state", "path"),
            [(i.story_id, state, str(i.path)) for i, state in zip(infos, states, strict=True)],
        )


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
