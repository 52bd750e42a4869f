"""The gateway between a hostile client and a service that lies: nothing is had for nothing, and nothing breaks it."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from auto_dev.store.database import Database
from tests.gateway_support import KEY, LIMITS, Till, messages, open_till
from tests.model_server import Answer, Call, ModelServer, Tokens, echo, say

pytestmark = pytest.mark.integration

ASK = [{"role": "user", "content": "Hello there."}]
GEMINI = "/v1beta/models/gemini-2.5-flash"
TEXT = "A rather ordinary answer, with ümlauts and a 🎈. " * 20
TRUTH = Tokens(700, 300, cache_read=256)
WIRES = ("anthropic", "chat", "responses", "gemini")
NAMES = {  # of the input's and the output's tokens
    "anthropic": ("input_tokens", "output_tokens"),
    "chat": ("prompt_tokens", "completion_tokens"),
    "responses": ("input_tokens", "output_tokens"),
    "gemini": ("promptTokenCount", "candidatesTokenCount"),
}


@pytest.fixture
async def models() -> AsyncIterator[ModelServer]:
    async with ModelServer(say(TEXT, usage=TRUTH), keys=[KEY]) as server:
        yield server


@pytest.fixture
async def till(db: Database, models: ModelServer) -> AsyncIterator[Till]:
    async with open_till(db, models) as opened:
        yield opened


def ask(wire: str, *, stream: bool, cap: int = 2000) -> tuple[str, dict[str, Any]]:
    if wire == "gemini":
        path = f"{GEMINI}:streamGenerateContent?alt=sse" if stream else f"{GEMINI}:generateContent"
        parts = [{"text": "Hello there."}]
        return path, {"contents": [{"role": "user", "parts": parts}], "generationConfig": {"maxOutputTokens": cap}}
    body: dict[str, Any]
    if wire == "responses":
        return "/v1/responses", {"model": "gpt-5", "input": "Hello there.", "max_output_tokens": cap, "stream": stream}
    if wire == "chat":
        body = {"model": "gpt-5", "messages": ASK, "max_completion_tokens": cap, "stream": stream}
        return "/v1/chat/completions", body
    return "/v1/messages", {"model": "claude-sonnet-4-6", "messages": ASK, "max_tokens": cap, "stream": stream}


async def post(till: Till, path: str, body: Any, **headers: str) -> tuple[int, bytes]:
    """Ask the gateway; the status and whatever came of the answer."""
    data = BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    given = {"content-type": "application/json", "x-api-key": till.grant.token} | headers
    got = b""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session:
        try:
            async with session.post(till.gateway.url + path, data=data, headers=given) as response:
                async for chunk in response.content.iter_any():
                    got += chunk
                return response.status, got
        except aiohttp.ClientPayloadError:
            return 200, got
        except aiohttp.ServerDisconnectedError:
            return 0, got


async def still_works(till: Till) -> None:
    """The gateway answers and books an ordinary request, to the micro-dollar."""
    till.models.scenario = say(TEXT, usage=TRUTH)
    before = len(await till.settled())
    status, _ = await post(till, *ask("anthropic", stream=True))
    assert status == 200
    rows = await till.settled()
    assert len(rows) == before + 1
    assert rows[-1]["charged_microusd"] == till.models.record[-1].cost_microusd


LIES: dict[str, Any] = {
    "nan": float("nan"),
    "infinite": float("inf"),
    "negative": -5,
    "fraction": 1.5,
    "text": "300",
    "truth value": True,
    "list": [300],
    "object": {"a": 1},
    "beyond 64 bits": 10**30,
    "missing": None,
    "zero": 0,
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_usage_that_is_none_is_never_booked_as_less_than_the_truth(
    till: Till, models: ModelServer, wire: str, stream: bool
) -> None:
    path, body = ask(wire, stream=stream)
    truths = []
    for name in NAMES[wire]:
        for lie in LIES.values():
            if lie == 0 and wire == "anthropic" and name == "input_tokens":
                continue  # it may be so: everything came from the cache
            models.scenario = say(TEXT, usage=TRUTH, lie={name: lie})
            status, answer = await post(till, path, body)
            assert status == 200
            assert answer, "a provider's lie is no fault of the client's"
            truths.append((name, lie, models.record[-1].cost_microusd))
    models.scenario = say(TEXT, usage=TRUTH, mute=True)
    await post(till, path, body)
    truths.append(("everything", None, models.record[-1].cost_microusd))
    rows = await till.settled()
    short = [
        (name, lie, row["charged_microusd"], truth, row["note"])
        for row, (name, lie, truth) in zip(rows, truths, strict=True)
        if row["charged_microusd"] < truth
    ]
    assert short == []
    await still_works(till)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_stream_that_is_cut_anywhere_costs_at_least_what_the_provider_bills(
    till: Till, models: ModelServer, wire: str
) -> None:
    path, body = ask(wire, stream=True)
    for after in range(12):
        models.scenario = say(TEXT, usage=TRUTH, cut_after=after, pieces=5)
        await post(till, path, body)
    rows = await till.settled()
    entries = list(models.record)
    assert len(rows) == len(entries) == 12
    billed = [
        (row["charged_microusd"], entry.cost_microusd, entry.outcome) for row, entry in zip(rows, entries, strict=True)
    ]
    assert [row for row in billed if row[0] < row[1]] == []
    assert {outcome for _, _, outcome in billed} >= {"cut"}


@pytest.mark.parametrize("wire", WIRES)
async def test_a_client_that_hangs_up_pays(till: Till, models: ModelServer, wire: str, eventually: Any) -> None:
    path, body = ask(wire, stream=True)
    models.scenario = say(TEXT, usage=TRUTH, pause_s=0.01, pieces=30)
    async with aiohttp.ClientSession() as session:
        for reads in (0, 1, 3):
            given = {"x-api-key": till.grant.token}
            response = await session.post(till.gateway.url + path, json=body, headers=given)
            for _ in range(reads):
                await response.content.readany()
            response.close()
    await eventually(lambda: not till.grant.under_way)
    rows = await till.settled()
    await eventually(lambda: all(entry.outcome != "open" for entry in models.record))
    assert len(rows) == 3
    for row, entry in zip(rows, models.record, strict=True):
        assert row["charged_microusd"] >= entry.cost_microusd > 0


async def test_a_cut_inside_a_tool_call_costs_what_may_have_been_made_unseen(till: Till, models: ModelServer) -> None:
    """Providers hold a tool's arguments back until a value is complete: nothing is seen of what is being made."""
    call = Call("Write", {"content": "x" * 8000})
    models.scenario = lambda asked: Answer("", (call,), usage=Tokens(700, 2000), cut_after=3)
    path, body = ask("anthropic", stream=True)
    await post(till, path, body)
    (row,) = await till.settled()
    assert row["charged_microusd"] >= 700 * 3 + 2000 * 15


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("way", [{"encoding": "gzip"}, {"encoding": "deflate"}, {"split": 1}, {"split": 13}], ids=str)
async def test_an_answer_in_an_odd_form_is_passed_on_and_booked_exactly(
    till: Till, models: ModelServer, wire: str, way: dict[str, Any]
) -> None:
    models.scenario = say(TEXT, usage=TRUTH, **way)
    for stream in (False, True):
        status, answer = await post(till, *ask(wire, stream=stream))
        assert status == 200
        assert b"ordinary answer" in answer.replace(b'"}}\r', b"") or stream
    rows = await till.settled()
    assert [row["charged_microusd"] for row in rows] == [entry.cost_microusd for entry in models.record]


