"""The daemon in this process, on a real repository and a real PostgreSQL: who works on a run, and what an answer does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from auto_dev import config as configuration
from auto_dev.daemon import compose
from auto_dev.daemon.control import Control
from auto_dev.daemon.scheduler import OPERATOR
from auto_dev.daemon.service import Daemon, sync_stories
from auto_dev.daemon.settings import Settings
from auto_dev.errors import AutoDevError, ExitCode, UsageError
from auto_dev.model import RunStatus
from auto_dev.place import DATABASE_URL, project_id_of
from auto_dev.store import backlog, decisions, leases, runs
from auto_dev.store.database import Database
from auto_dev.store.events import QUERIES

pytestmark = pytest.mark.integration

AGENT = """#!/bin/sh
echo "$AUTO_DEV_STORY" >> "$0.calls"
mkdir -p src; echo "$AUTO_DEV_STORY" > "src/$AUTO_DEV_STORY.txt"
while [ -e "$0.hold" ]; do sleep 0.05; done
case "$AUTO_DEV_STORY" in
  ASKS-*) echo '{"summary": "perhaps", "confidence": 0.1}' > "$AUTO_DEV_REPORT";;
  *) echo '{"summary": "done", "confidence": 0.95}' > "$AUTO_DEV_REPORT";;
esac
"""
CONFIG = '[agent]\nkind = "command"\ncommand = ["./agent.sh"]\n'
Eventually = Callable[..., Awaitable[Any]]


@dataclass
class Project:
    """A repository with stories, and the settings of its daemon."""

    root: Path
    home: Path
    url: str

    @property
    def settings(self) -> Settings:
        config = configuration.load(self.root)
        return Settings(
            project_id=project_id_of(config, self.root), root=self.root, folder=self.root / "plans",
            state_home=self.home, once=True, sandbox=False,
        )  # fmt: skip

    @property
    def hold(self) -> Path:
        """While this file exists, agents do not come to an end."""
        return self.root / "agent.sh.hold"

    def calls(self) -> Counter[str]:
        file = self.root / "agent.sh.calls"
        return Counter(file.read_text().split()) if file.exists() else Counter()

    def story(self, name: str, needs: list[str] | None = None, **more: str) -> None:
        lines = [f"id: {name}", f"title: Do {name}", "goal: A file.", "acceptance_criteria: [there it is]"]
        lines += ["status: ready", f"depends_on: [{', '.join(needs or [])}]", *(f"{k}: {v}" for k, v in more.items())]
        (self.root / "plans" / f"{name}.md").write_text("---\n" + "\n".join(lines) + "\n---\n")

    @asynccontextmanager
    async def open(self, *, order: bool = True, once: bool = True) -> AsyncIterator[Daemon]:
        """A daemon of its own id, with the stories ordered, not serving yet."""
        settings = self.settings.model_copy(update={"once": once})
        async with compose.daemon(settings, compose.new_daemon_id()) as daemon:
            services = daemon.services
            async with services.db.transaction() as conn:
                await conn.execute(
                    QUERIES["upsert_project"],
                    {"project": services.place.id, "root": str(self.root), "state_dir": str(services.place.state)},
                )
            ids = await sync_stories(services, settings.folder)
            if order:
                async with services.db.transaction() as conn:
                    await backlog.order(conn, services.place.id, ids)
            yield daemon

    @asynccontextmanager
    async def serving(self, **more: Any) -> AsyncIterator[tuple[Daemon, asyncio.Task[ExitCode]]]:
        """The same, at work; stopped at once when the block ends."""
        async with self.open(**more) as daemon:
            task = asyncio.create_task(daemon.serve())
            try:
                yield daemon, task
            finally:
                daemon.stop(now=True)
                await task

    async def once(self) -> ExitCode:
        async with self.open() as daemon:
            return await daemon.serve()


MakeProject = Callable[..., Project]


@pytest.fixture
def project(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> MakeProject:
    """``project({"A-1": [], "B-1": ["A-1"]}, config=…)``"""
    monkeypatch.setenv(DATABASE_URL, database_url)

    def make(stories: dict[str, list[str]], config: str = "") -> Project:
        made = Project(tmp_path / "repo", tmp_path / "home", database_url)
        (made.root / "plans").mkdir(parents=True)
        for name, needs in stories.items():
            made.story(name, needs)
        agent = made.root / "agent.sh"
        agent.write_text(AGENT)
        agent.chmod(0o755)
        (made.root / "auto-dev.toml").write_text(CONFIG + config)
        (made.root / ".gitignore").write_text("agent.sh.*\n")
        for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "begin"]):
            subprocess.run(["git", *command], cwd=made.root, check=True, capture_output=True)
        return made

    return make


async def statuses(daemon: Daemon) -> dict[str, str]:
    async with daemon.services.db.pool.connection() as conn:
        return {row["id"]: row["status"] for row in await backlog.rows(conn, daemon.services.place.id)}


async def fetch(daemon: Daemon, statement: str, *params: Any) -> list[dict[str, Any]]:
    async with daemon.services.db.pool.connection() as conn:
        cursor = await conn.execute(statement.encode(), params)
        return await cursor.fetchall()


async def cut_connections(url: str, times: int) -> None:
    """End every other connection to the database, so many times, ten times a second."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        for _ in range(times):
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.1)  # the fault's own rhythm


