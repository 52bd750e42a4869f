"""The main job through the real command: a folder of stories in, branches and decisions out."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance

CONFIG = """
[project]
write_back = true
[agent]
kind = "command"
command = ["./agent.sh"]
"""


def test_good_stories_become_stacked_branches_and_bad_ones_ask(make_world) -> None:  # type: ignore[no-untyped-def]
    bad = {"BROKEN-1": [], "MUTE-1": [], "EMPTY-1": [], "WAITS-1": ["BROKEN-1"]}
    world = make_world({"A-1": [], "A-2": ["A-1"], "A-3": ["A-2"], **bad})
    before = snapshot(world.repo)
    code, out = world.once()
    assert code == 3, out
    assert world.branches() == {"auto-dev/A-1", "auto-dev/A-2", "auto-dev/A-3"}
    for child, parent in (("A-1", "main"), ("A-2", "auto-dev/A-1"), ("A-3", "auto-dev/A-2")):
        assert world.git("rev-parse", f"auto-dev/{child}^", cwd=world.remote) == world.git(
            "rev-parse", parent, cwd=world.remote
        )
    assert world.git("rev-parse", "main", cwd=world.remote) == world.git("rev-parse", "main")
    assert snapshot(world.repo) == before
    assert world.statuses() == {
        "A-1": "in_review", "A-2": "in_review", "A-3": "in_review", "BROKEN-1": "waiting", "MUTE-1": "waiting",
        "EMPTY-1": "waiting", "WAITS-1": "blocked",
    }  # fmt: skip
    asked = world.json("decide")["decisions"]
    assert {decision["story"] for decision in asked} == {"BROKEN-1", "MUTE-1", "EMPTY-1"}
    assert all(2 <= len(decision["options"]) <= 5 for decision in asked)
    # The agent got its repair attempts with the evidence before a person was asked, and no more than those.
    assert 2 <= world.ledger.read_text().split("\n").count("BROKEN-1 implement") <= 3


def test_the_pull_request_carries_the_status_where_the_project_wants_that(make_world) -> None:  # type: ignore[no-untyped-def]
    world = make_world({"A-1": [], "A-2": ["A-1"]}, config=CONFIG)
    code, out = world.once()
    assert code == 0, out
    for story in ("A-1", "A-2"):
        text = world.git("show", f"auto-dev/{story}:plans/{story}.md", cwd=world.remote)
        assert "\nstatus: done\n" in text
    assert "\nstatus: ready\n" in world.git("show", "main:plans/A-1.md", cwd=world.remote)
    assert "\nstatus: ready\n" in (world.repo / "plans" / "A-1.md").read_text()


def snapshot(repo: Path) -> dict[str, bytes]:
    """Every file of the user's checkout, git's own included."""
    return {str(p.relative_to(repo)): p.read_bytes() for p in sorted(repo.rglob("*")) if p.is_file()}
