"""The bare mirror: one per project, owned by the host, from which all worktrees hang.

It holds ``refs/heads/auto-dev/<story>``, the fetched branches (``refs/remotes/<remote>/…`` and ``refs/remotes/local/…``
for the user's own), ``refs/auto-dev/base/<run>`` and ``refs/auto-dev/salvage/<run>/<n>``. Nothing in it is ever pruned.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auto_dev.errors import GitError
from auto_dev.worktrees import rescue
from auto_dev.worktrees.folders import delete, free_name, is_plain_folder, locked, write_atomically
from auto_dev.worktrees.git import Git, GitAt, GitCommandError
from auto_dev.worktrees.names import HEADS, display_url, story_ref
from auto_dev.worktrees.repository import UserRepository
from auto_dev.worktrees.transport import RemoteError, ls_remote, remote_error, talk

LOCAL: Final = "refs/remotes/local/"  # the branches of the user's own repository
_SETTINGS: Final = (
    "gc.auto=0",
    "gc.pruneExpire=never",
    "gc.worktreePruneExpire=never",
    "maintenance.auto=false",
    "core.logAllRefUpdates=always",
    "receive.denyCurrentBranch=refuse",
)
_STALE_LOCK_S: Final = 30.0  # a ref is locked for milliseconds


@dataclass(frozen=True, slots=True)
class BaseTip:
    """Where stories of ``branch`` start. ``source``: remote | local. ``warnings`` are told once per mirror object."""

    branch: str
    sha: str
    source: str
    warnings: tuple[str, ...] = ()


async def tips(at: GitAt, *patterns: str) -> dict[str, tuple[str, str]]:
    """Refs under ``patterns`` → (commit, its tree)."""
    rows = await at.text("for-each-ref", "--format=%(objectname) %(tree) %(refname)", *patterns)
    split = (row.split(" ", 2) for row in rows.splitlines())
    return {name: (sha, tree) for sha, tree, name in split}


class Mirror:
    """The mirror of ``repository`` at ``<state>/mirror.git``. Call ``ensure`` first; it may be repeated at any time."""

    def __init__(self, state: Path, repository: UserRepository, git: Git) -> None:
        if "\n" in str(state):
            raise GitError(
                "the state folder has a line break in its name", where=repr(str(state)), mend="Choose another."
            )
        self.state = state
        self.repository = repository
        self.git = git
        self.path = state / "mirror.git"
        self.at = GitAt(git, self.path)
        self._told: set[str] = set()
        self._tags: bytes | None = None

    async def ensure(self) -> tuple[str, ...]:
        """Make the mirror, or mend it. Returns what a person should know about it, in sentences. Raises GitError."""
        await self.git.prepare()
        self.state.mkdir(parents=True, exist_ok=True)
        async with locked(self.state / "mirror.lock") as hold:
            await self._sweep()
            notes: list[str] = []
            broken: Path | None = None
            if os.path.lexists(self.path) and (problem := await self._problem()):
                broken = free_name(self.state / "mirror.git.broken")
                self.path.rename(broken)
                notes.append(f"the mirror was damaged ({problem}); it was made anew, the old one is kept in {broken}")
            if not self.path.exists():
                notes += await self._make(hold, broken)
            write_atomically(self.path / "info" / "exclude", self.repository.excludes)
        return tuple(notes)

    def fetch_hint(self, branch: str) -> str:
        """The command with which the user's repository can fetch ``branch``."""
        story_ref(branch)
        return f"git fetch {shlex.quote(str(self.path))} {shlex.quote(f'{branch}:{branch}')}"

    async def refresh(self, branches: Sequence[str] = ()) -> dict[str, BaseTip]:
        """Bring the base branch and ``branches`` up to date; where each stands now.

        The remote's branch counts where it has one and answers, else the user's own. Raises GitError for a branch that
        is in neither.
        """
        wanted = list(dict.fromkeys([self.repository.base_branch, *branches]))
        async with locked(self.state / "mirror.lock") as hold:
            at = GitAt(self.git, self.path, hold=(hold,), timeout_s=600)
            local = await self._local_tips(wanted)
            remote, problem = await self._remote_tips(wanted)
            await self._fetch_local(at, local)
            if remote:
                problem = await self._fetch_remote(at, remote) or problem
                if problem:
                    remote = {}
            self._tags = None
        return {name: await self._tip(name, remote.get(name), local.get(name), problem) for name in wanted}

    async def tags(self) -> bytes:
        """All tags as lines of a ``packed-refs`` file; tools such as setuptools-scm want them in small repositories."""
        if self._tags is None:
            row = "%(objectname) %(refname)%(if)%(*objectname)%(then)%0a^%(*objectname)%(end)"
            self._tags = (await self.at.run("for-each-ref", f"--format={row}", "refs/tags")).stdout
        return self._tags

    async def _problem(self) -> str:
        """Why the mirror at its path cannot be used; "" when it can."""
        missing = [part for part in ("HEAD", "config", "objects", "refs") if not (self.path / part).exists()]
        if not is_plain_folder(self.path) or missing:
            return f"{', '.join(missing) or 'it'} is missing"
        try:
            found = await self.at.run("for-each-ref", "--format=%(objecttype)", env={"GIT_REF_PARANOIA": "1"})
            kind = await self.at.text("config", "--get", "core.bare")
        except GitError as error:
            return error.what
        if "broken ref" in found.complaint or kind != "true":
            return "a ref is broken" if kind == "true" else "its configuration is not ours"
        return ""

    async def _sweep(self) -> None:
        """Delete what killed processes left: half-made mirrors and lock files that nobody can still hold."""
        for half in self.state.glob(".mirror-*"):
            await delete(half)
        if not is_plain_folder(self.path):
            return
        locks = [self.path / "packed-refs.lock", self.path / "config.lock", self.path / "shallow.lock"]
        for lock in [*locks, *(self.path / "refs").rglob("*.lock")]:
            try:
                if time.time() - lock.lstat().st_mtime > _STALE_LOCK_S:
                    lock.unlink()
            except FileNotFoundError:
                continue

    async def _make(self, hold: int, broken: Path | None) -> list[str]:
        """A new mirror, complete before it gets its name; what a broken one still has is taken over."""
        half = Path(tempfile.mkdtemp(prefix=".mirror-", dir=self.state))
        notes: list[str] = []
        try:
            made = half / "mirror.git"
            if not (self._incomplete() and await self._clone_remote(made)):
                await self._clone_local(made, hold)
                if self._incomplete():
                    kind = "partial" if self.repository.partial else "shallow"
                    notes.append(
                        f"your clone is {kind} and the remote gave no full history: stories see only what it has"
                    )
            for setting in _SETTINGS:
                key, _, value = setting.partition("=")
                await self.git.run("config", key, value, git_dir=made)
            if broken is not None:
                notes += await rescue.take_over(self.git, broken, made)
            (made / "info").mkdir(exist_ok=True)
            made.rename(self.path)
        finally:
            await delete(half)
        return notes

    def _incomplete(self) -> bool:
        return self.repository.shallow or self.repository.partial

    async def _clone_remote(self, made: Path) -> bool:
        """A clone of the remote, with full history; False when there is none or it does not answer."""
        remote = self.repository.fetch
        if remote is None:
            return False
        made.parent.mkdir(exist_ok=True)
        await self._init(made)
        spec = f"+refs/heads/*:refs/remotes/{self.repository.remote}/*"
        try:
            output = await talk(self.git, made, remote, "fetch", "--quiet", "--tags", remote.url, spec, timeout_s=3600)
        except RemoteError:
            output = None
        if output is None or output.code != 0:
            await delete(made)
            return False
        return True

    async def _init(self, made: Path) -> None:
        made.mkdir()
        await self.git.run(
            "init", "--quiet", "--bare", "--template=", f"--object-format={self.repository.object_format}", git_dir=made
        )

    async def _clone_local(self, made: Path, hold: int) -> None:
        """A clone of the user's repository, its objects hard-linked (its own gc does not harm those) where possible."""
        source = self.repository.git_dir
        borrowed = (source / "objects" / "info" / "alternates").exists()  # would make us depend on a third repository
        for way in ["--no-local"] if borrowed else ["--local", "--no-local"]:
            await delete(made)
            try:
                await self.git.run(
                    "clone", "--quiet", "--bare", "--template=", way, "--", str(source), str(made),
                    git_dir=made, timeout_s=3600, hold=(hold,), cwd=self.state,
                )  # fmt: skip
                await self._name_local(made)
                return
            except GitCommandError as error:
                if way == "--no-local":
                    raise GitError(
                        f"the mirror cannot be made: {error.what}", where=str(source), mend=error.mend
                    ) from None

    async def _name_local(self, made: Path) -> None:
        """Move the cloned branches to ``refs/remotes/local/``, and prove that the objects of their tips are there."""
        row = f"create {LOCAL}%(refname:lstrip=2) %(objectname)%0adelete %(refname) %(objectname)"
        moves = (await self.git.run("for-each-ref", f"--format={row}", HEADS, git_dir=made)).stdout
        await self.git.run("symbolic-ref", "HEAD", f"{HEADS}auto-dev/none", git_dir=made)
        await self.git.run("update-ref", "--no-deref", "--stdin", git_dir=made, input=moves)
        await self.git.run("config", "--remove-section", "remote.origin", git_dir=made, check=False)
        # The source may have been repacked while its files were linked one by one.
        await self.git.run("rev-list", "--quiet", "--objects", "--no-walk", "--all", git_dir=made, timeout_s=600)

    async def _local_tips(self, wanted: list[str]) -> dict[str, str]:
        patterns = [HEADS + name for name in wanted]
        rows = await self.git.run_user(
            "for-each-ref", "--format=%(objectname) %(refname)", *patterns, cwd=self.repository.root
        )
        found = (row.split(" ", 1) for row in rows.text.splitlines())
        return {ref.removeprefix(HEADS): sha for sha, ref in found if ref in patterns}

    async def _remote_tips(self, wanted: list[str]) -> tuple[dict[str, str], str]:
        """Where the remote has ``wanted``, and why that is not known."""
        remote = self.repository.fetch
        if remote is None:
            return {}, ""
        try:
            found = await ls_remote(self.git, self.path, remote, *(HEADS + name for name in wanted))
        except RemoteError as error:
            return {}, str(error)
        return {ref.removeprefix(HEADS): sha for ref, sha in found.items() if ref.removeprefix(HEADS) in wanted}, ""

    async def _fetch_local(self, at: GitAt, wanted: dict[str, str]) -> None:
        if not wanted:
            return
        have = await tips(at, *(LOCAL + name for name in wanted))
        specs = [
            f"+{HEADS}{name}:{LOCAL}{name}" for name, sha in wanted.items() if have.get(LOCAL + name, ("",))[0] != sha
        ]
        if specs:
            await at.run("fetch", "--quiet", "--no-write-fetch-head", str(self.repository.git_dir), *specs)

    async def _fetch_remote(self, at: GitAt, wanted: dict[str, str]) -> str:
        """Fetch what the mirror does not have yet; why that failed, or ""."""
        remote, prefix = self.repository.fetch, f"refs/remotes/{self.repository.remote}/"
        have = await tips(at, *(prefix + name for name in wanted))
        specs = [
            f"+{HEADS}{name}:{prefix}{name}" for name, sha in wanted.items() if have.get(prefix + name, ("",))[0] != sha
        ]
        if not specs or remote is None:
            return ""
        deepen = ["--unshallow"] if (at.git_dir / "shallow").exists() else []
        arguments = ["fetch", "--quiet", "--no-write-fetch-head", *deepen, remote.url, *specs]
        try:
            output = await talk(self.git, at.git_dir, remote, *arguments, timeout_s=1800)
        except RemoteError as error:
            return str(error)
        return "" if output.code == 0 else str(remote_error("cannot fetch from", remote, output.complaint))

    async def _tip(self, name: str, remote: str | None, local: str | None, problem: str) -> BaseTip:
        warnings: list[str] = []
        if problem and self.repository.fetch is not None:
            url = display_url(self.repository.fetch.url)
            warnings.append(
                f"the remote {url} cannot be used, so stories start from your own branch {name!r}: {problem}"
            )
        if remote is None and local is None:
            where = (
                "neither on the remote nor in your repository" if self.repository.fetch else "not in your repository"
            )
            mend = "Create the branch, or set another base_branch."
            raise GitError(f"the base branch {name!r} is {where}{f' ({problem})' if problem else ''}", mend=mend)
        if remote is not None and local is not None and remote != local:
            ahead = int(await self.at.text("rev-list", "--count", f"{remote}..{local}"))
            if ahead:
                commits = "1 commit" if ahead == 1 else f"{ahead} commits"
                warnings.append(f"your branch {name!r} has {commits} that the remote lacks: stories do not see them")
        fresh = tuple(text for text in warnings if self._is_new(name, text))
        sha = remote or local or ""
        return BaseTip(name, sha, "remote" if remote is not None else "local", fresh)

    def _is_new(self, name: str, text: str) -> bool:
        key = f"{name}:{re.sub(r'[0-9]+', '', text)}"
        if key in self._told:
            return False
        self._told.add(key)
        return True
