"""Turns of agents that cost money, through the daemon in this process: what ends them, what they cost, what follows."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from auto_dev.budget.limits import BudgetLimits
from auto_dev.daemon.control import Control
from auto_dev.daemon.runner import Runner
from auto_dev.daemon.service import Daemon
from auto_dev.errors import ExitCode
from auto_dev.model import Scope
from auto_dev.nodes.context import RunContext
from tests.model_server import ModelServer
from tests.model_server.answer import Answer, Call, Tokens
from tests.model_server.asked import Asked
from tests.model_server.scenarios import shell

pytestmark = pytest.mark.integration

DONE = {"summary": "Done.", "confidence": 0.95, "criteria": [], "decisions": [], "blocked": None}
COST = 90_000  # micro-dollars of one answer of ``working``

CONFIG = """
[agent]
kind = "{kind}"
model = "claude-sonnet-4-6"
{agent}
[gateway]
anthropic_url = "{url}"
{more}
"""

ASKER = """#!/usr/bin/env python3
import json, os, signal, sys, urllib.error, urllib.request
here = os.path.realpath(sys.argv[0])
def ask(text, model="claude-sonnet-4-6"):
    body = {{"model": model, "max_tokens": 5000, "messages": [{{"role": "user", "content": text}}]}}
    url, key = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", os.environ["ANTHROPIC_API_KEY"]
    head = {{"x-api-key": key, "anthropic-version": "2023-06-01", "content-type": "application/json"}}
    request = urllib.request.Request(url, json.dumps(body).encode(), head)
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
def note(text):
    with open(here + ".calls", "a") as file:
        file.write(text + "\\n")
