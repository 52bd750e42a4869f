"""The daemon in this process, on a real repository and database: who works on a run, and what an answer does."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from auto_dev.daemon.control import Control
from auto_dev.daemon.scheduler import OPERATOR
from auto_dev.daemon.service import sync_stories
from auto_dev.daemon.tidy import tidy
from auto_dev.errors import ExitCode, UsageError
from auto_dev.model import RunStatus
from auto_dev.nodes.context import RunPausedError
from auto_dev.store import backlog, leases, runs
from auto_dev.store.database import Database
from auto_dev.store.events import QUERIES

pytestmark = pytest.mark.integration


# ── a lost database ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_lost_connections_strand_no_run(project: Any, eventually: Any) -> None:
    """Every connection of the daemon is cut again and again while its runs end; the daemon itself takes them up."""
    made = project({f"A-{n}": [] for n in range(4)})
    async with made.serving() as (_, task):
        await eventually(lambda: len(made.calls()) >= 2)
        await made.cut_connections(30)
        assert await asyncio.wait_for(task, 60) is ExitCode.DONE
        assert set((await made.statuses()).values()) == {"in_review"}
        assert await made.fetch("SELECT id FROM runs WHERE status <> 'succeeded'") == []


async def test_a_run_that_its_own_daemon_lost_is_taken_up_again(project: Any, eventually: Any) -> None:
    """It prolongs the lease with its others, so that nobody else would ever find the run."""
    made = project({"A-1": []})
    made.hold.touch()
    async with made.serving() as (daemon, task):
        await eventually(lambda: made.calls()["A-1"] == 1)
        (run,) = daemon.runner.in_hand
        daemon.runner.in_hand[run].cancel()  # as the fence against a lost database does
        await eventually(lambda: run not in daemon.runner.in_hand)
        assert (await made.fetch("SELECT status FROM runs"))[0]["status"] == RunStatus.RUNNING
        made.hold.unlink()
        daemon.runner.left_behind = True
        assert await asyncio.wait_for(task, 60) is ExitCode.DONE
    assert made.calls()["A-1"] == 2


async def test_a_worker_that_lost_the_database_is_replaced_while_an_agent_still_works(
    project: Any, eventually: Any
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


async def test_a_node_whose_results_landed_without_its_checkpoint_is_not_repeated(project: Any) -> None:
    """LangGraph writes a node's results first and the checkpoint after; a kill in between is neither an end nor a loss.

    Every third checkpoint is refused, as by a server that goes down.
    """
    made = project({"A-1": [], "ASKS-1": []})
    await made.fetch("CREATE SEQUENCE refusals")
    await made.fetch(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('auto_dev.refusals') % 3 = 0 THEN RAISE EXCEPTION 'going down' USING ERRCODE = '57P01'; END IF;"
        " RETURN NEW; END $$"
    )
    await made.fetch(
        "CREATE TRIGGER refuse BEFORE INSERT ON auto_dev_checkpoints.checkpoints"
        " FOR EACH ROW EXECUTE FUNCTION auto_dev.refuse()"
    )
    assert await asyncio.wait_for(made.once(), 90) is ExitCode.WAITS
    assert await made.statuses() == {"A-1": "in_review", "ASKS-1": "waiting"}
    (decision,) = await made.fetch("SELECT * FROM decisions")
    async with made.open(order=False) as daemon:
        waive = next(option for option in decision["options"] if option["action"] == "waive")
        await made.control(daemon).answer(decision["id"], waive["id"], "fine")
    assert await asyncio.wait_for(made.once(), 90) is ExitCode.DONE
    assert made.calls() == {"A-1": 1, "ASKS-1": 1}


# ── who works on a run ────────────────────────────────────────────────────────────────────────────────────────────


async def test_of_a_hundred_jobs_for_one_run_one_works(project: Any) -> None:
    made = project({"A-1": []})
    async with made.open() as daemon:
        services = daemon.services
        async with services.db.transaction() as conn:
            await daemon.scheduler.dispatch(conn)
            run = (await (await conn.execute("SELECT id FROM runs")).fetchone() or {})["id"]
            for _ in range(100):
                await runs.defer(conn, services.place.id, run)
        assert await daemon.serve() is ExitCode.DONE
        started = await made.fetch("SELECT id FROM events WHERE kind = 'RUN_STARTED'")
        steps = await made.fetch("SELECT data ->> 'node' AS node FROM events WHERE kind = 'RUN_STEP'")
    assert len(started) == 1
    assert set(Counter(row["node"] for row in steps).values()) == {1}
    assert made.calls() == {"A-1": 1}


async def test_a_run_that_was_tried_again_waits_for_the_end_of_the_former_agent(project: Any, eventually: Any) -> None:
    """Two agents must never work in one worktree: the aborted one may take seconds to end."""
    made = project({"A-1": []})
    alone = "#!/bin/sh\ntrap '' TERM\nexec 9>>$0.lock; flock -n 9 || touch $0.overlap\n"
    agent = made.root / "agent.sh"
    agent.write_text(alone + agent.read_text().removeprefix("#!/bin/sh\n"))
    made.hold.touch()
    async with made.serving(once=False) as (daemon, _):
        control = made.control(daemon)
        for attempt in range(1, 4):
            await eventually(lambda attempt=attempt: made.calls()["A-1"] == attempt)
            await control.abort("A-1")
            await control.retry("A-1", daemon.config, "main")
        await eventually(lambda: made.calls()["A-1"] == 4)
        made.hold.unlink()
        await eventually(lambda: not daemon.runner.in_hand)
        assert await made.statuses() == {"A-1": "in_review"}
        assert not (made.root / "agent.sh.overlap").exists()


async def test_a_stale_owner_writes_nothing_and_ends_its_agent(project: Any, eventually: Any) -> None:
    made = project({"A-1": []})
    made.hold.touch()
    async with made.serving(once=False) as (daemon, _):
        await eventually(lambda: made.calls()["A-1"] == 1)
        (task,) = daemon.runner.in_hand.values()
        async with daemon.services.db.transaction() as conn:
            await conn.execute(
                "UPDATE leases SET owner = 'elsewhere', epoch = epoch + 1, expires_at = now() + '1 hour'"
            )
        facts = "SELECT status, node, progress, head_sha, reason FROM runs"
        before = await made.fetch(facts)
        checkpoints = await made.fetch("SELECT count(*) AS n FROM auto_dev_checkpoints.checkpoints")
        made.hold.unlink()
        await eventually(task.done)
        assert await made.fetch(facts) == before
        assert await made.fetch("SELECT count(*) AS n FROM auto_dev_checkpoints.checkpoints") == checkpoints
        assert await made.fetch("SELECT owner FROM leases") == [{"owner": "elsewhere"}]


# ── decisions ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_of_two_hundred_answers_one_counts(project: Any, db: Database) -> None:
    made = project({"ASKS-1": []})
    assert await made.once() is ExitCode.WAITS
    async with made.open(order=False) as daemon:
        (row,) = await made.fetch("SELECT * FROM decisions")
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
        jobs = await made.fetch("SELECT id FROM procrastinate_jobs WHERE status = 'todo'")
        answered = await made.fetch("SELECT id FROM events WHERE kind = 'DECISION_ANSWERED'")
        (stored,) = await made.fetch("SELECT answer FROM decisions")
    assert stored["answer"] == answers[0]
    assert (len(jobs), len(answered)) == (1, 1)


async def test_wrong_late_and_unknown_answers_change_nothing(project: Any) -> None:
    made = project({"ASKS-1": []})
    await made.once()
    async with made.open(order=False) as daemon:
        control = made.control(daemon)
        (row,) = await made.fetch("SELECT * FROM decisions")
        for decision, option in ((row["id"], "nonsense"), ("d-unknown", "retry"), (row["id"], "")):
            with pytest.raises(UsageError):
                await control.answer(decision, option)
        foreign = Control(daemon.services.db, "another-project", "me", "test")
        with pytest.raises(UsageError):
            await foreign.answer(row["id"], row["options"][0]["id"])
        assert await made.fetch("SELECT * FROM decisions") == [row]
        await control.abort("ASKS-1")
        with pytest.raises(UsageError, match="closed"):
            await control.answer(row["id"], row["options"][0]["id"])
        assert await made.statuses() == {"ASKS-1": "ready"}


async def test_an_answer_on_the_way_into_the_wait_is_taken(project: Any) -> None:
    """The decision's row exists before the run waits; whoever answers in between must not be forgotten."""
    made = project({"ASKS-1": []})
    async with made.open() as daemon:
        control = made.control(daemon)
        answered: list[str] = []
        asked = "SELECT d.*, r.status AS run FROM decisions d JOIN runs r ON r.id = run_id"

        async def answer_when_asked() -> None:
            while not answered:
                for row in await daemon.services.db.fetch_all(asked):
                    waive = next(option for option in row["options"] if option["action"] == "waive")
                    await control.answer(row["id"], waive["id"], "fine")
                    answered.append(row["run"])
                await asyncio.sleep(0)

        asking = asyncio.create_task(answer_when_asked())
        assert await daemon.serve() is ExitCode.DONE
        await asking
        assert answered == [RunStatus.RUNNING], "it was not asked quickly enough to mean something"
        assert await made.statuses() == {"ASKS-1": "in_review"}
        steps = await made.fetch("SELECT data ->> 'node' AS node FROM events WHERE kind = 'RUN_STEP'")
    assert Counter(row["node"] for row in steps)["publish"] == 1
    assert made.calls() == {"ASKS-1": 1}


