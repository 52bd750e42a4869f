"""Configured commands, run in a clean checkout of a commit, as facts for the gates."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from auto_dev.config import CommandGate
from auto_dev.gates.base import CommandOutcome
from auto_dev.gates.failures import parse_failures
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.workplace import checkout_rooms, provision_checkout, workplace
from auto_dev.text import clean

TAIL = 6_000  # characters of output kept as evidence
_PARSED = 2_000_000  # bytes of output looked at for names of failed tests


async def run_command(context: RunContext, gate: CommandGate, bench: Prepared, label: str) -> CommandOutcome:
    """Run one command as a shell line, in the sandbox; its output goes to the run's folder, capped."""
    output = context.path(f"{label}-{gate.name}.log")
    recorder = ProcessRecorder(context)
    began = time.monotonic()
    async with workplace(context, checkout_rooms(context, bench.folder, bench.room)) as place:
        finished = await place.run_tree(
            ["/bin/sh", "-c", gate.run],
            cwd=bench.folder,
            env={**place.env, **bench.env, "CI": "1"},
            output=output,
            timeout_s=gate.timeout_minutes * 60,
            on_start=recorder.started,
        )
    await recorder.done()
    text = await asyncio.to_thread(_read_end, output)
    return CommandOutcome(
        name=gate.name,
        exit_code=finished.exit_code if finished.signal is None else None,
        timed_out=finished.stopped == "timeout",
        tail=clean(text[-TAIL:]),
        failures=await asyncio.to_thread(lambda: parse_failures(clean(text), root=str(bench.folder))),
        duration_s=round(time.monotonic() - began, 3),
        output_path=output,
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


class CommandBench:
    """Runs commands in clean checkouts: one per commit, made when first needed, prepared like the worktree."""

    def __init__(self, context: RunContext, label: str) -> None:
        self._context = context
        self._label = label
        self._stack = AsyncExitStack()
        self._prepared: dict[str, Prepared] = {}

    async def __aenter__(self) -> CommandBench:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def run(self, gate: CommandGate, sha: str) -> CommandOutcome:
        """The outcome of ``gate`` on the commit ``sha``."""
        if sha not in self._prepared:
            context = self._context
            folder = await self._stack.enter_async_context(context.services.worktrees.clean_checkout(sha))
            # Beside the checkout, new with it and deleted with it: what a former round cached cannot sway this one.
            room = folder.parent / ".room"
            env = await provision_checkout(context, folder, room, self._label)
            self._prepared[sha] = Prepared(folder, room, env)
        return await run_command(self._context, gate, self._prepared[sha], self._label)


async def baseline_outcomes(context: RunContext, sha: str) -> tuple[CommandOutcome, ...]:
    """The commands' outcomes on a base commit: the same for all stories that start there, so they are kept."""
    gates = tuple(context.policy.gates.command)
    if not gates:
        return ()
    kept = _baseline_file(context, sha)
    async with context.services.lock(f"baseline:{kept.name}"):
        if kept.exists():
            return tuple(outcome_from(row) for row in json.loads(kept.read_text("utf-8")))
        async with CommandBench(context, "baseline") as bench:
            outcomes = tuple([await bench.run(gate, sha) for gate in gates])
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary = kept.with_suffix(".tmp")
        temporary.write_text(json.dumps([outcome_row(outcome) for outcome in outcomes]), "utf-8")
        temporary.replace(kept)
        return outcomes


def forget_baseline(context: RunContext, sha: str) -> None:
    """Let the commands run again on this base commit."""
    _baseline_file(context, sha).unlink(missing_ok=True)


def _baseline_file(context: RunContext, sha: str) -> Path:
    plan = json.dumps([gate.model_dump(mode="json") for gate in context.policy.gates.command])
    setup = context.policy.setup.model_dump_json()
    digest = hashlib.sha256(f"{sha}\n{plan}\n{setup}".encode()).hexdigest()[:24]
    return context.services.place.state / "baselines" / f"{digest}.json"


def outcome_row(outcome: CommandOutcome) -> dict[str, object]:
    """An outcome as JSON."""
    row = asdict(outcome)
    row["output_path"] = str(outcome.output_path) if outcome.output_path else None
    return row


def outcome_from(row: dict[str, object]) -> CommandOutcome:
    """An outcome back from its JSON."""
    values = dict(row)
    path = values.pop("output_path")
    failures = values.pop("failures")
    assert isinstance(failures, list)
    return CommandOutcome(
        **values,  # type: ignore[arg-type]
        failures=tuple(str(name) for name in failures),
        output_path=Path(str(path)) if path else None,
    )