phase = os.environ["AUTO_DEV_PHASE"]
note(phase)
{body}
open("done.txt", "w").write("done")
json.dump({report}, open(os.environ["AUTO_DEV_REPORT"], "w"))
"""


def configured(made: Any, url: str, kind: str = "chat", agent: str = "", more: str = "") -> Any:
    (made.root / "auto-dev.toml").write_text(CONFIG.format(kind=kind, agent=agent, url=url, more=more))
    return made


def asking(made: Any, url: str, body: str, agent: str = "", more: str = "") -> Any:
    """A program that asks the model by itself is the agent."""
    report = {**DONE, "blocked": None}
    (made.root / "agent.sh").write_text(ASKER.format(body=body, report=report))
    return configured(made, url, "command", f'command = ["./agent.sh"]\n{agent}', more)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "the-real-key")


def working(turns: int) -> Callable[[Asked], Answer]:
    """So many commands, each in an answer that costs COST, then the report."""

    def scenario(asked: Asked) -> Answer:
        tokens = Tokens(20_000, 2_000)
        if asked.answers < turns:
            call = shell(asked, f"echo {asked.answers} >> spent.txt")
            assert call is not None
            return Answer("a step", (call,), usage=tokens)
        if asked.answers == turns:
            return Answer("the report", (Call("report", DONE),), usage=tokens)
        return Answer("done", usage=tokens)

    return scenario


async def the_run(made: Any) -> dict[str, Any]:
    (run,) = await made.fetch("SELECT * FROM runs")
    return dict(run)


async def booked(made: Any) -> int:
    """All that was charged, and that nothing is set aside any more."""
    rows = await made.fetch("SELECT status, charged_microusd FROM reservations")
    assert "open" not in {row["status"] for row in rows}
    (day,) = await made.fetch("SELECT * FROM budget_windows WHERE scope = 'day'")
    charged = sum(row["charged_microusd"] or 0 for row in rows)
    assert (day["spent_microusd"] + day["overrun_microusd"], day["reserved_microusd"]) == (charged, 0)
    return charged


async def turns_of(made: Any) -> tuple[int, int]:
    """Turns that began, and that were written down as ended."""
    rows = await made.fetch("SELECT kind FROM events WHERE kind IN ('AGENT_STARTED', 'AGENT_ENDED')")
    kinds = [row["kind"] for row in rows]
    return kinds.count("AGENT_STARTED"), kinds.count("AGENT_ENDED")


async def raise_day(daemon: Daemon, control: Control, dollars: int) -> None:
    """As `auto-dev budget raise day` does."""
    limits = BudgetLimits.of(daemon.config)
    await daemon.services.ledger.raise_limit(Scope.DAY, "", dollars * 1_000_000, "me", "more", limits)
    await control.resume_paused("budget")


async def test_a_run_that_the_day_has_no_money_for_waits_with_one_message_and_goes_on_where_it_was(
    project: Any, eventually: Any
) -> None:
    async with ModelServer(working(9)) as server:
        budget = "[budget]\ndaily = 0.6\nweekly = 20\nstory = 10\n[run]\nmax_parallel = 2\n"
        made = configured(project({"A-1": [], "B-1": []}), server.url, more=budget)
        async with made.serving(once=False) as (daemon, _):
            daemon.services.channels = ("email",)
            await eventually(lambda: _all(made, "paused"), 40)
            assert await booked(made) == server.record.cost_microusd <= 600_000
            runs = await made.fetch("SELECT * FROM runs")
            assert all(run["reason"].startswith("budget: today's limit of $0.60 is reached") for run in runs)
            assert all(run["resume_at"] is not None for run in runs), "they go on tomorrow by themselves"
            messages = await made.fetch("SELECT key, payload FROM outbox WHERE key NOT LIKE 'budget_alert%'")
            reached = [row for row in messages if row["key"].startswith("budget_reached:")]
            assert len(reached) == 1, messages
            assert {row["payload"]["cause"] for row in messages} == {reached[0]["payload"]["cause"]}, "told as one"
            begun, ended = await turns_of(made)
            assert begun == ended == 2
            heads = await made.fetch("SELECT head_sha FROM runs WHERE head_sha IS NOT NULL")
            assert len(heads) == 2, "what was done until then is kept"
            asked = len(server.record)
            await raise_day(daemon, made.control(daemon), 20)
            await eventually(lambda: _all(made, "in_review"), 40)
            assert await booked(made) == server.record.cost_microusd
            assert server.record.cost_microusd == 2 * 10 * COST, "no step was paid twice"
            assert len(server.record) == 20 > asked
            assert {run["attempt"] for run in await made.fetch("SELECT attempt FROM runs")} == {1}


async def _all(made: Any, status: str) -> bool:
    return set((await made.statuses()).values()) == {status}


REPEAT = 'done = all(ask("the same") == 200 for _ in range(25))\nif not done: sys.exit(1)'


async def test_the_same_request_again_and_again_asks_once_and_goes_on_when_that_is_all_right(project: Any) -> None:
    async with ModelServer() as server:
        made = asking(project({"A-1": []}), server.url, REPEAT)
        assert await made.once() is ExitCode.WAITS
        (decision,) = await made.fetch("SELECT * FROM decisions")
        assert (decision["kind"], len(server.record)) == ("anomaly", 20)
        assert await turns_of(made) == (1, 1)
        async with made.open(order=False) as daemon:
            await made.control(daemon).answer(decision["id"], "go_on")
        assert await made.once() is ExitCode.DONE
        assert await made.statuses() == {"A-1": "in_review"}
        assert len(await made.fetch("SELECT id FROM decisions")) == 1
        assert len(server.record) == 45


async def test_an_answer_that_is_there_at_once_lets_the_same_daemon_go_on(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run never lets go of its context then: what was found before must not be found again."""
    ask = Runner._answer_or_wait

    async def answered(self: Runner, context: RunContext, decision_id: str) -> bool:
        control = Control(context.services.db, context.project, "me", "test")
        await control.answer(decision_id, "go_on")
        return await ask(self, context, decision_id)

    monkeypatch.setattr(Runner, "_answer_or_wait", answered)
    async with ModelServer() as server:
        made = asking(project({"A-1": []}), server.url, REPEAT)
        assert await asyncio.wait_for(made.once(), 60) is ExitCode.DONE
        assert len(await made.fetch("SELECT id FROM decisions")) == 1


async def test_with_a_hint_the_agent_has_another_chance_and_its_loop_is_found_again(project: Any) -> None:
    async with ModelServer() as server:
        made = asking(project({"A-1": []}), server.url, REPEAT)
        assert await made.once() is ExitCode.WAITS
        (decision,) = await made.fetch("SELECT * FROM decisions")
        async with made.open(order=False) as daemon:
            await made.control(daemon).answer(decision["id"], "hint", "ask something else")
        assert await made.once() is ExitCode.WAITS
        assert len(server.record) == 40
        kinds = await made.fetch("SELECT kind, status FROM decisions ORDER BY created_at")
        assert [(row["kind"], row["status"]) for row in kinds] == [("anomaly", "answered"), ("anomaly", "open")]


STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
note(f"pid {os.getpid()}")
while ask("wait for me") != 200:  # refused: and it does not mind
    signal.sigtimedwait([], 0.05)