# ── a lost database ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_lost_connections_strand_no_run(project: MakeProject, eventually: Eventually) -> None:
    """Every connection of the daemon is cut again and again while its runs end; the daemon itself takes them up."""
    made = project({f"A-{n}": [] for n in range(4)})
    async with made.serving() as (daemon, task):
        await eventually(lambda: len(made.calls()) >= 2)
        await cut_connections(made.url, 30)
        assert await asyncio.wait_for(task, 60) is ExitCode.DONE
        assert set((await statuses(daemon)).values()) == {"in_review"}
        assert await fetch(daemon, "SELECT id FROM runs WHERE status <> 'succeeded'") == []


async def test_a_run_that_its_own_daemon_lost_is_taken_up_again(project: MakeProject, eventually: Eventually) -> None:
    """It prolongs the lease with its others, so that nobody else would ever find the run."""
    made = project({"A-1": []})
    made.hold.touch()
    async with made.serving() as (daemon, task):
        await eventually(lambda: made.calls()["A-1"] == 1)
        (run,) = daemon.runner.in_hand
        daemon.runner.in_hand[run].cancel()  # as the fence against a lost database does
        await eventually(lambda: run not in daemon.runner.in_hand)
        assert (await fetch(daemon, "SELECT status FROM runs"))[0]["status"] == RunStatus.RUNNING
        made.hold.unlink()
        daemon.runner.left_behind = True
        assert await asyncio.wait_for(task, 60) is ExitCode.DONE
    assert made.calls()["A-1"] == 2


async def test_a_worker_that_lost_the_database_is_replaced_while_an_agent_still_works(
    project: MakeProject, eventually: Eventually
) -> None:
    """procrastinate waits for its jobs before it ends; an agent of four hours would hold up every other story."""
    made = project({"A-1": []})
    made.hold.touch()
    async with made.serving() as (daemon, _):
        await eventually(lambda: made.calls()["A-1"] == 1)
        made.story("B-1")
        async with await psycopg.AsyncConnection.connect(
            made.url, autocommit=True, options="-c search_path=auto_dev_jobs"
        ) as admin:
            name, away = "procrastinate_fetch_job_v2", "away"
            await admin.execute(f"ALTER FUNCTION {name} RENAME TO {away}")
            await asyncio.sleep(1.5)  # as long as the fault lasts: three times the worker asks in vain
            await admin.execute(f"ALTER FUNCTION {away} RENAME TO {name}")
        await sync_stories(daemon.services, made.root / "plans")
        async with daemon.services.db.transaction() as conn:
            await backlog.order(conn, daemon.services.place.id, ["B-1"])
        await eventually(lambda: made.calls()["B-1"] == 1)
        assert made.calls() == {"A-1": 1, "B-1": 1}
        made.hold.unlink()


# ── who works on a run ────────────────────────────────────────────────────────────────────────────────────────────


async def test_of_a_hundred_jobs_for_one_run_one_works(project: MakeProject) -> None:
    made = project({"A-1": []})
    async with made.open() as daemon:
        services = daemon.services
        async with services.db.transaction() as conn:
            await daemon.scheduler.dispatch(conn)
            run = (await (await conn.execute("SELECT id FROM runs")).fetchone() or {})["id"]
            for _ in range(100):
                await runs.defer(conn, services.place.id, run)
        assert await daemon.serve() is ExitCode.DONE
        started = await fetch(daemon, "SELECT id FROM events WHERE kind = 'RUN_STARTED'")
        steps = await fetch(daemon, "SELECT data ->> 'node' AS node FROM events WHERE kind = 'RUN_STEP'")
    assert len(started) == 1
    assert set(Counter(row["node"] for row in steps).values()) == {1}
    assert made.calls() == {"A-1": 1}


