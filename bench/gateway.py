"""What the gateway adds to a model request: latency, delay per streamed chunk, requests per second, memory.

Client, gateway and provider are processes of their own; the ledger is in a PostgreSQL with the product's settings.
Everything is measured beside a direct connection in the same run. ``--litellm`` puts the LiteLLM proxy next to it.

A request waits for one commit of its reservation. So that not the disk is measured, the database lies in memory where
that is possible; ``--folder`` puts it elsewhere, and the time of one bare commit there is printed with the rest.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import psutil
import psycopg

from auto_dev.budget.gateway import Gateway, Upstreams
from auto_dev.budget.ledger import Ledger
from auto_dev.budget.limits import BudgetLimits
from auto_dev.budget.meter import RunMeter
from auto_dev.budget.prices import price_table
from auto_dev.store.database import Database
from auto_dev.store.embedded import EmbeddedServer

CHUNKS: Final = 200
CHUNK_PAUSE_S: Final = 0.005
CLIENTS: Final = 64
SECONDS: Final = 4.0
BODY: Final = {"model": "gpt-5", "max_completion_tokens": 1000, "messages": [{"role": "user", "content": "x" * 2000}]}
USAGE: Final = {"prompt_tokens": 500, "completion_tokens": 20, "total_tokens": 520}
ANSWER: Final = json.dumps(
    {
        "id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5", "usage": USAGE,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "word " * 20}}],
    }
).encode()  # fmt: skip


async def main(requests: int, *, litellm: bool, place: str = "") -> None:
    """Measure and print."""
    print(f"{os.cpu_count()} processors, {requests} requests one after the other, {CLIENTS} clients at once")
    async with AsyncExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="auto-dev-bench-", dir=place or _memory()))
        )
        folder.chmod(0o755)  # the embedded server may run as another user
        server = await stack.enter_async_context(EmbeddedServer.open(folder / "pg", linger_s=0))
        database = f"postgresql:///postgres?host={quote(str(server.place.socket), safe='')}&user=auto_dev"
        upstream, _ = await stack.enter_async_context(_process("upstream"))
        ours, process = await stack.enter_async_context(_process("serve", database, upstream["url"]))
        print(f"  one bare commit      {await _commit_ms(database):7.2f} ms  ({folder.parent})")
        targets = [_Target("direct", upstream["url"], "none"), _Target("gateway", ours["url"], ours["token"])]
        if litellm:
            url = await stack.enter_async_context(_litellm(folder, upstream["url"]))
            targets.append(_Target("LiteLLM", url, "sk-bench"))
        before = process.memory_info().rss
        floor = await _measured(targets[0], requests)
        for target in targets[1:]:
            found = await _measured(target, requests)
            print(f"  {target.name}")
            print(f"    added latency      {_beside(found.latency, floor.latency)}")
            print(f"    added per chunk    {_beside(found.chunks, floor.chunks)}")
            ratio = found.rate / floor.rate
            print(f"    requests/s         {found.rate:7.0f}  ({floor.rate:.0f} direct, ratio {ratio:.2f})")
        after = process.memory_info().rss
        print(f"  gateway's memory     {before / 2**20:7.1f} MB, {after / 2**20:.1f} MB after the load")


def _memory() -> str | None:
    """A folder in memory, where there is one."""
    folder = Path("/dev/shm")
    return str(folder) if folder.is_dir() and os.access(folder, os.W_OK) else None


async def _commit_ms(database: str) -> float:
    """The median of a transaction that writes one row."""
    times = []
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
        await conn.execute("CREATE TABLE bench_commit (n int)")
        for number in range(200):
            begun = time.perf_counter()
            await conn.execute("INSERT INTO bench_commit VALUES (%s)", [number])
            times.append(time.perf_counter() - begun)
        await conn.execute("DROP TABLE bench_commit")
    return statistics.median(times) * 1000


class _Target:
    """Something that answers chat completions."""

    def __init__(self, name: str, url: str, token: str) -> None:
        self.name = name
        self.url = f"{url}/v1/chat/completions"
        self.headers = {"authorization": f"Bearer {token}"}


class _Found:
    """Seconds per request, seconds from the sending of a chunk to its arrival, requests per second."""

    def __init__(self, latency: list[float], chunks: list[float], rate: float) -> None:
        self.latency = latency
        self.chunks = chunks
        self.rate = rate


async def _measured(target: _Target, requests: int) -> _Found:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        for _ in range(50):
            await _ask(http, target)
        latency = [await _ask(http, target) for _ in range(requests)]
        chunks = [delay for _ in range(5) for delay in await _stream(http, target)]
        return _Found(latency, chunks, await _rate(http, target))


async def _ask(http: aiohttp.ClientSession, target: _Target) -> float:
    begun = time.perf_counter()
    async with http.post(target.url, json=BODY, headers=target.headers) as response:
        text = await response.read()
        assert response.status == 200, text
    return time.perf_counter() - begun


async def _stream(http: aiohttp.ClientSession, target: _Target) -> list[float]:
    """Every chunk carries the time of its sending; clocks of processes on one machine are the same."""
    delays = []
    async with http.post(target.url, json=BODY | {"stream": True}, headers=target.headers) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            if line.startswith(b"data: {") and b"@" in line:
                sent = int(json.loads(line[6:])["choices"][0]["delta"]["content"].strip("@"))
                delays.append((time.monotonic_ns() - sent) / 1e9)
    return delays


async def _rate(http: aiohttp.ClientSession, target: _Target) -> float:
    end = time.perf_counter() + SECONDS

    async def client() -> int:
        count = 0
        while time.perf_counter() < end:
            await _ask(http, target)
            count += 1
        return count

    begun = time.perf_counter()
    counts = await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return sum(counts) / (time.perf_counter() - begun)


def _beside(found: list[float], floor: list[float]) -> str:
    def p95(values: list[float]) -> float:
        return statistics.quantiles(values, n=20)[18]

    median, high = statistics.median(found) * 1000, p95(found) * 1000
    low, low_high = statistics.median(floor) * 1000, p95(floor) * 1000
    return (
        f"{median - low:7.2f} ms median, {high - low_high:.2f} ms p95  (direct {low:.2f} and {low_high:.2f}, "
        f"ratio {median / low:.1f})"
    )


# -- the processes


@asynccontextmanager
async def _process(what: str, *arguments: str) -> AsyncIterator[tuple[dict[str, Any], psutil.Process]]:
    """A part of this program as a process: what it says first, and the process."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.gateway", what, *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert started.stdout is not None
    assert started.stdin is not None
    try:
        yield json.loads(await started.stdout.readline()), psutil.Process(started.pid)
    finally:
        started.stdin.close()
        await started.wait()


