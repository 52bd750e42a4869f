"""One job: claim a run, let its graph go on from the last checkpoint, and leave the run in a true status."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
from langgraph.types import Command
from psycopg.rows import DictRow
from pydantic import ValidationError

from auto_dev.budget.limits import BudgetExceededError
from auto_dev.daemon import shortfall
from auto_dev.daemon.graphs import load_graph
from auto_dev.daemon.scheduler import OPERATOR
from auto_dev.errors import AutoDevError, ConfigError, StaleLeaseError, TransitionError
from auto_dev.gates.credentials.scanner import hide
from auto_dev.model import DecisionStatus, RunStatus, Scope
from auto_dev.nodes.context import RunContext, RunEndedError, RunPausedError, Services, run_context
from auto_dev.nodes.problem import asked
from auto_dev.notify import facts
from auto_dev.store import decisions, leases, panics, runs
from auto_dev.store.events import QUERIES, Connection, emit, wake
from auto_dev.store.saver import FencedSaver
from auto_dev.text import line

log = logging.getLogger(__name__)

SHORTAGE_PAUSE = timedelta(minutes=5)
CRASHES_ALLOWED = 3  # unexpected errors of one run in a row before it counts as failed


class Runner:
    """Runs the stories of one daemon. ``in_hand`` maps the runs under way to their tasks.

    A run goes on in a task of its own: a job is only how it was announced, and a worker that loses the database gives
    its jobs up. ``slots`` says how many runs may go on at the same time.
    """

    def __init__(self, services: Services, stopping: Callable[[], bool], slots: Callable[[], int]) -> None:
        self._services = services
        self.stopping = stopping
        self._slots = slots
        self.in_hand: dict[str, asyncio.Task[None]] = {}
        self.left_behind = False  # a run was left in an untrue status: reconcile soon
        self._leases: dict[str, leases.Lease] = {}

    async def run(self, run_id: str) -> None:
        """Work on a run until it ends, waits, or is paused. Does nothing when somebody else owns it.

        To cancel this call leaves the run going; to end the run, cancel its task.
        """
        try:
            row = await self._services.db.fetch_one(QUERIES["get_run"], {"run": run_id})
        except psycopg.OperationalError as error:
            log.warning("database lost", extra={"action": "database_lost", "run": run_id, "why": line(str(error))})
            return  # the run is still queued: the reconcile scan gives it a new job
        if row is None or row["status"] != RunStatus.QUEUED:
            return
        await self._turn_of(row["story_id"])
        if run_id in self.in_hand or self.stopping():
            return  # a run that is left queued gets a new job from the next daemon
        task = asyncio.create_task(self._work(run_id), name=f"run {run_id}")
        self.in_hand[run_id] = task
        await asyncio.shield(task)

    async def _turn_of(self, story: str) -> None:
        """Wait until nobody here works on the story any more, and a slot is free.

        The story's former run may still be ending its agent (it was aborted), or be about to leave (it was answered).
        """
        while True:
            former = [self.in_hand[run] for run, lease in self._leases.items() if lease.story_id == story]
            if not former and len(self.in_hand) < self._slots():
                return
            await asyncio.wait(former or self.in_hand.values(), return_when=asyncio.FIRST_COMPLETED)

    async def _work(self, run_id: str) -> None:
        began = self._services.clock()
        try:
            claimed = await self._claim(run_id)
            if claimed is None:
                return
            row, lease = claimed
            self._leases[run_id] = lease
            # Whoever had the run before may have died between a request and its booking: charged in full.
            await self._services.ledger.reconcile([run_id])
            await self._guarded(row, lease, began)
        except StaleLeaseError as error:
            log.info("run left", extra={"action": "run_left", "run": run_id, "why": str(error)})
        except (psycopg.OperationalError, TimeoutError) as error:
            # The database went away. The reconcile scan takes the run up again, from its last completed node.
            self.left_behind = True
            log.warning("database lost", extra={"action": "database_lost", "run": run_id, "why": line(str(error))})
        finally:
            self.in_hand.pop(run_id, None)
            self._leases.pop(run_id, None)

    def owned(self) -> dict[str, leases.Lease]:
        """The leases under which this daemon works now, by run."""
        return dict(self._leases)

    async def _claim(self, run_id: str) -> tuple[DictRow, leases.Lease] | None:
        services = self._services
        async with services.db.transaction() as conn:
            row = await (await conn.execute(QUERIES["lock_run"], {"run": run_id})).fetchone()
            if row is None or row["status"] != RunStatus.QUEUED:
                return None
            lease = await leases.claim(conn, row["project_id"], row["story_id"], services.daemon_id)
            if lease is None:
                return None
            await runs.transition(conn, run_id, [RunStatus.QUEUED], RunStatus.RUNNING)
            await decisions.cancel_shortfall(conn, run_id)
            await emit(conn, row["project_id"], "RUN_STARTED", story=row["story_id"], run=run_id, epoch=lease.epoch)
        return row, lease

    async def _guarded(self, row: DictRow, lease: leases.Lease, began: datetime) -> None:
        """Let the run go on; whatever happens, leave it in a true status. Raises when the database is gone."""
        run_id = row["id"]
        try:
            context = _context(self._services, row, lease)
            await self._drive(context, row)
        except RunPausedError as pause:
            await self._pause(row, lease, pause, began)
        except RunEndedError as error:
            log.info("run left", extra={"action": "run_left", "run": run_id, "why": str(error)})
        except (StaleLeaseError, psycopg.OperationalError):
            raise
        except asyncio.CancelledError:
            log.info("run cancelled", extra={"action": "run_cancelled", "run": run_id})
            raise
        except AutoDevError as error:
            # Outside the nodes: a graph that cannot be loaded, a policy of another version. A person must mend it.
            log.warning("run refused", extra={"action": "run_refused", "run": run_id, "why": str(error)})
            await self._pause(row, lease, RunPausedError(str(error), cause="refused"), began)
        except Exception as error:
            if (short := shortage(error)) is not None:
                log.warning(short, extra={"action": "machine_short", "run": run_id, "why": str(error)})
                until = self._services.clock() + SHORTAGE_PAUSE
                await self._pause(row, lease, RunPausedError(f"{short}: {error}", until, cause=short), began)
                return
            log.exception("run crashed", extra={"action": "run_crashed", "run": run_id})
            await self._crashed(row, lease, error)

    async def _drive(self, context: RunContext, row: DictRow) -> None:
        saver = FencedSaver(
            self._services.db.checkpoints, context.lease.project_id, context.lease.story_id, context.lease.epoch
        )
        graph = load_graph(context.policy.run.graph, row["graph_version"]).compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": context.run_id}, "recursion_limit": 1000}
        while True:
            snapshot = await graph.aget_state(config)
            given: Any = None
            if not snapshot.values:
                given = {"run_id": context.run_id, "story_id": context.story.id}
            elif not snapshot.tasks:
                # Not `snapshot.next`: that leaves out the nodes whose results landed before their checkpoint did.
                await self._require_end(context)
                async with self._services.db.pool.connection() as conn:
                    await leases.release(conn, context.lease)  # its worktree is in use no more
                return
            elif snapshot.next and snapshot.interrupts:
                answered = await self._answer_or_wait(context, snapshot.values["decision_id"])
                if not answered:
                    return
                given = Command(resume={"decision_id": snapshot.values["decision_id"]})
            await graph.ainvoke(given, config, context=context, durability="sync")

    async def _answer_or_wait(self, context: RunContext, decision_id: str) -> bool:
        """Whether the decision is answered; if not, the run now waits and its slot and lease are free."""
        async with context.write() as conn:
            row = await decisions.lock(conn, decision_id)
            if row["status"] == DecisionStatus.ANSWERED:
                return True
            await runs.transition(conn, context.run_id, [RunStatus.RUNNING], RunStatus.WAITING, row["question"])
            await leases.release(conn, context.lease)
            await emit(
                conn, context.project, "TASK_STATUS_CHANGED", story=context.story.id, run=context.run_id,
                status=RunStatus.WAITING, decision=decision_id,
            )  # fmt: skip
            await wake(conn, context.project)
        return False

    async def _require_end(self, context: RunContext) -> None:
        """A graph that came to its end must have ended its run: the shipped one does, a project's own may forget."""
        row = await self._services.db.fetch_one(QUERIES["get_run"], {"run": context.run_id})
        if row is not None and row["status"] == RunStatus.RUNNING:
            raise ConfigError(
                "the graph came to its end, or its next node no longer exists, and the run did not end",
                where=f"run.graph {context.policy.run.graph!r}" if context.policy.run.graph else "",
                mend="A graph ends with the node `report`. Mend it and resume, or retry the story.",
            )

    async def _pause(self, row: DictRow, lease: leases.Lease, pause: RunPausedError, began: datetime) -> None:
        services, run_id, title = self._services, row["id"], row["policy"]["story"]["title"]
        async with services.db.transaction() as conn:
            await leases.fence(conn, lease)
            if await self._is_outdated(conn, lease.project_id, pause, began):
                await leases.release(conn, lease)
                await runs.requeue(conn, lease.project_id, run_id, [RunStatus.RUNNING])
                return
            await runs.pause(conn, run_id, pause.reason, pause.resume_at)
            await leases.release(conn, lease)
            await emit(
                conn, lease.project_id, "RUN_PAUSED", story=lease.story_id, run=run_id, reason=pause.reason,
                resume_at=pause.resume_at.isoformat() if pause.resume_at else None,
            )  # fmt: skip
            full = pause.__cause__
            if isinstance(full, BudgetExceededError) and full.scope is Scope.STORY:
                await self._ask_for_more(conn, lease, row, full)
                await wake(conn, lease.project_id)
                return
            if isinstance(full, BudgetExceededError):
                reached = facts.budget_reached(
                    scope=full.scope,
                    window=full.window.key,
                    spent_microusd=full.spent_microusd,
                    cap_microusd=full.cap_microusd,
                )
                await services.tell(conn, reached)
            if pause.cause:
                fact = facts.run_paused(
                    run_id=run_id,
                    story_id=lease.story_id,
                    story_title=title,
                    reason=pause.reason,
                    cause=pause.cause,
                    since=services.clock().isoformat(timespec="minutes"),
                    resumes=pause.resume_at.isoformat(timespec="minutes") if pause.resume_at else "",
                )
                await services.tell(conn, fact)
            await wake(conn, lease.project_id)

    async def _ask_for_more(
        self, conn: Connection, lease: leases.Lease, row: DictRow, full: BudgetExceededError
    ) -> None:
        """A story's limit does not start over by itself: only a person can let its run go on."""
        wanted = shortfall.question(lease.story_id, full, self._services.clock())
        opened, _ = await decisions.ask(conn, lease.project_id, lease.story_id, row["id"], wanted)
        await self._services.tell(conn, asked(opened, row["policy"]["story"]["title"]))

    async def _is_outdated(self, conn: Connection, project: str, pause: RunPausedError, began: datetime) -> bool:
        """Whether a person took the cause away while the run was on its way into the pause.

        The project's row is locked: who resumes locks it too, and finds the run either paused or on its way.
        """
        held = await (await conn.execute(QUERIES["hold_project"], {"project": project})).fetchone()
        if pause.reason == OPERATOR:
            return held is not None and not held["paused"]
        if pause.reason.startswith(panics.PREFIX):  # released, and the run went on before this daemon read of it
            return held is not None and held["panicked_at"] is None
        if not pause.reason.startswith("budget"):
            return False
        # A statement of its own, so that it sees what was committed while the one before waited for the lock.
        cursor = await conn.execute(QUERIES["limit_changed"], {"project": project, "since": began})
        row = await cursor.fetchone()
        return row is not None and bool(row["changed"])

    async def _crashed(self, row: DictRow, lease: leases.Lease, error: Exception) -> None:
        """An error that nobody foresaw: tried again a few times, then the run has failed."""
        run_id, title = row["id"], row["policy"]["story"]["title"]
        reason = f"{type(error).__name__}: {error}"
        reason = hide(reason, await self._services.credentials.values([reason]))
        async with self._services.db.transaction() as conn:
            await leases.fence(conn, lease)
            counted = await (await conn.execute(QUERIES["add_crash"], {"run": run_id})).fetchone()
            await leases.release(conn, lease)
            if counted is not None and counted["crashes"] < CRASHES_ALLOWED:
                await runs.requeue(conn, lease.project_id, run_id, [RunStatus.RUNNING])
            else:
                await self._failed(conn, lease, run_id, reason, title)

    async def _failed(self, conn: Connection, lease: leases.Lease, run_id: str, reason: str, title: str) -> None:
        try:
            await runs.transition(conn, run_id, [RunStatus.RUNNING], RunStatus.FAILED, reason)
        except TransitionError:
            return  # a person ended it meanwhile
        await decisions.cancel(conn, run_id)
        await emit(conn, lease.project_id, "RUN_FAILED", story=lease.story_id, run=run_id, reason=line(reason))
        await self._services.tell(
            conn,
            facts.run_failed(run_id=run_id, story_id=lease.story_id, story_title=title, reason=line(reason)),
        )
        await wake(conn, lease.project_id)


def _context(services: Services, row: DictRow, lease: leases.Lease) -> RunContext:
    try:
        return run_context(services, row, lease)
    except ValidationError as error:
        raise ConfigError(
            f"this run's policy is of another version of auto-dev: {error.errors()[0]['msg']}",
            mend="Finish it with the program that began it, or abort it and let the story start again.",
        ) from error


def shortage(error: BaseException) -> str | None:
    """What the machine lacks, when that is what the error says: nothing is wrong with the run, and it may pass."""
    if not isinstance(error, OSError):
        return None
    return {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EFBIG: "a file would become larger than is allowed",
        errno.EROFS: "the file system is read-only",
        errno.EMFILE: "too many files are open",
        errno.ENFILE: "too many files are open",
        errno.ENOMEM: "memory is short",
        errno.EAGAIN: "no more processes can be started",
    }.get(error.errno or 0)
