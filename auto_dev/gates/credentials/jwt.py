"""Whether a JSON web token opens anything: examples, unsigned and long expired ones do not. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final

_SIGNED: Final = re.compile(r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]*")
_MADE_UP: Final = re.compile(
    r"1234567890|john ?doe|jane ?doe|alice|bob|example|placeholder|dummy|fake|sample|\btest|mock|foo|lorem",
    re.IGNORECASE,
)
_SHORTEST: Final = 32  # bytes of a signature: HS256 makes the shortest one that is in use
_PAST: Final = 1_735_689_600  # what ended before 2025 was no credential any more when this was written


def is_token(value: str) -> bool:
    """Whether ``value`` has the form of a signed token."""
    return _SIGNED.fullmatch(value) is not None


def opens_nothing(value: str) -> bool:
    """Whether the token ``value`` is an example, not signed, or expired long ago."""
    head, body, signature = value.split(".")
    header, claims = _json(head), _json(body)
    if header is None or claims is None:
        return True  # no program would take it
    signed = _bytes(signature)
    if str(header.get("alg", "none")).lower() == "none" or len(signed) < _SHORTEST or len(set(signed)) < _SHORTEST // 2:
        return True
    ends = claims.get("exp")
    if isinstance(ends, (int, float)) and ends < _PAST:
        return True
    return _MADE_UP.search(json.dumps(claims)) is not None


def _json(part: str) -> dict[str, Any] | None:
    try:
        found = json.loads(_bytes(part))
    except (UnicodeDecodeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _bytes(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        return b""
