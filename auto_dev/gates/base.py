"""What a gate is: it takes what a run produced and returns a judgement from evidence that auto-dev itself observed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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
    """One run of a configured command in a clean checkout. ``failures``: the failed tests, where they can be told."""

    name: str
    exit_code: int | None
    timed_out: bool
    tail: str
    failures: tuple[str, ...] = ()
    duration_s: float = 0.0
    output_path: Path | None = None

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.timed_out


@dataclass(frozen=True, slots=True)
class GateContext:
    """All that a gate may look at. ``read(rev, path)`` gives a file's bytes at a commit, or None.

    ``run_command(gate, sha)`` runs a configured command in a clean checkout of ``sha``. ``baseline`` holds the outcome
    of each configured command on the base commit, by name.
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
