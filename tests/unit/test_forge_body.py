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
    ConcernFact,
    ConflictFact,
    CriterionFact,
    DecisionFact,
    GateFact,
    Marker,
    PhaseFact,
    PullFacts,
    StackedOn,
    compose_body,
    compose_title,
    duration,
    fit_body,
    marker,
    read_marker,
)
from auto_dev.forge.marks import BEGIN, renewed, title_digest, with_title
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
    criteria=(
        CriterionFact("items have a due date", ("wrote a test",), "strong", ("tests/test_due.py::test_set",)),
        CriterionFact("sorted by it", ("by hand",), "weak"),
        CriterionFact("documented", (), "none"),
    ),
    gates=(
        GateFact("tests", "pass", "42 passed", 12_300),
        GateFact("scope", "waived", "51 files", 3, waived_by="kim", waived_reason="a rename"),
    ),
    files=(FileFact("todo/model.py", "M", 10, 2), FileFact("db/migrations/7.sql", "A", 5, 0, concern="no way back")),
    concerns=(ConcernFact("review", "no test of the empty list", "todo/model.py", 7),),
    decisions=(DecisionFact("Keep the old field?", "yes", "kim", "slack"),),
    known_failures=("tests/test_old.py::test_broken",),
    flaky=("tests/test_net.py::test_now_and_then",),
    conflicts=(ConflictFact("A-7", ("todo/model.py",), 14, "merge A-7 first"),),
    stacked_on=(StackedOn("A-0", "auto-dev/A-0", 12),),
    cost_microusd=1_234_567,
    budget_microusd=10_000_000,
    duration_s=7250,
    phases=(PhaseFact("implement", 600, 1_000_000), PhaseFact("verify", 125, 34_567)),
    repairs=1,
    agent="chat",
    model="some-model",
    setup="uv sync",
    replay=("pytest -q",),
    web="https://github.com/owner/name",
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
        "strong evidence for 1 of 3 criteria",
        "2 files (+15 −2)",
        "&#36;1.23 of &#36;10.00, 12 min 5 s",
        "> Every item can have a due date.",
        f"1. [`db/migrations/7.sql`](https://github.com/owner/name/blob/{'c' * 40}/db/migrations/7.sql) (+5 −0): no",
        f"- [`todo/model.py:7`](https://github.com/owner/name/blob/{'c' * 40}/todo/model.py#L7): no test of the empty",
        "| items have a due date | ✓ strong | `tests/test_due.py::test_set`; *claimed:* wrote a test |",
        "| sorted by it | ⚠ weak | *claimed:* by hand |",
        "| documented | ✗ none | **nothing named** |",
        "<summary>✓ 1 gate passed</summary>",
        "| tests | 42 passed | 12 s |",
        "| scope | ⚠ waived | 51 files (waived by kim: a rename) |",
        "| Keep the old field? | yes | kim (slack) |",
        "- #14 (`A-7`) in `todo/model.py`. merge A-7 first",
        "- `tests/test_old.py::test_broken`",
        "- `tests/test_net.py::test_now_and_then`",
        "| implement | 10 min 0 s | &#36;1.00 |",
        "| earlier runs of this story |  | &#36;0.20 |",
        "| **all** | 12 min 5 s | **&#36;1.23 of &#36;10.00** |",
        "2 h 0 min, waiting included",
        "git fetch origin auto-dev/A-1",
        "uv sync\npytest -q",
    ):
        assert part in body
    assert body.index("| scope |") < body.index("| tests |"), "what is to be looked at comes first"
    assert body.startswith(BEGIN)
    assert body.endswith("<!-- auto-dev story=A-1 run=r1 -->\n")


def test_without_a_page_that_shows_files_there_is_no_link() -> None:
    assert "](" not in compose_body(replace(FACTS, web=""))
    assert "](" not in compose_body(replace(FACTS, web="http://127.0.0.1:8000/owner/name"))


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
        criteria=(CriterionFact(text, (text, text), text, (text, text)),),  # type: ignore[arg-type]
        gates=(GateFact(text, text, text, 1, waived_by=text, waived_reason=text),),
        files=(FileFact(text, text, 1, 1, concern=text),),
        concerns=(ConcernFact(text, text, text, 3), ConcernFact(text, text)),
        conflicts=(ConflictFact(text, (text, text), 3, text),),
        phases=(PhaseFact(text, 1.0, 1),),
        flaky=(text,),
        setup=text,
        decisions=(DecisionFact(text, text, text, text),),
        known_failures=(text,),
        stacked_on=(StackedOn(text, text, 3), StackedOn(text, text)),
        replay=(text,),
        remote=text,
    )


OURS = {BEGIN, "<details>", "</details>"}


def kinds(markdown: str) -> list[str]:
    return [each.type for token in MARKDOWN.parse(markdown) for each in [token, *(token.children or [])]]


