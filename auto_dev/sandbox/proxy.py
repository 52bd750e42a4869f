"""The way out of a box: an HTTP proxy on unix sockets that lets through what the policy names, and nothing else.

A name is brought into its one spelling, judged, resolved once, and the connection goes to an address that was judged
too: a name that changes its address in between (rebinding) gains nothing. What is inside a TLS tunnel stays unread.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from auto_dev.sandbox.hosts import BadHostError, Rules, authority, shown
from auto_dev.tasks import end_tasks

log = logging.getLogger(__name__)

_HEAD_BYTES: Final = 32 * 1024
_HEAD_S: Final = 15.0
_CONNECT_S: Final = 15.0
_IDLE_S: Final = 900.0
_CHUNK: Final = 65536
_MOST_CONNECTIONS: Final = 200  # of one box, with two descriptors each: the process needs some for more than that
_MOST_TOLD: Final = 200
_METHOD: Final = re.compile(r"^[A-Z]{1,20}$")
_HEADER: Final = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$")
_HOP: Final = ("connection", "keep-alive", "te", "trailer", "upgrade", "host", "expect")

Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, by the system's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def proxy_env(port: int) -> dict[str, str]:
    """What tells programs in a box of the proxy that listens on this port of 127.0.0.1 there."""
    url, local = f"http://127.0.0.1:{port}", "localhost,127.0.0.1,::1"
    names = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "ALL_PROXY": url, "NO_PROXY": local}
    return {**names, **{name.lower(): value for name, value in names.items()}, "NODE_USE_ENV_PROXY": "1"}


class _RefusedError(Exception):
    """Answered with a status and a line of text."""

    def __init__(self, status: str, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request's head. ``rewritten`` is what goes on for plain http, None for CONNECT."""

    host: str
    port: int
    rewritten: bytes | None
    body_bytes: int


