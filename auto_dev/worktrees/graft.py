"""A commit that takes some of its files from another one, made in the mirror: nothing is checked out, nothing runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from pathlib import Path

from auto_dev.worktrees import parse
from auto_dev.worktrees.history import identity_env
from auto_dev.worktrees.mirror import Mirror
from auto_dev.worktrees.names import require_sha

_MESSAGE = b"Some files of another commit, to be judged\n"


async def graft(mirror: Mirror, onto: str, source: str, paths: Collection[str]) -> str:
    """A commit on top of ``onto`` whose files ``paths`` are those of ``source``: gone where ``source`` has none.

    ``onto`` itself when they are the same already. The same files on the same commit give the same object id, whatever
    ``source`` is, so that what was found out about it can be kept. No ref holds it; the mirror never prunes. Raises
    GitError.
    """
    at = mirror.at
    shas = require_sha(onto), require_sha(source)
    output = await at.run("diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", "--no-ext-diff", *shas)
    wanted = set(paths)
    entries = [entry for entry in parse.entries(output.stdout) if entry.path in wanted]
    if not entries:
        return onto
    # A mode of 0 removes. A folder that became a file (or a link) gives way to what is put back below it.
    lines = b"".join(f"{entry.mode} {entry.sha}\t".encode() + os.fsencode(entry.path) + b"\0" for entry in entries)
    with tempfile.TemporaryDirectory(prefix="index-", dir=mirror.state) as folder:
        env = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        await at.run("read-tree", onto, env=env)
        await at.run("update-index", "-z", "--index-info", input=lines, env=env)
        tree = await at.text("write-tree", env=env)
    born = int(await at.text("log", "--no-walk", "--no-show-signature", "--format=%ct", onto))
    author = identity_env(mirror.repository.identity, born)
    return await at.text("commit-tree", tree, "-p", onto, "-F", "-", input=_MESSAGE, env=author)
