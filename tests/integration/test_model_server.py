"""The scripted model server, as the services' own clients see it: what other tests rest upon."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.model_server import Answer, Call, ModelServer, Script, Tokens, echo, say, spend, story

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BASH: dict[str, Any] = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
CALL = Answer("Let me see.", (Call("bash", {"command": "ls 'ü'"}),), usage=Tokens(900, 30, cache_read=512))
ASK: list[Any] = [{"role": "user", "content": "do it"}]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(say("Grüße 🎈, all is well.", usage=Tokens(100, 20))) as opened:
        yield opened


@pytest.fixture
async def claude(server: ModelServer) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key="sk-a", base_url=server.url, max_retries=0) as client:
        yield client


@pytest.fixture
async def gpt(server: ModelServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="sk-o", base_url=server.url + "/v1", max_retries=0) as client:
        yield client


async def test_messages_api_streams_what_it_answers_at_once(
    server: ModelServer, claude: anthropic.AsyncAnthropic
) -> None:
    tools: list[Any] = [{"name": "bash", "input_schema": BASH}]
    server.scenario = lambda asked: CALL
    plain = await claude.messages.create(model="claude-sonnet-4-6", max_tokens=99, messages=ASK, tools=tools)
    async with claude.messages.stream(model="claude-sonnet-4-6", max_tokens=99, messages=ASK, tools=tools) as stream:
        streamed = await stream.get_final_message()
    for message in (plain, streamed):
        text, call = message.content
        assert text.type == "text"
        assert text.text == "Let me see."
        assert call.type == "tool_use"
        assert (call.name, call.input) == ("bash", {"command": "ls 'ü'"})
        assert message.stop_reason == "tool_use"
        usage = message.usage
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (388, 512, 30)
    first, second = server.record
    assert (first.key, first.max_output, first.outcome) == ("sk-a", 99, "complete")
    assert (first.stream, second.stream) == (False, True)
    assert first.cost_microusd == second.cost_microusd == 388 * 3 + -(-512 * 3 // 10) + 30 * 15


async def test_chat_completions_tell_usage_in_a_stream_only_when_asked(
    server: ModelServer, gpt: openai.AsyncOpenAI
) -> None:
    server.scenario = lambda asked: CALL
    plain = await gpt.chat.completions.create(model="gpt-5", messages=ASK)
    assert plain.usage is not None
    assert (plain.usage.prompt_tokens, plain.usage.completion_tokens) == (900, 30)
    assert plain.choices[0].finish_reason == "tool_calls"
    for asked in (True, False):
        arguments, usage = "", None
        options: Any = {"stream_options": {"include_usage": True}} if asked else {}
        async for chunk in await gpt.chat.completions.create(model="gpt-5", messages=ASK, stream=True, **options):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                for call in choice.delta.tool_calls or []:
                    assert call.function is not None
                    arguments += call.function.arguments or ""
        assert json.loads(arguments) == {"command": "ls 'ü'"}
        assert (usage is not None) is asked
    assert [entry.key for entry in server.record] == ["sk-o"] * 3
    assert server.record[0].cost_microusd == -(-(388 * 125 + 512 * 12.5) // 100) + 300


async def test_responses_api_streams_every_event_of_an_item(server: ModelServer, gpt: openai.AsyncOpenAI) -> None:
    server.scenario = lambda asked: CALL
    tools: Any = [{"type": "function", "name": "bash", "parameters": BASH, "strict": False}]
    plain = await gpt.responses.create(model="gpt-5", input="do it", tools=tools)
    assert plain.output_text == "Let me see."
    async with gpt.responses.stream(model="gpt-5", input="do it", tools=tools) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert "response.function_call_arguments.done" in kinds
    for response in (plain, final):
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.input_tokens_details.cached_tokens) == (900, 512)
        assert [item.type for item in response.output] == ["message", "function_call"]


async def test_gemini_streams_by_events_or_as_an_array(server: ModelServer) -> None:
    server.scenario = lambda asked: CALL
    ask = {"contents": [{"role": "user", "parts": [{"text": "do it"}]}]}
    base = f"{server.url}/v1beta/models/gemini-2.5-pro"
    async with httpx.AsyncClient(trust_env=False, headers={"x-goog-api-key": "k"}) as client:
        plain = (await client.post(f"{base}:generateContent", json=ask)).json()
        events = (await client.post(f"{base}:streamGenerateContent?alt=sse", json=ask)).text
        array = (await client.post(f"{base}:streamGenerateContent", json=ask)).json()
        by_query = await client.post(f"{base}:generateContent?key=q", json=ask, headers={"x-goog-api-key": ""})
    assert by_query.status_code in (200, 401)
    assert plain["candidates"][0]["content"]["parts"][1]["functionCall"]["name"] == "bash"
    told = [json.loads(line.removeprefix("data: ")) for line in events.split("\r\n\r\n") if line]
    assert told[-1]["usageMetadata"] == array[-1]["usageMetadata"] == plain["usageMetadata"]
    assert told[-1]["usageMetadata"]["cachedContentTokenCount"] == 512
    assert told[-1]["candidates"][0]["finishReason"] == "STOP"
    assert server.record[0].model == "gemini-2.5-pro"


async def test_failures_have_the_services_own_shape(server: ModelServer, claude: Any, gpt: Any) -> None:
    fault = {"from": 0, "status": 429, "message": "slow down", "headers": {"retry-after": "7"}}
    server.scenario = Script.of({"scenario": "say", "faults": [fault]})
    with pytest.raises(anthropic.RateLimitError, match="slow down") as first:
        await claude.messages.create(model="claude-sonnet-4-6", max_tokens=9, messages=ASK)
    assert first.value.response.headers["retry-after"] == "7"
    with pytest.raises(openai.RateLimitError, match="slow down"):
        await gpt.chat.completions.create(model="gpt-5", messages=ASK)
    server.scenario = say("x", status=529)
    with pytest.raises(anthropic.APIStatusError) as second:
        await claude.messages.create(model="claude-sonnet-4-6", max_tokens=9, messages=ASK)
    assert "overloaded_error" in str(second.value.body)
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        await claude.messages.create(model="claude-sonnet-4-6", max_tokens=0, messages=ASK)
    server.keys = frozenset({"sk-other"})
    with pytest.raises(openai.AuthenticationError):
        await gpt.responses.create(model="gpt-5", input="x")
    assert server.record.cost_microusd == 0
    assert {entry.outcome for entry in server.record} == {"error"}


async def test_a_cut_stream_is_billed_up_to_the_cut(server: ModelServer, claude: anthropic.AsyncAnthropic) -> None:
    server.scenario = say("x" * 400, usage=Tokens(100, 1000), cut_after=4, pieces=10)
    seen = 0
    with pytest.raises((anthropic.APIConnectionError, httpx.RemoteProtocolError, Exception)):  # noqa: PT012
        async with claude.messages.stream(model="claude-sonnet-4-6", max_tokens=2000, messages=ASK) as stream:
            async for _ in stream:
                seen += 1
    (entry,) = server.record
    assert entry.outcome == "cut"
    assert entry.events == 4
    assert entry.usage is not None
    assert 0 < entry.usage.output < 500
    server.scenario = say("x", cut_after=1, usage=Tokens(10, 10))
    with pytest.raises(anthropic.APIConnectionError):
        await claude.messages.create(model="claude-sonnet-4-6", max_tokens=2000, messages=ASK)
    assert server.record[1].outcome == "cut"


async def test_a_client_that_leaves_is_noticed(
    server: ModelServer, claude: anthropic.AsyncAnthropic, eventually: Any
) -> None:
    server.scenario = say("x" * 400, usage=Tokens(100, 1000), pause_s=0.02, pieces=100)
    stream = await claude.messages.create(model="claude-sonnet-4-6", max_tokens=2000, messages=ASK, stream=True)
    async for _ in stream:
        break
    await stream.close()
    await eventually(lambda: server.record[0].outcome == "gone")
    assert server.record[0].usage is not None
    assert server.record[0].usage.output < 1000


async def test_usage_may_lie_be_missing_or_be_no_number(server: ModelServer, claude: Any) -> None:
    async def told() -> dict[str, Any]:
        ask = {"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": ASK}
        async with httpx.AsyncClient(trust_env=False, headers={"x-api-key": "k"}) as client:
            return dict((await client.post(server.url + "/v1/messages", json=ask)).json())

    server.scenario = say("x", usage=Tokens(10, 5), lie={"output_tokens": float("nan"), "service_tier": None})
    usage = (await told())["usage"]
    assert usage["output_tokens"] != usage["output_tokens"]
    assert "service_tier" not in usage
    server.scenario = say("x", usage=Tokens(10, 5), mute=True)
    assert "usage" not in await told()
    assert server.record.cost_microusd == 2 * (10 * 3 + 5 * 15)


async def test_events_arrive_whole_however_they_are_cut(server: ModelServer, claude: anthropic.AsyncAnthropic) -> None:
    for change in ({"split": 1}, {"split": 7}, {"encoding": "gzip"}, {"encoding": "deflate"}):
        server.scenario = say("Grüße 🎈", usage=Tokens(10, 5), **change)
        async with claude.messages.stream(model="claude-sonnet-4-6", max_tokens=9, messages=ASK) as stream:
            assert await stream.get_final_text() == "Grüße 🎈"


async def test_headers_are_echoed(server: ModelServer, claude: anthropic.AsyncAnthropic) -> None:
    server.scenario = echo
    message = await claude.messages.create(model="claude-sonnet-4-6", max_tokens=99, messages=ASK)
    assert "sk-a" in message.content[0].text  # type: ignore[union-attr]


PROMPT = """Do it.

