"""The OpenAI Chat Completions API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.model_server.answer import Answer, Tokens

PROVIDER = "openai"
CREATED = 1_770_000_000
KINDS = {
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


def headers(request_id: str) -> dict[str, str]:
    return {
        "x-request-id": f"req_{request_id}",
        "openai-organization": "org-test",
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "6ms",
    }


def error(status: int, message: str, kind: str, request_id: str) -> dict[str, Any]:
    first, code = KINDS.get(status, ("invalid_request_error" if status < 500 else "server_error", None))
    return {"error": {"message": message, "type": kind or first, "param": None, "code": code}}


def problem(body: Mapping[str, Any]) -> str:
    if not body.get("model"):
        return "you must provide a model parameter"
    if not body.get("messages") or not isinstance(body["messages"], list):
        return "Missing required parameter: 'messages'."
    if body.get("stream_options") and not body.get("stream"):
        return "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    open_calls: set[Any] = set()
    for message in body["messages"]:
        if message.get("role") == "tool":
            open_calls.discard(message.get("tool_call_id"))
        elif open_calls:
            return f"An assistant message with 'tool_calls' must be followed by tool messages responding: {open_calls}"
        if message.get("role") == "assistant":
            open_calls = {call.get("id") for call in message.get("tool_calls") or []}
    return ""


def usage(tokens: Tokens, answer: Answer) -> dict[str, Any]:
    told = {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    return answer.told(told)


def _finish(answer: Answer) -> str:
    stops = {"max_tokens": "length", "refusal": "content_filter"}
    return stops.get(answer.stop, answer.stop) or ("tool_calls" if answer.calls else "stop")


def _calls(answer: Answer, request_id: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{request_id[:20]}{index:02}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.text},
        }
        for index, call in enumerate(answer.calls)
    ]


def message(answer: Answer, tokens: Tokens, model: str, request_id: str) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None, "annotations": []}
    if answer.calls:
        said["tool_calls"] = _calls(answer, request_id)
    told: dict[str, Any] = {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": _finish(answer)}],
        "usage": usage(tokens, answer),
        "service_tier": answer.tier or "default",
        "system_fingerprint": "fp_test",
    }
    if answer.mute:
        told.pop("usage")
    return told


def events(answer: Answer, tokens: Tokens, model: str, request_id: str, body: Mapping[str, Any]) -> Iterator[bytes]:
    """The chunks of a streamed answer; with usage only where the client asked for it."""
    asked = bool((body.get("stream_options") or {}).get("include_usage"))
    head: dict[str, Any] = {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
        "service_tier": answer.tier or "default",
        "system_fingerprint": "fp_test",
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event(head | {"choices": [choice]} | ({"usage": None} if asked else {}))

    yield chunk({"role": "assistant", "content": None if answer.calls else "", "refusal": None})
    for piece in answer.cuts():
        yield chunk({"content": piece})
    for index, call in enumerate(_calls(answer, request_id)):
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        begun = call | {"index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
        yield chunk({"tool_calls": [begun]})
        for part in (arguments[:half], arguments[half:]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    yield chunk({}, _finish(answer))
    if asked and not answer.mute:
        yield _event(head | {"choices": [], "usage": usage(tokens, answer)})
    yield b"data: [DONE]\n\n"


def failure_event(message_: str) -> bytes:
    return _event({"error": {"message": message_, "type": "server_error", "param": None, "code": None}})


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n"
