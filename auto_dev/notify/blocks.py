"""Slack's building blocks: pure builders that escape all text and keep every limit by cutting, never by failing.

Limits: https://docs.slack.dev/reference/block-kit/blocks. Lengths are counted in UTF-16 units of the escaped text, the
strictest reading of "characters".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from auto_dev.notify.message import Choice, safe_url
from auto_dev.text import clean, line

Block = dict[str, Any]

HEADER = 150
SECTION = 3000
FIELD = 2000
FIELDS = 10
BUTTON_TEXT = 75
BUTTON_VALUE = 2000
ACTION_ID = 255
BLOCK_ID = 255
ACTIONS = 25
SHOWN = 34  # of a button's text, on a phone
CONFIRM_TITLE = 100
CONFIRM_TEXT = 300
CONFIRM_BUTTON = 30
CONTEXT_TEXT = 2000
CONTEXT = 10
BLOCKS = 50
FALLBACK = 3000

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ENDS = {
    "skip": "The story is left out. Its work so far stays on its branch.",
    "abandon": "The run ends here. Its work so far stays on its branch.",
}
_JOINER = "\u2060"  # an invisible word joiner
_MENTION = re.compile(r"@(?=(?:channel|here|everyone|group)\b)|<(?=[!@#])", re.IGNORECASE)


def units(text: str) -> int:
    """The length of ``text`` in UTF-16 units."""
    return len(text) + sum(1 for c in text if ord(c) > 0xFFFF)


def escaped(text: str, limit: int) -> str:
    """``text`` as Slack's mrkdwn takes it literally, of at most ``limit`` units, never cut inside an entity.

    Nobody is called: brackets are escaped, and ``@here``, ``<!here>`` and their like get an invisible joiner.
    """
    return _fit([_ENTITIES.get(c, c) for c in _calm(clean(text))], limit)


def plain(text: str, limit: int) -> str:
    """``text`` on one line for a ``plain_text`` object, of at most ``limit`` units and never empty."""
    return _fit(list(_calm(line(text, limit))), limit) or "-"


def _calm(text: str) -> str:
    return _MENTION.sub(lambda match: match[0] + _JOINER, text)


def _fit(pieces: Sequence[str], limit: int) -> str:
    whole = "".join(pieces)
    if units(whole) <= limit:
        return whole
    kept: list[str] = []
    room = limit - 1
    for piece in pieces:
        room -= units(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept) + "…"


def header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": plain(text, HEADER), "emoji": False}}


def _mrkdwn(markup: str) -> Block:
    # verbatim: Slack makes no links and no mentions of its own out of the text.
    return {"type": "mrkdwn", "text": markup, "verbatim": True}


def section(text: str, *, bold: bool = False) -> list[Block]:
    """A section of literal ``text``, or nothing for an empty one. ``bold`` is for one-liners."""
    if not (said := escaped(text, SECTION - 2).strip()):
        return []
    return [{"type": "section", "text": _mrkdwn(f"*{said}*" if bold and "*" not in said else said)}]


def quote(text: str) -> list[Block]:
    """Somebody's own words, literally, set off at the left."""
    said = escaped(text.strip(), SECTION - 400)
    quoted = "\n".join(f"> {entry}" for entry in said.splitlines()[:50])
    return [{"type": "section", "text": _mrkdwn(quoted)}] if said else []


def stamped(text: str, at: datetime | None) -> list[Block]:
    """Small print: a literal line, and when that was, in the reader's own time."""
    said = escaped(line(text), CONTEXT_TEXT - 200).strip()
    when = ""
    if at is not None:
        utc = at.astimezone(UTC)
        when = f"<!date^{int(utc.timestamp())}^{{date_short_pretty}}, {{time}}|{utc:%Y-%m-%d %H:%M} UTC>"
    parts = [part for part in (said, when) if part]
    return [{"type": "context", "elements": [_mrkdwn(" · ".join(parts))]}] if parts else []


def code(title: str, text: str) -> list[Block]:
    """A literal excerpt under its title."""
    name = escaped(line(title, 200), 300)
    body = clean(text).replace("```", f"`{_JOINER}`{_JOINER}`").strip("\n")
    if not body.strip():
        return section(title)
    body = escaped(body, SECTION - units(name) - 12)
    return [{"type": "section", "text": _mrkdwn(f"{name}\n```\n{body}\n```" if name else f"```\n{body}\n```")}]


def listing(lines: Iterable[str]) -> list[Block]:
    """Literal lines, in as few sections as they fit."""
    blocks: list[Block] = []
    text = ""
    for entry in lines:
        said = escaped(entry, 1000)
        if text and units(text) + units(said) + 1 > SECTION:
            blocks.append({"type": "section", "text": _mrkdwn(text)})
            text = ""
        text = f"{text}\n{said}" if text else said
    return [*blocks, {"type": "section", "text": _mrkdwn(text)}] if text.strip() else blocks


