"""Repairs converge or a person hears of it: never more than the attempts, never the same twice, never in circles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_dev.gates.attempts import Attempt, as_evidence, tried
from auto_dev.gates.base import Judgement
from auto_dev.gates.engine import Ruled, rule
from auto_dev.gates.evidence import entry, shared
from auto_dev.gates.question import question_for
from auto_dev.gates.settle import Round, Settled, settle, stuck
from auto_dev.model import Route, Verdict
from auto_dev.stories.model import Story

pytestmark = pytest.mark.unit

STORY = Story(id="S-1", title="A story", path="S-1.md")
ASK = Judgement(Verdict.FAIL, "ask me", Route.ASK)


def failing(gate: str, *names: str, said: str = "assert 1 == 2") -> Ruled:
    """A command whose tests of these names fail."""
    evidence = tuple(entry(f"newly fails: {name}", excerpt=f"{name}: {said}") for name in names)
    return rule(gate, Judgement(Verdict.FAIL, f"{len(names)} new failures", Route.REPAIR, evidence, len(names)))


def found(*identities: str) -> Ruled:
    """A review with these faults; their words differ each time."""
    evidence = tuple(entry(f"{name}: {id(name)} {len(identities)}", identity=name) for name in identities)
    return rule("review", Judgement(Verdict.FAIL, "faults", Route.REPAIR, evidence, len(identities)))


def passing(gate: str = "tests") -> Ruled:
    return rule(gate, Judgement(Verdict.PASS, "fine"))


@dataclass
class Run:
    """What the nodes keep of a run between two rounds, all of it through JSON as the checkpoints do."""

    attempts: int = 3
    escalation: bool = False
    repairs: int = 0
    escalated: bool = False
    trail: list[str] = field(default_factory=list)

    def round(self, *ruled: Ruled) -> Settled:
        trail = [Round.read(json.loads(row)) for row in self.trail]
        settled = settle(ruled, self.attempts - self.repairs, trail, escalation=self.escalation and not self.escalated)
        if settled.round is not None:
            self.trail.append(json.dumps(settled.round.to_json()))
        if settled.route is Route.REPAIR:
            self.repairs += 1
            self.escalated = self.escalated or settled.escalate
        return settled

    def answered(self) -> None:
        self.repairs, self.trail, self.escalated = 0, [], False


def play(*rounds: Sequence[Ruled], **more: bool | int) -> list[str]:
    """What follows each round: proceed, repair, escalate, or why a person is asked."""
    run, said = Run(**more), []  # type: ignore[arg-type]
    for ruled in rounds:
        settled = run.round(*ruled)
        escalates = "escalate" if settled.escalate else str(settled.route)
        said.append(f"ask: {settled.why}" if settled.route is Route.ASK else escalates)
    return said


class TestConverging:
    """settle over several rounds."""

    def test_what_changes_goes_on_until_it_passes(self) -> None:
        rounds = [[failing("tests", "a")], [failing("tests", "b")], [failing("tests", "c")], [passing()]]
        assert play(*rounds) == ["repair", "repair", "repair", "proceed"]

    def test_the_same_failure_twice_asks(self) -> None:
        assert play([failing("tests", "a")], [failing("tests", "a")]) == [
            "repair", "ask: the repair changed nothing about tests",
        ]  # fmt: skip

    def test_a_gate_that_is_mended_beside_one_that_is_not_is_progress(self) -> None:
        rounds = [[failing("tests", "a"), failing("lint", "x")], [failing("tests", "a")], [failing("tests", "a")]]
        assert play(*rounds) == ["repair", "repair", "ask: the repair changed nothing about tests"]

    def test_fewer_failures_than_ever_are_progress(self) -> None:
        names = ["a", "b", "c"]
        assert play(*[[failing("tests", *names[:n])] for n in (3, 2, 1)], []) == [
            "repair",
            "repair",
            "repair",
            "proceed",
        ]

    def test_going_in_circles_is_noticed(self) -> None:
        rounds = [[failing("tests", "a")], [failing("lint", "b")], [failing("tests", "a")]]
        assert play(*rounds)[-1] == "ask: the repairs go in circles: tests fails again as it did 2 rounds before"

    def test_fewer_than_in_the_last_round_is_no_progress_when_it_was_so_before(self) -> None:
        rounds = [[failing("tests", "a")], [failing("tests", "b", "c")], [failing("tests", "a")]]
        assert "in circles" in play(*rounds)[-1]

    def test_the_same_names_with_ever_other_words_are_noticed_at_last(self) -> None:
        rounds = [[failing("tests", "a", said=f"seed {word}")] for word in ("x", "y", "z")]
        assert play(*rounds) == ["repair", "repair", "ask: the same things fail after 2 repairs"]

    def test_one_finding_of_a_review_that_stays_is_the_same_whatever_else_comes(self) -> None:
        assert play([found("F1", "F2")], [found("F1", "F3")])[-1] == "ask: the repair changed nothing about review"
        assert play([found("F1", "F2")], [found("F1")], [found("F1")]) == [
            "repair", "repair", "ask: the repair changed nothing about review",
        ]  # fmt: skip
        assert play([found("F1")], [found("F2")], [found("F3")])[-1] == "repair"

    def test_another_agent_takes_over_once_and_then_a_person_is_asked(self) -> None:
        same = [failing("tests", "a")]
        assert play(same, same, same, escalation=True) == [
            "repair", "escalate", "ask: the repair changed nothing about tests",
        ]  # fmt: skip

    def test_another_agent_that_gets_on_keeps_the_work(self) -> None:
        rounds = [[failing("tests", "a")], [failing("tests", "a")], [failing("tests", "b")], [passing()]]
        assert play(*rounds, escalation=True) == ["repair", "escalate", "repair", "proceed"]

    def test_another_agent_gets_no_attempt_that_there_is_not(self) -> None:
        same = [failing("tests", "a")]
        said = play(same, same, escalation=True, attempts=1)
        assert said[-1] == "ask: the repair attempts are used up; the repair changed nothing about tests"

    def test_a_gate_that_asks_asks_whoever_could_take_over(self) -> None:
        assert play([rule("scope", ASK), failing("tests", "a")], escalation=True) == ["ask: "]

    RULED = st.lists(
        st.one_of(
            st.builds(failing, st.sampled_from(["tests", "lint"]), st.sampled_from("abc"), said=st.sampled_from("xyz")),
            st.builds(
                lambda names: failing("tests", *names), st.lists(st.sampled_from("abcd"), min_size=1, max_size=4)
            ),
            st.builds(lambda names: found(*names), st.lists(st.sampled_from(["F1", "F2"]), min_size=1, max_size=2)),
            st.just(passing()),
            st.just(rule("empty", ASK)),
        ),
        max_size=3,
        unique_by=lambda one: one.gate,
    )

    @settings(max_examples=300, deadline=None)
    @given(st.lists(RULED, min_size=1, max_size=12), st.integers(0, 10), st.booleans())
    def test_every_run_of_rounds_comes_to_an_end(
        self, rounds: list[list[Ruled]], attempts: int, escalation: bool
    ) -> None:
        run = Run(attempts, escalation)
        since, escalations = 0, 0
        for number in range(200):
            ruled = rounds[number % len(rounds)]
            settled = run.round(*ruled)
            since += 1
            escalations += settled.escalate
            assert since <= attempts + 1, "never more than the attempts between two words of a person"
            assert escalations <= int(escalation)
            assert run.repairs <= attempts
            stops = any(one.judgement.route is not Route.PROCEED for one in ruled)
            assert stops is (settled.route is not Route.PROCEED), "nothing that stops proceeds, whatever came before"
            if settled.route is Route.PROCEED:
                break
            if settled.route is Route.ASK:
                assert 2 <= len(question_for(settled, STORY, escalation="x" * escalation).options) <= 5
                run.answered()
                since, escalations = 0, 0
        assert len(json.dumps(run.trail)) < 8_000, "the state stays small"

    @given(st.lists(RULED, max_size=6), RULED)
    def test_progress_and_the_first_round_are_never_stuck(self, before: list[list[Ruled]], now: list[Ruled]) -> None:
        trail = [one for ruled in before if (one := settle(ruled, 1).round) is not None]
        last = settle(now, 1).round
        if last is not None and (not trail or last.count < min(one.count for one in trail)):
            assert stuck(last, trail) == ""


TRIED = (
    Attempt(0, "claude-code (sonnet)", "I made it.", ("tests: 2 new failures: t::a …",), 400_000),
    Attempt(1, "claude-code (sonnet)", "I made it\nbetter.", ("tests: 2 new failures: t::a …",), 500_000),
    Attempt(2, "codex (gpt)", "", ("tests: 1 new failure: t::a",), 1_100_000),
)


class TestTelling:
    """What a person and the next agent hear of the attempts."""

    def test_the_question_says_what_was_tried_what_failed_and_what_it_cost(self) -> None:
        settled = settle([failing("tests", "a")], 0)
        question = question_for(settled, STORY, tried=TRIED, cost_microusd=2_345_678)
        who = "claude-code (sonnet) (×2) and codex (gpt) (×1)"
        assert question.why == f"the repair attempts are used up; 3 attempts by {who}, $2.35 in all"
        told = {item["title"]: item.get("excerpt", "") for item in question.evidence}
        assert told["attempt 1 by claude-code (sonnet), $0.40"].startswith("tests: 2 new failures: t::a")
        assert "The agent said: I made it." in told["attempt 1 by claude-code (sonnet), $0.40"]
        assert [option.id for option in question.options] == ["retry_hint", "retry", "waive", "skip", "abandon"]

    def test_the_other_agent_is_offered_when_there_is_one_that_was_not_tried(self) -> None:
        settled = settle([failing("tests", "a")], 0)
        question = question_for(settled, STORY, tried=TRIED[:2], escalation="codex (gpt)")
        assert [(option.id, option.recommended) for option in question.options] == [
            ("escalate", True), ("retry_hint", False), ("waive", False), ("skip", False), ("abandon", False),
        ]  # fmt: skip
        assert question.options[0].label == "Let codex (gpt) try it"

    def test_a_gate_that_asks_at_once_does_not_offer_it(self) -> None:
        question = question_for(settle([rule("scope", ASK)], 2), STORY, escalation="codex (gpt)")
        assert "escalate" not in [option.id for option in question.options]

    def test_evidence_of_what_fails_now_stands_before_the_history(self) -> None:
        settled = settle([failing("tests", *(f"t{n}" for n in range(40)))], 0)
        titles = [item["title"] for item in question_for(settled, STORY, tried=TRIED).evidence]
        assert titles[0] == "newly fails: t0"
        assert titles.index("attempt 1 by claude-code (sonnet), $0.40") == 12

    def test_the_next_agent_hears_of_all_attempts_in_few_words(self) -> None:
        text = tried(TRIED)
        assert "- Attempt 2, by claude-code (sonnet). It said: I made it\nbetter." in text
        assert "- Attempt 3, by codex (gpt). It said: (nothing)\n  - did not pass: tests: 1 new failure" in text
        many = [Attempt(n, "x", "word " * 5_000, ("reason " * 900,) * 20) for n in range(50)]
        assert len(tried(many)) < 8_000
        assert "Attempt 50" in tried(many)
        assert len(as_evidence(many)) == 8
        assert tried(()) == ""


class TestFindings:
    """The evidence as text for the agent."""

    def test_one_gate_s_flood_does_not_drown_the_others(self) -> None:
        flood = [entry(f"newly fails: t{n}", excerpt="x" * 2_000) for n in range(30)]
        rulings = [
            rule("tests", Judgement(Verdict.FAIL, "many", Route.REPAIR, tuple(flood))),
            rule(
                "lint",
                Judgement(Verdict.FAIL, "one", Route.REPAIR, (entry("E501", file="a.py", at=3, excerpt="long"),)),
            ),
        ]
        text = settle(rulings, 1).findings
        assert "- E501 [a.py:3]\n    long" in text
        assert 14_000 < len(text) < 17_500, "what one gate leaves is the others'"

    @given(st.lists(st.text(max_size=400), max_size=8), st.integers(0, 1_000))
    def test_texts_share_the_room_and_short_ones_stay_whole(self, texts: list[str], room: int) -> None:
        cut = shared(texts, room)
        assert len(cut) == len(texts)
        fair = room // max(len(texts), 1)
        for before, after in zip(texts, cut, strict=True):
            assert len(after) <= max(len(before), 60) + 60
            if len(before) <= fair and before.isascii() and before.isprintable():
                assert after == before
