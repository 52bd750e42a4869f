"""What the ledger knows for estimates: finished stories, how estimates fared, what a minute usually costs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from auto_dev.budget.estimate import accuracy, estimate
from auto_dev.budget.ledger import BudgetLimits, Ledger
from auto_dev.store.database import Database
from auto_dev.store.events import emit
from auto_dev.stories.model import Story

pytestmark = pytest.mark.integration

PROJECT = "todo"
LIMITS = BudgetLimits(day=10**9, week=10**9, story=10**9, timezone="Europe/Berlin")
NOON = datetime(2026, 2, 10, 12, tzinfo=UTC)


class World:
    """A project whose stories were worked on by agents of a kind."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.now = NOON
        self.ledger = Ledger(db.pool, PROJECT, lambda: self.now)

    async def story(self, story: str, hours: float | None = None, tags: tuple[str, ...] = ("api",)) -> None:
        await self.db.execute(
            """INSERT INTO stories (project_id, id, title, path, tags, file_status, spec, digest)
               VALUES (%s, %s, '', '', %s, 'ready', %s::jsonb, '')""",
            [PROJECT, story, list(tags), json.dumps({"estimate_hours": hours})],
        )

    async def run(self, story: str, attempt: int, status: str, agent: str = "chat") -> str:
        run = f"{story}-{attempt}"
        await self.db.execute(
            """INSERT INTO runs (id, project_id, story_id, attempt, status, graph_version, policy, branch, base_branch)
               VALUES (%s, %s, %s, %s, %s::run_status, '', %s::jsonb, '', '')""",
            [run, PROJECT, story, attempt, status, json.dumps({"config": {"agent": {"kind": agent}}})],
        )
        return run

    async def spend(self, run: str, *costs: int) -> None:
        """One request a minute."""
        for cost in costs:
            taken = await self.ledger.reserve(run, run.partition("-")[0], "m", cost, LIMITS)
            await self.ledger.settle(taken.id, cost)
            self.now += timedelta(minutes=1)

    async def expect(self, run: str, low: int | None, high: int | None) -> None:
        async with self.db.transaction() as conn:
            await emit(conn, PROJECT, "RUN_ESTIMATED", story=run.partition("-")[0], run=run, low_microusd=low,
                       high_microusd=high, basis="")  # fmt: skip


@pytest.fixture
async def world(db: Database) -> World:
    await db.execute("INSERT INTO projects (id, root, state_dir) VALUES (%s, '', '')", [PROJECT])
    return World(db)


async def test_finished_stories_are_the_history_with_their_agent_even_if_they_cost_nothing(world: World) -> None:
    for story, status, cost in (("A", "succeeded", 70), ("B", "failed", 70), ("C", "succeeded", 0), ("D", "paused", 7)):
        await world.story(story, 1.5 if story == "A" else None)
        await world.spend(await world.run(story, 1, status, f"agent-{story}"), cost)
    await world.story("E")  # finished by an agent that never came near a model
    await world.run("E", 1, "succeeded", "command")
    await world.spend(await world.run("B", 2, "succeeded", "codex"), 30)
    found = {run.story_id: run for run in await world.ledger.finished_runs()}
    assert list(found) == ["A", "C", "E", "B"]
    assert (found["A"].cost_microusd, found["A"].estimate_hours, found["A"].tags) == (70, 1.5, ("api",))
    assert (found["B"].cost_microusd, found["B"].agent) == (100, "codex")
    assert [(found[story].cost_microusd, found[story].agent) for story in "CE"] == [(0, "agent-C"), (0, "command")]
    said = estimate([Story(id="N", title="n", path="n.md")], await world.ledger.finished_runs()).basis
    assert "4 finished stories" in said


