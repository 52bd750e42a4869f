"""Faults from outside: the database dies, the daemon freezes, a person intervenes; nothing is lost or done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

STORIES = {
    "A-1": [], "A-2": ["A-1"], "A-3": ["A-2"], "A-4": ["A-3"], "A-5": ["A-4"],
    "B-1": [], "C-1": ["A-1", "B-1"], "D-1": [], "BROKEN-1": [],
}  # fmt: skip
GOOD = set(STORIES) - {"BROKEN-1"}
KILLS = int(os.environ.get("AUTO_DEV_TEST_DATABASE_KILLS", "3"))
ONCE = ("start", "plans", "--yes", "--no-sandbox", "--once", "--foreground")


def test_the_database_may_be_killed_at_any_moment(make_world: Any, wait_for: Any) -> None:
    """The daemon goes on by itself, without a restart."""
    seed = int(os.environ.get("AUTO_DEV_TEST_SEED") or random.randrange(10**6))  # told in every message
    chance = random.Random(seed)
    world = make_world(STORIES, embedded=True, env={"SLOW": "0.8"})
    process, kills = world.spawn(*ONCE), 0
    wait_for(world.agent_calls, 60, "for the first agent")
    while kills < KILLS and process.poll() is None:
        server = wait_for(lambda: world.postmaster() or process.poll() is not None, 60, "for the server")
        if process.poll() is None:
            os.kill(server, chance.choice([signal.SIGKILL, signal.SIGQUIT]))
            kills += 1
            with_deadline(process, chance.uniform(0.1, 2.0))
    out, _ = process.communicate(timeout=150)
    assert process.returncode == 3, f"seed {seed}, {kills} kills: {out}"
    world.assert_exactly_once(GOOD, STORIES)
    world.assert_nothing_stranded()
    assert {s for s, status in world.statuses().items() if status == "in_review"} == GOOD
    assert kills == KILLS, f"seed {seed}: the run was over before the server was killed often enough"


def with_deadline(process: subprocess.Popen[str], seconds: float) -> None:
    """Wait so long, or until the process ends."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
