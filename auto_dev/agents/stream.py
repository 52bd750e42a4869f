"""An agent's work as a stream: progress while it goes on, its result last."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from auto_dev.agents.base import AgentResult, Progress

Emit = Callable[[Progress], None]


async def stream(work: Callable[[Emit], Awaitable[AgentResult]]) -> AsyncGenerator[Progress | AgentResult, None]:
    """Run ``work`` and yield what it emits, then its result. Whoever stops listening ends it, to its last process.

    The work runs in an empty context: an agent inside a graph's node must inherit neither that graph's checkpointer
    (its messages would be written into the story's thread) nor its callbacks.
    """
    queue: asyncio.Queue[Progress | None] = asyncio.Queue()

    async def finish() -> AgentResult:
        try:
            return await work(queue.put_nowait)
        finally:
            queue.put_nowait(None)

    worker = asyncio.create_task(finish(), context=contextvars.Context())
    try:
        while (event := await queue.get()) is not None:
            yield event
        yield await worker
    finally:
        await end_task(worker)


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel the task and wait until it has really ended, however often the waiting itself is cancelled."""
    cancelled = False
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if not task.cancelled():
        task.exception()  # seen: whoever awaited the task has it already
    if cancelled:
        raise asyncio.CancelledError
