"""The decision that a stopped run asks for: what, why, the evidence, and two to five answers with one recommended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from auto_dev.gates.attempts import Attempt, as_evidence
from auto_dev.gates.engine import Ruled
from auto_dev.gates.evidence import bounded
from auto_dev.gates.settle import Settled
from auto_dev.model import Route, money
from auto_dev.stories.model import Story
from auto_dev.text import clean, jsonable, line

ACTIONS: Final = ("retry", "retry_hint", "escalate", "waive", "choose", "skip", "abandon", "raise_budget")
_MOST: Final = 5


@dataclass(frozen=True, slots=True)
class Option:
    """One answer. ``wants_text``: a text goes with it (a hint, a reason); ``data``: what the action needs."""

    id: str
    label: str
    action: str
    recommended: bool = False
    wants_text: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As the ``decisions`` table keeps it."""
        return {
            "id": self.id,
            "label": self.label,
            "action": self.action,
            "recommended": self.recommended,
            "wants_text": self.wants_text,
            "data": jsonable(self.data),
        }


@dataclass(frozen=True, slots=True)
class Question:
    """A decision to be asked. ``kind``: agent, blocked, gate, or the name of a gate that has its own words."""

    kind: str
    question: str
    why: str
    evidence: tuple[Mapping[str, Any], ...]
    options: tuple[Option, ...]


def question_for(
    settled: Settled,
    story: Story,
    *,
    tried: Sequence[Attempt] = (),
    escalation: str = "",
    cost_microusd: int = 0,
) -> Question:
    """What to ask a person after ``settled``, whose route is ask. Pure.

    One question at a time: the agent's own first, since its answer may change everything else; the evidence of every
    gate that stops is attached. Where repairs failed it says what was ``tried`` and what it cost. ``escalation``: the
    agent that could take over, or "". Raises ValueError when nothing stops.
    """
    if not settled.stopped:
        raise ValueError("nothing stops the run, so there is nothing to ask")
    lead = _lead(settled.stopped)
    kind = _kind(lead)
    wish = _wish(lead) if kind == "agent" else None
    others = [one for one in settled.stopped if one is not lead]
    before = [text for text in (settled.turn, settled.why) if text]  # a failed turn is the cause of much that follows
    why = "; ".join([*before, *(f"{one.gate}: {one.judgement.reason}" for one in others)])
    if len(tried) > 1:
        why = "; ".join(text for text in (why, _in_all(tried, cost_microusd)) if text)
    found = [
        {"gate": one.gate, **item}
        for one in (lead, *others)
        for item in (one.judgement.evidence or ({"title": one.judgement.reason},))
    ]
    history = as_evidence(tried) if len(tried) > 1 else []
    evidence = bounded([*found[:_FOUND], *history, *found[_FOUND:]])
    if wish is not None:
        asked = clean(str(wish["question"]), 1_000)
        return Question(kind, f"{story.id}: {asked}", why or lead.judgement.reason, evidence, _choices(wish))
    ask = f"{story.id} ({line(story.title, 80)}): {lead.judgement.reason}. {_HOW[kind]}"
    options = _options(kind, settled.stopped, escalation, failed=bool(settled.why))
    return Question(kind, ask, why or lead.judgement.reason, evidence, options)


def _in_all(tried: Sequence[Attempt], cost_microusd: int) -> str:
    """How often, by whom and at what price it was tried."""
    who: dict[str, int] = {}
    for one in tried:
        who[one.by] = who.get(one.by, 0) + 1
    names = " and ".join(f"{name} (×{count})" if len(who) > 1 else name for name, count in who.items())
    return f"{len(tried)} attempts by {names}, {money(cost_microusd)} in all"


_FOUND: Final = 12  # pieces of evidence that stand before the history of the attempts
_HOW: Final = {
    "blocked": "What shall it do?",
    "empty": "Try again, or is there nothing to do?",
    "baseline": "Start nevertheless?",
    "scope": "May it do that?",
    "secrets": "It has not left this machine. Try again without it, or may it leave?",
    "critical": "May it do that?",
    "plan": "May it do that?",
    "integration": "Go on with both?",
    "confidence": "Accept the work as it is?",
    "review": "Ask the reviewer again?",
    "gate": "How shall it go on?",
}
_LEAD: Final = ("decisions", "baseline", "secrets", "empty", "critical", "plan", "scope", "tampering")


