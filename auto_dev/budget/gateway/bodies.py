"""Reading what a client sends, and making sure that what is sent on is what was looked at."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping
from math import isfinite
from typing import Any, Final

import orjson

from auto_dev.budget.gateway.aside import Aside, Room
from auto_dev.budget.gateway.errors import RefusedError

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Body = dict[str, Any]

LIMIT: Final = 32 * 1024 * 1024
_MOST_PARTS: Final = 500_000  # lists, objects and their members: each becomes some hundred bytes of memory
_WINDOWS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


class GoneError(Exception):
    """The client hung up before it had sent everything."""


async def read(receive: Receive, headers: Mapping[str, str], room: Room, aside: Aside) -> bytes:
    """The body, decompressed. Raises RefusedError for what is too large or coded in an unknown way, or GoneError."""
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > LIMIT:
        raise too_large()
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > LIMIT:
            raise too_large()
        room.take(len(part))
        if not message.get("more_body"):
            break
    raw = parts[0] if len(parts) == 1 else b"".join(parts)
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding in ("identity", ""):
        return raw
    if coding not in _WINDOWS:
        raise RefusedError("the request body is compressed in a way that is not supported; use gzip or none", 415)
    text = await aside.run(LIMIT, _decompress, raw, _WINDOWS[coding])
    room.take(len(text))
    return text


def parse(raw: bytes) -> Body:
    """The JSON object in ``raw``. Raises RefusedError for anything that two readers could understand differently."""
    if len(raw) > _MOST_PARTS and _has_too_many_parts(raw):
        raise RefusedError(f"the request body has more than {_MOST_PARTS} values", 413)
    try:
        body = json.loads(raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)
    except RefusedError:
        raise
    except UnicodeDecodeError:
        raise RefusedError("the request body is not UTF-8") from None
    except RecursionError:
        raise RefusedError("the request body is nested too deeply") from None
    except ValueError as error:
        raise RefusedError(f"the request body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise RefusedError("the request body is not a JSON object")
    return body


def dump(body: Body) -> bytes:
    """``body`` as JSON. Raises RefusedError for what is nested too deeply."""
    try:
        return orjson.dumps(body)
    except (TypeError, ValueError):  # lone surrogates and integers past 64 bits, which JSON itself allows; or depth
        pass
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (RecursionError, ValueError):
        raise RefusedError("the request body is nested too deeply") from None


def too_large() -> RefusedError:
    return RefusedError(f"the request body is larger than {LIMIT // 1024 // 1024} MB", 413)


def _has_too_many_parts(raw: bytes) -> bool:
    """Whether ``raw`` is made of so many values that to parse it would stop everything else for seconds."""
    if _parts(raw, 0, len(raw)) <= _MOST_PARTS:
        return False
    # Or there are many commas in texts: only what stands between them counts.
    found, begin = 0, 0
    for text in _STRING.finditer(raw):
        found += _parts(raw, begin, text.start())
        begin = text.end()
        if found > _MOST_PARTS:
            return True
    return found + _parts(raw, begin, len(raw)) > _MOST_PARTS


def _parts(raw: bytes, begin: int, end: int) -> int:
    return sum(raw.count(mark, begin, end) for mark in (b"[", b"{", b","))


def _decompress(raw: bytes, window: int) -> bytes:
    decoder = zlib.decompressobj(window)
    try:
        text = decoder.decompress(raw, LIMIT + 1)
        if len(text) > LIMIT:
            raise too_large()
        text += decoder.flush()
    except zlib.error:
        raise RefusedError("the request body cannot be decompressed") from None
    if not decoder.eof or decoder.unused_data:
        raise RefusedError("the compressed request body is not complete")
    return text


def _object(pairs: list[tuple[str, Any]]) -> Body:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise RefusedError("the request body has the same key twice in one object")
    return made


def _constant(name: str) -> float:
    raise RefusedError(f"the request body has {name}, which is not JSON")


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise RefusedError(f"the request body has the number {text[:40]}, which is too large")
    return number
