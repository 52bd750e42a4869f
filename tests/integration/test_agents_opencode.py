"""kind = "opencode": the real program against a scripted model service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auto_dev.agents.base import AgentTask, Outcome
from auto_dev.agents.loop import CliAgent
from auto_dev.agents.opencode import OpenCodeCli
from auto_dev.model import Phase
from auto_dev.report import read_report
from tests.agents_support import Bench, agent_program, children, clock, play
from tests.conftest import Eventually
from tests.model_server import Answer, Asked, Call, ModelServer, say, story

pytestmark = pytest.mark.integration

EVERY = pytest.mark.skipif(
    os.environ.get("AUTO_DEV_TEST_AGENTS") != "all", reason="AUTO_DEV_TEST_AGENTS=all tests every vendor: 3 s each"
)
MODEL = "claude-sonnet-4-5"
BRIEF = """Do it.
FILE: hello.txt = hi there
RUN: echo "$HOME" > home.txt
"""


@pytest.fixture(autouse=True)
def program() -> str:
    return agent_program("opencode")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def agent() -> CliAgent:
    return CliAgent(OpenCodeCli(), lambda name: None, clock)


def of(bench: Bench, server: ModelServer, brief: str = BRIEF, **more: Any) -> AgentTask:
    bench.url = server.url
    return bench.task(brief, kind="opencode", **({"model": MODEL} | more))


def session(task: AgentTask) -> dict[str, Any]:
    value = json.loads((task.run_dir / f"session-opencode-{task.phase}.json").read_text())
    assert isinstance(value, dict)
    return value


def said(server: ModelServer) -> str:
    """The conversation as the last request told it."""
    body = server.record.entries[-1].body
    assert body is not None
    return json.dumps(body["messages"])


@pytest.mark.parametrize(
    ("model", "wire"),
    [
        ("openai:gpt-5.4", "responses"),
        pytest.param("claude-sonnet-4-5", "anthropic", marks=EVERY),
        pytest.param("gemini-2.5-pro", "gemini", marks=EVERY),
        pytest.param("qwen/qwen3-coder", "chat", marks=EVERY),
    ],
)
async def test_it_does_the_work_and_reports(bench: Bench, model: str, wire: str) -> None:
    async with ModelServer(story, keys=[bench.token]) as server:
        task = of(bench, server, model=model)
        turn = await play(agent().run(task))
        assert (turn.result.outcome, turn.result.detail) == (Outcome.FINISHED, "")
        assert (bench.work / "hello.txt").read_text() == "hi there\n"
        assert (bench.work / "home.txt").read_text() == f"{bench.home}\n", "its home is a private one"
        report, problem = read_report(task.report_path)
        assert report is not None, problem
        wanted = model.removeprefix("openai:")
        assert {(entry.model, entry.wire) for entry in server.record.entries} == {(wanted, wire)}
        assert len(server.record.entries) == 4, "no request for a title"
    assert any("hello.txt" in p.text for p in turn.progress if p.kind == "tool")
    assert turn.reported == []
    assert (bench.trees.now, bench.trees.ever) == (set(), 1)
    assert not (bench.home / ".npm").exists(), "it fetched nothing"


async def test_a_long_repair_goes_on_in_the_same_conversation_whatever_the_worktree_sets(bench: Bench) -> None:
    async with ModelServer(story) as server:
        first = of(bench, server)
        await play(agent().run(first))
        before = session(first)
        elsewhere = {"provider": {"anthropic": {"options": {"baseURL": "http://127.0.0.1:9/v1"}}}}
        (bench.work / ".opencode").mkdir()
        for path in (bench.work / "opencode.json", bench.work / ".opencode" / "opencode.json"):
            path.write_text(json.dumps(elsewhere))
        second = of(bench, server, "Mend it.\nFILE: new.txt = mended\n" + "word " * 100_000, round_=1)
        turn = await play(agent().run(second))
        assert turn.result.outcome is Outcome.FINISHED
        assert (bench.work / "new.txt").read_text() == "mended\n"
        told = said(server)
        assert "Do it." in told
        assert "Mend it." in told
        assert len(told) > 500_000
    assert session(second)["id"] == before["id"]
    libraries = list((bench.home / ".cache" / "bun").glob(".*.so"))
    assert len(libraries) <= 1, "each start leaves one, and finds none"


async def test_a_killed_turn_is_taken_up_where_it_was(bench: Bench, eventually: Eventually) -> None:
    brief = 'Do it.\nMODEL: {"files": {"a.txt": "1", "b.txt": "2"}, "commands": ["sleep 300"]}'
    before = children()
    async with ModelServer(story) as server:
        task = of(bench, server, brief)
        running = asyncio.create_task(play(agent().run(task)))
        await eventually(lambda: any(_name(pid) == "sleep" for pid, _ in children() - before), 60)
        for pid, _ in children() - before:
            if _name(pid) == "opencode":
                os.kill(pid, signal.SIGKILL)
        turn = await running
        assert turn.result.outcome is Outcome.FAILED
        assert "SIGKILL" in turn.result.detail
        assert children() == before, "what it had started is gone, too"
        known = session(task)["id"]

        server.scenario = say("Nothing is left to do.")
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED
        told = said(server)
        assert "b.txt" in told
        assert "You were interrupted" in told
        assert told.count("Do it.") == 1, "the brief is not told twice"
    assert session(task)["id"] == known


async def test_cancelling_leaves_nothing(bench: Bench, eventually: Eventually) -> None:
    before = children()
    brief = 'Do it.\nMODEL: {"files": {}, "commands": ["(trap \'\' TERM; setsid sleep 300) & sleep 300"]}'
    async with ModelServer(story) as server:
        running = asyncio.create_task(play(agent().run(of(bench, server, brief))))
        await eventually(lambda: sum(_name(pid) == "sleep" for pid, _ in children() - before) == 2, 60)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert children() == before
    assert bench.trees.now == set()


async def test_a_lost_conversation_begins_anew_and_a_cut_stream_is_asked_again(bench: Bench) -> None:
    def scenario(asked: Asked) -> Answer:
        answer = story(asked)
        assert isinstance(answer, Answer)
        return replace(answer, cut_after=2) if asked.number == 1 else answer

    async with ModelServer(scenario) as server:
        task = of(bench, server)
        (task.run_dir / "session-opencode-implement.json").write_text(
            json.dumps({"id": "ses_unknown", "round": 0, "brief": "?"})
        )
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED
        assert (bench.work / "hello.txt").exists()
    assert any("begins anew" in p.text for p in turn.progress)
    assert session(task)["id"] != "ses_unknown"


async def test_a_refusal_ends_it_after_one_request(bench: Bench) -> None:
    refused = Answer(status=400, message="auto-dev: the budget of this day is used up")
    async with ModelServer(lambda asked: refused) as server:
        turn = await play(agent().run(of(bench, server)))
        assert turn.result.outcome is Outcome.OVER_BUDGET
        assert turn.result.detail == "status 400: auto-dev: the budget of this day is used up"
        assert len(server.record.entries) == 1


async def test_a_review_edits_nothing_but_its_report(bench: Bench) -> None:
    def reviewer(asked: Asked) -> Answer:
        wanted = [
            Call("write", {"filePath": f"{bench.work}/planted.txt", "content": "x"}),
            Call("bash", {"command": "cat there.txt", "description": "x"}),
            Call("write", {"filePath": str(task.report_path), "content": '{"summary": "ok", "confidence": 0.9}'}),
        ]
        return Answer("", (wanted[asked.answers],)) if asked.answers < len(wanted) else Answer("Done.")

    async with ModelServer(reviewer) as server:
        task = of(bench, server, "Review it.", phase=Phase.REVIEW)
        (bench.work / "there.txt").write_text("look at me")
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED
        assert "look at me" in said(server), "it may look"
    assert not (bench.work / "planted.txt").exists()
    report, problem = read_report(task.report_path)
    assert report is not None, problem


async def test_a_login_of_its_own_is_not_for_it(bench: Bench) -> None:
    async with ModelServer(story) as server:
        turn = await play(agent().run(of(bench, server, mode="subscription")))
    assert turn.result.outcome is Outcome.UNAVAILABLE
    assert 'mode = "api"' in turn.result.detail


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
