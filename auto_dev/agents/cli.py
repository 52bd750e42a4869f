"""Coding agents that are command line programs: one loop for all of them, one small adapter each.

The adapter says how its program is called, what its output means, and how it ended. Everything else is the same: a
private home, the gateway as the only model service, a watch for standstill, sessions that are taken up again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from auto_dev.agents.base import AgentResult, AgentTask, Event
from auto_dev.processes import Finished


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of the program. ``files``: path below the private home → content, written before the start.

    ``env`` is added to the task's own environment.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Seen:
    """What the program's output has told so far; the adapter's ``read`` fills it in.

    ``session``: the id by which it can be resumed. ``ended``: it said by itself that its turn is over. ``error``: what
    it said went wrong, "" for nothing.
    """

    session: str = ""
    ended: bool = False
    turns: int = 0
    text: str = ""
    error: str = ""
    login: bool = False
    resets_at: datetime | None = None


class Cli(Protocol):
    """One program. ``programs`` are the names under which it is looked up on PATH, best first."""

    name: str
    programs: tuple[str, ...]
    install: str  # how a person installs it, in one line

    def invoke(self, task: AgentTask, program: str, prompt: str, session: str) -> Invocation:
        """How to call it; ``session`` is "" for a new conversation, else the one to resume."""
        ...

    def read(self, text: str, seen: Seen) -> Iterable[Event]:
        """What one line of its standard output means, for ``seen`` and for who watches. Must stand any line."""
        ...

    def judge(self, task: AgentTask, seen: Seen, finished: Finished, errors: str) -> AgentResult:
        """How it ended, from what was seen, its exit and the end of its stderr."""
        ...
