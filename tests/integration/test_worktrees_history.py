"""Commits are read and merged without a worktree."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from auto_dev.errors import GitError
from auto_dev.worktrees.git import Git, GitAt
from auto_dev.worktrees.history import History, MergeConflictError

pytestmark = pytest.mark.integration


def git(*args: str, cwd: Path) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


class Repo:
    def __init__(self, root: Path) -> None:
        self.root = root
        git("init", "-q", "-b", "main", str(root), cwd=root.parent)
        self.history = History(GitAt(Git(root.parent / "git home"), root / ".git"))

    def commit(self, files: dict[str, str | bytes | None], message: str = "change") -> str:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            elif isinstance(content, str):
                path.write_text(content)
            else:
                path.write_bytes(content)
        git("add", "-A", cwd=self.root)
        git("commit", "-qm", message, "--allow-empty", cwd=self.root)
        return git("rev-parse", "HEAD", cwd=self.root)

    def branch(self, name: str, start: str) -> None:
        git("switch", "-q", "-c", name, start, cwd=self.root)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


async def test_changes_name_every_kind(repo: Repo) -> None:
    long = "".join(f"line {number}\n" for number in range(50))
    base = repo.commit({"a": "1\n2\n", "old name": long, "gone": "g\n", "bin": b"\0\1", "file": "f\n"})
    (repo.root / "old name").rename(repo.root / "new\nname")
    (repo.root / "file").unlink()
    (repo.root / "file").symlink_to("a")
    (repo.root / "a").chmod(0o755)
    head = repo.commit({"a": "1\n3\n4\n", "gone": None, "bin": b"\0\2", "added": "x\n"})
    found = {change.path: change for change in await repo.history.changes(base, head)}
    shown = {p: (c.status, c.additions, c.deletions, c.binary, c.old_path, c.mode) for p, c in found.items()}
    assert shown == {
        "a": ("M", 2, 1, False, None, "100755"),
        "new\nname": ("R", 0, 0, False, "old name", "100644"),
        "gone": ("D", 0, 1, False, None, "000000"),
        "bin": ("M", 0, 0, True, None, "100644"),
        "added": ("A", 1, 0, False, None, "100644"),
        "file": ("T", 1, 1, False, None, "120000"),
    }
    assert await repo.history.changes(head, head) == []


async def test_a_diff_is_whole_or_says_that_it_was_cut(repo: Repo) -> None:
    base = repo.commit({"a": "1\n", "b": "1\n"})
    head = repo.commit({"a": "2\n", "b": "x\n" * 100_000})
    assert "+2" in await repo.history.diff(base, head, "a")
    assert "b/b" not in await repo.history.diff(base, head, "a")
    cut = await repo.history.diff(base, head, limit=1000)
    assert len(cut) < 1200
    assert "cut after 1000 bytes" in cut


async def test_reading_knows_missing_files_from_empty_ones(repo: Repo) -> None:
    sha = repo.commit({"empty": "", "deep/file": "x missing\n", "bin": bytes(range(256)), "z missing": "z"})
    found = await repo.history.read_many(sha, ["empty", "gone", "deep", "deep/file", "bin", "z missing", "z"])
    assert found == {
        "empty": b"", "gone": None, "deep": None, "deep/file": b"x missing\n", "bin": bytes(range(256)),
        "z missing": b"z", "z": None,
    }  # fmt: skip


async def test_the_log_and_the_patches_tell_the_same_story(repo: Repo, tmp_path: Path) -> None:
    base = repo.commit({"a": "1\n"})
    repo.commit({"a": "2\n"}, "first: ../../etc\n\nbody\nof it")
    head = repo.commit({"a": "3\n"}, "second \x1f line")
    log = await repo.history.log(base, head)
    assert [(entry.subject, entry.body.strip()) for entry in log] == [
        ("second \x1f line", ""),
        ("first: ../../etc", "body\nof it"),
    ]
    folder = tmp_path / "patches"
    folder.mkdir()
    (folder / "0009-old.patch").write_text("")
    patches = await repo.history.patches(base, head, folder)
    assert [path.name[:5] for path in patches] == ["0001-", "0002-"]
    assert sorted(folder.iterdir()) == patches
    git("switch", "-q", "--detach", base, cwd=repo.root)
    git("am", "-q", *map(str, patches), cwd=repo.root)
    assert git("rev-parse", "HEAD^{tree}", cwd=repo.root) == git("rev-parse", f"{head}^{{tree}}", cwd=repo.root)


async def test_predecessors_are_merged_and_the_same_merge_is_the_same_commit(repo: Repo) -> None:
    base = repo.commit({"a": "1\n"})
    sides = []
    for name in ("one", "two", "three"):
        repo.branch(name, base)
        sides.append(repo.commit({name: "x\n"}))
    merged = await repo.history.merge(sides, "Merge predecessors")
    assert merged == await repo.history.merge(sides, "Merge predecessors")
    assert set(git("ls-tree", "--name-only", merged, cwd=repo.root).split()) == {"a", "one", "two", "three"}
    assert all([await repo.history.is_ancestor(side, merged) for side in sides])
    assert await repo.history.merge([base, sides[0]], "m") == sides[0]
    assert await repo.history.merge([sides[0], base, sides[0]], "m") == sides[0]


async def test_a_conflict_names_the_files(repo: Repo) -> None:
    base = repo.commit({"a": "1\n", "b": "1\n"})
    repo.branch("one", base)
    one = repo.commit({"a": "2\n", "b": "2\n"})
    repo.branch("two", base)
    two = repo.commit({"a": "3\n", "b": None})
    assert await repo.history.conflicts(one, two) == ("a", "b")
    assert await repo.history.conflicts(base, two) == ()
    with pytest.raises(MergeConflictError, match="conflict in a, b") as error:
        await repo.history.merge([one, two], "m")
    assert error.value.files == ("a", "b")


async def test_unrelated_commits_have_no_base(repo: Repo) -> None:
    one = repo.commit({"a": "1\n"})
    git("switch", "-q", "--orphan", "other", cwd=repo.root)
    two = repo.commit({"b": "1\n"})
    assert await repo.history.merge_base(one, two) is None
    assert await repo.history.merge_base(one, one) == one
    assert await repo.history.resolve("refs/heads/main") == one
    assert await repo.history.resolve("refs/heads/none") is None


@pytest.mark.parametrize("name", ["HEAD", "main", "--output=x", "", "abc123"])
async def test_only_full_ids_are_taken(repo: Repo, name: str) -> None:
    sha = repo.commit({"a": "1\n"})
    for call in (repo.history.changes(sha, name), repo.history.read(name, "a"), repo.history.merge([sha, name], "m")):
        with pytest.raises(GitError, match="not a full commit id"):
            await call


async def test_an_object_that_is_not_there_is_one_clear_line(repo: Repo) -> None:
    sha = repo.commit({"a": "1\n"})
    with pytest.raises(GitError, match="git diff-tree") as error:
        await repo.history.changes(sha, "d" * 40)
    assert "\n" not in str(error.value)