async def test_an_estimate_is_compared_with_what_its_story_cost_in_all(world: World) -> None:
    for story in "ABC":
        await world.story(story)
    failed = await world.run("A", 1, "failed")
    await world.expect(failed, 10, 20)
    await world.spend(failed, 40)
    await world.ledger.score(failed)
    assert await world.ledger.estimates() == []  # nothing is finished yet
    ended = await world.run("A", 2, "succeeded")
    await world.expect(ended, 1, 2)
    await world.expect(ended, 30, 50)  # its node ran a second time
    await world.spend(ended, 5)
    await world.ledger.score(ended)
    without = await world.run("B", 1, "succeeded")
    await world.expect(without, None, None)
    await world.ledger.score(without)
    never = await world.run("C", 1, "succeeded")
    await world.ledger.score(never)
    kept = await world.ledger.estimates()
    assert [(one.run_id, one.low, one.high, one.cost_microusd, one.inside) for one in kept] == [
        ("A-2", 30, 50, 45, True), ("B-1", None, None, 0, None), ("C-1", None, None, 0, None)
    ]  # fmt: skip
    assert accuracy(kept).line == "the last estimate held, the cost was 1.1 times their middle in the median"
    assert len(await world.ledger.estimates(limit=2)) == 2


async def test_scoring_again_replaces_and_can_be_part_of_a_transaction(world: World, db: Database) -> None:
    await world.story("A")
    run = await world.run("A", 1, "succeeded")
    await world.expect(run, 10, 20)
    await world.spend(run, 15)
    async with db.pool.connection() as conn, conn.transaction(force_rollback=True):
        await world.ledger.score(run, conn)
    assert await world.ledger.estimates() == []
    for more in (0, 10):
        await world.spend(run, more)
        await world.ledger.score(run)
        assert [one.cost_microusd for one in await world.ledger.estimates()] == [15 + more]
    await world.ledger.score("unknown")
    other = Ledger(db.pool, "other", lambda: NOON)
    await other.score(run)
    assert await other.estimates() == []


async def test_what_a_minute_usually_costs_is_known_after_three_runs_and_ten_minutes(world: World) -> None:
    assert await world.ledger.usual_per_minute() is None
    for story, status, costs in (
        ("A", "succeeded", [10] * 8 + [100, 900]), ("B", "succeeded", [50, 60]), ("C", "failed", [10**6] * 20),
    ):  # fmt: skip
        await world.story(story)
        run = await world.run(story, 1, status)
        await world.spend(run, *costs)
        await world.ledger.score(run)
    assert await world.ledger.usual_per_minute() is None
    await world.story("D")
    run = await world.run("D", 1, "succeeded")
    await world.spend(run, 20, 30)
    await world.ledger.score(run)
    assert await world.ledger.usual_per_minute() == 60  # of 100, 60 and 30
    world.now += timedelta(days=14)
    assert await world.ledger.usual_per_minute() is None
    assert await world.ledger.usual_per_minute(days=30) == 60


async def test_requests_of_one_minute_are_added_up(world: World) -> None:
    for story in "ABC":
        await world.story(story)
        run = await world.run(story, 1, "succeeded")
        for _ in range(4):
            for _request in range(3):
                taken = await world.ledger.reserve(run, story, "m", 10, LIMITS)
                await world.ledger.settle(taken.id, 7)
            world.now += timedelta(minutes=1)
        await world.ledger.score(run)
    assert await world.ledger.usual_per_minute() == 21


async def test_runs_that_cost_nothing_do_not_make_everything_unusual(world: World) -> None:
    for story in "ABCD":
        await world.story(story)
        run = await world.run(story, 1, "succeeded")
        await world.spend(run, *[0] * 10)
        await world.ledger.score(run)
    assert await world.ledger.usual_per_minute() is None


async def test_what_a_run_has_spent_today_begins_at_the_projects_midnight(world: World) -> None:
    await world.story("A")
    run = await world.run("A", 1, "running")
    world.now = datetime(2026, 2, 10, 22, 58, tzinfo=UTC)
    await world.spend(run, 10)
    late = await world.ledger.reserve(run, "A", "m", 5, LIMITS)
    assert await world.ledger.spent_today(run, LIMITS) == 10
    world.now = datetime(2026, 2, 10, 23, tzinfo=UTC)
    assert await world.ledger.spent_today(run, LIMITS) == 0
    await world.ledger.settle(late.id, 5)
    await world.spend(run, 7, 8)
    assert await world.ledger.spent_today(run, LIMITS) == 15
    assert await world.ledger.spent_today("other", LIMITS) == 0
    assert await world.ledger.cost_of_run(run) == 30
