"""A story's own commits on another base: whatever became of what they were built on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from auto_dev.errors import GitError
from auto_dev.worktrees import replay as module
from auto_dev.worktrees.git import Git, GitAt
from auto_dev.worktrees.history import History
from auto_dev.worktrees.replay import replay

pytestmark = pytest.mark.integration

TEXT = "".join(f"line {number}\n" for number in range(30))


def git(*args: str, cwd: Path) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


class Repo:
    """``main`` with a file; ``one`` stacked on it with two commits, ``two`` stacked on ``one`` with two more."""

    def __init__(self, root: Path) -> None:
        self.root = root
        git("init", "-q", "-b", "main", str(root), cwd=root.parent)
        self.history = History(GitAt(Git(root.parent / "git home"), root / ".git"))
        self.begin = self.commit("main", {"a.txt": TEXT})
        self.one = self.stack("one", "main", {"a.txt": TEXT.replace("line 3\n", "line three\n")}, {"b.txt": "b\n"})
        after = (root / "a.txt").read_text()
        self.two = self.stack("two", "one", {"a.txt": after.replace("line 9\n", "line nine\n")}, {"c.txt": "c\n"})

    def commit(self, branch: str, files: dict[str, str | None], message: str = "") -> str:
        if git("branch", "--list", branch, cwd=self.root):
            git("switch", "-q", branch, cwd=self.root)
        for name, content in files.items():
            if content is None:
                (self.root / name).unlink()
            else:
                (self.root / name).write_text(content)
        git("add", "-A", cwd=self.root)
        author = "Ann Agent <ann@example.com>"
        git("commit", "-q", "-m", message or f"{branch}: {', '.join(files)}", "--author", author, cwd=self.root)
        return git("rev-parse", "HEAD", cwd=self.root)

    def stack(self, name: str, start: str, *commits: dict[str, str | None]) -> str:
        git("switch", "-q", "-c", name, start, cwd=self.root)
        return [self.commit(name, files) for files in commits][-1]

    def land(self, branch: str, how: str) -> str:
        """What a person does with the button of a pull request."""
        git("switch", "-q", "main", cwd=self.root)
        if how == "squash":
            git("merge", "-q", "--squash", branch, cwd=self.root)
            git("commit", "-q", "-m", f"{branch} (squashed)", cwd=self.root)
        elif how == "rebase":
            git("cherry-pick", f"main..{branch}", cwd=self.root)
        else:
            git("merge", "-q", "--no-ff", "-m", f"Merge {branch}", branch, cwd=self.root)
        return git("rev-parse", "HEAD", cwd=self.root)

    def show(self, sha: str, path: str) -> str:
        return git("show", f"{sha}:{path}", cwd=self.root)

    def subjects(self, span: str) -> list[str]:
        return git("log", "--reverse", "--format=%s", span, cwd=self.root).splitlines()


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


@pytest.mark.parametrize("how", ["squash", "rebase", "merge"])
async def test_only_the_storys_own_commits_move_however_its_predecessor_was_merged(repo: Repo, how: str) -> None:
    repo.commit("main", {"d.txt": "somebody else's\n"})
    landed = repo.land("one", how)
    done = await replay(repo.history, repo.one, repo.two, landed)
    assert done.clash is None
    assert repo.subjects(f"{landed}..{done.head}") == ["two: a.txt", "two: c.txt"]
    assert git("diff", "--name-only", landed, done.head, cwd=repo.root).split() == ["a.txt", "c.txt"]
    text = repo.show(done.head, "a.txt")
    assert "line three" in text
    assert "line nine" in text
    assert git("log", "-1", "--format=%an <%ae>", done.head, cwd=repo.root) == "Ann Agent <ann@example.com>"


async def test_the_same_input_gives_the_same_commits(repo: Repo) -> None:
    """A step that a kill repeats must not make another branch of it."""
    landed = repo.land("one", "squash")
    first = await replay(repo.history, repo.one, repo.two, landed)
    assert await replay(repo.history, repo.one, repo.two, landed) == first


async def test_a_stack_of_three_follows_step_by_step(repo: Repo) -> None:
    three = repo.stack("three", "two", {"e.txt": "e\n"})
    landed = repo.land("one", "squash")
    second = await replay(repo.history, repo.one, repo.two, landed)
    third = await replay(repo.history, repo.two, three, second.head)
    assert repo.subjects(f"{landed}..{third.head}") == ["two: a.txt", "two: c.txt", "three: e.txt"]


async def test_what_the_base_has_already_falls_away(repo: Repo) -> None:
    landed = repo.land("two", "squash")
    assert (await replay(repo.history, repo.one, repo.two, landed)).head == landed


async def test_a_merge_that_a_person_made_on_the_branch_does_not_bring_the_base_along(repo: Repo) -> None:
    """The button “Update branch” merges the base into the pull request."""
    repo.commit("main", {"d.txt": "somebody else's\n"})
    git("switch", "-q", "two", cwd=repo.root)
    git("merge", "-q", "-m", "Merge main into two", "main", cwd=repo.root)
    head = repo.commit("two", {"f.txt": "a person's\n"})
    landed = repo.land("one", "squash")
    done = await replay(repo.history, repo.one, head, landed)
    assert repo.subjects(f"{landed}..{done.head}") == ["two: a.txt", "two: c.txt", "two: f.txt"]
    assert git("diff", "--name-only", landed, done.head, cwd=repo.root).split() == ["a.txt", "c.txt", "f.txt"]


async def test_commits_that_conflict_one_by_one_but_not_together_become_one(repo: Repo) -> None:
    text = (repo.root / "a.txt").read_text()
    repo.commit("two", {"a.txt": text.replace("line 20\n", "line twenty\n")}, "try")
    head = repo.commit("two", {"a.txt": text}, "take it back")
    repo.land("one", "squash")
    main = repo.commit("main", {"a.txt": (repo.root / "a.txt").read_text().replace("line 20\n", "line XX\n")})
    done = await replay(repo.history, repo.one, head, main)
    assert done.clash is None
    (subject,) = repo.subjects(f"{main}..{done.head}")
    assert subject == "two: a.txt"
    assert "line XX" in repo.show(done.head, "a.txt")
    assert "take it back" in git("log", "-1", "--format=%B", done.head, cwd=repo.root)


async def test_a_clash_names_its_files_and_shows_both_sides(repo: Repo) -> None:
    repo.land("one", "squash")
    main = repo.commit("main", {"a.txt": (repo.root / "a.txt").read_text().replace("line 9\n", "line NINE\n")})
    done = await replay(repo.history, repo.one, repo.two, main)
    assert done.head == main
    assert done.clash is not None
    assert done.clash.files == ("a.txt",)
    text = git("cat-file", "-p", f"{done.clash.tree}:a.txt", cwd=repo.root)
    assert text.index("<<<<<<<") < text.index("line NINE") < text.index("=======") < text.index("line nine")
    assert git("cat-file", "-p", f"{done.clash.tree}:c.txt", cwd=repo.root) == "c"


async def test_a_branch_that_has_nothing_to_do_with_its_base_is_refused(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 1)
    with pytest.raises(GitError, match="has 2 commits"):
        await replay(repo.history, repo.one, repo.two, repo.begin)
