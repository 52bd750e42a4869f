"""Pushing a story branch, and nothing else, to the user's remote."""

from __future__ import annotations

from dataclasses import dataclass

from auto_dev.errors import GitError
from auto_dev.worktrees.mirror import Mirror
from auto_dev.worktrees.names import HEADS, require_sha, story_ref
from auto_dev.worktrees.transport import Remote, RemoteError, RemoteFault, ls_remote, remote_error, talk


@dataclass(frozen=True, slots=True)
class PushResult:
    """``branch`` stands at ``sha`` on the remote. ``pushed``: it did not before; ``previous``: where it stood."""

    branch: str
    sha: str
    pushed: bool
    previous: str | None = None


async def push(mirror: Mirror, branch: str, sha: str, remote: Remote) -> PushResult:
    """Make the story branch ``branch`` stand at ``sha`` on ``remote``. Repeating it is harmless.

    The branch is overwritten only where every commit that this drops is one of ours and still in the mirror; a commit
    of somebody else's is never dropped. What was pushed is read back and compared. Raises GitError for any branch that
    is no story branch, RemoteError (with ``kind``) when the remote refuses or cannot be reached.
    """
    ref = story_ref(branch)
    require_sha(sha)
    if branch == mirror.repository.base_branch:
        raise GitError(f"{branch!r} is the base branch: nothing is ever pushed there")
    previous = (await ls_remote(mirror.git, mirror.path, remote, ref)).get(ref)
    if previous == sha:
        return PushResult(branch, sha, pushed=False, previous=previous)
    if previous is not None and not await is_ours(mirror, previous):
        raise RemoteError(
            f"{branch} has commits on the remote that are not auto-dev's ({previous[:12]})",
            where=branch,
            mend="Rename or delete that branch on the remote.",
            kind=RemoteFault.MOVED,
        )
    output = await talk(
        mirror.git, mirror.path, remote,
        "push", "--porcelain", "--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no",
        f"--force-with-lease={ref}:{previous or ''}", "--", remote.url, f"{sha}:{ref}",
    )  # fmt: skip
    if output.code != 0:
        raise remote_error("cannot push to", remote, f"{output.complaint}\n{_refusals(output.text)}")
    now = (await ls_remote(mirror.git, mirror.path, remote, ref)).get(ref)
    if now != sha:
        raise RemoteError(
            f"{branch} was pushed at {sha[:12]} but the remote has {now[:12] if now else 'no such branch'}",
            where=branch,
            mend="Somebody else may have pushed at the same time: look at the branch.",
            kind=RemoteFault.MOVED,
        )
    return PushResult(branch, sha, pushed=True, previous=previous)


async def is_ours(mirror: Mirror, sha: str) -> bool:
    """Whether a ref of ours contains ``sha``: then the mirror keeps all that overwriting it would drop.

    This needs no record of the last push, which a crash could lose: a branch moves on from a commit only after that
    commit is part of it or kept as salvage.
    """
    refs = await mirror.at.run(
        "for-each-ref", "--count=1", f"--contains={sha}", f"{HEADS}auto-dev/", "refs/auto-dev/", check=False
    )
    return refs.code == 0 and bool(refs.text)


def _refusals(porcelain: str) -> str:
    """The lines of ``git push --porcelain`` that refuse, for people: ``! ref (reason)``."""
    rows = (row.split("\t") for row in porcelain.splitlines() if row.startswith("!"))
    return "\n".join(f"! {row[-1]}" for row in rows)
