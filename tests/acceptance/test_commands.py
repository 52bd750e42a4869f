"""Every command in every state: never started, after a pass, while a daemon runs, after it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

START = ("start", "plans", "--yes", "--no-sandbox")
ONCE = (*START, "--once")
STORIES: dict[str, list[str]] = {"A-1": [], "A-2": ["A-1"], "UNSURE-1": []}

ANYWHERE = {  # what these print as JSON, at its first level; a daemon or a history is not needed
    "status": {"stories", "decisions", "cost_today_usd", "daily_budget_usd", "paused", "panic", "daemon"},
    "decide": {"decisions"},
    "prs": {"pull_requests"},
    "logs": {"events", "files"},
    "budget": {"day", "week", "stories"},
    "worktrees": {"worktrees"},
    "worktrees --cleanup": {"removed", "kept"},
}
WITHOUT_HISTORY = {
    "stop": {"stopped"},
    "doctor": {"findings"},
    "stories check plans": {"files", "counts", "ok"},
    "stories list plans": {"stories"},
    "stories explain A-2 plans": {
        "id", "ready", "needs_criterion", "reasons", "depends_on", "dependents", "story", "problems",
    },
}  # fmt: skip
WITH_HISTORY = {
    "summary": {"project_id", "day", "since", "completed", "paused", "failed", "running", "cost_usd", "today"},
    "budget history": {"days"},
    "logs a-1": {"events", "files"},
    "budget raise day --to 60 --yes": {"scope", "key", "limit_usd", "resumed"},
    "pause": {"paused"},
    "resume": {"paused", "resumed"},
    "panic": {"panic", "new", "stopped", "ended", "left"},
    "release": {"released", "panic", "resumed"},
}
STORY = {"id", "title", "status", "reason", "phase", "progress", "pr", "branch", "cost_usd", "triggered_by"}
STARTED = {"ordered", "ready", "estimate_usd", "pid", "exit_code", "status"}


def test_the_shapes_are_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text("utf-8")
    for call, keys in {**ANYWHERE, **WITHOUT_HISTORY, **WITH_HISTORY, "status": STORY, "start": STARTED}.items():
        for key in keys:
            assert f"`{key}`" in page, f"{call}: {key}"


def check_shapes(world: Any, shapes: dict[str, set[str]]) -> None:
    for call, keys in shapes.items():
        done = world.call(*call.split(), "--json")
        assert (done.returncode, done.stderr) == (0, ""), call
        assert keys <= set(json.loads(done.stdout)), f"{call}: {done.stdout}"


def test_commands_answer_before_after_and_beside_a_daemon(make_world: Any, wait_for: Any) -> None:
    world = make_world(STORIES)
    check_shapes(world, {**ANYWHERE, **WITHOUT_HISTORY})
    for call in ("pause", "summary", "skip A-1", "abort A-1", "retry A-1"):
        done = world.call(*call.split(), "--json")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("auto-dev: error: auto-dev has not worked on ")
        assert done.stderr.endswith("Begin with `auto-dev start DIR`.\n")

    done = world.call(*ONCE, "--json")
    assert (done.returncode, done.stderr) == (3, "")
    facts = json.loads(done.stdout)
    assert set(facts) == STARTED
    assert (facts["exit_code"], facts["pid"], facts["ready"]) == (3, None, 2)
    assert facts["ordered"] == ["A-1", "A-2", "UNSURE-1"]
    assert facts["status"] == world.json("status")
    assert [set(story) for story in facts["status"]["stories"]] == [STORY] * 3
    (kept,) = world.json("worktrees")["worktrees"]  # what the others needed is gone with their runs
    assert (kept["story"], kept["leased"], kept["unsaved"]) == ("UNSURE-1", False, "")
    check_shapes(world, {**ANYWHERE, **WITH_HISTORY})
    assert world.json("status")["daily_budget_usd"] == 60
    assert set(world.json("retry", "UNSURE-1")) == {"story", "run"}
    assert world.json("skip", "unsure-1", "--reason", "later")["status"] == "skipped"

    world.write_story("UNSURE-2", [])
    with world.daemon():
        wait_for(lambda: world.statuses().get("UNSURE-2") == "waiting", 60)
        for call in (*ANYWHERE, "pause", "resume"):
            plain = world.call(*call.split())
            assert (plain.returncode, plain.stderr) == (0, ""), call
            assert plain.stdout.strip()
        assert set(world.json("status")["daemon"]) == {"pid", "uptime_s"}
        aborted = world.json("abort", "UNSURE-2", "--discard")
        assert set(aborted) == {"story", "status", "kept"}
        assert aborted["status"] == "aborted"
        assert world.call("abort", "UNSURE-2").returncode == 2
        assert set(world.json("stop")) == {"stopped", "pid"}


def test_run_takes_one_story_and_says_why_it_cannot(make_world: Any) -> None:
    world = make_world(STORIES)
    run = ("--dir", "plans", "--no-sandbox")
    done = world.call("run", "a-1", *run, "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == STARTED
    assert world.statuses() == {"A-1": "in_review", "A-2": "ready", "UNSURE-1": "ready"}
    assert world.call("run", "UNSURE-1", *run).returncode == 3
    for story, words in {"A-1": "auto-dev retry A-1", "UNSURE-1": "auto-dev decide"}.items():
        again = world.call("run", story, *run, "--json")
        assert (again.returncode, again.stdout) == (1, "")
        assert words in again.stderr
    assert world.call("run", "NOPE-1", *run).returncode == 2
    assert world.agent_calls() == {"A-1 implement": 1, "UNSURE-1 implement": 1}


def test_a_broken_configuration_does_not_keep_a_person_from_looking_and_stopping(
    make_world: Any, wait_for: Any
) -> None:
    world = make_world({"UNSURE-1": [], "A-1": []})
    with world.daemon() as process:
        wait_for(lambda: world.statuses() == {"UNSURE-1": "waiting", "A-1": "in_review"}, 60)
        (world.repo / "auto-dev.toml").write_text("[agent\n")
        for call in ("status", "prs", "logs", "decide", "pause", "resume", "skip UNSURE-1", "stop"):
            done = world.call(*call.split(), "--json")
            assert done.returncode == 0, done.stderr
            json.loads(done.stdout)
            assert done.stderr.startswith("auto-dev: warning: ")
            assert "auto-dev.toml: not TOML" in done.stderr
        process.wait(timeout=30)
    for refused in (("budget",), ("retry", "A-1"), START):
        assert world.call(*refused).returncode == 1


def daemons(world: Any) -> list[int]:
    """The daemons of this world's projects, by what they were started with."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            command = (path / "cmdline").read_bytes() if path.name.isdigit() else b""
        except OSError:
            continue
        if b"auto_dev.daemon" in command and str(world.folder).encode() in command:
            found.append(int(path.name))
    return found


