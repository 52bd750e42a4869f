"""The search for credentials: loaded once per process, off the event loop, never online.

Kingfisher's rules take 5 to 7 seconds to compile and half a second from their cache, which lies where we are told and
never in the user's home. Nothing of what is found is ever logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auto_dev.errors import AutoDevError
from auto_dev.gates.credentials import jwt
from auto_dev.gates.credentials.assigned import Found, assigned
from auto_dev.gates.credentials.keys import private_keys
from auto_dev.gates.credentials.names import is_made_up
from auto_dev.gates.credentials.pieces import joined, line_of_start
from auto_dev.gates.credentials.values import entropy, is_credential, is_fake

if TYPE_CHECKING:
    import kingfisher_sdk

_TIMEOUT_S: Final = 120.0  # for one file
_EXPANDED: Final = 128 * 1024 * 1024  # bytes that an archive may unfold to
_ENTRIES: Final = 10_000
_ARCHIVES: Final = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"(\xb5/\xfd")
_SQLITE: Final = b"SQLite format 3\0"
_KEY_STORE: Final = re.compile(
    r"\.(?:p12|pfx|jks|jceks|keystore|bks|kdbx?|keychain(?:-db)?|agilekeychain)$", re.IGNORECASE
)
_RULER: Final = re.compile(r"-----(?:BEGIN|END) [A-Z ]{1,40}-----")
_TAR_MAGIC: Final = 257
_ELSEWHERE: Final = frozenset(("betterleaks.generic-credential-uri",))  # found here, with more schemes and less noise

_lock: Final = threading.Lock()
_loaded: list[kingfisher_sdk.Scanner] = []


@dataclass(frozen=True, slots=True)
class Searched:
    """What was found in one file; ``unread`` says why it could not be looked through, or ""."""

    found: tuple[Found, ...] = ()
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Searches text and files. ``cache``: a folder of ours for compiled rules and for what archives unfold to."""

    cache: Path | None = None
    _scanner: list[kingfisher_sdk.Scanner] = field(default_factory=lambda: _loaded, repr=False, compare=False)

    async def search(self, items: Sequence[tuple[str, bytes]]) -> list[Searched]:
        """The credentials in each of ``items`` (path, content), in their order. Raises AutoDevError."""
        return await asyncio.to_thread(self._search, list(items)) if items else []

    async def values(self, texts: Iterable[str]) -> tuple[str, ...]:
        """The credentials in prose, such as a report or an excerpt: their values, the longest first."""
        wanted = [text for text in texts if len(text) >= 8]
        found = await self.search([("text.md", "\n\n".join(wanted).encode("utf-8", "replace"))]) if wanted else []
        return by_length(hit.value for one in found for hit in one.found)

    def _search(self, items: list[tuple[str, bytes]]) -> list[Searched]:
        scanner = self._load()
        return [self._one(scanner, path, data) for path, data in items]

    def _load(self) -> kingfisher_sdk.Scanner:
        with _lock:
            if not self._scanner:
                import kingfisher_sdk

                if self.cache is not None:
                    self.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
                where = {"cache": False} if self.cache is None else {"cache_dir": str(self.cache)}
                rules = kingfisher_sdk.Rules(confidence="medium", **where)
                # An agent could write the comments that make it look away.
                policy = kingfisher_sdk.DetectionPolicy(inline_ignores=False, markup_context=False)
                self._scanner.append(kingfisher_sdk.Scanner(rules, policy=policy))
            return self._scanner[0]

    def _one(self, scanner: kingfisher_sdk.Scanner, path: str, data: bytes) -> Searched:
        if _KEY_STORE.search(path) and data:
            # What it holds cannot be told; its name says that it is meant to hold keys.
            return Searched((Found("a key store", f"{path}:{hashlib.sha256(data).hexdigest()}", 1),))
        found = list(_in_text(scanner, path, data))
        try:
            for name, part in self._unfolded(path, data):
                found += (Found(hit.kind, hit.value, 1) for hit in _in_text(scanner, name, part))
        except (RuntimeError, ValueError, OSError) as error:
            if "budget" in str(error) or "exceeds" in str(error):
                return Searched(tuple(found), f"it unfolds to more than {_EXPANDED // 1024 // 1024} MB")
        return Searched(tuple(_once(found)))

    def _unfolded(self, path: str, data: bytes) -> list[tuple[str, bytes]]:
        """What an archive or a database holds: (path, content). A broken archive holds nothing that could be read."""
        is_tar = data[_TAR_MAGIC : _TAR_MAGIC + 5] == b"ustar"
        if not (data.startswith((*_ARCHIVES, _SQLITE)) or is_tar):
            return []
        from kingfisher_sdk import _native

        with tempfile.TemporaryDirectory(prefix="unfold-", dir=self.cache) as room:
            limits: dict[str, Any] = {"max_bytes": _EXPANDED, "timeout": _TIMEOUT_S, "temp_dir": room}
            if data.startswith(_SQLITE):
                return _native.expand_content(path, data, **limits)[0] or []
            return _native.expand_archive(path, data, depth=3, max_entries=_ENTRIES, **limits)


