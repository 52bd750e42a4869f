"""The user's own repository: looked at, never written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from auto_dev.errors import GitError
from auto_dev.worktrees import parse
from auto_dev.worktrees.git import Git, GitCommandError, Identity
from auto_dev.worktrees.names import is_local
from auto_dev.worktrees.transport import Remote

_EXCLUDES_LIMIT = 256 * 1024
_SCRATCH = b".aider.tags.cache.v*/\n"  # aider's map of a repository: it cannot be put elsewhere


@dataclass(frozen=True, slots=True)
class UserRepository:
    """The user's checkout as it was found.

    ``branch`` is None when HEAD is detached; ``base_branch`` is the branch that stories start from. ``fetch`` and
    ``push`` are the literal addresses of the remote (``url.insteadOf`` and ``pushurl`` applied, paths absolute), None
    without one. ``excludes`` are ignore rules that live outside the tree (``info/exclude``, ``core.excludesFile``).
    """

    root: Path
    git_dir: Path
    branch: str | None
    head_sha: str | None
    base_branch: str
    dirty: bool
    shallow: bool
    partial: bool
    object_format: str
    remote: str | None
    fetch: Remote | None
    push: Remote | None
    identity: Identity
    excludes: bytes = b""


async def inspect(start: Path, *, git: Git, base_branch: str | None = None, remote: str = "origin") -> UserRepository:
    """Look at the repository around ``start``; nothing in it is written, not even its index.

    Raises GitError, with the mend: no repository, a bare one, no commit yet, no base branch to be found.
    """
    places = await _places(start, git)
    root = places.root
    state = parse.status(
        (
            await git.run_user(
                "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--ignore-submodules=all",
                "--no-renames", cwd=root,
            )
        ).stdout
    )  # fmt: skip
    settings = parse.config((await git.run_user("config", "-z", "--list", cwd=root)).stdout)
    has_remote = f"remote.{remote}.url" in settings or f"remote.{remote}.pushurl" in settings
    base = await _base(root, git, state, base_branch, remote if has_remote else None)
    fetch, push = await _addresses(root, git, remote, settings) if has_remote else (None, None)
    default = Identity()
    return UserRepository(
        root=root,
        git_dir=places.git_dir,
        branch=state.branch,
        head_sha=state.head,
        base_branch=base,
        dirty=state.dirty,
        shallow=places.shallow,
        partial="extensions.partialclone" in settings,
        object_format=places.object_format,
        remote=remote if has_remote else None,
        fetch=fetch,
        push=push,
        identity=Identity(
            _one_line(settings.get("user.name")) or default.name, _one_line(settings.get("user.email")) or default.email
        ),
        excludes=_excludes(places.git_dir, settings, git),
    )


async def find_root(start: Path, *, git: Git) -> Path:
    """The top folder of the checkout around ``start``. Raises GitError when there is none, or it is bare."""
    return (await _places(start, git)).root


@dataclass(frozen=True, slots=True)
class _Places:
    root: Path
    git_dir: Path
    shallow: bool
    object_format: str


async def _places(start: Path, git: Git) -> _Places:
    if not start.is_dir():
        raise GitError("no such folder", where=str(start))
    found = await git.run_user(
        "rev-parse", "--path-format=absolute", "--is-bare-repository", "--is-inside-work-tree", "--git-common-dir",
        "--is-shallow-repository", "--show-object-format", "--show-toplevel", cwd=start, check=False,
    )  # fmt: skip
    rows = found.text.split("\n")
    if found.code != 0 and "not a git repository" in found.complaint:
        raise GitError(
            "no git repository", where=str(start), mend="Run `git init` and commit, or go into your repository."
        )
    if rows[0] == "true":
        raise GitError("the repository is bare", where=str(start), mend="Clone it and start auto-dev in the clone.")
    if len(rows) > 1 and rows[1] == "false":
        raise GitError("inside a .git folder", where=str(start), mend="Go into the checkout itself.")
    if found.code != 0 or len(rows) < 6:
        raise GitError(f"the repository cannot be read: {found.complaint}", where=str(start))
    return _Places(Path("\n".join(rows[5:])), Path(rows[2]), rows[3] == "true", rows[4])


async def _base(root: Path, git: Git, state: parse.CheckoutState, wanted: str | None, remote: str | None) -> str:
    """The branch that stories start from: the configured one, else the remote's HEAD, else the one checked out."""
    known = await _branches(root, git, remote)
    if wanted:
        # With a remote the branch may be there and not have been fetched yet: the mirror's refresh will tell.
        if remote is None and f"refs/heads/{wanted}" not in known:
            mend = "Create it, or set another base_branch in [project] of auto-dev.toml."
            raise GitError(f"the base branch {wanted!r} does not exist", where=str(root), mend=mend)
        return wanted
    if remote is not None and (target := known.get(f"refs/remotes/{remote}/HEAD")):
        return target.removeprefix(f"refs/remotes/{remote}/")
    if state.head is None:
        raise GitError("the repository has no commit yet", where=str(root), mend="Make a first commit.")
    if state.branch is None:
        mend = 'Check a branch out, or set base_branch = "main" in [project] of auto-dev.toml.'
        raise GitError("HEAD is detached and no base branch is configured", where=str(root), mend=mend)
    return state.branch


async def _branches(root: Path, git: Git, remote: str | None) -> dict[str, str]:
    patterns = ["refs/heads/"] + ([f"refs/remotes/{remote}/HEAD"] if remote else [])
    rows = (await git.run_user("for-each-ref", "--format=%(refname) %(symref)", *patterns, cwd=root)).text
    return dict(row.split(" ", 1) for row in rows.splitlines())


async def _addresses(root: Path, git: Git, remote: str, settings: dict[str, str]) -> tuple[Remote, Remote]:
    """Where to fetch from and push to, as git itself would: insteadOf, pushInsteadOf and pushurl applied."""
    ssh = settings.get("core.sshcommand", "")
    try:
        fetch = (await git.run_user("remote", "get-url", "--", remote, cwd=root)).text
        push = (await git.run_user("remote", "get-url", "--push", "--", remote, cwd=root)).text
    except GitCommandError as error:
        mend = "Mend it with `git remote set-url`, or set remote in [project] of auto-dev.toml."
        raise GitError(
            f"the remote {remote!r} has no usable address: {error.what}", where=str(root), mend=mend
        ) from None
    return Remote(_literal(fetch, root), ssh), Remote(_literal(push, root), ssh)


def _literal(url: str, root: Path) -> str:
    if not is_local(url) or url.startswith("file://"):
        return url
    return os.path.normpath(root / Path(url))


def _excludes(git_dir: Path, settings: dict[str, str], git: Git) -> bytes:
    """What the user ignores outside the tree, so that a story does not commit it. Never executed: patterns only."""
    home = git.environ.get("HOME", "")
    named = settings.get("core.excludesfile")
    default = Path(git.environ.get("XDG_CONFIG_HOME") or Path(home) / ".config") / "git" / "ignore"
    globally = Path(named.replace("~", home, 1) if named.startswith("~/") else named) if named else default
    texts = []
    for path in (globally, git_dir / "info" / "exclude"):
        try:
            texts.append(path.read_bytes()[:_EXCLUDES_LIMIT])
        except OSError:  # most users have none
            continue
    return b"\n".join([*texts, _SCRATCH])


def _one_line(value: str | None) -> str:
    return " ".join((value or "").replace("<", "").replace(">", "").split())
