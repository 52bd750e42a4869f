"""Running gates, the one conclusion of a round, and the question that a person gets."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_dev.config import CommandGate, ConfidenceGate, Config, DecisionsConfig, GatesConfig
from auto_dev.errors import ConfigError
from auto_dev.gates import engine
from auto_dev.gates.base import Change, Clash, CommandOutcome, Gate, GateContext, Judgement, Leak
from auto_dev.gates.confidence import ConfidenceGate as Confidence
from auto_dev.gates.decisions import DecisionsGate, without_answered
from auto_dev.gates.engine import Ruled, rule, run_gates
from auto_dev.gates.evidence import LIMIT, bounded, digest, entry
from auto_dev.gates.question import ACTIONS, Option, Question, question_for
from auto_dev.gates.registry import gates_for
from auto_dev.gates.settle import Round, Settled, settle
from auto_dev.model import Route, Verdict
from auto_dev.report import DecisionWish, Report
from auto_dev.stories.model import Story

pytestmark = pytest.mark.unit

STORY = Story(id="S-1", title="A story", path="S-1.md")
PASS = Judgement(Verdict.PASS, "fine")
FAIL = Judgement(Verdict.FAIL, "bad", Route.REPAIR, ({"title": "newly fails: t::a", "excerpt": "assert 1 == 2"},))
ASK = Judgement(Verdict.FAIL, "ask me", Route.ASK)


def context_of(
    *,
    changes: Sequence[Change] = (Change("src/a.py", "M", 1, 1),),
    report: Report | None = None,
    problem: str = "",
    policy: Config | None = None,
    outcome: CommandOutcome | None = None,
) -> GateContext:
    async def read(rev: str, path: str) -> bytes | None:
        return b"x = 1\n"

    async def diff(path: str) -> str:
        return ""

    async def no_leaks() -> Sequence[Leak]:
        return ()

    async def no_clashes() -> Sequence[Clash]:
        return ()

    async def no_paths(rev: str) -> Sequence[str]:
        return ()

    async def run(gate: CommandGate, sha: str) -> CommandOutcome:
        assert outcome is not None, "no command may run here"
        return outcome

    return GateContext(
        story=STORY,
        policy=policy or Config(),
        base_sha="base",
        head_sha="head",
        round=0,
        changes=tuple(changes),
        report=report,
        report_problem=problem,
        baseline={},
        read=read,
        diff=diff,
        run_command=run,
        leaks=no_leaks,
        clashes=no_clashes,
        paths=no_paths,
    )


@dataclass
class Fixed:
    """A gate that says what it was made to say, and remembers that it was asked."""

    name: str
    says: object
    expensive: bool = False
    log: list[str] = field(default_factory=list)

    async def judge(self, context: GateContext) -> Judgement:
        self.log.append(self.name)
        if isinstance(self.says, BaseException):
            raise self.says
        return self.says  # type: ignore[return-value]


def run(
    gates: Sequence[Gate],
    *,
    attempts_left: int = 2,
    policy: Config | None = None,
    waived: Mapping[str, str] | None = None,
) -> list[Ruled]:
    return asyncio.run(run_gates(gates, context_of(policy=policy), attempts_left=attempts_left, waived=waived))


class TestRunning:
    """run_gates and rule."""

    def test_cheap_gates_run_first_and_the_rulings_keep_the_order(self) -> None:
        log: list[str] = []
        gates = [Fixed("a", PASS, log=log), Fixed("slow", PASS, expensive=True, log=log), Fixed("b", PASS, log=log)]
        assert [one.gate for one in run(gates)] == ["a", "slow", "b"]
        assert log == ["a", "b", "slow"]

    @pytest.mark.parametrize(("first", "says", "attempts", "ran"), [
        ("empty", ASK, 2, False),
        ("scope", ASK, 2, False),
        ("scope", FAIL, 2, True),
        ("tampering", FAIL, 2, True),
        ("tampering", FAIL, 0, False),
        ("confidence", ASK, 2, True),
        ("empty", PASS, 0, True),
    ])  # fmt: skip
    def test_commands_are_not_run_when_a_person_will_be_asked_anyway(
        self, first: str, says: Judgement, attempts: int, ran: bool
    ) -> None:
        ruled = run([Fixed(first, says), Fixed("tests", PASS, expensive=True)], attempts_left=attempts)
        assert ("tests" in [one.gate for one in ruled]) is ran

    @pytest.mark.parametrize("says", [
        ValueError("no \x00 way"), KeyError("x"), RecursionError(), AssertionError(),
        ExceptionGroup("g", [OSError("a")]), TimeoutError(),
        None, "pass", True, Verdict.PASS, {"verdict": "pass"},
        Judgement(Verdict.FAIL, "x", Route.PROCEED),
        Judgement(Verdict.PASS, "x", Route.REPAIR),
        Judgement(Verdict.PASS, "x", Route.ASK),
        Judgement(Verdict.WAIVED, "x"),
        Judgement("splendid", "x"),  # type: ignore[arg-type]
        Judgement(Verdict.PASS, "x", "onwards"),  # type: ignore[arg-type]
        Judgement(Verdict.PASS, "x", Route.PROCEED, 7),  # type: ignore[arg-type]
        Judgement(Verdict.PASS, "x", Route.PROCEED, ("not a mapping",)),  # type: ignore[arg-type]
    ])  # fmt: skip
    def test_a_broken_gate_asks_and_never_passes_or_crashes(self, says: object) -> None:
        [ruled] = run([Fixed("mine", says)])
        assert (ruled.judgement.verdict, ruled.judgement.route) == (Verdict.FAIL, Route.ASK)
        assert "the gate 'mine' itself failed" in ruled.judgement.reason
        assert "\x00" not in json.dumps(ruled.judgement.evidence)

    def test_cancelling_goes_through(self) -> None:
        with pytest.raises(asyncio.CancelledError):
            run([Fixed("mine", asyncio.CancelledError())])

    def test_a_gate_that_hangs_is_ended_and_asks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Hanging:
            name = "hanging"

            async def judge(self, context: GateContext) -> Judgement:
                await asyncio.Event().wait()
                raise AssertionError("unreachable")

        monkeypatch.setattr(engine, "GATE_TIMEOUT_S", 0.01)
        [ruled] = run([Hanging()])
        assert "took too long" in ruled.judgement.reason
        assert ruled.judgement.route is Route.ASK

    def test_an_advisory_gate_never_stops_but_still_says_what_it_found(self) -> None:
        policy = Config(gates=GatesConfig(advisory=["mine"]))
        for says, verdict in (
            (FAIL, Verdict.FAIL),
            (ASK, Verdict.FAIL),
            (ValueError("x"), Verdict.FAIL),
            (PASS, Verdict.PASS),
        ):
            [ruled] = run([Fixed("mine", says)], policy=policy)
            assert (ruled.judgement.verdict, ruled.judgement.route, ruled.advisory) == (verdict, Route.PROCEED, True)
            assert settle([ruled], 0).route is Route.PROCEED

    def test_a_waiver_covers_the_failure_that_was_seen_and_no_other(self) -> None:
        [seen] = run([Fixed("mine", FAIL)])
        [waived] = run([Fixed("mine", FAIL)], waived={"mine": seen.digest})
        assert (waived.judgement.verdict, waived.judgement.route) == (Verdict.WAIVED, Route.PROCEED)
        other = Judgement(Verdict.FAIL, "bad", Route.REPAIR, ({"title": "newly fails: t::b"},))
        [again] = run([Fixed("mine", other)], waived={"mine": seen.digest})
        assert again.judgement.route is Route.REPAIR
        [elsewhere] = run([Fixed("yours", FAIL)], waived={"mine": seen.digest})
        assert elsewhere.judgement.route is Route.REPAIR

    def test_a_waived_scope_lets_the_commands_run(self) -> None:
        [seen] = run([Fixed("scope", ASK)])
        ruled = run([Fixed("scope", ASK), Fixed("tests", PASS, expensive=True)], waived={"scope": seen.digest})
        assert [one.gate for one in ruled] == ["scope", "tests"]

    def test_durations_come_from_the_clock(self) -> None:
        ticks = iter([10.0, 10.25])
        [ruled] = asyncio.run(run_gates([Fixed("a", PASS)], context_of(), attempts_left=1, clock=lambda: next(ticks)))
        assert ruled.duration_ms == 250


def trail_of(*rounds: Settled) -> list[Round]:
    return [one.round for one in rounds if one.round is not None]


class TestSettling:
    """settle."""

    @pytest.mark.parametrize(("says", "attempts", "route", "why"), [
        ([PASS, PASS], 0, Route.PROCEED, ""),
        ([], 0, Route.PROCEED, ""),
        ([PASS, FAIL], 1, Route.REPAIR, ""),
        ([PASS, FAIL], 0, Route.ASK, "used up"),
        ([FAIL, ASK], 2, Route.ASK, ""),
        ([Judgement(Verdict.CONCERNS, "hm")], 0, Route.PROCEED, ""),
        ([Judgement(Verdict.CONCERNS, "hm", Route.ASK)], 2, Route.ASK, ""),
    ])  # fmt: skip
    def test_any_ask_asks_any_repair_repairs_while_attempts_are_left(
        self, says: list[Judgement], attempts: int, route: Route, why: str
    ) -> None:
        settled = settle([rule(f"g{n}", one) for n, one in enumerate(says)], attempts)
        assert settled.route is route
        assert why in settled.why
        assert bool(settled.why) is bool(why)

    def test_the_same_failure_twice_asks_instead_of_burning_attempts(self) -> None:
        first = settle([rule("tests", FAIL)], 2)
        assert first.route is Route.REPAIR
        trail = trail_of(first)
        again = settle([rule("tests", FAIL)], 2, trail)
        assert (again.route, again.why) == (Route.ASK, "the repair changed nothing about tests")
        other = Judgement(Verdict.FAIL, "bad", Route.REPAIR, ({"title": "newly fails: t::b"},))
        assert settle([rule("tests", other)], 2, trail).route is Route.REPAIR
        assert settle([rule("lint", FAIL)], 2, trail).route is Route.REPAIR

    def test_the_agent_gets_the_evidence_and_not_a_slogan(self) -> None:
        lint = Judgement(
            Verdict.FAIL, "1 new failure", Route.REPAIR, ({"title": "E1", "file": "a.py", "line": 3, "number": 2},)
        )
        settled = settle([rule("tests", FAIL), rule("lint", lint), rule("scope", PASS)], 1)
        for part in (
            "## tests: bad",
            "- newly fails: t::a",
            "    assert 1 == 2",
            "## lint: 1 new failure",
            "- E1 (2) [a.py:3]",
        ):
            assert part in settled.findings
        assert "scope" not in settled.findings
        assert settled.reasons == ("tests: bad", "lint: 1 new failure")

    def test_findings_stay_small(self) -> None:
        huge = Judgement(
            Verdict.FAIL, "x", Route.REPAIR, tuple({"title": f"t{n}", "excerpt": "é" * 9_000} for n in range(500))
        )
        settled = settle([rule(f"g{n}", huge) for n in range(20)], 1)
        assert len(settled.findings) < 20_000
        assert all(f"## g{n}" in settled.findings for n in range(20))

    JUDGEMENTS = st.sampled_from(
        [PASS, FAIL, ASK, Judgement(Verdict.CONCERNS, "hm"), Judgement(Verdict.CONCERNS, "hm", Route.ASK)]
    )

    @given(st.lists(st.tuples(JUDGEMENTS, st.booleans()), max_size=6), st.integers(0, 3))
    def test_nothing_that_fails_proceeds_unless_it_is_advisory(
        self, says: list[tuple[Judgement, bool]], attempts: int
    ) -> None:
        ruled = [rule(f"g{n}", one, advisory=advisory) for n, (one, advisory) in enumerate(says)]
        settled = settle(ruled, attempts)
        failing = any(one.verdict is Verdict.FAIL and not advisory for one, advisory in says)
        assert not (failing and settled.route is Route.PROCEED)
        assert not (settled.route is Route.REPAIR and attempts == 0)
        if settled.route is Route.ASK:
            sound(question_for(settled, STORY))


def sound(question: Question) -> Question:
    """What holds for every question."""
    assert 2 <= len(question.options) <= 5
    assert sum(option.recommended for option in question.options) == 1
    assert len({option.id for option in question.options}) == len(question.options)
    assert all(option.action in ACTIONS and option.label for option in question.options)
    assert question.question.startswith("S-1")
    assert len(json.dumps([dict(item) for item in question.evidence])) < 32_000
    json.dumps([option.to_json() for option in question.options])
    return question


def ask(gate: str, judgement: Judgement, attempts: int = 0, *more: Ruled) -> Question:
    return sound(question_for(settle([rule(gate, judgement), *more], attempts), STORY))


def ids(question: Question) -> list[str]:
    return [option.id for option in question.options]


class TestQuestions:
    """question_for."""

    def test_a_failed_gate_offers_retry_hint_waive_skip_and_abandon(self) -> None:
        question = ask("tests", FAIL)
        assert (question.kind, question.why) == ("gate", "the repair attempts are used up")
        assert ids(question) == ["retry_hint", "retry", "waive", "skip", "abandon"]
        waive = question.options[2]
        assert waive.wants_text
        assert waive.data == {"gates": {"tests": rule("tests", FAIL).digest}}
        assert question.evidence[0]["gate"] == "tests"

    def test_empty_work_cannot_be_accepted(self) -> None:
        question = ask("empty", ASK)
        assert question.kind == "empty"
        assert "waive" not in ids(question)

    def test_how_the_agent_s_turn_failed_is_said_first(self) -> None:
        turn = Judgement(Verdict.CONCERNS, "the agent's turn ended as failed: no service", Route.PROCEED)
        question = ask("empty", ASK, 0, rule("agent", turn))
        assert question.kind == "empty"
        assert question.why.startswith("the agent's turn ended as failed: no service")

    def test_an_unusable_baseline_can_be_mended_or_accepted(self) -> None:
        question = ask("baseline", ASK)
        assert question.kind == "baseline"
        assert ids(question) == ["retry", "waive", "skip", "abandon"]

    def test_the_agent_s_question_goes_first_with_its_answers(self) -> None:
        report = Report(
            decisions=[DecisionWish(question="Which?", options=["Redis", "Postgres"], recommended="Postgres", tier=4)]
        )
        judgement = asyncio.run(DecisionsGate().judge(context_of(report=report)))
        question = ask("decisions", judgement, 0, rule("tests", FAIL), rule("confidence", ASK))
        assert question.kind == "agent"
        assert question.question == "S-1: Which?"
        assert [option.label for option in question.options] == [
            "Redis",
            "Postgres",
            "Another answer, in your words",
            "Skip the story",
        ]
        assert question.options[1].recommended
        assert question.options[1].data == {"question": "Which?", "answer": "Postgres"}
        assert {item["gate"] for item in question.evidence} == {"decisions", "tests", "confidence"}
        assert "tests: bad" in question.why

    @settings(max_examples=80, deadline=None)
    @given(
        st.lists(st.text(max_size=12), max_size=9), st.none() | st.text(max_size=12), st.text(min_size=1, max_size=20)
    )
    def test_every_agent_question_has_two_to_five_answers(
        self, options: list[str], recommended: str | None, text: str
    ) -> None:
        report = Report(decisions=[DecisionWish(question=f"q{text}", options=options, recommended=recommended, tier=4)])
        question = ask("decisions", asyncio.run(DecisionsGate().judge(context_of(report=report))))
        assert question.kind == "agent"
        if recommended and recommended.strip() and recommended.isprintable():
            [favourite] = [option for option in question.options if option.recommended]
            assert favourite.data["answer"] == " ".join(recommended.split())

    def test_the_recommended_answer_is_among_those_that_fit(self) -> None:
        report = Report(decisions=[DecisionWish(question="Which?", options=list("abcdefg"), recommended="g", tier=4)])
        question = ask("decisions", asyncio.run(DecisionsGate().judge(context_of(report=report))))
        assert [option.label for option in question.options[:4]] == ["g", "a", "b", "c"]
        assert question.options[0].recommended

    def test_a_blocked_agent_can_be_told_how_to_go_on(self) -> None:
        judgement = asyncio.run(DecisionsGate().judge(context_of(report=Report(blocked="No access to the API"))))
        question = ask("decisions", judgement)
        assert question.kind == "blocked"
        assert "No access to the API" in question.question
        assert question.options[0].action == "retry_hint"

    def test_a_gate_that_asks_leads_before_one_that_ran_out_of_repairs(self) -> None:
        assert "scope" not in ask("tests", FAIL, 0, rule("confidence", ASK)).question
        assert ask("tests", FAIL, 0, rule("confidence", ASK)).kind == "confidence"

    def test_without_anything_that_stops_there_is_no_question(self) -> None:
        with pytest.raises(ValueError, match="nothing to ask"):
            question_for(settle([rule("a", PASS)], 0), STORY)

    def test_an_option_is_json(self) -> None:
        option = Option("a", "A", "choose", data={"x": float("nan"), "y": {1}})
        assert json.loads(json.dumps(option.to_json()))["data"]["x"] is None


class TestReportGates:
    """confidence and decisions."""

    @pytest.mark.parametrize(("report", "problem", "verdict", "says"), [
        (None, "", Verdict.FAIL, "confidence unknown: the agent left no report"),
        (None, "not JSON: line 3", Verdict.FAIL, "confidence unknown: not JSON: line 3"),
        (Report(), "", Verdict.FAIL, "does not state it"),
        (Report(confidence=0.79, summary="s"), "", Verdict.FAIL, "is 79%, the minimum is 80%"),
        (Report(confidence=0.8), "", Verdict.PASS, "80%"),
        (Report(confidence=1), "", Verdict.PASS, "100%"),
    ])  # fmt: skip
    def test_confidence_below_the_minimum_or_unknown_asks(
        self, report: Report | None, problem: str, verdict: Verdict, says: str
    ) -> None:
        judgement = asyncio.run(Confidence().judge(context_of(report=report, problem=problem)))
        assert judgement.verdict is verdict
        assert judgement.route is (Route.PROCEED if verdict is Verdict.PASS else Route.ASK)
        assert says in judgement.reason

    def test_the_minimum_is_configured(self) -> None:
        policy = Config(gates=GatesConfig(confidence=ConfidenceGate(minimum=0.5)))
        assert (
            asyncio.run(Confidence().judge(context_of(report=Report(confidence=0.5), policy=policy))).verdict
            is Verdict.PASS
        )

    @pytest.mark.parametrize(
        ("autonomy", "asks"), [("conservative", {1, 2, 3, 4, 5}), ("moderate", {2, 4, 5}), ("aggressive", {4, 5})]
    )
    def test_questions_are_asked_by_tier_and_autonomy_and_tier_four_always(self, autonomy: str, asks: set[int]) -> None:
        policy = Config(decisions=DecisionsConfig.model_validate({"autonomy": autonomy}))
        for tier in range(1, 6):
            report = Report(decisions=[DecisionWish(question="Which?", options=["a", "b"], recommended="a", tier=tier)])
            judgement = asyncio.run(DecisionsGate().judge(context_of(report=report, policy=policy)))
            expected = (Verdict.FAIL, Route.ASK) if tier in asks else (Verdict.CONCERNS, Route.PROCEED)
            assert (judgement.verdict, judgement.route) == expected, tier
            assert judgement.evidence[0] == {
                "title": f"tier {tier}: Which?", "question": "Which?", "options": ["a", "b"], "recommended": "a",
                "tier": tier,
            }  # fmt: skip

    def test_an_asked_question_stands_before_the_noted_ones(self) -> None:
        wishes = [DecisionWish(question="Noted", tier=1), DecisionWish(question="Asked", tier=4)]
        judgement = asyncio.run(DecisionsGate().judge(context_of(report=Report(decisions=wishes))))
        assert [item["question"] for item in judgement.evidence] == ["Asked", "Noted"]

    def test_what_was_answered_is_not_asked_again(self) -> None:
        report = Report(decisions=[DecisionWish(question="Which  database?"), DecisionWish(question="And the name?")])
        left = without_answered(report, ["which database"])
        assert [wish.question for wish in left.decisions] == ["And the name?"]


class TestEvidence:
    """bounded and digest."""

    JSON = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    )

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.dictionaries(st.text(max_size=9), JSON, max_size=6), max_size=9))
    def test_evidence_is_always_small_clean_json(self, items: list[dict[str, Any]]) -> None:
        kept = bounded(items)
        text = json.dumps(kept, allow_nan=False)
        assert len(text) <= LIMIT + 300
        assert "\\u0000" not in text
        assert bounded(kept) == kept

    def test_what_does_not_fit_is_counted(self) -> None:
        kept = bounded(entry(f"t{number}", excerpt="日本" * 5_000) for number in range(200))
        assert len(json.dumps(kept)) <= LIMIT
        assert kept[-1]["title"] == f"{200 - (len(kept) - 1)} more left out"

    def test_a_digest_forgets_numbers_and_line_numbers_but_not_files(self) -> None:
        def of(**fields: object) -> str:
            return digest("g", Judgement(Verdict.FAIL, "x", Route.REPAIR, (fields,)))

        assert of(title="a", line=3, number=1.5) == of(title="a", line=9, number=2.5)
        assert of(title="a", file="x.py") != of(title="a", file="y.py")
        assert of(title="a", excerpt="b\nc") == of(title="a", excerpt="c\nb")


class TestRegistry:
    """gates_for."""

    def test_the_built_in_gates_stand_in_their_order_with_one_per_command(self) -> None:
        commands = [CommandGate(name="tests", run="pytest"), CommandGate(name="lint", run="ruff")]
        names = [gate.name for gate in gates_for(Config(gates=GatesConfig(command=commands)))]
        assert names == [
            "secrets",
            "empty",
            "scope",
            "tampering",
            "critical",
            "integration",
            "tests",
            "lint",
            "proof",
            "decisions",
            "confidence",
        ]

    @pytest.fixture
    def module(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        made = ModuleType("custom_gates_of_a_test")

        class MyGate:
            name = "mine"

            async def judge(self, context: GateContext) -> Judgement:
                return PASS

        class Nameless:
            async def judge(self, context: GateContext) -> Judgement:
                return PASS

        def broken() -> Gate:
            raise OSError("no licence")

        vars(made).update(MyGate=MyGate, ready=MyGate(), make=MyGate, Nameless=Nameless, broken=broken, number=7)
        monkeypatch.setitem(sys.modules, made.__name__, made)
        return made

    @pytest.mark.parametrize("attribute", ["MyGate", "ready", "make"])
    def test_a_custom_gate_is_a_class_a_gate_or_a_function_that_makes_one(
        self, module: ModuleType, attribute: str
    ) -> None:
        gates = gates_for(Config(gates=GatesConfig(custom=[f"{module.__name__}:{attribute}"], advisory=["mine"])))
        assert gates[-1].name == "mine"

    @pytest.mark.parametrize(("path", "says"), [
        ("custom_gates_of_a_test:Nameless", "has no name and judge"),
        ("custom_gates_of_a_test:broken", "no licence"),
        ("custom_gates_of_a_test:number", "cannot be loaded"),
        ("custom_gates_of_a_test:Missing", "cannot be loaded"),
        ("no_such_package_at_all:Gate", "cannot be loaded"),
        ("custom_gates_of_a_test", "not an import string"),
        (":x", "not an import string"),
    ])  # fmt: skip
    def test_a_custom_gate_that_cannot_be_loaded_is_one_clear_error(
        self, module: ModuleType, path: str, says: str
    ) -> None:
        with pytest.raises(ConfigError, match=says):
            gates_for(Config(gates=GatesConfig(custom=[path])))

    @pytest.mark.parametrize("name", ["empty", "scope", "baseline", "agent", "review", "commands", "confidence"])
    def test_a_command_may_not_take_the_name_of_a_gate(self, name: str) -> None:
        with pytest.raises(ConfigError, match=f"two gates are named '{name}'"):
            gates_for(Config(gates=GatesConfig(command=[CommandGate(name=name, run="x")])))

    def test_an_unknown_advisory_name_is_an_error_that_says_what_was_meant(self) -> None:
        with pytest.raises(ConfigError, match="Did you mean 'tampering'"):
            gates_for(Config(gates=GatesConfig(advisory=["tamperin"])))
        gates_for(Config(gates=GatesConfig(advisory=["baseline", "scope"])))


def test_all_gates_judge_one_run() -> None:
    commands = [CommandGate(name="tests", run="pytest")]
    policy = Config(gates=GatesConfig(command=commands))
    outcome = CommandOutcome("tests", 0, timed_out=False, tail="")
    context = context_of(policy=policy, report=Report(confidence=0.9, summary="done"), outcome=outcome)
    ruled = asyncio.run(run_gates(gates_for(policy), context, attempts_left=2))
    assert {one.gate for one in ruled if one.judgement.verdict is not Verdict.PASS} == {"proof"}  # no test shows it
    settled: Settled = settle(ruled, 2)
    assert (settled.route, settled.findings, settled.digests) == (Route.PROCEED, "", {})
