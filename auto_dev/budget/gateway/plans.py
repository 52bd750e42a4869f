"""What the gateway reads out of a request before it is sent, whatever the provider."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

from auto_dev.budget.gateway.bodies import Body
from auto_dev.budget.gateway.errors import RefusedError
from auto_dev.budget.gateway.usage import Reader
from auto_dev.budget.meter import Metered
from auto_dev.budget.prices import PriceTable

LEAST_OUTPUT: Final = 4096  # an answer is not clamped below this: shorter ones are cut off in the middle of the work
DEFAULT_OUTPUT: Final = 32_000  # where the client sets no cap
MAX_OUTPUT: Final = 1_000_000
WINDOW: Final = 2_097_152  # tokens; the largest context window that any provider offers
OVERHEAD: Final = 2_000  # tokens that providers add around a request: roles, separators, instructions for tools
TOOL_OVERHEAD: Final = 1_000  # of a tool whose description the provider writes itself
SEARCHES: Final = 5  # look-ups of a search tool where the client sets no number

# These always use what the provider runs itself, and bills beside the tokens.
_SEARCHING: Final = re.compile(r"-search-(preview|api)|deep-research|computer-use|:online$")
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")

# Asking for more than a model can give is an error, and no public table knows how much that is. Names by their
# beginning, as the providers document them; newer models all take DEFAULT_OUTPUT.
_SMALLER: Final = (
    ("claude-3-5", 8192), ("claude-3-7", 32_000), ("claude-3", 4096), ("claude-2", 4096), ("claude-v1", 4096),
    ("gpt-4o", 4096), ("gpt-4.1", 32_000), ("gpt-4", 4096), ("gpt-3.5", 4096), ("chatgpt-4o", 4096),
    ("gemini-1", 8192), ("gemini-2.0", 8192),
)  # fmt: skip


class Shape(Enum):
    """How the answer comes."""

    WHOLE = "whole"
    EVENTS = "events"  # server-sent events
    ARRAY = "array"  # one JSON array, element by element


@dataclass(slots=True)
class Content:
    """What stands in a request beside its text: bytes that are no text, and what the model makes of them."""

    media_bytes: int = 0
    media_tokens: int = 0
    unbounded: bool = False  # a document, sound, or something that lies at the provider: up to the whole window
    any: bool = False
    tool_tokens: int = 0

    def image(self, data: object, tokens: int) -> None:
        """A picture of at most so many tokens; ``data`` as it stands in the request, if it does."""
        self.any = True
        self.media_bytes += len(data) if isinstance(data, str) else 0
        self.media_tokens += tokens

    def whole_window(self, data: object = None) -> None:
        self.any = self.unbounded = True
        self.media_bytes += len(data) if isinstance(data, str) else 0

    def bound(self, size: int, window: int) -> int:
        """The most input tokens of a request of ``size`` bytes: no tokenizer makes more tokens than bytes."""
        tokens = max(size - self.media_bytes, 0) + self.media_tokens + self.tool_tokens + OVERHEAD
        return tokens + window if self.unbounded else tokens


@dataclass(frozen=True, slots=True)
class Talk:
    """A request as a conversation: what stands before it, its items, and what is no text in some of them."""

    head: Mapping[str, Any]
    items: list[Any]
    look: Callable[[list[Any]], Content]


_NOT_READ: Final = frozenset(
    ("max_tokens", "max_completion_tokens", "max_output_tokens", "stream", "stream_options", "temperature", "metadata",
     "service_tier", "generationConfig", "generation_config")
)  # fmt: skip


def talk(body: Body, items: str, look: Callable[[Content, list[Any]], None]) -> Talk | None:
    """The conversation under the key ``items``; None where the provider may leave parts of it out."""
    found = body.get(items)
    if (
        not isinstance(found, list)
        or body.get("context_management") is not None
        or body.get("truncation") not in (None, "disabled")
    ):
        return None

    def looked(some: list[Any]) -> Content:
        content = Content()
        look(content, some)
        return content

    head = {key: value for key, value in body.items() if key != items and key not in _NOT_READ}
    return Talk(head, list(found), looked)


@dataclass(slots=True)
class Plan:
    """A request that was looked through. ``apply`` writes what it may have (output tokens, searches) into the body."""

    metered: Metered
    shape: Shape
    hidden: bool  # the model may think without showing it
    text_bytes: int
    apply: Callable[[int, int], None]
    reader: Reader
    strip_usage: bool = False
    talk: Talk | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came. ``model`` where the path names it; ``host`` is the upstream's."""

    body: Body
    size: int
    model: str
    sse: bool
    host: str
    prices: PriceTable
    headers: Mapping[str, str] = field(default_factory=dict)


class Api(Protocol):
    """One protocol: how its requests are read."""

    def plan(self, call: Call) -> Plan: ...


def model_name(value: object) -> str:
    """The model's name. Raises RefusedError."""
    if not isinstance(value, str) or not _MODEL.fullmatch(value) or ".." in value:
        raise RefusedError("the request names no model, or one whose name has unusual characters")
    if _SEARCHING.search(value.lower()):
        raise not_metered(f"the model {value[:80]}", "what it searches or runs at the provider has no bound")
    return value


def priced_as(provider: str, model: str, prices: PriceTable) -> str:
    """The name under which ``model`` is priced: with its provider, where the table knows it there."""
    name = f"{provider}:{model}"
    return name if ":" not in model and "/" not in model and prices.known(name) else model


def default_output(model: str) -> int:
    """The cap of an answer where the client sets none."""
    name = model.rpartition("/")[2].lower()
    return next((most for start, most in _SMALLER if name.startswith(start)), DEFAULT_OUTPUT)


def whole(body: Mapping[str, Any], key: str, *, least: int = 1, most: int = MAX_OUTPUT) -> int | None:
    """A whole number of the body; None when it is absent or null. Raises RefusedError."""
    value = body.get(key)
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:
        raise RefusedError(f"{key} is not a whole number between {least} and {most}")
    return value


def flag(body: Mapping[str, Any], key: str) -> bool:
    """A truth value of the body; False when it is absent or null. Raises RefusedError."""
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise RefusedError(f"{key} is neither true nor false")
    return bool(value)


def objects(body: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of objects; empty when it is absent or null. Raises RefusedError."""
    value = body.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise RefusedError(f"{key} is not a list of objects")
    return value


def given(value: object) -> bool:
    """Whether a setting is there: an empty object switches some things on; null, false and an empty list do not."""
    return value is not None and value is not False and value != []


def section(body: Mapping[str, Any], key: str) -> dict[str, Any]:
    """An object of the body; empty when it is absent or null. Raises RefusedError."""
    value = body.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RefusedError(f"{key} is not an object")
    return value


def not_metered(what: str, why: str) -> RefusedError:
    """The refusal of something whose cost cannot be bounded."""
    return RefusedError(f"{what} is refused: {why}")
