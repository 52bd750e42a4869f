"""Several stories in one file: sections, tables, YAML."""

from __future__ import annotations

import textwrap

import pytest

from auto_dev.model import FileStatus
from auto_dev.stories.model import Problem, Story
from auto_dev.stories.reader import parse, read_file

pytestmark = pytest.mark.unit


def read(source: str, path: str = "stories.index.md") -> tuple[list[Story], list[Problem]]:
    return read_file(path, textwrap.dedent(source).lstrip("\n").encode())


INDEX = """
---
doc_type: stories_index
title: Stories
status: draft
story_prefix: AUTO
---

# Stories

| Status | Count |
|--------|-------|
| pending | 3 |

## Ready to start

| Story | Feature | Blocked By |
|-------|---------|------------|
| AUTO-0010 | Create the state schema | \u2014 |

---

## Phase 0: Infrastructure

### AUTO-0010: Create State Schema

**Status:** pending
**Depends On:** none
**Phase:** 0
**Feature:** Add tables: runs (id, status), events.
**Infrastructure:**
- New schema
- Tables

**Goal:** State that survives restarts

**Acceptance Criteria:**
- [ ] Survives `kill -9`: yes
- [ ] Migrated

**Risk Notes:** Must handle crashes

---

### AUTO-0020 \u2014 Create Queue

**Status:** \u2705 Completed
**Depends On:** AUTO-0010, ~~AUTO-0001~~ (done)
**Goal:** A queue

#### Acceptance Criteria

1. Claims are atomic

## AUTO-0030 Create Skeleton

**Status:** In Progress
**Priority:** High
"""


def test_sections_are_stories_with_their_bold_fields() -> None:
    stories, problems = read(INDEX)
    by_id = {story.id: story for story in stories if story.title != "Create the state schema"}
    assert sorted(by_id) == ["AUTO-0010", "AUTO-0020", "AUTO-0030"]
    first = by_id["AUTO-0010"]
    assert (first.title, first.status, first.depends_on) == ("Create State Schema", FileStatus.READY, ())
    assert first.goal == "State that survives restarts"
    assert first.acceptance_criteria == ("Survives `kill -9`: yes", "Migrated")
    assert first.extra["Phase"] == 0
    assert first.extra["Infrastructure"] == ["New schema", "Tables"]
    assert first.extra["Risk Notes"] == "Must handle crashes"
    assert "New schema" in first.body
    assert "AUTO-0020" not in first.body
    second = by_id["AUTO-0020"]
    assert (second.title, second.status, second.depends_on) == ("Create Queue", FileStatus.DONE, ("AUTO-0010",))
    assert second.acceptance_criteria == ("Claims are atomic",)
    assert (by_id["AUTO-0030"].title, by_id["AUTO-0030"].priority) == ("Create Skeleton", 2)
    assert [problem.level for problem in problems] == ["warning"]
    assert "In Progress" in problems[0].message


def test_sections_of_a_plan_without_an_index_name_need_a_field() -> None:
    source = """
        # Plan

        ## ST-1: a step
        text

        ### T-1: a story
        **Status:** ready
        **Acceptance Criteria:** works

        ## FR-2: no
        **Status:** x
        """
    stories, _ = read(source, "PLAN.md")
    assert [(story.id, story.acceptance_criteria) for story in stories] == [("T-1", ("works",))]


def test_stories_numbered_in_epics() -> None:
    source = """
        # Breakdown

        ## Epic 1: Foundation

        ### Story 1.1: Set up

        As a user I want x.

        **Acceptance Criteria:**

        **Given** a clean folder
        **When** set up
        **Then** it runs

        **Technical Notes:**
        - not one

        ### Story 1.2: Configure

        **Acceptance Criteria:**
        - reads a file

        **Prerequisites:** Story 1.1
        """
    stories, problems = read(source, "epics.md")
    assert [(story.id, story.title) for story in stories] == [("1.1", "Set up"), ("1.2", "Configure")]
    assert stories[0].acceptance_criteria == ("**Given** a clean folder **When** set up **Then** it runs",)
    assert stories[1].depends_on == ("1.1",)
    assert problems == []


def test_a_struck_heading_is_a_story_that_was_given_up() -> None:
    [story], problems = read("## ~~A-1: Old~~\n\ntext\n")
    assert (story.id, story.title, story.status) == ("A-1", "Old", FileStatus.DONE)
    assert "counts as done" in problems[0].message


TABLE = """
# Backlog

| ID | Title | Status | Depends On | Goal | Priority | Acceptance Criteria | Owner |
|:---|:-----:|--------|------------|------|----------|---------------------|-------|
| **A-1** | Log in | ready | \u2014 | Users get in | P1 | works; is fast | Kim |
| [A-2](A-2.md) | `Log` out \\| leave | \u2705 done | A-1 | | low | | |
| A-3: Later | | draft | A-1, A-2 | | | | |
| ~~A-4~~ | Gone | | | | | | |

Text after.
"""


