"""One file: frontmatter, however untidy, becomes the story that its author meant."""

from __future__ import annotations

import textwrap

import pytest

from auto_dev.model import FileStatus
from auto_dev.stories.model import Problem, Story
from auto_dev.stories.reader import read_file

pytestmark = pytest.mark.unit


def read(source: str, path: str = "A-1.md") -> tuple[Story, list[Problem]]:
    stories, problems = read_file(path, textwrap.dedent(source).lstrip("\n").encode())
    assert len(stories) == 1, (stories, problems)
    return stories[0], problems


def errors(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.level == "error"]


def warnings(problems: list[Problem]) -> str:
    return "\n".join(f"{problem.message} {problem.mend}" for problem in problems if problem.level == "warning")


def test_a_complete_story_is_read_field_by_field_without_a_complaint() -> None:
    story, problems = read(
        """
        ---
        id: WO-2026-032
        title: Run policy and scheduler
        goal: Start eligible stories by themselves.
        context:
          - server/runner.ts (queue, startRun)
          - app/projects/[id]/page.tsx (project page)
          - "Injection works already (1793 characters)"
        acceptance_criteria:
          - Add a policies table with settings (enabled, max_runs, tags)
          - Add a triggered_by column ('manual' | 'autopilot')
          - Eligible = status:ready + all depends_on are done + matches the filters
          - API: GET/PUT /projects/:id/policy (policy), GET /projects/:id/candidates
          - UI: a switch on the project page, shows the next candidate
        non_goals:
          - Scheduling over several projects
        stop_conditions:
          - If no machine is there, skip the project
        priority: 1
        tags:
          - runner
          - policy
        estimate_hours: 6
        status: backlog
        created_at: 2026-01-07
        updated_at: 2026-01-11
        depends_on:
          - WO-2025-004
          - WO-2026-020
        base_branch: develop
        era: v2
        reviewer: Kim
        ---

        ## Plan

        - [ ] this is no criterion
        """,
        "WO-2026-032-run-policy.md",
    )
    assert problems == []
    assert story.id == "WO-2026-032"
    assert story.title == "Run policy and scheduler"
    assert story.goal == "Start eligible stories by themselves."
    assert story.context[1] == "app/projects/[id]/page.tsx (project page)"
    assert story.acceptance_criteria == (
        "Add a policies table with settings (enabled, max_runs, tags)",
        "Add a triggered_by column ('manual' | 'autopilot')",
        "Eligible = status:ready + all depends_on are done + matches the filters",
        "API: GET/PUT /projects/:id/policy (policy), GET /projects/:id/candidates",
        "UI: a switch on the project page, shows the next candidate",
    )
    assert story.non_goals == ("Scheduling over several projects",)
    assert story.stop_conditions == ("If no machine is there, skip the project",)
    assert (story.priority, story.tags, story.estimate_hours) == (1, ("runner", "policy"), 6.0)
    assert (story.status, story.declared_status) == (FileStatus.BACKLOG, "backlog")
    assert (story.created_at, story.updated_at) == ("2026-01-07", "2026-01-11")
    assert story.depends_on == ("WO-2025-004", "WO-2026-020")
    assert (story.base_branch, story.era) == ("develop", "v2")
    assert story.extra == {"reviewer": "Kim"}
    assert story.body.startswith("## Plan")


@pytest.mark.parametrize(
    ("item", "criterion"),
    [
        ("Foo: bar: baz", "Foo: bar: baz"),
        ("@thing happens", "@thing happens"),
        ('"quoted" and more', '"quoted" and more'),
        ("'quoted' and more", "'quoted' and more"),
        ("[x] done", "done"),
        ("[ ] open", "open"),
        ("`code`: x", "`code`: x"),
        ("closes #12, really # yes", "closes #12, really # yes"),
        ("2026-01-07", "2026-01-07"),
        ("on: off", "on: off"),
        ("yes", "yes"),
        ("007", "007"),
        ("1e3", "1e3"),
        ("12:30:45", "12:30:45"),
        ("null", "null"),
        ("{id} is in the URL", "{id} is in the URL"),
        ("[link](url) works", "[link](url) works"),
        ("*bold* claim", "*bold* claim"),
        ("&nbsp; stays", "&nbsp; stays"),
        ("> 80% coverage", "> 80% coverage"),
        ("| pipes |", "| pipes |"),
        ("!important: yes", "!important: yes"),
        ("% of users", "% of users"),
        ("ends with a colon:", "ends with a colon:"),
        ('"a \\"quoted\\" text"', 'a "quoted" text'),
        ("'it''s quoted'", "it's quoted"),
        ("{id: AC1, text: It works, done: false}", "AC1: It works (done: false)"),
    ],
)
def test_a_list_item_reads_as_its_author_wrote_it(item: str, criterion: str) -> None:
    story, problems = read(f"---\nid: A-1\ntitle: T\nacceptance_criteria:\n  - {item}\n  - last one\ngoal: g\n---\n")
    assert story.acceptance_criteria == (criterion, "last one")
    assert story.goal == "g"
    assert not errors(problems)


