"""What agents do to their worktrees: all their work is collected, nothing is lost, whatever state they leave."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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
    """A project and the worktree of its story ``S-1``, fresh."""

    worktrees: Worktrees
    worktree: Worktree
    base: str

    @property
    def tree(self) -> Path:
        return self.worktree.path

    def agent(self, *args: str) -> str:
        """git as the agent runs it, in its worktree."""
        return git(*args, cwd=self.tree)

    def mirror(self, *args: str) -> str:
        return git(f"--git-dir={self.worktrees.mirror.path}", *args, cwd=self.worktrees.mirror.path)

    def files(self, sha: str) -> set[str]:
        return set(self.mirror("-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", sha).splitlines())

    def salvaged(self) -> list[str]:
        return self.mirror("for-each-ref", "--format=%(refname)", "refs/auto-dev/salvage/").splitlines()

    async def collect(self) -> str:
        """Collect twice: the second time changes nothing and the agent's git is in order. The head."""
        first = await self.worktrees.collect(self.worktree, "Work")
        second = await self.worktrees.collect(self.worktree, "Work")
        assert (second.head_sha, second.committed, second.agent_commits) == (first.head_sha, False, 0)
        assert self.agent("rev-parse", "HEAD") == first.head_sha
        assert self.agent("symbolic-ref", "HEAD") == "refs/heads/auto-dev/S-1"
        assert self.agent("status", "--porcelain") == ""
        assert self.mirror("rev-parse", "refs/heads/auto-dev/S-1") == first.head_sha
        return first.head_sha


@pytest.fixture
async def project(tmp_path: Path) -> Project:
    root, state = tmp_path / "my project ü", tmp_path / "state folder ü"
    git("init", "-q", "-b", "main", str(root), cwd=tmp_path)
    (root / "src").mkdir()
    (root / "src" / "app.py").write_text("print('hello')\n")
    (root / "src" / "lib.py").write_text("x = 1\n")
    (root / ".gitignore").write_text("*.log\n")
    git("add", "-A", cwd=root)
    git("commit", "-qm", "base", cwd=root)
    git("tag", "-a", "v1.0", "-m", "one", cwd=root)
    runner = Git(state / "git")
    mirror = Mirror(state, await inspect(root, git=runner), runner)
    await mirror.ensure()
    base = (await mirror.refresh())["main"].sha
    worktrees = Worktrees(mirror, state / "worktrees")
    return Project(worktrees, await worktrees.create("S-1", "run-1", base, "auto-dev/S-1"), base)


async def test_an_agent_finds_an_ordinary_repository(project: Project) -> None:
    assert project.agent("status", "--porcelain") == ""
    assert project.agent("rev-parse", "--abbrev-ref", "HEAD") == "auto-dev/S-1"
    assert project.agent("describe", "--tags") == "v1.0"
    assert project.agent("config", "user.email") == "test@example.com"
    (project.tree / "new.py").write_text("y = 2\n")
    project.agent("add", "new.py")
    project.agent("commit", "-qm", "new")
    assert project.agent("diff", "--name-only", "main") == "new.py"


async def test_uncommitted_work_is_committed_with_trailers(project: Project) -> None:
    (project.tree / "src" / "app.py").write_text("print('changed')\n")
    (project.tree / "new.py").write_text("y = 2\n")
    (project.tree / "src" / "lib.py").unlink()
    (project.tree / "debug.log").write_text("ignored\n")
    collected = await project.worktrees.collect(project.worktree, "Do it\x1b[31m", {"Round": "0\n1"})
    assert collected.committed
    assert project.files(collected.head_sha) == {".gitignore", "src/app.py", "new.py"}
    message = project.mirror("log", "-1", "--format=%B", collected.head_sha)
    assert message == "Do it\n\nStory: S-1\nRun: run-1\nRound: 0 1"
    assert project.mirror("log", "-1", "--format=%an <%ae>", collected.head_sha) == "Test <test@example.com>"
    assert project.mirror("rev-parse", f"{collected.head_sha}^") == project.base


async def test_nothing_done_is_nothing_committed(project: Project) -> None:
    collected = await project.worktrees.collect(project.worktree, "Work")
    assert (collected.head_sha, collected.committed, collected.agent_commits) == (project.base, False, 0)


