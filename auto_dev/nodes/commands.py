"""Configured commands, run in a clean checkout of a commit, as facts for the gates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from auto_dev.config import CommandGate
from auto_dev.gates.base import CommandOutcome
from auto_dev.gates.excerpts import excerpts
from auto_dev.gates.failures import parse_failures
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.workplace import checkout_rooms, workplace
from auto_dev.text import clean

TAIL = 6_000  # characters of output kept as evidence
_PARSED = 2_000_000  # bytes of output looked at for names of failed tests


async def run_command(
    context: RunContext, gate: CommandGate, bench: Prepared, label: str, env: Mapping[str, str] | None = None
) -> CommandOutcome:
    """Run one command as a shell line, in the sandbox; its output goes to the run's folder, capped."""
    output = context.path(f"{label}-{gate.name}.log")
    recorder = ProcessRecorder(context)
    began = time.monotonic()
    async with workplace(context, checkout_rooms(context, bench.folder, bench.room)) as place:
        finished = await place.run_tree(
            ["/bin/sh", "-c", gate.run],
            cwd=bench.folder,
            env={**place.env, **bench.env, "CI": "1", **(env or {})},
            output=output,
            timeout_s=gate.timeout_minutes * 60,
            on_start=recorder.started,
        )
    await recorder.done()
    text = await asyncio.to_thread(_read_end, output)
    failures = await asyncio.to_thread(lambda: parse_failures(clean(text), root=str(bench.folder)))
    return CommandOutcome(
        name=gate.name,
        exit_code=finished.exit_code if finished.signal is None else None,
        timed_out=finished.stopped == "timeout",
        tail=clean(text[-TAIL:]),
        failures=failures,
        duration_s=round(time.monotonic() - began, 3),
        output_path=output,
        excerpts=await asyncio.to_thread(lambda: excerpts(text, failures, root=str(bench.folder))),
    )


def _read_end(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _PARSED, 0))
        return file.read().decode("utf-8", "replace")


class ProcessRecorder:
    """Writes a started tree down, so that a later daemon can sweep it should this one die."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._trees: list[tuple[int, int]] = []

    async def started(self, pid: int, started: int) -> None:
        self._trees.append((pid, started))
        await self._context.services.record_process(self._context.run_id, pid, started)

    async def ended(self, pid: int, started: int) -> None:
        if (pid, started) in self._trees:
            self._trees.remove((pid, started))
        await self._context.services.forget_process(pid, started)

    async def done(self) -> None:
        """Forget every tree of this recorder: all have ended."""
        for pid, started in list(self._trees):
            await self.ended(pid, started)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A clean checkout that is ready for commands. ``room`` holds their home, temp and cache."""

    folder: Path
    room: Path
    env: Mapping[str, str]


def outcome_row(outcome: CommandOutcome) -> dict[str, object]:
    """An outcome as JSON, without what its failures said."""
    row = asdict(outcome)
    del row["excerpts"]
    row["output_path"] = str(outcome.output_path) if outcome.output_path else None
    return row


def outcome_from(row: dict[str, object]) -> CommandOutcome:
    """An outcome back from its JSON."""
    values = dict(row)
    path = values.pop("output_path")
    failures, flaky = values.pop("failures"), values.pop("flaky", [])  # kept by an earlier version: without flaky
    assert isinstance(failures, list)
    assert isinstance(flaky, list)
    return CommandOutcome(
        **values,  # type: ignore[arg-type]
        failures=tuple(str(name) for name in failures),
        output_path=Path(str(path)) if path else None,
        flaky=tuple(str(name) for name in flaky),
    )
