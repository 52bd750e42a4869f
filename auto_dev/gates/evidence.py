"""Evidence: what auto-dev saw, as small clean JSON, and how findings become one judgement."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from auto_dev.gates.base import Judgement
from auto_dev.model import Route, Verdict
from auto_dev.text import clean, jsonable, line

LIMIT: Final = 30_000  # characters of ASCII JSON per judgement; a verdict row stays under 32 KB
EXCERPT: Final = 4_000
ENTRIES: Final = 60

# What differs between two runs of one failure: addresses, folders, durations, hashes, line numbers, rulers.
_VOLATILE: Final = (
    (re.compile(r"\b0x[0-9a-fA-F]+"), "0x"),
    (re.compile(r"(?:/[^\s/:'\"()<>\[\]]+)+/"), "/"),
    (re.compile(r"\b\d+(?:\.\d+)?\s?(?:ns|us|µs|ms|s|secs?|seconds?|min|minutes?)\b"), "T"),
    (re.compile(r"\b\d\d?:\d\d:\d\d(?:[.,]\d+)?"), "T"),
    (re.compile(r"\b(?:[0-9a-f]{7,64}|\d{5,})\b"), "H"),
    (re.compile(r":\d+\b"), ":"),
    (re.compile(r"\bline \d+"), "line"),
    (re.compile(r"[=_\-─]{3,}"), "="),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a gate found. ``kind`` groups findings in the reason; ``PROCEED`` means: worth a note only."""

    route: Route
    kind: str
    entry: Mapping[str, Any]


def entry(
    title: str, *, file: str = "", at: int | None = None, excerpt: str = "", number: float | None = None, **more: Any
) -> dict[str, Any]:
    """One piece of evidence; empty fields are left out. ``at`` is the line in ``file``."""
    fields = {"title": line(title), "file": clean(file, 500), "line": at, "excerpt": excerpt, "number": number, **more}
    return {key: value for key, value in fields.items() if value is not None and value != ""}


def last(text: str, limit: int = EXCERPT) -> str:
    """The end of ``text``, cleaned, at most ``limit`` characters: that is where tools say what went wrong."""
    text = clean(text[-4 * limit :]).strip("\n")
    return text if len(text) <= limit else "[…] " + text[-(limit - 4) :].split("\n", 1)[-1]


def bounded(entries: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """``entries`` as clean JSON, under ``LIMIT`` characters in all; what was left out is counted at the end."""
    kept: list[dict[str, Any]] = []
    room = LIMIT - 200
    iterator = iter(entries)
    for item in islice(iterator, ENTRIES):
        fitting = _fit(item, room)
        if fitting is None:
            kept.append(entry(f"{1 + _count(iterator)} more left out"))
            return tuple(kept)
        room -= len(json.dumps(fitting)) + 2
        kept.append(fitting)
    if left := _count(iterator):
        kept.append(entry(f"{left} more left out"))
    return tuple(kept)


def judged(
    verdict: Verdict, reason: str, route: Route = Route.PROCEED, evidence: Iterable[Mapping[str, Any]] = ()
) -> Judgement:
    """A judgement whose reason is one clean line and whose evidence is bounded."""
    return Judgement(verdict, line(reason), route, bounded(evidence))


def weighed(findings: Sequence[Finding], otherwise: str) -> Judgement:
    """The judgement of all ``findings`` together: the strictest route wins. ``otherwise``: the reason of a pass."""
    if not findings:
        return judged(Verdict.PASS, otherwise)
    order = (Route.ASK, Route.REPAIR, Route.PROCEED)
    ranked = sorted(findings, key=lambda finding: order.index(finding.route))
    route = ranked[0].route
    kinds: dict[str, int] = {}
    for finding in ranked:
        if finding.route is not Route.PROCEED or route is Route.PROCEED:
            kinds[finding.kind] = kinds.get(finding.kind, 0) + 1
    reason = "; ".join(kind if count == 1 else f"{kind} (×{count})" for kind, count in kinds.items())
    verdict = Verdict.CONCERNS if route is Route.PROCEED else Verdict.FAIL
    return judged(verdict, reason, route, (finding.entry for finding in ranked))


def digest(gate: str, judgement: Judgement) -> str:
    """What the judgement says, without what differs from run to run: equal digests mean the same failure again."""
    parts = [gate, judgement.verdict.value]
    for item in judgement.evidence:
        lines = {_stable(text) for text in str(item.get("excerpt", "")).split("\n")}
        # Sorted: test runners that run in parallel print in any order.
        parts += [_stable(str(item.get("title", ""))), str(item.get("file", "")), *sorted(lines)]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:24]


def _stable(text: str) -> str:
    for pattern, instead in _VOLATILE:
        text = pattern.sub(instead, text)
    return " ".join(text.split())


def _fit(item: Mapping[str, Any], room: int) -> dict[str, Any] | None:
    if not isinstance(item, Mapping):
        raise TypeError(f"evidence is made of mappings, not of {type(item).__name__}")
    whole: dict[str, Any] = jsonable(dict(islice(item.items(), 30)), text_limit=EXCERPT, depth=5)
    if len(json.dumps(whole)) <= room:
        return whole
    short = {"title": line(str(item.get("title", "evidence"))), "excerpt": clean(str(item.get("excerpt", "")), 600)}
    return short if len(json.dumps(short)) <= room else None


def _count(iterator: Iterable[object]) -> int:
    return sum(1 for _ in iterator)
