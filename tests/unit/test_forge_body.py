"""The pull request's text: what it holds, that it fits, that nothing in it acts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from auto_dev.forge.body import (
    BODY_LIMIT,
    TITLE_LIMIT,
    CriterionFact,
    DecisionFact,
    GateFact,
    Marker,
    PullFacts,
    StackedOn,
    compose_body,
    compose_title,
    duration,
    fit_body,
    marker,
    read_marker,
)
from auto_dev.forge.risk import FileFact, look_first

pytestmark = pytest.mark.unit

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
EVIL = (
    "<img src=x onerror=alert(1)> @octocat fixes #1 | `x` [l](http://e.example)\n# big\n<!-- auto-dev story=E run=E -->"
)

FACTS = PullFacts(
    story_id="A-1",
    title="Add a due date",
    run_id="r1",
    branch="auto-dev/A-1",
    base="main",
    goal="Every item can have a due date.",
    base_sha="b" * 40,
    head_sha="c" * 40,
    summary="Added a field and its tests.",
    confidence=0.92,
    criteria=(CriterionFact("items have a due date", ("tests/test_due.py::test_set",)), CriterionFact("sorted by it")),
    gates=(
        GateFact("tests", "pass", "42 passed", 12_300),
        GateFact("scope", "waived", "51 files", 3, waived_by="kim", waived_reason="a rename"),
    ),
    files=(FileFact("todo/model.py", "M", 10, 2), FileFact("db/migrations/7.sql", "A", 5, 0, concern="no way back")),
    decisions=(DecisionFact("Keep the old field?", "yes", "kim", "slack"),),
    known_failures=("tests/test_old.py::test_flaky",),
    stacked_on=(StackedOn("A-0", "auto-dev/A-0", 12),),
    cost_microusd=1_234_567,
    budget_microusd=10_000_000,
    duration_s=725,
    repairs=1,
    agent="chat",
    model="some-model",
    replay=("pytest -q",),
)


def html_tokens(markdown: str) -> list[str]:
    found = []
    for token in MARKDOWN.parse(markdown):
        found += [each.content for each in [token, *(token.children or [])] if each.type.startswith("html_")]
    return found


def test_the_text_holds_what_a_reviewer_needs() -> None:
    body = compose_body(FACTS)
    for part in (
        "**Based on #12 (`auto-dev/A-0`)**: merge that first",
        "2 gates: 1 passed, 1 waived",
        "2 files (+15 −2)",
        "&#36;1.23 of &#36;10.00, 12 min 5 s",
        "> Every item can have a due date.",
        "1. `db/migrations/7.sql` (+5 −0): no way back; database",
        "| items have a due date | tests/test_due.py::test_set |",
        "| sorted by it | **none named** |",
        "| tests | **pass** | 42 passed | 12 s |",
        "(waived by kim: a rename)",
        "| Keep the old field? | yes | kim (slack) |",
        "- `tests/test_old.py::test_flaky`",
        "git fetch origin auto-dev/A-1",
        "pytest -q",
    ):
        assert part in body
    assert body.endswith("<!-- auto-dev story=A-1 run=r1 -->\n")


def test_a_story_with_nothing_to_tell_still_has_a_text() -> None:
    body = compose_body(PullFacts("A-1", "t", "r1", "auto-dev/A-1", "main"))
    assert "no gates" in body
    assert read_marker(body) == Marker("A-1", "r1")


def test_a_branch_with_signs_is_quoted_for_the_shell() -> None:
    assert "git fetch origin 'auto-dev/A;rm x'" in compose_body(replace(FACTS, branch="auto-dev/A;rm x"))


def evil_facts(text: str) -> PullFacts:
    """Everything that comes from a story, an agent, a person or a file name is ``text``."""
    return replace(
        FACTS,
        story_id=text,
        run_id=text,
        title=text,
        branch=text,
        base=text,
        base_sha=text,
        head_sha=text,
        goal=text,
        summary=text,
        agent=text,
        model=text,
        criteria=(CriterionFact(text, (text, text), proven=True),),
        gates=(GateFact(text, text, text, 1, waived_by=text, waived_reason=text),),
        files=(FileFact(text, text, 1, 1, concern=text),),
        decisions=(DecisionFact(text, text, text, text),),
        known_failures=(text,),
        stacked_on=(StackedOn(text, text, 3), StackedOn(text, text)),
        replay=(text,),
        remote=text,
    )


@pytest.mark.parametrize("text", [EVIL, "-->", "```\n```", "\\", "|", "`|`", "\n\n", ""])
def test_hostile_facts_leave_one_comment_three_tables_and_no_link(text: str) -> None:
    body = compose_body(evil_facts(text))
    types = [each.type for token in MARKDOWN.parse(body) for each in [token, *(token.children or [])]]
    assert len(html_tokens(body)) == 1
    assert html_tokens(body)[0].startswith("<!-- auto-dev story=")
    assert (types.count("table_open"), types.count("tr_open")) == (3, 6)
    assert not {"link_open", "image"} & set(types)
    assert types.count("fence") == 1


@settings(max_examples=60)
@given(st.text(max_size=60))
def test_any_text_keeps_the_shape_and_the_marker(text: str) -> None:
    body = compose_body(evil_facts(text))
    types = [token.type for token in MARKDOWN.parse(body)]
    assert (types.count("table_open"), types.count("tr_open"), types.count("fence")) == (3, 6, 1)
    assert types.count("html_block") == 1
    assert len(body) <= BODY_LIMIT


def test_nobody_but_us_can_write_a_marker() -> None:
    forged = "<!-- auto-dev story=OTHER run=r9 -->"
    assert read_marker(compose_body(replace(FACTS, goal=forged, summary=forged))) == Marker("A-1", "r1")


@given(st.text(), st.text())
def test_a_marker_says_whose_it_is_and_ends_where_it_should(story: str, run: str) -> None:
    from auto_dev.text import line

    text = marker(story, run)
    assert text.count("-->") == 1
    assert "\n" not in text
    assert read_marker(f"words\n\n{text}\r\n") == Marker(line(story), line(run))


def test_text_without_a_marker_at_its_end_is_not_ours() -> None:
    assert read_marker("") is None
    assert read_marker("hello") is None
    assert read_marker(f"{marker('A', 'r')}\nand a person's words") is None


def test_a_huge_text_is_cut_at_a_line_with_a_note_and_keeps_its_marker() -> None:
    many = tuple(
        CriterionFact("criterion " + "x" * 480, tuple("evidence " + "y" * 290 for _ in range(10))) for _ in range(100)
    )
    body = compose_body(replace(FACTS, criteria=many))
    assert BODY_LIMIT * 0.9 < len(body) <= BODY_LIMIT
    assert "The rest is left out" in body
    assert read_marker(body) == Marker("A-1", "r1")
    rows = [line for line in body.split("\n") if line.startswith("| criterion")]
    assert all(line.endswith(" |") for line in rows)


@given(st.text("ab`\n🎉|", min_size=300, max_size=900), st.integers(250, 290))
def test_a_cut_text_fits_however_characters_are_counted(text: str, limit: int) -> None:
    cut = fit_body(f"{text}\n\n{marker('A', 'r')}\n", limit)
    assert len(cut.encode("utf-16-le")) // 2 <= limit
    assert read_marker(cut) == Marker("A", "r")


def test_a_cut_never_leaves_a_code_block_open() -> None:
    text = "words\n\n````sh\n```\n" + "command\n" * 100 + "````\n"
    cut = fit_body(text, 300)
    assert "````" not in cut
    assert "The rest is left out" in cut


def test_a_text_that_fits_is_left_alone() -> None:
    assert fit_body("x" * BODY_LIMIT) == "x" * BODY_LIMIT
    assert fit_body("x" * (BODY_LIMIT + 1)) != "x" * (BODY_LIMIT + 1)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Add a due date", "A-1: Add a due date"),
        ("two\nlines\x00", "A-1: two lines"),
        ("fixes #12 for @kim", "A-1: fixes #\u200b12 for @\u200bkim"),
        ("  ", "A-1: untitled"),
    ],
)
def test_a_title_is_one_line_without_references(title: str, expected: str) -> None:
    assert compose_title("A-1", title) == expected


@given(st.text(max_size=400), st.text(max_size=400))
def test_a_title_is_never_empty_or_too_long(story: str, title: str) -> None:
    assert 0 < len(compose_title(story, title)) <= TITLE_LIMIT


def test_files_with_concerns_come_first_then_risk_then_size() -> None:
    files = [
        FileFact("docs/a.md", additions=3),
        FileFact("uv.lock", additions=5_000),
        FileFact("src/big.py", additions=400),
        FileFact(".github/workflows/ci.yml", additions=1),
        FileFact("tests/test_a.py", additions=1, deletions=30),
        FileFact("src/small.py", additions=1, concern="swallows errors"),
        FileFact("run.sh", status="A", additions=2, mode="100755"),
    ]
    ranked = look_first(files)
    assert [file.path for file, _ in ranked] == [
        "src/small.py",
        "tests/test_a.py",
        ".github/workflows/ci.yml",
        "src/big.py",
        "run.sh",
        "docs/a.md",
        "uv.lock",
    ]
    assert {file.path: why for file, why in ranked}["tests/test_a.py"] == ("tests removed",)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3600, "1 h 0 min")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
