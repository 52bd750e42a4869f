"""What is wrong, lying, hostile or broken off: refused or charged in full, never free, never a crash."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from genai_prices import data_snapshot

from auto_dev.budget.gateway.chat import ChatReader
from auto_dev.budget.prices import price_table
from auto_dev.store.database import Database
from tests.integration.gateway_kit import CLAUDE, FLASH, GPT, NOW, WIRES, Kit, kit, request
from tests.model_server import Answer, ModelServer, Tokens, say, words

pytestmark = pytest.mark.integration

MB = 1024 * 1024
NAMES = {
    "anthropic": ("input_tokens", "output_tokens"),
    "chat": ("prompt_tokens", "completion_tokens"),
    "responses": ("input_tokens", "output_tokens"),
    "gemini": ("promptTokenCount", "candidatesTokenCount"),
}


async def nothing_happened(it: Kit) -> bool:
    """Nothing went upstream, nothing was set aside, and the gateway goes on."""
    assert len(it.server.record) == 0
    assert await it.rows() == []
    return (await it.ask("anthropic")).status == 200


# -- usage


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_missing_usage_is_charged_in_full(db: Database, wire: str, stream: bool) -> None:
    async with kit(db, ModelServer(say("Hello", mute=True))) as it:
        assert (await it.ask(wire, stream=stream)).status == 200
        assert await it.in_full()


@pytest.mark.parametrize("lie", [-1, 1.5, float("nan"), float("inf"), 10**30, "7", True, [], {"a": 1}])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_usage_that_cannot_be_true_is_charged_in_full(db: Database, wire: str, which: int, lie: object) -> None:
    told = {NAMES[wire][which]: lie, "total_tokens": None, "totalTokenCount": None}
    async with kit(db, ModelServer(say("Hello", lie=told))) as it:
        assert (await it.ask(wire)).status == 200
        assert (await it.ask(wire, stream=True)).status == 200
        rows = await it.rows()
        assert [row["charged_microusd"] for row in rows] == [row["amount_microusd"] for row in rows]
        assert all("full" in row["note"] for row in rows)


@pytest.mark.parametrize(
    "lie",
    [
        {"input_tokens": 0}, {"output_tokens": 0}, {"input_tokens": 500_000_000}, {"output_tokens": 90_000_000},
        {"cache_read_input_tokens": -5}, {"service_tier": "platinum"}, {"speed": "warp"},
        {"server_tool_use": {"code_execution_requests": 3}}, {"cache_creation": 7},
    ],
)  # fmt: skip
async def test_a_usage_that_is_too_small_or_absurd_is_charged_in_full(db: Database, lie: dict[str, Any]) -> None:
    async with kit(db, ModelServer(say("Hello " * 100, usage=Tokens(100, 100), lie=lie))) as it:
        for stream in (False, True):
            assert (await it.ask("anthropic", stream=stream, text="x" * 10_000)).status == 200
        rows = await it.rows()
        assert [row["charged_microusd"] for row in rows] == [row["amount_microusd"] for row in rows]


async def test_an_answer_that_took_more_than_was_reckoned_costs_what_it_took(db: Database) -> None:
    async with kit(db, ModelServer(say("Hello", usage=Tokens(8000, 1500)))) as it:
        await it.ask("anthropic", cap=1000)
        assert await it.charged() == it.server.record.cost_microusd == 24_000 + 22_500
        (row,) = await it.rows()
        assert row["note"] == "cost more than was set aside"


async def test_an_answer_that_is_no_json_is_charged_in_full(db: Database) -> None:
    async with kit(db, ModelServer(say("", raw=b"<html>all is well</html>"))) as it:
        assert (await it.ask("chat")).status == 200
        assert await it.in_full()


async def test_a_compressed_answer_is_read_all_the_same(db: Database) -> None:
    async with kit(db, ModelServer(say("Hello", encoding="gzip", pieces=1))) as it:
        for wire in WIRES:
            for stream in (False, True):
                reply = await it.ask(wire, stream=stream)
                assert "Hello" in reply.text
                assert "content-encoding" not in reply.headers
        assert await it.charged() == it.server.record.cost_microusd


# -- models and prices


@pytest.mark.parametrize(
    "model", ["gpt-99", "", None, 7, "x" * 300, "a b", "claude\r\nx: y", "../gpt-5", ["gpt-5"], "é"]
)
async def test_an_unknown_model_is_refused(db: Database, model: object) -> None:
    async with kit(db, ModelServer(words)) as it:
        for wire in ("anthropic", "chat", "responses"):
            path, body = request(wire)
            reply = await it.post(path, body | {"model": model})
            assert reply.status == 400
            assert "model" in reply.message
        if model == "gpt-99":
            assert '[budget.prices."gpt-99"]' in reply.message
            assert it.grant.stop is not None
            assert it.grant.stop.kind == "refused"
        assert await nothing_happened(it)


async def test_a_price_that_lacks_a_field_is_refused(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = data_snapshot.get_snapshot()
    model = snapshot.find_provider_model(CLAUDE, None, "anthropic", None)[1]
    for field in ("input_mtok", "output_mtok"):
        with monkeypatch.context() as patch:
            prices = model.get_prices(NOW)
            patch.delitem(vars(prices), field)
            async with kit(db, ModelServer(words)) as it:
                reply = await it.ask("anthropic")
                assert reply.status == 400
                assert "no price is known" in reply.message
                assert len(it.server.record) == 0
    assert await db.fetch_all("SELECT id FROM reservations") == []


# -- bodies


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"", 400, "not JSON"), (b"{", 400, "not JSON"), (b"[]", 400, "not a JSON object"), (b"7", 400, "object"),
        (b"\xff\xfe{}", 400, "UTF-8"), (b'{"model": "gpt-5", "model": "gpt-5-pro"}', 400, "same key twice"),
        (b'{"a": {"b": 1, "b": 2}}', 400, "same key twice"), (b'{"max_tokens": NaN}', 400, "NaN"),
        (b'{"a": -Infinity}', 400, "Infinity"), (b'{"a": 1e999}', 400, "too large"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "nested"),
        (b'{"a": ' + b"9" * 10_000 + b"}", 400, "not JSON"), (b"x" * 50 * MB, 413, "larger than 32 MB"),
        (b'{"model": "claude-sonnet-4-6", "messages": [], "max_tokens": "1000"}', 400, "max_tokens"),
        (b'{"model": "claude-sonnet-4-6", "messages": [], "max_tokens": -5}', 400, "max_tokens"),
        (b'{"model": "claude-sonnet-4-6", "messages": [], "max_tokens": 1.5}', 400, "max_tokens"),
        (b'{"model": "claude-sonnet-4-6", "messages": [], "max_tokens": true}', 400, "max_tokens"),
        (b'{"model": "claude-sonnet-4-6", "messages": [], "max_tokens": 99999999999}', 400, "max_tokens"),
        (b'{"model": "claude-sonnet-4-6", "messages": {"a": 1}}', 400, "messages"),
        (b'{"model": "claude-sonnet-4-6", "messages": ["x"]}', 400, "messages"),
        (b'{"model": "claude-sonnet-4-6", "tools": "all"}', 400, "tools"),
        (b'{"model": "claude-sonnet-4-6", "stream": "yes"}', 400, "stream"),
    ],
)  # fmt: skip
async def test_a_broken_body_is_refused(db: Database, data: bytes, status: int, says: str) -> None:
    async with kit(db, ModelServer(words)) as it:
        try:
            reply = await it.post("/v1/messages", data=data)
        except aiohttp.ClientOSError:  # it hung up on us while we were still sending
            assert len(data) > 40 * MB
        else:
            assert reply.status == status
            assert says in reply.message
        assert it.grant.stop is None
        assert await nothing_happened(it)


async def test_a_body_that_never_ends_is_refused(db: Database) -> None:
    async def endless() -> Any:
        for _ in range(50):
            yield b"x" * MB

    async with kit(db, ModelServer(words)) as it:
        headers = {"x-api-key": it.grant.token}
        try:
            async with it.http.post(it.gateway.url + "/v1/messages", data=endless(), headers=headers) as response:
                assert response.status == 413
        except aiohttp.ClientError:
            pass  # it hung up on us while we were still sending
        assert await nothing_happened(it)


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)],
)
async def test_a_compressed_body_is_read(db: Database, coding: str, pack: Callable[[bytes], bytes]) -> None:
    async with kit(db, ModelServer(words)) as it:
        path, body = request("anthropic")
        reply = await it.post(path, data=pack(json.dumps(body).encode()), headers={"content-encoding": coding})
        assert reply.status == 200


@pytest.mark.parametrize(
    ("coding", "data", "status"),
    [
        ("gzip", gzip.compress(b" " * 200 * MB, mtime=0), 413), ("gzip", b"no gzip", 400), ("br", b"{}", 415),
        ("gzip", gzip.compress(b'{"a": 1}', mtime=0)[:-6], 400), ("gzip, gzip", gzip.compress(b"{}", mtime=0), 415),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"more", 400), ("zstd", b"{}", 415),
    ],
)  # fmt: skip
async def test_a_bomb_or_a_broken_compression_is_refused(db: Database, coding: str, data: bytes, status: int) -> None:
    async with kit(db, ModelServer(words)) as it:
        assert (await it.post("/v1/messages", data=data, headers={"content-encoding": coding})).status == status
        assert await nothing_happened(it)


async def test_what_is_sent_on_is_what_was_looked_at(db: Database) -> None:
    async with kit(db, ModelServer(words)) as it:
        path, body = request("chat")
        text = "lone \\ud800 surrogate, \\u0000, " + "9" * 30
        data = json.dumps(body).encode().replace(b"Hello", text.encode())
        assert (await it.post(path, data=data)).status == 200
        assert it.last.body is not None
        assert it.last.body["messages"][0]["content"] == json.loads(f'"{text}"')


# -- who asks for what


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/models", "/nothing", "/v1/files"])
@pytest.mark.parametrize("token", ["", "wrong", "sk-auto-dev-" + "0" * 48, "é" * 40])
async def test_an_unknown_token_gets_the_same_answer_everywhere(db: Database, path: str, token: str) -> None:
    async with kit(db, ModelServer(words)) as it:
        reply = await it.post(path, data=b"{}", headers={"x-api-key": token.encode("utf-8").decode("latin-1")})
        assert reply.status == 400
        assert reply.message == "auto-dev: this token is not known here, or its run has ended"
        assert await nothing_happened(it)


async def test_a_token_ends_with_its_run(db: Database) -> None:
    async with kit(db, ModelServer(words)) as it:
        async with it.gateway.grant("run-2", it.meter, it.upstreams) as other:
            assert (await it.post(*request("chat"), token=other.token)).status == 200
            both = await it.post(*request("chat"), headers={"authorization": f"Bearer {other.token}"})
            assert both.status == 400  # whose request this would be is not clear
        before = len(it.server.record)
        for way in ({"x-api-key": other.token}, {"authorization": f"Bearer {other.token}", "x-api-key": ""}):
            reply = await it.post(*request("chat"), headers=way)
            assert reply.status == 400
            assert "its run has ended" in reply.message
        assert len(it.server.record) == before


@pytest.mark.parametrize(
    "path",
    [
        "/v1/embeddings", "/v1/files", "/v1/messages/batches", "/v1/batches", "/v1/images/generations",
        "/v1/completions", "/v1/audio/speech", "/v1/fine_tuning/jobs", "/v1/assistants", "/v1/responses/resp_1/cancel",
        "//v1/messages", "/v1//messages", "/v1/./messages", "/v1/x/../messages", "/v1/%6dessages", "/v1/messages/",
        "/v1/messages%2f", "/V1/messages", "/v1/messages;x", "/v1/messages%00", "/v1/messages%0d%0aX-A:%20b",
        f"/v1beta/models/{FLASH}:embedContent", f"/v1beta/models/{FLASH}:batchGenerateContent",
        f"/v1beta/models/..%2f{FLASH}:generateContent", "/v1beta/tunedModels/a:generateContent",
        f"/v1beta/models/{FLASH}:generateContent:countTokens", "/v1beta/cachedContents", "/upload/v1beta/files",
        "/api/event_logging/batch", "/v1/organizations/usage_report/messages",
    ],
)  # fmt: skip
async def test_any_other_path_is_refused(db: Database, path: str) -> None:
    async with kit(db, ModelServer(words)) as it:
        reply = await it.post(path, request("anthropic")[1])
        assert reply.status == 404
        assert "is refused" in reply.message
        assert await nothing_happened(it)


async def test_another_providers_path_meets_that_provider_alone(db: Database) -> None:
    # A grant reaches all providers; a request for one of them can never be steered to another, or to another host.
    async with kit(db, ModelServer(words)) as it:
        for line in (b"POST http://evil.example/v1/messages HTTP/1.1", b"POST /v1/messages?@evil.example/ HTTP/1.1"):
            body = json.dumps(request("anthropic")[1]).encode()
            reply = await raw(
                it, line + b"\r\nHost: evil.example\r\nX-Api-Key: " + it.grant.token.encode()
                + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
            )  # fmt: skip
            assert reply.startswith(b"HTTP/1.1 200")
            assert it.last.path == "/v1/messages"


async def raw(it: Kit, data: bytes) -> bytes:
    """What the gateway answers to bytes, up to the end of its head."""
    host, port = it.gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(4096), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n\r\n", b"POST * HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET /v1/models HTTP/9.9\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nX-Api-Key: TOKEN\r\nuser-agent: a\r\n X-E: b\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/messages HTTP/1.1\r\nX-Api-Key: TOKEN\r\nuser-agent: a\rX-Evil: b\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/messages HTTP/1.1\r\nX-Api-Key: TOKEN\r\nanthropic-beta: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/messages HTTP/1.1\r\nX-Api-Key: TOKEN\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /v1/messages HTTP/1.1\r\nX-Api-Key: TOKEN\r\nContent-Length: -1\r\n\r\n{}",
        b"POST /v1/messages HTTP/1.1\r\nX-Api-Key: TOKEN\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
)  # fmt: skip
async def test_broken_http_and_injected_headers_go_nowhere(db: Database, data: bytes) -> None:
    async with kit(db, ModelServer(words)) as it:
        reply = await raw(it, data.replace(b"TOKEN", it.grant.token.encode()))
        assert b" 200 " not in reply[:20]
        assert await nothing_happened(it)


@pytest.mark.parametrize(
    ("wire", "more", "says"),
    [
        ("chat", {"web_search_options": {}}, "web_search_options"),
        ("chat", {"web_search_options": None}, None), ("chat", {"web_search_options": {"a": 1}}, "web_search_options"),
        ("chat", {"modalities": ["text", "audio"]}, "modalities"), ("chat", {"n": 0}, "n is not"),
        ("chat", {"n": 1_000}, "n is not"), ("chat", {"models": ["gpt-5-pro"]}, "models"),
        ("chat", {"service_tier": "gold"}, "service_tier"), ("chat", {"tools": [{"type": "web_search"}]}, "web_search"),
        ("responses", {"background": True}, "background"), ("responses", {"prompt": {"id": "p"}}, "prompt"),
        ("responses", {"tools": [{"type": "code_interpreter"}]}, "code_interpreter"),
        ("responses", {"tools": [{"type": "file_search"}]}, "file_search"),
        ("responses", {"tools": [{"type": "mcp", "server_url": "x"}]}, "mcp"),
        ("responses", {"tools": [{"type": "image_generation"}]}, "image_generation"),
        ("responses", {"input": {"role": "user"}}, "input"),
        ("anthropic", {"mcp_servers": [{"url": "x"}]}, "mcp_servers"), ("anthropic", {"container": "c"}, "container"),
        ("anthropic", {"tools": [{"type": "code_execution_20250825", "name": "x"}]}, "code_execution"),
        ("anthropic", {"speed": "fast"}, "speed = fast"), ("anthropic", {"inference_geo": "moon"}, "inference_geo"),
        ("anthropic", {"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management"),
        ("gemini", {"tools": [{"googleSearch": {}}]}, "googleSearch"),
        ("gemini", {"tools": {"codeExecution": {}}}, "code"),
        ("gemini", {"cachedContent": "cachedContents/x"}, "cachedContent"),
        ("gemini", {"cached_content": "cachedContents/x"}, "cachedContent"),
        ("gemini", {"serviceTier": "PRIORITY"}, "serviceTier"),
        ("gemini", {"generation_config": {"max_output_tokens": 5}}, "given twice"),
        ("gemini", {"generationConfig": {"responseModalities": ["IMAGE"]}}, "responseModalities"),
    ],
)  # fmt: skip
async def test_what_cannot_be_metered_is_refused(
    db: Database, wire: str, more: dict[str, Any], says: str | None
) -> None:
    async with kit(db, ModelServer(words)) as it:
        path, body = request(wire)
        reply = await it.post(path, body | more)
        assert reply.status == (200 if says is None else 400)
        if says is not None:
            assert says in reply.message
            assert await nothing_happened(it)


# -- broken off


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 6])
@pytest.mark.parametrize("wire", WIRES)
async def test_half_a_stream_is_paid_for(db: Database, wire: str, after: int) -> None:
    usage = Tokens(1000, 400)
    async with kit(db, ModelServer(say("word " * 300, usage=usage, cut_after=after, pieces=6))) as it:
        try:
            reply = await it.ask(wire, stream=True)
        except aiohttp.ClientPayloadError:
            pass
        else:
            assert reply.status == (200 if it.last.events >= after > 0 else 502)
        assert await it.charged() >= it.server.record.cost_microusd > 0
        (row,) = await it.rows()
        assert row["charged_microusd"] <= row["amount_microusd"]


async def test_half_a_stream_of_a_model_that_shows_everything_costs_its_input_and_what_was_seen(db: Database) -> None:
    async with kit(db, ModelServer(say("word " * 100, usage=Tokens(3000, 400), cut_after=6, pieces=8))) as it:
        with pytest.raises(aiohttp.ClientPayloadError):
            await it.ask("anthropic", stream=True, text="x" * 12_000, cap=30_000)
        (row,) = await it.rows()
        assert row["usage"]["input"] == 3000
        assert 256 <= row["usage"]["output"] <= 500 + 256
        assert it.server.record.cost_microusd <= row["charged_microusd"] < row["amount_microusd"] / 3


@pytest.mark.parametrize("wire", WIRES)
async def test_a_stream_that_reports_a_failure_is_paid_for(db: Database, wire: str) -> None:
    async with kit(db, ModelServer(say("word " * 100, usage=Tokens(1000, 300), fail_after=4))) as it:
        await it.ask(wire, stream=True)
        (row,) = await it.rows()
        assert row["charged_microusd"] >= 1000


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
async def test_half_a_body_is_charged_in_full(db: Database, wire: str, stream: bool) -> None:
    async with kit(db, ModelServer(say("Hello", cut_after=0 if stream else 1))) as it:
        assert (await it.ask(wire, stream=stream)).status == 502
        assert await it.in_full()


@pytest.mark.parametrize("wire", WIRES)
async def test_a_client_that_hangs_up_pays_and_ends_the_request(
    db: Database, wire: str, eventually: Callable[..., Awaitable[Any]]
) -> None:
    async with kit(db, ModelServer(say("word " * 500, usage=Tokens(1000, 600), pieces=500, pause_s=0.02))) as it:
        path, body = request(wire, stream=True)
        async with it.http.post(it.gateway.url + path, json=body, headers={"x-api-key": it.grant.token}) as response:
            await response.content.readany()
        await eventually(lambda: it.last.outcome == "gone")
        await eventually(lambda: not it.grant.under_way)
        assert await it.charged() >= it.server.record.cost_microusd > 0


async def test_a_client_that_hangs_up_before_the_answer_is_charged_in_full(
    db: Database, eventually: Callable[..., Awaitable[Any]]
) -> None:
    async with kit(db, ModelServer(say("Hello", delay_s=30))) as it:
        asking = asyncio.create_task(it.ask("anthropic"))
        await eventually(lambda: len(it.server.record) == 1)
        asking.cancel()
        await eventually(lambda: not it.grant.under_way)
        assert await it.in_full()


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_request_that_the_provider_refuses_is_free(db: Database, status: int) -> None:
    async with kit(db, ModelServer(lambda asked: Answer(status=status, message="no such thing"))) as it:
        reply = await it.ask("anthropic")
        assert (reply.status, reply.message) == (status, "no such thing")
        assert await it.charged() == 0


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_request_that_failed_at_the_provider_is_charged_in_full(db: Database, status: int) -> None:
    async with kit(db, ModelServer(lambda asked: Answer(status=status, message="broken"))) as it:
        assert (await it.ask("chat")).status == status
        assert await it.in_full()


async def test_a_fault_of_the_gateway_itself_is_charged_logged_and_no_end(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with kit(db, ModelServer(words)) as it:
        with monkeypatch.context() as patch:
            patch.setattr(ChatReader, "complete", lambda self, shape: 1 // 0)
            assert (await it.ask("chat")).status == 502
        assert "ZeroDivisionError" in caplog.text
        assert await it.in_full()
        assert (await it.ask("chat")).status == 200


async def test_an_unreachable_provider_costs_nothing(db: Database, unused_port: int) -> None:
    async with kit(db, ModelServer(words), upstream=f"http://127.0.0.1:{unused_port}") as it:
        reply = await it.ask("anthropic")
        assert reply.status == 502
        assert "cannot be reached" in reply.message
        assert await it.charged() == 0


async def test_leaving_the_grant_cuts_what_is_under_way(
    db: Database, eventually: Callable[..., Awaitable[Any]]
) -> None:
    async with kit(db, ModelServer(say("word " * 500, usage=Tokens(1000, 600), pieces=500, pause_s=0.02))) as it:
        path, body = request("chat", stream=True)
        async with it.gateway.grant("run-2", it.meter, it.upstreams) as grant:
            response = await it.http.post(it.gateway.url + path, json=body, headers={"x-api-key": grant.token})
            await response.content.readany()
        rows = await db.fetch_all("SELECT status FROM reservations")
        assert [row["status"] for row in rows] == ["settled"]
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_the_models_of_these_tests_have_prices() -> None:
    for model in (CLAUDE, GPT, FLASH):
        price_table({}, lambda: NOW).check(model)
