"""A project whose pull requests lie on the local GitHub stand-in and whose branches lie in a bare remote."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auto_dev.forge.standin import StandIn

if TYPE_CHECKING:
    from tests.integration.conftest import Project

# Writes one file for its story; asked by a pull request, it adds a line for each number. Of a conflict it takes both.
AGENT = """#!/usr/bin/env python3
import json, os, pathlib, re, time
here = pathlib.Path(__file__).resolve()
story, brief = os.environ["AUTO_DEV_STORY"], pathlib.Path(os.environ["AUTO_DEV_BRIEF"]).read_text()
with open(f"{here}.calls", "a") as file:
    file.write(story + "\\n")
number = pathlib.Path(f"{here}.calls").read_text().split().count(story)
pathlib.Path(f"{here}.brief.{story}.{number}").write_text(brief)
while pathlib.Path(f"{here}.hold").exists() or pathlib.Path(f"{here}.hold.{story}").exists():
    time.sleep(0.02)
path = pathlib.Path("src") / f"{story}.txt"
path.parent.mkdir(exist_ok=True)
asked = re.findall(r"^### ([RC][0-9]+):", brief, re.M)
if asked and not pathlib.Path(f"{here}.idle").exists():
    old = path.read_text() if path.exists() else ""
    path.write_text(old + "".join(f"answer {number} to {name}\\n" for name in asked))
if not path.exists():
    path.write_text(f"{story}\\n")
for other in pathlib.Path(".").glob("*.txt"):
    text = other.read_text()
    if "<<<<<<<" in text and not pathlib.Path(f"{here}.lazy").exists():
        kept = [row for row in text.splitlines() if not re.match("<{7}|={7}|>{7}", row)]
        other.write_text("\\n".join(kept) + "\\n")
for name in re.findall(r"^- edits (\\S+)$", brief, re.M):
    pathlib.Path(name).write_text(pathlib.Path(name).read_text().replace("line 5\\n", f"line 5 of {story}\\n"))
claims = [{"criterion": name, "evidence": [f"{path}: {name}"]} for name in asked]
report = {"summary": f"done {number}", "confidence": 0.95, "criteria": claims}
pathlib.Path(os.environ["AUTO_DEV_REPORT"]).write_text(json.dumps(report))
"""

CONFIG = """
[forge]
kind = "github"
repository = "o/r"
api_url = "{url}"
follow_up_minutes = {minutes}
{more}
"""


def git(*args: str, cwd: Path) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"git {args}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Site:
    """The project, its remote, the stand-in, and a clone in which a person works."""

    project: Project
    remote: Path
    forge: StandIn
    clone: Path

    @property
    def agent(self) -> Path:
        return self.project.root / "agent.sh"

    def flag(self, name: str) -> Path:
        """A file that changes what the agent does: hold, hold.<story>, idle, lazy."""
        return self.agent.with_name(f"agent.sh.{name}")

    def brief(self, story: str, number: int) -> str:
        return self.flag(f"brief.{story}.{number}").read_text()

    def number(self, story: str) -> int:
        """The number of the story's pull request."""
        (found,) = [each["number"] for each in self.forge.pulls() if each["head"] == f"auto-dev/{story}"]
        return int(found)

    def pull(self, story: str) -> dict[str, Any]:
        (found,) = [each for each in self.forge.pulls() if each["head"] == f"auto-dev/{story}"]
        return found

    def comments(self, story: str) -> list[str]:
        """What auto-dev said on the story's pull request."""
        said = self.forge.state.data.get("comments", [])
        number = self.number(story)
        return [each["body"] for each in said if each["pull"] == number and "auto-dev comment=" in each["body"]]

    def head(self, branch: str) -> str:
        """Where the remote has a branch; "" where it has none."""
        found = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"],
            cwd=self.remote, check=False, capture_output=True, text=True,
        )  # fmt: skip
        return found.stdout.strip()

    def files(self, branch: str) -> dict[str, str]:
        names = git("ls-tree", "-r", "--name-only", branch, cwd=self.remote).splitlines()
        return {name: git("show", f"{branch}:{name}", cwd=self.remote) for name in names if name.endswith(".txt")}

    def changed(self, base: str, branch: str) -> list[str]:
        """What a pull request shows as changed."""
        return git("diff", "--name-only", f"{base}...{branch}", cwd=self.remote).splitlines()

    def subjects(self, base: str, branch: str) -> list[str]:
        return git("log", "--reverse", "--format=%s", f"{base}..{branch}", cwd=self.remote).splitlines()

    def commit(self, branch: str, files: Mapping[str, str], message: str = "a person's change") -> str:
        """Push a person's commit to a branch."""
        self._at(branch)
        for name, content in files.items():
            path = self.clone / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        git("add", "-A", cwd=self.clone)
        git("commit", "-q", "-m", message, "--author", "Pat Person <pat@example.com>", cwd=self.clone)
        git("push", "-q", "origin", f"HEAD:{branch}", cwd=self.clone)
        return self.head(branch)

    def merge(self, story: str, how: str = "merge", *, delete: bool = False, by: str = "ann") -> str:
        """Press the button of a pull request: merge, squash or rebase."""
        pull = self.pull(story)
        base, branch = pull["base"], pull["head"]
        self._at(base)
        if how == "squash":
            git("merge", "-q", "--squash", f"origin/{branch}", cwd=self.clone)
            git("commit", "-q", "-m", f"{story} (#{pull['number']})", cwd=self.clone)
        elif how == "rebase":
            common = git("merge-base", "HEAD", f"origin/{branch}", cwd=self.clone)
            git("commit", "-q", "--allow-empty", "-m", "something else", cwd=self.clone)  # else it would fast-forward
            git("cherry-pick", f"{common}..origin/{branch}", cwd=self.clone)
        else:
            git("merge", "-q", "--no-ff", "-m", f"Merge {branch}", f"origin/{branch}", cwd=self.clone)
        git("push", "-q", "origin", f"HEAD:{base}", cwd=self.clone)
        if delete:
            git("push", "-q", "origin", f":{branch}", cwd=self.clone)
        sha = self.head(base)
        self.forge.act(pull["number"], "merged", by=by, merge_sha=sha)
        return sha

    def _at(self, branch: str) -> None:
        git("fetch", "-q", "--prune", "origin", cwd=self.clone)
        git("switch", "-q", "--detach", f"origin/{branch}", cwd=self.clone)

    async def counts(self, sql: str, *params: Any) -> int:
        (row,) = await self.project.fetch(f"SELECT count(*) AS n FROM {sql}", *params)
        return int(row["n"])

    async def runs(self, story: str) -> list[dict[str, Any]]:
        return await self.project.fetch(
            "SELECT id, kind, status, purpose, reason, base_branch, base_sha, head_sha, stacked_on, node FROM runs"
            " WHERE story_id = %s ORDER BY attempt", story,
        )  # fmt: skip

    async def follow_ups(self, story: str) -> list[dict[str, Any]]:
        return [row for row in await self.runs(story) if row["kind"] == "follow_up"]

    async def quiet(self) -> bool:
        """Whether no run is active and nothing is waiting to be answered."""
        active = await self.counts("runs WHERE status IN ('queued', 'running')")
        waiting = await self.counts("follow_up_facts WHERE run_id IS NULL AND set_aside = ''")
        return not active and not waiting
