"""Reviewers with the real command: in their box they can only read, real ones too, and a killed daemon pays once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.agents_support import INSTALLED, agent_program

SERVER = Path(__file__).parents[1] / "model_server" / "server.py"
BOXED = ("start", "plans", "--yes", "--once", "--foreground")

pytestmark = pytest.mark.acceptance
boxed = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap: apt install bubblewrap")

CONFIG = """
[agent]
kind = "command"
command = ["./agent.sh"]
[gates.review]
reviewers = [{reviewers}]
"""

# Tries to change everything that it can reach, and reports what came of it.
VANDAL = """#!/usr/bin/env python3
import json, os, subprocess, sys
sys.stdin.read()
change = os.environ["AUTO_DEV_CHANGE"]
outcomes = {}
def attempt(name, action):
    try:
        action()
        outcomes[name] = "done"
    except OSError as error:
        outcomes[name] = os.strerror(error.errno)
def write(path):
    return lambda: open(path, "w").write("mine")
attempt("edit", write("src/A-1.txt"))
attempt("new file", write("planted.txt"))
attempt("hook", write(".git/hooks/pre-commit"))
attempt("config", write(".git/config"))
attempt("ref", write(".git/refs/heads/mine"))
attempt("object", write(os.path.join(open(".git/objects/info/alternates").read().strip(), "mine")))
attempt("brief", write(os.environ["AUTO_DEV_BRIEF"]))
attempt("change", write(change))
try:
    write(os.path.join("CHECKOUT", "planted.txt"))()  # at best into a folder of the box's own
except OSError:
    pass
attempt("remove", lambda: os.rename("src", "away"))
commit = subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "mine"], capture_output=True)
outcomes["commit"] = "done" if commit.returncode == 0 else "refused"
outcomes["log"] = subprocess.run(["git", "log", "--format=%s", "-1"], capture_output=True, text=True).stdout.strip()
attempt("home", write(os.path.join(os.environ["HOME"], "mine")))
word = open(change).read().rsplit("receipt: ", 1)[1].strip()
json.dump({"receipt": word, "summary": json.dumps(outcomes)}, open(os.environ["AUTO_DEV_REPORT"], "w"))
"""


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@boxed
def test_a_reviewer_in_its_box_reads_all_and_writes_nothing_but_its_report(make_world: Callable[..., Any]) -> None:
    world = make_world({"A-1": []}, config=CONFIG.format(reviewers='{ kind = "command", command = ["./reviewer.py"] }'))
    script(world.repo / "reviewer.py", VANDAL.replace("CHECKOUT", str(world.repo)))
    before = world.snapshot()
    code, out = world.run(*BOXED)
    assert world.status_of("A-1") == "in_review", (code, out, world.json("decide"))
    (verdict,) = world.sql("SELECT * FROM verdicts WHERE gate = 'review'")
    outcomes = json.loads(verdict["evidence"][0]["excerpt"])
    assert (outcomes.pop("home"), outcomes.pop("log")) == ("done", "A-1: Do A-1"), "it can look, and has a home"
    assert outcomes.pop("commit") == "refused"
    assert set(outcomes.values()) <= {"Read-only file system", "No such file or directory", "Permission denied"}
    assert world.snapshot() == before
    assert world.git("show", "auto-dev/A-1:src/A-1.txt", cwd=world.remote) == "A-1"
    assert "planted.txt" not in world.git("ls-tree", "-r", "--name-only", "auto-dev/A-1", cwd=world.remote)


SCENARIO = """
import json, re
from tests.model_server.answer import Answer, Call
from tests.model_server.scenarios import story

def scenario(asked):
    if "fresh eyes" not in asked.prompt or not asked.tools:
        return story(asked)
    change = re.search(r"The change is in the file `([^`]+)`", asked.prompt)[1]
    folder = change.rsplit("/", 2)[0]
    report = re.search(r"`AUTO_DEV_REPORT` is `([^`]+)`", asked.prompt)
    word = (re.findall(r"receipt: ([0-9a-f]{8})", "\\n".join(asked.results)) or [""])[-1]
    told = {"receipt": word, "summary": "I read it.", "confidence": 0.9, "findings": [], "former": []}
    if "Faults that were found before" in asked.prompt:
        told["former"] = [{"id": "F1", "resolved": True}]
    else:
        told["findings"] = [{"file": "src/A-1.txt", "line": 1, "title": "Not like this", "blocking": True}]
    if "report" in asked.tools:
        steps = [Call("read_file", {"path": change}), Call("write_file", {"path": "planted.txt", "content": "x"}),
                 Call("report", told)]
    else:
        steps = [Call("Read", {"file_path": change}), Call("Write", {"file_path": "planted.txt", "content": "x"}),
                 Call("Write", {"file_path": report[1], "content": json.dumps(told)})]
    return Answer("", (steps[asked.answers],)) if asked.answers < len(steps) else Answer("Done.")
