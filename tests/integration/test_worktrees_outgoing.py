"""What a push would make leave, and a branch whose commits are joined so that some of them do not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from auto_dev.worktrees.git import Git
from auto_dev.worktrees.mirror import Mirror
from auto_dev.worktrees.repository import inspect
from auto_dev.worktrees.worktree import Worktree, Worktrees

pytestmark = pytest.mark.integration


def git(*args: str, cwd: Path) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


class Place:
    """A repository with a mirror and the worktree of a story."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "user"
        self.root.mkdir()
        git("init", "-q", "-b", "main", cwd=self.root)
        self.base = self.commit({"a": "base\n"}, "base")
        self.git = Git(tmp_path / "git home")
        self.tmp = tmp_path

    def commit(self, files: dict[str, str], message: str, cwd: Path | None = None) -> str:
        where = cwd or self.root
        for name, text in files.items():
            (where / name).write_text(text)
        git("add", "-A", cwd=where)
        git("-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", message, cwd=where)
        return git("rev-parse", "HEAD", cwd=where)

    async def open(self) -> tuple[Worktrees, Worktree]:
        mirror = Mirror(self.tmp / "state", await inspect(self.root, git=self.git), self.git)
        await mirror.ensure()
        await mirror.refresh()
        worktrees = Worktrees(mirror, self.tmp / "worktrees")
        return worktrees, await worktrees.create("S-1", "run1", self.base, "auto-dev/S-1")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_every_content_of_every_commit_counts_for_the_first_that_has_it(place: Place) -> None:
    worktrees, tree = await place.open()
    first = place.commit({"b": "one\n", "weird\nname": "odd\n"}, "add\n\nwith a body", tree.path)
    second = place.commit({"b": "two\n", "c": "one\n"}, "change", tree.path)
    third = place.commit({"b": "base\n"}, "what the base had", tree.path)
    head = (await worktrees.collect(tree, "x")).head_sha
    assert head == third
    commits = await worktrees.history.new_commits(head, [place.base])
    assert [commit.sha for commit in commits] == [first, second, third]
    assert commits[0].message == "add\n\nwith a body"
    assert commits[0].author == "A <a@b.c>"
    shown = [{blob.path: blob.size for blob in commit.blobs} for commit in commits]
    assert shown == [{"b": 4, "weird\nname": 4}, {"b": 4}, {}]
    blobs = await worktrees.history.blobs([blob.sha for commit in commits for blob in commit.blobs])
    assert sorted(blobs.values()) == [b"odd\n", b"one\n", b"two\n"]
    assert await worktrees.history.new_commits(head, [head]) == ()


async def test_a_merge_brings_only_what_neither_side_had(place: Place) -> None:
    worktrees, tree = await place.open()
    git("switch", "-qc", "other", cwd=tree.path)
    place.commit({"b": "other\n"}, "theirs", tree.path)
    git("switch", "-q", "auto-dev/S-1", cwd=tree.path)
    place.commit({"c": "mine\n"}, "mine", tree.path)
    git("-c", "user.name=A", "-c", "user.email=a@b.c", "merge", "-q", "--no-commit", "--no-ff", "other", cwd=tree.path)
    place.commit({"d": "in the merge\n"}, "merge", tree.path)
    head = (await worktrees.collect(tree, "x")).head_sha
    commits = await worktrees.history.new_commits(head, [place.base])
    assert {commit.message: [blob.path for blob in commit.blobs] for commit in commits} == {
        "theirs": ["b"], "mine": ["c"], "merge": ["d"],
    }  # fmt: skip


async def test_texts_are_looked_for_in_all_files_of_a_commit(place: Place) -> None:
    place.base = place.commit({"a": "x SECRET-abc y\nmore-SECRET\n", "bin": "\0\1 SECRET-bin\n"}, "texts")
    worktrees, _ = await place.open()
    wanted = ["SECRET-abc", "SECRET", "SECRET-bin", "absent", "x SECRET", "-e", "a.c", ""]
    assert await worktrees.history.holding(place.base, wanted) == {"SECRET-abc", "SECRET", "SECRET-bin", "x SECRET"}
    assert await worktrees.history.holding(place.base, []) == frozenset()
    assert set(await worktrees.history.paths(place.base)) == {"a", "bin"}


async def test_joining_leaves_unwanted_commits_out_and_keeps_them_aside(place: Place) -> None:
    worktrees, tree = await place.open()
    first = place.commit({"b": "1\n"}, "good", tree.path)
    second = place.commit({"c": "secret\n"}, "bad", tree.path)
    place.commit({"c": "fine\n"}, "mended", tree.path)
    before = (await worktrees.collect(tree, "x")).head_sha
    head = await worktrees.join(tree, place.base, {second}, [], "S-1: joined", {"Story": "S-1"})
    log = await worktrees.history.log(place.base, head)
    assert [(commit.subject, commit.sha == first) for commit in log] == [("S-1: joined", False), ("good", True)]
    assert await worktrees.history.changes(head, before) == []
    assert git("rev-parse", "refs/auto-dev/salvage/run1/1", cwd=worktrees.mirror.path) == before
    # The worktree goes on from there, also for an agent that commits; and a repetition changes nothing.
    assert await worktrees.join(tree, place.base, {second}, [], "S-1: joined", {}) == head
    assert git("rev-parse", "HEAD", cwd=tree.path) == head
    assert git("status", "--porcelain", cwd=tree.path) == ""
    last = place.commit({"d": "more\n"}, "more", tree.path)
    assert (await worktrees.collect(tree, "x")).head_sha == last


async def test_joining_all_that_changed_nothing_leads_back_to_the_base(place: Place) -> None:
    worktrees, tree = await place.open()
    bad = place.commit({"c": "secret\n"}, "bad", tree.path)
    (tree.path / "c").unlink()
    await worktrees.collect(tree, "x")
    assert await worktrees.join(tree, place.base, {bad}, [], "joined", {}) == place.base


async def test_joining_keeps_what_was_merged_from_the_base_branch(place: Place) -> None:
    worktrees, tree = await place.open()
    bad = place.commit({"c": "secret\n"}, "bad", tree.path)
    await worktrees.collect(tree, "x")
    newer = place.commit({"z": "new on main\n"}, "main goes on")
    await worktrees.mirror.refresh()
    git("-c", "user.name=A", "-c", "user.email=a@b.c", "merge", "-q", "-m", "merge main", newer, cwd=tree.path)
    place.commit({"c": "fine\n"}, "mended", tree.path)
    await worktrees.collect(tree, "x")
    head = await worktrees.join(tree, place.base, {bad}, [newer], "joined", {})
    assert await worktrees.history.is_ancestor(newer, head)
    assert not await worktrees.history.is_ancestor(bad, head)
    assert [change.path for change in await worktrees.history.changes(newer, head)] == ["c"]
