"""What a gate is: it takes what a run produced and returns a judgement from evidence that auto-dev itself observed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from auto_dev.config import CommandGate, Config
from auto_dev.model import Route, Verdict
from auto_dev.report import Report
from auto_dev.stories.model import Story


@dataclass(frozen=True, slots=True)
class Change:
    """One changed file between base and head, as git names it.

    ``status``: A added, M modified, D deleted, R renamed, T type changed. ``old_path`` only for renames.
    ``mode`` is the new mode ("100644", "120000" symlink, "160000" submodule; "000000" when deleted).
    """

    path: str
    status: str
    additions: int
    deletions: int
    binary: bool = False
    old_path: str | None = None
    mode: str = "100644"


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """One run of a configured command in a clean checkout. ``failures``: the failed tests, where they can be told.

    ``flaky``: of a command that was run again, what failed in one run and not in another.
    """

    name: str
    exit_code: int | None
    timed_out: bool
    tail: str
    failures: tuple[str, ...] = ()
    duration_s: float = 0.0
    output_path: Path | None = None
    flaky: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.timed_out


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a gate said in an earlier round of the same run."""

    gate: str
    round: int
    verdict: Verdict
    route: Route
    reason: str = ""
    evidence: tuple[Mapping[str, Any], ...] = ()


class Trials(Protocol):
    """More runs of a configured command than the one that judges, and what is remembered of those that disagreed."""

    async def again(self, gate: CommandGate, sha: str) -> CommandOutcome:
        """Run it anew, in another clean checkout: nothing that a former run left behind can sway it."""
        ...

    async def on_base(self, gate: CommandGate, paths: Collection[str]) -> CommandOutcome:
        """Run it on the base commit with the files ``paths`` as they are on the head. The outcome is kept."""
        ...

    def known_flaky(self, command: str) -> frozenset[str]:
        """What was seen in this project to fail now and then, of the command with this name."""
        ...

    def note_flaky(self, command: str, names: Collection[str]) -> None:
        """Remember for later runs that ``names`` failed in one run and not in another of the same commit."""
        ...


@dataclass(frozen=True, slots=True)
class GateContext:
    """All that a gate may look at. ``read(rev, path)`` gives a file's bytes at a commit, or None.

    ``run_command(gate, sha)`` runs a configured command in a clean checkout of ``sha``, once: asked again it gives the
    same outcome. Of the head it sees the owner's protected tests, not what the agent made of them. ``baseline`` holds
    the outcome of each configured command on the base commit, by name. ``earlier``: what gates said in former rounds;
    ``attempts_left``: how often the work may still be sent back; ``trials``: None where commands can run only once.
    """

    story: Story
    policy: Config
    base_sha: str
    head_sha: str
    round: int
    changes: tuple[Change, ...]
    report: Report | None
    report_problem: str
    baseline: Mapping[str, CommandOutcome]
    read: Callable[[str, str], Awaitable[bytes | None]]
    diff: Callable[[str], Awaitable[str]]
    run_command: Callable[[CommandGate, str], Awaitable[CommandOutcome]]
    earlier: tuple[Earlier, ...] = ()
    attempts_left: int = 0
    trials: Trials | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, why in one line, the route, and evidence: {"title", "file"?, "line"?, "excerpt"?, "number"?}."""

    verdict: Verdict
    reason: str
    route: Route = Route.PROCEED
    evidence: tuple[Mapping[str, Any], ...] = field(default=())


class Gate(Protocol):
    """A check. Gates are pure but for what the context hands in; ``name`` is what users configure and waive."""

    name: str

    async def judge(self, context: GateContext) -> Judgement: ...