def _lead(stopped: Sequence[Ruled]) -> Ruled:
    """The ruling that the question is about: one that asks before one that only ran out of repairs."""

    def rank(one: Ruled) -> tuple[bool, int]:
        place = _LEAD.index(one.gate) if one.gate in _LEAD else len(_LEAD) + (one.gate == "confidence")
        return one.judgement.route is not Route.ASK, place

    return min(stopped, key=rank)


def _kind(lead: Ruled) -> str:
    if lead.gate == "decisions":
        return "agent" if _wish(lead) is not None else "blocked"
    if lead.gate == "review":
        return "review" if lead.judgement.route is Route.ASK else "gate"  # nobody has reviewed; or a fault was found
    return lead.gate if lead.gate in _HOW else "gate"


def _wish(lead: Ruled) -> Mapping[str, Any] | None:
    return next((item for item in lead.judgement.evidence if item.get("question")), None)


def _choices(wish: Mapping[str, Any]) -> tuple[Option, ...]:
    """One option per answer of the agent, then room for another answer."""
    answers = list(dict.fromkeys(text for option in wish.get("options", ()) if (text := line(str(option), 200))))
    recommended = line(str(wish.get("recommended") or ""), 200)
    if recommended and recommended not in answers:
        answers.insert(0, recommended)
    if recommended and answers.index(recommended) >= _MOST - 1:
        answers.remove(recommended)
        answers.insert(0, recommended)
    answers = answers[: _MOST - 1]
    favourite = recommended or (answers[0] if answers else "")
    options = [
        Option(
            f"choose-{number}",
            answer,
            "choose",
            recommended=answer == favourite,
            data={"question": wish["question"], "answer": answer},
        )
        for number, answer in enumerate(answers, 1)
    ]
    options.append(_hint("Another answer, in your words", recommended=not options))
    for more in (_SKIP, _ABANDON):
        if len(options) < min(_MOST, len(answers) + 2) or len(options) < 2:
            options.append(more)
    return tuple(options)


def _options(kind: str, stopped: Sequence[Ruled], escalation: str, *, failed: bool) -> tuple[Option, ...]:
    """Two to five answers. ``failed``: repairs were tried in vain, so that more of the same is no answer."""
    label = {
        "baseline": "Start nevertheless",
        "review": "Go on without this review, with a reason",
        "integration": "Go on: the one that is merged later is moved onto the other",
    }
    waive = Option(
        "waive",
        label.get(kind, "Accept it as it is, with a reason"),
        "waive",
        wants_text=True,
        data={"gates": {one.gate: one.digest for one in stopped}},
    )
    if kind == "baseline":
        retry = Option("retry", "It is mended: check again", "retry", recommended=True)
        return (retry, waive, _SKIP, _ABANDON)
    if kind == "review":
        retry = Option("retry", "Ask the reviewer again", "retry", recommended=True)
        return (retry, waive, _SKIP, _ABANDON)
    if kind == "integration":
        hint = _hint("Try again with a hint, for example which files to leave alone", recommended=False)
        return (replace(waive, recommended=True), hint, _SKIP, _ABANDON)
    if kind == "empty":
        return (_hint("Try again with a hint", recommended=True), _RETRY, _DONE, _ABANDON)
    if kind == "blocked":
        return (_hint("Tell it how to go on", recommended=True), _RETRY, _SKIP, _ABANDON)
    if escalation and failed:
        other = Option("escalate", f"Let {line(escalation, 80)} try it", "escalate", recommended=True)
        return (other, _hint("Try again with a hint", recommended=False), waive, _SKIP, _ABANDON)
    return (_hint("Try again with a hint", recommended=True), _RETRY, waive, _SKIP, _ABANDON)


def _hint(label: str, *, recommended: bool) -> Option:
    return Option("retry_hint", label, "retry_hint", recommended=recommended, wants_text=True)


_RETRY: Final = Option("retry", "Try again", "retry")
_SKIP: Final = Option("skip", "Skip the story", "skip")
_DONE: Final = Option("skip", "Skip it: there is nothing to do", "skip")
_ABANDON: Final = Option("abandon", "Abandon the run", "abandon")
