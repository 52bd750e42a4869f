"""From what an agent left in its worktree to commits: on the story's branch, or kept aside as salvage."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace

from auto_dev.text import clean
from auto_dev.worktrees import build
from auto_dev.worktrees.agent_commits import Brought, bring_back, keep
from auto_dev.worktrees.folders import is_plain_folder, open_up
from auto_dev.worktrees.layout import Record, gitfile_is_right, read_agent_refs
from auto_dev.worktrees.names import salvage_prefix
from auto_dev.worktrees.site import Site
from auto_dev.worktrees.stage import load_tree, stage


@dataclass(frozen=True, slots=True)
class Collected:
    """What a story's branch holds after an agent's turn.

    ``committed``: the host made a commit. ``agent_commits``: how many commits of the agent's own became part of the
    branch. ``salvaged``: refs that keep commits which could not. ``notes``: sentences for a person.
    """

    head_sha: str
    committed: bool
    agent_commits: int
    salvaged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def with_trailers(message: str, trailers: Mapping[str, str]) -> str:
    """``message`` cleaned, with ``trailers`` as its last paragraph. Pure."""
    text = clean(message).strip() or "Work of an agent"
    rows = [
        f"{re.sub(r'[^A-Za-z0-9-]', '-', key)}: {' '.join(clean(value).split())}" for key, value in trailers.items()
    ]
    return f"{text}\n\n" + "\n".join(rows) + "\n"


async def collect(site: Site, message: str, trailers: Mapping[str, str]) -> Collected:
    """Bring the agent's commits and all uncommitted files onto the story's branch."""
    record = site.record()
    worktree = site.worktree
    if not is_plain_folder(worktree.path):
        return await restore(site, record)
    story = await site.story(record)
    brought = await bring_back(site.at, story, site.places, site.agent_git)
    staged = await stage(site.at, record, story.head)
    tree, notes = staged.tree, (*brought.notes, *staged.notes)
    head, committed = brought.parent, False
    if brought.left_at:
        notes += await _set_aside(site, record, brought, tree)
    elif tree != brought.tree:
        text = with_trailers(message, {"Story": record.story_id, "Run": record.run_id, **trailers})
        head, committed = await site.commit(tree, brought.parent, text), True
    await site.move_branch(record, head, story.head, "collect")
    if (
        staged.changed
        or brought.moved
        or head != story.head
        or not gitfile_is_right(worktree.path, worktree.agent_git_dir)
    ):
        await build.renew_private(site, record, head, story.refs)
    return Collected(head, committed, brought.commits, brought.salvaged, notes)


async def _set_aside(site: Site, record: Record, brought: Brought, tree: str) -> tuple[str, ...]:
    """The agent ended on an older commit: its branch counts; files that it changed there are kept as salvage."""
    notes: tuple[str, ...] = ()
    if tree != brought.left_at:
        sha = await site.commit(tree, brought.parent, _salvage_message(record))
        notes = (f"files changed on the older commit are kept in {await keep(site.bare, record.run_id, sha)}",)
    await load_tree(site.at, brought.tree)
    return notes


async def restore(site: Site, record: Record) -> Collected:
    """The agent deleted its whole folder: its commits still count, and the folder is made again."""
    story = await site.story(record)
    brought = await bring_back(site.bare, story, site.places, site.agent_git)
    await site.move_branch(record, brought.parent, story.head, "collect")
    await build.clear(site, record)
    await build.build(site, brought.parent, record.base_sha, story.refs)
    note = "the folder of the worktree was gone and was made again from its branch"
    return Collected(brought.parent, False, brought.commits, brought.salvaged, (*brought.notes, note))


async def salvage(site: Site, run_id: str) -> str | None:
    """Keep what is on no branch under a salvage ref of ``run_id``; None when there is nothing."""
    record = replace(site.record(), run_id=run_id)
    story = await site.story(record)
    brought = await bring_back(
        site.at if is_plain_folder(site.worktree.path) else site.bare, story, site.places, site.agent_git
    )
    tree = await _tree_aside(site, record, story.head) if is_plain_folder(site.worktree.path) else brought.tree
    if not is_plain_folder(site.worktree.agent_git_dir) and is_plain_folder(site.worktree.path):
        await build.renew_private(site, site.record(), story.head, story.refs)
    if tree not in (brought.tree, brought.left_at):
        rows = await site.bare.text("for-each-ref", "--format=%(tree) %(parent) %(refname)", salvage_prefix(run_id))
        for row in rows.splitlines():
            if row.startswith(f"{tree} {brought.parent} "):
                return row.split(" ")[2]
        return await keep(site.bare, run_id, await site.commit(tree, brought.parent, _salvage_message(record)))
    if brought.parent != story.head:
        return await keep(site.bare, run_id, brought.parent)
    return brought.salvaged[-1] if brought.salvaged else None


async def _tree_aside(site: Site, record: Record, head: str) -> str:
    """The files of the worktree as a tree, through a copy of the index: what is unsaved stays unsaved."""
    index, copy = site.worktree.git_dir / "index", site.worktree.git_dir / "index.salvage"
    (site.worktree.git_dir / "index.salvage.lock").unlink(missing_ok=True)
    if index.exists():
        shutil.copyfile(index, copy)
    at = replace(site.at, env={"GIT_INDEX_FILE": str(copy)})
    try:
        return (await stage(at, record, head, submodules_as_files=True)).tree
    finally:
        copy.unlink(missing_ok=True)


async def look(site: Site) -> str:
    """What is in no commit of the mirror, in words; "" when nothing is."""
    record = site.record()
    if not is_plain_folder(site.worktree.path):
        return "its folder is gone"
    story = await site.story(record)
    refs = read_agent_refs(site.worktree.agent_git_dir)
    words = []
    if (
        not refs.readable
        or not refs.tips <= {story.head, *record.known}
        or is_plain_folder(site.worktree.path / ".git")
    ):
        words.append("commits of the agent are not collected")
    if await _tree_aside(site, record, story.head) != story.tree:
        words.append("files are not committed")
    return " and ".join(words)


async def reset(site: Site, sha: str) -> str | None:
    """Make branch and files those of ``sha``; ignored and copied files stay. The salvage ref of what was unsaved."""
    record, worktree = site.record(), site.worktree
    kept = await salvage(site, record.run_id)
    worktree.path.mkdir(parents=True, exist_ok=True)
    open_up(worktree.path)
    story = await site.story(record)
    if await site.bare.text("rev-list", "-1", story.head, "--not", sha, "--"):
        kept = kept or await keep(site.bare, record.run_id, story.head)
    await load_tree(site.at, sha)
    spared = [argument for path in record.kept_out for argument in ("-e", build.only(path))]
    await site.at.run("clean", "-ffdq", *spared)
    await site.move_branch(record, sha, story.head, "reset")
    await build.renew_private(site, record, sha, story.refs)
    return kept


async def lay(site: Site, tree: str) -> None:
    """Make index and files those of ``tree``, the branch staying where it is; the agent's index shows it as staged."""
    record = site.record()
    await load_tree(site.at, tree)
    story = await site.story(record)
    await build.renew_private(site, record, story.head, story.refs)


def _salvage_message(record: Record) -> str:
    return with_trailers("Salvage of unsaved work", {"Story": record.story_id, "Run": record.run_id})
