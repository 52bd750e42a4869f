"""What an agent left behind between two turns, and what the host does with it: nothing waits, follows or gives up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from auto_dev.agents.home import put_files
from auto_dev.errors import GitError
from auto_dev.processes import run_tree
from auto_dev.sandbox.base import Box
from auto_dev.sandbox.bubblewrap import Bubblewrap
from auto_dev.sandbox.probe import Problem, find
from auto_dev.worktrees import stage
from auto_dev.worktrees.folders import delete, plain_folder, read_start, set_aside

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def sandbox() -> Bubblewrap:
    found = find(os.environ)
    if isinstance(found, Problem):
        pytest.skip(f"{found.what}. {found.mend}")
    return found


def nest(folder: Path, depth: int) -> None:
    """Folders in each other, deeper than recursion, open files and path names go; the innermost one is closed."""
    script = "import os, sys\nos.makedirs(sys.argv[1], exist_ok=True)\nos.chdir(sys.argv[1])\n"
    script += "for _ in range(int(sys.argv[2])): os.mkdir('d'); os.chdir('d')\nos.mkdir('x'); os.mkdir('x/y')\n"
    script += "open('x/f', 'w').close(); os.chmod('x', 0)\n"
    subprocess.run([sys.executable, "-c", script, folder, str(depth)], check=True)


def attempt(what: str, path: Path) -> None:
    """Something that is in the way at ``path``."""
    if what == "link to nothing":
        path.symlink_to("/nowhere/at/all")
    elif what == "link to a folder":
        (path.parent / "elsewhere").mkdir()
        (path.parent / "elsewhere" / "kept").write_text("kept")
        path.symlink_to(path.parent / "elsewhere")
    elif what == "file":
        path.write_text("x")
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "closed folder":
        path.mkdir(mode=0)
    elif what == "deep folder":
        nest(path, 3000)


TRAPS = ("link to nothing", "link to a folder", "file", "pipe", "closed folder", "deep folder")


@pytest.mark.parametrize("what", TRAPS)
async def test_what_stands_where_a_folder_belongs_gives_way(tmp_path: Path, what: str) -> None:
    place = tmp_path / "agent" / "tmp"
    place.parent.mkdir()
    attempt(what, place)
    place.parent.chmod(0)
    try:
        assert plain_folder(place) == place
        assert place.is_dir()
        assert not place.is_symlink()
        (place / "new").write_text("x")
        if what == "link to a folder":
            assert sorted(path.name for path in (place.parent / "elsewhere").iterdir()) == ["kept"]
    finally:
        await delete(tmp_path / "agent")
    assert not (tmp_path / "agent").exists()


@pytest.mark.parametrize("what", TRAPS)
async def test_what_stands_where_a_report_belongs_gives_way_at_once(tmp_path: Path, what: str) -> None:
    report = tmp_path / "agent" / "report.json"
    report.parent.mkdir()
    attempt(what, report)
    report.parent.chmod(0)
    try:
        set_aside(report)
        assert not os.path.lexists(report)
        set_aside(report)  # repeating it is harmless
    finally:
        await delete(tmp_path / "agent")


@pytest.mark.parametrize("what", TRAPS)
@pytest.mark.parametrize("where", [".claude", ".claude/settings.json"])
async def test_settings_are_put_into_a_home_full_of_traps(tmp_path: Path, what: str, where: str) -> None:
    home = tmp_path / "home"
    (home / where).parent.mkdir(parents=True)
    attempt(what, home / where)
    home.chmod(0)
    try:
        put_files(home, {".claude/settings.json": "{}"})
        assert (home / ".claude" / "settings.json").read_text() == "{}"
        assert not (home / ".claude").is_symlink()
    finally:
        await delete(home)


async def test_a_deep_folder_is_deleted_with_few_open_files(tmp_path: Path) -> None:
    """A recursive delete would hold one descriptor for each level, and the daemon has others to serve meanwhile."""
    nest(tmp_path / "deep", 3000)
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    await delete(tmp_path / "deep")
    assert not (tmp_path / "deep").exists()
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 5


def test_of_a_file_without_an_end_only_the_beginning_is_read(tmp_path: Path) -> None:
    huge = tmp_path / "AGENTS.md"
    with huge.open("wb") as file:
        file.write(b"rules")
        file.truncate(1 << 42 if sys.platform == "linux" else 1 << 32)
    assert read_start(huge, 10) == b"rules" + bytes(5)
    for number, what in enumerate(("link to nothing", "pipe", "closed folder")):
        attempt(what, tmp_path / str(number))
        assert read_start(tmp_path / str(number), 10) is None
    assert read_start(tmp_path / "absent", 10) is None


def test_a_file_without_an_end_is_refused_before_git_reads_it(tmp_path: Path) -> None:
    (tmp_path / "small").write_text("x")
    stage._refuse_huge(tmp_path, ["small", "absent"])
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(stage.MOST_BYTES)
    with pytest.raises(GitError, match=r"'huge' alone 4\.3 GB"):
        stage._refuse_huge(tmp_path, ["small", "huge"])


async def test_a_program_behind_a_chain_of_links_runs_in_the_box(sandbox: Bubblewrap, tmp_path: Path) -> None:
    """PATH → a link → a link in a folder that nobody names → a folder's link → the program."""
    real = tmp_path / "store" / "v1" / "bin" / "real"
    for folder in (real.parent, tmp_path / "path", tmp_path / "mine" / "links", tmp_path / "home", tmp_path / "wt"):
        folder.mkdir(parents=True)
    real.write_text("#!/bin/sh\necho it runs\n")
    real.chmod(0o755)
    (tmp_path / "store" / "current").symlink_to("v1")
    (tmp_path / "mine" / "links" / "tool").symlink_to("../../store/current/bin/real")
    (tmp_path / "mine" / "secret").write_text("not shown")
    (tmp_path / "path" / "tool").symlink_to(tmp_path / "mine" / "links" / "tool")
    env = {"PATH": f"{tmp_path / 'path'}:/usr/bin:/bin"}
    out = tmp_path / "out"
    for run in (run_tree, sandbox.enter(Box(tmp_path / "home", (tmp_path / "wt",)))):
        done = await run(["tool"], cwd=tmp_path / "wt", env=env, output=out, timeout_s=20)
        assert (done.exit_code, out.read_text()) == (0, "it runs\n")
    boxed = sandbox.enter(Box(tmp_path / "home", (tmp_path / "wt",)))
    done = await boxed(
        ["cat", str(tmp_path / "mine" / "secret")], cwd=tmp_path / "wt", env=env, output=out, timeout_s=20
    )
    assert done.exit_code == 1
    assert "not shown" not in out.read_text()
