"""What tests of agents share: a task to work on, its processes counted, and where the real programs are."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from auto_dev.agents.base import AgentResult, AgentTask, Endpoint, Event, Progress, Reported
from auto_dev.agents.environment import agent_env
from auto_dev.config import AgentConfig
from auto_dev.model import Phase
from auto_dev.processes import RunTree, run_tree
from auto_dev.sandbox.base import Box
from auto_dev.sandbox.bubblewrap import Bubblewrap
from auto_dev.watcher import descendants

INSTALLED = Path(__file__).parents[1] / ".agents" / "bin"  # `./dev agents` puts the programs there
PATH = f"{INSTALLED}:/usr/local/bin:/usr/bin:/bin"


def agent_program(name: str) -> str:
    """The path of a real agent's program; the test is skipped, and says so, where there is none."""
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"{name} is not installed: `./dev agents` installs the agents for tests")
    return found


def clock() -> datetime:
    return datetime.now(UTC)


class Trees:
    """The recorded process trees: those that run ``now``, and how many there were ``ever``."""

    def __init__(self) -> None:
        self.now: set[tuple[int, int]] = set()
        self.ever = 0

    async def started(self, pid: int, started: int) -> None:
        self.now.add((pid, started))
        self.ever += 1

    async def ended(self, pid: int, started: int) -> None:
        self.now.remove((pid, started))


@dataclass
class Turn:
    """What came of one call of an agent."""

    result: AgentResult
    progress: list[Progress] = field(default_factory=list)
    reported: list[Reported] = field(default_factory=list)


@dataclass
class Bench:
    """Folders for an agent to work in: a worktree, the run's folder on the host, and what of it the agent may write."""

    root: Path
    url: str = "http://127.0.0.1:1"
    host_url: str = ""
    token: str = "token-of-the-run"
    run_tree: RunTree = run_tree
    env: Mapping[str, str] = field(default_factory=dict)
    trees: Trees = field(default_factory=Trees)
    git: bool = True

    @property
    def work(self) -> Path:
        return self.root / "work tree"

    @property
    def home(self) -> Path:
        return self.root / "run" / "agent" / "home"

    def task(
        self,
        brief: str,
        *,
        kind: str = "claude-code",
        phase: Phase = Phase.IMPLEMENT,
        round_: int = 0,
        last_turn: Callable[[], float] | None = None,
        answers: Mapping[str, str] | None = None,
        confined: bool = False,
        **config: Any,
    ) -> AgentTask:
        run, agent = self.root / "run", self.root / "run" / "agent"
        for folder in (self.root / "project", self.work, agent, self.home):
            folder.mkdir(parents=True, exist_ok=True)
        if self.git and not (self.work / ".git").exists():
            subprocess.run(["git", "init", "-q", str(self.work)], check=True)
        name = f"{phase}-{round_}"
        brief_path, report = agent / f"brief-{name}.md", agent / f"report-{name}.json"
        brief_path.write_text(brief, "utf-8")
        begun = time.monotonic()
        extra = {
            "PATH": PATH,
            "AUTO_DEV_STORY": "T-1",
            "AUTO_DEV_RUN": "run-1",
            "AUTO_DEV_PHASE": phase,
            "AUTO_DEV_BRIEF": str(brief_path),
            "AUTO_DEV_REPORT": str(report),
            **self.env,
        }
        return AgentTask(
            run_id="run-1",
            story_id="T-1",
            phase=phase,
            round=round_,
            workdir=self.work,
            run_dir=run,
            brief=brief,
            brief_path=brief_path,
            report_path=report,
            log_path=run / f"agent-{name}.log",
            env=agent_env(os.environ, extra),
            config=AgentConfig(**({"kind": kind} | config)),
            processes=self.trees,
            project_root=self.root / "project",
            endpoint=Endpoint(self.url, self.host_url or self.url, self.token),
            run_tree=self.run_tree,
            home=self.home,
            last_turn=last_turn or (lambda: begun),
            confined=confined,
            answers=answers or {},
        )


async def play(events: AsyncIterator[Event | AgentResult]) -> Turn:
    """Listen to an agent to its end."""
    progress: list[Progress] = []
    reported: list[Reported] = []
    result = None
    async for event in events:
        assert result is None, "the result comes last"
        if isinstance(event, AgentResult):
            result = event
        elif isinstance(event, Progress):
            progress.append(event)
        else:
            reported.append(event)
    assert result is not None
    return Turn(result, progress, reported)


def children() -> set[tuple[int, int]]:
    """Every process below this one."""
    return set(descendants(os.getpid()))


@asynccontextmanager
async def socket_to(url: str, path: Path) -> AsyncIterator[None]:
    """A unix socket that leads to a server on this machine, as a box's forward wants it."""
    port = int(url.rsplit(":", 1)[1])

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        with suppress(OSError):
            await asyncio.gather(copy(reader, back), copy(there, writer))
        for each in (writer, back):
            each.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        server.close()


async def boxed(bench: Bench, socket: Path) -> None:
    """Have the bench's tasks run in a sandbox, where port 8377 leads to ``socket``; skipped where there is none."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("bwrap is not installed: install bubblewrap")
    bench.task("")
    said = subprocess.run([bwrap, "--version"], check=True, capture_output=True, text=True).stdout
    version = tuple(int(part) for part in said.split()[-1].split("."))
    box = Box(
        home=bench.home,
        writable=(bench.work, bench.root / "run" / "agent"),
        forwards={8377: socket},
    )
    bench.run_tree = Bubblewrap(bwrap, version).enter(box)
    bench.url = "http://127.0.0.1:8377"
