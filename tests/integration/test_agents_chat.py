"""The chat loop, driven by recordings through the real LangChain client and real HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

import pytest

from auto_dev.agents.base import AgentResult, AgentTask, Endpoint, Event, Outcome, Progress, Usage
from auto_dev.agents.chat import ChatAgent
from auto_dev.agents.environment import agent_env
from auto_dev.agents.playback import Playback
from auto_dev.agents.recording import Conversation
from auto_dev.agents.replay import ReplayAgent
from auto_dev.config import AgentConfig
from auto_dev.errors import BudgetError
from auto_dev.model import Phase
from auto_dev.processes import run_tree
from auto_dev.report import read_report
from auto_dev.watcher import descendants

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 2, 9, 12, tzinfo=UTC)
MODEL = "claude-sonnet-4-6"


@dataclass
class Books:
    """A meter that writes everything down, with room for so many requests."""

    room: int = 1000
    open: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    settled: list[tuple[int, Usage | None]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)

    async def reserve(self, model: str, input_tokens: int, max_output_tokens: int) -> str:
        if self.room <= 0:
            raise BudgetError("the story's limit of $1.00 is reached")
        self.room -= 1
        name = f"r{len(self.open) + len(self.settled) + len(self.released)}"
        self.open[name] = (model, input_tokens, max_output_tokens)
        return name

    async def settle(self, reservation: str, usage: Usage | None) -> int:
        _, bound, most = self.open.pop(reservation)
        if usage is not None:
            assert usage.input <= bound, "the bound must hold"
            assert usage.output <= most
        self.settled.append((bound, usage))
        return 0

    async def release(self, reservation: str) -> None:
        del self.open[reservation]
        self.released.append(reservation)


class Trees:
    def __init__(self) -> None:
        self.now: set[tuple[int, int]] = set()
        self.ever = 0

    async def started(self, pid: int, started: int) -> None:
        self.now.add((pid, started))
        self.ever += 1

    async def ended(self, pid: int, started: int) -> None:
        self.now.remove((pid, started))


def say(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def use(name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "name": name, "input": arguments}


def turn(*content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": list(content), **more}


REPORT = use("report", summary="done", confidence=0.9, criteria=[{"criterion": "a", "evidence": ["test_a"]}])


@pytest.fixture
def task(tmp_path: Path) -> AgentTask:
    for name in ("work tree", "run", "run/agent", "project"):
        (tmp_path / name).mkdir()
    report = tmp_path / "run/agent/report.json"
    return AgentTask(
        run_id="run-1",
        story_id="TODO-1",
        phase=Phase.IMPLEMENT,
        round=0,
        workdir=tmp_path / "work tree",
        run_dir=tmp_path / "run",
        brief="# TODO-1: Größe\n\nDo it. 🎈",
        brief_path=tmp_path / "run/agent/brief.md",
        report_path=report,
        log_path=tmp_path / "run/agent.log",
        env=agent_env(os.environ, {"AUTO_DEV_REPORT": str(report)}),
        config=AgentConfig(kind="replay", recording="recordings", max_turns=20),
        meter=Books(),
        processes=Trees(),
        project_root=tmp_path / "project",
        endpoint=Endpoint("", "", ""),
        run_tree=run_tree,
        home=tmp_path / "home",
        last_turn=lambda: 0.0,
    )


def books(task: AgentTask) -> Books:
    assert isinstance(task.meter, Books)
    return task.meter


def record(task: AgentTask, *turns: dict[str, Any], **conversation: Any) -> None:
    folder = task.project_root / "recordings"
    folder.mkdir(exist_ok=True)
    conversations = [{"phase": task.phase, "round": task.round, "turns": list(turns), **conversation}]
    text = json.dumps({"story": task.story_id, "model": MODEL, "conversations": conversations})
    (folder / f"{task.story_id}.json").write_text(text)


async def collect(events: AsyncIterator[Event | AgentResult]) -> tuple[AgentResult, list[Progress]]:
    progress: list[Progress] = []
    result: AgentResult | None = None
    async for event in events:
        assert result is None, "the result comes last"
        if isinstance(event, AgentResult):
            result = event
        elif isinstance(event, Progress):
            progress.append(event)
    assert result is not None
    return result, progress


async def replay(task: AgentTask, delays: Sequence[float] = (0.0, 0.0)) -> tuple[AgentResult, list[Progress]]:
    return await collect(ReplayAgent(lambda: NOW, delays).run(task))


def tool_results(task: AgentTask) -> list[str]:
    rows = [json.loads(row) for row in transcript(task).read_text().splitlines()]
    return [row["data"]["content"] for row in rows if row["type"] == "tool"]


def transcript(task: AgentTask) -> Path:
    return task.run_dir / f"transcript-{task.phase}-{task.round}.jsonl"


async def test_a_recorded_story_is_worked_out_with_real_tools_and_booked(task: AgentTask) -> None:
    (task.workdir / "todo.py").write_text("def due():\n    return None\n")
    record(
        task,
        turn(say("Let me look."), use("list_files"), use("read_file", path="todo.py")),
        turn(use("edit_file", path="todo.py", old="return None", new="return 42")),
        turn(use("write_file", path="tests/test_todo.py", content="from todo import due\nassert due() == 42\n")),
        turn(use("shell", command="PYTHONPATH=. python3 tests/test_todo.py && echo passed")),
        turn(use("search", pattern=r"return \d+")),
        turn(REPORT),
    )
    result, progress = await replay(task)
    assert result.outcome is Outcome.FINISHED, result
    assert (task.workdir / "todo.py").read_text() == "def due():\n    return 42\n"
    answers = tool_results(task)
    assert answers[0] == "todo.py"
    assert "passed\n\n[exit code 0]" in answers[4]
    assert answers[5] == "todo.py:2: return 42\n"
    report, problem = read_report(task.report_path)
    assert (report and report.confidence, problem) == (0.9, "")
    settled = books(task).settled
    assert len(settled) == 6
    assert not books(task).open
    first, second = settled[0][1], settled[1][1]
    assert first is not None
    assert second is not None
    assert first.cache_write > 0
    assert first.cache_read == 0
    assert second.cache_read > 0
    assert second.input >= second.cache_read + second.cache_write
    assert isinstance(task.processes, Trees)
    assert (task.processes.now, task.processes.ever) == (set(), 2)
    assert {p.kind for p in progress} >= {"turn", "tool"}
    assert "passed" in task.log_path.read_text()


async def test_the_requests_carry_the_brief_the_tools_and_the_price_names_the_model(task: AgentTask) -> None:
    record(task, turn(REPORT))
    await replay(task)
    assert books(task).settled[0][0] < 20_000, "the bound of a short conversation stays small"
    rows = [json.loads(row) for row in transcript(task).read_text().splitlines()]
    assert rows[0]["data"]["content"] == task.brief


async def test_recorded_usage_is_booked_as_it_is(task: AgentTask) -> None:
    usage = {
        "input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 7
    }  # fmt: skip
    record(task, turn(REPORT, usage=usage))
    await replay(task)
    assert books(task).settled[0][1] == Usage(input=137, output=20, cache_read=30, cache_write=7)


@pytest.mark.parametrize(("status", "tries"), [(500, 2), (529, 2), (None, 2)], ids=["500", "529", "cut"])
async def test_a_failed_answer_is_charged_and_asked_for_again(task: AgentTask, status: int | None, tries: int) -> None:
    record(task, turn(REPORT, failures=[{"status": status}] * tries))
    result, _ = await replay(task)
    assert result.outcome is Outcome.FINISHED, result
    assert [usage is None for _, usage in books(task).settled] == [True] * tries + [False]


@pytest.mark.parametrize("status", [503, None])
async def test_a_service_that_stays_broken_parks_the_run(task: AgentTask, status: int | None) -> None:
    record(task, turn(REPORT, failures=[{"status": status}] * 3))
    result, _ = await replay(task)
    assert result.outcome is Outcome.RATE_LIMITED
    assert result.resets_at == NOW + timedelta(minutes=5)
    assert len(books(task).settled) == 3
    assert not books(task).open


@pytest.mark.parametrize(
    ("headers", "resets_at"),
    [
        ({"retry-after": "90"}, NOW + timedelta(seconds=90)),
        (
            {
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-02-09T12:07:00Z",
                "anthropic-ratelimit-requests-remaining": "40",
                "anthropic-ratelimit-requests-reset": "2026-02-09T13:00:00Z",
            },
            NOW + timedelta(minutes=7),
        ),
        ({}, NOW + timedelta(minutes=1)),
    ],
)
async def test_a_rate_limit_parks_until_its_end_and_costs_nothing(
    task: AgentTask, headers: dict[str, str], resets_at: datetime
) -> None:
    record(task, turn(REPORT, failures=[{"status": 429, "headers": headers}]))
    result, _ = await replay(task)
    assert (result.outcome, result.resets_at) == (Outcome.RATE_LIMITED, resets_at)
    assert books(task).settled == []
    assert len(books(task).released) == 1


@pytest.mark.parametrize(
    ("status", "outcome", "word"),
    [
        (401, Outcome.UNAVAILABLE, "ANTHROPIC_API_KEY"),
        (403, Outcome.UNAVAILABLE, "ANTHROPIC_API_KEY"),
        (404, Outcome.UNAVAILABLE, "does not know the model"),
        (400, Outcome.FAILED, "recorded failure"),
    ],
)
async def test_a_refused_request_says_what_to_do_and_is_not_repeated(
    task: AgentTask, status: int, outcome: Outcome, word: str
) -> None:
    record(task, turn(REPORT, failures=[{"status": status}]))
    result, _ = await replay(task)
    assert result.outcome is outcome
    assert word in result.detail
    assert len(books(task).released) == 1


async def test_a_service_that_is_not_there_costs_nothing(task: AgentTask) -> None:
    async with Playback(Conversation.model_validate({"turns": [turn(REPORT)]}), MODEL) as server:
        gone = server.base_url
    config = AgentConfig(kind="chat", model=f"anthropic:{MODEL}", base_url=gone)
    agent = ChatAgent(lambda name: "key", lambda: NOW, (0.0,))
    result, _ = await collect(agent.run(replace(task, config=config)))
    assert result.outcome is Outcome.RATE_LIMITED
    assert "cannot be reached" in result.detail
    assert len(books(task).released) == 2
    assert books(task).settled == []


async def test_the_request_that_does_not_fit_the_budget_is_not_sent(task: AgentTask) -> None:
    record(task, turn(use("list_files")), turn(REPORT))
    books(task).room = 1
    result, _ = await replay(task)
    assert result.outcome is Outcome.OVER_BUDGET
    assert "limit of $1.00" in result.detail
    assert len(books(task).settled) == 1
    books(task).room = 10
    result, _ = await replay(task)
    assert result.outcome is Outcome.FINISHED, "a raised budget lets it go on where it was"
    assert len(books(task).settled) == 2


async def test_an_endless_conversation_ends_at_max_turns(task: AgentTask) -> None:
    record(task, *[turn(use("list_files"))] * 10)
    result, _ = await replay(replace(task, config=task.config.model_copy(update={"max_turns": 4})))
    assert result.outcome is Outcome.FAILED
    assert "4 turns" in result.detail
    assert len(books(task).settled) == 4


async def test_bad_tool_calls_are_answered_and_the_conversation_goes_on(task: AgentTask) -> None:
    outside = task.workdir.parent / "secret.txt"
    outside.write_text("secret")
    (task.workdir / "link").symlink_to(outside.parent)
    record(
        task,
        turn(use("no_such_tool", a=1), use("read_file"), use("read_file", path=5), use("write_file", path="a", x="b")),
        turn(use("read_file", path="../secret.txt"), use("read_file", path=str(outside))),
        turn(use("read_file", path="link/secret.txt"), use("write_file", path="link/new", content="x")),
        turn(use("write_file", path=".git/hooks/post-checkout", content="x"), use("read_file", path="missing")),
        turn(use("search", pattern="("), use("shell", command="exit 3"), use("report", summary="x", confidence="sure")),
        turn(REPORT),
    )
    result, _ = await replay(task)
    assert result.outcome is Outcome.FINISHED, result
    answers = tool_results(task)
    assert [a.startswith("error:") for a in answers] == [True] * 11 + [False, True, False]
    assert "no_such_tool" in answers[0]
    assert answers[11] == "[exit code 3]"
    assert "secret" not in "".join(answers).replace("secret.txt", "")
    assert not (outside.parent / "new").exists()


async def test_giant_output_is_cut_before_it_reaches_the_model(task: AgentTask) -> None:
    record(
        task,
        turn(use("shell", command="head -c 20000000 /dev/zero | tr '\\0' x; printf '\\033[31mred\\0'")),
        turn(REPORT),
    )
    result, _ = await replay(task)
    assert result.outcome is Outcome.FINISHED
    answer = tool_results(task)[0]
    assert len(answer) < 31_000
    assert answer.endswith("red\n[exit code 0]")


async def test_a_pattern_that_takes_for_ever_ends_with_the_search(
    task: AgentTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auto_dev.agents.tools._SEARCH_S", 0.5)
    (task.workdir / "a.txt").write_text("a" * 5000)
    record(task, turn(use("search", pattern="(a+)+$b")), turn(REPORT))
    result, _ = await replay(task)
    assert result.outcome is Outcome.FINISHED
    assert "took longer" in tool_results(task)[0]


async def test_a_command_is_ended_after_its_time_with_all_it_started(task: AgentTask) -> None:
    before = set(descendants(os.getpid()))
    record(task, turn(use("shell", command="setsid sleep 60 & echo up; sleep 60", timeout_s=0.5)), turn(REPORT))
    result, _ = await replay(task)
    assert result.outcome is Outcome.FINISHED
    assert tool_results(task)[0] == "up\n\n[ended after 0.5 seconds]"
    assert set(descendants(os.getpid())) == before


async def test_plan_and_review_can_only_read(task: AgentTask) -> None:
    task = replace(task, phase=Phase.REVIEW)
    record(task, turn(use("write_file", path="a", content="b"), use("shell", command="touch b")), turn(REPORT))
    await replay(task)
    assert all("there is no tool" in answer for answer in tool_results(task)[:2])
    assert list(task.workdir.iterdir()) == []


@pytest.mark.parametrize(
    ("prepare", "word"),
    [
        (lambda task: None, "no recording of the story TODO-1"),
        (lambda task: record(task, turn(REPORT), round=3), "no conversation for phase implement, round 0"),
        (lambda task: record(task, turn(say("x"), surprise=1)), "surprise"),
        (lambda task: record(task, {"content": []}), "content"),
    ],
)
async def test_a_story_without_a_fitting_recording_cannot_be_played(
    task: AgentTask, prepare: Callable[[AgentTask], None], word: str
) -> None:
    prepare(task)
    result, _ = await replay(task)
    assert result.outcome is Outcome.UNAVAILABLE
    assert word in result.detail


async def test_a_recording_that_ends_too_early_is_told(task: AgentTask) -> None:
    record(task, turn(use("list_files")))
    result, _ = await replay(task)
    assert result.outcome is Outcome.FAILED
    assert "ends after 1 turns" in result.detail


async def test_a_conversation_may_end_without_a_report(task: AgentTask) -> None:
    record(task, turn(say("I am done.")))
    result, _ = await replay(task)
    assert (result.outcome, result.detail) == (Outcome.FINISHED, "I am done.")
    assert read_report(task.report_path) == (None, "the agent left no report")


async def test_the_chat_agent_reminds_once_of_the_report(task: AgentTask) -> None:
    turns = [turn(say("I am done.")), turn(REPORT)]
    async with Playback(Conversation.model_validate({"turns": turns}), MODEL) as server:
        config = AgentConfig(kind="chat", model=MODEL, base_url=server.base_url)
        agent = ChatAgent(lambda name: "key" if name == "ANTHROPIC_API_KEY" else None, lambda: NOW)
        result, _ = await collect(agent.run(replace(task, config=config)))
    assert result.outcome is Outcome.FINISHED
    assert read_report(task.report_path)[1] == ""


async def test_an_answer_that_was_cut_off_goes_on(task: AgentTask) -> None:
    cut = turn(use("write_file", path="a.txt", content="half"), stop_reason="max_tokens")
    record(task, turn(say("Well, "), stop_reason="max_tokens"), cut, turn(REPORT))
    result, _ = await replay(task)
    assert result.outcome is Outcome.FINISHED, result
    assert "cut off" in tool_results(task)[0]
    assert not (task.workdir / "a.txt").exists()


async def test_a_refusal_is_no_success(task: AgentTask) -> None:
    record(task, turn(say("I will not."), stop_reason="refusal"))
    result, _ = await replay(task)
    assert (result.outcome, result.detail) == (Outcome.FAILED, "the model refused: I will not.")


async def test_a_finished_call_that_is_repeated_costs_nothing_and_reports_again(task: AgentTask) -> None:
    record(task, turn(use("write_file", path="a", content="1")), turn(REPORT))
    await replay(task)
    task.report_path.unlink()
    booked = len(books(task).settled)
    result, _ = await replay(task)
    assert result.outcome is Outcome.FINISHED
    assert len(books(task).settled) == booked
    assert read_report(task.report_path)[1] == ""


async def test_a_changed_brief_is_given_to_the_conversation(task: AgentTask) -> None:
    record(task, turn(REPORT), turn(say("hint taken"), use("write_file", path="a", content="1")), turn(REPORT))
    await replay(task)
    result, _ = await replay(replace(task, brief=task.brief + "\nA person says: use UTC."))
    assert result.outcome is Outcome.FINISHED
    assert (task.workdir / "a").exists()


async def test_cancelling_ends_the_tool_and_accounts_for_the_request(task: AgentTask) -> None:
    before = set(descendants(os.getpid()))
    record(task, turn(use("shell", command="touch up; trap '' TERM; sleep 60")), turn(REPORT))
    running = asyncio.create_task(replay(task))
    await until((task.workdir / "up").exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert set(descendants(os.getpid())) == before
    assert not books(task).open

    task = replace(task, round=1)
    record(task, turn(REPORT, delay_s=60))
    running = asyncio.create_task(replay(task))
    await until(lambda: books(task).open)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert books(task).settled[-1][1] is None, "it may be billed, so it is charged in full"


async def test_the_time_of_a_call_is_limited(task: AgentTask) -> None:
    record(task, turn(use("shell", command="sleep 60")))
    result, _ = await replay(replace(task, config=task.config.model_copy(update={"max_minutes": 1.5 / 60})))
    assert result.outcome is Outcome.TIMED_OUT


async def until(fact: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_nothing_is_sent_to_a_tracing_service(task: AgentTask, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(b"asked")
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for name in ("LANGSMITH", "LANGCHAIN"):
            monkeypatch.setenv(f"{name}_ENDPOINT", url)
            monkeypatch.setenv(f"{name}_API_KEY", "lsv2_canary")
        monkeypatch.setenv("LANGSMITH_TRACING", "true")
        monkeypatch.setenv("LANGCHAIN_TRACING_V2", "true")
        monkeypatch.setenv("HTTP_PROXY", url)
        record(task, turn(use("list_files")), turn(REPORT))
        result, _ = await replay(task)
        assert result.outcome is Outcome.FINISHED
        await asyncio.sleep(0.2)  # a tracer would send in the background
    assert asked == []


class Around(TypedDict):
    outcome: str


async def test_no_message_enters_the_checkpoints_of_a_graph_around_it(task: AgentTask) -> None:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, StateGraph

    async def node(state: Around) -> Around:
        return {"outcome": (await replay(task))[0].outcome}

    record(task, turn(use("list_files")), turn(REPORT))
    saver = InMemorySaver()
    graph = StateGraph(Around)
    graph.add_node("work", node)
    graph.add_edge(START, "work")
    graph.add_edge("work", END)
    config: Any = {"configurable": {"thread_id": "story"}}
    assert await graph.compile(checkpointer=saver).ainvoke({"outcome": ""}, config) == {"outcome": "finished"}
    kept = [c async for c in saver.alist(None)]
    assert {c.config["configurable"]["checkpoint_ns"] for c in kept} == {""}
    assert "TODO-1" not in repr(kept)


# Imports once (seconds), then plays the story in a fork for every line it is sent: its pid, then how it ended.
PLAYER = """
import asyncio, os, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import test_agents_chat as t
from pathlib import Path
from auto_dev.agents.base import AgentTask
from auto_dev.agents.environment import agent_env
from auto_dev.agents.models import load
from auto_dev.config import AgentConfig
from auto_dev.model import Phase

