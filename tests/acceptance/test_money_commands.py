"""``panic`` and ``release`` as a person calls them: with a daemon, without one, and with one that hangs."""

from __future__ import annotations

import json
import os
import shutil
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


def test_a_limit_is_changed_on_a_persons_word_and_the_change_is_kept(make_world: Any) -> None:
    world = make_world({"UNSURE-1": []})
    assert world.once()[0] == 3
    refused = world.call("budget", "raise", "day", "--to", "80")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "nothing was changed" in refused.stderr
    day = world.json("budget", "raise", "--scope", "day", "--to", "80.5", "--reason", "release day", "--yes")
    assert (day["limit_microusd"], day["from_microusd"], day["reason"]) == (80_500_000, 50_000_000, "release day")
    story = world.json("budget", "raise", "unsure-1", "--scope", "story", "--to", "4", "--yes")
    assert (story["scope"], story["key"], story["limit_usd"], story["resumed"]) == ("story", "UNSURE-1", 4.0, [])
    changes = world.json("budget", "history", "--changes")["changes"]
    assert [(change["scope"], change["to_microusd"], change["reason"]) for change in changes] == [
        ("story", 4_000_000, ""), ("day", 80_500_000, "release day"),
    ]  # fmt: skip
    assert {change["by"] for change in changes} == {day["by"]}
    shown = world.json("budget", "show")
    assert [(w["scope"], w["cap_microusd"]) for w in shown["windows"]] == [
        ("day", 80_500_000), ("week", 200_000_000), ("story", 4_000_000),
    ]  # fmt: skip
    assert shown["windows"][0] == shown["day"]
    assert (shown["day"]["alert_usd"], shown["windows"][2]["alert_usd"], shown["stories"]) == (
        64.4,
        None,
        {"UNSURE-1": 0},
    )
    assert (shown["usual_per_minute_usd"], shown["estimates"]["n"]) == (None, 0)
    assert world.sql("SELECT data ->> 'reason' AS why FROM events WHERE kind = 'BUDGET_CHANGED' ORDER BY id") == [
        {"why": "release day"}, {"why": ""},
    ]  # fmt: skip


@pytest.fixture
def without_bwrap(tmp_path: Path) -> dict[str, str]:
    """A PATH on which there is git and little else."""
    for name in ("git", "sh", "apt-get"):
        found = shutil.which(name)
        (tmp_path / name).symlink_to(found or "/bin/true")
    return {"PATH": str(tmp_path)}


def test_without_a_sandbox_nothing_starts_by_itself(make_world: Any, without_bwrap: dict[str, str]) -> None:
    config = '[agent]\nkind = "claude-code"\nmodel = "my-own"\n'
    world = make_world({"A-1": []}, config=config)
    started = world.call("start", "plans", "--yes", "--once", env=without_bwrap)
    assert (started.returncode, started.stdout) == (1, "")
    assert (
        "there is no sandbox, so an agent would run with your own rights: bubblewrap is not installed" in started.stderr
    )
    assert "apt-get install bubblewrap" in started.stderr
    assert started.stderr.endswith("Or add --no-sandbox: agents then run with your own rights.\n")
    done = world.call("doctor", "--json", env=without_bwrap)
    assert done.returncode == 1
    found = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    for name, words in {
        "sandbox": "apt-get install bubblewrap",
        "agent": "claude-code is not installed",
        "key": "ANTHROPIC_API_KEY is not set",
        "price": '[budget.prices."my-own"]',
    }.items():
        assert (found[name]["level"], words in found[name]["text"]) == ("error", True), found[name]
    assert "not installed: claude-code" in found["agents"]["text"]


def test_doctor_never_shows_a_key_and_takes_an_unreachable_service_for_a_warning(make_world: Any) -> None:
    gateway = '[gateway]\nanthropic_url = "http://127.0.0.1:1"\n'
    world = make_world({"A-1": []}, config='[agent]\nkind = "command"\ncommand = ["./agent.sh"]\n' + gateway)
    done = world.call("doctor", "--json", env={"ANTHROPIC_API_KEY": "canary-key-9b1f"})
    assert "canary" not in done.stdout + done.stderr
    found = {finding["name"]: (finding["level"], finding["text"]) for finding in json.loads(done.stdout)["findings"]}
    assert found["key"] == ("ok", "ANTHROPIC_API_KEY")
    assert found["gateway"][0] == "warning"
    assert found["gateway"][1].startswith("http://127.0.0.1:1 cannot be reached now: ")
