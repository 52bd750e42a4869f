"""The files of a worktree that are not its content: the host's git dir, the agent's private git dir, the gitfile.

Host git works with ``--git-dir=<mirror>/worktrees/<name> --work-tree=<path>`` and never reads ``<path>/.git``. That
git dir is made by hand, in the layout of gitrepository-layout(5), and appears as a whole by one rename: parallel
``git worktree add`` fails now and then, and when killed it leaves halves. The gitfile in the worktree names another
git dir, private to the agent, which borrows the mirror's objects and which the host reads as data only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from auto_dev.errors import GitError
from auto_dev.worktrees.folders import enter, is_plain_folder, read_small, scratch, write_atomically
from auto_dev.worktrees.git import Identity
from auto_dev.worktrees.names import HEADS, is_sha

RECORD = "auto-dev.json"


class State(StrEnum):
    """How far a worktree is. A crash leaves the first or the last, and the next call completes it."""

    CREATING = "creating"
    READY = "ready"
    REMOVING = "removing"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known about a worktree; stands in the host's git dir.

    ``kept_out`` are copied files that no commit may hold; ``submodules`` the gitlinks of the base; ``known`` the
    commits that the refs of the agent's git dir were made with.
    """

    story_id: str
    run_id: str
    branch: str
    base_sha: str
    path: str
    state: State = State.CREATING
    kept_out: tuple[str, ...] = ()
    submodules: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    def with_state(self, state: State) -> Record:
        return replace(self, state=state)


def read_record(git_dir: Path) -> Record | None:
    """The record of the worktree whose host git dir is ``git_dir``; None when there is none that can be read."""
    raw = read_small(git_dir / RECORD)
    if raw is None:
        return None
    try:
        data = json.loads(raw)
        data["state"] = State(data["state"])
        for key in ("kept_out", "submodules", "known"):
            data[key] = tuple(data[key])
        return Record(**data)
    except (ValueError, TypeError, KeyError):
        return None


def write_record(git_dir: Path, record: Record) -> None:
    write_atomically(git_dir / RECORD, json.dumps(asdict(record)).encode())


def make_host_dir(git_dir: Path, record: Record) -> None:
    """Make the host's git dir of a worktree; it is there as a whole or not at all."""
    git_dir.parent.mkdir(exist_ok=True)
    # Not below worktrees/: `git worktree prune` would delete a half-made one.
    half = scratch(git_dir.parent.parent, "half")
    try:
        (half / "HEAD").write_text(f"ref: {HEADS}{record.branch}\n")
        (half / "commondir").write_text("../..\n")
        (half / "gitdir").write_bytes(os.fsencode(f"{record.path}/.git\n"))
        half.chmod(0o755)
        write_record(half, record)
        half.rename(git_dir)
    except BaseException:
        shutil.rmtree(half)
        raise


@dataclass(frozen=True, slots=True)
class PrivateSpec:
    """What a private git dir begins with. ``refs`` are lines of a packed-refs file, sorted by name."""

    objects: Path
    object_format: str
    head: str  # "ref: refs/heads/x" or a commit
    refs: bytes = b""
    branch_sha: str = ""
    index: Path | None = None
    identity: Identity | None = None
    excludes: bytes = b""


def make_private_dir(target: Path, spec: PrivateSpec) -> Path | None:
    """Make a small repository at ``target`` that borrows ``spec.objects``; what it replaced, for the caller to delete.

    By hand instead of ``git clone --shared --bare``: a millisecond, and no process.
    """
    half = scratch(target.parent, "half")
    old: Path | None = None
    try:
        _fill_private_dir(half, spec)
        if os.path.lexists(target):
            enter(target)  # closed by the agent, it could not be renamed into another folder
            old = scratch(target.parent, "old")
            target.rename(old / "git")
        half.rename(target)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return old


