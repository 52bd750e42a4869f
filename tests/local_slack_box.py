"""Runs local-slack in a network namespace of its own, and the few connections that it may have.

It listens on all interfaces, so it gets none but a loopback of its own. Connections that come to the inherited
listening socket (of the outer namespace) are led to it; what it sends to ``OUT_PORT`` goes to a unix socket.

    python local_slack_box.py LISTENING_FD PORT UNIX_SOCKET OUT_PORT COMMAND…
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import suppress


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    other: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    try:
        await asyncio.gather(_pump(reader, other[1]), _pump(other[0], writer))
    finally:
        for end in (writer, other[1]):
            end.close()


async def main() -> int:
    descriptor, port, outside, out_port, *command = sys.argv[1:]
    process = await asyncio.create_subprocess_exec(*command)

    async def inward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner = await asyncio.open_connection("127.0.0.1", int(port))
        except OSError:
            writer.close()
            return
        await _join(reader, writer, inner)

    async def outward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            outer = await asyncio.open_unix_connection(outside)
        except OSError:
            writer.close()
            return
        await _join(reader, writer, outer)

    await asyncio.start_server(inward, sock=socket.socket(fileno=int(descriptor)))
    if int(out_port):
        await asyncio.start_server(outward, "127.0.0.1", int(out_port))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, process.kill)
    return await process.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
