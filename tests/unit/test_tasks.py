"""A task that swallows a cancellation ends all the same."""

from __future__ import annotations

import asyncio

import pytest

from auto_dev.tasks import alone, end_tasks

pytestmark = pytest.mark.unit


async def _stubborn(swallows: int) -> None:
    """A loop that loses its first cancellations, as one around a pool of connections may."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if swallows == 0:
                raise
            swallows -= 1


async def test_a_swallowed_cancellation_is_repeated() -> None:
    tasks = [asyncio.create_task(_stubborn(n)) for n in range(4)]
    await asyncio.sleep(0)
    await asyncio.wait_for(end_tasks(*tasks, again_s=0.001), 5)
    assert all(task.cancelled() for task in tasks)


async def test_cancelling_the_wait_waits_on_and_passes_the_cancellation_on() -> None:
    ended = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await ended.wait()

    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(end_tasks(task, again_s=60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    ended.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert task.cancelled()


async def test_errors_of_ended_tasks_are_seen() -> None:
    async def fails() -> None:
        raise ValueError("known")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await end_tasks(task)
    assert isinstance(task.exception(), ValueError)


def test_a_program_ends_though_it_left_a_task_that_swallows_cancellations() -> None:
    async def program() -> int:
        left = asyncio.create_task(_stubborn(2))
        await asyncio.sleep(0)
        assert not left.done()
        return 7

    assert asyncio.run(alone(program())) == 7  # without it: never
