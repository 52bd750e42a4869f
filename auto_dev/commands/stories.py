"""``auto-dev stories check|list|explain``: what was read of a folder, and what stands in a story's way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from psycopg.rows import DictRow

from auto_dev.commands import output
from auto_dev.commands.here import here
from auto_dev.errors import ExitCode, GitError, StoryError, UsageError
from auto_dev.model import FileStatus
from auto_dev.stories import present
from auto_dev.stories.model import Backlog
from auto_dev.stories.reader import read_folder
from auto_dev.text import line


async def _backlog(folder: Path | None) -> Backlog:
    if folder is None:
        place = await here()
        if not place.config.project.stories:
            raise UsageError("which folder holds the stories?", mend="Name it, or set stories in [project].")
        folder = place.root / place.config.project.stories
    return await asyncio.to_thread(read_folder, folder)


@dataclass(frozen=True, slots=True)
class _Known:
    """What auto-dev knows of the stories: their rows, and those that no other one waits for any more."""

    satisfied: set[str]
    rows: Mapping[str, DictRow] = field(default_factory=dict)

    def now(self, story: str) -> dict[str, Any] | None:
        """How a story stands: {"status", "reason", "pull_request"}; None for one that nobody ordered yet."""
        row = self.rows.get(story)
        if row is None or (row["run_id"] is None and row["ordered_at"] is None):
            return None
        return {"status": row["status"], "reason": row["reason"] or "", "pull_request": row["pull_url"] or None}


async def _known(found: Backlog) -> _Known:
    done = {story.id for story in found.stories if story.status is FileStatus.DONE}
    try:
        place = await here()
    except GitError:
        return _Known(done)  # a folder outside any repository can be read, too
    if not place.known:
        return _Known(done)
    from auto_dev.store import backlog

    stacked = place.config.project.dependencies == "stacked"
    async with place.database() as db, db.pool.connection() as conn:
        rows = {row["id"]: row for row in await backlog.rows(conn, place.project_id)}
    enough = {name for name, row in rows.items() if row["status"] == "done" or (stacked and row["published"])}
    return _Known(done | enough, rows)


_NOT_BEGUN: Final = ("backlog", "parked", "ready", "blocked", "invalid")


def _now_words(now: Mapping[str, Any]) -> str:
    """``in review: CI failed (tests), repair 1 of 2``."""
    status = str(now["status"]).replace("_", " ")
    return f"{status}: {line(now['reason'], 200)}" if now["reason"] else status


async def check(folder: Path | None, *, as_json: bool) -> ExitCode:
    """Exit 1 when an error holds a story back."""
    found = await _backlog(folder)
    facts = present.check(found)
    if as_json:
        output.emit_json(facts)
    else:
        _print_check(facts)
    return ExitCode.DONE if facts["ok"] else ExitCode.ERROR


def _print_check(facts: dict[str, Any]) -> None:
    for entry in facts["files"]:
        stories = ", ".join(f"{s['id']} “{s['title']}” ({_understood(s)})" for s in entry["stories"])
        if stories or entry["problems"]:
            output.say(f"{entry['path']}: {stories or entry['kind']}")
        for problem in entry["problems"]:
            output.say(f"    {_problem(problem)}")
    output.say("  ".join(f"{name}: {count}" for name, count in facts["counts"].items()))


def _problem(problem: dict[str, Any]) -> str:
    where = f"line {problem['line']}" if problem.get("line") else ""
    return f"{problem['level']}: {StoryError(problem['message'], where=where, mend=problem['mend'])}"


def _understood(story: dict[str, Any]) -> str:
    criteria = len(story["acceptance_criteria"])
    needs = f", after {', '.join(story['depends_on'])}" if story["depends_on"] else ""
    return f"{story['status']}, priority {story['priority']}, criteria: {criteria}{needs}"


async def list_stories(folder: Path | None, *, as_json: bool) -> ExitCode:
    """The stories in working order."""
    found = await _backlog(folder)
    facts = present.listing(found, (await _known(found)).satisfied)
    if as_json:
        output.emit_json(facts)
        return ExitCode.DONE
    rows = facts["stories"]
    output.table(
        ("story", "ready", "priority", "title", "why not"),
        [
            (
                r["id"],
                "yes" if r["ready"] else "no",
                str(r["priority"]),
                r["title"],
                "" if r["ready"] else r["reasons"][0],
            )
            for r in rows
        ],
        styles=["green" if r["ready"] else "dim" for r in rows],
    )
    return ExitCode.DONE


async def explain(story: str, folder: Path | None, *, as_json: bool) -> ExitCode:
    """How a story stands, and why it would or would not start."""
    found = await _backlog(folder)
    known = await _known(found)
    facts = present.explain(found, story, known.satisfied)
    if facts is None:
        raise UsageError(f"there is no story {story!r} here", mend="`auto-dev stories list` shows them.")
    facts["now"] = known.now(facts["id"])
    for needed in facts["depends_on"]:
        needed["now"] = known.now(needed["id"])
    if as_json:
        output.emit_json(facts)
        return ExitCode.DONE
    begun = facts["now"] is not None and facts["now"]["status"] not in _NOT_BEGUN
    if begun:
        output.say(f"{facts['id']} is {_now_words(facts['now'])}.")
    else:
        output.say(f"{facts['id']} is {'ready to start' if facts['ready'] else 'not ready'}.")
        for reason in facts["reasons"]:
            output.say(f"  - {reason}")
    for needed in facts["depends_on"]:
        stands = f", {_now_words(needed['now'])}" if needed["now"] else ""
        output.say(f"  needs {needed['id']}: {'satisfied' if needed['satisfied'] else 'not yet'}{stands}")
    for problem in facts["problems"]:
        output.say(f"  {_problem(problem)}")
    return ExitCode.DONE
