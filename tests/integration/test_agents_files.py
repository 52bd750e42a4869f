"""What an agent's file tools reach: its worktree, by no way anything else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auto_dev.agents.files import MAX_READ, FileProblem, Folder

pytestmark = pytest.mark.integration


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A worktree beside a file that must stay out of reach."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    folder = tmp_path / "work tree"
    (folder / "src/deep").mkdir(parents=True)
    (folder / "src/deep/a.py").write_text("a = 1\n")
    return folder


def test_files_inside_are_read_and_written_with_their_folders(work: Path) -> None:
    folder = Folder(work)
    assert folder.read("src/deep/a.py") == b"a = 1\n"
    assert folder.read(f"{work}/src/./deep//a.py") == b"a = 1\n"
    assert folder.write("new/folders/ü.txt", b"x") is True
    assert folder.write("new/folders/ü.txt", b"") is False
    assert (work / "new/folders/ü.txt").read_bytes() == b""
    (work / "run.sh").write_text("long text")
    (work / "run.sh").chmod(0o755)
    folder.write("run.sh", b"short")
    assert (work / "run.sh").read_bytes() == b"short"
    assert (work / "run.sh").stat().st_mode & 0o777 == 0o755


def test_no_way_leads_out(work: Path) -> None:
    outside = work.parent / "outside"
    (work / "file-link").symlink_to(outside / "secret")
    (work / "folder-link").symlink_to(outside)
    (work / "src/up").symlink_to("../../outside")
    (work / "dangling").symlink_to(outside / "not-yet")
    os.mkfifo(work / "fifo")
    folder = Folder(work)
    ways = (
        "../outside/secret", "src/../../outside/secret", str(outside / "secret"), "/etc/passwd", "file-link",
        "folder-link/secret", "src/up/secret", "dangling", f"{work}x/secret", "fifo", "", ".", "src", "a\0b",
    )  # fmt: skip
    for way in ways:
        with pytest.raises(FileProblem):
            folder.read(way)
        with pytest.raises(FileProblem):
            folder.write(way, b"changed")
    for way in ("folder-link", "src/up", "..", "/"):
        with pytest.raises(FileProblem):
            folder.listing(way, 10)
        with pytest.raises(FileProblem):
            folder.check_folder(way)
    assert (outside / "secret").read_text() == "secret"
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_the_repository_itself_is_not_written(work: Path) -> None:
    (work / ".git").write_text("gitdir: /mirror")
    (work / "nested/.git").mkdir(parents=True)
    for path in (".git", ".git/hooks/x", "nested/.git/config", ".GIT/config", "./.git"):
        with pytest.raises(FileProblem, match=r"\.git"):
            Folder(work).write(path, b"x")
    assert (work / ".git").read_text() == "gitdir: /mirror"
    assert Folder(work).write(".gitignore", b"x") is True


def test_too_large_a_file_is_not_read(work: Path) -> None:
    with (work / "huge").open("wb") as file:
        file.truncate(MAX_READ + 1)
    with pytest.raises(FileProblem, match="too large"):
        Folder(work).read("huge")


def test_a_listing_is_breadth_first_bounded_and_enters_no_link(work: Path) -> None:
    (work / "z").symlink_to(work)
    (work / "node_modules/x").mkdir(parents=True)
    assert Folder(work).listing(".", 100) == (["node_modules/", "src/", "z", "src/deep/", "src/deep/a.py"], True)
    assert Folder(work).listing("src", 1) == (["deep/"], False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.lists(st.sampled_from(["..", ".", "/", "src", "link", "work tree", "outside", "secret", ""]), max_size=7))
def test_no_combination_of_names_reads_the_secret(work: Path, parts: list[str]) -> None:
    if not (work / "link").is_symlink():
        (work / "link").symlink_to(work.parent / "outside")
    for path in ("/".join(parts), f"{work}/" + "/".join(parts)):
        try:
            assert Folder(work).read(path) != b"secret"
        except FileProblem:
            continue
