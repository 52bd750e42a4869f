"""Tests that fail now and then, as seen in this project: known to later runs, forgotten when not seen for long."""

from __future__ import annotations

from collections.abc import Collection

from auto_dev.store.events import QUERIES, Connection


async def known(conn: Connection, project: str) -> dict[str, frozenset[str]]:
    """By the command's name, what was seen to fail in one run and not in another of the same commit."""
    rows = await (await conn.execute(QUERIES["known_flaky"], {"project": project})).fetchall()
    return {row["command"]: frozenset(row["tests"]) for row in rows}


async def note(conn: Connection, project: str, command: str, names: Collection[str]) -> None:
    """Remember ``names``, and forget those that were not seen for 90 days."""
    await conn.execute(QUERIES["forget_flaky"], {"project": project})
    await conn.execute(QUERIES["note_flaky"], {"project": project, "command": command, "tests": sorted(names)[:1000]})
