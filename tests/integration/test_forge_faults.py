"""Whatever fails between auto-dev and the forge, there is one draft in the end."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auto_dev.errors import ForgeError
from auto_dev.forge.base import DraftSpec, ForgeUnavailableError
from auto_dev.forge.body import marker
from auto_dev.forge.credentials import StaticToken
from auto_dev.forge.github import GitHubForge
from auto_dev.forge.github_client import MAX_ANSWER, Patience
from auto_dev.forge.marks import with_title
from auto_dev.forge.standin import StandIn
from auto_dev.model import PullState
from tests.github_support import TOKEN, CheckedTransport, InProcess, github

pytestmark = pytest.mark.integration

SPEC = DraftSpec("auto-dev/A-1", "main", "A-1: title", f"words\n\n{marker('A-1', 'r1')}\n", ("auto-dev",))
OLDER = DraftSpec("auto-dev/A-1", "dev", "A-1: older", f"older\n\n{marker('A-1', 'r0')}\n")


class KilledError(BaseException):
    """The process is gone; nothing catches it."""


Deliver = Callable[[httpx.Request], Awaitable[httpx.Response]]
HTML = "<html><body><h1>Unicorn!</h1></body></html>"
BEFORE = ("unreachable", "kill before", "500", "502 page", "429")
AFTER = ("answer lost", "reset", "kill after", "500 after", "page after", "half after", "shape after", "huge after")
LATE = ("applied late",)
FAULTS = BEFORE + AFTER + LATE


class Faulty(httpx.AsyncBaseTransport):
    """Plays ``fault`` once at the request that ``when`` picks; with a list, one per request in turn."""

    def __init__(self, inner: httpx.AsyncBaseTransport, faults: dict[str, str] | list[str]) -> None:
        self._inner = inner
        self._faults = faults
        self._late: list[httpx.Request] = []
        self.played: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fault = self._next(request)
        if request.method != "GET":
            while self._late:  # what an earlier request asked for happens only now
                await self._inner.handle_async_request(self._late.pop())
        if not fault:
            return await self._inner.handle_async_request(request)
        self.played.append(fault)
        if fault in BEFORE:
            return self._before(fault, request)
        if fault in LATE:
            self._late += [request] if request.method != "GET" else []
            raise httpx.ReadTimeout("late", request=request)
        return self._after(fault, request, await self._inner.handle_async_request(request))

    def _next(self, request: httpx.Request) -> str:
        if isinstance(self._faults, list):
            return self._faults.pop(0) if self._faults else ""
        path = request.url.path.removeprefix("/repos/owner/name")
        return self._faults.pop(f"{request.method} {path}", "")

    def _before(self, fault: str, request: httpx.Request) -> httpx.Response:
        if fault == "unreachable":
            raise httpx.ConnectError("refused", request=request)
        if fault == "kill before":
            raise KilledError
        if fault == "429":
            return httpx.Response(429, headers={"retry-after": "1"}, json={"message": "slow down"})
        return httpx.Response(502, text=HTML) if fault == "502 page" else httpx.Response(500, json={"message": "oops"})

    def _after(self, fault: str, request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if fault == "answer lost":
            raise httpx.ReadTimeout("slow", request=request)
        if fault == "reset":
            raise httpx.RemoteProtocolError("peer closed", request=request)
        if fault == "kill after":
            raise KilledError
        return {
            "500 after": httpx.Response(500, json={"message": "oops"}),
            "page after": httpx.Response(200, text=HTML),
            "half after": httpx.Response(answer.status_code, content=answer.content[: len(answer.content) // 2]),
            "shape after": httpx.Response(answer.status_code, json={"surprise": [1]}),
            "huge after": httpx.Response(answer.status_code, content=b"[" + b" " * MAX_ANSWER + b"]"),
        }[fault]


def adapter(transport: httpx.AsyncBaseTransport, url: str = "https://forge.example", **patience: Any) -> GitHubForge:
    return github(url, transport, jitter=0.0, **patience)


def stand_in(folder: Path) -> tuple[StandIn, httpx.AsyncBaseTransport]:
    standin = StandIn(folder / "forge.json", repository="owner/name", token=TOKEN)
    standin.state.url = "http://127.0.0.1:1"
    return standin, CheckedTransport(InProcess(standin))


def assert_one_draft(standin: StandIn) -> None:
    [stored] = standin.pulls()
    assert (stored["number"], stored["draft"], stored["state"]) == (1, True, "open")
    assert (stored["head"], stored["base"], stored["title"]) == (SPEC.branch, SPEC.base, SPEC.title)
    assert stored["body"].strip() == with_title(SPEC.body, SPEC.title).strip()
    assert stored["labels"] == ["auto-dev"]
    made = [each for each in standin.changes() if each["path"].endswith("/pulls") and each["status"] == 201]
    assert len(made) == 1


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "at",
    ["GET /pulls", "POST /pulls", "GET /labels/auto-dev", "POST /labels", "POST /issues/1/labels", "PATCH /pulls/1"],
)
async def test_one_fault_at_any_boundary_leaves_one_draft(tmp_path: Path, at: str, fault: str) -> None:
    standin, server = stand_in(tmp_path)
    if at.startswith("PATCH"):
        await adapter(server).ensure_draft(OLDER)
    faulty = Faulty(server, {at: fault})
    unreadable = fault == "shape after" and at in ("GET /pulls", "PATCH /pulls/1")
    if unreadable or fault.startswith("kill"):
        with pytest.raises((KilledError, ForgeError)):
            await adapter(faulty).ensure_draft(SPEC)
    else:
        pull = await adapter(faulty).ensure_draft(SPEC)
        assert (pull.number, pull.state) == (1, PullState.DRAFT)
        assert_one_draft(standin)
    assert faulty.played == [fault]
    assert (await adapter(server).ensure_draft(SPEC)).number == 1
    assert_one_draft(standin)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", ["GET /issues/1/comments", "POST /issues/1/comments"])
async def test_one_fault_at_any_boundary_leaves_one_comment(tmp_path: Path, at: str, fault: str) -> None:
    standin, server = stand_in(tmp_path)
    await adapter(server).ensure_draft(SPEC)
    faulty = Faulty(server, {at: fault})
    with contextlib.suppress(KilledError, ForgeError):
        await adapter(faulty).comment(1, "Done.", "A-1:r1")
    assert faulty.played == [fault]
    await adapter(server).comment(1, "Done.", "A-1:r1")
    said = [each["body"] for each in standin.state.data["comments"]]
    # What GitHub carries out only after two looks for it cannot be told from what it never got.
    assert said == [said[0]] * (2 if fault == "applied late" and at.startswith("POST") else 1)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.sampled_from(["", "", *BEFORE, *AFTER]), max_size=10), min_size=1, max_size=4))
def test_any_series_of_faults_and_restarts_leaves_one_comment(attempts: list[list[str]]) -> None:
    async def play(folder: Path) -> None:
        standin, server = stand_in(folder)
        await adapter(server).ensure_draft(SPEC)
        for faults in attempts:
            with contextlib.suppress(KilledError, ForgeError):
                await adapter(Faulty(server, list(faults)), attempts=3).comment(1, "Done.", "A-1:r1")
            assert len(standin.state.data.get("comments", [])) <= 1
        await adapter(server).comment(1, "Done.", "A-1:r1")
        assert len(standin.state.data["comments"]) == 1

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.sampled_from(["", "", *FAULTS]), max_size=14), min_size=1, max_size=4))
def test_any_series_of_faults_and_restarts_leaves_one_draft(attempts: list[list[str]]) -> None:
    async def play(folder: Path) -> None:
        standin, server = stand_in(folder)
        for faults in attempts:
            try:
                await adapter(Faulty(server, list(faults)), attempts=3).ensure_draft(SPEC)
            except (KilledError, ForgeError):
                assert len(standin.pulls()) <= 1
        await adapter(server).ensure_draft(SPEC)
        assert_one_draft(standin)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))


@pytest.mark.parametrize("fault", [each for each in FAULTS if not each.startswith("kill")])
async def test_a_fault_that_stays_is_one_clear_line_and_ends(tmp_path: Path, fault: str) -> None:
    standin, server = stand_in(tmp_path)
    faulty = Faulty(server, [fault] * 100)
    with pytest.raises(ForgeUnavailableError) as caught:
        await adapter(faulty).ensure_draft(SPEC)
    assert str(caught.value).startswith("owner/name: GitHub")
    assert "\n" not in str(caught.value)
    assert "<" not in str(caught.value)
    assert len(faulty.played) <= 4
    assert standin.pulls() == []


async def test_a_create_that_always_fails_after_its_work_is_found_by_looking(tmp_path: Path) -> None:
    standin, server = stand_in(tmp_path)
    assert (await adapter(Faulty(server, {"POST /pulls": "answer lost"})).ensure_draft(SPEC)).number == 1
    posts = [each for each in standin.changes() if each["path"].endswith("/pulls")]
    assert [each["status"] for each in posts] == [201]


async def test_a_create_that_is_applied_late_meets_its_second_try(tmp_path: Path) -> None:
    """The first request is still under way when looking finds nothing: GitHub refuses the second, looking finds it."""
    standin, server = stand_in(tmp_path)
    assert (await adapter(Faulty(server, {"POST /pulls": "applied late"})).ensure_draft(SPEC)).number == 1
    posts = [each for each in standin.changes() if each["path"].endswith("/pulls")]
    assert [each["status"] for each in posts] == [201, 422]


@pytest.mark.parametrize("status", [401, 403, 404, 410, 422])
async def test_a_refusal_is_not_repeated(status: int) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        if request.method == "GET":
            return httpx.Response(200, json=[])
        return httpx.Response(status, json={"message": "no"})

    with pytest.raises(ForgeError):
        await adapter(CheckedTransport(httpx.MockTransport(answer), answers=False)).ensure_draft(SPEC)
    assert asked == ["GET", "POST"]


async def test_pauses_grow_and_stay_bounded() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, headers={"retry-after": "7"} if len(slept) == 2 else {}, text="busy")

    patience = Patience(attempts=8, first_pause_s=1, max_pause_s=10)
    forge = GitHubForge(
        "owner/name",
        StaticToken("token"),
        transport=httpx.MockTransport(answer),
        clock=lambda: datetime(2026, 2, 9, 12, tzinfo=UTC),
        sleep=sleep,
        jitter=lambda: 1.0,
        patience=patience,
    )
    with pytest.raises(ForgeUnavailableError, match="answered 503"):
        await forge.get(1)
    assert slept == [1, 2, 7, 8, 10, 10, 10]


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(serve: Serve) -> AsyncIterator[str]:
    """A server that behaves as badly as ``serve`` does."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client gave up, as it should
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def _silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the client hangs up


