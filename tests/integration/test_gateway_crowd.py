"""Clients that open too much, send too slowly, or hold too much at once."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from auto_dev.budget.gateway import listener
from auto_dev.store.database import Database
from tests.gateway_support import KEY, Till, messages, open_till
from tests.model_server import ModelServer, Tokens, say

pytestmark = pytest.mark.integration

BODY = messages()


@pytest.fixture
async def till(db: Database) -> AsyncIterator[Till]:
    async with ModelServer(say("Hello.", usage=Tokens(10, 2)), keys=[KEY]) as models, open_till(db, models) as opened:
        yield opened


def post(till: Till, *, length: int = len(BODY)) -> bytes:
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: {till.grant.token}\r\nContent-Length: {length}\r\n\r\n"
    return head.encode()


def expecting(till: Till) -> bytes:
    """A head whose answer shows that it was read, and that its body is waited for."""
    return post(till).replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")


async def connect(till: Till) -> tuple[StreamReader, StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(till.gateway.url.rpartition(":")[2]))


async def answer(reader: StreamReader) -> bytes:
    """The status line; b"" when the connection was closed without."""
    try:
        async with asyncio.timeout(10):
            return (await reader.readline()).strip()
    except ConnectionError:
        return b""


@pytest.mark.parametrize("sent", ["", "\r\n", "POST /v1/messages HTTP/1.1\r\nx-y: ", "body", "half a body"])
async def test_who_is_too_slow_is_cut_off(till: Till, monkeypatch: pytest.MonkeyPatch, sent: str) -> None:
    for name in ("_HEAD_S", "_PAUSE_S", "_LOOK_S"):
        monkeypatch.setattr(listener, name, 0.05)
    first = {"body": post(till), "half a body": post(till) + BODY[:9]}.get(sent, sent.encode())
    reader, writer = await connect(till)
    writer.write(first)
    assert await answer(reader) == b""
    writer.close()
    assert till.grant.requests == 0


async def test_a_body_by_the_drop_ends_too(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_BODY_S", 0.2)
    monkeypatch.setattr(listener, "_LOOK_S", 0.05)
    reader, writer = await connect(till)
    writer.write(post(till, length=1_000_000))
    waiting = asyncio.create_task(answer(reader))
    while not waiting.done():
        writer.write(b" ")
        await asyncio.wait([waiting], timeout=0.02)
    assert waiting.result() == b""
    writer.close()


async def test_who_waits_for_a_slow_answer_or_between_requests_is_not_cut_off(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_HEAD_S", "_PAUSE_S", "_BODY_S", "_LOOK_S"):
        monkeypatch.setattr(listener, name, 0.05)
    till.models.scenario = say("Hello.", usage=Tokens(10, 2), delay_s=0.4)
    reader, writer = await connect(till)
    for _ in range(2):
        writer.write(post(till) + BODY)
        assert await answer(reader) == b"HTTP/1.1 200 OK"
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r")[0]))
        waiting = asyncio.create_task(reader.read(1))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        waiting.cancel()
        await asyncio.wait([waiting])
    writer.close()


async def test_the_longest_idle_goes_first_and_what_is_busy_stays(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_MOST_EACH", 3)
    busy, idle = await connect(till), await connect(till)
    busy[1].write(expecting(till))
    assert await answer(busy[0]) == b"HTTP/1.1 100 Continue"
    assert await busy[0].readline() == b"\r\n"
    third = await connect(till)
    third[1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await answer(third[0]) == b"HTTP/1.1 200 OK"
    fourth = await connect(till)
    assert await answer(idle[0]) == b""
    busy[1].write(BODY)
    fourth[1].write(post(till) + BODY)
    assert [await answer(reader) for reader, _ in (busy, fourth)] == [b"HTTP/1.1 200 OK"] * 2
    for _, writer in (busy, idle, third, fourth):
        writer.close()


async def test_where_all_are_busy_a_new_connection_is_refused(
    till: Till, monkeypatch: pytest.MonkeyPatch, short_tmp: Path
) -> None:
    monkeypatch.setattr(listener, "_MOST_EACH", 2)
    socket = short_tmp / "s"
    await till.grant.listen(socket)
    opened = [await asyncio.open_unix_connection(str(socket)) for _ in range(2)]
    for _, writer in opened:
        writer.write(expecting(till))
    for reader, _ in opened:
        assert await answer(reader) == b"HTTP/1.1 100 Continue"
    late, writer = await asyncio.open_unix_connection(str(socket))
    assert await answer(late) == b""
    writer.close()
    for reader, writer in opened:  # the two are not harmed
        writer.write(BODY)
        assert await reader.readline() == b"\r\n"
        assert await answer(reader) == b"HTTP/1.1 200 OK"
        writer.close()


async def test_all_sockets_together_leave_descriptors_for_others(
    till: Till, monkeypatch: pytest.MonkeyPatch, short_tmp: Path, eventually: Any
) -> None:
    monkeypatch.setattr(listener, "_most", lambda: 8)
    socket = short_tmp / "s"
    await till.grant.listen(socket)
    flood = [await asyncio.open_unix_connection(str(socket)) for _ in range(30)]
    await eventually(lambda: sum(reader.at_eof() for reader, _ in flood) == 22)
    url, headers = f"{till.gateway.url}/v1/messages", {"x-api-key": till.grant.token}
    # On the other socket: the crowded one gives way.
    async with aiohttp.ClientSession() as http, http.post(url, data=BODY, headers=headers) as response:
        assert response.status == 200
    await eventually(lambda: sum(reader.at_eof() for reader, _ in flood) == 23)
    for _, writer in flood:
        writer.close()


async def test_what_is_under_way_may_not_hold_too_much(till: Till, eventually: Any) -> None:
    till.grant.held.most = 2_000_000
    slow, writer = await connect(till)
    writer.write(post(till, length=2_500_000) + b" " * 1_500_000)
    await eventually(lambda: till.grant.held.now == 1_500_000)
    async with aiohttp.ClientSession() as http:

        async def ask(data: bytes) -> int:
            headers = {"x-api-key": till.grant.token}
            async with http.post(f"{till.gateway.url}/v1/messages", data=data, headers=headers) as response:
                await response.read()
                return response.status

        assert await ask(b" " * 600_000 + BODY) == 429
        assert await ask(b" " * 100_000 + BODY) == 200
        writer.write(b" " * 1_000_000)
        assert await answer(slow) == b"HTTP/1.1 429 Too Many Requests"
        await eventually(lambda: till.grant.held.now == 0)
        assert await ask(b" " * 600_000 + BODY) == 200
    writer.close()
    assert till.grant.stop is None
