"""The one git process that reads what an agent wrote, in a box."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from auto_dev.errors import GitError
from auto_dev.sandbox.bubblewrap import Bubblewrap
from auto_dev.sandbox.probe import Problem, find
from auto_dev.worktrees.boxed import agent_git
from auto_dev.worktrees.git import Git
from auto_dev.worktrees.layout import PrivateSpec, make_private_dir

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def sandbox() -> Bubblewrap:
    found = find(os.environ)
    if isinstance(found, Problem):
        pytest.skip(f"{found.what}. {found.mend}")
    return found


def git(*args: str, cwd: Path) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def agents(tmp_path: Path) -> tuple[Path, str, str]:
    """A repository that an agent wrote, its first and its last commit."""
    folder = tmp_path / "agents"
    folder.mkdir()
    git("init", "-q", cwd=folder)
    git("commit", "-q", "--allow-empty", "-m", "first", cwd=folder)
    first = git("rev-parse", "HEAD", cwd=folder)
    git("commit", "-q", "--allow-empty", "-m", "second", cwd=folder)
    return folder / ".git" / "objects", first, git("rev-parse", "HEAD", cwd=folder)


def view(place: Path, objects: Path, tip: str) -> tuple[Path, Path]:
    place.mkdir()
    (place / "out").mkdir()
    make_private_dir(
        place / "view.git", PrivateSpec(objects, "sha1", "ref: refs/heads/none", f"{tip} refs/tips/0\n".encode())
    )
    return place / "view.git", place / "out"


async def test_a_bundle_is_made_in_a_box(sandbox: Bubblewrap, agents: tuple[Path, str, str], tmp_path: Path) -> None:
    objects, first, tip = agents
    git_dir, out = view(tmp_path / "view", objects, tip)
    run = agent_git(sandbox, Git(home=tmp_path / "githome", environ=os.environ), tmp_path / "room")
    command = ["bundle", "create", "--quiet", str(out / "b"), "refs/tips/0", "--not", first]
    await run(command, git_dir=git_dir, readable=(objects,), writable=out)
    assert (out / "b").read_bytes().startswith(b"# v2 git bundle")
    assert list((tmp_path / "room").iterdir()) == []


async def test_objects_that_lead_elsewhere_lead_nowhere(
    sandbox: Bubblewrap, agents: tuple[Path, str, str], tmp_path: Path
) -> None:
    """An agent's alternates could name any repository of the user: what they name is not in the box."""
    objects, _, tip = agents
    theirs = tmp_path / "theirs"
    (theirs / "info").mkdir(parents=True)
    (theirs / "info" / "alternates").write_text(f"{objects}\n")
    git_dir, out = view(tmp_path / "view", theirs, tip)
    command = ["bundle", "create", "--quiet", str(out / "b"), "refs/tips/0"]
    runner = Git(home=tmp_path / "githome", environ=os.environ)
    with pytest.raises(GitError, match="git bundle failed"):
        await agent_git(sandbox, runner, tmp_path / "room")(command, git_dir=git_dir, readable=(theirs,), writable=out)
    await agent_git(sandbox, runner, tmp_path / "room")(
        command, git_dir=git_dir, readable=(theirs, objects), writable=out
    )  # the control: with them it works
