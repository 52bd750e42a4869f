"""OpenAI Chat Completions, and the many that speak it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import auto_dev.budget.gateway.openai as openai
import auto_dev.budget.gateway.plans as plans
from auto_dev.budget.gateway.bodies import Body
from auto_dev.budget.gateway.plans import Call, Content, Plan, Shape, not_metered
from auto_dev.budget.gateway.usage import Reader, UsageError, count, part, text_bytes
from auto_dev.budget.meter import Metered
from auto_dev.budget.prices import MAX_TOKENS, Spent, Terms

_CAPS: Final = ("max_completion_tokens", "max_tokens")
_TEXTS: Final = ("content", "reasoning_content", "reasoning", "refusal")
_REFUSED: Final = {
    "web_search_options": "what it searches has no bound",
    "audio": "sound is not metered",
    "models": "the model that answers must be the one that is priced",
    "plugins": "what they do has no bound",
    "search_parameters": "what it searches has no bound",
}


class ChatCompletions:
    """``POST /v1/chat/completions``."""

    def plan(self, call: Call) -> Plan:
        body = call.body
        model, name = openai.model_of(call)
        openai.refuse(body, _REFUSED)
        if body.get("modalities") not in (None, ["text"]):
            raise not_metered("modalities", "only text is metered")
        terms = openai.terms_of(call, name)
        content = Content()
        _look(content, body, model)
        candidates = plans.whole(body, "n", most=128) or 1
        caps = {key: cap for key in _CAPS if (cap := plans.whole(body, key)) is not None}
        asked = min(caps.values()) if caps else plans.default_output(model)
        names = list(caps) or [_CAPS[0] if call.host == openai.HOST else _CAPS[1]]
        stream = plans.flag(body, "stream")
        strip = stream and _ask_for_usage(body)

        def apply(output: int, searches: int) -> None:
            del searches
            body.update(dict.fromkeys(names, output))

        return Plan(
            metered=Metered(
                model=name,
                input_tokens=content.bound(call.size, call.prices.context_window(name) or plans.WINDOW),
                output_tokens=asked,
                least_output=min(asked, plans.LEAST_OUTPUT),
                candidates=candidates,
                media=content.any,
                terms=({}, terms) if terms else ({},),
            ),
            shape=Shape.EVENTS if stream else Shape.WHOLE,
            hidden=True,
            text_bytes=max(call.size - content.media_bytes, 0),
            apply=apply,
            reader=ChatReader(terms),
            strip_usage=strip,
            talk=plans.talk(body, "messages", lambda found, items: _look(found, {"messages": items}, model)),
        )


class ChatReader(Reader):
    """The usage comes in the last chunk, which has nothing else and only comes when it is asked for."""

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        self._terms = terms
        self._tier: dict[str, Any] = {}

    def seen(self, shape: dict[str, Any]) -> bool:
        if shape.get("error"):
            self.failed = True
        if shape.get("service_tier") is not None:
            self._tier = {"service_tier": shape["service_tier"]}
        choices = shape.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._delivered(choice.get("delta"))
                self.done = self.done or choice.get("finish_reason") is not None
        usage = part(shape, "usage")
        if usage:
            self.spent = spent_of(usage, openai.billed_terms(self._tier, self._terms))
        return bool(usage) and choices == []

    def complete(self, shape: dict[str, Any]) -> None:
        self.done = True
        choices = shape.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._delivered(choice.get("message"))
        if usage := part(shape, "usage"):
            self.spent = spent_of(usage, openai.billed_terms(shape, self._terms))

    def _delivered(self, message: object) -> None:
        if not isinstance(message, dict):
            return
        self.delivered += sum(text_bytes(message.get(name)) for name in _TEXTS)
        calls = message.get("tool_calls")
        for tool_call in calls if isinstance(calls, list) else ():
            function = tool_call.get("function") if isinstance(tool_call, dict) else None
            if isinstance(function, dict):
                self.delivered += text_bytes(function.get("arguments"))


def spent_of(usage: Mapping[str, Any], terms: Terms) -> Spent:
    """A usage of Chat Completions. Raises UsageError."""
    prompt = count(usage, "prompt_tokens", needed=True)
    output = count(usage, "completion_tokens", needed="total_tokens" not in usage)
    total = count(usage, "total_tokens")
    # Some leave out of completion_tokens what the model thought, and have it in the total alone.
    output = max(output, total - prompt)
    if output > MAX_TOKENS:
        raise UsageError("total_tokens is no number of tokens")
    details, made = part(usage, "prompt_tokens_details"), part(usage, "completion_tokens_details")
    if count(made, "audio_tokens"):
        raise UsageError("the answer has sound, which is not metered")
    return Spent(
        input=prompt,
        output=output,
        cache_read=max(count(details, "cached_tokens"), count(usage, "prompt_cache_hit_tokens")),
        cache_write=count(details, "cache_write_tokens"),
        audio=count(details, "audio_tokens"),
        terms=terms,
    )


def _ask_for_usage(body: Body) -> bool:
    """Make the stream end with its usage; whether that was our wish alone."""
    options = plans.section(body, "stream_options")
    asked = plans.flag(options, "include_usage")
    body["stream_options"] = {**options, "include_usage": True}
    return not asked


def _look(content: Content, body: Body, model: str) -> None:
    for message in plans.objects(body, "messages"):
        if plans.given(message.get("audio")):
            content.whole_window()
        parts = message.get("content")
        for item in parts if isinstance(parts, list) else ():
            kind = item.get("type") if isinstance(item, dict) else None
            inner = item.get(kind) if isinstance(item, dict) and isinstance(kind, str) else None
            inner = inner if isinstance(inner, dict) else {"url": inner}
            if kind == "image_url":
                content.image(openai.image(inner.get("url")), openai.image_tokens(model))
            elif kind in ("input_audio", "file", "video_url", "audio_url", "input_video"):
                content.whole_window(inner.get("data") or inner.get("file_data") or openai.image(inner.get("url")))
    for tool in plans.objects(body, "tools"):
        if (kind := tool.get("type")) not in (None, "function", "custom"):
            raise not_metered(f"the tool {str(kind)[:40]}", "it runs at the provider, and what it costs has no bound")
