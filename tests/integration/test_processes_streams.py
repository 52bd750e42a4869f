"""``run_tree`` with stderr kept apart and with a feed that talks to the command while it runs."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from auto_dev.processes import Feed, Finished, Write, run_tree
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


def children() -> set[int]:
    return {pid for pid, _ in descendants(os.getpid())}


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def nothing(write: Write) -> None:
    del write


async def test_stderr_has_its_own_file_and_listeners_see_stdout_alone(run: Run, tmp_path: Path) -> None:
    heard = bytearray()
    done = await run("sh", "-c", "echo out; echo err >&2; exit 3", errors=tmp_path / "err", on_output=heard.extend)
    assert (tmp_path / "out").read_text() == "out\n"
    assert (tmp_path / "err").read_text() == "err\n"
    assert bytes(heard) == b"out\n"
    assert (done.exit_code, done.output_bytes) == (3, 8)


async def test_both_files_are_capped(run: Run, tmp_path: Path) -> None:
    script = "yes out | head -c 300000; yes err | head -c 300000 >&2; echo last >&2"
    done = await run("sh", "-c", script, errors=tmp_path / "err", output_cap=10_000)
    assert done.output_bytes == 600_005
    assert 5_000 < (tmp_path / "out").stat().st_size <= 10_000
    assert 5_000 < (tmp_path / "err").stat().st_size <= 10_000
    assert (tmp_path / "err").read_text().endswith("last\n")


async def test_an_error_file_that_cannot_be_written_ends_the_tree(run: Run) -> None:
    before = children()
    started = time.monotonic()
    with pytest.raises(OSError, match="No space left"):
        await run("sh", "-c", "echo x >&2; sleep 60", errors=Path("/dev/full"))
    assert time.monotonic() - started < 10
    assert children() == before


async def test_a_feed_holds_a_conversation(run: Run) -> None:
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    heard: list[bytes] = []

    async def feed(write: Write) -> None:
        for word in (b"one\n", b"two\n", b"three\n"):
            await write(word)
            heard.append(await answers.get())

    done = await run("sh", "-c", "while read -r w; do echo $w!; done", stdin=feed, on_output=answers.put_nowait)
    assert heard == [b"one!\n", b"two!\n", b"three!\n"]
    assert done.exit_code == 0  # the end of the feed closed its input


async def test_a_feed_waits_for_a_slow_reader(run: Run, tmp_path: Path) -> None:
    async def feed(write: Write) -> None:
        await write(b"x" * 3_000_000)
        await write(b"end")

    await run("sh", "-c", "sleep 0.2; wc -c", stdin=feed)
    assert (tmp_path / "out").read_text().strip() == "3000003"


async def test_the_input_closes_when_the_feed_returns(run: Run) -> None:
    assert (await run("cat", stdin=nothing, timeout_s=10)).exit_code == 0


async def test_a_failing_feed_ends_the_tree_and_is_raised(run: Run) -> None:
    async def feed(write: Write) -> None:
        await write(b"hello")
        raise ValueError("the other side talks nonsense")

    before, descriptors, started = children(), open_descriptors(), time.monotonic()
    with pytest.raises(ValueError, match="nonsense"):
        await run("sleep", "60", stdin=feed)
    assert time.monotonic() - started < 10
    assert (children(), open_descriptors()) == (before, descriptors)


async def test_a_command_that_closes_its_input_ends_only_the_feed(run: Run) -> None:
    async def feed(write: Write) -> None:
        while True:
            await write(b"x" * 65536)

    assert (await run("sh", "-c", "exec <&-; sleep 0.2; exit 4", stdin=feed)).exit_code == 4


async def test_a_feed_that_waits_is_cancelled_when_the_command_ends(run: Run) -> None:
    cancelled = asyncio.Event()

    async def feed(write: Write) -> None:
        await write(b"x")
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    descriptors = open_descriptors()
    assert (await run("true", stdin=feed)).exit_code == 0
    assert cancelled.is_set()
    assert open_descriptors() == descriptors


async def test_a_feed_that_writes_on_after_the_end_learns_it(run: Run) -> None:
    kept: list[Write] = []

    async def feed(write: Write) -> None:
        kept.append(write)

    await run("true", stdin=feed)
    with pytest.raises(BrokenPipeError):
        await kept[0](b"too late")


@pytest.mark.parametrize("end", ["timeout", "cancel"])
async def test_a_tree_with_a_feed_ends_in_time(run: Run, end: str) -> None:
    async def stubborn(write: Write) -> None:
        try:
            await write(b"x" * 10_000_000)
        except asyncio.CancelledError:
            await write(b"y" * 10_000_000)  # does not want to end

    feed: Feed = stubborn
    before, started = children(), time.monotonic()
    if end == "timeout":
        assert (await run("sleep", "60", stdin=feed, timeout_s=0.3, grace_s=0.2)).stopped == "timeout"
    else:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run("sleep", "60", stdin=feed), 0.3)
    assert time.monotonic() - started < 8
    assert children() == before


async def test_a_command_that_is_not_there_is_named_with_a_feed_too(run: Run) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-command"):
        await run("no-such-command", stdin=nothing)
