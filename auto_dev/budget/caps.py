"""Limits of windows that exist already: brought to the configuration, or changed by a person, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from auto_dev import sql
from auto_dev.budget.limits import BudgetLimits, WindowKey
from auto_dev.errors import BudgetError
from auto_dev.model import Scope
from auto_dev.text import line

Connection = AsyncConnection[DictRow]

QUERIES: Final = sql.load("auto_dev.budget", "ledger.sql")
CONFIGURATION: Final = "auto-dev.toml"  # who changed a limit, when it was no person's single decision


def columns(wanted: Sequence[WindowKey]) -> dict[str, list[str]]:
    """Windows as parameters of a query."""
    return {"scopes": [str(window.scope) for window in wanted], "keys": [window.key for window in wanted]}


async def apply_limits(conn: Connection, project: str, wanted: Sequence[WindowKey], now: datetime) -> None:
    """Bring windows to the configured limits where they differ. A person's own limit for a window stays.

    To be called in a transaction.
    """
    for row, window in zip(await _open_and_lock(conn, project, wanted, now), wanted, strict=True):
        entries = await _entries(conn, project, window)
        current = row["cap_microusd"] if entries["latest"] is None else entries["latest"]
        limit = window.limit_microusd if entries["by_person"] is None else entries["by_person"]
        if limit != current:
            await _enter(conn, row, current, limit, CONFIGURATION, "the configured limit changed", now)


async def set_limit(
    conn: Connection, project: str, target: WindowKey, to_microusd: int, by: str, reason: str, now: datetime
) -> DictRow:
    """Set the limit of one window on a person's word; the window's row as it is then. To be called in a transaction."""
    row = (await _open_and_lock(conn, project, (target,), now))[0]
    before = await _entries(conn, project, target)
    return await _enter(conn, row, before["latest"], to_microusd, line(by, 200), line(reason, 500), now)


def target(scope: Scope, key: str, limits: BudgetLimits, now: datetime) -> WindowKey:
    """The window that a person means. Raises BudgetError when there is none that could be changed."""
    if scope in (Scope.DAY, Scope.WEEK):
        current = next(window for window in limits.shared_windows(now) if window.scope is scope)
        if key not in ("", current.key):
            raise BudgetError(f"{key} is not the current {scope}, which is {current.key}")
        return current
    if not key:
        raise BudgetError(f"which {scope} is meant is not said", mend=f"Give the {scope}'s id.")
    if scope is Scope.STORY:
        return WindowKey(scope, key, limits.story)
    if limits.run is None:
        raise BudgetError("runs have no limit of their own", mend="Raise the limit of the story, the day or the week.")
    return WindowKey(scope, key, limits.run)


async def _open_and_lock(conn: Connection, project: str, wanted: Sequence[WindowKey], now: datetime) -> list[DictRow]:
    params = {
        "project": project,
        "now": now,
        "caps": [window.limit_microusd for window in wanted],
        **columns(wanted),
    }
    await conn.execute(QUERIES["open_windows"], params)
    return await (await conn.execute(QUERIES["lock_windows"], params)).fetchall()


async def _entries(conn: Connection, project: str, window: WindowKey) -> DictRow:
    params = {"project": project, "scope": window.scope, "key": window.key, "configuration": CONFIGURATION}
    row = await (await conn.execute(QUERIES["limit_entries"], params)).fetchone()
    assert row is not None  # a SELECT of two values has one row
    return row


async def _enter(
    conn: Connection, row: DictRow, before: int | None, limit: int, by: str, reason: str, now: datetime
) -> DictRow:
    params = {
        "window": row["id"],
        "before": row["cap_microusd"] if before is None else before,
        "limit": limit,
        "by": by,
        "reason": reason,
        "now": now,
    }
    changed = await (await conn.execute(QUERIES["enter_limit"], params)).fetchone()
    assert changed is not None  # the row is locked by this transaction
    return changed
