"""What was seen of the tests that a story adds: do they fail without its change, and pass with it? Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from auto_dev.config import CommandGate
from auto_dev.gates.added import AddedTest, is_named, named_in
from auto_dev.gates.base import CommandOutcome
from auto_dev.gates.baseline import failures_of, is_pytest
from auto_dev.gates.failures import is_complaint, parse_counts
from auto_dev.gates.flaky import news
from auto_dev.gates.syntax.suite import language_of

_RUNNERS: Final = {
    "python": re.compile(r"\b(?:py\.?test|unittest|nose2?|tox|nox|trial|manage\.py test)\b"),
    "javascript": re.compile(
        r"\b(?:jest|vitest|mocha|ava|jasmine|karma|cypress|playwright|tap)\b|\b(?:node|bun|deno)\b.*\btest\b"
    ),
    "go": re.compile(r"\bgo test\b|\bgotestsum\b|\bginkgo\b"),
    "rust": re.compile(r"\bcargo\b.*\b(?:test|nextest)\b"),
}
_ANY: Final = re.compile(
    r"\b(?:npm|pnpm|yarn|just|make|rake|task|gradlew?|mvnw?|dotnet|mix|swift|composer|bazel|nx|turbo)\b.*\btests?\b"
    r"|\b(?:rspec|phpunit|pest|ctest|bats|prove|busted|verify)\b"
)
_SHOWN: Final = re.compile(r"^(?:Ran \d+ tests? in |ok  \t\S+|TAP version \d+|# tests \d+|test result: )", re.MULTILINE)
# The runner stopped early: what it does not name may never have run.
_CUT: Final = re.compile(
    r"stopping after \d+ failures|Interrupted: \d+ errors? during collection|^Bail out!|Bailed out|--bail|FailFast"
    r"|could not compile|Cancelling due to test failure",
    re.MULTILINE,
)


def names_runner(text: str) -> bool:
    """Whether ``text`` names a program that runs tests."""
    return _ANY.search(text) is not None or any(runner.search(text) for runner in _RUNNERS.values())


class Seen(StrEnum):
    """How a test ended in a run. ``UNKNOWN``: the run does not tell."""

    FAILED = "failed"
    PASSED = "passed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of one command: on the base as it is, on the base with the new tests, on the head.

    ``flaky``: what is known to fail now and then.
    """

    command: CommandGate
    before: CommandOutcome | None
    on_base: CommandOutcome
    on_head: CommandOutcome
    flaky: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """A test that the story adds or changes, and how it ended without the story's change and with it.

    ``command`` is the one that told; ``why`` says why nothing is known.
    """

    test: AddedTest
    on_base: Seen = Seen.UNKNOWN
    on_head: Seen = Seen.UNKNOWN
    command: str = ""
    why: str = ""

    @property
    def proves(self) -> bool:
        """It fails without the change and passes with it."""
        return self.on_base is Seen.FAILED and self.on_head is Seen.PASSED

    @property
    def vacuous(self) -> bool:
        """It passes with the change and without it, or is not run at all."""
        return self.on_base is Seen.PASSED and self.on_head is Seen.PASSED


def runs_tests(command: CommandGate, outcomes: Iterable[CommandOutcome | None]) -> bool:
    """Whether ``command`` seems to run tests, by its words or by what it printed."""
    if _ANY.search(command.run) or any(pattern.search(command.run) for pattern in _RUNNERS.values()):
        return True
    return any(
        outcome is not None
        and (
            is_pytest(outcome.tail) or parse_counts(outcome.tail) is not None or _SHOWN.search(outcome.tail) is not None
        )
        for outcome in outcomes
    )


def may_run(command: CommandGate, tests: Iterable[AddedTest]) -> bool:
    """Whether ``command`` may run one of ``tests``: not when all its words name runners of other languages."""
    languages = {language for language, pattern in _RUNNERS.items() if pattern.search(command.run)}
    if not languages or _ANY.search(command.run):
        return True
    return any(language_of(test.file) in languages for test in tests)


def observe(tests: Sequence[AddedTest], runs: Sequence[Runs]) -> list[Observation]:
    """How each of ``tests`` ended, over all commands: one that fails in any of them fails."""
    return [_observe(test, runs) for test in tests]


def _observe(test: AddedTest, runs: Sequence[Runs]) -> Observation:
    if not test.apart:
        return Observation(test, why="it lies in the same file as the code, so it cannot run without the change")
    found = [
        Observation(test, _on_base(test, each), _on_head(test, each), each.command.name)
        for each in runs
        if may_run(each.command, [test])
    ]
    if not found:
        return Observation(test, why="no configured command seems to run it")
    best = next((each for each in found if each.proves), None)
    failed = next((each for each in found if each.on_head is not Seen.PASSED), None)
    if failed is not None:
        return failed
    return best or next((each for each in found if each.on_base is Seen.UNKNOWN), found[0])


def _on_head(test: AddedTest, runs: Runs) -> Seen:
    new = set(news(runs.before, runs.on_head)) - runs.flaky
    if named_in(test, new):
        return Seen.FAILED
    if runs.on_head.ok or new or failures_of(runs.on_head):
        return Seen.PASSED
    return Seen.UNKNOWN


def _on_base(test: AddedTest, runs: Runs) -> Seen:
    """On the base with the new tests. What keeps the runner from starting there is the lack of the story's code."""
    run, before = runs.on_base, runs.before
    if run.ok:
        return Seen.PASSED
    if run.timed_out:
        return Seen.UNKNOWN
    new = news(before, run)
    if any(is_named(test, name) for name in new if name not in runs.flaky):
        return Seen.FAILED
    if not failures_of(run):
        # It passes as it is on both sides and fails without a word on the base with the new tests: they are the cause.
        orderly = before is not None and before.ok and runs.on_head.ok
        return Seen.FAILED if orderly else Seen.UNKNOWN
    not_built = new and all(map(is_complaint, new)) and parse_counts(run.tail) is None
    return Seen.UNKNOWN if not_built or _CUT.search(run.tail) else Seen.PASSED