async def _trickling(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def _cut(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"number": 1')
    await writer.drain()


async def _endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b" " * 1_000_000)
        await writer.drain()


async def _no_http(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        (_silent, "GitHub cannot be reached: ReadTimeout|did not answer within"),
        (_trickling, "did not answer within"),
        (_cut, "GitHub cannot be reached: RemoteProtocolError"),
        (_endless, "longer than 16 MB"),
        (_no_http, "GitHub cannot be reached: RemoteProtocolError"),
    ],
)
async def test_a_server_that_misbehaves_on_the_wire_does_not_hold_us(serve: Serve, said: str) -> None:
    seconds = 20.0 if serve is _endless else 0.2
    async with raw_server(serve) as url:
        forge = adapter(httpx.AsyncHTTPTransport(), url, attempts=1, answer_s=seconds, connect_s=seconds / 2)
        with pytest.raises(ForgeUnavailableError, match=said):
            await forge.get(1)
        await forge.close()


async def test_nobody_listening_is_one_clear_line() -> None:
    async with raw_server(_silent) as url:
        pass
    forge = adapter(httpx.AsyncHTTPTransport(), url, attempts=2)
    with pytest.raises(ForgeUnavailableError, match="GitHub cannot be reached: ConnectError"):
        await forge.get(1)
    await forge.close()


async def test_a_cancelled_call_lets_its_connection_go() -> None:
    async with raw_server(_silent) as url:
        forge = adapter(httpx.AsyncHTTPTransport(), url)
        call = asyncio.create_task(forge.get(1))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await forge.close()
