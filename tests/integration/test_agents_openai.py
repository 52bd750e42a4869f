"""The chat loop with OpenAI's client and wire format, against a server on the loopback that answers as theirs does."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from auto_dev.agents.base import AgentResult, AgentTask, Endpoint, Outcome, Usage
from auto_dev.agents.chat import ChatAgent
from auto_dev.agents.environment import agent_env
from auto_dev.config import AgentConfig
from auto_dev.model import Phase
from auto_dev.processes import run_tree
from auto_dev.report import read_report

pytestmark = pytest.mark.integration

REPORT = json.dumps({"summary": "done", "confidence": 0.9})


def call(name: str, arguments: str) -> dict[str, Any]:
    return {"id": f"call-{name}", "type": "function", "function": {"name": name, "arguments": arguments}}


ANSWERS: list[dict[str, Any]] = [
    {"content": None, "tool_calls": [call("write_file", '{"path": "a.txt", "content": "x"}')]},
    {"content": "hm", "tool_calls": [call("shell", '{"command": "touch b')]},  # cut off, not JSON
    {"content": None, "tool_calls": [call("report", REPORT)]},
]


class Books:
    def __init__(self) -> None:
        self.models: list[str] = []
        self.settled: list[Usage | None] = []

    async def reserve(self, model: str, input_tokens: int, max_output_tokens: int) -> str:
        self.models.append(model)
        return "r"

    async def settle(self, reservation: str, usage: Usage | None) -> int:
        self.settled.append(usage)
        return 0

    async def release(self, reservation: str) -> None:
        raise AssertionError("every request was sent")


class Trees:
    async def started(self, pid: int, started: int) -> None: ...
    async def ended(self, pid: int, started: int) -> None: ...


@asynccontextmanager
async def server(requests: list[dict[str, Any]]) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        requests.append(json.loads(await reader.readexactly(length)))
        number = sum(m["role"] == "assistant" for m in requests[-1]["messages"])
        choice = {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", **ANSWERS[number]}}
        usage = {"prompt_tokens": 100, "completion_tokens": 9, "total_tokens": 109}
        usage |= {"prompt_tokens_details": {"cached_tokens": 64}}  # type: ignore[dict-item]
        body = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-5",
            "choices": [choice],
            "usage": usage,
        }
        text = json.dumps(body).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
        writer.write(f"content-length: {len(text)}\r\n\r\n".encode() + text)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"


async def test_a_story_is_worked_out_by_openais_wire_format(tmp_path: Path) -> None:
    requests: list[dict[str, Any]] = []
    books = Books()
    work, run = tmp_path / "work", tmp_path / "run"
    work.mkdir()
    run.mkdir()
    async with server(requests) as url:
        task = AgentTask(
            run_id="r", story_id="S", phase=Phase.IMPLEMENT, round=0, workdir=work, run_dir=run, brief="do it",
            brief_path=run / "b", report_path=run / "report.json", log_path=run / "log", env=agent_env(os.environ, {}),
            config=AgentConfig(kind="chat", model="gpt-5", base_url=url), meter=books, processes=Trees(),
            project_root=tmp_path,
            endpoint=Endpoint("", "", ""),
            run_tree=run_tree,
            home=tmp_path / "home",
            last_turn=lambda: 0.0,
        )  # fmt: skip
        agent = ChatAgent(lambda name: "sk-test", lambda: datetime.now(UTC), ())
        events = [event async for event in agent.run(task)]
    result = events[-1]
    assert isinstance(result, AgentResult)
    assert result.outcome is Outcome.FINISHED, result
    assert (work / "a.txt").read_text() == "x"
    assert not (work / "b").exists()
    assert read_report(task.report_path)[1] == ""
    assert books.models == ["openai:gpt-5"] * 3
    assert books.settled == [Usage(input=100, output=9, cache_read=64)] * 3
    assert "not readable" in requests[2]["messages"][-1]["content"]
    assert {tool["function"]["name"] for tool in requests[0]["tools"]} >= {"shell", "report"}
    assert max(requests[0].get("max_completion_tokens", 0), requests[0].get("max_tokens", 0)) == 8192
    assert "auto_dev" not in json.dumps(requests)
