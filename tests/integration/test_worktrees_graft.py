"""Commits that take some of their files from another one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from auto_dev.worktrees.git import Git
from auto_dev.worktrees.mirror import Mirror
from auto_dev.worktrees.repository import inspect
from auto_dev.worktrees.worktree import Worktrees

pytestmark = pytest.mark.integration


class Repository:
    """The user's repository, and the worktrees of its mirror."""

    def __init__(self, root: Path, state: Path) -> None:
        self.root, self.state = root, state
        root.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *args: str) -> str:
        done = subprocess.run(["git", *args], cwd=self.root, check=True, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def commit(self, files: dict[str, str | None]) -> str:
        for name, content in files.items():
            path = self.root / name
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-qm", "work")
        return self.git("rev-parse", "HEAD")

    async def worktrees(self) -> Worktrees:
        runner = Git(self.state / "git")
        mirror = Mirror(self.state, await inspect(self.root, git=runner), runner)
        await mirror.ensure()
        await mirror.refresh()
        return Worktrees(mirror, self.state / "worktrees")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "a repö", tmp_path / "state")


async def files_of(worktrees: Worktrees, sha: str) -> dict[str, str]:
    async with worktrees.clean_checkout(sha) as folder:
        paths = [path for path in sorted(folder.rglob("*")) if ".git" not in path.relative_to(folder).parts]
        return {
            str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
            for path in paths
            if path.is_symlink() or path.is_file()
        }


async def test_named_files_come_from_the_other_commit_and_no_others(repository: Repository) -> None:
    base = repository.commit({"app.py": "1\n", "tests/test_old.py": "1\n", "tests/gone.py": "1\n"})
    (repository.root / "tests" / "run.sh").write_text("#!/bin/sh\n")
    (repository.root / "tests" / "run.sh").chmod(0o755)
    new = "tests/ünlikely\nname.py"
    head = repository.commit({"app.py": "2\n", "tests/test_old.py": "2\n", "tests/gone.py": None, new: "n\n"})
    worktrees = await repository.worktrees()
    sha = await worktrees.graft(base, head, ["tests/test_old.py", "tests/gone.py", "tests/run.sh", new, "nowhere"])
    assert await files_of(worktrees, sha) == {
        "app.py": "1\n", "tests/test_old.py": "2\n", "tests/run.sh": "#!/bin/sh\n", new: "n\n",
    }  # fmt: skip
    async with worktrees.clean_checkout(sha) as folder:
        assert (folder / "tests" / "run.sh").stat().st_mode & 0o100
    assert await worktrees.history.merge_base(base, sha) == base


async def test_the_same_files_give_the_same_commit_whatever_else_changed(repository: Repository) -> None:
    base = repository.commit({"app.py": "1\n"})
    first = repository.commit({"app.py": "2\n", "test_app.py": "t\n"})
    second = repository.commit({"app.py": "3\n"})
    worktrees = await repository.worktrees()
    grafted = await worktrees.graft(base, first, ["test_app.py"])
    assert grafted == await worktrees.graft(base, second, ["test_app.py"])
    assert grafted not in (base, first, second)
    assert await worktrees.graft(base, second, []) == base
    assert await worktrees.graft(first, second, ["test_app.py"]) == first


async def test_files_come_back_below_a_folder_that_became_a_link_or_a_file(repository: Repository) -> None:
    base = repository.commit({"tests/acceptance/test_a.py": "owner's\n", "docs/x": "1\n"})
    repository.git("mv", "tests", "elsewhere")
    (repository.root / "tests").symlink_to("elsewhere")
    linked = repository.commit({"elsewhere/acceptance/test_a.py": "agent's\n"})
    (repository.root / "tests").unlink()
    filed = repository.commit({"tests": "a file\n"})
    worktrees = await repository.worktrees()
    for head in (linked, filed):
        sha = await worktrees.graft(head, base, ["tests/acceptance/test_a.py"])
        found = await files_of(worktrees, sha)
        assert found["tests/acceptance/test_a.py"] == "owner's\n"
        assert found["elsewhere/acceptance/test_a.py"] == "agent's\n"