async def test_an_answer_without_a_daemon_counts_at_the_next_start(project: Any) -> None:
    made = project({"ASKS-1": []})
    await made.once()
    async with made.open(order=False) as daemon:
        (row,) = await made.fetch("SELECT * FROM decisions")
        waive = next(option for option in row["options"] if option["action"] == "waive")
        control = made.control(daemon)
        await control.answer(row["id"], waive["id"], "fine")
    assert await made.once() is ExitCode.DONE
    assert made.calls() == {"ASKS-1": 1}


# ── pausing ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_pause_that_was_lifted_on_the_way_is_none(project: Any, eventually: Any) -> None:
    """The run had begun to pause when the person resumed: it must not stay paused in a project that is not."""
    made = project({"A-1": []})
    made.hold.touch()
    async with made.serving() as (daemon, task):
        await eventually(lambda: made.calls()["A-1"] == 1)
        services = daemon.services
        control = made.control(daemon)
        await control.pause()
        await eventually(lambda: daemon._project_paused)
        # The daemon learns of the resumption a moment later than the run asks whether it may go on.
        async with services.db.transaction() as conn:
            await conn.execute(QUERIES["set_paused"], {"project": services.place.id, "paused": False, "reason": ""})
            (row,) = await (
                await conn.execute(QUERIES["get_run"], {"run": next(iter(daemon.runner.in_hand))})
            ).fetchall()
        lease = daemon.runner.owned()[row["id"]]
        await daemon.runner._pause(row, lease, RunPausedError(OPERATOR), datetime.now(UTC))
        assert (await made.fetch("SELECT status FROM runs"))[0]["status"] == RunStatus.QUEUED
        made.hold.unlink()
        assert await asyncio.wait_for(task, 60) is ExitCode.DONE


