"""HTTP on any number of sockets in the running event loop: uvicorn's protocol without its process-wide parts."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

App = Callable[[Any, Any, Any], Awaitable[None]]

_HEAD_LIMIT: Final = 64 * 1024  # bytes of a request's line and headers
_BACKLOG: Final = 1024
_ENDING_S: Final = 5.0

# A client that hangs up or sends no HTTP is no event worth a line, and no trace may show what was in a request.
_log = logging.getLogger("auto_dev.gateway.http")


class _Protocol(HttpToolsProtocol):
    """Reads requests with a bound on their heads, which the parser itself does not have."""

    _head: int = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _log
        self.access_log = False

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self._head > _HEAD_LIMIT and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def on_headers_complete(self) -> None:
        self._head = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head = -len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = 0
        super().on_message_complete()


class Listener:
    """Serves ``app`` on one socket until it is closed."""

    def __init__(self, app: App) -> None:
        self._config = Config(
            app, http=_Protocol, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
            date_header=False, proxy_headers=False, timeout_keep_alive=75,
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
            return _Protocol(config=self._config, server_state=self._state, app_state={}, _loop=loop)

        self._server = await loop.create_server(protocol, sock=sock, backlog=_BACKLOG)
