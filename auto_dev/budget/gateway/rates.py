"""What a provider says when it has had enough: until when, and whether waiting helps at all. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from auto_dev.text import line

SHORT_S: Final = 60.0  # a client may wait that long by itself
_UNKNOWN: Final = timedelta(minutes=15)  # where a usage limit does not say when it ends
_LONGEST: Final = timedelta(days=40)
_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|d|h|m|s)(?![a-z])|(\d+(?:\.\d+)?)\s*(day|hour|minute|second)s?")
_IN_TEXT: Final = re.compile(
    r"(?:try again|retry|available again|resets?)\s+(?:in|after)\s+((?:[\d.]+\s*[a-z]+[\s,]*(?:and\s+)?)+)"
)
_DATE: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ](?:at )?(\d{2}:\d{2}))?")
_EXHAUSTED: Final = re.compile(
    r"usage limit|specified api usage|insufficient_quota|exceeded your current quota|perday|per day|daily limit"
)
_NO_MONEY: Final = re.compile(r"insufficient_quota|credit balance is too low|billing|payment|check your plan")
_OVERLOADED: Final = re.compile(r"overloaded|unavailable|capacity|try again later")


@dataclass(frozen=True, slots=True)
class Limited:
    """A provider does not want to be asked. ``short``: the client may wait by itself."""

    detail: str
    short: bool
    resets_at: datetime
    unpaid: bool = False  # waiting does not help: a person must pay


def limited(status: int, headers: Mapping[str, str], text: str, now: datetime) -> Limited | None:
    """What an error reply says about limits; None when it is about something else. ``headers`` by lower-case names."""
    low = text.lower()
    said = message(text)
    exhausted = bool(_EXHAUSTED.search(low))
    if status in (400, 403) and ("usage limit" in low or "credit balance" in low):
        exhausted = True
    elif status not in (429, 503, 529):
        return None
    unpaid = bool(_NO_MONEY.search(low)) and "usage limit" not in low and exhausted | ("credit balance" in low)
    wait = _told(headers, text, now)
    if wait is None:
        wait = _reset(headers, now) if status == 429 else None
    if wait is None and exhausted:
        wait = _midnight(now) if "perday" in low or "per day" in low else _UNKNOWN
    short = wait is None or (wait.total_seconds() <= SHORT_S and not unpaid)
    wait = min(max(wait or timedelta(seconds=1), timedelta(0)), _LONGEST)
    return Limited(said or f"HTTP {status}", short, now + wait, unpaid)


def is_overloaded(status: int, headers: Mapping[str, str], text: str) -> bool:
    """Whether a provider turned a request away before it worked on it, and says so."""
    if status == 503:
        return "retry-after" in headers or "retry-after-ms" in headers or bool(_OVERLOADED.search(text.lower()))
    return status == 529


def message(text: str) -> str:
    """The message in an error body, on one line."""
    try:
        shape: Any = orjson.loads(text)
    except ValueError:
        return line(text, 200)
    if isinstance(shape, list) and shape:
        shape = shape[0]
    inner = shape.get("error", shape) if isinstance(shape, dict) else shape
    said = inner.get("message") if isinstance(inner, dict) else inner
    return line(said, 300) if isinstance(said, str) else ""


def _told(headers: Mapping[str, str], text: str, now: datetime) -> timedelta | None:
    """How long to wait, where the reply says so itself."""
    if (value := headers.get("retry-after-ms")) and _is_number(value):
        return _seconds(float(value) / 1000)
    if value := headers.get("retry-after"):
        if _is_number(value):
            return _seconds(float(value))
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            pass
        else:
            return (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
    if found := re.search(r'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"', text):
        return _seconds(float(found[1]))
    low = text.lower()
    if found := _IN_TEXT.search(low):
        return _span(found[1])
    if ("regain access" in low or "resets" in low) and (found := _DATE.search(text)):
        try:
            return datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}:00+00:00") - now
        except ValueError:
            return None
    return None


def _reset(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The latest reset among limits of which nothing is left."""
    waits = []
    for name, value in headers.items():
        if name.startswith("anthropic-ratelimit-") and name.endswith("-reset"):
            left = headers.get(name.removesuffix("-reset") + "-remaining", "0")
            wait = _until(value, now)
        elif name.startswith("x-ratelimit-reset"):
            left = headers.get(name.replace("-reset", "-remaining", 1), "0")
            wait = _span(value.lower()) or (_seconds(float(value)) if _is_number(value) else None)
        else:
            continue
        if left.strip() == "0" and wait is not None:
            waits.append(wait)
    return max(waits, default=None)


def _until(value: str, now: datetime) -> timedelta | None:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)) - now


def _span(text: str) -> timedelta | None:
    """``1h2m3.5s``, ``2 hours and 5 minutes``."""
    found = [(number or other, unit or word[0]) for number, unit, other, word in _SPAN.findall(text)]
    if not found:
        return None
    return _seconds(sum(float(number) * _UNITS[unit] for number, unit in found))


def _seconds(number: float) -> timedelta:
    return timedelta(seconds=min(max(number, 0.0), _LONGEST.total_seconds()))


def _is_number(value: str) -> bool:
    return bool(re.fullmatch(r"\d{1,12}(\.\d+)?", value.strip()))


def _midnight(now: datetime) -> timedelta:
    """Until quotas per day start over: midnight at Google's."""
    there = now.astimezone(ZoneInfo("America/Los_Angeles"))
    tomorrow = (there + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return tomorrow.astimezone(UTC) - now
