"""An agent that weakens a test instead of doing the work: through the whole daemon."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from auto_dev.errors import ExitCode

pytestmark = pytest.mark.integration

CONFIG = f"""
[[gates.command]]
name = "tests"
run = "{sys.executable} -m pytest -q -p no:cacheprovider"
[run]
repair_attempts = 1
"""
TEST = "from app import answer\n\n\ndef test_answer():\n    assert answer() == 42\n"
WEAK = TEST.replace("answer() == 42", "answer() == 42 or answer() > 0")
REPORT = """echo '{"summary": "done", "confidence": 0.95}' > "$AUTO_DEV_REPORT"\n"""


def writes(path: str, text: str) -> str:
    return f"cat > {path} <<'TEXT'\n{text}TEXT\n"


async def test_a_weakened_test_goes_back_and_then_asks(project: Any) -> None:
    made = project({"A-1": []}, config=CONFIG)
    cheat = writes("app.py", "def answer():\n    return 41\n") + writes("test_app.py", WEAK)
    files = {
        "app.py": "def answer():\n    return 42\n",
        "test_app.py": TEST,
        ".gitignore": "agent.sh.*\n__pycache__/\n",
    }
    files["agent.sh"] = f'#!/bin/sh\necho x >> "$0.calls"\n{cheat}{REPORT}'
    for name, text in files.items():
        (made.root / name).write_text(text)
    for command in (["add", "-A"], ["commit", "-q", "-m", "an app"]):
        subprocess.run(["git", *command], cwd=made.root, check=True, capture_output=True)

    assert await asyncio.wait_for(made.once(), 60) is ExitCode.WAITS

    rows = await made.fetch("SELECT * FROM verdicts WHERE gate = 'tampering' ORDER BY round")
    assert [(row["verdict"], row["route"]) for row in rows] == [("fail", "repair")] * 2
    assert all("assertion weakened" in row["reason"] for row in rows)
    tests = await made.fetch("SELECT verdict FROM verdicts WHERE gate = 'tests'")
    assert {row["verdict"] for row in tests} == {"pass"}  # nothing else would have told
    assert (await made.fetch("SELECT count(*) AS n FROM events WHERE kind = 'AGENT_STARTED'"))[0]["n"] == 2
    (decision,) = await made.fetch("SELECT * FROM decisions WHERE status = 'open'")
    assert "test_app.py" in str(decision)
