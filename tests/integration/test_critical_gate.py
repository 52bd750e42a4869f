"""Acts that only a person may decide, through the whole daemon: asked once, before any more of it is done."""

from __future__ import annotations

from typing import Any

import pytest

from auto_dev.errors import ExitCode

pytestmark = pytest.mark.integration


def agent(project: Any, script: str) -> None:
    """Let the agent run ``script``; its phase and how often it was called in it are ``$phase`` and ``$turn``."""
    head = (
        'phase="$AUTO_DEV_PHASE"; echo x >> "$0.$phase"; turn=$(wc -l < "$0.$phase")\n'
        'say() { echo "{\\"summary\\": \\"$1\\", \\"confidence\\": 0.95}" > "$AUTO_DEV_REPORT"; }\nsay done\n'
    )
    (project.root / "agent.sh.script").write_text(head + script)
    (project.root / "agent.sh").write_text('#!/bin/sh\n. "$0.script"\n')


async def test_a_destructive_migration_asks_once_though_the_work_goes_on_for_rounds(project: Any) -> None:
    """After the answer the tests fail and the agent repairs: the same act in the next round asks nobody."""
    config = '[[gates.command]]\nname = "tests"\nrun = "test ! -e work.txt || grep -q fine work.txt"\n'
    made = project({"A-1": []}, config)
    agent(
        made,
        'mkdir -p migrations; echo "DROP TABLE users;" > migrations/2.sql\n'
        'if [ "$turn" = 1 ]; then echo broken > work.txt; else echo fine > work.txt; fi\n',
    )
    assert await made.once() is ExitCode.WAITS
    (asked,) = await made.fetch("SELECT * FROM decisions")
    assert asked["kind"] == "critical"
    assert "drops the table users" in asked["question"]
    item = next(one for one in asked["evidence"] if one["gate"] == "critical")
    assert (item["file"], item["line"], item["tier"]) == ("migrations/2.sql", 1, 4)
    assert await made.fetch("SELECT 1 FROM verdicts WHERE gate = 'tests'") == []  # pointless before the answer
    async with made.open() as daemon:
        await made.control(daemon).answer(asked["id"], "waive", "the table is empty")
        assert await daemon.serve() is ExitCode.DONE
    rows = await made.fetch("SELECT round, verdict, waived_reason FROM verdicts WHERE gate = 'critical' ORDER BY round")
    assert [(row["round"], row["verdict"], row["waived_reason"]) for row in rows] == [
        (0, "waived", "the table is empty"),
        (1, "waived", "the table is empty"),
    ]
    assert len(await made.fetch("SELECT 1 FROM decisions")) == 1


async def test_a_plan_asks_before_any_of_it_is_done_and_its_answer_holds_for_the_work(project: Any) -> None:
    made = project({"A-1": []})
    text = (made.root / "auto-dev.toml").read_text()
    (made.root / "auto-dev.toml").write_text(text.replace("[agent]\n", '[agent]\nphases = ["plan", "implement"]\n'))
    agent(
        made,
        'case "$phase" in plan) say "I drop the table users, then I make a better one.";;\n'
        '*) mkdir -p migrations; echo "DROP TABLE users;" > migrations/2.sql;; esac\n',
    )
    assert await made.once() is ExitCode.WAITS
    (asked,) = await made.fetch("SELECT * FROM decisions")
    assert (asked["kind"], asked["question"].count("plans that it drops a table")) == ("plan", 1)
    assert not (made.root / "agent.sh.implement").exists()
    async with made.open() as daemon:
        await made.control(daemon).answer(asked["id"], "waive", "yes, drop it")
        assert await daemon.serve() is ExitCode.DONE
    rows = {row["gate"]: row["verdict"] for row in await made.fetch("SELECT gate, verdict FROM verdicts")}
    assert (rows["plan"], rows["critical"]) == ("waived", "waived")


async def test_a_hint_leads_to_another_plan(project: Any) -> None:
    made = project({"A-1": []})
    text = (made.root / "auto-dev.toml").read_text()
    (made.root / "auto-dev.toml").write_text(text.replace("[agent]\n", '[agent]\nphases = ["plan", "implement"]\n'))
    agent(
        made,
        'if [ "$phase" = plan ] && [ "$turn" = 1 ]; then say "I force-push the branch."; fi\n'
        'if [ "$phase" = plan ]; then cp "$AUTO_DEV_BRIEF" "$0.brief"; else echo 1 > a.txt; fi\n',
    )
    assert await made.once() is ExitCode.WAITS
    (asked,) = await made.fetch("SELECT * FROM decisions")
    async with made.open() as daemon:
        await made.control(daemon).answer(asked["id"], "retry_hint", "never by force")
        assert await daemon.serve() is ExitCode.DONE
    assert "never by force" in (made.root / "agent.sh.brief").read_text()