def test_a_daemon_in_the_background_is_started_once_ordered_again_killed_and_stopped(
    make_world: Any, wait_for: Any
) -> None:
    world = make_world({"A-1": [], "A-2": ["A-1"]}, env={"SLOW": "0.3"})
    started = world.call(*START)
    assert started.returncode == 0, started.stderr
    (pid,) = daemons(world)
    assert started.stdout.splitlines()[:2] == [
        f"Daemon started (PID {pid})", "Found 1 story ready to start, 1 more depends on others",
    ]  # fmt: skip
    world.write_story("B-1", [])
    again = world.call(*START, "--daily-budget", "5")
    assert again.returncode == 0
    assert again.stdout == f"The running daemon (PID {pid}) takes the order: 3 stories.\n"
    assert "keeps the flags that it began with" in again.stderr
    assert json.loads(world.call(*START, "--json").stdout)["pid"] == pid
    (world.repo / "more").mkdir()
    (world.repo / "more" / "C-1.md").write_text((world.repo / "plans" / "B-1.md").read_text().replace("B-1", "C-1"))
    for call in (
        ONCE,
        (*START, "--foreground"),
        ("run", "A-1", "--dir", "plans", "--no-sandbox"),
        ("start", "more", *START[2:]),
    ):
        refused = world.call(*call)
        assert refused.returncode == 1
        assert f"PID {pid}" in refused.stderr
        assert "auto-dev stop" in refused.stderr
    wait_for(lambda: set(world.statuses().values()) == {"in_review"}, 60)

    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not daemons(world))
    assert world.json("status")["daemon"] is None
    assert world.json("stop") == {"stopped": False}
    world.write_story("D-1", [])
    second = json.loads(world.call(*START, "--json").stdout)
    assert daemons(world) == [second["pid"]]
    wait_for(lambda: world.status_of("D-1") == "in_review", 60)
    stopped = world.call("stop")
    assert stopped.returncode == 0
    assert stopped.stdout.endswith("Stopped. `auto-dev start` goes on where it was.\n")
    assert daemons(world) == []
    world.assert_no_process_left()
    assert world.branches() == {f"auto-dev/{story}" for story in ("A-1", "A-2", "B-1", "D-1")}
    assert set(world.agent_calls().values()) == {1}


