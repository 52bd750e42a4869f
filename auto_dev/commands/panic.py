"""``auto-dev panic`` and ``auto-dev release``: end everything at once, with or without a daemon that obeys."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterable
from typing import Any

import psycopg

from auto_dev.commands import output
from auto_dev.commands.here import Here, here
from auto_dev.commands.launch import gone
from auto_dev.commands.status import panic_facts
from auto_dev.daemon import instance
from auto_dev.daemon.control import Panicked
from auto_dev.errors import AutoDevError, ExitCode, StoreError
from auto_dev.processes import boot_id, start_ticks, sweep
from auto_dev.store import panics
from auto_dev.store.database import Database

DATABASE_S = 10.0  # how long the database may take before the daemon is ended without it
OBEY_S = 5.0  # how long a daemon may take to end its trees before this command does
POLL_S = 0.02
ROUNDS = 3  # a daemon that hangs may wake up and start one more tree before it reads that it must not

Tree = tuple[int, int]


async def panic(reason: str, *, as_json: bool) -> ExitCode:
    """End every agent of the project now, and keep anything new from starting until it is released."""
    place = await here(lenient=True)
    try:
        async with asyncio.timeout(DATABASE_S) as patience, place.database() as db:
            done = await place.control(db).panic(reason)
            patience.reschedule(None)
            daemon = instance.running(place.place.state)
            count, left = await _end_trees(place, db, OBEY_S if daemon else 0.0)
    except (StoreError, psycopg.OperationalError, TimeoutError) as error:
        await _without_database(place, error)
        raise
    slow = f"the daemon (PID {daemon.pid}) did not end its agents within {OBEY_S:.0f} s" if daemon and count else ""
    if slow:
        output.warn(f"warning: {slow}: this command did. If it hangs, end the process {daemon.pid if daemon else ''}.")
    if as_json:
        facts = {"panic": panic_facts(done.panic), "new": done.new, "stopped": list(done.stopped)}
        output.emit_json({**facts, "ended": count, "left": [pid for pid, _ in left]})
    else:
        output.say(_told(done))
    if left:
        pids = ", ".join(str(pid) for pid, _ in left)
        raise AutoDevError(
            f"processes of agents still live: {pids}", mend="They belong to another user, or are stuck: end them."
        )
    return ExitCode.DONE


async def release(*, as_json: bool) -> ExitCode:
    """Let the project work again after a panic."""
    place = await here(lenient=True)
    async with place.database() as db:
        done = await place.control(db).release()
    if as_json:
        former = panic_facts(done.panic)
        output.emit_json({"released": former is not None, "panic": former, "resumed": list(done.resumed)})
    elif done.panic is None:
        output.say("Nothing to release: no panic stands.")
    elif done.held:
        output.say("Released. The project is paused, too: `auto-dev resume` goes on.")
    else:
        note = "" if instance.running(place.place.state) else " No daemon runs: `auto-dev start` goes on with the work."
        runs = output.many(len(done.resumed), "stopped run goes", "stopped runs go")
        output.say(f"Released; {runs} on.{note}")
    return ExitCode.DONE


def _told(done: Panicked) -> str:
    stopped = output.many(len(done.stopped), "story was", "stories were")
    names = f" ({', '.join(sorted(done.stopped))})" if done.stopped else ""
    begun = f"{stopped} stopped{names}, all agents are ended, nothing starts until `auto-dev release`."
    if done.new:
        return f"Panic: {begun}"
    return f"A panic stands already since {done.panic.since:%Y-%m-%d %H:%M} UTC, by {done.panic.by}; {begun}"


async def _end_trees(place: Here, db: Database, patience_s: float) -> tuple[int, list[Tree]]:
    """Wait ``patience_s`` for the daemon to end its trees, then end them: how many that were, and what still lives.

    A tree is its watcher, known by boot, pid and start time: another process is never touched.
    """
    logging.getLogger("auto_dev.processes").addHandler(logging.NullHandler())  # what it warns of is said here
    boot, loop = boot_id(), asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    while (trees := await _living(place, db, boot)) and loop.time() < deadline:  # noqa: ASYNC110 (no child of ours)
        await asyncio.sleep(POLL_S)
    ended: set[Tree] = set()
    for _ in range(ROUNDS):
        if not trees:
            break
        ended |= set(trees)
        await asyncio.gather(*(sweep([tree], boot) for tree in trees))
        trees = await _living(place, db, boot)
    return len(ended - set(trees)), trees


async def _living(place: Here, db: Database, boot: str) -> list[Tree]:
    async with db.pool.connection() as conn:
        recorded = await panics.trees(conn, place.project_id, boot)
    return _alive(recorded)


def _alive(trees: Iterable[Tree]) -> list[Tree]:
    return [(pid, started) for pid, started in trees if start_ticks(pid) == started]


async def _without_database(place: Here, error: Exception) -> None:
    """The panic cannot be written down: end the daemon itself, and its watchers end every tree. Raises AutoDevError.

    Does nothing when no daemon runs here.
    """
    daemon = instance.running(place.place.state)
    if daemon is None:
        return
    daemon.signal(signal.SIGKILL)
    await gone(place.place.state, daemon, OBEY_S)
    why: Any = error.what if isinstance(error, AutoDevError) else str(error) or f"no answer in {DATABASE_S:.0f} s"
    raise AutoDevError(
        f"the database cannot be used ({why}), so the daemon (PID {daemon.pid}) was killed, and its agents with it",
        mend="Nothing keeps a new one from starting: call `auto-dev panic` again when the database is back.",
    ) from error
