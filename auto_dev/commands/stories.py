"""``auto-dev stories check|list|explain``: what was read of a folder, and what stands in a story's way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from auto_dev.commands import output
from auto_dev.commands.here import here
from auto_dev.errors import ExitCode, GitError, StoryError, UsageError
from auto_dev.model import FileStatus
from auto_dev.stories import present
from auto_dev.stories.model import Backlog
from auto_dev.stories.reader import read_folder


async def _backlog(folder: Path | None) -> Backlog:
    if folder is None:
        place = await here()
        if not place.config.project.stories:
            raise UsageError("which folder holds the stories?", mend="Name it, or set stories in [project].")
        folder = place.root / place.config.project.stories
    return await asyncio.to_thread(read_folder, folder)


async def _satisfied(found: Backlog) -> set[str]:
    """Stories that no other one waits for any more: done by their file, or by what auto-dev knows of them."""
    done = {story.id for story in found.stories if story.status is FileStatus.DONE}
    try:
        place = await here()
    except GitError:
        return done  # a folder outside any repository can be read, too
    if not place.known:
        return done
    from auto_dev.store import backlog

    enough = {"done", "in_review"} if place.config.project.dependencies == "stacked" else {"done"}
    async with place.database() as db, db.pool.connection() as conn:
        return done | {row["id"] for row in await backlog.rows(conn, place.project_id) if row["status"] in enough}


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
    facts = present.listing(found, await _satisfied(found))
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
    """Why a story would or would not start."""
    found = await _backlog(folder)
    facts = present.explain(found, story, await _satisfied(found))
    if facts is None:
        raise UsageError(f"there is no story {story!r} here", mend="`auto-dev stories list` shows them.")
    if as_json:
        output.emit_json(facts)
        return ExitCode.DONE
    output.say(f"{facts['id']} is {'ready to start' if facts['ready'] else 'not ready'}.")
    for reason in facts["reasons"]:
        output.say(f"  - {reason}")
    for needed in facts["depends_on"]:
        output.say(f"  needs {needed['id']}: {'satisfied' if needed['satisfied'] else 'not yet'}")
    for problem in facts["problems"]:
        output.say(f"  {_problem(problem)}")
    return ExitCode.DONE
