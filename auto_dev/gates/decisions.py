"""What the agent asks: its questions by tier against the owner's autonomy level, and whether it is blocked."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any, Final

from auto_dev.gates.base import GateContext, Judgement
from auto_dev.gates.danger.act import DESTRUCTIVE
from auto_dev.gates.danger.plan import plan_acts
from auto_dev.gates.evidence import entry, judged
from auto_dev.model import Route, Verdict
from auto_dev.report import DecisionWish, Report
from auto_dev.text import clean, line

# 1 clarification, 2 preference, 3 ambiguous scope, 4 destructive, 5 external effects. Tier 4 stands in every row.
ASKED: Final[dict[str, frozenset[int]]] = {
    "conservative": frozenset({1, 2, 3, 4, 5}),
    "moderate": frozenset({2, 4, 5}),
    "aggressive": frozenset({4, 5}),
}


class DecisionsGate:
    """Asks the agent's questions that its owner wants to hear; the others are noted with what the agent recommends."""

    name = "decisions"

    async def judge(self, context: GateContext) -> Judgement:
        report = context.report
        if report is None:
            return judged(Verdict.PASS, "the agent asked nothing")
        asked = ASKED[context.policy.decisions.autonomy]
        wishes = [_by_its_words(wish) for wish in report.decisions]
        open_questions = [wish for wish in wishes if wish.tier in asked]
        noted = [wish for wish in wishes if wish.tier not in asked]
        evidence = [_entry(wish) for wish in (*open_questions, *noted)]
        if report.blocked:
            blocked = entry("the agent is blocked", excerpt=clean(report.blocked, 2_000))
            reason = f"the agent says that it is blocked: {line(report.blocked, 200)}"
            return judged(Verdict.FAIL, reason, Route.ASK, [*evidence, blocked] if open_questions else [blocked])
        if open_questions:
            more = f" (and {len(open_questions) - 1} more)" if len(open_questions) > 1 else ""
            reason = f"the agent asks: {line(open_questions[0].question, 200)}{more}"
            return judged(Verdict.FAIL, reason, Route.ASK, evidence)
        if noted:
            reason = f"the agent decided by itself: {line(noted[0].question, 200)}"
            return judged(Verdict.CONCERNS, reason, evidence=evidence)
        return judged(Verdict.PASS, "the agent asked nothing")


def _by_its_words(wish: DecisionWish) -> DecisionWish:
    """``wish`` with tier 4 where it asks for an act of that tier, whatever the agent called it."""
    if wish.tier >= DESTRUCTIVE:
        return wish
    said = (wish.question, wish.recommended or "")
    acts = (act for text in said for act in plan_acts(text[:4_000], question=True))
    return wish.model_copy(update={"tier": DESTRUCTIVE}) if any(act.tier == DESTRUCTIVE for act in acts) else wish


def without_answered(report: Report, answered: Iterable[str]) -> Report:
    """``report`` without the questions in ``answered``: agents like to repeat in a report what was settled before."""
    known = {_key(question) for question in answered}
    left = [wish for wish in report.decisions if _key(wish.question) not in known]
    return report.model_copy(update={"decisions": left})


def _key(question: str) -> str:
    folded = unicodedata.normalize("NFKC", line(question, 2_000)).casefold()
    return "".join(character for character in folded if character.isalnum())


def _entry(wish: DecisionWish) -> dict[str, Any]:
    return entry(
        f"tier {wish.tier}: {wish.question}",
        question=clean(wish.question, 1_000),
        options=[line(option) for option in wish.options[:10] if option.strip()],
        recommended=line(wish.recommended or ""),
        tier=wish.tier,
    )
