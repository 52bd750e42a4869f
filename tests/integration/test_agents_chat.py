"""The chat loop, driven by recordings through the real LangChain client and real HTTP.

The gateway that is in between in a run is left out here; tests/integration/test_agents_metered.py has it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

import pytest

from auto_dev.agents.base import AgentResult, AgentTask, Endpoint, Event, Outcome, Progress, Turn, upstream_of
from auto_dev.agents.chat import ChatAgent
from auto_dev.agents.environment import agent_env
from auto_dev.agents.playback import Playback
from auto_dev.agents.recording import Conversation
from auto_dev.agents.replay import ReplayAgent
from auto_dev.config import AgentConfig
from auto_dev.errors import AgentError
from auto_dev.model import Phase
from auto_dev.processes import Finished, run_tree
from auto_dev.report import read_report
from auto_dev.watcher import descendants

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 2, 9, 12, tzinfo=UTC)
MODEL = "claude-sonnet-4-6"


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
        processes=Trees(),
        project_root=tmp_path / "project",
        endpoint=Endpoint("", "", ""),
        run_tree=run_tree,
        home=tmp_path / "home",
        last_turn=lambda: 0.0,
    )


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
    """Play the task's recording, as a turn does it: the upstream around it, then the agent."""
    agent = ReplayAgent(lambda: NOW, delays)
    turn_ = Turn(task.story_id, task.phase, task.round, task.config, task.project_root)
    async with upstream_of(agent, turn_) as urls:
        return await collect(agent.run(at(task, urls["anthropic"])))


def at(task: AgentTask, url: str) -> AgentTask:
    """The task with its endpoint there."""
    return replace(task, endpoint=Endpoint(url, url, "token"))


def tool_results(task: AgentTask) -> list[str]:
    rows = [json.loads(row) for row in transcript(task).read_text().splitlines()]
    return [row["data"]["content"] for row in rows if row["type"] == "tool"]


def transcript(task: AgentTask) -> Path:
    return task.run_dir / f"transcript-{task.phase}-{task.round}.jsonl"


async def test_a_recorded_story_is_worked_out_with_real_tools(task: AgentTask) -> None:
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
    assert isinstance(task.processes, Trees)
    assert (task.processes.now, task.processes.ever) == (set(), 2)
    assert {p.kind for p in progress} >= {"turn", "tool"}
    assert "passed" in task.log_path.read_text()


async def test_the_conversation_begins_with_the_brief(task: AgentTask) -> None:
    record(task, turn(REPORT))
    await replay(task)
    rows = [json.loads(row) for row in transcript(task).read_text().splitlines()]
    assert rows[0]["data"]["content"] == task.brief


def retries(progress: list[Progress]) -> int:
    return sum("trying again" in note.text for note in progress)


@pytest.mark.parametrize("status", [500, 529, None], ids=["500", "529", "cut"])
async def test_a_failed_answer_is_asked_for_again(task: AgentTask, status: int | None) -> None:
    record(task, turn(REPORT, failures=[{"status": status}] * 2))
    result, progress = await replay(task)
    assert result.outcome is Outcome.FINISHED, result
    assert retries(progress) == 2


@pytest.mark.parametrize("status", [503, None])
async def test_a_service_that_stays_broken_parks_the_run(task: AgentTask, status: int | None) -> None:
    record(task, turn(REPORT, failures=[{"status": status}] * 3))
    result, progress = await replay(task)
    assert result.outcome is Outcome.RATE_LIMITED
    assert result.resets_at == NOW + timedelta(minutes=5)
    assert retries(progress) == 2


async def test_a_rate_limit_that_ends_soon_is_waited_for(task: AgentTask) -> None:
    record(task, turn(REPORT, failures=[{"status": 429, "headers": {"retry-after": "0.3"}}]))
    began = time.monotonic()
    result, progress = await replay(task, (0.0, 0.5))
    assert result.outcome is Outcome.FINISHED, result
    assert time.monotonic() - began >= 0.3
    assert retries(progress) == 1


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
async def test_a_long_rate_limit_parks_until_its_end(
    task: AgentTask, headers: dict[str, str], resets_at: datetime
) -> None:
    record(task, turn(REPORT, failures=[{"status": 429, "headers": headers}]))
    result, progress = await replay(task)
    assert (result.outcome, result.resets_at) == (Outcome.RATE_LIMITED, resets_at)
    assert retries(progress) == 0


