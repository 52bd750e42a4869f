"""What a person can do to runs and stories, from any channel: one transaction each, which also wakes the daemon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg.errors import DeadlockDetected
from psycopg.rows import DictRow

from auto_dev.config import Config
from auto_dev.daemon import shortfall
from auto_dev.daemon.scheduler import OPERATOR, start_run
from auto_dev.errors import AutoDevError, UsageError
from auto_dev.model import ACTIVE_RUN, FileStatus, RunStatus
from auto_dev.notify import facts, outbox
from auto_dev.store import backlog, decisions, leases, panics, runs
from auto_dev.store.database import Database
from auto_dev.store.events import QUERIES, Connection, emit, wake
from auto_dev.store.panics import Panic

NO_REASON: Final = "no reason was given"
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Panicked:
    """What a call of ``panic`` came to. ``new``: no panic stood before. ``stopped``: the stories it paused now."""

    panic: Panic
    new: bool
    stopped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Released:
    """What a call of ``release`` came to. ``panic``: the one that stood, None for none. ``held``: by a pause, still."""

    panic: Panic | None
    resumed: tuple[str, ...] = ()
    held: bool = False


def still_panicking(panic: Panic) -> AutoDevError:
    """The refusal of what a panic does not allow."""
    return AutoDevError(
        f"a panic holds this project since {panic.since:%Y-%m-%d %H:%M} UTC, by {panic.by}: {panic.reason}",
        mend="`auto-dev release` lets its work go on.",
    )


@dataclass(frozen=True, slots=True)
class Control:
    """A project's controls. ``by`` and ``via`` say who acts and through which channel ("cli", "slack", …)."""

    db: Database
    project: str
    by: str
    via: str
    channels: Sequence[str] = ()

    async def answer(self, decision: str, option: str, text: str = "") -> DictRow:
        """Answer a decision: the first valid answer counts. Raises UsageError (see ``decisions.answer``)."""
        async with self.db.transaction() as conn:
            row = await decisions.answer(conn, self.project, decision, option, text=text, by=self.by, via=self.via)
            story = await backlog.row(conn, self.project, row["story_id"])
            chosen = next(o for o in row["options"] if o["id"] == row["answer"])
            if row["kind"] == decisions.BUDGET:
                await self._settle_shortfall(conn, row, chosen["action"], chosen)
            fact = facts.decision_answered(
                decision_id=row["id"],
                story_id=row["story_id"],
                story_title=story["title"] if story else row["story_id"],
                question=row["question"],
                answer=str(chosen["label"]),
                answer_text=row["answer_text"],
                by=self.by,
                via=self.via,
            )
            await outbox.enqueue(conn, project_id=self.project, channels=self.channels, **fact.row())
            await wake(conn, self.project)
        return row

    async def _settle_shortfall(self, conn: Connection, row: DictRow, action: str, option: Mapping[str, Any]) -> None:
        """No graph waits for this answer, so it is carried out here."""
        if action == shortfall.RAISE:
            await shortfall.raise_limit(conn, row, option, by=self.by, now=row["answered_at"])
            return
        status = RunStatus.SKIPPED if action == "skip" else RunStatus.ABORTED
        story = await self._story(conn, row["story_id"])
        await self._end_now(conn, story, status, f"{status} by {self.by}: its limit was used up")

    async def pause(self, reason: str = OPERATOR) -> None:
        """Start nothing more; what runs completes its phase and pauses."""
        async with self.db.transaction() as conn:
            await conn.execute(QUERIES["set_paused"], {"project": self.project, "paused": True, "reason": reason})
            await emit(conn, self.project, "PROJECT_PAUSED", by=self.by, reason=reason)
            await wake(conn, self.project)

    async def resume(self) -> list[str]:
        """Go on: the project, and every paused run. Returns the runs. Raises AutoDevError while a panic stands."""
        resumed = []
        async with self.db.transaction() as conn:
            await conn.execute(QUERIES["lock_project"], {"project": self.project})
            if (panic := await panics.standing(conn, self.project)) is not None:
                raise still_panicking(panic)
            await conn.execute(QUERIES["set_paused"], {"project": self.project, "paused": False, "reason": ""})
            cursor = await conn.execute(QUERIES["paused_runs"], {"project": self.project})
            for row in await cursor.fetchall():
                await runs.requeue(conn, self.project, row["id"], [RunStatus.PAUSED])
                resumed.append(row["id"])
            await emit(conn, self.project, "PROJECT_RESUMED", by=self.by)
            await wake(conn, self.project)
        return resumed

    async def panic(self, reason: str = "", *, run: str | None = None, anomaly: str = "") -> Panicked:
        """Block all work at once, pause every run and take its story from its owner; may be called again.

        ``run`` and ``anomaly``: the run that caused it, and how. Ending the process trees is the daemon's part, which
        this wakes, or else the caller's (``panics.trees``). Raises AutoDevError for an unknown project.
        """
        async with self.db.transaction() as conn:
            panic, new = await panics.declare(conn, self.project, reason.strip() or NO_REASON, self.by)
            if panic is None:
                raise AutoDevError("nothing was ever started here", mend="Begin with `auto-dev start DIR`.")
            if new:
                await self._tell_of(conn, panic, run, anomaly)
            await wake(conn, self.project)
        for left in reversed(range(_TRIES)):
            try:
                async with self.db.transaction() as conn:
                    stopped = await panics.stop_runs(conn, self.project, panic)
                    await wake(conn, self.project)
                break
            except DeadlockDetected:  # with a run that was just being claimed or ended; nothing is claimed any more
                if not left:
                    raise
        return Panicked(panic, new, tuple(row["story_id"] for row in stopped))

    async def _tell_of(self, conn: Connection, panic: Panic, run: str | None, anomaly: str) -> None:
        row = await runs.get(conn, run) if run else None
        story = row["story_id"] if row else None
        await emit(
            conn, self.project, "PROJECT_PANIC", story=story, run=run, by=panic.by, via=self.via, reason=panic.reason,
            anomaly=anomaly,
        )  # fmt: skip
        fact = facts.panic(reason=panic.reason, by=panic.by, since=panic.since.isoformat())
        await outbox.enqueue(conn, project_id=self.project, channels=self.channels, **fact.row())

    async def release(self) -> Released:
        """Let work begin again; what the panic paused goes on, unless the project is paused besides."""
        async with self.db.transaction() as conn:
            former = await panics.lift(conn, self.project)
            if former is None:
                return Released(None)
            row = await (await conn.execute(QUERIES["get_project"], {"project": self.project})).fetchone()
            held = bool(row and row["paused"])
            resumed = [] if held else await self._go_on(conn)
            if held:
                await self._hold(conn)
            await emit(
                conn, self.project, "PROJECT_RELEASED", by=self.by, via=self.via, since=former.since.isoformat(),
                reason=former.reason,
            )  # fmt: skip
            await wake(conn, self.project)
        return Released(former, tuple(resumed), held)

    async def _go_on(self, conn: Connection) -> list[str]:
        """Give a job to what a panic paused, and to what was answered or tried again meanwhile and got none."""
        resumed = []
        for row in await (await conn.execute(QUERIES["queued_runs"], {"project": self.project})).fetchall():
            await runs.defer(conn, self.project, row["id"], runs.RESUMED)
        for row in await self._panicked(conn):
            await runs.requeue(conn, self.project, row["id"], [RunStatus.PAUSED])
            resumed.append(row["id"])
        return resumed

    async def _hold(self, conn: Connection) -> None:
        for row in await self._panicked(conn):
            await conn.execute(QUERIES["held_for"], {"run": row["id"], "reason": OPERATOR})

    async def _panicked(self, conn: Connection) -> list[DictRow]:
        cursor = await conn.execute(QUERIES["paused_runs"], {"project": self.project})
        return [row for row in await cursor.fetchall() if str(row["reason"]).startswith(panics.PREFIX)]

    async def resume_paused(self, cause: str, story: str | None = None) -> list[str]:
        """Let the runs go on that were paused for ``cause`` ("budget"): all, or one story's. Returns the runs."""
        resumed = []
        async with self.db.transaction() as conn:
            await conn.execute(QUERIES["lock_project"], {"project": self.project})
            cursor = await conn.execute(QUERIES["paused_runs"], {"project": self.project})
            for row in await cursor.fetchall():
                if str(row["reason"]).startswith(cause) and story in (None, row["story_id"]):
                    await runs.requeue(conn, self.project, row["id"], [RunStatus.PAUSED])
                    resumed.append(row["id"])
            await wake(conn, self.project)
        return resumed

    async def retry(self, story: str, config: Config, base_branch: str, hint: str = "") -> str:
        """Start the story again from its base: a new run. Raises UsageError when one is under way or it is done."""
        async with self.db.transaction() as conn:
            row = await self._story(conn, story)
            latest = await runs.latest(conn, self.project, row["id"])
            if latest is not None and latest["status"] in ACTIVE_RUN and latest["status"] != RunStatus.WAITING:
                raise UsageError(
                    f"{row['id']} is {latest['status']}", mend="Abort it first, or wait until it has ended."
                )
            if row["status"] == FileStatus.DONE:
                raise UsageError(f"{row['id']} is done")
            if latest is not None and latest["status"] == RunStatus.WAITING:
                await self._end(conn, latest, RunStatus.ABORTED, f"tried again by {self.by}")
            await conn.execute(QUERIES["unskip_story"], {"project": self.project, "story": row["id"]})
            await backlog.order(conn, self.project, [row["id"]])
            run = await start_run(conn, self.project, backlog.story_of(row), config, base_branch, hint=hint)
            await wake(conn, self.project)
        return run

    async def skip(self, story: str, reason: str = "") -> None:
        """Leave the story out; an active run of it ends, with its work kept."""
        await self._end_story(story, RunStatus.SKIPPED, f"skipped by {self.by}" + (f": {reason}" if reason else ""))

    async def abort(self, story: str) -> None:
        """End the story's active run, with its work kept on its branch or a salvage ref."""
        await self._end_story(story, RunStatus.ABORTED, f"aborted by {self.by}")

    async def _end_story(self, story: str, status: RunStatus, reason: str) -> None:
        async with self.db.transaction() as conn:
            await self._end_now(conn, await self._story(conn, story), status, reason)

    async def _end_now(self, conn: Connection, row: DictRow, status: RunStatus, reason: str) -> None:
        latest = await runs.latest(conn, self.project, row["id"])
        active = latest if latest is not None and latest["status"] in ACTIVE_RUN else None
        if active is None and status is RunStatus.ABORTED:
            raise UsageError(f"{row['id']} has no run under way")
        if active is not None:
            await self._end(conn, active, status, reason)
        if status is RunStatus.SKIPPED:
            await conn.execute(QUERIES["skip_story"], {"project": self.project, "story": row["id"], "reason": reason})
        else:
            await conn.execute(QUERIES["unorder_story"], {"project": self.project, "story": row["id"]})
        await emit(conn, self.project, "TASK_STATUS_CHANGED", story=row["id"], status=status, reason=reason)
        await wake(conn, self.project)

    async def _end(self, conn: Connection, run: DictRow, status: RunStatus, reason: str) -> None:
        await leases.revoke(conn, self.project, run["story_id"])
        await decisions.cancel(conn, run["id"])
        await runs.transition(conn, run["id"], ACTIVE_RUN, status, reason)

    async def _story(self, conn: Connection, story: str) -> DictRow:
        rows = [row for row in await backlog.rows(conn, self.project) if row["id"].lower() == story.lower()]
        if not rows:
            raise UsageError(f"there is no story {story!r}", mend="`auto-dev status` lists them.")
        return rows[0]
