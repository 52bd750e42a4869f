"""The fenced saver: real graphs, real checkpoints, real stale owners."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from auto_dev.errors import StaleLeaseError
from auto_dev.store.database import Database
from auto_dev.store.saver import FencedSaver, delete_threads, prune_finished
from auto_dev.stories.model import Problem

pytestmark = pytest.mark.integration


CHECKPOINT = "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint) VALUES ('r1', 'c', '{}')"
WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class State(TypedDict, total=False):
    count: int
    notes: list[str]
    answer: str


async def _lease(db: Database, epoch: int = 1, story: str = "S-1") -> None:
    await db.execute(
        "INSERT INTO leases (project_id, story_id, owner, epoch) VALUES ('p', %s, 'd', %s)"
        " ON CONFLICT (project_id, story_id) DO UPDATE SET epoch = excluded.epoch",
        [story, epoch],
    )


def _graph(saver: FencedSaver, ask: bool = False) -> Any:
    async def work(state: State) -> State:
        return {"count": state.get("count", 0) + 1, "notes": ["ä", "\U0001f600"]}

    async def question(_: State) -> State:
        return {"answer": interrupt("which?")}

    builder: Any = StateGraph(State)
    builder.add_node("work", work)
    builder.add_node("question", question)
    builder.add_edge(START, "work")
    builder.add_edge("work", "question" if ask else END)
    builder.add_edge("question", END)
    return builder.compile(checkpointer=saver)


def _thread(name: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}


async def test_a_run_is_checkpointed_and_another_saver_resumes_it(db: Database) -> None:
    await _lease(db, 1)
    stopped = await _graph(FencedSaver(db.checkpoints, "p", "S-1", 1), ask=True).ainvoke(
        {"count": 1}, _thread("r1"), durability="sync"
    )
    assert stopped["__interrupt__"][0].value == "which?"
    await _lease(db, 2)
    saver = FencedSaver(db.checkpoints, "p", "S-1", 2)
    result = await _graph(saver, ask=True).ainvoke(Command(resume="this"), _thread("r1"), durability="sync")
    assert result == {"count": 2, "notes": ["ä", "\U0001f600"], "answer": "this"}
    assert [t.config["configurable"]["thread_id"] async for t in saver.alist(None, limit=1)] == ["r1"]


async def test_a_stale_owner_writes_nothing(db: Database) -> None:
    await _lease(db, 1)
    graph = _graph(FencedSaver(db.checkpoints, "p", "S-1", 1))
    await graph.ainvoke({"count": 1}, _thread("r1"), durability="sync")
    before = await _stored(db)
    await _lease(db, 2)
    with pytest.raises(StaleLeaseError, match="S-1"):
        await graph.ainvoke({"count": 5}, _thread("r1"), durability="sync")
    assert await _stored(db) == before


async def test_no_lease_at_all_is_stale(db: Database) -> None:
    with pytest.raises(StaleLeaseError):
        await _graph(FencedSaver(db.checkpoints, "p", "nobody's", 1)).ainvoke({}, _thread("r1"), durability="sync")
    assert await _stored(db) == (0, 0, 0)


async def test_a_write_that_began_in_time_holds_off_the_new_owner_until_its_commit(
    db: Database, eventually: Callable[..., Awaitable[Any]]
) -> None:
    await _lease(db, 1)
    saver = FencedSaver(db.checkpoints, "p", "S-1", 1)
    async with saver._cursor(pipeline=True) as cursor:
        takeover = asyncio.create_task(_lease(db, 2))
        await eventually(lambda: db.fetch_all(WAITING))
        assert not takeover.done()
        await cursor.execute(CHECKPOINT)
    await takeover
    assert (await _stored(db))[0] == 1
    with pytest.raises(StaleLeaseError):
        async with saver._cursor(pipeline=True):
            pass


async def test_a_failed_write_leaves_nothing_behind(db: Database) -> None:
    await _lease(db, 1)
    saver = FencedSaver(db.checkpoints, "p", "S-1", 1)

    async def fail_halfway() -> None:
        async with saver._cursor(pipeline=True) as cursor:
            await cursor.execute(CHECKPOINT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_halfway()
    assert await _stored(db) == (0, 0, 0)


async def test_many_runs_write_at_once_through_few_connections(db: Database) -> None:
    async def run(number: int) -> dict[str, Any]:
        await _lease(db, 1, f"S-{number}")
        graph = _graph(FencedSaver(db.checkpoints, "p", f"S-{number}", 1))
        result: dict[str, Any] = await graph.ainvoke({"count": number}, _thread(f"r{number}"), durability="sync")
        return result

    results = await asyncio.gather(*(run(number) for number in range(30)))
    assert [result["count"] for result in results] == list(range(1, 31))


async def test_an_object_of_a_class_outside_the_safe_list_is_never_rebuilt(db: Database) -> None:
    stored = JsonPlusSerializer().dumps_typed(Problem(level="error", path="p", message="m"))
    assert isinstance(JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(stored), Problem)
    assert not isinstance(FencedSaver(db.checkpoints, "p", "S-1", 1).serde.loads_typed(stored), Problem)


async def test_deleted_threads_leave_no_row_and_others_stay(db: Database) -> None:
    for name in ("S-1", "S-2"):
        await _lease(db, 1, name)
        saver = FencedSaver(db.checkpoints, "p", name, 1)
        await _graph(saver, ask=True).ainvoke({"count": 1}, _thread(name), durability="sync")
    kept = tuple(number // 2 for number in await _stored(db))
    assert await delete_threads(db.checkpoints, ["S-1", "unknown"]) == sum(kept)
    assert await _stored(db) == kept
    assert await delete_threads(db.checkpoints, []) == 0


async def test_only_threads_of_runs_that_ended_long_ago_are_pruned(db: Database) -> None:
    await db.execute("INSERT INTO projects (id, root, state_dir) VALUES ('p', '/r', '/s')")
    for name, ended in (("old", "10 days"), ("recent", "1 day"), ("active", None)):
        await db.execute(
            "INSERT INTO stories (project_id, id, title, path, file_status, spec, digest)"
            " VALUES ('p', %s, 't', 'x', 'ready', '{}', '')",
            [name],
        )
        await db.execute(
            "INSERT INTO runs (id, project_id, story_id, attempt, graph_version, policy, branch, base_branch, ended_at)"
            " VALUES (%s, 'p', %s, 1, '1', '{}', 'b', 'main', now() - %s::interval)",
            [name, name, ended],
        )
        await _lease(db, 1, name)
        await _graph(FencedSaver(db.checkpoints, "p", name, 1)).ainvoke({}, _thread(name), durability="sync")
    assert await prune_finished(db.checkpoints, keep_days=7) == 1
    assert await prune_finished(db.checkpoints, keep_days=7) == 0
    left = await db.fetch_all("SELECT DISTINCT thread_id FROM auto_dev_checkpoints.checkpoints ORDER BY 1")
    assert [row["thread_id"] for row in left] == ["active", "recent"]


async def _stored(db: Database) -> tuple[int, int, int]:
    row = await db.fetch_one(
        "SELECT (SELECT count(*) FROM auto_dev_checkpoints.checkpoints) AS checkpoints,"
        " (SELECT count(*) FROM auto_dev_checkpoints.checkpoint_blobs) AS blobs,"
        " (SELECT count(*) FROM auto_dev_checkpoints.checkpoint_writes) AS writes"
    )
    assert row is not None
    return row["checkpoints"], row["blobs"], row["writes"]
