"""``auto-dev status``, ``decide`` (listing) and ``logs``: what is, from the database."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg.rows import DictRow

from auto_dev.commands import output
from auto_dev.commands.here import Here, here
from auto_dev.errors import ExitCode, UsageError
from auto_dev.model import dollars, microusd, money
from auto_dev.text import line

if TYPE_CHECKING:
    from auto_dev.store.panics import Panic

REFRESH_S = 1.0
_TAIL = 4000  # bytes of an agent's output that `logs` shows


async def status(*, as_json: bool, watch: bool) -> ExitCode:
    """Print what every story is doing."""
    place = await here(lenient=True)
    if not place.known:
        facts: dict[str, Any] = _nothing(place)
        _print(facts, as_json)
        return ExitCode.DONE
    async with place.database() as db:
        while True:
            facts = await gather(place, db)
            if watch and not as_json:
                output.console().clear()
            _print(facts, as_json)
            if not watch:
                return ExitCode.DONE
            await asyncio.sleep(REFRESH_S)


def _nothing(place: Here) -> dict[str, Any]:
    return {
        "stories": [],
        "decisions": [],
        "cost_today_usd": 0.0,
        "daily_budget_usd": place.config.budget.daily,
        "paused": False,
        "panic": None,
        "daemon": None,
    }


async def gather(place: Here, db: Any) -> dict[str, Any]:
    """The documented shape of ``status --json``."""
    from auto_dev.budget.ledger import Ledger
    from auto_dev.budget.limits import BudgetLimits
    from auto_dev.daemon import instance
    from auto_dev.store import backlog, decisions, panics
    from auto_dev.store.events import QUERIES

    ledger = Ledger(db.pool, place.project_id, lambda: datetime.now(UTC))
    overview = await ledger.overview(BudgetLimits.of(place.config))
    costs = await ledger.costs_by_story()
    async with db.pool.connection() as conn:
        rows = await backlog.rows(conn, place.project_id)
        asked = await decisions.open_ones(conn, place.project_id)
        project = await (await conn.execute(QUERIES["get_project"], {"project": place.project_id})).fetchone()
        daemon = await (await conn.execute(QUERIES["current_daemon"], {"project": place.project_id})).fetchone()
    alive = instance.running(place.place.state)
    uptime = (datetime.now(UTC) - daemon["started_at"]).total_seconds() if daemon and alive else 0.0
    return {
        "stories": [story_facts(row, costs) for row in rows if row["present"] or row["run_id"]],
        "decisions": [decision_facts(row) for row in asked],
        "cost_today_usd": dollars(overview.day.cost_microusd),
        "daily_budget_usd": dollars(overview.day.cap_microusd),
        "paused": bool(project and project["paused"]),
        "panic": panic_facts(panics.of(project)),
        "daemon": {"pid": alive.pid, "uptime_s": round(uptime, 1)} if alive else None,
    }


def panic_facts(panic: Panic | None) -> dict[str, str] | None:
    """The ``panic`` of ``status --json``."""
    if panic is None:
        return None
    return {"since": panic.since.isoformat(timespec="seconds"), "reason": panic.reason, "by": panic.by}


def story_facts(row: Mapping[str, Any], costs: Mapping[str, int]) -> dict[str, Any]:
    """One story of ``status --json``. ``progress`` in percent; ``pr`` is a URL, a path without a forge, or null."""
    return {
        "id": row["id"],
        "title": row["title"],
        "status": row["status"],
        "reason": row["reason"] or "",
        "phase": row["phase"] if row["run_id"] else None,
        "progress": 100 if row["status"] in ("in_review", "done") else int(row["progress"] or 0),
        "pr": row["pull_url"] or None,
        "branch": row["pull_branch"] or (row["run_branch"] if row["run_id"] else None),
        "cost_usd": dollars(costs.get(row["id"], 0)),
        "triggered_by": row["triggered_by"],
    }


def decision_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """One open decision, as ``status --json`` and ``decide --json`` give it."""
    return {
        "id": row["id"],
        "story": row["story_id"],
        "kind": row["kind"],
        "question": row["question"],
        "why": row["why"],
        "evidence": row["evidence"],
        "options": [
            {
                "id": option["id"],
                "label": option["label"],
                "recommended": bool(option.get("recommended")),
                "wants_text": bool(option.get("wants_text")),
            }
            for option in row["options"]
        ],
        "asked_at": row["created_at"].isoformat(timespec="seconds"),
    }


def _print(facts: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        output.emit_json(facts)
        return
    stories = facts["stories"]
    if panic := facts["panic"]:
        output.say(f"PANIC since {panic['since']}, by {panic['by']}: {panic['reason']}")
        output.say("Nothing runs and nothing starts: `auto-dev release` lets the work go on.\n")
    if not stories:
        output.say("No stories yet. Begin with `auto-dev start DIR`.")
    rows = [
        (
            s["id"],
            _status_words(s),
            line(s["title"], 60),
            _where_words(s),
            money(microusd(s["cost_usd"])),
        )
        for s in stories
    ]
    if rows:
        output.table(
            ("story", "status", "title", "pull request or reason", "cost"), rows,
            styles=[output.STYLES.get(s["status"], "") for s in stories],
        )  # fmt: skip
    output.say()
    for decision in facts["decisions"]:
        print_decision(decision)
    spent, cap = microusd(facts["cost_today_usd"]), microusd(facts["daily_budget_usd"])
    daemon = facts["daemon"]
    state = f"daemon runs (PID {daemon['pid']})" if daemon else "no daemon runs"
    paused = (", panic" if facts["panic"] else "") + (", paused" if facts["paused"] else "")
    output.say(f"{state}{paused} · today {money(spent)} of {money(cap)}")


def _where_words(story: Mapping[str, Any]) -> str:
    """The pull request, and why it is not only waiting for review; without one the reason."""
    reason = line(story["reason"], 120)
    if story["pr"] and reason and story["status"] == "in_review":
        return f"{story['pr']} ({reason})"
    return story["pr"] or reason


def _status_words(story: Mapping[str, Any]) -> str:
    if story["status"] == "running":
        return f"running {story['phase']} {story['progress']} %"
    return str(story["status"]).replace("_", " ")


def print_decision(decision: Mapping[str, Any]) -> None:
    """A question, what speaks for it, and the commands that answer it."""
    question, story = line(decision["question"], 400), decision["story"]
    output.say(f"? {question if question.startswith(story) else f'{story}: {question}'}  [{decision['id']}]")
    if decision["why"]:
        output.say(f"    {line(decision['why'], 400)}")
    for entry in decision["evidence"][:3]:
        where = f"{entry['file']}:{entry['line']}" if entry.get("file") and entry.get("line") else entry.get("file", "")
        parts = (str(part) for part in (entry.get("title"), where, entry.get("number")) if part not in (None, ""))
        output.say("    | " + line(" ".join(parts), 160))
        for part in [part for part in str(entry.get("excerpt", "")).splitlines() if part.strip()][-4:]:
            output.say(f"    |   {line(part, 160)}")
    for option in decision["options"]:
        text = ' --text "…"' if option["wants_text"] else ""
        star = " (recommended)" if option["recommended"] else ""
        output.say(f"    auto-dev decide {decision['id']} --answer {option['id']}{text}   # {option['label']}{star}")
    output.say()


async def decisions_list(*, as_json: bool, only: str | None = None) -> ExitCode:
    """Print what waits for a person: all of it, or one decision."""
    from auto_dev.store import decisions

    place = await here(lenient=True)
    rows: Sequence[DictRow] = ()
    if place.known:
        async with place.database() as db, db.pool.connection() as conn:
            rows = await decisions.open_ones(conn, place.project_id)
            if only and all(row["id"] != only for row in rows):
                await decisions.require_open(conn, place.project_id, only)
    elif only:
        raise decisions.unknown(only)
    asked = [decision_facts(row) for row in rows if only in (None, row["id"])]
    if as_json:
        output.emit_json({"decisions": asked})
    elif not asked:
        output.say("Nothing waits for you.")
    else:
        for decision in asked:
            print_decision(decision)
    return ExitCode.DONE


async def logs(story: str | None, *, as_json: bool, follow: bool) -> ExitCode:
    """Print events, and for one story also its agent's output. JSON is one document, or a line each with ``follow``."""
    place = await here(lenient=True)
    if not place.known:
        if as_json and not follow:
            output.emit_json({"events": [], "files": []})
        else:
            output.say("Nothing happened yet.")
        return ExitCode.DONE
    async with place.database() as db:
        row = await _story_row(place, db, story) if story else None
        name = row["id"] if row else None
        found = await _events(place, db, 0, name)
        folder = place.place.runs / row["id"] / row["run_id"] if row and row["run_id"] else None
        if not follow:
            return _print_log(found, sorted(folder.glob("*.log")) if folder else [], as_json)
        last = 0
        while True:
            for event in found:
                last = event["id"]
                output.say(json.dumps(_event_facts(event), ensure_ascii=False) if as_json else _event_text(event))
            sys.stdout.flush()
            if not found:
                await asyncio.sleep(REFRESH_S / 2)
            found = await _events(place, db, last, name)