async def test_the_agents_own_commits_are_kept_and_the_rest_goes_on_top(project: Project) -> None:
    for number in range(3):
        (project.tree / f"f{number}").write_text("x\n")
        project.agent("add", "-A")
        project.agent("commit", "-qm", f"step {number}")
    (project.tree / "rest").write_text("rest\n")
    tip = project.agent("rev-parse", "HEAD")
    collected = await project.worktrees.collect(project.worktree, "Work")
    assert (collected.committed, collected.agent_commits, collected.salvaged) == (True, 3, ())
    assert project.mirror("rev-parse", f"{collected.head_sha}^") == tip
    assert await project.collect() == collected.head_sha
    assert not (project.worktree.agent_git_dir / "objects" / tip[:2]).exists(), "the new private git dir borrows all"


async def test_an_empty_commit_of_the_agent_is_kept(project: Project) -> None:
    project.agent("commit", "-q", "--allow-empty", "-m", "nothing")
    collected = await project.worktrees.collect(project.worktree, "Work")
    assert (collected.committed, collected.agent_commits) == (False, 1)
    await project.collect()


async def test_odd_names_links_and_modes_survive(project: Project) -> None:
    names = ["with space", "new\nline", "tab\there", "-dash", ":colon", "ü", "quote\"'", "\\back", "a*b?[c]", "#x"]
    for name in names:
        (project.tree / name).write_text(name)
    raw = os.fsdecode(b"bytes-\xff")
    (project.tree / raw).write_text("raw")
    (project.tree / "link").symlink_to("/etc/passwd")
    (project.tree / "dangling").symlink_to("nowhere")
    (project.tree / "src" / "app.py").chmod(0o755)
    (project.tree / "empty").mkdir()
    head = await project.collect()
    changes = {c.path: c for c in await project.worktrees.history.changes(project.base, head)}
    assert set(changes) == {*names, raw, "link", "dangling", "src/app.py"}
    assert (changes["link"].mode, changes["src/app.py"].mode, changes["ü"].status) == ("120000", "100755", "A")
    read = await project.worktrees.history.read_many(head, [*names, raw, "link", "empty", "src", "gone\n"])
    assert all(read[name] == name.encode() for name in names)
    assert (read[raw], read["link"]) == (b"raw", b"/etc/passwd")
    assert (read["empty"], read["src"], read["gone\n"]) == (None, None, None)


async def test_folders_become_files_and_links_and_back(project: Project) -> None:
    outside = project.worktrees.folder.parent / "outside"
    outside.mkdir()
    (outside / "app.py").write_text("secret of the host\n")
    (outside / "lib.py").write_text("secret of the host\n")
    shutil.rmtree(project.tree / "src")
    (project.tree / "src").symlink_to(outside)
    head = await project.collect()
    assert project.files(head) == {".gitignore", "src"}
    (project.tree / "src").unlink()
    (project.tree / "src").mkdir()
    (project.tree / "src" / "deep").mkdir()
    (project.tree / "src" / "deep" / "x.py").write_text("x\n")
    (project.tree / ".gitignore").unlink()
    (project.tree / ".gitignore").mkdir()
    (project.tree / ".gitignore" / "y").write_text("y\n")
    assert project.files(await project.collect()) == {"src/deep/x.py", ".gitignore/y"}


async def test_an_ignored_link_in_place_of_a_folder_only_drops_its_files(project: Project) -> None:
    outside = project.worktrees.folder.parent / "outside"
    outside.mkdir()
    (outside / "app.py").write_text("secret of the host\n")
    shutil.rmtree(project.tree / "src")
    (project.tree / ".gitignore").write_text("src\n")
    (project.tree / "src").symlink_to(outside)
    assert project.files(await project.collect()) == {".gitignore"}


async def test_nested_repositories_are_plain_files(project: Project) -> None:
    for name in ("nested", "src/deep"):
        inner = project.tree / name
        inner.mkdir(parents=True)
        git("init", "-q", cwd=inner)
        (inner / "a.txt").write_text("a\n")
        (inner / "b.log").write_text("ignored\n")
        git("add", "a.txt", cwd=inner)
        git("commit", "-qm", "inner", cwd=inner)
    git("init", "-q", str(project.tree / "unborn"), cwd=project.tree)
    (project.tree / "unborn" / "c").write_text("c\n")
    project.agent("-c", "advice.addEmbeddedRepo=false", "add", "nested")
    project.agent("commit", "-qm", "a gitlink")
    collected = await project.worktrees.collect(project.worktree, "Work")
    listing = project.mirror("ls-tree", "-r", collected.head_sha)
    assert "160000" not in listing
    expected = {".gitignore", "src/app.py", "src/lib.py", "nested/a.txt", "src/deep/a.txt", "unborn/c"}
    assert project.files(collected.head_sha) == expected
    assert any("nested" in note for note in collected.notes)
    (project.tree / "nested" / "later").write_text("later\n")
    again = await project.worktrees.collect(project.worktree, "More")
    assert project.files(again.head_sha) == expected | {"nested/later"}


