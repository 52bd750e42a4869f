"""The server: finds the wire format by the path, asks the scenario, answers, and keeps the record."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

if __package__ in (None, ""):  # started by its path: tests.* is found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from aiohttp import web

from tests.model_server import wire_anthropic, wire_chat, wire_gemini, wire_responses
from tests.model_server.answer import Answer, Tokens
from tests.model_server.asked import Asked
from tests.model_server.record import Entry, Record
from tests.model_server.scenarios import Scenario, story
from tests.model_server.script import Script

_LARGEST: Final = 64 * 1024 * 1024
_PATHS: Final[dict[str, tuple[str, ModuleType]]] = {
    "/v1/messages": ("anthropic", wire_anthropic),
    "/v1/chat/completions": ("chat", wire_chat),
    "/v1/responses": ("responses", wire_responses),
}
MODELS: Final = ("claude-sonnet-4-6", "claude-haiku-4-5", "gpt-5", "gpt-5-mini", "gemini-2.5-pro", "gemini-2.5-flash")


class ModelServer:
    """Serves on 127.0.0.1 while it is open. ``scenario`` may be exchanged at any time; ``keys``: others get a 401."""

    def __init__(
        self,
        scenario: Scenario = story,
        *,
        port: int = 0,
        record: Path | None = None,
        keys: Iterable[str] = (),
        keep_bodies: bool = True,
    ) -> None:
        self.scenario = scenario
        self.keys = frozenset(keys) or (scenario.keys if isinstance(scenario, Script) else frozenset())
        self.record = Record(record)
        self.url = ""
        self._port = port
        self._keep = keep_bodies
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> ModelServer:
        server = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=1024)
        await site.start()
        (address,) = self._runner.addresses
        self.url = f"http://127.0.0.1:{address[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
        self.record.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if request.method == "POST":
            if (known := _PATHS.get(path)) is not None:
                return await self._answer(request, known[0], known[1], "")
            if path == "/v1/messages/count_tokens":
                return _json({"input_tokens": max(1, len(await _body(request)) // 4)})
            if "/models/" in path and ":" in path:
                return await self._gemini(request, path)
            if path == "/_script":
                self.scenario = Script.of(json.loads(await _body(request)))
                return _json({})
        elif path == "/_record":
            return web.Response(
                text=json.dumps([entry.row() for entry in self.record], default=str), content_type="application/json"
            )
        elif (listed := _models(path, request.headers)) is not None:
            return _json(listed)
        await _body(request)
        return _json({"error": {"message": f"{request.method} {path} is not served", "type": "not_found_error"}}, 404)

    async def _gemini(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        model, _, verb = path.partition("/models/")[2].rpartition(":")
        if verb == "countTokens":
            return _json({"totalTokens": max(1, len(await _body(request)) // 4)})
        if verb not in ("generateContent", "streamGenerateContent"):
            return _json(wire_gemini.error(404, f"no such method: {verb}", "", ""), 404)
        return await self._answer(request, "gemini", wire_gemini, model)

    async def _answer(self, request: web.BaseRequest, wire: str, speaks: ModuleType, model: str) -> web.StreamResponse:
        data = await _body(request)
        entry = self._entry(request, wire, speaks)
        try:
            body = json.loads(data)
            trouble = speaks.problem(body) if isinstance(body, dict) else "the body is not a JSON object"
        except ValueError:
            body, trouble = {}, "We could not parse the JSON body of your request."
        entry.model = model or str(body.get("model", "") if isinstance(body, dict) else "")
        status = 400
        if not entry.key or (self.keys and entry.key not in self.keys):
            trouble, status = "invalid x-api-key", 401
        request_id = secrets.token_hex(12)
        if trouble:
            return self._failed(entry, speaks, Answer(status=status, message=trouble), request_id)
        asked = Asked(wire, request.path, entry.model, body, request.headers, entry.number)
        asked.stream = bool(body.get("stream")) or request.path.endswith(":streamGenerateContent")
        entry.stream, entry.max_output = asked.stream, asked.max_output
        if self._keep:
            entry.body = body
        answer = self.scenario(asked)
        if not isinstance(answer, Answer):
            answer = await answer
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        if answer.status != 200:
            return self._failed(entry, speaks, answer, request_id)
        return await self._succeed(request, entry, speaks, answer, asked, len(data), request_id)

    def _entry(self, request: web.BaseRequest, wire: str, speaks: ModuleType) -> Entry:
        headers = request.headers
        found = next(((name, headers[name]) for name in ("x-api-key", "x-goog-api-key") if name in headers), None)
        if found is None and "authorization" in headers:
            found = ("authorization", headers["authorization"].removeprefix("Bearer "))
        if found is None:
            found = ("key", request.query.get("key", ""))
        number = len(self.record.entries)
        kept = dict(headers) if self._keep else {}
        path = request.raw_path if wire == "gemini" else request.path
        entry = Entry(number, wire, speaks.PROVIDER, path, "", found, False, kept, None)
        self.record.entries.append(entry)
        return entry

    def _failed(self, entry: Entry, speaks: ModuleType, answer: Answer, request_id: str) -> web.StreamResponse:
        entry.outcome, entry.status = "error", answer.status
        self.record.over(entry)
        headers = {**speaks.headers(request_id), **answer.headers}
        body = answer.raw
        if body is None:
            body = json.dumps(speaks.error(answer.status, answer.message, answer.kind, request_id)).encode()
        return web.Response(body=body, status=answer.status, headers=headers | {"content-type": "application/json"})

    async def _succeed(
        self,
        request: web.BaseRequest,
        entry: Entry,
        speaks: ModuleType,
        answer: Answer,
        asked: Asked,
        size: int,
        request_id: str,
    ) -> web.StreamResponse:
        entry.status = 200
        tokens = answer.usage or estimated(asked, answer, size)
        entry.usage, entry.tier = tokens, answer.tier
        entry.text = answer.text[:200] + "".join(f" [{call.name}]" for call in answer.calls)
        headers = {**speaks.headers(request_id), **answer.headers}
        if asked.stream:
            pieces, kind = _pieces(request, speaks, answer, tokens, asked, request_id)
            return await self._stream(request, entry, answer, headers | {"content-type": kind}, pieces)
        if answer.raw is not None:
            body = answer.raw
        else:
            more = (asked.body,) if speaks is wire_responses else ()
            body = json.dumps(
                speaks.message(answer, tokens, entry.model, request_id, *more), ensure_ascii=False
            ).encode("utf-8", "replace")
        if answer.encoding:
            body = _compressed(body, answer.encoding)
            headers["content-encoding"] = answer.encoding
        if answer.cut_after is not None:
            return await self._cut(request, entry, headers, body, answer.cut_after)
        entry.outcome = "gone" if request.transport is None or request.transport.is_closing() else "complete"
        self.record.over(entry)
        return web.Response(body=body, headers=headers | {"content-type": "application/json"})

    async def _stream(
        self,
        request: web.BaseRequest,
        entry: Entry,
        answer: Answer,
        headers: Mapping[str, str],
        pieces: list[bytes],
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"cache-control": "no-cache", **headers})
        whole = len(pieces)
        if answer.encoding:
            response.headers["content-encoding"] = answer.encoding
            pieces = [_compressed(b"".join(pieces), answer.encoding)]
        elif answer.split:
            joined = b"".join(pieces)
            pieces = [joined[start : start + answer.split] for start in range(0, len(joined), answer.split)]
        elif not answer.pause_s and answer.cut_after is None:
            pieces = [b"".join(pieces)]
        try:
            if answer.cut_after == 0:
                return self._break(request, entry, response, 0.0)
            await response.prepare(request)
            for index, piece in enumerate(pieces):
                if answer.cut_after is not None and index >= answer.cut_after:
                    return self._break(request, entry, response, index / whole)
                if answer.pause_s or answer.split:
                    await asyncio.sleep(answer.pause_s)
                if request.transport is None or request.transport.is_closing():
                    return self._gone(entry, response, index / len(pieces))
                await response.write(piece)
                entry.events += 1
            entry.outcome = "complete"
            self.record.over(entry)
            await response.write_eof()
        except ConnectionError:
            return self._gone(entry, response, entry.events / max(1, len(pieces)))
        return response

    async def _cut(
        self, request: web.BaseRequest, entry: Entry, headers: Mapping[str, str], body: bytes, after: int
    ) -> web.StreamResponse:
        """Half of a body that is not streamed, or none of it."""
        response = web.StreamResponse(headers={**headers, "content-type": "application/json"})
        response.content_length = len(body)
        if after:
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
        return self._break(request, entry, response, 1.0)

    def _break(
        self, request: web.BaseRequest, entry: Entry, response: web.StreamResponse, part: float
    ) -> web.StreamResponse:
        _bill(entry, part, "cut")
        self.record.over(entry)
        if request.transport is not None:
            request.transport.close()
        return response

    def _gone(self, entry: Entry, response: web.StreamResponse, part: float) -> web.StreamResponse:
        if entry.outcome == "open":
            _bill(entry, part, "gone")
            self.record.over(entry)
        return response


def estimated(asked: Asked, answer: Answer, size: int) -> Tokens:
    """Usage by sizes: four bytes a token, with a cache that holds all but the newest part of a conversation."""
    total = max(1, size // 4)
    said = len(answer.text) + len(answer.thinking) + sum(len(call.text) + 40 for call in answer.calls)
    output = max(1, said // 4)
    if asked.max_output is not None:
        output = min(output, asked.max_output)
    if size < 4096:  # providers cache nothing below 1,024 tokens
        return Tokens(total, output)
    last = asked.items[-1:]
    new = sum(len(item.text) for item in last) // 4
    read = max(0, total - new) if asked.answers else 0
    if asked.wire != "anthropic":
        return Tokens(total, output, cache_read=read // 128 * 128)
    if "cache_control" not in json.dumps(asked.body):
        return Tokens(total, output)
    fresh = min(3, total)
    read = min(read, total - fresh)
    return Tokens(total, output, cache_read=read, cache_write=total - read - fresh)


def _bill(entry: Entry, part: float, outcome: str) -> None:
    """What a provider bills for an answer that broke after that part: all input, the output so far."""
    entry.outcome = outcome
    if (told := entry.usage) is not None:
        output = -(-told.output * round(part * 1000) // 1000)
        entry.usage = Tokens(
            told.input, output, told.cache_read, told.cache_write, told.cache_write_1h, min(told.reasoning, output)
        )


def _pieces(
    request: web.BaseRequest, speaks: ModuleType, answer: Answer, tokens: Tokens, asked: Asked, request_id: str
) -> tuple[list[bytes], str]:
    """The events of the stream, and its content type."""
    if answer.raw is not None:
        return [answer.raw], "text/event-stream; charset=utf-8"
    found: Iterator[bytes]
    if asked.wire == "gemini" and request.query.get("alt") != "sse":
        found, kind = wire_gemini.array(answer, tokens, asked.model, request_id), "application/json; charset=UTF-8"
    else:
        found, kind = (
            speaks.events(answer, tokens, asked.model, request_id, asked.body),
            "text/event-stream; charset=utf-8",
        )
    pieces = list(found)
    if answer.fail_after is not None:
        pieces = [*pieces[: answer.fail_after], speaks.failure_event(answer.message)]
    return pieces, kind


def _compressed(body: bytes, encoding: str) -> bytes:
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    return packer.compress(body) + packer.flush()


async def _body(request: web.BaseRequest) -> bytes:
    return await request.read()


def _json(data: Any, status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(data).encode(), status=status, content_type="application/json")


def _models(path: str, headers: Mapping[str, str]) -> dict[str, Any] | None:
    if path == "/v1/models" and "anthropic-version" in headers:
        rows: list[dict[str, Any]] = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
            for name in MODELS
            if name.startswith("claude")
        ]
        return {"data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]}
    if path == "/v1/models":
        return {
            "object": "list",
            "data": [{"id": name, "object": "model", "created": 1, "owned_by": "test"} for name in MODELS],
        }
    if path.startswith("/v1/models/"):
        return {"id": path.rpartition("/")[2], "object": "model", "created": 1, "owned_by": "test", "type": "model"}
    if path == "/v1beta/models":
        return {"models": [{"name": f"models/{name}"} for name in MODELS if name.startswith("gemini")]}
    if path.startswith("/v1beta/models/"):
        return {"name": path.removeprefix("/v1beta/"), "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536}
    return None


async def _serve(arguments: argparse.Namespace) -> None:
    script: Scenario = Script.read(arguments.script) if arguments.script else story
    async with ModelServer(
        script, port=arguments.port, record=arguments.record, keep_bodies=arguments.keep_bodies
    ) as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--keep-bodies", action="store_true", help="bodies and headers in the record")
    try:
        asyncio.run(_serve(parser.parse_args()))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