def test_an_item_that_yaml_refuses_is_a_warning_with_its_line() -> None:
    _, problems = read("---\nid: A-1\ntitle: T\nacceptance_criteria:\n  - fine\n  - @thing\n---\n")
    assert [(problem.level, problem.line) for problem in problems] == [("warning", 6)]
    assert "taken as it was written" in problems[0].message


def test_an_item_that_yaml_would_only_distort_is_no_complaint() -> None:
    _, problems = read("---\nid: A-1\ntitle: T\nacceptance_criteria:\n  - API: GET /x\n  - fixes #3 # today\n---\n")
    assert problems == []


def test_items_of_several_lines_nested_items_and_blocks_become_one_text() -> None:
    story, problems = read(
        """
        ---
        id: A-1
        title: T
        acceptance_criteria:
          - Eligible: all of
            these things
          # not this one
          - The page shows:
              - a title
              - [ ] a button
          - |
            Block: one
            two
          - >-
            Folded
            text
          - text: Structured
            verified_by: tests
          - Given: a user
            When: they log in
            Then: they see it
        ---
        """
    )
    assert story.acceptance_criteria == (
        "Eligible: all of these things",
        "The page shows: a title; a button",
        "Block: one two",
        "Folded text",
        "Structured (verified_by: tests)",
        "Given: a user; When: they log in; Then: they see it",
    )
    assert not errors(problems)


@pytest.mark.parametrize(
    ("yaml", "criteria"),
    [
        ("acceptance_criteria: [a, b]", ("a", "b")),
        ("acceptance_criteria: only one", ("only one",)),
        ("acceptance_criteria: |\n  - [ ] a: b\n  - c", ("a: b", "c")),
        ("acceptance_criteria:\n  backend:\n    - a: b\n  frontend:\n    - c", ("a: b", "c")),
        ("acceptance_criteria:\n  AC1: first\n  AC2: second", ("AC1: first", "AC2: second")),
        ("acceptance_criteria:\n- a\n- b: c", ("a", "b: c")),
        ("acceptance_criteria:\n\t- tabbed: item\n\t- other", ("tabbed: item", "other")),
        ("acceptance_criteria:", ()),
        ("acceptance_criteria: []", ()),
        ("acceptanceCriteria:\n  - camel", ("camel",)),
        ("Acceptance Criteria:\n  - spaced", ("spaced",)),
        ("x: &all\n  - shared\nacceptance_criteria: *all", ("shared",)),
        ("base: &b\n  acceptance_criteria: [merged]\n<<: *b", ("merged",)),
        ("definition_of_done: [tested]", ("tested",)),
        ("definition_of_done: [tested]\nacceptance_criteria: [real]", ("real",)),
    ],
)
def test_criteria_are_found_however_the_list_is_written(yaml: str, criteria: tuple[str, ...]) -> None:
    story, problems = read(f"---\nid: A-1\ntitle: T\n{yaml}\n---\n")
    assert story.acceptance_criteria == criteria
    assert not errors(problems)


