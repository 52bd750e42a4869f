"""The provider's key must not reach the client, whatever an answer says."""

from __future__ import annotations

from typing import Final

HIDDEN: Final = b"[key]"


class Guard:
    """Keeps the key out of a stream, however it is cut: what may be the key's beginning waits for what follows."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._held = b""

    def cleaned(self, chunk: bytes) -> bytes:
        """What may be passed on of the stream up to the end of ``chunk``."""
        if not self._key:
            return chunk
        text = (self._held + chunk).replace(self._key, HIDDEN)
        begin = len(text) - self._begun(text[1 - len(self._key) :] if len(self._key) > 1 else b"")
        self._held = text[begin:]
        return text[:begin]

    def rest(self) -> bytes:
        """What still waits when the stream has ended; nearly a whole key is as good as one."""
        return self._held if len(self._held) <= len(self._key) // 2 else HIDDEN

    def _begun(self, tail: bytes) -> int:
        """How many bytes at the end of ``tail`` may be the key's first."""
        at = tail.find(self._key[:1])
        while at >= 0 and not self._key.startswith(tail[at:]):
            at = tail.find(self._key[:1], at + 1)
        return len(tail) - at if at >= 0 else 0
