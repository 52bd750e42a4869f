"""Looking after open pull requests: what a look at the forge finds is noted; what follows is the scheduler's business.

A look only reads, in a task of its own: a forge that is slow or away delays no work. All that was found is one commit
for each pull request, together with the cursor up to which it was read: a look that is killed is repeated, and says
nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from auto_dev.config import Config
from auto_dev.errors import AutoDevError, ForgeError, GitError, StoreError
from auto_dev.forge.allowance import Allowance
from auto_dev.forge.base import Checks, ForgeUnavailableError, News, Remark, RemarkKind, Watched
from auto_dev.model import Cause, PullState
from auto_dev.nodes.context import Services
from auto_dev.nodes.ended import pull_ended, pull_reopened
from auto_dev.store import follow_ups
from auto_dev.store.events import Connection, emit, wake
from auto_dev.store.follow_ups import FOLLOW_UPS, Fact
from auto_dev.text import line
from auto_dev.worktrees.adopt import fetch_story, forget_story

log = logging.getLogger(__name__)

CLOSED_FOR: Final = timedelta(days=30)  # a closed pull request may be opened again
BACKOFF_AT_MOST: Final = timedelta(hours=1)
FIRST_LOOK_S: Final = 60.0  # how long `--once` waits for its one look
_ANSWERABLE: Final = ("CHANGES_REQUESTED", "COMMENTED")


class Follower:
    """Looks at the open pull requests of one project now and then. ``looked``: the first look is over."""

    def __init__(self, services: Services, config: Callable[[], Config]) -> None:
        self._services = services
        self._config = config
        self._allowance: Allowance | None = None
        self.failures = 0
        self.looked = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Look, and look again, until ``stop``."""
        while not stop.is_set():
            pause = await self.look()
            self.looked.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause.total_seconds())

    async def once(self) -> None:
        """One look, which may take no longer than a minute."""
        try:
            async with asyncio.timeout(FIRST_LOOK_S):
                await self.look()
        except TimeoutError:
            log.warning("the look at the pull requests took too long", extra={"action": "look_late"})
        finally:
            self.looked.set()

    async def look(self) -> timedelta:
        """Take in what is new; how long to wait before the next look. Errors are told once, and waited out."""
        config = self._config()
        usual = timedelta(minutes=config.forge.follow_up_minutes) or timedelta(minutes=1)
        if config.forge.follow_up_minutes == 0:
            return usual
        try:
            await self._look(config)
        except (AutoDevError, psycopg.OperationalError, OSError) as error:
            return await self._failed(error, usual)
        if self.failures:
            log.info("the forge answers again", extra={"action": "look_again"})
        self.failures = 0
        return usual

    async def _failed(self, error: Exception, usual: timedelta) -> timedelta:
        """A look that came to nothing: said once, then less and less often tried."""
        self.failures += 1
        if self.failures == 1:
            log.warning("no look at the pull requests", extra={"action": "look_failed", "why": line(str(error), 300)})
            with contextlib.suppress(psycopg.Error, StoreError):
                async with self._services.db.transaction() as conn:
                    await emit(conn, self._services.place.id, "FORGE_AWAY", reason=line(str(error), 300))
        longer: int = 2 ** min(self.failures - 1, 10)
        pause = min(usual * longer, max(BACKOFF_AT_MOST, usual))
        resume_at = error.resume_at if isinstance(error, ForgeUnavailableError) else None
        return max(pause, resume_at - self._services.clock()) if resume_at else pause

    async def _look(self, config: Config) -> None:
        services, project = self._services, self._services.place.id
        async with services.db.pool.connection() as conn:
            rows = await follow_ups.watched(conn, project, services.clock() - CLOSED_FOR)
        if rows:
            allowance = self._allowed(config)
            digest = await services.forge.news([Watched(row["number"], row["cursor"]) for row in rows], allowance)
            by_number = {row["number"]: row for row in rows}
            troubles = {**digest.troubles, **dict.fromkeys(digest.left_out, "no request left this hour")}
            for news in sorted(digest.news, key=lambda news: not news.pull.ended):  # what was merged comes first
                try:
                    await self._take_in(by_number[news.pull.number], news, config)
                except ForgeError as error:
                    troubles[news.pull.number] = str(error)
            await self._note_troubles(troubles)
            tips: dict[str, str] = {}
            for news in digest.news:
                if not news.pull.ended:
                    await self._look_for_conflicts(by_number[news.pull.number], news.pull.head_sha, tips)
        await self._tidy()
        async with services.db.transaction() as conn:
            await wake(conn, project)

    def _allowed(self, config: Config) -> Allowance:
        per_hour = config.forge.follow_up_requests
        if self._allowance is None or self._allowance.per_hour != per_hour:
            self._allowance = Allowance(per_hour, self._services.clock)
        return self._allowance

    # ── what the forge says ───────────────────────────────────────────────────────────────────────────────────────

    async def _take_in(self, row: DictRow, news: News, config: Config) -> None:
        """Write down what is new about one pull request, unless somebody else was faster."""
        services, project, pull = self._services, self._services.place.id, news.pull
        story, known = str(row["story_id"]), PullState(row["state"])
        excused = await self._failed_on_base(row, news.checks)
        async with services.db.transaction() as conn:
            if pull.ended:
                await pull_ended(conn, services, story, known, pull)
            about = {"project": project, "number": pull.number}
            await conn.execute(FOLLOW_UPS["begin_watch"], {**about, "story": story})
            now = await (await conn.execute(FOLLOW_UPS["lock_watch"], about)).fetchone()
            if now is None or now["cursor"] != row["cursor"] or now["head_sha"] != row["head_sha"]:
                return  # a run published, or another look was faster: the next look asks again
            failed = facts_of_checks(news.checks, excused)
            if not pull.ended:
                await pull_reopened(conn, services, story, pull)
                remarks = [fact_of_remark(remark) for remark in news.remarks if is_wanted(remark, config)]
                await follow_ups.add(conn, project, pull.number, story, [*failed, *remarks])
                await conn.execute(
                    FOLLOW_UPS["drop_outdated"],
                    {**about, "head_sha": pull.head_sha, "failed": [fact.key for fact in failed]},
                )
                await self._note_base(conn, row, pull.base)
            await conn.execute(
                FOLLOW_UPS["set_watch"],
                {
                    **about,
                    "cursor": news.cursor,
                    "head_sha": pull.head_sha,
                    "checks": Jsonb(summary_of(news.checks, excused)),
                    "now": services.clock(),
                },
            )

    async def _note_base(self, conn: Connection, row: DictRow, base: str) -> None:
        """A person moved the pull request to another branch, or the forge did, as the former one is gone."""
        if base and base != row["base"]:
            await conn.execute(
                FOLLOW_UPS["rebase_pull"],
                {"project": self._services.place.id, "number": row["number"], "base": base},
            )

    async def _failed_on_base(self, row: DictRow, checks: Checks | None) -> frozenset[str]:
        """Names of checks that fail on the commit that the story began at, too: not the story's fault."""
        if checks is None or not checks.failed or not row["base_sha"]:
            return frozenset()
        base = await self._services.forge.checks(row["base_sha"], self._allowed(self._config()))
        return frozenset(check.name for check in base.failed)

    async def _note_troubles(self, troubles: dict[int, str]) -> None:
        by_reason: dict[str, list[int]] = {}
        for number, why in troubles.items():
            by_reason.setdefault(line(why, 300), []).append(number)
        for why, numbers in by_reason.items():
            await self._services.db.execute(
                FOLLOW_UPS["set_trouble"],
                {"project": self._services.place.id, "numbers": numbers, "trouble": why, "now": self._services.clock()},
            )

    # ── what git says ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _look_for_conflicts(self, row: DictRow, head: str, tips: dict[str, str]) -> None:
        """Try the merge that a person would make, once for each pair of commits; a base that moved is no news.

        ``tips``: where the base branches stand, as this look found them.
        """
        services, project, branch = self._services, self._services.place.id, str(row["branch"])
        history = services.worktrees.history
        async with services.db.pool.connection() as conn:
            pull = await follow_ups.pull_of(conn, project, row["story_id"])
            pulls = await follow_ups.pulls(conn, project)
        if pull is None or pull["number"] != row["number"] or pull["state"] not in (PullState.DRAFT, PullState.OPEN):
            return
        base = str(pull["base"])
        on_story = next((other for other in pulls.values() if other["branch"] == base), None)
        if on_story is not None and on_story["state"] in (PullState.MERGED, PullState.CLOSED):
            return  # it is moved anyway, or a person has to say where it belongs
        try:
            if on_story is None and base not in tips:
                tips[base] = (await services.base_tip(base, fresh=True)).sha
            tip = on_story["head_sha"] if on_story is not None else tips[base]
            judged = f"{head}:{tip}"
            if judged == row["judged"]:
                return
            if not await history.has(head) and services.repository.push is not None:
                await fetch_story(services.mirror, branch, services.repository.push)
            files = await history.conflicts(tip, head)
        except GitError as error:
            log.info("conflicts not looked for", extra={"action": "no_merge_tried", "why": line(str(error), 300)})
            return
        async with services.db.transaction() as conn:
            if files:
                data = {"base": base, "tip": tip, "files": list(files[:50])}
                fact = Fact(f"conflict:{judged}", Cause.CONFLICT, head, data)
                await follow_ups.add(conn, project, row["number"], row["story_id"], [fact])
            else:
                await conn.execute(FOLLOW_UPS["drop_conflicts"], {"project": project, "number": row["number"]})
            await conn.execute(
                FOLLOW_UPS["set_judged"], {"project": project, "number": row["number"], "judged": judged}
            )

    async def _tidy(self) -> None:
        """Clear away what merged stories left in the mirror; their worktrees go with those of other ended runs."""
        services, project = self._services, self._services.place.id
        for row in await services.db.fetch_all(FOLLOW_UPS["untidied"], {"project": project}):
            try:
                await forget_story(services.mirror, row["branch"], row["runs"])
            except GitError as error:
                log.info("refs left", extra={"action": "refs_left", "why": line(str(error), 300)})
                continue
            await services.db.execute(
                FOLLOW_UPS["set_tidied"], {"project": project, "number": row["number"], "now": services.clock()}
            )


