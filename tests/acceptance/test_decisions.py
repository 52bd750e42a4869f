"""Every answer to every kind of decision does what its words say, with a daemon and without one."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

ONCE = ("start", "plans", "--yes", "--no-sandbox", "--once", "--foreground")
AGENT = r"""#!/bin/bash
brief=$(cat)
echo "$AUTO_DEV_STORY $AUTO_DEV_PHASE" >> LEDGER
printf '%s' "$brief" > "BRIEFS/$AUTO_DEV_STORY.$(grep -c "^$AUTO_DEV_STORY " LEDGER)"
said() { case "$brief" in *"$1"*) return 0;; esac; return 1; }
report() { echo "$1" > "$AUTO_DEV_REPORT"; }
mkdir -p src; echo x > "src/$AUTO_DEV_STORY.txt"; report '{"summary": "done", "confidence": 0.95}'
case "$AUTO_DEV_STORY" in
  LOW-*) said "look twice" || report '{"summary": "perhaps", "confidence": 0.3}';;
  ASKS-*) said "The answer is:" || said "green" || report '{"summary": "?", "confidence": 0.95, "decisions":
    [{"question": "Red or blue?", "options": ["red", "blue"], "recommended": "blue", "tier": 2}]}';;
  TESTS-*) rm -f broken.txt; said "look twice" || echo x > broken.txt;;
  CI-*) mkdir -p .github; echo x > .github/x;;
  BLOCKED-*) said "look twice" || report '{"summary": "no", "confidence": 0.95, "blocked": "there is no network"}';;
  EMPTY-*) said "look twice" || rm -r src;;
