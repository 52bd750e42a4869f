"""Who is woken when money comes back, and what goes into one batch."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from auto_dev.budget.batch import LARGEST, Batches, Op, Room

pytestmark = pytest.mark.unit


async def woken(room: Room, freed: list[int], *waiting: tuple[int, int]) -> list[bool]:
    """Which of those who wait (for what they lack, and want) are woken by what comes back."""
    tasks = [asyncio.create_task(room.wait(lacking, wanted, 60)) for lacking, wanted in waiting]
    await asyncio.sleep(0)
    for amount in freed:
        room.freed(amount)
    for _ in range(5):
        await asyncio.sleep(0)
    result = [task.done() for task in tasks]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return result


@pytest.mark.parametrize(
    ("freed", "expected"),
    [
        ([9], [False, False, False]),  # the first lacks ten
        ([10], [True, False, False]),  # and takes all of it
        ([20], [True, True, False]),
        ([25], [True, True, True]),  # the rest may be enough with what there was
        ([4, 6], [True, False, False]),  # it comes in pieces
        ([5, -5, 6], [False, False, False]),  # a cost beyond its reservation took room instead
        ([0], [False, False, False]),
    ],
)
async def test_those_who_came_first_are_woken_as_far_as_it_goes(freed: list[int], expected: list[bool]) -> None:
    assert await woken(Room(), freed, (10, 10), (10, 10), (10, 10)) == expected


async def test_what_a_large_request_lacks_still_does_not_keep_small_ones_waiting() -> None:
    assert await woken(Room(), [20], (100, 100), (1, 10), (20, 30)) == [False, True, True]


async def test_who_no_longer_waits_is_forgotten() -> None:
    room = Room()
    await room.wait(10, 10, 0.001)
    room.freed(10)
    assert await woken(room, [10], (10, 10)) == [True]


class Pool:
    """A pool whose connection says what was sent with it."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.closed = False

    def connection(self) -> Pool:
        return self

    async def __aenter__(self) -> Pool:
        return self

    async def __aexit__(self, *_: object) -> None: ...


async def test_a_batch_is_what_waits_with_no_reservation_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()

    async def send(_self: Batches, conn: Any, ops: list[Op]) -> None:
        conn.batches.append([op.id for op in ops])
        await asyncio.sleep(0)
        for op in ops:
            op.done.set_result({})

    monkeypatch.setattr(Batches, "_send", send)
    batches = Batches(pool, "p", lambda _: None)  # type: ignore[arg-type]

    def op(name: str) -> Op:
        return Op("settle", name, datetime(2026, 2, 10, tzinfo=UTC))

    await batches.answer(op("lone"))
    await asyncio.gather(*(batches.answer(op(name)) for name in ("a", "b", "a", "c", "a", "b")))
    taken_back = op("x")
    batches.add(taken_back)
    assert batches.take_back(taken_back)
    assert not batches.take_back(taken_back)
    await asyncio.gather(*(batches.answer(op(str(number))) for number in range(LARGEST + 1)))
    assert [len(batch) for batch in pool.batches[4:]] == [LARGEST, 1]
    assert pool.batches[:4] == [["lone"], ["a", "b", "c"], ["a", "b"], ["a"]]


async def test_a_flusher_that_is_ended_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_self: Batches, _conn: Any, _ops: list[Op]) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(Batches, "_send", hang)
    batches = Batches(Pool(), "p", lambda _: None)  # type: ignore[arg-type]
    first, second = (Op("settle", name, datetime(2026, 2, 10, tzinfo=UTC)) for name in "ab")
    on_wire = asyncio.create_task(batches.answer(first))
    for _ in range(5):
        await asyncio.sleep(0)
    queued = asyncio.create_task(batches.answer(second))
    await asyncio.sleep(0)
    assert batches._flusher is not None
    batches._flusher.cancel()
    await asyncio.wait([on_wire, queued], timeout=5)
    assert on_wire.cancelled()
    assert queued.cancelled()