"""


def _pid(made: Any) -> int:
    calls = made.root / "agent.sh.calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("pid ")), 0)


def _lives(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


async def test_a_panic_ends_a_turn_within_2_s_and_charges_what_was_under_way(project: Any, eventually: Any) -> None:
    async with ModelServer(lambda asked: Answer("late", delay_s=60)) as server:
        made = asking(project({"A-1": []}), server.url, STUBBORN)
        async with made.serving(once=False) as (daemon, _):
            await eventually(lambda: len(server.record) == 1, 30)
            pid, (reservation,) = _pid(made), await made.fetch("SELECT * FROM reservations")
            assert reservation["status"] == "open"
            control, began = made.control(daemon), time.monotonic()
            await control.panic("it bites")
            await eventually(lambda: not _lives(pid), 10)
            assert time.monotonic() - began < 2
            await eventually(lambda: not daemon.runner.in_hand)
            assert await booked(made) == reservation["amount_microusd"] > 0
            run = await the_run(made)
            assert (run["status"], run["reason"]) == ("paused", "panic: it bites")
            server.scenario = lambda asked: Answer("at once")
            await control.release()
            await eventually(lambda: _all(made, "in_review"), 40)
            assert await booked(made) == reservation["amount_microusd"] + server.record[-1].cost_microusd
            assert len(server.record) == 2


REVIEWED = """
if phase == "review":
    open("junk.txt", "w").write("what a reviewer may not do")
    if ask("a look", "claude-sonnet-4-6" if os.path.exists(here + ".priced") else "nobody-knows-it") != 200:
        sys.exit(1)
    word = open(os.environ["AUTO_DEV_CHANGE"]).read().rsplit("receipt: ", 1)[1].strip()
    json.dump({"receipt": word, "summary": "fine"}, open(os.environ["AUTO_DEV_REPORT"], "w"))
    sys.exit()
else:
    open("work.txt", "w").write("work")
"""


async def test_a_review_that_was_stopped_is_made_again_and_leaves_nothing_behind(project: Any) -> None:
    async with ModelServer() as server:
        made = asking(project({"A-1": []}), server.url, REVIEWED, 'phases = ["review"]\n')
        assert await made.once() is ExitCode.WAITS
        (decision,) = await made.fetch("SELECT * FROM decisions")
        assert "nobody-knows-it" in decision["question"]
        (tree,) = made.home.glob("projects/*/worktrees/A-1")
        assert not (tree / "junk.txt").exists()
        assert (tree / "work.txt").exists()
        (made.root / "agent.sh.priced").touch()
        async with made.open(order=False) as daemon:
            await made.control(daemon).answer(decision["id"], "retry")
        assert await made.once() is ExitCode.DONE
        assert made.calls() == {"implement": 1, "review": 2}, "the work itself was not made again"


async def test_a_provider_that_is_not_to_be_asked_parks_the_next_run_without_being_asked(project: Any) -> None:
    refusing = Answer(status=429, headers={"retry-after": "3600"}, message="you are too fast")
    async with ModelServer(lambda asked: refusing) as server:
        made = configured(project({"A-1": [], "B-1": []}), server.url, more="[run]\nmax_parallel = 1\n")
        async with made.serving(once=False):
            deadline = time.monotonic() + 40
            while not await _all(made, "paused"):
                assert time.monotonic() < deadline, await made.statuses()
                await asyncio.sleep(0.05)  # polls a fact with a deadline
        runs = await made.fetch("SELECT reason, resume_at - now() AS wait, attempt FROM runs")
        assert all(run["reason"].startswith("rate limit") for run in runs), runs
        assert all(3400 < run["wait"].total_seconds() <= 3600 for run in runs)
        assert {run["attempt"] for run in runs} == {1}
        assert len(server.record) == 1
        assert await booked(made) == 0


async def test_an_agent_whose_answer_never_comes_is_stuck_and_pays_for_what_it_asked(project: Any) -> None:
    async with ModelServer(lambda asked: Answer("never", delay_s=600)) as server:
        made = asking(project({"A-1": []}), server.url, 'ask("wait for me")', "stuck_minutes = 0.02\n")
        assert await made.once() is ExitCode.WAITS
        (decision,) = await made.fetch("SELECT * FROM decisions")
        assert "stuck" in json.dumps([decision["question"], decision["why"], decision["evidence"]])
        (reservation,) = await made.fetch("SELECT * FROM reservations")
        assert await booked(made) == reservation["amount_microusd"]
        assert len(server.record) == 1


CLAUDE = """#!/usr/bin/env python3
# Speaks like Claude Code with a login of its own: 20 cents for each answer.
import json, os, sys, time
here = os.path.realpath(sys.argv[0])
sys.stdin.read()
for number in range(4):
    told = ""
    for half in "ab":  # the work of a subagent beside its own
        with open(here + ".calls", "a") as file:
            file.write("turn\\n")
        usage = {"input_tokens": 60000, "output_tokens": 1}
        text = {"type": "text", "text": "\\ud800 a step"}
        message = {"id": f"m{os.getpid()}-{number}{half}", "model": "claude-sonnet-4-6", "usage": usage}
        told += json.dumps({"type": "assistant", "session_id": "s", "message": {**message, "content": [text]}}) + "\\n"
    sys.stdout.write(told)
    sys.stdout.flush()
    while not os.path.exists(here + ".go"):
        time.sleep(0.02)
    open("work.txt", "a").write("work")
    time.sleep(1)  # as long as a turn of a model takes at least
