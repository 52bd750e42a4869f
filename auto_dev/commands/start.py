"""``auto-dev start``: everything is checked before anything runs, then the daemon starts, here or in the background."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auto_dev.commands import output
from auto_dev.commands.here import Here, here
from auto_dev.config import Config
from auto_dev.daemon import instance
from auto_dev.daemon.checkout import read_stories, warnings_about
from auto_dev.daemon.clock import now
from auto_dev.daemon.compose import Checked, check, daemon, new_daemon_id, with_signals
from auto_dev.daemon.settings import Settings
from auto_dev.errors import AutoDevError, ExitCode, UsageError
from auto_dev.model import FileStatus, money
from auto_dev.place import DATABASE_URL
from auto_dev.stories.model import Backlog, Story

COUNTDOWN_S = 60
READY_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of ``start``; None means: as the configuration says."""

    folder: Path | None
    daily_budget: float | None = None
    weekly_budget: float | None = None
    max_parallel: int | None = None
    schedule: str | None = None
    notify: str | None = None
    agent: str | None = None
    database_url: str | None = None
    foreground: bool = False
    once: bool = False
    yes: bool = False
    sandbox: bool = True
    as_json: bool = False

    def overrides(self) -> dict[str, Any]:
        """As configuration, by section and key."""
        channels = [name.strip() for name in self.notify.split(",") if name.strip()] if self.notify else None
        sections: dict[str, dict[str, Any]] = {
            "budget": {"daily": self.daily_budget, "weekly": self.weekly_budget},
            "run": {"max_parallel": self.max_parallel, "schedule": self.schedule},
            "notify": {"channels": channels},
            "agent": {"kind": self.agent},
        }
        given = {s: {k: v for k, v in keys.items() if v is not None} for s, keys in sections.items()}
        return {section: keys for section, keys in given.items() if keys}


async def start(flags: Flags) -> ExitCode:
    """Check, order the stories of the folder, and start (or wake) the daemon."""
    if flags.database_url:
        os.environ[DATABASE_URL] = flags.database_url
    start_at = flags.folder if flags.folder is not None and flags.folder.is_dir() else None
    place = await here(start_at, flags.overrides())
    folder = story_folder(place, flags.folder)
    settings = Settings(
        project_id=place.project_id,
        root=place.root,
        folder=folder,
        state_home=place.home,
        overrides=flags.overrides(),
        once=flags.once,
        delay_s=0 if flags.yes or flags.once else COUNTDOWN_S,
        sandbox=flags.sandbox,
    )
    checked = await preflight(settings)
    found = await asyncio.to_thread(read_stories, place.root, folder)
    _say_warnings(checked, found, flags)
    place.place.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    return await _start(flags, place, settings, checked, found)


async def _start(
    flags: Flags, place: Here, settings: Settings, checked: Checked, found: Backlog, only: str | None = None
) -> ExitCode:
    async with place.database() as db:
        ordered = await order(place, db, found, checked.config, only)
        if (other := instance.running(place.place.state)) is not None:
            if flags.foreground or flags.once:
                raise AutoDevError(
                    f"a daemon already works on this project (PID {other.pid})",
                    mend=f"It takes the {len(ordered)} stories of this order. `auto-dev stop` ends it.",
                )
            output.say(f"The running daemon (PID {other.pid}) takes the order: {len(ordered)} stories.")
            return ExitCode.DONE
        lines = [_ready_line(found, ordered), await estimate_line(place, db, found, checked.config, ordered)]
        if flags.foreground or flags.once:
            from auto_dev.commands.progress import follow

            for text in lines:
                output.say(text)
            if settings.delay_s:
                output.say(f"Starting in {settings.delay_s:.0f} seconds (Ctrl+C to cancel)")
            async with follow(place, db):
                return await serve_here(settings)
    return await _background(settings, place, lines)


def story_folder(place: Here, given: Path | None) -> Path:
    """The folder of this order: the argument, else ``[project] stories``. Raises UsageError."""
    if given is not None:
        return given.resolve()
    if place.config.project.stories:
        return (place.root / place.config.project.stories).resolve()
    raise UsageError("which folder holds the stories?", mend="`auto-dev start DIR`, or set stories in [project].")


async def preflight(settings: Settings) -> Checked:
    """Find now what would otherwise fail in the night: repository, agent, forge, channels."""
    from auto_dev.agents.registry import check_agent
    from auto_dev.forge import make_forge
    from auto_dev.gates.registry import gates_for
    from auto_dev.notify.registry import make_channels
    from auto_dev.secrets import secret

    checked = await check(settings)
    if settings.sandbox:
        raise AutoDevError(
            "this version has no sandbox yet, so an agent would run with your own rights",
            mend="Add --no-sandbox if you accept that.",
        )
    gates_for(checked.config)
    check_agent(checked.config.agent, settings.root, secret)
    forge = make_forge(checked.config.forge, checked.token, settings.place.pulls)
    await forge.close()
    for channel in make_channels(checked.config.notify, secret).values():
        await channel.close()
    return checked


def _say_warnings(checked: Checked, found: Backlog, flags: Flags) -> None:
    for problem in found.problems:
        where = f"{problem.path}:{problem.line}" if problem.line else problem.path
        output.warn(f"{problem.level}: {where}: {problem.message} {problem.mend}".strip())
    for text in warnings_about(checked.repository):
        output.warn(f"warning: {text}")
    if not found.stories:
        raise UsageError(
            f"no story in {flags.folder or checked.config.project.stories}",
            mend="A story is a Markdown file with an id and a title; `auto-dev stories check DIR` says what was read.",
        )


