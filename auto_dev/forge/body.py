"""The text of a pull request, written so that a person can review it in a quarter of an hour: pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from auto_dev.forge.markup import code, defuse, fence, inline, quoted, table
from auto_dev.forge.risk import FileFact, look_first
from auto_dev.model import money
from auto_dev.text import line

BODY_LIMIT: Final = 65_536  # characters that GitHub takes
TITLE_LIMIT: Final = 250  # GitHub takes 256
_MARKER = re.compile(r"^<!-- auto-dev story=(\S*) run=(\S*) -->\s*\Z", re.MULTILINE)
_FENCE = re.compile(r"(`{3,})")
_CUT = "\n\n*The rest is left out: a pull request may not be longer. `auto-dev logs` has all of it.*\n"


@dataclass(frozen=True, slots=True)
class CriterionFact:
    """An acceptance criterion and what the agent names as its evidence: a claim, unless ``proven`` says otherwise."""

    criterion: str
    evidence: tuple[str, ...] = ()
    proven: bool = False


@dataclass(frozen=True, slots=True)
class GateFact:
    """A gate's last verdict: "pass" | "concerns" | "fail" | "waived"."""

    gate: str
    verdict: str
    reason: str
    duration_ms: int = 0
    advisory: bool = False
    waived_by: str = ""
    waived_reason: str = ""


@dataclass(frozen=True, slots=True)
class DecisionFact:
    """A question that was answered while the story was worked on. ``via``: cli, slack, …"""

    question: str
    answer: str
    by: str
    via: str = ""


@dataclass(frozen=True, slots=True)
class StackedOn:
    """A predecessor that is not merged yet. ``number`` is None without a forge."""

    story: str
    branch: str
    number: int | None = None


@dataclass(frozen=True, slots=True)
class PullFacts:
    """All that the text is made of, as plain values. ``base``: the branch that the pull request targets.

    ``files`` are the changed ones, ``known_failures`` what failed before any work, ``replay`` the commands that the
    gates ran, ``remote`` what to fetch the branch from. ``repairs``: how often the agent was sent back with evidence.
    """

    story_id: str
    title: str
    run_id: str
    branch: str
    base: str
    goal: str = ""
    base_sha: str = ""
    head_sha: str = ""
    summary: str = ""
    confidence: float | None = None
    criteria: tuple[CriterionFact, ...] = ()
    gates: tuple[GateFact, ...] = ()
    files: tuple[FileFact, ...] = ()
    decisions: tuple[DecisionFact, ...] = ()
    known_failures: tuple[str, ...] = ()
    stacked_on: tuple[StackedOn, ...] = ()
    cost_microusd: int = 0
    budget_microusd: int | None = None
    duration_s: float = 0.0
    repairs: int = 0
    agent: str = ""
    model: str = ""
    replay: tuple[str, ...] = ()
    remote: str = "origin"


@dataclass(frozen=True, slots=True)
class Marker:
    """Whose pull request it is."""

    story: str
    run: str


def compose_title(story_id: str, title: str) -> str:
    """``ID: title`` on one line; references in it are broken, since a merge may put the title into a commit."""
    name = line(title, TITLE_LIMIT) or "untitled"
    return line(defuse(f"{line(story_id, 100)}: {name}"), TITLE_LIMIT)


def compose_body(facts: PullFacts) -> str:
    """The text of the draft, at most ``BODY_LIMIT`` characters, ending in the marker of its story and run."""
    sections = [
        _stacked(facts.stacked_on, facts.base),
        _at_a_glance(facts),
        _section("Goal", quoted(facts.goal)),
        _section("What to look at first", _look_first(facts.files)),
        _section("Acceptance criteria", _criteria(facts.criteria)),
        _section("Gates", _gates(facts.gates)),
        _section("Decisions", _decisions(facts.decisions)),
        _section("What the agent says", quoted(facts.summary)),
        _section("Failed before any work", _known_failures(facts.known_failures)),
        _section("Replay", _replay(facts)),
        marker(facts.story_id, facts.run_id),
    ]
    return fit_body("\n\n".join(section for section in sections if section) + "\n")


def marker(story_id: str, run_id: str) -> str:
    """The comment, invisible when rendered, by which auto-dev knows its own pull requests again."""
    return f"<!-- auto-dev story={quote(line(story_id), safe='')} run={quote(line(run_id), safe='')} -->"


def read_marker(body: str) -> Marker | None:
    """The marker at the end of ``body``, or None when auto-dev did not write it."""
    found = _MARKER.search(body.replace("\r\n", "\n"))
    return Marker(unquote(found[1]), unquote(found[2])) if found else None


def fit_body(body: str, limit: int = BODY_LIMIT) -> str:
    """``body`` cut at the end of a line to at most ``limit`` characters, with a note; its marker stays."""
    if _length(body) <= limit:
        return body
    found = _MARKER.search(body)
    tail = f"\n{found[0].strip()}\n" if found else ""
    return fit(body[: found.start()] if found else body, limit - _length(tail)) + tail


def fit(text: str, limit: int) -> str:
    """``text`` cut at the end of a line to at most ``limit`` characters, with a note."""
    if _length(text) <= limit:
        return text
    kept = _take(text, limit - _length(_CUT))
    kept = kept[: kept.rfind("\n")] if "\n" in kept else kept
    return _closed(kept).rstrip() + _CUT


def _closed(text: str) -> str:
    """``text`` without a code block that it does not end: an open one would swallow the note and the marker."""
    opened, fence_ticks, position = 0, "", 0
    for each in text.splitlines(keepends=True):
        found = _FENCE.match(each)
        if not fence_ticks and found:
            opened, fence_ticks = position, found[1]
        elif fence_ticks and each.strip() == fence_ticks:
            fence_ticks = ""
        position += len(each)
    return text[:opened] if fence_ticks else text


