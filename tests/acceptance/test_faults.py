"""Faults from outside: the database dies, the daemon freezes, a person intervenes; nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

STORIES = {
    "A-1": [], "A-2": ["A-1"], "A-3": ["A-2"], "A-4": ["A-3"], "A-5": ["A-4"],
    "B-1": [], "C-1": ["A-1", "B-1"], "D-1": [], "BROKEN-1": [],
}  # fmt: skip
GOOD = set(STORIES) - {"BROKEN-1"}
KILLS = int(os.environ.get("AUTO_DEV_TEST_DATABASE_KILLS", "3"))
START = ("start", "plans", "--yes", "--no-sandbox")
ONCE = (*START, "--once", "--foreground")

STUBBORN = """#!/bin/sh
# An agent that does not want to end: it ignores signals, and so do its children, one in a session of its own.
trap '' TERM INT HUP
echo "$AUTO_DEV_STORY $AUTO_DEV_PHASE" >> "@LEDGER@"
mkdir -p src; echo "$AUTO_DEV_STORY" > "src/$AUTO_DEV_STORY.txt"
if [ -e "@HOLD@" ]; then
  setsid sh -c "trap '' TERM INT HUP; while :; do sleep 1; done" &
  (while :; do sleep 1; done) &
fi
while [ -e "@HOLD@" ]; do sleep 0.05; done
echo '{"summary": "done", "confidence": 0.95}' > "$AUTO_DEV_REPORT"
"""


# ── the database ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_database_may_be_killed_at_any_moment(make_world: Any, wait_for: Any) -> None:
    """The daemon goes on by itself, without a restart."""
    seed = int(os.environ.get("AUTO_DEV_TEST_SEED") or random.randrange(10**6))  # told in every message
    chance = random.Random(seed)
    world = make_world(STORIES, embedded=True, env={"SLOW": "0.8"})
    process, kills = world.spawn(*ONCE), 0
    wait_for(lambda: world.agent_calls() or process.poll() is not None, 60, "for the first agent")
    while kills < KILLS and process.poll() is None:
        kills += kill_database(world, process, wait_for, chance)
        with_deadline(process, chance.uniform(0.1, 2.0))
    out, _ = process.communicate(timeout=150)
    assert process.returncode == 3, f"seed {seed}, {kills} kills: {out}"
    world.assert_exactly_once(GOOD, STORIES)
    world.assert_nothing_stranded()
    assert {s for s, status in world.statuses().items() if status == "in_review"} == GOOD
    assert kills == KILLS, f"seed {seed}: the run was over before the server was killed often enough"


def test_database_and_daemon_may_be_killed_together(make_world: Any, wait_for: Any) -> None:
    seed = int(os.environ.get("AUTO_DEV_TEST_SEED") or random.randrange(10**6))
    chance = random.Random(seed)
    world = make_world(STORIES, embedded=True, env={"SLOW": "0.8"})
    for _ in range(KILLS):
        process = world.spawn(*ONCE)
        calls = world.agent_calls().total()
        wait_for(lambda calls=calls, p=process: world.agent_calls().total() > calls or p.poll() is not None, 60)
        with_deadline(process, chance.uniform(0.0, 1.0))
        kill_database(world, process, wait_for, chance)
        with_deadline(process, chance.choice([0.0, 0.05, 0.5]))
        process.kill()
        process.communicate()
        world.assert_no_process_left()
    code, out = world.once(timeout=120)
    assert code == 3, f"seed {seed}: {out}"
    world.assert_exactly_once(GOOD, STORIES)
    world.assert_nothing_stranded()


def kill_database(world: Any, process: subprocess.Popen[str], wait_for: Any, chance: random.Random) -> int:
    """SIGKILL, or PostgreSQL's immediate shutdown; 0 when the daemon ended before there was a server to kill."""
    wait_for(lambda: world.postmaster() or process.poll() is not None, 60, "for the server")
    server = world.postmaster()
    if server is None or process.poll() is not None:
        return 0
    os.kill(server, chance.choice([signal.SIGKILL, signal.SIGQUIT]))
    return 1


