"""``auto-dev start``: everything is checked before anything runs, then the daemon starts, here or in the background."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from auto_dev import config as configuration
from auto_dev.budget.estimate import Estimate, estimate
from auto_dev.commands import output
from auto_dev.commands.checks import Checked, preflight, refuse_panic
from auto_dev.commands.here import Here, here
from auto_dev.commands.launch import cancellable, countdown, serve_here, start_background
from auto_dev.config import Config
from auto_dev.daemon import instance
from auto_dev.daemon.checkout import read_stories, warnings_about
from auto_dev.daemon.clock import now
from auto_dev.daemon.scheduler import window_opens
from auto_dev.daemon.settings import Settings
from auto_dev.errors import AutoDevError, ExitCode, StoryError, UsageError
from auto_dev.model import FileStatus, dollars, money
from auto_dev.place import DATABASE_URL
from auto_dev.stories.model import Backlog, Problem, Story

COUNTDOWN_S = 60
FLAGS: Final = {
    "daily_budget": ("budget", "daily"),
    "weekly_budget": ("budget", "weekly"),
    "max_parallel": ("run", "max_parallel"),
    "schedule": ("run", "schedule"),
    "notify": ("notify", "channels"),
    "agent": ("agent", "kind"),
}


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

    @property
    def here(self) -> bool:
        """Whether the daemon is this process."""
        return self.foreground or self.once

    def overrides(self) -> dict[str, Any]:
        """As configuration, by section and key. Raises UsageError for a value that no configuration could have."""
        sections: dict[str, dict[str, Any]] = {}
        for name, (section, key) in FLAGS.items():
            value = getattr(self, name)
            if value is None:
                continue
            if name == "notify":
                value = [channel.strip() for channel in value.split(",") if channel.strip()]
            if wrong := configuration.complaint(section, key, value):
                raise UsageError(wrong, where=f"--{name.replace('_', '-')}")
            sections.setdefault(section, {})[key] = value
        return sections


async def start(flags: Flags) -> ExitCode:
    """Check, order the stories of the folder, and start (or wake) the daemon."""
    if flags.database_url is not None:
        if not flags.database_url.strip():
            raise UsageError("it is empty", where="--database-url", mend="Leave it out for the embedded server.")
        os.environ[DATABASE_URL] = flags.database_url
    overrides = flags.overrides()
    start_at = flags.folder if flags.folder is not None and flags.folder.is_dir() else None
    place = await here(start_at, overrides)
    folder = story_folder(place, flags.folder)
    settings = Settings(
        project_id=place.project_id,
        root=place.root,
        folder=folder,
        state_home=place.home,
        overrides=overrides,
        once=flags.once,
        delay_s=0 if flags.yes or flags.once else COUNTDOWN_S,
        sandbox=flags.sandbox,
    )
    checked = await preflight(settings)
    settings = settings.model_copy(update={"sandbox": checked.confined})
    found = await asyncio.to_thread(read_stories, place.root, folder)
    _say_warnings(checked, found, folder)
    return await _start(flags, place, settings, checked, found)


async def run_one(story: str, folder: Path | None, *, sandbox: bool, as_json: bool) -> ExitCode:
    """Order one story and work on it here until it ends or waits."""
    flags = Flags(folder, once=True, yes=True, sandbox=sandbox, as_json=as_json)
    place = await here(folder if folder is not None and folder.is_dir() else None)
    target = story_folder(place, folder)
    settings = Settings(
        project_id=place.project_id, root=place.root, folder=target, state_home=place.home, once=True, sandbox=sandbox
    )
    checked = await preflight(settings)
    settings = settings.model_copy(update={"sandbox": checked.confined})
    found = await asyncio.to_thread(read_stories, place.root, target)
    wanted = next((s for s in found.stories if s.id.lower() == story.lower()), None)
    if wanted is None:
        raise UsageError(f"there is no story {story!r} in {target}", mend="`auto-dev stories list DIR` shows them.")
    if (held := found.held_back().get(wanted.id)) is not None:
        raise StoryError(held.message, where=_where(held), mend=held.mend)
    if wanted.status is not FileStatus.READY:
        raise StoryError(f"{wanted.id} is {wanted.status}", where=wanted.path, mend="Give it status: ready.")
    return await _start(flags, place, settings, checked, found, only=wanted.id)


async def _start(
    flags: Flags, place: Here, settings: Settings, checked: Checked, found: Backlog, only: str | None = None
) -> ExitCode:
    async with place.database(begin=True) as db:
        await refuse_panic(place, db)
        other = instance.running(place.place.state)
        if other is not None:
            _same_order(flags, place, settings, other)
        ordered = await order(place, db, found, checked.config, only)
        if await _is_paused(place, db):
            output.warn("warning: the project is paused, so nothing starts: `auto-dev resume` goes on")
        if other is not None:
            return _handed_over(flags, other, ordered)
        if only is not None:
            await _require_startable(place, db, only)
        place.note(settings.folder)
        statuses = await _statuses(place, db)
        expected = await _estimate(place, db, found, ordered, checked.config.agent.kind)
        facts = {"ordered": ordered, "ready": statuses["queued"], "estimate_usd": _estimate_facts(expected)}
        lines = [ready_line(statuses), estimate_line(expected, checked.config), sandbox_line(checked)]
        if flags.here:
            return await _serve(flags, place, db, settings, facts, lines, broken=_broken(found))
    return await _background(flags, settings, facts, lines)


async def _serve(
    flags: Flags, place: Here, db: Any, settings: Settings, facts: dict[str, Any], lines: list[str], *, broken: bool
) -> ExitCode:
    """Be the daemon, and say at the end what came of it."""
    from auto_dev.commands.progress import follow
    from auto_dev.commands.status import gather

    if flags.as_json:
        code = await serve_here(settings)
    else:
        for text in lines:
            output.say(text)
        if settings.delay_s:
            output.say(f"Starting in {settings.delay_s:.0f} seconds (Ctrl+C to cancel)")
        async with follow(place, db):
            code = await serve_here(settings)
    if flags.once and broken and code is ExitCode.DONE:
        code = ExitCode.ERROR  # a file that cannot be read may hold a story that was ordered
    status = await gather(place, db)
    if flags.as_json:
        output.emit_json({**facts, "pid": None, "exit_code": int(code), "status": status})
    elif flags.once:
        counts = Counter(story["status"] for story in status["stories"])
        output.say(closing_line(counts, _held_up(place, code, status)))
    return code


async def _background(flags: Flags, settings: Settings, facts: dict[str, Any], lines: list[str]) -> ExitCode:
    with cancellable() as cancelled:
        pid = await start_background(settings, cancelled)
        if flags.as_json:
            output.emit_json({**facts, "pid": pid, "exit_code": None, "status": None})
            return ExitCode.DONE
        output.say(f"Daemon started (PID {pid})")
        for text in lines:
            output.say(text)
        if settings.delay_s:
            output.say(f"Starting in {settings.delay_s:.0f} seconds (Ctrl+C to cancel)")
            await countdown(settings, pid, cancelled)
    output.say("`auto-dev status` shows the stories, `auto-dev stop` ends the daemon.")
    return ExitCode.DONE


def _same_order(flags: Flags, place: Here, settings: Settings, other: instance.Instance) -> None:
    """The running daemon can take this order: it reads the same folder, and need not become this process."""
    folder = place.noted().get("folder")
    if flags.here:
        raise AutoDevError(
            f"a daemon already works on this project (PID {other.pid})",
            mend="`auto-dev stop` ends it; without --foreground and --once it takes the order.",
        )
    if folder is not None and folder != str(settings.folder):
        raise AutoDevError(
            f"the running daemon (PID {other.pid}) works on {folder}", mend="End it with `auto-dev stop`, then start."
        )
    if settings.overrides:
        output.warn(
            "warning: the running daemon keeps the flags that it began with; `auto-dev stop` first to change them"
        )


def _handed_over(flags: Flags, other: instance.Instance, ordered: list[str]) -> ExitCode:
    if flags.as_json:
        facts = {"ordered": ordered, "ready": None, "estimate_usd": None}
        output.emit_json({**facts, "pid": other.pid, "exit_code": None, "status": None})
    else:
        output.say(
            f"The running daemon (PID {other.pid}) takes the order: {output.many(len(ordered), 'story', 'stories')}."
        )
    return ExitCode.DONE


def story_folder(place: Here, given: Path | None) -> Path:
    """The folder of this order: the argument, else ``[project] stories``. Raises UsageError."""
    if given is not None:
        return given.resolve()
    if place.config.project.stories:
        return (place.root / place.config.project.stories).resolve()
    raise UsageError("which folder holds the stories?", mend="`auto-dev start DIR`, or set stories in [project].")


def _where(problem: Problem) -> str:
    return f"{problem.path}:{problem.line}" if problem.line else problem.path


def _say_warnings(checked: Checked, found: Backlog, folder: Path) -> None:
    for problem in found.problems:
        error = StoryError(problem.message, where=_where(problem), mend=problem.mend)
        output.warn(f"{problem.level}: {error}")
    for text in (*checked.notes, *warnings_about(checked.repository)):
        output.warn(f"warning: {text}")
    if not found.stories:
        raise StoryError(
            "no story in this folder",
            where=str(folder),
            mend="A story is a Markdown file with an id and a title; `auto-dev stories check DIR` says what was read.",
        )


def _broken(found: Backlog) -> bool:
    return any(problem.level == "error" for problem in found.problems)


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


async def _is_paused(place: Here, db: Any) -> bool:
    from auto_dev.store.events import QUERIES

    row = await db.fetch_one(QUERIES["get_project"], {"project": place.project_id})
    return bool(row and row["paused"])


async def _require_startable(place: Here, db: Any, story: str) -> None:
    """The one story of this order can start now. Raises AutoDevError with what stands in its way."""
    from auto_dev.store import backlog

    async with db.pool.connection() as conn:
        row = await backlog.row(conn, place.project_id, story)
    status = str(row["status"]) if row else "missing"
    if row and status not in ("queued", "running"):
        mends = {"waiting": "`auto-dev decide` shows the question.", "paused": "`auto-dev resume` goes on.",
                 "blocked": "Start that one first.", "skipped": f"`auto-dev retry {story}` takes it up again.",
                 "in_review": f"`auto-dev retry {story}` starts it again."}  # fmt: skip
        what = f"{story} cannot start: it is {_WORDS.get(status, status)}"
        raise AutoDevError(f"{what} ({row['reason']})" if row["reason"] else what, mend=mends.get(status, ""))


async def _statuses(place: Here, db: Any) -> Counter[str]:
    """How many stories are in each status."""
    from auto_dev.store import backlog

    async with db.pool.connection() as conn:
        rows = await backlog.rows(conn, place.project_id)
    return Counter(str(row["status"]) for row in rows if row["present"] or row["run_id"])


_WORDS: Final = {
    "in_review": "in review", "done": "done", "running": "running", "waiting": "waiting for you", "paused": "paused",
    "failed": "failed", "invalid": "held back by an error", "skipped": "skipped", "ready": "not ordered",
    "backlog": "in the backlog", "parked": "parked",
}  # fmt: skip


def ready_line(statuses: Mapping[str, int]) -> str:
    """What an order found, before anything starts."""
    first, later = statuses.get("queued", 0), statuses.get("blocked", 0)
    more = f", {later} more {'depends' if later == 1 else 'depend'} on others" if later else ""
    rest = ", ".join(f"{statuses[status]} {word}" for status, word in _WORDS.items() if statuses.get(status))
    return f"Found {output.many(first, 'story', 'stories')} ready to start{more}" + (f" ({rest})" if rest else "")


def closing_line(statuses: Mapping[str, int], held_up: str) -> str:
    """What a pass over the stories came to. ``held_up``: why some were not started, or ""."""
    parts = [f"{statuses[status]} {word}" for status, word in _WORDS.items() if statuses.get(status)]
    if blocked := statuses.get("blocked"):
        parts.append(f"{blocked} blocked by others")
    if queued := statuses.get("queued"):
        parts.append(f"{queued} not started" + (f" ({held_up})" if held_up else ""))
    ask = " `auto-dev decide` shows what waits for you." if statuses.get("waiting") else ""
    return f"Ended: {', '.join(parts) or 'nothing to do'}.{ask}"


def _held_up(place: Here, code: ExitCode, status: Mapping[str, Any]) -> str:
    if status["panic"]:
        return "a panic stands, `auto-dev release` goes on"
    if status["paused"]:
        return "the project is paused, `auto-dev resume` goes on"
    if code is ExitCode.BUDGET:
        return "the budget is reached"
    opens = window_opens(place.config, now())
    return f"outside the schedule {place.config.run.schedule} {place.config.run.timezone}" if opens else ""


def sandbox_line(checked: Checked) -> str:
    """What agents and commands may reach."""
    if not checked.confined:
        return "No sandbox: agents and commands run with your own rights"
    hosts = ", ".join(checked.config.sandbox.allow_hosts)
    return f"Agents and commands run in a sandbox: no network but the model{f' and {hosts}' if hosts else ''}"


async def _estimate(place: Here, db: Any, found: Backlog, ordered: list[str], agent: str) -> Estimate:
    from auto_dev.budget.ledger import Ledger
    from auto_dev.nodes.estimate import SCORED

    stories: list[Story] = [story for story in found.stories if story.id in ordered]
    ledger = Ledger(db.pool, place.project_id, now)
    return estimate(stories, await ledger.finished_runs(), agent=agent, scored=await ledger.estimates(SCORED))


def _estimate_facts(expected: Estimate) -> dict[str, Any]:
    low, high = (None if amount is None else dollars(amount) for amount in (expected.low, expected.high))
    return {"low": low, "high": high, "basis": expected.basis}


def estimate_line(expected: Estimate, config: Config) -> str:
    """What this order may cost, from the project's history, and the limits that hold whatever it costs."""
    limits = (
        f"limits: ${config.budget.daily:g} a day, ${config.budget.weekly:g} a week, ${config.budget.story:g} a story"
    )
    if expected.low is None or expected.high is None:
        return f"Estimated cost: unknown, {expected.basis} ({limits})"
    return f"Estimated cost: {money(expected.low)}-{money(expected.high)} ({expected.basis}; {limits})"
