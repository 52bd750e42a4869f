"""Leases: who owns a story's run, worktree and branch now. The epoch rises with every owner and never falls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from auto_dev.errors import StaleLeaseError
from auto_dev.store.events import QUERIES, Connection

TTL_S = 30.0


@dataclass(frozen=True, slots=True)
class Lease:
    """Ownership of one story under one epoch."""

    project_id: str
    story_id: str
    owner: str
    epoch: int


async def claim(conn: Connection, project: str, story: str, owner: str, ttl_s: float = TTL_S) -> Lease | None:
    """Take a free, expired or dead owner's lease; None while somebody alive holds it."""
    cursor = await conn.execute(
        QUERIES["claim_lease"], {"project": project, "story": story, "daemon": owner, "ttl": ttl_s}
    )
    row = await cursor.fetchone()
    return Lease(project, story, owner, row["epoch"]) if row else None


@contextmanager
def fenced() -> Iterator[None]:
    """Turns the database's refusal of an old epoch into StaleLeaseError."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate == "AD002":
            raise StaleLeaseError(str(error.diag.message_primary)) from None
        raise


async def fence(conn: Connection, lease: Lease) -> None:
    """Raise StaleLeaseError unless ``lease`` is still current; it stays so until this transaction ends."""
    with fenced():
        await conn.execute(
            QUERIES["fence"], {"project": lease.project_id, "story": lease.story_id, "epoch": lease.epoch}
        )


async def renew(conn: Connection, project: str, owner: str, ttl_s: float = TTL_S) -> dict[str, int]:
    """Prolong every lease of ``owner``; return story id → epoch of those that are still its own."""
    cursor = await conn.execute(QUERIES["renew_leases"], {"project": project, "daemon": owner, "ttl": ttl_s})
    return {row["story_id"]: row["epoch"] for row in await cursor.fetchall()}


async def release(conn: Connection, lease: Lease) -> None:
    """Give the lease back, unless it has a newer owner already."""
    await conn.execute(
        QUERIES["release_lease"], {"project": lease.project_id, "story": lease.story_id, "epoch": lease.epoch}
    )


async def revoke(conn: Connection, project: str, story: str) -> None:
    """Take the story from whoever owns it: a person aborts or skips it."""
    await conn.execute(QUERIES["revoke_lease"], {"project": project, "story": story})


async def held(conn: Connection, project: str) -> set[str]:
    """The stories that somebody owns now."""
    cursor = await conn.execute(QUERIES["held_leases"], {"project": project})
    return {row["story_id"] for row in await cursor.fetchall()}
