"""What the lines of ``codex exec --json`` mean, and how it is called."""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.agents.base import AgentResult, Endpoint, Event, Outcome, Progress, Reported, Usage
from auto_dev.agents.cli import Seen
from auto_dev.agents.codex import DEFAULT_MODEL, CodexCli, model_name, words_of
from auto_dev.agents.complaints import explain
from auto_dev.processes import Finished
from tests.agents_support import Bench

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
USAGE = {"input_tokens": 200, "cached_input_tokens": 80, "output_tokens": 40, "reasoning_output_tokens": 10}


def cli() -> CodexCli:
    return CodexCli(lambda: NOW)


def read(lines: Iterable[dict[str, Any]], seen: Seen, made: CodexCli | None = None) -> list[Event]:
    made = made or cli()
    return [event for line in lines for event in made.read(json.dumps(line), seen)]


def judged(
    seen: Seen, code: int | None = 0, errors: str = "", stopped: str = "", signal: int | None = None
) -> AgentResult:
    finished = Finished(code, signal, stopped, 0, 1.0)
    return explain(cli().judge(None, seen, finished, errors), seen, NOW)  # type: ignore[arg-type]


def test_a_whole_turn() -> None:
    seen = Seen()
    command = {"id": "1", "type": "command_execution", "command": "/bin/bash -c 'ls'", "status": "in_progress"}
    patch = {"id": "2", "type": "file_change", "changes": [{"path": "a.py", "kind": "add"}], "status": "completed"}
    events = read(
        [
            {"type": "thread.started", "thread_id": "01a1fbdc-bb35-78f0-8cc2-ec959ae5c45d"},
            {"type": "item.completed", "item": {"id": "0", "type": "error", "message": "Model metadata not found."}},
            {"type": "turn.started"},
            {"type": "item.started", "item": command},
            {"type": "item.completed", "item": command | {"status": "failed", "exit_code": 1}},
            {"type": "item.started", "item": patch},
            {"type": "item.completed", "item": patch},
            {"type": "item.completed", "item": {"id": "3", "type": "agent_message", "text": "All\ndone."}},
            {"type": "turn.completed", "usage": USAGE},
        ],
        seen,
    )
    assert events == [
        Progress("note", "Model metadata not found."),
        Progress("tool", "/bin/bash -c 'ls'"),
        Progress("tool", "edit a.py"),
        Progress("text", "All done."),
        Reported(DEFAULT_MODEL, Usage(input=200, output=40, cache_read=80)),
    ]
    assert (seen.session, seen.ended, seen.error, seen.turns) == ("01a1fbdc-bb35-78f0-8cc2-ec959ae5c45d", True, "", 3)
    assert judged(seen).outcome is Outcome.FINISHED


def test_it_is_not_over_while_it_goes_on() -> None:
    seen = Seen()
    read([{"type": "turn.completed", "usage": USAGE}, {"type": "turn.started"}], seen)
    assert not seen.ended


def test_a_retry_is_no_failure() -> None:
    seen = Seen()
    events = read([{"type": "error", "message": "Reconnecting... 1/2 (stream disconnected)"}], seen)
    assert events == [Progress("note", "Reconnecting... 1/2 (stream disconnected)")]
    assert seen.error == ""


@pytest.mark.parametrize(
    ("message", "outcome", "detail"),
    [
        (
            '{"error": {"message": "auto-dev: budget of the day is used up"}}',
            Outcome.OVER_BUDGET,
            "auto-dev: budget of",
        ),
        ("unexpected status 402 Payment Required: auto-dev: over its limit, url: x", Outcome.OVER_BUDGET, "402"),
        ("exceeded retry limit, last status: 429 Too Many Requests", Outcome.RATE_LIMITED, "429"),
        ("Quota exceeded. Check your plan and billing details.", Outcome.RATE_LIMITED, "Quota exceeded"),
        ("unexpected status 401 Unauthorized: refused, url: x", Outcome.UNAVAILABLE, "401"),
        ("Your access token could not be refreshed. Please log out and sign in again.", Outcome.UNAVAILABLE, "sign in"),
        ("stream disconnected before completion: stream closed", Outcome.FAILED, "stream disconnected"),
        ("", Outcome.FAILED, "without a word"),
    ],
)
def test_what_a_failure_means(message: str, outcome: Outcome, detail: str) -> None:
    seen = Seen()
    read([{"type": "error", "message": message}, {"type": "turn.failed", "error": {"message": message}}], seen)
    result = judged(seen, 1)
    assert result.outcome is outcome
    assert detail in result.detail


@pytest.mark.parametrize(
    ("until", "when"),
    [
        ("Mar 17th, 2030 5:46 PM", datetime(2030, 3, 17, 17, 46)),  # noqa: DTZ001 (local)
        ("Apr 1st, 2026 12:05 AM", datetime(2026, 4, 1, 0, 5)),  # noqa: DTZ001
    ],
)
def test_a_usage_limit_says_when_it_is_over(until: str, when: datetime) -> None:
    seen = Seen()
    read(
        [{"type": "turn.failed", "error": {"message": f"You’ve hit your usage limit. Or try again at {until}."}}], seen
    )
    result = judged(seen, 1)
    assert result.outcome is Outcome.RATE_LIMITED
    assert result.resets_at == when.astimezone()


def test_a_time_without_a_date_is_the_next_such_time() -> None:
    for ahead in (timedelta(minutes=90), timedelta(hours=23)):
        seen = Seen()
        wanted = (NOW + ahead).astimezone()
        words = f"You’ve hit your usage limit. Try again later, or try again at {wanted:%I:%M %p}.".replace(
            "at 0", "at "
        )
        read([{"type": "turn.failed", "error": {"message": words}}], seen)
        assert seen.resets_at == wanted


