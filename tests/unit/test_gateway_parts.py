"""The gateway's pure parts: events, limits, routes, headers, plans."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.budget.gateway import bodies, headers, rates, routes
from auto_dev.budget.gateway.anthropic import Messages
from auto_dev.budget.gateway.aside import Held, Room
from auto_dev.budget.gateway.chat import ChatCompletions
from auto_dev.budget.gateway.errors import RefusedError
from auto_dev.budget.gateway.gemini import GenerateContent
from auto_dev.budget.gateway.guard import HIDDEN, Guard
from auto_dev.budget.gateway.learned import Learned
from auto_dev.budget.gateway.plans import Api, Call, Plan
from auto_dev.budget.gateway.responses import Responses
from auto_dev.budget.gateway.upstream import proxy_for
from auto_dev.budget.gateway.usage import Events, data_of
from auto_dev.budget.prices import price_table

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PRICES = price_table({}, lambda: NOW)
APIS: dict[str, Api] = {
    "anthropic": Messages(),
    "chat": ChatCompletions(),
    "responses": Responses(),
    "gemini": GenerateContent(stream=True),
}


def plan(wire: str, body: dict[str, Any], host: str = "api.openai.com") -> Plan:
    model = "gemini-2.5-flash" if wire == "gemini" else ""
    return APIS[wire].plan(Call(body, len(json.dumps(body)), model, True, host, PRICES))


@given(st.lists(st.binary(max_size=30).filter(lambda data: b"\n" not in data and b"\r" not in data), max_size=8),
       st.sampled_from([b"\n", b"\r\n"]), st.integers(1, 20))  # fmt: skip
def test_events_are_the_same_however_they_are_cut(texts: list[bytes], end: bytes, size: int) -> None:
    stream = b"".join(b"data: " + text + end + end for text in texts)
    events = Events()
    found = [event for start in range(0, len(stream), size) for event in events.feed(stream[start : start + size])]
    assert b"".join(found) + events.rest == stream
    assert [data_of(event) for event in found] == [text.strip() for text in texts]


def test_data_over_several_lines_belongs_together() -> None:
    assert data_of(b"event: x\ndata: {\ndata: }\n\n") == b"{\n}"
    assert data_of(b": comment\n\n") == b""


@pytest.mark.parametrize(
    ("status", "given_headers", "text", "seconds"),
    [
        (429, {"retry-after": "61"}, "", 61), (429, {"retry-after": "1e9"}, "", None),
        (429, {"retry-after": "-5"}, "", None),
        (429, {"retry-after": "soon"}, "", None), (429, {}, "Please try again in 1h2m3s.", 3723),
        (429, {}, "resets in 3 hours and 5 minutes", 11100), (429, {}, "try again in 20ms", None),
        (429, {"retry-after": "9" * 12}, "", 40 * 86400),
        (429, {"anthropic-ratelimit-tokens-reset": "2026-11-20T12:10:00Z", "anthropic-ratelimit-tokens-remaining": "0",
               "anthropic-ratelimit-requests-reset": "2026-11-21T12:10:00Z",
               "anthropic-ratelimit-requests-remaining": "9"}, "", 600),
        (429, {}, '{"error": {"message": "quota", "details": [{"quotaId": "RequestsPerDay"}]}}', 20 * 3600),
    ],
)  # fmt: skip
def test_how_long_a_provider_wants_to_be_left_alone(
    status: int, given_headers: dict[str, str], text: str, seconds: float | None
) -> None:
    found = rates.limited(status, given_headers, text, NOW)
    assert found is not None
    assert found.short == (seconds is None)
    if seconds is not None:
        assert found.resets_at == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("status", "text"), [(400, "messages: too long"), (404, "no such model"), (500, "usage limit")]
)
def test_other_failures_are_no_limits(status: int, text: str) -> None:
    assert rates.limited(status, {}, text, NOW) is None


@given(st.text(max_size=60))
def test_no_path_but_the_known_ones_has_a_route(path: str) -> None:
    known = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
    try:
        found = routes.route("POST", path, {}, anthropic=False)
    except RefusedError:
        return
    assert path.startswith(known) or found.vendor == "gemini"


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=6))
def test_what_is_sent_on_is_one_plain_line(given_headers: dict[str, str]) -> None:
    extra = {"user-agent": "a\r\nb: c", "anthropic-beta": "x\x00", "x-stainless-a\n": "y"}
    sent = headers.to_upstream(given_headers | extra, "token")
    assert all(value.isprintable() and value.isascii() and name.isascii() for name, value in sent.items())
    assert "user-agent" not in sent


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        ("anthropic", {"model": "claude-sonnet-4-6", "messages": []}), ("chat", {"model": "gpt-4o", "messages": []}),
        ("responses", {"model": "gpt-5", "input": "x"}), ("gemini", {"contents": []}),
    ],
)  # fmt: skip
def test_the_bound_of_the_input_grows_with_the_text(wire: str, body: dict[str, Any]) -> None:
    small = plan(wire, dict(body)).metered.input_tokens
    for text in ("x" * 5000, "語" * 5000, "\n" * 5000, "🙂" * 5000):
        bound = plan(wire, body | {"metadata": {"note": text}}).metered.input_tokens
        assert bound - small >= len(text.encode())


def test_a_picture_counts_as_a_picture_only_where_the_api_takes_one() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 400_000}}
    body = {"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": [picture]}]}
    assert plan("anthropic", body).metered.input_tokens < 10_000
    body["messages"] = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": picture}]}
    ]
    assert plan("anthropic", body).metered.input_tokens > 400_000


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": {"type": "base64", "data": "A" * 100}},
        {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "document", "source": {"type": "url"}}]},
    ],
)
def test_a_document_may_fill_the_window(block: dict[str, Any]) -> None:
    body = {"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": [block]}]}
    assert plan("anthropic", body).metered.input_tokens > 1_000_000


@pytest.mark.parametrize(
    ("control", "writes"),
    [(None, ""), ({"type": "ephemeral"}, "5m"), ({"type": "ephemeral", "ttl": "1h"}, "any"), ("odd", "any")],
)
def test_cache_writes_are_reckoned_with_where_they_are_asked_for(control: object, writes: str) -> None:
    block: dict[str, Any] = {"type": "text", "text": "x"}
    if control is not None:
        block["cache_control"] = control
    body = {"model": "claude-sonnet-4-6", "system": [block], "messages": []}
    assert plan("anthropic", body).metered.writes == writes


def test_old_models_are_not_asked_for_more_than_they_give() -> None:
    assert plan("chat", {"model": "gpt-4o", "messages": []}).metered.output_tokens == 4096
    assert plan("anthropic", {"model": "claude-3-haiku-20240307", "messages": []}).metered.output_tokens == 4096


@pytest.mark.parametrize(("host", "name"), [("api.openai.com", "max_completion_tokens"), ("localhost", "max_tokens")])
def test_the_cap_goes_where_the_server_reads_it(host: str, name: str) -> None:
    body: dict[str, Any] = {"model": "gpt-5", "messages": []}
    plan("chat", body, host).apply(5000, 0)
    assert body[name] == 5000


def test_a_company_proxy_is_used_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    assert proxy_for("https://api.openai.com") == "http://proxy.example:3128"
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://inside.example"):
        assert proxy_for(url) is None


@given(st.lists(st.text("sk-a[y]", max_size=9), max_size=12), st.sampled_from(["sk-a", "aaas", "s", "sksk-"]))
def test_the_key_is_not_passed_on_however_the_stream_is_cut(texts: list[str], key: str) -> None:
    guard = Guard(key)
    passed = b"".join(guard.cleaned(text.encode()) for text in texts)
    assert key.encode() not in passed.replace(HIDDEN, b"\0")
    assert (passed + guard.rest()).count(b"[key]") >= "".join(texts).replace("[key]", "\0").count(key)


def test_what_looks_like_no_key_is_passed_on_at_once() -> None:
    guard = Guard("sk-secret-0123456789")
    for chunk in (b'data: {"text": "ask-me"}\n\n', b"s.", b"sk-secret-x", b"", b"data: [DONE]\n\n"):
        assert guard.cleaned(chunk) == chunk
    assert (guard.cleaned(b"it ends with sk"), guard.rest()) == (b"it ends with ", b"sk")
    assert (guard.cleaned(b"-secret-01234567"), guard.rest()) == (b"", HIDDEN)


def test_many_values_are_refused_but_not_many_commas_in_a_text() -> None:
    text = json.dumps({"a": 'x,[{\\"' * 400_000}).encode()
    assert len(bodies.parse(text)["a"]) == 400_000 * 6
    unclosed = b'{"a": "' + b'\\",' * 400_000
    for raw in (b'{"a":[' + b"[]," * 600_000 + b"[]]}", json.dumps({"a": ["x"] * 600_000}).encode(), unclosed * 2):
        with pytest.raises(RefusedError) as refused:
            bodies.parse(raw)
        assert refused.value.status == (400 if raw.startswith(unclosed) else 413)


def test_bodies_under_way_are_bounded_and_given_back() -> None:
    own, all_of_them = Held(100), Held(150)
    with Room(own, all_of_them) as first, Room(Held(100), all_of_them) as other:
        first.take(60)
        other.take(90)
        for room in (first, other):
            with pytest.raises(RefusedError) as refused:
                room.take(20)
            assert refused.value.status == 429
    assert (own.now, all_of_them.now) == (0, 0)


@pytest.mark.parametrize("model", [
    "gpt-4o-search-preview-2025-03-11", "openai/GPT-5-search-api", "o3-deep-research", "computer-use-preview",
    "sonar-deep-research", "openai/gpt-5:online",
])  # fmt: skip
@pytest.mark.parametrize("wire", ["anthropic", "chat", "responses"])
def test_models_that_always_search_are_refused_whatever_the_protocol(wire: str, model: str) -> None:
    with pytest.raises(RefusedError, match="has no bound"):
        plan(wire, {"model": model, "messages": [], "input": "x"})


@pytest.mark.parametrize(
    ("wire", "extra"),
    [
        ("anthropic", {"container": ""}), ("anthropic", {"mcp_servers": {}}), ("chat", {"web_search_options": {}}),
        ("chat", {"audio": {}}), ("chat", {"plugins": {}}), ("chat", {"search_parameters": {}}),
        ("responses", {"prompt": {}}), ("responses", {"background": 0}), ("responses", {"context_management": {}}),
        ("gemini", {"cachedContent": ""}), ("gemini", {"generationConfig": {"speechConfig": {}}}),
        ("gemini", {"serviceTier": ""}), ("gemini", {"tools": [{"googleSearch": {}}]}),
    ],
)  # fmt: skip
def test_an_empty_setting_is_a_setting(wire: str, extra: dict[str, Any]) -> None:
    model = {"anthropic": "claude-sonnet-4-6", "gemini": ""}.get(wire, "gpt-5")
    body: dict[str, Any] = {"model": model, "messages": [], "input": "x"} if wire != "gemini" else {"contents": []}
    with pytest.raises(RefusedError):
        plan(wire, body | extra)
    for key in extra.keys() - {"generationConfig", "tools"}:
        plan(wire, body | {key: None})


def test_what_a_client_switches_off_is_no_setting() -> None:
    body = {"model": "gpt-5", "input": "x"}
    plan("responses", body | {"background": False, "context_management": []})
    plan("chat", {"model": "gpt-5", "messages": [], "plugins": [], "models": None})


def test_marks_that_wander_do_not_change_a_beginning() -> None:
    def chain(*contents: dict[str, Any]) -> bytes:
        found = plan("anthropic", {"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": contents}]})
        beginning = Learned().beginning("x", found)
        assert beginning is not None
        return beginning.key

    mark = {"cache_control": {"type": "ephemeral"}}
    plain = {"type": "text", "text": "a"}
    assert chain(plain | mark) == chain(mark | plain) == chain({"type": "text"} | mark | {"text": "a"}) == chain(plain)
    assert chain(plain, plain) != chain(plain)
