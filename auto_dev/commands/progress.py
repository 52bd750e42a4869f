"""What a person sees while the daemon works in the foreground: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from auto_dev.commands import output
from auto_dev.commands.here import Here
from auto_dev.commands.status import event_line, gather
from auto_dev.errors import StoreError
from auto_dev.tasks import end_tasks
from auto_dev.text import line

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESH_S = 0.4
_QUIET = {"RUN_STEP", "RUN_QUEUED", "RUN_ESTIMATED", "AGENT_ENDED", "BRANCH_PUSHED", "TASK_STATUS_CHANGED"}


@asynccontextmanager
async def follow(place: Here, db: Any) -> AsyncIterator[None]:
    """Show what happens until the block ends."""
    task = asyncio.create_task(_live(place, db) if sys.stdout.isatty() else _lines(place, db))
    try:
        yield
    finally:
        await end_tasks(task)
        if sys.stdout.isatty():
            output.console().print(_picture(await gather(place, db)))
        else:
            await _print_new(place, db, task.get_name())


async def _lines(place: Here, db: Any) -> None:
    from auto_dev.store.events import QUERIES

    row = await db.fetch_one(QUERIES["last_event_id"], {"project": place.project_id})
    task = asyncio.current_task()
    assert task is not None
    task.set_name(str(row["id"] if row else 0))  # so that the last look begins where this loop was cut off
    while True:
        task.set_name(await _print_new(place, db, task.get_name()))
        await asyncio.sleep(REFRESH_S)


async def _print_new(place: Here, db: Any, after: str) -> str:
    from auto_dev.store import events

    try:
        async with db.pool.connection() as conn:
            found = await events.after(conn, place.project_id, int(after) if after.isdigit() else 0)
    except (psycopg.OperationalError, StoreError):
        return after  # the daemon says that the database is gone; this only shows
    for event in found:
        if event["kind"] not in _QUIET and event["data"].get("verdict") != "pass":
            output.say(f"{event['at']:%H:%M:%S}  {event_line(event)}")
        after = str(event["id"])
    sys.stdout.flush()
    return after


async def _live(place: Here, db: Any) -> None:
    from rich.live import Live

    with Live(console=output.console(), refresh_per_second=4, transient=True) as live:
        while True:
            try:
                live.update(_picture(await gather(place, db)))
            except (psycopg.OperationalError, StoreError) as error:
                live.update(f"waiting for the database: {line(str(error), 100)}")
            await asyncio.sleep(REFRESH_S)


def _picture(facts: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("story", "status", "progress", "cost", ""):
        table.add_column(name)
    for story in facts["stories"]:
        style = output.STYLES.get(story["status"], "")
        bar = "█" * (story["progress"] // 10) + "░" * (10 - story["progress"] // 10) if story["phase"] else ""
        table.add_row(
            Text(story["id"], style=style),
            Text(str(story["status"]).replace("_", " "), style=style),
            Text(bar, style=style),
            Text(f"${story['cost_usd']:.2f}"),
            Text(line(story["pr"] or story["reason"] or story["title"], 70), style="dim"),
        )
    foot = f"today ${facts['cost_today_usd']:.2f} of ${facts['daily_budget_usd']:.2f}"
    if facts["decisions"]:
        foot += f" · {len(facts['decisions'])} decision(s) wait for you: auto-dev decide"
    return Group(table, Text(foot))
