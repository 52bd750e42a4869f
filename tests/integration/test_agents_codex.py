"""kind = "codex": the real program against a scripted model service."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from auto_dev.agents import codex
from auto_dev.agents.base import AgentTask, Outcome
from auto_dev.agents.codex import CodexCli
from auto_dev.agents.loop import CliAgent
from auto_dev.model import Phase
from auto_dev.report import read_report
from auto_dev.watcher import descendants
from tests.agents_support import Bench, agent_program, children, clock, play
from tests.conftest import Eventually
from tests.model_server import Answer, Asked, ModelServer, Tokens, say, story

pytestmark = pytest.mark.integration

MODEL = "gpt-5.5"  # of those with plain tools; newer ones run JavaScript that calls them
BRIEF = """Do it.
FILE: hello.txt = hi there
RUN: echo "$HOME" > home.txt
"""


@pytest.fixture(autouse=True)
def program() -> str:
    return agent_program("codex")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def agent(cli: CodexCli | None = None) -> CliAgent:
    return CliAgent(cli or CodexCli(), lambda name: None, clock)


def of(bench: Bench, server: ModelServer, brief: str = BRIEF, **more: Any) -> AgentTask:
    bench.url = server.url
    return bench.task(brief, kind="codex", **({"model": MODEL} | more))


def session(task: AgentTask) -> dict[str, Any]:
    value = json.loads((task.run_dir / f"session-codex-{task.phase}.json").read_text())
    assert isinstance(value, dict)
    return value


def said(server: ModelServer) -> str:
    """The conversation as the last request told it."""
    body = server.record.entries[-1].body
    assert body is not None
    return json.dumps(body["input"])


async def test_it_does_the_work_and_reports(bench: Bench) -> None:
    async with ModelServer(story, keys=[bench.token]) as server:
        task = of(bench, server)
        turn = await play(agent().run(task))
        assert (turn.result.outcome, turn.result.detail) == (Outcome.FINISHED, "")
        assert (bench.work / "hello.txt").read_text() == "hi there\n"
        assert (bench.work / "home.txt").read_text() == f"{bench.home}\n", "its home is a private one"
        report, problem = read_report(task.report_path)
        assert report is not None, problem
        assert {(entry.model, entry.wire) for entry in server.record.entries} == {(MODEL, "responses")}
    assert any("hello.txt" in p.text for p in turn.progress if p.kind == "tool")
    assert turn.reported == [], "what the gateway meters is not booked again"
    assert (bench.trees.now, bench.trees.ever) == (set(), 1)
    assert {path.name for path in bench.home.iterdir()} <= {"codex", ".cache", ".config", ".local"}


async def test_a_repair_goes_on_in_the_same_conversation(bench: Bench) -> None:
    async with ModelServer(story) as server:
        first = of(bench, server)
        await play(agent().run(first))
        before = session(first)
        second = of(bench, server, "Mend it.\nFILE: hello.txt = mended\n", round_=1)
        turn = await play(agent().run(second))
        assert turn.result.outcome is Outcome.FINISHED
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
        await eventually(lambda: len(server.record.entries) >= 3)
        await eventually(lambda: any(_is_sleep(pid) for pid, _ in children() - before))
        for pid, _ in descendants(os.getpid()):  # codex itself, its launcher: all at once, with SIGKILL
            if (pid, _) not in before and _name(pid) in ("codex", "node"):
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
        await eventually(lambda: sum(_is_sleep(pid) for pid, _ in children() - before) == 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert children() == before
    assert bench.trees.now == set()


async def test_a_lost_conversation_begins_anew(bench: Bench) -> None:
    unknown = "01a1fbde-8df4-7f90-b325-000000000000"
    async with ModelServer(story) as server:
        task = of(bench, server)
        (task.run_dir / "session-codex-implement.json").write_text(
            json.dumps({"id": unknown, "round": 0, "brief": "?"})
        )
        turn = await play(agent().run(task))
        assert turn.result.outcome is Outcome.FINISHED
        assert (bench.work / "hello.txt").exists()
    assert any("begins anew" in p.text for p in turn.progress)
    assert session(task)["id"] != unknown


@pytest.mark.parametrize(
    ("answer", "outcome", "words", "requests"),
    [
        (
            Answer(status=400, message="auto-dev: the budget of this day is used up"),
            Outcome.OVER_BUDGET,
            "auto-dev: the budget of this day is used up",
            1,
        ),
        (Answer(status=402, message="auto-dev: the budget of this day is used up"), Outcome.OVER_BUDGET, "402", 3),
        (Answer(status=400, message="too long for this model"), Outcome.FAILED, "too long for this model", 1),
        (Answer(status=401, message="no such key"), Outcome.UNAVAILABLE, "401 Unauthorized", 3),
        (Answer(status=500, message="oh no"), Outcome.FAILED, "", 9),
    ],
    ids=["refused", "payment required", "bad request", "unauthorized", "broken"],
)
async def test_what_a_refusal_means(bench: Bench, answer: Answer, outcome: Outcome, words: str, requests: int) -> None:
    async with ModelServer(lambda asked: answer) as server:
        begun = time.monotonic()
        turn = await play(agent().run(of(bench, server)))
        assert turn.result.outcome is outcome
        assert words in turn.result.detail
        assert len(server.record.entries) <= requests
        assert time.monotonic() - begun < 8


async def test_a_cut_stream_is_tried_again(bench: Bench) -> None:
    def scenario(asked: Asked) -> Answer:
        answer = story(asked)
        assert isinstance(answer, Answer)
        return replace(answer, cut_after=2) if asked.number == 1 else answer

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


async def test_a_long_brief_reaches_the_model(bench: Bench) -> None:
    async with ModelServer(say("Read.")) as server:
        turn = await play(agent().run(of(bench, server, "word " * 100_000)))
        assert turn.result.outcome is Outcome.FINISHED
        assert len(said(server)) > 500_000


async def test_a_review_can_report(bench: Bench) -> None:
    async with ModelServer(story) as server:
        task = of(bench, server, "Look at it.", phase=Phase.REVIEW)
        turn = await play(agent().run(task))
    assert turn.result.outcome is Outcome.FINISHED
    report, problem = read_report(task.report_path)
    assert report is not None, problem


async def test_settings_and_servers_of_the_worktree_are_not_used(bench: Bench) -> None:
    async with ModelServer(story) as server:
        task = of(bench, server)
        planted = bench.work / ".codex"
        planted.mkdir()
        mark = bench.root / "planted"
        (planted / "config.toml").write_text(
            f'model = "other"\n[mcp_servers.x]\ncommand = "touch"\nargs = ["{mark}"]\n', "utf-8"
        )
        await play(agent().run(task))
        assert {entry.model for entry in server.record.entries} == {MODEL}
    assert not mark.exists()


async def test_what_the_own_login_took_is_told_once_over_resumed_turns(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """Codex counts from the conversation's beginning, and forgets what it was killed in the middle of."""
    token = _log_in()

    def scenario(asked: Asked) -> Answer:
        answer = story(asked)
        assert isinstance(answer, Answer)
        return replace(answer, usage=Tokens(1000 + asked.number, 50, cache_read=300))

    async with ModelServer(scenario, keys=[token]) as server:
        # The service's own address is what the program would ask.
        monkeypatch.setattr("auto_dev.agents.codex._SETTINGS", _pointed_at(server.url))
        bench.env = {"OPENAI_API_KEY": "the gateway's", "OPENAI_BASE_URL": "http://127.0.0.1:9"}
        first = await play(agent().run(of(bench, server, mode="subscription")))
        assert first.result.outcome is Outcome.FINISHED, first.result.detail

        more = of(bench, server, "More.\nRUN: sleep 300", mode="subscription", round_=1)
        before = children()
        running = asyncio.create_task(play(agent().run(more)))  # another daemon each time
        await eventually(lambda: any(_is_sleep(pid) for pid, _ in children() - before))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        server.scenario = say("That is all.", usage=Tokens(2000, 7))
        last = await play(agent().run(more))
        assert last.result.outcome is Outcome.FINISHED, last.result.detail

        told = [*first.reported, *last.reported]
        real = [entry.usage for entry in server.record.entries if entry.usage]
        assert len(told) == 2
        assert sum(r.usage.input for r in told) == sum(u.input for u in real)
        assert sum(r.usage.output for r in told) == sum(u.output for u in real)
        assert sum(r.usage.cache_read for r in told) == sum(u.cache_read for u in real)
        assert {r.model for r in told} == {MODEL}
    kept = json.loads((bench.home / "codex" / "auth.json").read_text())
    assert kept["tokens"]["refresh_token"] == "", "it would log the user out"