def _length(text: str) -> int:
    """Characters as the stricter ones count them: in UTF-16, an emoji is two."""
    return len(text) + sum(char > "\uffff" for char in text)


def _take(text: str, limit: int) -> str:
    text = text[:limit]
    while _length(text) > limit:
        text = text[: len(text) - (_length(text) - limit + 1) // 2]
    return text


def _section(heading: str, text: str) -> str:
    return f"### {heading}\n\n{text}" if text else ""


def _stacked(stacked: Sequence[StackedOn], base: str) -> str:
    if not stacked:
        return ""
    names = " and ".join(
        f"#{each.number} ({code(each.branch)})" if each.number else code(each.branch) for each in stacked[:10]
    )
    first = "that" if len(stacked) == 1 else "those"
    return f"> **Based on {names}**: merge {first} first. The changes here are the ones on top of {code(base)}."


def _at_a_glance(facts: PullFacts) -> str:
    parts = [f"{_gate_count(facts.gates)}"]
    if facts.files:
        added, removed = sum(f.additions for f in facts.files), sum(f.deletions for f in facts.files)
        parts.append(f"{len(facts.files)} {_plural('file', len(facts.files))} (+{added} −{removed})")
    spent = money(facts.cost_microusd).replace("$", "&#36;")
    if facts.budget_microusd is not None:
        spent += f" of {money(facts.budget_microusd)}".replace("$", "&#36;")
    parts.append(f"{spent}, {duration(facts.duration_s)}")
    if facts.repairs:
        parts.append(f"{facts.repairs} {_plural('repair', facts.repairs)}")
    if facts.confidence is not None:
        parts.append(f"the agent's confidence {facts.confidence:.0%}")
    worker = ", ".join(inline(each, 80) for each in (facts.agent, facts.model) if each)
    by = f" by {worker}" if worker else ""
    return f"Story {code(facts.story_id)}{by}: {' · '.join(parts)}."


def _gate_count(gates: Sequence[GateFact]) -> str:
    if not gates:
        return "no gates"
    words = []
    for verdict, word in (("pass", "passed"), ("concerns", "with concerns"), ("waived", "waived"), ("fail", "failed")):
        if count := sum(gate.verdict == verdict for gate in gates):
            words.append(f"{count} {word}")
    return f"{len(gates)} {_plural('gate', len(gates))}: {', '.join(words)}"


def _look_first(files: Sequence[FileFact]) -> str:
    ranked = look_first(files)
    lines = []
    for number, (file, why) in enumerate(ranked[:8], 1):
        reasons = f": {inline('; '.join(why), 300)}" if why else ""
        lines.append(f"{number}. {code(file.path, 300)} (+{file.additions} −{file.deletions}){reasons}")
    if len(ranked) > 8:
        lines.append(f"\n… and {len(ranked) - 8} more with less in them.")
    return "\n".join(lines)


def _criteria(criteria: Sequence[CriterionFact]) -> str:
    if not criteria:
        return ""
    rows = []
    for each in criteria[:100]:
        evidence = "; ".join(inline(text, 300) for text in each.evidence[:10] if text.strip())
        if len(each.evidence) > 10:
            evidence += f"; and {len(each.evidence) - 10} more"
        rows.append((inline(each.criterion, 500), evidence or "**none named**", "yes" if each.proven else "no"))
    proven = any(each.proven for each in criteria)
    header = ["Criterion", "Evidence that the agent names", "Proven"]
    width = 3 if proven else 2
    return table(header[:width], [row[:width] for row in rows]) + _more(len(criteria), 100)


def _gates(gates: Sequence[GateFact]) -> str:
    if not gates:
        return ""
    rows = []
    for gate in gates[:60]:
        reason = inline(gate.reason, 400)
        if gate.waived_by:
            why = f": {inline(gate.waived_reason, 300)}" if gate.waived_reason else ""
            reason = f"{reason} (waived by {inline(gate.waived_by, 80)}{why})"
        verdict = inline(gate.verdict, 20) + (" (advisory)" if gate.advisory else "")
        rows.append((inline(gate.gate, 80), f"**{verdict}**", reason, duration(gate.duration_ms / 1000)))
    return table(["Gate", "Verdict", "Reason", "Took"], rows) + _more(len(gates), 60)


def _decisions(decisions: Sequence[DecisionFact]) -> str:
    rows = [
        (
            inline(each.question, 400),
            inline(each.answer, 400),
            inline(f"{each.by} ({each.via})" if each.via else each.by, 100),
        )
        for each in decisions[:40]
    ]
    return table(["Asked", "Answered", "By"], rows) + _more(len(decisions), 40) if rows else ""


def _known_failures(failures: Sequence[str]) -> str:
    if not failures:
        return ""
    lines = [f"- {code(each, 300)}" for each in failures[:30]]
    note = "These failed on the base commit already and are not held against this change:"
    return "\n".join([note, "", *lines]) + _more(len(failures), 30)


def _replay(facts: PullFacts) -> str:
    lines = [
        f"git fetch {shlex.quote(facts.remote)} {shlex.quote(facts.branch)}",
        "git switch --detach FETCH_HEAD",
        *([f"git diff {shlex.quote(facts.base_sha)}...HEAD"] if facts.base_sha else []),
        *_flat(facts.replay),
    ]
    head = f"At {code(facts.head_sha[:12])}, run {code(facts.run_id)}:\n\n" if facts.head_sha else ""
    return head + fence(lines, "sh")


def _flat(commands: Iterable[str]) -> list[str]:
    return [part for command in commands for part in command.split("\n")][:40]


def _more(count: int, shown: int) -> str:
    return f"\n\n… and {count - shown} more." if count > shown else ""


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"