def assert_only_our_html(body: str) -> None:
    """Marks and folds, and nothing else; GitHub takes everything else out, or shows it."""
    lines = [each for block in html_tokens(body) for each in block.strip().split("\n")]
    assert lines[0] == BEGIN
    assert lines[-1].startswith("<!-- auto-dev story=")
    folds = [each for each in lines[1:-1] if each not in OURS]
    assert all(each.startswith("<summary>") and each.endswith("</summary>") and each.count("<") == 2 for each in folds)
    assert lines.count("<details>") == lines.count("</details>") == len(folds)


@pytest.mark.parametrize("text", [EVIL, "-->", "```\n```", "\\", "|", "`|`", "\n\n", "", "</details>", "<summary>"])
def test_hostile_facts_leave_our_marks_our_tables_and_no_link(text: str) -> None:
    body = compose_body(evil_facts(text))
    types = kinds(body)
    assert_only_our_html(body)
    assert (types.count("table_open"), types.count("tr_open")) == (4, 10)
    assert not {"link_open", "image"} & set(types)
    assert types.count("fence") == 1


@pytest.mark.parametrize("path", [EVIL, "a](http://e.example)b", "a b", "ü/é`.py", "a)b", "<x>", "a#b?c", ")", "\\"])
def test_a_link_leads_to_the_file_whatever_its_name_is(path: str) -> None:
    facts = replace(FACTS, files=(FileFact(path, "M", 1, 1),), concerns=(ConcernFact("review", "x", path, 3),))
    tokens = [each for token in MARKDOWN.parse(compose_body(facts)) for each in (token.children or [])]
    links = [str(each.attrs["href"]) for each in tokens if each.type == "link_open"]
    assert len(links) == 2
    assert all(link.startswith(f"https://github.com/owner/name/blob/{'c' * 40}/") for link in links)
    assert links[1].endswith("#L3")


@settings(max_examples=60)
@given(st.text(max_size=60))
def test_any_text_keeps_the_shape_and_the_marker(text: str) -> None:
    body = compose_body(evil_facts(text))
    types = kinds(body)
    assert (types.count("table_open"), types.count("tr_open"), types.count("fence")) == (4, 10, 1)
    assert_only_our_html(body)
    assert len(body) <= BODY_LIMIT


def test_the_largest_facts_fit_and_close_what_they_open() -> None:
    text = "🎉 <b> `x` | " * 40
    many = replace(
        evil_facts(text),
        criteria=tuple(CriterionFact(text, (text,) * 12, "weak", (text,) * 12) for _ in range(3)),
        gates=tuple(GateFact(text, "pass", text) for _ in range(9)),
        summary=text * 20,
        flaky=(text,) * 100,
    )
    for size in range(1, 12):
        body = compose_body(replace(many, known_failures=(text,) * (size * 3), replay=(text,) * size))
        assert len(body.encode("utf-16-le")) // 2 <= BODY_LIMIT
        assert_only_our_html(body)
        assert read_marker(body) is not None


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


def test_text_without_a_marker_is_not_ours() -> None:
    assert read_marker("") is None
    assert read_marker("hello") is None
    assert read_marker(f"see {marker('A', 'r')}") is None


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_a_person_wrote_around_our_part_stays(newline: str) -> None:
    old = compose_body(FACTS)
    new = compose_body(replace(FACTS, run_id="r2", goal="Another goal."))
    edited = f"Reviewed with Kim.\n\n{old.strip()}\n\n- [x] tried it\n<!-- mine -->".replace("\n", newline)
    once = renewed(edited, new)
    assert once == f"Reviewed with Kim.\n\n{new.strip()}\n\n- [x] tried it\n<!-- mine -->"
    assert renewed(once, new) == once
    assert renewed("", new) == new


def test_our_part_gives_way_when_both_are_too_long() -> None:
    words = "a person's words\n" * 3_000
    long = compose_body(replace(FACTS, goal="x" * 3_000, criteria=(CriterionFact("c" * 500, ("e" * 300,) * 10),) * 9))
    body = renewed(f"{words}{long}", long)
    assert body.startswith(words)
    assert len(body) <= BODY_LIMIT
    assert "The rest is left out" in body
    assert read_marker(body) == Marker("A-1", "r1")
    full = "x" * (BODY_LIMIT - 300) + f"\n{BEGIN}\n{marker('A', 'r')}"
    assert renewed(full, long) == full, "no room is left for ours"


@given(st.text(max_size=80))
def test_a_title_is_known_again_however_a_forge_keeps_it(words: str) -> None:
    title = compose_title("A-1", words)
    found = read_marker(with_title(f"words\n{marker('A-1', 'r')}\n", title))
    assert found is not None
    assert found == Marker("A-1", "r")
    assert found.title == title_digest(title) == title_digest(title.replace("\u200b", ""))
    assert found.title != title_digest(f"{title}!")


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


def test_a_cut_closes_the_fold_that_it_is_in() -> None:
    text = "<details>\n<summary>x</summary>\n\n" + "words and words\n" * 100 + "\n</details>\n"
    cut = fit_body(f"{text}\n{marker('A', 'r')}\n", 500)
    assert cut.index("</details>") < cut.index("The rest is left out")
    assert len(cut) <= 500
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
