"""kind = "command": any program. The brief on stdin, the worktree as folder, the report where it is told."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Final

from auto_dev.agents.base import AgentResult, AgentTask, Event, Outcome, Progress
from auto_dev.agents.stream import Emit, stream
from auto_dev.agents.watching import Program, how_it_ended, last_lines, run_watched
from auto_dev.errors import AgentError
from auto_dev.text import line

_EVERY_S: Final = 0.25  # between two lines of output that are shown; the log has them all
_TAIL: Final = 4096


class CommandAgent:
    """Runs the configured argv once per call. Its exit status is reported and never taken for a verdict."""

    name = "command"

    def run(self, task: AgentTask) -> AsyncGenerator[Event | AgentResult, None]:
        async def work(emit: Emit) -> AgentResult:
            try:
                argv = resolve_command(task.config.command, task.project_root, task.env)
            except AgentError as error:
                return AgentResult(Outcome.UNAVAILABLE, str(error))
            return await _run(argv, task, emit)

        return stream(work)


def resolve_command(command: Sequence[str], root: Path, env: Mapping[str, str]) -> list[str]:
    """The argv to execute: a relative first word is a file of the user's checkout, a bare one is looked up on PATH.

    The checkout's file and not the worktree's copy: no agent may change what runs it. Raises AgentError with the mend.
    """
    name = command[0]
    if "/" not in name:
        found = shutil.which(name, path=env.get("PATH"))
        if found is None:
            here = (root / name).is_file()
            raise AgentError(
                f"the agent's command {name!r} is not on PATH",
                where="agent.command",
                mend=f'Write "./{name}" for the file in the repository.' if here else "Install it, or mend the name.",
            )
        return [found, *command[1:]]
    path = root / name
    if not path.is_file():
        raise AgentError(f"there is no file {path}", where="agent.command", mend="Create it, or mend the name.")
    if not os.access(path, os.X_OK):
        raise AgentError(f"{path} is not executable", where="agent.command", mend=f"Run `chmod +x {path}`.")
    _check_first_line(path)
    return [str(path), *command[1:]]


def _check_first_line(path: Path) -> None:
    """A text file without a ``#!`` line, or with one that names a missing interpreter, cannot be executed."""
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except OSError:
        return  # executable and not readable is fine for a binary
    first = start.split(b"\n", 1)[0]
    if first.startswith(b"#!"):
        interpreter = os.fsdecode(first[2:].strip().split(None, 1)[0]) if first[2:].strip() else ""
        if not Path(interpreter).is_file():
            raise AgentError(f"{path} names an interpreter that is missing: {interpreter!r}", where="agent.command")
    elif b"\0" not in start:
        raise AgentError(
            f"{path} is a script without a first line that names its interpreter",
            where="agent.command",
            mend='Begin it with "#!/bin/sh" or the like.',
        )


async def _run(argv: Sequence[str], task: AgentTask, emit: Emit) -> AgentResult:
    program = Program(
        argv,
        env=task.env,
        last_turn=task.last_turn,
        stdin=task.brief.encode("utf-8", "replace"),
        on_output=_Lines(emit).take,
    )
    done = await run_watched(program, task, emit)
    if isinstance(done, AgentResult):
        return done
    how = how_it_ended(done)
    if not how:
        return AgentResult(Outcome.FINISHED, exit_code=0)
    last = last_lines(task.log_path)
    return AgentResult(Outcome.FAILED, line(f"{how}: {last}" if last else how), exit_code=done.exit_code)


class _Lines:
    """Of the output, at most one line in a while: the last complete one of a chunk."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._next = 0.0

    def take(self, chunk: bytes) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        texts = chunk[-_TAIL:].decode("utf-8", "replace").splitlines()
        shown = next((text for part in reversed(texts) if (text := line(part))), "")
        if shown:
            self._next = now + _EVERY_S
            self._emit(Progress("text", shown))
