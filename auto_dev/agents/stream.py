"""An agent's work as a stream: progress while it goes on, its result last."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable

from auto_dev.agents.base import AgentResult, Event
from auto_dev.tasks import end_tasks

Emit = Callable[[Event], None]
END_AGAIN_S = 10.0  # a cancelled agent's tree gets 5 s to end by itself


async def stream(work: Callable[[Emit], Awaitable[AgentResult]]) -> AsyncGenerator[Event | AgentResult, None]:
    """Run ``work`` and yield what it emits, then its result. Whoever stops listening ends it, to its last process.

    The work runs in an empty context: an agent inside a graph's node must inherit neither that graph's checkpointer
    (its messages would be written into the story's thread) nor its callbacks.
    """
    queue: asyncio.Queue[Event | None] = asyncio.Queue()

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
        await end_tasks(worker, again_s=END_AGAIN_S)
