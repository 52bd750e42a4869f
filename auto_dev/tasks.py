"""Ending asyncio tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

AGAIN_S = 0.5


async def end_tasks(*tasks: asyncio.Task[Any], again_s: float = AGAIN_S) -> None:
    """Cancel the tasks, again and again, until they have really ended; their errors count as seen.

    Once is not enough: `asyncio.wait_for` of Python 3.11 swallows a cancellation that meets the answer, and it sits
    inside psycopg's pool, so that a loop around a query goes on as if nothing had been asked of it. The waiting itself
    may be cancelled as often as one likes; it is passed on when the tasks are gone.
    """
    cancelled = False
    while running := {task for task in tasks if not task.done()}:
        for task in running:
            task.cancel()
        try:
            await asyncio.wait(running, timeout=again_s)
        except asyncio.CancelledError:
            cancelled = True
    for task in tasks:
        if not task.cancelled():
            task.exception()
    if cancelled:
        raise asyncio.CancelledError


async def alone(work: Coroutine[Any, Any, T]) -> T:
    """The whole of a program: ``work``, and then the end of every task that it left, whatever it did with it.

    `asyncio.run` cancels what is left once and waits for ever: a pool of connections of a library, closed while it was
    still opening, may leave a task that loses just this cancellation.
    """
    try:
        return await work
    finally:
        me = asyncio.current_task()
        while others := [task for task in asyncio.all_tasks() if task is not me]:
            await end_tasks(*others)
