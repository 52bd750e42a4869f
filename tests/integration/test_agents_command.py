"""kind = "command": any program as an agent, also one that does everything wrong."""

from __future__ import annotations

import asyncio
import json
import os
import time
import unicodedata
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auto_dev.agents.base import AgentResult, AgentTask, Endpoint, Event, Outcome, Progress
from auto_dev.agents.command import CommandAgent
from auto_dev.agents.environment import agent_env
from auto_dev.agents.progress import fingerprint
from auto_dev.agents.registry import check_agent
from auto_dev.config import AgentConfig
from auto_dev.errors import AgentError
from auto_dev.model import Phase
from auto_dev.processes import run_tree
from auto_dev.report import read_report
from auto_dev.watcher import descendants

pytestmark = pytest.mark.integration

SECRETS = (
    "GITHUB_TOKEN", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "AUTO_DEV_SMTP_URL",
    "AUTO_DEV_DATABASE_URL", "PGPASSWORD", "PGHOST", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MY_OWN_TOKEN", "STRIPE_KEY", "DB_SECRET", "SSH_AUTH_SOCK",
    "NPM_TOKEN", "HF_TOKEN", "KUBECONFIG", "GIT_ASKPASS", "PYTHONPATH", "LD_PRELOAD", "LC_canary", "XPATH",
)  # fmt: skip


class Trees:
    def __init__(self) -> None:
        self.now: set[tuple[int, int]] = set()
        self.ever = 0

    async def started(self, pid: int, started: int) -> None:
        self.now.add((pid, started))
        self.ever += 1

    async def ended(self, pid: int, started: int) -> None:
        self.now.remove((pid, started))


Make = Callable[..., AgentTask]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A task whose agent is ``./agent.sh`` with the given text, in a project with blanks and umlauts in its path."""

    def build(script: str | None, **config: Any) -> AgentTask:
        project, work, run = tmp_path / "mein Projekt ü", tmp_path / "work", tmp_path / "run"
        for folder in (project, work, run):
            folder.mkdir(exist_ok=True)
        if script is not None:
            (project / "agent.sh").write_text(script)
            (project / "agent.sh").chmod(0o755)
        extra = {
            "AUTO_DEV_STORY": "T-1",
            "AUTO_DEV_REPORT": str(run / "report.json"),
            "AUTO_DEV_BRIEF": str(run / "brief.md"),
        }
        (run / "brief.md").write_text("the brief – ü")
        return AgentTask(
            run_id="run-1",
            story_id="T-1",
            phase=Phase.IMPLEMENT,
            round=0,
            workdir=work,
            run_dir=run,
            brief="the brief – ü",
            brief_path=run / "brief.md",
            report_path=run / "report.json",
            log_path=run / "agent.log",
            env=agent_env(os.environ, extra),
            config=AgentConfig(**({"kind": "command", "command": ["./agent.sh"]} | config)),
            processes=Trees(),
            project_root=project,
            endpoint=Endpoint("", "", ""),
            run_tree=run_tree,
            home=tmp_path / "home",
            last_turn=lambda: 0.0,
        )

    return build


async def run(task: AgentTask) -> tuple[AgentResult, list[Progress]]:
    return await collect(CommandAgent().run(task))


async def collect(events: AsyncIterator[Event | AgentResult]) -> tuple[AgentResult, list[Progress]]:
    progress: list[Progress] = []
    result = None
    async for event in events:
        assert result is None, "the result comes last"
        if isinstance(event, AgentResult):
            result = event
        elif isinstance(event, Progress):
            progress.append(event)
    assert result is not None
    return result, progress


async def test_the_agent_gets_its_brief_works_in_the_worktree_and_reports(make: Make) -> None:
    script = """#!/bin/sh
