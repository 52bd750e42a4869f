"""What the gateway answers when it does not pass a request on: one line that a person can act on, in the shape that
the provider's own clients show."""

from __future__ import annotations

from typing import Any, Final

import orjson

from auto_dev.text import line

ANTHROPIC: Final = "anthropic"
OPENAI: Final = "openai"
GEMINI: Final = "gemini"

_TYPES: Final = {
    400: "invalid_request_error", 402: "billing_error", 404: "not_found_error", 405: "invalid_request_error",
    408: "timeout_error", 413: "request_too_large", 415: "invalid_request_error",
    429: "rate_limit_error", 502: "api_error",
    504: "timeout_error",
}  # fmt: skip
_STATES: Final = {
    400: "INVALID_ARGUMENT", 402: "FAILED_PRECONDITION", 404: "NOT_FOUND", 405: "INVALID_ARGUMENT",
    408: "DEADLINE_EXCEEDED", 413: "INVALID_ARGUMENT", 415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED", 502: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


class RefusedError(Exception):
    """A request that is not passed on. ``status`` None: the status that makes the grant's agent stop."""

    def __init__(self, message: str, status: int | None = 400) -> None:
        self.message = line(message, 500)
        self.status = status
        super().__init__(self.message)


def body(vendor: str, status: int, message: str) -> bytes:
    """The error as ``vendor`` writes it; with "" in a shape that clients of all of them read."""
    text = f"auto-dev: {message}"
    kind, state = _TYPES.get(status, "invalid_request_error"), _STATES.get(status, "INVALID_ARGUMENT")
    shape: dict[str, Any]
    if vendor == ANTHROPIC:
        shape = {"type": "error", "error": {"type": kind, "message": text}}
    elif vendor == OPENAI:
        shape = {"error": {"message": text, "type": kind, "param": None, "code": "auto_dev_refused"}}
    elif vendor == GEMINI:
        shape = {"error": {"code": status, "message": text, "status": state}}
    else:
        shape = {"type": "error", "error": {"type": kind, "message": text, "code": "auto_dev_refused", "status": state}}
    return orjson.dumps(shape)
