"""Broken and foreign graphs, a full disk, dependencies in a race, a changing folder, what many cycles leave behind."""

from __future__ import annotations

import asyncio
import errno
import gc
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from auto_dev.daemon.graphs import load_graph
from auto_dev.daemon.runner import shortage
from auto_dev.daemon.service import sync_stories
from auto_dev.errors import ExitCode

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


# ── graphs ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The module ``my_package`` with the code of docs/extending.md, importable during the test."""
    code = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "extending.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(code) == 3
    file = tmp_path / "lib" / "my_package.py"
    file.parent.mkdir()
    file.write_text("\n\n".join(code))
    monkeypatch.syspath_prepend(str(file.parent))
    load_graph.cache_clear()
    yield file
    sys.modules.pop("my_package", None)
    load_graph.cache_clear()


EXTENDED = '[run]\ngraph = "my_package:build"\nrepair_attempts = 0\n[gates]\ncustom = ["my_package:NoTodo"]\n'


async def test_the_documented_extensions_work(project: Any, package: Path) -> None:
    made = project({"A-1": [], "TODO-1": [], "HUGE-1": []}, EXTENDED)
    agent = made.root / "agent.sh"
    agent.write_text(agent.read_text() + 'case "$AUTO_DEV_STORY" in HUGE-*) seq 500 > src/huge.txt;; esac\n')
    assert await made.once() is ExitCode.WAITS
    assert await made.statuses() == {"A-1": "in_review", "HUGE-1": "waiting", "TODO-1": "waiting"}
    verdicts = await made.fetch("SELECT v.verdict, r.story_id FROM verdicts v JOIN runs r ON r.id = run_id "
                                "WHERE gate = 'no-todo' ORDER BY 2")  # fmt: skip
    assert [tuple(row.values()) for row in verdicts] == [("pass", "A-1"), ("pass", "HUGE-1"), ("fail", "TODO-1")]
    steps = await made.fetch("SELECT data ->> 'node' AS node FROM events WHERE kind = 'RUN_STEP' AND story_id = 'A-1' "
                             "ORDER BY id")  # fmt: skip
    names = [row["node"] for row in steps]
    assert names[names.index("verify") :] == ["verify", "size", "review", "publish", "report"]
    assert list(made.home.glob("projects/*/runs/A-1/*/size.json"))
    asked = {row["story_id"]: row for row in await made.fetch("SELECT * FROM decisions")}
    assert "more than 400" in asked["HUGE-1"]["question"]
    # A waiver goes on with the node that was inserted, not past it; "try again" comes back to the one that asked.
    async with made.open(order=False) as daemon:
        waive = next(option for option in asked["TODO-1"]["options"] if option["action"] == "waive")
        await made.control(daemon).answer(asked["TODO-1"]["id"], waive["id"], "known")
        await made.control(daemon).answer(asked["HUGE-1"]["id"], "retry")
    assert await made.once() is ExitCode.WAITS
    assert await made.statuses() == {"A-1": "in_review", "HUGE-1": "waiting", "TODO-1": "in_review"}
    assert list(made.home.glob("projects/*/runs/TODO-1/*/size.json"))
    assert made.calls() == {"A-1": 1, "TODO-1": 1, "HUGE-1": 1}


@pytest.mark.parametrize(
    "damage", ["raise OSError('gone')", "def build(:", "build = 3", "def build(): return 4", "x = 1"]
)
async def test_a_graph_that_cannot_be_loaded_refuses_its_runs_and_goes_on_when_it_is_mended(
    project: Any, package: Path, eventually: Any, damage: str
) -> None:
    made = project({"ASKS-1": []}, EXTENDED)
    assert await made.once() is ExitCode.WAITS
    whole = package.read_text()
    forget(package, damage)
    (decision,) = await made.fetch("SELECT * FROM decisions")
    waive = next(option for option in decision["options"] if option["action"] == "waive")
    async with made.open(order=False) as daemon:
        await made.control(daemon).answer(decision["id"], waive["id"], "fine")
        await daemon.serve()
    (run,) = await made.fetch("SELECT status, reason FROM runs")
    assert run["status"] == "paused"
    assert "my_package:build" in run["reason"]
    assert (await made.fetch("SELECT status FROM decisions")) == [{"status": "answered"}]
    forget(package, whole)
    async with made.open(order=False) as daemon:
        await made.control(daemon).resume()
        assert await daemon.serve() is ExitCode.DONE
    assert await made.statuses() == {"ASKS-1": "in_review"}
    assert made.calls() == {"ASKS-1": 1}


