"""The relay and the proxy: the only two ways out of a box."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from auto_dev.processes import Finished
from auto_dev.sandbox import relay
from auto_dev.sandbox.base import Box, SandboxError
from auto_dev.sandbox.bubblewrap import Bubblewrap
from auto_dev.sandbox.hosts import Rules
from auto_dev.sandbox.probe import Problem, find
from auto_dev.sandbox.proxy import EgressProxy, proxy_env

pytestmark = pytest.mark.integration
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
Inside = Callable[..., Awaitable[tuple[Finished, str]]]
Serve = Callable[[StreamReader, StreamWriter], Awaitable[None]]
PRELUDE = (
    "import os, socket, sys, threading, time\ndef connect(): return socket.create_connection(('127.0.0.1', 8080))\n"
)


@pytest.fixture(scope="module")
def sandbox() -> Bubblewrap:
    found = find(os.environ)
    if isinstance(found, Problem):
        pytest.skip(f"{found.what}. {found.mend}")
    return found


@pytest.fixture
def place(short_tmp: Path, request: pytest.FixtureRequest) -> Path:
    folder = short_tmp / f"relay-{abs(hash(request.node.name)) % 10**8}"
    for name in ("home", "wt"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture
def inside(sandbox: Bubblewrap, place: Path) -> Inside:
    async def run(script: str, *argv: str, **options: Any) -> tuple[Finished, str]:
        box = Box(place / "home", (place / "wt",), forwards={8080: place / "s"})
        command = argv or ("/usr/bin/python3", "-I", "-S", "-c", PRELUDE + script)
        given: dict[str, Any] = {"env": ENV, "timeout_s": 30} | options
        done = await sandbox.enter(box)(command, cwd=place / "wt", output=place / "out", **given)
        return done, (place / "out").read_text("utf-8", "replace")

    return run


@asynccontextmanager
async def serving(path: Path, serve: Serve) -> AsyncIterator[None]:
    async def quietly(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(ConnectionError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_unix_server(quietly, path, backlog=4096)
    try:
        yield
    finally:
        server.close()


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def test_bytes_go_both_ways_and_ends_are_passed_on(inside: Inside, place: Path) -> None:
    script = """
s, n, got = connect(), 30_000_000, 0
threading.Thread(target=lambda: (s.sendall(b"x" * n), s.shutdown(socket.SHUT_WR))).start()
while data := s.recv(1 << 20): got += len(data)
print(got == n)
"""
    async with serving(place / "s", echo):
        done, said = await inside(script)
    assert (done.exit_code, said) == (0, "True\n")


async def test_an_answer_streams_after_the_question_has_ended(inside: Inside, place: Path) -> None:
    async def stream(reader: StreamReader, writer: StreamWriter) -> None:
        asked = await reader.read()  # until the end
        for number in range(3):
            writer.write(b"%d:%s;" % (number, asked))
            await writer.drain()
            await asyncio.sleep(0.02)

    script = """
s = connect(); s.sendall(b"q"); s.shutdown(socket.SHUT_WR); parts = []
while data := s.recv(100): parts.append(data)
print(b"".join(parts).decode(), len(parts) > 1)
"""
    async with serving(place / "s", stream):
        done, said = await inside(script)
    assert (done.exit_code, said) == (0, "0:q;1:q;2:q; True\n")


async def test_five_hundred_connections_at_once(inside: Inside, place: Path) -> None:
    script = """
many = [connect() for _ in range(500)]
for n, s in enumerate(many): s.sendall(b"%d" % n)
print(all(s.recv(100) == b"%d" % n for n, s in enumerate(many)))
"""
    async with serving(place / "s", echo):
        done, said = await inside(script)
    assert (done.exit_code, said) == (0, "True\n")


async def test_broken_connections_end_nothing_else(inside: Inside, place: Path) -> None:
    """Resets from both sides, a server that is gone: the command and later connections go on."""
    count = 0

    async def unfriendly(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal count
        count += 1
        if count % 2:
            writer.transport.abort()
            return
        await echo(reader, writer)

    script = """
import struct
for n in range(60):
    s = connect()
    if n % 3 == 0: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    try: s.sendall(b"x" * 100000); s.recv(1)
    except OSError: pass
    s.close()
os.unlink("go") if os.path.exists("go") else None
good = 0
for _ in range(4):
    s = connect()
    try: s.sendall(b"hello"); good += s.recv(5) == b"hello"
    except OSError: pass
