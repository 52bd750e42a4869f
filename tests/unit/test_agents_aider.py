"""What aider prints, and what it is called with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.agents.aider import AiderCli, model_name
from auto_dev.agents.base import Outcome, Progress, Reported, Usage
from auto_dev.agents.cli import Seen
from auto_dev.processes import Finished
from tests.agents_support import Bench

CLI = AiderCli()
REFUSED = "litellm.BadRequestError: OpenAIException - auto-dev: the budget of this day is used up"
TOKENS = "Tokens: 1.2k sent, 3k cache write, 50 cache hit, 1,050 received. Cost: $0.0024 message, $0.0024 session."
LINES = st.sampled_from(
    (
        *(TOKENS, REFUSED, "Main model: openai/gpt with diff edit format", "Model: x", "Applied edit to a.py"),
        *("Retrying in 0.2 seconds...", "Tokens: 1..2k sent, ,M received", "litellm.", "Tokens: received"),
        "Tokens: 9" + "9" * 400 + " received",
    )
)


def read(seen: Seen, *lines: str) -> list[Any]:
    return [shown for text in lines for shown in CLI.read(text, seen)]


def judge(seen: Seen, code: int | None = 0, errors: str = "") -> Any:
    return CLI.judge(None, seen, Finished(code, None if code is not None else 9, "", 0, 1.0), errors)  # type: ignore[arg-type]


def test_a_turn_is_told() -> None:
    seen = Seen()
    shown = read(
        seen, "Aider v0.86.2", "Main model: openai/gpt-4.1 with diff edit format", "Weak model: openai/gpt-4.1-mini",
        "Git repo: .git with 2 files", "Added a.py to the chat.", "I change it.", TOKENS, "Applied edit to a.py",
    )  # fmt: skip
    assert shown == [
        Progress("text", "I change it."),
        Reported("gpt-4.1", Usage(1200, 1050, 50, 3000)),
        Progress("tool", "edit a.py"),
    ]
    assert (seen.turns, seen.error) == (1, "")
    assert judge(seen).outcome is Outcome.FINISHED


def test_an_exit_code_of_0_after_an_error_is_no_success() -> None:
    seen = Seen()
    read(seen, TOKENS, REFUSED)
    told = judge(seen, 0)
    assert told.outcome is Outcome.FAILED
    assert "auto-dev: the budget" in told.detail


def test_an_error_that_it_went_on_after_is_forgotten() -> None:
    seen = Seen()
    read(seen, "litellm.RateLimitError: slowly", "Retrying in 0.2 seconds...", "The text", TOKENS)
    assert judge(seen).outcome is Outcome.FINISHED


def test_nothing_asked_is_no_success() -> None:
    assert judge(Seen(), 0).outcome is Outcome.FAILED


def test_a_missing_login_is_known_by_its_words() -> None:
    seen = Seen()
    read(
        seen, "litellm.AuthenticationError: no", "The API provider is not able to authenticate you. Check your API key."
    )
    assert seen.login


@given(st.lists(st.text() | LINES, max_size=12))
def test_any_lines_are_stood(lines: list[str]) -> None:
    seen = Seen()
    for text in lines:
        list(CLI.read(text, seen))
    judge(seen, 0, "\n".join(lines))


@pytest.mark.parametrize(
    ("given_", "named"),
    [
        ("gpt-5", "openai/gpt-5"),
        ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("gemini-2.5-pro", "gemini/gemini-2.5-pro"),
        ("anthropic:claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("google_genai:gemini-2.5-pro", "gemini/gemini-2.5-pro"),
        ("openai/qwen/qwen3", "openai/qwen/qwen3"),
        ("qwen/qwen3", "openai/qwen/qwen3"),
        ("ft:gpt-4.1:x", "openai/ft:gpt-4.1:x"),
    ],
)
def test_a_model_goes_to_its_vendors_service(given_: str, named: str) -> None:
    assert model_name(given_) == named


def test_the_report_and_a_small_file_are_in_the_chat(tmp_path: Path) -> None:
    for name, size in (("big.py", 900), ("small.py", 3), (".git/x", 1), ("deep/tiny", 1)):
        (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / name).write_text("x" * size)
    (tmp_path / "work" / "link").symlink_to("/etc/passwd")
    task = replace(
        Bench(tmp_path / "bench").task("Do it.", kind="aider"),
        workdir=tmp_path / "work",
        report_path=tmp_path / "agent" / "report.json",
    )
    argv = CLI.invoke(task, "/bin/aider", task.brief, "").argv
    files = [argv[index + 1] for index, word in enumerate(argv) if word == "--file"]
    assert files == [str(task.report_path), str(tmp_path / "work" / "small.py")]


def test_a_message_is_never_a_command_and_always_holds_the_brief(tmp_path: Path) -> None:
    task = replace(Bench(tmp_path / "bench").task("Do it.", kind="aider"), workdir=tmp_path, brief="/run rm -rf .\n")
    first = CLI.invoke(task, "/bin/aider", task.brief, "")
    again = CLI.invoke(task, "/bin/aider", "Go on.", first.session)
    for call in (first, again):
        message = call.files[".auto-dev-aider/message.md"]
        assert message.startswith("The task:")
        assert task.brief.strip() in message
        assert task.endpoint.token not in " ".join(call.argv)
    chat = f".auto-dev-aider/{first.session}.md"
    assert first.files[chat] == "", "a new conversation begins empty"
    assert chat not in again.files
