"""kind = "codex": OpenAI's Codex CLI, ``codex exec --json``."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from auto_dev.agents.base import AgentResult, AgentTask, Event, Outcome, Progress, Reported, Usage
from auto_dev.agents.cli import Invocation, Login, Secrets, Seen, parse_object
from auto_dev.agents.watching import how_it_ended
from auto_dev.processes import Finished
from auto_dev.text import line

DEFAULT_MODEL: Final = "gpt-6.1-sol"
_FOLDER: Final = "codex"  # CODEX_HOME, below the private home
_TOKEN: Final = "AUTO_DEV_GATEWAY_TOKEN"  # noqa: S105 (a variable's name)
_MOST_ROLLOUT: Final = 512 * 1024 * 1024
_SOON: Final = timedelta(minutes=5)

# The box is the sandbox: codex's own one, inside of it, fails without a word and with status 0; and in every phase the
# report must be written. What is off calls hosts of its own, waits for a person, or spends without being asked.
_SETTINGS: Final = """\
approval_policy = "never"
sandbox_mode = "danger-full-access"
allow_login_shell = false
check_for_update_on_startup = false
web_search = "disabled"
cli_auth_credentials_store = "file"
[analytics]
enabled = false
[feedback]
enabled = false
[history]
persistence = "none"
[agents]
enabled = false
[shell_environment_policy]
inherit = "all"
ignore_default_excludes = true
[features]
api_key_model_discovery = false
apps = false
browser_use = false
computer_use = false
daemon_auto_start = false
enable_request_compression = false
goals = false
hooks = false
image_generation = false
in_app_browser = false
in_app_updates = false
plugins = false
plugin_sharing = false
remote_plugin = false
shell_snapshot = false
skill_mcp_dependency_install = false
system_proxy_fallback = false
tool_suggest = false
unbounded_connection_retries = false
"""
# Twice again after a 5xx or a cut stream, within 3 s; a refusal (400) is never tried again.
_GATEWAY: Final = """\
[model_providers.auto-dev]
name = "auto-dev"
base_url = {url}
env_key = {token}
wire_api = "responses"
request_max_retries = 2
stream_max_retries = 2
supports_websockets = false
"""
_TOOLS: Final[dict[str, Callable[[Mapping[str, Any]], object]]] = {
    "command_execution": lambda item: item.get("command"),
    "file_change": lambda item: "edit " + ", ".join(_paths(item)),
    "mcp_tool_call": lambda item: f"{item.get('server')}.{item.get('tool')}",
    "web_search": lambda item: f"search {item.get('query')}",
}
_RETRY: Final = re.compile(r"Reconnecting\.\.\.")
_AGAIN: Final = re.compile(r"try again at ((?:[A-Z][a-z]{2} \d{1,2}(?:st|nd|rd|th)?, \d{4} )?\d{1,2}:\d{2} [AP]M)")
_LOST: Final = re.compile(r"no rollout found|thread/resume failed|[Nn]o saved session")
_LOGIN: Final = re.compile(r"(?:log|sign) ?in again|refresh token", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Before:
    """Where the count of a resumed conversation stands, and what of it no turn has told yet."""

    total: Usage
    untold: Usage


class CodexCli:
    """``codex exec``: prompt on stdin, events as JSON lines, a private CODEX_HOME that holds config and sessions."""

    name = "codex"
    programs: tuple[str, ...] = ("codex",)
    install = "Install it with `npm install -g @openai/codex` or `pip install openai-codex`."
    hosts: tuple[str, ...] = ("chatgpt.com",)
    login_mend = "Run `codex login`; if you are logged in, start `codex` once to renew it. Or set CODEX_ACCESS_TOKEN."

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._model = DEFAULT_MODEL  # all calls of one agent are for the same model
        self._before: dict[str, _Before] = {}

    def invoke(self, task: AgentTask, program: str, prompt: str, session: str) -> Invocation:
        """How to call it. CODEX_HOME must not lie below TMPDIR, where codex refuses to make its helpers."""
        self._model = model_name(task.config.model)
        settings, env = _SETTINGS, {"CODEX_HOME": str(task.home / _FOLDER)}
        if task.config.mode == "subscription":
            if session:
                self._before[session] = _before(task.home / _FOLDER, session)
        else:
            url = json.dumps(f"{task.endpoint.url}/v1")
            settings = 'model_provider = "auto-dev"\n' + settings + _GATEWAY.format(url=url, token=json.dumps(_TOKEN))
            env[_TOKEN] = task.endpoint.token
        argv = [program, "exec", "--json", "--skip-git-repo-check", "-C", str(task.workdir), "-m", self._model]
        return Invocation(
            argv=(*argv, *(("resume", session) if session else ()), "-"),
            env=env,
            stdin=prompt.encode("utf-8", "replace"),
            files={f"{_FOLDER}/config.toml": settings},
        )

    def login(self, secrets: Secrets) -> Login | None:
        """CODEX_ACCESS_TOKEN, or the access token of the user's own ``codex login`` while it is valid."""
        if token := secrets("CODEX_ACCESS_TOKEN"):
            return Login(env={"CODEX_ACCESS_TOKEN": token})
        home = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
        try:
            told = parse_object((home / "auth.json").read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            return None
        tokens = told.get("tokens")
        if not isinstance(tokens, dict) or not self._valid(tokens.get("access_token")):
            return None
        # A second holder of the refresh token would log the user out: it is used once, and replaced.
        kept = {**told, "OPENAI_API_KEY": None, "tokens": {**tokens, "refresh_token": ""}}
        return Login(files={f"{_FOLDER}/auth.json": json.dumps(kept)})

    def _valid(self, token: object) -> bool:
        """Whether an access token can still be used. With one that ran out codex tries for minutes to renew it."""
        if not token:
            return False
        try:
            claims = parse_object(base64.urlsafe_b64decode(f"{str(token).split('.')[1]}==").decode())
        except (ValueError, IndexError):  # no JWT: it does not tell
            return True
        ends = claims.get("exp")
        return not isinstance(ends, int) or ends > (self._clock() + _SOON).timestamp()

    def read(self, text: str, seen: Seen) -> Iterable[Event]:
        """One event of ``codex exec --json``."""
        event = parse_object(text)
        kind = event.get("type")
        if kind == "thread.started":
            seen.session = str(event.get("thread_id") or seen.session)
        elif kind == "turn.started":
            seen.ended = False
        elif kind in ("item.started", "item.completed"):
            yield from _item(kind, event.get("item"), seen)
        elif kind in ("error", "turn.failed"):
            yield from self._error(event, seen)
        elif kind == "turn.completed":
            seen.ended, seen.error = True, ""
            yield from self._reported(event.get("usage"), seen.session)

    def judge(self, task: AgentTask, seen: Seen, finished: Finished, errors: str) -> AgentResult:  # noqa: ARG002
        """FINISHED after a completed turn and status 0; else its own words."""
        if seen.ended and (finished.exit_code == 0 or finished.stopped == "stopped"):
            return AgentResult(Outcome.FINISHED, exit_code=finished.exit_code)
        words = seen.error or _cut_short(finished, errors)
        seen.lost = seen.lost or _LOST.search(errors) is not None
        seen.login = seen.login or _LOGIN.search(words) is not None
        return AgentResult(Outcome.FAILED, words, exit_code=finished.exit_code)

    def _error(self, event: Mapping[str, Any], seen: Seen) -> Iterator[Event]:
        error = event.get("error")
        words = words_of(event.get("message") or (error.get("message") if isinstance(error, dict) else error))
        if _RETRY.match(words):
            yield Progress("note", words)
            return
        seen.ended, seen.error = False, words or "it failed without a word"
        seen.resets_at = _moment(words, self._clock()) or seen.resets_at
        if event.get("type") == "error":
            yield Progress("note", seen.error)

    def _reported(self, told: object, session: str) -> Iterator[Event]:
        """The turn's usage: codex counts from the beginning of the conversation, over all that resumed it."""
        if not isinstance(told, dict):
            return
        total = _usage(told)
        before = self._before.get(session, _Before(Usage(), Usage()))
        self._before[session] = _Before(total, Usage())
        base = before.total if total.input >= before.total.input and total.output >= before.total.output else Usage()
        yield Reported(self._model, _sum(total, before.untold, _negative(base)))


def model_name(model: str | None) -> str:
    """The model as codex calls it: without a provider."""
    return re.sub(r"\Aopenai[:/]", "", model) if model else DEFAULT_MODEL


def words_of(message: object) -> str:
    """A message in one line; of a JSON body (what a refused request got) the message within."""
    text = str(message or "")
    error = parse_object(text).get("error")
    if isinstance(error, dict) and error.get("message"):
        text = str(error["message"])
    return line(text)


def _item(kind: str, item: object, seen: Seen) -> Iterator[Event]:
    if not isinstance(item, dict):
        return
    what = str(item.get("type"))
    if what in _TOOLS:
        if (kind == "item.completed") is (what == "file_change"):  # a patch is known once it is done
            seen.turns += 1
            yield Progress("tool", line(str(_TOOLS[what](item))))
    elif kind == "item.completed" and what == "agent_message":
        seen.turns += 1
        seen.text = str(item.get("text") or "")
        yield Progress("text", line(seen.text))
    elif kind == "item.completed" and what == "error":  # a warning: the turn goes on
        yield Progress("note", line(str(item.get("message") or "")))


def _paths(item: Mapping[str, Any]) -> list[str]:
    changes = item.get("changes")
    return (
        [str(one["path"]) for one in changes if isinstance(one, dict) and "path" in one]
        if isinstance(changes, list)
        else []
    )


def _usage(told: Mapping[str, Any]) -> Usage:
    names = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_input_tokens")
    numbers = [value if isinstance(value := told.get(name), int) and value > 0 else 0 for name in names]
    return Usage(*numbers)


def _sum(*parts: Usage) -> Usage:
    return Usage(
        max(sum(part.input for part in parts), 0),
        max(sum(part.output for part in parts), 0),
        max(sum(part.cache_read for part in parts), 0),
        max(sum(part.cache_write for part in parts), 0),
    )


def _negative(usage: Usage) -> Usage:
    return Usage(-usage.input, -usage.output, -usage.cache_read, -usage.cache_write)


def _before(home: Path, session: str) -> _Before:
    """The count from which codex will go on, and what was spent since a turn last told its count (a killed one)."""
    before = _Before(Usage(), Usage())
    if not re.fullmatch(r"[0-9A-Za-z-]+", session):
        return before
    for path in sorted((home / "sessions").glob(f"*/*/*/rollout-*-{session}.jsonl")):
        if path.is_symlink() or path.stat().st_size > _MOST_ROLLOUT:
            continue
        with path.open("r", encoding="utf-8", errors="replace") as file:
            for text in file:
                if '"token_' in text or '"task_complete"' in text:
                    before = _count(before, parse_object(text))
    return before


def _count(before: _Before, entry: Mapping[str, Any]) -> _Before:
    payload = entry.get("payload")
    if not isinstance(payload, dict):
        return before
    if entry.get("type") == "token_usage_record" and isinstance(payload.get("usage"), dict):
        return replace(before, untold=_sum(before.untold, _usage(payload["usage"])))
    if payload.get("type") == "task_complete" and not payload.get("error"):
        return replace(before, untold=Usage())
    info = payload.get("info") if payload.get("type") == "token_count" else None
    if isinstance(info, dict) and isinstance(info.get("total_token_usage"), dict):
        return replace(before, total=_usage(info["total_token_usage"]))
    return before


def _moment(words: str, now: datetime) -> datetime | None:
    """When a usage limit is over: codex names a local time, with the date unless it is today."""
    match = _AGAIN.search(words)
    if match is None:
        return None
    text = re.sub(r"(\d)(st|nd|rd|th),", r"\1,", match[1])
    here = now.astimezone()
    try:
        if "," in text:
            return datetime.strptime(text, "%b %d, %Y %I:%M %p").astimezone(UTC)
        clock = datetime.strptime(text, "%I:%M %p").time()  # noqa: DTZ007
    except ValueError:
        return None
    moment = here.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
    return (moment if moment >= here else moment + timedelta(days=1)).astimezone(UTC)


def _cut_short(finished: Finished, errors: str) -> str:
    said = _last(errors)
    detail = f"it ended before its turn was over ({how_it_ended(finished) or 'exit code 0'})"
    return line(f"{detail}: {said}" if said else detail)


def _last(errors: str) -> str:
    """The last line of stderr that is neither empty nor a line of its log."""
    texts = [text for part in errors.splitlines() if (text := line(part)) and " ERROR codex_" not in text]
    return texts[-1].removeprefix("Error: ") if texts else ""
