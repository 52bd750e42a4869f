"""kind = "aider": the real program against a scripted model service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auto_dev.agents.aider import AiderCli
from auto_dev.agents.base import AgentTask, Outcome
from auto_dev.agents.loop import CliAgent
from auto_dev.model import Phase
from auto_dev.report import read_report
from tests.agents_support import Bench, agent_program, children, clock, play
from tests.conftest import Eventually
from tests.model_server import Answer, Asked, ModelServer, say, story

pytestmark = pytest.mark.integration
thorough = pytest.mark.skipif(
    os.environ.get("AUTO_DEV_TEST_AGENTS") != "all", reason="AUTO_DEV_TEST_AGENTS=all runs it: some seconds each"
)

MODEL = "gpt-4.1"
BRIEF = "Do it.\nFILE: hello.txt = hi there\n"


@pytest.fixture(autouse=True)
def program() -> str:
    return agent_program("aider")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def agent() -> CliAgent:
    return CliAgent(AiderCli(), lambda name: None, clock)


def of(bench: Bench, server: ModelServer, brief: str = BRIEF, **more: Any) -> AgentTask:
    bench.url = server.url
    task = bench.task(brief, kind="aider", **({"model": MODEL} | more))
    readme = bench.work / "README.md"
    if not readme.exists():
        readme.write_text("# Work\n")
        subprocess.run(["git", "-C", str(bench.work), "add", "README.md"], check=True)
    return task


def said(server: ModelServer) -> str:
    """The conversation as the last request told it."""
    body = server.record.entries[-1].body
    assert body is not None
    return json.dumps(body["messages"])


@pytest.mark.parametrize(
    ("model", "wire"),
    [
        ("gpt-4.1", "chat"),
        pytest.param("claude-sonnet-4-5", "anthropic", marks=thorough),
        pytest.param("gemini-2.5-pro", "gemini", marks=thorough),
    ],
)
async def test_it_does_the_work_and_reports(bench: Bench, model: str, wire: str) -> None:
    async with ModelServer(story, keys=[bench.token]) as server:
        task = of(bench, server, model=model)
        turn = await play(agent().run(task))
        assert (turn.result.outcome, turn.result.detail) == (Outcome.FINISHED, "")
        assert (bench.work / "hello.txt").read_text() == "hi there\n"
        report, problem = read_report(task.report_path)
        assert report is not None, problem
        assert {(entry.model, entry.wire) for entry in server.record.entries} == {(model, wire)}
    assert any("hello.txt" in p.text for p in turn.progress if p.kind == "tool")
    assert turn.reported == [], "what the gateway meters is not booked again"
    assert (bench.trees.now, bench.trees.ever) == (set(), 1)
    left = {path.name for path in bench.work.iterdir() if not path.name.startswith(".aider.tags.cache.")}
    assert left == {".git", "README.md", "hello.txt"}
    commits = subprocess.run(["git", "-C", str(bench.work), "log"], capture_output=True, check=False)
    assert commits.returncode == 128, "committing is for the host"


@thorough
async def test_a_repair_goes_on_in_the_same_conversation(bench: Bench) -> None:
    async with ModelServer(story) as server:
        await play(agent().run(of(bench, server)))
        second = of(bench, server, "Mend it.\nFILE: other.txt = mended\n", round_=1)
        turn = await play(agent().run(second))
        assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
        assert (bench.work / "other.txt").read_text() == "mended\n"
        told = said(server)
        assert "Do it." in told
        assert "Mend it." in told
    assert read_report(second.report_path)[0] is not None


async def test_a_killed_turn_is_taken_up_where_it_was(bench: Bench, eventually: Eventually) -> None:
    before = children()
    async with ModelServer(say("late", delay_s=600)) as server:
        task = of(bench, server)
        running = asyncio.create_task(play(agent().run(task)))
        await eventually(lambda: len(server.record.entries) > 0)
        for pid, _ in children() - before:
            if "aider" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
        turn = await running
        assert (turn.result.outcome, "SIGKILL" in turn.result.detail) == (Outcome.FAILED, True), turn.result
        assert children() == before

        server.scenario = story
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
        told = said(server)
        assert "You were interrupted" in told
    assert (bench.work / "hello.txt").exists(), "the brief is said again"


async def test_cancelling_leaves_nothing(bench: Bench, eventually: Eventually) -> None:
    before = children()
    async with ModelServer(say("late", delay_s=600)) as server:
        running = asyncio.create_task(play(agent().run(of(bench, server))))
        await eventually(lambda: len(server.record.entries) > 0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert children() == before
    assert bench.trees.now == set()


@thorough
@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (Answer(status=400, message="auto-dev: the budget of this day is used up"), Outcome.OVER_BUDGET, "auto-dev: "),
        (Answer(status=400, message="too long for this model"), Outcome.FAILED, "too long for this model"),
        (Answer(status=401, message="no such key", kind="authentication_error"), Outcome.UNAVAILABLE, "no such key"),
    ],
    ids=["refused", "bad request", "unauthorized"],
)
async def test_what_a_refusal_means(bench: Bench, answer: Answer, outcome: Outcome, words: str) -> None:
    async with ModelServer(lambda asked: answer) as server:
        begun = time.monotonic()
        turn = await play(agent().run(of(bench, server)))
        assert (turn.result.outcome, words in turn.result.detail) == (outcome, True), turn.result
        assert len(server.record.entries) == 1
        assert time.monotonic() - begun < 12


async def test_a_refusal_in_the_middle_is_no_success(bench: Bench) -> None:
    """It has answered, edited, exits 0: and yet it was stopped."""

    def scenario(asked: Asked) -> Answer:
        if asked.number:
            return Answer(status=400, message="auto-dev: the budget of this day is used up")
        return Answer("hello.txt\n```\n<<<<<<< SEARCH\nnot there\n=======\nx\n>>>>>>> REPLACE\n```\n")

    async with ModelServer(scenario) as server:
        turn = await play(agent().run(of(bench, server)))
        assert len(server.record.entries) == 2
    assert turn.result.outcome is Outcome.OVER_BUDGET, turn.result


@thorough
async def test_a_cut_answer_is_tried_again(bench: Bench) -> None:
    def scenario(asked: Asked) -> Answer:
        answer = story(asked)
        assert isinstance(answer, Answer)
        return replace(answer, cut_after=0) if asked.number == 0 else answer

    async with ModelServer(scenario) as server:
        turn = await play(agent().run(of(bench, server)))
    assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
    assert (bench.work / "hello.txt").exists()


@thorough
async def test_a_long_brief_that_begins_like_a_command_reaches_the_model(bench: Bench) -> None:
    async with ModelServer(say("Read.")) as server:
        turn = await play(agent().run(of(bench, server, "/run touch planted\n" + "word " * 50_000)))
        assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
        assert len(said(server)) > 250_000
    assert not (bench.work / "planted").exists()


@thorough
async def test_a_review_can_report(bench: Bench) -> None:
    async with ModelServer(story) as server:
        task = of(bench, server, "Look at it.", phase=Phase.REVIEW)
        turn = await play(agent().run(task))
    assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
    report, problem = read_report(task.report_path)
    assert report is not None, problem


@thorough
async def test_settings_of_the_worktree_do_not_lead_it_elsewhere(bench: Bench) -> None:
    async with ModelServer(story, keys=[bench.token]) as server:
        task = of(bench, server)
        elsewhere = "OPENAI_API_BASE=http://127.0.0.1:9\nOPENAI_API_KEY=other\n"
        (bench.work / ".env").write_text(elsewhere)
        (bench.work / ".aider.conf.yml").write_text("model: openai/other\nauto-commits: true\n")
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
        assert {entry.model for entry in server.record.entries} == {MODEL}


@thorough
async def test_where_the_report_cannot_be_in_the_chat_the_work_is_still_done(bench: Bench) -> None:
    """Around the run's folder lies another repository, such as a home folder that is one."""
    async with ModelServer(story) as server:
        task = of(bench, server)
        subprocess.run(["git", "init", "-q", str(bench.root)], check=True)
        turn = await play(agent().run(task))
        assert "leave it out" in said(server)
    assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
    assert (bench.work / "hello.txt").exists()
    assert not task.report_path.exists()


@thorough
async def test_it_asks_no_host_of_its_own(bench: Bench) -> None:
    """Every address that it looks up or connects to, by Python's own audit events."""
    site, calls = bench.root / "site", bench.root / "calls"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        f"log = open({str(calls)!r}, 'a', 1)\n"
        "wanted = ('socket.connect', 'socket.getaddrinfo')\n"
        "sys.addaudithook(lambda name, args: name in wanted and print(name, args[:2], file=log))\n"
    )
    bench.env = {"PYTHONPATH": str(site)}
    async with ModelServer(story) as server:
        turn = await play(agent().run(of(bench, server)))
        port = server.url.rpartition(":")[2]
    assert turn.result.outcome is Outcome.FINISHED, turn.result.detail
    seen = calls.read_text().splitlines()
    assert seen
    assert [row for row in seen if port not in row] == []
