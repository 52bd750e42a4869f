"""Panic on a real database: what it stops, what it keeps from starting, and what a release lets go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from auto_dev.budget.anomaly import SAME_REQUEST
from auto_dev.daemon.control import Control
from auto_dev.daemon.scheduler import OPERATOR
from auto_dev.errors import AutoDevError, ExitCode
from auto_dev.processes import start_ticks
from auto_dev.store import backlog, decisions, leases, panics, runs
from auto_dev.store.database import Database
from auto_dev.store.events import QUERIES

pytestmark = pytest.mark.integration

OWNER = "host-1-abcd"


async def make(db: Database, statuses: dict[str, str], **project: Any) -> Control:
    """A project whose stories have a run of the given status each, leased where it runs ("" for no run)."""
    async with db.transaction() as conn:
        await conn.execute(QUERIES["upsert_project"], {"project": "p", "root": "/r", "state_dir": "/s"})
        await conn.execute(
            QUERIES["start_daemon"], {"daemon": OWNER, "project": "p", "host": "h", "pid": 1, "version": "0"}
        )
    for story, status in statuses.items():
        await db.execute(
            "INSERT INTO stories (project_id, id, title, path, file_status, spec, digest, ordered_at)"
            " VALUES ('p', %s, %s, %s, 'ready', '{}', '', now())",
            [story, story, f"{story}.md"],
        )
        if not status:
            continue
        await db.execute(
            "INSERT INTO runs (id, project_id, story_id, attempt, status, graph_version, policy, branch, base_branch)"
            " VALUES (%s, 'p', %s, 1, %s, '1', '{}', 'b', 'main')",
            [f"run-{story}", story, status],
        )
        if status == "running":
            async with db.transaction() as conn:
                assert await leases.claim(conn, "p", story, OWNER) is not None
    return Control(db, "p", "ann", "test", ("email",), **project)


async def state(db: Database) -> dict[str, tuple[str, str]]:
    rows = await db.fetch_all("SELECT story_id, status, reason FROM runs ORDER BY story_id")
    return {row["story_id"]: (row["status"], row["reason"]) for row in rows}


async def jobs(db: Database) -> list[str]:
    rows = await db.fetch_all("SELECT args ->> 'run_id' AS run FROM procrastinate_jobs ORDER BY 1")
    return [row["run"] for row in rows]


async def kinds(db: Database) -> list[str]:
    return [row["kind"] for row in await db.fetch_all("SELECT kind FROM events ORDER BY id")]


async def test_a_panic_pauses_what_runs_and_takes_it_from_its_owner(db: Database) -> None:
    control = await make(db, {"A": "running", "B": "queued", "C": "waiting", "D": "paused", "E": "succeeded"})
    done = await control.panic("it bites")
    assert (done.new, sorted(done.stopped)) == (True, ["A", "B"])
    assert await state(db) == {
        "A": ("paused", "panic: it bites"),
        "B": ("paused", "panic: it bites"),
        "C": ("waiting", ""),
        "D": ("paused", ""),
        "E": ("succeeded", ""),
    }
    async with db.transaction() as conn:
        assert await leases.held(conn, "p") == set()
    assert await kinds(db) == ["PROJECT_PANIC", "RUN_PAUSED", "RUN_PAUSED"]
    (message,) = await db.fetch_all("SELECT kind, urgent, payload FROM outbox")
    assert (message["kind"], message["urgent"]) == ("alert", True)
    assert message["payload"]["paragraphs"][0] == "it bites"


async def test_the_owners_writes_no_longer_land(db: Database) -> None:
    control = await make(db, {"A": "running"})
    lease = leases.Lease("p", "A", OWNER, 1)
    async with db.transaction() as conn:
        await leases.fence(conn, lease)
    await control.panic()
    with pytest.raises(AutoDevError, match="newer owner"):
        async with db.transaction() as conn:
            await leases.fence(conn, lease)
    assert (await state(db))["A"] == ("paused", "panic: no reason was given")


async def test_while_it_stands_nothing_is_claimed_made_or_resumed(db: Database) -> None:
    control = await make(db, {"NEW": "", "Q": "", "DUE": "paused"})
    await db.execute("UPDATE runs SET resume_at = now() - interval '1 hour', reason = 'rate limit: wait'")
    ask = {"project": "p", "now": (await db.fetch_one("SELECT now() AS now") or {})["now"]}

    async def startable() -> tuple[list[str], list[str], bool]:
        async with db.pool.connection() as conn:
            due = await (await conn.execute(QUERIES["due_runs"], ask)).fetchall()
            found = await backlog.candidates(conn, "p", 9)
            return found, [row["id"] for row in due], await leases.claim(conn, "p", "Q", OWNER) is not None

    assert await startable() == (["NEW", "Q"], ["run-DUE"], True)
    await control.panic()
    assert await startable() == ([], [], False)
    await control.release()
    assert await startable() == (["NEW", "Q"], ["run-DUE"], True)


async def test_a_release_lets_go_on_what_was_stopped_and_what_was_answered_meanwhile(db: Database) -> None:
    control = await make(db, {"A": "running", "B": "waiting", "C": "paused"})
    await db.execute("UPDATE runs SET reason = %s WHERE id = 'run-C'", [OPERATOR])
    await control.panic("it bites")
    async with db.transaction() as conn:  # an answer
        await runs.transition(conn, "run-B", ["waiting"], "queued")  # type: ignore[list-item,arg-type]
    done = await control.release()
    assert done.panic is not None
    assert (done.panic.reason, done.panic.by, done.resumed, done.held) == ("it bites", "ann", ("run-A",), False)
    assert await state(db) == {"A": ("queued", ""), "B": ("queued", ""), "C": ("paused", OPERATOR)}
    assert await jobs(db) == ["run-A", "run-B"]
    assert (await kinds(db))[-1] == "PROJECT_RELEASED"
    async with db.transaction() as conn:
        assert await panics.standing(conn, "p") is None


async def test_both_may_be_called_again(db: Database) -> None:
    control = await make(db, {"A": "running"})
    first = await control.panic("first")
    second = await Control(db, "p", "bob", "test", ("email",)).panic("second")
    assert (second.panic, second.new, second.stopped) == (first.panic, False, ())
    assert (await control.release()).panic == first.panic
    again = await control.release()
    assert (again.panic, again.resumed) == (None, ())
    assert await kinds(db) == ["PROJECT_PANIC", "RUN_PAUSED", "PROJECT_RELEASED"]
    third = await control.panic("third")  # a new one, with a message of its own
    assert third.new
    assert (third.panic.reason, third.panic.by) == ("third", "ann")
    assert await db.fetch_one("SELECT count(*) AS n FROM outbox") == {"n": 2}


async def test_a_second_call_completes_what_a_killed_one_began(db: Database) -> None:
    control = await make(db, {"A": "running"})
    async with db.transaction() as conn:
        await panics.declare(conn, "p", "it bites", "ann")
    assert (await state(db))["A"][0] == "running"
    done = await control.panic("again")
    assert (done.new, done.stopped) == (False, ("A",))
    assert await state(db) == {"A": ("paused", "panic: it bites")}


async def test_resume_does_not_override_a_panic(db: Database) -> None:
    control = await make(db, {"A": "running"})
    await control.pause()
    await control.panic("it bites")
    with pytest.raises(AutoDevError, match=r"by ann: it bites\. `auto-dev release` lets its work go on"):
        await control.resume()
    assert await state(db) == {"A": ("paused", "panic: it bites")}
    released = await control.release()
    assert (released.held, released.resumed) == (True, ())
    assert await state(db) == {"A": ("paused", OPERATOR)}  # the pause still stands
    assert await control.resume() == ["run-A"]


async def test_an_unknown_project_cannot_panic(db: Database) -> None:
    with pytest.raises(AutoDevError, match="nothing was ever started here"):
        await Control(db, "nobody", "ann", "test").panic()
    assert await db.fetch_all("SELECT * FROM events") == []


async def test_a_claim_and_a_panic_that_meet_leave_nothing_running(db: Database) -> None:
    """Whichever comes first: the claim sees the panic, or the panic finds what was claimed."""
    stories = {f"S-{n:02}": "queued" for n in range(30)}
    control = await make(db, stories)
    claimed = 0

    async def claim(story: str) -> None:
        nonlocal claimed
        async with db.transaction() as conn:
            row = await (await conn.execute(QUERIES["lock_run"], {"run": f"run-{story}"})).fetchone()
            if row is None or row["status"] != "queued":
                return
            if await leases.claim(conn, "p", story, OWNER) is None:
                return
            await runs.transition(conn, row["id"], ["queued"], "running")  # type: ignore[list-item,arg-type]
            claimed += 1

    work = [asyncio.create_task(claim(story)) for story in stories]
    await asyncio.sleep(0)
    while not claimed:  # some are running, some on their way
        await asyncio.sleep(0.001)  # lets them
    await control.panic("now")
    await asyncio.gather(*work)
    assert set((await state(db)).values()) == {("paused", "panic: now")}
    async with db.transaction() as conn:
        assert await leases.held(conn, "p") == set()


async def test_trees_of_this_project_and_boot_are_found(db: Database) -> None:
    await make(db, {"A": "running"})
    rows = (("run-A", 1, "boot", OWNER), ("gone", 2, "boot", OWNER), ("run-A", 3, "other", OWNER),
            ("else", 4, "boot", "else"))  # fmt: skip
    for run, pid, boot, daemon in rows:
        await db.execute(
            QUERIES["record_process"], {"run": run, "pid": pid, "started": 7, "boot": boot, "daemon": daemon}
        )
    async with db.transaction() as conn:
        assert await panics.trees(conn, "p", "boot") == [(1, 7), (2, 7)]
        assert await panics.trees(conn, "q", "boot") == []


async def test_what_a_person_let_pass_is_known_for_that_run(db: Database) -> None:
    control = await make(db, {"A": "running", "B": "running"})
    await control.panic("too dear", run="run-A", anomaly="runaway_cost")
    async with db.transaction() as conn:
        assert await panics.waived(conn, "p", "run-A") == set()
    await control.release()
    async with db.transaction() as conn:
        assert await panics.waived(conn, "p", "run-A") == {"runaway_cost"}
        assert await panics.waived(conn, "p", "run-B") == set()


@pytest.mark.parametrize(("answer", "passes"), [("go_on", {"same_request"}), ("stop", set())])
async def test_an_answer_lets_one_kind_pass(db: Database, answer: str, passes: set[str]) -> None:
    control = await make(db, {"A": "waiting", "B": "waiting"})
    options = [
        {"id": "go_on", "label": "Go on", "action": "retry", "wants_text": False, "data": {"waives": SAME_REQUEST}},
        {"id": "stop", "label": "Stop", "action": "abandon", "wants_text": False, "data": {}},
    ]
    for story in ("A", "B"):
        async with db.transaction() as conn:
            asked = decisions.Question("anomaly:1", "anomaly", "Go on?", "", options)
            await decisions.ask(conn, "p", story, f"run-{story}", asked)
    await control.answer((await db.fetch_one("SELECT id FROM decisions WHERE story_id = 'A'") or {})["id"], answer)
    async with db.transaction() as conn:
        assert await panics.waived(conn, "p", "run-A") == passes
        assert await panics.waived(conn, "p", "run-B") == set()


# ── a daemon ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_daemon_ends_its_agents_and_goes_on_after_every_release(project: Any, eventually: Any) -> None:
    """Also when a run goes on before the daemon has read that the panic is over."""
    made = project({"A-1": [], "B-1": []})
    made.hold.touch()
    async with made.serving(once=False) as (daemon, _):
        control = made.control(daemon)
        boot = daemon.services.boot_id
        for round_number in range(1, 4):
            await eventually(lambda n=round_number: made.calls() == {"A-1": n, "B-1": n}, 60)
            done = await control.panic("it bites")
            assert (done.new, sorted(done.stopped)) == (True, ["A-1", "B-1"])
            await eventually(lambda: not daemon.runner.in_hand)
            async with daemon.services.db.pool.connection() as conn:
                trees = await panics.trees(conn, daemon.services.place.id, boot)
            assert [pid for pid, started in trees if start_ticks(pid) == started] == []
            assert set((await made.statuses()).values()) == {"paused"}
            released = await control.release()
            assert len(released.resumed) == 2
        made.hold.unlink()
        await eventually(lambda: set(made.statuses_now().values()) == {"in_review"}, 60)


async def test_a_pass_that_a_panic_ends_does_not_count_as_done(project: Any, eventually: Any) -> None:
    made = project({"A-1": [], "B-1": ["A-1"]})
    made.hold.touch()
    async with made.serving() as (daemon, task):
        await eventually(lambda: made.calls()["A-1"] == 1)
        await made.control(daemon).panic()
        assert await asyncio.wait_for(task, 60) is ExitCode.ERROR
    assert await made.statuses() == {"A-1": "paused", "B-1": "blocked"}
