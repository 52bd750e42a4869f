"""Before a branch leaves: has what it stands on moved, has a person pushed to it, is its pull request over?"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from auto_dev.errors import GitError
from auto_dev.forge.base import ForgeUnavailableError
from auto_dev.model import PullState
from auto_dev.nodes.context import RunContext, RunEndedError, RunPausedError
from auto_dev.nodes.ended import ended_words, pull_ended
from auto_dev.nodes.footing import clash_text, moved_to, new_footing, note_footing, put, remote_head
from auto_dev.nodes.state import AGAIN, REPAIR, StoryState, start_of
from auto_dev.store import follow_ups
from auto_dev.worktrees.adopt import keep_theirs
from auto_dev.worktrees.push import is_ours
from auto_dev.worktrees.replay import replay

FORGE_PAUSE: Final = timedelta(minutes=5)


async def unsettled(state: StoryState, context: RunContext) -> StoryState | None:
    """What has to come before publishing; None: nothing. Raises RunEndedError when the pull request is over."""
    if context.follow_up:
        await _require_open(context)
    if (elsewhere := await _moved(state, context)) is not None:
        return elsewhere
    return await _joined(state, context) if context.follow_up else None


def unavailable(error: ForgeUnavailableError, now: datetime) -> RunPausedError:
    """Nobody needs to decide anything: the forge is down or limits us, and the run goes on later by itself."""
    return RunPausedError(f"forge: {error}", error.resume_at or now + FORGE_PAUSE)


async def _require_open(context: RunContext) -> None:
    """Raise RunEndedError when a person merged or closed the pull request: then the run is over, too."""
    services = context.services
    async with services.db.pool.connection() as conn:
        row = await follow_ups.pull_of(conn, context.project, context.story.id)
    if row is None or row["number"] is None:
        return
    try:
        pull = await services.forge.get(row["number"])
    except ForgeUnavailableError as error:
        raise unavailable(error, services.clock()) from error
    if pull.ended:
        async with context.write() as conn:
            await pull_ended(conn, services, context.story.id, PullState(row["state"]), pull)
        raise RunEndedError(ended_words(pull))


async def _moved(state: StoryState, context: RunContext) -> StoryState | None:
    """Move what a story was built on while it was worked on: judged again there, or repaired where it clashes."""
    footing = await new_footing(context, context.base_branch, context.stacked_on)
    if footing is None:
        return None
    worktrees = context.services.worktrees
    moved = await moved_to(worktrees.history, state["base_sha"], state["head_sha"], footing)
    if moved.head_sha == state["head_sha"]:
        await note_footing(context, moved.base_sha, footing)
        return None
    worktree = await worktrees.create(context.story.id, context.run_id, start_of(state), context.branch)
    found = await put(context, worktree, moved, footing)
    if moved.clash is None:
        return {**found, "route": AGAIN}
    context.save(
        f"findings-{state.get('round', 0)}.json",
        {"findings": clash_text(footing.base_branch, moved.clash.files)},
    )
    return {**found, "route": REPAIR}


async def _joined(state: StoryState, context: RunContext) -> StoryState | None:
    """Join what a person pushed to the branch while the follow-up worked: their commits stay, ours come with them."""
    services, history = context.services, context.services.worktrees.history
    theirs, began, head = await remote_head(context, context.branch), state["remote_sha"], state["head_sha"]
    if theirs is None or theirs == began or await is_ours(services.mirror, theirs):
        return None
    if not await history.is_ancestor(began, theirs):
        raise GitError(
            f"{context.branch} was rewritten on the remote while this run worked on it",
            mend="Decide which of the two counts: “Try again” looks once more.",
        )
    ours_goes_on = await history.is_ancestor(began, head)
    # Where our branch had to be rewritten, their commits follow it; else ours come on top of theirs.
    span = (began, head, theirs) if ours_goes_on else (began, theirs, head)
    done = await replay(history, *span)
    if done.clash is not None:
        named = ", ".join(done.clash.files[:5])
        raise GitError(
            f"what was pushed to {context.branch} meanwhile conflicts with this run's work in {named}",
            mend="Take the commits off the branch, or abandon this run.",
        )
    await keep_theirs(services.mirror, context.run_id, theirs)
    worktree = await services.worktrees.create(context.story.id, context.run_id, start_of(state), context.branch)
    await services.worktrees.reset(worktree, done.head)
    return {"route": AGAIN, "head_sha": done.head, "remote_sha": theirs, "turnless": True}
