"""Values as people write them: priorities, estimates, dependencies."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from auto_dev.stories import ids

_PRIORITIES: Final = {
    **dict.fromkeys(("critical", "urgent", "highest", "blocker", "must", "must-have", "immediate"), 1),
    **dict.fromkeys(("high", "major", "important", "should", "should-have"), 2),
    **dict.fromkeys(("medium", "normal", "moderate", "default", "med"), 3),
    **dict.fromkeys(("low", "minor", "could", "could-have"), 4),
    **dict.fromkeys(("lowest", "trivial", "wont", "nice-to-have"), 5),
}
_SIZES: Final = {"xs": 1.0, "s": 2.0, "m": 4.0, "l": 8.0, "xl": 16.0, "xxl": 32.0}
_SIZES_LONG: Final = {"small": 2.0, "medium": 4.0, "large": 8.0, "extra-large": 16.0, "x-large": 16.0}
_UNITS: Final = {"m": 1 / 60, "h": 1.0, "d": 8.0, "w": 40.0}
_NUMBER = r"\d+(?:[.,]\d+)?"
_DURATION = re.compile(
    rf"~?\s*(?:{_NUMBER}\s*(?:-|\u2013|\u2014|to)\s*)?({_NUMBER})\s*"
    r"(m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?|d(?:ays?)?|w(?:(?:ee)?ks?)?)?\b\.?",
    re.IGNORECASE,
)
_NOTHING: Final = frozenset(
    [
        "none",
        "no",
        "nothing",
        "n/a",
        "na",
        "nil",
        "null",
        "nope",
        "-",
        "--",
        "---",
        "—",
        "–",
        "[]",
        "{}",
        "~",
        "∅",
        "no-dependencies",
        "none-yet",
        "empty",
        ".",
        "/",
        "x",
    ]
)
_ID_TOKEN = re.compile(r"[#@]?([A-Za-z0-9][A-Za-z0-9._-]*)")
_STRUCK = re.compile(r"~~(.{1,400}?)~~|<(?:del|s)>(.{1,400}?)</(?:del|s)>", re.DOTALL)
_LINK = re.compile(r"\[\[([^\]|\[]{1,200})(?:\|[^\]\[]{0,200})?\]\]|\[([^\]\[]{0,200})\]\([^()]{0,400}\)")


def priority(text: str) -> tuple[int, str]:
    """(1 to 5, what is wrong with it): 3 and a complaint when ``text`` is not understood."""
    plain = re.sub(r"[*_`\"']", "", text).strip().casefold()
    plain = re.sub(r"^[^\w-]+", "", plain)
    words = re.split(r"[\s/(,:\u2013\u2014]+", plain)
    for word in (plain.replace(" ", "-"), words[0]):
        if word in _PRIORITIES:
            return _PRIORITIES[word], ""
    level = re.match(r"p\s?-?(\d{1,3})\b", plain)
    if level:
        given = int(level[1]) + 1
        return min(given, 5), "" if given <= 5 else f"priority {text!r} is outside P0 to P4; taken as P4"
    number = re.match(r"([+-]?\d{1,300}(?:\.\d+)?)(?![\w.])", plain)
    if number:
        value = round(float(number[1]))
        clamped = min(max(value, 1), 5)
        exact = clamped == float(number[1])
        return clamped, "" if exact else f"priority {text!r} is not one of 1 to 5; taken as {clamped}"
    return 3, f"priority {text!r} is not understood; taken as 3"


def estimate(text: str) -> float | None:
    """Hours (a day has 8, a week 40; of a range the upper end); ``None`` when ``text`` is not understood."""
    plain = re.sub(r"[*_`\"']", "", text).strip()
    size = plain.casefold().split(" ", 1)[0].strip("()")
    if size in _SIZES or size in _SIZES_LONG:
        return _SIZES.get(size) or _SIZES_LONG[size]
    match = _DURATION.match(plain)
    if not match:
        return None
    rest = plain[match.end() :].strip()
    if rest and not rest.startswith(("(", ",", ";", "\u2014", "-", "/")):
        return None
    hours = float(match[1].replace(",", ".")) * _UNITS[(match[2] or "h")[0].lower()]
    return round(hours, 4) if math.isfinite(hours) and hours < 100_000 else None


@dataclass(frozen=True, slots=True)
class Dependencies:
    """``ids`` are still needed; ``notes`` keep what was written beside them, and what was struck through."""

    ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def dependencies(text: str) -> Dependencies:
    """``A, B``, ``none``, ``~~A~~ (completed), B (reason)``, ``A - title``: what is needed, and the notes."""
    found: list[str] = []
    notes: list[str] = []
    for part in _parts(_LINK.sub(lambda m: m[1] or m[2], text)):
        struck = _STRUCK.search(part)
        rest = _STRUCK.sub("", part)
        if struck and not re.search(r"[A-Za-z]\w*[-_]\d", re.sub(r"\([^)]*\)", "", rest)):
            notes.append(part)
            continue
        names = _names(rest)
        found += names
        if part.strip("`*#@ ") not in (*names, *_NOTHING) and part.casefold() not in _NOTHING:
            notes.append(part)
    return Dependencies(tuple(dict.fromkeys(found)), tuple(dict.fromkeys(notes)))


def _parts(text: str) -> list[str]:
    """Split at commas, semicolons and line ends that are outside of parentheses."""
    parts, depth, current = [], 0, ""
    for char in text:
        depth = max(depth + (char in "([") - (char in ")]"), 0)
        if (char in ",;" and depth == 0) or char == "\n":
            parts.append(current)
            current, depth = "", 0
        else:
            current += char
    parts.append(current)
    split = [piece for part in parts for piece in re.split(r"\s(?:and|&|\+)\s(?=[#`*\[]?[A-Za-z0-9_.-]*\d)", part)]
    return [part.strip().removeprefix("- ").strip() for part in split if part.strip()]


def _names(part: str) -> list[str]:
    plain = re.sub(r"^[^\w#@~\u2205-]+", "", part.strip().strip("`*\"' "))
    plain = re.sub(r"(?i)^(?:user stor(?:y|ies)|stor(?:y|ies)|tasks?|tickets?|issues?)\s+(?=#?\w*\d)", "", plain)
    plain = re.sub(r"[`*\"']", "", plain).strip()
    if is_nothing(part) or is_nothing(plain):
        return []
    token = _ID_TOKEN.match(plain)
    name = token[1].rstrip(".-_") if token else ""
    rest = plain[token.end() :] if token else ""
    if name and (re.search(r"\d", name) or not rest.strip(" .")):
        others = rest.split()
        # "A-1 B-2 C-3": ids with nothing but spaces between them.
        if others and all(re.fullmatch(r"[A-Za-z]+[-_][\w.-]*\d\w*", other) for other in others):
            return [name, *others]
        return [name]
    return ids.mentioned(plain) or [plain[:200]]


def is_nothing(text: str) -> bool:
    """``none``, ``—``, ``n/a``, ``None (all done)``: says that there is nothing."""
    plain = re.sub(r"[*_`\"'()]", "", text).strip().casefold().rstrip(".")
    if not plain or plain in _NOTHING:
        return True
    return bool(
        re.match(r"(?:none|nothing|n/a|nil|no dependenc(?:y|ies))(?:\s*[\s(.,;:\u2014\u2013-].*)?$", plain, re.DOTALL)
    )


def moment(text: str | None) -> float:
    """``created_at`` as seconds since 1970; infinity when there is none or it is not a date."""
    try:
        when = datetime.fromisoformat((text or "").strip().strip("\"'"))
        return when.timestamp() if when.tzinfo else datetime.fromisoformat(when.isoformat() + "+00:00").timestamp()
    except (ValueError, OverflowError):
        return math.inf
