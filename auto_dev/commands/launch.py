"""Being the daemon in this process, or starting it as one of its own; and waiting until it has gone."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from auto_dev.commands import output
from auto_dev.daemon import instance
from auto_dev.daemon.settings import Settings
from auto_dev.errors import AutoDevError, ExitCode

LOG = "daemon.log"
GONE_S = 10.0  # a daemon that has let go of its lock ends within this
POLL_S = 0.05


class _Terminal(logging.Handler):
    """What a person should know of the daemon's log: one line each, the details are in the file."""

    def emit(self, record: logging.LogRecord) -> None:
        why = getattr(record, "why", "")
        output.warn(f"{record.levelname.lower()}: {record.getMessage()}" + (f": {why}" if why else ""))


@contextmanager
def _logging(file: Path) -> Iterator[None]:
    """The daemon's log goes to its file, warnings also to this terminal."""
    from auto_dev.daemon.__main__ import JsonLines

    root, kept, terminal = logging.getLogger(), logging.FileHandler(file, encoding="utf-8"), _Terminal(logging.WARNING)
    kept.setFormatter(JsonLines())
    level = root.level
    root.setLevel(logging.INFO)
    for chatty in ("httpx", "procrastinate", "psycopg.pool"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for handler in (kept, terminal):
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in (kept, terminal):
            root.removeHandler(handler)
            handler.close()
        root.setLevel(level)


async def serve_here(settings: Settings) -> ExitCode:
    """Be the daemon in this process. Ctrl+C ends it gently, a second one at once; both count as interrupted."""
    from auto_dev.daemon.compose import daemon, new_daemon_id, with_signals  # LangGraph and all, only where it works

    daemon_id = new_daemon_id()
    interrupted = False
    with _logging(settings.place.state / LOG), instance.hold(settings.place.state, daemon_id):
        async with daemon(settings, daemon_id) as running:

            def interrupt() -> None:
                nonlocal interrupted
                interrupted = True
                running.stop()

            await with_signals(running)
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
            code = await running.serve()
    return ExitCode.INTERRUPTED if interrupted else code


@contextmanager
def cancellable() -> Iterator[asyncio.Event]:
    """Ctrl+C sets the event while the block runs, so that a daemon which was just started can be ended with it."""
    loop, cancelled = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, cancelled.set)
    try:
        yield cancelled
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def start_background(settings: Settings, cancelled: asyncio.Event) -> int:
    """Start the daemon as a process of its own and wait until it is up; its PID.

    Raises AutoDevError when it refuses, KeyboardInterrupt when it was cancelled; then it is gone.
    """
    state = settings.place.state
    file = state / "settings.json"
    file.touch(mode=0o600)
    file.write_text(settings.model_dump_json(), "utf-8")
    log = state / LOG
    reader, writer = os.pipe()
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: ASYNC220 (spawning takes a millisecond; the daemon outlives this loop)
            [sys.executable, "-m", "auto_dev.daemon", str(file), str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            start_new_session=True,
            pass_fds=(writer,),
        )
    os.close(writer)
    answer = asyncio.create_task(asyncio.to_thread(_first_line, reader))
    stop = asyncio.create_task(cancelled.wait())
    await asyncio.wait({answer, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not answer.done():
        process.terminate()
        await asyncio.to_thread(process.wait)
        await answer  # the pipe has no writer any more
        _cancel()
    message = answer.result()
    if message != "ready":
        process.wait()
        raise AutoDevError(message or "the daemon ended at once", mend=f"Its log is {log}.")
    return process.pid


def _first_line(descriptor: int) -> str:
    with os.fdopen(descriptor, "r", encoding="utf-8", errors="replace") as pipe:
        return pipe.readline().strip()


async def countdown(settings: Settings, pid: int, cancelled: asyncio.Event) -> None:
    """Wait beside the daemon while it waits. Raises KeyboardInterrupt when cancelled; then it is gone."""
    with suppress(TimeoutError):
        await asyncio.wait_for(cancelled.wait(), settings.delay_s)
    if cancelled.is_set():
        running = instance.running(settings.place.state)
        if running is not None and running.pid == pid:
            running.signal(signal.SIGTERM)
            await gone(settings.place.state, running, GONE_S)
        _cancel()


def _cancel() -> NoReturn:
    output.say("Cancelled; no story was started.")
    raise KeyboardInterrupt


async def gone(state: Path, running: instance.Instance, within_s: float) -> bool:
    """Wait until the daemon has let go of its lock and its process has ended; False when it still holds it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while True:
        other = instance.running(state)
        holds = other is not None and other.pid == running.pid
        if not holds and not running.alive():
            return True
        if loop.time() > deadline + (0 if holds else GONE_S):  # after the lock comes the interpreter's end
            return not holds
        await asyncio.sleep(POLL_S)
