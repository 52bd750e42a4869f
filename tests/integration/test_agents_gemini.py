"""kind = "gemini": the real program against a scripted model service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from auto_dev.agents.base import AgentTask, Outcome
from auto_dev.agents.gemini import GeminiCli
from auto_dev.agents.loop import CliAgent
from auto_dev.model import Phase
from auto_dev.report import read_report
from tests.agents_support import Bench, agent_program, children, clock, play
from tests.conftest import Eventually
from tests.model_server import Answer, ModelServer, say, story

pytestmark = pytest.mark.integration
thorough = pytest.mark.skipif(
    os.environ.get("AUTO_DEV_TEST_AGENTS") != "all", reason="AUTO_DEV_TEST_AGENTS=all runs it: some seconds each"
)

MODEL = "gemini-2.5-pro"
BRIEF = """Do it.
FILE: hello.txt = hi there
RUN: echo "$HOME" > home.txt
"""


@pytest.fixture(autouse=True)
def program() -> str:
    return agent_program("gemini")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def agent() -> CliAgent:
    return CliAgent(GeminiCli(), lambda name: None, clock)


def of(bench: Bench, server: ModelServer, brief: str = BRIEF, **more: Any) -> AgentTask:
    bench.url = server.url
    return bench.task(brief, kind="gemini", **more)


def session(task: AgentTask) -> dict[str, Any]:
    value = json.loads((task.run_dir / f"session-gemini-{task.phase}.json").read_text())
    assert isinstance(value, dict)
    return value


def said(server: ModelServer) -> str:
    """The conversation as the last request told it."""
    body = server.record.entries[-1].body
    assert body is not None
    return json.dumps(body["contents"])


async def test_it_does_the_work_and_reports(bench: Bench) -> None:
    async with ModelServer(story, keys=[bench.token]) as server:
        task = of(bench, server)
        turn = await play(agent().run(task))
        assert (turn.result.outcome, turn.result.detail) == (Outcome.FINISHED, "")
        assert (bench.work / "hello.txt").read_text() == "hi there\n"
        assert (bench.work / "home.txt").read_text() == f"{bench.home}\n", "its home is a private one"
        report, problem = read_report(task.report_path)
        assert report is not None, problem
        assert {(entry.model, entry.wire) for entry in server.record.entries} == {(MODEL, "gemini")}
    assert any("hello.txt" in p.text for p in turn.progress if p.kind == "tool")
    assert any("All done." in p.text for p in turn.progress if p.kind == "text")
    assert turn.reported == [], "what the gateway meters is not booked again"
    assert (bench.trees.now, bench.trees.ever) == (set(), 1)
    assert {path.name for path in bench.work.iterdir()} == {".git", "hello.txt", "home.txt"}


@thorough
async def test_the_report_can_be_written_with_its_own_tool(bench: Bench) -> None:
    """The report lies outside of the folder that the program keeps itself to."""
    path = bench.task("x", kind="gemini").report_path
    async with ModelServer(story) as server:
        task = of(bench, server, f'Do it.\nFILE: {path} = {{"summary": "by a tool", "confidence": 0.5}}\nREPORT: none')
        await play(agent().run(task))
    report, problem = read_report(task.report_path)
    assert report is not None, problem
    assert report.summary == "by a tool"


async def test_a_repair_goes_on_in_the_same_conversation(bench: Bench) -> None:
    async with ModelServer(story) as server:
        first = of(bench, server)
        await play(agent().run(first))
        before = session(first)
        second = of(bench, server, "Mend it.\nFILE: hello.txt = mended\n", round_=1)
        turn = await play(agent().run(second))
        assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
        assert (bench.work / "hello.txt").read_text() == "mended\n"
        told = said(server)
        assert "Do it." in told
        assert "Mend it." in told
    assert session(second)["id"] == before["id"]


async def test_a_killed_turn_is_taken_up_where_it_was(bench: Bench, eventually: Eventually) -> None:
    brief = 'Do it.\nMODEL: {"files": {"a.txt": "1", "b.txt": "2"}, "commands": ["sleep 300"]}'
    before = children()
    async with ModelServer(story) as server:
        task = of(bench, server, brief)
        running = asyncio.create_task(play(agent().run(task)))
        await eventually(lambda: any(is_sleep(pid) for pid, _ in children() - before))
        for pid, _ in children() - before:
            if name_of(pid) == "node":
                os.kill(pid, signal.SIGKILL)
        turn = await running
        assert turn.result.outcome is Outcome.FAILED
        assert "SIGKILL" in turn.result.detail
        assert children() == before, "what it had started is gone, too"
        known = session(task)["id"]

        server.scenario = say("Nothing is left to do.")
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
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
        await eventually(lambda: sum(is_sleep(pid) for pid, _ in children() - before) == 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert children() == before
    assert bench.trees.now == set()


@thorough
async def test_a_lost_conversation_begins_anew(bench: Bench) -> None:
    unknown = "01a1fbde-8df4-4f90-b325-000000000000"
    async with ModelServer(story) as server:
        task = of(bench, server)
        known = json.dumps({"id": unknown, "round": 0, "brief": "?"})
        (task.run_dir / "session-gemini-implement.json").write_text(known)
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
        assert (bench.work / "hello.txt").exists()
    assert any("begins anew" in p.text for p in turn.progress)
    assert session(task)["id"] != unknown


@thorough
@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (Answer(status=400, message="auto-dev: the budget of this day is used up"), Outcome.OVER_BUDGET, "auto-dev: "),
        (Answer(status=402, message="auto-dev: the budget of this day is used up"), Outcome.OVER_BUDGET, "auto-dev: "),
        (Answer(status=400, message="too long for this model"), Outcome.FAILED, "too long for this model"),
        (Answer(status=401, message="no such key"), Outcome.UNAVAILABLE, "401"),
    ],
    ids=["refused", "payment required", "bad request", "unauthorized"],
)
async def test_what_a_refusal_means(bench: Bench, answer: Answer, outcome: Outcome, words: str) -> None:
    async with ModelServer(lambda asked: answer) as server:
        begun = time.monotonic()
        turn = await play(agent().run(of(bench, server)))
        assert (turn.result.outcome, words in turn.result.detail) == (outcome, True), turn.result
        assert len(server.record.entries) == 1
        assert time.monotonic() - begun < 6


async def test_a_long_limit_stops_it_at_once(bench: Bench) -> None:
    """The service's own way to say so: with RetryInfo of an hour it is not tried again."""
    error = {
        "code": 429,
        "message": "You exceeded your current quota.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3600s"}],
    }
    answer = Answer(status=429, raw=json.dumps({"error": error}).encode())
    async with ModelServer(lambda asked: answer) as server:
        turn = await play(agent().run(of(bench, server)))
        assert len(server.record.entries) == 1
    assert turn.result.outcome is Outcome.RATE_LIMITED, turn.result
    assert turn.result.resets_at is not None
    assert 3500 < (turn.result.resets_at - clock()).total_seconds() <= 3600


