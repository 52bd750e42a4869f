"""A question that is closed turns into its answer wherever it was shown.

What a delivered message asks stands in its receipt (``asks``), how it ended in the decision's row: from these two facts
follows what is still to be changed, whoever answered and by which way, after a crash and after an outage. Changing a
message twice is harmless.
"""

from __future__ import annotations

import logging
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from auto_dev import sql
from auto_dev.notify.channel import Item, Outgoing, SendError, Settles
from auto_dev.notify.settled import closed_of
from auto_dev.text import line

_QUERIES = sql.load("auto_dev.notify", "outbox.sql")
log = logging.getLogger(__name__)

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]


async def settle_closed(pool: Pool, project: str, name: str, channel: Settles) -> int:
    """Change what the channel ``name`` shows of decisions that are closed by now; how many messages that were.

    Raises SendError where the channel takes nothing now; the rest waits for the next call.
    """
    params = {"project": project, "channel": name}
    async with pool.connection() as conn:
        rows = await (await conn.execute(_QUERIES["unsettled"], params)).fetchall()
    for row in rows:
        await _settle(pool, params, channel, row)
    return len(rows)


async def _settle(pool: Pool, params: dict[str, Any], channel: Settles, row: DictRow) -> None:
    closed = {end.decision_id: end for end in map(closed_of, row["closed"])}
    receipt, group = row["receipt"], {**params, "group": row["group"]}
    async with pool.connection() as conn:
        items = await (await conn.execute(_QUERIES["group_items"], group)).fetchall()
    message = Outgoing(
        project_id=params["project"],
        key=row["group"],
        items=tuple(Item(item["kind"], item["payload"]) for item in items),
        created_at=items[0]["created_at"],
        earlier=receipt,
    )
    try:
        await channel.settle(message, closed)
    except SendError as error:
        if error.whole_channel:
            raise
        log.warning("%s: an answer cannot be shown: %s", params["channel"], error, extra={"action": "not_settled"})
        async with pool.connection() as conn:
            said = line(f"the answer cannot be shown: {error}", 500)
            await conn.execute(_QUERIES["unsettleable"], {**group, "error": said})
        return
    left = [decision for decision in receipt["asks"] if decision not in closed]
    asked = [*receipt.get("asked", ()), *(decision for decision in receipt["asks"] if decision in closed)]
    async with pool.connection() as conn:
        await conn.execute(_QUERIES["settled"], {**group, "asks": Jsonb(left), "asked": Jsonb(asked)})
