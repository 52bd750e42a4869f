"""kind = "gemini": Google's Gemini CLI, headless.

Facts, tried with 0.61: it takes the prompt on stdin and a new conversation's id beforehand; its exit code is the
error's status mod 256 (400 → 144), 0 after SIGTERM, and after SIGTERM or SIGKILL the commands it started live on. It
reads its settings from the home folder; without an authentication type in them it asks, even headless.
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

DEFAULT_MODEL: Final = "gemini-2.5-pro"

_SETTINGS: Final = {
    "general": {
        "enableAutoUpdate": False,
        "enableAutoUpdateNotification": False,
        "maxAttempts": 3,  # of 10: a service that is down is for the run to wait for, not for a process
        "sessionRetention": {"enabled": False},
        "checkpointing": {"enabled": False},
        "plan": {"modelRouting": False},
    },
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "ide": {"enabled": False},
    "billing": {"overageStrategy": "never"},
    "experimental": {"extensionManagement": False},
    # Folders are not trusted, but for ``--skip-trust``, which comes after the settings are read: so it works in a
    # repository without the servers, hooks and settings that the repository brings.
    "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": True}},
    "advanced": {"ignoreLocalEnv": True, "autoConfigureMemory": False},  # a .env must not point it elsewhere
    # Without ripgrep: where there is none it would load one from the network.
    "tools": {
        "sandbox": False,
        "useRipgrep": False,
        "shell": {"enableInteractiveShell": False},
        "exclude": ["google_web_search", "web_fetch"],  # they let the service reach the net past the box's rules
    },
}
_UNKNOWN: Final = "Error resuming session"
_ANSWERING: Final = "answering"


class GeminiCli:
    """Gemini CLI. Its approval mode is "yolo" in every phase.

    The read-only "plan" mode would also keep it from writing the report; what a plan or a review changes is thrown
    away.
    """

    name = "gemini"
    programs = ("gemini",)
    install = "Run `npm install -g @google/gemini-cli`."

    def invoke(self, task: AgentTask, program: str, prompt: str, session: str) -> Invocation:
        """New conversations get an id beforehand, so that one that is killed early can be taken up again."""
        chosen = session or str(uuid.uuid4())
        return Invocation(
            (
                program,
                *("--output-format", "stream-json", "--approval-mode", "yolo", "--skip-trust"),
                *("--model", task.config.model or DEFAULT_MODEL),
                *beside(task),
                *("--resume" if session else "--session-id", chosen),
            ),
            env={
                "GEMINI_API_KEY": task.endpoint.token,
                "GOOGLE_GEMINI_BASE_URL": task.endpoint.url,
                "GEMINI_CLI_NO_RELAUNCH": "true",
                "GEMINI_SANDBOX": "false",
                "GEMINI_TELEMETRY_ENABLED": "false",
                **loopback_direct(task.env),
            },
            stdin=prompt.encode("utf-8", "replace"),
            files={".gemini/settings.json": json.dumps(_SETTINGS)},
            session=chosen,
        )

    def read(self, text: str, seen: Seen) -> Iterable[Event]:
        """One event of ``--output-format stream-json``."""
        event = parse_object(text)
        kind = event.get("type")
        if kind == "message" and event.get("role") == "assistant":
            _answers(seen)
            seen.text += _string(event.get("content"))  # in pieces
            return
        if seen.text:
            yield Progress("text", seen.text)
            seen.text = ""
        if kind == "init":
            seen.session = _string(event.get("session_id"))
        elif kind == "tool_use":
            _answers(seen)
            yield Progress("tool", line(f"{_string(event.get('tool_name'))} {_shown(event.get('parameters'))}"))
        elif kind == "error":
            yield Progress("note", line(_string(event.get("message"))))
        elif kind == "result":
            yield from _over(event, seen)
        seen.known.discard(_ANSWERING)

    def judge(self, task: AgentTask, seen: Seen, finished: Finished, errors: str) -> AgentResult:  # noqa: ARG002
        """By its last event alone: its exit code is 0 after SIGTERM, too."""
        if seen.ended and not seen.error:
            return AgentResult(Outcome.FINISHED, exit_code=finished.exit_code)
        seen.lost = _UNKNOWN in errors
        seen.login = seen.login or "Invalid auth method selected" in errors
        why = seen.error or _last(errors) or how_it_ended(finished) or "it ended in the middle of its turn"
        return AgentResult(Outcome.FAILED, line(why), exit_code=finished.exit_code)


def loopback_direct(env: Mapping[str, str]) -> dict[str, str]:
    """Variables that keep requests to the gateway away from a proxy of the user's."""
    have = env.get("NO_PROXY") or env.get("no_proxy") or ""
    hosts = ",".join(part for part in (have, "127.0.0.1", "localhost") if part)
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def _answers(seen: Seen) -> None:
    """Count an answer of the model once, whatever it is made of."""
    seen.ended = False
    if _ANSWERING not in seen.known:
        seen.known.add(_ANSWERING)
        seen.turns += 1


def _over(event: Mapping[str, Any], seen: Seen) -> Iterator[Event]:
    """The last event: how it ended, and what each model took."""
    seen.ended = True
    error = event.get("error")
    if isinstance(error, Mapping):
        seen.error = line(_string(error.get("message")) or "it names no reason")
    elif event.get("status") != "success":
        seen.error = line(f"it ended with the status {event.get('status')!r}")
    stats = event.get("stats")
    models = stats.get("models") if isinstance(stats, Mapping) else None
    for model, told in models.items() if isinstance(models, Mapping) else ():
        if isinstance(told, Mapping):
            given = (_count(told.get(name)) for name in ("input_tokens", "output_tokens", "cached"))
            usage = Usage(*given)
            if usage.input or usage.output:
                yield Reported(str(model), usage)


def _last(errors: str) -> str:
    """What its stderr says went wrong; its warnings and stack traces are left out."""
    shown = [part.strip() for part in errors.splitlines() if part.strip()]
    left_out = ("at ", "Warning:", "YOLO mode", "}", "status:")
    return next((part for part in shown if not part.startswith(left_out)), "")


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0
