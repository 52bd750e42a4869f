"""A commit that changes one file, made in the mirror: no worktree that an agent touched is involved."""

from __future__ import annotations

import tempfile
from pathlib import Path

from auto_dev.worktrees.history import identity_env
from auto_dev.worktrees.mirror import Mirror
from auto_dev.worktrees.names import require_sha, story_ref


async def commit_file(mirror: Mirror, branch: str, head_sha: str, path: str, content: bytes, message: str) -> str:
    """Commit ``content`` as ``path`` on top of ``head_sha`` and move the story branch there; returns the new commit.

    The file keeps its mode. Raises GitError, also when the branch is not at ``head_sha``.
    """
    ref = story_ref(branch)
    require_sha(head_sha)
    with tempfile.TemporaryDirectory(prefix="index-", dir=mirror.state) as folder:
        env = {"GIT_INDEX_FILE": str(Path(folder) / "index"), **identity_env(mirror.repository.identity)}
        at = mirror.at
        await at.run("read-tree", head_sha, env=env)
        entry = await at.text("ls-files", "--stage", "--", path, env=env)
        mode = entry.split(" ", 1)[0] or "100644"
        blob = await at.text("hash-object", "-w", "--stdin", "--no-filters", input=content, env=env)
        await at.run("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}", env=env)
        tree = await at.text("write-tree", env=env)
        commit = await at.text("commit-tree", tree, "-p", head_sha, "-F", "-", input=message.encode(), env=env)
        await at.run("update-ref", ref, commit, head_sha)
    return commit