async def test_pause_and_resume_while_running(project: Any, eventually: Any) -> None:
    made = project({"A-1": [], "B-1": ["A-1"]})
    made.hold.touch()
    async with made.serving(once=False) as (daemon, _):
        await eventually(lambda: made.calls()["A-1"] == 1)
        control = made.control(daemon)
        await control.pause()
        made.hold.unlink()
        await eventually(lambda: not daemon.runner.in_hand)
        (row,) = await made.fetch("SELECT status, reason, node FROM runs")
        assert row == {"status": "paused", "reason": OPERATOR, "node": "implement"}
        await control.resume()
        await eventually(lambda: made.calls()["B-1"] == 1)
        assert made.calls()["A-1"] == 1, "what had completed was done again"


# ── a person ends a story ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verb", ["abort", "skip"])
async def test_waiting_queued_and_paused_stories_are_ended_and_tried_again(project: Any, verb: str) -> None:
    made = project({"ASKS-1": []})
    assert await made.once() is ExitCode.WAITS
    ended = {"ASKS-1": "ready" if verb == "abort" else "skipped"}
    async with made.open(order=False) as daemon:
        control = made.control(daemon)
        end = control.abort if verb == "abort" else control.skip
        await end("ASKS-1")
        assert await made.statuses() == ended
        assert await made.fetch("SELECT id FROM decisions WHERE status = 'open'") == []
        for status in ("queued", "paused"):
            await control.retry("ASKS-1", daemon.config, "main")
            await made.fetch("UPDATE runs SET status = %s::run_status WHERE status = 'queued'", status)
            assert await made.statuses() == {"ASKS-1": status}
            await end("asks-1")
            assert await made.statuses() == ended
        if verb == "abort":
            with pytest.raises(UsageError, match="no run under way"):
                await end("ASKS-1")
        await control.retry("ASKS-1", daemon.config, "main")
        assert await daemon.serve() is ExitCode.WAITS
    assert made.calls() == {"ASKS-1": 2}
    assert await made.fetch("SELECT id FROM procrastinate_jobs") == []


async def test_a_worktree_is_not_removed_while_its_agent_is_still_being_ended(project: Any, eventually: Any) -> None:
    made = project({"A-1": []})
    agent = made.root / "agent.sh"
    agent.write_text("#!/bin/sh\ntrap '' TERM\n" + agent.read_text().removeprefix("#!/bin/sh\n"))
    made.hold.touch()
    async with made.serving(once=False) as (daemon, _):
        await eventually(lambda: list(made.home.glob("projects/*/worktrees/*/src/A-1.txt")))
        async with daemon.services.db.transaction() as conn:  # as `abort` does, seen by the daemon at its next look
            await leases.revoke(conn, daemon.services.place.id, "A-1")
            await conn.execute("UPDATE runs SET status = 'aborted'")
        busy = [lease.story_id for lease in daemon.runner.owned().values()]
        assert await tidy(daemon.services, busy) == []
        await eventually(lambda: not daemon.runner.in_hand)
        assert await tidy(daemon.services, []) == ["A-1"]
