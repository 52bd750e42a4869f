"""The chat loop with OpenAI's client and wire format, against a server on the loopback that answers as theirs does."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auto_dev.agents.base import AgentResult, AgentTask, Endpoint, Outcome
from auto_dev.agents.chat import ChatAgent
from auto_dev.agents.environment import agent_env
from auto_dev.config import AgentConfig
from auto_dev.model import Phase
from auto_dev.processes import run_tree
from auto_dev.report import read_report
from tests.model_server import Answer, Asked, Call, ModelServer

pytestmark = pytest.mark.integration

ANSWERS = (
    Answer(calls=(Call("write_file", {"path": "a.txt", "content": "x"}),)),
    Answer("hm", calls=(Call("shell", raw='{"command": "touch b'),)),  # cut off, not JSON
    Answer(calls=(Call("report", {"summary": "done", "confidence": 0.9}),)),
)


class Trees:
    async def started(self, pid: int, started: int) -> None: ...
    async def ended(self, pid: int, started: int) -> None: ...


def scripted(asked: Asked) -> Answer:
    return ANSWERS[asked.answers]


async def test_a_story_is_worked_out_by_openais_wire_format(tmp_path: Path) -> None:
    work, run = tmp_path / "work", tmp_path / "run"
    work.mkdir()
    run.mkdir()
    async with ModelServer(scripted) as server:
        task = AgentTask(
            run_id="r", story_id="S", phase=Phase.IMPLEMENT, round=0, workdir=work, run_dir=run, brief="do it",
            brief_path=run / "b", report_path=run / "report.json", log_path=run / "log", env=agent_env(os.environ, {}),
            config=AgentConfig(kind="chat", model="gpt-5"), processes=Trees(), project_root=tmp_path,
            endpoint=Endpoint("", server.url, "the-turns-token"), run_tree=run_tree, home=tmp_path / "home",
            last_turn=lambda: 0.0,
        )  # fmt: skip
        events = [event async for event in ChatAgent(lambda: datetime.now(UTC), ()).run(task)]
    result = events[-1]
    assert isinstance(result, AgentResult)
    assert result.outcome is Outcome.FINISHED, result
    assert (work / "a.txt").read_text() == "x"
    assert not (work / "b").exists()
    assert read_report(task.report_path)[1] == ""
    requests = [entry.body for entry in server.record]
    assert [(entry.path, entry.key) for entry in server.record] == [("/v1/chat/completions", "the-turns-token")] * 3
    first, _, third = requests
    assert first is not None
    assert third is not None
    assert "not readable" in third["messages"][-1]["content"]
    assert {tool["function"]["name"] for tool in first["tools"]} >= {"shell", "report"}
    assert server.record[0].max_output == 8192
    assert "auto_dev" not in json.dumps(requests)