def test_keys_stated_twice_lose_nothing() -> None:
    story, problems = read(
        "---\nid: A-1\ntitle: Old\ntitle: New\nacceptance_criteria: [a]\nacceptance_criteria: [b]\n"
        "priority: 1\npriority: 2\n---\n"
    )
    assert story.acceptance_criteria == ("a", "b")
    assert story.priority == 2
    assert {story.title, story.extra["title (line 3)"]} == {"Old", "New"}
    assert story.extra["priority (line 7)"] == 1
    assert warnings(problems).count("stated twice") == 3


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("title: Fix: the tabs", "Fix: the tabs"),
        ("title: Fix #12 in the tabs", "Fix #12 in the tabs"),
        ("title: Plain # a comment", "Plain"),
        ('title: "Quoted" first word', '"Quoted" first word'),
        ("title: [WIP] Tabs", "[WIP] Tabs"),
        ("title: @mention", "@mention"),
        ("title: 2026-01-01", "2026-01-01"),
        ("title: A-1: Own id before it", "Own id before it"),
        ("name: Also a title", "Also a title"),
        ('title: "A \\u0000\\e[31mred\\e[0m title"', "A red title"),
    ],
)
def test_titles_are_read_as_written(line: str, title: str) -> None:
    story, problems = read(f"---\nid: A-1\n{line}\nacceptance_criteria: [a]\n---\n")
    assert story.title == title
    assert not errors(problems)


def test_a_missing_title_is_the_first_heading_else_the_id_with_a_warning() -> None:
    story, problems = read("---\nid: A-1\n---\n# A-1: From the heading\n")
    assert (story.title, problems) == ("From the heading", [])
    story, problems = read("---\nid: A-1\n---\nNo heading.\n")
    assert story.title == "A-1"
    assert "no title" in warnings(problems)


@pytest.mark.parametrize(
    ("source", "path", "story_id"),
    [
        ("---\nid: A-1\nstory_id: PARENT-1\n---\n", "x.md", "A-1"),
        ("---\nstory_id: WISH-2005a\n---\n", "x.md", "WISH-2005a"),
        ("---\nID: SETS-MVP-001\n---\n", "x.md", "SETS-MVP-001"),
        ("---\nstoryId: A-2\n---\n", "x.md", "A-2"),
        ("---\nid: 7\n---\n", "x.md", "7"),
        ("---\nid: 007\n---\n", "x.md", "007"),
        ("---\nid: 1.10\n---\n", "x.md", "1.10"),
        ("---\nid: 2026-01-01\n---\n", "x.md", "2026-01-01"),
        ("---\nid: 'AUTO-0010'\n---\n", "x.md", "AUTO-0010"),
        ("---\ntitle: T\n---\n", "AUTO-0010-create-schema.md", "AUTO-0010"),
        ("---\ntitle: T\nstatus: ready\n---\n", "task-42 - Fix it.md", "task-42"),
        ("---\ntitle: T\nstatus: ready\n---\n", "001-add-login.md", "001"),
        ("# WO-2026-032: Title\n\n## Acceptance Criteria\n- a\n", "notes.md", "WO-2026-032"),
        ("# Story 1.2: Title\n\n**Acceptance Criteria:**\n- a\n", "x.md", "1.2"),
        ("no heading at all\n", "WISH-2005a.md", "WISH-2005a"),
        ("x\n", "ready-to-work/WISH-2005a/story.md", "WISH-2005a"),
        ("x\n", "ready-to-work/WISH-2005a/README.md", "WISH-2005a"),
    ],
)
def test_the_id_is_found(source: str, path: str, story_id: str) -> None:
    story, problems = read(source, path)
    assert story.id == story_id
    assert not errors(problems)


@pytest.mark.parametrize(
    "story_id",
    [
        "a b",
        "feature/login",
        "..",
        "A..B",
        "A-1.lock",
        "A-1.",
        "-A",
        ".A",
        "A~1",
        "A:1",
        "ä-1",
        "A" * 65,
        "A\\1",
        "A@{1",
    ],
)
def test_an_id_that_cannot_be_a_branch_name_is_an_error_with_the_mend(story_id: str) -> None:
    story, problems = read(f"---\nid: '{story_id}'\ntitle: T\nacceptance_criteria: [a]\n---\n", "x.md")
    assert story.id == story_id
    [problem] = errors(problems)
    assert problem.story_ids == (story_id,)
    assert "branch name" in problem.message
    assert "letters, digits" in problem.mend