@thorough
async def test_a_long_brief_reaches_the_model(bench: Bench) -> None:
    async with ModelServer(say("Read.", delay_s=0.5)) as server:  # it echoes the brief, and must not exit meanwhile
        turn = await play(agent().run(of(bench, server, "word " * 100_000)))
        assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
        assert len(said(server)) > 500_000


@thorough
async def test_a_review_can_report(bench: Bench) -> None:
    async with ModelServer(story) as server:
        task = of(bench, server, "Look at it.", phase=Phase.REVIEW)
        turn = await play(agent().run(task))
    assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
    report, problem = read_report(task.report_path)
    assert report is not None, problem


async def test_settings_and_servers_of_the_worktree_are_not_used(bench: Bench) -> None:
    mark = bench.root / "planted"
    touch = {"command": "touch", "args": [str(mark)]}
    hook = [{"matcher": "*", "hooks": [{"type": "command", "command": f"touch '{mark}'"}]}]
    planted = {
        "mcpServers": {"x": touch},
        "hooks": {"BeforeTool": hook, "SessionStart": hook, "BeforeModel": hook},
        "tools": {"discoveryCommand": f"touch '{mark}'"},
        "security": {"auth": {"selectedType": "oauth-personal"}},
        "model": {"name": "other"},
    }
    async with ModelServer(story) as server:
        task = of(bench, server)
        (bench.work / ".gemini").mkdir()
        (bench.work / ".gemini" / "settings.json").write_text(json.dumps(planted))
        (bench.work / ".env").write_text("GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:9\nGEMINI_API_KEY=other\n")
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
        assert {entry.model for entry in server.record.entries} == {MODEL}
    assert not mark.exists()


@thorough
async def test_a_proxy_of_the_users_does_not_get_the_gateways_requests(bench: Bench) -> None:
    bench.env = {"HTTP_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    async with ModelServer(story) as server:
        turn = await play(agent().run(of(bench, server)))
    assert turn.result.outcome is Outcome.FINISHED, turn.result.detail


async def test_it_has_no_login_of_the_users(bench: Bench) -> None:
    async with ModelServer(story) as server:
        turn = await play(agent().run(of(bench, server, mode="subscription")))
    assert turn.result.outcome is Outcome.UNAVAILABLE
    assert 'mode = "api"' in turn.result.detail
    assert bench.trees.ever == 0


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def is_sleep(pid: int) -> bool:
    return name_of(pid) == "sleep"
