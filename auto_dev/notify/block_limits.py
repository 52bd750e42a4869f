"""What Slack would refuse, found before it is sent: a second look at what the builders made. Pure.

https://docs.slack.dev/reference/block-kit/blocks, …/block-elements and …/composition-objects. Lengths are counted in
UTF-16 units.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

MESSAGE_BLOCKS: Final = 50
VIEW_BLOCKS: Final = 100
VIEW_TITLE: Final = 24
PRIVATE_METADATA: Final = 3000
_ID: Final = 255
_KNOWN: Final = frozenset({"header", "section", "context", "actions", "input", "divider"})

Part = Mapping[str, Any]


def problems(blocks: Sequence[Part], *, most: int = MESSAGE_BLOCKS) -> list[str]:
    """What is wrong with these blocks of one message; empty when Slack takes them."""
    found = [] if 0 < len(blocks) <= most else [f"{len(blocks)} blocks, not 1 to {most}"]
    for place, block in enumerate(blocks):
        found += [f"block {place}: {what}" for what in _block(block)]
    found += _twice("block_id", (block.get("block_id") for block in blocks))
    found += _twice("action_id", (element.get("action_id") for element in _interactive(blocks)))
    return found


def view_problems(view: Part) -> list[str]:
    """What is wrong with a dialog; empty when Slack takes it."""
    found = problems(view.get("blocks", ()), most=VIEW_BLOCKS)
    for key, needed in (("title", True), ("submit", False), ("close", False)):
        if needed or key in view:
            found += [f"{key}: {what}" for what in _text(view.get(key), VIEW_TITLE, plain=True)]
    if _units(str(view.get("private_metadata", ""))) > PRIVATE_METADATA:
        found.append(f"private_metadata is over {PRIVATE_METADATA}")
    if _units(str(view.get("callback_id", ""))) > _ID:
        found.append(f"callback_id is over {_ID}")
    if "submit" not in view and any(block.get("type") == "input" for block in view.get("blocks", ())):
        found.append("an input needs a submit")
    return found


def _block(block: Part) -> list[str]:
    kind = block.get("type")
    found = [] if kind in _KNOWN else [f"unknown type {kind!r}"]
    if "block_id" in block and not 0 < _units(str(block["block_id"])) <= _ID:
        found.append(f"block_id is not 1 to {_ID}")
    match kind:
        case "header":
            found += _text(block.get("text"), 150, plain=True)
        case "section":
            found += _section(block)
        case "context":
            elements = block.get("elements", ())
            found += _count("elements", elements, 10)
            found += [what for element in elements for what in _text(element, 3000)]
        case "actions":
            elements = block.get("elements", ())
            found += _count("elements", elements, 25)
            found += [what for element in elements for what in _button(element)]
        case "input":
            found += _input(block)
    return found


def _section(block: Part) -> list[str]:
    found = _text(block["text"], 3000) if "text" in block else []
    if "fields" in block:
        found += _count("fields", block["fields"], 10)
        found += [what for cell in block["fields"] for what in _text(cell, 2000)]
    return found if "text" in block or "fields" in block else ["neither text nor fields"]


def _button(element: Part) -> list[str]:
    found = _text(element.get("text"), 75, plain=True) + _identity(element)
    if element.get("type") != "button":
        found.append(f"unknown element {element.get('type')!r}")
    if _units(str(element.get("value", ""))) > 2000:
        found.append("value is over 2000")
    if element.get("style", "primary") not in ("primary", "danger"):
        found.append(f"unknown style {element['style']!r}")
    if "confirm" in element:
        asked = element["confirm"]
        for key, limit in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
            found += [f"confirm.{key}: {what}" for what in _text(asked.get(key), limit)]
    return found


def _input(block: Part) -> list[str]:
    found = [f"label: {what}" for what in _text(block.get("label"), 2000, plain=True)]
    if "hint" in block:
        found += [f"hint: {what}" for what in _text(block["hint"], 2000, plain=True)]
    element = block.get("element", {})
    found += _identity(element)
    if "placeholder" in element:
        found += [f"placeholder: {what}" for what in _text(element["placeholder"], 150, plain=True)]
    if element.get("type") != "plain_text_input":
        found.append(f"unknown element {element.get('type')!r}")
    elif not 0 <= element.get("min_length", 0) <= element.get("max_length", 3000) <= 3000:
        found.append("min_length and max_length are not within 0 to 3000")
    return found


def _identity(element: Part) -> list[str]:
    return [] if 0 < _units(str(element.get("action_id", ""))) <= _ID else [f"action_id is not 1 to {_ID}"]


def _text(value: Any, limit: int, *, plain: bool = False) -> list[str]:
    if not isinstance(value, Mapping) or value.get("type") not in ("plain_text", "mrkdwn"):
        return ["no text object"]
    if plain and value["type"] != "plain_text":
        return ["not plain_text"]
    text = value.get("text")
    if not isinstance(text, str) or not text.strip():
        return ["an empty text"]
    try:
        json.dumps(text, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return ["a lone surrogate"]
    return [] if _units(text) <= limit else [f"a text of {_units(text)}, over {limit}"]


def _count(what: str, values: Sequence[Any], most: int) -> list[str]:
    return [] if 0 < len(values) <= most else [f"{len(values)} {what}, not 1 to {most}"]


def _twice(what: str, values: Iterable[Any]) -> list[str]:
    given = [value for value in values if value is not None]
    return [f"{what} twice: {value}" for value in sorted({str(v) for v in given if given.count(v) > 1})]


def _interactive(blocks: Sequence[Part]) -> Iterator[Part]:
    for block in blocks:
        yield from block.get("elements", ()) if block.get("type") == "actions" else ()
        if block.get("type") == "input":
            yield block.get("element", {})


def _units(text: str) -> int:
    return len(text) + sum(1 for c in text if ord(c) > 0xFFFF)
