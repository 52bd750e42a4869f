"""Failures that vanish are flaky; one that is there each time is never excused."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.config import CommandGate, Config, FlakyConfig, GatesConfig
from auto_dev.errors import AutoDevError
from auto_dev.gates.base import Change, CommandOutcome, GateContext, Judgement
from auto_dev.gates.baseline import judge_baseline
from auto_dev.gates.commands import CommandsGate
from auto_dev.gates.failures import is_complaint
from auto_dev.gates.flaky import settle_baseline, worth_another_run
from auto_dev.model import Route, Verdict
from auto_dev.stories.model import Story

pytestmark = pytest.mark.unit

OK = CommandOutcome("tests", 0, timed_out=False, tail="3 passed in 0.1s")
COMMAND = CommandGate(name="tests", run="pytest -q")
TEST = b"def test_mine():\n    assert work() == 1\n"


def failed(*names: str, code: int | None = 1, timed_out: bool = False) -> CommandOutcome:
    return CommandOutcome("tests", code, timed_out, "", tuple(names))


@dataclass
class Bench:
    """Gives out ``runs`` one after the other, the last one again and again."""

    runs: Sequence[CommandOutcome | AutoDevError]
    known: frozenset[str] = frozenset()
    noted: set[str] = field(default_factory=set)
    asked: int = 0

    async def run(self, gate: CommandGate, sha: str) -> CommandOutcome:
        outcome = self.runs[min(self.asked, len(self.runs) - 1)]
        self.asked += 1
        if isinstance(outcome, AutoDevError):
            raise outcome
        return outcome

    again = run

    async def on_base(self, gate: CommandGate, paths: Collection[str]) -> CommandOutcome:
        raise AssertionError("a command is not run on the base")

    def known_flaky(self, command: str) -> frozenset[str]:
        return self.known

    def note_flaky(self, command: str, names: Collection[str]) -> None:
        self.noted |= set(names)


def judge(bench: Bench, before: CommandOutcome = OK, *, reruns: int = 2) -> Judgement:
    """The judgement of the command, in a story that adds tests/test_mine.py::test_mine."""

    async def read(rev: str, path: str) -> bytes | None:
        return TEST if rev == "head" else None

    async def diff(path: str) -> str:
        return ""

    context = GateContext(
        story=Story(id="S-1", title="A story", path="S-1.md"),
        policy=Config(gates=GatesConfig(command=[COMMAND], flaky=FlakyConfig(reruns=reruns))),
        base_sha="base",
        head_sha="head",
        round=0,
        changes=(Change("tests/test_mine.py", "A", 2, 0),),
        report=None,
        report_problem="",
        baseline={"tests": before},
        read=read,
        diff=diff,
        run_command=bench.run,
        trials=bench,
    )
    return asyncio.run(CommandsGate(COMMAND).judge(context))


A, B, MINE = "tests/a.py::test_a", "tests/b.py::test_b", "tests/test_mine.py::test_mine"


@pytest.mark.parametrize(
    ("runs", "verdict", "asked", "noted"),
    [
        ([OK], Verdict.PASS, 1, set()),
        ([failed(A), OK], Verdict.CONCERNS, 2, {A}),
        ([failed(A), failed(A)], Verdict.FAIL, 2, set()),
        ([failed(A, B), failed(A)], Verdict.FAIL, 3, {B}),
        ([failed(A, B), failed(A), OK], Verdict.CONCERNS, 3, {A, B}),
        ([failed(A), failed(B), failed("t::c")], Verdict.FAIL, 3, set()),
        ([failed(A), failed(B), OK], Verdict.CONCERNS, 3, {A, B}),
        ([failed(), OK], Verdict.CONCERNS, 2, set()),
        ([failed(), failed()], Verdict.FAIL, 2, set()),
        ([failed(A), failed(timed_out=True)], Verdict.FAIL, 2, set()),
        ([failed(timed_out=True)], Verdict.FAIL, 1, set()),
        ([failed("a.py: error: Name")], Verdict.FAIL, 1, set()),
        ([failed(code=127)], Verdict.FAIL, 1, set()),
        ([failed(A), failed(code=139)], Verdict.FAIL, 3, set()),
    ],
)
def test_a_new_failure_counts_when_it_is_there_each_time(
    runs: list[CommandOutcome], verdict: Verdict, asked: int, noted: set[str]
) -> None:
    bench = Bench(runs)
    judgement = judge(bench)
    assert judgement.verdict is verdict, judgement
    assert judgement.route is (Route.REPAIR if verdict is Verdict.FAIL else Route.PROCEED)
    assert (bench.asked, bench.noted) == (asked, noted)


def test_what_vanished_is_named_in_the_reason() -> None:
    judgement = judge(Bench([failed(A), OK]))
    assert judgement.reason == f"passes; run again, 1 flaky failure: {A} vanished"
    assert any(item["title"] == f"flaky: {A}" for item in judgement.evidence)


def test_a_known_failure_that_remains_is_no_reason_to_run_again() -> None:
    bench = Bench([failed(A)])
    assert judge(bench, failed(A)).verdict is Verdict.CONCERNS
    assert bench.asked == 1


def test_a_known_failure_and_a_flaky_one_are_told_apart() -> None:
    judgement = judge(Bench([failed(A, B), failed(A)]), failed(A))
    assert judgement.verdict is Verdict.CONCERNS
    assert "1 known failure remains" in judgement.reason
    assert f"1 flaky failure: {B} vanished" in judgement.reason


def test_what_is_known_to_be_flaky_gets_more_runs_but_is_not_excused_for_ever() -> None:
    patient = Bench([failed(A)] * 4 + [OK], known=frozenset({A}))
    assert judge(patient).verdict is Verdict.CONCERNS
    broken = Bench([failed(A)], known=frozenset({A}))
    assert judge(broken).verdict is Verdict.FAIL
    assert broken.asked == 5


def test_a_flaky_test_of_the_story_itself_is_held_against_it() -> None:
    bench = Bench([failed(MINE), OK])
    judgement = judge(bench)
    assert (judgement.verdict, judgement.route) == (Verdict.FAIL, Route.REPAIR)
    assert "a test of this story fails now and then" in judgement.reason
    assert MINE in judgement.reason
    mixed = judge(Bench([failed(MINE, A), failed(A)]))
    assert "1 new failure: tests/a.py::test_a; a test of this story" in mixed.reason


def test_without_reruns_a_failure_counts_at_once() -> None:
    bench = Bench([failed(A), OK])
    assert judge(bench, reruns=0).verdict is Verdict.FAIL
    assert bench.asked == 1


def test_a_second_checkout_that_cannot_be_set_up_leaves_the_first_failure() -> None:
    judgement = judge(Bench([failed(A), AutoDevError("the setup command failed")]))
    assert (judgement.verdict, judgement.route) == (Verdict.FAIL, Route.REPAIR)
    assert any("could not be run again" in item["title"] for item in judgement.evidence)


NAMES = st.sampled_from([f"t.py::test_{letter}" for letter in "abcdef"])


@given(
    always=st.sets(NAMES, min_size=1, max_size=3),
    now_and_then=st.lists(st.sets(NAMES, max_size=4), min_size=1, max_size=6),
    known=st.sets(NAMES),
    before=st.sets(NAMES, max_size=2),
    named=st.booleans(),
)
def test_a_failure_of_every_run_is_never_excused(
    always: set[str], now_and_then: list[set[str]], known: set[str], before: set[str], named: bool
) -> None:
    """Whatever else comes and goes, whatever is known, and also where it is called differently each time."""
    before -= always
    runs = [
        failed(*sorted(others | (always if named else {f"{name}[{number}]" for name in always})))
        for number, others in enumerate(now_and_then)
    ]
    if not named:
        runs += [failed(f"t.py::other[{number}]") for number in range(12)]
    base = failed(*sorted(before)) if before else OK
    assert judge(Bench(runs, frozenset(known)), base).verdict is Verdict.FAIL


@given(seen=st.lists(st.sets(NAMES, min_size=1, max_size=4), min_size=1, max_size=2))
def test_what_vanishes_within_the_runs_is_excused_and_remembered(seen: list[set[str]]) -> None:
    bench = Bench([*(failed(*sorted(names)) for names in seen), OK])
    judgement = judge(bench)
    if len(seen) == 2 and seen[0] == seen[1]:
        assert judgement.verdict is Verdict.FAIL
    else:
        assert judgement.verdict is Verdict.CONCERNS
        assert bench.noted == set().union(*seen)


class TestBaseline:
    """The same before any work."""

    def test_what_fails_twice_is_broken_and_what_fails_once_is_flaky(self) -> None:
        settled = settle_baseline(failed(A, B), failed(A, "t.py::c"))
        assert (settled.failures, set(settled.flaky)) == ((A,), {B, "t.py::c"})
        assert "1 known failure, 2 flaky" in judge_baseline([settled]).reason

    def test_a_pass_in_the_second_run_is_a_pass(self) -> None:
        settled = settle_baseline(failed(A), OK)
        assert settled == replace(OK, flaky=(A,))
        judgement = judge_baseline([settled])
        assert (judgement.verdict, judgement.reason) == (Verdict.CONCERNS, "tests: 1 flaky: passed when it ran again")

    @pytest.mark.parametrize(
        "again", [failed(), failed(code=139), failed(A, code=2), failed(timed_out=True), failed("t.py::other")]
    )
    def test_a_second_run_that_says_less_changes_nothing(self, again: CommandOutcome) -> None:
        assert settle_baseline(failed(A), again) == failed(A)

    @pytest.mark.parametrize(
        ("outcome", "worth"),
        [
            (OK, False), (failed(A), True), (failed(), True), (failed("a.py: error: x", "b.ts: error TS1"), False),
            (failed("a.py: error: x", A), True), (failed(timed_out=True), False), (failed(code=126), False),
            (failed("login: works"), True), (failed("test_a (m.T.test_a)"), True),
        ],
    )  # fmt: skip
    def test_only_what_may_vanish_is_run_again(self, outcome: CommandOutcome, worth: bool) -> None:
        assert worth_another_run(outcome) is worth


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("src/a.py: error: Incompatible types", True), ("a.py: not formatted", True), ("x.ts: error TS2307: no", True),
        ("tests/a.py::test_a[x: y]", False), ("a.test.js > does: this", False), ("suite: name", False),
        ("pkg.TestX", False), ("test_a (a.T.test_a)", False),
    ],
)  # fmt: skip
def test_complaints_about_files_are_told_from_names_of_tests(name: str, complaint: bool) -> None:
    assert is_complaint(name) is complaint