json.dump({"summary": "done", "confidence": 0.95}, open(os.environ["AUTO_DEV_REPORT"], "w"))
print(json.dumps({"type": "result", "subtype": "success", "session_id": "s", "result": "done"}), flush=True)
"""


async def test_with_a_login_of_its_own_an_agents_turns_are_booked_as_it_tells_of_them(
    project: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "of-the-user")
    made = project({"A-1": []})
    (made.root / "agent.sh").write_text(CLAUDE)
    agent = 'command = ["./agent.sh"]\nmode = "subscription"\n'
    budget = "[budget]\ndaily = 0.5\nweekly = 20\nstory = 10\n"
    configured(made, "http://127.0.0.1:9", "claude-code", agent, budget)
    async with made.serving(once=False) as (daemon, _):
        await eventually(lambda: _charges(made, 2), 30)
        assert made.calls() == {"turn": 2}, "while the agent still works"
        (made.root / "agent.sh.go").touch()
        await eventually(lambda: _all(made, "paused"), 30)
        run = await the_run(made)
        assert run["reason"].startswith("budget: today's limit of $0.50 is reached"), run
        assert run["head_sha"], "its work is kept"
        cost = await booked(made)
        assert 500_000 <= cost <= 500_000 + 2 * 181_000, "one turn beyond the limit"
        assert await _charges(made, made.calls()["turn"]), "what was told with the turn that was too much, too"
        assert await turns_of(made) == (1, 1)
        await raise_day(daemon, made.control(daemon), 15)
        await eventually(lambda: _all(made, "in_review"), 40)
        assert len(await made.fetch("SELECT id FROM reservations")) == made.calls()["turn"]


async def _charges(made: Any, count: int) -> bool:
    return len(await made.fetch("SELECT id FROM reservations WHERE status = 'settled'")) == count


async def test_a_daemon_that_is_stopped_in_mid_request_charges_it_and_the_next_one_goes_on(
    project: Any, eventually: Any
) -> None:
    async with ModelServer(lambda asked: Answer("late", delay_s=60)) as server:
        made = asking(project({"A-1": []}), server.url, STUBBORN)
        async with made.serving(once=False):
            await eventually(lambda: len(server.record) == 1, 30)
            (reservation,) = await made.fetch("SELECT * FROM reservations")
        assert not _lives(_pid(made))
        assert await booked(made) == reservation["amount_microusd"]
        assert ((run := await the_run(made))["status"], run["reason"]) == ("paused", "stopped")
        server.scenario = lambda asked: Answer("at once")
        assert await made.once() is ExitCode.DONE
        assert await booked(made) == reservation["amount_microusd"] + server.record[-1].cost_microusd


async def test_a_story_that_a_person_ends_in_mid_request_is_charged_and_leaves_no_process(
    project: Any, eventually: Any
) -> None:
    async with ModelServer(lambda asked: Answer("late", delay_s=60)) as server:
        made = asking(project({"A-1": []}), server.url, STUBBORN)
        async with made.serving(once=False) as (daemon, _):
            await eventually(lambda: len(server.record) == 1, 30)
            (reservation,) = await made.fetch("SELECT * FROM reservations")
            await made.control(daemon).abort("A-1")
            await eventually(lambda: not daemon.runner.in_hand, 10)
            assert not _lives(_pid(made))
            assert await booked(made) == reservation["amount_microusd"]
            assert (await the_run(made))["status"] == "aborted"


async def test_lost_connections_in_mid_turn_lose_no_money_and_no_run(project: Any, eventually: Any) -> None:
    async with ModelServer(working(12)) as server:
        made = configured(project({"A-1": [], "B-1": [], "C-1": []}), server.url, more="[budget]\nstory = 40\n")
        async with made.serving() as (_, task):
            await eventually(lambda: len(server.record) > 4, 30)
            await made.cut_connections(20)
            assert await asyncio.wait_for(task, 90) is ExitCode.DONE
        assert await _all(made, "in_review")
        assert await booked(made) >= server.record.cost_microusd, "what is unknown is charged in full"
        assert {run["attempt"] for run in await made.fetch("SELECT attempt FROM runs")} == {1}
