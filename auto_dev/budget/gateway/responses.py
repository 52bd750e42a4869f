"""OpenAI Responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import auto_dev.budget.gateway.openai as openai
import auto_dev.budget.gateway.plans as plans
from auto_dev.budget.gateway.bodies import Body
from auto_dev.budget.gateway.errors import RefusedError
from auto_dev.budget.gateway.plans import Call, Content, Plan, Shape, not_metered
from auto_dev.budget.gateway.usage import Reader, count, part, text_bytes
from auto_dev.budget.meter import Metered
from auto_dev.budget.prices import Spent, Terms

_SEARCH: Final = ("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11")
_CLIENT_TOOLS: Final = ("function", "custom", "namespace", "local_shell", "apply_patch", "computer_use_preview",
                        "computer")  # fmt: skip
_ENDS: Final = ("response.completed", "response.incomplete", "response.failed")
_REFUSED: Final = {
    "background": "an answer that is fetched later cannot be metered",
    "prompt": "what a stored prompt holds is not seen here; send its text",
    "context_management": "compacting at the provider is billed beside the answer",
}


class Responses:
    """``POST /v1/responses``."""

    def plan(self, call: Call) -> Plan:
        body = call.body
        model, name = openai.model_of(call)
        openai.refuse(body, _REFUSED)
        terms = openai.terms_of(call, name)
        content = Content()
        if plans.given(body.get("previous_response_id")) or plans.given(body.get("conversation")):
            content.whole_window()  # what lies at the provider is read again, and billed again
        _look(content, body.get("input"), openai.image_tokens(model))
        searching = _tools(content, plans.objects(body, "tools"))
        asked_calls = plans.whole(body, "max_tool_calls", least=0)
        searches = min(plans.SEARCHES if asked_calls is None else asked_calls, plans.SEARCHES) if searching else 0
        asked = plans.whole(body, "max_output_tokens") or plans.default_output(model)
        window = call.prices.context_window(name) or plans.WINDOW

        def apply(output: int, uses: int) -> None:
            body["max_output_tokens"] = output
            if searching:
                body["max_tool_calls"] = uses

        return Plan(
            metered=Metered(
                model=name,
                input_tokens=content.bound(call.size, window),
                output_tokens=asked,
                least_output=min(asked, plans.LEAST_OUTPUT),
                searches=searches,
                window=window,
                media=content.any,
                terms=({}, terms) if terms else ({},),
            ),
            shape=Shape.EVENTS if plans.flag(body, "stream") else Shape.WHOLE,
            hidden=True,
            text_bytes=0 if content.unbounded else max(call.size - content.media_bytes, 0),
            apply=apply,
            reader=ResponsesReader(terms),
            talk=plans.talk(body, "input", lambda found, items: _look(found, items, openai.image_tokens(model))),
        )


class ResponsesReader(Reader):
    """The usage comes with the last event."""

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        self._terms = terms

    def seen(self, shape: dict[str, Any]) -> bool:
        kind = shape.get("type")
        if kind in _ENDS:
            self.delivered += 0
            self._end(part(shape, "response"))
            self.failed = kind == "response.failed"
        elif kind == "error":
            self.failed = True
        elif isinstance(kind, str) and kind.endswith(".delta"):
            self.delivered += text_bytes(shape.get("delta"))
        return False

    def complete(self, shape: dict[str, Any]) -> None:
        for item in _items(shape):
            self.delivered += text_bytes(item.get("arguments"))
            parts = item.get("content")
            for each in parts if isinstance(parts, list) else ():
                self.delivered += text_bytes(each.get("text")) if isinstance(each, dict) else 0
        self._end(shape)

    def _end(self, response: Mapping[str, Any]) -> None:
        self.done = True
        if usage := part(response, "usage"):
            searches = sum(_is_search(item) for item in _items(response))
            self.spent = spent_of(usage, openai.billed_terms(response, self._terms), searches)


def spent_of(usage: Mapping[str, Any], terms: Terms, searches: int = 0) -> Spent:
    """A usage of the Responses API. Raises UsageError."""
    details = part(usage, "input_tokens_details")
    read = count(usage, "input_tokens", needed=True)
    output = count(usage, "output_tokens", needed=True)
    return Spent(
        input=read,
        output=max(output, count(usage, "total_tokens") - read),
        cache_read=count(details, "cached_tokens"),
        cache_write=count(details, "cache_write_tokens"),
        searches=searches,
        terms=terms,
    )


def _items(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    output = response.get("output")
    return [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []


def _is_search(item: Mapping[str, Any]) -> bool:
    """Whether an item is billed as a search; opening a page that was found is not."""
    action = item.get("action")
    kind = action.get("type") if isinstance(action, dict) else None
    return item.get("type") == "web_search_call" and kind in (None, "search")


def _tools(content: Content, tools: list[dict[str, Any]]) -> bool:
    """Whether the provider searches the web."""
    searching = False
    for tool in tools:
        kind = tool.get("type")
        if kind in _SEARCH:
            searching = True
        elif not _runs_here(tool):
            raise not_metered(f"the tool {str(kind)[:40]}", "it runs at the provider, and what it costs has no bound")
        if kind != "function":
            content.tool_tokens += plans.TOOL_OVERHEAD
    return searching


def _runs_here(tool: Mapping[str, Any]) -> bool:
    """Whether the client does what the tool does."""
    kind, place = tool.get("type"), tool.get("environment")
    if kind == "shell":
        return isinstance(place, dict) and place.get("type") == "local"
    return kind in _CLIENT_TOOLS or (kind == "tool_search" and tool.get("execution") == "client")


def _look(content: Content, given: object, image_tokens: int) -> None:
    if given is None or isinstance(given, str):
        return
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise RefusedError("input is neither a text nor a list of objects")
    for item in given:
        if item.get("type") in ("item_reference", "compaction"):
            content.whole_window()
        for key in ("content", "output"):
            parts = item.get(key)
            for each in parts if isinstance(parts, list) else [parts]:
                if isinstance(each, dict):
                    _part(content, each, image_tokens)


def _part(content: Content, each: Body, image_tokens: int) -> None:
    kind = each.get("type")
    if kind in ("input_image", "computer_screenshot", "image"):
        content.image(openai.image(each.get("image_url")), image_tokens)
    elif kind in ("input_file", "input_audio", "input_video"):
        content.whole_window(each.get("file_data"))
