"""A program's output, in pieces of any size, as lines of bounded length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LONGEST_LINE: Final = 8 * 1024 * 1024  # bytes; a longer one is left out


class Lines:
    """Hands every complete line (decoded, stripped, not empty) to ``on_line``."""

    def __init__(self, on_line: Callable[[str], None], longest: int = LONGEST_LINE) -> None:
        self._on_line = on_line
        self._longest = longest
        self._rest = bytearray()
        self._skipping = False

    def take(self, chunk: bytes) -> None:
        """Read on."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            if not self._skipping and len(self._rest) + len(part) <= self._longest:
                self._tell(bytes(self._rest) + part)
            self._rest.clear()
            self._skipping = False
        if self._skipping:
            return
        self._rest += rest
        if len(self._rest) > self._longest:
            self._rest.clear()
            self._skipping = True

    def end(self) -> None:
        """There is no more; a last line may have come without its end."""
        self.take(b"\n")

    def _tell(self, data: bytes) -> None:
        if text := data.decode("utf-8", "replace").strip():
            self._on_line(text)