"""


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, Path]]:
    (folder / "script.py").write_text(SCENARIO)
    record = folder / "record.jsonl"
    argv = [sys.executable, str(SERVER), "--port", "0", "--record", str(record), "--script", str(folder / "script.py")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), record
    finally:
        process.kill()
        process.communicate()


MODELS = """
[agent]
kind = "chat"
model = "claude-sonnet-4-6"
[gates.review]
reviewers = [{{ kind = "{kind}", model = "claude-haiku-4-5" }}]
[gateway]
anthropic_url = "{url}"
"""


@boxed
@pytest.mark.parametrize("kind", ["chat", "claude-code"])
def test_a_real_reviewer_finds_a_fault_and_sees_that_it_is_mended(
    make_world: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    if kind == "claude-code":
        agent_program("claude")
    with serving(tmp_path) as (url, record):
        world = make_world({"A-1": []}, config=MODELS.format(kind=kind, url=url))
        text = world.repo / "plans" / "A-1.md"
        text.write_text(text.read_text() + "\n## What to do\n\nFILE: src/A-1.txt = made by an agent\n")
        world.commit()
        path = f"{INSTALLED}:{os.environ['PATH']}"
        world.env |= {"PATH": path, "ANTHROPIC_API_KEY": "a-key", "HOME": str(world.folder / "users-home")}
        (world.folder / "users-home").mkdir()
        code, out = world.run(*BOXED, timeout=170)
        rows = world.sql("SELECT * FROM verdicts WHERE gate = 'review' ORDER BY round")
        assert world.status_of("A-1") == "in_review", (code, out, rows, world.json("decide"))
        assert [(row["round"], row["verdict"]) for row in rows] == [(0, "fail"), (1, "pass")]
        assert rows[0]["evidence"][0]["title"] == "F1: Not like this"
        assert f"{kind} (claude-haiku-4-5): 1 called blocking" in rows[0]["evidence"][-1]["title"]
        assert "planted.txt" not in world.git("ls-tree", "-r", "--name-only", "auto-dev/A-1", cwd=world.remote)
        (story,) = world.json("status")["stories"]
        spent = sum(json.loads(line)["cost_microusd"] for line in record.read_text().splitlines())
        assert story["cost_usd"] == pytest.approx(spent / 1_000_000, abs=1e-6), "reviews are paid like all else"


SLOW = """#!/usr/bin/env python3
import json, os, sys, time
sys.stdin.read()
with open("LEDGER" + sys.argv[1], "a") as ledger:
    ledger.write("called\\n")
while sys.argv[1] == "b" and os.path.exists("LEDGERhold"):
    time.sleep(0.05)
word = open(os.environ["AUTO_DEV_CHANGE"]).read().rsplit("receipt: ", 1)[1].strip()
json.dump({"receipt": word, "summary": "fine"}, open(os.environ["AUTO_DEV_REPORT"], "w"))
"""


def test_a_daemon_that_is_killed_in_a_review_does_not_pay_for_a_finished_one_again(
    make_world: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    reviewers = ", ".join(f'{{ kind = "command", command = ["./reviewer.py", "{name}"] }}' for name in "ab")
    world = make_world({"A-1": []}, config=CONFIG.format(reviewers=reviewers))
    ledger = world.folder / "reviews."
    script(world.repo / "reviewer.py", SLOW.replace("LEDGER", str(ledger)))
    hold = Path(f"{ledger}hold")
    hold.touch()
    with world.daemon() as process:
        wait_for(lambda: Path(f"{ledger}b").exists(), 60)
        process.send_signal(signal.SIGKILL)
        process.wait()
    hold.unlink()
    code, out = world.once()
    assert world.status_of("A-1") == "in_review", (code, out)
    assert Path(f"{ledger}a").read_text() == "called\n"
    assert Path(f"{ledger}b").read_text() == "called\ncalled\n"
    assert world.agent_calls() == {"A-1 implement": 1}
    assert [row["verdict"] for row in world.sql("SELECT verdict FROM verdicts WHERE gate = 'review'")] == ["pass"]