FILE: src/a.txt = eins\\nzwei
RUN: cat src/a.txt
REPORT: {"summary": "ok", "confidence": 0.5}
SAY: Fine.
"""


async def test_the_story_is_done_step_by_step_with_the_tools_that_there_are(
    server: ModelServer, claude: anthropic.AsyncAnthropic, tmp_path: Path
) -> None:
    server.scenario = story
    report = tmp_path / "report.json"
    messages: list[Any] = [{"role": "user", "content": PROMPT}]
    tools: Any = [
        {"name": "Bash", "input_schema": BASH},
        {
            "name": "Write",
            "input_schema": {"properties": {"file_path": {"type": "string"}, "content": {"type": "string"}}},
        },
    ]
    said = []
    for _ in range(10):
        answer = await claude.messages.create(
            model="claude-sonnet-4-6", max_tokens=999, messages=messages, tools=tools,
            system=f"Working directory: {tmp_path}\nPlatform: linux",
        )  # fmt: skip
        messages.append({"role": "assistant", "content": [block.model_dump() for block in answer.content]})
        calls = [block for block in answer.content if block.type == "tool_use"]
        if not calls:
            said.append(answer.content[0].text)  # type: ignore[union-attr]
            break
        (call,) = calls
        said.append(call.name)
        result, failed = "ok", False
        if call.name == "Write":  # refused, so that the shell must do it
            assert call.input == {"file_path": f"{tmp_path}/src/a.txt", "content": "eins\nzwei\n"}
            result, failed = "File has not been read yet", True
        else:
            command = str(call.input["command"])
            env = {"PATH": "/usr/bin:/bin", "AUTO_DEV_REPORT": str(report)}
            done = await asyncio.to_thread(
                subprocess.run, ["sh", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
            )
            result = done.stdout
        block = {"type": "tool_result", "tool_use_id": call.id, "content": result, "is_error": failed}
        messages.append({"role": "user", "content": [block]})
    assert said == ["Write", "Bash", "Bash", "Bash", "Fine."]
    assert (tmp_path / "src/a.txt").read_text() == "eins\nzwei\n"
    assert json.loads(report.read_text()) == {"summary": "ok", "confidence": 0.5}


async def test_spending_never_ends_and_uses_all_that_is_allowed(server: ModelServer, gpt: openai.AsyncOpenAI) -> None:
    server.scenario = spend()
    tools: Any = [{"type": "function", "function": {"name": "exec_command", "parameters": {"properties": {"cmd": {}}}}}]
    messages: list[Any] = list(ASK)
    for number in range(3):
        answer = await gpt.chat.completions.create(
            model="gpt-5", messages=messages, tools=tools, max_completion_tokens=500
        )
        (call,) = answer.choices[0].message.tool_calls or []
        assert json.loads(call.function.arguments) == {"cmd": f"echo {number}"}  # type: ignore[union-attr]
        messages.append(answer.choices[0].message.model_dump(exclude_none=True))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "x"})
    assert [entry.usage and entry.usage.output for entry in server.record] == [500] * 3


async def test_as_a_process_it_is_scripted_by_files(tmp_path: Path) -> None:
    script, record = tmp_path / "script.json", tmp_path / "record.jsonl"
    script.write_text(
        json.dumps({"scenario": "say", "say": "hi", "answer": {"usage": {"input": 10, "output": 2}}, "keys": ["sk-1"]})
    )
    server = ROOT / "tests/model_server/server.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(server), "--port", "0", "--script", str(script), "--record", str(record),
        stdout=asyncio.subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        url = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
        async with openai.AsyncOpenAI(api_key="sk-1", base_url=url + "/v1", max_retries=0) as client:
            answer = await client.chat.completions.create(model="gpt-5", messages=ASK)
        async with openai.AsyncOpenAI(api_key="sk-2", base_url=url + "/v1", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.chat.completions.create(model="gpt-5", messages=ASK)
        async with httpx.AsyncClient(trust_env=False) as http:
            rows = (await http.get(url + "/_record")).json()
    finally:
        process.terminate()
        await process.wait()
    assert answer.choices[0].message.content == "hi"
    written = [json.loads(line) for line in record.read_text().splitlines()]
    assert [row["outcome"] for row in written] == [row["outcome"] for row in rows] == ["complete", "error"]
    assert [row["cost_microusd"] for row in written] == [33, 0]
