"""Repairs through the daemon: what the next attempt is told, who makes it, and when a person is asked."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from auto_dev.errors import ExitCode

pytestmark = pytest.mark.integration

CONFIG = """
[agent]
kind = "command"
command = ["./agent.py"]
{escalation}
[run]
repair_attempts = {attempts}
[[gates.command]]
name = "tests"
run = "python3 -m pytest -q -p no:cacheprovider"
"""
OTHER = '[agent.escalation]\ncommand = ["./agent.py", "other"]\n'

# Each turn writes what the next entry of agent.py.plays says; "other" tells that it is the one that takes over.
AGENT = """#!/usr/bin/env python3
import json, os, shutil, sys
here = os.path.realpath(sys.argv[0])
calls = json.load(open(here + ".calls")) if os.path.exists(here + ".calls") else []
sys.stdin.read()
shutil.copy(os.environ["AUTO_DEV_BRIEF"], here + ".brief." + str(len(calls)))
plays = json.load(open(here + ".plays"))
play = plays[min(len(calls), len(plays) - 1)]
calls.append({"who": (sys.argv[1:] or ["first"])[0], "round": os.environ["AUTO_DEV_BRIEF"]})
json.dump(calls, open(here + ".calls", "w"))
for name, text in play.items():
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    open(name, "w").write(text)
report = {"summary": "I tried it for the " + str(len(calls)) + ". time", "confidence": 0.95}
json.dump(report, open(os.environ["AUTO_DEV_REPORT"], "w"))
"""


def suite(**values: int) -> dict[str, str]:
    """The story's work: a module, and a test for each value, of which those fail that are not 1."""
    tests = "".join(f"def test_{name}():\n    assert app.{name} == 1, 'not yet'\n" for name in values)
    return {
        "app.py": "".join(f"{name} = {value}\n" for name, value in values.items()),
        "tests/test_app.py": f"import app\n{tests}",
    }


class Repaired:
    """A project whose agent does what it is told, turn by turn."""

    def __init__(self, made: Any, *plays: dict[str, str], attempts: int = 2, escalation: str = "") -> None:
        self.made = made
        (made.root / "auto-dev.toml").write_text(CONFIG.format(attempts=attempts, escalation=escalation))
        (made.root / "agent.py").write_text(AGENT)
        (made.root / "agent.py").chmod(0o755)
        (made.root / ".gitignore").write_text("agent.py.*\nagent.sh.*\n__pycache__/\n")
        (made.root / "conftest.py").write_text("")
        (made.root / "tests").mkdir()
        (made.root / "tests" / "test_old.py").write_text("def test_old():\n    assert True\n")
        for command in (["add", "-A"], ["commit", "-q", "-m", "ready"]):
            subprocess.run(["git", *command], cwd=made.root, check=True, capture_output=True)
        self.plays(*plays)

    def plays(self, *plays: dict[str, str]) -> None:
        (self.made.root / "agent.py.plays").write_text(json.dumps(plays))

    def who(self) -> list[str]:
        return [call["who"] for call in json.loads((self.made.root / "agent.py.calls").read_text())]

    def brief(self, number: int) -> str:
        return str((self.made.root / f"agent.py.brief.{number}").read_text())

    async def decision(self) -> dict[str, Any]:
        (row,) = await self.made.fetch("SELECT * FROM decisions WHERE status = 'open'")
        return dict(row)

    async def answer(self, option: str, text: str = "") -> None:
        row = await self.decision()
        async with self.made.open(order=False) as daemon:
            await self.made.control(daemon).answer(row["id"], option, text=text)

    async def verdicts(self) -> dict[int, dict[str, str]]:
        rows = await self.made.fetch("SELECT round, gate, verdict FROM verdicts ORDER BY round, gate")
        found: dict[int, dict[str, str]] = {}
        for row in rows:
            found.setdefault(row["round"], {})[row["gate"]] = row["verdict"]
        return found


async def test_a_repair_gets_the_failing_tests_with_their_words_and_places_and_the_change(project: Any) -> None:
    told = Repaired(project({"A-1": []}), suite(one=1, two=2, three=3), suite(one=1, two=1, three=1))
    assert await told.made.once() is ExitCode.DONE
    brief = told.brief(1)
    for part in (
        "## tests: 2 new failures: tests/test_app.py::test_two",
        "- newly fails: tests/test_app.py::test_two [tests/test_app.py:5]",
        "assert 2 == 1",
        "not yet",
        "- newly fails: tests/test_app.py::test_three [tests/test_app.py:7]",
        "assert 3 == 1",
        "- Attempt 1, by command. It said: I tried it for the 1. time",
        "did not pass: tests: 2 new failures",
        "A `app.py` (+3 −0)",
        "+def test_two():",
        "do not weaken, skip or remove a check or a test",
    ):
        assert part in brief, f"{part}\n\n{brief}"
    assert len(brief) < 20_000
    rounds = await told.verdicts()
    assert rounds[0].keys() - {"baseline"} <= rounds[1].keys(), "every gate judges again before anything proceeds"
    assert set(rounds[1].values()) <= {"pass", "concerns"}


