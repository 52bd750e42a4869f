"""Following an answer: the events of a stream, and what they say was used, if it can be true."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from auto_dev.budget.prices import MAX_TOKENS, Spent

_BLANK: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINES: Final = re.compile(rb"\r\n|\n|\r")
_EVENT_LIMIT: Final = 32 * 1024 * 1024
_BYTES_PER_TOKEN: Final = 64  # far more than any text has on average: ordinary text has 4
_FREE_BYTES: Final = 256
_ON_ITS_WAY: Final = 256  # tokens that were made but not seen when a stream broke off: some seconds' worth


class UsageError(Exception):
    """A usage that cannot be true."""


class Events:
    """Cuts a stream of server-sent events into events, however it arrives."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._seen = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that ``chunk`` completes, with their blank lines."""
        rest = self._rest
        rest += chunk
        found, begin = [], 0
        position = max(self._seen - 3, 0)
        while match := _BLANK.search(rest, position):
            if match.end() == len(rest) and match.group() == b"\r\r":
                break  # perhaps the first half of \r\r\n
            found.append(bytes(rest[begin : match.end()]))
            begin = position = match.end()
        if begin:
            del rest[:begin]
        self._seen = len(rest)
        if len(rest) > _EVENT_LIMIT:
            raise UsageError("an event of the stream does not end")
        return found

    @property
    def rest(self) -> bytes:
        """What has come of an event that is not complete."""
        return bytes(self._rest)


def data_of(event: bytes) -> bytes:
    """The data of one event; b"" for comments."""
    if event.count(b"data:") == 1 and event.startswith(b"data:") and event.count(b"\n") <= 2:
        return event[5:].strip()
    parts = [part[5:].removeprefix(b" ") for part in _LINES.split(event) if part.startswith(b"data:")]
    return b"\n".join(parts)


class Reader:
    """What one answer said so far. Subclasses know a provider's shapes.

    ``spent`` is the usage once it is complete; ``certain`` what is sure already when the stream breaks off (its output
    is 0); ``delivered`` counts bytes of text that came.
    """

    def __init__(self) -> None:
        self.spent: Spent | None = None
        self.certain: Spent | None = None
        self.delivered = 0
        self.done = False  # the provider said that the answer is complete
        self.failed = False  # the provider reported an error in the stream
        self.unseen = False  # something is being made whose parts only come when they are complete
        self.doubt = ""

    def event(self, data: bytes) -> bool:
        """Take one event in; whether it is there for its usage alone."""
        if not data.startswith(b"{"):
            if data == b"[DONE]":
                self.done = True
            return False
        try:
            shape = orjson.loads(data)
        except ValueError:
            return False
        return self._guarded(shape)

    def whole(self, shape: Any) -> None:
        """Take in an answer that came in one piece."""
        if isinstance(shape, dict):
            self._guarded(shape, whole=True)

    def _guarded(self, shape: dict[str, Any], *, whole: bool = False) -> bool:
        try:
            if not whole:
                return self.seen(shape)
            self.complete(shape)
        except UsageError as error:
            self.doubt = f"charged in full: {error}"
        return False

    def seen(self, shape: dict[str, Any]) -> bool:
        """One event of a stream."""
        raise NotImplementedError

    def complete(self, shape: dict[str, Any]) -> None:
        """A whole answer."""
        raise NotImplementedError

    def verdict(self, text_bytes: int, *, hidden: bool, output_tokens: int, cut: bool) -> tuple[Spent | None, str]:
        """What is booked, and a note. None: everything that was set aside.

        ``text_bytes`` were sent; with ``hidden`` the model may have thought more than it showed.
        """
        if self.doubt:
            return None, self.doubt
        if self.spent is not None and not (cut and not self.done):
            return self._believed(self.spent, text_bytes)
        if self.certain is not None:
            if (doubt := self._too_little_input(self.certain, text_bytes)) is not None:
                return None, doubt
            seen = output_tokens if hidden or self.unseen else min(self.delivered + _ON_ITS_WAY, output_tokens)
            spent = replace(self.certain, output=max(seen, self.spent.output if self.spent else 0))
            return spent, "the answer broke off: its input, and the output that may have been made"
        return None, "the answer broke off before its usage: charged in full" if cut else ""

    def _believed(self, spent: Spent, text_bytes: int) -> tuple[Spent | None, str]:
        if self.delivered > _BYTES_PER_TOKEN * spent.output + (_FREE_BYTES if spent.output else 0):
            return (
                None,
                f"charged in full: {spent.output} output tokens are reported for {self.delivered} bytes of text",
            )
        doubt = self._too_little_input(spent, text_bytes)
        return (spent, "") if doubt is None else (None, doubt)

    def _too_little_input(self, spent: Spent, text_bytes: int) -> str | None:
        if text_bytes <= 4 * _BYTES_PER_TOKEN * spent.input + _FREE_BYTES:
            return None
        return f"charged in full: {spent.input} input tokens are reported for a request of {text_bytes} bytes"


def count(usage: Mapping[str, Any], name: str, *, needed: bool = False) -> int:
    """A number of tokens. Raises UsageError for what is none; absent and null are 0 unless ``needed``."""
    value = usage.get(name)
    if value is None and not needed:
        return 0
    if type(value) is not int or not 0 <= value <= MAX_TOKENS:
        raise UsageError(f"{name} is not a number of tokens: {str(value)[:40]}")
    return value


def part(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object inside a usage; empty when absent. Raises UsageError for anything else."""
    value = usage.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{name} is not an object: {str(value)[:40]}")
    return value


def text_bytes(value: object) -> int:
    """Bytes of a text; 0 for anything else."""
    return len(value.encode("utf-8", "replace")) if isinstance(value, str) else 0
