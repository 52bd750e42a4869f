"""The Gemini API (generateContent, streamGenerateContent)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.model_server.answer import Answer, Tokens

PROVIDER = "google"
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def headers(request_id: str) -> dict[str, str]:
    return {
        "server": "scaffolding on HTTPServer2",
        "vary": "Origin, X-Origin, Referer",
        "server-timing": "gfet4t7; dur=9",
    }


def error(status: int, message: str, kind: str, request_id: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": kind or STATUSES.get(status, "UNKNOWN")}}


def problem(body: Mapping[str, Any]) -> str:
    contents = body.get("contents")
    if not contents or not isinstance(contents, list):
        return "* GenerateContentRequest.contents: contents is not specified"
    if not all(isinstance(content, dict) and content.get("parts") for content in contents):
        return "* GenerateContentRequest.contents.parts: contents.parts must not be empty."
    return ""


def usage(tokens: Tokens, answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {
        "promptTokenCount": tokens.input,
        "candidatesTokenCount": tokens.output - tokens.reasoning,
        "totalTokenCount": tokens.input + tokens.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens.input}],
    }
    if tokens.cache_read:
        told["cachedContentTokenCount"] = tokens.cache_read
        told["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": tokens.cache_read}]
    if tokens.reasoning:
        told["thoughtsTokenCount"] = tokens.reasoning
    return answer.told(told)


def _chunk(
    answer: Answer, tokens: Tokens | None, model: str, request_id: str, parts: list[dict[str, Any]], end: bool
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if end:
        stops = {"max_tokens": "MAX_TOKENS", "refusal": "SAFETY"}
        candidate["finishReason"] = stops.get(answer.stop, answer.stop) or "STOP"
    told: dict[str, Any] = {"candidates": [candidate], "modelVersion": model.removeprefix("models/")}
    if tokens is not None and not answer.mute:
        told["usageMetadata"] = usage(tokens, answer)
    return told | {"responseId": request_id}


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [{"functionCall": {"name": call.name, "args": dict(call.arguments)}} for call in answer.calls]


def message(answer: Answer, tokens: Tokens, model: str, request_id: str) -> dict[str, Any]:
    thought = [{"text": answer.thinking, "thought": True}] if answer.thinking else []
    text = [{"text": answer.text}] if answer.text or not answer.calls else []
    return _chunk(answer, tokens, model, request_id, thought + text + _calls(answer), end=True)


def chunks(answer: Answer, tokens: Tokens, model: str, request_id: str) -> list[dict[str, Any]]:
    """The chunks of a streamed answer, each with the usage so far."""
    parts = [[{"text": answer.thinking, "thought": True}]] if answer.thinking else []
    parts += [[{"text": piece}] for piece in answer.cuts()]
    parts += [[call] for call in _calls(answer)] or ([] if parts else [[{"text": ""}]])
    found = []
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        output = tokens.output if last else tokens.output * (index + 1) // len(parts)
        seen = Tokens(tokens.input, max(output, tokens.reasoning), tokens.cache_read, reasoning=tokens.reasoning)
        found.append(_chunk(answer, seen, model, request_id, part, end=last))
    return found


def events(answer: Answer, tokens: Tokens, model: str, request_id: str, body: Mapping[str, Any]) -> Iterator[bytes]:
    for chunk in chunks(answer, tokens, model, request_id):
        yield b"data: " + json.dumps(chunk, ensure_ascii=False).encode("utf-8", "replace") + b"\r\n\r\n"


def array(answer: Answer, tokens: Tokens, model: str, request_id: str) -> Iterator[bytes]:
    """A stream without ``alt=sse``: one JSON array, its elements one after the other."""
    for index, chunk in enumerate(chunks(answer, tokens, model, request_id)):
        yield (b"[" if index == 0 else b",\r\n") + json.dumps(chunk, ensure_ascii=False).encode("utf-8", "replace")
    yield b"]"


def failure_event(message_: str) -> bytes:
    return b"data: " + json.dumps(error(503, message_, "", "")).encode() + b"\r\n\r\n"
