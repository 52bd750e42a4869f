"""Real coding agents in a real box, with the gateway as their only way out, in front of a real ledger."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from auto_dev.agents.base import AgentTask, Outcome
from auto_dev.agents.cli import Cli
from auto_dev.agents.gemini import GeminiCli
from auto_dev.agents.qwen import QwenCli
from auto_dev.agents.aider import AiderCli
from auto_dev.agents.environment import boxed_env
from auto_dev.agents.loop import CliAgent
from auto_dev.agents.opencode import OpenCodeCli
from auto_dev.budget.limits import BudgetLimits
from auto_dev.report import read_report
from auto_dev.sandbox import probe
from auto_dev.sandbox.base import Box
from auto_dev.sandbox.bubblewrap import Bubblewrap
from auto_dev.store.database import Database
from tests.agents_support import Bench, agent_program, children, clock, play
from tests.integration.gateway_kit import Kit, kit
from tests.model_server import ModelServer, Tokens, spend, story

pytestmark = pytest.mark.integration

PORT = 8377  # inside the box
CENT = 10_000
BRIEF = """Do it.
FILE: hello.txt = hi there
RUN: touch /etc/planted "$HOME/mine"; ps -e | wc -l > processes.txt
"""


@dataclass(frozen=True)
class Agent:
    make: Callable[[], Cli]
    program: str
    model: str


AGENTS = [
    pytest.param(Agent(GeminiCli, "gemini", "gemini-2.5-pro"), id="gemini"),
    pytest.param(Agent(QwenCli, "qwen", "gpt-4.1"), id="qwen"),
    pytest.param(Agent(AiderCli, "aider", "gpt-4.1"), id="aider"),
]


@pytest.fixture
def sandbox() -> Bubblewrap:
    found = probe.find(os.environ)
    if not isinstance(found, Bubblewrap):
        pytest.skip(f"no sandbox: {found.what}. {found.mend}")
    return found


@asynccontextmanager
async def boxed(
    agent: Agent, sandbox: Bubblewrap, it: Kit, root: Path, short_tmp: Path, brief: str = BRIEF
) -> AsyncIterator[tuple[Bench, AgentTask]]:
    """A task whose processes live in a box and reach the gateway by a socket."""
    agent_program(agent.program)
    bench = Bench(root)
    bench.work.mkdir(parents=True, exist_ok=True)
    (bench.work / "README.md").write_text("# x")
    task = bench.task(brief, kind=agent.make().name, model=agent.model)
    own = {name: value for name, value in task.env.items() if name.startswith("AUTO_DEV_") or name == "PATH"}
    with tempfile.TemporaryDirectory(dir=short_tmp) as folder:
        socket = Path(folder) / "gateway.sock"
        await it.grant.listen(socket)
        box = Box(home=bench.home, writable=(bench.work, bench.root / "run" / "agent"), forwards={PORT: socket})
        yield (
            bench,
            replace(
                task,
                env=boxed_env(os.environ, bench.home) | own,
                run_tree=sandbox.enter(box),
                endpoint=replace(task.endpoint, url=f"http://127.0.0.1:{PORT}", token=it.grant.token),
                last_turn=lambda: it.grant.last_turn,
            ),
        )


async def run(agent: Agent, task: AgentTask) -> Any:
    return await play(CliAgent(agent.make(), lambda name: None, clock).run(task))


@pytest.mark.parametrize("agent", AGENTS)
async def test_it_works_in_its_box_and_costs_what_the_service_says(
    agent: Agent, sandbox: Bubblewrap, db: Database, tmp_path: Path, short_tmp: Path
) -> None:
    before = children()
    async with kit(db, ModelServer(story)) as it, boxed(agent, sandbox, it, tmp_path, short_tmp) as (bench, task):
        turn = await run(agent, task)
        assert (turn.result.outcome, turn.result.detail) == (Outcome.FINISHED, "")
        assert await it.charged() == it.server.record.cost_microusd > 0
        report, problem = read_report(task.report_path)
        assert report is not None, problem
    assert (bench.work / "hello.txt").read_text() == "hi there\n"
    if agent.program == "aider":
        return
    assert (bench.home / "mine").exists()
    assert not Path("/etc/planted").exists()
    assert int((bench.work / "processes.txt").read_text()) < 20, "it sees its own processes alone"
    assert children() == before


@pytest.mark.parametrize("agent", AGENTS)
async def test_it_ends_when_the_money_does(
    agent: Agent, sandbox: Bubblewrap, db: Database, tmp_path: Path, short_tmp: Path
) -> None:
    before = children()
    limits = BudgetLimits(day=40 * CENT, week=40 * CENT, story=40 * CENT)
    scenario = spend(lambda asked: Tokens(20_000, 1000))
    async with (
        kit(db, ModelServer(scenario), limits=limits, wait_s=0.1) as it,
        boxed(agent, sandbox, it, tmp_path, short_tmp) as (bench, task),
    ):
        turn = await run(agent, task)
        assert turn.result.outcome is Outcome.OVER_BUDGET
        assert len(it.server.record.entries) > 1
        assert it.grant.stop is not None
        assert it.server.record.cost_microusd == await it.charged() <= limits.story
    assert children() == before
    assert bench.trees.now == set()
