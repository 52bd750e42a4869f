"""What counts of reviewers' words: places that are there, faults that enough agree on, reports that can be believed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_dev.gates.base import Change, Judgement
from auto_dev.gates.engine import rule
from auto_dev.gates.review import (
    CHANGED,
    NOWHERE,
    OUTSIDE,
    Former,
    Placed,
    Read,
    Review,
    Subject,
    agreed,
    former_of,
    judge_reviews,
    place,
    why_unusable,
)
from auto_dev.model import Route, Verdict
from auto_dev.report import ReviewFinding, ReviewReport

pytestmark = pytest.mark.unit

FILES = {
    "src/app.py": b"".join(b"line %d\n" % n for n in range(1, 101)),
    "src/other.py": b"x = 1\ny = 2",
    "a/real.py": b"one\n",
    "empty.txt": b"",
    "logo.png": b"\x89PNG\x00\xff\xfe" * 10,
}
DIFFS = {
    "src/app.py": "--- a/src/app.py\n+++ b/src/app.py\n"
    "@@ -8,7 +8,9 @@ def f():\n x\n@@ -50 +52 @@\n-y\n+z\n@@ -90,0 +95,2 @@\n+p\n"
}
CHANGES = (
    Change("src/app.py", "M", 3, 1),
    Change("gone.py", "D", 0, 9),
    Change("new.py", "R", 0, 0, old_path="old.py"),
)


async def _read(path: str) -> bytes | None:
    return FILES.get(path)


async def _diff(path: str) -> str:
    return DIFFS.get(path, "")


SUBJECT = Subject(CHANGES, _read, _diff, ("/box/project",))


def finding(file: str = "src/app.py", line: int | None = 10, title: str = "It is wrong", **more: Any) -> ReviewFinding:
    return ReviewFinding(**{"file": file, "line": line, "title": title, "blocking": True, **more})


def looked(*findings: ReviewFinding, known: Sequence[Former] = (), **report: Any) -> tuple[Placed, ...]:
    return asyncio.run(place(ReviewReport(findings=list(findings), **report), SUBJECT, known))


def read(by: str, *findings: ReviewFinding, known: Sequence[Former] = (), **report: Any) -> Read:
    told = ReviewReport(findings=list(findings), **report)
    return Read(Review(by, told), asyncio.run(place(told, SUBJECT, known)))


def missing(by: str = "c") -> Read:
    return Read(Review(by, None, "it left no report"))


class TestPlaces:
    """place."""

    @pytest.mark.parametrize(
        ("file", "line", "where"),
        [
            ("src/app.py", 8, CHANGED),
            ("src/app.py", 16, CHANGED),
            ("src/app.py", 17, OUTSIDE),
            ("src/app.py", 52, CHANGED),
            ("src/app.py", 53, OUTSIDE),
            ("src/app.py", 96, CHANGED),
            ("src/app.py", 100, OUTSIDE),
            ("src/app.py", 101, NOWHERE),
            ("src/app.py", 0, NOWHERE),
            ("src/app.py", -1, NOWHERE),
            ("src/app.py", None, NOWHERE),
            ("src/other.py", 2, OUTSIDE),
            ("src/other.py", 3, NOWHERE),
            ("empty.txt", 1, OUTSIDE),
            ("empty.txt", 2, NOWHERE),
            ("logo.png", 1, OUTSIDE),
            ("none.py", 1, NOWHERE),
            ("", 1, NOWHERE),
            ("gone.py", 3, CHANGED),
            ("old.py", None, CHANGED),
            ("./src/app.py", 10, CHANGED),
            ("b/src/app.py", 10, CHANGED),
            ("a/real.py", 1, OUTSIDE),
            ("`src/app.py`", 10, CHANGED),
            ("/box/project/src/app.py", 10, CHANGED),
            ("/etc/passwd", 1, NOWHERE),
            ("../src/app.py", 10, NOWHERE),
            ("src/../../src/app.py", 10, NOWHERE),
            ("src/\0app.py", 10, CHANGED),
            (".", 1, NOWHERE),
        ],
    )
    def test_a_place_is_looked_up_at_the_head(self, file: str, line: int | None, where: str) -> None:
        (one,) = looked(finding(file, line))
        assert one.where == where
        assert one.stops is (where == CHANGED)

    def test_a_line_that_the_change_did_not_touch_counts_with_a_reason(self) -> None:
        assert [one.stops for one in looked(finding("src/other.py", 1, why_outside="it calls f"))] == [True]
        assert [one.stops for one in looked(finding("src/other.py", 1, why_outside="  "))] == [False]
        assert [one.stops for one in looked(finding("none.py", 1, why_outside="it calls f"))] == [False]

    def test_what_is_not_blocking_never_stops(self) -> None:
        assert [one.stops for one in looked(finding(blocking=False))] == [False]

    def test_the_code_around_the_place_is_shown(self) -> None:
        (one,) = looked(finding(line=2))
        assert one.code.split("\n") == [
            "     1 | line 1", ">    2 | line 2", "     3 | line 3", "     4 | line 4", "     5 | line 5",
        ]  # fmt: skip

    def test_words_without_a_place_block_when_no_finding_does(self) -> None:
        (one,) = looked(blocked="Criterion two is not there at all.")
        assert (one.stops, one.finding.title) == (True, "Criterion two is not there at all.")
        (other,) = looked(finding("none.py"), blocked="See the findings.")
        assert not other.stops, "words do not lift a fault whose place is not there"

    def test_what_a_change_that_was_cut_does_not_show_counts_as_touched(self) -> None:
        async def cut(path: str) -> str:
            return "@@ -1 +1 @@\n+x\n[… cut after 400000 bytes …]\n"

        subject = Subject(CHANGES, _read, cut)
        (one,) = asyncio.run(place(ReviewReport(findings=[finding(line=90)]), subject))
        assert one.where == CHANGED


FORMER = (Former("F1", "It is wrong", "src/app.py", 10, "Because."), Former("F2", "Also bad", "src/app.py", 52, ""))


class TestFormer:
    """Faults that were found before."""

    def test_one_that_is_called_unresolved_blocks_again_under_its_name(self) -> None:
        found = looked(known=FORMER, former=[{"id": "F1", "resolved": False}, {"id": "F2", "resolved": True}])
        assert [(one.identity, one.stops, one.finding.detail) for one in found] == [("F1", True, "Because.")]

    def test_one_that_is_found_again_is_the_same_wherever_it_is_now(self) -> None:
        (one,) = looked(finding(line=53, title="it is WRONG still", why_outside="moved"), known=FORMER)
        assert one.identity == "F1"
        (other,) = looked(finding(line=11, title="A quite different matter"), known=FORMER)
        assert other.identity == "", "near, but about something else"

    def test_one_whose_place_is_gone_is_only_a_concern(self) -> None:
        former = (Former("F1", "It is wrong", "none.py", 3),)
        (one,) = looked(known=former, former=[{"id": "F1", "resolved": False}])
        assert not one.stops

    def test_one_without_a_place_stays_without(self) -> None:
        former = (Former("F1", "Criterion two is not there"),)
        (one,) = looked(known=former, former={"F1": False})
        assert (one.stops, one.identity) == (True, "F1")

    def test_it_goes_through_a_verdict_s_evidence_and_back(self) -> None:
        judgement = judge_reviews([read("a", finding(detail="Because.", criterion="two"))], 1)
        again = former_of(json.loads(json.dumps(judgement.evidence)))
        assert again == (Former("F1", "It is wrong", "src/app.py", 10, "Because."),)
        third = judge_reviews([read("a", known=again, former={"F1": False})], 1, again)
        assert former_of(third.evidence) == again, "its words do not grow from round to round"
        assert rule("review", judgement).marks == rule("review", third).marks == ("F1",)

    def test_a_new_fault_gets_a_name_that_none_had(self) -> None:
        judgement = judge_reviews([read("a", finding(line=95, title="New one"), known=FORMER)], 1, FORMER)
        assert [one.id for one in former_of(judgement.evidence)] == ["F3"]


class TestUsable:
    """why_unusable."""

    FINE = ReviewReport(receipt="word")

    @pytest.mark.parametrize(
        ("report", "more", "says"),
        [
            (FINE, {}, ""),
            (ReviewReport(receipt="receipt: word."), {}, ""),
            (None, {"problem": "the report is empty"}, "the report is empty"),
            (None, {}, "no report"),
            (ReviewReport(), {}, "not read"),
            (ReviewReport(receipt="other"), {}, "not read"),
            (FINE, {"stopped": "it did not come to its end"}, "did not come to its end"),
            (FINE, {"former": FORMER}, "whether F1, F2 are resolved"),
            (
                ReviewReport.model_validate({"receipt": "word", "former": {"F1": True}}),
                {"former": FORMER},
                "F2 is resolved",
            ),
            (
                ReviewReport.model_validate({"receipt": "word", "former": {"F1": True, "F2": True}}),
                {"former": FORMER},
                "",
            ),
        ],
    )
    def test_that_all_is_well_must_come_from_somebody_who_looked(
        self, report: ReviewReport | None, more: dict[str, Any], says: str
    ) -> None:
        found = why_unusable(report, more.pop("problem", ""), receipt="word", **more)
        assert (says in found) if says else (found == "")

    def test_a_fault_at_its_place_stands_for_itself(self) -> None:
        placed = looked(finding())
        assert why_unusable(ReviewReport(), "", placed, receipt="word", stopped="stuck", former=FORMER) == ""
        unproven = looked(finding("none.py"))
        assert why_unusable(ReviewReport(), "", unproven, receipt="word") != ""


class TestAgreement:
    """agreed and judge_reviews."""

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            (finding(line=10), finding(line=13, title="Elsewhere said"), True),
            (finding(line=9), finding(line=13, title="Elsewhere said"), False),
            (finding(line=9), finding(line=13, title="This is wrong"), True),
            (finding(line=9), finding("gone.py", 9), False),
            (finding("gone.py", None, "The file is needed"), finding("gone.py", None, "File needed by main"), True),
            (finding("gone.py", None, "The file is needed"), finding("gone.py", None, "Licence lost"), False),
        ],
    )
    def test_faults_are_one_by_place_and_title(self, one: ReviewFinding, other: ReviewFinding, same: bool) -> None:
        assert len(agreed([read("a", one), read("b", other)])) == (1 if same else 2)

    def test_a_reviewer_counts_once(self) -> None:
        faults = agreed([read("a", finding(line=10), finding(line=11))])
        assert [len(fault.found) for fault in faults] == [1, 1]
        assert judge_reviews([read("a", finding(line=10), finding(line=11)), read("b")], 2).route is Route.PROCEED

    @pytest.mark.parametrize(
        ("reads", "quorum", "verdict", "route"),
        [
            ([read("a")], 1, Verdict.PASS, Route.PROCEED),
            ([read("a", finding())], 1, Verdict.FAIL, Route.REPAIR),
            ([read("a", finding("none.py"))], 1, Verdict.CONCERNS, Route.PROCEED),
            ([read("a", finding(blocking=False))], 1, Verdict.CONCERNS, Route.PROCEED),
            ([missing()], 1, Verdict.CONCERNS, Route.ASK),
            ([read("a", finding()), read("b")], 2, Verdict.CONCERNS, Route.PROCEED),
            ([read("a", finding()), read("b", finding(line=12))], 2, Verdict.FAIL, Route.REPAIR),
            ([read("a"), missing()], 1, Verdict.CONCERNS, Route.ASK),
            ([read("a"), missing()], 2, Verdict.CONCERNS, Route.ASK),
            ([read("a"), read("b"), missing()], 2, Verdict.CONCERNS, Route.PROCEED),
            ([read("a", finding()), read("b"), missing()], 2, Verdict.CONCERNS, Route.ASK),
            ([read("a", finding()), read("b", finding()), missing()], 2, Verdict.FAIL, Route.REPAIR),
            ([read("a", finding()), missing()], 1, Verdict.FAIL, Route.REPAIR),
            (
                [read("a", blocked="Two is missing"), read("b", blocked="two is missing!")],
                2,
                Verdict.FAIL,
                Route.REPAIR,
            ),
            ([read("a", blocked="Two is missing"), read("b", blocked="slow")], 2, Verdict.CONCERNS, Route.PROCEED),
        ],
    )
    def test_enough_must_agree_and_a_review_that_could_have_decided_is_missed(
        self, reads: list[Read], quorum: int, verdict: Verdict, route: Route
    ) -> None:
        judgement = judge_reviews(reads, quorum)
        assert (judgement.verdict, judgement.route) == (verdict, route)

    def test_each_reviewer_s_verdict_stands_in_the_evidence(self) -> None:
        reads = [read("a (x)", finding(), summary="I looked."), read("b (y)", summary="Fine."), missing("c (z)")]
        titles = [entry["title"] for entry in judge_reviews(reads, 2).evidence]
        assert titles == [
            "found blocking by 1 of 3: It is wrong",
            "a (x): 1 called blocking, 0 noted",
            "b (y): 0 called blocking, 0 noted",
            "c (z): no usable report",
        ]

    FINDING = st.builds(
        finding,
        st.sampled_from([*FILES, "gone.py", "none.py", ""]),
        st.none() | st.integers(-2, 110),
        st.sampled_from(["It is wrong", "it is wrong here", "Other", "x"]) | st.text(min_size=1, max_size=20),
        blocking=st.booleans(),
        why_outside=st.sampled_from(["", "because"]),
    )

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.none() | st.lists(FINDING, max_size=4), min_size=1, max_size=4), st.integers(1, 4))
    def test_nothing_blocks_without_its_quorum_and_nothing_passes_that_might(
        self, told: list[list[ReviewFinding] | None], quorum: int
    ) -> None:
        quorum = min(quorum, len(told))
        reads = [missing() if one is None else read(f"r{n}", *one) for n, one in enumerate(told)]
        judgement = judge_reviews(reads, quorum)
        most = max((len(fault.found) for fault in agreed(reads)), default=0)
        absent = told.count(None)
        assert (judgement.route is Route.REPAIR) == (most >= quorum)
        if judgement.route is Route.PROCEED:
            assert most + absent < quorum
            assert len(told) - absent >= quorum
        assert (judgement.verdict is Verdict.PASS) <= (not any(one.placed for one in reads) and absent == 0)
        ruled = rule("review", judgement)
        assert ruled.judgement == judgement, "it is sound, and its evidence is bounded"
        assert len(former_of(judgement.evidence)) == (judgement.failures or 0 if most >= quorum else 0)


def test_a_huge_report_gives_a_small_verdict_that_keeps_its_faults_names() -> None:
    faults = [finding(line=n, title=f"Fault {n} " + "é" * 200, detail="x" * 5_000) for n in (8, 12, 16, 52, 95)]
    notes = [finding(line=n % 90 + 1, title="note " * 40, detail="y" * 5_000, blocking=False) for n in range(90)]
    judgement: Judgement = judge_reviews([read("a", *faults, *notes)], 1)
    assert len(json.dumps(judgement.evidence)) < 32_000
    assert [one.id for one in former_of(judgement.evidence)] == ["F1", "F2", "F3", "F4", "F5"]