async def test_a_deleted_gitfile_comes_back(project: Project) -> None:
    (project.tree / ".git").unlink()
    (project.tree / "new").write_text("n\n")
    assert "new" in project.files(await project.collect())


async def test_a_repository_made_anew_in_the_worktree_is_kept_as_salvage(project: Project) -> None:
    (project.tree / ".git").unlink()
    project.agent("init", "-q", "-b", "main")
    (project.tree / "new").write_text("n\n")
    project.agent("add", "-A")
    project.agent("commit", "-qm", "all of it, anew")
    tip = project.agent("rev-parse", "HEAD")
    head = await project.collect()
    assert "new" in project.files(head)
    assert project.mirror("rev-parse", f"{head}^") == project.base
    assert project.mirror("rev-parse", project.salvaged()[0]) == tip


async def test_a_deleted_worktree_keeps_the_agents_commits(project: Project) -> None:
    (project.tree / "new").write_text("n\n")
    project.agent("add", "-A")
    project.agent("commit", "-qm", "new")
    tip = project.agent("rev-parse", "HEAD")
    shutil.rmtree(project.tree)
    collected = await project.worktrees.collect(project.worktree, "Work")
    assert (collected.head_sha, collected.committed) == (tip, False)
    assert (project.tree / "new").read_text() == "n\n"
    assert await project.collect() == tip


async def test_a_deleted_worktree_is_made_again_by_create_too(project: Project) -> None:
    project.agent("commit", "-q", "--allow-empty", "-m", "work")
    tip = project.agent("rev-parse", "HEAD")
    shutil.rmtree(project.tree)
    again = await project.worktrees.create("S-1", "run-1", project.base, "auto-dev/S-1")
    assert project.agent("rev-parse", "HEAD") == tip
    assert again.base_sha == project.base


async def test_a_worktree_replaced_by_a_link_is_not_followed(project: Project) -> None:
    outside = project.worktrees.folder.parent / "home of the user"
    outside.mkdir()
    (outside / "precious").write_text("p\n")
    shutil.rmtree(project.tree)
    project.tree.symlink_to(outside)
    collected = await project.worktrees.collect(project.worktree, "Work")
    assert collected.head_sha == project.base
    assert (outside / "precious").read_text() == "p\n"
    assert not project.tree.is_symlink()


async def test_a_private_git_dir_that_is_gone_or_garbage_costs_only_itself(project: Project) -> None:
    (project.tree / "new").write_text("n\n")
    project.agent("add", "-A")
    project.agent("commit", "-qm", "new")
    shutil.rmtree(project.worktree.agent_git_dir)
    assert "new" in project.files(await project.collect())
    (project.tree / "two").write_text("n\n")
    project.agent("add", "-A")
    project.agent("commit", "-qm", "two")
    for path in (project.worktree.agent_git_dir / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"garbage")
    collected = await project.worktrees.collect(project.worktree, "Work")
    assert "two" in project.files(collected.head_sha)
    assert any("is kept in" in note for note in collected.notes)
    assert list((project.worktrees.folder / ".wrecks").iterdir())


async def test_links_and_pipes_in_the_private_git_dir_are_not_followed(project: Project) -> None:
    private = project.worktree.agent_git_dir
    precious = project.worktrees.folder.parent / "precious"
    precious.write_text("p\n")
    (private / "refs/heads/auto-dev/S-1").unlink()
    (private / "refs/heads/auto-dev/S-1").symlink_to(precious)
    (private / "packed-refs").unlink()
    os.mkfifo(private / "packed-refs")
    (project.tree / "new").write_text("n\n")
    assert "new" in project.files(await project.collect())
    assert precious.read_text() == "p\n"


async def test_a_pipe_where_git_reads_a_file_does_not_hang(project: Project) -> None:
    at = project.tree / "sub"
    at.mkdir()
    os.mkfifo(at / ".gitignore")
    (at / "new").write_text("n\n")
    worktrees = Worktrees(project.worktrees.mirror, project.worktrees.folder, timeout_s=3)
    collected = await worktrees.collect(project.worktree, "Work")
    assert "sub/new" in project.files(collected.head_sha)
    assert any("pipes" in note for note in collected.notes)


async def test_commits_on_another_branch_count_when_they_continue_the_story(project: Project) -> None:
    project.agent("switch", "-qc", "feature/x")
    (project.tree / "new").write_text("n\n")
    project.agent("add", "-A")
    project.agent("commit", "-qm", "new")
    tip = project.agent("rev-parse", "HEAD")
    assert await project.collect() == tip


