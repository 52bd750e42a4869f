"""Who may do what."""

from __future__ import annotations

from ledger.errors import ForbiddenError

ROLES = {
    "viewer": {"invoice:read"},
    "clerk": {"invoice:read", "invoice:write", "refund:read"},
    "manager": {"invoice:read", "invoice:write", "refund:read", "refund:write", "customer:delete"},
}


def allowed(role: str, action: str) -> bool:
    return action in ROLES.get(role, set())


def require(role: str, action: str) -> None:
    """Raises ForbiddenError."""
    if not allowed(role, action):
        raise ForbiddenError(f"{role} may not {action}")
