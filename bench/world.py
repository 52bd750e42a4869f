"""A repository of many files with stories, and a state folder, for measurements."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

AGENT = """#!/bin/sh
echo "$AUTO_DEV_STORY" > "$AUTO_DEV_STORY.txt"
echo '{"summary": "done", "confidence": 1}' > "$AUTO_DEV_REPORT"
"""
CONFIG = '[agent]\nkind = "command"\ncommand = ["./agent.sh"]\n'


@dataclass(frozen=True)
class World:
    folder: Path

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def git(self, *args: str) -> str:
        return subprocess.run(["git", *args], cwd=self.repo, check=True, capture_output=True, text=True).stdout.strip()

    def make(self, files: int, stories: dict[str, list[str]]) -> None:
        """``stories``: id → the ids that it depends on."""
        for number in range(files):
            path = self.repo / f"src/p{number // 50}" / f"m{number}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'"""Module {number}."""\n\n' + f"value_{number} = {number}\n" * 40)
        plans = self.repo / "plans"
        plans.mkdir()
        for story, needs in stories.items():
            (plans / f"{story}.md").write_text(
                f"---\nid: {story}\ntitle: Story {story}\ngoal: Do it.\nacceptance_criteria: [done]\n"
                f"depends_on: [{', '.join(needs)}]\n---\n"
            )
        agent = self.repo / "agent.sh"
        agent.write_text(AGENT)
        agent.chmod(0o755)
        (self.repo / "auto-dev.toml").write_text(CONFIG)
        self.git("init", "-q", "-b", "main")
        self.git("add", "-A")
        self.git("-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "-q", "-m", "begin")

    def environment(self) -> dict[str, str]:
        return {**os.environ, "AUTO_DEV_HOME": str(self.folder / "home"), "AUTO_DEV_PG_LINGER": "1"}

    def once(self, parallel: int) -> None:
        """The real command, until nothing can start any more."""
        done = subprocess.run(
            [sys.executable, "-m", "auto_dev", "start", "plans", "--once", "--foreground", "--yes", "--no-sandbox",
             "--max-parallel", str(parallel)],
            cwd=self.repo, env=self.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(f"auto-dev ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