def test_a_story_without_an_id_is_an_error_that_shows_it_under_a_provisional_one() -> None:
    story, problems = read("---\ntitle: Login\nacceptance_criteria: [a]\n---\n", "add login.md")
    [problem] = errors(problems)
    assert problem.story_ids == (story.id,) == ("add-login",)
    assert story.acceptance_criteria == ("a",)
    assert "id: " in problem.mend


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("depends_on: A-2", ("A-2",)),
        ("depends_on: A-2, A-3", ("A-2", "A-3")),
        ("depends_on: [A-2, 7]", ("A-2", "7")),
        ("depends_on: none", ()),
        ("depends_on: None", ()),
        ("depends_on: \u2014", ()),
        ("depends_on: '-'", ()),
        ("depends_on: -", ()),
        ("depends_on: n/a", ()),
        ("depends_on: []", ()),
        ("depends_on: '[]'", ()),
        ("depends_on: ~", ()),
        ("depends_on:", ()),
        ("depends_on: None (can start)", ()),
        ("depends_on: ~~A-2~~ (completed)", ()),
        ("depends_on: ~~A-2~~ (completed), A-3 (for the schema, mostly)", ("A-3",)),
        ("depends_on:\n  - ~~A-2~~ (completed)\n  - A-3", ("A-3",)),
        ("depends_on:\n  - A-2 (reason)\n  - A-3 - its title\n  - A-4: its title", ("A-2", "A-3", "A-4")),
        ("depends_on:\n  - id: A-2\n    why: schema", ("A-2",)),
        ("depends_on: A-2 and A-3", ("A-2", "A-3")),
        ("depends_on: '[A-2](A-2.md)'", ("A-2",)),
        ("depends_on: [[A-2]]", ("A-2",)),
        ("depends_on: Story 1.2", ("1.2",)),
        ("depends_on: 'Needs A-22 to be done'", ("A-22",)),
        ("depends_on: the login service", ("the login service",)),
        ("dependsOn: [A-2]", ("A-2",)),
        ("dependencies: [A-2]", ("A-2",)),
        ("dependencies: {depends_on: [A-2], blocks: [A-9]}", ("A-2",)),
        ("dependencies:\n  blocked_by: A-2\n  blocks: none\n  related: [A-8]", ("A-2",)),
        ("blocked_by: A-2", ("A-2",)),
        ("depends_on: A-2\nblocked_by: [A-3]", ("A-2", "A-3")),
    ],
)
def test_dependencies_are_understood_however_they_are_written(line: str, needed: tuple[str, ...]) -> None:
    story, problems = read(f"---\nid: A-1\ntitle: T\n{line}\n---\n")
    assert story.depends_on == needed
    assert not errors(problems)


def test_what_is_written_beside_a_dependency_is_kept() -> None:
    story, problems = read(
        "---\nid: A-1\ntitle: T\ndepends_on: ~~A-2~~ (completed), A-3 (schema)\nblocks: [A-9]\nrelated: A-8\n---\n"
    )
    assert story.extra["dependency_notes"] == ["depends_on: ~~A-2~~ (completed)", "depends_on: A-3 (schema)"]
    assert (story.blocks, story.related) == (("A-9",), ("A-8",))
    assert problems == []


@pytest.mark.parametrize(
    ("text", "priority", "told"),
    [
        ("1", 1, False),
        ("'5'", 5, False),
        ("CRITICAL", 1, False),
        ("High", 2, False),
        ("medium", 3, False),
        ("LOW", 4, False),
        ("P0", 1, False),
        ("P1", 2, False),
        ("p4", 5, False),
        ("\U0001f534 High", 2, False),
        ("2 (soon)", 2, False),
        ("", 3, False),
        ("0", 1, True),
        ("9", 5, True),
        ("-3", 1, True),
        ("2.5", 2, True),
        ("P7", 5, True),
        ("whenever", 3, True),
        ("99999999999999999999", 5, True),
        ("[1, 2]", 3, True),
        (".nan", 3, True),
    ],
)
def test_priorities(text: str, priority: int, told: bool) -> None:
    story, problems = read(f"---\nid: A-1\ntitle: T\npriority: {text}\n---\n")
    assert story.priority == priority
    assert ("priority" in warnings(problems)) is told
    assert not errors(problems)


