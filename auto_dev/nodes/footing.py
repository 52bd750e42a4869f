"""What a story stands on: its base branch, or the branches of predecessors that are not merged yet; and moving it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from auto_dev.errors import GitError
from auto_dev.model import PullState
from auto_dev.nodes.context import RunContext, RunPausedError
from auto_dev.nodes.state import StoryState
from auto_dev.store import follow_ups
from auto_dev.store.events import QUERIES
from auto_dev.store.follow_ups import Predecessor
from auto_dev.worktrees.adopt import fetch_story
from auto_dev.worktrees.history import History
from auto_dev.worktrees.replay import Clash, replay
from auto_dev.worktrees.transport import RemoteError
from auto_dev.worktrees.worktree import Worktree

STANDING: Final = (PullState.DRAFT, PullState.OPEN, PullState.LOCAL)
SHOWS_SOON: Final = timedelta(minutes=10)  # a forge says that it merged a little before its git server shows it
LOOK_AGAIN: Final = timedelta(seconds=30)
REMOTE_PAUSE: Final = timedelta(minutes=5)

Pulls = Mapping[str, DictRow]


@dataclass(frozen=True, slots=True)
class Footing:
    """The branch that a story's pull request targets, the commit that its work stands on, and whose work that is."""

    base_branch: str
    sha: str
    stacked_on: tuple[Predecessor, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """A story's work on another footing; with a ``clash``, ``head_sha`` is the footing alone."""

    base_sha: str
    head_sha: str
    clash: Clash | None = None


async def pulls_of(context: RunContext) -> Pulls:
    async with context.services.db.pool.connection() as conn:
        return await follow_ups.pulls(conn, context.project)


async def first_footing(context: RunContext) -> Footing:
    """Where a story begins: at what its predecessors published while they are not merged, else at the base branch."""
    services, pulls = context.services, await pulls_of(context)
    rows = [pulls[needed] for needed in context.story.depends_on if needed in pulls]
    built_on = tuple(
        Predecessor(row["story_id"], row["branch"], row["head_sha"]) for row in rows if row["state"] in STANDING
    )
    base_branch = context.story.base_branch or services.repository.base_branch
    if not built_on:
        return Footing(base_branch, (await services.base_tip(base_branch)).sha)
    for one in built_on:
        if not await services.worktrees.history.has(one.sha):
            raise GitError(
                f"what {one.story} published ({one.sha[:12]}), which this story builds on, is missing",
                mend=f"Run it again: auto-dev retry {one.story}",
            )
    return await _on_all(context, base_branch, built_on)


async def new_footing(context: RunContext, base_branch: str, built_on: Sequence[Predecessor]) -> Footing | None:
    """Where a story has to move that began on ``built_on``; None: it stands well.

    It moves to where its predecessors landed when all are merged, and onto a predecessor whose branch was rewritten. A
    predecessor that only went on, or was closed, moves nobody.
    """
    if not built_on:
        return None
    pulls, history = await pulls_of(context), context.services.worktrees.history
    if all(one.story in pulls and pulls[one.story]["state"] == PullState.MERGED for one in built_on):
        return await _landed(context, pulls, [pulls[one.story] for one in built_on])
    now = []
    for one in built_on:
        row = pulls.get(one.story)
        stands = row is not None and row["state"] in STANDING
        kept = row is None or not stands or await history.is_ancestor(one.sha, row["head_sha"])
        now.append(one if kept or row is None else Predecessor(one.story, row["branch"], row["head_sha"]))
    return None if now == list(built_on) else await _on_all(context, base_branch, tuple(now))


async def present_footing(context: RunContext, base_branch: str, built_on: Sequence[Predecessor]) -> Footing:
    """The newest commit of what a story stands on already."""
    pulls = await pulls_of(context)
    now = tuple(
        Predecessor(one.story, one.branch, pulls[one.story]["head_sha"])
        for one in built_on
        if one.story in pulls and pulls[one.story]["state"] in STANDING
    )
    if len(now) == 1 and len(built_on) == 1:
        return Footing(base_branch, now[0].sha, now)
    tip = (await context.services.base_tip(base_branch, fresh=True)).sha
    if not now:
        return Footing(base_branch, tip)
    return Footing(base_branch, await _merged(context, [tip, *(one.sha for one in now)], now), now)


async def _on_all(context: RunContext, base_branch: str, built_on: tuple[Predecessor, ...]) -> Footing:
    """On one predecessor the pull request targets its branch; on several, their merge and the base branch."""
    if len(built_on) == 1:
        return Footing(built_on[0].branch, built_on[0].sha, built_on)
    return Footing(base_branch, await _merged(context, [one.sha for one in built_on], built_on), built_on)


async def _merged(context: RunContext, shas: Sequence[str], built_on: Sequence[Predecessor]) -> str:
    message = f"Merge what {context.story.id} builds on: {', '.join(one.branch for one in built_on)}"
    return await context.services.worktrees.history.merge(shas, message)


async def _landed(context: RunContext, pulls: Pulls, merged: Sequence[DictRow]) -> Footing:
    """Where the work of merged predecessors is now: on the base branch, or on the branch of a story that is open."""
    services = context.services
    by_branch = {row["branch"]: row for row in pulls.values()}
    base, seen = str(merged[0]["base"]), set[str]()
    while (row := by_branch.get(base)) is not None and row["state"] == PullState.MERGED and base not in seen:
        seen.add(base)
        base = str(row["base"])
    if row is not None and row["state"] in STANDING:
        tip = await remote_head(context, row["branch"]) or row["head_sha"]
        return Footing(base, tip, (Predecessor(row["story_id"], row["branch"], tip),))
    tip = (await services.base_tip(base, fresh=True)).sha
    for one in merged:
        if one["merge_sha"] and services.clock() - one["ended_at"] < SHOWS_SOON:
            if await services.worktrees.history.has(one["merge_sha"]):
                continue
            why = f"forge: {one['story_id']} was merged, but {base} does not show it yet"
            raise RunPausedError(why, services.clock() + LOOK_AGAIN)
    return Footing(base, tip)


async def remote_head(context: RunContext, branch: str) -> str | None:
    """Where a story branch stands on the remote, fetched; None when it is not there. Pauses while nobody answers."""
    services = context.services
    if services.repository.push is None:
        return None
    try:
        return await fetch_story(services.mirror, branch, services.repository.push)
    except RemoteError as error:
        if not error.retryable:
            raise
        raise RunPausedError(f"remote: {error}", services.clock() + REMOTE_PAUSE) from error


async def moved_to(history: History, base_sha: str, head_sha: str, footing: Footing) -> Moved:
    """The work ``base_sha``..``head_sha`` on ``footing``. Raises GitError."""
    if await history.is_ancestor(base_sha, footing.sha) and not await history.conflicts(footing.sha, head_sha):
        return Moved(base_sha, head_sha)  # it stands there already, and reviewers keep their places in it
    done = await replay(history, base_sha, head_sha, footing.sha)
    return Moved(footing.sha, done.head, done.clash)


async def put(context: RunContext, worktree: Worktree, moved: Moved, footing: Footing) -> StoryState:
    """Bring worktree and row to ``moved``; what the state has to know. Repeating it is harmless."""
    worktrees = context.services.worktrees
    await worktrees.reset(worktree, moved.head_sha)
    if moved.clash is not None:
        await worktrees.lay(worktree, moved.clash.tree)
        context.save("conflict.json", {"files": moved.clash.files, "onto": moved.base_sha, "base": footing.base_branch})
    await note_footing(context, moved.base_sha, footing)
    return {
        "base_sha": moved.base_sha,
        "start_sha": moved.head_sha,
        "head_sha": moved.head_sha,
        "turnless": moved.clash is None,
    }


async def note_footing(context: RunContext, base_sha: str, footing: Footing) -> None:
    """Write down what the run stands on."""
    context.base_branch, context.stacked_on = footing.base_branch, footing.stacked_on
    async with context.write() as conn:
        await conn.execute(
            QUERIES["set_base"],
            {
                "run": context.run_id,
                "base_sha": base_sha,
                "base_branch": footing.base_branch,
                "stacked_on": Jsonb([one.row() for one in footing.stacked_on]),
            },
        )


def clash_text(base: str, files: Sequence[str]) -> str:
    """What an agent is told of a clash."""
    named = "\n".join(f"- {name}" for name in files[:100])
    return (
        f"This story's work was put onto the newest `{base}`, and these files do not fit together:\n\n{named}\n\n"
        "They lie in the folder with git's conflict markers: above `=======` is what the base has, below it what this "
        "story did. Everything else of the story is in the folder already, uncommitted. Make both intentions hold, "
        "remove every marker, and run the tests: other files may need to follow. Do not take the base's changes back."
    )