def _fill_private_dir(half: Path, spec: PrivateSpec) -> None:
    half.chmod(0o755)
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        (half / folder).mkdir(parents=True)
    (half / "objects/info/alternates").write_bytes(os.fsencode(f"{spec.objects}\n"))
    (half / "config").write_text(private_config(spec.object_format, spec.identity), "utf-8")
    (half / "packed-refs").write_bytes(b"# pack-refs with: peeled fully-peeled sorted \n" + spec.refs)
    (half / "HEAD").write_text(f"{spec.head}\n")
    (half / "info/exclude").write_bytes(spec.excludes)
    if spec.branch_sha:
        ref = half / spec.head.removeprefix("ref: ")
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(f"{spec.branch_sha}\n")
    if spec.index is not None:
        shutil.copyfile(spec.index, half / "index")


def private_config(object_format: str, identity: Identity | None) -> str:
    """The configuration of a private git dir."""
    sha256 = object_format == "sha256"
    text = f"[core]\n\trepositoryformatversion = {int(sha256)}\n\tbare = false\n\tlogallrefupdates = true\n"
    text += "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n"
    if sha256:
        text += "[extensions]\n\tobjectFormat = sha256\n"
    if identity is not None:
        name, email = (value.replace("\\", "\\\\").replace('"', '\\"') for value in (identity.name, identity.email))
        text += f'[user]\n\tname = "{name}"\n\temail = "{email}"\n'
    return text


def point_gitfile(worktree: Path, private: Path) -> None:
    """Make ``<worktree>/.git`` the file that names ``private``. Raises GitError when a folder stands there."""
    gitfile = worktree / ".git"
    if is_plain_folder(gitfile):
        raise GitError("a folder stands where the gitfile belongs", where=str(gitfile))
    write_atomically(gitfile, os.fsencode(f"gitdir: {private}\n"))


def gitfile_is_right(worktree: Path, private: Path) -> bool:
    return read_small(worktree / ".git", 16_384) == os.fsencode(f"gitdir: {private}\n")


@dataclass(frozen=True, slots=True)
class AgentRefs:
    """Where the refs of a git dir stand that an agent could write. ``branch`` is None when HEAD is detached.

    ``readable`` is False when it has no HEAD that can be read; ``refs`` maps full names (no tags) to object ids.
    """

    readable: bool
    branch: str | None
    head: str | None
    refs: dict[str, str]

    @property
    def tips(self) -> set[str]:
        return {*self.refs.values(), *([self.head] if self.head else [])}


def read_agent_refs(git_dir: Path) -> AgentRefs:
    """HEAD and the refs of ``git_dir``, read as data: no git runs, no symlink is followed, no pipe waited for."""
    head = (read_small(git_dir / "HEAD", 4096) or b"").decode("utf-8", "surrogateescape").strip()
    refs: dict[str, str] = {}
    packed = read_small(git_dir / "packed-refs") if is_plain_folder(git_dir) else None
    for row in (packed or b"").decode("utf-8", "surrogateescape").splitlines():
        sha, _, name = row.partition(" ")
        if is_sha(sha) and not name.startswith("refs/tags/"):
            refs[name] = sha
    for name, path in _loose(git_dir):
        sha = (read_small(path, 4096) or b"").decode("ascii", "replace").strip()
        if is_sha(sha):
            refs[name] = sha
    if head.startswith("ref: "):
        branch = head.removeprefix("ref: ").strip()
        return AgentRefs(True, branch.removeprefix(HEADS), refs.get(branch), refs)
    return AgentRefs(is_sha(head), None, head if is_sha(head) else None, refs)


def _loose(git_dir: Path) -> Iterator[tuple[str, Path]]:
    left = ["refs"]
    while left:
        below = left.pop()
        if below == "refs/tags" or not is_plain_folder(git_dir / below):
            continue
        with contextlib.suppress(OSError), os.scandir(git_dir / below) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(f"{below}/{entry.name}")
                elif not entry.name.endswith(".lock"):
                    yield f"{below}/{entry.name}", Path(entry.path)
