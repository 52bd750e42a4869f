"""Coding agents that are command line programs: what one small adapter says about its program.

The adapter says how its program is called, what its output means, and how it ended. Everything else is the same for
all of them (``agents/loop.py``): a private home, the gateway as the only model service, a watch for standstill,
sessions that are taken up again, refusals and rate limits recognised in what the program says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from auto_dev.agents.base import AgentResult, AgentTask, Event
from auto_dev.processes import Finished

Secrets = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of the program. ``files``: path below the private home → content, written before the start.

    ``env`` is added to the task's own environment (in which HOME and the XDG folders are the private home, and CI and
    NO_COLOR are set already). ``session`` is the id of the conversation that this call begins, if it is chosen before.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    files: Mapping[str, str] = field(default_factory=dict)
    session: str = ""


@dataclass(slots=True)
class Seen:
    """What the program's output has told so far; the adapter's ``read`` fills it in.

    ``session``: the id by which it can be resumed. ``ended``: it said by itself that its turn is over (False again when
    it goes on). ``turns``: answers of the model so far. ``error``: what it said went wrong, "" for nothing. ``lost``:
    it said that it does not know the session that it was to resume. ``resets_at``: when a limit that it named is over.
    ``known`` and ``counted`` (model → tokens of input, output, cache reads, cache writes) are for the adapter alone:
    ids of messages that it has met, and what it has told of.
    """

    session: str = ""
    ended: bool = False
    turns: int = 0
    text: str = ""
    error: str = ""
    login: bool = False
    resets_at: datetime | None = None
    lost: bool = False
    known: set[str] = field(default_factory=set)
    counted: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)


class Cli(Protocol):
    """One program. ``programs`` are the names under which it is looked up on PATH, best first; ``install`` says in one
    line how a person installs it."""

    @property
    def name(self) -> str: ...
    @property
    def programs(self) -> tuple[str, ...]: ...
    @property
    def install(self) -> str: ...

    def invoke(self, task: AgentTask, program: str, prompt: str, session: str) -> Invocation:
        """How to call it; ``session`` is "" for a new conversation, else the one to resume."""
        ...

    def read(self, text: str, seen: Seen) -> Iterable[Event]:
        """What one line of its standard output means, for ``seen`` and for who watches. Must stand any line."""
        ...

    def judge(self, task: AgentTask, seen: Seen, finished: Finished, errors: str) -> AgentResult:
        """How it ended, from what was seen, its exit and the end of its stderr.

        FINISHED only when it said so itself and named no error; else FAILED with its own words: what they mean (the
        budget's refusal, a rate limit, a missing login) is recognised afterwards, for all programs alike. Time-outs
        and standstill never come here. ``finished.stopped`` is "stopped" when it lingered after its turn was over.
        """
        ...


@dataclass(frozen=True, slots=True)
class Login:
    """What of the user's own login an agent is given: ``env`` and ``files`` as in Invocation. Never a refresh token."""

    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class HasLogin(Protocol):
    """A ``Cli`` that can also work with the user's own subscription (``mode = "subscription"``).

    ``hosts`` are what it must reach then; ``login_mend`` says in one line how a person logs in. ``read`` yields
    ``Reported`` for each answer of the model.
    """

    @property
    def hosts(self) -> tuple[str, ...]: ...
    @property
    def login_mend(self) -> str: ...

    def login(self, secrets: Secrets) -> Login | None:
        """The user's login, or None when there is none."""
        ...


def beside(task: AgentTask) -> tuple[str, ...]:
    """For programs that keep to their folder: what lets them use the report's and those of ``task.shown``."""
    folders = dict.fromkeys(str(path.parent) for path in (task.report_path, *task.shown))
    return tuple(word for folder in folders for word in ("--include-directories", folder))


def parse_object(text: str) -> dict[str, Any]:
    """A line as a JSON object; {} when it is anything else."""
    if not text.lstrip().startswith("{"):
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
