"""A request as a scenario sees it: the same for every wire format, worked out only as far as somebody looks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

_CWD: Final = re.compile(
    r"(?:working directory(?: is)?|working in the directory|working in the following directories|<cwd>"
    r"|workspace folder|Current directory)\s*[:=]?\s*(?:- )?`?"
    r"(/[^\n`<]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Item:
    """A piece of the conversation. ``kind``: user | assistant | call | result; ``name`` of the tool that is called."""

    kind: str
    text: str
    name: str = ""
    failed: bool = False


class Asked:
    """One request. ``wire``: anthropic | chat | responses | gemini; ``number`` counts the server's requests from 0."""

    def __init__(
        self, wire: str, path: str, model: str, body: Mapping[str, Any], headers: Mapping[str, str], number: int
    ) -> None:
        self.wire = wire
        self.path = path
        self.model = model
        self.body = body
        self.headers = headers
        self.number = number
        self.stream = False

    @cached_property
    def system(self) -> str:
        body = self.body
        if self.wire == "anthropic":
            return _text(body.get("system"))
        if self.wire == "gemini":
            return _text((body.get("systemInstruction") or body.get("system_instruction") or {}).get("parts"))
        messages = body.get("messages") if self.wire == "chat" else body.get("input")
        roles = ("system", "developer")
        said = [_text(m.get("content")) for m in messages or [] if isinstance(m, dict) and m.get("role") in roles]
        return "\n".join([str(body.get("instructions") or ""), *said])

    @cached_property
    def items(self) -> list[Item]:
        """The conversation without the system prompt."""
        return list(_ITEMS[self.wire](self.body))

    @cached_property
    def prompt(self) -> str:
        """All that the user said, oldest first."""
        return "\n\n".join(item.text for item in self.items if item.kind == "user")

    @cached_property
    def results(self) -> list[str]:
        return [item.text for item in self.items if item.kind == "result"]

    @property
    def answers(self) -> int:
        """How many answers the conversation holds already (several calls in a row are one)."""
        before = [""] + [item.kind for item in self.items]
        mine = ("assistant", "call")
        return sum(kind in mine and last not in mine for last, kind in pairwise(before))

    @cached_property
    def tools(self) -> dict[str, dict[str, Any]]:
        """The tools that the client offers: name → JSON schema of the arguments (custom tools: {})."""
        found: dict[str, dict[str, Any]] = {}
        for tool in self.body.get("tools") or []:
            if self.wire == "gemini":
                for function in tool.get("functionDeclarations") or tool.get("function_declarations") or []:
                    found[function["name"]] = function.get("parametersJsonSchema") or function.get("parameters") or {}
                continue
            inner = tool.get("function", tool) if self.wire == "chat" else tool
            if name := inner.get("name"):
                found[name] = inner.get("input_schema") or inner.get("parameters") or {}
        return found

    @cached_property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the answer's text must fit, if the client asks for one."""
        body = self.body
        config = body.get("generationConfig") or {}
        for found in (
            config.get("responseJsonSchema") or config.get("responseSchema"),
            ((body.get("response_format") or {}).get("json_schema") or {}).get("schema"),
            ((body.get("text") or {}).get("format") or {}).get("schema"),
            ((body.get("output_config") or {}).get("format") or body.get("output_format") or {}).get("schema"),
        ):
            if isinstance(found, dict):
                return found
        return None

    @cached_property
    def max_output(self) -> int | None:
        """The cap on the answer that the client (or the gateway) sent."""
        body = self.body
        config = body.get("generationConfig") or body.get("generation_config") or {}
        names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
        caps = [body.get(name) for name in names] + [config.get("maxOutputTokens")]
        return next((cap for cap in caps if isinstance(cap, int)), None)

    @cached_property
    def folder(self) -> str:
        """The working directory that the client tells the model, or ""."""
        found = _CWD.findall(self.system + "\n" + self.prompt)
        return found[0].strip().rstrip(".") if found else ""


def _text(content: Any) -> str:
    """The text of a content that is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    parts = []
    for block in content or []:
        if isinstance(block, str):
            parts.append(block)
        elif isinstance(block, Mapping):
            parts.append(str(block.get("text") or _text(block.get("content"))))
    return "\n".join(part for part in parts if part)


def _anthropic(body: Mapping[str, Any]) -> Iterator[Item]:
    for message in body.get("messages") or []:
        content = message.get("content")
        kind = "assistant" if message.get("role") == "assistant" else "user"
        if isinstance(content, str):
            yield Item(kind, content)
            continue
        for block in content or []:
            if block.get("type") == "tool_use":
                yield Item("call", json.dumps(block.get("input")), block.get("name") or "")
            elif block.get("type") == "tool_result":
                yield Item("result", _text(block.get("content")), failed=bool(block.get("is_error")))
            elif block.get("type") == "text":
                yield Item(kind, str(block.get("text")))


def _chat(body: Mapping[str, Any]) -> Iterator[Item]:
    for message in body.get("messages") or []:
        role, text = message.get("role"), _text(message.get("content"))
        if role == "user":
            yield Item("user", text)
        elif role == "tool":
            yield Item("result", text)
        elif role == "assistant":
            if text:
                yield Item("assistant", text)
            for call in message.get("tool_calls") or []:
                yield Item("call", call["function"].get("arguments") or "", call["function"].get("name") or "")


def _responses(body: Mapping[str, Any]) -> Iterator[Item]:
    given = body.get("input")
    if isinstance(given, str):
        yield Item("user", given)
        return
    for item in given or []:
        kind = item.get("type", "message")
        if kind == "message" and item.get("role") in ("user", "assistant"):
            yield Item(str(item["role"]), _text(item.get("content")))
        elif kind in ("function_call", "custom_tool_call", "local_shell_call"):
            yield Item("call", str(item.get("arguments") or item.get("input") or ""), item.get("name") or kind)
        elif kind in ("function_call_output", "custom_tool_call_output", "local_shell_call_output"):
            yield Item("result", _text(item.get("output")))


def _gemini(body: Mapping[str, Any]) -> Iterator[Item]:
    for content in body.get("contents") or []:
        kind = "assistant" if content.get("role") == "model" else "user"
        for part in content.get("parts") or []:
            if call := part.get("functionCall"):
                yield Item("call", json.dumps(call.get("args")), call.get("name") or "")
            elif told := part.get("functionResponse"):
                answer = told.get("response") or {}
                yield Item("result", str(answer.get("output") or answer), failed="error" in answer)
            elif part.get("text") and not part.get("thought"):
                yield Item(kind, str(part["text"]))


_ITEMS: Final = {"anthropic": _anthropic, "chat": _chat, "responses": _responses, "gemini": _gemini}
