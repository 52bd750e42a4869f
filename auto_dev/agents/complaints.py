"""What a program's own words about a failure mean: no money, a limit that passes, no login, or an ordinary fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from auto_dev.agents.base import AgentResult, Outcome
from auto_dev.agents.cli import Seen

_REFUSED: Final = re.compile(r"\bauto-dev: .{0,400}\b(?:budgets?|limit|spen[dt]|cap)\b", re.IGNORECASE | re.DOTALL)
_LIMITED: Final = re.compile(
    r"\b(?:status|error|code|http|rejected)\b\W{0,4}429\b|\b429\b.{0,20}too many|too many requests"
    r"|rate[ _-]?limit|usage[ _-]limit|(?:hit|reached|exceeded|out of) your .{0,40}(?:limit|quota|usage)"
    r"|quota (?:is )?(?:exceeded|exhausted)|exceeded your current quota|resource_exhausted|insufficient_quota",
    re.IGNORECASE,
)
_LOGIN: Final = re.compile(
    r"not logged in|run /login|please (?:log|sign) ?in|login required|log ?in again|authentication_(?:error|failed)"
    r"|\bunauthorized\b|(?:invalid|incorrect|missing|no|expired) (?:x-)?api[ -]?key|api key (?:not|is) (?:valid|set)"
    r"|\b(?:status|error|code|http)\b\W{0,4}401\b|oauth token (?:has )?(?:expired|been revoked)"
    r"|set an auth method|(?:token|session|login|credentials?) (?:has |have |is |are )?expired",
    re.IGNORECASE,
)

_WAIT: Final = re.compile(
    r"(?:again in|retry in|retry after|resets? in|available in)\s+"
    r"((?:\d+(?:\.\d+)?\s*(?:d(?:ays?)?|h(?:ours?|rs?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)(?![a-z])[\s,and]*)+)",
    re.IGNORECASE,
)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([dhms])", re.IGNORECASE)
_UNIT: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_STAMP: Final = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|\s?UTC|[+-]\d{2}:?\d{2})?")
_EPOCH: Final = re.compile(r"(?:resets?|reset_at|resets_at|resetsAt|\|)\D{0,12}(1[5-9]\d{8}|2\d{9})\b")
_CLOCK: Final = re.compile(r"resets?(?: at)?\s+(\d{1,2})(?::(\d{2}))?\s*(am|pm)?\s*\(UTC\)", re.IGNORECASE)
_LONGEST: Final = timedelta(days=40)  # what lies further ahead is a misreading


def explain(result: AgentResult, seen: Seen, now: datetime) -> AgentResult:
    """A FAILED result with what its words mean; every other result as it is."""
    if result.outcome is not Outcome.FAILED:
        return result
    text = f"{seen.error}\n{result.detail}"
    if _REFUSED.search(text):
        return replace(result, outcome=Outcome.OVER_BUDGET)
    if _LIMITED.search(text) or (seen.resets_at is not None and not seen.login):
        until = seen.resets_at or resets_at(text, now)
        return replace(result, outcome=Outcome.RATE_LIMITED, resets_at=until)
    if seen.login or _LOGIN.search(text):
        return replace(result, outcome=Outcome.UNAVAILABLE)
    return result


def resets_at(text: str, now: datetime) -> datetime | None:
    """When a limit that ``text`` complains about is over, as far as it says so: aware, in UTC, after ``now``."""
    for moment in _moments(text, now):
        if now < moment < now + _LONGEST:
            return moment
    return None


def _moments(text: str, now: datetime) -> Iterator[datetime]:
    if found := _WAIT.search(text):
        parts = _PART.findall(found[1])
        yield now + timedelta(seconds=min(sum(float(n) * _UNIT[unit.lower()] for n, unit in parts), 1e8))
    for stamp in _STAMP.findall(text):
        yield _aware(stamp)
    for seconds in _EPOCH.findall(text):
        yield datetime.fromtimestamp(int(seconds), UTC)
    if found := _CLOCK.search(text):
        hour, minute = int(found[1]), int(found[2] or 0)
        if found[3] and 1 <= hour <= 12:
            hour = hour % 12 + (12 if found[3].lower() == "pm" else 0)
        if hour < 24 and minute < 60:
            today = now.astimezone(UTC).replace(hour=hour, minute=minute, second=0, microsecond=0)
            yield today if today > now else today + timedelta(days=1)


def _aware(stamp: str) -> datetime:
    try:
        moment = datetime.fromisoformat(re.sub(r"\s?UTC$|Z$", "+00:00", stamp))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
