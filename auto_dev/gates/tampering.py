"""Tests deleted, skipped, emptied or weakened: the yardstick may grow with a story, not shrink.

Tests of the base are paired with those of the head over all changed files, so that moved, renamed, merged, split and
parametrised tests count as kept; then the assertions of each pair are. What is gone or weaker goes back to the agent
with file, line, and how it read before and after.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from auto_dev.gates.base import GateContext, Judgement
from auto_dev.gates.counted import judge_counts
from auto_dev.gates.covers import tests_of
from auto_dev.gates.deselect import is_test_config, judge_config, runs_file
from auto_dev.gates.evidence import Finding, entry, weighed
from auto_dev.gates.hooks import judge_hooks
from auto_dev.gates.loosened import Around, judge_loosened, setting_names
from auto_dev.gates.pairing import Pair, Place, pair_up
from auto_dev.gates.protected import judge_protected
from auto_dev.gates.removal import finding, judge_removed
from auto_dev.gates.scripts import Script, is_script, judge_scripts
from auto_dev.gates.sides import Side, side_of
from auto_dev.gates.subjects import Subjects, read_subjects, words_of
from auto_dev.gates.syntax.strength import Check
from auto_dev.gates.syntax.suite import language_of
from auto_dev.gates.weakening import Loss, checks_lost, compare
from auto_dev.model import Route


class TamperingGate:
    """Sends deleted, skipped, emptied and weakened tests back to the agent; shows what tests expect differently."""

    name = "tampering"

    async def judge(self, context: GateContext) -> Judgement:
        commands = tuple(command.run for command in context.policy.gates.command)
        findings = judge_protected(context.policy.gates.tampering.protected, context.changes)
        files: list[_File] = []
        sides: list[Side] = []
        for change in context.changes:
            names = (change.old_path or change.path, change.path)
            config = any(is_test_config(name) or runs_file(commands, name) for name in names)
            script = any(is_script(name, commands) for name in names)
            if not (config or script or any(language_of(name) for name in names)):
                continue
            before = await context.read(context.base_sha, names[0]) if change.status != "A" else None
            after = await context.read(context.head_sha, change.path) if change.status != "D" else None
            files.append(_File(change.path, before, after, config, script))
            # Reading sources takes the processor; in a thread, so that the daemon serves others meanwhile.
            sides.append(await asyncio.to_thread(side_of, change, before, after))
        tests = tests_of(await context.paths(context.base_sha), await context.paths(context.head_sha)) if files else ()
        findings += await asyncio.to_thread(judge_settings, files, commands, words_of(context.story), tests)
        subjects = read_subjects(context.story, [(s.old, s.before, s.after) for s in sides])
        findings += await asyncio.to_thread(judge_tests, sides, subjects)
        held = any(side.holds_tests for side in sides)
        return weighed(findings, "the tests that were there are still there" if held else "no test was changed")


@dataclass(frozen=True, slots=True)
class _File:
    """A changed file. ``config``: it steers which tests or checks run; ``script``: commands stand in it."""

    path: str
    before: bytes | None
    after: bytes | None
    config: bool
    script: bool


def judge_settings(
    files: Sequence[_File], commands: tuple[str, ...], story: str, tests: tuple[str, ...]
) -> list[Finding]:
    """What settings, scripts and hooks do to the ``tests`` that are on both sides. Pure."""
    findings: list[Finding] = []
    names = {file.path: setting_names(file.path, file.after) for file in files if file.config}
    for file in files:
        if file.config:
            elsewhere = frozenset(name for path, found in names.items() if path != file.path for name in found)
            findings += judge_config(file.path, file.before, file.after, commands)
            findings += judge_loosened(file.path, file.before, file.after, Around(story, tests, elsewhere))
        findings += judge_hooks(file.path, file.before, file.after, story, tests)
    scripts = [Script(file.path, file.before, file.after) for file in files if file.script]
    return findings + judge_scripts(scripts, story, tests)


def judge_tests(sides: Sequence[Side], subjects: Subjects) -> list[Finding]:
    """What happened to the tests in ``sides``. Pure."""
    findings: list[Finding] = []
    tests = [side for side in sides if side.holds_tests]
    for side in tests:
        findings += _unreadable(side)
        findings += _focus(side)
        if side.language == "other":
            findings += judge_counts(side, subjects)
    before = [Place(s.old, s.old, c) for s in tests if s.suite_before for c in s.suite_before.cases.values()]
    after = [Place(s.path, s.old, c) for s in tests if s.suite_after for c in s.suite_after.cases.values()]
    broken = {s.old for s in tests if s.suite_after is not None and s.suite_after.problem}
    pairs = pair_up(before, after)
    gone = [pair for pair in pairs if pair.after is None and pair.before.home not in broken]
    findings += judge_removed(gone, pairs, tests, subjects)
    kept = {id(place) for pair in pairs for place in (pair.after, *pair.parts)}
    fresh = [place for place in after if id(place) not in kept]
    findings += _losses(pairs, tests, after, [check for place in fresh for check in place.case.checks])
    for side in sides:
        if side.helps:
            findings += _helpers(side, [check for place in after for check in place.case.checks])
    return findings + [note for place in fresh for note in _fresh(place)]


def _losses(
    pairs: Sequence[Pair], sides: Sequence[Side], after: Sequence[Place], elsewhere: Sequence[Check]
) -> list[Finding]:
    """How the tests that are still there check less. ``elsewhere``: the assertions of new tests."""
    imports = {s.path: s.suite_after.imports for s in sides if s.suite_after is not None}
    own = {s.path: _own(s) for s in sides}
    twins = Counter((place.home, place.case.leaf) for place in after)
    findings: list[Finding] = []
    for pair in pairs:
        if pair.after is None or pair.merged:
            continue
        place = pair.after
        parts = [part.case for part in pair.parts]
        known: Mapping[str, str] = imports.get(place.file, {})
        stem = posixpath.basename(place.file)
        case = replace(place.case, mocks=place.case.mocks | own[place.file]) if own.get(place.file) else place.case
        losses = compare(pair.before.case, case, parts, imports=known, stem=stem, elsewhere=elsewhere)
        if twins[place.home, place.case.leaf] > 1:
            losses = [_conditional(loss) for loss in losses]
        findings += [_told(loss, place.file) for loss in losses]
    return findings


def _own(side: Side) -> frozenset[str]:
    """What was imported before and is a function of the test file itself now."""
    if side.suite_before is None or side.suite_after is None:
        return frozenset()
    gone = set(side.suite_before.imports) - set(side.suite_after.imports)
    return frozenset(gone & side.suite_after.functions)


def _conditional(loss: Loss) -> Loss:
    """Of two tests with one name under opposite conditions one always runs."""
    conditional = loss.kind == "test skipped" and ("(" in loss.detail or " if " in loss.detail)
    return (
        replace(loss, route=Route.PROCEED, kind="two tests of one name, each under a condition")
        if conditional
        else loss
    )


def _helpers(side: Side, elsewhere: Sequence[Check]) -> list[Finding]:
    """Functions that tests call, in a file without tests: they must not assert less either."""
    if side.suite_before is None or side.suite_after is None:
        return []
    findings: list[Finding] = []
    for name, old in side.suite_before.helpers.items():
        if (new := side.suite_after.helpers.get(name)) is None and name not in side.suite_after.functions:
            continue  # gone: whoever calls it fails
        now = new if new is not None else replace(old, checks=(), low=0, high=0, excerpt="")
        for loss in checks_lost(old, now, elsewhere=elsewhere):
            if loss.route is Route.REPAIR:
                kind = loss.kind.replace("a test", "a helper of tests")
                findings.append(_told(replace(loss, kind=kind), side.path))
    return findings


def _told(loss: Loss, file: str) -> Finding:
    shown = [f"- {text}" for text in loss.before.split("\n") if text]
    shown += [f"+ {text}" for text in loss.after.split("\n") if text]
    title = f"{loss.kind}: {loss.detail}"
    return Finding(loss.route, loss.kind, entry(title, file=file, at=loss.line or None, excerpt="\n".join(shown)))


def _fresh(place: Place) -> list[Finding]:
    """A new test takes nothing away; that it proves nothing is worth a note."""
    case = place.case
    if case.skips:
        return [finding(Route.PROCEED, "new test that is skipped", place, f"{case.name}: {case.skips[0]}")]
    if case.empty:
        return [finding(Route.PROCEED, "new test without a body", place, case.name)]
    return []


def _unreadable(side: Side) -> list[Finding]:
    problem = side.suite_after.problem if side.suite_after else ""
    if not problem:
        return []
    had_tests = side.suite_before is not None and not side.suite_before.problem and bool(side.suite_before.cases)
    title = f"test file cannot be read any more: {problem}" if had_tests else f"test file cannot be read: {problem}"
    kind = "test file cannot be read"
    return [Finding(Route.REPAIR if had_tests else Route.PROCEED, kind, entry(title, file=side.path))]


def _focus(side: Side) -> list[Finding]:
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