load("anthropic")
base = Path(sys.argv[3])
report = base / "run/agent/report.json"
task = AgentTask("run-1", "TODO-1", Phase.IMPLEMENT, 0, base / "work tree", base / "run", "brief", base / "b", report,
                 base / "run/agent.log", agent_env(os.environ, {}), AgentConfig(kind="replay", recording="recordings"),
                 t.Books(), t.Trees(), base / "project")
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if asyncio.run(t.replay(task))[0].outcome == "finished" else 1)
        finally:
            os._exit(2)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def test_a_conversation_survives_kills_at_any_moment(task: AgentTask) -> None:
    """Killed again and again, it ends with the same files and one report, and no answer is asked for twice."""
    turns = [turn(say(f"step {n}"), use("write_file", path=f"f{n}", content=str(n)), delay_s=0.05) for n in range(6)]
    record(task, *turns, turn(use("shell", command="sleep 0.3; cat f* > all")), turn(REPORT))
    argv = [sys.executable, "-c", PLAYER, str(ROOT), str(Path(__file__).parent), str(task.workdir.parent)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as player:
        assert player.stdin is not None
        assert player.stdout is not None

        def play() -> int:
            assert player.stdin is not None
            assert player.stdout is not None
            print("play", file=player.stdin, flush=True)
            return int(player.stdout.readline())

        killed = []
        for wanted in (1, 2, 5, 6, 9, 13, 14, 16):  # rows of the transcript to wait for
            pid = play()
            deadline = time.monotonic() + 60
            while rows(task) < wanted:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            os.kill(pid, signal.SIGKILL)
            killed.append(int(player.stdout.readline()))
        assert killed.count(-signal.SIGKILL) >= 7
        with transcript(task).open("ab") as file:
            file.write(b'{"type": "ai", "data": {"cont')  # what a crash in mid-write leaves
        play()
        assert int(player.stdout.readline()) == 0
        player.stdin.close()
    assert (task.workdir / "all").read_text() == "012345"
    assert read_report(task.report_path)[1] == ""
    answers = [json.loads(row) for row in transcript(task).read_text().splitlines()]
    texts = [str(row["data"]["content"]) for row in answers if row["type"] == "ai"]
    assert len(texts) == 8
    assert [f"step {n}" in texts[n] for n in range(6)] == [True] * 6


def rows(task: AgentTask) -> int:
    return transcript(task).read_bytes().count(b"\n") if transcript(task).exists() else 0
