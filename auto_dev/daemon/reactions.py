"""Which open pull requests are worked on again, and when: decided from what was noted about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from psycopg.rows import DictRow

from auto_dev.config import Config
from auto_dev.model import Cause
from auto_dev.nodes.context import Services
from auto_dev.notify import facts as messages
from auto_dev.store import follow_ups
from auto_dev.store.events import Connection, emit
from auto_dev.store.follow_ups import FOLLOW_UPS, Fact

QUIET_AT_MOST: Final = timedelta(minutes=5)  # after the last remark: a reviewer may be writing the next
PATIENCE: Final = timedelta(minutes=30)  # with a reviewer who does not stop
CHECKS_AT_MOST: Final = timedelta(hours=1)  # that one failed check waits for those that still run
HARD_LIMIT: Final = 5  # times the attempts, over a pull request's whole life, whatever people say
_BY_COMMIT: Final = (Cause.CHECK, Cause.CONFLICT)


@dataclass(frozen=True, slots=True)
class Rules:
    """``attempts`` of an agent until a person speaks; ``quiet``: how long no new remark came."""

    attempts: int
    quiet: timedelta

    @classmethod
    def of(cls, config: Config) -> Rules:
        minutes = timedelta(minutes=config.forge.follow_up_minutes)
        return cls(config.forge.follow_up_attempts, min(minutes, QUIET_AT_MOST))


@dataclass(frozen=True, slots=True)
class Standing:
    """A pull request as last seen: its head, how many checks still run, how often an agent answered it."""

    head: str
    pending: int = 0
    used: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Reaction:
    """``take``: the facts that one run answers now, for ``purpose``. ``aside``: those that none does, and ``why``."""

    take: tuple[str, ...] = ()
    purpose: str = ""
    aside: tuple[str, ...] = ()
    why: str = ""


def react(waiting: Sequence[Fact], standing: Standing, rules: Rules, now: datetime) -> Reaction:
    """What to do about the facts that wait. Pure."""
    live = [fact for fact in waiting if fact.cause not in _BY_COMMIT or fact.head_sha == standing.head]
    fresh = [fact for fact in live if not fact.set_aside]
    if not fresh or _may_go_on(fresh, rules, now) or _still_running(fresh, standing, now):
        return Reaction()
    moves = [fact for fact in fresh if fact.cause is Cause.MOVED]
    asking = [fact for fact in fresh if fact.cause is not Cause.MOVED]
    used = 0 if any(_by_person(fact) for fact in asking) else standing.used
    if asking and (used >= rules.attempts or standing.total >= HARD_LIMIT * rules.attempts):
        why = f"{words(asking)}; {_used_up(min(used, standing.total) or standing.total, rules)}: it waits for you"
        keys = tuple(fact.key for fact in asking)
        return Reaction(tuple(fact.key for fact in moves), words(moves) if moves else "", keys, why)
    if not asking:
        return Reaction(tuple(fact.key for fact in moves), words(moves))
    # What was set aside is answered with it: it is still true, and the person who spoke may well mean it.
    purpose = f"{words(live)}, repair {used + 1} of {rules.attempts}"
    return Reaction(tuple(fact.key for fact in live), purpose)


def _may_go_on(fresh: Sequence[Fact], rules: Rules, now: datetime) -> bool:
    """Whether a reviewer may still be writing."""
    remarks = [fact for fact in fresh if fact.cause is Cause.REMARK]
    if not remarks:
        return False
    latest = max(fact.at or now for fact in remarks)
    first = min(fact.seen or now for fact in remarks)
    return now - latest < rules.quiet and now - first < PATIENCE


def _still_running(fresh: Sequence[Fact], standing: Standing, now: datetime) -> bool:
    """Whether only a part of the checks is known, and nothing else is to be answered."""
    if not standing.pending or any(fact.cause is not Cause.CHECK for fact in fresh):
        return False
    return now - min(fact.seen or now for fact in fresh) < CHECKS_AT_MOST


def _by_person(fact: Fact) -> bool:
    return fact.cause is Cause.REMARK and not fact.data.get("bot")


def _used_up(count: int, rules: Rules) -> str:
    if rules.attempts == 0:
        return "follow_up_attempts is 0"
    return "its repair run is used up" if count == 1 else f"its {count} repair runs are used up"


def words(facts: Collection[Fact]) -> str:
    """``CI failed (tests), 2 review comments``."""
    parts = []
    for cause in Cause:
        some = [fact for fact in facts if fact.cause is cause]
        if not some:
            continue
        if cause is Cause.CHECK:
            names = sorted({str(fact.data.get("name", "")) for fact in some})
            parts.append(f"CI failed ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})")
        elif cause is Cause.REMARK:
            parts.append("a review comment" if len(some) == 1 else f"{len(some)} review comments")
        elif cause is Cause.CONFLICT:
            parts.append(f"conflicts with {some[0].data.get('base', 'its base')}")
        else:
            merged = sorted({name for fact in some for name in fact.data.get("merged", ())})
            rewritten = sorted({name for fact in some for name in fact.data.get("rewritten", ())})
            parts += [f"{', '.join(merged)} merged"] if merged else []
            parts += [f"{', '.join(rewritten)} rewritten"] if rewritten else []
    return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Due:
    """A follow-up that may start now."""

    story: str
    number: int
    follows: str
    reaction: Reaction


async def due(conn: Connection, services: Services, config: Config, limit: int) -> list[Due]:
    """Up to ``limit`` follow-ups to start, in the caller's transaction; their pull requests stay locked until its end.

    What no run may answer any more is set aside, and a person is told once.
    """
    project, rules = services.place.id, Rules.of(config)
    await conn.execute(FOLLOW_UPS["note_moves"], {"project": project})
    rows = await (await conn.execute(FOLLOW_UPS["due"], {"project": project})).fetchall()
    found: list[Due] = []
    for row in rows:
        if len(found) >= limit:
            break
        used, total = await follow_ups.attempts(conn, project, row["story_id"], row["number"])
        standing = Standing(row["head_sha"], int(row["checks"].get("pending", 0)), used, total)
        waiting = await follow_ups.waiting(conn, project, row["number"])
        reaction = react(waiting, standing, rules, services.clock())
        if reaction.aside:
            await _set_aside(conn, services, row, reaction)
        if reaction.take:
            found.append(Due(row["story_id"], row["number"], row["run_id"], reaction))
    return found


async def _set_aside(conn: Connection, services: Services, row: DictRow, reaction: Reaction) -> None:
    project, story = services.place.id, row["story_id"]
    await follow_ups.set_aside(conn, project, row["number"], reaction.aside, reaction.why)
    await emit(conn, project, "FOLLOW_UP_STOPPED", story=story, pull_request=row["url"], reason=reaction.why)
    fact = messages.follow_up_stopped(
        story_id=story, story_title=row["story_title"], number=row["number"], head_sha=row["head_sha"],
        why=reaction.why, url=row["url"],
    )  # fmt: skip
    await services.tell(conn, fact)