@pytest.mark.parametrize(
    ("line", "hours"),
    [
        ("estimate_hours: 6", 6),
        ("estimate_hours: '2.5'", 2.5),
        ("estimate: S", 2),
        ("estimate: M", 4),
        ("estimate: L", 8),
        ("estimate: XL", 16),
        ("estimate: 3h", 3),
        ("estimate: 2 days", 16),
        ("estimate: 90 min", 1.5),
        ("size: M", 4),
        ("effort: 4-6 hours", 6),
        ("estimate: 1 week", 40),
    ],
)
def test_estimates(line: str, hours: float) -> None:
    story, problems = read(f"---\nid: A-1\ntitle: T\n{line}\n---\n")
    assert (story.estimate_hours, problems, story.extra) == (hours, [], {})


@pytest.mark.parametrize("text", ["3 points", "soon", ".inf", "-4", "1e999"])
def test_an_estimate_that_is_not_understood_is_kept_with_a_warning(text: str) -> None:
    story, problems = read(f"---\nid: A-1\ntitle: T\nestimate: {text}\n---\n")
    assert story.estimate_hours is None
    assert str(story.extra["estimate"]) in text
    assert "not understood" in warnings(problems)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *(
            (word, FileStatus.READY)
            for word in ("ready", "todo", "to-do", "To Do", "open", "pending", "new", "planned", "approved")
        ),
        *(
            (word, FileStatus.READY)
            for word in ("ready-to-work", "ready_for_dev", "not started", "[ ] Not Started", "**Ready**")
        ),
        *(
            (word, FileStatus.BACKLOG)
            for word in ("backlog", "draft", "idea", "proposed", "deferred", "elaboration", "created")
        ),
        *(
            (word, FileStatus.PARKED)
            for word in ("parked", "blocked", "on-hold", "paused", "in-progress", "In Progress", "in_review")
        ),
        *(
            (word, FileStatus.PARKED)
            for word in ("needs-code-review", "uat", "active", "WIP", "ready-for-qa", "Ready for Review")
        ),
        *(
            (word, FileStatus.DONE)
            for word in ("done", "completed", "Complete", "merged", "shipped", "closed", "archive")
        ),
        *(
            (word, FileStatus.DONE)
            for word in ("\u2705 Done", "DONE (merged in #4)", "done # really", "[x] Closed", "`completed`")
        ),
        *((word, FileStatus.DONE) for word in ("cancelled", "superseded", "wontfix", "Won't do")),
        ("blocked (waits for tests)", FileStatus.PARKED),
        ("", FileStatus.READY),
        ("gibberish", FileStatus.PARKED),
    ],
)
def test_status_words(word: str, status: FileStatus) -> None:
    quoted = "'" + word.replace("'", "''") + "'" if word[:1] in "*[`\u2705" or "'" in word else word
    story, problems = read(f"---\nid: A-1\ntitle: T\nstatus: {quoted}\n---\n")
    assert story.status is status
    assert not errors(problems)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("in-progress", "set `status: ready` to hand it over"),
        ("blocked", "under way elsewhere or held"),
        ("superseded", "counts as done"),
        ("gibberish", "ready, backlog, parked, done"),
    ],
)
def test_a_status_that_needs_attention_says_so(word: str, said: str) -> None:
    _, problems = read(f"---\nid: A-1\ntitle: T\nstatus: {word}\n---\n")
    assert said in warnings(problems).lower()


def test_no_status_is_ready_and_our_own_words_need_no_comment() -> None:
    story, problems = read("---\nid: A-1\ntitle: T\n---\n")
    assert (story.status, story.declared_status, problems) == (FileStatus.READY, "", [])
    for word in ("ready", "backlog", "parked", "done"):
        assert read(f"---\nid: A-1\ntitle: T\nstatus: {word}\n---\n")[1] == []


@pytest.mark.parametrize(
    ("lane", "status"),
    [
        ("backlog", "backlog"),
        ("in-progress", "parked"),
        ("ready-to-work", "ready"),
        ("ready", "ready"),
        ("todo", "ready"),
        ("completed", "done"),
        ("done", "done"),
        ("parked", "parked"),
        ("blocked", "parked"),
        ("UAT", "parked"),
        ("needs-code-review", "parked"),
        ("archive", "done"),
        ("elaboration", "backlog"),
        ("Ready To Work", "ready"),
    ],
)
def test_the_lane_counts(lane: str, status: str) -> None:
    for path in (f"{lane}/A-1.md", f"{lane}/A-1/A-1.md", f"epic/{lane}/A-1/story.md"):
        story, problems = read("---\nid: A-1\ntitle: T\n---\n", path)
        assert (story.status.value, story.declared_status) == (status, lane)
        assert not errors(problems)