async def order(place: Here, db: Any, found: Backlog, config: Config, only: str | None = None) -> list[str]:
    """Bring the rows in step with the folder and order its stories; returns the ids that the order stands for."""
    from auto_dev.store import backlog
    from auto_dev.store.events import QUERIES, wake
    from auto_dev.stories.fingerprint import fingerprint

    digests = {story.id: fingerprint(story) for story in found.stories}
    async with db.transaction() as conn:
        await conn.execute(
            QUERIES["upsert_project"],
            {"project": place.project_id, "root": str(place.root), "state_dir": str(place.place.state)},
        )
        await backlog.sync(conn, place.project_id, found, digests, config.project.dependencies == "stacked")
        wanted = [s.id for s in found.stories if s.status is FileStatus.READY and only in (None, s.id)]
        ordered = await backlog.order(conn, place.project_id, wanted)
        await wake(conn, place.project_id)
    return ordered


def _ready_line(found: Backlog, ordered: list[str]) -> str:
    held = found.held_back()
    startable = [s for s in found.stories if s.id in ordered and s.id not in held]
    first = sum(1 for s in startable if not s.depends_on)
    rest = len(found.stories) - len(startable)
    more = f", {len(startable) - first} more depend on others" if len(startable) > first else ""
    left = f" ({rest} are not ready, done or held back by an error)" if rest else ""
    return f"Found {first} {'story' if first == 1 else 'stories'} ready to start{more}{left}"


async def estimate_line(place: Here, db: Any, found: Backlog, config: Config, ordered: list[str]) -> str:
    """What this order may cost, from the project's history, and the limits that hold whatever it costs."""
    from auto_dev.budget.estimate import estimate
    from auto_dev.budget.ledger import Ledger

    stories: list[Story] = [story for story in found.stories if story.id in ordered]
    history = await Ledger(db.pool, place.project_id, now).finished_runs()
    expected = estimate(stories, history)
    limits = (
        f"limits: ${config.budget.daily:g} a day, ${config.budget.weekly:g} a week, ${config.budget.story:g} a story"
    )
    if expected.low is None or expected.high is None:
        return f"Estimated cost: unknown, {expected.basis} ({limits})"
    return f"Estimated cost: {money(expected.low)}-{money(expected.high)} ({expected.basis}; {limits})"


async def serve_here(settings: Settings) -> ExitCode:
    """Be the daemon in this process."""
    daemon_id = new_daemon_id()
    with instance.hold(settings.place.state, daemon_id):
        async with daemon(settings, daemon_id) as running:
            await with_signals(running)
            return await running.serve()


async def _background(settings: Settings, place: Here, lines: list[str]) -> ExitCode:
    state = place.place.state
    file = state / "settings.json"
    file.touch(mode=0o600)
    file.write_text(settings.model_dump_json(), "utf-8")
    log = state / "daemon.log"
    reader, writer = os.pipe()
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: ASYNC220 (spawning takes a millisecond; the daemon outlives this loop)
            [sys.executable, "-m", "auto_dev.daemon", str(file), str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            start_new_session=True,
            pass_fds=(writer,),
        )
    os.close(writer)
    message = await asyncio.to_thread(_first_line, reader)
    if message != "ready":
        process.wait()
        raise AutoDevError(message or "the daemon ended at once", mend=f"Its log is {log}.")
    output.say(f"Daemon started (PID {process.pid})")
    for text in lines:
        output.say(text)
    if settings.delay_s:
        await _countdown(settings, process.pid)
    output.say("`auto-dev status` shows the stories, `auto-dev stop` ends the daemon.")
    return ExitCode.DONE


def _first_line(descriptor: int) -> str:
    with os.fdopen(descriptor, "r", encoding="utf-8", errors="replace") as pipe:
        return pipe.readline().strip()


async def _countdown(settings: Settings, pid: int) -> None:
    """Wait beside the daemon while it waits; Ctrl+C stops it before it began."""
    import signal

    output.say(f"Starting in {settings.delay_s:.0f} seconds (Ctrl+C to cancel)")
    loop, cancelled = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, cancelled.set)
    with suppress(TimeoutError):
        await asyncio.wait_for(cancelled.wait(), settings.delay_s)
    loop.remove_signal_handler(signal.SIGINT)
    if cancelled.is_set():
        running = instance.running(settings.place.state)
        if running is not None and running.pid == pid:
            running.signal(signal.SIGTERM)
        output.say("Cancelled; no story was started.")
        raise KeyboardInterrupt


async def run_one(story: str, folder: Path | None, *, sandbox: bool) -> ExitCode:
    """Order one story and work on it here until it ends or waits."""
    flags = Flags(folder, once=True, yes=True, sandbox=sandbox)
    place = await here(folder if folder is not None and folder.is_dir() else None)
    target = story_folder(place, folder)
    settings = Settings(
        project_id=place.project_id, root=place.root, folder=target, state_home=place.home, once=True, sandbox=sandbox
    )
    checked = await preflight(settings)
    found = await asyncio.to_thread(read_stories, place.root, target)
    wanted = next((s for s in found.stories if s.id.lower() == story.lower()), None)
    if wanted is None:
        raise UsageError(f"there is no story {story!r} in {target}", mend="`auto-dev stories list DIR` shows them.")
    place.place.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    return await _start(flags, place, settings, checked, found, only=wanted.id)
