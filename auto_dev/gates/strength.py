"""How strong the evidence for each criterion is, and what follows from all of it together. Pure but for looking up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from auto_dev.gates.base import GateContext, Judgement
from auto_dev.gates.claims import Named, resolve
from auto_dev.gates.criteria import assign, closest, is_about
from auto_dev.gates.evidence import entry, judged
from auto_dev.gates.kinds import is_guard
from auto_dev.gates.observed import Observation, Seen
from auto_dev.model import Route, Verdict
from auto_dev.report import CriterionClaim
from auto_dev.text import clean, line

CRITERION: Final = 500  # characters of a criterion by which its row is found again
_SHOWN: Final = 5
_ROWS: Final = 50
_READ: Final = 30  # pieces of evidence of one criterion
_ASK_FOR: Final = (
    "A test that fails without the change and passes with it. Add or change one, and name it in the report's criteria."
)
_UNCLEAR: Final = "no claim of the report is clearly about it"
_NAME_IT: Final = "Name for each criterion what shows it: a test by file and name, or a file and line. It must exist."


class Strength(StrEnum):
    STRONG = "strong"
    WEAK = "weak"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Row:
    """One criterion. ``proof``: names of what shows it; ``named``: the report's words; ``why``: what is missing.

    ``guard``: it asks that something stays as it is, so that a test which passes on both sides shows it;
    ``unknown``: it could not be seen whether the named tests fail without the change.
    """

    criterion: str
    strength: Strength
    proof: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    why: str = ""
    guard: bool = False
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """All that the verdict rests on.

    ``claimed``: the report names evidence; ``no_test``: why none is needed, or ""; ``problem``: why the tests' outcome
    on the base is unknown, or ""; ``may_challenge``: weak evidence may go back to the agent, which happens once.
    """

    rows: tuple[Row, ...]
    observations: tuple[Observation, ...]
    claimed: bool
    no_test: str
    problem: str
    may_challenge: bool

    @property
    def rejected(self) -> list[Row]:
        """Nothing was named, or what was named does not exist."""
        return [row for row in self.rows if row.strength is Strength.NONE]

    @property
    def unproven(self) -> list[Row]:
        """What a reviewer has to look at with own eyes."""
        return [row for row in self.rows if row.strength is Strength.WEAK and not row.guard and not self.no_test]

    @property
    def may_be_proven(self) -> bool:
        """Whether the agent could do better: tests can be seen, and it wrote none, or named what shows nothing."""
        return not self.problem and (self.claimed or not self.observations)

    @property
    def proofs(self) -> list[Observation]:
        return [each for each in self.observations if each.proves]

    @property
    def idle(self) -> list[Observation]:
        """The story's new tests, where one was needed and none of them fails without the change."""
        vacuous = [each for each in self.observations if each.vacuous and each.test.fresh]
        return [] if self.proofs or self.no_test else vacuous


async def weigh_claims(
    criteria: Sequence[str], claims: Sequence[CriterionClaim], context: GateContext, observations: Sequence[Observation]
) -> list[Row]:
    """A row for each criterion by what the report says of it, and one for each claim that is about none of them."""
    found, left = assign(criteria, claims)
    about = list(zip(criteria, found, strict=True)) or [(claim.criterion, [claim]) for claim in left]
    kept = _kept(context)
    rows = []
    for criterion, said in about:
        if not said and (row := kept.get(clean(criterion, CRITERION))) is not None:
            rows.append(row)
            continue
        texts = [text for claim in said for text in claim.evidence if text.strip()]
        named = [await resolve(text, context, observations) for text in texts[:_READ]]
        rows.append(_claimed(criterion, named, observations, _silence(said, left)))
    return rows


def _silence(said: Sequence[CriterionClaim], left: Sequence[CriterionClaim]) -> str:
    """Why a criterion has no evidence, where nothing is named for it."""
    if said:
        return "its evidence is empty"
    return _UNCLEAR if left else "the report says nothing about it"


def _kept(context: GateContext) -> dict[str, Row]:
    """What the published work, from which a follow-up goes on, has shown for each criterion."""
    rows = [item for each in context.former if each.gate == "proof" for item in each.evidence if "strength" in item]
    return {
        str(item["criterion"]): Row(
            str(item["criterion"]),
            Strength.STRONG if item["strength"] == Strength.STRONG else Strength.WEAK,
            tuple(item.get("proof", ())),
            tuple(item.get("named", ())),
            str(item.get("why", "")),
            guard=is_guard(str(item["criterion"])),
            unknown=True,
        )
        for item in rows
    }


def _claimed(criterion: str, named: Sequence[Named], observations: Sequence[Observation], silence: str) -> Row:
    """The strongest of what is named counts. A test that nobody named helps only where something else is there.

    Words that name nothing are weak: they may be true. What is named and does not exist is none.
    """
    texts, guard = tuple(each.text for each in named), is_guard(criterion)
    tests = list({id(test): test for each in named for test in each.tests}.values())
    proofs = [each for each in tests if each.proves]
    if not proofs and any(each.exists for each in named):
        proofs = [each for each in observations if each.proves and is_about(each.test, criterion)]
    if proofs:
        return Row(criterion, Strength.STRONG, _names(proofs, criterion), texts)
    missing = "; ".join(dict.fromkeys(text for each in named for text in each.missing))
    if tests:
        unknown = all(each.on_base is Seen.UNKNOWN for each in tests)
        return Row(criterion, Strength.WEAK, _names(tests, criterion), texts, _why(tests), guard, unknown)
    if there := list(dict.fromkeys(text for each in named for text in each.there)):
        why = "; ".join((*there[:_SHOWN], *([missing] if missing else [])))
        return Row(criterion, Strength.WEAK, (), texts, why, guard)
    if texts and not missing:
        why = f"nothing in it can be looked up: {line(texts[0], 120)}"
        return Row(criterion, Strength.WEAK, (), texts, why, guard)
    strength = Strength.WEAK if silence == _UNCLEAR else Strength.NONE
    return Row(criterion, strength, (), texts, missing or silence, guard)


