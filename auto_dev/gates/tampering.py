"""Tests deleted, skipped, emptied or weakened: the yardstick may grow with a story, not shrink.

Tests of the base are paired with those of the head over all changed files, so that moved, renamed, merged and
parametrised tests count as kept. What is gone or weaker goes back to the agent with file, line and excerpt.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass

from auto_dev.gates.base import Change, GateContext, Judgement
from auto_dev.gates.deselect import is_test_config, judge_config, runs_file
from auto_dev.gates.evidence import Finding, entry, weighed
from auto_dev.gates.pairing import Pair, Place, pair_up
from auto_dev.gates.protected import judge_protected
from auto_dev.gates.subjects import Subjects, read_subjects
from auto_dev.gates.syntax.compiled import read_go, read_rust
from auto_dev.gates.syntax.javascript import read_javascript
from auto_dev.gates.syntax.other import count_tests, find_skips
from auto_dev.gates.syntax.python import read_python
from auto_dev.gates.syntax.suite import MAX_SOURCE, Case, Suite, is_test_name, is_test_path, language_of
from auto_dev.model import Route

_SYMLINK = "120000"
_PYTHON_TEST = re.compile(rb"^[ \t]*(?:async\s+)?def test", re.MULTILINE)
_RUST_TEST = re.compile(rb"#\[\s*(?:\w+\s*::\s*)*(?:test|rstest|test_case|quickcheck)\b")
_JS_TEST = re.compile(rb"['\"](?:vitest|@jest/globals|node:test|ava|@playwright/test|bun:test)['\"]")


class TamperingGate:
    """Sends deleted, skipped, emptied and weakened tests back to the agent; notes settings that may deselect tests."""

    name = "tampering"

    async def judge(self, context: GateContext) -> Judgement:
        commands = tuple(command.run for command in context.policy.gates.command)
        sides: list[_Side] = []
        findings = judge_protected(context.policy.gates.tampering.protected, context.changes)
        for change in context.changes:
            old = change.old_path or change.path
            config = is_test_config(change.path) or is_test_config(old)
            yardstick = runs_file(commands, change.path) or runs_file(commands, old)
            if not (config or yardstick or language_of(old) or language_of(change.path)):
                continue
            before = await context.read(context.base_sha, old) if change.status != "A" else None
            after = await context.read(context.head_sha, change.path) if change.status != "D" else None
            if config or yardstick:
                findings += judge_config(change.path, before, after, commands)
            sides.append(_side(change, before, after))
            await asyncio.sleep(0)  # reading sources takes the processor; let the heartbeat through
        tests = [side for side in sides if side.holds_tests]
        findings += judge_tests(tests, read_subjects(context.story, [(s.old, s.before, s.after) for s in sides]))
        changed = "the tests that were there are still there" if tests else "no test was changed"
        return weighed(findings, changed)


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """A changed file with its tests before and after; None where the file does not exist or is not collected."""

    path: str
    old: str
    before: bytes | None
    after: bytes | None
    suite_before: Suite | None
    suite_after: Suite | None
    language: str

    @property
    def holds_tests(self) -> bool:
        return self.suite_before is not None or self.suite_after is not None


def _side(change: Change, before: bytes | None, after: bytes | None) -> _Side:
    old = change.old_path or change.path
    was_named, is_named = is_test_path(old), is_test_path(change.path)
    had = before is not None and (was_named or looks_like_tests(old, before))
    # A runner that took the old name may not take the new one: tests in a renamed file count only if it still would.
    has = after is not None and (is_named or (not was_named and (had or looks_like_tests(change.path, after))))
    if change.mode == _SYMLINK and has:
        after = b""  # the link's target is no test source
    return _Side(
        path=change.path,
        old=old,
        before=before,
        after=after,
        suite_before=read_suite(old, before) if had and before is not None else None,
        suite_after=read_suite(change.path, after) if has and after is not None else None,
        language=language_of(old) or language_of(change.path),
    )


def read_suite(path: str, source: bytes) -> Suite:
    """The tests in ``source``; ``problem`` says why they cannot be read. Never raises."""
    language = language_of(path)
    if len(source) > MAX_SOURCE:
        return Suite(problem=f"too large to be judged ({len(source) // 1024} KB)")
    if language == "python":
        return read_python(source)
    if b"\0" in source:
        return Suite(problem="binary")
    text = source.decode("utf-8", "replace")
    readers = {"javascript": read_javascript, "go": read_go, "rust": read_rust}
    return readers[language](text) if language in readers else Suite()


def judge_tests(sides: list[_Side], subjects: Subjects) -> list[Finding]:
    """What happened to the tests in ``sides``. Pure."""
    findings: list[Finding] = []
    for side in sides:
        findings += _unreadable(side)
        findings += _focus(side)
        if side.language == "other":
            findings += _counted(side, subjects)
    before = [Place(s.old, s.old, c) for s in sides if s.suite_before for c in s.suite_before.cases.values()]
    after = [Place(s.path, s.old, c) for s in sides if s.suite_after for c in s.suite_after.cases.values()]
    broken = {s.old for s in sides if s.suite_after is not None and s.suite_after.problem}
    pairs = pair_up(before, after)
    gone = [pair for pair in pairs if pair.after is None and pair.before.home not in broken]
    findings += _gone(gone, sides, subjects)
    for pair in pairs:
        if pair.after is not None and not pair.merged:
            findings += _weaker(pair.before, pair.after, sum(part.case.high for part in pair.parts))
    kept = {id(pair.after) for pair in pairs if pair.after is not None}
    findings += [note for place in after if id(place) not in kept for note in _fresh(place)]
    return findings


def _gone(gone: list[Pair], sides: list[_Side], subjects: Subjects) -> list[Finding]:
    """A file that went with all its tests is one finding; else each test that is gone is one."""
    findings: list[Finding] = []
    lost = Counter(pair.before.home for pair in gone)
    told: set[str] = set()
    for side in sides:
        suite = side.suite_before
        if suite is None or side.suite_after is not None:
            continue
        if suite.problem or lost[side.old] == len(suite.cases) > 0:
            findings.append(_removed_file(side, lost[side.old], subjects))
            told.add(side.old)
    for place in (pair.before for pair in gone):
        if place.home in told or (place.case.empty and not place.case.low):
            continue
        if subjects.gone_by_order(place.case):
            kind = "test removed with what it tested, as the story asks"
            findings.append(_finding(Route.PROCEED, kind, place, place.case.name))
        else:
            route = Route.PROCEED if place.case.skips else Route.REPAIR
            findings.append(_finding(route, "test removed", place, place.case.name))
    return findings


def _removed_file(side: _Side, tests: int, subjects: Subjects) -> Finding:
    ordered = subjects.file_gone_by_order(side.old, side.before or b"")
    renamed = side.after is not None and side.path != side.old
    kind = f"test file renamed to {side.path}, which no test runner takes" if renamed else "test file deleted"
    if ordered:
        kind += " with what it tested, as the story asks"
    count = f": {tests} test" + ("s" if tests != 1 else "") if tests else ""
    names = ", ".join(list(side.suite_before.cases)[:20]) if side.suite_before else ""
    return Finding(Route.PROCEED if ordered else Route.REPAIR, kind, entry(kind + count, file=side.old, excerpt=names))


def _weaker(before: Place, after: Place, elsewhere: int) -> list[Finding]:
    """How the test ``after`` checks less than ``before``; ``elsewhere``: assertions in tests split off from it."""
    old, new = before.case, after.case
    if added := list((Counter(new.skips) - Counter(old.skips)).elements()):
        return [_finding(Route.REPAIR, "test skipped", after, f"{new.name}: {', '.join(added[:5])}")]
    if new.empty and not old.empty:
        return [_finding(Route.REPAIR, "test emptied", after, new.name)]
    if new.high + elsewhere < old.low:
        title = "assertions removed from a test"
        return [_finding(Route.REPAIR, title, after, f"{new.name}: {old.low} before, {new.high} now")]
    return []


def _fresh(place: Place) -> list[Finding]:
    """A new test takes nothing away; that it proves nothing is worth a note."""
    case = place.case
    if case.skips:
        return [_finding(Route.PROCEED, "new test that is skipped", place, f"{case.name}: {case.skips[0]}")]
    if case.empty:
        return [_finding(Route.PROCEED, "new test without a body", place, case.name)]
    return []


def _unreadable(side: _Side) -> list[Finding]:
    problem = side.suite_after.problem if side.suite_after else ""
    if not problem:
        return []
    had_tests = side.suite_before is not None and not side.suite_before.problem and bool(side.suite_before.cases)
    title = f"test file cannot be read any more: {problem}" if had_tests else f"test file cannot be read: {problem}"
    kind = "test file cannot be read"
    return [Finding(Route.REPAIR if had_tests else Route.PROCEED, kind, entry(title, file=side.path))]


def _focus(side: _Side) -> list[Finding]:
    """``.only`` keeps every other test of its file from running."""
    if side.suite_after is None:
        return []
    known = Counter(text for _, text in side.suite_before.focus) if side.suite_before else Counter[str]()
    found: list[Finding] = []
    for number, text in side.suite_after.focus:
        if known[text] > 0:
            known[text] -= 1
        else:
            title = "only some tests of a file are run"
            found.append(Finding(Route.REPAIR, title, entry(title, file=side.path, at=number, excerpt=text)))
    return found


def _counted(side: _Side, subjects: Subjects) -> list[Finding]:
    """Languages that are not read test by test: a deleted test file counts, fewer tests and more skips are noted."""
    before = (side.before or b"").decode("utf-8", "replace")[:MAX_SOURCE]
    after = (side.after or b"").decode("utf-8", "replace")[:MAX_SOURCE]
    if side.suite_before is not None and side.suite_after is None:
        if is_test_name(side.old) or count_tests(before):
            return [_removed_file(side, count_tests(before), subjects)]
        return []
    if side.suite_before is None:
        return []
    found: list[Finding] = []
    if (now := count_tests(after)) < (was := count_tests(before)):
        title = f"fewer tests than before: {was} → {now}"
        found.append(Finding(Route.REPAIR, "fewer tests in a file", entry(title, file=side.path)))
    known = Counter(text for _, text in find_skips(before))
    for number, text in find_skips(after):
        if known[text] > 0:
            known[text] -= 1
        else:
            title = "a test seems to be skipped"
            found.append(Finding(Route.REPAIR, title, entry(title, file=side.path, at=number, excerpt=text)))
    return found


def looks_like_tests(path: str, source: bytes) -> bool:
    """Whether ``source`` holds tests, though its path does not say so."""
    pattern = {"python": _PYTHON_TEST, "javascript": _JS_TEST, "rust": _RUST_TEST}.get(language_of(path))
    return pattern is not None and len(source) <= MAX_SOURCE and pattern.search(source) is not None


def _finding(route: Route, kind: str, place: Place, detail: str) -> Finding:
    case: Case = place.case
    title = f"{kind}: {detail}"
    return Finding(route, kind, entry(title, file=place.file, at=case.line, excerpt=case.excerpt))
