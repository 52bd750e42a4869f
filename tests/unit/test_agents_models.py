"""Which model, what its failures mean, what its requests can cost, and what comes next in a conversation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from auto_dev.agents.base import Endpoint
from auto_dev.agents.models import ModelSpec, check_model, failure, model_spec, resets_at, split_model, upstreams_for
from auto_dev.agents.playback import check_request
from auto_dev.agents.registry import check_agent, make_agent
from auto_dev.agents.transcript import BRIEF, REMINDER, Step, next_step, turns, unanswered
from auto_dev.config import AGENT_KINDS, AgentConfig
from auto_dev.errors import AgentError

pytestmark = pytest.mark.unit

NOW = datetime(2026, 2, 9, 12, tzinfo=UTC)
SPEC = ModelSpec("anthropic", "claude-x", "sk-canary", "http://localhost")


@pytest.mark.parametrize(
    ("given_", "meant"),
    [
        ("anthropic:claude-sonnet-4-6", ("anthropic", "claude-sonnet-4-6")),
        ("claude-sonnet-4-6", ("anthropic", "claude-sonnet-4-6")),
        ("gpt-5", ("openai", "gpt-5")),
        ("o3-mini", ("openai", "o3-mini")),
        ("openai:qwen3:8b", ("openai", "qwen3:8b")),
    ],
)
def test_a_models_name_tells_its_provider(given_: str, meant: tuple[str, str]) -> None:
    assert split_model(given_) == meant


@pytest.mark.parametrize("name", [None, "", "mistral-large", "gemini:pro", "anthropic:", ":x"])
def test_an_unknown_model_is_refused_with_the_mend(name: str | None) -> None:
    with pytest.raises(AgentError) as caught:
        split_model(name)
    assert caught.value.mend


def test_requests_go_to_the_gateway_with_the_turns_token() -> None:
    endpoint = Endpoint("http://127.0.0.1:8377", "http://127.0.0.1:40000", "token-canary")
    spec = model_spec(AgentConfig(kind="chat", model="gpt-5", base_url="http://elsewhere/v1"), endpoint)
    assert (spec.api_key, spec.base_url) == ("token-canary", "http://127.0.0.1:40000/v1")
    assert model_spec(AgentConfig(kind="chat", model="claude-x"), endpoint).base_url == "http://127.0.0.1:40000"
    assert model_spec(AgentConfig(kind="replay"), endpoint, "claude-recorded").name == "claude-recorded"
    assert "canary" not in repr(spec)


@pytest.mark.parametrize(
    ("model", "base_url", "upstreams"),
    [
        ("claude-x", None, {}),
        ("claude-x", "http://localhost:4000/", {"anthropic": "http://localhost:4000"}),
        ("claude-x", "https://models.example.com/v1", {"anthropic": "https://models.example.com"}),
        ("openai:qwen3:8b", "http://localhost:11434/v1/", {"openai": "http://localhost:11434"}),
        ("gpt-5", " https://x.example/api/v1", {"openai": "https://x.example/api"}),
    ],
)
def test_a_base_url_becomes_the_gateways_upstream(model: str, base_url: str | None, upstreams: dict[str, str]) -> None:
    assert upstreams_for(AgentConfig(kind="chat", model=model, base_url=base_url)) == upstreams


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "localhost:11434/v1",
        "ftp://x/v1",
        "http:///v1",
        "http://x:y/v1",
        "http://x/v1?a=b",
        "http://x",
        "http://[/v1",
    ],
)
def test_a_base_url_that_is_none_is_refused_with_the_mend(base_url: str) -> None:
    with pytest.raises(AgentError, match="base URL") as caught:
        check_model(AgentConfig(kind="chat", model="gpt-5", base_url=base_url))
    assert "/v1" in caught.value.mend


@pytest.mark.parametrize(
    ("headers", "moment"),
    [
        ({"retry-after": "30"}, NOW + timedelta(seconds=30)),
        ({"retry-after": "0.5"}, NOW + timedelta(seconds=0.5)),
        ({"retry-after": "-5"}, NOW),
        ({"retry-after": "1e400"}, NOW + timedelta(days=30)),
        ({"retry-after": "nan"}, NOW + timedelta(minutes=1)),
        ({"retry-after": "Mon, 09 Feb 2026 12:10:00 GMT"}, NOW + timedelta(minutes=10)),
        ({"retry-after": "Mon, 09 Feb 2026 11:00:00 GMT"}, NOW),
        ({"retry-after": "soon"}, NOW + timedelta(minutes=1)),
        ({}, NOW + timedelta(minutes=1)),
        (
            {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2026-02-09T12:03:00Z"},
            NOW + timedelta(minutes=3),
        ),
        (
            {"anthropic-ratelimit-tokens-remaining": "9", "anthropic-ratelimit-tokens-reset": "2026-02-09T12:03:00Z"},
            NOW + timedelta(minutes=1),
        ),
    ],
)
def test_a_rate_limits_end_is_read_from_its_headers(headers: dict[str, str], moment: datetime) -> None:
    assert resets_at(headers, NOW) == moment


@given(st.dictionaries(st.sampled_from(["retry-after", "anthropic-ratelimit-x-reset"]), st.text(max_size=30)))
def test_no_header_breaks_the_reading(headers: dict[str, str]) -> None:
    moment = resets_at(headers, NOW)
    assert moment.tzinfo is not None
    assert moment >= NOW


def test_an_error_that_nobody_knows_is_not_repeated() -> None:
    assert failure(KeyError("choices"), SPEC, NOW).retry is False


def ai(content: Any = "", *calls: str, **more: Any) -> AIMessage:
    return AIMessage(content, tool_calls=[{"name": name, "args": {}, "id": f"id-{name}"} for name in calls], **more)


def told(name: str, status: str = "success") -> ToolMessage:
    return ToolMessage("x", tool_call_id=f"id-{name}", name=name, status=status)


BRIEFED = HumanMessage("do it", additional_kwargs={"auto_dev": BRIEF, "brief": "do it"})
REMINDED = HumanMessage("report", additional_kwargs={"auto_dev": REMINDER})


@pytest.mark.parametrize(
    ("messages", "step"),
    [
        ([BRIEFED], Step.MODEL),
        ([BRIEFED, ai("", "shell")], Step.TOOLS),
        ([BRIEFED, ai("", "shell", "search"), told("shell")], Step.TOOLS),
        ([BRIEFED, ai("", "shell"), told("shell")], Step.MODEL),
        ([BRIEFED, ai("", "report"), told("report")], Step.END),
        ([BRIEFED, ai("", "report"), told("report", "error")], Step.MODEL),
        ([BRIEFED, ai("", "report", "shell"), told("report")], Step.TOOLS),
        ([BRIEFED, ai("done")], Step.REMIND),
        ([BRIEFED, ai("done"), REMINDED, ai("done!")], Step.END),
        ([BRIEFED, ai("done"), REMINDED, ai("done!"), BRIEFED, ai("again")], Step.REMIND),
        ([BRIEFED, ai("half", response_metadata={"stop_reason": "max_tokens"})], Step.GO_ON),
        ([BRIEFED, ai("half", response_metadata={"finish_reason": "length"})], Step.GO_ON),
        ([BRIEFED, ai("no", response_metadata={"stop_reason": "refusal"})], Step.END),
    ],
)
def test_the_next_step_follows_from_the_messages_alone(messages: list[BaseMessage], step: Step) -> None:
    assert next_step(messages) is step


def test_a_call_that_cannot_be_read_wants_an_answer_too() -> None:
    broken = AIMessage("", invalid_tool_calls=[{"name": "shell", "args": "{", "id": "x", "error": "not JSON"}])
    assert unanswered([BRIEFED, broken]) == [{"name": "shell", "args": None, "id": "x"}]


def test_turns_count_from_the_last_brief() -> None:
    assert turns([BRIEFED, ai(), told("a"), ai()]) == 2
    assert turns([BRIEFED, ai(), BRIEFED, ai()]) == 1


USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "a", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "x"}]}
ASK = {"role": "user", "content": "x"}


@pytest.mark.parametrize(
    ("messages", "fits"),
    [
        ([ASK], True),
        ([ASK, USE, RESULT], True),
        ([ASK, USE, ASK], False),
        ([ASK, RESULT], False),
        ([ASK, USE], False),
        ([], False),
        ([{"role": "system", "content": "x"}], False),
        ([{"role": "user", "content": ""}], False),
    ],
)
def test_the_playback_server_refuses_what_the_real_one_refuses(messages: list[Any], fits: bool) -> None:
    assert (check_request({"model": "m", "max_tokens": 1, "messages": messages}) == "") is fits


@pytest.mark.parametrize("kind", AGENT_KINDS)
def test_every_kind_has_an_agent(kind: Any) -> None:
    command = ["./agent.sh"] if kind in ("command", "acp") else []
    agent = make_agent(AgentConfig(kind=kind, command=command), lambda name: None)
    assert agent.name == kind


def test_the_check_names_what_is_missing(tmp_path: Path) -> None:
    for config, word in (
        (AgentConfig(kind="replay"), "agent.recording"),
        (AgentConfig(kind="replay", recording="recs"), "there is no folder"),
        (AgentConfig(kind="chat"), "needs a model"),
        (AgentConfig(kind="command", command=["./a"]), "there is no file"),
    ):
        with pytest.raises(AgentError, match=word):
            check_agent(config, tmp_path, lambda name: None)
