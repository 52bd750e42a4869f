"""The configured commands: on the base before any work, and on the head against that."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.gates.base import CommandOutcome, Judgement
from auto_dev.gates.baseline import judge_baseline
from auto_dev.gates.commands import compare
from auto_dev.gates.evidence import digest
from auto_dev.model import Route, Verdict

pytestmark = pytest.mark.unit

OK = CommandOutcome("tests", 0, timed_out=False, tail="3 passed in 0.1s", duration_s=1.5)


def failed(
    *names: str,
    code: int | None = 1,
    tail: str = "",
    timed_out: bool = False,
    command: str = "tests",
    took: float = 2.0,
) -> CommandOutcome:
    return CommandOutcome(command, code, timed_out, tail, tuple(names), took)


EMPTY = failed(code=5, tail="no tests ran in 0s")
SESSION = "============ test session starts ============\ncollected 3 items\n"


class TestBaseline:
    """Outcomes on the base commit."""

    @pytest.mark.parametrize(
        ("outcomes", "verdict", "route", "says"),
        [
            ([OK], Verdict.PASS, Route.PROCEED, "passes before any work"),
            ([], Verdict.CONCERNS, Route.PROCEED, "no command is configured"),
            ([OK, failed("t::a", "t::b")], Verdict.CONCERNS, Route.PROCEED, "2 known failures"),
            ([failed("t::a")], Verdict.CONCERNS, Route.PROCEED, "1 known failure"),
            ([OK, failed(code=3)], Verdict.CONCERNS, Route.PROCEED, "auto-dev cannot tell what fails"),
            ([failed(code=5, tail="no tests ran in 0.01s")], Verdict.CONCERNS, Route.PROCEED, "no tests yet"),
            ([OK, failed(code=127)], Verdict.FAIL, Route.ASK, "not found"),
            ([OK, failed(code=126)], Verdict.FAIL, Route.ASK, "cannot be executed"),
            ([OK, failed(code=None, timed_out=True)], Verdict.FAIL, Route.ASK, "did not end within its time"),
            ([OK, failed(code=None)], Verdict.FAIL, Route.ASK, "ended by a signal"),
            ([OK, failed(code=139)], Verdict.FAIL, Route.ASK, "ended by a signal (11)"),
            ([OK, failed(code=-6)], Verdict.FAIL, Route.ASK, "ended by a signal (6)"),
            ([OK, failed("t.py", code=2, tail=SESSION)], Verdict.FAIL, Route.ASK, "interrupted"),
            ([OK, failed(code=3, tail="INTERNALERROR> Traceback")], Verdict.FAIL, Route.ASK, "internal error"),
            ([OK, failed(code=4, tail="ERROR: usage: pytest [options]")], Verdict.FAIL, Route.ASK, "called wrongly"),
            ([OK, failed("t::a", "t::b", tail="2 failed in 0.1s")], Verdict.FAIL, Route.ASK, "test fails (2 of 2)"),
            ([failed("a", tail="ok 2 - /w/test/a.js\n# pass 1\n# fail 5")], Verdict.FAIL, Route.ASK, "(5 of 5)"),
            ([failed("a", tail="ok 2 - loads a.js\n# pass 1\n# fail 5")], Verdict.CONCERNS, Route.PROCEED, "1 known"),
            ([failed(), failed(command="lint", code=2)], Verdict.FAIL, Route.ASK, "every command fails"),
            ([OK, failed("x: error", code=2, tail="make: Error 2")], Verdict.CONCERNS, Route.PROCEED, "1 known"),
        ],
    )  # fmt: skip
    def test_known_failures_are_recorded_and_an_unusable_baseline_asks(
        self, outcomes: list[CommandOutcome], verdict: Verdict, route: Route, says: str
    ) -> None:
        judgement = judge_baseline(outcomes)
        assert (judgement.verdict, judgement.route) == (verdict, route)
        assert says in judgement.reason
        assert judgement == judge_baseline({str(number): run for number, run in enumerate(outcomes)})

    def test_the_evidence_names_the_known_failures(self) -> None:
        judgement = judge_baseline([failed("t::a", "t::b"), OK])
        assert judgement.evidence[0]["excerpt"] == "t::a\nt::b"


class TestCommands:
    """Outcomes on the head against those on the base."""

    @pytest.mark.parametrize(
        ("before", "now", "verdict", "says"),
        [
            (OK, OK, Verdict.PASS, "passes"),
            (None, OK, Verdict.PASS, "passes"),
            (failed("t::a"), OK, Verdict.PASS, "1 known failure is fixed"),
            (failed("t::a", "t::b"), OK, Verdict.PASS, "2 known failures are fixed"),
            (failed(code=2), OK, Verdict.PASS, "it failed before the work"),
            (OK, failed("t::a"), Verdict.FAIL, "1 new failure: t::a"),
            (None, failed("t::a", "t::b"), Verdict.FAIL, "2 new failures: t::a …"),
            (OK, failed(code=7), Verdict.FAIL, "fails with exit code 7"),
            (OK, failed(code=127), Verdict.FAIL, "not found"),
            (OK, failed(code=None), Verdict.FAIL, "ended by a signal"),
            (OK, failed(code=None, timed_out=True), Verdict.FAIL, "did not end within its time"),
            (OK, failed(code=5, tail="no tests ran in 0.1s"), Verdict.FAIL, "no tests ran"),
            (failed("t::a"), failed("t::a"), Verdict.CONCERNS, "no new failure; 1 known failure remains"),
            (failed("t::a", "t::b"), failed("t::b"), Verdict.CONCERNS, "1 known failure remains, 1 fixed"),
            (failed("t::a"), failed("t::b"), Verdict.FAIL, "1 new failure: t::b"),
            (failed("t::a"), failed("t::a", "t::b"), Verdict.FAIL, "1 new failure: t::b"),
            (failed("a.py: E1"), failed("a.py: E1", "a.py: E1"), Verdict.FAIL, "1 new failure: a.py: E1"),
            (failed("t::a"), failed(), Verdict.FAIL, "fails with exit code 1"),
            (failed("t::a"), failed("t::a", code=139), Verdict.FAIL, "ended by a signal"),
            (failed("t::a"), failed("t::a", code=3), Verdict.FAIL, "exit code went from 1 to 3"),
            (failed("t::a", "t::b", code=2), failed("t::a", code=1), Verdict.CONCERNS, "1 fixed"),
            (failed(), failed(), Verdict.CONCERNS, "auto-dev cannot tell"),
            (failed(), failed("t::a"), Verdict.CONCERNS, "auto-dev cannot tell"),
            (failed(code=127), failed(code=127), Verdict.CONCERNS, "auto-dev cannot tell"),
            (failed(code=127), failed("t::a"), Verdict.FAIL, "1 new failure: t::a"),
            (failed(timed_out=True), failed(timed_out=True), Verdict.CONCERNS, "auto-dev cannot tell"),
            (failed("t::a"), failed("t::a", timed_out=True), Verdict.FAIL, "did not end"),
            (EMPTY, failed("t::a"), Verdict.FAIL, "1 new failure: t::a"),
            (EMPTY, EMPTY, Verdict.CONCERNS, "no tests"),
        ],
    )  # fmt: skip
    def test_only_what_newly_fails_is_held_against_the_work(
        self, before: CommandOutcome | None, now: CommandOutcome, verdict: Verdict, says: str
    ) -> None:
        judgement = compare(before, now)
        assert judgement.verdict is verdict, judgement
        assert judgement.route is (Route.REPAIR if verdict is Verdict.FAIL else Route.PROCEED)
        assert says in judgement.reason

    def test_names_are_read_from_the_output_when_the_runner_recorded_none(self) -> None:
        judgement = compare(OK, failed(tail="FAILED tests/a.py::test_x - assert 1 == 2\n1 failed, 2 passed in 0.1s"))
        assert "tests/a.py::test_x" in judgement.reason

    def test_the_agent_gets_names_exit_code_duration_and_the_clean_end_of_the_output(self) -> None:
        tail = "x" * 50_000 + "\n\x1b[31mE   assert 1 == 2\x1b[0m\x00\nFAILED t.py::a"
        judgement = compare(OK, failed("t.py::a", code=1, tail=tail, took=12.34))
        name, ending, took = judgement.evidence
        assert ending["number"] == 1
        assert ending["excerpt"].endswith("E   assert 1 == 2\nFAILED t.py::a")
        assert name["title"] == "newly fails: t.py::a"
        assert took["number"] == 12.3

    def test_thousands_of_failures_stay_small_evidence(self) -> None:
        judgement = compare(OK, failed(*(f"tests/тест_{n}.py::" + "é" * 300 for n in range(5_000)), tail="é" * 100_000))
        assert len(json.dumps(judgement.evidence)) < 32_000
        assert "5000 new failures" in judgement.reason

    def test_the_same_failure_in_another_run_has_the_same_digest(self) -> None:
        def run(folder: str, took: str, address: str) -> Judgement:
            tail = f"{folder}/tests/a.py:12: <object at {address}> in {took}\nFAILED tests/a.py::t"
            return compare(OK, failed("tests/a.py::t", tail=tail, took=float(took.rstrip("s"))))

        first = run("/state/checkouts/ab12", "0.13s", "0x7f00aa")
        again = run("/state/checkouts/cd34/x", "1.99s", "0x7fff01")
        other = compare(OK, failed("tests/a.py::t", tail="assert 3 == 4\nFAILED tests/a.py::t"))
        assert digest("tests", first) == digest("tests", again)
        assert digest("tests", first) != digest("tests", other)
        assert digest("tests", first) != digest("lint", first)


NAMES = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=6)
OUTCOMES = st.builds(
    lambda code, out, names, timed: failed(*names, code=code, tail=out, timed_out=timed),
    st.sampled_from([0, 1, 2, 5, 126, 127, 139, None]),
    st.sampled_from(["", SESSION, "no tests ran in 0s", "2 failed in 1s"]),
    NAMES,
    st.booleans(),
)


@given(st.none() | OUTCOMES, OUTCOMES)
def test_a_new_name_never_proceeds_where_names_are_known_and_a_success_always_does(
    before: CommandOutcome | None, now: CommandOutcome
) -> None:
    judgement = compare(before, now)
    if now.ok:
        assert judgement.verdict is Verdict.PASS
    else:
        assert judgement.verdict is not Verdict.PASS
        new = Counter(now.failures) - Counter(before.failures if before else ())
        if before is None or before.ok or (before.failures and new and not now.timed_out):
            assert judgement.route is Route.REPAIR
