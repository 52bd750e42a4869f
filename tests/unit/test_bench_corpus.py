"""The corpus itself: its size and spread, its split, and the arithmetic of its score."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from auto_dev.model import Route, Verdict
from auto_dev.report import parse_report
from bench.corpus import registry, score
from bench.corpus.case import CLEAN, Expect, asks, stops
from bench.corpus.credentials import KINDS, fake
from bench.corpus.judge import Judged, Ruling, policy_of
from bench.corpus.tree import Tree, applied, cut, delete, differences, edit, move, template, write

pytestmark = pytest.mark.unit

CASES = registry.cases()


def judged(expect: Expect, *said: tuple[str, Route], paused: bool = False, held_out: bool = False) -> Judged:
    case = next(case for case in CASES if case.held_out is held_out)
    rulings = tuple(Ruling(gate, Verdict.FAIL, route, "because") for gate, route in said)
    routes = [route for _, route in said]
    asked = paused or Route.ASK in routes
    return Judged(replace(case, expect=expect), rulings, Route.REPAIR in routes and not asked, asked, 0.1)


def test_the_corpus_is_large_and_wide() -> None:
    assert len(CASES) >= 240
    languages = Counter(case.language for case in CASES)
    assert set(languages) == {"python", "javascript", "typescript", "go"}
    assert min(languages.values()) >= 40
    clean = [case for case in CASES if case.expect.clean]
    assert 0.3 < len(clean) / len(CASES) < 0.6
    for name in ("ledger", "depot", "atrium", "courier"):
        assert 30 <= len(template(name)) <= 80


def test_the_halves_are_about_equal_and_do_not_depend_on_other_cases() -> None:
    held_out = sum(case.held_out for case in CASES)
    assert 0.4 < held_out / len(CASES) < 0.6
    assert all(replace(case, kind="another").held_out is case.held_out for case in CASES)


def test_each_case_can_be_built_and_says_what_it_is(tmp_path: Path) -> None:
    for case in CASES:
        base, head = case.trees()
        told = "empty" in case.expect.gates and not case.id.endswith("story-file-only")
        assert bool(differences(base, head)) is not told, case.id
        assert policy_of(case, tmp_path) is not None
        report, problem = parse_report(case.report or b"")
        assert case.kind == "confidence" or (report is not None and problem == ""), case.id


def test_made_up_credentials_differ_by_seed_and_stay_the_same() -> None:
    for kind in KINDS:
        assert fake(kind, "a") == fake(kind, "a") != fake(kind, "b")


def test_a_stop_by_another_gate_than_expected_is_a_miss() -> None:
    assert score.right(judged(stops("secrets", "critical"), ("critical", Route.REPAIR)))
    assert not score.right(judged(stops("secrets"), ("tests", Route.REPAIR)))
    assert not score.right(judged(stops("secrets")))


def test_where_a_person_has_to_be_asked_a_repair_is_a_miss() -> None:
    assert not score.right(judged(asks("critical"), ("critical", Route.REPAIR)))
    assert score.right(judged(asks("critical"), ("critical", Route.ASK)))


def test_nothing_may_stop_a_clean_case() -> None:
    assert score.right(judged(CLEAN, ("scope", Route.PROCEED)))
    assert not score.right(judged(CLEAN, ("scope", Route.REPAIR)))


def test_rows_count_stops_by_gate_and_pauses() -> None:
    found = [
        judged(stops("secrets"), ("secrets", Route.ASK)),
        judged(stops("secrets")),
        judged(CLEAN),
        judged(CLEAN, ("scope", Route.REPAIR)),
        judged(CLEAN, ("scope", Route.REPAIR), paused=True),
    ]
    by_gate = {row.gate: row for row in score.rows(found)}
    assert (by_gate["secrets"].due, by_gate["secrets"].caught, by_gate["secrets"].recall) == (2, 1, 0.5)
    assert (by_gate["scope"].stops, by_gate["scope"].pauses, by_gate["scope"].clean) == (2, 1, 3)
    assert (by_gate["all"].due, by_gate["all"].caught, by_gate["all"].pauses) == (2, 1, 1)
    assert not score.passed(found)


def test_the_score_holds_for_each_half() -> None:
    good = [judged(CLEAN)] * 50 + [judged(stops("empty"), ("empty", Route.ASK))] * 50
    assert score.passed(good)
    assert not score.passed([*good, judged(stops("empty"), held_out=True), judged(CLEAN, held_out=True)])


def test_cases_of_the_held_out_half_are_not_named() -> None:
    wrong = [judged(stops("secrets"), held_out=True)]
    assert score.as_json(wrong)["wrong"] == []
    assert score.as_json(wrong)["held-out"][0]["caught"] == 0


def test_edits_say_when_their_text_is_not_there_once() -> None:
    tree: Tree = applied({}, [write("a.py", "\n    x = 1\n    y = 1\n")])
    assert tree["a.py"].data == b"x = 1\ny = 1\n"
    with pytest.raises(ValueError, match="stands 2 times"):
        applied(tree, [edit("a.py", ("= 1", "= 2"))])
    assert applied(tree, [cut("a.py", "y", "")])["a.py"].data == b"x = 1\n"
    assert list(applied(tree, [move("a.py", "b.py")])) == ["b.py"]
    with pytest.raises(ValueError, match="is not there"):
        applied(tree, [delete("c/")])