esac
"""
# Story: kind of its decision, answer, text, status afterwards, calls of the agent in all.
ANSWERS = {
    "LOW-1": ("confidence", "retry", "", "waiting", 2),
    "LOW-2": ("confidence", "retry_hint", "look twice", "in_review", 2),
    "LOW-3": ("confidence", "waive", "good enough", "in_review", 1),
    "LOW-4": ("confidence", "skip", "", "skipped", 1),
    "LOW-5": ("confidence", "abandon", "", "ready", 1),
    "ASKS-1": ("agent", "choose-1", "", "in_review", 2),
    "ASKS-2": ("agent", "retry_hint", "take green", "in_review", 2),
    "ASKS-3": ("agent", "skip", "", "skipped", 1),
    "TESTS-1": ("gate", "waive", "known", "in_review", 2),
    "TESTS-2": ("gate", "retry_hint", "look twice", "in_review", 3),
    "CI-1": ("scope", "waive", "it may", "in_review", 1),
    "BLOCKED-1": ("blocked", "retry_hint", "look twice", "in_review", 2),
    "EMPTY-1": ("empty", "skip", "", "skipped", 1),
    "EMPTY-2": ("empty", "retry_hint", "look twice", "in_review", 2),
    "NOCRIT-1": ("criteria", "criteria", "- [ ] its file exists\n- it holds x", "in_review", 1),
    "NOCRIT-2": ("criteria", "proceed", "", "in_review", 1),
    "NOCRIT-3": ("criteria", "skip", "", "skipped", 0),
    "NOCRIT-4": ("criteria", "abandon", "", "ready", 0),
}
DEPENDENTS = {"DEP-1": ["LOW-3"], "DEP-2": ["LOW-4"], "DEP-3": ["LOW-5"]}


def made(make_world: Any, stories: dict[str, list[str]]) -> Any:
    world = make_world({story: needs for story, needs in stories.items() if not story.startswith("NOCRIT")})
    for story in stories:
        if story.startswith("NOCRIT"):
            world.write_story(story, [], criteria="")
    briefs = world.folder / "briefs"
    briefs.mkdir()
    (world.repo / "agent.sh").write_text(AGENT.replace("LEDGER", str(world.ledger)).replace("BRIEFS", str(briefs)))
    world.commit()
    return world


def answer(world: Any, decision: str, option: str, text: str = "") -> Any:
    return world.call("decide", decision, "--answer", option, *(["--text", text] if text else []))


def test_an_answer_does_what_it_says(make_world: Any) -> None:
    world = made(make_world, {**{story: [] for story in ANSWERS}, **DEPENDENTS})
    before = world.snapshot()
    assert world.call(*ONCE, timeout=200).returncode == 3
    asked = {decision["story"]: decision for decision in world.json("decide")["decisions"]}
    assert {story: decision["kind"] for story, decision in asked.items()} == {s: a[0] for s, a in ANSWERS.items()}
    for decision in asked.values():
        assert 2 <= len(decision["options"]) <= 5
        assert sum(option["recommended"] for option in decision["options"]) == 1
    for story, (_, option, text, _, _) in ANSWERS.items():
        done = answer(world, asked[story]["id"], option, text)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("its run goes on when the daemon is started again.\n")
    assert world.json("decide")["decisions"] == []
    done = world.call("run", "LOW-1", "--dir", "plans", "--no-sandbox", timeout=200)  # its run, and what was answered
    assert done.returncode == 3, done.stdout + done.stderr
    expected = {story: answer[3] for story, answer in ANSWERS.items()}
    assert world.statuses() == {**expected, "DEP-1": "in_review", "DEP-2": "blocked", "DEP-3": "blocked"}
    calls = world.agent_calls()
    assert {story: calls[f"{story} implement"] for story in ANSWERS} == {s: a[4] for s, a in ANSWERS.items()}
    good = {f"auto-dev/{story}" for story, status in world.statuses().items() if status == "in_review"}
    assert world.branches() == good
    assert "You asked: ASKS-1: Red or blue?\nThe answer is: red" in brief(world, "ASKS-1.2")
    assert "take green" in brief(world, "ASKS-2.2")
    assert "1. its file exists\n2. it holds x" in brief(world, "NOCRIT-1.1")
    assert "| it holds x | " in body(world, "NOCRIT-1")
    assert "good enough" in body(world, "LOW-3")
    assert "Red or blue?" in body(world, "ASKS-1")
    assert world.snapshot() == before


def brief(world: Any, name: str) -> str:
    return str((world.folder / "briefs" / name).read_text())


def body(world: Any, story: str) -> str:
    (path,) = (world.folder / "home").rglob(f"pull-requests/{story}/pull-request.md")
    return str(path.read_text())


def test_a_wrong_late_or_repeated_answer_changes_nothing_and_says_so(make_world: Any) -> None:
    world = made(make_world, {"LOW-1": []})
    assert world.call(*ONCE).returncode == 3
    (decision,) = world.json("decide")["decisions"]
    name = decision["id"]
    wrong = {
        (name, "nope", ""): "retry_hint, retry, waive, skip, abandon",
        (name, "waive", ""): "--text",
        (name, "retry_hint", "  "): "--text",
        ("d-zzzzzz", "retry", ""): "there is no decision 'd-zzzzzz'",
    }
    for (which, option, text), words in wrong.items():
        done = answer(world, which, option, text)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    assert world.call("decide", "d-zzzzzz").returncode == 2
    assert world.json("decide") == {"decisions": [decision]}
    assert world.json("decide", name.upper()) == {"decisions": [decision]}
    done = world.call("decide", name.upper(), "--answer", "skip", "--json")
    assert json.loads(done.stdout) == {"decision": name, "answer": "skip", "story": "LOW-1"}
    for late in (answer(world, name, "retry"), answer(world, name, "skip"), world.call("decide", name)):
        assert late.returncode == 2
        assert f"decision {name} was answered by" in late.stderr
    (told,) = world.json("decide", "--history")["decisions"]
    assert (told["id"], told["answer"], told["label"], told["via"]) == (name, "skip", "Skip the story", "cli")
    assert "→ Skip the story" in world.call("decide", "--history").stdout
    assert world.call("decide", name, "--history").returncode == 2
    assert world.call("retry", "LOW-1", "--hint", "look twice").returncode == 2  # its answer is still to be carried out
    assert world.call(*ONCE).returncode == 0
    assert world.statuses() == {"LOW-1": "skipped"}
    assert world.call("retry", "low-1", "--hint", "look twice").returncode == 0
    assert world.call(*ONCE).returncode == 0
    assert world.statuses() == {"LOW-1": "in_review"}


def test_a_running_daemon_takes_answers_up_at_once(make_world: Any, wait_for: Any) -> None:
    stories = ("LOW-2", "LOW-3", "LOW-4", "ASKS-1", "NOCRIT-1")
    world = made(make_world, {**{story: [] for story in stories}, "DEP-1": ["LOW-3"]})
    with world.daemon():
        asked = wait_for(
            lambda: (found := world.json("decide")["decisions"]) and len(found) == len(stories) and found, 60
        )
        for decision in asked:
            _, option, text, _, _ = ANSWERS[decision["story"]]
            done = answer(world, decision["id"], option, text)
            assert done.stdout.endswith("its run goes on.\n"), done.stderr
        expected = {story: ANSWERS[story][3] for story in stories}
        wait_for(lambda: world.statuses() == {**expected, "DEP-1": "in_review"}, 60)
        world.assert_nothing_stranded()