def with_deadline(process: subprocess.Popen[str], seconds: float) -> None:
    """Wait so long, or until the process ends."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


# ── a frozen daemon ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_daemon_that_was_frozen_past_its_lease_writes_nothing_more(make_world: Any, wait_for: Any) -> None:
    world = stubborn(make_world({"A-1": []}))
    with held(world), world.daemon() as process:
        wait_for(world.agent_calls, 60)
        process.send_signal(signal.SIGSTOP)
        world.sql("UPDATE leases SET owner = 'another-host', epoch = epoch + 1, expires_at = now() + '1 hour'")
        facts = "SELECT status, node, progress, head_sha, hint FROM runs"
        before = world.sql(facts), checkpoints(world)
        process.send_signal(signal.SIGCONT)
        world.assert_no_process_left(15.0)
        assert (world.sql(facts), checkpoints(world)) == before
        assert world.sql("SELECT owner FROM leases") == [{"owner": "another-host"}]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert (world.sql(facts), checkpoints(world)) == before
    assert world.branches() == set()


def checkpoints(world: Any) -> Any:
    return world.sql("SELECT count(*) AS n, max(checkpoint_id) AS last FROM auto_dev_checkpoints.checkpoints")


# ── one instance ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_several_starts_one_runs_and_the_others_say_so(make_world: Any, wait_for: Any) -> None:
    world = stubborn(make_world({"A-1": []}))
    with held(world):
        starts = [world.spawn(*START, "--foreground") for _ in range(4)]
        try:
            wait_for(lambda: sum(process.poll() is None for process in starts) == 1, 120)
            refused = [process for process in starts if process.poll() is not None]
            for process in refused:
                last = process.communicate()[0].strip().splitlines()[-1]
                assert (process.returncode, "a daemon already works on this project" in last) == (1, True), last
            wait_for(world.agent_calls, 60)
            assert world.agent_calls() == {"A-1 implement": 1}
        finally:
            for process in starts:
                process.kill()
                process.wait()
                process.stdout.close()


def test_a_forged_instance_file_is_no_refusal_and_nobody_else_is_signalled(make_world: Any) -> None:
    """A recycled PID, that of this very test: tests/integration/test_daemon_instance.py has the other ways."""
    world = make_world({"A-1": []})
    assert world.once()[0] == 0
    (state,) = (world.folder / "home" / "projects").iterdir()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    forged = {"pid": os.getpid(), "started": 12345, "boot": boot, "version": "0", "daemon_id": "x"}
    (state / "daemon.json").write_text(json.dumps(forged))
    code, out = world.run("stop")
    assert (code, "No daemon runs here" in out) == (0, True), out
    assert world.once()[0] == 0


# ── being stopped ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_gentle_stop_completes_the_node_and_the_next_start_goes_on_after_it(make_world: Any, wait_for: Any) -> None:
    world = stubborn(make_world({"A-1": []}))
    with held(world):
        process = world.spawn(*ONCE)
        wait_for(world.agent_calls, 60)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)  # it waits for the agent
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130, out  # stopped before its work was over
    assert world.sql("SELECT status, reason FROM runs") == [{"status": "paused", "reason": "stopped"}]
    world.assert_no_process_left()
    assert world.once()[0] == 0
    assert world.agent_calls() == {"A-1 implement": 1}
    world.assert_exactly_once(["A-1"], ["A-1"])


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_ends_everything_at_once(make_world: Any, wait_for: Any, first: signal.Signals) -> None:
    world = stubborn(make_world({"A-1": []}))
    with held(world), world.daemon() as process:
        wait_for(world.agent_calls, 60)
        for pause_s in (0.5, 10.0, 10.0):  # two equal signals may arrive as one, on a busy machine
            process.send_signal(first)
            with_deadline(process, pause_s)
            if process.poll() is not None:
                break
        assert process.poll() == (130 if first is signal.SIGINT else 0)
        world.assert_no_process_left()
        assert world.sql("SELECT status, reason FROM runs") == [{"status": "paused", "reason": "stopped"}]
        assert kept_work(world, "A-1")
    assert world.once()[0] == 0
    assert world.agent_calls() == {"A-1 implement": 2}
    world.assert_exactly_once(["A-1"], ["A-1"])


@pytest.mark.parametrize("now", [False, True])
def test_stopping_a_daemon_in_the_background(make_world: Any, wait_for: Any, now: bool) -> None:
    world = stubborn(make_world({"A-1": [], "B-1": ["A-1"]}))
    with held(world):
        code, out = world.run(*START)
        assert code == 0, out
        wait_for(world.agent_calls, 60)
        stop = world.spawn("stop", *(["--now"] if now else []))
        said = ""
        if not now:
            assert stop.stdout is not None
            said = stop.stdout.readline()  # told when the daemon has got its signal
            assert said.startswith("Stopping (PID ")
            assert stop.poll() is None, "it did not wait for the step under way"
            hold_of(world).unlink()
        out, _ = stop.communicate(timeout=60)
        assert (stop.returncode, "Stopped" in out) == (0, True), said + out
        world.assert_no_process_left()
        assert kept_work(world, "A-1")
    assert world.once()[0] == 0
    assert world.agent_calls() == {"A-1 implement": 2 if now else 1, "B-1 implement": 1}


# ── a person intervenes ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verb", ["abort", "skip"])
def test_a_running_story_is_ended_and_tried_again(make_world: Any, wait_for: Any, verb: str) -> None:
    world = stubborn(make_world({"A-1": []}))
    with held(world), world.daemon():
        wait_for(world.agent_calls, 60)
        began = time.monotonic()
        assert world.run(verb, "A-1")[0] == 0
        world.assert_no_process_left(5.0)
        assert time.monotonic() - began < 10  # the command itself starts an interpreter
        assert world.status_of("A-1") == ("ready" if verb == "abort" else "skipped")
        assert kept_work(world, "A-1")
        hold_of(world).unlink()
        assert world.run("retry", "A-1")[0] == 0
        wait_for(lambda: world.status_of("A-1") == "in_review", 60)
        salvaged = world.git("for-each-ref", "refs/auto-dev/salvage", cwd=mirror(world))
        assert salvaged, "what the ended agent left is nowhere"
        hold_of(world).touch()
    assert world.agent_calls() == {"A-1 implement": 2}


# ── money ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_limit_in_mid_story_pauses_and_a_raise_lets_it_go_on(make_world: Any) -> None:
    world = replaying(make_world({}))
    code, out = world.once("--daily-budget", "0.20")
    assert code == 4, out
    assert_within_caps(world)
    paused = world.sql("SELECT reason FROM runs WHERE status = 'paused'")
    assert paused
    assert all(row["reason"].startswith("budget:") for row in paused)
    assert 0 < world.json("budget")["day"]["spent_usd"] <= 0.20
    code, out = world.run("budget", "raise", "day", "--to", "5", "--yes")
    assert code == 0, out
    code, out = world.once("--daily-budget", "0.20")
    assert code == 0, out
    assert_within_caps(world)
    assert set(world.statuses().values()) == {"in_review"}
    booked = world.sql("SELECT status, count(*) AS n FROM reservations GROUP BY 1")
    assert [row["status"] for row in booked] == ["settled"]


def test_a_budget_of_nothing_starts_nothing(make_world: Any) -> None:
    world = replaying(make_world({}))
    code, out = world.once("--daily-budget", "0")
    assert code == 4, out
    assert world.sql("SELECT id FROM runs") == []


def test_a_request_that_the_kill_interrupted_is_charged_in_full(make_world: Any, wait_for: Any) -> None:
    world = replaying(make_world({}), only=["TODO-001"])
    recording = world.repo / ".recordings" / "TODO-001.json"
    told = json.loads(recording.read_text())
    told["conversations"][0]["turns"][1]["delay_s"] = 60
    recording.write_text(json.dumps(told))
    process = world.spawn(*ONCE)
    opened = "SELECT id, amount_microusd FROM reservations WHERE status = 'open'"
    # The second turn is the slow one: the first must be settled already.
    wait_for(
        lambda: world.sql("SELECT 1 FROM reservations WHERE status = 'settled'") and world.sql(opened), 60, "for turn 2"
    )
    process.kill()
    process.communicate()
    (lost,) = world.sql(opened)
    assert world.run("pause")[0] == 0  # charged even if its run does not go on
    world.once()
    (row,) = world.sql("SELECT status, charged_microusd, note FROM reservations WHERE id = %s", lost["id"])
    assert (row["status"], row["charged_microusd"]) == ("settled", lost["amount_microusd"])
    assert "owner ended" in row["note"]
    assert_within_caps(world)


def assert_within_caps(world: Any) -> None:
    rows = world.sql("SELECT * FROM budget_windows")
    assert rows
    assert all(row["spent_microusd"] + row["overrun_microusd"] <= row["cap_microusd"] for row in rows), rows
    assert all(row["reserved_microusd"] == 0 for row in rows), rows


# ── the schedule, the folder ──────────────────────────────────────────────────────────────────────────────────────


def test_outside_the_schedule_nothing_starts(make_world: Any) -> None:
    world = make_world({"A-1": []})
    hour = time.gmtime().tm_hour
    _, out = world.once("--schedule", f"{(hour + 3) % 24:02}:00-{(hour + 4) % 24:02}:00")
    assert world.agent_calls() == {}, out
    assert world.sql("SELECT id FROM runs") == []


# ── helpers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def hold_of(world: Any) -> Path:
    return Path(world.folder / "hold")


@contextmanager
def held(world: Any) -> Iterator[None]:
    """While the block runs, stubborn agents do not come to an end."""
    hold_of(world).touch()
    try:
        yield
    finally:
        hold_of(world).unlink(missing_ok=True)


def stubborn(world: Any) -> Any:
    """The world with the agent that does not want to end."""
    text = STUBBORN.replace("@LEDGER@", str(world.ledger)).replace("@HOLD@", str(hold_of(world)))
    (world.repo / "agent.sh").write_text(text)
    return world


def mirror(world: Any) -> Path:
    (found,) = (world.folder / "home" / "projects").glob("*/mirror.git")
    return Path(found)


def kept_work(world: Any, story: str) -> bool:
    """Whether the file that the agent wrote is still in its worktree, or salvaged from it."""
    if any((world.folder / "home" / "projects").glob(f"*/worktrees/*/src/{story}.txt")):
        return True
    salvaged = world.git("for-each-ref", "--format=%(refname)", "refs/auto-dev/salvage", cwd=mirror(world)).split()
    return any(
        world.git("ls-tree", "-r", "--name-only", ref, f"src/{story}.txt", cwd=mirror(world)) for ref in salvaged
    )


def replaying(world: Any, only: tuple[str, ...] | list[str] = ("TODO-001", "TODO-002", "TODO-003")) -> Any:
    """The world with the demo's repository and its recorded conversations, and some of its stories."""
    shutil.rmtree(world.repo)
    source = Path(__file__).parents[2] / "examples" / "todo"
    shutil.copytree(source / "repository", world.repo)
    shutil.copytree(source / "recordings", world.repo / ".recordings")
    for file in (world.repo / "plans").iterdir():
        if file.stem not in only:
            file.unlink()
    config = (world.repo / "auto-dev.toml").read_text()
    (world.repo / "auto-dev.toml").write_text(config[: config.index("[forge]")])
    (world.repo / "gitignore").rename(world.repo / ".gitignore")
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "begin"]):
        world.git(*command)
    return world
