"""Google's Gemini API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import auto_dev.budget.gateway.plans as plans
from auto_dev.budget.gateway.bodies import Body
from auto_dev.budget.gateway.errors import RefusedError
from auto_dev.budget.gateway.plans import Call, Content, Plan, Shape, not_metered
from auto_dev.budget.gateway.usage import Reader, UsageError, count, part, text_bytes
from auto_dev.budget.meter import Metered
from auto_dev.budget.prices import Spent

_CLIENT_TOOLS: Final = ("functionDeclarations", "function_declarations")
_UPPER: Final = re.compile(r"[A-Z]")


class GenerateContent:
    """``POST /v1beta/models/{model}:generateContent`` and ``:streamGenerateContent``."""

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream

    def plan(self, call: Call) -> Plan:
        body = call.body
        body.pop("model", None)  # the path says it
        name = plans.priced_as("google", plans.model_name(call.model), call.prices)
        if plans.given(either(body, "cachedContent")):
            raise not_metered("cachedContent", "what the cache holds is not seen here; send its text")
        tier = either(body, "serviceTier")
        if str("standard" if tier is None else tier).lower().rpartition("_")[2] not in ("standard", "unspecified"):
            raise not_metered("serviceTier", "its price is known for the standard tier alone")
        for tool in _list(body, "tools"):
            if unknown := [key for key in tool if key not in _CLIENT_TOOLS]:
                raise not_metered(
                    f"the tool {unknown[0][:40]}", "it runs at the provider, and what it costs has no bound"
                )
        settings = _config(body)
        content = Content()
        _look(content, body)
        candidates = plans.whole(settings, key_of(settings, "candidateCount"), most=16) or 1
        cap = key_of(settings, "maxOutputTokens")
        asked = plans.whole(settings, cap) or plans.default_output(call.model)
        window = call.prices.context_window(name) or plans.WINDOW

        def apply(output: int, searches: int) -> None:
            del searches
            settings[cap] = output
            body[key_of(body, "generationConfig")] = settings

        shape = (Shape.EVENTS if call.sse else Shape.ARRAY) if self._stream else Shape.WHOLE
        return Plan(
            metered=Metered(
                model=name,
                input_tokens=content.bound(call.size, window),
                output_tokens=asked,
                least_output=min(asked, plans.LEAST_OUTPUT),
                candidates=candidates,
                media=content.any,
            ),
            shape=shape,
            # A call of a function comes in one piece, so it, too, is not seen while it is made.
            hidden=not call.model.startswith(("gemini-1", "gemini-2.0")) or plans.given(body.get("tools")),
            text_bytes=max(call.size - content.media_bytes, 0),
            apply=apply,
            reader=GeminiReader(candidates),
            talk=plans.talk(body, "contents", lambda found, items: _look(found, {"contents": items})),
        )


class GeminiReader(Reader):
    """Every chunk has a usage; that of the last one counts."""

    def __init__(self, candidates: int) -> None:
        super().__init__()
        self._candidates = candidates
        self._finished: set[object] = set()

    def seen(self, shape: dict[str, Any]) -> bool:
        if shape.get("error"):
            self.failed = True
        found = shape.get("candidates")
        for candidate in found if isinstance(found, list) else ():
            if not isinstance(candidate, dict):
                continue
            if candidate.get("finishReason") is not None:
                self._finished.add(str(candidate.get("index", 0)))
            parts = part(candidate, "content").get("parts")
            for each in parts if isinstance(parts, list) else ():
                self.delivered += text_bytes(each.get("text")) if isinstance(each, dict) else 0
        if part(shape, "promptFeedback").get("blockReason") is not None or len(self._finished) >= self._candidates:
            self.done = True
        if usage := part(shape, "usageMetadata"):
            spent = spent_of(usage)
            if self.certain is None or spent.input >= self.certain.input:
                self.certain = spent
            self.spent = spent
        return False

    def complete(self, shape: dict[str, Any]) -> None:
        self.seen(shape)
        self.done = True


def spent_of(usage: Mapping[str, Any]) -> Spent:
    """A usageMetadata. Raises UsageError."""
    prompt = count(usage, "promptTokenCount", needed=True) + count(usage, "toolUsePromptTokenCount")
    output = count(usage, "candidatesTokenCount") + count(usage, "thoughtsTokenCount")
    if str(usage.get("serviceTier", "standard")).lower().rpartition("_")[2] not in ("standard", "unspecified"):
        raise UsageError("the service tier is not the standard one")
    for details in ("candidatesTokensDetails", "candidates_tokens_details"):
        if _modality(usage, details, "AUDIO") or _modality(usage, details, "IMAGE"):
            raise UsageError("the answer has more than text, which is not metered")
    return Spent(
        input=prompt,
        output=max(output, count(usage, "totalTokenCount") - prompt),
        cache_read=count(usage, "cachedContentTokenCount"),
        audio=_modality(usage, "promptTokensDetails", "AUDIO"),
        audio_read=_modality(usage, "cacheTokensDetails", "AUDIO"),
    )


def key_of(body: Mapping[str, Any], name: str) -> str:
    """How ``name`` is written in ``body``: the API takes ``maxOutputTokens`` and ``max_output_tokens`` alike."""
    other = _UPPER.sub(lambda letter: f"_{letter[0].lower()}", name)
    if name != other and name in body and other in body:
        raise RefusedError(f"{name} and {other} are the same setting, given twice")
    return other if other in body else name


def either(body: Mapping[str, Any], name: str) -> Any:
    """The value of ``name``, however it is written."""
    return body.get(key_of(body, name))


def _list(body: Body, name: str) -> list[dict[str, Any]]:
    value = either(body, name)
    return plans.objects({name: [value] if isinstance(value, dict) else value}, name)


def _modality(usage: Mapping[str, Any], details: str, modality: str) -> int:
    found = usage.get(details)
    return sum(
        count(each, "tokenCount")
        for each in (found if isinstance(found, list) else ())
        if isinstance(each, dict) and each.get("modality") == modality
    )


def _config(body: Body) -> Body:
    settings = plans.section(body, key_of(body, "generationConfig"))
    wanted = either(settings, "responseModalities")
    if wanted is not None and (not isinstance(wanted, list) or [str(one).upper() for one in wanted] != ["TEXT"]):
        raise not_metered("responseModalities", "only text is metered")
    for name in ("speechConfig", "imageConfig"):
        if plans.given(either(settings, name)):
            raise not_metered(name, "only text is metered")
    return settings


def _look(content: Content, body: Body) -> None:
    turns = _list(body, "contents")
    system = either(body, "systemInstruction")
    for turn in [*turns, system] if isinstance(system, dict) else turns:
        parts = turn.get("parts")
        for each in parts if isinstance(parts, list) else [parts]:
            if isinstance(each, dict):
                _part(content, each)


def _part(content: Content, each: Body) -> None:
    if isinstance(inline := either(each, "inlineData"), dict):
        content.whole_window(inline.get("data"))
    elif plans.given(either(each, "fileData")):
        content.whole_window()
    answer = either(each, "functionResponse")
    for inner in _list(answer, "parts") if isinstance(answer, dict) else ():
        _part(content, inner)