def test_an_unknown_session_is_lost() -> None:
    seen = Seen()
    errors = "Error: thread/resume: thread/resume failed: no rollout found for thread id 01a1 (code -32600)"
    result = judged(seen, 1, errors)
    assert seen.lost
    assert "no rollout found" in result.detail


def test_status_0_without_a_completed_turn_is_no_success() -> None:
    assert judged(Seen()) == AgentResult(Outcome.FAILED, "it ended before its turn was over (exit code 0)", 0)
    result = judged(Seen(), None, signal=9)
    assert result.detail == "it ended before its turn was over (ended by SIGKILL)"


def test_one_that_lingers_after_its_turn_is_done() -> None:
    assert judged(Seen(ended=True), None, stopped="stopped", signal=15).outcome is Outcome.FINISHED


@pytest.mark.parametrize(
    ("model", "name"),
    [(None, DEFAULT_MODEL), ("gpt-5.5", "gpt-5.5"), ("openai:gpt-5.5", "gpt-5.5"), ("openai/gpt-5.5", "gpt-5.5")],
)
def test_the_model_has_no_provider(model: str | None, name: str) -> None:
    assert model_name(model) == name


def test_how_it_is_called(tmp_path: Path) -> None:
    task = Bench(tmp_path).task("Do it.", kind="codex", model="openai:gpt-5.5")
    task = replace(task, endpoint=Endpoint('http://127.0.0.1:1/"x', "", "the-token"))
    call = cli().invoke(task, "/bin/codex", "The prompt.", "01a1-22")
    assert call.argv[-3:] == ("resume", "01a1-22", "-")
    assert call.stdin == b"The prompt."
    assert "the-token" not in " ".join(call.argv)
    assert call.env["CODEX_HOME"] == str(task.home / "codex")
    settings = tomllib.loads(call.files["codex/config.toml"])
    provider = settings["model_providers"][settings["model_provider"]]
    assert provider["base_url"] == 'http://127.0.0.1:1/"x/v1'
    assert call.env[provider["env_key"]] == "the-token"
    assert "the-token" not in call.files["codex/config.toml"]
    assert settings["web_search"] == "disabled"
    assert not any(settings["features"].values())


def test_with_the_own_login_it_asks_its_own_service(tmp_path: Path) -> None:
    task = Bench(tmp_path).task("Do it.", kind="codex", mode="subscription")
    call = cli().invoke(task, "/bin/codex", "x", "")
    assert "resume" not in call.argv
    assert "model_provider" not in tomllib.loads(call.files["codex/config.toml"])
    assert task.endpoint.token not in call.env.values()


def test_usage_is_told_as_differences() -> None:
    made, seen = cli(), Seen(session="s")
    turns = [{"type": "turn.completed", "usage": {"input_tokens": n, "output_tokens": n // 10}} for n in (100, 250, 30)]
    told = read(turns, seen, made)
    assert told == [
        Reported(DEFAULT_MODEL, Usage(100, 10)),
        Reported(DEFAULT_MODEL, Usage(150, 15)),
        Reported(DEFAULT_MODEL, Usage(30, 3)),  # counted anew
    ]


@pytest.mark.parametrize(
    ("token", "found"),
    [
        ("", False),
        ("opaque", True),
        ("a.b.c", True),
        (f"a.{base64.urlsafe_b64encode(json.dumps({'exp': int(NOW.timestamp()) + 3600}).encode()).decode()}.c", True),
        (f"a.{base64.urlsafe_b64encode(json.dumps({'exp': int(NOW.timestamp()) + 60}).encode()).decode()}.c", False),
    ],
    ids=["none", "opaque", "no token", "valid", "runs out"],
)
def test_only_a_login_that_is_valid_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, found: bool
) -> None:
    monkeypatch.setenv("CODEX_HOME", str(tmp_path))
    assert cli().login(lambda name: None) is None
    tokens = {"access_token": token, "refresh_token": "mine"}
    (tmp_path / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": "sk-mine", "tokens": tokens}))
    login = cli().login(lambda name: None)
    assert (login is not None) is found
    if login is not None:
        assert "mine" not in login.files["codex/auth.json"]
        assert token in login.files["codex/auth.json"]


def test_a_token_of_the_environment_comes_first() -> None:
    login = cli().login(lambda name: "at-1" if name == "CODEX_ACCESS_TOKEN" else None)
    assert login is not None
    assert login.env == {"CODEX_ACCESS_TOKEN": "at-1"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "item",
                    "error",
                    "message",
                    "usage",
                    "thread_id",
                    "text",
                    "changes",
                    "path",
                    "command",
                    "input_tokens",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KINDS = ["thread.started", "turn.started", "turn.completed", "turn.failed", "error", "item.started", "item.completed"]
ITEMS = ["file_change", "command_execution", "error", "agent_message", "mcp_tool_call", "web_search"]
ITEM = st.fixed_dictionaries(
    {"type": st.sampled_from(ITEMS) | JSON}, optional={"changes": JSON, "text": JSON, "message": JSON}
)
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | JSON},
    optional={"item": ITEM | JSON, "error": JSON, "message": JSON, "usage": JSON, "thread_id": JSON},
)


@given(st.text() | EVENTS.map(json.dumps) | JSON.map(json.dumps))
def test_any_line_is_stood(text: str) -> None:
    seen = Seen()
    for event in cli().read(text, seen):
        assert isinstance(event, (Progress, Reported))
        if isinstance(event, Progress):
            assert "\n" not in event.text
    assert isinstance(seen.session, str)
    assert isinstance(judged(seen, 1), AgentResult)


@given(st.text())
def test_any_message_becomes_one_line(text: str) -> None:
    assert "\n" not in words_of(text)
    assert len(words_of(text)) <= 300
