"""Boxes as ``run_tree``: what comes back, limits that hold, and no process that survives its daemon.

``AUTO_DEV_ROUNDS`` sets how often the hostile tree is tried.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auto_dev.processes import Finished, Write, boot_id, start_ticks, sweep
from auto_dev.sandbox.base import Box, SandboxError, Unconfined
from auto_dev.sandbox.bubblewrap import Bubblewrap
from auto_dev.sandbox.limits import Cgroups
from auto_dev.sandbox.probe import Problem, find
from auto_dev.watcher import descendants

pytestmark = pytest.mark.integration
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
ROUNDS = int(os.environ.get("AUTO_DEV_ROUNDS", "10"))
Run = Callable[..., Awaitable[Finished]]
Eventually = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
def sandbox() -> Bubblewrap:
    found = find(os.environ)
    if isinstance(found, Problem):
        pytest.skip(f"{found.what}. {found.mend}")
    return found


@pytest.fixture
def box(tmp_path: Path) -> Box:
    for name in ("home", "wt"):
        (tmp_path / name).mkdir()
    return Box(tmp_path / "home", (tmp_path / "wt",))


@pytest.fixture
def run(sandbox: Bubblewrap, box: Box, tmp_path: Path) -> Run:
    async def call(*argv: str, box: Box = box, sandbox: Bubblewrap = sandbox, **options: Any) -> Finished:
        defaults: dict[str, Any] = {"cwd": tmp_path / "wt", "env": ENV, "output": tmp_path / "out", "timeout_s": 30}
        return await sandbox.enter(box)(argv, **(defaults | options))

    return call


def sh(script: str) -> tuple[str, str, str]:
    return ("sh", "-c", script)


@pytest.mark.parametrize("code", [0, 1, 2, 126, 127, 130, 143, 255])
async def test_exit_codes_come_back_as_they_are(run: Run, code: int) -> None:
    done = await run(*sh(f"exit {code}"))
    assert (done.exit_code, done.signal, done.stopped) == (code, None, "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
async def test_a_crash_is_told_as_a_signal(run: Run, number: int) -> None:
    done = await run(*sh(f"kill -{int(number)} $$"))
    assert (done.exit_code, done.signal) == (None, number)


async def test_the_environment_is_the_given_one_with_the_boxs_home(run: Run, box: Box, tmp_path: Path) -> None:
    done = await run("env", env={**ENV, "KEY": "wört\nx", "HOME": "/elsewhere", "TMPDIR": "/var/folders/x"})
    assert done.exit_code == 0
    said = (tmp_path / "out").read_text()
    assert f"HOME={box.home}\n" in said
    assert "KEY=wört\nx\n" in said
    assert "TMPDIR=/tmp\n" in said
    names = {row.partition("=")[0] for row in said.splitlines() if "=" in row}
    assert names <= {"PATH", "KEY", "HOME", "TMPDIR", "PWD"}


async def test_output_errors_input_and_feed_work_as_outside(run: Run, tmp_path: Path) -> None:
    heard = bytearray()

    async def feed(write: Write) -> None:
        await write(b"from the feed\n")

    await run(*sh("cat; echo err >&2"), stdin=feed, errors=tmp_path / "err", on_output=heard.extend)
    assert bytes(heard) == b"from the feed\n"
    assert (tmp_path / "err").read_text() == "err\n"
    await run("cat", stdin=b"bytes\n")
    assert (tmp_path / "out").read_text() == "bytes\n"


async def test_what_cannot_be_executed_is_named(run: Run, box: Box, tmp_path: Path) -> None:
    wt = box.writable[0]
    (wt / "plain").write_text("#!/bin/sh\n")
    (wt / "orphan").write_text("#!/no/such/interpreter\n")
    (wt / "orphan").chmod(0o755)
    outside = tmp_path / "tool"
    outside.write_text("#!/bin/sh\necho ran\n")
    outside.chmod(0o755)
    for argv, error in (
        ("no-such-command", FileNotFoundError), ("./missing", FileNotFoundError), ("./plain", PermissionError),
        ("./orphan", FileNotFoundError),
    ):  # fmt: skip
        with pytest.raises(error) as caught:
            await run(argv)
        assert argv in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"not visible in the sandbox: name its folder in \[sandbox\] read"):
        await run(str(outside))
    assert (await run(str(outside), box=replace(box, readable=(outside,)))).exit_code == 0


async def test_a_folder_that_is_not_there_or_not_in_the_box_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        await run("true", cwd=tmp_path / "gone")
    with pytest.raises(SandboxError, match="not in its box"):
        await run("true", cwd=tmp_path)


async def test_a_path_of_the_box_that_is_gone_is_named(run: Run, box: Box, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"gone: a box needs this path"):
        await run("true", box=replace(box, readable=(tmp_path / "gone",)))


async def test_a_link_that_an_agent_made_is_not_followed(run: Run, box: Box, tmp_path: Path) -> None:
    wt = box.writable[0]
    (tmp_path / "secret").mkdir()
    (wt / "cache").symlink_to(tmp_path / "secret")
    for asked in (replace(box, writable=(wt, wt / "cache")), replace(box, read_only=(wt / "cache",))):
        with pytest.raises(SandboxError, match="not followed"):
            await run("true", box=asked)


async def test_links_outside_the_worktree_lead_where_they_lead_outside(run: Run, box: Box, tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "file").write_text("x")
    (tmp_path / "link").symlink_to("data")
    done = await run(*sh(f"cat {tmp_path}/link/deep/file; cd {tmp_path}/link/deep && pwd -P"),
                     box=replace(box, readable=(tmp_path / "link" / "deep",)))  # fmt: skip
    assert done.exit_code == 0
    assert (tmp_path / "out").read_text() == f"x{tmp_path}/data/deep\n"


async def test_sigterm_reaches_the_command_and_leaves_it_time(run: Run, tmp_path: Path) -> None:
    script = "trap 'echo flushed; exit 0' TERM; while :; do sleep 0.05; done"
    done = await run(*sh(script), timeout_s=1, grace_s=5)
    assert done.stopped == "timeout"
    assert (tmp_path / "out").read_text().splitlines()[-1] == "flushed"
    assert done.duration_s < 5


async def test_a_command_that_ignores_sigterm_is_gone_after_the_grace(run: Run) -> None:
    before = {pid for pid, _ in descendants(os.getpid())}
    done = await run(*sh("trap '' TERM; while :; do sleep 0.05; done"), timeout_s=0.5, grace_s=0.3)
    assert done.stopped == "timeout"
    assert done.duration_s < 5
    assert {pid for pid, _ in descendants(os.getpid())} == before


async def test_a_hundred_boxes_leave_nothing(run: Run, sandbox: Bubblewrap) -> None:
    def facts() -> tuple[int, int]:
        groups = [folder for folder in (sandbox.cgroups.processes, sandbox.cgroups.memory) if folder is not None]
        mine = sum(len(list(folder.glob(f"auto-dev-{os.getpid()}-*"))) for folder in groups)
        return len(list(Path("/proc/self/fd").iterdir())), mine

    await run("true")
    before = facts()
    for _ in range(5):
        await asyncio.gather(*(run("true", output=Path(os.devnull)) for _ in range(6)))
    assert facts() == before


FORKS = """
import os, time
for n in range(400):
    try: pid = os.fork()
    except OSError: print("held"); break
    if pid == 0: time.sleep(60); os._exit(0)
