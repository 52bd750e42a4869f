"""Acceptance criteria and fields in a Markdown body."""

from __future__ import annotations

import textwrap

import pytest

from auto_dev.stories.criteria import in_body, united
from auto_dev.stories.reader import read_file

pytestmark = pytest.mark.unit


def criteria(body: str) -> list[str]:
    return in_body(textwrap.dedent(body).strip("\n"))


@pytest.mark.parametrize(
    "heading",
    [
        "# Acceptance Criteria",
        "## Acceptance Criteria",
        "###### acceptance criteria:",
        "## 6. Acceptance Criteria",
        "## \u2705 Acceptance Criteria (MVP)",
        "## Acceptance Criteria - Backend",
        "### Initial Acceptance Criteria",
        "## Acceptance Criterion",
        "## AC",
        "## ACs",
        "## **Acceptance Criteria**",
        "**Acceptance Criteria:**",
        "**Acceptance Criteria**:",
        "**Acceptance criteria**",
        "__Acceptance Criteria__",
        "**AC:**",
        "Acceptance criteria:",
        "Acceptance Criteria\n===================",
        "Acceptance Criteria\n---",
        "<summary>Acceptance Criteria</summary>",
        "## Definition of Done",
        "**DoD:**",
        "## Success Criteria",
    ],
)
def test_every_usual_heading_is_recognised(heading: str) -> None:
    assert criteria(f"# T\n\n{heading}\n\n- [ ] one\n- [x] two\n\n# Notes\n\n- other\n") == ["one", "two"]


@pytest.mark.parametrize(
    "heading",
    [
        "## Acceptance Criteria Verification",
        "## Acceptance Criteria Coverage",
        "**Actions:**",
        "## Accessibility",
        "## ACID",
    ],
)
def test_other_headings_are_not(heading: str) -> None:
    assert criteria(f"{heading}\n- no\n") == []


def test_a_definition_of_done_counts_only_when_there_is_nothing_else() -> None:
    assert criteria("## Definition of Done\n- d\n\n## AC\n- a\n") == ["a"]


def test_checkboxes_bullets_and_numbers_with_their_continuations_and_nested_items() -> None:
    assert criteria(
        """
        ## Acceptance Criteria

        - [ ] one
        - [X] two
          goes on
          - nested
            deeper
          - [ ] other
        * three
        + four:
            1. first
            2. second
        1. five

           with a paragraph

        2) six
        \u2022 seven
        \u2610 eight is text

        A paragraph beside a list is none.
        """
    ) == [
        "one",
        "two goes on: nested deeper; other",
        "three",
        "four: first; second",
        "five with a paragraph",
        "six",
        "seven \u2610 eight is text",
    ]


def test_groups_inside_the_section_are_not_criteria_but_their_items_are() -> None:
    assert criteria(
        """
        ## Acceptance Criteria
        ### Backend
        - a
        **Frontend:**
        - b
        ---
        - c
        ## Next
        - no
        """
    ) == ["a", "b", "c"]


def test_a_numbered_heading_is_a_criterion_with_what_is_below_it() -> None:
    assert criteria(
        """
        ## Acceptance Criteria
        ### AC-1: It answers
        - within 1 s
        - as JSON
        ### AC-2: It logs
        Every request is logged.
        **AC3:** It stops
        at once.
        AC 4: plain label
        """
    ) == [
        "AC-1: It answers: within 1 s; as JSON",
        "AC-2: It logs Every request is logged.",
        "**AC3:** It stops at once.",
        "AC 4: plain label",
    ]


def test_given_when_then_blocks() -> None:
    assert criteria(
        """
        ## Acceptance Criteria

        Given a user
        When they log in
        Then they see it
        And it is logged

        **Given** no user
        **When** x
        **Then** y

        - **Given** a
        - **When** b
        - **Then** c
        - Given p, when q, then r
        - When offline, a banner shows
        - When online, none

        ```gherkin
        Feature: F
          Scenario: one
            Given g
            Then h
          Scenario: two
            Given i
            Then j
        ```
        """
    ) == [
        "Given a user When they log in Then they see it And it is logged",
        "**Given** no user **When** x **Then** y",
        "**Given** a **When** b **Then** c",
        "Given p, when q, then r",
        "When offline, a banner shows",
        "When online, none",
        "Scenario: one Given g Then h",
        "Scenario: two Given i Then j",
    ]


