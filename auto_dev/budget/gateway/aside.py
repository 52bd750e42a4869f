"""What large requests may take: memory while they are under way, and threads beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

from auto_dev.budget.gateway.errors import RefusedError

P = ParamSpec("P")
T = TypeVar("T")

_LARGE: Final = 128 * 1024  # bytes from which on work is done beside the event loop
_THREADS: Final = 2
_MB: Final = 1024 * 1024


@dataclass(slots=True)
class Held:
    """Bytes of request bodies that are under way, and how many there may be at most."""

    most: int
    now: int = 0


def held_by_grant() -> Held:
    """The account of one grant."""
    return Held(128 * _MB)


def held_by_all() -> Held:
    """The account of a whole gateway."""
    return Held(512 * _MB)


class Room:
    """What one request holds, counted in several accounts until the block is left."""

    def __init__(self, *accounts: Held) -> None:
        self._accounts = accounts
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for account in self._accounts:
            account.now -= self._taken
        self._taken = 0

    def take(self, size: int) -> None:
        """Hold ``size`` bytes more. Raises RefusedError (429) when an account is full."""
        for account in self._accounts:
            if account.now + size > account.most:
                raise RefusedError(
                    f"the requests that are under way have more than {account.most // _MB} MB; ask again later", 429
                )
        for account in self._accounts:
            account.now += size
        self._taken += size


class Aside:
    """Threads of its own for the work on large requests: the process's common ones stay free for everybody else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "gateway")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``work(…)``, in a thread when ``size`` bytes are many."""
        if size <= _LARGE:
            return work(*args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))
