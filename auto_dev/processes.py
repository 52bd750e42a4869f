"""Child processes as whole trees: started under a watcher, capped, timed, and ended to the last descendant.

Everything that runs code which auto-dev did not write (agents, gate commands, setup commands) is started here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finished:
    """How a tree ended. ``exit_code`` is None when it was ended by a signal or by us; ``signal`` then tells which.

    ``stopped`` is "" or why we ended it: "timeout" | "stopped". ``output_bytes`` counts all that was written, also
    what the cap on ``output`` left out.
    """

    exit_code: int | None
    signal: int | None
    stopped: str
    output_bytes: int
    duration_s: float


OnStart = Callable[[int, int], Awaitable[None]]
OnOutput = Callable[[bytes], None]


async def run_tree(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    output: Path,
    stdin: bytes = b"",
    timeout_s: float,
    output_cap: int = 4 * 1024 * 1024,
    on_start: OnStart | None = None,
    on_output: OnOutput | None = None,
) -> Finished:
    """Run ``argv`` to its end and leave no process of its tree behind.

    stdout and stderr go, interleaved, to the file ``output``: at most ``output_cap`` bytes, the middle left out.
    ``on_start(pid, started)`` is awaited once the tree exists (pid and start time in clock ticks since boot, of the
    watcher); ``on_output`` sees every chunk. Cancelling the call ends the tree. Raises FileNotFoundError or
    PermissionError when ``argv[0]`` cannot be executed.
    """
    raise NotImplementedError
