"""Worktrees from creation to removal: repeated, in parallel, and killed at every step."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from auto_dev.errors import GitError
from auto_dev.worktrees.git import Git
from auto_dev.worktrees.mirror import Mirror
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
    base: str

    async def create(self, story: str, run: str = "run-1", start: str = "") -> Worktree:
        return await self.worktrees.create(story, run, start or self.base, f"auto-dev/{story}")

    def mirror(self, *args: str) -> str:
        return git(f"--git-dir={self.worktrees.mirror.path}", *args, cwd=self.worktrees.mirror.path)

    def refs(self, prefix: str) -> list[str]:
        return self.mirror("for-each-ref", "--format=%(refname)", prefix).splitlines()


async def make(folder: Path, *init: str) -> Project:
    root, state = folder / "user", folder / "state"
    git("init", "-q", "-b", "main", *init, str(root), cwd=folder)
    (root / "src").mkdir()
    for number in range(20):
        (root / "src" / f"mod{number}.py").write_text(f"x = {number}\n")
    git("add", "-A", cwd=root)
    git("commit", "-qm", "base", cwd=root)
    runner = Git(state / "git")
    mirror = Mirror(state, await inspect(root, git=runner), runner)
    await mirror.ensure()
    return Project(root, Worktrees(mirror, state / "worktrees"), (await mirror.refresh())["main"].sha)


@pytest.fixture
async def project(tmp_path: Path) -> Project:
    return await make(tmp_path)


async def test_create_may_be_repeated_and_keeps_unsaved_work(project: Project) -> None:
    first = await project.create("A")
    (first.path / "new").write_text("n\n")
    second = await project.create("A", start=project.base)
    assert second == first
    assert (first.path / "new").exists()


async def test_committed_work_of_the_same_run_survives_the_worktree(project: Project) -> None:
    worktree = await project.create("A")
    (worktree.path / "new").write_text("n\n")
    head = (await project.worktrees.collect(worktree, "Work")).head_sha
    assert await project.worktrees.remove(worktree) is None
    assert not worktree.path.exists()
    assert not worktree.git_dir.exists()
    assert not worktree.agent_git_dir.exists()
    again = await project.create("A")
    assert again.base_sha == project.base
    assert git("rev-parse", "HEAD", cwd=again.path) == head
    assert (again.path / "new").exists()


async def test_another_run_starts_afresh_and_what_was_there_is_kept(project: Project) -> None:
    worktree = await project.create("A")
    (worktree.path / "committed").write_text("c\n")
    head = (await project.worktrees.collect(worktree, "Work")).head_sha
    (worktree.path / "unsaved").write_text("u\n")
    second = await project.create("A", "run-2")
    assert git("rev-parse", "HEAD", cwd=second.path) == project.base
    assert sorted(path.name for path in second.path.iterdir()) == [".git", "src"]
    assert "refs/auto-dev/salvage/run-1/1" in second.notes[0]
    kept = [project.mirror("rev-parse", ref) for ref in project.refs("refs/auto-dev/salvage/run-1/")]
    assert head in kept
    assert project.mirror("show", "refs/auto-dev/salvage/run-1/1:unsaved") == "u"


async def test_the_base_of_a_run_is_kept_by_a_ref(project: Project) -> None:
    await project.create("A", "run-7")
    assert project.mirror("rev-parse", "refs/auto-dev/base/run-7") == project.base


async def test_worktree_list_and_prune_of_git_keep_working(project: Project) -> None:
    first, second = await project.create("A"), await project.create("B")
    project.mirror("worktree", "prune", "--expire=now")
    listing = project.mirror("worktree", "list", "--porcelain")
    assert str(first.path) in listing
    assert str(second.path) in listing
    assert "prunable" not in listing


async def test_a_folder_of_somebody_else_in_the_way_is_moved_not_deleted(project: Project) -> None:
    place = project.worktrees.folder / "A"
    place.mkdir(parents=True)
    (place / "precious").write_text("p\n")
    worktree = await project.create("A")
    assert not (worktree.path / "precious").exists()
    assert (project.worktrees.folder / ".wrecks" / "A" / "precious").read_text() == "p\n"


async def test_a_commit_that_the_mirror_lacks_is_a_clear_error(project: Project) -> None:
    with pytest.raises(GitError, match="cannot start at dddddddddddd"):
        await project.create("A", start="d" * 40)
    with pytest.raises(GitError, match="not a full commit id"):
        await project.create("A", start="main")
    with pytest.raises(GitError, match="not a story branch"):
        await project.worktrees.create("A", "run-1", project.base, "main")


async def test_thirty_two_worktrees_at_once(project: Project) -> None:
    names = [f"S-{number}" for number in range(32)]
    made = await asyncio.gather(*(project.create(name) for name in names))
    assert len({worktree.path for worktree in made}) == 32
    for worktree in made:
        assert len(list((worktree.path / "src").iterdir())) == 20
        (worktree.path / "new").write_text(worktree.story_id)
    collected = await asyncio.gather(*(project.worktrees.collect(worktree, "Work") for worktree in made))
    assert all(result.committed for result in collected)
    assert len(project.refs("refs/heads/auto-dev/")) == 32
    removed = await asyncio.gather(*(project.worktrees.remove(worktree) for worktree in made))
    assert set(removed) == {None}


async def test_the_same_worktree_wanted_eight_times_at_once_is_made_once(project: Project) -> None:
    made = await asyncio.gather(*(project.create("A") for _ in range(8)))
    assert len(set(made)) == 1
    assert project.mirror("worktree", "list").count("auto-dev/A") == 1


async def test_reset_brings_the_files_back_and_keeps_what_was_there(project: Project) -> None:
    worktree = await project.create("A")
    (worktree.path / ".gitignore").write_text("venv/\n")
    head = (await project.worktrees.collect(worktree, "Work")).head_sha
    (worktree.path / "venv").mkdir()
    (worktree.path / "venv" / "lib").write_text("installed\n")
    (worktree.path / ".env").write_text("secret\n")
    await project.worktrees.keep_out(worktree, [".env"])
    (worktree.path / "plan.md").write_text("thrown away\n")
    (worktree.path / "src" / "mod0.py").write_text("changed\n")
    git("init", "-q", str(worktree.path / "nested"), cwd=worktree.path)
    git("commit", "-q", "--allow-empty", "-m", "by the agent", cwd=worktree.path)
    ref = await project.worktrees.reset(worktree, head)
    assert ref is not None
    assert project.mirror("show", f"{ref}:plan.md") == "thrown away"
    assert sorted(path.name for path in worktree.path.iterdir()) == [".env", ".git", ".gitignore", "src", "venv"]
    assert git("rev-parse", "HEAD", cwd=worktree.path) == head
    assert git("status", "--porcelain", cwd=worktree.path) == ""
    assert await project.worktrees.reset(worktree, head) is None


async def test_reset_to_the_base_keeps_the_commits_it_drops(project: Project) -> None:
    worktree = await project.create("A")
    (worktree.path / "new").write_text("n\n")
    head = (await project.worktrees.collect(worktree, "Work")).head_sha
    ref = await project.worktrees.reset(worktree, project.base)
    assert ref is not None
    assert project.mirror("rev-parse", ref) == head
    assert project.mirror("rev-parse", "refs/heads/auto-dev/A") == project.base
    assert not (worktree.path / "new").exists()


async def test_salvage_leaves_the_worktree_as_it_is(project: Project) -> None:
    worktree = await project.create("A")
    (worktree.path / "new").write_text("n\n")
    first = await project.worktrees.salvage(worktree)
    second = await project.worktrees.salvage(worktree)
    assert first == second == "refs/auto-dev/salvage/run-1/1"
    collected = await project.worktrees.collect(worktree, "Work")
    assert collected.committed
    assert project.mirror("show", f"{collected.head_sha}:new") == "n"
    assert await project.worktrees.salvage(worktree) is None


async def test_cleanup_removes_only_what_is_free_and_saved(project: Project) -> None:
    leased, saved, unsaved = [await project.create(name) for name in ("leased", "saved", "unsaved")]
    (saved.path / "new").write_text("n\n")
    await project.worktrees.collect(saved, "Work")
    (unsaved.path / "new").write_text("n\n")
    committed = await project.create("committed")
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=committed.path)
    (project.worktrees.folder / "stranger").mkdir()
    report = await project.worktrees.cleanup({"leased"})
    assert report.removed == ("saved",)
    assert report.kept == {
        "leased": "a run is using it",
        "unsaved": "files are not committed",
        "committed": "commits of the agent are not collected",
        "stranger": "not a worktree of ours",
    }
    assert not saved.path.exists()
    assert leased.path.exists()
    assert (unsaved.path / "new").exists()
    assert {info.story_id: info.unsaved for info in await project.worktrees.list()} == {
        "leased": "",
        "unsaved": "files are not committed",
        "committed": "commits of the agent are not collected",
    }


async def test_a_clean_checkout_holds_the_commit_and_nothing_else(project: Project) -> None:
    git("tag", "v2.0", cwd=project.root)
    await project.worktrees.mirror.refresh()
    worktree = await project.create("A")
    (worktree.path / ".gitattributes").write_text("src export-ignore\n* export-subst\n")
    head = (await project.worktrees.collect(worktree, "Work")).head_sha
    (worktree.path / "uncommitted").write_text("u\n")
    async with project.worktrees.clean_checkout(head) as folder:
        assert sorted(path.name for path in folder.iterdir()) == [".git", ".gitattributes", "src"]
        assert len(list((folder / "src").iterdir())) == 20
        assert git("status", "--porcelain", cwd=folder) == ""
        assert git("rev-parse", "HEAD", cwd=folder) == head
        (folder / "src" / "mod0.py").write_text("changed by a gate\n")
        git("commit", "-qam", "a gate's own", cwd=folder)
    assert not folder.exists()
    assert project.mirror("show", f"{head}:src/mod0.py") == "x = 0"


async def test_a_leftover_of_a_dead_process_is_swept(project: Project) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    leftover = project.worktrees.folder / ".checkouts" / f".checkout-{dead.pid}-x"
    (leftover / "sub").mkdir(parents=True)
    mine = project.worktrees.folder / ".checkouts" / f".checkout-{os.getpid()}-x"
    mine.mkdir()
    await project.worktrees.cleanup(set())
    assert not leftover.exists()
    assert mine.exists()


async def test_a_repository_with_sha256_works(tmp_path: Path) -> None:
    project = await make(tmp_path, "--object-format=sha256")
    worktree = await project.create("A")
    (worktree.path / "new").write_text("n\n")
    git("add", "-A", cwd=worktree.path)
    git("commit", "-qm", "mine", cwd=worktree.path)
    (worktree.path / "rest").write_text("n\n")
    collected = await project.worktrees.collect(worktree, "Work")
    assert len(collected.head_sha) == 64
    assert collected.agent_commits == 1
    assert {c.path for c in await project.worktrees.history.changes(project.base, collected.head_sha)} == {
        "new",
        "rest",
    }


async def test_a_corrupt_index_of_the_host_costs_nothing(project: Project) -> None:
    worktree = await project.create("A")
    (worktree.path / "new").write_text("n\n")
    index = worktree.git_dir / "index"
    index.write_bytes(index.read_bytes()[:100])
    collected = await project.worktrees.collect(worktree, "Work")
    assert project.mirror("diff-tree", "-r", "--name-status", project.base, collected.head_sha) == "A\tnew"


async def test_cancelling_ends_git(project: Project) -> None:
    worktree = await project.create("A")
    os.mkfifo(worktree.path / "src" / ".gitignore")  # git waits on it
    task = asyncio.create_task(project.worktrees.collect(worktree, "Work"))
    async with asyncio.timeout(20):
        while not _git_children(worktree.path):
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _git_children(worktree.path) == []


def _git_children(place: Path) -> list[int]:
    if not Path("/proc").is_dir():
        pytest.skip("needs /proc")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.fsencode(f"--work-tree={place}") in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


# Killed at every step: a forked child runs the operation and dies at its n-th change of the file system or start of a
# process. Then the operation is repeated, as after a restart of the daemon.

_STRIDE = int(os.environ.get("EVERY_STEP", "9"))  # EVERY_STEP=1 kills at each one: minutes
_STEPS = {
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "shutil.rmtree",
    "subprocess.Popen",
}


def _die_at(step: int, operation: Callable[[], Awaitable[object]]) -> bool:
    """Run ``operation`` in a child that is killed at ``step``; False when it ended before."""
    child = os.fork()
    if child == 0:
        count = 0

        def audit(event: str, _arguments: object) -> None:
            nonlocal count
            if event in _STEPS or (event == "open" and _writes(_arguments)):
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            sys.addaudithook(audit)
            asyncio.run(_awaited(operation))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the operation itself failed"
    return False


def _writes(arguments: object) -> bool:
    flags = arguments[2] if isinstance(arguments, tuple) and len(arguments) == 3 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


async def _awaited(operation: Callable[[], Awaitable[object]]) -> None:
    await operation()


def _work(worktree: Worktree) -> None:
    """What an agent leaves: a commit, a stash, a nested repository, changed, new and deleted files."""
    tree = worktree.path
    (tree / "src" / "mod0.py").write_text("stashed\n")
    git("stash", "-q", cwd=tree)
    (tree / "committed").write_text("c\n")
    git("add", "-A", cwd=tree)
    git("commit", "-qm", "by the agent", cwd=tree)
    git("init", "-q", str(tree / "nested"), cwd=tree)
    (tree / "nested" / "inner").write_text("i\n")
    (tree / "new").write_text("n\n")
    (tree / "src" / "mod1.py").write_text("changed\n")
    (tree / "src" / "mod2.py").unlink()


def _stray(project: Project) -> list[str]:
    folders = [project.worktrees.mirror.path, project.worktrees.folder / ".private"]
    return [path.name for folder in folders for path in folder.glob(".half-*")]


def test_create_survives_a_kill_at_every_step(tmp_path: Path) -> None:
    project = asyncio.run(make(tmp_path))
    step = kills = 0
    while step < 200:
        step += max(1, _STRIDE // 3)
        story = f"S-{step}"
        killed = _die_at(step, lambda story=story: project.create(story))  # type: ignore[misc]
        worktree = asyncio.run(project.create(story))
        assert git("status", "--porcelain", cwd=worktree.path) == ""
        assert git("rev-parse", "HEAD", cwd=worktree.path) == project.base
        assert len(list((worktree.path / "src").iterdir())) == 20
        if not killed:
            break
        kills += 1
    assert kills >= 5, "the steps were not found"
    asyncio.run(project.worktrees.cleanup(set()))
    assert _stray(project) == []
    assert project.mirror("worktree", "list").count("\n") == 0, "only the mirror itself is left"


def test_a_new_run_over_old_work_survives_a_kill_at_every_step(tmp_path: Path) -> None:
    project = asyncio.run(make(tmp_path))
    step = 1 - _STRIDE
    while step < 200:
        step += _STRIDE
        story = f"S-{step}"
        old = asyncio.run(project.create(story, f"old-{step}"))
        _work(old)
        run = f"new-{step}"
        killed = _die_at(step, lambda story=story, run=run: project.create(story, run))  # type: ignore[misc]
        worktree = asyncio.run(project.create(story, run))
        assert git("rev-parse", "HEAD", cwd=worktree.path) == project.base
        assert not (worktree.path / "new").exists()
        refs = project.refs("refs/auto-dev/salvage/")
        kept = [
            set(project.mirror("ls-tree", "-r", "--name-only", ref).splitlines())
            for ref in refs
            if f"old-{step}/" in ref
        ]
        assert any({"committed", "nested/inner", "new"} <= names for names in kept), (step, refs)
        if not killed:
            break
    assert step > 20


def test_collect_survives_a_kill_at_every_step(tmp_path: Path) -> None:
    project = asyncio.run(make(tmp_path))
    trees: set[str] = set()
    step = 1 - _STRIDE
    while step < 200:
        step += _STRIDE
        worktree = asyncio.run(project.create(f"S-{step}", f"r-{step}"))
        _work(worktree)
        killed = _die_at(step, lambda worktree=worktree: project.worktrees.collect(worktree, "Work"))  # type: ignore[misc]
        collected = asyncio.run(project.worktrees.collect(worktree, "Work"))
        subjects = project.mirror("log", "--format=%s", f"{project.base}..{collected.head_sha}").splitlines()
        assert subjects == ["Work", "by the agent"], step
        trees.add(project.mirror("rev-parse", f"{collected.head_sha}^{{tree}}"))
        salvage = project.refs(f"refs/auto-dev/salvage/r-{step}/")
        assert len(salvage) == 1, (step, salvage)
        assert project.mirror("show", f"{salvage[0]}:src/mod0.py") == "stashed"
        assert git("status", "--porcelain", cwd=worktree.path) == ""
        assert git("rev-parse", "HEAD", cwd=worktree.path) == collected.head_sha
        if not killed:
            break
    assert len(trees) == 1
    assert step > 15


def test_reset_and_remove_survive_a_kill_at_every_step(tmp_path: Path) -> None:
    project = asyncio.run(make(tmp_path))
    step = 1 - _STRIDE
    while step < 200:
        step += _STRIDE
        worktree = asyncio.run(project.create(f"S-{step}", f"r-{step}"))
        (worktree.path / "new").write_text("n\n")

        async def reset_and_remove(worktree: Worktree = worktree) -> None:
            await project.worktrees.reset(worktree, project.base)
            await project.worktrees.remove(worktree)

        killed = _die_at(step, reset_and_remove)
        if worktree.git_dir.exists() and project.worktrees.get(worktree.story_id):
            asyncio.run(project.worktrees.reset(worktree, project.base))
        asyncio.run(project.worktrees.remove(worktree))
        assert not worktree.path.exists()
        assert not worktree.git_dir.exists()
        assert project.mirror("show", f"refs/auto-dev/salvage/r-{step}/1:new") == "n"
        if not killed:
            break
    assert step > 15


async def test_the_users_checkout_is_byte_for_byte_the_same(project: Project, tmp_path: Path) -> None:
    (project.root / "src" / "mod0.py").write_text("the user works on this\n")
    (project.root / "untracked").write_text("u\n")
    os.utime(project.root / "src" / "mod1.py")  # its index entry is now stale: git would like to refresh it
    before = _snapshot(project.root)
    mirror = project.worktrees.mirror
    again = Mirror(mirror.state, await inspect(project.root, git=mirror.git), mirror.git)
    await again.ensure()
    await again.refresh()
    worktree = await project.create("A")
    _work(worktree)
    await project.worktrees.collect(worktree, "Work")
    await project.worktrees.remove(worktree)
    shutil.rmtree(mirror.path)
    await again.ensure()
    assert _snapshot(project.root) == before
    assert again.repository.dirty


def _snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