async def test_a_run_that_was_tried_again_waits_for_the_end_of_the_former_agent(
    project: MakeProject, eventually: Eventually
) -> None:
    """Two agents must never work in one worktree: the aborted one may take seconds to end."""
    made = project({"A-1": []})
    alone = "#!/bin/sh\ntrap '' TERM\nexec 9>>$0.lock; flock -n 9 || touch $0.overlap\n"
    (made.root / "agent.sh").write_text(alone + AGENT.removeprefix("#!/bin/sh\n"))
    made.hold.touch()
    async with made.serving(once=False) as (daemon, _):
        control = Control(daemon.services.db, daemon.services.place.id, "me", "test")
        for attempt in range(1, 4):
            await eventually(lambda attempt=attempt: made.calls()["A-1"] == attempt)
            await control.abort("A-1")
            await control.retry("A-1", daemon.config, "main")
        await eventually(lambda: made.calls()["A-1"] == 4)
        made.hold.unlink()
        await eventually(lambda: not daemon.runner.in_hand)
        assert await statuses(daemon) == {"A-1": "in_review"}
        assert not (made.root / "agent.sh.overlap").exists()


async def test_a_stale_owner_writes_nothing_and_ends_its_agent(project: MakeProject, eventually: Eventually) -> None:
    made = project({"A-1": []})
    made.hold.touch()
    async with made.serving(once=False) as (daemon, _):
        await eventually(lambda: made.calls()["A-1"] == 1)
        (task,) = daemon.runner.in_hand.values()
        async with daemon.services.db.transaction() as conn:
            await conn.execute("UPDATE leases SET owner = 'elsewhere', epoch = epoch + 1, expires_at = now() + '1 hour'")
        facts = "SELECT status, node, progress, head_sha, reason FROM runs"
        before = await fetch(daemon, facts)
        checkpoints = await fetch(daemon, "SELECT count(*) AS n FROM auto_dev_checkpoints.checkpoints")
        made.hold.unlink()
        await eventually(task.done)
        assert await fetch(daemon, facts) == before
        assert await fetch(daemon, "SELECT count(*) AS n FROM auto_dev_checkpoints.checkpoints") == checkpoints
        assert await fetch(daemon, "SELECT owner FROM leases") == [{"owner": "elsewhere"}]


# ── decisions ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_of_two_hundred_answers_one_counts(project: MakeProject, db: Database) -> None:
    made = project({"ASKS-1": []})
    assert await made.once() is ExitCode.WAITS
    async with made.open(order=False) as daemon:
        (row,) = await fetch(daemon, "SELECT * FROM decisions")
        options = [option["id"] for option in row["options"] if not option.get("wants_text")]
        controls = [Control(base, daemon.services.place.id, "me", "test") for base in (db, daemon.services.db)]

        async def answer(number: int) -> str:
            try:
                done = await controls[number % 2].answer(row["id"], options[number % len(options)])
            except UsageError:
                return ""
            return str(done["answer"])

        answers = [text for text in await asyncio.gather(*(answer(n) for n in range(200))) if text]
        assert len(answers) == 1
        jobs = await fetch(daemon, "SELECT id FROM procrastinate_jobs WHERE status = 'todo'")
        answered = await fetch(daemon, "SELECT id FROM events WHERE kind = 'DECISION_ANSWERED'")
        (stored,) = await fetch(daemon, "SELECT answer FROM decisions")
    assert stored["answer"] == answers[0]
    assert (len(jobs), len(answered)) == (1, 1)


async def test_wrong_late_and_unknown_answers_change_nothing(project: MakeProject) -> None:
    made = project({"ASKS-1": []})
    await made.once()
    async with made.open(order=False) as daemon:
        control = Control(daemon.services.db, daemon.services.place.id, "me", "test")
        (row,) = await fetch(daemon, "SELECT * FROM decisions")
        for decision, option in ((row["id"], "nonsense"), ("d-unknown", "retry"), (row["id"], "")):
            with pytest.raises(UsageError):
                await control.answer(decision, option)
        foreign = Control(daemon.services.db, "another-project", "me", "test")
        with pytest.raises(UsageError):
            await foreign.answer(row["id"], row["options"][0]["id"])
        assert await fetch(daemon, "SELECT * FROM decisions") == [row]
        await control.abort("ASKS-1")
        with pytest.raises(UsageError, match="closed"):
            await control.answer(row["id"], row["options"][0]["id"])
        assert await statuses(daemon) == {"ASKS-1": "ready"}


