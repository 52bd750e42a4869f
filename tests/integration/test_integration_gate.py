"""Conflicts with the base and with other stories, through the whole daemon."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from auto_dev.errors import ExitCode

pytestmark = pytest.mark.integration


def git(cwd: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True, timeout=60).stdout


def agent(project: Any, script: str) -> None:
    """Let the agent run ``script``; how often it was called for its story is ``$turn``."""
    head = 'echo x >> "$0.$AUTO_DEV_STORY"\nturn=$(wc -l < "$0.$AUTO_DEV_STORY")\n'
    report = 'echo \'{"summary": "done", "confidence": 0.95}\' > "$AUTO_DEV_REPORT"\n'
    (project.root / "agent.sh.script").write_text(head + report + script)
    (project.root / "agent.sh").write_text('#!/bin/sh\n. "$0.script"\n')


def shared(project: Any) -> None:
    (project.root / "shared.txt").write_text("one\ntwo\nthree\n")
    git(project.root, "add", "-A")
    git(project.root, "commit", "-qm", "a file that all stories want")


async def test_a_base_that_moved_on_is_laid_into_the_worktree_for_the_agent(project: Any) -> None:
    """The user commits while the agent works; the second turn finds git's markers and resolves them."""
    made = project({"A-1": []})
    shared(made)
    commit = "git -c user.name=U -c user.email=u@e.f commit -qam theirs"
    theirs = f"cd {made.root} && sed -i s/two/theirs/ shared.txt && {commit}"
    agent(
        made,
        f'if [ "$turn" = 1 ]; then sed -i s/two/ours/ shared.txt; ({theirs})\n'
        'else cp shared.txt "$0.seen"; printf "one\\nboth\\nthree\\n" > shared.txt; fi\n',
    )
    assert await made.once() is ExitCode.DONE
    seen = (made.root / "agent.sh.seen").read_text()
    assert "<<<<<<<" in seen
    assert "theirs" in seen
    assert "ours" in seen
    rounds = await made.fetch("SELECT round, route, evidence FROM verdicts WHERE gate = 'integration' ORDER BY round")
    assert [(row["round"], row["route"]) for row in rounds] == [(0, "repair"), (1, "proceed")]
    assert "ours" in rounds[0]["evidence"][0]["excerpt"]
    (run,) = await made.fetch("SELECT * FROM runs")
    assert run["base_sha"] == git(made.root, "rev-parse", "main").strip()
    (mirror,) = made.home.glob("projects/*/mirror.git")
    assert git(mirror, "show", f"{run['branch']}:shared.txt") == "one\nboth\nthree\n"
    assert git(mirror, "diff", "--name-only", run["base_sha"], run["branch"]) == "shared.txt\n"


async def test_two_stories_that_conflict_are_noted_and_ordered(project: Any) -> None:
    made = project({"A-1": [], "B-1": []}, "[run]\nmax_parallel = 1\n")
    shared(made)
    agent(made, 'sed -i "s/two/$AUTO_DEV_STORY/" shared.txt; echo "$AUTO_DEV_STORY" > "$AUTO_DEV_STORY.txt"\n')
    assert await made.once() is ExitCode.DONE
    rows = await made.fetch(
        "SELECT r.story_id, v.verdict, v.route, v.evidence FROM verdicts v JOIN runs r ON r.id = v.run_id"
        " WHERE v.gate = 'integration' ORDER BY v.id"
    )
    assert [(row["story_id"], row["verdict"]) for row in rows] == [("A-1", "pass"), ("B-1", "concerns")]
    (item,) = rows[1]["evidence"]
    assert (item["story"], item["files"]) == ("A-1", ["shared.txt"])
    assert item["advice"].startswith("A-1 first: it is in review already")


async def test_a_story_that_is_built_on_another_one_does_not_conflict_with_it(project: Any) -> None:
    made = project({"A-1": [], "B-1": ["A-1"]})
    shared(made)
    agent(made, 'sed -i "s/^two.*/two $AUTO_DEV_STORY/" shared.txt\n')
    assert await made.once() is ExitCode.DONE
    rows = await made.fetch("SELECT verdict FROM verdicts WHERE gate = 'integration'")
    assert {row["verdict"] for row in rows} == {"pass"}


async def test_a_conflict_that_nothing_orders_asks_and_an_answer_holds(project: Any) -> None:
    made = project({"A-1": [], "B-1": []}, '[run]\nmax_parallel = 1\n[gates.integration]\noverlaps = "ask"\n')
    shared(made)
    agent(made, 'sed -i "s/two/$AUTO_DEV_STORY/" shared.txt\n')
    assert await made.once() is ExitCode.WAITS
    (asked,) = await made.fetch("SELECT * FROM decisions")
    assert (asked["story_id"], asked["kind"]) == ("B-1", "integration")
    async with made.open() as daemon:
        await made.control(daemon).answer(asked["id"], "waive", "I merge A-1 first")
        assert await daemon.serve() is ExitCode.DONE
    assert set((await made.statuses()).values()) == {"in_review"}