async def test_fewer_failures_go_on_and_the_same_failure_asks_before_the_attempts_are_used_up(project: Any) -> None:
    told = Repaired(
        project({"A-1": []}), suite(one=2, two=2), suite(one=1, two=2), suite(one=1, two=2), attempts=9
    )  # fmt: skip
    assert await told.made.once() is ExitCode.WAITS
    assert told.who() == ["first"] * 3
    row = await told.decision()
    assert "the repair changed nothing about tests" in row["why"]
    assert "3 attempts by command, $0.00 in all" in row["why"]
    titles = [entry["title"] for entry in row["evidence"]]
    assert "newly fails: tests/test_app.py::test_two" in titles
    assert [title for title in titles if title.startswith("attempt")] == [
        f"attempt {number} by command, $0.00" for number in (1, 2, 3)
    ]
    told.plays(suite(one=1, two=1))
    await told.answer("retry_hint", "two must be 1")
    assert await told.made.once() is ExitCode.DONE
    assert "two must be 1" in told.brief(3)


async def test_going_in_circles_asks(project: Any) -> None:
    told = Repaired(
        project({"A-1": []}), suite(one=2, two=1), suite(one=1, two=2), suite(one=2, two=1), attempts=9
    )  # fmt: skip
    assert await told.made.once() is ExitCode.WAITS
    assert "the repairs go in circles: tests fails again as it did 2 rounds before" in (await told.decision())["why"]


async def test_the_other_agent_takes_over_with_the_note_of_what_was_tried(project: Any) -> None:
    told = Repaired(project({"A-1": []}), suite(one=2), suite(one=2), suite(one=1), escalation=OTHER)
    assert await told.made.once() is ExitCode.DONE
    assert told.who() == ["first", "first", "other"]
    brief = told.brief(2)
    assert "another agent's work is there, and it did not get on" in brief
    assert brief.index("- Attempt 1, by command") < brief.index("- Attempt 2, by command")
    assert "another agent's work" not in told.brief(1)
    (event,) = await told.made.fetch("SELECT data FROM events WHERE kind = 'AGENT_STARTED' AND data ? 'desk'")
    assert event["data"]["desk"] == "escalation"


async def test_when_the_other_agent_does_no_better_a_person_is_asked_and_all_counts_anew(project: Any) -> None:
    told = Repaired(project({"A-1": []}), suite(one=2), attempts=5, escalation=OTHER)
    assert await told.made.once() is ExitCode.WAITS
    assert told.who() == ["first", "first", "other"]
    assert "escalate" not in [option["id"] for option in (await told.decision())["options"]], "it was tried"
    await told.answer("retry")
    assert await told.made.once() is ExitCode.WAITS
    assert told.who()[3:] == ["first", "first", "other"]


async def test_a_person_can_let_the_other_agent_try_it(project: Any) -> None:
    told = Repaired(project({"A-1": []}), suite(one=2), suite(one=3), suite(one=1), attempts=1, escalation=OTHER)
    assert await told.made.once() is ExitCode.WAITS
    row = await told.decision()
    assert row["why"].startswith("the repair attempts are used up")
    assert [option["id"] for option in row["options"]] == ["escalate", "retry_hint", "waive", "skip", "abandon"]
    await told.answer("escalate")
    assert await told.made.once() is ExitCode.DONE
    assert told.who() == ["first", "first", "other"]


async def test_counters_survive_a_daemon_that_is_ended_in_the_middle_of_repairs(project: Any, eventually: Any) -> None:
    made = project({"A-1": []})
    told = Repaired(made, *(suite(one=number) for number in range(2, 9)), attempts=2)
    agent = made.root / "agent.py"
    agent.write_text(f"{AGENT}import time\nwhile os.path.exists(f'{{here}}.hold.{{len(calls)}}'): time.sleep(0.02)\n")
    for held in (1, 3):  # the first call of the first round, and the first of the second
        hold = made.root / f"agent.py.hold.{held}"
        hold.touch()
        async with made.serving(once=False):
            await eventually((made.root / f"agent.py.brief.{held - 1}").exists, 60)
        hold.unlink()
    assert await made.once() is ExitCode.WAITS
    assert len(told.who()) == 5, "two turns were cut off and made again"
    assert max(await told.verdicts()) == 2, "two repairs, however often the daemon was ended"
    assert (await told.decision())["why"].startswith("the repair attempts are used up")
