"""Ending asyncio tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any

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
