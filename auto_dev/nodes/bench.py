"""Clean checkouts in which configured commands run: of the head, of the head once more, of the base with new tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from auto_dev.config import CommandGate
from auto_dev.gates.base import CommandOutcome
from auto_dev.gates.flaky import settle_baseline, worth_another_run
from auto_dev.nodes.commands import Prepared, outcome_from, outcome_row, run_command
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.workplace import provision_checkout
from auto_dev.store import flaky
from auto_dev.store.events import emit

# A new test file that cannot be imported on the base must not keep pytest from running the other ones.
GO_ON: Final = {"PYTEST_ADDOPTS": "--continue-on-collection-errors"}


class CommandBench:
    """Runs commands in clean checkouts: one per commit, made when first needed, prepared like the worktree.

    ``protected``: changed files which on the head are as on the base, whatever the agent made of them. ``known``: by
    command, what fails now and then; ``noted``: what was found to.
    """

    def __init__(
        self,
        context: RunContext,
        label: str,
        *,
        base: str = "",
        head: str = "",
        protected: Collection[str] = (),
        known: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self._context = context
        self._label = label
        self._base, self._head = base, head
        self._protected = protected
        self._known = known or {}
        self._stack = AsyncExitStack()
        self._prepared: dict[str, Prepared] = {}
        self._outcomes: dict[tuple[str, str], CommandOutcome] = {}
        self._again = 0
        self.noted: dict[str, set[str]] = {}

    async def __aenter__(self) -> CommandBench:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def run(self, gate: CommandGate, sha: str) -> CommandOutcome:
        """The outcome of ``gate`` on the commit ``sha``; of the head with the owner's protected files put back."""
        known = self._outcomes.get((gate.name, sha))
        if known is None:
            judged = await self._judged(sha)
            if judged not in self._prepared:
                self._prepared[judged] = await self._prepare(judged, self._label, self._stack)
            known = await run_command(self._context, gate, self._prepared[judged], self._label)
            self._outcomes[(gate.name, sha)] = known
        return known

    async def again(self, gate: CommandGate, sha: str) -> CommandOutcome:
        """The same in a checkout of its own."""
        self._again += 1
        label = f"{self._label}-again-{self._again}"
        async with AsyncExitStack() as stack:
            prepared = await self._prepare(await self._judged(sha), label, stack)
            return await run_command(self._context, gate, prepared, label)

    async def on_base(self, gate: CommandGate, paths: Collection[str]) -> CommandOutcome:
        """The outcome of ``gate`` on the base with the head's ``paths``; kept for the rounds of this run.

        A run that ran out of time is not kept: the next one may have more.
        """
        sha = await self._context.services.worktrees.graft(self._base, self._head, paths)
        kept = f"proof-{_digest(sha, gate.name, gate.run, self._context.policy.setup.model_dump_json())}.json"
        if (row := self._context.load(kept)) is not None:
            return outcome_from(row)
        label = f"{self._label}-base"
        async with AsyncExitStack() as stack:
            prepared = await self._prepare(sha, label, stack)
            outcome = await run_command(self._context, gate, prepared, label, GO_ON)
        if not outcome.timed_out:
            self._context.save(kept, outcome_row(outcome))
        return outcome

    def known_flaky(self, command: str) -> frozenset[str]:
        """What is known to fail now and then."""
        return self._known.get(command, frozenset()) | frozenset(self.noted.get(command, ()))

    def note_flaky(self, command: str, names: Collection[str]) -> None:
        """Add to ``noted``, which the caller stores."""
        self.noted.setdefault(command, set()).update(names)

    def accept_protected(self) -> None:
        """A person let the agent's changes of protected files pass: from now on commands see them."""
        self._protected = ()

    async def _judged(self, sha: str) -> str:
        if sha != self._head or not self._protected:
            return sha
        return await self._context.services.worktrees.graft(sha, self._base, self._protected)

    async def _prepare(self, sha: str, label: str, stack: AsyncExitStack) -> Prepared:
        context = self._context
        folder = await stack.enter_async_context(context.services.worktrees.clean_checkout(sha))
        # Beside the checkout, new with it and deleted with it: what a former round cached cannot sway this one.
        room = folder.parent / ".room"
        return Prepared(folder, room, await provision_checkout(context, folder, room, label))


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
            outcomes = tuple([await _baseline(bench, gate, sha, context) for gate in gates])
        await note_flaky(context, {outcome.name: outcome.flaky for outcome in outcomes})
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary = kept.with_suffix(".tmp")
        temporary.write_text(json.dumps([outcome_row(outcome) for outcome in outcomes]), "utf-8")
        temporary.replace(kept)
        return outcomes


async def _baseline(bench: CommandBench, gate: CommandGate, sha: str, context: RunContext) -> CommandOutcome:
    """The outcome on the base; a failing command is run once more, to tell what is broken from what is flaky."""
    outcome = await bench.run(gate, sha)
    if not context.policy.gates.flaky.reruns or not worth_another_run(outcome):
        return outcome
    return settle_baseline(outcome, await bench.again(gate, sha))


async def known_flaky(context: RunContext) -> dict[str, frozenset[str]]:
    """By command, what was seen in this project to fail now and then."""
    async with context.services.db.pool.connection() as conn:
        return await flaky.known(conn, context.project)


async def note_flaky(context: RunContext, noted: Mapping[str, Collection[str]]) -> None:
    """Store what was found to fail now and then, for later runs and for people to read."""
    if not any(noted.values()):
        return
    async with context.write() as conn:
        for command, names in noted.items():
            await flaky.note(conn, context.project, command, names)
            await emit(
                conn, context.project, "TESTS_FLAKY", story=context.story.id, run=context.run_id,
                command=command, tests=sorted(names)[:20], count=len(names),
            )  # fmt: skip


def forget_baseline(context: RunContext, sha: str) -> None:
    """Let the commands run again on this base commit."""
    _baseline_file(context, sha).unlink(missing_ok=True)


def _baseline_file(context: RunContext, sha: str) -> Path:
    plan = json.dumps([gate.model_dump(mode="json") for gate in context.policy.gates.command])
    digest = _digest(sha, plan, context.policy.setup.model_dump_json())
    return context.services.place.state / "baselines" / f"{digest}.json"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
