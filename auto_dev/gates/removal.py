"""Tests that are gone: with their file, by order of the story, as one of two alike, or just so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from auto_dev.gates.evidence import Finding, entry
from auto_dev.gates.pairing import ALIKE, Pair, Place
from auto_dev.gates.sides import Side
from auto_dev.gates.subjects import Subjects
from auto_dev.gates.syntax.suite import Case, overlap
from auto_dev.model import Route

_TWINS: Final = 0.95  # how much two tests have in common of which one may go
_COMMENTS: Final = ("#", "//", "*", "/*", '"""')


def judge_removed(
    gone: Sequence[Pair], pairs: Sequence[Pair], sides: Sequence[Side], subjects: Subjects
) -> list[Finding]:
    """A file that went with all its tests is one finding; else each test that is gone is one. Pure."""
    findings: list[Finding] = []
    lost = Counter(pair.before.home for pair in gone)
    told: set[str] = set()
    for side in sides:
        suite = side.suite_before
        if suite is None or side.suite_after is not None:
            continue
        if suite.problem or lost[side.old] == len(suite.cases) > 0:
            findings.append(removed_file(side, lost[side.old], subjects))
            told.add(side.old)
    kept = [pair.before for pair in pairs if pair.after is not None and not pair.merged]
    by_home = {side.old: side for side in sides}
    for place in (pair.before for pair in gone):
        if place.home in told or (place.case.empty and not place.case.low):
            continue
        findings.append(_removed(place, kept, by_home.get(place.home), subjects))
    return findings


def removed_file(side: Side, tests: int, subjects: Subjects) -> Finding:
    """A test file that is gone, or that no runner takes any more."""
    ordered = subjects.file_gone_by_order(side.old, side.before or b"")
    renamed = side.after is not None and side.path != side.old
    kind = f"test file renamed to {side.path}, which no test runner takes" if renamed else "test file deleted"
    if ordered:
        kind += " with what it tested, as the story asks"
    count = f": {tests} test" + ("s" if tests != 1 else "") if tests else ""
    names = ", ".join(list(side.suite_before.cases)[:20]) if side.suite_before else ""
    return Finding(Route.PROCEED if ordered else Route.REPAIR, kind, entry(kind + count, file=side.old, excerpt=names))


def _removed(place: Place, kept: Sequence[Place], side: Side | None, subjects: Subjects) -> Finding:
    case = place.case
    if subjects.gone_by_order(case):
        return finding(Route.PROCEED, "test removed with what it tested, as the story asks", place, case.name)
    if (twin := _twin(case, kept)) is not None:
        return finding(Route.PROCEED, "one of two tests alike was removed", place, f"{case.name}, like {twin}")
    if case.skips:
        return finding(Route.PROCEED, "test removed", place, case.name)
    kind, detail = _fate(case, side)
    return finding(Route.REPAIR, kind, place, detail)


def _twin(case: Case, kept: Sequence[Place]) -> str | None:
    """The name of a test that is still there and asserts the same of the same."""
    if not case.checks:
        return None
    asserted = Counter(check.signature for check in case.checks)
    for place in kept:
        other = place.case
        if (
            Counter(check.signature for check in other.checks) == asserted
            and overlap(case.words, other.words) >= _TWINS
        ):
            return other.name
    return None


def _fate(case: Case, side: Side | None) -> tuple[str, str]:
    """Where a test that no runner finds still stands."""
    if side is None or side.suite_after is None or side.after is None:
        return "test removed", case.name
    for name, helper in side.suite_after.helpers.items():
        if overlap(case.words, helper.words) >= ALIKE:
            return "test renamed so that no test runner takes it", f"{case.name} is {name} now"
    for text in side.after.decode("utf-8", "replace").split("\n"):
        if case.leaf in text and text.lstrip().startswith(_COMMENTS):
            return "test commented out", case.name
    return "test removed", case.name


def finding(route: Route, kind: str, place: Place, detail: str) -> Finding:
    """Something about one test, with where it stands."""
    title = f"{kind}: {detail}"
    return Finding(route, kind, entry(title, file=place.file, at=place.case.line, excerpt=place.case.excerpt))