async def test_an_answer_on_the_way_into_the_wait_is_taken(project: MakeProject) -> None:
    """The decision's row exists before the run waits; whoever answers in between must not be forgotten."""
    made = project({"ASKS-1": []})
    async with made.open() as daemon:
        services = daemon.services
        control = Control(services.db, services.place.id, "me", "test")
        answered: list[str] = []

        async def answer_when_asked() -> None:
            while not answered:
                for row in await fetch(daemon, "SELECT d.*, r.status AS run FROM decisions d JOIN runs r ON r.id = run_id"):
                    waive = next(option for option in row["options"] if option["action"] == "waive")
                    await control.answer(row["id"], waive["id"], "fine")
                    answered.append(row["run"])
                await asyncio.sleep(0)

        asking = asyncio.create_task(answer_when_asked())
        assert await daemon.serve() is ExitCode.DONE
        await asking
        assert await statuses(daemon) == {"ASKS-1": "in_review"}
        steps = await fetch(daemon, "SELECT data ->> 'node' AS node FROM events WHERE kind = 'RUN_STEP'")
    assert Counter(row["node"] for row in steps)["publish"] == 1
    assert made.calls() == {"ASKS-1": 1}


async def test_an_answer_without_a_daemon_counts_at_the_next_start(project: MakeProject) -> None:
    made = project({"ASKS-1": []})
    await made.once()
    async with made.open(order=False) as daemon:
        (row,) = await fetch(daemon, "SELECT * FROM decisions")
        waive = next(option for option in row["options"] if option["action"] == "waive")
        control = Control(daemon.services.db, daemon.services.place.id, "me", "test")
        await control.answer(row["id"], waive["id"], "fine")
    assert await made.once() is ExitCode.DONE
    assert made.calls() == {"ASKS-1": 1}


# ── pausing ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_pause_that_was_lifted_on_the_way_is_none(project: MakeProject, eventually: Eventually) -> None:
    """The run had begun to pause when the person resumed: it must not stay paused in a project that is not."""
    made = project({"A-1": []})
    made.hold.touch()
    async with made.serving() as (daemon, task):
        await eventually(lambda: made.calls()["A-1"] == 1)
        services = daemon.services
        control = Control(services.db, services.place.id, "me", "test")
        await control.pause()
        await eventually(lambda: daemon._project_paused)
        # The daemon learns of the resumption a moment later than the run asks whether it may go on.
        async with services.db.transaction() as conn:
            await conn.execute(QUERIES["set_paused"], {"project": services.place.id, "paused": False, "reason": ""})
            (row,) = await (await conn.execute(QUERIES["get_run"], {"run": next(iter(daemon.runner.in_hand))})).fetchall()
        from auto_dev.nodes.context import RunPausedError

        lease = daemon.runner.owned()[row["id"]]
        await daemon.runner._pause(row, lease, RunPausedError(OPERATOR), datetime.now(UTC))
        assert (await fetch(daemon, "SELECT status FROM runs"))[0]["status"] == RunStatus.QUEUED
        made.hold.unlink()
        assert await asyncio.wait_for(task, 60) is ExitCode.DONE


async def test_pause_and_resume_while_running(project: MakeProject, eventually: Eventually) -> None:
    made = project({"A-1": [], "B-1": ["A-1"]})
    made.hold.touch()
    async with made.serving(once=False) as (daemon, _):
        await eventually(lambda: made.calls()["A-1"] == 1)
        control = Control(daemon.services.db, daemon.services.place.id, "me", "test")
        await control.pause()
        made.hold.unlink()
        await eventually(lambda: not daemon.runner.in_hand)
        (row,) = await fetch(daemon, "SELECT status, reason, node FROM runs")
        assert row == {"status": "paused", "reason": OPERATOR, "node": "implement"}
        await control.resume()
        await eventually(lambda: made.calls()["B-1"] == 1)
        assert made.calls()["A-1"] == 1, "what had completed was done again"