# ── from the forge's words to facts ─────────────────────────────────────────────────────────────────────────────────


def is_wanted(remark: Remark, config: Config) -> bool:
    """Whether an agent may act on a remark: of people who may write to the repository, and of bots that are named.

    What a stranger writes is not even kept.
    """
    if remark.bot:
        name = remark.author.lower().removesuffix("[bot]")
        trusted = {bot.lower().removesuffix("[bot]") for bot in config.forge.trusted_bots}
        if name not in trusted:
            return False
    elif not remark.by_writer:
        return False
    if remark.kind is RemarkKind.REVIEW and remark.verdict not in _ANSWERABLE:
        return False  # an approval, or a review that was taken back
    return bool(remark.body.strip())


def fact_of_remark(remark: Remark) -> Fact:
    data = {
        "author": remark.author, "association": remark.association, "body": remark.body, "url": remark.url,
        "bot": remark.bot, "verdict": remark.verdict, "path": remark.path, "line": remark.line,
    }  # fmt: skip
    return Fact(f"remark:{remark.kind}:{remark.id}", Cause.REMARK, data=data, at=remark.at)


def facts_of_checks(checks: Checks | None, excused: frozenset[str]) -> list[Fact]:
    """The failed checks that count, one for each name."""
    found: dict[str, Fact] = {}
    if checks is None:
        return []
    for check in checks.failed:
        if check.name in excused:
            continue
        annotations: Sequence[dict[str, Any]] = [
            {"path": each.path, "line": each.line, "text": each.text} for each in check.annotations
        ]
        data = {
            "name": check.name, "conclusion": check.conclusion, "summary": check.summary, "url": check.url,
            "annotations": annotations,
        }  # fmt: skip
        found[check.name] = Fact(f"check:{checks.sha}:{check.name}", Cause.CHECK, checks.sha, data)
    return list(found.values())


def summary_of(checks: Checks | None, excused: frozenset[str]) -> dict[str, Any]:
    """``pull_watches.checks``."""
    if checks is None:
        return {}
    failed = sorted({check.name for check in checks.failed})
    return {
        "failed": [name for name in failed if name not in excused],
        "known": [name for name in failed if name in excused],
        "pending": len(checks.pending),
        "passed": len(checks.done) - len(checks.failed),
        "trouble": checks.trouble,
    }
