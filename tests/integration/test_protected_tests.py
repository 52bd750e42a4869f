"""The owner's own tests judge, whatever the agent makes of them: through the whole daemon."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from auto_dev.errors import ExitCode

pytestmark = pytest.mark.integration

OWNERS = "from app import answer\n\n\ndef test_answer():\n    assert answer() == 42\n"
AGENTS = OWNERS.replace("42", "41")
CONFIG = f"""
[[gates.command]]
name = "tests"
run = "{sys.executable} -m pytest -q -p no:cacheprovider"
[gates.tampering]
protected = ["tests/acceptance/**"]
[run]
repair_attempts = 1
"""
REPORT = """echo '{"summary": "done", "confidence": 0.95}' > "$AUTO_DEV_REPORT"\n"""


def prepare(project: Any, turns: list[str], more: str = "") -> Any:
    """A project with an owner's test; the agent's n-th turn runs the n-th of ``turns`` (the last one again)."""
    made = project({"A-1": []}, config=CONFIG + more)
    files = {
        "app.py": "def answer():\n    return 42\n",
        "conftest.py": "",
        "tests/acceptance/test_answer.py": OWNERS,
        ".gitignore": "agent.sh.*\n__pycache__/\n",
    }
    for name, text in files.items():
        path = made.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    agent(made.root, turns)
    for command in (["add", "-A"], ["commit", "-q", "-m", "an app"]):
        subprocess.run(["git", *command], cwd=made.root, check=True, capture_output=True)
    return made


def agent(root: Path, turns: list[str]) -> None:
    cases = "".join(f"{number}) {turn}\n;;\n" for number, turn in enumerate(turns, 1))
    script = (
        f'#!/bin/sh\necho x >> "$0.calls"\ncase $(wc -l < "$0.calls") in\n{cases}*) {turns[-1]}\n;;\nesac\n{REPORT}'
    )
    (root / "agent.sh").write_text(script)


def writes(path: str, text: str) -> str:
    return f"mkdir -p $(dirname {path}); cat > {path} <<'TEXT'\n{text}TEXT\n"


async def verdicts(made: Any) -> dict[str, dict[str, Any]]:
    rows = await made.fetch("SELECT DISTINCT ON (gate) * FROM verdicts ORDER BY gate, round DESC")
    return {row["gate"]: row for row in rows}


async def answer(made: Any, action: str, text: str = "") -> None:
    (decision,) = await made.fetch("SELECT * FROM decisions WHERE status = 'open'")
    option = next(option for option in decision["options"] if option["action"] == action)
    async with made.open(order=False) as daemon:
        await made.control(daemon).answer(decision["id"], option["id"], text)


async def test_a_changed_protected_test_asks_and_a_mended_one_goes_through(project: Any) -> None:
    cheat = writes("app.py", "def answer():\n    return 41\n") + writes("tests/acceptance/test_answer.py", AGENTS)
    honest = writes("app.py", "def answer():\n    return 40 + 2\n") + writes("tests/acceptance/test_answer.py", OWNERS)
    made = prepare(project, [cheat, honest])
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.WAITS
    found = await verdicts(made)
    assert (found["tampering"]["verdict"], found["tampering"]["route"]) == ("fail", "ask")
    assert "protected test changed" in found["tampering"]["reason"]
    await answer(made, "retry_hint", "leave the acceptance tests alone")
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.DONE
    found = await verdicts(made)
    assert {found[gate]["verdict"] for gate in ("tampering", "tests")} == {"pass"}


async def test_commands_judge_with_the_owners_tests_even_where_the_gate_only_advises(project: Any) -> None:
    cheat = writes("app.py", "def answer():\n    return 41\n") + "rm tests/acceptance/test_answer.py\n"
    made = prepare(project, [cheat], '[gates]\nadvisory = ["tampering"]\n')
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.WAITS
    found = await verdicts(made)
    assert found["tampering"]["route"] == "proceed"
    assert found["tests"]["verdict"] == "fail"
    assert "tests/acceptance/test_answer.py::test_answer" in found["tests"]["reason"]


async def test_new_files_among_protected_tests_do_not_count(project: Any) -> None:
    """One that would fail is not run; one that would deselect the others asks."""
    failing = writes("src.txt", "work\n") + writes("tests/acceptance/test_new.py", "def test_no():\n    assert 0\n")
    made = prepare(project, [failing])
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.DONE
    found = await verdicts(made)
    assert found["tests"]["verdict"] == "pass"
    assert found["tampering"]["verdict"] == "concerns"
    assert "no command saw" in found["tampering"]["reason"]


async def test_a_conftest_among_protected_tests_asks(project: Any) -> None:
    made = prepare(project, [writes("tests/acceptance/conftest.py", "collect_ignore_glob = ['*']\n")])
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.WAITS
    assert (await verdicts(made))["tampering"]["route"] == "ask"


async def test_a_person_who_accepts_the_change_is_not_asked_again_by_the_old_tests(project: Any) -> None:
    wanted = writes("app.py", "def answer():\n    return 41\n") + writes("tests/acceptance/test_answer.py", AGENTS)
    made = prepare(project, [wanted])
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.WAITS
    await answer(made, "waive", "the answer changed")
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.DONE
    found = await verdicts(made)
    assert found["tampering"]["verdict"] == "waived"
    assert found["tests"]["verdict"] == "pass"
    assert (await made.fetch("SELECT count(*) AS n FROM events WHERE kind = 'AGENT_STARTED'"))[0]["n"] == 1
