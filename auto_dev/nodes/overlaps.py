"""With which branches the run's work conflicts: its base as it is now, and every other story that is open."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, Final

from psycopg.rows import DictRow

from auto_dev.errors import GitError
from auto_dev.gates.base import Change, Clash, Hunk
from auto_dev.gates.engine import Ruled
from auto_dev.gates.integration import IntegrationGate
from auto_dev.model import Route, RunStatus
from auto_dev.nodes.bench import baseline_outcomes
from auto_dev.nodes.commands import outcome_row
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.footing import clash_text, moved_to, present_footing, put
from auto_dev.nodes.state import StoryState, start_of
from auto_dev.store import runs
from auto_dev.worktrees.history import History
from auto_dev.worktrees.names import HEADS

_CONFLICT: Final = re.compile(rb"^<{7} .*?^>{7} [^\n]*$", re.MULTILINE | re.DOTALL)
_FILES: Final = 20  # conflicting files whose hunks are shown
_HUNK: Final = 3_000  # characters


async def _near(history: History, row: DictRow, touched: set[str], other: str) -> bool:
    """Whether the other branch is here and touches what this story touches. With a hundred stories open most do not."""
    if not row["base_sha"]:  # its run has only begun
        return await history.has(other)
    try:
        return _may_clash(touched, await history.touched(row["base_sha"], other))
    except GitError:  # one of the two is not here: without its base, all that it holds counts
        return await history.has(other)


def _may_clash(mine: set[str], theirs: Collection[str]) -> bool:
    """Whether two changes can conflict at all: in a path of both, or where one has a file and the other a folder."""
    return not mine.isdisjoint(theirs) or not _folders(mine).isdisjoint(theirs) or not _folders(theirs).isdisjoint(mine)


def _folders(paths: Collection[str]) -> set[str]:
    return {path[:at] for path in paths for at in range(len(path)) if path[at] == "/"}


async def clashes_of(state: StoryState, context: RunContext, changes: Sequence[Change]) -> tuple[Clash, ...]:
    """The merges of the run's head that would conflict. Only files that this story changed count: another branch may
    be behind its own base, which is no matter of this one."""
    touched = {name for change in changes for name in (change.path, change.old_path or change.path)}
    found = await _with_base(state, context)
    async with context.services.db.pool.connection() as conn:
        rows = await runs.open_branches(conn, context.project, context.story.id)
    history = context.services.worktrees.history
    refs = await history.refs(HEADS) if rows else {}
    for row in rows:
        other = refs.get(HEADS + row["branch"]) or row["head_sha"]
        if (clash := await _with_story(state, context, row, touched, other)) is not None:
            found.append(clash)
    return tuple(found)


async def _with_base(state: StoryState, context: RunContext) -> list[Clash]:
    history, head = context.services.worktrees.history, state["head_sha"]
    footing = await present_footing(context, context.base_branch, context.stacked_on)
    if await history.is_ancestor(footing.sha, head):
        return []
    tree, files = await history.merged_tree(footing.sha, head)
    if not files:
        return []
    return [Clash(footing.base_branch, files, await hunks_of(history, tree, files), footing.sha)]


async def _with_story(
    state: StoryState, context: RunContext, row: DictRow, touched: set[str], other: str | None
) -> Clash | None:
    history, head = context.services.worktrees.history, state["head_sha"]
    if not other or _stacked(context, row) or not await _near(history, row, touched, other):
        return None
    if await history.is_ancestor(other, head) or await history.is_ancestor(head, other):
        return None
    files = tuple(path for path in await history.conflicts(head, other) if path in touched)
    if not files:
        return None
    common = await history.merge_base(head, other)
    theirs = await history.changes(common, other) if common else []
    return Clash(
        row["branch"],
        files,
        sha=other,
        story=row["story_id"],
        title=row["title"],
        priority=row["priority"],
        created_at=row["created_at"] or "",
        size=sum(change.additions + change.deletions for change in theirs),
        pull="" if context.follow_up else row["state"] or "",  # then both are in review, and neither goes first for it
        stuck=row["state"] is None and row["run_status"] in (RunStatus.WAITING, RunStatus.PAUSED),
    )


def _stacked(context: RunContext, row: DictRow) -> bool:
    """Whether one of the two is built on the other: then there is an order already."""
    mine = {one.story for one in context.stacked_on} | set(context.story.depends_on)
    theirs = {str(one["story"]) for one in row["stacked_on"] or ()} | set(row["depends_on"] or ())
    return row["story_id"] in mine or context.story.id in theirs


async def hunks_of(history: History, tree: str, files: Sequence[str]) -> tuple[Hunk, ...]:
    """The conflicts in ``files`` of a merged ``tree``, with git's markers."""
    found: list[Hunk] = []
    for path, data in (await history.read_many(tree, files[:_FILES])).items():
        for match in _CONFLICT.finditer(data or b""):
            at = (data or b"").count(b"\n", 0, match.start()) + 1
            found.append(Hunk(path, at, match[0].decode("utf-8", "replace")[:_HUNK]))
    return tuple(found)


def conflicts_with_base(ruled: Sequence[Ruled]) -> bool:
    """Whether the integration gate sends the work back: only a conflict with the base does."""
    return any(one.gate == IntegrationGate.name and one.judgement.route is Route.REPAIR for one in ruled)


async def put_on_base(state: StoryState, context: RunContext) -> StoryState:
    """Put the work onto its base as it is now. Where they do not fit, the files lie there with git's markers, and the
    findings for the agent say so; the base's own failures are looked at anew. Repeating it is harmless."""
    worktrees = context.services.worktrees
    footing = await present_footing(context, context.base_branch, context.stacked_on)
    moved = await moved_to(worktrees.history, state["base_sha"], state["head_sha"], footing)
    worktree = await worktrees.create(context.story.id, context.run_id, start_of(state), context.branch)
    found = await put(context, worktree, moved, footing)
    outcomes = await baseline_outcomes(context, moved.base_sha)
    context.save("baseline.json", [outcome_row(outcome) for outcome in outcomes])
    if moved.clash is not None:
        name = f"findings-{state.get('round', 0)}.json"
        said: dict[str, Any] = context.load(name) or {}
        told = clash_text(footing.base_branch, moved.clash.files)
        context.save(name, {"findings": f"{told}\n\n{said.get('findings', '')}".strip()})
    return found
