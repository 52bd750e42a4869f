"""kill -9 of the daemon at random moments: in the end the same branches exist, exactly once, and nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

STORIES = {
    "A-1": [], "A-2": ["A-1"], "A-3": ["A-2"], "B-1": [], "B-2": ["B-1"], "C-1": ["A-1", "B-1"],
    "D-1": [], "D-2": ["D-1"], "D-3": ["D-2"], "E-1": [], "BROKEN-1": [], "MUTE-1": [],
}  # fmt: skip
GOOD = {story for story in STORIES if story[0] in "ABCDE" and not story.startswith("BROKEN")}
KILLS = int(os.environ.get("AUTO_DEV_TEST_KILLS", "50"))
START_S = 1.2  # before this a daemon has not begun to work


@pytest.mark.parametrize("seed", [random.randrange(10**6)])
def test_the_daemon_may_be_killed_at_any_moment(make_world, seed: int) -> None:  # type: ignore[no-untyped-def]
    chance, kills, ended = random.Random(seed), 0, False
    world = make_world(STORIES, env={"SLOW": "0.4"})
    longest = START_S
    while kills < KILLS and not ended:
        process = world.spawn("start", "plans", "--once", "--foreground", "--yes", "--no-sandbox")
        began = time.monotonic()
        try:
            process.communicate(timeout=chance.uniform(START_S, longest + 1.5))
            ended = True
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            longest = max(longest, min(time.monotonic() - began, 3.0))
            assert_no_process_left(world.folder)
    code, out = world.once()
    assert code == 3, f"seed {seed}: {out}"
    assert world.branches() == {f"auto-dev/{story}" for story in GOOD}, f"seed {seed}, {kills} kills"
    assert_exactly_once(world)
    assert {s for s, status in world.statuses().items() if status == "in_review"} == GOOD
    assert kills >= min(KILLS, 5), "the run was over before it was killed often enough to mean something"


def assert_exactly_once(world) -> None:  # type: ignore[no-untyped-def]
    """Each branch was pushed once, holds one commit of its own, and has one pull request and one successful run."""
    pushes = Counter(line.split()[2] for line in (world.folder / "pushes.log").read_text().splitlines())
    assert pushes == {f"refs/heads/auto-dev/{story}": 1 for story in GOOD}
    for story in GOOD:
        subjects = world.git("log", "--format=%s", f"main..auto-dev/{story}", cwd=world.remote).splitlines()
        assert Counter(subjects)[f"{story}: Do {story}"] == 1
        assert world.git("cat-file", "-p", f"auto-dev/{story}:src/{story}.txt", cwd=world.remote) == story
    pulls = [pull["story"] for pull in world.json("prs")["pull_requests"]]
    assert sorted(pulls) == sorted(GOOD)
    with psycopg.connect(world.database_url, options="-c search_path=auto_dev") as connection:
        runs: dict[str, int] = dict(connection.execute("SELECT story_id, count(*) FROM runs GROUP BY 1").fetchall())
        completed: dict[str, int] = dict(
            connection.execute(
                "SELECT story_id, count(*) FROM events WHERE kind = 'TASK_COMPLETED' GROUP BY 1"
            ).fetchall()
        )
    assert runs == dict.fromkeys(STORIES, 1)
    assert completed == dict.fromkeys(GOOD, 1)


def assert_no_process_left(folder: Path, timeout_s: float = 2.0) -> None:
    """No agent, gate command or watcher that works in ``folder`` outlives the daemon for long."""
    deadline = time.monotonic() + timeout_s
    while left := [pid for pid in processes() if works_in(pid, folder)]:
        if time.monotonic() > deadline:
            commands = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ") for pid in left]
            pytest.fail(f"processes outlived the daemon: {commands}")
        time.sleep(0.01)  # polls a fact with a deadline


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder / "home")
    except OSError:
        return False