def test_a_lane_and_a_status_that_disagree_are_a_warning_and_the_lane_wins() -> None:
    story, problems = read("---\nid: A-1\ntitle: T\nstatus: backlog\n---\n", "ready-to-work/A-1.md")
    assert story.status is FileStatus.READY
    assert [problem.level for problem in problems] == ["warning"]
    assert "'backlog'" in problems[0].message
    assert "the folder counts" in problems[0].message
    assert read("---\nid: A-1\ntitle: T\nstatus: Done\n---\n", "completed/A-1.md")[1] == []


@pytest.mark.parametrize(
    "path", ["plans/A-1.md", "backlog/tasks/A-1.md", "in-app-purchases/A-1.md", "pending-items/A-1.md"]
)
def test_an_ordinary_folder_is_no_lane(path: str) -> None:
    story, _ = read("---\nid: A-1\ntitle: T\nstatus: ready\n---\n", path)
    assert (story.status, story.declared_status) == (FileStatus.READY, "ready")


def test_unknown_keys_keep_their_value_and_type() -> None:
    story, _ = read(
        "---\nid: A-1\ntitle: T\npoints: 3\nui: true\nwhen: 2026-01-01\nteam: {lead: Kim, size: 2}\nnote: ~\n---\n"
    )
    assert story.extra == {
        "points": 3,
        "ui": True,
        "when": "2026-01-01",
        "team": {"lead": "Kim", "size": 2},
        "note": None,
    }


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ('title: "unclosed', 3),
        ("tags: [a, b", 3),
        ("x: {a: b", 3),
        ("just words", 3),
        ("x: !!python/object/apply:os.system ['true']", 3),
        ("x: &a [*a]", 3),
        ("x: " + "[" * 200 + "]" * 200, 3),
    ],
)
def test_broken_frontmatter_is_an_error_with_its_line_and_keeps_the_rest(broken: str, line: int) -> None:
    story, problems = read(f"---\nid: A-1\n{broken}\nacceptance_criteria:\n  - kept: yes\ngoal: kept too\n---\nbody\n")
    [problem] = errors(problems)
    assert (problem.line, problem.story_ids) == (line, ("A-1",))
    assert problem.mend
    assert story.acceptance_criteria == ("kept: yes",)
    assert (story.goal, story.body) == ("kept too", "body")


def test_frontmatter_that_is_never_closed_is_an_error_and_read_as_far_as_it_goes() -> None:
    story, problems = read("---\nid: A-1\ntitle: T\nacceptance_criteria:\n  - a\n\n# Heading\n\n## AC\n- b\n")
    [problem] = errors(problems)
    assert "never closed" in problem.message
    assert story.acceptance_criteria == ("a", "b")


def test_a_bomb_of_aliases_is_refused() -> None:
    levels = "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 9))
    story, problems = read(f"---\nid: A-1\nb0: &b0 [x]\n{levels}title: T\n---\n")
    assert any("expand" in problem.message or "names nothing" in problem.message for problem in errors(problems))
    assert story.title == "T"


def test_a_rule_inside_the_body_is_no_frontmatter() -> None:
    story, problems = read("---\nid: A-1\ntitle: T\n---\ntext\n\n---\n\nmore: text\n\n---\n")
    assert problems == []
    assert "more: text" in story.body
    assert read_file("x.md", b"---\n\n# Only a rule\n\n---\n\ntext\n") == ([], [])


def test_frontmatter_below_the_first_heading_is_read() -> None:
    story, problems = read("# A-1: Title\n\n---\nid: A-1\nstatus: done\n---\n\n## Acceptance Criteria\n- a\n")
    assert (story.title, story.status, story.acceptance_criteria) == ("Title", FileStatus.DONE, ("a",))
    assert problems == []
    assert "# A-1: Title" in story.body


def test_toml_frontmatter_is_read() -> None:
    story, problems = read(
        "+++\nid = 'A-1'\ntitle = 'T: t'\npriority = 2\ncreated_at = 2026-01-07\n"
        "acceptance_criteria = ['a: b']\n+++\nx\n"
    )
    assert (story.title, story.priority, story.created_at, story.acceptance_criteria) == (
        "T: t",
        2,
        "2026-01-07",
        ("a: b",),
    )
    assert problems == []
    story, problems = read("+++\nid = 'A-1'\npriority = \n+++\nx\n")
    assert story.id == "A-1"
    assert "TOML" in errors(problems)[0].message


