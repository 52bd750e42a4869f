"""kind = "claude-code": the real program against a scripted model service."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auto_dev.agents.base import AgentTask, Outcome
from auto_dev.agents.claude_code import TOKEN, ClaudeCodeCli
from auto_dev.agents.loop import CliAgent
from auto_dev.agents.registry import detect
from auto_dev.config import AgentConfig
from auto_dev.model import Phase
from auto_dev.report import read_report
from tests.agents_support import Bench, agent_program, boxed, children, clock, play, socket_to
from tests.conftest import Eventually
from tests.model_server import Answer, Asked, Call, ModelServer, Tokens, say, story

pytestmark = pytest.mark.integration

MODEL = "claude-sonnet-4-5"
BRIEF = """Do it.
FILE: hello.txt = hi there
RUN: echo "$HOME" > home.txt
"""


@pytest.fixture(autouse=True)
def program() -> str:
    return agent_program("claude")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def agent(secrets: Callable[[str], str | None] = lambda name: None) -> CliAgent:
    return CliAgent(ClaudeCodeCli(), secrets, clock)


def of(bench: Bench, server: ModelServer, brief: str = BRIEF, **more: Any) -> AgentTask:
    bench.url = server.url
    return bench.task(brief, kind="claude-code", **({"model": MODEL} | more))


def session(task: AgentTask) -> dict[str, Any]:
    value = json.loads((task.run_dir / f"session-claude-code-{task.phase}.json").read_text())
    assert isinstance(value, dict)
    return value


async def test_it_does_the_work_and_reports(bench: Bench) -> None:
    async with ModelServer(story, keys=[bench.token]) as server:
        task = of(bench, server)
        turn = await play(agent().run(task))
        assert (turn.result.outcome, turn.result.detail) == (Outcome.FINISHED, "")
        assert (bench.work / "hello.txt").read_text() == "hi there\n"
        assert (bench.work / "home.txt").read_text() == f"{bench.home}\n", "its home is a private one"
        report, problem = read_report(task.report_path)
        assert report is not None, problem
        assert {entry.model for entry in server.record.entries} == {MODEL}
        assert all(entry.wire == "anthropic" for entry in server.record.entries), "nothing else is asked for"
    assert next(p.text for p in turn.progress if p.kind == "tool") == f"Write {bench.work}/hello.txt"
    assert turn.reported == [], "what the gateway meters is not booked again"
    assert (bench.trees.now, bench.trees.ever) == (set(), 1)
    assert '"type":"result"' in task.log_path.read_text()


async def test_a_repair_goes_on_in_the_same_conversation(bench: Bench) -> None:
    async with ModelServer(story) as server:
        first = of(bench, server)
        await play(agent().run(first))
        before = session(first)
        second = of(bench, server, "Mend it.\nFILE: hello.txt = mended\n", round_=1)
        turn = await play(agent().run(second))
        assert turn.result.outcome is Outcome.FINISHED
        assert (bench.work / "hello.txt").read_text() == "mended\n"
        last = server.record.entries[-1].body
        assert last is not None
        said = json.dumps(last["messages"])
        assert "Do it." in said
        assert "Mend it." in said
    assert session(second)["id"] == before["id"]
    assert (before["round"], session(second)["round"]) == (0, 1)


async def test_another_phase_is_another_conversation_and_a_review_only_reads(bench: Bench) -> None:
    def reviewer(asked: Asked) -> Answer:
        wanted = [
            Call("Bash", {"command": "touch planted.txt", "description": "x"}),
            Call("Write", {"file_path": f"{bench.work}/planted.txt", "content": "x"}),
            Call("Bash", {"command": "cat hello.txt", "description": "x"}),
            Call("Write", {"file_path": str(task.report_path), "content": '{"summary": "ok", "confidence": 0.9}'}),
        ]
        return Answer("", (wanted[asked.answers],)) if asked.answers < len(wanted) else Answer("Done.")

    async with ModelServer(story) as server:
        await play(agent().run(of(bench, server)))
        server.scenario = reviewer
        task = of(bench, server, "Review it.", phase=Phase.REVIEW)
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED
        last = server.record.entries[-1].body
        assert last is not None
        assert "Do it." not in json.dumps(last["messages"])
        assert "hi there" in json.dumps(last["messages"]), "it may look"
        server.scenario = story
        plan = of(bench, server, "Plan how to do this story.", phase=Phase.PLAN)
        planned = await play(agent().run(plan))
        assert planned.result.outcome is Outcome.FINISHED
        assert plan.report_path.exists()
    assert not (bench.work / "planted.txt").exists()
    report, problem = read_report(task.report_path)
    assert report is not None, problem


async def test_a_killed_turn_is_taken_up_where_it_was(bench: Bench, eventually: Eventually) -> None:
    brief = 'Do it.\nMODEL: {"files": {"a.txt": "1", "b.txt": "2"}, "commands": ["sleep 300"]}'
    before = children()
    async with ModelServer(story) as server:
        task = of(bench, server, brief)
        running = asyncio.create_task(play(agent().run(task)))
        await eventually((bench.work / "b.txt").exists)
        await eventually(lambda: len(server.record.entries) >= 3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert children() == before
        assert bench.trees.now == set()
        known = session(task)["id"]

        server.scenario = say("Nothing is left to do.")
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED
        last = server.record.entries[-1].body
        assert last is not None
        said = json.dumps(last["messages"])
        assert "b.txt" in said
        assert "You were interrupted" in said
        assert said.count("Do it.") == 1, "the brief is not told twice"
    assert session(task)["id"] == known


async def test_a_program_that_is_killed_has_failed_and_is_taken_up(bench: Bench, eventually: Eventually) -> None:
    before = children()
    async with ModelServer(story) as server:
        task = of(bench, server, 'Do it.\nMODEL: {"files": {"a.txt": "1"}, "commands": ["touch up; sleep 300"]}')
        running = asyncio.create_task(play(agent().run(task)))
        await eventually((bench.work / "up").exists)
        (pid,) = (pid for pid, _ in children() - before if b"--session-id" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(pid, signal.SIGKILL)
        turn = await running
        assert (turn.result.outcome, turn.result.exit_code) == (Outcome.FAILED, None)
        assert "SIGKILL" in turn.result.detail
        assert children() == before, "the commands that it ran are gone, too"
        server.scenario = say("Nothing is left to do.")
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED
        assert "You were interrupted" in json.dumps(server.record.entries[-1].body)


async def test_where_it_is_and_its_version_can_be_told(program: str, tmp_path: Path) -> None:
    found = await detect(AgentConfig(kind="claude-code", command=[program]), tmp_path)
    assert found is not None
    assert str(found[0]) == program
    assert re.match(r"\d+\.\d+\.\d+", found[1])
    assert list(tmp_path.iterdir()) == []


async def test_a_lost_conversation_begins_anew(bench: Bench) -> None:
    async with ModelServer(story) as server:
        task = of(bench, server)
        (task.run_dir / "session-claude-code-implement.json").write_text(
            json.dumps({"id": "7b1f6a4e-5a0e-4b58-9d4e-2f8e1f1c9f10", "round": 0, "brief": "?"})
        )
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED
        assert (bench.work / "hello.txt").exists()
    assert any("begins anew" in p.text for p in turn.progress)
    assert session(task)["id"] != "7b1f6a4e-5a0e-4b58-9d4e-2f8e1f1c9f10"


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (
            Answer(status=402, message="auto-dev: the budget of this day is used up", kind="billing_error"),
            Outcome.OVER_BUDGET,
            "API Error: 402 auto-dev: the budget of this day is used up",
        ),
        (
            Answer(status=429, message="slow down", headers={"retry-after": "7200"}),
            Outcome.RATE_LIMITED,
            "slow down",
        ),
        (Answer(status=403, message="not for you"), Outcome.UNAVAILABLE, "Failed to authenticate"),
        (Answer(status=400, message="prompt is too long"), Outcome.FAILED, "rompt is too long"),
    ],
    ids=["refused", "rate limit", "forbidden", "too long"],
)
async def test_what_a_refusal_means(bench: Bench, answer: Answer, outcome: Outcome, words: str) -> None:
    async with ModelServer(lambda asked: answer) as server:
        begun = time.monotonic()
        turn = await play(agent().run(of(bench, server)))
        assert turn.result.outcome is outcome
        assert words in turn.result.detail
        if outcome is Outcome.OVER_BUDGET:
            assert len(server.record.entries) == 1
            assert time.monotonic() - begun < 4


async def test_in_a_sandbox_it_works_the_same_and_is_gone_when_it_is_cancelled(
    bench: Bench, short_tmp: Path, eventually: Eventually
) -> None:
    before = children()
    socket = short_tmp / "model.sock"
    brief = BRIEF + "RUN: ls /root /home > seen.txt 2>&1; true\n"
    async with ModelServer(story, keys=[bench.token]) as server, socket_to(server.url, socket):
        await boxed(bench, socket)
        task = bench.task(brief, kind="claude-code", model=MODEL, confined=True)
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED, turn.result
        assert (bench.work / "hello.txt").read_text() == "hi there\n"
        assert task.report_path.exists()
        again = bench.task(
            "Mend it.\nRUN: echo $$ > up; (setsid sleep 300 &) ; sleep 300", kind="claude-code", round_=1
        )
        running = asyncio.create_task(play(agent().run(again)))
        await eventually((bench.work / "up").exists)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert "Do it." in json.dumps(server.record.entries[-1].body), "the same conversation"
    await eventually(lambda: children() == before)


async def test_a_cut_stream_is_tried_again(bench: Bench) -> None:
    async def scenario(asked: Asked) -> Answer:
        answer = story(asked)
        return replace(answer, cut_after=3) if asked.number == 1 else answer

    async with ModelServer(scenario) as server:
        turn = await play(agent().run(of(bench, server)))
    assert turn.result.outcome is Outcome.FINISHED
    assert (bench.work / "hello.txt").exists()


async def test_a_model_that_never_answers_is_standstill(bench: Bench) -> None:
    before = children()
    async with ModelServer(say("late", delay_s=600)) as server:
        turn = await play(agent().run(of(bench, server, stuck_minutes=1.5 / 60)))
    assert turn.result.outcome is Outcome.STUCK
    assert children() == before


async def test_answers_of_the_model_are_progress(bench: Bench) -> None:
    brief = 'Do it.\nMODEL: {"delay_s": 1.0, "extra_turns": 6, "report": null}'
    async with ModelServer(story) as server:
        last = [time.monotonic()]

        def scenario(asked: Asked) -> Answer:
            last[0] = time.monotonic()
            return story(asked)

        server.scenario = scenario
        task = of(bench, server, brief, stuck_minutes=4 / 60, last_turn=lambda: last[0])
        turn = await play(agent().run(task))
    assert turn.result.outcome is Outcome.FINISHED


async def test_the_own_login_bypasses_the_gateway_and_what_it_took_is_told(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scenario(asked: Asked) -> Answer:
        answer = story(asked)
        assert isinstance(answer, Answer)
        return replace(answer, usage=Tokens(1000 + asked.number, 50, cache_read=300, cache_write=20))

    async with ModelServer(scenario, keys=["sk-ant-oat01-mine"]) as server:
        # The only way in: the service's own address is what the program would ask.
        bench.env = {"ANTHROPIC_API_KEY": "the gateway's", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
        task = of(bench, server, mode="subscription")
        cli = ClaudeCodeCli()
        login = cli.login(lambda name: "sk-ant-oat01-mine" if name == TOKEN else None)
        assert login is not None
        monkeypatch.setattr(
            cli, "login", lambda secrets: replace(login, env={**login.env, "ANTHROPIC_BASE_URL": server.url})
        )
        turn = await play(CliAgent(cli, lambda name: None, clock).run(task))
        assert turn.result.outcome is Outcome.FINISHED
        real = [entry.usage for entry in server.record.entries if entry.usage]
        assert sum(r.usage.input for r in turn.reported) == sum(u.input for u in real)
        assert sum(r.usage.cache_read for r in turn.reported) == sum(u.cache_read for u in real)
        output = sum(u.output for u in real)
        assert output <= sum(r.usage.output for r in turn.reported) <= output * 2
        assert {r.model for r in turn.reported} == {MODEL}


async def test_a_usage_limit_of_the_own_login_says_when_it_is_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset = int(time.time()) + 5000
    limited = Answer(
        status=429,
        message="This request would exceed your account's rate limit.",
        kind="rate_limit_error",
        headers={
            "retry-after": "5000",
            "anthropic-ratelimit-unified-status": "rejected",
            "anthropic-ratelimit-unified-reset": str(reset),
            "anthropic-ratelimit-unified-representative-claim": "five_hour",
        },
    )
    async with ModelServer(lambda asked: limited) as server:
        task = of(bench, server, mode="subscription")
        cli = ClaudeCodeCli()
        monkeypatch.setattr(
            "auto_dev.agents.loop.own_login",
            lambda cli, secrets: replace(_login(), env={TOKEN: "sk-ant-oat01-x", "ANTHROPIC_BASE_URL": server.url}),
        )
        turn = await play(CliAgent(cli, lambda name: None, clock).run(task))
    assert turn.result.outcome is Outcome.RATE_LIMITED
    assert turn.result.resets_at is not None
    assert int(turn.result.resets_at.timestamp()) == reset


def _login() -> Any:
    return ClaudeCodeCli().login(lambda name: "x")


async def test_without_a_login_it_says_how_to_get_one(bench: Bench) -> None:
    task = replace(bench.task("x", kind="claude-code"), config=AgentConfig(kind="claude-code", mode="subscription"))
    turn = await play(agent().run(task))
    assert turn.result.outcome is Outcome.UNAVAILABLE
    assert "claude setup-token" in turn.result.detail
    assert bench.trees.ever == 0


async def test_a_program_that_is_missing_says_how_to_install_it(bench: Bench) -> None:
    task = bench.task("x", kind="claude-code")
    turn = await play(agent().run(replace(task, env={**task.env, "PATH": "/nowhere"})))
    assert turn.result.outcome is Outcome.UNAVAILABLE
    assert "npm install -g @anthropic-ai/claude-code" in turn.result.detail
