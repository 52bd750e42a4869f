"""What Qwen Code's output means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from auto_dev.agents.base import Outcome, Progress, Reported, Usage
from auto_dev.agents.cli import Seen
from auto_dev.agents.qwen import QwenCli
from auto_dev.processes import Finished
from tests.agents_support import Bench

CLI = QwenCli()
WORDS = st.sampled_from(
    [
        *("type", "subtype", "init", "assistant", "message", "content", "text", "tool_use", "result", "success"),
        *("is_error", "usage", "input_tokens", "output_tokens", "name", "input", "error", "session_id", "system"),
        "[API Error: x]",
    ]
)
REFUSED = "[API Error: 400 auto-dev: the budget of this day is used up]"

EVENTS = st.dictionaries(
    WORDS,
    st.recursive(
        WORDS | st.text(max_size=5) | st.none() | st.booleans() | st.integers() | st.floats(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
        max_leaves=8,
    ),
)


def read(seen: Seen, *events: dict[str, Any]) -> list[Any]:
    return [shown for event in events for shown in CLI.read(json.dumps(event), seen)]


def judge(seen: Seen, code: int | None = 0, errors: str = "") -> Any:
    return CLI.judge(None, seen, Finished(code, None if code is not None else 9, "", 0, 1.0), errors)  # type: ignore[arg-type]


def answer(*parts: dict[str, Any], output: int = 0) -> dict[str, Any]:
    usage = {
        "input_tokens": 100 if output else 0,
        "output_tokens": output,
        "cache_read_input_tokens": 40 if output else 0,
    }
    return {"type": "assistant", "message": {"model": "qwen3", "content": list(parts), "usage": usage}}


def result(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "result", "subtype": "success", "is_error": False, "result": text, **more}


def test_a_turn_is_told() -> None:
    seen = Seen()
    shown = read(
        seen,
        {"type": "system", "subtype": "init", "session_id": "id-1"},
        answer({"type": "text", "text": "I write."}),
        answer({"type": "tool_use", "name": "write_file", "input": {"file_path": "a.txt"}}, output=5),
        {"type": "user", "message": {"content": [{"type": "tool_result", "content": "ok"}]}},
        answer({"type": "text", "text": "Done."}, output=2),
        result("Done."),
    )
    assert shown == [
        Progress("text", "I write."),
        Reported("qwen3", Usage(100, 5, 40)),
        Progress("tool", 'write_file {"file_path": "a.txt"}'),
        Reported("qwen3", Usage(100, 2, 40)),
        Progress("text", "Done."),
    ]
    assert (seen.session, seen.turns, seen.ended, seen.error) == ("id-1", 2, True, "")
    assert judge(seen).outcome is Outcome.FINISHED


def test_a_success_that_is_an_error_of_the_service_is_none() -> None:
    seen = Seen()
    read(seen, answer({"type": "text", "text": REFUSED}), result(REFUSED))
    told = judge(seen, 0)
    assert (told.outcome, seen.turns) == (Outcome.FAILED, 0)
    assert "auto-dev: the budget" in told.detail


def test_an_answer_of_the_models_that_looks_like_an_error_is_none() -> None:
    seen = Seen()
    read(seen, answer({"type": "text", "text": "[API Error: is what the log said"}, output=9), result("x"))
    assert judge(seen).outcome is Outcome.FINISHED


def test_an_error_that_it_went_on_after_is_forgotten() -> None:
    seen = Seen()
    read(
        seen,
        answer({"type": "text", "text": REFUSED}),
        answer({"type": "text", "text": "Done."}, output=2),
        result("D"),
    )
    assert judge(seen).outcome is Outcome.FINISHED


def test_an_error_of_its_own_is_told() -> None:
    seen = Seen()
    read(seen, result("", is_error=True, subtype="error_during_execution", error={"message": "no such model"}))
    assert judge(seen, 1).detail == "no such model"


def test_an_exit_code_of_0_without_its_word_is_no_success() -> None:
    assert judge(Seen(), 0).outcome is Outcome.FAILED
    assert judge(Seen(), None).detail == "ended by SIGKILL"


def test_a_lost_conversation_is_known_by_its_words() -> None:
    seen = Seen()
    judge(seen, 1, "No saved session found with ID x. Run `qwen --resume` without an ID.\n")
    assert seen.lost


@given(st.lists(st.text() | EVENTS.map(json.dumps), max_size=8))
def test_any_lines_are_stood(lines: list[str]) -> None:
    seen = Seen()
    for text in lines:
        list(CLI.read(text, seen))
    judge(seen, 0, "\n".join(lines))


def test_a_task_becomes_a_call(tmp_path: Path) -> None:
    task = Bench(tmp_path).task("Do it.", kind="qwen")
    task = replace(task, env={**task.env, "HTTP_PROXY": "http://proxy"})
    new = CLI.invoke(task, "/bin/qwen", "Do it.", "")
    again = CLI.invoke(task, "/bin/qwen", "Go on.", new.session)
    assert ("--session-id", new.session) == new.argv[-2:]
    assert ("--resume", new.session) == again.argv[-2:]
    assert task.endpoint.token not in " ".join(new.argv), "arguments can be read by all users"
    assert new.env["OPENAI_BASE_URL"] == f"{task.endpoint.url}/v1"
    assert new.env["HTTP_PROXY"] == "", "it would send the gateway's requests there"
    assert json.loads(new.files[".qwen/settings.json"])["memory"]["enableManagedAutoMemory"] is False
