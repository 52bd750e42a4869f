"""What stands on the remote's story branch, where a person may have pushed."""

from __future__ import annotations

from collections.abc import Sequence

from auto_dev.worktrees.agent_commits import keep
from auto_dev.worktrees.folders import locked
from auto_dev.worktrees.mirror import Mirror, tips
from auto_dev.worktrees.names import base_ref, require_sha, story_ref
from auto_dev.worktrees.transport import Remote, ls_remote, remote_error, talk


async def fetch_story(mirror: Mirror, branch: str, remote: Remote) -> str | None:
    """The commit of the story branch on ``remote``, now in the mirror too; None when there is no such branch.

    The mirror's own branch of this name is not touched. Raises RemoteError.
    """
    ref = story_ref(branch)
    sha = (await ls_remote(mirror.git, mirror.path, remote, ref)).get(ref)
    kept = tracking_ref(mirror, branch)
    if sha is None:
        return None
    # A look and a run may want the same branch at the same moment, and of two fetches into one ref one fails.
    async with locked(mirror.state / "mirror.lock"):
        if (await tips(mirror.at, kept)).get(kept, ("",))[0] == sha:
            return sha
        output = await talk(
            mirror.git, mirror.path, remote, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", remote.url,
            f"+{ref}:{kept}",
        )  # fmt: skip
        if output.code != 0:
            raise remote_error("cannot fetch from", remote, output.complaint)
        return (await tips(mirror.at, kept))[kept][0]


async def keep_theirs(mirror: Mirror, run_id: str, sha: str) -> None:
    """Keep a person's commit of a story branch as salvage of the run that took its changes over."""
    await keep(mirror.at, run_id, require_sha(sha))


async def forget_story(mirror: Mirror, branch: str, runs: Sequence[str]) -> None:
    """Drop the refs of a story that was merged: its branch and what its runs began at. Salvaged work stays.

    Repeating it is harmless. The remote's branch is a person's business.
    """
    wanted = [story_ref(branch), tracking_ref(mirror, branch), *(base_ref(run) for run in runs)]
    found = await tips(mirror.at, *wanted)
    commands = "".join(f"delete {ref} {found[ref][0]}\n" for ref in wanted if ref in found)
    if commands:
        await mirror.at.run("update-ref", "--stdin", input=commands.encode())


def tracking_ref(mirror: Mirror, branch: str) -> str:
    """Where the mirror keeps the remote's story branch: not under ``refs/auto-dev/``, which counts as ours."""
    return f"refs/remotes/{mirror.repository.remote or 'forge'}/{branch}"