def test_tables_paragraphs_and_one_liners() -> None:
    assert criteria(
        "## AC\n| # | Criterion | Test |\n|---|---|---|\n| 1 | It works | unit |\n| AC2 | It stops | |\n"
    ) == [
        "It works \u2014 unit",
        "AC2: It stops",
    ]
    assert criteria("## AC\nUsers can log in.\n\nUsers can\nlog out.\n") == ["Users can log in.", "Users can log out."]
    assert criteria("**Acceptance Criteria:** it works\n\nOther text.\n") == ["it works"]
    assert criteria("> **Acceptance Criteria**\n> - [ ] quoted\n") == ["quoted"]


@pytest.mark.parametrize(
    "text", ["TBD", "- [ ]", "- ", "- TODO", "n/a", "None", "...", "<!-- - [ ] example -->", "<!--\n- [ ] example\n-->"]
)
def test_placeholders_are_no_criteria(text: str) -> None:
    assert criteria(f"## Acceptance Criteria\n\n{text}\n\n## Notes\nx\n") == []


def test_code_hides_headings_but_an_unclosed_fence_hides_nothing() -> None:
    assert criteria("```\n## Acceptance Criteria\n- no\n```\n## AC\n- yes\n") == ["yes"]
    assert criteria("```\n## AC\n- yes\n") == ["yes"]
    assert criteria("<!-- never closed\n## AC\n- yes\n") == ["yes"]


def test_criteria_that_stand_in_a_code_block_count_when_there_are_no_others() -> None:
    assert criteria("## AC\n```\n- [ ] a\n- [ ] b\n```\n") == ["a", "b"]
    assert criteria("## AC\n- a\n```\n- [ ] b\n```\n") == ["a"]
    assert criteria("## AC\n<!-- x -->\n```gherkin\nScenario: S\nThen t\n```\n") == ["Scenario: S Then t"]


def test_a_rule_below_a_list_or_field_is_no_heading() -> None:
    assert criteria("## AC\n- a\n---\n\nb is prose\n\n**X:** y\n---\n- c\n") == ["a", "c"]


def test_several_sections_are_all_read() -> None:
    assert criteria("## AC\n- a\n## X\n- no\n## Acceptance Criteria (later)\n- b\n- a\n") == ["a", "b"]


def test_uniting_leaves_out_what_says_the_same() -> None:
    assert united(["AC1: It works.", "b"], ["it **works**", "AC-2: b", "c"]) == ["AC1: It works.", "b", "c"]


def test_frontmatter_and_body_criteria_are_united() -> None:
    source = (
        "---\nid: A-1\ntitle: T\nacceptance_criteria:\n  - one\n---\n## Acceptance Criteria\n- [ ] One\n- [ ] two\n"
    )
    [story], problems = read_file("x.md", source.encode())
    assert story.acceptance_criteria == ("one", "two")
    assert problems == []


def test_a_file_without_frontmatter_states_its_fields_in_bold() -> None:
    source = textwrap.dedent(
        """
        # ISS-002 \u2014 Backend core

        **Status:** [x] Closed | **Priority:** P0 \u2014 Blocker
        **Estimate**: 4-6 hours
        - **Depends on:** ISS-001, ~~ISS-000~~ (done)
        **Owner:** Kim
        goes on

        ## Goal

        Build the
        core.

        ## Non-goals

        - The shell
        - Colours

        ## Acceptance Criteria
        - a
        """
    ).lstrip()
    [story], problems = read_file("backend.md", source.encode())
    assert (story.id, story.title, story.declared_status, story.priority) == (
        "ISS-002",
        "Backend core",
        "[x] Closed",
        1,
    )
    assert (story.estimate_hours, story.depends_on, story.goal) == (6.0, ("ISS-001",), "Build the core.")
    assert (story.non_goals, story.acceptance_criteria) == (("The shell", "Colours"), ("a",))
    assert story.extra["Owner"] == "Kim goes on"
    assert problems == []


def test_frontmatter_wins_over_the_body_and_the_body_fills_gaps() -> None:
    source = (
        "---\nid: A-1\nstatus: backlog\n---\n# T\n**Status:** Done\n**Priority:** High\n**Phase:** 2\n\n## Goal\nG.\n"
    )
    [story], _ = read_file("x.md", source.encode())
    assert (story.declared_status, story.priority, story.goal, story.extra) == ("backlog", 2, "G.", {})
