"""Tests that fail now and then, with real test runners, through the whole daemon."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from auto_dev.errors import ExitCode

pytestmark = pytest.mark.integration

PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider"
REPORT = """echo '{"summary": "done", "confidence": 0.95}' > "$AUTO_DEV_REPORT"\n"""
SOLID = "def test_solid():\n    assert True\n"


def flaky(runs: Path, failing: str) -> str:
    """A test that fails in the runs of these numbers, the baseline being number 1."""
    return (
        "from pathlib import Path\n\n\ndef test_sometimes():\n"
        f"    runs = Path({str(runs)!r})\n"
        "    runs.write_text((runs.read_text() if runs.exists() else '') + 'x')\n"
        f"    assert len(runs.read_text()) not in {failing}\n"
    )


def prepare(project: Any, files: dict[str, str], turns: list[str], *, command: str = PYTEST, more: str = "") -> Any:
    config = "[gates]\nadvisory = ['proof']\n"  # that there is no new test is no matter here
    config += f"[[gates.command]]\nname = \"tests\"\nrun = '''{command}'''\n[run]\nrepair_attempts = 1\n"
    made = project({"A-1": []}, config=config + more)
    files = {"app.py": "x = 1\n", ".gitignore": "agent.sh.*\n__pycache__/\n", **files}
    for name, text in files.items():
        path = made.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    cases = "".join(f"{number}) {turn}\n;;\n" for number, turn in enumerate(turns, 1))
    (made.root / "agent.sh").write_text(
        f'#!/bin/sh\necho x >> "$0.calls"\necho "x = 2" > app.py\n'
        f'cp "$AUTO_DEV_BRIEF" "$0.brief.$(wc -l < "$0.calls")"\n'
        f'case $(wc -l < "$0.calls") in\n{cases}*) {turns[-1]}\n;;\nesac\n{REPORT}'
    )
    for git in (["add", "-A"], ["commit", "-q", "-m", "an app"]):
        subprocess.run(["git", *git], cwd=made.root, check=True, capture_output=True)
    return made


async def verdict(made: Any, gate: str, round_number: int = 0) -> dict[str, Any]:
    (row,) = await made.fetch("SELECT * FROM verdicts WHERE gate = %s AND round = %s", gate, round_number)
    return dict(row)


async def remembered(made: Any) -> list[str]:
    return [row["test"] for row in await made.fetch("SELECT test FROM flaky_tests ORDER BY test")]


async def test_a_failure_that_vanishes_is_recorded_and_not_held_against_the_story(project: Any, tmp_path: Path) -> None:
    tests = {"test_a.py": flaky(tmp_path / "runs", "[2]"), "test_b.py": SOLID}
    made = prepare(project, tests, ["true"])
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.DONE
    row = await verdict(made, "tests")
    assert row["verdict"] == "concerns"
    assert row["reason"] == "passes; run again, 1 flaky failure: test_a.py::test_sometimes vanished"
    assert await remembered(made) == ["test_a.py::test_sometimes"]
    assert (tmp_path / "runs").read_text() == "xxx"
    (event,) = await made.fetch("SELECT data FROM events WHERE kind = 'TESTS_FLAKY'")
    assert event["data"]["tests"] == ["test_a.py::test_sometimes"]


async def test_a_failure_that_stays_goes_back_to_the_agent(project: Any, tmp_path: Path) -> None:
    tests = {"test_a.py": flaky(tmp_path / "runs", "[2, 3]"), "test_b.py": SOLID}
    made = prepare(project, tests, ["true"])
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.DONE  # the repair's run is the fourth
    row = await verdict(made, "tests")
    assert (row["verdict"], row["route"]) == ("fail", "repair")
    assert await remembered(made) == []


async def test_at_the_baseline_the_broken_and_the_flaky_are_told_apart(project: Any, tmp_path: Path) -> None:
    """Known to be flaky, a test gets more runs on the head: here it fails in three of them."""
    broken = "def test_broken():\n    assert False\n"
    tests = {"test_a.py": flaky(tmp_path / "runs", "[1, 3, 4, 5]"), "test_b.py": broken, "test_c.py": SOLID}
    made = prepare(project, tests, ["true"])
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.DONE
    row = await verdict(made, "baseline")
    assert row["reason"] == "tests: 1 known failure, 1 flaky"
    row = await verdict(made, "tests")
    assert row["verdict"] == "concerns"
    assert "1 known failure remains" in row["reason"]
    assert "test_a.py::test_sometimes vanished" in row["reason"]
    assert (tmp_path / "runs").read_text() == "x" * 6


async def test_a_flaky_test_of_the_story_goes_back_to_the_agent(project: Any, tmp_path: Path) -> None:
    adds = f"cat > test_new.py <<'TEXT'\n{flaky(tmp_path / 'runs', '[1, 3]')}TEXT"
    mends = f"cat > test_new.py <<'TEXT'\n{SOLID}TEXT"
    made = prepare(project, {"test_b.py": SOLID}, [adds, mends])
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.DONE
    row = await verdict(made, "tests")
    assert (row["verdict"], row["route"]) == ("fail", "repair")
    assert "a test of this story fails now and then" in row["reason"]
    assert "test_new.py::test_sometimes" in (made.root / "agent.sh.brief.2").read_text()
    assert (await verdict(made, "tests", 1))["verdict"] == "pass"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
async def test_node_tests_are_told_apart_too(project: Any, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    test = (
        "import { test } from 'node:test';\nimport assert from 'node:assert';\nimport fs from 'node:fs';\n"
        f"test('sometimes', () => {{ fs.appendFileSync('{runs}', 'x'); "
        f"assert.notStrictEqual(fs.readFileSync('{runs}', 'utf8').length, 2); }});\n"
        "test('always', () => {});\n"
    )
    made = prepare(project, {"app.test.mjs": test}, ["true"], command="node --test")
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.DONE
    row = await verdict(made, "tests")
    assert (row["verdict"], await remembered(made)) == ("concerns", ["sometimes"])


async def test_what_the_first_run_leaves_behind_excuses_nothing(project: Any) -> None:
    """The second run has a checkout of its own, and so a cache that the first one wrote does not help."""
    cheat = (
        "cat > test_new_thing.py <<'TEXT'\nfrom pathlib import Path\n\n\ndef test_cached():\n"
        "    cache = Path('cache.txt')\n    known = cache.exists()\n    cache.write_text('seen')\n"
        "    assert known\nTEXT"
    )
    made = prepare(project, {"test_b.py": SOLID}, [cheat], more="[gates.flaky]\nreruns = 3\n")
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.WAITS
    row = await verdict(made, "tests")
    assert row["verdict"] == "fail"
    assert "1 new failure" in row["reason"]