async def test_a_second_branch_with_other_work_is_kept_as_salvage(project: Project) -> None:
    project.agent("switch", "-qc", "experiment")
    project.agent("commit", "-q", "--allow-empty", "-m", "experiment")
    experiment = project.agent("rev-parse", "HEAD")
    project.agent("switch", "-q", "auto-dev/S-1")
    project.agent("commit", "-q", "--allow-empty", "-m", "story")
    story = project.agent("rev-parse", "HEAD")
    collected = await project.worktrees.collect(project.worktree, "Work")
    assert collected.head_sha == story
    assert [project.mirror("rev-parse", ref) for ref in collected.salvaged] == [experiment]


async def test_a_stash_is_kept_as_salvage(project: Project) -> None:
    (project.tree / "src" / "app.py").write_text("stashed\n")
    project.agent("stash", "-q")
    collected = await project.worktrees.collect(project.worktree, "Work")
    assert collected.head_sha == project.base
    assert project.mirror("show", f"{collected.salvaged[0]}:src/app.py") == "stashed"


async def test_a_rewritten_history_keeps_the_old_one(project: Project) -> None:
    (project.tree / "one").write_text("1\n")
    first = await project.collect()
    (project.tree / "one").write_text("2\n")
    project.agent("add", "-A")
    project.agent("commit", "-q", "--amend", "-m", "rewritten")
    rewritten = project.agent("rev-parse", "HEAD")
    collected = await project.worktrees.collect(project.worktree, "Work")
    assert project.mirror("rev-parse", f"{collected.head_sha}^") == first
    assert project.mirror("show", f"{collected.head_sha}:one") == "2"
    assert [project.mirror("rev-parse", ref) for ref in collected.salvaged] == [rewritten]
    await project.collect()


async def test_unrelated_history_is_kept_and_its_files_are_taken(project: Project) -> None:
    project.agent("checkout", "-q", "--orphan", "fresh")
    (project.tree / "new").write_text("n\n")
    project.agent("add", "-A")
    project.agent("commit", "-qm", "fresh start")
    tip = project.agent("rev-parse", "HEAD")
    head = await project.collect()
    assert "new" in project.files(head)
    assert project.mirror("rev-parse", project.salvaged()[0]) == tip


async def test_an_unborn_head_is_no_obstacle(project: Project) -> None:
    project.agent("checkout", "-q", "--orphan", "fresh")
    (project.tree / "new").write_text("n\n")
    assert "new" in project.files(await project.collect())


async def test_an_older_commit_checked_out_at_the_end_reverts_nothing(project: Project) -> None:
    (project.tree / "new").write_text("n\n")
    project.agent("add", "-A")
    project.agent("commit", "-qm", "new")
    tip = project.agent("rev-parse", "HEAD")
    project.agent("checkout", "-q", "--detach", "HEAD~1")
    assert await project.collect() == tip
    assert (project.tree / "new").exists()


async def test_files_changed_on_an_older_commit_are_kept_as_salvage(project: Project) -> None:
    (project.tree / "new").write_text("n\n")
    project.agent("add", "-A")
    project.agent("commit", "-qm", "new")
    tip = project.agent("rev-parse", "HEAD")
    project.agent("checkout", "-q", "--detach", "HEAD~1")
    (project.tree / "src" / "app.py").write_text("on the old commit\n")
    assert await project.collect() == tip
    assert project.mirror("show", f"{project.salvaged()[0]}:src/app.py") == "on the old commit"


async def test_a_reset_by_the_agent_is_its_will(project: Project) -> None:
    (project.tree / "new").write_text("n\n")
    first = await project.collect()
    project.agent("reset", "-q", "--hard", "HEAD~1")
    head = await project.collect()
    assert project.mirror("rev-parse", f"{head}^") == first
    assert "new" not in project.files(head)


async def test_lock_files_that_the_agent_left_do_not_matter(project: Project) -> None:
    for name in ("index.lock", "HEAD.lock", "refs/heads/auto-dev/S-1.lock", "config.lock"):
        (project.worktree.agent_git_dir / name).write_text("")
    (project.tree / "new").write_text("n\n")
    assert "new" in project.files(await project.collect())


async def test_lock_files_that_a_killed_host_left_are_stale(project: Project) -> None:
    (project.worktree.git_dir / "index.lock").write_text("")
    (project.worktrees.mirror.path / "refs/heads/auto-dev/S-1.lock").write_text("")
    (project.tree / "new").write_text("n\n")
    assert "new" in project.files(await project.collect())


