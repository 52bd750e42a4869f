"""Anthropic Messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import auto_dev.budget.gateway.plans as plans
from auto_dev.budget.gateway.bodies import Body
from auto_dev.budget.gateway.errors import RefusedError
from auto_dev.budget.gateway.plans import Call, Content, Plan, Shape, not_metered
from auto_dev.budget.gateway.usage import Reader, UsageError, count, part, text_bytes
from auto_dev.budget.meter import Metered
from auto_dev.budget.prices import STANDARD, Spent, Terms

_IMAGE_TOKENS: Final = 5_000  # pictures are scaled down to at most 4,784
_US: Final = Decimal("1.1")  # inference_geo = "us"
_FAST: Final[Terms] = {"speed": "fast"}
_CLIENT_TOOLS: Final = ("bash_", "text_editor_", "computer_", "memory_")
_SHOWS_ALL: Final = re.compile(r"claude-(3|2|v1|(opus|sonnet|haiku)-4)")  # thinks only when it is asked to
_REFUSED: Final = {
    "mcp_servers": "what an MCP connector reads has no bound; connect the agent to the server itself",
    "container": "code execution at the provider has a price of its own",
}


class Messages:
    """``POST /v1/messages``."""

    def plan(self, call: Call) -> Plan:
        body = call.body
        model = plans.model_name(body.get("model"))
        for key, why in _REFUSED.items():
            if plans.given(body.get(key)):
                raise not_metered(key, why)
        _check_edits(plans.section(body, "context_management"))
        terms = _terms(body)
        content = Content()
        _look(content, body)
        searches, tool = _tools(content, plans.objects(body, "tools"))
        name = plans.priced_as("anthropic", model, call.prices)
        window = call.prices.context_window(name) or plans.WINDOW
        asked = plans.whole(body, "max_tokens") or plans.default_output(model)
        thinking = plans.section(body, "thinking").get("type")
        hidden = thinking not in (None, "disabled") or (thinking is None and not _SHOWS_ALL.match(model))

        def apply(output: int, uses: int) -> None:
            body["max_tokens"] = output
            budget = plans.section(body, "thinking").get("budget_tokens")
            if type(budget) is int and budget >= output:
                body["thinking"] = {**body["thinking"], "budget_tokens": max(output - 1024, min(1024, output - 1))}
            if tool is not None:
                tool["max_uses"] = uses

        return Plan(
            metered=Metered(
                model=name,
                input_tokens=content.bound(call.size, window),
                output_tokens=asked,
                least_output=min(asked, plans.LEAST_OUTPUT),
                searches=searches,
                window=window,
                writes=_writes(call),
                media=content.any,
                terms=(terms,) if terms else (STANDARD,),
                factor=_US if body.get("inference_geo") == "us" else Decimal(1),
            ),
            shape=Shape.EVENTS if plans.flag(body, "stream") else Shape.WHOLE,
            hidden=hidden,
            text_bytes=max(call.size - content.media_bytes, 0),
            apply=apply,
            reader=MessagesReader(terms),
            talk=plans.talk(body, "messages", lambda found, items: _look(found, {"messages": items})),
        )


class MessagesReader(Reader):
    """``message_start`` has the input, every ``message_delta`` the output so far."""

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        self._terms = terms
        self._usage: dict[str, Any] = {}

    def seen(self, shape: dict[str, Any]) -> bool:
        kind = shape.get("type")
        if kind == "content_block_delta":
            delta = part(shape, "delta")
            self.delivered += sum(
                text_bytes(delta.get(name)) for name in ("text", "partial_json", "thinking", "signature")
            )
        elif kind == "content_block_start":
            block = part(shape, "content_block")
            self.delivered += text_bytes(block.get("text")) + text_bytes(block.get("thinking"))
            # The values of a tool's input are held back until each is complete.
            self.unseen = block.get("type") not in ("text", "thinking")
        elif kind == "content_block_stop":
            self.unseen = False
        elif kind == "message_start":
            self._usage = dict(part(part(shape, "message"), "usage"))
            count(self._usage, "input_tokens", needed=True)
            self.certain = replace(spent_of(self._usage, self._terms), output=0)
        elif kind == "message_delta":
            if usage := part(shape, "usage"):
                count(usage, "output_tokens", needed=True)
                self._usage |= {name: value for name, value in usage.items() if value is not None}
                self.spent = spent_of(self._usage, self._terms)
                self.done = self.done or part(shape, "delta").get("stop_reason") is not None
        elif kind == "message_stop":
            self.done = True
        elif kind == "error":
            self.failed = True
        return False

    def complete(self, shape: dict[str, Any]) -> None:
        self.done = True
        for block in shape.get("content") or ():
            if isinstance(block, dict):
                self.delivered += text_bytes(block.get("text")) + text_bytes(block.get("thinking"))
        if usage := part(shape, "usage"):
            count(usage, "input_tokens", needed=True)
            count(usage, "output_tokens", needed=True)
            self.spent = spent_of(usage, self._terms)


def spent_of(usage: Mapping[str, Any], terms: Terms) -> Spent:
    """A usage of the Messages API. Raises UsageError."""
    read, written = count(usage, "cache_read_input_tokens"), count(usage, "cache_creation_input_tokens")
    by_age = part(usage, "cache_creation")
    hour, minutes = count(by_age, "ephemeral_1h_input_tokens"), count(by_age, "ephemeral_5m_input_tokens")
    written = max(written, hour + minutes)
    tools = part(usage, "server_tool_use")
    if count(tools, "code_execution_requests"):
        raise UsageError("code was executed at the provider, which has a price of its own")
    if (tier := usage.get("service_tier")) not in (None, "standard", "priority"):
        raise UsageError(f"the service tier {str(tier)[:40]!r} is not known")
    if (speed := usage.get("speed")) not in (None, "standard", "fast"):
        raise UsageError(f"the speed {str(speed)[:40]!r} is not known")
    if speed is not None:
        terms = _FAST if speed == "fast" else STANDARD
    return Spent(
        input=count(usage, "input_tokens") + read + written,
        output=count(usage, "output_tokens"),
        cache_read=read,
        cache_write=written,
        cache_write_1h=hour,
        searches=count(tools, "web_search_requests"),
        terms=terms,
        factor=_US if usage.get("inference_geo") == "us" else Decimal(1),
    )


def _terms(body: Body) -> Terms:
    if body.get("service_tier") not in (None, "auto", "standard_only"):
        raise RefusedError("service_tier is neither auto nor standard_only")
    if body.get("inference_geo") not in (None, "global", "us"):
        raise not_metered("inference_geo", "its price is known for global and us alone")
    if (speed := body.get("speed")) not in (None, "standard", "fast"):
        raise not_metered("speed", "its price is known for standard and fast alone")
    return _FAST if speed == "fast" else STANDARD


def _writes(call: Call) -> str:
    """Which cache writes the request may cause: they are asked for, at one of two prices."""
    found = ""
    waiting: list[Any] = [call.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if (control := node.get("cache_control")) is not None:
                short = isinstance(control, dict) and control.get("ttl") in (None, "5m")
                found = "5m" if short and found != "any" else "any"
            waiting += [value for value in node.values() if isinstance(value, (dict, list))]
        else:
            waiting += [value for value in node if isinstance(value, (dict, list))]
    return found


def _check_edits(management: Mapping[str, Any]) -> None:
    for edit in plans.objects(management, "edits"):
        if not str(edit.get("type", "")).startswith("clear_"):
            raise not_metered(
                "context_management", "compacting at the provider is billed beside the answer's own usage"
            )


def _tools(content: Content, tools: list[dict[str, Any]]) -> tuple[int, dict[str, Any] | None]:
    """How many searches there may be at most, and the tool that makes them."""
    found: dict[str, Any] | None = None
    searches = 0
    for tool in tools:
        kind = tool.get("type")
        if kind in (None, "custom"):
            continue
        if not isinstance(kind, str):
            raise RefusedError("the type of a tool is not a text")
        if kind.startswith(_CLIENT_TOOLS):
            content.tool_tokens += plans.TOOL_OVERHEAD
        elif kind == "web_search_20250305" and found is None:
            found = tool
            content.tool_tokens += plans.TOOL_OVERHEAD
            searches = min(plans.whole(tool, "max_uses") or plans.SEARCHES, plans.SEARCHES)
        else:
            raise not_metered(f"the tool {kind}", "it runs at the provider, and what it costs has no bound")
    return searches, found


def _look(content: Content, body: Body) -> None:
    """Find what is no text, where the API takes it: a tool's input that looks like a picture is text."""
    system = body.get("system")
    if isinstance(system, list):
        _blocks(content, system)
    for message in plans.objects(body, "messages"):
        if isinstance(message.get("content"), list):
            _blocks(content, message["content"])


def _blocks(content: Content, blocks: list[Any]) -> None:
    for block in blocks:
        if not isinstance(block, dict):
            continue
        kind = block.get("type")
        source = block.get("source")
        source = source if isinstance(source, dict) else {}
        if kind == "image":
            content.image(source.get("data"), _IMAGE_TOKENS)
        elif kind == "document" and source.get("type") == "content":
            if isinstance(source.get("content"), list):
                _blocks(content, source["content"])
        elif kind == "document" and source.get("type") != "text":
            content.whole_window(source.get("data"))
        elif kind == "container_upload":
            raise not_metered("container_upload", "code execution at the provider has a price of its own")
        elif kind == "tool_result" and isinstance(block.get("content"), list):
            _blocks(content, block["content"])
