"""API tokens: only their digest is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from ledger.errors import ForbiddenError

LIFETIME_S = 30 * 24 * 3600


def new_token() -> str:
    return "ldg_" + secrets.token_urlsafe(24)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def check(token: str, known: str, issued_at: float, now: float) -> None:
    """Raises ForbiddenError unless the token is the known one and not too old."""
    if not hmac.compare_digest(digest(token), known):
        raise ForbiddenError("unknown token")
    if now - issued_at > LIFETIME_S:
        raise ForbiddenError("the token has expired")
