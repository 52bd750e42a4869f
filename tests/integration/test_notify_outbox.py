"""The outbox's rules on a real database: once per fact, at least once per channel, one message per cause."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from auto_dev.model import Scope
from auto_dev.notify import facts, outbox
from auto_dev.notify.channel import Outgoing, Receipt, SendError
from auto_dev.notify.outbox import HOLD_S, LEASE_S, WINDOW_S, Deliverer, enqueue, problems
from auto_dev.notify.schedule import Quiet
from auto_dev.store.database import Database

pytestmark = pytest.mark.integration


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


class Recorder:
    """A channel that remembers; ``hook`` may raise or wait before a message counts as arrived."""

    def __init__(self, name: str = "slack", hook: Callable[[Outgoing], Any] | None = None) -> None:
        self.name = name
        self.hook = hook
        self.sent: list[Outgoing] = []

    async def send(self, message: Outgoing) -> Receipt:
        if self.hook is not None and (waiting := self.hook(message)) is not None:
            await waiting
        self.sent.append(message)
        return Receipt({"thread": f"t{len(self.sent)}"})

    async def check(self) -> str:
        return self.name

    async def close(self) -> None:
        pass

    @property
    def keys(self) -> list[str]:
        return [message.key for message in self.sent]


class CrashError(BaseException):
    """The process dies here."""


def failed(number: int) -> facts.Fact:
    return facts.run_failed(run_id=f"r{number}", story_id=f"S-{number}", story_title="T", reason="x")


def paused(number: int, cause: str = "budget:day:2026-02-09") -> facts.Fact:
    return facts.run_paused(
        run_id=f"r{number}", story_id=f"S-{number}", story_title="T", reason="no money", cause=cause, since="1"
    )


async def put(db: Database, *given: facts.Fact, channels: Sequence[str] = ("slack",), project: str = "todo") -> None:
    async with db.transaction() as conn:
        for fact in given:
            await enqueue(conn, project_id=project, channels=channels, **fact.row())


def delivering(db: Database, *channels: Recorder, clock: Clock | None = None) -> Deliverer:
    return Deliverer(db.pool, "todo", {c.name: c for c in channels}, clock or Clock(), chance=lambda: 0.0)


async def outstanding(db: Database) -> int:
    row = await db.fetch_one("SELECT count(*) AS n FROM outbox WHERE delivered_at IS NULL")
    assert row is not None
    return int(row["n"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_message_lives_and_dies_with_its_transaction(db: Database) -> None:
    async with db.pool.connection() as conn, conn.transaction(force_rollback=True):
        await enqueue(conn, project_id="todo", channels=["slack"], **failed(1).row())
    assert await outstanding(db) == 0


async def test_a_fact_stated_twice_is_one_message_per_channel(db: Database) -> None:
    slack, email = Recorder(), Recorder("email")
    deliverer = delivering(db, slack, email)
    await put(db, failed(1), failed(1), channels=["slack", "email", "slack"])
    assert await deliverer.deliver_due() == 2
    await put(db, failed(1), channels=["slack", "email"])
    assert await deliverer.deliver_due() == 0
    assert slack.keys == email.keys == ["run_failed:r1"]


async def test_mail_gets_only_what_is_urgent(db: Database) -> None:
    slack, email = Recorder(), Recorder("email")
    await put(db, failed(1), paused(1, cause=""), channels=["slack", "email"])
    await delivering(db, slack, email).deliver_due()
    assert len(slack.sent) == 2
    assert email.keys == ["run_failed:r1"]


async def test_another_projects_messages_are_left_alone(db: Database) -> None:
    await put(db, failed(1), project="other")
    assert await delivering(db, Recorder()).deliver_due() == 0


async def test_urgent_messages_go_first(db: Database) -> None:
    slack = Recorder()
    await put(db, paused(1, cause=""), paused(2, cause=""), failed(3))
    await delivering(db, slack).deliver_due()
    assert slack.keys == ["run_failed:r3", "run_paused:r1:1", "run_paused:r2:1"]


async def test_a_hundred_messages_of_one_cause_are_one(db: Database) -> None:
    slack, clock = Recorder(), Clock()
    deliverer = delivering(db, slack, clock=clock)
    for i in range(100):
        await put(db, paused(i))
        if i % 20 == 0:
            assert await deliverer.deliver_due() == 0, "others may still join"
    clock.forward(HOLD_S + 1)
    assert await deliverer.deliver_due() == 100
    (message,) = slack.sent
    assert len(message.items) == 100
    assert await outstanding(db) == 0


async def test_a_reached_limit_and_what_pauses_for_it_are_one_message(db: Database) -> None:
    slack, email, clock = Recorder(), Recorder("email"), Clock()
    cause = facts.budget_cause(Scope.DAY, "2026-02-09")
    reached = facts.budget_reached(scope=Scope.DAY, window="2026-02-09", spent_microusd=5, cap_microusd=5)
    await put(db, *(paused(i, cause) for i in range(12)), reached, channels=["slack", "email"])
    clock.forward(HOLD_S + 1)
    assert await delivering(db, slack, email, clock=clock).deliver_due() == 14
    assert slack.keys == email.keys == [reached.key]
    assert slack.sent[0].items[0].kind == "budget_alert"


async def test_stragglers_of_a_cause_come_as_one_when_its_window_ends(db: Database) -> None:
    slack, clock = Recorder(), Clock()
    deliverer = delivering(db, slack, clock=clock)
    await put(db, paused(0), paused(1, cause="other"))
    clock.forward(HOLD_S + 1)
    assert await deliverer.deliver_due() == 2
    for i in range(2, 8):
        await put(db, paused(i))
        clock.forward(HOLD_S + 1)
        assert await deliverer.deliver_due() == 0
    clock.forward(WINDOW_S)
    assert await deliverer.deliver_due() == 6
    assert [len(message.items) for message in slack.sent] == [1, 1, 6]


async def test_at_the_end_nothing_is_held_back(db: Database) -> None:
    slack = Recorder()
    deliverer = delivering(db, slack)
    await put(db, paused(0), paused(1))
    assert await deliverer.deliver_due() == 0
    assert await deliverer.deliver_due(flush=True) == 2
    await put(db, paused(2))
    assert await deliverer.deliver_due(flush=True) == 1
    assert [len(message.items) for message in slack.sent] == [2, 1]


async def test_a_failure_is_retried_later_each_time_and_recorded(db: Database) -> None:
    def fail(message: Outgoing) -> None:
        raise SendError("down")

    slack, clock = Recorder(hook=fail), Clock()
    deliverer = delivering(db, slack, clock=clock)
    await put(db, failed(1))
    waits = []
    for _ in range(12):
        assert await deliverer.deliver_due() == 0
        async with db.pool.connection() as conn:
            (problem,) = await problems(conn, "todo")
        assert problem.error == "down"
        assert problem.next_attempt_at is not None
        waits.append(round((problem.next_attempt_at - clock()).total_seconds()))
        clock.forward(waits[-1] + 1)
    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 1200, 1200, 1200, 1200]
    slack.hook = None
    assert await deliverer.deliver_due() == 1
    async with db.pool.connection() as conn:
        assert await problems(conn, "todo") == []


async def test_what_needs_a_person_is_a_problem_and_tried_again_after_a_start(db: Database) -> None:
    def fail(message: Outgoing) -> None:
        raise SendError("channel_not_found", permanent=True, whole_channel=True, mend="Check the name.")

    slack, clock = Recorder(hook=fail), Clock()
    await put(db, failed(1), failed(2))
    assert await delivering(db, slack, clock=clock).deliver_due() == 0
    async with db.pool.connection() as conn:
        found = await problems(conn, "todo")
    assert [(p.error, p.permanent, p.waiting) for p in found] == [("channel_not_found. Check the name.", True, 1)]
    clock.forward(3600)
    assert await delivering(db, slack, clock=clock).deliver_due() == 0
    slack.hook = None
    restarted, stop = delivering(db, slack, clock=clock), asyncio.Event()
    running = asyncio.create_task(restarted.run(stop))
    await until(lambda: len(slack.sent) == 2)
    stop.set()
    await running


async def test_a_channel_that_is_down_holds_up_neither_the_other_nor_its_own_queue(db: Database) -> None:
    calls: list[str] = []

    def fail(message: Outgoing) -> None:
        calls.append(message.key)
        raise SendError("down", whole_channel=True)

    slack, email, clock = Recorder(hook=fail), Recorder("email"), Clock()
    deliverer = delivering(db, slack, email, clock=clock)
    await put(db, *(failed(i) for i in range(10)), channels=["slack", "email"])
    assert await deliverer.deliver_due() == 10
    assert await deliverer.deliver_due() == 0
    assert len(calls) == 1, "one message is enough to see that a channel is down"
    slack.hook = None
    clock.forward(6)
    assert await deliverer.deliver_due() == 10


async def test_a_message_that_cannot_be_sent_does_not_hold_up_the_next(db: Database) -> None:
    def fail(message: Outgoing) -> None:
        if message.key == "run_failed:r1":
            raise SendError("too long", permanent=True)

    slack = Recorder(hook=fail)
    await put(db, failed(1), failed(2))
    assert await delivering(db, slack).deliver_due() == 1
    assert slack.keys == ["run_failed:r2"]


async def test_a_channel_that_hangs_is_given_up_and_its_message_unconfirmed(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "SEND_TIMEOUT_S", 0.05)
    slack, email, clock = Recorder(hook=lambda _: asyncio.Event().wait()), Recorder("email"), Clock()
    deliverer = delivering(db, slack, email, clock=clock)
    await put(db, failed(1), channels=["slack", "email"])
    assert await deliverer.deliver_due() == 1
    slack.hook = None
    clock.forward(6)
    assert await deliverer.deliver_due() == 1
    assert slack.sent[0].unconfirmed


async def test_a_defect_of_a_channel_is_kept_visible_and_stops_nothing(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: Outgoing) -> None:
        raise KeyError("secret words")

    await put(db, failed(1))
    with caplog.at_level(logging.CRITICAL):
        assert await delivering(db, Recorder(hook=fail)).deliver_due() == 0
    async with db.pool.connection() as conn:
        (problem,) = await problems(conn, "todo")
    assert problem.error == "internal error: KeyError"
    assert problem.permanent


async def test_what_was_delivered_in_part_is_a_problem_for_a_day(db: Database) -> None:
    class Half(Recorder):
        async def send(self, message: Outgoing) -> Receipt:
            await super().send(message)
            return Receipt({"accepted": ["a"]}, "b@example.com is refused: 550")

    await put(db, failed(1))
    assert await delivering(db, Half()).deliver_due() == 1
    async with db.pool.connection() as conn:
        (problem,) = await problems(conn, "todo")
    assert problem.waiting == 0
    assert "b@example.com" in problem.error


async def test_a_channel_that_nobody_delivers_any_more_is_a_problem(db: Database) -> None:
    await put(db, failed(1), channels=["pager"])
    async with db.pool.connection() as conn:
        assert await problems(conn, "todo") == []
        await conn.execute("UPDATE outbox SET created_at = now() - interval '2 hours'")
        (problem,) = await problems(conn, "todo")
    assert (problem.channel, problem.waiting) == ("pager", 1)


async def test_what_a_former_attempt_reached_is_told_to_the_next(db: Database) -> None:
    def fail(message: Outgoing) -> None:
        if not message.earlier.get("accepted"):
            raise SendError("greylisted", reached={"accepted": ["a@example.com"]})

    slack, clock = Recorder(hook=fail), Clock()
    deliverer = delivering(db, slack, clock=clock)
    await put(db, failed(1))
    await deliverer.deliver_due()
    clock.forward(6)
    assert await deliverer.deliver_due() == 1
    assert slack.sent[0].earlier["accepted"] == ["a@example.com"]


async def test_a_crash_after_sending_sends_again_as_unconfirmed_with_the_same_key(db: Database) -> None:
    def die(message: Outgoing) -> None:
        raise CrashError

    slack, clock = Recorder(hook=die), Clock()
    await put(db, failed(1))
    with pytest.raises(CrashError):
        await delivering(db, slack, clock=clock).deliver_due()
    slack.hook = None
    restarted = delivering(db, slack, clock=clock)
    assert await restarted.deliver_due() == 0
    clock.forward(LEASE_S + 1)
    assert await restarted.deliver_due() == 1
    assert slack.sent[0].unconfirmed
    assert slack.keys == ["run_failed:r1"]


async def test_cancelling_while_sending_loses_nothing(db: Database) -> None:
    reached = asyncio.Event()

    def hang(message: Outgoing) -> Any:
        reached.set()
        return asyncio.Event().wait()

    slack, clock = Recorder(hook=hang), Clock()
    await put(db, failed(1))
    running = asyncio.create_task(delivering(db, slack, clock=clock).run(asyncio.Event()))
    await asyncio.wait_for(reached.wait(), 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    slack.hook = None
    clock.forward(LEASE_S + 1)
    assert await delivering(db, slack, clock=clock).deliver_due() == 1


async def test_a_late_failure_does_not_undo_what_a_later_owner_did(db: Database) -> None:
    clock, other = Clock(), Recorder()

    async def overtaken() -> None:
        clock.forward(LEASE_S + 1)
        assert await delivering(db, other, clock=clock).deliver_due() == 1
        raise SendError("too late")

    await put(db, failed(1))
    assert await delivering(db, Recorder(hook=lambda _: overtaken()), clock=clock).deliver_due() == 0
    assert await outstanding(db) == 0
    async with db.pool.connection() as conn:
        assert await problems(conn, "todo") == []


async def test_a_late_failure_does_not_free_what_a_later_owner_is_sending(db: Database) -> None:
    clock, reached, release = Clock(), asyncio.Event(), asyncio.Event()
    tasks: list[asyncio.Task[int]] = []

    async def sending() -> None:
        reached.set()
        await release.wait()

    async def overtaken() -> None:
        clock.forward(LEASE_S + 1)
        other = delivering(db, Recorder(hook=lambda _: sending()), clock=clock)
        tasks.append(asyncio.create_task(other.deliver_due()))
        await asyncio.wait_for(reached.wait(), 10)
        raise SendError("too late")

    await put(db, failed(1))
    assert await delivering(db, Recorder(hook=lambda _: overtaken()), clock=clock).deliver_due() == 0
    clock.forward(60)
    assert await delivering(db, Recorder(), clock=clock).deliver_due() == 0
    release.set()
    assert await tasks[0] == 1


async def test_what_shares_a_cause_with_a_message_under_way_waits(db: Database) -> None:
    clock, third = Clock(), Recorder()

    async def meanwhile() -> None:
        await put(db, paused(2))
        clock.forward(HOLD_S + 1)
        assert await delivering(db, third, clock=clock).deliver_due() == 0

    await put(db, paused(1))
    clock.forward(HOLD_S + 1)
    assert await delivering(db, Recorder(hook=lambda _: meanwhile()), clock=clock).deliver_due() == 1
    assert third.sent == []


async def test_an_unconfirmed_group_is_not_joined_with_newer_messages(db: Database) -> None:
    def fail(message: Outgoing) -> None:
        raise SendError("no answer", unconfirmed=True, retry_after=1000)

    slack, clock = Recorder(hook=fail), Clock()
    deliverer = delivering(db, slack, clock=clock)
    await put(db, paused(0), paused(1))
    clock.forward(HOLD_S + 1)
    assert await deliverer.deliver_due() == 0
    slack.hook = None
    await put(db, paused(2))
    clock.forward(HOLD_S + 1)
    assert await deliverer.deliver_due() == 1
    clock.forward(1000)
    assert await deliverer.deliver_due() == 2
    assert [(message.key, len(message.items), message.unconfirmed) for message in slack.sent] == [
        ("run_paused:r2:1", 1, False),
        ("run_paused:r0:1", 2, True),
    ]


async def test_several_deliverers_send_each_message_once(db: Database) -> None:
    slack, clock = Recorder(), Clock()
    await put(db, *(failed(i) for i in range(30)), *(paused(i) for i in range(30)))
    clock.forward(HOLD_S + 1)
    counts = await asyncio.gather(*(delivering(db, slack, clock=clock).deliver_due() for _ in range(6)))
    assert sum(counts) == 60
    assert sorted(slack.keys) == sorted({*slack.keys})
    assert len(slack.sent) == 31


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_fails_or_dies_everything_arrives_in_the_end(db: Database, seed: int) -> None:
    chance = random.Random(seed)

    def trouble(message: Outgoing) -> None:
        match chance.randrange(6):
            case 0:
                raise CrashError
            case 1:
                raise SendError("down", whole_channel=True, unconfirmed=chance.random() < 0.5)
            case 2:
                raise SendError("refused", permanent=chance.random() < 0.3)

    slack, clock = Recorder(hook=trouble), Clock()
    deliverer = delivering(db, slack, clock=clock)
    await put(db, *(failed(i) for i in range(6)), *(paused(i, cause=f"c{i % 2}") for i in range(6)))
    for _ in range(300):
        try:
            await deliverer.deliver_due()
        except CrashError:
            deliverer = delivering(db, slack, clock=clock)
        if await outstanding(db) == 0:
            break
        clock.forward(3600)
    assert await outstanding(db) == 0
    told = [item.payload["story_id"] for message in slack.sent for item in message.items]
    assert len(told) == 12, "nothing was recorded twice"


async def test_run_delivers_at_once_when_woken_and_stops(db: Database) -> None:
    slack, stop = Recorder(), asyncio.Event()
    deliverer = delivering(db, slack)
    running = asyncio.create_task(deliverer.run(stop))
    for i in range(3):
        await put(db, failed(i))
        deliverer.wake()
        await until(lambda: len(slack.sent) == i + 1)  # noqa: B023 (awaited before the next turn)
    stop.set()
    await asyncio.wait_for(running, 2)


async def test_run_rests_after_it_was_woken(db: Database) -> None:
    slack, stop, restless = Recorder(), asyncio.Event(), asyncio.Event()
    calls = 0

    def clock() -> datetime:
        nonlocal calls
        calls += 1
        if calls > 50:
            restless.set()
        return datetime.now(UTC)

    deliverer = Deliverer(db.pool, "todo", {"slack": slack}, clock)
    deliverer.wake()
    await put(db, failed(1))
    running = asyncio.create_task(deliverer.run(stop))
    await until(lambda: len(slack.sent) == 1)
    deliverer.wake()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(restless.wait(), 0.5)
    stop.set()
    await running


async def test_run_waits_for_a_database_that_is_away(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "POLL_S", 0.02)
    slack, stop = Recorder(), asyncio.Event()
    await put(db, failed(1))
    async with db.pool.connection() as conn:
        await conn.execute("ALTER TABLE outbox RENAME TO away")
        running = asyncio.create_task(delivering(db, slack).run(stop))
        await until(lambda: any("cannot be read" in record.message for record in caplog.records))
        await conn.execute("ALTER TABLE away RENAME TO outbox")
    await until(lambda: len(slack.sent) == 1)
    stop.set()
    await running


async def test_an_answered_question_is_not_asked_any_more(db: Database) -> None:
    async with db.transaction() as conn:
        await conn.execute("INSERT INTO projects (id, root, state_dir) VALUES ('todo', '/', '/')")
        await conn.execute(
            "INSERT INTO stories (project_id, id, title, path, file_status, spec, digest)"
            " VALUES ('todo', 'S-1', 'T', 'p', 'ready', '{}', '')"
        )
        await conn.execute(
            "INSERT INTO runs (id, project_id, story_id, attempt, graph_version, policy, branch, base_branch)"
            " VALUES ('r1', 'todo', 'S-1', 1, '', '{}', 'b', 'main')"
        )
        for decision in ("d-open", "d-closed"):
            await conn.execute(
                "INSERT INTO decisions (id, project_id, story_id, run_id, key, kind, question, options)"
                " VALUES (%s, 'todo', 'S-1', 'r1', %s, 'gate', 'Q', %s)",
                (decision, decision, Jsonb([{"id": "a", "label": "A"}])),
            )
        await conn.execute(
            "UPDATE decisions SET status = 'answered', answer = 'a', answered_at = now() WHERE id = 'd-closed'"
        )
    prompts = [
        facts.decision_opened(
            decision_id=decision, story_id="S-1", story_title="T", question="Q", why="", evidence=[],
            options=[{"id": "a", "label": "A"}],
        )
        for decision in ("d-open", "d-closed")
    ]  # fmt: skip
    slack = Recorder()
    await put(db, *prompts)
    assert await delivering(db, slack).deliver_due() == 1
    assert slack.keys == ["decision:d-open"]
    assert await outstanding(db) == 0


def night(clock: Clock, *, hours: float = 8.0) -> Callable[[datetime], Quiet]:
    """Quiet hours that began a minute ago."""
    began = clock() - timedelta(minutes=1)
    ended = began + timedelta(hours=hours)
    return lambda now: Quiet(True, began) if now < ended else Quiet(False, began, ended)


async def test_in_quiet_hours_only_what_cannot_wait_is_sent(db: Database) -> None:
    slack, clock = Recorder(), Clock()
    deliverer = Deliverer(db.pool, "todo", {"slack": slack}, clock, quiet=night(clock))
    await put(db, failed(1), failed(2), paused(3, cause=""), facts.panic(reason="x", by="me", since="1"))
    await deliverer.deliver_due()
    assert slack.keys == ["panic:1"]
    clock.forward(8 * 3600)
    await deliverer.deliver_due()
    assert sorted(slack.keys[1:]) == ["run_failed:r1", "run_failed:r2", "run_paused:r3:1"], "one each, in its thread"


async def test_what_the_night_held_is_one_mail_in_the_morning(db: Database) -> None:
    email, clock = Recorder("email"), Clock()
    deliverer = Deliverer(db.pool, "todo", {"email": email}, clock, quiet=night(clock))
    await put(db, *(failed(number) for number in range(10)), channels=["email"])
    assert await deliverer.deliver_due() == 0
    clock.forward(8 * 3600)
    assert await deliverer.deliver_due() == 10
    (mail,) = email.sent
    assert len(mail.items) == 10
    await put(db, failed(11), failed(12), channels=["email"])
    clock.forward(1)
    await db.execute("UPDATE outbox SET created_at = now() + interval '9 hours' WHERE delivered_at IS NULL")
    assert await deliverer.deliver_due() == 2
    assert len(email.sent) == 3, "by day each has its own mail"


async def test_a_held_mail_that_was_cut_off_comes_again_as_the_same(db: Database) -> None:
    email, clock = Recorder("email"), Clock()
    deliverer = Deliverer(db.pool, "todo", {"email": email}, clock, quiet=night(clock))
    await put(db, failed(1), failed(2), channels=["email"])
    clock.forward(8 * 3600)

    def die(_: Outgoing) -> None:
        raise CrashError

    email.hook = die
    with pytest.raises(CrashError):
        await deliverer.deliver_due()
    email.hook = None
    clock.forward(LEASE_S + 1)
    await put(db, failed(3), channels=["email"])  # too late for the first mail
    await deliverer.deliver_due()
    assert len(email.sent[0].items) == 2
    assert email.sent[0].unconfirmed


async def test_a_daemon_that_ends_leaves_nothing_unsaid_for_the_night(db: Database) -> None:
    slack, clock = Recorder(), Clock()
    deliverer = Deliverer(db.pool, "todo", {"slack": slack}, clock, quiet=night(clock))
    await put(db, failed(1))
    assert await deliverer.deliver_due() == 0
    assert await deliverer.deliver_due(flush=True) == 1


async def test_the_summary_comes_when_its_owner_wanted_it(db: Database) -> None:
    slack, clock = Recorder(), Clock()
    await put(db, facts.Fact("summary:1", "summary", {}))
    assert await Deliverer(db.pool, "todo", {"slack": slack}, clock, quiet=night(clock)).deliver_due() == 1