def forget(file: Path, text: str) -> None:
    """Replace the module as a restart of the daemon would see it."""
    file.write_text(text)
    for left in (file.parent / "__pycache__").glob("*"):
        left.unlink()
    importlib.invalidate_caches()
    sys.modules.pop("my_package", None)
    load_graph.cache_clear()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE runs SET graph_version = 'story/0'", "began with graph story/0"),
        ("UPDATE runs SET policy = jsonb_set(policy, '{config,agent,colour}', '1')", "another version"),
    ],
)
async def test_a_run_of_another_version_is_refused_and_stays_answerable(project: Any, change: str, said: str) -> None:
    made = project({"ASKS-1": []})
    await made.once()
    await made.fetch(change)
    assert [row["status"] for row in await made.fetch("SELECT status FROM decisions")] == ["open"]
    (decision,) = await made.fetch("SELECT * FROM decisions")
    async with made.open(order=False) as daemon:
        waive = next(option for option in decision["options"] if option["action"] == "waive")
        await made.control(daemon).answer(decision["id"], waive["id"], "fine")
        await daemon.serve()
        (run,) = await made.fetch("SELECT status, reason FROM runs")
        assert (run["status"], said in run["reason"]) == ("paused", True)


async def test_a_graph_that_ends_without_ending_the_run_is_said(project: Any, package: Path) -> None:
    made = project({"A-1": []}, EXTENDED)
    endless = "\n\ndef build():\n    graph = story.build()\n    graph.branches['review'] = graph.branches['report']\n"
    package.write_text(package.read_text() + endless + "    return graph\n")
    await made.once()
    (run,) = await made.fetch("SELECT status, reason FROM runs")
    assert run["status"] == "paused"
    assert "did not end" in run["reason"]


# ── disk ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_stops_the_run_with_a_reason_and_loses_nothing(
    project: Any, small_disk: Path, eventually: Any
) -> None:
    made = project({"A-1": []})
    made.home = small_disk / "home"
    made.hold.touch()
    async with made.serving(once=False) as (daemon, _):
        await eventually(lambda: made.calls()["A-1"] == 1)
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        assert shutil.disk_usage(small_disk).free == 0
        made.hold.unlink()
        await eventually(lambda: not daemon.runner.in_hand)
        (run,) = await made.fetch("SELECT status, reason FROM runs")
        assert run["status"] in ("paused", "waiting"), run
        assert re.search("disk is full|No space left", run["reason"]), run
        filler.unlink()
        control = made.control(daemon)
        if run["status"] == "waiting":
            (decision,) = await made.fetch("SELECT id FROM decisions")
            await control.answer(decision["id"], "retry")
        else:
            await control.resume()
        await eventually(lambda: made.statuses_now() == {"A-1": "in_review"}, 30)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE])
def test_what_the_machine_lacks_is_told_from_faults_of_a_run(number: int) -> None:
    assert shortage(OSError(number, os.strerror(number)))
    assert shortage(OSError(errno.ENOENT, "no such file")) is None
    assert shortage(ValueError(str(number))) is None


# ── dependencies and the folder ───────────────────────────────────────────────────────────────────────────────────