cat > from-stdin; cat "$AUTO_DEV_BRIEF" > from-file; pwd; echo "$AUTO_DEV_STORY"
printf '{"summary": "done", "confidence": 0.9}' > "$AUTO_DEV_REPORT"
"""
    task = make(script)
    result, progress = await run(task)
    assert (result.outcome, result.exit_code) == (Outcome.FINISHED, 0)
    assert (task.workdir / "from-stdin").read_text() == (task.workdir / "from-file").read_text() == task.brief
    assert task.log_path.read_text() == f"{task.workdir}\nT-1\n"
    report, _ = read_report(task.report_path)
    assert report is not None
    assert report.confidence == 0.9
    assert isinstance(task.processes, Trees)
    assert (task.processes.now, task.processes.ever) == (set(), 1)
    assert [p.kind for p in progress] == ["note", "text"]


async def test_no_secret_of_the_daemon_reaches_an_agent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:canary@proxy:8080")
    monkeypatch.setenv("http_proxy", "http://proxy:8080")
    monkeypatch.setenv("LC_TIME", "C")
    task = make("#!/bin/sh\ncat /proc/self/environ; cat /proc/$PPID/environ\n")
    await run(task)
    seen = task.log_path.read_bytes()
    assert b"canary" not in seen
    names = {entry.split(b"=")[0].decode() for entry in seen.split(b"\0") if entry}
    assert names <= {*agent_env(os.environ, {}), "AUTO_DEV_STORY", "AUTO_DEV_REPORT", "AUTO_DEV_BRIEF"} | {
        "LD_LIBRARY_PATH",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    }
    assert {"PATH", "LC_TIME", "http_proxy"} <= names


async def test_a_failure_says_how_and_shows_the_last_lines(make: Make) -> None:
    result, _ = await run(make("#!/bin/sh\necho fine\nprintf '\\033[31mno such model\\033[0m\\n' >&2\nexit 7\n"))
    assert (result.outcome, result.exit_code) == (Outcome.FAILED, 7)
    assert result.detail == "exit code 7: fine / no such model"
    result, _ = await run(make("#!/bin/sh\nkill -9 $$\n"))
    assert (result.outcome, result.exit_code, result.detail) == (Outcome.FAILED, None, "ended by SIGKILL")


@pytest.mark.parametrize(
    ("script", "mode", "command", "word"),
    [
        (None, 0, ["./agent.sh"], "there is no file"),
        (None, 0, ["no-such-agent", "-p"], "not on PATH"),
        ("#!/bin/sh\n", 0o644, ["./agent.sh"], "chmod +x"),
        ("#!/bin/sh\n", 0o755, ["agent.sh"], 'Write "./agent.sh"'),
        ("echo hi\n", 0o755, ["./agent.sh"], "names its interpreter"),
        ("#!/no/such/shell\n", 0o755, ["./agent.sh"], "/no/such/shell"),
    ],
)
async def test_a_command_that_cannot_start_is_told_before_any_work(
    make: Make, script: str | None, mode: int, command: list[str], word: str
) -> None:
    task = make(script, command=command)
    if script is not None:
        (task.project_root / "agent.sh").chmod(mode)
    result, _ = await run(task)
    assert result.outcome is Outcome.UNAVAILABLE
    assert word in result.detail
    with pytest.raises(AgentError) as caught:
        check_agent(task.config, task.project_root, lambda name: None)
    assert str(caught.value) == result.detail


async def test_a_missing_worktree_is_no_fault_of_the_command(make: Make, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await run(replace(make("#!/bin/sh\n"), workdir=tmp_path / "gone"))


async def test_output_alone_is_no_progress(make: Make) -> None:
    before = set(descendants(os.getpid()))
    task = make("#!/bin/sh\nwhile :; do echo thinking; sleep 0.05; done\n", stuck_minutes=1 / 60)
    result, progress = await run(task)
    assert (result.outcome, result.detail) == (
        Outcome.STUCK,
        "nothing changed in the worktree and no model answered for 0.0166667 minutes",
    )
    assert sum(p.text == "thinking" for p in progress) <= 40, "output is shown now and then"
    assert set(descendants(os.getpid())) == before


async def test_a_model_that_answers_is_progress(make: Make) -> None:
    task = make("#!/bin/sh\nsleep 2.5\n", stuck_minutes=1 / 60)
    result, _ = await run(replace(task, last_turn=time.monotonic))
    assert result.outcome is Outcome.FINISHED


async def test_an_agent_that_changes_files_is_not_stuck(make: Make) -> None:
    script = "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8; do mkdir -p deep/er; echo $i > deep/er/file; sleep 0.3; done\n"
    result, _ = await run(make(script, stuck_minutes=1 / 60))
    assert result.outcome is Outcome.FINISHED


async def test_an_agent_that_takes_too_long_is_ended(make: Make) -> None:
    task = make("#!/bin/sh\ntouch up; sleep 60\n", max_minutes=0.5 / 60)
    result, _ = await run(task)
    assert result.outcome is Outcome.TIMED_OUT
    assert (task.workdir / "up").exists()


async def test_cancelling_and_no_longer_listening_end_the_tree(make: Make) -> None:
    before = set(descendants(os.getpid()))
    task = make("#!/bin/sh\ntrap '' TERM\nsetsid sleep 60 &\ntouch up\nsleep 60\n")
    running = asyncio.create_task(run(task))
    deadline = time.monotonic() + 20
    while not (task.workdir / "up").exists():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert set(descendants(os.getpid())) == before

    events = CommandAgent().run(task)
    await anext(events)
    await events.aclose()
    assert set(descendants(os.getpid())) == before
    assert isinstance(task.processes, Trees)
    assert task.processes.now == set()


async def test_a_hundred_megabytes_of_noise_are_capped(make: Make) -> None:
    task = make("#!/bin/sh\nhead -c 100000000 /dev/urandom\nprintf 'the \\033[1mend\\033[0m\\000\\n'\nexit 1\n")
    result, progress = await run(task)
    assert result.outcome is Outcome.FAILED
    assert result.detail.endswith("the end")
    assert task.log_path.stat().st_size <= 4 * 1024 * 1024
    assert not {unicodedata.category(char) for p in progress for char in p.text} & {"Cc", "Cs"}
    json.dumps([p.text for p in progress]).encode("utf-8")


def test_the_fingerprint_sees_changes_and_follows_no_link(tmp_path: Path) -> None:
    outside, work = tmp_path / "outside", tmp_path / "work"
    (work / "a/b").mkdir(parents=True)
    (work / ".git").mkdir()
    outside.mkdir()
    (work / "link").symlink_to(outside)
    (work / "loop").symlink_to(work)
    (work / "a/b/file").write_text("1")
    seen = [fingerprint(work)]
    (outside / "new").write_text("x")
    (work / ".git/index").write_text("x")
    os.utime(work / ".git", ns=(1, work.joinpath(".git").stat().st_mtime_ns))
    assert fingerprint(work / "a") == fingerprint(work / "a")
    (work / "a/b/file").write_text("22")
    seen.append(fingerprint(work))
    (work / "a/new").touch()
    seen.append(fingerprint(work))
    (work / "a/b/file").unlink()
    seen.append(fingerprint(work))
    assert len(set(seen)) == 4
    assert fingerprint(work, most=2)[1] is False
