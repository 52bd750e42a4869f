"""Reviews through the daemon: what reviewers may do, what counts of what they say, and what it costs."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from auto_dev.errors import ExitCode

pytestmark = pytest.mark.integration

CONFIG = """
[agent]
kind = "command"
command = ["./agent.sh"]
{agent}
{more}
"""
REVIEW = """
[gates.review]
reviewers = [{{ kind = "command", command = ["./reviewer.py"{words}] }}]
"""

# Implements: each round leaves another line in app.txt, and a file that the reviewer points at.
AGENT = """#!/bin/sh
echo "$AUTO_DEV_PHASE" >> "$0.calls"
cp "$AUTO_DEV_BRIEF" "$0.brief.$(wc -l < "$0.calls" | tr -d ' ')"
mkdir -p src
if [ ! -e src/app.txt ]; then printf 'one\\ntwo\\nthree\\n' > src/app.txt
else echo "mended $(wc -l < "$0.calls")" >> src/app.txt; fi
echo '{"summary": "done so far", "confidence": 0.95}' > "$AUTO_DEV_REPORT"
"""

# Reviews: plays the reports that lie in reviewer.py.reports (a list), one for each call, the last one for ever.
REVIEWER = """#!/usr/bin/env python3
import json, os, shutil, subprocess, sys
here = os.path.realpath(sys.argv[0]) + "".join(sys.argv[1:2])
sys.stdin.read()
calls = json.load(open(here + ".calls")) if os.path.exists(here + ".calls") else []
shutil.copy(os.environ["AUTO_DEV_BRIEF"], here + ".brief." + str(len(calls)))
shutil.copy(os.environ["AUTO_DEV_CHANGE"], here + ".change." + str(len(calls)))
receipt = open(os.environ["AUTO_DEV_CHANGE"]).read().rsplit("receipt: ", 1)[1].split()[0]
plays = json.load(open(here + ".reports"))
play = plays[min(len(calls), len(plays) - 1)]
calls.append({"cwd": os.getcwd(), "home": os.environ["HOME"], "phase": os.environ["AUTO_DEV_PHASE"]})
json.dump(calls, open(here + ".calls", "w"))
exec(play.pop("do", ""))
if play:
    report = {"receipt": receipt, "summary": "looked at it", "confidence": 0.9, **play}
    json.dump(report, open(os.environ["AUTO_DEV_REPORT"], "w"))