RAW = {
    "nothing": b"",
    "not JSON": b"<html>busy</html>",
    "cut JSON": b'{"usage": {"input_tokens": 5',
    "no object": b"[]",
    "null": b"null",
    "deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "binary": bytes(range(256)) * 10,
    "endless event": b"data: " + b"x" * 200_000,
    "empty events": b"\n\n" * 5000 + b"event: ping\n\n" + b": comment\n\n",
    "carriage returns": b'event: message_start\rdata: {"type":"message_start","message":{}}\r\r',
    "byte order mark": b'\xef\xbb\xbfdata: {"type":"message_stop"}\n\n',
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
async def test_an_answer_that_is_none_is_charged_in_full_and_breaks_nothing(
    till: Till, models: ModelServer, raw: bytes
) -> None:
    models.scenario = say(TEXT, usage=TRUTH, raw=raw)
    for wire in WIRES:
        for stream in (False, True):
            await post(till, *ask(wire, stream=stream))
    rows = await till.settled()
    assert len(rows) == 8
    cheap = [
        (row["charged_microusd"], entry.cost_microusd, entry.wire, entry.stream)
        for row, entry in zip(rows, models.record, strict=True)
        if row["charged_microusd"] < entry.cost_microusd
    ]
    assert cheap == []
    await still_works(till)


async def test_an_error_inside_a_stream_is_charged_for_what_came_before(till: Till, models: ModelServer) -> None:
    for wire in WIRES:
        models.scenario = say(TEXT, usage=TRUTH, fail_after=4)
        await post(till, *ask(wire, stream=True))
    rows = await till.settled()
    assert all(row["charged_microusd"] > 0 for row in rows)


async def test_more_output_than_was_allowed_cannot_break_the_cap(db: Database, models: ModelServer) -> None:
    poor = replace(LIMITS, story=200_000)
    async with open_till(db, models, limits=poor, wait_s=0) as till:
        models.scenario = say(TEXT, usage=Tokens(700, 9_000_000))
        await post(till, *ask("anthropic", stream=True))
        models.scenario = say(TEXT, usage=Tokens(700, 2500))  # a little more than its cap of 2,000
        await post(till, *ask("anthropic", stream=True))
        await till.settled()
        windows = await db.fetch_all("SELECT spent_microusd, reserved_microusd, cap_microusd FROM budget_windows")
    assert all(row["spent_microusd"] + row["reserved_microusd"] <= row["cap_microusd"] for row in windows)


async def test_many_at_once_stay_under_the_cap(db: Database, models: ModelServer) -> None:
    poor = replace(LIMITS, story=400_000)
    models.scenario = lambda asked: Answer(TEXT, usage=Tokens(700, asked.max_output or 0))
    async with open_till(db, models, limits=poor, wait_s=1) as till:
        answers = await asyncio.gather(*(post(till, *ask("anthropic", stream=bool(n % 2))) for n in range(60)))
        await till.settled()
        charged = await till.charged()
    assert {status for status, _ in answers} == {200, 400}
    assert charged == models.record.cost_microusd <= 400_000
    assert charged > 400_000 * 0.9


@pytest.mark.parametrize("pieces", [0, 1, 7], ids=["whole", "split by 1", "split by 7"])
async def test_neither_key_nor_token_crosses_over(till: Till, models: ModelServer, pieces: int) -> None:
    def both(asked: Any) -> Answer:
        return replace(echo(asked), split=pieces, headers={"x-request-id": KEY, "set-cookie": f"k={KEY}"})

    models.scenario = both
    hidden = KEY[:-1].encode()
    for wire in WIRES:
        for stream in (False, True):
            path, body = ask(wire, stream=stream)
            _, answer = await post(till, path, body, authorization=f"Bearer {till.grant.token}")
            assert hidden not in answer
    asked = json.dumps([entry.row() for entry in models.record])
    assert till.grant.token not in asked


HEAD = "Host: x\r\nx-api-key: {token}\r\ncontent-type: application/json\r\n"
POST = f"POST /v1/messages HTTP/1.1\r\n{HEAD}"
BODY = messages().decode()
CHUNKED = f"{len(BODY):x}\r\n{BODY}\r\n0\r\n\r\n"
SMUGGLED = {
    "both lengths": f"{POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKED}",
    "two lengths": f"{POST}Content-Length: {len(BODY)}\r\nContent-Length: 3\r\n\r\n{BODY}",
    "length with a sign": f"{POST}Content-Length: +{len(BODY)}\r\n\r\n{BODY}",
    "odd coding": f"{POST}Transfer-Encoding: chunked, identity\r\n\r\n{CHUNKED}",
    "folded header": f"{POST}X: a\r\n b: c\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}",
    "space in a name": f"{POST}Content-Length : {len(BODY)}\r\n\r\n{BODY}",
    "nul in a header": f"{POST}X: a\0b\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}",
    "negative chunk": f"{POST}Transfer-Encoding: chunked\r\n\r\n-5\r\n{BODY}\r\n0\r\n\r\n",
    "no HTTP": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an old version": f"POST /v1/messages HTTP/0.9\r\n{HEAD}\r\n",
    "a path with a break": f"POST /v1/messages\r\nX: /y HTTP/1.1\r\n{HEAD}\r\n",
    "huge header": f"{POST}X: {'a' * 1_000_000}\r\n\r\n",
    "many headers": POST + "X: y\r\n" * 50_000 + "\r\n",
    "tunnel": f"CONNECT api.anthropic.com:443 HTTP/1.1\r\n{HEAD}\r\n",
}  # fmt: skip


async def raw_exchange(till: Till, text: str) -> bytes:
    """Send bytes as they are; all that comes back, until nothing comes for a moment."""
    port = int(till.gateway.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        writer.write(text.replace("{token}", till.grant.token).encode("latin-1"))
        await writer.drain()
        while chunk := await asyncio.wait_for(reader.read(65536), 0.6):
            got += chunk
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return got


@pytest.mark.parametrize("text", SMUGGLED.values(), ids=SMUGGLED.keys())
async def test_http_that_two_readers_could_understand_differently_is_refused(
    till: Till, models: ModelServer, text: str
) -> None:
    got = await raw_exchange(till, text)
    assert not got.startswith(b"HTTP/1.1 200")
    assert got.count(b"HTTP/1.1") <= 1
    assert len(models.record) == 0
    await still_works(till)


async def test_a_second_request_on_the_same_connection_needs_its_own_token(till: Till, models: ModelServer) -> None:
    body = messages()
    first = f"{POST}Content-Length: {len(body)}\r\n\r\n{BODY}"
    second = first.replace("{token}", "sk-auto-dev-" + "0" * 48)
    got = await raw_exchange(till, first + second + "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
    assert re.findall(rb"HTTP/1\.1 (\d+)", got) == [b"200", b"400", b"400"]
    assert len(models.record) == 1


@pytest.mark.parametrize("header", ["Upgrade: websocket", "Upgrade: h2c", "Expect: 100-continue", "Expect: nonsense"])
async def test_an_upgrade_is_not_made(till: Till, models: ModelServer, header: str) -> None:
    connection = "Connection: Upgrade\r\n" if "Upgrade" in header else ""
    text = f"{POST}{connection}{header}\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
    got = await raw_exchange(till, text)
    assert b" 101 " not in got
    rows = await till.settled()
    assert [row["charged_microusd"] for row in rows] == [entry.cost_microusd for entry in models.record]
    await still_works(till)


PATHS = (
    "//v1/messages", "/v1//messages", "/v1/messages/", "/v1/./messages", "/v1/../v1/messages", "/v1/%6dessages",
    "/v1/messages%00", "/V1/messages", "/v1/messages;x", "/v1/messages/batches", "/v1/embeddings",
    "/v1/completions", "/v1beta/models/../x:generateContent", "/v1beta/models/a%2fb:generateContent",
    "/v1beta/models/gemini-2.5-flash:batchGenerateContent", "/v1beta/cachedContents", "/v1/files", "/v1/responses/x",
    "/v1beta/tunedModels/x:generateContent", "/v1beta/models/gemini-2.5-flash:predict", "/v1/organizations/usage",
    "/v1/audio/speech", "/v1/images/generations", "/upload/v1beta/files", "/v1/realtime", "/v1/complete", "/metrics",
)  # fmt: skip


async def test_only_the_exact_paths_are_passed_on(till: Till, models: ModelServer) -> None:
    for path in PATHS:
        text = f"POST {path} HTTP/1.1\r\n{HEAD}Connection: close\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
        got = await raw_exchange(till, text)
        assert b" 200 " not in got[:20], path
    assert len(models.record) == 0


BODIES = {
    "not UTF-8": messages().replace(b"Hello", b"\xff\xfe"),
    "UTF-16": messages().decode().encode("utf-16"),
    "twice the cap": messages().replace(b"{", b'{"max_tokens": 1, ', 1),
    "a cap in an escape": messages().replace(b"{", b'{"max_token\\u0073": 64000, ', 1),
    "no number": messages(max_tokens="1000"),
    "a fraction": messages(max_tokens=1000.0),
    "a truth value": messages(max_tokens=True),
    "negative": messages(max_tokens=-1),
    "zero": messages(max_tokens=0),
    "beyond 64 bits": messages(max_tokens=10**40),
    "NaN": messages(temperature=float("nan")),
    "1e999": messages().replace(b"1000", b"1e999"),
    "deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a list": b"[" + messages() + b"]",
    "after it": messages() + b"{}",
    "no model": messages(model=None),
    "a strange model": messages(model="../../claude-sonnet-4-6"),
    "a model with a break": messages(model="claude-sonnet-4-6\r\nx: y"),
    "an unknown model": messages(model="claude-of-tomorrow"),
    "a dear extra": messages(mcp_servers=[{"url": "https://x"}]),
    "code": messages(tools=[{"type": "code_execution_20250825", "name": "code_execution"}]),
    "stream as text": messages(stream="true"),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_a_request_that_is_not_clear_is_refused_and_not_sent(
    till: Till, models: ModelServer, body: bytes
) -> None:
    status, answer = await post(till, "/v1/messages", body)
    assert status == 400
    assert json.loads(answer)["error"]["message"].startswith("auto-dev: ")
    assert len(models.record) == 0
    assert await till.settled() == []


@pytest.mark.parametrize("extra", [{"web_search_options": {}}, {"web_search_options": {"a": 1}}], ids=str)
async def test_what_the_provider_bills_beside_tokens_is_refused_also_when_it_is_empty(
    till: Till, models: ModelServer, extra: dict[str, Any]
) -> None:
    path, body = ask("chat", stream=False)
    status, _ = await post(till, path, body | extra)
    assert status == 400
    assert len(models.record) == 0


@pytest.mark.parametrize("model", ["gpt-4o-search-preview", "gpt-4o-mini-search-preview", "gpt-5-search-api"])
async def test_a_model_that_always_searches_is_refused(till: Till, models: ModelServer, model: str) -> None:
    path, body = ask("chat", stream=False)
    status, _ = await post(till, path, body | {"model": model})
    assert status == 400
    assert len(models.record) == 0


async def test_a_gemini_model_that_answers_with_pictures_is_refused(till: Till, models: ModelServer) -> None:
    _, body = ask("gemini", stream=False)
    status, _ = await post(till, "/v1beta/models/gemini-2.5-flash-image:generateContent", body)
    assert status == 400
    assert len(models.record) == 0


async def test_bombs_are_refused_before_they_go_off(till: Till, models: ModelServer) -> None:
    bomb = gzip.compress(b'{"a": "' + b"x" * 40_000_000 + b'"}')
    status, _ = await post(till, "/v1/messages", bomb, **{"content-encoding": "gzip"})
    assert status == 413
    twice = gzip.compress(gzip.compress(messages()))
    status, _ = await post(till, "/v1/messages", twice, **{"content-encoding": "gzip, gzip"})
    assert status == 415
    status, _ = await post(till, "/v1/messages", b"x" * 34_000_000)
    assert status in (0, 413)
    await still_works(till)


async def test_a_body_of_many_small_things_does_not_hold_up_the_daemon(till: Till, models: ModelServer) -> None:
    """32 MB of empty lists become a gigabyte of objects, and the parser gives the other tasks no turn meanwhile."""
    longest, running = 0.0, True

    async def heartbeat() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while running:
            began = loop.time()
            await asyncio.sleep(0.01)
            longest = max(longest, loop.time() - began)

    body = messages().replace(b"{", b'{"a": [' + b"[]," * 9_000_000 + b"[]], ", 1)
    beat = asyncio.create_task(heartbeat())
    status, _ = await post(till, "/v1/messages", body)
    running = False
    await beat
    assert status in (400, 413)
    assert longest < 0.5
    assert len(models.record) == 0


async def test_idle_connections_do_not_use_up_the_daemons_descriptors(till: Till, eventually: Any) -> None:
    """A client in a box may open as many as it likes; the daemon's descriptors are for more than that."""
    port = int(till.gateway.url.rpartition(":")[2])
    opened = []
    try:
        for _ in range(400):
            opened.append(await asyncio.open_connection("127.0.0.1", port))  # noqa: PERF401
        await eventually(lambda: sum(reader.at_eof() for reader, _ in opened) >= 100, timeout_s=3)
        await still_works(till)
    finally:
        for _, writer in opened:
            writer.close()


@pytest.mark.parametrize("way", ["status 302", "status 204", "status 206", "many headers"])
async def test_an_upstream_that_misbehaves_gets_no_key_elsewhere_and_no_money(
    till: Till, models: ModelServer, way: str
) -> None:
    async with ModelServer(say("elsewhere")) as elsewhere:
        if way == "many headers":
            models.scenario = say(TEXT, usage=TRUTH, headers={f"x-{n}": "y" * 8000 for n in range(10)})
        else:
            models.scenario = say(TEXT, status=int(way[-3:]), headers={"location": elsewhere.url + "/v1/messages"})
        for wire in WIRES:
            await post(till, *ask(wire, stream=True))
        assert len(elsewhere.record) == 0
    await till.settled()
    await still_works(till)


@pytest.mark.parametrize("given", ["", "x", "sk-auto-dev-", "wrong-but-long-enough-token-0123456789"])
async def test_a_wrong_token_learns_nothing(till: Till, models: ModelServer, given: str) -> None:
    for where in (
        {"x-api-key": given},
        {"x-api-key": "", "authorization": f"Bearer {given}"},
        {"x-goog-api-key": given},
    ):
        status, answer = await post(till, "/v1/messages", messages(), **({"x-api-key": ""} | where))
        assert status == 400
        assert till.grant.token.encode() not in answer
    assert len(models.record) == 0


async def test_a_token_is_dead_when_its_grant_is_left(db: Database, models: ModelServer) -> None:
    async with open_till(db, models) as till:
        await till.grant.__aexit__(None, None, None)
        status, _ = await post(till, "/v1/messages", messages())
        assert status == 400
    assert len(models.record) == 0