@pytest.mark.parametrize("moment", ["spawned", "up", "counting"])
def test_ctrl_c_cancels_a_start_at_any_moment(make_world: Any, wait_for: Any, moment: str) -> None:
    world = make_world({"A-1": []})
    process = interactive(world)
    if moment == "counting":
        assert process.stdout is not None
        assert any("Ctrl+C to cancel" in line for line in iter(process.stdout.readline, ""))
    else:
        wait_for(lambda: daemons(world), 60)
        wait_for(lambda: moment == "spawned" or world.json("status")["daemon"], 60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.splitlines()[-1]) == (130, "Cancelled; no story was started."), err
    assert err == ""
    assert daemons(world) == []
    assert world.json("status")["daemon"] is None
    assert world.agent_calls() == {}
    assert world.statuses() == {"A-1": "queued"}


def test_a_daemon_outlives_a_start_that_is_killed(make_world: Any, wait_for: Any) -> None:
    world = make_world({"A-1": []})
    process = interactive(world, "--yes")
    wait_for(lambda: daemons(world), 60)
    process.kill()
    process.communicate()
    wait_for(lambda: world.statuses() == {"A-1": "in_review"}, 60)
    assert world.call("stop").returncode == 0
    assert daemons(world) == []
    (log,) = (world.folder / "home").rglob("daemon.log")
    assert "Traceback" not in log.read_text()


def test_ctrl_c_ends_the_foreground(make_world: Any, wait_for: Any) -> None:
    world = make_world({"A-1": []}, env={"SLOW": "1"})
    process = interactive(world, "--foreground", "--yes")
    wait_for(world.agent_calls, 60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    world.assert_no_process_left()
    assert world.json("status")["daemon"] is None
    assert world.statuses() == {"A-1": "paused"}  # its step was completed, the next daemon goes on
    assert world.call(*ONCE).returncode == 0
    assert world.agent_calls() == {"A-1 implement": 1}


def interactive(world: Any, *more: str) -> subprocess.Popen[str]:
    """``start`` with its streams apart, to be interrupted."""
    return subprocess.Popen(
        [sys.executable, "-m", "auto_dev", "start", "plans", "--no-sandbox", *more], cwd=world.repo,
        env=world.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_another_database_than_the_projects_own_is_refused(make_world: Any) -> None:
    world = make_world({"A-1": []})
    url, world.database_url = world.database_url, None
    assert world.call(*ONCE, "--database-url", url).returncode == 0
    done = world.call("status")
    assert done.returncode == 1
    assert "AUTO_DEV_DATABASE_URL: this project's state is in PostgreSQL at " in done.stderr
    world.database_url = url
    assert world.statuses() == {"A-1": "in_review"}


def test_what_is_held_up_is_said(make_world: Any) -> None:
    world = make_world({"A-1": []})
    broke = world.call(*ONCE, "--daily-budget", "0")
    assert broke.returncode == 4
    assert broke.stdout.splitlines()[-1] == "Ended: 1 not started (the budget is reached)."
    assert world.call("pause").returncode == 0
    paused = world.call(*ONCE)
    assert paused.returncode == 1  # a script that reads 0 may rely on all being done
    assert "`auto-dev resume` goes on" in paused.stdout.splitlines()[-1]
    assert paused.stderr.startswith("auto-dev: warning: the project is paused")
    assert world.call("resume").stdout.startswith("Resumed; 0 paused runs go on.")
    hour = datetime.now(UTC).hour
    outside = world.call(*ONCE, "--schedule", f"{(hour + 3) % 24:02}:00-{(hour + 4) % 24:02}:00")
    assert (outside.returncode, outside.stderr) == (1, "")
    assert outside.stdout.splitlines()[-1].startswith("Ended: 1 not started (outside the schedule ")
    done = world.call(*ONCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Ended: 1 in review."
    assert world.call("pause").returncode == 0
    assert world.call(*ONCE).returncode == 0  # nothing is held up: all was done before
