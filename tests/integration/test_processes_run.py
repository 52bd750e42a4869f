"""``run_tree``: what comes back, what is kept of the output, and how trees are ended."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from auto_dev.processes import Finished, run_tree, start_ticks
from auto_dev.watcher import descendants

pytestmark = [pytest.mark.integration, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
Run = Callable[..., Awaitable[Finished]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    async def call(*argv: str, **options: Any) -> Finished:
        defaults: dict[str, Any] = {"cwd": tmp_path, "env": ENV, "output": tmp_path / "out", "timeout_s": 30}
        return await run_tree(argv, **(defaults | options))

    return call


def sh(script: str) -> tuple[str, str, str]:
    return ("sh", "-c", script)


async def wait_for(fact: Callable[[], object], what: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def children() -> set[int]:
    return {pid for pid, _ in descendants(os.getpid())}


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("code", [0, 1, 2, 126, 127, 130, 137, 255])
async def test_exit_codes_come_back_as_they_are(run: Run, code: int) -> None:
    done = await run(*sh(f"exit {code}"))
    assert (done.exit_code, done.signal, done.stopped) == (code, None, "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGPIPE, signal.SIGHUP])
async def test_an_end_by_a_signal_is_not_an_exit_code(run: Run, number: int) -> None:
    done = await run(*sh(f"kill -{int(number)} $$"))
    assert (done.exit_code, done.signal, done.stopped) == (None, number, "")


async def test_the_environment_is_exactly_the_given_one(run: Run, tmp_path: Path) -> None:
    given = {"PATH": "/usr/bin:/bin", "WÖRD": "ü \n\udcff", "EMPTY": ""}
    await run("cat", "/proc/self/environ", env=given)
    wanted = {os.fsencode(f"{name}={value}") for name, value in given.items()}
    assert set((tmp_path / "out").read_bytes().split(b"\0")[:-1]) == wanted


async def test_the_command_gets_its_folder_stdin_and_no_other_descriptor(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "ein Ordner – мир"
    folder.mkdir()
    done = await run(*sh("pwd; cat; ls /proc/self/fd | wc -l"), cwd=folder, stdin="Grüße\n".encode())
    assert (tmp_path / "out").read_text() == f"{folder}\nGrüße\n4\n"  # 0, 1, 2 and the folder that ls reads
    assert done.exit_code == 0


async def test_a_command_that_does_not_read_its_stdin_is_no_error(run: Run) -> None:
    done = await run("true", stdin=b"x" * 5_000_000)
    assert done.exit_code == 0


async def test_standard_signals_are_not_ignored_in_the_command(run: Run, tmp_path: Path) -> None:
    await run("grep", "-E", "SigIgn|SigBlk", "/proc/self/status")
    assert [line.split()[1] for line in (tmp_path / "out").read_text().splitlines()] == ["0" * 16, "0" * 16]


@pytest.mark.parametrize(
    ("argv", "content", "mode", "error"),
    [
        ("no-such-command", None, 0, FileNotFoundError),
        ("./missing.sh", None, 0, FileNotFoundError),
        ("./script.sh", "#!/bin/sh\n", 0o644, PermissionError),
        ("./script.sh", "#!/no/such/interpreter\n", 0o755, FileNotFoundError),
        ("./script.sh", "echo no shebang\n", 0o755, OSError),
    ],
)
async def test_a_command_that_cannot_be_executed_raises_with_its_name(
    run: Run, tmp_path: Path, argv: str, content: str | None, mode: int, error: type[OSError]
) -> None:
    if content is not None:
        (tmp_path / "script.sh").write_text(content)
        (tmp_path / "script.sh").chmod(mode)
    with pytest.raises(error) as caught:
        await run(argv)
    assert caught.value.filename == argv


async def test_a_missing_folder_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        await run("true", cwd=tmp_path / "gone")
    assert caught.value.filename == str(tmp_path / "gone")


@pytest.mark.parametrize(
    ("argv", "env"), [((), {}), (("a\0b",), {}), (("true",), {"A=B": ""}), (("true",), {"A": "\0"})]
)
async def test_what_no_process_can_be_given_is_refused(run: Run, argv: tuple[str, ...], env: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="not a"):
        await run(*argv, env=env)


async def test_stdout_and_stderr_are_interleaved(run: Run, tmp_path: Path) -> None:
    await run(*sh("echo 1; echo 2 >&2; echo 3"))
    assert (tmp_path / "out").read_text() == "1\n2\n3\n"


async def test_a_hundred_megabytes_keep_head_and_tail_within_the_cap(run: Run, tmp_path: Path) -> None:
    """Neither the file, nor the memory, nor the event loop suffers."""
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.005)

    ticker = asyncio.create_task(tick())
    cap = 1_000_000
    done = await run(*sh("echo first; head -c 100000000 /dev/zero | tr '\\0' x; echo last"), output_cap=cap)
    ticker.cancel()
    kept = (tmp_path / "out").read_bytes()
    assert done.output_bytes == 100_000_000 + len("first\nlast\n")
    assert cap * 0.9 < len(kept) <= cap
    assert kept.startswith(b"first\n")
    assert kept.endswith(b"xlast\n")
    note = next(line for line in kept.decode().splitlines() if "left out" in line)
    missing = int(note.split()[1])
    assert missing == done.output_bytes - (len(kept) - len(f"\n{note}\n".encode()))
    gaps = sorted(b - a for a, b in pairwise(ticks))
    assert gaps[len(gaps) * 9 // 10] < 0.1, "the event loop was held up"


@pytest.mark.parametrize("cap", [0, 10, 1000])
async def test_a_small_cap_holds_too(run: Run, tmp_path: Path, cap: int) -> None:
    done = await run(*sh("seq 1000"), output_cap=cap)
    assert done.output_bytes == 3893
    assert (tmp_path / "out").stat().st_size <= cap


async def test_a_full_disk_ends_the_tree_and_is_told(run: Run) -> None:
    before = children()
    with pytest.raises(OSError, match="No space left"):
        await run(*sh("echo x; sleep 60"), output=Path("/dev/full"))
    assert children() == before


async def test_a_listener_that_raises_ends_the_tree_and_is_told(run: Run) -> None:
    def listen(_: bytes) -> None:
        raise LookupError("the listener")

    with pytest.raises(LookupError, match="the listener"):
        await run(*sh("echo x; sleep 60"), on_output=listen)


async def test_output_behind_a_symlink_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "out").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic links"):
        await run(*sh("echo x"))
    assert (tmp_path / "target").read_text() == "precious"


async def test_a_timeout_asks_first_and_then_ends_everything(run: Run, tmp_path: Path) -> None:
    before = children()
    polite = await run(*sh("trap 'echo bye; exit 0' TERM; sleep 60 & wait"), timeout_s=0.3)
    assert (polite.exit_code, polite.signal, polite.stopped) == (None, signal.SIGTERM, "timeout")
    assert (tmp_path / "out").read_text() == "bye\n"
    stubborn = await run(*sh("trap '' TERM; sleep 60 & setsid sleep 60"), timeout_s=0.3, grace_s=0.2)
    assert (stubborn.exit_code, stubborn.signal, stubborn.stopped) == (None, signal.SIGKILL, "timeout")
    assert stubborn.duration_s < 3
    assert children() == before


async def test_children_that_outlive_their_command_are_ended(run: Run, tmp_path: Path) -> None:
    """A development server that an agent left must not survive the run, nor hold it up."""
    child = "(trap 'echo flushed; exit' TERM; touch ready; while :; do sleep 0.05; done)"
    done = await run(*sh(f"{child} & setsid sleep 60 & until [ -e ready ]; do sleep 0.01; done; exit 3"))
    assert (done.exit_code, done.stopped) == (3, "")
    assert done.duration_s < 5
    assert "flushed\n" in (tmp_path / "out").read_text()


async def test_cancelling_ends_the_tree_before_it_raises(run: Run, tmp_path: Path) -> None:
    before = children()
    task = asyncio.ensure_future(run(*sh("trap '' TERM; echo up; setsid sleep 60 & sleep 60"), grace_s=0.2))
    await wait_for(lambda: (tmp_path / "out").exists() and (tmp_path / "out").read_text(), "the command did not start")
    assert children() > before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == before


@pytest.mark.parametrize("wait_s", [0, 0.002, 0.01, 0.02])
async def test_a_tree_that_is_cancelled_while_it_starts_ends_at_once(run: Run, wait_s: float) -> None:
    """An order that follows the command at once must not be lost."""
    before = children()
    task = asyncio.ensure_future(run(*sh("trap '' TERM; sleep 60"), grace_s=0.2))
    await asyncio.sleep(wait_s)
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < 5
    assert children() == before


async def test_a_second_cancellation_ends_the_grace(run: Run, tmp_path: Path) -> None:
    script = "trap 'echo no' TERM; while :; do sleep 0.05; done"
    task = asyncio.ensure_future(run(*sh(script), timeout_s=0.3, grace_s=30))
    await wait_for(lambda: (tmp_path / "out").exists() and "no" in (tmp_path / "out").read_text(), "no SIGTERM came")
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < 5


def test_a_loop_that_is_torn_down_ends_its_trees(tmp_path: Path) -> None:
    before = children()

    async def main() -> None:
        running = asyncio.create_task(
            run_tree(sh("echo up; sleep 60"), cwd=tmp_path, env=ENV, output=tmp_path / "out", timeout_s=60)
        )
        await wait_for(lambda: (tmp_path / "out").exists() and (tmp_path / "out").read_text(), "did not start")
        assert not running.done()

    asyncio.run(main())
    assert children() == before


async def test_a_tree_is_recorded_before_its_command_runs(run: Run, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    async def record(pid: int, started: int) -> None:
        await asyncio.sleep(0.2)
        assert not (tmp_path / "ran").exists()
        assert start_ticks(pid) == started
        seen.append((pid, started))

    await run("touch", "ran", on_start=record)
    assert (tmp_path / "ran").exists()
    assert len(seen) == 1
    assert start_ticks(seen[0][0]) is None


async def test_a_record_that_fails_starts_nothing(run: Run, tmp_path: Path) -> None:
    before = children()

    async def record(pid: int, started: int) -> None:
        raise ConnectionError("no database")

    with pytest.raises(ConnectionError, match="no database"):
        await run("touch", "ran", on_start=record)
    assert not (tmp_path / "ran").exists()
    assert children() == before


async def test_a_tree_that_kills_its_watcher_gains_nothing(run: Run) -> None:
    before = children()
    marker = f"71.{os.getpid()}"
    done = await run(*sh(f"sleep {marker} & kill -9 $PPID; sleep {marker}"))
    assert (done.exit_code, done.signal) == (None, signal.SIGKILL)
    await wait_for(lambda: children() == before and not _running(marker), "a child lived on", 3)


def _running(argument: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if argument.encode() in path.read_bytes().split(b"\0"):
                found.append(str(path))
        except OSError:
            continue
    return found


async def test_a_watcher_that_is_told_to_end_says_so(run: Run) -> None:
    async def tell(pid: int, _: int) -> None:
        asyncio.get_running_loop().call_later(0.3, os.kill, pid, signal.SIGTERM)

    done = await run("sleep", "60", on_start=tell)
    assert (done.exit_code, done.signal, done.stopped) == (None, signal.SIGTERM, "stopped")


async def test_without_descriptors_it_fails_cleanly_and_works_again(run: Run) -> None:
    await run("true")
    before, descriptors = children(), open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    failed = done = 0
    for spare in range(14):
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors + spare, hard))
        worked = False
        try:
            worked = (await run("true")).exit_code == 0
        except OSError as error:
            failed += error.errno == errno.EMFILE
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert children() == before
        assert open_descriptors() == descriptors
        done += worked
    assert failed + done == 14
    assert failed >= 3
    assert done >= 1


async def test_nothing_leaks_over_many_trees(run: Run, tmp_path: Path) -> None:
    async def one(number: int) -> None:
        await run(*sh("sleep 60 & exit 0"), output=tmp_path / f"out-{number}", stdin=b"x")

    await one(0)
    before, descriptors = children(), open_descriptors()
    for _ in range(3):
        await asyncio.gather(*(one(number) for number in range(8)))
    assert children() == before, "zombies included"
    assert open_descriptors() == descriptors