else: print("all")
"""


async def test_the_kernel_holds_the_number_of_processes(
    run: Run, box: Box, sandbox: Bubblewrap, tmp_path: Path
) -> None:
    if sandbox.cgroups.processes is None and os.geteuid() == 0:
        pytest.skip("run where the pids cgroup may be written, or as an ordinary user")
    done = await run("/usr/bin/python3", "-c", FORKS, box=replace(box, processes=100))
    assert (done.exit_code, (tmp_path / "out").read_text()) == (0, "held\n")
    await run("/usr/bin/python3", "-c", FORKS)
    assert (tmp_path / "out").read_text() == "all\n"


async def test_a_fork_bomb_ends_without_a_cgroup_too(run: Run, box: Box, sandbox: Bubblewrap) -> None:
    """The last resort: the watcher counts. As an ordinary user RLIMIT_NPROC comes first, and the bomb only starves."""
    bomb = "import os, time\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(0.1)\n  time.sleep(0.01)"
    before = {pid for pid, _ in descendants(os.getpid())}
    done = await run("/usr/bin/python3", "-c", bomb, box=replace(box, processes=200), timeout_s=5, grace_s=0,
                     sandbox=replace(sandbox, cgroups=Cgroups()))  # fmt: skip
    assert done.stopped == ("processes" if os.geteuid() == 0 else "timeout")
    assert done.duration_s < 15
    assert {pid for pid, _ in descendants(os.getpid())} == before


@pytest.mark.parametrize("held_by", ["cgroup", "watcher"])
async def test_memory_is_bounded(run: Run, box: Box, sandbox: Bubblewrap, held_by: str, tmp_path: Path) -> None:
    if held_by == "cgroup" and sandbox.cgroups.memory is None:
        pytest.skip("run where the memory cgroup may be written")
    if held_by == "watcher":
        sandbox = replace(sandbox, cgroups=Cgroups())
    eat = "import time\nx = []\nfor _ in range(40): x.append(bytearray(10_000_000)); time.sleep(0.02)\nprint('ate')"
    done = await run("/usr/bin/python3", "-c", eat, box=replace(box, memory_bytes=100_000_000), sandbox=sandbox)
    assert done.stopped == "memory" or (done.signal == signal.SIGKILL and held_by == "cgroup")
    assert "ate" not in (tmp_path / "out").read_text()
    roomy = replace(box, memory_bytes=800_000_000)
    assert (await run("/usr/bin/python3", "-c", eat, box=roomy, sandbox=sandbox)).exit_code == 0


async def test_git_commits_inside_with_its_gitfile_and_mirror_read_only(run: Run, tmp_path: Path) -> None:
    """The shape of a story's worktree: private git dir writable, objects borrowed, gitfile protected."""
    git = {**ENV, "GIT_CONFIG_GLOBAL": os.environ["GIT_CONFIG_GLOBAL"]}
    host = ["git", "-c", "init.defaultBranch=main"]
    wt, private, mirror = tmp_path / "story" / "wt", tmp_path / ".private" / "x.git", tmp_path / "mirror.git"
    source = tmp_path / "source"
    for command in (
        [*host, "init", "-q", str(source)],
        [*host, "-C", str(source), "commit", "-q", "--allow-empty", "-m", "first"],
        [*host, "clone", "-q", "--bare", str(source), str(mirror)],
        [*host, "clone", "-q", "--shared", "--bare", str(mirror), str(private)],
    ):
        subprocess.run(command, check=True, env=git)
    wt.mkdir(parents=True)
    (wt / ".git").write_text(f"gitdir: {private}\n")
    subprocess.run([*host, "--git-dir", str(private), "config", "core.bare", "false"], check=True, env=git)
    (tmp_path / "home2").mkdir()
    box = Box(tmp_path / "home2", (wt, private), (mirror / "objects",), (wt / ".git",))
    script = (
        "set -e; echo x > file; git add file; git -c user.name=a -c user.email=a@b commit -qm work; git log --oneline"
        " | wc -l; ! rm -f .git; ! touch " + str(mirror / "objects" / "x")
    )
    done = await run(*sh(script), box=box, cwd=wt)
    assert done.exit_code == 0, (tmp_path / "out").read_text()
    assert (tmp_path / "out").read_text().startswith("2\n")


