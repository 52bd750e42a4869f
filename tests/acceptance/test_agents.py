"""Real coding agents, in the sandbox, through the whole daemon, against a scripted model service."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auto_dev.watcher import processes
from tests.agents_support import INSTALLED, agent_program

SERVER = Path(__file__).parents[1] / "model_server" / "server.py"
BOXED = ("start", "plans", "--yes", "--once", "--foreground")

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap: apt install bubblewrap"),
]

# kind → the program's name, a model, and the least that one request of it needs, in dollars
AGENTS = {
    "chat": ("", "anthropic:claude-sonnet-4-6"),
    "claude-code": ("claude", "claude-sonnet-4-6"),
    "codex": ("codex", "gpt-5"),
    "opencode": ("opencode", "anthropic/claude-sonnet-4-6"),
}

SPEND = """
from tests.model_server import spend
from tests.model_server.answer import Tokens
scenario = spend(lambda asked: Tokens(20_000, 2_000), command="echo more >> spent.txt; echo")
"""


@dataclass
class Service:
    """The scripted model service as a process of its own."""

    url: str
    record: Path

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.record.read_text().splitlines()] if self.record.exists() else []

    @property
    def cost_usd(self) -> float:
        return float(sum(entry["cost_microusd"] for entry in self.entries) / 1_000_000)


@contextmanager
def serving(folder: Path, script: str | None = None) -> Iterator[Service]:
    record = folder / "record.jsonl"
    argv = [sys.executable, str(SERVER), "--port", "0", "--record", str(record)]
    if script is not None:
        (folder / "script.py").write_text(script)
        argv += ["--script", str(folder / "script.py")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Service(process.stdout.readline().strip(), record)
    finally:
        process.kill()
        process.communicate()


def config(kind: str, model: str, url: str, more: str = "") -> str:
    return f"""
[agent]
kind = "{kind}"
model = "{model}"

[gateway]
anthropic_url = "{url}"
openai_url = "{url}"
gemini_url = "{url}"

[[gates.command]]
name = "tests"
run = "test -d plans"
{more}
"""


@pytest.fixture(params=["claude-code", "codex", "opencode"])
def kind(request: pytest.FixtureRequest) -> str:
    agent_program(AGENTS[request.param][0])
    return str(request.param)


def world_of(make_world: Callable[..., Any], kind: str, url: str, more: str = "", goal: str = "") -> Any:
    world = make_world({"A-1": []}, config=config(kind, AGENTS[kind][1], url, more))
    story = world.repo / "plans" / "A-1.md"
    asked = goal or "FILE: src/A-1.txt = made by an agent"
    story.write_text(story.read_text() + f"\n## What to do\n\n{asked}\n")
    world.commit()
    world.env |= {
        "PATH": f"{INSTALLED}:{os.environ['PATH']}",
        "ANTHROPIC_API_KEY": "canary-anthropic-key", "OPENAI_API_KEY": "canary-openai-key",
        "GEMINI_API_KEY": "canary-gemini-key",
    }  # fmt: skip
    return world


def test_a_real_agent_completes_a_story_in_the_sandbox_at_its_true_cost(
    make_world: Callable[..., Any], kind: str, tmp_path: Path
) -> None:
    with serving(tmp_path) as service:
        world = world_of(make_world, kind, service.url)
        code, out = world.run(*BOXED, timeout=110)
        assert world.status_of("A-1") == "in_review", (code, out)
        assert world.git("show", "auto-dev/A-1:src/A-1.txt", cwd=world.remote) == "made by an agent"
        (story,) = world.json("status")["stories"]
        assert story["cost_usd"] == pytest.approx(service.cost_usd, abs=1e-6)
        assert story["cost_usd"] > 0
        assert {entry["auth"][1] for entry in service.entries} <= {"canary-anthropic-key", "canary-openai-key"}


def test_when_the_budget_ends_in_mid_story_the_agent_is_gone_in_5_s_and_its_work_is_saved(
    make_world: Callable[..., Any], kind: str, tmp_path: Path
) -> None:
    with serving(tmp_path, SPEND) as service:
        world = world_of(make_world, kind, service.url, "[budget]\ndaily = 0.6\nweekly = 20\nstory = 10\n")
        began = time.monotonic()
        process = world.spawn(*BOXED)
        out, _ = process.communicate(timeout=110)
        took = time.monotonic() - began
        assert process.returncode == 4, (took, out)
        (story,) = world.json("status")["stories"]
        assert story["status"] == "paused", out
        assert story["reason"].startswith("budget"), story
        assert "today's" in story["reason"], story
        last, ended = world.sql(
            "SELECT max(created_at) AS at FROM reservations UNION ALL"
            " SELECT at FROM events WHERE kind = 'RUN_PAUSED' ORDER BY 1"
        )
        assert (ended["at"] - last["at"]).total_seconds() < 5 + 5, (
            "the refused request comes after the last granted one"
        )
        saved = world.git(
            "for-each-ref", "--format=%(refname)", cwd=next(world.folder.glob("home/projects/*/mirror.git"))
        )
        assert "refs/heads/auto-dev/A-1" in saved
        mirror = next(world.folder.glob("home/projects/*/mirror.git"))
        assert "more" in world.git("show", "auto-dev/A-1:spent.txt", cwd=mirror)
        assert story["cost_usd"] <= 0.6
        assert story["cost_usd"] == pytest.approx(service.cost_usd, abs=1e-6)
        assert not [pid for pid in processes() if _mentions(pid, str(world.folder))]


def _mentions(pid: int, text: str) -> bool:
    """Whether a process (but the embedded server and this test) was started for this folder."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return text.encode() in words and b"postgres" not in words and b"keeper" not in words and pid != os.getpid()


