"""A server on the loopback that speaks the Anthropic Messages API and answers from a recording.

It keeps no state about a conversation: which answer comes next is how many answers the request already holds. So a
conversation that is taken up again after a crash goes on rightly. Requests are checked as the real API checks them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from types import TracebackType
from typing import Any, Final

from auto_dev.agents.recording import Conversation, RecordedUsage, ToolUse, Turn
from auto_dev.tasks import end_tasks

_LARGEST: Final = 50_000_000
_BYTES_PER_TOKEN: Final = 4  # of ordinary text and code, for usage that was not recorded


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; ``body`` None cuts the connection in the middle of one."""

    status: int
    body: Mapping[str, Any] | None
    headers: Mapping[str, str]


class Playback:
    """Serves one conversation while it is open. ``base_url`` is what an Anthropic client is pointed at."""

    def __init__(self, conversation: Conversation, model: str) -> None:
        self._conversation = conversation
        self._model = model
        self._failed: dict[int, int] = {}  # turn to how many of its failures were played
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.base_url = ""

    async def __aenter__(self) -> Playback:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await end_tasks(*self._open)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read_request(reader)) is not None:
                method, target, body = request
                reply, delay_s = self._reply(method, target.split("?")[0], body)
                await asyncio.sleep(delay_s)
                writer.write(_encoded(reply))
                await writer.drain()
                if reply.body is None:
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            return  # the client went away, or does not speak HTTP
        finally:
            writer.close()

    def _reply(self, method: str, path: str, body: bytes) -> tuple[Reply, float]:
        if (method, path) != ("POST", "/v1/messages"):
            return _error(404, "not_found_error", f"{method} {path} is not served"), 0.0
        try:
            request = json.loads(body)
        except ValueError:
            return _error(400, "invalid_request_error", "the body is not JSON"), 0.0
        problem = check_request(request)
        if problem:
            return _error(400, "invalid_request_error", problem), 0.0
        number = sum(message["role"] == "assistant" for message in request["messages"])
        turns = self._conversation.turns
        if number >= len(turns):
            where = f"phase {self._conversation.phase}, round {self._conversation.round}"
            return _error(400, "invalid_request_error", f"the recording ({where}) ends after {len(turns)} turns"), 0.0
        turn = turns[number]
        played = self._failed.get(number, 0)
        if played < len(turn.failures):
            self._failed[number] = played + 1
            failure = turn.failures[played]
            if failure.status is None:
                return Reply(200, None, {}), turn.delay_s
            return _error(failure.status, _kind(failure.status), failure.message, failure.headers), turn.delay_s
        return Reply(200, answer(turn, number, request, self._model), {}), turn.delay_s


def check_request(request: Any) -> str:
    """What the real API would refuse about the request, or ""."""
    if not isinstance(request, dict):
        return "the body is not an object"
    if missing := [key for key in ("model", "max_tokens", "messages") if not request.get(key)]:
        return f"{missing[0]}: field required"
    messages = request["messages"]
    if not isinstance(messages, list) or not all(
        isinstance(m, dict) and m.get("role") in ("user", "assistant") and m.get("content") for m in messages
    ):
        return "messages: each needs a role and content"
    if messages[0]["role"] != "user" or messages[-1]["role"] != "user":
        return "messages: the first and the last must be the user's"
    for before, after in pairwise(messages):
        wanted = _ids(before, "tool_use", "id") if before["role"] == "assistant" else set()
        if wanted != _ids(after, "tool_result", "tool_use_id"):
            return "messages: each tool_use needs its tool_result in the next message, and the other way round"
    return ""


def answer(turn: Turn, number: int, request: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The recorded turn as the API's message object."""
    content: list[dict[str, Any]] = []
    for index, block in enumerate(turn.content):
        if isinstance(block, ToolUse):
            block_id = block.id or f"toolu_{number:03}_{index:02}"
            content.append({"type": "tool_use", "id": block_id, "name": block.name, "input": block.input})
        else:
            content.append({"type": "text", "text": block.text})
    calls = any(block["type"] == "tool_use" for block in content)
    return {
        "id": f"msg_{number:04}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": turn.stop_reason or ("tool_use" if calls else "end_turn"),
        "stop_sequence": None,
        "usage": (turn.usage or estimated_usage(request, content)).model_dump(),
    }


def estimated_usage(request: Mapping[str, Any], content: list[dict[str, Any]]) -> RecordedUsage:
    """Usage by sizes, with a cache that behaves as the real one does: all but the newest message is read from it."""
    messages = request["messages"]
    fixed = _tokens([request.get("system"), request.get("tools")])
    old, new = _tokens(messages[:-1]), _tokens(messages[-1:])
    first = len(messages) == 1
    return RecordedUsage(
        input_tokens=3,
        output_tokens=_tokens(content),
        cache_read_input_tokens=0 if first else fixed + old,
        cache_creation_input_tokens=fixed + old + new if first else new,
    )


def _tokens(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")) // _BYTES_PER_TOKEN


def _ids(message: Mapping[str, Any], kind: str, key: str) -> set[Any]:
    content = message["content"]
    if not isinstance(content, list):
        return set()
    return {block.get(key) for block in content if isinstance(block, dict) and block.get("type") == kind}


def _kind(status: int) -> str:
    named = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large"}
    named |= {429: "rate_limit_error", 529: "overloaded_error"}
    return named.get(status, "invalid_request_error" if status < 500 else "api_error")


def _error(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, {"type": "error", "error": {"type": kind, "message": message}}, headers or {})


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes] | None:
    """Method, target and body of the next request; None when the client has closed."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= _LARGEST:
        raise ValueError("the body is too large")
    return method, target, await reader.readexactly(length)


def _encoded(reply: Reply) -> bytes:
    body = json.dumps(reply.body).encode() if reply.body is not None else b'{"type": "message", "con'
    length = len(body) if reply.body is not None else len(body) + 1000  # promised, and then the connection is cut
    reason = HTTPStatus(reply.status).phrase if reply.status in set(HTTPStatus) else "Error"
    headers = {"content-type": "application/json", "content-length": str(length), **reply.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} {reason}\r\n{lines}\r\n".encode("latin-1") + body