print(good)
"""
    async with serving(place / "s", unfriendly):
        done, said = await inside(script)
    assert (done.exit_code, said) == (0, "2\n")


async def test_without_a_server_a_connection_just_ends(inside: Inside, place: Path) -> None:
    async with serving(place / "s", echo):
        pass
    (place / "s").touch()
    script = """
s = connect()
try: print(s.recv(1))
except OSError as error: print("reset")
"""
    done, said = await inside(script)
    assert (done.exit_code, said.strip() in ("b''", "reset")) == (0, True)


async def test_a_socket_that_is_not_there_is_refused_before_the_start(inside: Inside) -> None:
    with pytest.raises(SandboxError, match="could not be made"):
        await inside("", "true")


async def test_the_command_ends_as_without_the_relay(inside: Inside, place: Path) -> None:
    async with serving(place / "s", echo):
        assert (await inside("", "sh", "-c", "exit 7"))[0].exit_code == 7
        assert (await inside("", "sh", "-c", "kill -9 $$"))[0].signal == 9
        assert (await inside("", "sh", "-c", "cat", stdin=b"given\n"))[1] == "given\n"
        done, said = await inside("", "sh", "-c", "trap 'echo once; exit 0' TERM; while :; do sleep 0.05; done",
                                  timeout_s=1)  # fmt: skip
    assert done.stopped == "timeout"
    assert said.count("once") == 1
    assert done.duration_s < 5


async def test_the_relay_is_no_way_to_anything_else(inside: Inside, place: Path) -> None:
    """It is readable and not writable, and it listens on nothing but its port."""
    script = """
