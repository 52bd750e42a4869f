"""What the lines of ``opencode run --format json`` mean, and how it is called."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.agents.base import AgentResult, Event, Outcome, Progress
from auto_dev.agents.cli import Seen
from auto_dev.agents.complaints import explain
from auto_dev.agents.opencode import OpenCodeCli, provider_of
from auto_dev.model import Phase
from auto_dev.processes import Finished
from tests.agents_support import Bench

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SESSION = "ses_e041f3d6dffezqLzWz53H97osf"


def cli() -> OpenCodeCli:
    return OpenCodeCli(lambda: NOW)


def read(lines: Iterable[dict[str, Any]], seen: Seen) -> list[Event]:
    made = cli()
    return [event for line in lines for event in made.read(json.dumps({"sessionID": SESSION} | line), seen)]


def judged(
    seen: Seen, code: int | None = 0, errors: str = "", stopped: str = "", signal: int | None = None
) -> AgentResult:
    finished = Finished(code, signal, stopped, 0, 1.0)
    return explain(cli().judge(None, seen, finished, errors), seen, NOW)  # type: ignore[arg-type]


def step(reason: str) -> dict[str, Any]:
    return {"type": "step_finish", "part": {"type": "step-finish", "reason": reason}}


def failure(status: int, body: str, **headers: str) -> dict[str, Any]:
    data = {"message": f"Bad Request: {body}", "statusCode": status, "responseBody": body, "responseHeaders": headers}
    return {"type": "error", "error": {"name": "APIError", "data": data}}


def test_a_whole_turn() -> None:
    seen = Seen()
    state = {"status": "completed", "input": {"command": "ls\n-l", "description": "x"}, "output": "a.txt\n"}
    broken = {"status": "error", "input": {"filePath": "/w/a.txt"}, "error": "no"}
    events = read(
        [
            {"type": "step_start", "part": {"type": "step-start"}},
            {"type": "tool_use", "part": {"type": "tool", "tool": "bash", "state": state}},
            {"type": "tool_use", "part": {"type": "tool", "tool": "edit", "state": broken}},
            step("tool-calls"),
            {"type": "step_start", "part": {"type": "step-start"}},
            {"type": "text", "part": {"type": "text", "text": "All\ndone."}},
        ],
        seen,
    )
    assert events == [
        Progress("tool", "bash ls -l"),
        Progress("tool", "edit /w/a.txt (failed)"),
        Progress("text", "All done."),
    ]
    assert not seen.ended
    read([step("stop")], seen)
    assert (seen.session, seen.ended, seen.error, seen.turns) == (SESSION, True, "", 2)
    assert judged(seen).outcome is Outcome.FINISHED


def test_a_cut_stream_is_not_the_end() -> None:
    seen = Seen()
    read([step("unknown")], seen)
    assert not seen.ended
    read([{"type": "step_start"}, step("stop")], seen)
    assert seen.ended


@pytest.mark.parametrize(
    ("line", "outcome", "detail"),
    [
        (
            failure(400, '{"error": {"message": "auto-dev: the limit of the day"}}'),
            Outcome.OVER_BUDGET,
            "status 400: auto-dev: the limit of the day",
        ),
        (
            failure(402, '{"message": "auto-dev: refused by the budget"}'),
            Outcome.OVER_BUDGET,
            "status 402: auto-dev: refused by the budget",
        ),
        (failure(401, '{"error": "no such key"}'), Outcome.UNAVAILABLE, "status 401: no such key"),
        (failure(400, "not json"), Outcome.FAILED, "status 400: Bad Request: not json"),
        ({"type": "error", "error": {"name": "UnknownError", "data": {"message": "x"}}}, Outcome.FAILED, "x"),
        ({"type": "error", "error": {"name": "MessageAbortedError"}}, Outcome.FAILED, "MessageAbortedError"),
        ({"type": "error"}, Outcome.FAILED, "an unknown error"),
    ],
)
def test_what_a_failure_means(line: dict[str, Any], outcome: Outcome, detail: str) -> None:
    seen = Seen()
    assert read([line], seen) == [Progress("note", detail)]
    result = judged(seen, 1)
    assert (result.outcome, result.detail) == (outcome, detail)


def test_a_rate_limit_says_when_it_is_over() -> None:
    seen = Seen()
    read([failure(429, "slow down", **{"Retry-After": "90"})], seen)
    assert judged(seen, 1).resets_at == NOW + timedelta(seconds=90)


def test_an_error_that_it_went_on_after_is_none() -> None:
    seen = Seen()
    read([failure(500, "oh no"), {"type": "step_start"}, step("stop")], seen)
    assert judged(seen).outcome is Outcome.FINISHED


def test_an_unknown_session_is_lost() -> None:
    seen = Seen()
    result = judged(seen, 1, "\x1b[91m\x1b[1mError: \x1b[0mSession not found\n")
    assert seen.lost
    assert result.detail.endswith("Session not found")


def test_status_0_without_a_last_step_is_no_success() -> None:
    assert judged(Seen()) == AgentResult(Outcome.FAILED, "it ended before its turn was over (exit code 0)", 0)
    result = judged(Seen(ended=True), None, signal=9)
    assert (result.outcome, "SIGKILL" in result.detail) == (Outcome.FAILED, True)
    assert judged(Seen(ended=True), None, stopped="stopped", signal=15).outcome is Outcome.FINISHED


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("anthropic:claude-x", ("anthropic", "claude-x")),
        ("anthropic/claude-x", ("anthropic", "claude-x")),
        ("gpt-5.5", ("openai", "gpt-5.5")),
        ("o3", ("openai", "o3")),
        ("openai/o3", ("openai", "o3")),
        ("gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("gemini:gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("qwen/qwen3-coder", ("auto-dev", "qwen/qwen3-coder")),
        ("llama3.1:8b", ("auto-dev", "llama3.1:8b")),
        ("openchat", ("auto-dev", "openchat")),
    ],
)
def test_a_model_tells_its_provider(model: str, wanted: tuple[str, str]) -> None:
    assert provider_of(model) == wanted


@pytest.mark.parametrize(
    ("model", "url"),
    [("claude-x", "/v1"), ("gpt-x", "/v1"), ("gemini-x", "/v1beta"), ("other", "/v1")],
)
def test_how_it_is_called(tmp_path: Path, model: str, url: str) -> None:
    task = Bench(tmp_path, url="http://127.0.0.1:1").task("Do it.", kind="opencode", model=model)
    task = replace(task, endpoint=replace(task.endpoint, token="the-token"))
    call = cli().invoke(task, "/bin/opencode", "The prompt.", SESSION)
    assert call.argv[-2:] == ("-s", SESSION)
    assert "--title" not in call.argv
    assert call.stdin == b"The prompt."
    assert "the-token" not in " ".join(call.argv)
    settings = json.loads(call.env["OPENCODE_CONFIG_CONTENT"])
    (provider,) = settings["enabled_providers"]
    assert settings["provider"][provider]["options"]["baseURL"] == f"http://127.0.0.1:1{url}"
    assert settings["model"] == settings["small_model"] == f"{provider}/{model}"
    assert settings["permission"]["*"] == "allow"
    assert "edit" not in settings["permission"]
    assert all(not path.startswith("/") for path in call.files)


def test_who_is_only_to_look_may_not_edit(tmp_path: Path) -> None:
    task = Bench(tmp_path).task("Look.", kind="opencode", phase=Phase.REVIEW)
    rules = json.loads(cli().invoke(task, "x", "x", "").env["OPENCODE_CONFIG_CONTENT"])["permission"]["edit"]
    assert rules["*"] == "deny"
    assert next(iter(rules)) == "*", "the last rule that fits decides"
    assert rules[str(task.report_path)] == "allow"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "data",
                    "message",
                    "statusCode",
                    "responseBody",
                    "responseHeaders",
                    "state",
                    "input",
                    "command",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KINDS = ["step_start", "step_finish", "text", "tool_use", "error", "reasoning"]
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | JSON}, optional={"part": JSON, "error": JSON, "sessionID": JSON}
)


@given(st.text() | EVENTS.map(json.dumps) | JSON.map(json.dumps))
def test_any_line_is_stood(text: str) -> None:
    seen = Seen()
    for event in cli().read(text, seen):
        assert isinstance(event, Progress)
        assert "\n" not in event.text
    assert isinstance(seen.session, str)
    assert isinstance(judged(seen, 1), AgentResult)
