"""One job: claim a run, let its graph go on from the last checkpoint, and leave the run in a true status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import psycopg
from langgraph.types import Command
from psycopg.rows import DictRow

from auto_dev.budget.limits import BudgetExceededError
from auto_dev.daemon.graphs import load_graph
from auto_dev.errors import AutoDevError, StaleLeaseError, TransitionError
from auto_dev.model import DecisionStatus, RunStatus
from auto_dev.nodes.context import RunContext, RunEndedError, RunPausedError, Services, run_context
from auto_dev.notify import facts
from auto_dev.store import decisions, leases, runs
from auto_dev.store.events import QUERIES, Connection, emit, wake
from auto_dev.store.saver import FencedSaver
from auto_dev.text import line

log = logging.getLogger(__name__)

CRASHES_ALLOWED = 3  # unexpected errors of one run in a row before it counts as failed


class Runner:
    """Runs the stories of one daemon. ``in_hand`` maps the runs under way to their tasks."""

    def __init__(self, services: Services, stopping: Callable[[], bool]) -> None:
        self._services = services
        self.stopping = stopping
        self.in_hand: dict[str, asyncio.Task[None]] = {}
        self._leases: dict[str, leases.Lease] = {}

    async def run(self, run_id: str) -> None:
        """Work on a run until it ends, waits, or is paused. Does nothing when somebody else owns it."""
        if run_id in self.in_hand or self.stopping():
            return  # a run that is left queued gets a new job from the next daemon
        task = asyncio.current_task()
        assert task is not None
        self.in_hand[run_id] = task
        try:
            claimed = await self._claim(run_id)
            if claimed is None:
                return
            row, lease = claimed
            self._leases[run_id] = lease
            # Whoever had the run before may have died between a request and its booking: charged in full.
            await self._services.ledger.reconcile([run_id])
            await self._guarded(row, lease)
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
            await emit(conn, row["project_id"], "RUN_STARTED", story=row["story_id"], run=run_id, epoch=lease.epoch)
        return row, lease

    async def _guarded(self, row: DictRow, lease: leases.Lease) -> None:
        run_id, title = row["id"], row["policy"]["story"]["title"]
        try:
            context = run_context(self._services, row, lease)
            await self._drive(context, row)
        except RunPausedError as pause:
            await self._pause(lease, run_id, pause, title)
        except (StaleLeaseError, RunEndedError) as error:
            log.info("run left", extra={"action": "run_left", "run": run_id, "why": str(error)})
        except psycopg.OperationalError as error:
            # The database went away. The lease runs out or is taken up again by the reconcile scan.
            log.warning("database lost", extra={"action": "database_lost", "run": run_id, "why": line(str(error))})
        except asyncio.CancelledError:
            log.info("run cancelled", extra={"action": "run_cancelled", "run": run_id})
            raise
        except AutoDevError as error:
            # Outside the nodes: a graph that cannot be loaded, a policy of another version. A person must mend it.
            log.warning("run refused", extra={"action": "run_refused", "run": run_id, "why": str(error)})
            await self._pause(
                lease, run_id, RunPausedError(str(error), cause="refused"), row["policy"]["story"]["title"]
            )
        except Exception as error:
            log.exception("run crashed", extra={"action": "run_crashed", "run": run_id})
            await self._crashed(lease, run_id, error, title)

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
            elif not snapshot.next:
                return
            elif snapshot.interrupts:
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

    async def _pause(self, lease: leases.Lease, run_id: str, pause: RunPausedError, title: str) -> None:
        services = self._services
        async with services.db.transaction() as conn:
            await leases.fence(conn, lease)
            await runs.pause(conn, run_id, pause.reason, pause.resume_at)
            await leases.release(conn, lease)
            await emit(
                conn, lease.project_id, "RUN_PAUSED", story=lease.story_id, run=run_id, reason=pause.reason,
                resume_at=pause.resume_at.isoformat() if pause.resume_at else None,
            )  # fmt: skip
            if isinstance(full := pause.__cause__, BudgetExceededError):
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

    async def _crashed(self, lease: leases.Lease, run_id: str, error: Exception, title: str) -> None:
        """An error that nobody foresaw: tried again a few times, then the run has failed."""
        reason = f"{type(error).__name__}: {error}"
        async with self._services.db.transaction() as conn:
            await leases.fence(conn, lease)
            row = await (await conn.execute(QUERIES["add_crash"], {"run": run_id})).fetchone()
            await leases.release(conn, lease)
            if row is not None and row["crashes"] < CRASHES_ALLOWED:
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
