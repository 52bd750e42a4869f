"""The chat loop through the real gateway and ledger: what it asks for is booked, and it ends where the money ends."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auto_dev.agents.base import AgentResult, AgentRunner, AgentTask, Endpoint, Outcome, Turn, upstream_of
from auto_dev.agents.chat import ChatAgent
from auto_dev.agents.environment import agent_env
from auto_dev.agents.replay import ReplayAgent
from auto_dev.config import AgentConfig
from auto_dev.model import Phase, Scope
from auto_dev.processes import run_tree
from auto_dev.report import read_report
from auto_dev.store.database import Database
from tests.gateway_support import KEY, LIMITS, Till, now, open_till
from tests.model_server import Answer, ModelServer, Script, Tokens, spend, story

pytestmark = pytest.mark.integration

GOAL = 'FILE: a.txt = eins\nRUN: cat a.txt\nREPORT: {"summary": "done", "confidence": 0.9}'
CLAUDE, GPT = "claude-sonnet-4-6", "gpt-5"


class Trees:
    async def started(self, pid: int, started: int) -> None: ...
    async def ended(self, pid: int, started: int) -> None: ...


@pytest.fixture
async def models() -> AsyncIterator[ModelServer]:
    async with ModelServer(story, keys=[KEY]) as server:
        yield server


@pytest.fixture
def task(tmp_path: Path) -> AgentTask:
    for name in ("work", "run", "project/recordings"):
        (tmp_path / name).mkdir(parents=True)
    report = tmp_path / "run/report.json"
    return AgentTask(
        run_id="run-1", story_id="TODO-1", phase=Phase.IMPLEMENT, round=0, workdir=tmp_path / "work",
        run_dir=tmp_path / "run", brief=GOAL, brief_path=tmp_path / "run/brief.md", report_path=report,
        log_path=tmp_path / "run/log", env=agent_env(os.environ, {"AUTO_DEV_REPORT": str(report)}),
        config=AgentConfig(kind="chat", model=CLAUDE), processes=Trees(), project_root=tmp_path / "project",
        endpoint=Endpoint("", "", ""), run_tree=run_tree, home=tmp_path / "home", last_turn=lambda: 0.0,
    )  # fmt: skip


async def run(agent: AgentRunner, task: AgentTask, till: Till) -> AgentResult:
    endpoint = Endpoint("", till.gateway.url, till.grant.token)
    events = [event async for event in agent.run(replace(task, endpoint=endpoint))]
    assert isinstance(events[-1], AgentResult)
    return events[-1]


def chat(*delays: float) -> ChatAgent:
    return ChatAgent(now, delays)


@pytest.mark.parametrize("model", [CLAUDE, GPT])
async def test_what_the_model_took_is_what_the_ledger_books(
    db: Database, models: ModelServer, task: AgentTask, model: str
) -> None:
    task = replace(task, config=AgentConfig(kind="chat", model=model))
    async with open_till(db, models) as till:
        result = await run(chat(), task, till)
        rows = await till.settled()
    assert result.outcome is Outcome.FINISHED, result
    assert (task.workdir / "a.txt").read_text() == "eins\n"
    assert read_report(task.report_path)[1] == ""
    assert till.grant.requests == len(rows) == len(models.record) == 3
    assert [row["charged_microusd"] for row in rows] == [entry.cost_microusd for entry in models.record]
    assert {entry.key for entry in models.record} == {KEY}
    assert till.grant.token not in json.dumps([entry.row() for entry in models.record])


async def test_the_loop_ends_at_the_request_that_the_budget_refuses_and_goes_on_later(
    db: Database, models: ModelServer, task: AgentTask
) -> None:
    models.scenario = spend(Tokens(3000, 4096))
    poor = replace(LIMITS, story=300_000)
    async with open_till(db, models, limits=poor) as till:
        result = await run(chat(0.01), task, till)
        rows = await till.settled()
        stop = till.grant.stop
        charged = await till.charged()
    assert result.outcome is Outcome.FAILED
    assert stop is not None
    assert (stop.kind, stop.detail in result.detail) == ("budget", True)
    assert charged == models.record.cost_microusd <= 300_000
    asked = len(models.record)
    assert len(rows) == asked, "what is refused is not sent, and not asked for again"
    models.scenario = story
    async with open_till(db, models) as till:
        await till.ledger.raise_limit(Scope.STORY, "TODO-1", 3_000_000, "a person", "more", LIMITS)
        result = await run(chat(), task, till)
    assert result.outcome is Outcome.FINISHED, result


async def test_a_short_rate_limit_is_waited_for_and_a_long_one_ends_the_turn(
    db: Database, models: ModelServer, task: AgentTask
) -> None:
    faults = [{"at": 0, "status": 429, "headers": {"retry-after": "0.1"}}, {"at": 2, "status": 529}]
    models.scenario = Script.of({"faults": [*faults, {"at": 4, "status": 429, "headers": {"retry-after": "3600"}}]})
    async with open_till(db, models) as till:
        result = await run(chat(0.1, 0.2), task, till)
        await till.settled()
        assert till.grant.stop is not None
        assert till.grant.stop.kind == "rate_limit"
        assert till.grant.stop.resets_at is not None
        assert await till.charged() == models.record.cost_microusd
    assert result.outcome is Outcome.FAILED
    assert len(models.record) == 5


async def test_a_cancelled_request_is_booked_with_what_it_may_have_cost(
    db: Database, models: ModelServer, task: AgentTask, eventually: Any
) -> None:
    models.scenario = lambda asked: Answer("x", delay_s=30)
    async with open_till(db, models) as till:
        running = asyncio.create_task(run(chat(), task, till))
        await eventually(lambda: len(models.record) == 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await eventually(lambda: not till.grant.under_way)
        (row,) = await till.settled()
    assert row["charged_microusd"] == row["amount_microusd"] > 0


async def test_a_recording_is_played_through_the_gateway_and_booked(
    db: Database, models: ModelServer, task: AgentTask
) -> None:
    usage = {
        "input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 7
    }  # fmt: skip
    report = {"type": "tool_use", "name": "report", "input": {"summary": "s", "confidence": 0.9}}
    turns = [{"content": [report], "usage": usage, "failures": [{"status": 529}]}]
    recording = {"story": "TODO-1", "model": CLAUDE, "conversations": [{"turns": turns}]}
    (task.project_root / "recordings/TODO-1.json").write_text(json.dumps(recording))
    config = AgentConfig(kind="replay", recording="recordings")
    task = replace(task, config=config)
    agent = ReplayAgent(now, (0.0,))
    turn = Turn("TODO-1", Phase.IMPLEMENT, 0, config, task.project_root)
    async with (
        upstream_of(agent, turn) as urls,
        open_till(db, models, upstreams=urls, keys={}) as till,
    ):
        result = await run(agent, task, till)
        await till.settled()
        charged = await till.charged()
    assert result.outcome is Outcome.FINISHED, result
    assert charged == -(-(100 * 300 + 30 * 30 + 7 * 375 + 20 * 1500) // 100)
    assert len(models.record) == 0
