"""``panic`` and ``release`` as a person calls them: with a daemon, without one, and with one that hangs."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

START = ("start", "plans", "--yes", "--no-sandbox")
ONCE = (*START, "--once")
SLOW = {"SLOW": "300"}
PROMISED_S = 5.0


def works(world: Any) -> bool:
    """Whether an agent is at work."""
    return any("sleep 300" in command for command in world.own_processes())


def reasons(world: Any) -> dict[str, tuple[str, str]]:
    return {
        row["id"]: (row["status"], row["reason"]) for row in world.sql("SELECT id, status, reason FROM story_status")
    }


def test_a_panic_ends_the_agents_of_a_daemon_and_a_release_lets_them_go_on(make_world: Any, wait_for: Any) -> None:
    world = make_world({"A-1": [], "A-2": ["A-1"]}, env=SLOW)
    with world.daemon() as process:
        wait_for(lambda: works(world), 60)
        done = world.call("panic", "--reason", "it bites", "--json")
        assert done.returncode == 0, done.stderr
        world.assert_no_process_left(0.1)
        facts = json.loads(done.stdout)
        assert (facts["new"], facts["stopped"], facts["left"]) == (True, ["A-1"], [])
        assert facts["panic"]["reason"] == "it bites"
        assert world.json("status")["panic"] == facts["panic"]
        assert reasons(world) == {"A-1": ("paused", "panic: it bites"), "A-2": ("blocked", "waits for A-1")}
        refused = world.call("resume")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "it bites. `auto-dev release` lets its work go on." in refused.stderr
        again = world.call("panic", "--reason", "still")
        assert (again.returncode, again.stderr) == (0, "")
        assert again.stdout.startswith("A panic stands already since ")
        assert world.call("status").stdout.splitlines()[0].endswith(": it bites")
        assert len(world.agent_calls()) == 1
        assert sum(world.agent_calls().values()) == 1

        released = world.call("release")
        assert (released.returncode, released.stdout) == (0, "Released; 1 stopped run goes on.\n")
        wait_for(lambda: works(world), 60)
        assert process.poll() is None
    world.assert_no_process_left()


def test_a_panic_without_a_daemon_ends_what_it_left_and_keeps_one_from_starting(make_world: Any, wait_for: Any) -> None:
    world = make_world({"A-1": []}, env=SLOW)
    watchers: list[int] = []
    with world.daemon() as process:
        wait_for(lambda: works(world), 60)
        watchers += [row["pid"] for row in world.sql("SELECT pid FROM processes")]
        for pid in watchers:
            os.kill(pid, signal.SIGSTOP)  # so that they outlive their daemon
        process.kill()
        process.wait()
    assert works(world)
    done = world.json("panic")
    assert (done["ended"], done["left"], done["stopped"]) == (len(watchers), [], ["A-1"])
    world.assert_no_process_left(0.1)
    assert world.sql("SELECT reason FROM runs") == [{"reason": "panic: no reason was given"}]

    started = world.call(*ONCE)
    assert started.returncode == 1
    assert "`auto-dev release` lets its work go on." in started.stderr
    assert sum(world.agent_calls().values()) == 1
    assert world.call("release").stdout.endswith("No daemon runs: `auto-dev start` goes on with the work.\n")
    assert world.json("status")["panic"] is None
    assert reasons(world) == {"A-1": ("queued", "")}


def test_a_daemon_that_hangs_does_not_keep_its_agents_alive(make_world: Any, wait_for: Any) -> None:
    world = make_world({"A-1": [], "B-1": []}, env=SLOW)
    with world.daemon() as process:
        wait_for(lambda: len(world.agent_calls()) == 2, 60)
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        done = world.call("panic", "--json")
        took = time.monotonic() - began
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["ended"] == 2
        assert f"the daemon (PID {process.pid}) did not end its agents within 5 s" in done.stderr
        world.assert_no_process_left(0.1)
        assert PROMISED_S < took < 2 * PROMISED_S + 5
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: set(reasons(world).values()) == {("paused", "panic: no reason was given")}, 30)
        world.assert_no_process_left(1)
        assert set(world.agent_calls().values()) == {1}
        assert world.call("release").returncode == 0
        wait_for(lambda: set(world.agent_calls().values()) == {2}, 60)


def test_a_process_that_only_has_a_recorded_number_is_left_alone(make_world: Any) -> None:
    world = make_world({"UNSURE-1": []})
    assert world.once()[0] == 3
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    run = world.sql("SELECT id FROM runs")[0]["id"]
    for pid, started, of in ((os.getpid(), 1, boot), (1, 1, boot), (os.getpid(), 2, "another boot")):
        world.sql(
            "INSERT INTO processes (run_id, pid, started, boot_id, daemon_id) VALUES (%s, %s, %s, %s, 'd')",
            run, pid, started, of,
        )  # fmt: skip
    done = world.json("panic")
    assert (done["ended"], done["left"], done["stopped"]) == (0, [], [])
    answered = world.call("decide", world.sql("SELECT id FROM decisions")[0]["id"], "--answer", "retry")
    assert answered.stdout.endswith("its run goes on after `auto-dev release`.\n"), answered
    assert reasons(world) == {"UNSURE-1": ("queued", "")}
    assert world.call("release").returncode == 0
    assert world.call("release").stdout == "Nothing to release: no panic stands.\n"


def test_without_its_database_a_panic_kills_the_daemon(make_world: Any, wait_for: Any) -> None:
    world = make_world({"A-1": []}, env=SLOW)
    with world.daemon() as process:
        wait_for(lambda: works(world), 60)
        nowhere = {"AUTO_DEV_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
        note = next((world.folder / "home").rglob("project.json"))
        kept = note.read_text()
        note.unlink()  # else the other URL is refused as another database
        done = world.call("panic", env=nowhere)
        note.write_text(kept)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"so the daemon (PID {process.pid}) was killed, and its agents with it" in done.stderr
        world.assert_no_process_left()
        assert process.wait(timeout=5) == -signal.SIGKILL
        again = world.call("panic", env=nowhere)
        assert again.returncode == 1
        assert again.stderr.startswith("auto-dev: error: ")
