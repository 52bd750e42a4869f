"""What an agent is to auto-dev: something that is given a task and works in a folder.

Its word is a claim. The result says how its process ended; what it did is read from git, what it cost from the ledger.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from auto_dev.config import AgentConfig
from auto_dev.model import Phase
from auto_dev.processes import RunTree


class Outcome(StrEnum):
    """How an agent's turn ended."""

    FINISHED = "finished"  # by itself; whether the work is good is for the gates
    FAILED = "failed"  # non-zero exit, crash, error of its own
    TIMED_OUT = "timed_out"  # max_minutes
    STUCK = "stuck"  # no change of the worktree and no new model turn for stuck_minutes
    OVER_BUDGET = "over_budget"  # a request was refused by the ledger
    RATE_LIMITED = "rate_limited"  # until ``resets_at``
    UNAVAILABLE = "unavailable"  # cannot be started, not logged in


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model request. ``input`` is the total, cache reads and writes included."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where model requests of this turn go: the gateway, with the turn's own token. No path, no slash at the end.

    ``url`` is as the agent's processes see it (inside a sandbox a relay listens there), ``host_url`` as the daemon.
    """

    url: str
    host_url: str
    token: str


class ProcessLedger(Protocol):
    """Remembers process trees, so that a later daemon can sweep what survived this one."""

    async def started(self, pid: int, started: int) -> None: ...
    async def ended(self, pid: int, started: int) -> None: ...


@dataclass(frozen=True, slots=True)
class AgentTask:
    """One call of an agent.

    ``workdir`` is the worktree; ``run_dir`` the run's folder on the host (transcripts, logs; an agent never writes
    there); ``report_path`` is where the agent must leave its report; ``log_path`` takes its output, capped.
    ``round`` is 0 for the first try and rises with every repair. ``env`` is the complete environment for children.
    """

    run_id: str
    story_id: str
    phase: Phase
    round: int
    workdir: Path
    run_dir: Path
    brief: str
    brief_path: Path
    report_path: Path
    log_path: Path
    env: Mapping[str, str]
    config: AgentConfig
    processes: ProcessLedger
    project_root: Path
    endpoint: Endpoint
    run_tree: RunTree  # starts processes where this agent may work: in its sandbox, if there is one
    home: Path  # a private home folder, kept from turn to turn of the run; an agent may write there
    last_turn: Callable[[], float]  # time.monotonic() of the last model answer, or of the beginning
    confined: bool = False  # whether ``run_tree`` starts processes in a box
    answers: Mapping[str, str] = field(default_factory=dict)  # what a person said to this run's questions: → the option
    shown: tuple[Path, ...] = ()  # files outside of ``workdir`` that it is to read besides


@dataclass(frozen=True, slots=True)
class Turn:
    """Which turn an agent will be called for, known before there is a task. ``round`` as in AgentTask."""

    story_id: str
    phase: Phase
    round: int
    config: AgentConfig
    project_root: Path


@dataclass(frozen=True, slots=True)
class Progress:
    """Something a person may want to see while an agent works. ``kind``: turn | tool | text | note."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Reported:
    """What the agent says that one model request of its own took: booked only where nothing was metered
    (``mode = "subscription"``)."""

    model: str
    usage: Usage


Event = Progress | Reported


@dataclass(frozen=True, slots=True)
class AgentResult:
    """How a call ended. ``detail`` is one line; ``exit_code`` is None when no process ran or a signal ended it."""

    outcome: Outcome
    detail: str = ""
    exit_code: int | None = None
    resets_at: datetime | None = None
    data: Mapping[str, object] = field(default_factory=dict)


class AgentRunner(Protocol):
    """An agent. ``run`` yields events and, last, exactly one AgentResult; cancelling it ends its tree."""

    name: str

    def run(self, task: AgentTask) -> AsyncGenerator[Event | AgentResult, None]: ...


@runtime_checkable
class HasUpstream(Protocol):
    """An agent whose model requests the gateway sends elsewhere than ``[gateway]`` says: a server of one's own, or one
    that the agent brings along.

    ``upstream`` is entered before the turn's grant and left after it: provider ("anthropic" | "openai" | "gemini") to
    URL, without a slash or a version at the end. Raises AgentError when there is none.
    """

    def upstream(self, turn: Turn) -> AbstractAsyncContextManager[Mapping[str, str]]: ...


@asynccontextmanager
async def upstream_of(runner: AgentRunner, turn: Turn) -> AsyncIterator[Mapping[str, str]]:
    """Where this turn's requests go instead of to the configured services; {} for nowhere else."""
    if not isinstance(runner, HasUpstream):
        yield {}
        return
    async with runner.upstream(turn) as urls:
        yield urls
