"""The text of a pull request, written so that a person can review it in a quarter of an hour: pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from urllib.parse import quote

from auto_dev.forge.facts import (
    ConcernFact,
    ConflictFact,
    CriterionFact,
    DecisionFact,
    GateFact,
    PhaseFact,
    PullFacts,
    StackedOn,
)
from auto_dev.forge.marks import BEGIN, BODY_LIMIT, Marker, fit_body, marker, read_marker
from auto_dev.forge.markup import code, defuse, fence, folded, inline, quoted, table
from auto_dev.forge.risk import FileFact, look_first
from auto_dev.model import money
from auto_dev.text import line

TITLE_LIMIT: Final = 250  # GitHub takes 256
_STRENGTHS: Final = {
    "strong": "✓ strong",
    "weak": "⚠ weak",
    "none": "✗ none",
    "": "not looked at",
}
_VERDICTS: Final = {"concerns": "⚠ concerns", "waived": "⚠ waived", "fail": "✗ fail"}
Link = Callable[[str, "int | None"], str]


def compose_title(story_id: str, title: str) -> str:
    """``ID: title`` on one line; references in it are broken, since a merge may put the title into a commit."""
    name = line(title, TITLE_LIMIT) or "untitled"
    return line(defuse(f"{line(story_id, 100)}: {name}"), TITLE_LIMIT)


def compose_body(facts: PullFacts) -> str:
    """The text of the draft, at most ``BODY_LIMIT`` characters, ending in the marker of its story and run.

    What a reviewer decides on comes first, what only some want is folded; a text that is too long loses its end.
    """
    link = _linker(facts)
    sections = [
        BEGIN,
        _stacked(facts.stacked_on, facts.base),
        _unproven(facts.criteria),
        _at_a_glance(facts),
        _section("Goal", quoted(facts.goal)),
        _section("What to look at first", _look_first(facts.files, facts.concerns, link)),
        _section("Acceptance criteria", _criteria(facts.criteria)),
        _section("Gates", _gates(facts.gates)),
        _section("Decisions", _decisions(facts.decisions)),
        _section("Conflicts with other open stories", _conflicts(facts.conflicts)),
        _section("Failures that are not this change's", _other_failures(facts.known_failures, facts.flaky)),
        folded("What the agent says (a claim, not checked)", quoted(facts.summary)),
        folded("Cost and time", _costs(facts)),
        folded("Replay", _replay(facts)),
        marker(facts.story_id, facts.opened_by or facts.run_id),
    ]
    return fit_body("\n\n".join(section for section in sections if section) + "\n")


def _linker(facts: PullFacts) -> Link:
    """Makes a file's name a link to exactly what was judged, where the forge shows files."""

    def link(path: str, at: int | None = None) -> str:
        shown = code(f"{path}:{at}" if at else path, 300)
        safe = facts.web.startswith("https://") and len(facts.head_sha) in (40, 64) and facts.head_sha.isalnum()
        if not safe or not shown.startswith("`"):
            return shown
        place = f"{facts.web}/blob/{facts.head_sha}/{quote(path.encode('utf-8', 'replace'), safe='/')}"
        return f"[{shown}]({place}{f'#L{at}' if at else ''})"

    return link


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


def _unproven(criteria: Sequence[CriterionFact]) -> str:
    """What no test shows, before everything else: a reviewer must look with own eyes."""
    left = [each for each in criteria if each.unproven]
    if not left:
        return ""
    named = "; ".join(inline(each.criterion, 150) for each in left[:5]) + ("; …" if len(left) > 5 else "")
    return f"> **Not proven**: no test shows {len(left)} of {len(criteria)} acceptance criteria: {named}"


def _at_a_glance(facts: PullFacts) -> str:
    parts = [_gate_count(facts.gates)]
    if counted := _criteria_count(facts.criteria):
        parts.append(counted)
    if facts.files:
        added, removed = sum(f.additions for f in facts.files), sum(f.deletions for f in facts.files)
        parts.append(f"{_count(len(facts.files), 'file')} (+{added} −{removed})")
    parts.append(f"{_spent(facts)}, {duration(_worked(facts))}")
    if facts.repairs:
        parts.append(_count(facts.repairs, "repair"))
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
    return f"{_count(len(gates), 'gate')}: {', '.join(words)}"


def _criteria_count(criteria: Sequence[CriterionFact]) -> str:
    """How many criteria are proven; "" where nobody looked."""
    if not any(each.strength for each in criteria):
        return ""
    strong = sum(each.strength == "strong" for each in criteria)
    return f"strong evidence for {strong} of {len(criteria)} criteria"


def _look_first(files: Sequence[FileFact], concerns: Sequence[ConcernFact], link: Link) -> str:
    ranked = look_first(files)
    lines = []
    for number, (file, why) in enumerate(ranked[:8], 1):
        reasons = f": {inline('; '.join(why), 300)}" if why else ""
        lines.append(f"{number}. {link(file.path, None)} (+{file.additions} −{file.deletions}){reasons}")
    if len(ranked) > 8:
        lines.append(f"\n… and {len(ranked) - 8} more with less in them.")
    if concerns:
        lines += ["\nFound, and not held against it:\n", *(_concern(each, link) for each in concerns[:20])]
    return "\n".join(lines) + _more(len(concerns), 20)


def _concern(concern: ConcernFact, link: Link) -> str:
    place = f"{link(concern.file, concern.line)}: " if concern.file else ""
    return f"- {place}{inline(concern.title, 300)} ({inline(concern.gate, 80)})"


