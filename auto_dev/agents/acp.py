"""kind = "acp": any agent that speaks the Agent Client Protocol (version 1) over its standard input and output.

We are its client, with neither a file system nor terminals to offer: it works by itself, in the sandbox. What it asks
to be allowed is answered here (``permissions.py``); what needs a person becomes a decision, and is refused until then.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import datetime
from typing import Any, Final

from auto_dev import __version__
from auto_dev.agents.base import AgentResult, AgentTask, Event, Outcome, Progress
from auto_dev.agents.cli import Seen
from auto_dev.agents.command import resolve_command
from auto_dev.agents.complaints import explain
from auto_dev.agents.jsonrpc import NO_SUCH_METHOD, Peer, RpcError
from auto_dev.agents.loop import Shown, child_env, errors_path
from auto_dev.agents.permissions import allowed, asked_of
from auto_dev.agents.sessions import Session, SessionFile, usable
from auto_dev.agents.stream import Emit, stream
from auto_dev.agents.watching import Program, end_of, how_it_ended, run_watched
from auto_dev.errors import AgentError
from auto_dev.model import Phase
from auto_dev.processes import Finished, Write
from auto_dev.text import line

VERSION: Final = 1
_AUTH_REQUIRED: Final = -32000
_BY_KEY: Final = re.compile(r"api[-_ ]?key", re.IGNORECASE)
_READ_ONLY_MODES: Final = ("plan", "read-only", "readonly", "ask", "architect")
_MOST_DECISIONS: Final = 20
_SAID: Final = {
    "max_tokens": "its answer became too long",
    "max_turn_requests": "it asked its model as often as it may in one turn",
    "refusal": "the model refused to go on",
    "cancelled": "it says that the turn was cancelled",
}


class AcpAgent:
    """Runs ``[agent] command`` and talks to it. Its end is the answer to our prompt, not its exit."""

    name = "acp"

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    def run(self, task: AgentTask) -> AsyncGenerator[Event | AgentResult, None]:
        async def work(emit: Emit) -> AgentResult:
            try:
                check_acp(task.config.command, task.config.mode)
                argv = resolve_command(task.config.command, task.project_root, task.env)
            except AgentError as error:
                return AgentResult(Outcome.UNAVAILABLE, str(error))
            return await self._turn(argv, task, emit)

        return stream(work)

    async def _turn(self, argv: list[str], task: AgentTask, emit: Emit) -> AgentResult:
        talk = _Conversation(task, emit)
        task.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        errors = errors_path(task.log_path)
        program = Program(
            argv,
            env=child_env(task, gateway_env(task)),
            last_turn=task.last_turn,
            stdin=talk.feed,
            errors=errors,
            on_output=talk.peer.lines.take,
            over=talk.over,
        )
        done = await run_watched(program, task, emit)
        if isinstance(done, AgentResult):
            return done
        result = _judge(talk.seen, done, await asyncio.to_thread(end_of, errors))
        result = explain(result, talk.seen, self._clock())
        if not talk.decisions:
            return result
        data = {"decisions": list(talk.decisions.values())}
        return AgentResult(result.outcome, result.detail, result.exit_code, result.resets_at, data)


def check_acp(command: list[str], mode: str) -> None:
    """Raises AgentError when the configuration does not say what to run, or how it cannot be run."""
    if not command:
        raise AgentError(
            'kind = "acp" needs a program that speaks the Agent Client Protocol',
            where="agent.command",
            mend='Set command = ["opencode", "acp"] or the like.',
        )
    if mode == "subscription":
        raise AgentError('kind = "acp" works with the gateway only', where="agent.mode", mend='Use mode = "api".')


def gateway_env(task: AgentTask) -> dict[str, str]:
    """What points an agent of any vendor's at the gateway."""
    endpoint = task.endpoint
    if not endpoint.url:
        return {}
    keys = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY")
    urls = {
        "ANTHROPIC_BASE_URL": endpoint.url,
        "OPENAI_BASE_URL": f"{endpoint.url}/v1",
        "GOOGLE_GEMINI_BASE_URL": endpoint.url,
    }
    model = {"ANTHROPIC_MODEL": task.config.model} if task.config.model else {}
    return {**urls, **dict.fromkeys(keys, endpoint.token), **model, "IS_SANDBOX": "1"}


