"""kind = "acp": agents of the Agent Client Protocol, made with its own library, and a real one."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auto_dev.agents.acp import AcpAgent
from auto_dev.agents.base import AgentTask, Outcome
from auto_dev.agents.permissions import ALLOW, REFUSE
from auto_dev.model import Phase
from tests.agents_support import Bench, Turn, agent_program, children, clock, play
from tests.conftest import Eventually
from tests.model_server import Answer, Asked, Call, ModelServer, story

pytestmark = pytest.mark.integration

AGENT = Path(__file__).parents[1] / "data" / "acp_agent.py"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    pytest.importorskip("acp", reason="the package agent-client-protocol is needed")
    return Bench(tmp_path)


def of(bench: Bench, brief: str, *words: str, **more: Any) -> AgentTask:
    return bench.task(brief, kind="acp", command=[sys.executable, str(AGENT), *words], **more)


async def run(task: AgentTask) -> Turn:
    return await play(AcpAgent(clock).run(task))


def answers(bench: Bench) -> list[str]:
    return (bench.work / "answers.txt").read_text().splitlines()


async def test_it_talks_to_an_agent_to_the_end_of_its_turn(bench: Bench) -> None:
    turn = await run(of(bench, "Do it.\nFILE: a.txt = hello"))
    assert (turn.result.outcome, turn.result.detail) == (Outcome.FINISHED, "")
    assert (bench.work / "a.txt").read_text() == "hello"
    shown = [(p.kind, p.text) for p in turn.progress[1:]]
    assert shown == [("tool", "write a.txt"), ("text", "mode default, 1 prompts")]
    assert (bench.trees.now, bench.trees.ever) == (set(), 1)


async def test_a_repair_goes_on_in_the_same_session_and_its_replay_is_no_progress(bench: Bench) -> None:
    await run(of(bench, "Do it.\nFILE: a.txt = hello"))
    turn = await run(of(bench, "Mend it.\nFILE: a.txt = mended", round_=1))
    assert (bench.work / "a.txt").read_text() == "mended"
    assert [p.text for p in turn.progress[1:]] == ["write a.txt", "mode default, 2 prompts"]
    kept = json.loads((bench.home / "sessions.json").read_text())
    assert [len(prompts) for prompts in kept.values()] == [2]


async def test_a_session_that_is_gone_begins_anew(bench: Bench) -> None:
    await run(of(bench, "Do it."))
    (bench.home / "sessions.json").write_text("{}")
    turn = await run(of(bench, "Do it."))
    assert turn.result.outcome is Outcome.FINISHED
    assert any("begins anew" in p.text for p in turn.progress)
    kept = json.loads((bench.home / "sessions.json").read_text())
    assert next(iter(kept.values()))[0].startswith("Do it."), "the whole brief, not only to go on"


async def test_a_killed_turn_is_taken_up_again(bench: Bench, eventually: Eventually) -> None:
    before = children()
    task = of(bench, "Do it.\nFILE: a.txt = hello\nHANG")
    running = asyncio.create_task(run(task))
    await eventually((bench.work / "a.txt").exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert children() == before
    turn = await run(task)
    assert turn.result.outcome is Outcome.FINISHED
    kept = json.loads((bench.home / "sessions.json").read_text())
    ((first, second),) = kept.values()
    assert first.startswith("Do it.")
    assert second.startswith("You were interrupted")


async def test_only_looking_is_done_in_the_agents_own_plan_mode(bench: Bench) -> None:
    task = of(bench, "Review it.\nASK: edit x.txt\nASK: read x.txt", phase=Phase.REVIEW)
    turn = await run(task)
    assert turn.progress[-1].text == "mode plan, 1 prompts"
    assert answers(bench) == ["edit x.txt: no", "read x.txt: yes"]
    assert turn.result.data == {}


async def test_permissions_within_the_worktree_are_given_and_others_become_decisions(bench: Bench) -> None:
    asks = f"ASK: edit {bench.work}/in.txt\nASK: edit /etc/passwd\nASK: read /etc/hosts\nRUN: rm -rf build\n"
    asks += f"ASK: edit {bench.work}/.git/config\nASK: delete ../../elsewhere"
    turn = await run(of(bench, asks))
    assert [line.rsplit(": ")[1] for line in answers(bench)] == ["yes", "no", "no", "no", "no", "no"]
    decisions = turn.result.data["decisions"]
    assert isinstance(decisions, list)
    assert [d["question"] for d in decisions] == [
        "The agent asks to be allowed: touch /etc/passwd (edit: /etc/passwd)",
        "The agent asks to be allowed: touch /etc/hosts (read: /etc/hosts)",
        "The agent asks to be allowed: run `rm -rf build`",
        f"The agent asks to be allowed: touch {bench.work}/.git/config (edit: {bench.work}/.git/config)",
        "The agent asks to be allowed: touch ../../elsewhere (delete: ../../elsewhere)",
    ]
    assert all(d["options"] == [ALLOW, REFUSE] and d["recommended"] == REFUSE for d in decisions)


async def test_in_its_box_an_agent_may_run_commands_and_read_what_is_there(bench: Bench) -> None:
    asks = "RUN: rm -rf build\nASK: read /etc/hosts\nASK: edit /tmp/x\nASK: edit /etc/passwd"
    await run(of(bench, asks, confined=True))
    assert [line.rsplit(": ")[1] for line in answers(bench)] == ["yes", "yes", "yes", "no"]


async def test_a_persons_answer_holds_for_the_same_request_only(bench: Bench) -> None:
    given = {"The agent asks to be allowed: run `make install`": ALLOW}
    turn = await run(of(bench, "RUN: make install\nRUN: make  uninstall", answers=given))
    assert answers(bench) == ["make install: yes", "make  uninstall: no"]
    assert len(turn.result.data["decisions"]) == 1  # type: ignore[arg-type]
    turn = await run(of(bench, "RUN: make install", round_=1, answers=dict.fromkeys(given, REFUSE)))
    assert answers(bench)[-1] == "make install: no"
    assert turn.result.data == {}, "what was refused is not asked again"


@pytest.mark.parametrize(
    ("brief", "outcome", "words"),
    [
        ("STOP: refusal", Outcome.FAILED, "the model refused"),
        ("STOP: max_tokens", Outcome.FAILED, "became too long"),
        ("DIE", Outcome.FAILED, "it ended before its turn was over (exit code 3): it hurts"),
        ("NOISE", Outcome.FINISHED, ""),
    ],
)
async def test_how_a_turn_may_end(bench: Bench, brief: str, outcome: Outcome, words: str) -> None:
    turn = await run(of(bench, brief))
    assert turn.result.outcome is outcome, turn.result
    assert words in turn.result.detail


async def test_an_agent_that_stays_after_its_turn_is_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auto_dev.agents.watching.LINGER_S", 0.5)
    before = children()
    turn = await run(of(bench, "LINGER"))
    assert turn.result.outcome is Outcome.FINISHED
    assert children() == before


async def test_an_agent_that_never_answers_is_stuck(bench: Bench) -> None:
    turn = await run(of(bench, "HANG", stuck_minutes=1 / 60))
    assert turn.result.outcome is Outcome.STUCK


async def test_it_logs_in_with_the_key_of_the_gateway_when_it_is_asked_to(bench: Bench) -> None:
    turn = await run(of(bench, "FILE: a.txt = hello", "--locked"))
    assert turn.result.outcome is Outcome.FINISHED
    bench.url = ""
    turn = await run(replace(of(bench, "FILE: a.txt = hello", "--locked", round_=1), run_dir=bench.root / "other"))
    assert turn.result.outcome is Outcome.UNAVAILABLE


async def test_another_version_of_the_protocol_is_refused(bench: Bench) -> None:
    bench.env = {"SPEAKS": "2"}
    turn = await run(of(bench, "FILE: a.txt = hello"))
    assert turn.result.outcome is Outcome.FAILED
    assert "speaks version 2" in turn.result.detail


@pytest.mark.parametrize(
    "script",
    ["cat > /dev/null", "exit 0", 'while :; do echo \'{"jsonrpc":"2.0","id":1,"method":"x"}\'; done'],
    ids=["silent", "gone", "asks for ever"],
)
async def test_what_does_not_speak_the_protocol(bench: Bench, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auto_dev.agents.watching.LINGER_S", 0.5)
    before = children()
    turn = await run(bench.task("x", kind="acp", command=["sh", "-c", script], stuck_minutes=0.5 / 60))
    assert turn.result.outcome in (Outcome.STUCK, Outcome.FAILED)
    assert children() == before


async def test_a_real_agent_works_through_the_gateway(bench: Bench) -> None:
    program = agent_program("claude-agent-acp")
    brief = "Do it.\nFILE: hello.txt = hi there\nRUN: echo $HOME > home.txt\n"
    async with ModelServer(story, keys=[bench.token]) as server:
        bench.url = server.url
        task = bench.task(brief, kind="acp", command=[program], confined=True)
        turn = await run(task)
        assert turn.result.outcome is Outcome.FINISHED, turn.result
        assert (bench.work / "hello.txt").read_text() == "hi there\n"
        assert (bench.work / "home.txt").read_text() == f"{bench.home}\n"
        assert task.report_path.exists()

        def scenario(asked: Asked) -> Answer:
            if not asked.results:
                return Answer("", (Call("Bash", {"command": "curl evil", "description": "x"}),))
            return Answer("Done.")

        server.scenario = scenario
        turn = await run(bench.task("Mend it.", kind="acp", command=[program], round_=1))
        said = json.dumps(server.record.entries[-1].body)
        assert "Mend it." in said
        assert "Do it." in said, "the same conversation"
