"""The real command as a process, on a repository that a test makes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from auto_dev.place import database_folder
from auto_dev.store.database import Database
from auto_dev.store.place import choose
from tests.acceptance.forked import Forked

START = ("start", "plans", "--yes", "--no-sandbox")
ONCE = (*START, "--once", "--foreground")

AGENT = """#!/bin/sh
# A small agent: it does what the story's id says, and leaves a report.
brief=$(cat)
echo "$AUTO_DEV_STORY $AUTO_DEV_PHASE" >> "$LEDGER"
case "$AUTO_DEV_STORY" in
  CRASH-*) echo "out of luck" >&2; exit 7;;
  EMPTY-*) ;;
  BROKEN-*) echo broken > broken.txt;;
  *) mkdir -p src; echo "$AUTO_DEV_STORY" > "src/$AUTO_DEV_STORY.txt"; [ -z "$SLOW" ] || sleep "$SLOW";;
esac
case "$AUTO_DEV_STORY" in
  MUTE-*) ;;
  GARBLED-*) printf '{"summary": ' > "$AUTO_DEV_REPORT";;
  UNSURE-*) echo '{"summary": "perhaps", "confidence": 0.3}' > "$AUTO_DEV_REPORT";;
  *) echo '{"summary": "done", "confidence": 0.95}' > "$AUTO_DEV_REPORT";;
esac
"""

CONFIG = """
[agent]
kind = "command"
command = ["./agent.sh"]

