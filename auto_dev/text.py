"""Text and values from outside, made safe to store and to show."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_BIDI = re.compile(r"[\u202a-\u202e\u2066-\u2069]")

MAX_INT = 2**63 - 1


def clean(text: str, limit: int | None = None) -> str:
    """``text`` without escape sequences, control characters, bidi overrides and lone surrogates.

    Newlines and tabs stay. With ``limit`` (characters) the middle of a longer text is cut, and says so.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = _BIDI.sub("", _CONTROL.sub("", _ANSI.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))))
    if limit is not None and len(text) > limit:
        head = limit * 2 // 3
        tail = max(limit - head - 40, 0)
        text = f"{text[:head]}\n[… {len(text) - head - tail} characters cut …]\n{text[-tail:] if tail else ''}"
    return text


def line(text: str, limit: int = 300) -> str:
    """``text`` cleaned and on one line of at most ``limit`` characters."""
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def jsonable(value: Any, *, text_limit: int = 20_000, depth: int = 12) -> Any:
    """``value`` as JSON that Postgres and msgpack both take.

    NUL and lone surrogates leave strings, NaN and infinities become ``None``, integers past 64 bits become strings,
    unknown objects become their cleaned ``str``.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(value, text_limit)
    if isinstance(value, int):
        return value if -MAX_INT <= value <= MAX_INT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth <= 0:
        return clean(str(value), text_limit)
    if isinstance(value, Mapping):
        return {clean(str(k), 200): jsonable(v, text_limit=text_limit, depth=depth - 1) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [jsonable(v, text_limit=text_limit, depth=depth - 1) for v in value]
    return clean(str(value), text_limit)


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts ``S-2`` before ``S-10``."""
    parts = re.findall(r"\d{1,18}|\D+|\d+", text)
    return tuple((0, int(part), "") if part.isdecimal() and len(part) <= 18 else (1, 0, part) for part in parts)
