"""Proof through the whole daemon: what is sent back, what proceeds with a note, what the pull request says first."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from auto_dev.errors import ExitCode

pytestmark = pytest.mark.integration

CONFIG = f"""
[[gates.command]]
name = "tests"
run = "{sys.executable} -m pytest -q -p no:cacheprovider"
[run]
repair_attempts = 2
"""
APP = "def add(a, b):\n    return a + b\n"
SUB = APP + "\n\ndef sub(a, b):\n    return a - b\n"
OLD = "from app import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
NEW = "from app import sub\n\n\ndef test_sub():\n    assert sub(3, 1) == 2\n"
IDLE = "from app import add\n\n\ndef test_zero():\n    assert add(0, 0) == 0\n"


def turn(files: dict[str, str], evidence: list[str] | None = None) -> str:
    """What the agent does in one turn, as shell; ``evidence`` of the one criterion, None for a report without any."""
    report: dict[str, Any] = {"summary": "done", "confidence": 0.95}
    if evidence is not None:
        report["criteria"] = [{"criterion": "there it is", "evidence": evidence}]
    said = "".join(f"cat > {name} <<'TEXT'\n{text}TEXT\n" for name, text in files.items())
    return f"{said}cat > \"$AUTO_DEV_REPORT\" <<'TEXT'\n{json.dumps(report)}\nTEXT\n"


def prepare(project: Any, turns: list[str], more: str = "") -> Any:
    made = project({"A-1": []}, config=CONFIG + more)
    files = {"app.py": APP, "test_old.py": OLD, ".gitignore": "agent.sh.*\n__pycache__/\n"}
    for name, text in files.items():
        (made.root / name).write_text(text)
    cases = "".join(f"{number})\n{text};;\n" for number, text in enumerate(turns, 1))
    (made.root / "agent.sh").write_text(
        f'#!/bin/sh\necho x >> "$0.calls"\ncp "$AUTO_DEV_BRIEF" "$0.brief.$(wc -l < "$0.calls")"\n'
        f'case $(wc -l < "$0.calls") in\n{cases}*)\n{turns[-1]};;\nesac\n'
    )
    for git in (["add", "-A"], ["commit", "-q", "-m", "an app"]):
        subprocess.run(["git", *git], cwd=made.root, check=True, capture_output=True)
    return made


async def proofs(made: Any) -> list[str]:
    rows = await made.fetch("SELECT verdict, route FROM verdicts WHERE gate = 'proof' ORDER BY round")
    return [f"{row['verdict']}/{row['route']}" for row in rows]


def body(made: Any) -> str:
    (path,) = [path for path in Path(made.home).rglob("*.md") if "auto-dev story=A-1" in path.read_text()]
    return path.read_text()


def logs(made: Any) -> list[str]:
    """The runs of the command, by the files that hold their output."""
    return sorted(path.name for path in Path(made.home).rglob("*-tests.log"))


async def test_a_story_whose_new_test_passes_on_the_base_is_sent_back(project: Any) -> None:
    idle, proving = turn({"app.py": SUB, "test_zero.py": IDLE}), turn({"app.py": SUB, "test_sub.py": NEW})
    made = prepare(project, [idle, proving])
    assert await asyncio.wait_for(made.once(), 90) is ExitCode.DONE
    assert await proofs(made) == ["fail/repair", "pass/proceed"]
    brief = (made.root / "agent.sh.brief.2").read_text()
    assert "test_zero.py::test_zero" in brief
    assert "fails without the change and passes with it" in brief
    text = body(made)
    assert "strong evidence for 1 of 1 criteria" in text
    assert "`test_sub.py::test_sub`" in text
    assert "Not proven" not in text
    assert logs(made) == [
        "baseline-tests.log", "verify-0-base-tests.log", "verify-0-tests.log", "verify-1-base-tests.log",
        "verify-1-tests.log",
    ]  # fmt: skip


async def test_evidence_that_stays_weak_proceeds_and_the_pull_request_says_so_first(project: Any) -> None:
    made = prepare(project, [turn({"app.py": SUB}, ["app.py:5"])])
    assert await asyncio.wait_for(made.once(), 90) is ExitCode.DONE
    assert await proofs(made) == ["fail/repair", "concerns/proceed"]
    text = body(made)
    assert "> **Not proven**: no test shows 1 of 1 acceptance criteria: there it is" in text
    assert text.index("Not proven") < text.index("Story `A-1`")
    assert logs(made) == ["baseline-tests.log", "verify-0-tests.log", "verify-1-tests.log"]


async def test_invented_evidence_is_rejected_until_a_person_looks(project: Any) -> None:
    made = prepare(project, [turn({"app.py": SUB, "test_sub.py": NEW}, ["tests/test_nowhere.py::test_invented"])])
    assert await asyncio.wait_for(made.once(), 90) is ExitCode.WAITS
    assert (await proofs(made))[0] == "fail/repair"
    assert "test_invented does not exist" in (made.root / "agent.sh.brief.2").read_text()


async def test_the_outcome_on_the_base_is_kept_while_the_tests_stay(project: Any) -> None:
    """The repair mends the report alone: the same tests on the same base are not run again."""
    work = {"app.py": SUB, "test_sub.py": NEW}
    made = prepare(project, [turn(work, ["nowhere.py"]), turn({**work, "notes.txt": "x\n"}, ["test_sub.py::test_sub"])])
    assert await asyncio.wait_for(made.once(), 90) is ExitCode.DONE
    assert await proofs(made) == ["fail/repair", "pass/proceed"]
    assert [name for name in logs(made) if "base-tests" in name] == ["verify-0-base-tests.log"]


async def test_a_simple_agent_without_claims_and_tests_is_asked_once_for_one(project: Any) -> None:
    made = prepare(project, [turn({"app.py": SUB})])
    assert await asyncio.wait_for(made.once(), 90) is ExitCode.DONE
    assert await proofs(made) == ["fail/repair", "concerns/proceed"]
    assert len((made.root / "agent.sh.calls").read_text().splitlines()) == 2


async def test_a_turn_for_better_evidence_that_fails_loses_nothing(project: Any) -> None:
    made = prepare(project, [turn({"app.py": SUB}, ["app.py:5"]), "exit 3\n"])
    assert await asyncio.wait_for(made.once(), 90) is ExitCode.DONE
    assert await proofs(made) == ["fail/repair", "concerns/proceed"]
    (agent,) = await made.fetch("SELECT verdict FROM verdicts WHERE gate = 'agent' AND round = 1")
    assert agent["verdict"] == "concerns"
    assert "confidence 95%" in body(made)


async def test_a_turn_for_a_failing_command_that_leaves_no_report_asks(project: Any) -> None:
    broken = turn({"app.py": "def add(a, b):\n    return a - b\n"}, ["app.py:2"])
    made = prepare(project, [broken, f"cat > app.py <<'TEXT'\n{APP}# more\nTEXT\n"])
    assert await asyncio.wait_for(made.once(), 90) is ExitCode.WAITS


async def test_an_advisory_gate_stops_nothing(project: Any) -> None:
    made = prepare(project, [turn({"app.py": SUB}, [])], '[gates]\nadvisory = ["proof"]\n')
    assert await asyncio.wait_for(made.once(), 90) is ExitCode.DONE
    assert await proofs(made) == ["fail/proceed"]
