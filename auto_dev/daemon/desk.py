"""Where answers from Slack are handed in: who may decide, and the one transaction in which the first answer counts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout

from auto_dev.config import Config
from auto_dev.daemon.control import Control
from auto_dev.errors import AutoDevError, StoreError
from auto_dev.notify import facts, outbox
from auto_dev.notify.settled import closed_of, outcome
from auto_dev.notify.slack_desk import Asked, Person, RefusedError, UnavailableError
from auto_dev.notify.sparing import Sparing
from auto_dev.store import decisions
from auto_dev.store.database import Database
from auto_dev.store.events import QUERIES, emit, wake

VIA = "slack"

log = logging.getLogger(__name__)


class SlackDesk:
    """One project's desk. ``config`` is asked at each click: who may decide is what the file says now."""

    def __init__(self, db: Database, project: str, config: Callable[[], Config], clock: Callable[[], datetime]) -> None:
        self._db = db
        self._project = project
        self._config = config
        self._clock = clock
        self._sparing = Sparing(log)

    async def look(self, who: Person, decision: str, option: str) -> Asked:
        """See ``Desk``."""
        self._admit(who)
        async with self._plainly(decision), self._db.pool.connection() as conn:
            row = await decisions.require_open(conn, self._project, decision)
            chosen = decisions.option_of(row, option)
        return _asked(row, chosen)

    async def answer(self, who: Person, decision: str, option: str, text: str = "") -> None:
        """See ``Desk``."""
        self._admit(who)
        channels = tuple(self._config().notify.channels)
        async with self._plainly(decision):
            await Control(self._db, self._project, who.said, VIA, channels).answer(decision, option, text)
        log.info("answered in Slack", extra={"action": "slack_answered", "why": f"{decision} by {who.said}"})

    async def first(self, digest: str, until: datetime) -> bool:
        """See ``Desk``."""
        async with self._available():
            row = await self._db.fetch_one(
                QUERIES["remember_request"], {"digest": digest, "until": until, "now": self._clock()}
            )
        return row is not None

    async def trouble(self, text: str) -> None:
        """See ``Desk``."""
        config = self._config()
        others = [channel for channel in config.notify.channels if channel != VIA]
        fact = facts.answers_unheard(reason=text, since=self._clock().isoformat(timespec="seconds"))
        async with self._available(), self._db.transaction() as conn:
            await emit(conn, self._project, "ALERT", text=f"answers in Slack are not taken: {text}")
            await outbox.enqueue(conn, project_id=self._project, channels=others, **fact.row())
            await wake(conn, self._project)

    def _admit(self, who: Person) -> None:
        deciders = self._config().notify.slack.deciders
        if who.id in deciders:
            return
        self._sparing.warn("slack_refused", f"a click without the right to decide, by {who.said}")
        if not deciders:
            raise RefusedError("Nobody may decide in Slack yet: deciders is empty in [notify.slack] of auto-dev.toml.")
        raise RefusedError(f"You may not decide here. Whoever owns auto-dev.toml can add {who.id} to its deciders.")

    @asynccontextmanager
    async def _plainly(self, decision: str) -> AsyncIterator[None]:
        """Refusals in the words of somebody who pressed a button, not of somebody who typed a command."""
        try:
            async with self._available():
                yield
        except decisions.ClosedError as error:
            end = outcome(closed_of(error.row))
            if not end.answer:
                raise RefusedError("This is no longer asked: its run ended in another way.") from None
            raise RefusedError(f"This was answered already: {end.one_line}. Nothing was changed.") from None
        except decisions.UnknownError:
            raise RefusedError(
                f"This daemon works on the project {self._project} and has no decision {decision!r}. "
                "Where several projects use Slack, each needs an app of its own."
            ) from None
        except (RefusedError, UnavailableError):
            raise
        except AutoDevError as error:  # an option that is not there, an amount that is none
            raise RefusedError(error.what, mend=error.mend, final=False) from None

    @asynccontextmanager
    async def _available(self) -> AsyncIterator[None]:
        try:
            yield
        except (psycopg.OperationalError, PoolTimeout, StoreError) as error:
            raise UnavailableError(f"the database does not answer: {type(error).__name__}") from error


def _asked(row: Mapping[str, Any], option: Mapping[str, Any]) -> Asked:
    return Asked(
        decision=row["id"],
        option=option["id"],
        label=str(option.get("label") or option["id"]),
        question=row["question"],
        action=str(option.get("action") or ""),
        wants_text=bool(option.get("wants_text")),
    )
