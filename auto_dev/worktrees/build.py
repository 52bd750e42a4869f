"""Making, mending and clearing a worktree. Each step may be repeated after a crash at any point."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from auto_dev.errors import GitError
from auto_dev.worktrees.agent_commits import keep
from auto_dev.worktrees.folders import delete, free_name, is_plain_folder, write_atomically
from auto_dev.worktrees.git import GitCommandError
from auto_dev.worktrees.layout import (
    PrivateSpec,
    Record,
    State,
    gitfile_is_right,
    make_host_dir,
    make_private_dir,
    point_gitfile,
    write_record,
)
from auto_dev.worktrees.mirror import LOCAL
from auto_dev.worktrees.names import HEADS, base_ref
from auto_dev.worktrees.site import WRECKS, Site, Worktree
from auto_dev.worktrees.stage import gitlinks, load_tree


async def claim_branch(site: Site, start_sha: str, earlier_run: str) -> tuple[str, str, Mapping[str, str]]:
    """Put the story's branch where the run begins: (its head, the run's base, the refs that matter).

    A run that was here before finds its branch as it left it. The branch of an earlier run is kept under a salvage ref
    before it is moved.
    """
    worktree = site.worktree
    found = {name: sha for name, (sha, _) in (await site.refs()).items()}
    branch, base = HEADS + worktree.branch, base_ref(worktree.run_id)
    if base in found and branch in found:
        return found[branch], found[base], found
    head = found.get(branch)
    if (
        base not in found
        and head
        and head != start_sha
        and await site.bare.text("rev-list", "-1", head, "--not", start_sha, "--")
    ):
        await keep(site.bare, earlier_run, head)
    start_sha = found.get(base, start_sha)
    moved = f"update {branch} {start_sha}{f' {head}' if head else ''}"
    # Two transactions in this order: a run whose base is recorded owns the branch.
    commands = f"start\n{moved}\ncommit\nstart\nupdate {base} {start_sha}\ncommit\n"
    try:
        await site.bare.run("update-ref", "--stdin", input=commands.encode())
    except GitCommandError as error:
        mend = "Refresh the mirror: the commit may be new on the remote."
        raise GitError(
            f"the branch {worktree.branch} cannot start at {start_sha[:12]}: {error.what}", mend=mend
        ) from None
    return start_sha, start_sha, {**found, branch: start_sha, base: start_sha}


async def build(site: Site, head: str, base_sha: str, refs: Mapping[str, str]) -> Worktree:
    """Check the story's branch out into a new folder, with its two git dirs."""
    worktree = replace(site.worktree, base_sha=base_sha)
    record = Record(worktree.story_id, worktree.run_id, worktree.branch, base_sha, str(worktree.path))
    make_host_dir(worktree.git_dir, record)
    worktree.path.mkdir(parents=True)
    await load_tree(site.at, head)
    if (worktree.path / ".gitmodules").exists():
        record = replace(record, submodules=await gitlinks(site.at))
    await renew_private(site, record, head, refs)
    return worktree


async def renew_private(site: Site, record: Record, head: str, refs: Mapping[str, str]) -> None:
    """Give the agent a fresh private git dir at ``head``; what was in the old one has been brought into the mirror."""
    worktree = site.worktree
    lines, known = await _known_refs(site, refs)
    spec = PrivateSpec(
        objects=site.objects,
        object_format=site.mirror.repository.object_format,
        head=f"ref: {HEADS}{record.branch}",
        refs=lines,
        branch_sha=head,
        index=worktree.git_dir / "index",
        identity=site.mirror.repository.identity,
        excludes=_excludes(site, record.kept_out),
    )
    old = make_private_dir(worktree.agent_git_dir, spec)
    if old is not None:
        await delete(old)
    if is_plain_folder(worktree.path / ".git"):
        await delete(worktree.path / ".git")
    if not gitfile_is_right(worktree.path, worktree.agent_git_dir):
        point_gitfile(worktree.path, worktree.agent_git_dir)
    ready = replace(record, state=State.READY, known=known)
    write_record(worktree.git_dir, ready)


def write_excludes(site: Site, kept_out: Sequence[str]) -> None:
    """Hide ``kept_out`` from the agent's git too, so that its ``git add -A`` leaves them."""
    info = site.worktree.agent_git_dir / "info"
    if is_plain_folder(site.worktree.agent_git_dir) and is_plain_folder(info):
        write_atomically(info / "exclude", _excludes(site, kept_out))


def _excludes(site: Site, kept_out: Sequence[str]) -> bytes:
    rows = "".join(f"{only(path)}\n" for path in kept_out)
    return site.mirror.repository.excludes.rstrip(b"\n") + b"\n" + os.fsencode(rows)


def only(path: str) -> str:
    """An ignore pattern that matches ``path`` alone."""
    return "/" + re.sub(r"([\\*?\[\]!# ])", r"\\\1", path)


async def _known_refs(site: Site, refs: Mapping[str, str]) -> tuple[bytes, tuple[str, ...]]:
    """The base branch and the tags as packed refs, for an agent's ``git diff main`` and ``git describe``."""
    repository = site.mirror.repository
    name = repository.base_branch
    tracking = f"refs/remotes/{repository.remote}/{name}"
    tip = refs.get(tracking) or refs.get(LOCAL + name)
    lines = b""
    if tip and name != "auto-dev":  # a branch of that name leaves no room for auto-dev/<story>
        rows = [f"{tip} {HEADS}{name}\n"] + ([f"{tip} {tracking}\n"] if repository.remote else [])
        lines = "".join(rows).encode()
    return lines + await site.mirror.tags(), (tip,) if tip else ()


async def adopt(site: Site, record: Record) -> Worktree:
    """A complete worktree of the same run: only what an agent may have broken of its way to git is mended."""
    worktree = replace(site.worktree, base_sha=record.base_sha)
    if not is_plain_folder(worktree.agent_git_dir):
        story = await site.story(record)
        await renew_private(site, record, story.head, story.refs)
    elif not is_plain_folder(worktree.path / ".git") and not gitfile_is_right(worktree.path, worktree.agent_git_dir):
        point_gitfile(worktree.path, worktree.agent_git_dir)
    return worktree


async def clear(site: Site, record: Record | None) -> None:
    """Delete the worktree and its git dirs. What may hold work that nobody salvaged is moved aside instead."""
    worktree = site.worktree
    if record is None:
        # No agent of ours worked under a record that is not there: whatever this folder is, it is not ours to delete.
        if worktree.path.is_symlink() or (is_plain_folder(worktree.path) and any(worktree.path.iterdir())):
            wrecks = site.folder / WRECKS
            wrecks.mkdir(parents=True, exist_ok=True)
            worktree.path.rename(free_name(wrecks / worktree.path.name))
    else:
        write_record(worktree.git_dir, record.with_state(State.REMOVING))
    await delete(worktree.path)
    await delete(worktree.agent_git_dir)
    await delete(worktree.git_dir)
