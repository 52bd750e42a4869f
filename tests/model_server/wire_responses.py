"""The OpenAI Responses API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.model_server.answer import Answer, Tokens
from tests.model_server.wire_chat import CREATED, PROVIDER, error, headers

__all__ = ["PROVIDER", "error", "events", "failure_event", "headers", "message", "problem", "usage"]


def problem(body: Mapping[str, Any]) -> str:
    if not body.get("model"):
        return "Missing required parameter: 'model'."
    if not body.get("input"):
        return "Missing required parameter: 'input'."
    if isinstance(body["input"], list):
        made = {i.get("call_id") for i in body["input"] if i.get("type") in ("function_call", "custom_tool_call")}
        told = {i.get("call_id") for i in body["input"] if str(i.get("type", "")).endswith("call_output")}
        if not body.get("previous_response_id") and (odd := made ^ told):
            return f"No tool output found for function call {min(map(str, odd))}."
    return ""


def usage(tokens: Tokens, answer: Answer) -> dict[str, Any]:
    told = {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output,
    }
    return answer.told(told)


def _items(answer: Answer, request_id: str, custom: frozenset[str]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if answer.thinking:
        summary = [{"type": "summary_text", "text": answer.thinking}]
        items.append({"id": f"rs_{request_id}", "type": "reasoning", "summary": summary, "encrypted_content": "eA=="})
    if answer.text or not answer.calls:
        content = [{"type": "output_text", "annotations": [], "logprobs": [], "text": answer.text}]
        items.append(
            {
                "id": f"msg_{request_id}",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": content,
            }
        )
    for index, call in enumerate(answer.calls):
        ids = {"id": f"fc_{request_id}{index:02}", "call_id": f"call_{request_id[:20]}{index:02}", "name": call.name}
        if call.name in custom:
            text = str(call.arguments.get("input", call.text))
            items.append({**ids, "type": "custom_tool_call", "status": "completed", "input": text})
        else:
            items.append({**ids, "type": "function_call", "status": "completed", "arguments": call.text})
    return items


def message(
    answer: Answer,
    tokens: Tokens,
    model: str,
    request_id: str,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    body = body or {}
    custom = frozenset(t.get("name", "") for t in body.get("tools") or [] if t.get("type") == "custom")
    cut = answer.stop == "max_tokens"
    return {
        "id": f"resp_{request_id}",
        "object": "response",
        "created_at": CREATED,
        "status": "incomplete" if cut else "completed",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": model,
        "output": _items(answer, request_id, custom),
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": answer.tier or "default",
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None if answer.mute else usage(tokens, answer),
        "user": None,
        "metadata": {},
    }


def events(answer: Answer, tokens: Tokens, model: str, request_id: str, body: Mapping[str, Any]) -> Iterator[bytes]:
    """The events of a streamed answer; usage comes with the last one."""
    number = -1

    def event(kind: str, **data: Any) -> bytes:
        nonlocal number
        number += 1
        shown = {"type": kind, "sequence_number": number, **data}
        return f"event: {kind}\ndata: {json.dumps(shown, ensure_ascii=False)}\n\n".encode("utf-8", "replace")

    whole = message(answer, tokens, model, request_id, body)
    begun = whole | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    for index, item in enumerate(whole["output"]):
        at = {"item_id": item["id"], "output_index": index}
        empty: dict[str, Any] = {"message": {"content": []}, "reasoning": {"summary": []}}.get(
            item["type"], {"input": ""} if item["type"] == "custom_tool_call" else {"arguments": ""}
        )
        status = {} if item["type"] == "reasoning" else {"status": "in_progress"}
        yield event("response.output_item.added", output_index=index, item=item | empty | status)
        if item["type"] == "message":
            part = item["content"][0]
            at |= {"content_index": 0}
            yield event("response.content_part.added", **at, part=part | {"text": ""})
            for piece in answer.cuts():
                yield event("response.output_text.delta", **at, delta=piece, logprobs=[], obfuscation="x")
            yield event("response.output_text.done", **at, text=part["text"], logprobs=[])
            yield event("response.content_part.done", **at, part=part)
        elif item["type"] == "function_call":
            half = len(item["arguments"]) // 2
            for text in (item["arguments"][:half], item["arguments"][half:]):
                yield event("response.function_call_arguments.delta", **at, delta=text)
            yield event("response.function_call_arguments.done", **at, name=item["name"], arguments=item["arguments"])
        elif item["type"] == "custom_tool_call":
            yield event("response.custom_tool_call_input.delta", **at, delta=item["input"])
            yield event("response.custom_tool_call_input.done", **at, input=item["input"])
        yield event("response.output_item.done", output_index=index, item=item)
    yield event(f"response.{whole['status']}", response=whole)


def failure_event(message_: str) -> bytes:
    failed = {
        "type": "response.failed",
        "sequence_number": 99,
        "response": {
            "id": "resp_failed",
            "object": "response",
            "status": "failed",
            "error": {"code": "server_error", "message": message_},
            "output": [],
            "usage": None,
        },
    }
    return f"event: response.failed\ndata: {json.dumps(failed)}\n\n".encode()