async def test_ten_thousand_files(project: Project) -> None:
    for folder in range(100):
        at = project.tree / f"d{folder}"
        at.mkdir()
        for number in range(100):
            (at / f"f{number}").write_text(f"{folder} {number}\n")
    head = await project.collect()
    assert len(project.files(head)) == 10_003


async def test_a_folder_nested_deeper_than_recursion_goes_is_deleted(project: Project) -> None:
    script = "import os\nfor _ in range(1500): os.mkdir('d' * 20); os.chdir('d' * 20)"
    subprocess.run([sys.executable, "-c", script], cwd=project.tree, check=True, timeout=60)
    try:
        await project.worktrees.remove(project.worktree)
        assert not project.tree.exists()
    finally:  # pytest itself cannot delete it
        subprocess.run(["rm", "-rf", str(project.tree)], check=True)


async def test_a_copied_secret_never_reaches_the_branch(project: Project) -> None:
    (project.tree / ".env").write_text("KEY=hunter2\n")
    await project.worktrees.keep_out(project.worktree, [".env"])
    (project.tree / ".gitignore").write_text("!.env\n")
    head = (await project.worktrees.collect(project.worktree, "Work")).head_sha
    assert project.files(head) == {".gitignore", "src/app.py", "src/lib.py"}
    (project.tree / "new").write_text("n\n")
    git("add", "-f", ".env", "new", cwd=project.tree)
    project.agent("commit", "-qm", "with the secret")
    collected = await project.worktrees.collect(project.worktree, "Work")
    assert project.files(collected.head_sha) == {".gitignore", "src/app.py", "src/lib.py", "new"}
    assert ".env" not in project.mirror("log", "--name-only", "--format=", collected.head_sha)
    assert (project.tree / ".env").read_text() == "KEY=hunter2\n"


async def test_submodules_of_the_base_stay_gitlinks(tmp_path: Path) -> None:
    library, root, state = tmp_path / "lib", tmp_path / "user", tmp_path / "state"
    for folder in (library, root):
        git("init", "-q", "-b", "main", str(folder), cwd=tmp_path)
        (folder / "file").write_text("f\n")
        git("add", "-A", cwd=folder)
        git("commit", "-qm", "first", cwd=folder)
    git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "vendor/lib", cwd=root)
    git("commit", "-qm", "submodule", cwd=root)
    runner = Git(state / "git")
    mirror = Mirror(state, await inspect(root, git=runner), runner)
    await mirror.ensure()
    base = (await mirror.refresh())["main"].sha
    worktrees = Worktrees(mirror, state / "worktrees")
    worktree = await worktrees.create("S", "r", base, "auto-dev/S")
    assert (await worktrees.collect(worktree, "Work")).head_sha == base
    (worktree.path / "vendor" / "lib" / "stray").write_text("written into the submodule\n")
    collected = await worktrees.collect(worktree, "Work")
    assert collected.head_sha == base
    assert any("vendor/lib" in note for note in collected.notes)
    ref = await worktrees.remove(worktree)
    assert ref is not None
    kept = await worktrees.history.resolve(ref)
    assert kept is not None
    assert await worktrees.history.read(kept, "vendor/lib/stray") == b"written into the submodule\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_access_that_the_agent_took_away_is_taken_back(project: Project) -> None:
    (project.tree / "new").write_text("n\n")
    (project.tree / "new").chmod(0)
    project.agent("commit", "-q", "--allow-empty", "-m", "mine")
    (project.tree / "src").chmod(0)
    project.tree.chmod(0)
    (project.worktree.agent_git_dir / "refs").chmod(0)
    project.worktree.agent_git_dir.chmod(0)
    head = await project.collect()
    assert project.files(head) == {".gitignore", "src/app.py", "src/lib.py", "new"}
    assert project.mirror("log", "--format=%s", head).splitlines() == ["Work", "mine", "base"]
    (project.tree / "src").chmod(0o500)
    project.tree.chmod(0)
    await project.worktrees.remove(project.worktree)
    assert not project.tree.exists()


async def test_a_name_that_git_refuses_is_left_out_and_told(project: Project) -> None:
    (project.tree / "sub").mkdir()
    (project.tree / "sub" / ".GIT").write_text("x\n")
    (project.tree / "new").write_text("n\n")
    collected = await project.worktrees.collect(project.worktree, "Work")
    assert project.files(collected.head_sha) == {".gitignore", "src/app.py", "src/lib.py", "new"}
    assert any(".GIT" in note for note in collected.notes)


async def test_a_worktree_that_is_not_there_is_a_clear_error(project: Project) -> None:
    await project.worktrees.remove(project.worktree)
    with pytest.raises(GitError, match="is not there"):
        await project.worktrees.collect(project.worktree, "Work")
