"""JSON-RPC 2.0, one message a line, with a program that is not trusted: every message may be missing, wrong or endless.

Our own hundred lines instead of the protocol's library: that one reads a stream with a limit of its own, refuses a
whole message for one field that it does not know, and would have to be bent to a process that runs in a sandbox.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from auto_dev.agents.cli import parse_object
from auto_dev.agents.lines import Lines
from auto_dev.processes import Write
from auto_dev.tasks import end_tasks
from auto_dev.text import line

NO_SUCH_METHOD: Final = -32601
_MOST_WAITING: Final = 10_000  # answers that the other side has not read yet


class RpcError(Exception):
    """The other side answered with an error. ``code`` as in JSON-RPC, 0 when it is gone."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


OnRequest = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
OnNote = Callable[[str, Mapping[str, Any]], None]


class Peer:
    """The other side. ``on_request`` answers its requests (RpcError is the answer, too), ``on_note`` hears the rest."""

    def __init__(self, on_request: OnRequest, on_note: OnNote) -> None:
        self.lines = Lines(self._line)
        self._on_request = on_request
        self._on_note = on_note
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        self._last = 0

    async def request(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Ask, and wait for the answer. Raises RpcError."""
        self._last += 1
        number = self._last
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send({"id": number, "method": method, "params": params})
            value = await answer
        finally:
            self._waiting.pop(number, None)
        return value if isinstance(value, dict) else {}

    async def pump(self, write: Write) -> None:
        """Write what is to be said, for ever. Raises BrokenPipeError when nobody reads."""
        while True:
            await write(await self._outgoing.get())

    async def drained(self, write: Write, talk: Callable[[], Any]) -> None:
        """Hold the conversation ``talk`` over ``write``; it ends, or the pipe does."""
        pump = asyncio.create_task(self.pump(write))
        talking = asyncio.create_task(talk())
        try:
            await asyncio.wait({pump, talking}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
            talking.result()
        finally:
            await end_tasks(pump, talking)

    def _send(self, message: Mapping[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=True).encode() + b"\n"
        try:
            self._outgoing.put_nowait(data)
        except asyncio.QueueFull:
            raise RpcError(0, "it asks without reading the answers") from None

    def _line(self, text: str) -> None:
        message = parse_object(text)
        number, method = message.get("id"), message.get("method")
        params = message.get("params")
        given = params if isinstance(params, dict) else {}
        if isinstance(method, str) and number is None:
            self._on_note(method, given)
        elif isinstance(method, str) and isinstance(number, (int, str)):
            self._answer(number, method, given)
        elif isinstance(number, int) and (waiting := self._waiting.get(number)) and not waiting.done():
            if isinstance(error := message.get("error"), dict):
                waiting.set_exception(_error(error))
            else:
                waiting.set_result(message.get("result"))

    def _answer(self, number: int | str, method: str, params: Mapping[str, Any]) -> None:
        try:
            answer: dict[str, Any] = {"result": self._on_request(method, params)}
        except RpcError as error:
            answer = {"error": {"code": error.code, "message": error.message}}
        try:
            self._send({"id": number, **answer})
        except RpcError as error:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(error)


def _error(error: Mapping[str, Any]) -> RpcError:
    code, data = error.get("code"), error.get("data")
    more = data.get("details") or data.get("message") if isinstance(data, dict) else data
    text = str(error.get("message") or "an error without words")
    if isinstance(more, str) and more and more not in text:
        text = f"{text}: {more}"
    return RpcError(code if isinstance(code, int) and code else -32603, line(text, 600), data)
