"""kind = "opencode": opencode without its terminal, ``opencode run --format json``.

Facts (tried with 1.18.x): 400 to 404 end it after one request with status 1 and the answer's body in its error event; a
5xx is tried six times in 68 s, a 429 makes it sleep for as long as it is told, both without a word; a cut stream is
asked again at once; it knows the models of its own list only; it fetches a package from npm at every start unless it
finds it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from auto_dev.agents.base import AgentResult, AgentTask, Event, Outcome, Progress
from auto_dev.agents.cli import Invocation, Seen, parse_object
from auto_dev.agents.models import resets_at
from auto_dev.agents.watching import how_it_ended
from auto_dev.model import Phase
from auto_dev.processes import Finished
from auto_dev.text import line

DEFAULT_MODEL: Final = "claude-sonnet-4-6"
_TOKEN: Final = "AUTO_DEV_GATEWAY_TOKEN"  # noqa: S105 (a variable's name)
_OWN: Final = "auto-dev"  # what opencode calls the provider of a model that none of the three is known for
_PATHS: Final = {"anthropic": "/v1", "openai": "/v1", "google": "/v1beta", _OWN: "/v1"}
_VENDORS: Final = (("anthropic", "claude-"), ("openai", "gpt-"), ("openai", "codex-"), ("google", "gemini-"))
_O_SERIES: Final = re.compile(r"o\d")
_QUIET: Final = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_CLAUDE_CODE": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_EMBEDDED_WEB_UI": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_PROJECT_CONFIG": "1",  # the worktree's own would win over ours: another endpoint, a plugin
    "OPENCODE_DISABLE_SHARE": "1",
    "OPENCODE_DISABLE_TERMINAL_TITLE": "1",
}
_BUN: Final = ".cache/bun"
_FILES: Final = {
    # It believes that its package is there, and fetches nothing.
    ".config/opencode/package-lock.json": '{"packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}\n',
    ".config/opencode/node_modules/.keep": "",
    # Each start leaves a library of 5.6 MB in its temporary folder: that is made anew every time.
    _BUN: "",
    f"{_BUN}/.keep": "",
}
_SETTINGS: Final[dict[str, Any]] = {
    "$schema": "https://opencode.ai/config.json",
    "autoupdate": False,
    "share": "disabled",
    "snapshot": False,  # of the worktree, at every step, into a git repository of its own: the host has git
    "lsp": False,
    "formatter": False,
}
_LOST: Final = re.compile(r"session not found", re.IGNORECASE)
_GOES_ON: Final = frozenset({"tool-calls", "unknown"})  # "unknown": the stream was cut


class OpenCodeCli:
    """``opencode run``: prompt on stdin, events as JSON lines, all settings in one variable."""

    name = "opencode"
    programs: tuple[str, ...] = ("opencode",)
    install = "Install it with `npm install -g opencode-ai`."

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock

    def invoke(self, task: AgentTask, program: str, prompt: str, session: str) -> Invocation:
        provider, model = provider_of(task.config.model or DEFAULT_MODEL)
        chosen = f"{provider}/{model}"
        argv = (
            *(program, "run", "--pure", "--format", "json", "--dir", str(task.workdir), "-m", chosen),
            # A title is given, else a request is spent on one.
            *(("-s", session) if session else ("--title", line(f"{task.story_id} {task.phase}", 80))),
        )
        settings = {
            **_SETTINGS,
            "model": chosen,
            "small_model": chosen,  # its price is known, another one's may not be
            "enabled_providers": [provider],
            "provider": {provider: _provider(provider, model, task.endpoint.url)},
            "permission": _permissions(task),
        }
        env = {
            **_QUIET,
            "BUN_TMPDIR": str(task.home / _BUN),
            "OPENCODE_CONFIG_CONTENT": json.dumps(settings),
            _TOKEN: task.endpoint.token,
        }
        return Invocation(argv, env, stdin=prompt.encode("utf-8", "replace"), files=_FILES)

    def read(self, text: str, seen: Seen) -> Iterable[Event]:
        event = parse_object(text)
        seen.session = str(event.get("sessionID") or seen.session)
        part = _object(event.get("part"))
        match event.get("type"):
            case "step_start":
                seen.ended, seen.error = False, ""
            case "text":
                seen.text = str(part.get("text") or "")
                return [Progress("text", line(seen.text))] if seen.text else []
            case "tool_use":
                return [Progress("tool", _tool(part))]
            case "step_finish":
                seen.turns += 1
                seen.ended = part.get("reason") not in _GOES_ON
            case "error":
                return self._error(_object(event.get("error")), seen)
        return []

    def judge(self, task: AgentTask, seen: Seen, finished: Finished, errors: str) -> AgentResult:  # noqa: ARG002
        said = _last(errors)
        if not seen.turns and _LOST.search(f"{said}\n{seen.error}"):
            seen.lost = True
        if seen.error:
            return AgentResult(Outcome.FAILED, seen.error, finished.exit_code)
        how = "" if finished.stopped == "stopped" else how_it_ended(finished)
        if seen.ended and not how:
            return AgentResult(Outcome.FINISHED, exit_code=finished.exit_code)
        detail = f"it ended before its turn was over ({how or 'exit code 0'})" + (f": {said}" if said else "")
        return AgentResult(Outcome.FAILED, line(detail), finished.exit_code)

    def _error(self, error: Mapping[str, Any], seen: Seen) -> list[Event]:
        """What an error event says: the message of the answer's body and its status, or the error's own words."""
        data = _object(error.get("data"))
        status = data.get("statusCode")
        told = _message(parse_object(str(data.get("responseBody") or "")))
        words = told or str(data.get("message") or error.get("message") or error.get("name") or "an unknown error")
        seen.error = line(f"status {status}: {words}" if isinstance(status, int) else words)
        seen.ended = False
        if status == 429:
            headers = {str(k).lower(): str(v) for k, v in _object(data.get("responseHeaders")).items()}
            seen.resets_at = resets_at(headers, self._clock())
        return [Progress("note", seen.error)]


def provider_of(model: str) -> tuple[str, str]:
    """Which of opencode's providers speaks for a model, and the model's name there.

    ``anthropic:NAME`` and ``anthropic/NAME`` say it; a bare name may tell. Any other one is asked for as it is at the
    gateway's OpenAI side by Chat Completions, which most other services and local servers speak.
    """
    match = re.match(r"(anthropic|openai|google|gemini)[:/](.+)", model)
    if match:
        return ("google" if match[1] == "gemini" else match[1]), match[2]
    for vendor, start in _VENDORS:
        if model.startswith(start):
            return vendor, model
    return ("openai" if _O_SERIES.match(model) else _OWN), model


def _provider(provider: str, model: str, url: str) -> dict[str, Any]:
    """Its settings. The model is named, for opencode knows only those that were there when it was built."""
    settings: dict[str, Any] = {
        "options": {"baseURL": url + _PATHS[provider], "apiKey": f"{{env:{_TOKEN}}}"},
        "models": {model: {}},
    }
    if provider == _OWN:
        settings["npm"] = "@ai-sdk/openai-compatible"  # in the binary, like those of the three vendors
    return settings


def _permissions(task: AgentTask) -> dict[str, Any]:
    """No question to anybody; no web past the box's rules. When it is only to look, no edit but that of its report."""
    rules: dict[str, Any] = {"*": "allow", "question": "deny", "webfetch": "deny", "websearch": "deny"}
    if task.phase is not Phase.IMPLEMENT:
        report = str(task.report_path)
        rules["edit"] = {"*": "deny", report: "allow", os.path.relpath(report, task.workdir): "allow"}
    return rules


def _tool(part: Mapping[str, Any]) -> str:
    state = _object(part.get("state"))
    given = _object(state.get("input"))
    what = given.get("command") or given.get("filePath") or given.get("pattern") or state.get("title") or ""
    failed = " (failed)" if state.get("status") == "error" else ""
    return line(f"{part.get('tool')} {what}{failed}")


def _message(body: Mapping[str, Any]) -> str:
    error = body.get("error")
    return str(_object(error).get("message") or (error if isinstance(error, str) else body.get("message")) or "")


def _last(errors: str) -> str:
    lines: Iterator[str] = (text for part in reversed(errors.splitlines()) if (text := line(part)))
    return next(lines, "").removeprefix("Error: ")


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