def _judge(seen: Seen, done: Finished, errors: str) -> AgentResult:
    if seen.error:
        return AgentResult(Outcome.FAILED, line(seen.error), done.exit_code)
    if seen.ended:
        return AgentResult(Outcome.FINISHED, exit_code=done.exit_code)
    said = line(errors.strip().rsplit("\n", 1)[-1])
    detail = f"it ended before its turn was over ({how_it_ended(done) or 'exit code 0'})"
    return AgentResult(Outcome.FAILED, line(f"{detail}: {said}" if said else detail), done.exit_code)


class _Conversation:
    """One turn with an agent: hello, session, prompt. ``decisions``: question → what a person is to be asked."""

    def __init__(self, task: AgentTask, emit: Emit) -> None:
        self.seen = Seen()
        self.over = asyncio.Event()
        self.peer = Peer(self._request, self._note)
        self.decisions: dict[str, dict[str, object]] = {}
        self._task = task
        self._file = SessionFile(task, "acp")
        self._show = Shown(emit)
        self._methods: list[dict[str, Any]] = []
        self._replaying = True
        self._text = ""

    async def feed(self, write: Write) -> None:
        """The whole conversation; the agent's standard input closes when it is over."""
        await self.peer.drained(write, self._talk)

    async def _talk(self) -> None:
        try:
            prompt = await self._begin()
            answer = await self.peer.request("session/prompt", {
                "sessionId": self.seen.session, "prompt": [{"type": "text", "text": prompt}],
            })  # fmt: skip
            reason = str(answer.get("stopReason"))
            if reason != "end_turn":
                self.seen.error = _SAID.get(reason, f"it stopped for {line(reason, 60)!r}")
        except RpcError as error:
            self.seen.error = error.message
            self.seen.login = error.code == _AUTH_REQUIRED
        self._say()
        self.seen.ended = True
        self.over.set()

    async def _begin(self) -> str:
        """Everything up to the prompt, which is returned."""
        hello = await self.peer.request("initialize", {
            "protocolVersion": VERSION,
            "clientCapabilities": {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False},
            "clientInfo": {"name": "auto-dev", "version": __version__},
        })  # fmt: skip
        if hello.get("protocolVersion") != VERSION:
            raise RpcError(
                0, f"it speaks version {hello.get('protocolVersion')!r} of the Agent Client Protocol; 1 is needed"
            )
        self._methods = [method for method in _list(hello.get("authMethods")) if isinstance(method, dict)]
        session = self._file.load()
        opened = await self._again(session, _object(hello.get("agentCapabilities"))) if session else None
        if opened is None:
            session, opened = None, await self._authenticated("session/new", {})
            self.seen.session = str(opened.get("sessionId") or "")
        if not usable(self.seen.session):
            raise RpcError(0, "it began a conversation without a usable id")
        self._file.save(self.seen.session)
        await self._choose(opened)
        self._replaying = False
        return self._file.prompt(session)

    async def _again(self, session: Session, can: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take an earlier conversation up; None when it is not there any more, or the agent cannot."""
        method = "session/load" if can.get("loadSession") else ""
        if isinstance(_object(can.get("sessionCapabilities")).get("resume"), dict):
            method = "session/resume"
        if not method:
            return None
        try:
            opened = await self._authenticated(method, {"sessionId": session.id})
        except RpcError as error:
            if error.code in (0, _AUTH_REQUIRED):
                raise
            self._show(Progress("note", "its earlier conversation cannot be taken up again: it begins anew"))
            return None
        self.seen.session = session.id
        return opened

    async def _authenticated(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for a session; if it wants to be told so, say that the key in the environment is to be used."""
        given = {"cwd": str(self._task.workdir), "mcpServers": [], **params}
        try:
            return await self.peer.request(method, given)
        except RpcError as error:
            by_key = next((m for m in self._methods if _BY_KEY.search(f"{m.get('id')} {m.get('type')}")), None)
            if error.code != _AUTH_REQUIRED or by_key is None:
                raise
        await self.peer.request("authenticate", {"methodId": by_key.get("id")})
        return await self.peer.request(method, given)

    async def _choose(self, opened: Mapping[str, Any]) -> None:
        """The configured model, and a mode that only reads where nothing is to be changed."""
        session, model = self.seen.session, self._task.config.model
        if model:
            await self._choose_model(opened, model)
        if self._task.phase is not Phase.IMPLEMENT:
            known = [str(mode.get("id")) for mode in _dicts(_object(opened.get("modes")).get("availableModes"))]
            if mode := next((wanted for wanted in _READ_ONLY_MODES if wanted in known), None):
                await self.peer.request("session/set_mode", {"sessionId": session, "modeId": mode})

    async def _choose_model(self, opened: Mapping[str, Any], model: str) -> None:
        session = self.seen.session
        option = next((o for o in _dicts(opened.get("configOptions")) if o.get("category") == "model"), None)
        if option is not None:
            offered = [str(value.get("value")) for value in _values(option)]
            if option.get("currentValue") == model:
                return
            if model in offered:
                chosen = {"sessionId": session, "configId": option.get("id"), "value": model}
                await self.peer.request("session/set_config_option", chosen)
                return
        else:
            models = _object(opened.get("models"))
            offered = [str(known.get("modelId")) for known in _dicts(models.get("availableModels"))]
            if models.get("currentModelId") == model:
                return
            if model in offered:
                await self.peer.request("session/set_model", {"sessionId": session, "modelId": model})
                return
        if offered:
            names = ", ".join(offered[:10])
            raise RpcError(0, f"[agent] model = {model!r} is not offered by this agent; it offers {names}")
        self._show(Progress("note", f"it does not let its model be chosen; {model} was passed in its environment"))

    def _request(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        if method != "session/request_permission":
            raise RpcError(NO_SUCH_METHOD, f"this client has no {line(method, 60)}")
        asked = asked_of(_object(params.get("toolCall")))
        may = allowed(asked, self._task)
        if may is None and len(self.decisions) < _MOST_DECISIONS:
            self.decisions[asked.question] = asked.decision()
        self._show(Progress("note", f"{'allowed' if may else 'refused'}: {asked.what}"))
        wanted = ("allow_once", "allow_always") if may else ("reject_once", "reject_always")
        options = _dicts(params.get("options"))
        for kind in wanted:
            for option in options:
                if option.get("kind") == kind and isinstance(option.get("optionId"), str):
                    return {"outcome": {"outcome": "selected", "optionId": option["optionId"]}}
        return {"outcome": {"outcome": "cancelled"}}

    def _note(self, method: str, params: Mapping[str, Any]) -> None:
        if method != "session/update" or self._replaying:
            return
        update = _object(params.get("update"))
        kind = update.get("sessionUpdate")
        if kind == "agent_message_chunk":
            self._text = (self._text + str(_object(update.get("content")).get("text") or ""))[-4000:]
            return
        if kind == "tool_call":
            self._say()
            self.seen.turns += 1
            self._show(Progress("tool", str(update.get("title") or update.get("kind") or "a tool")))

    def _say(self) -> None:
        if self._text.strip():
            self._show(Progress("text", self._text))
            self.seen.text = self._text
        self._text = ""


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _values(option: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values of a choice, which may come in groups."""
    found = _dicts(option.get("options"))
    return [value for item in found for value in (_dicts(item.get("options")) or [item])]