class EgressProxy:
    """Serves any number of unix sockets under one policy. Leaving the context ends every connection.

    ``on_refused("host:port")`` is called once for each destination that was refused by the policy.
    """

    def __init__(
        self, rules: Rules, on_refused: Callable[[str], None] | None = None, resolve: Resolve = resolve
    ) -> None:
        self._rules = rules
        self._on_refused = on_refused
        self._resolve = resolve
        self._servers: dict[Path, asyncio.Server] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: set[str] = set()

    async def __aenter__(self) -> EgressProxy:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for path in list(self._servers):
            await self.ignore(path)
        await end_tasks(*self._tasks)

    async def listen(self, path: Path) -> None:
        """Serve on this unix socket, which only this user may open. Raises OSError."""
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._accept, path, limit=_HEAD_BYTES, backlog=1024)
        path.chmod(0o600)
        self._servers[path] = server

    async def ignore(self, path: Path) -> None:
        """Serve there no more; connections that are under way go on."""
        server = self._servers.pop(path)
        server.close()
        path.unlink(missing_ok=True)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if len(self._tasks) >= _MOST_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            try:
                asked = await self._asked(reader)
                there = await self._connect(asked.host, asked.port)
            except _RefusedError as error:
                await _answer(writer, error)
                return
            try:
                await _tunnel(asked, (reader, writer), there)
            finally:
                there[1].transport.abort()
        except (OSError, EOFError):
            pass  # one of the two sides is gone: the other is told by the end of its connection
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _asked(self, reader: StreamReader) -> _Asked:
        try:
            async with asyncio.timeout(_HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            raise _RefusedError("408 Request Timeout", "the request took too long") from None
        except asyncio.LimitOverrunError:
            raise _RefusedError("431 Request Header Fields Too Large", "the request's head is too large") from None
        try:
            return parse(head)
        except BadHostError as error:
            raise _RefusedError("400 Bad Request", str(error)) from None

    async def _connect(self, host: str, port: int) -> tuple[StreamReader, StreamWriter]:
        if not self._rules.allow(host, port):
            self._tell(host, port)
            raise _RefusedError("403 Forbidden", f"{shown(host, port)} is not in [sandbox] allow_hosts")
        try:
            async with asyncio.timeout(_CONNECT_S):
                addresses = await self._resolve(host, port)
        except (OSError, TimeoutError, UnicodeError):
            raise _RefusedError("502 Bad Gateway", f"{host} has no address") from None
        allowed = [address for address in addresses if self._rules.allow_address(host, port, address)]
        if not allowed:
            self._tell(host, port)
            why = f'leads into a private network; if that is meant, name it with its port: "{shown(host, port)}"'
            raise _RefusedError("403 Forbidden", f"{host} {why}")
        for address in allowed:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    return await asyncio.open_connection(address, port)
            except (OSError, TimeoutError):
                continue
        raise _RefusedError("502 Bad Gateway", f"{shown(host, port)} cannot be reached")

    def _tell(self, host: str, port: int) -> None:
        name = shown(host, port)
        if name in self._told or len(self._told) >= _MOST_TOLD:
            return
        self._told.add(name)
        log.warning("the sandbox refused a connection to %s", name, extra={"action": "egress_refused", "host": name})
        if self._on_refused is not None:
            self._on_refused(name)


def parse(head: bytes) -> _Asked:
    """What a request's head asks for. Raises BadHostError for whatever could be read in two ways."""
    lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not _METHOD.match(words[0]) or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadHostError("not an HTTP request to a proxy")
    if not all(_HEADER.match(row) for row in lines[1:]):
        raise BadHostError("a header with control characters, or folded over lines")
    method, target = words[0], words[1]
    if not re.fullmatch(r"[\x21-\x7e\x80-\xff]+", target):
        raise BadHostError("a target with control characters")
    if method == "CONNECT":
        host, port = authority(_text(target))
        return _Asked(host, port, None, 0)
    match = re.match(r"^http://([^/?#\\]*)((?:[/?][^#]*)?)$", target, re.IGNORECASE)
    if match is None:
        raise BadHostError("only CONNECT and http:// addresses are forwarded")
    host, port = authority(_text(match[1]), 80)
    rows, body_bytes = _forwarded(lines[1:])
    path = match[2] if match[2].startswith("/") else f"/{match[2]}"
    place = shown(host, port) if port != 80 else shown(host, port).removesuffix(":80")
    text = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {place}", *rows, "Connection: close", "", ""])
    return _Asked(host, port, text.encode("latin-1"), body_bytes)


def _text(target: str) -> str:
    try:
        return target.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise BadHostError("not a host name") from None


def _forwarded(rows: list[str]) -> tuple[list[str], int]:
    """The headers that go on, and the length of the body: of one request only, a second may mean another host."""
    kept: list[str] = []
    lengths: set[str] = set()
    named = {
        name.strip().lower()
        for row in rows
        if row.lower().startswith("connection:")
        for name in row.partition(":")[2].split(",")
    }
    for row in rows:
        name, _, value = row.partition(":")
        lower = name.lower()
        if lower == "transfer-encoding":
            raise BadHostError("a request body without its length is not forwarded over plain http")
        if lower == "content-length":
            lengths.add(value.strip())
        if lower in _HOP or lower in named - {"content-length"} or lower.startswith("proxy-"):
            continue
        kept.append(row)
    if len(lengths) > 1 or not all(re.fullmatch(r"[0-9]{1,15}", length) for length in lengths):
        raise BadHostError("not the length of a body")
    return kept, int(lengths.pop()) if lengths else 0


async def _answer(writer: StreamWriter, error: _RefusedError) -> None:
    body = f"auto-dev: {error}\n".encode()
    head = f"HTTP/1.1 {error.status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
    await writer.drain()


async def _tunnel(
    asked: _Asked, here: tuple[StreamReader, StreamWriter], there: tuple[StreamReader, StreamWriter]
) -> None:
    """Bytes in both directions until both have ended, or nothing moves for a long time."""
    if asked.rewritten is None:
        here[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await here[1].drain()
        moving = [_pump(here[0], there[1], None), _pump(there[0], here[1], None)]
    else:
        there[1].write(asked.rewritten)
        await there[1].drain()
        moving = [_pump(here[0], there[1], asked.body_bytes, close=False), _pump(there[0], here[1], None)]
    tasks = [asyncio.create_task(each) for each in moving]
    try:
        for task in asyncio.as_completed(tasks):
            await task
    finally:
        await end_tasks(*tasks)


async def _pump(reader: StreamReader, writer: StreamWriter, most: int | None, *, close: bool = True) -> None:
    left = most
    while left is None or left > 0:
        async with asyncio.timeout(_IDLE_S):
            data = await reader.read(_CHUNK if left is None else min(_CHUNK, left))
        if not data:
            break
        writer.write(data)
        async with asyncio.timeout(_IDLE_S):
            await writer.drain()
        left = left if left is None else left - len(data)
    if close and writer.can_write_eof():
        writer.write_eof()
