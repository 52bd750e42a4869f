"""No process survives its daemon, whatever it does to survive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from auto_dev.processes import boot_id, start_ticks, sweep

pytestmark = [pytest.mark.integration, pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and subreaper")]

ROOT = Path(__file__).parents[2]

# The daemon: runs trees by run_tree until somebody kills it.
DAEMON = """
import asyncio, json, sys
from pathlib import Path
from auto_dev.processes import run_tree

async def main(folder, script, trees, marker):
    async def one(number):
        async def recorded(pid, started):
            with open(folder / "watchers", "a") as file:
                file.write(f"{pid} {started}\\n")
        await run_tree(
            [sys.executable, "-I", "-S", script], cwd=folder, timeout_s=600, output=folder / f"out-{number}",
            env={"PATH": "/usr/bin:/bin", "MARKER": marker, "PIDS": str(folder / "pids")}, on_start=recorded)
    await asyncio.gather(*(one(n) for n in range(trees)))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]))
"""

# A tree that wants to live: children in other sessions, double forks, orphans, SIGTERM ignored, descriptors closed.
HOSTILE = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)

def note():
    fd = os.open(os.environ["PIDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, b"%d\\n" % os.getpid())
    os.close(fd)

def linger():
    note()
    os.closerange(0, 256)
    while True:
        time.sleep(60)

def child(body):
    if os.fork() == 0:
        body()
        os._exit(0)

def session(): os.setsid(); linger()
def group(): os.setpgid(0, 0); linger()
def double(): child(session)
def triple(): os.setsid(); child(double); linger()
def respawner():
    os.setsid(); note()
    while True:
        pid = os.fork()
        if pid == 0:
            linger()
        os.waitpid(pid, 0)

for body in (linger, session, group, double, triple, respawner):
    child(body)
linger()
"""
EXPECTED = 9  # processes that a hostile tree makes, the main one included

# Never the same process for long: each one forks, the child leaves for a session of its own, the parent exits.
HOPPER = """
import os, time
fd = os.open(os.environ["PIDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(fd, b"%d\\n" % os.getpid())
os.close(fd)
if os.fork() == 0:
    while True:
        if os.fork():
            os._exit(0)
        os.setsid()
while True:
    time.sleep(60)
"""

# A fork bomb of moderate size: up to 300 processes that keep replacing each other.
BOMB = """
import os, time
fd = os.open(os.environ["PIDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(fd, b"%d\\n" % os.getpid())
for _ in range(300):
    if os.fork() == 0:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            time.sleep(0.02)
            if os.fork():
                os._exit(0)
        os._exit(0)
os.write(fd, b"0\\n")
while True:
    time.sleep(60)
"""


def alive(marker: str) -> list[str]:
    """Command lines of the living processes that carry the marker in their environment; zombies do not count."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if f"MARKER={marker}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()!r}")
        except OSError:
            continue
    return found


def wait_for(fact: object, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    assert callable(fact)
    while not fact():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


StartDaemon = Callable[[str, int], "subprocess.Popen[bytes]"]


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[StartDaemon]:
    """Starts a daemon with so many trees of a script; the marker of all of them is ``tmp_path``."""
    with ExitStack() as stack:

        def start(script: str, trees: int) -> subprocess.Popen[bytes]:
            path = tmp_path / "tree.py"
            path.write_text(script)
            daemon = subprocess.Popen(
                [sys.executable, "-c", DAEMON, str(tmp_path), str(path), str(trees), str(tmp_path)],
                env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
                cwd=tmp_path,
            )
            stack.callback(daemon.wait)
            stack.callback(daemon.kill)
            return daemon

        yield start


def written(folder: Path, name: str = "pids") -> list[str]:
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


def watchers_gone(folder: Path) -> bool:
    pairs = [line.split() for line in written(folder, "watchers")]
    return all(start_ticks(int(pid)) != int(started) for pid, started in pairs)


@pytest.mark.parametrize("batch", range(5))
def test_a_killed_daemon_leaves_no_process_of_a_hostile_tree(
    tmp_path: Path, start_daemon: StartDaemon, batch: int
) -> None:
    """5 batches of 10 trees: nothing is alive 2 s after SIGKILL of the daemon."""
    marker = f"{tmp_path}"
    daemon = start_daemon(HOSTILE, 10)
    wait_for(lambda: len(written(tmp_path)) >= 10 * EXPECTED, 30, "the trees did not grow")
    assert len(alive(marker)) >= 10 * EXPECTED
    os.kill(daemon.pid, signal.SIGKILL)
    killed = time.monotonic()
    daemon.wait()
    wait_for(lambda: not alive(marker) and watchers_gone(tmp_path), 2, f"alive after 2 s: {alive(marker)}")
    own = [int(pid) for pid in written(tmp_path)]
    assert not [pid for pid in own if start_ticks(pid) is not None and _is_ours(pid, marker)]
    assert time.monotonic() - killed < 3


def _is_ours(pid: int, marker: str) -> bool:
    try:
        return marker.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize(("script", "lines"), [(HOPPER, 1), (BOMB, 2)], ids=["hopper", "fork bomb"])
def test_a_tree_that_never_holds_still_ends_with_its_daemon(
    tmp_path: Path, start_daemon: StartDaemon, script: str, lines: int
) -> None:
    marker = f"{tmp_path}"
    daemon = start_daemon(script, 1)
    wait_for(lambda: len(written(tmp_path)) >= lines, 30, "the tree did not grow")
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait()
    wait_for(lambda: watchers_gone(tmp_path), 15, "the watcher did not come to an end")
    assert not alive(marker)


async def test_sweep_ends_a_watcher_that_was_stopped_when_its_daemon_died(
    tmp_path: Path, start_daemon: StartDaemon
) -> None:
    marker = f"{tmp_path}"
    daemon = start_daemon(HOSTILE, 1)
    wait_for(lambda: len(written(tmp_path)) >= EXPECTED, 30, "the tree did not grow")
    pid, started = (int(word) for word in written(tmp_path, "watchers")[0].split())
    os.kill(pid, signal.SIGSTOP)
    daemon.kill()
    daemon.wait()
    assert len(alive(marker)) == EXPECTED
    assert await sweep([(pid, started + 1)], boot_id()) == 0, "another process with the same number is not touched"
    assert await sweep([(pid, started)], "another-boot") == 0
    assert len(alive(marker)) == EXPECTED
    assert await sweep([(pid, started), (2**22 - 1, 5)], boot_id()) == 1
    wait_for(lambda: not alive(marker), 2, "alive after the sweep")
    assert await sweep([(pid, started)], boot_id()) == 0
