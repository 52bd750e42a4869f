"""What the server answers, before it takes the shape of a wire format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a request took in truth. ``input`` is the total with the cache; ``reasoning`` is part of ``output``."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0  # part of ``cache_write``
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call. ``raw`` stands in place of the arguments' JSON, readable or not."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    raw: str | None = None

    @property
    def text(self) -> str:
        return json.dumps(self.arguments, ensure_ascii=False) if self.raw is None else self.raw


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, and what goes wrong with it.

    ``usage`` None: by sizes. ``lie`` is laid over the usage that is told (a key with None is left out), ``mute`` tells
    none; the record keeps the truth. ``delay_s`` before the first byte, ``pause_s`` before each further event, of which
    ``pieces`` carry the text. ``cut_after`` events (0: before the head) the connection is cut. A ``status`` other than
    200 is an error answer. ``raw`` replaces the body, ``headers`` are added, ``encoding`` compresses (gzip | deflate).
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    thinking: str = ""
    stop: str = ""  # "max_tokens": the answer was cut by the limit; "refusal"
    usage: Tokens | None = None
    lie: Mapping[str, Any] = field(default_factory=dict)
    mute: bool = False
    status: int = 200
    message: str = "scripted failure"
    kind: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    pause_s: float = 0.0
    pieces: int = 4
    cut_after: int | None = None
    raw: bytes | None = None
    encoding: str = ""
    split: int = 0  # bytes per write of a stream, across events and characters; 0: whole events
    fail_after: int | None = None  # events, then one that says that the service failed
    tier: str = ""  # the service tier that is told and priced

    def told(self, usage: dict[str, Any]) -> dict[str, Any]:
        """The usage as it is told: with the lie laid over it."""
        for key, value in self.lie.items():
            if value is None:
                usage.pop(key, None)
            else:
                usage[key] = value
        return usage

    def cuts(self) -> list[str]:
        """The text in pieces."""
        size = max(1, -(-len(self.text) // max(1, self.pieces)))
        return [self.text[start : start + size] for start in range(0, len(self.text), size)]