def _criteria(criteria: Sequence[CriterionFact]) -> str:
    if not criteria:
        return ""
    looked = any(each.strength for each in criteria)
    rows = []
    for each in criteria[:100]:
        row = (inline(each.criterion, 500), _evidence(each))
        rows.append((*row[:1], _STRENGTHS.get(each.strength, inline(each.strength, 20)), row[1]) if looked else row)
    header = ["Criterion", "Evidence", "What was seen or is claimed"] if looked else ["Criterion", "What is claimed"]
    return table(header, rows) + _more(len(criteria), 100)


def _evidence(criterion: CriterionFact) -> str:
    """What was observed as it is; what the agent only says, said to be so."""
    seen = _joined([code(text, 300, cell=True) for text in criterion.observed if text.strip()])
    claimed = _joined([inline(text, 300) for text in criterion.evidence if text.strip()])
    if seen and claimed:
        return f"{seen}; *claimed:* {claimed}"
    return seen or (f"*claimed:* {claimed}" if claimed else "**nothing named**")


def _joined(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - 10} more" if len(texts) > 10 else ""
    return "; ".join(texts[:10]) + more


def _gates(gates: Sequence[GateFact]) -> str:
    """What did not simply pass in full; what did, behind its number."""
    order = {"fail": 0, "waived": 1, "concerns": 2}
    told = sorted((gate for gate in gates if gate.verdict != "pass"), key=lambda gate: order.get(gate.verdict, 0))
    passed = [gate for gate in gates if gate.verdict == "pass"]
    rows = [(inline(gate.gate, 80), _verdict(gate), _reason(gate)) for gate in told[:60]]
    fine = [
        (inline(gate.gate, 80), inline(gate.reason, 400), duration(gate.duration_ms / 1000)) for gate in passed[:60]
    ]
    parts = [
        table(["Gate", "Verdict", "Reason"], rows) + _more(len(told), 60) if rows else "",
        folded(
            f"✓ {_count(len(passed), 'gate')} passed",
            table(["Gate", "Reason", "Took"], fine) + _more(len(passed), 60) if fine else "",
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def _verdict(gate: GateFact) -> str:
    return (_VERDICTS.get(gate.verdict) or inline(gate.verdict, 20)) + (" (advisory)" if gate.advisory else "")


def _reason(gate: GateFact) -> str:
    reason = inline(gate.reason, 400)
    if not gate.waived_by:
        return reason
    why = f": {inline(gate.waived_reason, 300)}" if gate.waived_reason else ""
    return f"{reason} (waived by {inline(gate.waived_by, 80)}{why})"


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


def _conflicts(conflicts: Sequence[ConflictFact]) -> str:
    lines = []
    for each in conflicts[:20]:
        name = f"#{each.number} ({code(each.story)})" if each.number else code(each.story)
        files = ", ".join(code(path, 200) for path in each.files[:6])
        more = f" and {len(each.files) - 6} more" if len(each.files) > 6 else ""
        advice = f". {inline(each.advice, 300)}" if each.advice else ""
        lines.append(f"- {name}{f' in {files}{more}' if files else ''}{advice}")
    return "\n".join(lines) + _more(len(conflicts), 20)


def _other_failures(known: Sequence[str], flaky: Sequence[str]) -> str:
    parts = []
    for note, failures in (
        ("These failed on the base commit already and are not held against this change:", known),
        ("These failed in one run and passed in another of the same commit:", flaky),
    ):
        if failures:
            lines = [f"- {code(each, 300)}" for each in failures[:30]]
            parts.append("\n".join([note, "", *lines]) + _more(len(failures), 30))
    return "\n\n".join(parts)


def _costs(facts: PullFacts) -> str:
    rows = [(inline(each.phase, 40), duration(each.seconds), _dollars(each.cost_microusd)) for each in facts.phases]
    if not rows:
        return ""
    said = f"From the start to now: {duration(facts.duration_s)}, waiting included."
    total = ("**all**", duration(_worked(facts)), f"**{_spent(facts)}**")
    other = facts.cost_microusd - sum(each.cost_microusd for each in facts.phases)
    earlier = [("earlier runs of this story", "", _dollars(other))] if other > 0 else []
    return f"{table(['Phase', 'Time at work', 'Cost'], [*rows, *earlier, total])}\n\n{said}"


def _spent(facts: PullFacts) -> str:
    limit = f" of {_dollars(facts.budget_microusd)}" if facts.budget_microusd is not None else ""
    return f"{_dollars(facts.cost_microusd)}{limit}"


def _dollars(amount_microusd: int) -> str:
    return money(amount_microusd).replace("$", "&#36;")


def _worked(facts: PullFacts) -> float:
    return sum(each.seconds for each in facts.phases) or facts.duration_s


def _replay(facts: PullFacts) -> str:
    lines = [
        f"git fetch {shlex.quote(facts.remote)} {shlex.quote(facts.branch)}",
        "git switch --detach FETCH_HEAD",
        *([f"git diff {shlex.quote(facts.base_sha)}...HEAD"] if facts.base_sha else []),
        *_flat([facts.setup, *facts.replay]),
    ]
    head = f"At {code(facts.head_sha[:12])}, run {code(facts.run_id)}:\n\n" if facts.head_sha else ""
    return head + fence(lines, "sh")


def _flat(commands: Iterable[str]) -> list[str]:
    return [part for command in commands for part in command.split("\n")][:40]


def _more(count: int, shown: int) -> str:
    return f"\n\n… and {count - shown} more." if count > shown else ""


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


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


__all__ = [
    "BODY_LIMIT",
    "TITLE_LIMIT",
    "ConcernFact",
    "ConflictFact",
    "CriterionFact",
    "DecisionFact",
    "GateFact",
    "Marker",
    "PhaseFact",
    "PullFacts",
    "StackedOn",
    "compose_body",
    "compose_title",
    "duration",
    "fit_body",
    "marker",
    "read_marker",
]
