"""Which requests there are: exact paths, and nothing that merely resembles one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode

from auto_dev.budget.gateway.anthropic import Messages
from auto_dev.budget.gateway.chat import ChatCompletions
from auto_dev.budget.gateway.errors import ANTHROPIC, GEMINI, OPENAI, RefusedError
from auto_dev.budget.gateway.gemini import GenerateContent
from auto_dev.budget.gateway.plans import Api
from auto_dev.budget.gateway.responses import Responses

_EXACT: Final[dict[tuple[str, str], tuple[str, Api | None]]] = {
    ("POST", "/v1/messages"): (ANTHROPIC, Messages()),
    ("POST", "/v1/messages/count_tokens"): (ANTHROPIC, None),
    ("POST", "/v1/chat/completions"): (OPENAI, ChatCompletions()),
    ("POST", "/v1/responses"): (OPENAI, Responses()),
    ("POST", "/v1/responses/input_tokens"): (OPENAI, None),
}
_GEMINI: Final = re.compile(r"/(v1|v1beta)/models/([A-Za-z0-9][A-Za-z0-9._-]{0,99})(?::|%3[Aa])([A-Za-z]+)")
_ACTIONS: Final[dict[str, Api | None]] = {
    "generateContent": GenerateContent(stream=False),
    "streamGenerateContent": GenerateContent(stream=True),
    "countTokens": None,
}
_MODELS: Final = re.compile(r"/(v1|v1beta)/models(/[A-Za-z0-9][A-Za-z0-9._:-]{0,199})?")
_PARAMETERS: Final = frozenset(("limit", "before_id", "after_id", "pageSize", "pageToken", "beta"))
_VALUE: Final = re.compile(r"[A-Za-z0-9._=:+/-]{0,500}")

_OTHERS: Final = (
    (re.compile(r"/v1/messages/batches|/v1/batches|batchGenerateContent"), "batches are billed when they are fetched"),
    (re.compile(r"/v1/(embeddings|files|uploads|fine_tuning|assistants|threads|vector_stores|images|audio|videos|"
                r"moderations|realtime|completions|containers|conversations|evals)|embedContent|predict|/upload/"),
     "it is not metered"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. ``api`` None: it costs nothing and is passed through. ``path`` is the upstream's own."""

    vendor: str
    api: Api | None
    path: str
    model: str = ""
    sse: bool = False


def query_of(raw: bytes) -> dict[str, str]:
    """The query as a dictionary. Raises RefusedError when a name comes twice."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise RefusedError("the query is not readable") from None
    query = dict(pairs)
    if len(query) != len(pairs):
        raise RefusedError("the query has a name twice")
    return query


def route(method: str, path: str, query: dict[str, str], *, anthropic: bool) -> Route:
    """The route of a request. ``anthropic``: its headers are those of Anthropic's clients. Raises RefusedError."""
    if found := _EXACT.get((method, path)):
        # ?beta=true is what Anthropic's own clients add; it changes nothing that is metered.
        return Route(found[0], found[1], path + ("?beta=true" if query.get("beta") == "true" else ""))
    if method == "POST" and (named := _GEMINI.fullmatch(path)) and named[3] in _ACTIONS:
        sse = query.get("alt") == "sse" and named[3] == "streamGenerateContent"
        target = f"/{named[1]}/models/{named[2]}:{named[3]}" + ("?alt=sse" if sse else "")
        return Route(GEMINI, _ACTIONS[named[3]], target, named[2], sse)
    if method == "GET" and (listed := _MODELS.fullmatch(path)) and ".." not in path:
        vendor = GEMINI if listed[1] == "v1beta" else ANTHROPIC if anthropic else OPENAI
        kept = {name: value for name, value in query.items() if name in _PARAMETERS and _VALUE.fullmatch(value)}
        return Route(vendor, None, path + (f"?{urlencode(kept)}" if kept else ""))
    shown = f"{method[:10]} {path[:100]}"
    for pattern, why in _OTHERS:
        if pattern.search(path):
            raise RefusedError(f"{shown} is refused: {why}", 404)
    raise RefusedError(f"{shown} is refused: it is none of the model requests that the gateway passes on", 404)


def vendor_of(path: str) -> str:
    """Whose error shape a client at ``path`` reads."""
    if path.startswith("/v1/messages"):
        return ANTHROPIC
    if path.startswith(("/v1/chat", "/v1/responses")):
        return OPENAI
    return GEMINI if path.startswith("/v1beta") or _GEMINI.fullmatch(path) else ""
