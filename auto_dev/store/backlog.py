"""The stories as rows: kept in step with their files, with edges, orders and candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from auto_dev.store.events import QUERIES, Connection, emit
from auto_dev.stories.model import Backlog, Story


async def sync(conn: Connection, project: str, backlog: Backlog, digests: Mapping[str, str], stacked: bool) -> None:
    """Make the rows say what the files say; edges and counters follow. Never removes a story that has a history."""
    held = backlog.held_back()
    await conn.execute(QUERIES["lock_stories"], {"project": project})
    for story in backlog.stories:
        problem = held.get(story.id)
        await conn.execute(
            QUERIES["upsert_story"],
            {
                "project": project,
                "id": story.id,
                "title": story.title,
                "path": story.path,
                "priority": story.priority,
                "tags": list(story.tags),
                "file_status": story.status,
                "position": story.position,
                "spec": Jsonb(story.model_dump(mode="json")),
                "digest": digests[story.id],
                "problem": f"{problem.message} ({problem.path})" if problem else "",
            },
        )
    ids = [story.id for story in backlog.stories]
    await conn.execute(QUERIES["mark_absent"], {"project": project, "ids": ids})
    edges = [(story.id, needed) for story in backlog.stories for needed in story.depends_on]
    parameters = {
        "project": project,
        "ids": ids,
        "from_ids": [edge[0] for edge in edges],
        "to_ids": [edge[1] for edge in edges],
    }
    await conn.execute(QUERIES["delete_dependencies"], parameters)
    await conn.execute(QUERIES["insert_dependencies"], parameters)
    await _recount(conn, project, stacked)


async def reconcile(conn: Connection, project: str, stacked: bool) -> None:
    """Recompute edges and counters from facts: the periodic scan behind the counters."""
    await conn.execute(QUERIES["lock_stories"], {"project": project})
    await _recount(conn, project, stacked)


async def _recount(conn: Connection, project: str, stacked: bool) -> None:
    await conn.execute(QUERIES["reconcile_dependencies"], {"project": project, "stacked": stacked})
    await conn.execute(QUERIES["count_dependencies"], {"project": project})


async def order(conn: Connection, project: str, stories: Iterable[str]) -> list[str]:
    """Record a person's order to work on these stories; return those that it now stands for."""
    cursor = await conn.execute(QUERIES["order_stories"], {"project": project, "ids": list(stories)})
    ordered = sorted(row["id"] for row in await cursor.fetchall())
    await emit(conn, project, "STORIES_ORDERED", stories=ordered)
    return ordered


async def candidates(conn: Connection, project: str, limit: int) -> list[str]:
    """Up to ``limit`` stories that may start now, in the order in which they should; locked for the caller."""
    cursor = await conn.execute(QUERIES["candidates"], {"project": project, "limit": limit})
    return [row["id"] for row in await cursor.fetchall()]


async def rows(conn: Connection, project: str) -> list[DictRow]:
    """Every story with its derived status (view ``story_status``)."""
    return await (await conn.execute(QUERIES["story_rows"], {"project": project})).fetchall()


async def row(conn: Connection, project: str, story: str) -> DictRow | None:
    """One story with its derived status."""
    return await (await conn.execute(QUERIES["story_row"], {"project": project, "story": story})).fetchone()


def story_of(row: DictRow) -> Story:
    """The story as it was read, from its row."""
    return Story.model_validate(row["spec"])