HOSTILE = """#!/bin/sh
cat > /dev/null
for n in 1 2 3; do
  setsid sh -c 'trap "" TERM INT HUP; (while :; do sleep 0.2; done) & while :; do sleep 0.2; done' > /dev/null 2>&1 &
done
echo ready > ready.txt
trap "" TERM
while :; do sleep 0.2; done
"""
ROUNDS = int(os.environ.get("AUTO_DEV_KILLS", "3"))


def test_no_process_outlives_a_daemon_that_is_killed(
    make_world: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    world = make_world({"A-1": []})
    (world.repo / "agent.sh").write_text(HOSTILE)
    for number in range(ROUNDS):
        process = world.spawn("start", "plans", "--yes", "--foreground")
        try:
            tree = wait_for(lambda: next(iter(world.folder.glob("home/projects/*/worktrees/*/ready.txt")), None), 60)
            inside = {pid for pid in processes() if _works_in(pid, tree.parent)}
            assert len(inside) >= 4, number
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        gone = time.monotonic() + 2
        while left := {pid for pid in processes() if _works_in(pid, tree.parent)}:
            assert time.monotonic() < gone, (number, left)
        tree.unlink()


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
    except OSError:
        return False


LIMITED = """
from tests.model_server import story
from tests.model_server.answer import Answer
asked_before = []
def scenario(asked):
    asked_before.append(1)
    if len(asked_before) == 1:
        return Answer(status=429, headers={"retry-after": "3600"}, message="you are too fast")
    return story(asked)
"""


def test_a_rate_limited_run_is_parked_until_the_stated_time_and_goes_on_by_itself(
    make_world: Callable[..., Any], tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    with serving(tmp_path, LIMITED) as service:
        world = world_of(make_world, "chat", service.url)
        process = world.spawn("start", "plans", "--yes", "--foreground")
        try:
            wait_for(lambda: [s for s in world.json("status")["stories"] if s["status"] == "paused"], 60)
            (run,) = world.sql("SELECT id, reason, resume_at - now() AS wait, attempt FROM runs")
            assert run["reason"].startswith("rate limit"), run
            assert 3500 < run["wait"].total_seconds() <= 3600
            assert world.sql("SELECT 1 FROM leases WHERE owner IS NOT NULL") == [], "its slot is free"
        finally:
            process.kill()
            process.communicate()
        # The hour is over; another daemon, for this one remembers that the service is not to be asked before then.
        world.sql("UPDATE runs SET resume_at = now()")
        code, out = world.run(*BOXED)
        assert (code, world.status_of("A-1")) == (0, "in_review"), out
        assert world.sql("SELECT attempt, status FROM runs") == [{"attempt": 1, "status": "succeeded"}]
        assert world.sql("SELECT max(round) AS round FROM verdicts") == [{"round": 0}], "no repair was used up"


HANGING = """
from tests.model_server import story
from tests.model_server.answer import Answer
asked_before = []
def scenario(asked):
    asked_before.append(1)
    return Answer("never", delay_s=300) if len(asked_before) == 2 else story(asked)
"""


def test_a_request_that_a_killed_daemon_had_under_way_is_charged_in_full_once(
    make_world: Callable[..., Any], tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    with serving(tmp_path, HANGING) as service:
        world = world_of(make_world, "chat", service.url)
        process = world.spawn("start", "plans", "--yes", "--foreground")
        try:
            left = "SELECT id, amount_microusd FROM reservations WHERE status = 'open' AND EXISTS"
            wait_for(lambda: world.sql(f"{left} (SELECT 1 FROM reservations WHERE status = 'settled')"), 60)
        finally:
            process.kill()
            process.communicate()
        (open_one,) = world.sql("SELECT id, amount_microusd FROM reservations WHERE status = 'open'")
        code, out = world.run(*BOXED)
        assert (code, world.status_of("A-1")) == (0, "in_review"), out
        rows = {row["id"]: row for row in world.sql("SELECT id, status, charged_microusd, note FROM reservations")}
        lost = rows.pop(open_one["id"])
        assert (lost["status"], lost["charged_microusd"]) == ("settled", open_one["amount_microusd"])
        assert "charged in full" in lost["note"]
        rest = sum(row["charged_microusd"] for row in rows.values())
        answered = sum(entry["cost_microusd"] for entry in service.entries if entry["outcome"] == "complete")
        assert rest == answered > 0
        (day,) = world.sql("SELECT spent_microusd, reserved_microusd FROM budget_windows WHERE scope = 'day'")
        assert day == {"spent_microusd": rest + open_one["amount_microusd"], "reserved_microusd": 0}
        assert world.sql("SELECT attempt, status FROM runs") == [{"attempt": 1, "status": "succeeded"}]