async def test_no_sandbox_is_run_tree_itself(box: Box, tmp_path: Path) -> None:
    sandbox = Unconfined()
    assert not sandbox.confines
    done = await sandbox.enter(box)(["true"], cwd=tmp_path, env=ENV, output=tmp_path / "out", timeout_s=10)
    assert done.exit_code == 0


DAEMON = """
import asyncio, os, sys
from pathlib import Path
from auto_dev.sandbox.base import Box
from auto_dev.sandbox.probe import find

async def main(folder, script, marker):
    async def recorded(pid, started):
        (folder / "watcher").write_text(f"{pid} {started}")
    run = find(os.environ).enter(Box(folder / "home", (folder / "wt",)))
    await run([sys.argv[4], "-I", "-S", "-c", script], cwd=folder / "wt", timeout_s=600, output=folder / "out",
              env={"PATH": "/usr/bin:/bin", "MARKER": marker}, on_start=recorded)
asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
"""

# Children in other sessions, double forks, orphans, SIGTERM ignored, and each kills its parent.
HOSTILE = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
def note():
    with open("pids", "a") as file: file.write("x")
def linger():
    note()
    while True: time.sleep(60)
def child(body):
    if os.fork() == 0:
        body(); os._exit(0)
def session(): os.setsid(); linger()
def double(): child(session)
def murderer():
    os.setsid()
    if os.fork() == 0:
        os.kill(os.getppid(), signal.SIGKILL); linger()
    time.sleep(60)
def respawner():
    os.setsid(); note()
    while True:
        if os.fork() == 0: time.sleep(0.05); os._exit(0)
        os.wait()
try: os.kill(1, signal.SIGKILL)
except OSError: pass
for body in (linger, session, double, murderer, respawner): child(body)
linger()
"""


def alive(marker: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"MARKER={marker}".encode() in (entry / "environ").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found


@pytest.mark.parametrize("victim", ["daemon", "watcher"])
async def test_no_process_survives_its_supervisor(
    sandbox: Bubblewrap, tmp_path: Path, eventually: Eventually, victim: str
) -> None:
    """0 alive 2 s after SIGKILL, round after round."""
    python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    slowest = 0.0
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        for name in ("home", "wt"):
            (folder / name).mkdir(parents=True)
        marker = f"{os.getpid()}-{victim}-{number}"
        daemon = subprocess.Popen(
            [sys.executable, "-c", DAEMON, str(folder), HOSTILE, marker, python],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        try:
            pids = folder / "wt" / "pids"
            await eventually(lambda pids=pids: pids.exists() and len(pids.read_text()) >= 6)
            assert len(alive(marker)) >= 6
            watcher, started = map(int, (folder / "watcher").read_text().split())
            killed = time.monotonic()
            os.kill(daemon.pid if victim == "daemon" else watcher, signal.SIGKILL)
            await eventually(lambda marker=marker: not alive(marker), timeout_s=2)
            slowest = max(slowest, time.monotonic() - killed)
        finally:
            daemon.kill()
            daemon.wait()
        await sweep([(watcher, started)], boot_id())
        assert start_ticks(watcher) is None
    print(f"slowest of {ROUNDS}: {slowest * 1000:.0f} ms")