"""

BLOCKING = {"file": "src/app.txt", "line": 2, "title": "Two is wrong", "detail": "It must be 2.", "blocking": True}


class Reviewed:
    """A project whose change is reviewed by a program that says what it is told to say."""

    def __init__(
        self, made: Any, *plays: dict[str, Any], agent: str = "", more: str = "", review: str = REVIEW
    ) -> None:
        self.made = made
        (made.root / "auto-dev.toml").write_text(CONFIG.format(agent=agent, more=review.format(words="") + more))
        for name, text in (("agent.sh", AGENT), ("reviewer.py", REVIEWER)):
            (made.root / name).write_text(text)
            (made.root / name).chmod(0o755)
        self.plays(*plays)

    def plays(self, *plays: dict[str, Any], name: str = "") -> None:
        (self.made.root / f"reviewer.py{name}.reports").write_text(json.dumps(plays))

    def calls(self, name: str = "") -> list[dict[str, Any]]:
        file = self.made.root / f"reviewer.py{name}.calls"
        return list(json.loads(file.read_text())) if file.exists() else []

    def brief(self, number: int, name: str = "") -> str:
        return str((self.made.root / f"reviewer.py{name}.brief.{number}").read_text())

    def work_brief(self, number: int) -> str:
        return str((self.made.root / f"agent.sh.brief.{number}").read_text())

    def implemented(self) -> int:
        return int((self.made.root / "agent.sh.calls").read_text().count("implement"))

    def pull_request(self) -> str:
        (text,) = self.made.home.glob("projects/*/pull-requests/A-1/pull-request.md")
        return str(text.read_text())

    async def verdicts(self, gate: str = "review") -> list[dict[str, Any]]:
        rows = await self.made.fetch("SELECT * FROM verdicts WHERE gate = %s ORDER BY round", gate)
        return [dict(row) for row in rows]

    async def decision(self) -> dict[str, Any]:
        (row,) = await self.made.fetch("SELECT * FROM decisions WHERE status = 'open'")
        return dict(row)

    async def answer(self, option: str, text: str = "") -> None:
        row = await self.decision()
        async with self.made.open(order=False) as daemon:
            await self.made.control(daemon).answer(row["id"], option, text=text)


def titles(row: dict[str, Any]) -> list[str]:
    return [entry["title"] for entry in row["evidence"]]


async def test_a_review_that_finds_nothing_lets_the_story_through_and_says_who_looked(project: Any) -> None:
    told = Reviewed(project({"A-1": []}), {"findings": []})
    assert await told.made.once() is ExitCode.DONE
    assert await told.made.statuses() == {"A-1": "in_review"}
    (verdict,) = await told.verdicts()
    assert (verdict["verdict"], verdict["reason"]) == ("pass", "command found nothing that blocks")
    assert verdict["evidence"] == [{"title": "command: 0 called blocking, 0 noted", "excerpt": "looked at it"}]
    (call,) = told.calls()
    assert call["phase"] == "review"
    change = (told.made.root / "reviewer.py.change.0").read_text()
    assert "+three" in change
    brief = told.brief(0)
    for part in ("A file.", "1. there it is", "A `src/app.txt` (+3 −0)", "- empty: pass, 1 file changed", "fresh eyes"):
        assert part in brief
    assert "done so far" not in brief, "what the author says of the work is not the reviewer's business"


async def test_a_policy_without_a_reviewer_has_no_verdict_of_one(project: Any) -> None:
    told = Reviewed(project({"A-1": []}), {"findings": []}, review="")
    assert await told.made.once() is ExitCode.DONE
    assert await told.verdicts() == []
    assert told.calls() == []
    gates = told.pull_request().split("### Gates")[1].split("\n### ")[0]
    assert "empty" in gates
    assert not re.search(r"\| review \| \W* ?(?:pass|concerns|fail|waived)", gates)


async def test_a_blocking_fault_goes_back_with_its_place_and_the_reviewer_says_that_it_is_mended(project: Any) -> None:
    told = Reviewed(
        project({"A-1": []}),
        {"findings": [BLOCKING, {"file": "src/app.txt", "line": 1, "title": "One could be 1"}]},
        {"former": [{"id": "F1", "resolved": True}]},
    )
    assert await told.made.once() is ExitCode.DONE
    first, second = await told.verdicts()
    assert (first["verdict"], first["route"]) == ("fail", "repair")
    assert first["reason"] == "the review found a fault that blocks: Two is wrong (src/app.txt:2)"
    assert (second["verdict"], second["round"]) == ("pass", 1)
    brief = told.work_brief(2)
    for part in ("F1: Two is wrong [src/app.txt:2]", "It must be 2.", ">    2 | two", "note: One could be 1", "+two"):
        assert part in brief, brief
    assert "- Attempt 1, by command. It said: done so far" in brief
    again = told.brief(1)
    assert "**F1** Two is wrong (`src/app.txt:2`): It must be 2." in again


async def test_what_is_worth_a_look_stands_first_in_the_pull_request(project: Any) -> None:
    note = {"file": "src/app.txt", "line": 3, "title": "Three is odd"}
    nowhere = {"file": "src/none.txt", "line": 3, "title": "Not there", "blocking": True}
    beyond = {"file": "src/app.txt", "line": 999, "title": "Too far", "blocking": True}
    untouched = {"file": "auto-dev.toml", "line": 1, "title": "Unchanged", "blocking": True}
    told = Reviewed(project({"A-1": []}), {"findings": [note, nowhere, beyond, untouched]})
    assert await told.made.once() is ExitCode.DONE
    (verdict,) = await told.verdicts()
    assert (verdict["verdict"], verdict["route"]) == ("concerns", "proceed")
    assert titles(verdict) == [
        "called blocking, but its place is not there: Not there",
        "called blocking, but its place is not there: Too far",
        "called blocking, but the change did not touch this line and no reason was given: Unchanged",
        "note: Three is odd",
        "command: 3 called blocking, 1 noted",
    ]
    first = told.pull_request().split("What to look at first")[1].split("\n###")[0]
    assert "review: nothing that blocks; 4 findings to look at" in first
    assert "`src/app.txt:3`: note: Three is odd (review)" in first


async def test_a_fault_outside_of_the_change_blocks_with_a_reason(project: Any) -> None:
    outside = {
        "file": "auto-dev.toml",
        "line": 1,
        "title": "Now wrong",
        "blocking": True,
        "why_outside": "it reads app",
    }
    told = Reviewed(project({"A-1": []}), {"findings": [outside]}, {"former": {"F1": True}})
    assert await told.made.once() is ExitCode.DONE
    first, second = await told.verdicts()
    assert (first["route"], second["verdict"]) == ("repair", "pass")


async def test_the_same_finding_twice_asks_with_what_was_tried(project: Any) -> None:
    told = Reviewed(
        project({"A-1": []}),
        {"findings": [BLOCKING]},
        {"findings": [{**BLOCKING, "title": "two is still wrong", "line": 3}], "former": {"F1": False}},
    )
    assert await told.made.once() is ExitCode.WAITS
    row = await told.decision()
    assert "the repair changed nothing about review" in row["why"]
    assert "2 attempts by command" in row["why"]
    assert [option["id"] for option in row["options"]] == ["retry_hint", "retry", "waive", "skip", "abandon"]
    shown = [entry["title"] for entry in row["evidence"]]
    assert "attempt 1 by command, $0.00" in shown
    assert "attempt 2 by command, $0.00" in shown
    assert told.implemented() == 2, "with one attempt left it still asks"
    await told.answer("waive", "good enough")
    assert await told.made.once() is ExitCode.DONE
    assert [row["verdict"] for row in await told.verdicts()] == ["fail", "waived"]
    assert len(told.calls()) == 2


@pytest.mark.parametrize(
    ("play", "problem"),
    [
        ({}, "the agent left no report"),
        ({"do": "play.clear(); open(os.environ['AUTO_DEV_REPORT'], 'w').write('all is well')"}, "is not JSON"),
        ({"findings": "none"}, "the report's findings does not fit"),
        ({"receipt": "I read it all"}, "it has therefore not read"),
        ({"do": "sys.exit(3)"}, "exit code 3"),
    ],
    ids=["none", "garbage", "misfit", "unread", "crash"],
)
async def test_a_reviewer_that_cannot_be_believed_is_asked_once_more_and_then_a_person(
    project: Any, play: dict[str, Any], problem: str
) -> None:
    told = Reviewed(project({"A-1": []}), play)
    assert await told.made.once() is ExitCode.WAITS
    assert len(told.calls()) == 2
    if "receipt" in play:
        assert "it has therefore not read" in told.brief(1)
    (verdict,) = await told.verdicts()
    assert (verdict["verdict"], verdict["route"]) == ("concerns", "ask")
    assert problem in verdict["reason"] or problem in verdict["evidence"][0]["excerpt"]
    row = await told.decision()
    assert (row["kind"], [option["id"] for option in row["options"]]) == (
        "review",
        ["retry", "waive", "skip", "abandon"],
    )
    told.plays({"findings": []})
    await told.answer("retry")
    assert await told.made.once() is ExitCode.DONE
    assert (len(told.calls()), told.implemented()) == (3, 1), "the work itself was not made again"


async def test_a_missing_review_is_a_concern_where_reviews_are_advisory(project: Any) -> None:
    told = Reviewed(
        project({"A-1": []}),
        {},
        more='[gates]\nadvisory = ["review"]\n',
        review="[gates.review]\n" + REVIEW.strip().split("\n", 1)[1] + "\n",
    )
    assert await told.made.once() is ExitCode.DONE
    (verdict,) = await told.verdicts()
    assert (verdict["verdict"], verdict["route"], verdict["advisory"]) == ("concerns", "proceed", True)


VANDAL = """
open("src/app.txt", "w").write("mine now")
open("planted.txt", "w").write("x")
subprocess.run(["git", "add", "-A"]); subprocess.run(["git", "commit", "-qm", "mine"])
os.makedirs(".git/hooks", exist_ok=True)
for hook in ("pre-commit", "post-checkout", "reference-transaction"):
    open(".git/hooks/" + hook, "w").write("#!/bin/sh\\ntouch " + here + ".ran\\n")
    os.chmod(".git/hooks/" + hook, 0o755)
