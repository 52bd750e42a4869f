"""Which headers pass, in both directions: an allowlist of names, and values that are one plain line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_PLAIN: Final = re.compile(r"[\x20-\x7e]{0,4096}")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{16,512}")

_TO_UPSTREAM: Final = frozenset(
    ("accept", "user-agent", "anthropic-version", "anthropic-beta", "openai-beta", "x-app", "x-title",
     "x-goog-api-client", "originator", "idempotency-key")
)  # fmt: skip
_TO_UPSTREAM_BEGIN: Final = "x-stainless-"
_TO_CLIENT: Final = frozenset(
    ("content-type", "request-id", "x-request-id", "retry-after", "retry-after-ms", "x-should-retry", "cache-control",
     "openai-processing-ms", "openai-version", "openai-model", "server-timing")
)  # fmt: skip
_TO_CLIENT_BEGIN: Final = ("anthropic-ratelimit-", "x-ratelimit-", "anthropic-fast-")
KEY_HEADERS: Final = ("x-api-key", "authorization", "x-goog-api-key")


def lower(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name; of several with one name the first counts, but lists of betas are joined."""
    found: dict[str, str] = {}
    for name_bytes, value_bytes in raw:
        name, value = name_bytes.decode("latin-1").lower(), value_bytes.decode("latin-1").strip()
        if name not in found:
            found[name] = value
        elif name in ("anthropic-beta", "openai-beta"):
            found[name] += f",{value}"
    return found


def tokens(raw: Iterable[tuple[bytes, bytes]], query_key: str) -> set[str]:
    """Everything that the client gives as its key, wherever it may stand."""
    found = {query_key} if query_key else set()
    for name_bytes, value_bytes in raw:
        name = name_bytes.decode("latin-1").lower()
        if name in KEY_HEADERS:
            value = value_bytes.decode("latin-1").strip()
            if name == "authorization":
                scheme, _, value = value.partition(" ")
                value = value.strip() if scheme.lower() == "bearer" else ""
            found.add(value)
    return {value for value in found if _TOKEN.fullmatch(value)}


def to_upstream(given: Mapping[str, str], token: str) -> dict[str, str]:
    """What of a client's headers is sent on. Never a key, nothing that could be more than one line."""
    kept = {
        name: value
        for name, value in given.items()
        if (name in _TO_UPSTREAM or name.startswith(_TO_UPSTREAM_BEGIN))
        and re.fullmatch(r"[a-z0-9-]{1,64}", name)
        and _PLAIN.fullmatch(value)
        and token not in value
    }
    return kept | {"accept-encoding": "identity"}


def to_client(given: Iterable[tuple[str, str]], key: str) -> list[tuple[bytes, bytes]]:
    """What of the provider's headers the client gets. Never the key."""
    return [
        (name.lower().encode("ascii"), value.encode("ascii"))
        for name, value in given
        if (name.lower() in _TO_CLIENT or name.lower().startswith(_TO_CLIENT_BEGIN))
        and re.fullmatch(r"[A-Za-z0-9-]{1,64}", name)
        and _PLAIN.fullmatch(value)
        and not (key and key in value)
    ]