@pytest.mark.parametrize("ending", ["\r\n", "\r", "\n"])
def test_line_ends_of_every_system(ending: str) -> None:
    source = "---\nid: A-1\ntitle: T\nacceptance_criteria:\n  - a: b\n---\n## AC\n- [ ] c\n".replace("\n", ending)
    [story], problems = read_file("x.md", source.encode())
    assert story.acceptance_criteria == ("a: b", "c")
    assert problems == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark_are_decoded(encoding: str) -> None:
    [story], problems = read_file("x.md", "---\nid: A-1\ntitle: Größe\n---\n".encode(encoding))
    assert (story.title, problems) == ("Größe", [])


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        ("---\nid: A-1\ntitle: Größe\n---\n".encode("latin-1"), "byte 21"),
        (b"---\nid: A\0\n", "byte 9"),
        (b"\xff\xfea", "byte 2"),
    ],
)
def test_other_encodings_are_an_error_with_the_byte(data: bytes, offset: str) -> None:
    stories, problems = read_file("ready/A-7-size.md", data)
    [problem] = problems
    assert (problem.level, problem.path, problem.story_ids) == ("error", "ready/A-7-size.md", ("A-7",))
    assert offset in problem.message
    assert [story.id for story in stories] == ["A-7"]
    assert read_file("size.md", data)[0] == []


def test_control_characters_do_not_survive() -> None:
    story, _ = read("---\nid: A-1\ntitle: a\x1b[31mb\x07\nacceptance_criteria:\n  - x\u202ey\n---\n\x1b]0;t\x07body\n")
    assert (story.title, story.acceptance_criteria, story.body) == ("ab", ("xy",), "body")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("README.md", "# Read me\n\nWords.\n\n| Story | Points |\n|---|---|\n| A-1 | 3 |\n"),
        ("PLAN.md", "# Plan\n\n**Status**: Draft\n\n### AC-7: no story\n**Status:** open\n"),
        ("docs/guide.md", "---\ntitle: Guide\nstatus: active\ntags: [x]\n---\n# Guide\n"),
        ("ADR-001-choice.md", "# ADR-001: Choice\n\n## Status\n\nAccepted\n"),
        ("report-2026-01-02.md", "# Report\n\n**Status:** done\n"),
        ("A-1/EPIC.md", "---\nid: A-1\ntitle: T\ntype: epic\n---\n"),
        ("ready/A-1/ELAB-A-1.md", "# Elaboration A-1\n\n## Acceptance Criteria\n- a\n"),
        ("ready/A-1/PROOF-A-1.md", "---\nstory_id: A-1\ntitle: Proof\ndoc_type: proof\n---\n"),
        ("ready/A-1/CONTEXT.md", "---\nstatus: active\n---\n"),
        ("004-plan.md", "# Plan\n\n**Status**: Draft\n\n## Success Criteria\n\n- all pass\n"),
        ("empty.md", ""),
    ],
)
def test_plain_documents_and_companions_are_no_stories_and_no_complaint(path: str, source: str) -> None:
    assert read_file(path, source.encode()) == ([], [])


def test_a_document_with_broken_frontmatter_that_was_meant_gets_a_warning() -> None:
    stories, problems = read_file("notes.md", b'---\nid: "\nstatus: x\n---\n')
    assert stories == []
    assert [problem.level for problem in problems] == ["warning"]
    assert "no story in this file" in problems[0].message


def test_a_file_with_countless_problems_tells_some_and_holds_back_all() -> None:
    rows = "".join(f"| A-{number} | T | odd |\n" for number in range(300))
    keys = "".join(f"k{number}: [\n" for number in range(300))
    _, problems = read_file("index.md", f"| ID | Title | Status |\n|---|---|---|\n{rows}".encode())
    assert len(problems) == 200
    assert problems[-1].message == "101 more problems in this file"
    story, problems = read(f"---\nid: A-1\ntitle: T\n{keys}---\n")
    assert len(problems) == 200
    assert {problem.story_ids for problem in problems} == {(story.id,)}
