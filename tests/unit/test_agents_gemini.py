"""What Gemini CLI's output means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.agents.base import Outcome, Progress, Reported, Usage
from auto_dev.agents.cli import Seen
from auto_dev.agents.gemini import GeminiCli, loopback_direct
from auto_dev.processes import Finished
from tests.agents_support import Bench

CLI = GeminiCli()
WORDS = st.sampled_from(
    [
        *("type", "init", "message", "assistant", "role", "content", "tool_use", "result", "status", "success"),
        *("error", "stats", "models", "input_tokens", "parameters", "tool_name", "session_id"),
    ]
)

EVENTS = st.dictionaries(
    WORDS,
    st.recursive(
        WORDS | st.text(max_size=5) | st.none() | st.booleans() | st.integers() | st.floats(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
        max_leaves=8,
    ),
)


def read(seen: Seen, *events: dict[str, Any]) -> list[Any]:
    return [shown for event in events for shown in CLI.read(json.dumps(event), seen)]


def judge(seen: Seen, code: int | None = 0, errors: str = "") -> Any:
    return CLI.judge(None, seen, Finished(code, None if code is not None else 9, "", 0, 1.0), errors)  # type: ignore[arg-type]


def say(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": text, "delta": True}


SUCCESS = {"type": "result", "status": "success", "stats": {}}


def test_a_turn_is_told() -> None:
    seen = Seen()
    shown = read(
        seen,
        {"type": "init", "session_id": "id-1", "model": "m"},
        {"type": "message", "role": "user", "content": "Do it."},
        say("I will "),
        say("write."),
        {"type": "tool_use", "tool_name": "write_file", "parameters": {"file_path": "a.txt"}},
        {"type": "tool_result", "status": "success"},
        say("Done."),
        {
            "type": "result",
            "status": "success",
            "stats": {"models": {"gemini-2.5-pro": {"input_tokens": 30, "output_tokens": 5, "cached": 10}}},
        },
    )
    assert shown == [
        Progress("text", "I will write."),
        Progress("tool", 'write_file {"file_path": "a.txt"}'),
        Progress("text", "Done."),
        Reported("gemini-2.5-pro", Usage(30, 5, 10)),
    ]
    assert (seen.session, seen.turns, seen.ended, seen.error) == ("id-1", 2, True, "")
    assert judge(seen).outcome is Outcome.FINISHED


def test_an_exit_code_of_0_without_its_word_is_no_success() -> None:
    """It exits 0 after SIGTERM."""
    seen = Seen()
    read(seen, say("I begin."))
    assert judge(seen, 0).outcome is Outcome.FAILED


def test_going_on_after_its_word_takes_the_word_back() -> None:
    seen = Seen()
    read(seen, SUCCESS, say("And then"))
    assert judge(seen, 0).outcome is Outcome.FAILED


def test_an_error_is_told_in_its_own_words() -> None:
    seen = Seen()
    error = {"type": "unknown", "message": "[API Error: auto-dev: the budget of this day is used up]"}
    read(seen, {"type": "result", "status": "error", "error": error, "stats": {}})
    result = judge(seen, 144)
    assert (result.outcome, result.exit_code) == (Outcome.FAILED, 144)
    assert "auto-dev: the budget" in result.detail


@pytest.mark.parametrize(
    ("errors", "lost", "login"),
    [
        ('Error resuming session: Invalid session identifier "x".\n  Searched for sessions in /h.', True, False),
        ("YOLO mode is enabled.\nInvalid auth method selected.\n", False, True),
        ("Warning: 256-color support not detected.\nRangeError: oh\n    at f (file:1:2)\n", False, False),
    ],
)
def test_what_its_stderr_says(errors: str, lost: bool, login: bool) -> None:
    seen = Seen()
    result = judge(seen, 42, errors)
    assert (result.outcome, seen.lost, seen.login) == (Outcome.FAILED, lost, login)
    assert result.detail in errors
    assert not result.detail.startswith(("Warning", "YOLO", "at "))


@given(st.lists(st.text() | EVENTS.map(json.dumps), max_size=8))
def test_any_lines_are_stood(lines: list[str]) -> None:
    seen = Seen()
    for text in lines:
        list(CLI.read(text, seen))
    judge(seen, 0, "\n".join(lines))


def test_a_task_becomes_a_call(tmp_path: Path) -> None:
    task = Bench(tmp_path).task("Do it.", kind="gemini")
    new = CLI.invoke(task, "/bin/gemini", "Do it.\ud800", "")
    again = CLI.invoke(task, "/bin/gemini", "Go on.", new.session)
    assert ("--session-id", new.session) == new.argv[-2:]
    assert ("--resume", new.session) == again.argv[-2:]
    assert task.endpoint.token not in " ".join(new.argv), "arguments can be read by all users"
    assert new.env["GOOGLE_GEMINI_BASE_URL"] == task.endpoint.url
    assert json.loads(new.files[".gemini/settings.json"])["privacy"]["usageStatisticsEnabled"] is False


def test_a_proxy_keeps_what_it_left_out() -> None:
    assert loopback_direct({"no_proxy": "corp.example"})["NO_PROXY"] == "corp.example,127.0.0.1,localhost"
