"""The Anthropic Messages API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from tests.model_server.answer import Answer, Tokens

PROVIDER = "anthropic"
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def headers(request_id: str) -> dict[str, str]:
    return {
        "request-id": f"req_{request_id}",
        "anthropic-organization-id": "00000000-0000-0000-0000-000000000000",
        "anthropic-ratelimit-requests-limit": "4000",
        "anthropic-ratelimit-requests-remaining": "3999",
        "anthropic-ratelimit-requests-reset": "2030-01-01T00:00:00Z",
    }


def error(status: int, message: str, kind: str, request_id: str) -> dict[str, Any]:
    kind = kind or KINDS.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": f"req_{request_id}"}


def problem(body: Mapping[str, Any]) -> str:
    """What the real service would refuse about the request, or ""."""
    for name in ("model", "max_tokens", "messages"):
        if not body.get(name):
            return f"{name}: Field required"
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1:
        return "max_tokens: Input should be greater than or equal to 1"
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled" and thinking.get("budget_tokens", 0) >= body["max_tokens"]:
        return "`max_tokens` must be greater than `thinking.budget_tokens`."
    messages = body["messages"]
    if not isinstance(messages, list) or not all(isinstance(m, dict) and m.get("content") for m in messages):
        return "messages: all messages must have non-empty content"
    for before, after in pairwise(messages):
        wanted = _ids(before, "tool_use", "id") if before.get("role") == "assistant" else set()
        if missing := wanted - _ids(after, "tool_result", "tool_use_id"):
            return f"messages: `tool_use` ids were found without `tool_result` blocks immediately after: {missing}"
    return ""


def _ids(message: Mapping[str, Any], kind: str, key: str) -> set[Any]:
    content = message["content"]
    if not isinstance(content, list):
        return set()
    return {block.get(key) for block in content if isinstance(block, dict) and block.get("type") == kind}


def usage(tokens: Tokens, answer: Answer) -> dict[str, Any]:
    told = {
        "input_tokens": tokens.input - tokens.cache_read - tokens.cache_write,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.cache_write - tokens.cache_write_1h,
            "ephemeral_1h_input_tokens": tokens.cache_write_1h,
        },
        "output_tokens": tokens.output,
        "service_tier": answer.tier or "standard",
        "inference_geo": "not_available",
    }
    return answer.told(told)


def blocks(answer: Answer, request_id: str) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if answer.thinking:
        content.append({"type": "thinking", "thinking": answer.thinking, "signature": "c2lnbmF0dXJl"})
    if answer.text or not answer.calls:
        content.append({"type": "text", "text": answer.text})
    for index, call in enumerate(answer.calls):
        call_id = f"toolu_01{request_id[:20]}{index:02}"
        content.append({"type": "tool_use", "id": call_id, "name": call.name, "input": dict(call.arguments)})
    return content


def message(answer: Answer, tokens: Tokens, model: str, request_id: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "model": model,
        "id": f"msg_01{request_id[:22]}",
        "type": "message",
        "role": "assistant",
        "content": blocks(answer, request_id),
        "stop_reason": answer.stop or ("tool_use" if answer.calls else "end_turn"),
        "stop_sequence": None,
        "usage": usage(tokens, answer),
    }
    if answer.mute:
        told.pop("usage")
    return told


def events(answer: Answer, tokens: Tokens, model: str, request_id: str, body: Mapping[str, Any]) -> Iterator[bytes]:
    """The events of a streamed answer."""
    whole = message(answer, tokens, model, request_id)
    begun = whole | {"content": [], "stop_reason": None}
    if not answer.mute:
        begun["usage"] = whole["usage"] | ({"output_tokens": 1} if "output_tokens" not in answer.lie else {})
    yield _event({"type": "message_start", "message": begun})
    for index, block in enumerate(whole["content"]):
        yield from _block(index, block, answer)
        if index == 0:
            yield _event({"type": "ping"})
    last: dict[str, Any] = {
        "type": "message_delta",
        "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
    }
    if not answer.mute:
        names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
        last["usage"] = {name: whole["usage"][name] for name in names if name in whole["usage"]}
    yield _event(last)
    yield _event({"type": "message_stop"})


def _block(index: int, block: dict[str, Any], answer: Answer) -> Iterator[bytes]:
    kind = block["type"]
    empty: dict[str, Any] = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}.get(
        kind, {"input": {}}
    )
    yield _event({"type": "content_block_start", "index": index, "content_block": block | empty})
    deltas: list[dict[str, Any]]
    if kind == "text":
        deltas = [{"type": "text_delta", "text": piece} for piece in answer.cuts()]
    elif kind == "thinking":
        deltas = [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    else:
        call = answer.calls[int(block["id"][-2:])]
        half = len(call.text) // 2
        deltas = [
            {"type": "input_json_delta", "partial_json": part} for part in ("", call.text[:half], call.text[half:])
        ]
    for delta in deltas:
        yield _event({"type": "content_block_delta", "index": index, "delta": delta})
    yield _event({"type": "content_block_stop", "index": index})


def failure_event(message_: str) -> bytes:
    """An error in the middle of a stream."""
    return _event({"type": "error", "error": {"type": "overloaded_error", "message": message_}})


def _event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode("utf-8", "replace")
