"""``decide --answer``, ``pause``, ``resume``, ``retry``, ``skip``, ``abort``, ``stop``: a person acts."""

from __future__ import annotations

import signal
import sys
from typing import Any

from auto_dev.commands import output
from auto_dev.commands.here import Here, here
from auto_dev.commands.launch import gone
from auto_dev.daemon import instance
from auto_dev.errors import AutoDevError, ExitCode
from auto_dev.store import panics
from auto_dev.store.database import Database
from auto_dev.store.panics import Panic

STOP_WAIT_S = 330.0


async def decide(decision: str, answer: str, text: str, *, as_json: bool) -> ExitCode:
    """Answer a decision."""
    place = await here(lenient=True)
    async with place.database() as db:
        row = await place.control(db).answer(decision, answer, text)
        stuck = await panicking(place, db)
    running = instance.running(place.place.state)
    note = "its run goes on" if running else "its run goes on when the daemon is started again"
    if stuck:
        note = "its run goes on after `auto-dev release`"
    _done({"decision": decision, "answer": row["answer"], "story": row["story_id"]}, as_json,
          f"{row['story_id']}: answered {row['answer']!r}; {note}.")  # fmt: skip
    return ExitCode.DONE


async def pause(*, as_json: bool) -> ExitCode:
    """Pause the project."""
    place = await here(lenient=True)
    async with place.database() as db:
        await place.control(db).pause()
    _done(
        {"paused": True},
        as_json,
        "Paused: nothing new starts, what runs completes its step. `auto-dev resume` goes on.",
    )
    return ExitCode.DONE


async def resume(*, as_json: bool) -> ExitCode:
    """Resume the project and its paused runs."""
    place = await here(lenient=True)
    async with place.database() as db:
        runs = await place.control(db).resume()
    note = "" if instance.running(place.place.state) else " No daemon runs: `auto-dev start` goes on with the work."
    _done(
        {"paused": False, "resumed": runs},
        as_json,
        f"Resumed; {output.many(len(runs), 'paused run goes', 'paused runs go')} on.{note}",
    )
    return ExitCode.DONE


async def retry(story: str, hint: str, *, as_json: bool) -> ExitCode:
    """Start a story again in a new run."""
    from auto_dev.daemon.checkout import look

    place = await here()
    repository = await look(place.root, place.home, place.config)
    async with place.database() as db:
        run = await place.control(db).retry(story, place.config, repository.base_branch, hint)
        stuck = await panicking(place, db)
    note = "" if instance.running(place.place.state) else " It starts with the daemon: `auto-dev start`."
    if stuck:
        note = " It starts after `auto-dev release`."
    _done({"story": story, "run": run}, as_json, f"{story} is queued again.{note}")
    return ExitCode.DONE


async def panicking(place: Here, db: Database) -> Panic | None:
    """The project's panic, or None."""
    async with db.pool.connection() as conn:
        return await panics.standing(conn, place.project_id)


async def skip(story: str, reason: str, *, as_json: bool) -> ExitCode:
    """Leave a story out."""
    place = await here(lenient=True)
    async with place.database() as db:
        await place.control(db).skip(story, reason)
    _done(
        {"story": story, "status": "skipped"},
        as_json,
        f"{story} is skipped; `auto-dev retry {story}` takes it up again.",
    )
    return ExitCode.DONE


async def abort(story: str, *, discard: bool, as_json: bool) -> ExitCode:
    """End a story's run; its work stays on its branch, or with ``discard`` only on a salvage ref."""
    from auto_dev.commands.worktrees import discard_worktree

    place = await here(lenient=True)
    async with place.database() as db:
        await place.control(db).abort(story)
        kept = await discard_worktree(place, db, story) if discard else f"branch auto-dev/{story}"
    _done(
        {"story": story, "status": "aborted", "kept": kept}, as_json, f"{story} is aborted; its work is kept: {kept}."
    )
    return ExitCode.DONE


async def stop(*, now: bool, as_json: bool) -> ExitCode:
    """End the daemon: what runs completes its step, unless ``now``."""
    place = await here(lenient=True)
    running = instance.running(place.place.state)
    if running is None:
        _done({"stopped": False}, as_json, "No daemon runs here.")
        return ExitCode.DONE
    running.signal(signal.SIGTERM)
    if now:
        running.signal(signal.SIGINT)  # another signal than the first: two equal ones may arrive as one
    elif not as_json:
        output.say(f"Stopping (PID {running.pid}): what runs completes its step. `auto-dev stop --now` does not wait.")
        sys.stdout.flush()  # it may take minutes, also for who reads it through a pipe
    if not await gone(place.place.state, running, STOP_WAIT_S):
        raise AutoDevError(f"the daemon (PID {running.pid}) still runs", mend="Try `auto-dev stop --now`.")
    _done({"stopped": True, "pid": running.pid}, as_json, "Stopped. `auto-dev start` goes on where it was.")
    return ExitCode.DONE


def _done(facts: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        output.emit_json(facts)
    else:
        output.say(text)
