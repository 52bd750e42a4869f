"""The checks over all stories, their order, and why one is or is not ready."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_dev.model import FileStatus
from auto_dev.stories import present
from auto_dev.stories.check import check
from auto_dev.stories.fingerprint import fingerprint
from auto_dev.stories.model import Backlog, Document, Problem, Story
from auto_dev.stories.order import cycles, dispatch_key, readiness, topological

pytestmark = pytest.mark.unit


def story(story_id: str, *needs: str, **more: Any) -> Story:
    told = {"title": story_id, "path": f"{story_id}.md", "goal": "g", "acceptance_criteria": ("a",), **more}
    return Story(id=story_id, depends_on=needs, **told)


def held(backlog: Backlog) -> set[str]:
    return set(backlog.held_back())


def test_duplicates_hold_back_all_of_them_and_name_the_files() -> None:
    backlog = check([story("A-1", path="a.md"), story("A-1", path="b/a.md"), story("A-2", "A-1")], [])
    [problem] = backlog.problems
    assert "a.md" in problem.message
    assert "b/a.md" in problem.message
    assert held(backlog) == {"A-1"}
    assert len(backlog.stories) == 3


def test_ids_that_differ_in_case_only_are_duplicates() -> None:
    backlog = check([story("a-1"), story("A-1")], [])
    assert held(backlog) == {"a-1", "A-1"}
    assert "differ in case only" in backlog.problems[0].message


def test_a_dangling_dependency_holds_back_the_story_that_has_it() -> None:
    backlog = check([story("A-1", "A-9", "A-8"), story("A-2", "A-1")], [])
    [problem] = backlog.problems
    assert problem.story_ids == ("A-1",)
    assert "A-9, A-8" in problem.message
    assert problem.path == "A-1.md"


def test_a_finished_story_with_a_dangling_dependency_is_only_a_warning() -> None:
    backlog = check([story("A-1", "A-9", status=FileStatus.DONE)], [])
    assert [problem.level for problem in backlog.problems] == ["warning"]


def test_a_cycle_holds_back_its_members_and_names_their_files() -> None:
    backlog = check([story("A", "B"), story("B", "C"), story("C", "A"), story("D", "A"), story("E")], [])
    [problem] = backlog.problems
    assert set(problem.story_ids) == {"A", "B", "C"}
    for name in ("A.md", "B.md", "C.md"):
        assert name in problem.message
    assert held(check([story("A", "A")], [])) == {"A"}


def test_a_cycle_through_a_finished_story_binds_nobody() -> None:
    assert not check([story("A", "B"), story("B", "A", status=FileStatus.DONE)], []).problems


def test_blocks_turns_round_into_a_dependency() -> None:
    backlog = check([story("A-1", blocks=("a-2", "A-9")), story("A-2", "A-0"), story("A-0")], [])
    assert backlog.stories[1].depends_on == ("A-0", "A-1")
    [problem] = backlog.problems
    assert (problem.level, problem.path) == ("warning", "A-1.md")
    assert "A-9" in problem.message


def test_a_cycle_through_blocks_is_found() -> None:
    assert held(check([story("A", "B", blocks=("B",)), story("B")], [])) == {"A", "B"}


def test_dependencies_are_found_in_another_case_or_by_file_name() -> None:
    stories = [
        story("WISH-1", path="x/WISH-1-gallery.md"),
        story("B", "wish-1"),
        story("C", "WISH-1-gallery"),
        story("D", "WISH-1-gallery.md"),
    ]
    backlog = check(stories, [])
    assert [s.depends_on for s in backlog.stories[1:]] == [("WISH-1",)] * 3
    assert not backlog.problems


def test_a_missing_id_is_an_error() -> None:
    assert held(check([story("", path="x.md")], [])) == {""}


def test_problems_of_reading_stay_first_and_files_are_counted() -> None:
    given_problem = Problem(level="warning", path="x.md", message="m")
    backlog = check([story("A", "B")], [given_problem], files=7)
    assert backlog.problems[0] is given_problem
    assert backlog.files == 7


def test_dispatch_goes_by_priority_then_age_then_place() -> None:
    late, early, none, urgent = (
        story("late", created_at="2026-02-01T00:00:00Z", position=0),
        story("early", created_at="2026-01-31T10:00:00-07:00", position=1),
        story("none", created_at="some day", position=2),
        story("urgent", priority=1, position=3),
    )
    again = story("again", position=4)
    ordered = sorted([again, none, late, early, urgent], key=dispatch_key)
    assert [s.id for s in ordered] == ["urgent", "early", "late", "none", "again"]


def test_topological_order_puts_dependencies_first_and_loses_nobody_in_a_cycle() -> None:
    stories = [
        story("C", "B", priority=1),
        story("B", "A"),
        story("A", "gone", priority=5),
        story("X", "Y"),
        story("Y", "X"),
        story("D", priority=2),
    ]
    assert topological(stories) == ["D", "A", "B", "C", "X", "Y"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40))
def test_order_and_cycles_agree(pairs: list[tuple[int, int]]) -> None:
    needs: dict[str, list[str]] = {str(n): [] for n in range(13)}
    for one, other in pairs:
        needs[str(one)].append(str(other))
    ordered = topological([story(name, *names) for name, names in needs.items()])
    assert sorted(ordered) == sorted(needs)
    caught = {name for cycle in cycles(needs) for name in cycle.all}
    for cycle in cycles(needs):
        around = [*cycle.path, cycle.path[0]]
        assert all(other in needs[name] for name, other in pairwise(around))
    if not caught:
        place = {name: number for number, name in enumerate(ordered)}
        assert all(place[other] < place[name] for name, names in needs.items() for other in names)
    else:
        assert all(any(reaches(needs, name, name) for name in [member]) for member in caught)


def reaches(edges: dict[str, list[str]], start: str, goal: str) -> bool:
    seen, pending = set(), list(edges[start])
    while pending:
        name = pending.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            pending += edges[name]
    return False


def test_a_chain_of_thousands_is_no_problem() -> None:
    stories = [story(f"S-{n}", *([f"S-{n - 1}"] if n else [])) for n in range(5000)]
    assert not check(stories, []).problems
    assert topological(stories)[-1] == "S-4999"
    ring = [*stories[1:], story("S-0", "S-4999")]
    assert len(check(ring, []).problems[0].story_ids) == 5000


def test_a_ready_story_says_why() -> None:
    read = readiness(story("A", "B"), {}, {"B"})
    assert read.ready
    assert read.reasons == (
        "A is ready: it has priority 3 and one acceptance criterion; what it depends on (B) is satisfied.",
    )


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (story("A", "B", "C"), "A is blocked: it waits for B and C."),
        (story("A", status=FileStatus.BACKLOG), "A is not ready: it is in the backlog, not yet handed over."),
        (story("A", status=FileStatus.PARKED, declared_status="uat"), "A is not ready: it is parked ('uat')."),
        (story("A", status=FileStatus.DONE), "A is not ready: it is done."),
        (story("A", goal=" "), "A has neither a goal nor a body: nobody could know what to do."),
        (story("A", acceptance_criteria=()), "A has no acceptance criterion: auto-dev asks for one before it starts."),
    ],
)
def test_an_unready_story_says_why(one: Story, reason: str) -> None:
    read = readiness(one, {}, set())
    assert (read.ready, read.reasons) == (False, (reason,))
    assert read.needs_criterion is (not one.acceptance_criteria)


def test_a_story_held_back_shows_the_error() -> None:
    problem = Problem(level="error", path="A.md", message="the frontmatter is never closed", mend="Close it.", line=1)
    read = readiness(story("A"), {"A": problem}, set())
    assert read.reasons == ("A is held back by an error: A.md:1: the frontmatter is never closed. Close it.",)
    assert not readiness(story("A", acceptance_criteria=()), {"A"}, set()).needs_criterion


def test_the_shapes_for_the_command_line() -> None:
    stories = [story("A"), story("B", "A", path="i.md"), story("C", "gone", path="i.md")]
    warned = Problem(level="warning", path="late.md", message="m", line=3)
    backlog = check(stories, [warned], files=4, documents=(Document(path="README.md", kind="document"),))
    told = present.check(backlog)
    assert told["counts"] == {"files": 4, "stories": 3, "held": 1, "errors": 1, "warnings": 1}
    assert told["ok"] is False
    assert [(file["path"], file["kind"]) for file in told["files"]] == [
        ("A.md", "story"),
        ("README.md", "document"),
        ("i.md", "index"),
        ("late.md", "unreadable"),
    ]
    assert told["files"][2]["problems"][0]["stories"] == ["C"]
    listed = present.listing(backlog, set())
    assert [(row["id"], row["ready"]) for row in listed["stories"]] == [("A", True), ("B", False), ("C", False)]
    told = present.explain(backlog, "b", {"A"}) or {}
    assert (told["id"], told["ready"], told["depends_on"]) == (
        "B",
        True,
        [{"id": "A", "satisfied": True, "status": "ready"}],
    )
    assert (present.explain(backlog, "A", set()) or {})["dependents"] == ["B"]
    assert told["problems"] == []  # C's error in the same file is not B's
    assert present.explain(backlog, "Z", set()) is None


def test_fingerprints_tell_stories_apart() -> None:
    assert len(fingerprint(story("A"))) == 64
    assert fingerprint(story("A")) != fingerprint(story("A", "B"))
