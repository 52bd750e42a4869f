"""kind = "qwen": Qwen Code, headless, over the Chat Completions API.

Facts, tried with 0.15: it exits 0 on errors and says "success" with the error as the answer's text and no tokens; it
ignores NO_PROXY; left alone it asks a model for memories after each turn; it repeats what fails with 429 or 5xx seven
times in 80 s whatever ``retry-after`` says (four times as often unless ``maxRetries`` is 0).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from auto_dev.agents.base import AgentResult, AgentTask, Event, Outcome, Progress, Reported, Usage
from auto_dev.agents.cli import Invocation, Seen, beside, parse_object
from auto_dev.agents.watching import how_it_ended
from auto_dev.processes import Finished
from auto_dev.text import line

DEFAULT_MODEL: Final = "qwen3-coder-plus"

_SETTINGS: Final = {
    "general": {
        "enableAutoUpdate": False,
        "gitCoAuthor": {"commit": False, "pr": False},
        "checkpointing": {"enabled": False},
    },
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "ide": {"enabled": False},
    "ui": {"enableFollowupSuggestions": False},
    "memory": {"enableManagedAutoMemory": False, "enableManagedAutoDream": False, "enableAutoSkill": False},
    "security": {"auth": {"selectedType": "openai"}, "folderTrust": {"enabled": False}},
    "model": {"generationConfig": {"maxRetries": 0}},
    "disableAllHooks": True,
    "tools": {
        "sandbox": False,
        "shell": {"enableInteractiveShell": False},
        "exclude": ["web_fetch", "ask_user_question", "monitor"],
        "discoveryCommand": "",
    },
}
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_ERROR: Final = "[API Error:"
_UNKNOWN: Final = "No saved session found"


class QwenCli:
    """Qwen Code. Its approval mode is "yolo" in every phase.

    The read-only "plan" mode would also keep it from writing the report; what a plan or a review changes is thrown
    away.
    """

    name = "qwen"
    programs = ("qwen",)
    install = "Run `npm install -g @qwen-code/qwen-code` (with Node 20: `@qwen-code/qwen-code@0.15.10`)."

    def invoke(self, task: AgentTask, program: str, prompt: str, session: str) -> Invocation:
        """New conversations get an id beforehand, so that one that is killed early can be taken up again."""
        chosen = session or str(uuid.uuid4())
        model = task.config.model or DEFAULT_MODEL
        return Invocation(
            (
                program,
                *("--output-format", "stream-json", "--approval-mode", "yolo", "--auth-type", "openai"),
                *("--model", model),
                *beside(task),
                *("--allowed-mcp-server-names", "none"),
                *("--resume" if session else "--session-id", chosen),
            ),
            env={
                "OPENAI_API_KEY": task.endpoint.token,
                "OPENAI_BASE_URL": f"{task.endpoint.url}/v1",
                "OPENAI_MODEL": model,
                "QWEN_HOME": str(task.home / ".qwen"),
                # Also as the system's settings: those the repository's own cannot override.
                "QWEN_CODE_SYSTEM_SETTINGS_PATH": str(task.home / ".qwen" / "settings.json"),
                "QWEN_CODE_NO_RELAUNCH": "true",
                "QWEN_SANDBOX": "false",
                # It would send what is meant for the gateway to the proxy.
                **{name: "" for proxy in _PROXIES for name in (proxy, proxy.lower()) if name in task.env},
            },
            stdin=prompt.encode("utf-8", "replace"),
            files={".qwen/settings.json": json.dumps(_SETTINGS)},
            session=chosen,
        )

    def read(self, text: str, seen: Seen) -> Iterable[Event]:
        """One event of ``--output-format stream-json``."""
        event = parse_object(text)
        kind = event.get("type")
        if kind == "system" and event.get("subtype") == "init":
            seen.session = _string(event.get("session_id"))
        elif kind == "assistant":
            seen.ended = False
            yield from _answer(event.get("message"), seen)
        elif kind == "result":
            seen.ended = True
            said = _string(event.get("result"))
            if event.get("is_error"):
                seen.error = line(_told(event.get("error")) or said or "it names no reason")
            elif event.get("subtype") != "success":
                seen.error = line(f"it ended with {event.get('subtype')!r}")

    def judge(self, task: AgentTask, seen: Seen, finished: Finished, errors: str) -> AgentResult:  # noqa: ARG002
        """By its own events: its exit code is 0 on errors."""
        if seen.ended and not seen.error:
            return AgentResult(Outcome.FINISHED, exit_code=finished.exit_code)
        seen.lost = _UNKNOWN in errors
        last = next((part for part in reversed(errors.splitlines()) if part.strip()), "")
        why = seen.error or last or how_it_ended(finished) or "it ended in the middle of its turn"
        return AgentResult(Outcome.FAILED, line(why), exit_code=finished.exit_code)


def _answer(message: Any, seen: Seen) -> Iterator[Event]:
    """A message of the model's; or an error of the service's, which looks like one that took nothing."""
    if not isinstance(message, Mapping):
        return
    content = message.get("content")
    parts = [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []
    usage = _usage(message.get("usage"))
    first = _string(parts[0].get("text")) if parts else ""
    if first.startswith(_ERROR) and not usage.output:
        seen.error = line(first)
        yield Progress("note", seen.error)
        return
    seen.error = ""  # it went on
    if usage.input or usage.output:  # an answer may come as several messages, of which the last one counts
        seen.turns += 1
        yield Reported(_string(message.get("model")), usage)
    for part in parts:
        if part.get("type") == "text":
            seen.text = _string(part.get("text"))
            yield Progress("text", seen.text)
        elif part.get("type") == "tool_use":
            given = part.get("input")
            shown = json.dumps(given, ensure_ascii=False) if given else ""
            yield Progress("tool", line(f"{_string(part.get('name'))} {shown}"))


def _usage(told: Any) -> Usage:
    if not isinstance(told, Mapping):
        return Usage()
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens")
    return Usage(*(_count(told.get(name)) for name in names))


def _told(error: Any) -> str:
    return _string(error.get("message")) if isinstance(error, Mapping) else _string(error)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0
