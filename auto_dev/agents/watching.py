"""Running a program for an agent's turn, watched: where it may work, for how long, and whether it gets anywhere."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auto_dev.agents.base import AgentResult, AgentTask, Outcome, Progress
from auto_dev.agents.progress import fingerprint
from auto_dev.agents.stream import END_AGAIN_S, Emit
from auto_dev.processes import Feed, Finished, OnOutput
from auto_dev.tasks import end_tasks
from auto_dev.text import line

LINGER_S: Final = 5.0  # how long a program may stay after it said that its turn is over
_SCAN_S: Final = 15.0
_SCAN_SHARE: Final = 20  # a scan may use one twentieth of the time


@dataclass(slots=True)
class Program:
    """A command for ``run_watched``. ``over`` is set by whoever reads the output once its turn is over.

    ``last_turn`` is when (time.monotonic) a model last answered it.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    last_turn: Callable[[], float]
    stdin: bytes | Feed = b""
    errors: Path | None = None
    on_output: OnOutput | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


async def run_watched(program: Program, task: AgentTask, emit: Emit) -> Finished | AgentResult:
    """Run it in the task's folder to its end, and end it when it is stuck or lingers after its turn.

    Stuck means that for ``stuck_minutes`` neither the worktree changed nor a model answered; output is not progress.
    ``Finished.stopped`` is "stopped" when it was ended because it lingered. What is decided already (stuck, out of
    time, not executable) is an AgentResult. Leaving it in any way ends the whole tree.
    """
    started: list[tuple[int, int]] = []

    async def on_start(pid: int, ticks: int) -> None:
        started.append((pid, ticks))
        await task.processes.started(pid, ticks)

    emit(Progress("note", line(f"started {' '.join(program.argv)}")))
    begun = time.monotonic()
    running = asyncio.create_task(
        task.run_tree(
            program.argv,
            cwd=task.workdir,
            env=program.env,
            output=task.log_path,
            stdin=program.stdin,
            timeout_s=task.config.max_minutes * 60,
            errors=program.errors,
            on_start=on_start,
            on_output=program.on_output,
        )
    )
    try:
        if await _watch(running, program, task, emit):
            return AgentResult(Outcome.STUCK, _stuck(task))
        if not running.done():  # it lingers
            await end_tasks(running, again_s=END_AGAIN_S)
            if running.cancelled() or running.exception() is not None:
                return Finished(None, int(signal.SIGTERM), "stopped", 0, time.monotonic() - begun)
        done = running.result()
        if done.stopped == "timeout" and not program.over.is_set():
            return AgentResult(Outcome.TIMED_OUT, f"it was ended after {task.config.max_minutes:g} minutes")
        return done
    except OSError as error:
        if error.filename != program.argv[0]:
            raise
        return AgentResult(Outcome.UNAVAILABLE, line(f"{program.argv[0]} cannot be executed: {error.strerror}"))
    finally:
        await end_tasks(running, again_s=END_AGAIN_S)
        for pid, ticks in started:
            await task.processes.ended(pid, ticks)


def how_it_ended(done: Finished) -> str:
    """The exit of a program in words; "" for status 0."""
    if done.exit_code == 0:
        return ""
    if done.exit_code is not None:
        return f"exit code {done.exit_code}"
    known = done.signal in set(signal.Signals)
    return f"ended by {signal.Signals(done.signal).name}" if known and done.signal else "ended by a signal"


def last_lines(path: Path, count: int = 3) -> str:
    """The last lines of a file that hold anything, as one line."""
    texts = end_of(path).splitlines()
    return line(" / ".join([shown for part in texts if (shown := line(part, 200))][-count:]))


def end_of(path: Path, most: int = 4096) -> str:
    """The last ``most`` bytes of a file as text; "" when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, 2) - most, 0))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


async def _watch(running: asyncio.Task[Finished], program: Program, task: AgentTask, emit: Emit) -> bool:
    """Wait until it has ended or lingers (False), or is stuck (True)."""
    limit = task.config.stuck_minutes * 60
    before, complete = await asyncio.to_thread(fingerprint, task.workdir, (task.report_path,))
    if not complete:
        emit(Progress("note", "the worktree is too large to tell whether the agent is stuck"))
    since, took = time.monotonic(), 0.0
    while True:
        pause = max(min(_SCAN_S, limit / 4), took * _SCAN_SHARE)
        await _end_or_word(running, program.over, pause)
        if running.done() or (program.over.is_set() and await _lingers(running, program.over)):
            return False
        began = time.monotonic()
        now, complete = await asyncio.to_thread(fingerprint, task.workdir, (task.report_path,))
        took = time.monotonic() - began
        if now != before or not complete:
            before, since = now, began
        elif began - max(since, program.last_turn()) > limit:
            return True


async def _end_or_word(running: asyncio.Task[Finished], over: asyncio.Event, timeout_s: float) -> None:
    word = asyncio.create_task(over.wait())
    try:
        await asyncio.wait({running, word}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_tasks(word)


async def _lingers(running: asyncio.Task[Finished], over: asyncio.Event) -> bool:
    """Whether it neither ends nor goes on within ``LINGER_S`` of its word that it is done."""
    deadline = time.monotonic() + LINGER_S
    while over.is_set() and not running.done():
        left = deadline - time.monotonic()
        if left <= 0:
            return True
        await asyncio.wait({running}, timeout=min(left, 0.25))
    return False


def _stuck(task: AgentTask) -> str:
    return f"nothing changed in the worktree and no model answered for {task.config.stuck_minutes:g} minutes"
