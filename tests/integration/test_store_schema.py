"""The schema's own promises: enumerations, guards, locks, counters, the view of statuses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain
from typing import Any

import psycopg
import pytest
from psycopg import errors

from auto_dev import model
from auto_dev.errors import StaleLeaseError
from auto_dev.store import leases
from auto_dev.store.database import Database

pytestmark = pytest.mark.integration

ENUMS = {
    "file_status": model.FileStatus,
    "run_status": model.RunStatus,
    "phase": model.Phase,
    "run_trigger": model.Trigger,
    "run_kind": model.RunKind,
    "follow_up_cause": model.Cause,
    "verdict": model.Verdict,
    "route": model.Route,
    "decision_status": model.DecisionStatus,
    "budget_scope": model.Scope,
    "reservation_status": model.ReservationStatus,
    "pull_state": model.PullState,
}


async def _project(db: Database) -> None:
    await db.execute("INSERT INTO projects (id, root, state_dir) VALUES ('p', '/r', '/s')")


async def _story(db: Database, story: str, **columns: Any) -> None:
    values = {
        "project_id": "p", "id": story, "title": story, "path": f"{story}.md", "file_status": "ready",
        "spec": "{}", "digest": "", **columns,
    }  # fmt: skip
    names, marks = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    await db.execute(f"INSERT INTO stories ({names}) VALUES ({marks})", values)


async def _run(db: Database, run: str, story: str, status: str = "queued", attempt: int = 1, reason: str = "") -> None:
    await db.execute(
        "INSERT INTO runs"
        " (id, project_id, story_id, attempt, status, reason, graph_version, policy, branch, base_branch)"
        " VALUES (%s, 'p', %s, %s, %s, %s, '1', '{}', 'b', 'main')",
        [run, story, attempt, status, reason],
    )


async def test_every_postgres_enum_has_the_members_of_its_python_enum_in_order(db: Database) -> None:
    rows = await db.fetch_all(
        "SELECT t.typname AS name, array_agg(e.enumlabel ORDER BY e.enumsortorder)::text[] AS members"
        "  FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid"
        " WHERE t.typnamespace = 'auto_dev'::regnamespace GROUP BY t.typname"
    )
    found = {row["name"]: row["members"] for row in rows}
    assert found == {name: [member.value for member in enum] for name, enum in ENUMS.items()}


# ---------------------------------------------------------------- runs


async def test_a_transition_from_a_wrong_status_says_what_the_run_is_and_changes_nothing(db: Database) -> None:
    await _project(db)
    await _story(db, "S-1")
    await _run(db, "r1", "S-1", "failed", reason="why")
    with pytest.raises(psycopg.DatabaseError, match=r"run r1 is failed, not one of \{queued,paused\}") as caught:
        await db.execute("SELECT transition_run('r1', ARRAY['queued', 'paused']::run_status[], 'running')")
    assert caught.value.sqlstate == "AD001"
    with pytest.raises(psycopg.DatabaseError, match="run r2 is unknown"):
        await db.execute("SELECT transition_run('r2', ARRAY['queued']::run_status[], 'running')")
    assert await db.fetch_all("SELECT status, reason FROM runs") == [{"status": "failed", "reason": "why"}]


async def test_transitions_keep_the_times(db: Database) -> None:
    await _project(db)
    await _story(db, "S-1")
    await _run(db, "r1", "S-1")
    steps = [("queued", "running"), ("running", "paused"), ("paused", "running"), ("running", "succeeded")]
    started = None
    for before, after in steps:
        await db.execute("SELECT transition_run('r1', ARRAY[%s]::run_status[], %s, 'because')", [before, after])
        row = await db.fetch_one("SELECT * FROM runs")
        assert row is not None
        started = started or row["started_at"]
        assert (row["status"], row["reason"], row["started_at"]) == (after, "because", started)
        assert (row["ended_at"] is not None) == (after == "succeeded")


async def test_of_many_runs_started_at_once_for_a_story_one_exists(db: Database) -> None:
    await _project(db)
    await _story(db, "S-1")

    refused_by = set()

    async def start(number: int) -> bool:
        try:
            await _run(db, f"r{number}", "S-1", attempt=number)
        except errors.UniqueViolation as error:
            refused_by.add(error.diag.constraint_name)
            return False
        return True

    assert sum(await asyncio.gather(*(start(number) for number in range(1, 51)))) == 1
    assert refused_by == {"runs_one_active"}
    await db.execute("UPDATE runs SET status = 'failed'")
    await _run(db, "again", "S-1", attempt=99)


# ---------------------------------------------------------------- leases


async def test_a_fence_holds_off_a_new_owner_until_the_commit(
    db: Database, eventually: Callable[..., Awaitable[Any]]
) -> None:
    await db.execute("INSERT INTO leases (project_id, story_id, owner, epoch) VALUES ('p', 'S-1', 'd', 7)")
    lease = leases.Lease("p", "S-1", "d", 7)

    async def take_over() -> None:
        await db.execute("UPDATE leases SET epoch = 8")

    async def waits() -> bool:
        return bool(await db.fetch_all("SELECT FROM pg_locks WHERE NOT granted"))

    async with db.transaction() as connection:
        await leases.fence(connection, lease)
        thief = asyncio.create_task(take_over())
        await eventually(waits)
        assert not thief.done()
        await leases.fence(connection, lease)
    await thief
    async with db.transaction() as connection:
        with pytest.raises(StaleLeaseError):
            await leases.fence(connection, lease)


# ---------------------------------------------------------------- dependencies


async def _family(db: Database, parents: int, children: int) -> None:
    await _project(db)
    await db.execute(
        "INSERT INTO stories (project_id, id, title, path, file_status, spec, digest, dependencies_left)"
        " SELECT 'p', 'child-' || n, '', '', 'ready', '{}', '', %s FROM generate_series(1, %s) n",
        [parents, children],
    )
    await db.execute(
        "INSERT INTO story_dependencies (project_id, story_id, depends_on)"
        " SELECT 'p', 'child-' || n, 'parent-' || m FROM generate_series(1, %s) n, generate_series(1, %s) m"
        " ORDER BY random()",
        [children, parents],
    )


async def _finish(db: Database, parent: int) -> list[str]:
    async with db.transaction() as connection:
        rows = await (
            await connection.execute("SELECT satisfy_dependency('p', %s) AS child", [f"parent-{parent}"])
        ).fetchall()
        return [row["child"] for row in rows]


@pytest.mark.parametrize("parents", [2, 6])
async def test_parents_that_finish_together_unblock_every_child_exactly_once(db: Database, parents: int) -> None:
    await _family(db, parents, 400)
    unblocked = await asyncio.gather(*(_finish(db, parent) for parent in range(1, parents + 1)))
    assert sorted(chain.from_iterable(unblocked)) == sorted(f"child-{number}" for number in range(1, 401))
    assert await db.fetch_all("SELECT DISTINCT dependencies_left AS n FROM stories") == [{"n": 0}]


async def test_a_parent_that_finishes_between_the_others_statements_misses_no_child(
    db: Database, eventually: Callable[..., Awaitable[Any]]
) -> None:
    await _family(db, 2, 100)

    async def waits() -> bool:
        return bool(await db.fetch_all("SELECT FROM pg_locks WHERE NOT granted"))

    async with db.transaction() as connection:
        await connection.execute("SELECT satisfy_dependency('p', 'parent-1')")
        second = asyncio.create_task(_finish(db, 2))
        await eventually(waits)
    assert len(await second) == 100


async def test_a_dependency_counts_once_and_a_rollback_counts_nothing(db: Database) -> None:
    await _family(db, 2, 3)
    async with db.pool.connection() as connection, connection.transaction(force_rollback=True):
        await connection.execute("SELECT satisfy_dependency('p', 'parent-1')")
    for _ in range(3):
        assert await _finish(db, 1) == []
    assert len(await _finish(db, 2)) == 3


# ---------------------------------------------------------------- checks


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE budget_windows SET spent_microusd = 60, reserved_microusd = 41",
        "UPDATE budget_windows SET reserved_microusd = -1",
        "UPDATE budget_windows SET cap_microusd = 99, spent_microusd = 100",
        "UPDATE stories SET priority = 0",
        "UPDATE stories SET dependencies_left = -1",
        "UPDATE runs SET progress = 101",
        "UPDATE decisions SET status = 'answered'",
        "UPDATE decisions SET answer = 'yes', answered_at = now()",
        "UPDATE reservations SET charged_microusd = 5",
        "UPDATE reservations SET status = 'settled'",
    ],
)
async def test_what_must_never_be_is_refused_by_the_database(db: Database, statement: Any) -> None:
    await _project(db)
    await _story(db, "S-1")
    await _run(db, "r1", "S-1")
    await db.execute("INSERT INTO budget_windows (project_id, scope, key, cap_microusd) VALUES ('p', 'day', 'd', 100)")
    await db.execute(
        "INSERT INTO decisions (id, project_id, story_id, run_id, key, kind, question, options)"
        " VALUES ('d', 'p', 'S-1', 'r1', 'k', 'agent', '?', '[]')"
    )
    await db.execute(
        "INSERT INTO reservations (id, project_id, run_id, story_id, model, amount_microusd, windows)"
        " VALUES ('x', 'p', 'r1', 'S-1', 'm', 5, '{1}')"
    )
    await db.execute("UPDATE budget_windows SET spent_microusd = 60, reserved_microusd = 40")
    with pytest.raises(errors.CheckViolation):
        await db.execute(statement)


# ---------------------------------------------------------------- the view


STATUSES: list[tuple[dict[str, Any], tuple[str, str] | None, str | None, tuple[str, str]]] = [
    # story columns, (run status, reason), pull request state, (status, reason)
    ({}, None, None, ("ready", "")),
    ({"file_status": "backlog"}, None, None, ("backlog", "")),
    ({"file_status": "parked"}, None, None, ("parked", "")),
    ({"file_status": "done"}, None, None, ("done", "")),
    ({"file_status": "done"}, ("failed", "x"), None, ("done", "")),
    ({"ordered_at": "2026-01-01"}, None, None, ("queued", "")),
    ({"problem": "two of them"}, None, None, ("invalid", "two of them")),
    ({"problem": "two of them", "file_status": "parked"}, None, None, ("invalid", "two of them")),
    ({"dependencies_left": 1}, None, None, ("blocked", "waits for A, B")),
    ({"dependencies_left": 1, "ordered_at": "2026-01-01"}, None, None, ("blocked", "waits for A, B")),
    ({"file_status": "parked", "dependencies_left": 1}, None, None, ("parked", "")),
    ({"skipped_at": "2026-01-01", "skip_reason": "no need"}, None, None, ("skipped", "no need")),
    ({}, ("queued", ""), None, ("queued", "")),
    ({}, ("running", ""), None, ("running", "")),
    ({"problem": "edited badly meanwhile"}, ("running", ""), None, ("running", "")),
    ({}, ("waiting", "a question"), None, ("waiting", "a question")),
    ({}, ("paused", "budget"), None, ("paused", "budget")),
    ({}, ("failed", "tests"), None, ("failed", "tests")),
    ({}, ("skipped", "not now"), None, ("skipped", "not now")),
    ({}, ("aborted", "stopped"), None, ("ready", "stopped")),
    ({"ordered_at": "2026-01-01"}, ("aborted", "stopped"), None, ("ready", "stopped")),
    ({}, ("succeeded", ""), "draft", ("in_review", "")),
    ({}, ("succeeded", ""), "local", ("in_review", "")),
    ({}, ("succeeded", ""), "merged", ("done", "")),
    ({}, ("succeeded", ""), "closed", ("skipped", "its pull request was closed")),
    ({}, ("running", ""), "closed", ("running", "")),  # retried after its pull request was closed
    ({"skipped_at": "2026-01-01"}, ("running", ""), None, ("skipped", "")),
]


@pytest.mark.parametrize(("story", "run", "pull", "expected"), STATUSES)
async def test_a_storys_status_follows_from_the_facts(
    db: Database,
    story: dict[str, Any],
    run: tuple[str, str] | None,
    pull: str | None,
    expected: tuple[str, str],
) -> None:
    await _project(db)
    await _story(db, "S-1", **story)
    if story.get("dependencies_left"):
        await db.execute(
            "INSERT INTO story_dependencies (project_id, story_id, depends_on, satisfied)"
            " VALUES ('p', 'S-1', 'B', false), ('p', 'S-1', 'A', false), ('p', 'S-1', 'C', true)"
        )
    if run:
        await _run(db, "r0", "S-1", "failed", attempt=1, reason="an earlier attempt")
        await _run(db, "r1", "S-1", run[0], attempt=2, reason=run[1])
    if pull:
        await db.execute(
            "INSERT INTO pull_requests (project_id, story_id, run_id, branch, base, head_sha, state, title)"
            " VALUES ('p', 'S-1', 'r1', 'b', 'main', 'sha', %s, 't')",
            [pull],
        )
    row = await db.fetch_one("SELECT status, reason FROM story_status")
    assert row is not None
    assert (row["status"], row["reason"]) == expected
    assert row["status"] in [member.value for member in model.StoryStatus]


def test_every_status_that_people_see_has_a_case() -> None:
    assert {status for *_, (status, _) in STATUSES} == {member.value for member in model.StoryStatus}