def labelled(pairs: Iterable[tuple[str, str]]) -> list[Block]:
    """Labels and short values, a line each."""
    lines: list[str] = []
    for label, value in pairs:
        title, said = escaped(line(label, 200), 300), escaped(line(value, 300), 500).replace("`", "'")
        lines += [f"{title}: `{said}`" if title and said else title or said]
    return [{"type": "section", "text": _mrkdwn("\n".join(lines[:5]))}] if any(lines) else []


def fields(pairs: Sequence[tuple[str, str]]) -> list[Block]:
    """Labels and values in two columns."""
    cells = [
        _mrkdwn(f"*{escaped(label, 100).replace('*', '')}*\n{escaped(value, FIELD - 200) or '-'}")
        for label, value in pairs[:FIELDS]
    ]
    return [{"type": "section", "fields": cells}] if cells else []


def link(url: str, label: str) -> list[Block]:
    """A link, or nothing when ``url`` is not one."""
    if not (target := safe_url(url)):
        return []
    target = target.replace("&", "&amp;")
    return [{"type": "section", "text": _mrkdwn(f"<{target}|{escaped(line(label or url), 300)}>")}]


def context(texts: Iterable[str]) -> list[Block]:
    """Small print: literal lines."""
    elements = [_mrkdwn(said) for text in texts if (said := escaped(text, CONTEXT_TEXT).strip())]
    return [{"type": "context", "elements": elements[:CONTEXT]}] if elements else []


def button(action_id: str, label: str, value: str, *, primary: bool = False) -> Block:
    element: Block = {
        "type": "button",
        "action_id": _fit(list(action_id), ACTION_ID),
        "text": {"type": "plain_text", "text": plain(label, BUTTON_TEXT), "emoji": False},
        "value": value,
    }
    if primary:
        element["style"] = "primary"
    return element


def confirm(title: str, text: str, yes: str) -> Block:
    """A question that Slack asks before it lets a button act."""
    parts = {"title": (title, CONFIRM_TITLE), "text": (text, CONFIRM_TEXT), "confirm": (yes, CONFIRM_BUTTON)}
    return {
        **{key: {"type": "plain_text", "text": plain(said, limit)} for key, (said, limit) in parts.items()},
        "deny": {"type": "plain_text", "text": "Cancel"},
        "style": "danger",
    }


def decision_buttons(decision_id: str, choices: Sequence[Choice]) -> list[Block]:
    """One button per choice; those that a phone would cut are spelt out in front of them, by their numbers.

    ``action_id`` is ``decide/<decision>/<option>``; ``value`` is JSON {"decision", "option"}: names, which whoever
    takes the click looks up. A choice whose value would not fit gets no button: the command beside it answers too.
    """
    elements: list[Block] = []
    numbered = any(units(line(choice.label)) > SHOWN for choice in choices)
    seen: set[str] = set()
    for number, choice in enumerate(choices, 1):
        value = json.dumps({"decision": decision_id, "option": choice.id}, ensure_ascii=False)
        label = f"{number}. {plain(choice.label, SHOWN)}" if numbered else choice.label
        label = f"{label}…" if choice.wants_text and not label.endswith("…") else label
        element = button(f"decide/{decision_id}/{choice.id}", label, value, primary=choice.recommended)
        if choice.destructive:
            element["confirm"] = confirm(f"{choice.label}?", _ENDS[choice.action], "Yes")
        if units(value) <= BUTTON_VALUE and element["action_id"] not in seen and len(elements) < ACTIONS:
            seen.add(element["action_id"])
            elements.append(element)
    if not elements:
        return []
    return [*(_spelt_out(choices) if numbered else []), {"type": "actions", "elements": elements}]


def _spelt_out(choices: Sequence[Choice]) -> list[Block]:
    marks = {True: " (recommended)", False: ""}
    return listing(f"{n}. {choice.label}{marks[choice.recommended]}" for n, choice in enumerate(choices[:ACTIONS], 1))


def message(blocks: Sequence[Block], marker: str) -> list[Block]:
    """The blocks of one message: at most 50, no ``action_id`` twice, the first one named by ``marker``.

    The marker is how a repeat is recognised in the channel's history, where block ids are always shown.
    """
    kept = [*blocks[: BLOCKS - 1], *context(["… the rest was cut."])] if len(blocks) > BLOCKS else list(blocks)
    seen: set[str] = set()
    result: list[Block] = []
    for block in kept:
        if block["type"] == "actions":
            fresh = [element for element in block["elements"] if element["action_id"] not in seen]
            seen.update(element["action_id"] for element in fresh)
            if not fresh:
                continue
            result.append({**block, "elements": fresh})
        else:
            result.append(block)
    if result:
        result[0] = {**result[0], "block_id": marker[:BLOCK_ID]}
    return result