async def serve(database: str, upstream: str) -> None:
    """The gateway's process."""

    def now() -> datetime:
        return datetime.now(UTC)

    big = 10**12
    limits = BudgetLimits(day=big, week=big, story=big)
    async with Database.open(database, Path("unused")) as db, Gateway(lambda _: "sk-upstream-key", now) as gateway:
        ledger = Ledger(db.pool, "bench", now)
        await ledger.ensure_caps(limits)
        meter = RunMeter(ledger, "run", "story", limits, price_table({}, now))
        async with gateway.grant("run", meter, Upstreams(upstream, upstream, upstream)) as grant:
            print(json.dumps({"url": gateway.url, "token": grant.token}), flush=True)
            await asyncio.to_thread(sys.stdin.read)


class _Provider(asyncio.Protocol):
    """Answers every request at once, with as little work as can be: HTTP/1.1 with content-length only."""

    def __init__(self) -> None:
        self._data = b""
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        lower = head.lower()
        if not found:
            return
        length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        self._data = body[length:]
        assert self._transport is not None
        asked = body[:length]
        if b'"stream":true' in asked or b'"stream": true' in asked:
            self._task = asyncio.ensure_future(self._stream())
            return
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
        )

    async def _stream(self) -> None:
        assert self._transport is not None
        write = self._transport.write
        write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        base: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5"}
        for number in range(CHUNKS + 1):
            last = number == CHUNKS
            delta = {} if last else {"role": "assistant", "content": f"@{time.monotonic_ns()}@"}
            choice = {"index": 0, "delta": delta, "finish_reason": "stop" if last else None}
            write(_chunk(b"data: " + json.dumps(base | {"choices": [choice]}).encode() + b"\n\n"))
            await asyncio.sleep(CHUNK_PAUSE_S)
        write(_chunk(b"data: " + json.dumps(base | {"choices": [], "usage": USAGE}).encode() + b"\n\n"))
        write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


async def provide() -> None:
    """The provider's process."""
    server = await asyncio.get_running_loop().create_server(_Provider, "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def _litellm(folder: Path, upstream: str) -> AsyncIterator[str]:
    """The LiteLLM proxy, in an environment of its own that is made once."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auto-dev-bench" / "litellm"
    if not (home / "bin" / "litellm").exists():
        print(f"  setting up LiteLLM in {home} …")
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin" / "pip"), "install", "-qq", "litellm[proxy]"], check=True)
    config = folder / "litellm.yaml"
    settings = {
        "model_list": [
            {
                "model_name": "gpt-5",
                "litellm_params": {"model": "openai/gpt-5", "api_base": f"{upstream}/v1", "api_key": "sk-upstream-key"},
            }
        ],
        "general_settings": {"master_key": "sk-bench"},
    }
    config.write_text(json.dumps(settings))  # JSON is YAML
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    process = await asyncio.create_subprocess_exec(
        str(home / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port),
        env=environment | {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}, cwd=folder,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        await _until(lambda: _is_up(url), 120)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _is_up(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/health/liveliness") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def _until(fact: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not await fact():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not up after {seconds:g} s")
        await asyncio.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    asyncio.run(provide() if sys.argv[1] == "upstream" else serve(*sys.argv[2:4]))