async def _story_row(place: Here, db: Any, story: str) -> DictRow:
    from auto_dev.store import backlog

    async with db.pool.connection() as conn:
        rows = await backlog.rows(conn, place.project_id)
    found: DictRow | None = next((row for row in rows if row["id"].lower() == story.lower()), None)
    if found is None:
        raise UsageError(f"there is no story {story!r}", mend="`auto-dev status` lists them.")
    return found


async def _events(place: Here, db: Any, after: int, story: str | None) -> list[DictRow]:
    """Every event after ``after``, oldest first."""
    from auto_dev.store import events

    found: list[DictRow] = []
    async with db.pool.connection() as conn:
        while more := await events.after(conn, place.project_id, found[-1]["id"] if found else after, story=story):
            found += more
    return found


def _print_log(found: Sequence[DictRow], files: Sequence[Path], as_json: bool) -> ExitCode:
    if as_json:
        output.emit_json({"events": [_event_facts(event) for event in found], "files": [str(path) for path in files]})
        return ExitCode.DONE
    for event in found:
        output.say(_event_text(event))
    if not found:
        output.say("Nothing happened yet.")
    for path in files:
        output.say(f"\n── {path}")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - _TAIL, 0))
            output.say(file.read().decode("utf-8", "replace").rstrip())
    return ExitCode.DONE


def _event_facts(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": event["id"], "at": event["at"].isoformat(timespec="milliseconds"), "kind": event["kind"],
        "story": event["story_id"], "run": event["run_id"], "data": event["data"],
    }  # fmt: skip


def _event_text(event: Mapping[str, Any]) -> str:
    return f"{event['at']:%H:%M:%S}  {event_line(event)}"


def event_line(event: Mapping[str, Any]) -> str:
    """An event as a person reads it."""
    data = {k: v for k, v in event["data"].items() if v not in ("", None, [], {})}
    words = "  ".join(_word(key, value) for key, value in data.items())
    return f"{event['story_id'] or '-':<14} {event['kind'].lower().replace('_', ' '):<22} {words}".rstrip()


def _word(key: str, value: Any) -> str:
    if key.endswith("_microusd"):
        return f"{key.removesuffix('_microusd')}={money(int(value))}"
    return f"{key}={line(', '.join(map(str, value)) if isinstance(value, list) else str(value), 120)}"
