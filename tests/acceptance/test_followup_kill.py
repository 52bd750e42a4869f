"""kill -9 of the daemon while it answers a pull request: one run, one push, one comment, whenever it dies."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from auto_dev.forge.standin import StandIn
from tests.acceptance.conftest import CONFIG, ONCE

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

FORGE = """
[forge]
kind = "github"
repository = "o/r"
api_url = "{url}"
follow_up_minutes = 0.01
"""

# Adds a line when something came back, once however often it is called; dies with its daemon the first time.
AGENT = """#!/bin/sh
echo "$AUTO_DEV_STORY" >> {folder}/agent.log
mkdir -p src
[ -e src/$AUTO_DEV_STORY.txt ] || echo "$AUTO_DEV_STORY" > src/$AUTO_DEV_STORY.txt
if grep -q "came back" "$AUTO_DEV_BRIEF"; then
  grep -q answered src/$AUTO_DEV_STORY.txt || echo answered >> src/$AUTO_DEV_STORY.txt
  if rm {folder}/kill.agent 2>/dev/null; then kill -9 $(cat {folder}/pid); sleep 30; fi
fi
claims='[{{"criterion": "R1", "evidence": ["a line"]}}]'
echo '{{"summary": "done", "confidence": 0.95, "criteria": '$claims'}}' > "$AUTO_DEV_REPORT"
"""
PUSHED = """#!/bin/sh
cat >> {folder}/pushes.log
if rm {folder}/kill.push 2>/dev/null; then kill -9 $(cat {folder}/pid); fi
"""


class Killer(StandIn):
    """A stand-in that ends the daemon instead of certain requests, or after them, each once and in this order."""

    points: list[tuple[str, str, str]]
    pid_file: Path

    def answer(self, method: str, target: str, authorization: str, raw: bytes) -> tuple[int, Any]:
        if self._strikes("instead of", method, target):
            return 503, {}  # nobody is there to read it
        found = super().answer(method, target, authorization, raw)
        self._strikes("after", method, target)
        return found

    def _strikes(self, when: str, method: str, target: str) -> bool:
        if not self.points or self.points[0][:2] != (when, method) or not re.search(self.points[0][2], target):
            return False
        self.points.pop(0)
        os.kill(int(self.pid_file.read_text()), signal.SIGKILL)
        return True


def test_one_run_answers_and_one_comment_says_so_wherever_the_daemon_is_killed(make_world: Any) -> None:
    world = make_world({"A-1": []}, env={"GITHUB_TOKEN": "made-up"})
    folder = world.folder
    forge = Killer(folder / "forge" / "state.json", repository="o/r", git_dir=world.remote)
    forge.points, forge.pid_file = [], folder / "pid"
    with forge:
        (world.repo / "agent.sh").write_text(AGENT.format(folder=folder))
        (world.remote / "hooks" / "post-receive").write_text(PUSHED.format(folder=folder))
        (world.repo / "auto-dev.toml").write_text(CONFIG + FORGE.format(url=forge.url))
        world.commit()
        (folder / "pushes.log").unlink()  # of the base branch, by its owner
        code, out = world.run(*ONCE)
        assert code == 0, out
        forge.say(1, "One more thing, please.")
        time.sleep(1.1)  # the reviewer is through when nothing came for 0.6 s, by a clock of full seconds
        forge.points = [
            ("after", "GET", r"/pulls/1/reviews"),  # in the middle of the look
            ("after", "GET", r"/commits/\w+/status"),  # all is read, nothing is noted
            ("instead of", "PATCH", r"/pulls/1$"),
            ("after", "PATCH", r"/pulls/1$"),
            ("instead of", "POST", r"/issues/1/comments"),
            ("after", "POST", r"/issues/1/comments"),
        ]
        (folder / "kill.agent").touch()
        (folder / "kill.push").touch()
        expected, kills = len(forge.points) + 2, 0
        while True:
            process = world.fork(*ONCE)
            (folder / "pid").write_text(str(process.pid))
            out, _ = process.communicate(timeout=120)
            if process.returncode != -signal.SIGKILL:
                break
            kills += 1
            world.assert_no_process_left()
        assert process.returncode == 0, out
        assert kills == expected, f"{kills} of {expected}, left: {forge.points}"
        runs = world.sql("SELECT kind, status FROM runs ORDER BY attempt")
        assert runs == [{"kind": "story", "status": "succeeded"}, {"kind": "follow_up", "status": "succeeded"}]
        assert world.sql("SELECT count(*) AS n FROM follow_up_facts WHERE run_id IS NOT NULL") == [{"n": 1}]
        comments = [each["body"] for each in forge.state.data["comments"] if "auto-dev comment=" in each["body"]]
        assert len(comments) == 1
        assert "→ a line" in comments[0]
        assert len((folder / "pushes.log").read_text().splitlines()) == 2
        assert world.git("show", "auto-dev/A-1:src/A-1.txt", cwd=world.remote).split() == ["A-1", "answered"]
        assert len(forge.pulls()) == 1
        world.assert_nothing_stranded()
        (pull,) = world.json("prs")["pull_requests"]
        assert (pull["follow_ups"], pull["next"], pull["state"]) == (1, "", "draft")
        forge.act(1, "closed", by="ann")
        code, out = world.run(*ONCE)
        assert code == 0, out
        _, out = world.run("stories", "explain", "A-1", "plans")
        assert "A-1 is skipped: its pull request was closed by ann." in out
