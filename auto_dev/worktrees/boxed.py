"""git over files that an agent wrote, in a box: it sees those files and the mirror's objects, and nothing else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from auto_dev.errors import GitError
from auto_dev.sandbox.base import Box, Sandbox, SandboxError
from auto_dev.text import line
from auto_dev.worktrees.agent_commits import AgentGit
from auto_dev.worktrees.git import Git

_ERRORS_BYTES = 64 * 1024


def agent_git(sandbox: Sandbox, git: Git, room: Path, timeout_s: float = 300) -> AgentGit:
    """The runner of ``bring_back`` in ``sandbox``. ``room`` is a folder of the host for output and an empty home."""

    async def run(argv: Sequence[str], *, git_dir: Path, readable: Sequence[Path], writable: Path) -> None:
        room.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="git-", dir=room) as scratch:
            home, output = Path(scratch) / "home", Path(scratch) / "output"
            home.mkdir()
            box = Box(home, (writable,), (git_dir, *readable, *_alternates(git_dir)))
            env = {**git.host_env(), "GIT_ALLOW_PROTOCOL": "none"}
            try:
                done = await sandbox.enter(box)(
                    ["git", f"--git-dir={git_dir}", *argv],
                    cwd=writable, env=env, output=output, timeout_s=timeout_s, output_cap=_ERRORS_BYTES,
                )  # fmt: skip
            except (OSError, SandboxError) as error:
                raise GitError(f"git could not be run in its box: {error}", where=str(git_dir)) from error
            if done.exit_code != 0 or done.stopped:
                said = output.read_bytes().decode("utf-8", "replace").strip().rpartition("\n")[2]
                how = (
                    done.stopped or said or (f"signal {done.signal}" if done.signal else f"exit code {done.exit_code}")
                )
                raise GitError(f"git {argv[0]} failed: {line(how, 300)}", where=str(git_dir))

    return run


def _alternates(git_dir: Path) -> tuple[Path, ...]:
    """Folders of objects that the host's own ``git_dir`` borrows."""
    try:
        rows = (git_dir / "objects" / "info" / "alternates").read_bytes().splitlines()
    except FileNotFoundError:
        return ()
    return tuple(path for row in rows if (path := Path(os.fsdecode(row))).is_absolute() and path.is_dir())