try: open("/run/auto-dev/relay.py", "a"); print("writable")
except OSError: print("held")
rows = [row.split() for row in open("/proc/net/tcp").readlines()[1:]]
print(sorted({row[1] for row in rows if row[3] == "0A"}))
"""
    async with serving(place / "s", echo):
        _, said = await inside(script)
    assert said == "held\n['0100007F:1F90']\n"


async def web(reader: StreamReader, writer: StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
    body = head + await reader.readexactly(length)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


@asynccontextmanager
async def proxied(
    place: Path, allow: list[str], addresses: list[list[str]] | None = None
) -> AsyncIterator[tuple[int, list[str]]]:
    """A web server on loopback behind the proxy, whose port is ``{port}`` in ``allow``; its port, what was refused."""
    refused: list[str] = []
    answers = list(addresses or [])

    async def resolve(host: str, port: int) -> list[str]:
        return answers.pop(0) if answers else ["127.0.0.1"]

    server = await asyncio.start_server(web, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    rules = Rules.of([entry.replace("{port}", str(port)) for entry in allow])
    try:
        async with EgressProxy(rules, refused.append, resolve) as proxy:
            await proxy.listen(place / "s")
            yield port, refused
    finally:
        server.close()
    assert not (place / "s").exists()


async def ask(place: Path, request: bytes, more: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_unix_connection(place / "s")
    try:
        writer.write(request)
        if more:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            writer.write(more)
        with suppress(ConnectionError):
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_a_tunnel_to_an_allowed_host(place: Path) -> None:
    async with proxied(place, ["models.test:{port}"]) as (port, refused):
        connect = b"CONNECT Models.TEST.:%d HTTP/1.1\r\nHost: whatever\r\n\r\n" % port
        said = await ask(place, connect, b"GET / HTTP/1.1\r\nHost: models.test\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert refused == []


async def test_plain_http_goes_on_as_one_request_without_the_proxys_headers(place: Path) -> None:
    async with proxied(place, ["models.test:{port}"]) as (port, _):
        head = b"POST http://models.test:%d/a?b=c HTTP/1.1\r\nHost: evil\r\nProxy-Authorization: x\r\n" % port
        rest = b"Connection: X-Drop\r\nX-Drop: 1\r\nX-Keep: 1\r\nContent-Length: 4\r\n\r\nbody"
        said = await ask(place, head + rest + b"GET http://second/ HTTP/1.1\r\nHost: evil\r\n\r\n")
    _, _, seen = said.partition(b"\r\n\r\n")
    wanted = f"POST /a?b=c HTTP/1.1\r\nHost: models.test:{port}\r\nX-Keep: 1\r\nContent-Length: 4\r\nConnection: close"
    assert seen == f"{wanted}\r\n\r\nbody".encode()


@pytest.mark.parametrize(
    "target",
    [
        b"evil.test:443", b"sub.models.test:443", b"models.test.evil.test:443", b"models.test:22", b"127.0.0.1:443",
        b"[::1]:443", b"[::ffff:127.0.0.1]:443", b"2130706433:443", b"0x7f.1:443", b"169.254.169.254:80",
        b"localhost:443", b"models.test:443@evil.test:443", b"models.test%2eevil.test:443", b"models.test%00.evil:443",
    ],
)  # fmt: skip
async def test_what_is_not_allowed_is_refused(place: Path, target: bytes) -> None:
    async with proxied(place, ["models.test"]) as (_, refused):
        said = await ask(place, b"CONNECT %s HTTP/1.1\r\n\r\n" % target)
    assert said.startswith((b"HTTP/1.1 403", b"HTTP/1.1 400"))
    assert bool(refused) == said.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1", "100.64.0.1"])
async def test_a_public_name_cannot_lead_into_a_private_network(place: Path, address: str) -> None:
    async with proxied(place, ["models.test", "*.models.test"], [[address]] * 2) as (_, refused):
        for name in (b"models.test", b"x.models.test"):
            said = await ask(place, b"CONNECT %s:443 HTTP/1.1\r\n\r\n" % name)
            assert said.startswith(b"HTTP/1.1 403"), said
            assert b'name it with its port: "' + name + b':443"' in said
    assert refused == ["models.test:443", "x.models.test:443"]


async def test_a_name_is_resolved_once(place: Path) -> None:
    """Rebinding: a second answer would be loopback. The connection goes to what was judged, or nowhere."""
    async with proxied(place, ["models.test:80"], [["192.0.2.1"], ["127.0.0.1"]]) as (_, _refused):
        task = asyncio.create_task(ask(place, b"CONNECT models.test:80 HTTP/1.1\r\n\r\n"))
        done, _ = await asyncio.wait({task}, timeout=0.5)
        assert not done or task.result().startswith(b"HTTP/1.1 502")
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET https://models.test/ HTTP/1.1\r\n\r\n",
        b"GET http://user@models.test/ HTTP/1.1\r\n\r\n",
        b"GET http://models.test\\@evil.test/ HTTP/1.1\r\n\r\n",
        b"CONNECT models.test HTTP/1.1\r\n\r\n",
        b"CONNECT models.test:443 HTTP/9\r\n\r\n",
        b"CONNECT models.test:443\x00 HTTP/1.1\r\n\r\n",
        b"CONNECT models.test:443\nevil HTTP/1.1\r\n\r\n",
        b"CONNECT models.test:443 HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"CONNECT models.test:443 HTTP/1.1\r\nX: a\r\n folded\r\n\r\n",
        b"POST http://models.test/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST http://models.test/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST http://models.test/ HTTP/1.1\r\nContent-Length: +1\r\n\r\nx",
        b"CONNECT models.test:443 HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused(place: Path, request_: bytes) -> None:
    async with proxied(place, ["models.test"]) as (_, refused):
        said = await ask(place, request_)
    assert said[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431")
    assert refused == []


async def test_leaving_ends_open_tunnels(place: Path) -> None:
    async with proxied(place, ["models.test:{port}"]) as (port, _):
        reader, writer = await asyncio.open_unix_connection(place / "s")
        writer.write(b"CONNECT models.test:%d HTTP/1.1\r\n\r\n" % port)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_program_in_a_box_reaches_what_is_allowed_and_nothing_else(inside: Inside, place: Path) -> None:
    script = """
import sys; sys.path[:0] = []
from urllib.request import urlopen
from urllib.error import HTTPError
def get(url):
    try: return urlopen(url, timeout=10).status
    except HTTPError as error: return error.code, error.read().decode()
print(get(f"http://models.test:{os.environ['PORT']}/x"))
print(get("http://evil.test/"))
"""
    async with proxied(place, ["models.test:{port}"]) as (port, refused):
        done, said = await inside(script, env={**ENV, **proxy_env(8080), "PORT": str(port)})
    assert done.exit_code == 0, said
    assert said.splitlines()[0] == "200"
    assert "evil.test:80 is not in [sandbox] allow_hosts" in said
    assert refused == ["evil.test:80"]


def test_the_relay_needs_nothing_but_the_standard_library() -> None:
    """It is shown to a box as one file, and is started for each command."""
    import subprocess

    code = (
        f"import sys; exec(open({relay.__file__!r}).read(), {{'__name__': 'relay'}});"
        "print([name for name in ('socket', 'enum', 're', 'selectors', 'auto_dev') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