subprocess.run(["git", "config", "core.fsmonitor", "touch " + here + ".ran"])
"""


async def test_without_a_sandbox_what_a_reviewer_changes_is_thrown_away(project: Any) -> None:
    told = Reviewed(project({"A-1": []}), {"findings": [], "do": VANDAL})
    assert await told.made.once() is ExitCode.DONE
    (run,) = await told.made.fetch("SELECT * FROM runs")
    (call,) = told.calls()
    assert not Path(call["cwd"]).exists()
    assert not (told.made.root / "reviewer.py.ran").exists()
    (mirror,) = told.made.home.glob("projects/*/mirror.git")
    told_git = ["git", "-C", str(mirror)]
    branch = subprocess.run([*told_git, "rev-parse", "auto-dev/A-1"], capture_output=True, text=True, check=True)
    assert branch.stdout.strip() == run["head_sha"]
    shown = subprocess.run([*told_git, "show", "auto-dev/A-1:src/app.txt"], capture_output=True, text=True, check=True)
    assert shown.stdout == "one\ntwo\nthree\n"
    files = subprocess.run([*told_git, "ls-tree", "-r", "--name-only", "auto-dev/A-1"], capture_output=True, text=True)
    assert "planted.txt" not in files.stdout
    assert not [file for file in (mirror / "hooks").glob("*") if not file.name.endswith(".sample")]


TWO = """
[gates.review]
reviewers = [
  {{ kind = "command", command = ["./reviewer.py", ".a"] }},
  {{ kind = "command", command = ["./reviewer.py", ".b"] }},
]
quorum = 2
"""


def two(made: Any, first: dict[str, Any], second: dict[str, Any], *more: dict[str, Any]) -> Reviewed:
    told = Reviewed(made, review=TWO)
    told.plays(first, *more, name=".a")
    told.plays(second, *more, name=".b")
    return told


async def test_one_of_two_reviewers_is_a_concern_where_two_must_agree(project: Any) -> None:
    told = two(project({"A-1": []}), {"findings": [BLOCKING]}, {"findings": []})
    assert await told.made.once() is ExitCode.DONE
    (verdict,) = await told.verdicts()
    assert (verdict["verdict"], verdict["route"]) == ("concerns", "proceed")
    assert titles(verdict) == [
        "found blocking by 1 of 2: Two is wrong",
        "command: 1 called blocking, 0 noted",
        "command: 0 called blocking, 0 noted",
    ]


async def test_two_reviewers_that_agree_by_place_send_the_work_back(project: Any) -> None:
    other = {**BLOCKING, "line": 3, "title": "The second line says something else"}
    told = two(project({"A-1": []}), {"findings": [BLOCKING]}, {"findings": [other]}, {"former": {"F1": True}})
    assert await told.made.once() is ExitCode.DONE
    first, second = await told.verdicts()
    assert (first["route"], second["verdict"]) == ("repair", "pass")
    assert [entry["title"] for entry in first["evidence"] if "identity" in entry] == ["F1: Two is wrong"]
    assert "F1" in told.brief(1, ".a")
    assert "F1" in told.brief(1, ".b")


async def test_a_review_that_is_there_is_not_paid_for_again(project: Any, eventually: Any) -> None:
    made = project({"A-1": []})
    told = two(made, {"findings": []}, {"findings": [], "do": "import time; time.sleep(600)"})
    async with made.serving(once=False):
        await eventually(lambda: told.calls(".b"), 60)
    told.plays({"findings": []}, name=".b")
    assert await made.once() is ExitCode.DONE
    assert (len(told.calls(".a")), len(told.calls(".b"))) == (1, 2)
    receipts = [(made.root / f"reviewer.py.b.change.{n}").read_text().rsplit("receipt: ", 1)[1] for n in (0, 1)]
    assert receipts[0] == receipts[1], "what was read before the daemon ended stays read"
    assert [row["verdict"] for row in await told.verdicts()] == ["pass"]


async def test_a_reviewer_that_takes_too_long_is_missing_though_it_said_that_all_is_well(project: Any) -> None:
    said = "with open(os.environ['AUTO_DEV_REPORT'], 'w') as file: json.dump({'receipt': receipt}, file)\n"
    slow = {"findings": [], "do": said + "import time; time.sleep(600)"}
    review = REVIEW.rstrip("\n") + "\nmax_minutes = 0.03\n"
    told = Reviewed(project({"A-1": []}), slow, review=review)
    assert await told.made.once() is ExitCode.WAITS
    (verdict,) = await told.verdicts()
    assert verdict["route"] == "ask"
    assert "it did not come to its end: it was ended after 0.03 minutes" in verdict["reason"]
    assert len(told.calls()) == 2


async def test_the_other_agent_takes_over_from_a_finding_that_stays(project: Any) -> None:
    again = {"findings": [], "former": {"F1": {"resolved": False, "detail": "still 2"}}}
    told = Reviewed(
        project({"A-1": []}), {"findings": [BLOCKING]}, again, {"former": {"F1": True}},
        agent='[agent.escalation]\ncommand = ["./agent.sh", "other"]\n',
    )  # fmt: skip
    assert await told.made.once() is ExitCode.DONE
    assert [row["route"] for row in await told.verdicts()] == ["repair", "repair", "proceed"]
    assert "F1: still there: Two is wrong [src/app.txt:2]" in told.work_brief(3)
    assert "another agent's work is there" in told.work_brief(3)