async def test_without_a_login_it_says_how_to_get_one(bench: Bench) -> None:
    async with ModelServer(story) as server:
        turn = await play(agent().run(of(bench, server, mode="subscription")))
    assert turn.result.outcome is Outcome.UNAVAILABLE
    assert "codex login" in turn.result.detail
    assert bench.trees.ever == 0


def _log_in() -> str:
    """A login of the user's own, as `codex login` leaves it."""
    claims = {
        "exp": int(time.time()) + 86400,
        "email": "user@example.com",
        "https://api.openai.com/auth": {"chatgpt_plan_type": "plus", "chatgpt_account_id": "account"},
    }
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({}, claims)]
    token = ".".join((*parts, "signature"))
    folder = Path(os.environ["HOME"]) / ".codex"
    folder.mkdir()
    tokens = {"id_token": token, "access_token": token, "refresh_token": "only-mine", "account_id": "account"}
    login = {"auth_mode": "chatgpt", "tokens": tokens, "last_refresh": datetime.now(UTC).isoformat()}
    (folder / "auth.json").write_text(json.dumps(login))
    return token


def _pointed_at(url: str) -> str:
    """The settings, with the service of the subscription at ``url``."""
    return (
        f'model_provider = "test"\nchatgpt_base_url = "{url}"\n{codex._SETTINGS}'
        f'[model_providers.test]\nname = "test"\nbase_url = "{url}/v1"\nwire_api = "responses"\n'
        "requires_openai_auth = true\nsupports_websockets = false\n"
    )


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _is_sleep(pid: int) -> bool:
    return _name(pid) == "sleep"