def weigh_criteria(criteria: Sequence[str], observations: Sequence[Observation]) -> list[Row]:
    """A row for each criterion by what was seen alone: the report names no evidence."""
    proofs = [each for each in observations if each.proves]
    rows = []
    for criterion in criteria:
        about = [each for each in proofs if len(criteria) == 1 or is_about(each.test, criterion)]
        if about:
            rows.append(Row(criterion, Strength.STRONG, _names(about, criterion)))
        else:
            why = "no test is clearly about it" if proofs else "no test shows it"
            why = f"the report names no evidence, and {why}"
            rows.append(Row(criterion, Strength.WEAK, why=why, guard=is_guard(criterion)))
    return rows


def conclude(case: Case) -> Judgement:
    """The judgement: reject what is missing or invented, challenge once what is weak, else say what is proven."""
    evidence = [*(_row(number, row, case) for number, row in enumerate(case.rows[:_ROWS], 1)), *_tests(case)]
    if rejected := case.rejected:
        count = _count(len(rejected), "criterion has", "criteria have")
        reason = f"{count} no evidence: {line(rejected[0].criterion, 120)} ({line(rejected[0].why, 120)})"
        return judged(Verdict.FAIL, reason, Route.REPAIR, [_mend(challenge=False), *evidence])
    weak = [row for row in case.unproven if not row.unknown] if case.may_be_proven else []
    if (case.idle or weak) and case.may_challenge:
        reason = _passing(case.idle) if case.idle else f"{_weak(len(weak))}: {line(weak[0].criterion, 120)}"
        return judged(Verdict.FAIL, reason, Route.REPAIR, [_mend(challenge=True), *evidence])
    proven = sum(row.strength is Strength.STRONG for row in case.rows)
    said = [f"{proven} of {_count(len(case.rows), 'criterion', 'criteria')} proven"] if case.rows else []
    if case.idle:
        return judged(Verdict.CONCERNS, "; ".join((_passing(case.idle), *said)), evidence=evidence)
    if case.no_test and not case.proofs:
        return judged(Verdict.PASS, f"no new test is needed: {case.no_test}", evidence=evidence)
    if case.proofs:
        said.append(
            f"{_count(len(case.proofs), 'test proves', 'tests prove')} the change: failing without it, passing with it"
        )
    if not case.unproven and (case.rows or case.proofs):
        return judged(Verdict.PASS, "; ".join(said), evidence=evidence)
    said.append(case.problem or ("" if case.observations else "no test was added or changed"))
    return judged(Verdict.CONCERNS, "; ".join(filter(None, said)) or "nothing shows the work", evidence=evidence)


def _row(number: int, row: Row, case: Case) -> dict[str, Any]:
    """A criterion as the pull request and the agent get it."""
    lines = [row.criterion, *(f"the report names: {text}" for text in row.named[:_SHOWN]), row.why]
    lines += [f"shown by: {name}" for name in row.proof] if row.strength is Strength.STRONG else []
    return entry(
        f"criterion {number}: {row.strength}",
        excerpt=clean("\n".join(filter(None, lines)), 1_500),
        criterion=clean(row.criterion, CRITERION),
        strength=row.strength.value,
        proof=[line(name, 300) for name in row.proof],
        named=[line(text, 300) for text in row.named[:_SHOWN]],
        why=line(row.why, 300),
        unproven=row in case.unproven or row in case.rejected,
    )


def _tests(case: Case) -> list[dict[str, Any]]:
    """How each of the story's tests ended, those first that prove nothing."""
    said = []
    for each in sorted(case.observations, key=lambda each: each.proves):
        if each.proves:
            title = "fails without the change, passes with it"
        elif each.vacuous:
            title = "passes without the change too, or is not run"
        elif each.on_head is Seen.FAILED:
            title = "fails with the change"
        else:
            title = "not known to fail without the change" + (f": {each.why}" if each.why else "")
        at = each.test.case.line if each.test.case else None
        more: Mapping[str, Any] = {"proves": True} if each.proves else {}
        said.append(entry(f"{title}: {each.test.name}", file=each.test.file, at=at, **more))
    return said


def is_challenge(evidence: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a verdict with this evidence only asks for better evidence: the work itself may be sound."""
    return any("challenge" in item for item in evidence)


def _mend(*, challenge: bool) -> dict[str, Any]:
    more: Mapping[str, Any] = {"challenge": True} if challenge else {}
    return entry("what would prove it", excerpt=_ASK_FOR if challenge else f"{_NAME_IT} {_ASK_FOR}", **more)


def _names(observations: Iterable[Observation], criterion: str) -> tuple[str, ...]:
    return tuple(test.name for test in closest((each.test for each in observations), criterion)[:_SHOWN])


def _why(tests: Sequence[Observation]) -> str:
    if all(each.vacuous for each in tests):
        return "what it names passes without the change too, or is not run"
    if any(each.on_head is Seen.FAILED for each in tests):
        return "what it names fails with the change"
    return next((each.why for each in tests if each.why), "") or "it is not known to fail without the change"


def _passing(idle: Sequence[Observation]) -> str:
    count = _count(len(idle), "new test passes", "new tests pass")
    return f"{count} without the change too, or is not run: {line(idle[0].test.name, 150)}"


def _weak(count: int) -> str:
    return f"{_count(count, 'criterion rests', 'criteria rest')} on weak evidence"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one}" if number == 1 else f"{number} {many}"
