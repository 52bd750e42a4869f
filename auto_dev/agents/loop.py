"""The turn of a coding agent that is a command line program, the same for all of them.

Private home, the gateway as the only model service, output read line by line, standstill watched, the conversation
remembered and taken up again. What the exit code says is never taken for the truth; the program's own word is a claim.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from auto_dev.agents.base import AgentResult, AgentTask, Event, Outcome, Progress
from auto_dev.agents.cli import Cli, HasLogin, Login, Secrets, Seen
from auto_dev.agents.complaints import explain
from auto_dev.agents.home import put_files
from auto_dev.agents.lines import Lines
from auto_dev.agents.programs import find_program
from auto_dev.agents.sessions import Session, SessionFile, usable
from auto_dev.agents.stream import Emit, stream
from auto_dev.agents.watching import Program, end_of, run_watched
from auto_dev.errors import AgentError
from auto_dev.text import line

log = logging.getLogger(__name__)

_SHOWN: Final = 200  # characters of a progress line
_BURST, _PER_SECOND = 40.0, 4.0  # how much progress is shown; the log has it all

# What points a child at the gateway; none of it where the agent uses its own login.
_GATEWAY_NAMES: Final = frozenset(
    f"{vendor}_{name}"
    for vendor in ("ANTHROPIC", "OPENAI", "GOOGLE", "GEMINI", "GOOGLE_GEMINI")
    for name in ("API_KEY", "BASE_URL", "AUTH_TOKEN")
)


class CliAgent:
    """Runs the program that ``cli`` describes. ``secrets`` gives the user's login by its name."""

    def __init__(self, cli: Cli, secrets: Secrets, clock: Callable[[], datetime]) -> None:
        self.name = cli.name
        self._cli = cli
        self._secrets = secrets
        self._clock = clock

    def run(self, task: AgentTask) -> AsyncGenerator[Event | AgentResult, None]:
        async def work(emit: Emit) -> AgentResult:
            try:
                words = find_program(self._cli, task.config.command, task.project_root, task.env)
                login = own_login(self._cli, self._secrets) if task.config.mode == "subscription" else None
            except AgentError as error:
                return AgentResult(Outcome.UNAVAILABLE, str(error))
            return await self._work(task, words, login, emit)

        return stream(work)

    async def _work(self, task: AgentTask, words: list[str], login: Login | None, emit: Emit) -> AgentResult:
        file = SessionFile(task, self.name)
        session = file.load()
        result, seen = await self._turn(task, words, login, emit, file, session)
        if session is not None and _was_lost(result, seen):
            emit(Progress("note", "its earlier conversation cannot be taken up again: it begins anew"))
            file.forget()
            result, _ = await self._turn(task, words, login, emit, file, None)
        return result

    async def _turn(
        self,
        task: AgentTask,
        words: list[str],
        login: Login | None,
        emit: Emit,
        file: SessionFile,
        session: Session | None,
    ) -> tuple[AgentResult, Seen]:
        """Call the program once and read it to its end."""
        call = self._cli.invoke(task, words[0], file.prompt(session), session.id if session else "")
        await asyncio.to_thread(put_files, task.home, {**call.files, **(login.files if login else {})})
        reader = _Reader(self._cli, emit, file, metered=login is None)
        if chosen := call.session or (session.id if session else ""):
            reader.remember(chosen)
        errors = errors_path(task.log_path)
        program = Program(
            [call.argv[0], *words[1:], *call.argv[1:]],
            env=child_env(task, call.env, login),
            last_turn=task.last_turn if login is None else reader.last_turn,
            stdin=call.stdin,
            errors=errors,
            on_output=reader.lines.take,
            over=reader.over,
        )
        done = await run_watched(program, task, emit)
        reader.lines.end()
        if isinstance(done, AgentResult):
            return done, reader.seen
        said = await asyncio.to_thread(end_of, errors)
        return explain(self._cli.judge(task, reader.seen, done, said), reader.seen, self._clock()), reader.seen


def own_login(cli: Cli, secrets: Secrets) -> Login:
    """What a program needs of the user's own login. Raises AgentError when it has none, or cannot use one."""
    if not isinstance(cli, HasLogin):
        raise AgentError(
            f'{cli.name} cannot work with mode = "subscription" here', where="agent.mode", mend='Use mode = "api".'
        )
    login = cli.login(secrets)
    if login is None:
        raise AgentError(f"{cli.name} has no login of yours", where="agent.mode", mend=cli.login_mend)
    return login


def errors_path(log_path: Path) -> Path:
    """Where a program's stderr goes, beside its output."""
    return log_path.with_name(f"{log_path.stem}.errors{log_path.suffix}")


def _was_lost(result: AgentResult, seen: Seen) -> bool:
    """Whether a conversation could not be taken up again: it failed for no other known reason, with no answer."""
    return result.outcome is Outcome.FAILED and (seen.lost or seen.turns == 0)


def child_env(task: AgentTask, more: Mapping[str, str], login: Login | None = None) -> dict[str, str]:
    """A program's whole environment: a home of its own, no colours, no questions, no calls home; then ``more``."""
    home = task.home
    own = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "CI": "1",
        "NO_COLOR": "1",
        "DO_NOT_TRACK": "1",
        **_past_the_proxy(task.env),
    }
    given = {**task.env, **own, **more}
    if login is None:
        return given
    return {name: value for name, value in given.items() if name not in _GATEWAY_NAMES} | dict(login.env)


def _past_the_proxy(env: Mapping[str, str]) -> dict[str, str]:
    """The gateway is reached directly, whatever proxy there is."""
    known = env.get("no_proxy") or env.get("NO_PROXY") or ""
    names = ",".join(dict.fromkeys([*(part for part in known.split(",") if part), "127.0.0.1", "localhost"]))
    return {"NO_PROXY": names, "no_proxy": names}


class _Reader:
    """Has the adapter say what each line of the output means, and keeps what came of it."""

    def __init__(self, cli: Cli, emit: Emit, file: SessionFile, *, metered: bool) -> None:
        self.seen = Seen()
        self.over = asyncio.Event()
        self.lines = Lines(self._line)
        self._cli = cli
        self._emit = emit
        self._show = Shown(emit)
        self._file = file
        self._metered = metered
        self._session = ""
        self._turned = time.monotonic()

    def last_turn(self) -> float:
        """When (time.monotonic) the program last told of an answer of its model."""
        return self._turned

    def remember(self, session: str) -> None:
        """Note the conversation's id, before anything is asked in it."""
        if session != self._session and usable(session):
            self._session = session
            self._file.save(session)

    def _line(self, text: str) -> None:
        """Must be quick, and must not raise for anything that a program writes."""
        seen, turns = self.seen, self.seen.turns
        try:
            for event in self._cli.read(text, seen):
                if isinstance(event, Progress):
                    self._show(event)
                elif not self._metered:
                    self._emit(event)
        except Exception:
            log.exception("an agent's output could not be read", extra={"action": "read", "agent": self._cli.name})
        if seen.turns != turns:
            self._turned = time.monotonic()
        self.remember(seen.session)
        if seen.ended:
            self.over.set()
        else:
            self.over.clear()


class Shown:
    """Progress for who watches: bounded in length and in number, since a program may tell without end."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._allowed, self._asked = _BURST, time.monotonic()

    def __call__(self, event: Progress) -> None:
        now = time.monotonic()
        self._allowed = min(self._allowed + (now - self._asked) * _PER_SECOND, _BURST)
        self._asked = now
        if self._allowed >= 1 and (text := line(event.text, _SHOWN)):
            self._allowed -= 1
            self._emit(Progress(event.kind, text))
