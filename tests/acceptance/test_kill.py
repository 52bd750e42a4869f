"""kill -9 of the daemon at random moments: in the end the same branches exist, exactly once, and nothing is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from functools import partial
from typing import Any

import pytest

from tests.acceptance.conftest import wait_for
from tests.acceptance.forked import Forked

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

STORIES = {
    "A-1": [], "A-2": ["A-1"], "A-3": ["A-2"], "B-1": [], "B-2": ["B-1"], "C-1": ["A-1", "B-1"],
    "D-1": [], "D-2": ["D-1"], "D-3": ["D-2"], "E-1": [], "BROKEN-1": [], "MUTE-1": [],
}  # fmt: skip
GOOD = {story for story in STORIES if story[0] in "ABCDE" and not story.startswith("BROKEN")}
ROUNDS = 4
KILLS = int(os.environ.get("AUTO_DEV_TEST_KILLS", "60"))  # over all rounds, each with a repository of its own


def works_or_ended(process: Forked) -> bool:
    return "daemon started" in process.so_far() or process.returncode is not None


@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_daemon_may_be_killed_at_any_moment(make_world: Any, number: int) -> None:
    seed = int(os.environ.get("AUTO_DEV_TEST_SEED") or random.randrange(10**6)) + number  # told in every message
    chance, kills, ended = random.Random(seed), 0, False
    world = make_world(STORIES, env={"SLOW": "0.4"})
    boxed = number % 2 == 1 and shutil.which("bwrap") is not None  # half of the rounds, where there is a sandbox
    start = ("start", "plans", "--once", "--foreground", "--yes", *(() if boxed else ("--no-sandbox",)))
    while kills < KILLS // ROUNDS and not ended:
        process = world.fork(*start)
        if chance.random() < 0.9:  # else it is killed while it starts
            wait_for(partial(works_or_ended, process))
        try:
            process.communicate(timeout=chance.uniform(0, 0.9))
            ended = True
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            world.assert_no_process_left()
    code, out = world.run(*start)
    assert code == 3, f"seed {seed}: {out}"
    assert world.branches() == {f"auto-dev/{story}" for story in GOOD}, f"seed {seed}, {kills} kills"
    world.assert_exactly_once(GOOD, STORIES)
    world.assert_nothing_stranded()
    assert {s for s, status in world.statuses().items() if status == "in_review"} == GOOD
    assert kills >= min(KILLS // ROUNDS, 4), "the run was over before it was killed often enough to mean something"