@pytest.mark.parametrize(
    ("status", "outcome", "word"),
    [
        (401, Outcome.UNAVAILABLE, "ANTHROPIC_API_KEY"),
        (403, Outcome.UNAVAILABLE, "ANTHROPIC_API_KEY"),
        (404, Outcome.UNAVAILABLE, "does not know the model"),
        (402, Outcome.UNAVAILABLE, "wants to be paid"),
        (400, Outcome.FAILED, "recorded failure"),
    ],
)
async def test_a_refused_request_says_what_to_do_and_is_not_repeated(
    task: AgentTask, status: int, outcome: Outcome, word: str
) -> None:
    record(task, turn(REPORT, failures=[{"status": status}]))
    result, progress = await replay(task)
    assert result.outcome is outcome
    assert word in result.detail
    assert retries(progress) == 0


async def test_a_service_that_is_not_there_is_told(task: AgentTask) -> None:
    async with Playback(Conversation.model_validate({"turns": [turn(REPORT)]}), MODEL) as server:
        gone = server.base_url
    config = AgentConfig(kind="chat", model=f"anthropic:{MODEL}")
    agent = ChatAgent(lambda: NOW, (0.0,))
    result, progress = await collect(agent.run(at(replace(task, config=config), gone)))
    assert result.outcome is Outcome.RATE_LIMITED
    assert "cannot be reached" in result.detail
    assert retries(progress) == 1


async def test_an_endless_conversation_ends_at_max_turns(task: AgentTask) -> None:
    record(task, *[turn(use("list_files"))] * 10)
    result, _ = await replay(replace(task, config=task.config.model_copy(update={"max_turns": 4})))
    assert result.outcome is Outcome.FAILED
    assert "4 turns" in result.detail


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
    with pytest.raises(AgentError, match=word):
        await replay(task)


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
        config = AgentConfig(kind="chat", model=MODEL)
        result, _ = await collect(ChatAgent(lambda: NOW).run(at(replace(task, config=config), server.base_url)))
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


async def test_a_finished_call_that_is_repeated_asks_nothing_and_reports_again(task: AgentTask) -> None:
    record(task, turn(use("write_file", path="a", content="1")), turn(REPORT))
    await replay(task)
    task.report_path.unlink()
    said = rows(task)
    result, _ = await replay(task)
    assert result.outcome is Outcome.FINISHED
    assert rows(task) == said
    assert read_report(task.report_path)[1] == ""


async def test_a_changed_brief_is_given_to_the_conversation(task: AgentTask) -> None:
    record(task, turn(REPORT), turn(say("hint taken"), use("write_file", path="a", content="1")), turn(REPORT))
    await replay(task)
    result, _ = await replay(replace(task, brief=task.brief + "\nA person says: use UTC."))
    assert result.outcome is Outcome.FINISHED
    assert (task.workdir / "a").exists()


async def test_cancelling_ends_the_tool(task: AgentTask) -> None:
    before = set(descendants(os.getpid()))
    record(task, turn(use("shell", command="touch up; trap '' TERM; sleep 60")), turn(REPORT))
    running = asyncio.create_task(replay(task))
    await until((task.workdir / "up").exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert set(descendants(os.getpid())) == before


async def test_the_shell_runs_where_the_task_says_and_nothing_else_does(task: AgentTask) -> None:
    """A box is entered by the task's own way to start processes; our search needs no box, and none may show it."""
    started: list[Sequence[str]] = []

    async def boxed(argv: Sequence[str], **how: Any) -> Finished:
        started.append(argv)
        return await run_tree(argv, **how)

    (task.workdir / "a.txt").write_text("here\n")
    record(task, turn(use("shell", command="echo in the box"), use("search", pattern="here")), turn(REPORT))
    await replay(replace(task, run_tree=boxed))
    assert [argv[1:] for argv in started] == [["-c", "echo in the box"]]
    assert "in the box" in tool_results(task)[0]
    assert tool_results(task)[1] == "a.txt:1: here\n"


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
                 t.Trees(), base / "project", t.Endpoint("", "", ""), t.run_tree, base / "home", lambda: 0.0)
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
