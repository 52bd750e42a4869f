"""What a worktree gets before anybody works in it: files, ports, folders, the setup command."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from auto_dev.config import SetupConfig
from auto_dev.errors import ConfigError, GitError
from auto_dev.worktrees.git import Git
from auto_dev.worktrees.mirror import Mirror
from auto_dev.worktrees.provision import claim_ports, copy_files, provision
from auto_dev.worktrees.repository import inspect
from auto_dev.worktrees.worktree import Worktree, Worktrees

pytestmark = pytest.mark.integration


def git(*args: str, cwd: Path) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


@dataclass(frozen=True)
class Project:
    root: Path
    worktrees: Worktrees
    worktree: Worktree
    run_dir: Path


@pytest.fixture
async def project(tmp_path: Path) -> Project:
    root, state = tmp_path / "user", tmp_path / "state"
    git("init", "-q", "-b", "main", str(root), cwd=tmp_path)
    (root / ".gitignore").write_text(".env\nsecrets/\n")
    (root / "tracked").write_text("t\n")
    git("add", "-A", cwd=root)
    git("commit", "-qm", "base", cwd=root)
    (root / ".env").write_text("KEY=hunter2\n")
    (root / ".env").chmod(0o600)
    (root / "secrets" / "deep").mkdir(parents=True)
    (root / "secrets" / "deep" / "a b").write_text("s\n")
    runner = Git(state / "git")
    mirror = Mirror(state, await inspect(root, git=runner), runner)
    await mirror.ensure()
    base = (await mirror.refresh())["main"].sha
    worktrees = Worktrees(mirror, state / "worktrees")
    (state / "run").mkdir()
    return Project(root, worktrees, await worktrees.create("A", "r", base, "auto-dev/A"), state / "run")


def setup(**options: object) -> SetupConfig:
    return SetupConfig.model_validate(options)


async def test_ignored_files_are_copied_with_their_mode_and_never_committed(project: Project) -> None:
    assert await copy_files(project.worktrees, project.worktree, [".env", "secrets"]) == (".env", "secrets")
    copy = project.worktree.path / ".env"
    assert copy.read_text() == "KEY=hunter2\n"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert (project.worktree.path / "secrets" / "deep" / "a b").read_text() == "s\n"
    (project.worktree.path / ".gitignore").write_text("")
    collected = await project.worktrees.collect(project.worktree, "Work")
    changes = await project.worktrees.history.changes(project.worktree.base_sha, collected.head_sha)
    assert [change.path for change in changes] == [".gitignore"]


async def test_copying_again_keeps_what_is_there(project: Project) -> None:
    await copy_files(project.worktrees, project.worktree, [".env"])
    (project.worktree.path / ".env").write_text("KEY=other\n")
    await copy_files(project.worktrees, project.worktree, [".env"])
    assert (project.worktree.path / ".env").read_text() == "KEY=other\n"


async def test_files_that_cannot_be_meant_are_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("o\n")
    (project.root / "link").symlink_to(tmp_path / "outside")
    (project.root / "secrets" / "link").symlink_to(tmp_path / "outside")
    for name, reason in {
        "tracked": "is tracked by git",
        "missing": "does not exist",
        "link": "leads out of the repository",
        "secrets": "leads out of the repository",
        ".git/config": "leads out of the repository",
    }.items():
        with pytest.raises(ConfigError, match=reason):
            await copy_files(project.worktrees, project.worktree, [name])


async def test_a_link_that_the_agent_planted_is_not_written_through(project: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (project.worktree.path / "secrets").symlink_to(outside)
    with pytest.raises(GitError, match="not a folder"):
        await copy_files(project.worktrees, project.worktree, ["secrets"])
    assert list(outside.iterdir()) == []


async def test_ports_are_free_distinct_and_stay_the_same(project: Project) -> None:
    other = await project.worktrees.create("B", "r2", project.worktree.base_sha, "auto-dev/B")
    folder = project.worktrees.folder
    first, second = await asyncio.gather(claim_ports(folder, "A", 5), claim_ports(folder, "B", 5))
    assert len({*first, *second}) == 10
    assert await claim_ports(folder, "A", 5) == first
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first[0]))
        taken.listen()
        assert first[0] not in await claim_ports(folder, "A", 5)
    await project.worktrees.remove(other)
    await claim_ports(folder, "A", 1)
    assert "B" not in (folder / ".ports.json").read_text()


async def test_the_setup_command_runs_once_in_the_worktree_with_its_environment(project: Project) -> None:
    wanted = setup(command='echo "$AUTO_DEV_PORT_2 $TMPDIR" >> out; echo said', ports=2, copy=[".env"])
    env = {"PATH": os.environ["PATH"]}
    first = await provision(project.worktrees, project.worktree, wanted, project.run_dir, logs=project.run_dir, env=env)
    second = await provision(
        project.worktrees, project.worktree, wanted, project.run_dir, logs=project.run_dir, env=env
    )
    assert first.ok
    assert first.ports == second.ports
    assert second.setup is None
    said = (project.worktree.path / "out").read_text()
    assert said == f"{first.ports[1]} {project.run_dir / 'tmp'}\n"
    assert "said" in first.log.read_text()
    assert Path(first.env["TMPDIR"]).is_dir()
    assert Path(first.env["XDG_CACHE_HOME"]).is_dir()


async def test_a_setup_command_that_fails_is_run_again(project: Project) -> None:
    wanted = setup(command="test -e marker")
    env = {"PATH": os.environ["PATH"]}
    failed = await provision(
        project.worktrees, project.worktree, wanted, project.run_dir, logs=project.run_dir, env=env
    )
    assert not failed.ok
    (project.worktree.path / "marker").write_text("")
    assert (
        await provision(project.worktrees, project.worktree, wanted, project.run_dir, logs=project.run_dir, env=env)
    ).ok
