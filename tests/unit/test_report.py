"""The report is a claim by somebody who may be hostile: read what is certain, refuse the rest, never fail."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.report import (
    MAX_BYTES,
    CriterionClaim,
    DecisionWish,
    Report,
    ReviewReport,
    parse_report,
    read_report,
)

pytestmark = pytest.mark.unit


def parsed(value: Any) -> Report:
    report, problem = parse_report(json.dumps(value).encode())
    assert problem == ""
    assert report is not None
    return report


def problem_of(data: bytes) -> str:
    report, problem = parse_report(data)
    assert report is None
    assert problem
    assert "\n" not in problem
    return problem


def test_a_full_report_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(
        json.dumps(
            {
                "summary": "Added due dates – «fertig»",
                "confidence": 0.9,
                "criteria": [{"criterion": "shows a date", "evidence": ["test_shows_date", "todo.py:12"]}],
                "decisions": [{"question": "UTC?", "options": ["yes", "no"], "recommended": "yes", "tier": 2}],
                "blocked": None,
                "more": "kept out",
            }
        ),
        "utf-8",
    )
    assert read_report(path) == (
        Report(
            summary="Added due dates – «fertig»",
            confidence=0.9,
            criteria=[CriterionClaim(criterion="shows a date", evidence=["test_shows_date", "todo.py:12"])],
            decisions=[DecisionWish(question="UTC?", options=["yes", "no"], recommended="yes", tier=2)],
        ),
        "",
    )


@pytest.mark.parametrize(
    ("given_", "meant"),
    [
        (0, 0.0),
        (1, 1.0),
        (0.85, 0.85),
        ("0.85", 0.85),
        ("85%", 0.85),
        (" 85 % ", 0.85),
        (85, 0.85),
        (100, 1.0),
        ("100%", 1.0),
        ("85", 0.85),
        ("7%", 0.07),
        (None, None),
        (10.5, 0.105),
    ],
)
def test_a_confidence_whose_meaning_is_certain_counts(given_: Any, meant: float | None) -> None:
    assert parsed({"confidence": given_}).confidence == pytest.approx(meant)


@pytest.mark.parametrize(
    "value", [7, 1.5, 10, -0.1, 101, "high", "", "150%", True, [0.9], {"value": 0.9}, "nan", "inf"]
)
def test_a_confidence_that_could_mean_anything_is_a_broken_report(value: Any) -> None:
    assert "confidence" in problem_of(json.dumps({"confidence": value}).encode())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    problem_of(f'{{"confidence": {number}}}'.encode())


def test_shapes_with_a_certain_meaning_are_read() -> None:
    report = parsed(
        {
            "summary": None,
            "criteria": [
                "bare",
                {"criterion": "one string", "evidence": "test_a"},
                {"criterion": "none", "evidence": None},
            ],
            "decisions": ["Which?", {"question": "How many?", "options": [1, 2.5], "tier": "4"}],
            "blocked": True,
        }
    )
    assert report.summary == ""
    assert [(c.criterion, c.evidence) for c in report.criteria] == [
        ("bare", []),
        ("one string", ["test_a"]),
        ("none", []),
    ]
    assert [(d.question, d.options, d.tier) for d in report.decisions] == [
        ("Which?", [], 3),
        ("How many?", ["1", "2.5"], 4),
    ]
    assert report.blocked
    assert parsed({"blocked": False}).blocked is None
    assert parsed({"blocked": "  "}).blocked is None


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"summary": 5}, "summary"),
        ({"summary": ["a"]}, "summary"),
        ({"criteria": "all done"}, "criteria"),
        ({"criteria": {"a": "b"}}, "criteria"),
        ({"criteria": [5]}, "criteria.0"),
        ({"criteria": [{"evidence": []}]}, "criteria.0.criterion"),
        ({"criteria": [{"criterion": "a", "evidence": [{}]}]}, "criteria.0.evidence.0"),
        ({"criteria": ["a"] * 201}, "criteria"),
        ({"decisions": [{"question": "a", "tier": 6}]}, "decisions.0.tier"),
        ({"decisions": [{"question": "a", "tier": True}]}, "decisions.0.tier"),
        ({"decisions": [{"question": "a", "recommended": 1}]}, "decisions.0.recommended"),
        ({"blocked": 3}, "blocked"),
    ],
)
def test_a_wrong_type_is_named_by_its_key(value: Any, key: str) -> None:
    assert key in problem_of(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"All done!", "not JSON"),
        (b'{"summary": "cut', "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"summary": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 100_000, "nested"),
        (b'{"summary": "' + b"x" * MAX_BYTES + b'"}', "larger"),
    ],
)
def test_what_is_no_report_is_told(data: bytes, word: str) -> None:
    assert word in problem_of(data)


def test_text_is_made_safe() -> None:
    report, problem = parse_report(b'\xef\xbb\xbf{"summary": "a\\u0000\\ud800\\u001b[31mred\\u202e\\r\\nnext"}')
    assert problem == ""
    assert report is not None
    assert report.summary == "a?red\nnext"


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    """None of these may be followed, waited for or raise."""
    good = tmp_path / "good.json"
    good.write_text('{"summary": "x"}')
    assert read_report(tmp_path / "missing.json") == (None, "the agent left no report")
    link = tmp_path / "link.json"
    link.symlink_to(good)
    assert read_report(link) == (None, "the report is a symbolic link")
    fifo = tmp_path / "fifo.json"
    os.mkfifo(fifo)
    assert read_report(fifo) == (None, "the report is not a regular file")
    assert read_report(tmp_path) == (None, "the report is not a regular file")
    assert read_report(good / "below") == (None, "the report cannot be opened: Not a directory")
    assert read_report(Path("a\0b"))[0] is None
    assert read_report(Path("/dev/zero"))[0] is None
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    assert "larger" in read_report(huge)[1]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
reports = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("summary", "confidence", "criteria", "decisions", "blocked"), json_values)
)


@given(st.one_of(st.binary(max_size=200), (reports | json_values).map(lambda v: json.dumps(v).encode())))
def test_no_content_makes_the_reader_fail_and_what_it_accepts_can_be_stored(data: bytes) -> None:
    report, problem = parse_report(data)
    assert (report is None) == bool(problem)
    if report is not None:
        stored = report.model_dump_json()
        assert "\\u0000" not in stored
        assert Report.model_validate_json(stored) == report
        assert report.confidence is None or 0 <= report.confidence <= 1


class TestReviews:
    """What only reviewers report."""

    @staticmethod
    def read(value: Any) -> tuple[ReviewReport | None, str]:
        report, problem = parse_report(json.dumps(value).encode(), ReviewReport)
        assert report is None or isinstance(report, ReviewReport)
        return report, problem

    @pytest.mark.parametrize(
        ("given_", "place"),
        [
            ({"file": "a.py", "line": 12}, ("a.py", 12)),
            ({"file": "a.py", "line": "L12-L20"}, ("a.py", 12)),
            ({"file": "a.py", "line": 12.0}, ("a.py", 12)),
            ({"file": "a.py:12-20"}, ("a.py", 12)),
            ({"file": "a.py#L12"}, ("a.py", 12)),
            ({"file": "a.py", "line": ""}, ("a.py", None)),
            ({"file": None, "line": 0}, ("", None)),
            ({}, ("", None)),
        ],
    )
    def test_a_place_is_read_however_it_is_written(self, given_: dict[str, Any], place: tuple[str, int | None]) -> None:
        report, problem = self.read({"findings": [{"title": "t", **given_}]})
        assert report is not None, problem
        assert (report.findings[0].file, report.findings[0].line) == place

    @pytest.mark.parametrize(
        ("given_", "blocking"),
        [
            ({"blocking": True}, True), ({"blocking": "yes"}, True), ({"blocking": "false"}, False),
            ({"blocking": None}, False), ({}, False), ({"severity": "Blocker"}, True), ({"severity": "high"}, False),
        ],
    )  # fmt: skip
    def test_whether_it_blocks_is_read_where_that_is_certain(self, given_: dict[str, Any], blocking: bool) -> None:
        report, problem = self.read({"findings": [{"title": "t", **given_}]})
        assert report is not None, problem
        assert report.findings[0].blocking is blocking

    def test_a_bare_finding_and_a_mapping_of_former_ones_tell_the_same(self) -> None:
        report, _ = self.read({"findings": ["odd"], "former": {"F1": True, "F2": {"resolved": "no"}}, "receipt": 1234})
        assert report is not None
        assert report.findings[0].title == "odd"
        assert [(one.id, one.resolved) for one in report.former] == [("F1", True), ("F2", False)]
        assert report.receipt == "1234"

    @pytest.mark.parametrize(
        "value",
        [
            {"findings": "none"}, {"findings": [{"title": "t", "line": [1]}]},
            {"findings": [{"title": "t", "line": True}]},
            {"findings": [{"title": "t", "line": 1e300}]}, {"findings": [{"title": "t", "line": 1.5}]},
            {"findings": [{"title": ""}]}, {"findings": [5]}, {"findings": [{"title": "t", "blocking": 3}]},
            {"findings": ["x"] * 101}, {"former": [{"id": "F1"}]}, {"former": [{"id": "F1", "resolved": "maybe"}]},
        ],
    )  # fmt: skip
    def test_what_is_not_certain_is_a_broken_report(self, value: Any) -> None:
        report, problem = self.read(value)
        assert report is None
        assert "findings" in problem or "former" in problem

    def test_what_only_reviewers_report_breaks_no_other_report(self) -> None:
        assert parsed({"summary": "s", "findings": "none", "former": 3}).summary == "s"

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["file", "line", "title", "detail", "blocking", "id", "resolved"]), inner
                )
            ),
            max_leaves=12,
        )
    )
    def test_nothing_that_a_reviewer_writes_is_more_than_a_broken_report(self, value: Any) -> None:
        self.read({"findings": value, "former": value, "receipt": value})
