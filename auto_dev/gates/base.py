"""What a gate is: it takes what a run produced and returns a judgement from evidence that auto-dev itself observed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from auto_dev.config import CommandGate, Config
from auto_dev.errors import AutoDevError
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

    ``flaky``: of a command that was run again, what failed in one run and not in another. ``excerpts``: what the output
    says of some of the failures.
    """

    name: str
    exit_code: int | None
    timed_out: bool
    tail: str
    failures: tuple[str, ...] = ()
    duration_s: float = 0.0
    output_path: Path | None = None
    flaky: tuple[str, ...] = ()
    excerpts: Mapping[str, str] = field(default_factory=dict)

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
class Leak:
    """A credential that would leave. ``value`` is never shown: not in evidence, not in a log, not in a repr.

    ``file`` is "" for one in a commit's message. ``at_head``: the head's files hold it, not the history alone.
    ``fingerprint`` stays the same wherever the value stands.
    """

    kind: str
    value: str = field(repr=False)
    file: str
    line: int
    commit: str
    at_head: bool
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Hunk:
    """Both sides of one conflict in ``file``, with git's markers; ``line`` is where it begins in the merged file."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Clash:
    """A merge with another branch that conflicts in ``files``. ``story``: whose branch it is, "" for the run's base.

    The rest says how the two stories stand to each other: ``priority`` (1 first), ``created_at`` as its file states it,
    ``size`` in changed lines, ``pull``: the state of its pull request, "" while it is worked on, ``stuck``: whether it
    has none and waits for a person.
    """

    branch: str
    files: tuple[str, ...]
    hunks: tuple[Hunk, ...] = ()
    sha: str = ""
    story: str = ""
    title: str = ""
    priority: int = 3
    created_at: str = ""
    size: int = 0
    pull: str = ""
    stuck: bool = False


async def _no_leaks() -> Sequence[Leak]:
    raise AutoDevError("the run's commits were not handed in", where="GateContext.leaks")


async def _no_clashes() -> Sequence[Clash]:
    raise AutoDevError("the other branches were not handed in", where="GateContext.clashes")


async def _no_paths(rev: str) -> Sequence[str]:
    raise AutoDevError(f"the paths of {rev} were not handed in", where="GateContext.paths")


@dataclass(frozen=True, slots=True)
class GateContext:
    """All that a gate may look at. ``read(rev, path)`` gives a file's bytes at a commit, or None.

    ``run_command(gate, sha)`` runs a configured command in a clean checkout of ``sha``, once: asked again it gives the
    same outcome. Of the head it sees the owner's protected tests, not what the agent made of them. ``baseline`` holds
    the outcome of each configured command on the base commit, by name. ``earlier``: what gates said in former rounds;
    ``former``: what they said in the end of the published work that a follow-up goes on from; ``attempts_left``: how
    often the work may still be sent back; ``trials``: None where commands can run only once.
    ``paths(rev)`` lists the files of a commit; ``holds(word)`` tells whether a text file of the head has the word;
    ``leaks()`` are the credentials that the commits from base to head bring, ``clashes()`` the branches with which a
    merge of the head conflicts; ``accepted`` the fingerprints of findings that a person has accepted in this run (see
    ``engine.rule``).
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
    former: tuple[Earlier, ...] = ()
    attempts_left: int = 0
    trials: Trials | None = None
    paths: Callable[[str], Awaitable[Sequence[str]]] = _no_paths
    leaks: Callable[[], Awaitable[Sequence[Leak]]] = _no_leaks
    clashes: Callable[[], Awaitable[Sequence[Clash]]] = _no_clashes
    accepted: frozenset[str] = frozenset()
    holds: Callable[[str], Awaitable[bool]] | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, why in one line, the route, and evidence: {"title", "file"?, "line"?, "excerpt"?, "number"?}.

    ``failures``: how many separate faults a failure consists of, by which a repair's progress is seen; None: as many as
    there are pieces of evidence.
    """

    verdict: Verdict
    reason: str
    route: Route = Route.PROCEED
    evidence: tuple[Mapping[str, Any], ...] = field(default=())
    failures: int | None = None


class Gate(Protocol):
    """A check. Gates are pure but for what the context hands in; ``name`` is what users configure and waive."""

    name: str

    async def judge(self, context: GateContext) -> Judgement: ...
