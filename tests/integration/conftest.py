"""A project with its daemon in this process, on a real repository and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from auto_dev import config as configuration
from auto_dev.daemon import compose
from auto_dev.daemon.control import Control
from auto_dev.daemon.service import Daemon, sync_stories
from auto_dev.daemon.settings import Settings
from auto_dev.errors import ExitCode
from auto_dev.forge.standin import StandIn
from auto_dev.place import DATABASE_URL, project_id_of
from auto_dev.store import backlog
from auto_dev.store.events import QUERIES
from tests.github_support import CheckedTransport
from tests.integration import follow_kit
from tests.integration.follow_kit import Site, git

AGENT = """#!/bin/sh
echo "$AUTO_DEV_STORY" >> "$0.calls"
mkdir -p src; echo "$AUTO_DEV_STORY" > "src/$AUTO_DEV_STORY.txt"
while [ -e "$0.hold" ]; do sleep 0.05; done
case "$AUTO_DEV_STORY" in
  ASKS-*) echo '{"summary": "perhaps", "confidence": 0.1}' > "$AUTO_DEV_REPORT";;
  *) echo '{"summary": "done", "confidence": 0.95}' > "$AUTO_DEV_REPORT";;
esac
"""
CONFIG = '[agent]\nkind = "command"\ncommand = ["./agent.sh"]\n'


@dataclass
class Project:
    """A repository with stories, and the settings of its daemon."""

    root: Path
    home: Path
    url: str

    @property
    def settings(self) -> Settings:
        config = configuration.load(self.root)
        return Settings(
            project_id=project_id_of(config, self.root), root=self.root, folder=self.root / "plans",
            state_home=self.home, once=True, sandbox=False,
        )  # fmt: skip

    @property
    def hold(self) -> Path:
        """While this file exists, agents do not come to an end."""
        return self.root / "agent.sh.hold"

    def calls(self) -> Counter[str]:
        file = self.root / "agent.sh.calls"
        return Counter(file.read_text().split()) if file.exists() else Counter()

    def story(self, name: str, needs: list[str] | None = None, **more: str) -> None:
        lines = [f"id: {name}", f"title: Do {name}", "goal: A file.", "acceptance_criteria: [there it is]"]
        lines += ["status: ready", f"depends_on: [{', '.join(needs or [])}]", *(f"{k}: {v}" for k, v in more.items())]
        (self.root / "plans" / f"{name}.md").write_text("---\n" + "\n".join(lines) + "\n---\n")

    @asynccontextmanager
    async def open(self, *, order: bool = True, once: bool = True) -> AsyncIterator[Daemon]:
        """A daemon of its own id, with the stories ordered, not serving yet."""
        settings = self.settings.model_copy(update={"once": once})
        async with compose.daemon(settings, compose.new_daemon_id()) as daemon:
            services = daemon.services
            async with services.db.transaction() as conn:
                await conn.execute(
                    QUERIES["upsert_project"],
                    {"project": services.place.id, "root": str(self.root), "state_dir": str(services.place.state)},
                )
            ids = await sync_stories(services, settings.folder)
            if order:
                async with services.db.transaction() as conn:
                    await backlog.order(conn, services.place.id, ids)
            yield daemon

    @asynccontextmanager
    async def serving(self, **more: Any) -> AsyncIterator[tuple[Daemon, asyncio.Task[ExitCode]]]:
        """The same, at work; stopped at once when the block ends."""
        async with self.open(**more) as daemon:
            task = asyncio.create_task(daemon.serve())
            try:
                yield daemon, task
            finally:
                daemon.stop(now=True)
                await task

    async def fetch(self, statement: str, *params: Any) -> list[dict[str, Any]]:
        """Rows, asked over a connection of its own."""
        async with await psycopg.AsyncConnection.connect(
            self.url, autocommit=True, row_factory=dict_row, options="-c search_path=auto_dev,auto_dev_jobs"
        ) as conn:
            cursor = await conn.execute(statement.encode(), params or None)
            return await cursor.fetchall() if cursor.description else []

    async def statuses(self) -> dict[str, str]:
        return {row["id"]: row["status"] for row in await self.fetch("SELECT id, status FROM story_status ORDER BY id")}

    def statuses_now(self) -> dict[str, str]:
        """The same for a caller that cannot await."""
        with psycopg.connect(self.url, options="-c search_path=auto_dev") as conn:
            return dict(conn.execute("SELECT id, status FROM story_status").fetchall())

    async def cut_connections(self, times: int) -> None:
        """End every other connection to the database, so many times, ten times a second."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as admin:
            for _ in range(times):
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                await asyncio.sleep(0.1)  # the fault's own rhythm

    def control(self, daemon: Daemon) -> Control:
        return Control(daemon.services.db, daemon.services.place.id, "me", "test")

    async def once(self) -> ExitCode:
        async with self.open() as daemon:
            return await daemon.serve()


MakeProject = Callable[..., Project]


@pytest.fixture
def project(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> MakeProject:
    """``project({"A-1": [], "B-1": ["A-1"]}, config=…)``"""
    monkeypatch.setenv(DATABASE_URL, database_url)

    def make(stories: dict[str, list[str]], config: str = "") -> Project:
        made = Project(tmp_path / "repo", tmp_path / "home", database_url)
        (made.root / "plans").mkdir(parents=True)
        for name, needs in stories.items():
            made.story(name, needs)
        agent = made.root / "agent.sh"
        agent.write_text(AGENT)
        agent.chmod(0o755)
        (made.root / "auto-dev.toml").write_text(CONFIG + config)
        (made.root / ".gitignore").write_text("agent.sh.*\n")
        for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "begin"]):
            subprocess.run(["git", *command], cwd=made.root, check=True, capture_output=True)
        return made

    return make


@pytest.fixture
async def to_github() -> AsyncIterator[CheckedTransport]:
    """The way to a GitHub on this machine. What does not fit its description fails the test, caught or not."""
    checked = CheckedTransport(httpx.AsyncHTTPTransport())
    yield checked
    await checked.aclose()
    assert checked.broken == []


@pytest.fixture
def site(project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """``site({"A-1": [], "B-1": ["A-1"]}, minutes=0.01)``: the same with a forge and a remote."""
    monkeypatch.setenv("GITHUB_TOKEN", "made-up")
    with ExitStack() as stack:

        def make(stories: dict[str, list[str]], *, minutes: float = 0.01, forge: str = "", config: str = "") -> Site:
            made = project(stories)
            remote, clone = tmp_path / "remote.git", tmp_path / "clone"
            standin = stack.enter_context(StandIn(tmp_path / "forge" / "state.json", repository="o/r", git_dir=remote))
            (made.root / "agent.sh").write_text(follow_kit.AGENT)
            text = follow_kit.CONFIG.format(url=standin.url, minutes=minutes, more=forge)
            (made.root / "auto-dev.toml").write_text(CONFIG + text + config)
            (made.root / "shared.txt").write_text("".join(f"line {number}\n" for number in range(10)))
            git("add", "-A", cwd=made.root)
            git("commit", "-q", "-m", "configured", cwd=made.root)
            git("clone", "-q", "--bare", str(made.root), str(remote), cwd=tmp_path)
            git("remote", "add", "origin", str(remote), cwd=made.root)
            git("fetch", "-q", "origin", cwd=made.root)
            git("clone", "-q", str(remote), str(clone), cwd=tmp_path)
            return Site(made, remote, standin, clone)

        yield make