[[gates.command]]
name = "tests"
run = "test ! -e broken.txt"
"""


@dataclass
class World:
    """A repository with stories, a bare remote that logs every push, and a state folder."""

    folder: Path
    database_url: str | None
    env: dict[str, str] = field(default_factory=dict)

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def remote(self) -> Path:
        return self.folder / "remote.git"

    @property
    def ledger(self) -> Path:
        """One line per call of the agent, written by the agent itself."""
        return self.folder / "agent.log"

    def git(self, *args: str, cwd: Path | None = None) -> str:
        done = subprocess.run(["git", *args], cwd=cwd or self.repo, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def make(self, stories: dict[str, list[str]], *, config: str = CONFIG, remote: bool = True) -> World:
        """``stories``: id → the ids it depends on."""
        (self.repo / "plans").mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        for story, needs in stories.items():
            self.write_story(story, needs)
        agent = self.repo / "agent.sh"
        agent.write_text(AGENT.replace("$LEDGER", str(self.ledger)).replace("$SLOW", self.env.get("SLOW", "")))
        agent.chmod(0o755)
        (self.repo / "auto-dev.toml").write_text(config)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "begin")
        if remote:
            self.git("clone", "-q", "--bare", str(self.repo), str(self.remote), cwd=self.folder)
            hook = self.remote / "hooks" / "post-receive"
            hook.write_text(f"#!/bin/sh\ncat >> {self.folder / 'pushes.log'}\n")
            hook.chmod(0o755)
            self.git("remote", "add", "origin", str(self.remote))
        return self

    def commit(self) -> None:
        """Commit everything in the checkout and push it to the base branch, as its owner would."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "more")
        if self.remote.exists():
            self.git("push", "-q", "origin", "main")

    def snapshot(self) -> dict[str, bytes]:
        """Every file of the user's checkout, git's own included."""
        files = (path for path in sorted(self.repo.rglob("*")) if path.is_file())
        return {str(path.relative_to(self.repo)): path.read_bytes() for path in files}

    def write_story(self, story: str, needs: list[str], criteria: str = "- its file exists") -> None:
        text = f"---\nid: {story}\ntitle: Do {story}\ngoal: The file of {story} exists.\nstatus: ready\n"
        text += f"acceptance_criteria:\n  {criteria}\n" if criteria else ""
        text += f"depends_on: [{', '.join(needs)}]\n---\n"
        (self.repo / "plans" / f"{story}.md").write_text(text)

    def environment(self) -> dict[str, str]:
        env = {**os.environ, **self.env, "AUTO_DEV_HOME": str(self.folder / "home"), "NO_COLOR": "1", "COLUMNS": "200"}
        if self.database_url:
            env["AUTO_DEV_DATABASE_URL"] = self.database_url
        return env

    def spawn(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "auto_dev", *args], cwd=self.repo, env=self.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def fork(self, *args: str) -> Forked:
        """As ``spawn``, without the time that imports take."""
        return Forked(args, self.repo, self.environment())

    def run(self, *args: str, timeout: float = 90) -> tuple[int, str]:
        """Exit status and everything that was printed."""
        process = self.fork(*args)
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, _ = process.communicate()
            pytest.fail(f"auto-dev {' '.join(args)} did not end in {timeout} s:\n{out}")
        return process.returncode or 0, out

    def call(
        self, *args: str, cwd: Path | None = None, env: dict[str, str] | None = None, timeout: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """The command with its output and its errors apart. ``env``: on top of the world's own."""
        process = Forked(args, cwd or self.repo, {**self.environment(), **(env or {})}, apart=True)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess([sys.executable, "-m", "auto_dev", *args], process.returncode or 0, out, err)

    def once(self, *more: str, timeout: float = 90) -> tuple[int, str]:
        return self.run(*ONCE, *more, timeout=timeout)

    @contextmanager
    def daemon(self, *more: str) -> Iterator[subprocess.Popen[str]]:
        """A daemon in the foreground while the block runs; killed afterwards if it still lives."""
        process = self.spawn(*START, "--foreground", *more)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def json(self, *args: str) -> Any:
        done = self.call(*args, "--json", timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def statuses(self) -> dict[str, str]:
        return {story["id"]: story["status"] for story in self.json("status")["stories"]}

    def status_of(self, story: str) -> str:
        return self.statuses()[story]

    def sql(self, statement: str, *params: Any) -> list[dict[str, Any]]:
        """Rows of the world's database, asked beside the daemon."""

        async def ask() -> list[dict[str, Any]]:
            folder = database_folder(self.folder / "home")
            async with Database.open(self.database_url, folder, size=2) as db, db.pool.connection() as conn:
                cursor = await conn.execute(statement.encode(), params or None)
                return await cursor.fetchall() if cursor.description else []

        return asyncio.run(ask())

    def agent_calls(self) -> Counter[str]:
        """How often the agent was called, by story and phase ("A-1 implement")."""
        return Counter(self.ledger.read_text().splitlines()) if self.ledger.exists() else Counter()

    def postmaster(self) -> int | None:
        """The PID of the embedded server, or None when there is none (just now)."""
        file = choose(database_folder(self.folder / "home")).data / "postmaster.pid"
        try:
            pid = int(file.read_text("ascii").split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if Path(f"/proc/{pid}").exists() else None

    def assert_exactly_once(self, good: Collection[str], stories: Collection[str]) -> None:
        """Each good story was pushed once, holds one commit of its own, has one pull request and one run."""
        pushes = Counter(line.split()[2] for line in (self.folder / "pushes.log").read_text().splitlines())
        assert pushes == {f"refs/heads/auto-dev/{story}": 1 for story in good}
        assert self.branches() == {f"auto-dev/{story}" for story in good}
        for story in good:
            subjects = self.git("log", "--format=%s", f"main..auto-dev/{story}", cwd=self.remote).splitlines()
            assert Counter(subjects)[f"{story}: Do {story}"] == 1
            assert self.git("cat-file", "-p", f"auto-dev/{story}:src/{story}.txt", cwd=self.remote) == story
        pulls = [pull["story"] for pull in self.json("prs")["pull_requests"]]
        assert sorted(pulls) == sorted(good)
        runs = {row["story_id"]: row["n"] for row in self.sql("SELECT story_id, count(*) AS n FROM runs GROUP BY 1")}
        assert runs == dict.fromkeys(stories, 1)
        completed = self.sql("SELECT story_id FROM events WHERE kind = 'TASK_COMPLETED'")
        assert sorted(row["story_id"] for row in completed) == sorted(good)

    def assert_nothing_stranded(self) -> None:
        """No run says that it runs, and no job that somebody does it."""
        assert self.sql("SELECT id, status, reason FROM runs WHERE status IN ('running', 'queued')") == []
        assert self.sql("SELECT id, args FROM procrastinate_jobs WHERE status = 'doing'") == []

    def own_processes(self) -> list[str]:
        """Every agent, gate command or watcher that works in this world's worktrees, by its command."""
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                try:
                    if (path / "cwd").readlink().is_relative_to(self.folder / "home"):
                        found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
                except OSError:
                    continue
        return [command for command in found if "postgres" not in command]

    def assert_no_process_left(self, timeout_s: float = 2.0) -> None:
        """No process that works in the worktrees outlives its daemon or its run for long."""
        deadline = time.monotonic() + timeout_s
        while left := self.own_processes():
            if time.monotonic() > deadline:
                pytest.fail(f"processes are left: {left}")
            time.sleep(0.01)  # polls a fact with a deadline

    def branches(self) -> set[str]:
        """Story branches on the remote."""
        refs = self.git("for-each-ref", "--format=%(refname:short)", "refs/heads/auto-dev", cwd=self.remote)
        return set(refs.split())


MakeWorld = Callable[..., World]


def wait_for(fact: Callable[[], Any], timeout_s: float = 30.0, what: str = "") -> Any:
    """The first true value of ``fact()``; fails at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not (value := fact()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s} s in vain {what}")
        time.sleep(0.02)
    return value


@pytest.fixture(name="wait_for")
def _wait_for() -> Callable[..., Any]:
    return wait_for


@pytest.fixture
def make_world(short_tmp: Path, database_url: str, request: pytest.FixtureRequest) -> MakeWorld:
    """``make_world({"A-1": [], "B-1": ["A-1"]})`` on the session's server; ``embedded=True``: one of its own."""

    def make(
        stories: dict[str, list[str]], *, embedded: bool = False, env: dict[str, str] | None = None, **more: Any
    ) -> World:
        folder = short_tmp / f"{request.node.originalname[:40]}-{uuid4().hex[:6]}"
        folder.mkdir(mode=0o755)
        return World(folder, None if embedded else database_url, env or {}).make(stories, **more)

    return make