def _in_text(scanner: kingfisher_sdk.Scanner, path: str, data: bytes) -> Iterator[Found]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield from _by_form(scanner, path, data)
        data = data.decode("utf-16", "replace").encode()
    yield from _by_form(scanner, path, data)
    yield from (Found(*key) for key in private_keys(data, path))
    if b"\0" in data[:8_000]:
        return
    yield from assigned(data, path)
    # Tests build made-up credentials of pieces for the sake of scanners; elsewhere pieces are a way around this one.
    if not is_made_up(path) and (whole := joined(data)) != data:
        for hit in (*_by_form(scanner, path, whole), *assigned(whole, path)):
            if hit.value.encode() not in data:
                yield Found(f"{hit.kind} in pieces", hit.value, line_of_start(hit.value.encode(), data))


def _by_form(scanner: kingfisher_sdk.Scanner, path: str, data: bytes) -> Iterator[Found]:
    import kingfisher_sdk

    try:
        hits = scanner.scan_input(kingfisher_sdk.ScanInput(path=path, data=data), timeout=_TIMEOUT_S)
    except TimeoutError:
        raise AutoDevError("the search for credentials took too long", where=path) from None
    for hit in hits:
        if hit.visible and hit.rule_id not in _ELSEWHERE and _is_real(hit.rule_id, hit.secret, path):
            yield Found(_kind(hit.rule_id), hit.secret, int(hit.location["line"]))


def _is_real(rule: str, secret: str, path: str) -> bool:
    if "private-key" in rule:
        body = re.sub(r"-----[^-]*-----|\s|\\n", "", secret)
        return len(body) >= 60 and entropy(body) > 4.0
    if "jwt" in rule:
        return not (jwt.is_token(secret) and jwt.opens_nothing(secret))
    if "curl" in rule:
        return is_credential(secret.partition(":")[2] or secret, password=True, strict=is_made_up(path))
    return not is_fake(secret)


def _kind(rule: str) -> str:
    return "a credential (" + rule.rsplit("/", 1)[-1].removeprefix("betterleaks.").replace("-", " ") + ")"


def _once(found: Iterable[Found]) -> Iterator[Found]:
    """Each value once, the first place of it; a value that is part of another one at its line is left out."""
    kept: dict[str, Found] = {}
    for hit in found:
        if hit.value not in kept:
            kept[hit.value] = hit
    for hit in kept.values():
        others = (other for other in kept.values() if other is not hit and other.line == hit.line)
        if not any(hit.value in other.value for other in others):
            yield hit


def by_length(values: Iterable[str]) -> tuple[str, ...]:
    """Each value once and each row of one that has several, the longest first: so replaced, no part of one is left."""
    rows = {row for value in values if value for row in (value, *value.split("\n")) if len(row) >= 8}
    return tuple(sorted((row for row in rows if not _RULER.fullmatch(row.strip())), key=len, reverse=True))


def fingerprint(value: str) -> str:
    """A short name of ``value`` that tells nothing about it, however easy it is to guess: made slow on purpose."""
    return hashlib.scrypt(
        value.encode("utf-8", "surrogateescape"), salt=b"auto-dev secrets gate", n=2**14, r=8, p=1, dklen=8
    ).hex()


def shown(value: str) -> str:
    """``value`` as it may be shown: its first three characters and its length."""
    return f"{value[:3]}… ({len(value)} characters)"


def hide(text: str, values: Sequence[str]) -> str:
    """``text`` without ``values``, which come the longest first."""
    for value in values:
        if value in text:
            text = text.replace(value, shown(value))
    return text