async def test_parents_that_end_together_unblock_their_children_once(project: Any, eventually: Any) -> None:
    """A diamond, and a child of four: each child starts once, after all of its parents."""
    parents = {f"P-{n}": ["ROOT-1"] for n in range(3)}
    made = project({"ROOT-1": [], **parents, "CHILD-1": list(parents), "LEAF-1": ["CHILD-1", "ROOT-1"]})
    agent = made.root / "agent.sh"
    agent.write_text(agent.read_text().replace('"$0.hold" ]', '"$0.hold" ] && [ "$AUTO_DEV_STORY" != ROOT-1 ]'))
    made.hold.touch()
    async with made.serving() as (_, task):
        await eventually(lambda: sum(made.calls()[parent] for parent in parents) == 3)
        made.hold.unlink()
        assert await asyncio.wait_for(task, 60) is ExitCode.DONE
    assert made.calls() == dict.fromkeys(["ROOT-1", *parents, "CHILD-1", "LEAF-1"], 1)
    unblocked = await made.fetch("SELECT data -> 'stories' AS ids FROM events WHERE kind = 'TASKS_UNBLOCKED'")
    assert Counter(story for row in unblocked for story in row["ids"])["CHILD-1"] == 1


async def test_dependencies_on_merged_work_wait_for_the_merge(project: Any) -> None:
    made = project({"A-1": [], "B-1": ["A-1"]}, '[project]\ndependencies = "merged"\n')
    await made.once()
    assert await made.statuses() == {"A-1": "in_review", "B-1": "blocked"}
    await made.fetch("UPDATE pull_requests SET state = 'merged'")
    await made.once()
    assert (await made.statuses())["B-1"] == "in_review"


async def test_a_story_that_is_added_changed_or_removed_while_others_run(project: Any, eventually: Any) -> None:
    """What was ordered goes on as it was ordered; what came later was ordered by nobody."""
    made = project({"A-1": [], "B-1": ["A-1"]})
    made.hold.touch()
    async with made.serving() as (daemon, task):
        await eventually(lambda: made.calls()["A-1"] == 1)
        made.story("NEW-1")
        (made.root / "plans" / "A-1.md").unlink()
        (made.root / "plans" / "broken.md").write_text("---\nid: [\n---\n")
        await sync_stories(daemon.services, made.root / "plans")
        made.hold.unlink()
        await asyncio.wait_for(task, 60)
    statuses = await made.statuses()
    assert (statuses["A-1"], statuses["NEW-1"]) == ("in_review", "ready")
    assert "NEW-1" not in made.calls()


async def test_a_folder_that_disappears_keeps_the_last_good_state(project: Any, eventually: Any) -> None:
    made = project({"A-1": []})
    made.hold.touch()
    async with made.serving() as (daemon, task):
        await eventually(lambda: made.calls()["A-1"] == 1)
        (made.root / "plans").rename(made.root / "elsewhere")
        (made.root / "auto-dev.toml").write_text("[[[")
        await daemon._sync_stories()
        made.hold.unlink()
        assert await asyncio.wait_for(task, 60) is ExitCode.DONE
    assert await made.statuses() == {"A-1": "in_review"}
    assert await made.fetch("SELECT id FROM events WHERE kind = 'ALERT'")


# ── leaks ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CYCLES = int(os.environ.get("AUTO_DEV_TEST_CYCLES", "8"))


async def test_starting_and_stopping_leaves_nothing(project: Any, eventually: Any) -> None:
    made = project({"A-1": []})
    seen = []
    for cycle in range(CYCLES):
        made.story(f"C-{cycle}")
        async with made.serving() as (_, task):
            await asyncio.wait_for(task, 60)
        gc.collect()
        await eventually(lambda: len(asyncio.all_tasks()) == 1)
        seen.append(sum(1 for _ in Path("/proc/self/fd").iterdir()))
        (row,) = await made.fetch(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert row["n"] == 0
    assert max(seen[2:]) <= seen[1] + 1, seen
    assert (await made.fetch("SELECT count(*) AS n FROM processes")) == [{"n": 0}]
    assert (await made.fetch("SELECT count(*) AS n FROM procrastinate_jobs")) == [{"n": 0}]
