"""HTTP on any number of sockets in the running event loop: uvicorn's protocol without its process-wide parts."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

App = Callable[[Any, Any, Any], Awaitable[None]]

_HEAD_LIMIT: Final = 64 * 1024  # bytes of a request's line and headers
_BACKLOG: Final = 256
_ENDING_S: Final = 5.0

_MOST_EACH: Final = 256  # connections on one socket; agents use some ten
_MOST: Final = 1024  # on all of them, and never more than a third of the process's descriptors
_LEAST: Final = 32
_HEAD_S: Final = 30.0  # for a request's line and headers
_PAUSE_S: Final = 60.0  # without a byte of a body that is not complete
_BODY_S: Final = 600.0
_IDLE_S: Final = 75.0  # between two requests
_LOOK_S: Final = 5.0

# A client that hangs up or sends no HTTP is no event worth a line, and no trace may show what was in a request.
_log = logging.getLogger("auto_dev.gateway.http")


class _Protocol(HttpToolsProtocol):
    """Reads requests with bounds that the parser itself does not have: on a head's size, and on how long all takes."""

    def __init__(self, crowd: Crowd, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.logger = _log
        self.access_log = False
        self.last = self.loop.time()  # when something came, or an answer was complete
        self._crowd = crowd
        self._head = 0
        self._begun: float | None = self.last  # of the head or body that is not complete

    @property
    def busy(self) -> bool:
        """Whether a request is being read or answered."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def overdue(self, now: float) -> bool:
        """Whether the client takes longer than it may."""
        waited, taken = now - self.last, 0.0 if self._begun is None else now - self._begun
        if not self.busy:  # usually closed before, when its answer is written out
            return waited > 2 * _IDLE_S or taken > _HEAD_S
        return self.cycle.more_body and (waited > _PAUSE_S or taken > _BODY_S)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._crowd.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.last = self.loop.time()
        self._head += len(data)
        super().data_received(data)
        if self._head > _HEAD_LIMIT and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        if not self.busy:
            self._begun = self.last
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head = 0
        self._begun = self.last
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head = -len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.last = self.loop.time()
        self._begun = None
        super().on_response_complete()


class Crowd:
    """All connections of a gateway. Where there are too many, the one that has been idle longest goes.

    A client in a box may open as many as it likes: the process's descriptors are for more than that.
    """

    def __init__(self) -> None:
        self._members: set[_Protocol] = set()
        self._looking: asyncio.TimerHandle | None = None

    def enter(self, member: _Protocol) -> None:
        """Take a new connection in, and end another one or itself where there is no room."""
        self._members.add(member)
        if self._looking is None:
            self._looking = member.loop.call_later(_LOOK_S, self._look)
        if len(member.connections) > _MOST_EACH:
            _end_one(member.connections, member)
        elif len(self._members) > _most():
            _end_one(max((each.connections for each in self._members), key=len), member)

    def leave(self, member: _Protocol) -> None:
        self._members.discard(member)

    def _look(self) -> None:
        """End what takes too long; as long as there is anybody, again and again."""
        self._looking = None
        for member in list(self._members):
            now = member.loop.time()
            if member.overdue(now):
                member.transport.abort()
            if self._looking is None:
                self._looking = member.loop.call_later(_LOOK_S, self._look)


def _most() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(_MOST, soft // 3), _LEAST) if soft != resource.RLIM_INFINITY else _MOST


def _end_one(crowded: set[Any], last: _Protocol) -> None:
    idle = [each for each in crowded if not each.busy and not each.transport.is_closing()]
    min(idle, key=lambda each: each.last, default=last).transport.abort()


class Listener:
    """Serves ``app`` on one socket until it is closed."""

    def __init__(self, app: App, crowd: Crowd) -> None:
        self._crowd = crowd
        self._config = Config(
            app, http=_Protocol, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
            date_header=False, proxy_headers=False, timeout_keep_alive=int(_IDLE_S),
        )  # fmt: skip
        _log.setLevel(logging.CRITICAL + 1)
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self.address: Any = None

    async def listen_tcp(self) -> str:
        """Serve on a free port of the loopback interface; returns the URL."""
        # With the protocol named, asyncio turns Nagle's algorithm off; without, an answer's second part waits 40 ms.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        await self._serve(sock)
        return f"http://127.0.0.1:{sock.getsockname()[1]}"

    async def listen_unix(self, path: Path) -> None:
        """Serve on the socket ``path``, which nobody else may open."""
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(str(path))
            path.chmod(0o600)  # before anybody can connect
        except OSError:
            sock.close()
            raise
        self._path = path
        await self._serve(sock)

    async def close(self) -> None:
        """Stop serving; what is still being answered is cut off after a moment."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=_ENDING_S)
        for connection in list(self._state.connections):
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def _serve(self, sock: socket.socket) -> None:
        self._config.load()
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        os.set_inheritable(sock.fileno(), False)

        def protocol() -> _Protocol:
            return _Protocol(self._crowd, config=self._config, server_state=self._state, app_state={}, _loop=loop)

        self._server = await loop.create_server(protocol, sock=sock, backlog=_BACKLOG)
