"""kind = "claude-code": Claude Code without its terminal, driven by its stream of JSON events.

Facts (tried with 2.1.x): a result can be ``subtype: success`` with ``is_error: true``; an answer of the model comes as
several events with one message id, whose ``output_tokens`` are those of the stream's beginning; ``modelUsage`` adds up
over resumed processes, ``model_usage_since_last_result`` does not; a refused request stops it at once with status 402
and after six tries with 400.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from auto_dev.agents.base import AgentResult, AgentTask, Event, Outcome, Progress, Reported, Usage
from auto_dev.agents.cli import Invocation, Login, Secrets, Seen, parse_object
from auto_dev.agents.watching import how_it_ended
from auto_dev.model import Phase
from auto_dev.processes import Finished
from auto_dev.text import line

TOKEN: Final = "CLAUDE_CODE_OAUTH_TOKEN"  # noqa: S105 (a name)

# Not for an agent that nobody watches: they ask, wait, leave the worktree, or reach the net past the box's rules.
_NOT_WANTED: Final = (
    "AskUserQuestion", "CronCreate", "EnterPlanMode", "EnterWorktree", "ExitWorktree", "Monitor", "PushNotification",
    "RemoteTrigger", "ScheduleWakeup", "SendMessage", "WebFetch", "WebSearch", "Workflow",
)  # fmt: skip
_QUIET: Final = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_CRON": "1",
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
    "CLAUDE_CODE_IDE_SKIP_AUTO_INSTALL": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
    "IS_SANDBOX": "1",  # as root it refuses bypassPermissions otherwise
}
_ALIAS: Final = re.compile(r"[a-z]+(?:\[1m\])?\Z")  # "sonnet", "opus[1m]", "default"
_CHARACTERS_PER_TOKEN: Final = 4


class ClaudeCodeCli:
    """Claude Code, from its native installer, npm, or the wheel ``claude-agent-sdk``."""

    name = "claude-code"
    programs = ("claude",)
    install = "Install it with `npm install -g @anthropic-ai/claude-code` or as https://claude.com/claude-code says."
    hosts = ("api.anthropic.com",)
    login_mend = f"Run `claude setup-token` and put the token into the environment or keyring as {TOKEN}."

    def invoke(self, task: AgentTask, program: str, prompt: str, session: str) -> Invocation:
        new = "" if session else str(uuid.uuid4())
        model = task.config.model
        argv = (
            *(program, "-p", "--output-format", "stream-json", "--verbose"),
            *("--setting-sources", "", "--strict-mcp-config"),
            *(("--model", model) if model else ()),
            *_permissions(task),
            *(("--resume", session) if session else ("--session-id", new)),
        )
        env = {
            **_QUIET,
            **_models(model),
            "CLAUDE_CONFIG_DIR": str(task.home / ".claude"),
            "ANTHROPIC_BASE_URL": task.endpoint.url,
            "ANTHROPIC_API_KEY": task.endpoint.token,
        }
        return Invocation(argv, env, stdin=prompt.encode("utf-8", "replace"), session=new)

    def read(self, text: str, seen: Seen) -> Iterable[Event]:
        event = parse_object(text)
        seen.session = str(event.get("session_id") or seen.session)
        match event.get("type"):
            case "assistant":
                return _answer(event, seen)
            case "result":
                return _result(event, seen)
            case "rate_limit_event":
                _limit(event.get("rate_limit_info"), seen)
            case "system" if event.get("subtype") == "api_retry":
                status = event.get("error_status") or event.get("error")
                return [Progress("note", f"request failed ({status}), try {event.get('attempt')} follows")]
        return []

    def judge(self, task: AgentTask, seen: Seen, finished: Finished, errors: str) -> AgentResult:  # noqa: ARG002
        if "No conversation found with session ID" in errors:
            seen.lost = True
        if seen.error:
            return AgentResult(Outcome.FAILED, line(seen.error), finished.exit_code)
        if seen.ended:
            return AgentResult(Outcome.FINISHED, exit_code=finished.exit_code)
        said = line(errors.strip().rsplit("\n", 1)[-1])
        how = how_it_ended(finished) or "exit code 0"
        detail = f"it ended before its turn was over ({how})" + (f": {said}" if said else "")
        return AgentResult(Outcome.FAILED, line(detail), finished.exit_code)

    def login(self, secrets: Secrets) -> Login | None:
        """A long-lived token that the user made for this, else the present access token of their own login.

        Never the refresh token: whoever uses it makes the user's own copy worthless.
        """
        token = secrets(TOKEN) or _access_token()
        return Login(env={TOKEN: token}) if token else None


def _permissions(task: AgentTask) -> tuple[str, ...]:
    """Everything in an agent's own worktree; when it is only to look, nothing but reading and writing its report.

    What a read-only turn may run besides are commands that Claude Code itself knows to change nothing.
    """
    refused = ("--disallowedTools", ",".join(_NOT_WANTED))
    if task.phase is Phase.IMPLEMENT:
        return ("--permission-mode", "bypassPermissions", *refused)
    allowed = ["Read", "Glob", "Grep", f"Edit(/{task.report_path})"]  # a rule for editing also lets create
    settings = json.dumps({"permissions": {"allow": allowed}})
    return ("--permission-mode", "dontAsk", "--settings", settings, *refused)


def _models(model: str | None) -> dict[str, str]:
    """Subagents and background requests take the configured model, too: its price is known, others' may not be."""
    if not model:
        return {}
    chosen = {"CLAUDE_CODE_SUBAGENT_MODEL": model}
    if not _ALIAS.match(model):
        chosen |= {f"ANTHROPIC_DEFAULT_{size}_MODEL": model for size in ("HAIKU", "SONNET", "OPUS", "FABLE")}
        chosen["ANTHROPIC_SMALL_FAST_MODEL"] = model
    return chosen