def test_rows_of_a_table_are_stories() -> None:
    stories, problems = read(TABLE, "plan.md")
    assert [story.id for story in stories] == ["A-1", "A-2", "A-3", "A-4"]
    one, two, three, four = stories
    assert (one.title, one.goal, one.priority, one.acceptance_criteria) == (
        "Log in",
        "Users get in",
        2,
        ("works", "is fast"),
    )
    assert one.extra == {"Owner": "Kim"}
    assert (two.title, two.status, two.depends_on) == ("Log out | leave", FileStatus.DONE, ("A-1",))
    assert (three.title, three.status, three.depends_on) == ("Later", FileStatus.BACKLOG, ("A-1", "A-2"))
    assert four.status is FileStatus.DONE
    assert [problem.level for problem in problems] == ["warning"]


@pytest.mark.parametrize(
    "table",
    [
        "| Metric | Target |\n|---|---|\n| X-1 | 3 |\n",
        "| Phase | Required For |\n|---|---|\n| Phase 0 | schema |\n",
        "| ID | Risk | Mitigation |\n|---|---|---|\n| A-1 | high | none |\n",
        "| # | Check | Status |\n|---|---|---|\n| 1 | Scope | PASS |\n",
        "| AC | Status |\n|---|---|\n| AC-1 | PASS |\n",
        "```\n| ID | Title | Status |\n|---|---|---|\n| A-1 | x | ready |\n```\n",
    ],
)
def test_other_tables_are_not(table: str) -> None:
    assert read(f"# Doc\n\n{table}", "doc.md") == ([], [])


YAML = """
version: 1
project: Shop
epics:
  - id: E-1
    title: Accounts
    description: Everything about users.
    priority: high
    depends_on: [E-0]
    milestones:
      - id: M-1
        title: Log in
        status: backlog
        tags: [web]
        tasks:
          - id: T-1
            title: Form
            acceptance_criteria:
              - API: POST /login
              - @remember works
            status: ready
          - id: T-2
            title: Session
            priority: 1
            tags: [api]
            depends_on: T-1
            description: Keep it.
            tasks:
              - write tests
              - title: write docs
      - id: M-2
        title: Log out
        acceptance_criteria: [shared]
        tasks:
          T-3: {title: Button, depends_on: [M-1]}
  - id: E-0
    title: Set up
    stories:
      - {id: S-1, title: Init, status: done, estimate: L}
      - title: Second
"""


def test_epics_milestones_and_tasks() -> None:
    stories, problems = read(YAML, "plan.yaml")
    by_id = {story.id: story for story in stories}
    assert list(by_id) == ["T-1", "T-2", "T-3", "S-1", "E-0-2"]
    one, two, three = by_id["T-1"], by_id["T-2"], by_id["T-3"]
    assert one.acceptance_criteria == ("API: POST /login", "@remember works")
    assert (one.status, one.priority, one.tags) == (FileStatus.READY, 2, ("web",))
    assert (two.status, two.priority, two.tags, two.goal) == (FileStatus.BACKLOG, 1, ("api", "web"), "Keep it.")
    assert two.depends_on == ("T-1", "E-0")
    assert "write tests" in two.body
    assert "write docs" in two.body
    assert (three.title, three.acceptance_criteria, three.depends_on) == ("Button", ("shared",), ("M-1", "E-0"))
    assert one.extra == {
        "project.version": "1",
        "project.project": "Shop",
        "epic": "E-1 Accounts",
        "milestone": "M-1 Log in",
    }
    assert one.context == ("Epic E-1 Accounts: Everything about users.",)
    assert (by_id["S-1"].status, by_id["S-1"].estimate_hours) == (FileStatus.DONE, 8.0)
    assert [problem.level for problem in problems] == ["warning", "warning"]
    assert parse("plan.yaml", textwrap.dedent(YAML).encode()).containers["M-1"] == ("T-1", "T-2")


def test_a_yaml_file_may_be_one_story_or_a_list_or_something_else() -> None:
    [story], _ = read("id: A-1\ntitle: T\nstatus: ready\nacceptance_criteria:\n  - a: b\n", "x.yaml")
    assert (story.id, story.acceptance_criteria) == ("A-1", ("a: b",))
    stories, _ = read("- {id: A-1, title: T, status: ready}\n- {id: A-2, title: U, goal: g}\n", "x.yml")
    assert [story.id for story in stories] == ["A-1", "A-2"]
    assert read("services:\n  web: {image: x}\n", "compose.yaml") == ([], [])
    assert read("a: [\n", "other.yaml") == ([], [])
    assert read("", "empty.yaml") == ([], [])


def test_a_broken_yaml_file_that_was_meant_is_an_error() -> None:
    stories, problems = read("tasks:\n  - id: A-1\n    title: [x\n", "plan.yaml")
    assert stories == []
    assert [problem.level for problem in problems] == ["error"]
    assert problems[0].line
