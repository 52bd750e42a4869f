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
    verdict: Verdict,
    reason: str,
    route: Route = Route.PROCEED,
    evidence: Iterable[Mapping[str, Any]] = (),
    *,
    failures: int | None = None,
) -> Judgement:
    """A judgement whose reason is one clean line and whose evidence is bounded. ``failures`` as in Judgement."""
    return Judgement(verdict, line(reason), route, bounded(evidence), failures)


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
    stopping = sum(finding.route is not Route.PROCEED for finding in ranked)
    return judged(verdict, reason, route, (finding.entry for finding in ranked), failures=stopping or None)


def digest(gate: str, judgement: Judgement) -> str:
    """What the judgement says, without what differs from run to run: equal digests mean the same failure again.

    Pieces of evidence with an ``identity`` are known by that alone, and then nothing else counts.
    """
    parts = [gate, judgement.verdict.value]
    if known := identities(judgement):
        return _hash([*parts, *sorted(known)])
    for item in judgement.evidence:
        lines = {_stable(text) for text in str(item.get("excerpt", "")).split("\n")}
        # Sorted: test runners that run in parallel print in any order.
        parts += [_stable(str(item.get("title", ""))), str(item.get("file", "")), *sorted(lines)]
    return _hash(parts)


def names_digest(gate: str, judgement: Judgement) -> str:
    """What fails by its names alone, whatever its output says."""
    names = {f"{_stable(str(item.get('title', '')))}\0{item.get('file', '')}" for item in judgement.evidence}
    return _hash([gate, *sorted(identities(judgement) or names)])


def identities(judgement: Judgement) -> frozenset[str]:
    """The faults of the judgement that are known by a name of their own."""
    return frozenset(str(item["identity"]) for item in judgement.evidence if item.get("identity"))


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:24]


def lines_of(judgement: Judgement) -> list[str]:
    """The evidence as text, a piece each: title, place, and what was seen there."""
    return [_as_text(item) for item in judgement.evidence]


def shared(texts: Sequence[str], room: int) -> list[str]:
    """``texts`` cleaned and cut so that together they have about ``room`` characters: short ones stay whole."""
    limits: dict[int, int] = {}
    left = room
    for place, index in enumerate(sorted(range(len(texts)), key=lambda index: len(texts[index]))):
        limits[index] = min(len(texts[index]), left // (len(texts) - place))
        left -= limits[index]
    return [clean(text, limits[index]) for index, text in enumerate(texts)]


def _as_text(item: Mapping[str, Any]) -> str:
    place = str(item.get("file", ""))
    if place and "line" in item:
        place += f":{item['line']}"
    number = f" ({item['number']})" if "number" in item else ""
    text = f"- {item.get('title', '')}{number}" + (f" [{place}]" if place else "")
    excerpt = str(item.get("excerpt", "")).rstrip()
    if not excerpt:
        return text
    return text + "\n" + "\n".join(f"    {part}" for part in excerpt.split("\n"))


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
    short |= {name: whole[name] for name in ("file", "line", "identity") if name in whole}
    return short if len(json.dumps(short)) <= room else None


def _count(iterator: Iterable[object]) -> int:
    return sum(1 for _ in iterator)