def _answer(event: Mapping[str, Any], seen: Seen) -> list[Event]:
    message = _object(event.get("message"))
    blocks = [block for block in _list(message.get("content")) if isinstance(block, dict)]
    if event.get("is_api_error_message") or message.get("model") == "<synthetic>":
        seen.error = " ".join(str(block.get("text", "")) for block in blocks).strip() or str(event.get("error"))
        seen.login = event.get("error") == "authentication_failed"
        _limit(_object(event.get("api_error_params")).get("rate_limit_info"), seen)
        return []
    seen.ended, seen.error, seen.resets_at = False, "", None
    name = str(message.get("id"))
    first = name not in seen.known
    seen.known.add(name)
    seen.turns += first
    return [*_shown(blocks), _reported(message, blocks, seen, first=first)]


def _shown(blocks: list[dict[str, Any]]) -> list[Event]:
    shown: list[Event] = []
    for block in blocks:
        if block.get("type") == "text":
            shown.append(Progress("text", str(block.get("text", ""))))
        elif block.get("type") == "tool_use":
            given = _object(block.get("input"))
            what = given.get("command") or given.get("file_path") or given.get("description") or ""
            shown.append(Progress("tool", f"{block.get('name')} {what}"))
    return shown


def _reported(message: Mapping[str, Any], blocks: list[dict[str, Any]], seen: Seen, *, first: bool) -> Reported:
    """What one event of an answer took: the input once, the output by its length until the result says it exactly."""
    usage = _object(message.get("usage"))
    output = sum(len(json.dumps(block, ensure_ascii=False)) for block in blocks) // _CHARACTERS_PER_TOKEN
    read, write = _number(usage.get("cache_read_input_tokens")), _number(usage.get("cache_creation_input_tokens"))
    total = _number(usage.get("input_tokens")) + read + write
    used = Usage(total, output, read, write) if first else Usage(output=output)
    model = str(message.get("model") or "")
    _count(seen, model, used)
    return Reported(model, used)


def _result(event: Mapping[str, Any], seen: Seen) -> list[Event]:
    seen.ended = True
    seen.text = str(event.get("result") or "")
    problems = [str(problem) for problem in _list(event.get("errors"))]
    if any("No conversation found with session ID" in problem for problem in problems):
        seen.lost = True
    if event.get("is_error") or event.get("subtype") != "success":
        seen.error = seen.text or "; ".join(problems) or seen.error or f"it ended with {event.get('subtype')}"
    else:
        seen.error = ""
    return _missing(_object(event.get("model_usage_since_last_result")), seen)


def _missing(usage: Mapping[str, Any], seen: Seen) -> list[Event]:
    """What a result counts beyond that which the answers have told: output, subagents, background requests."""
    found: list[Event] = []
    for model, told in usage.items():
        numbers = _object(told)
        read, write = _number(numbers.get("cacheReadInputTokens")), _number(numbers.get("cacheCreationInputTokens"))
        total = _number(numbers.get("inputTokens")) + read + write
        full = (total, _number(numbers.get("outputTokens")), read, write)
        before = seen.counted.pop(model, (0, 0, 0, 0))
        rest = [max(now - then, 0) for now, then in zip(full, before, strict=True)]
        if any(rest):
            found.append(Reported(model, Usage(*rest)))
    return found


def _count(seen: Seen, model: str, used: Usage) -> None:
    before = seen.counted.get(model, (0, 0, 0, 0))
    now = (used.input, used.output, used.cache_read, used.cache_write)
    seen.counted[model] = (before[0] + now[0], before[1] + now[1], before[2] + now[2], before[3] + now[3])


def _limit(info: object, seen: Seen) -> None:
    told = _object(info)
    if told.get("status") == "rejected" and (moment := _number(told.get("resetsAt"))):
        seen.resets_at = datetime.fromtimestamp(min(moment, 2**35), UTC)


def _access_token() -> str:
    folder = os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude"
    try:
        stored = json.loads((Path(folder) / ".credentials.json").read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    return str(_object(_object(stored).get("claudeAiOauth")).get("accessToken") or "")


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) and 0 <= value < 2**53 else 0
