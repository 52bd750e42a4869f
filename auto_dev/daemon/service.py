"""The daemon of one project: it recovers, schedules, runs, and ends only when nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import procrastinate
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from auto_dev import __version__
from auto_dev import config as configuration
from auto_dev.budget.limits import BudgetLimits
from auto_dev.config import Config
from auto_dev.daemon import digest
from auto_dev.daemon.checkout import read_stories
from auto_dev.daemon.control import Control
from auto_dev.daemon.followup import Follower
from auto_dev.daemon.outcome import Outlook, exit_code, outlook
from auto_dev.daemon.runner import Runner
from auto_dev.daemon.scheduler import OPERATOR, STOPPED, Idle, Scheduler, window_opens
from auto_dev.daemon.settings import Settings
from auto_dev.daemon.tidy import tidy
from auto_dev.errors import AutoDevError, ExitCode, StoreError
from auto_dev.model import RunStatus
from auto_dev.nodes.context import RunPausedError, Services
from auto_dev.notify.outbox import Deliverer
from auto_dev.processes import sweep
from auto_dev.store import backlog, leases, panics, runs
from auto_dev.store.events import QUERIES, emit
from auto_dev.store.saver import prune_finished
from auto_dev.stories.fingerprint import fingerprint
from auto_dev.tasks import end_tasks

log = logging.getLogger(__name__)

TICK_S = 1.0
LEASE_BEAT_S = 8.0
RECONCILE_S = 15.0
STORIES_S = 60.0
KEEP_THREADS_DAYS = 1.0  # checkpoints of runs that ended longer ago are of no use any more
POLL_JOBS_S = 0.5
GRACE_S = 300.0  # how long a phase under way may take to complete after the first request to stop
CANCEL_AGAIN_S = 10.0  # an agent's tree gets 5 s to end by itself
PANIC_AGAIN_S = 0.5  # … and in a panic none: the second cancellation ends its grace
WORKER_AGAIN_S = 3.0  # procrastinate ends its own tasks in several rounds of a second
FLUSH_S = 15.0  # how long a daemon that ends waits for its last messages


class Daemon:
    """One project's daemon. ``serve`` returns the exit code; ``stop`` may be called from a signal handler."""

    def __init__(self, settings: Settings, services: Services, deliverer: Deliverer, config: Config, host: str) -> None:
        self.settings = settings
        self.services = services
        self.config = config
        self.host = host
        self.attended: Callable[[], Coroutine[Any, Any, None]] | None = None  # takes people's answers while it works
        self._deliverer = deliverer
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self.runner = Runner(services, self._stop.is_set, lambda: self.config.run.max_parallel)
        self.scheduler = Scheduler(services, lambda: self.config, lambda: list(self.runner.in_hand))
        self._project_paused = False
        self._panic = ""  # why everything is stopped, until a person releases it
        self._finished = False
        self._told = digest.Told()
        self._idle = Idle()
        self._outlook = Outlook()
        self.follower = Follower(services, lambda: self.config)
        services.interruption = self._interruption
        services.dispatch = self.scheduler.dispatch
        services.others = self._has_others
        services.panic = self._panic_over

    def stop(self, *, now: bool = False) -> None:
        """Ask to end: runs complete the node they are in. With ``now`` (or asked twice) they are cut off."""
        if now or self._stop.is_set():
            self._stop_now.set()
        self._stop.set()
        self._wake.set()

    async def serve(self, ready: Callable[[], None] = lambda: None) -> ExitCode:
        """Work until asked to stop — or, with ``once``, until nothing can start any more."""
        await self._begin()
        ready()
        if self.settings.delay_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self.settings.delay_s)
        background = [
            self._forever("ticks", self._ticks()),
            self._forever("leases", self._lease_beats()),
            self._forever("listener", self._listen()),
            self._forever("outbox", self._deliverer.run(self._stop)),
            self._forever("pulls", self.follower.once() if self.settings.once else self.follower.run(self._stop)),
            *([self._forever("answers", self.attended())] if self.attended else []),
        ]
        worker = asyncio.create_task(self._work(), name="worker")
        try:
            await self._stop.wait()
            await self._wind_down(worker)
        finally:
            await end_tasks(*background, worker)
            await self._end()
        return self._exit_code()

    def _exit_code(self) -> ExitCode:
        """What ``--once`` came to; a daemon that was told to stop did as it was told, but its work is not over."""
        if self._outlook.broken:
            return ExitCode.ERROR
        if not self.settings.once:
            return ExitCode.DONE
        return exit_code(self._outlook) if self._finished else ExitCode.INTERRUPTED

    # ── beginning and end ─────────────────────────────────────────────────────────────────────────────────────────

    async def _begin(self) -> None:
        services, project = self.services, self.settings.project_id
        async with services.db.transaction() as conn:
            await conn.execute(
                QUERIES["start_daemon"],
                {
                    "daemon": services.daemon_id,
                    "project": project,
                    "host": self.host,
                    "pid": services.pid,
                    "version": __version__,
                },
            )
            await conn.execute(
                QUERIES["end_former_daemons"],
                {"project": project, "host": self.host, "daemon": services.daemon_id},
            )
        await self._sweep()
        left = await services.db.fetch_all(QUERIES["abandoned_reservations"], {"project": project})
        await services.ledger.reconcile([row["run_id"] for row in left])
        async with services.db.transaction() as conn:
            row = await (await conn.execute(QUERIES["get_project"], {"project": project})).fetchone()
            self._project_paused = bool(row and row["paused"])
            orphans = await self.scheduler.recover(conn)
            await emit(conn, project, "DAEMON_STARTED", daemon=services.daemon_id, recovered=orphans)
        await self._sync_stories()

    async def _sweep(self) -> None:
        """End the process trees that a killed daemon left, before anything works in their worktrees again."""
        services = self.services
        rows = await services.db.fetch_all(
            QUERIES["survivors"],
            {"project": self.settings.project_id, "host": self.host, "daemon": services.daemon_id},
        )
        trees = [(row["pid"], row["started"]) for row in rows if row["boot_id"] == services.boot_id]
        if ended := await sweep(trees, services.boot_id):
            log.warning("swept process trees", extra={"action": "sweep", "ended": ended})
        for row in rows:
            await services.db.execute(
                QUERIES["forget_process"], {"pid": row["pid"], "started": row["started"], "boot": row["boot_id"]}
            )

    async def _wind_down(self, worker: asyncio.Task[None]) -> None:
        """Let what runs complete its node; after the grace, or a second request, cut it off."""
        deadline = asyncio.get_running_loop().time() + GRACE_S
        while self.runner.in_hand and not self._stop_now.is_set():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            tasks = [*self.runner.in_hand.values(), asyncio.ensure_future(self._stop_now.wait())]
            await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            tasks[-1].cancel()
        while self.runner.in_hand:
            await end_tasks(*self.runner.in_hand.values(), again_s=CANCEL_AGAIN_S)
        await end_tasks(worker, again_s=WORKER_AGAIN_S)

    async def _end(self) -> None:
        services, project = self.services, self.settings.project_id
        with contextlib.suppress(psycopg.Error, StoreError):
            async with asyncio.timeout(FLUSH_S):
                while await self._deliverer.deliver_due(flush=True):
                    pass
        try:
            async with services.db.transaction() as conn:
                await conn.execute(QUERIES["end_daemon"], {"daemon": services.daemon_id})
                # What was cut off goes on with the next daemon.
                for run in await self.scheduler.orphans(conn):
                    await runs.pause(conn, run, STOPPED, None)
                await emit(conn, project, "DAEMON_ENDED", daemon=services.daemon_id)
            await tidy(services)
        except (psycopg.OperationalError, StoreError) as error:
            # The next daemon finds everything as after a kill, and recovers it.
            log.warning("ended without the database", extra={"action": "ended_blind", "why": str(error)})

    # ── loops ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _forever(self, name: str, loop: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(loop, name=name)
        task.add_done_callback(self._died)
        return task

    def _died(self, task: asyncio.Task[None]) -> None:
        """A loop of the daemon must not die in silence: the daemon ends, and its supervisor or owner sees why."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a loop of the daemon died", exc_info=error, extra={"action": "loop_died"})
            self._outlook = Outlook(broken=f"{task.get_name()}: {error}")
            self.stop(now=True)

    async def _ticks(self) -> None:
        loop = asyncio.get_running_loop()
        reconciled = stories = loop.time()
        while not self._stop.is_set():
            self._wake.clear()
            now = loop.time()
            try:
                if now - stories >= STORIES_S:
                    stories = now
                    await self._sync_stories()
                if now - reconciled >= RECONCILE_S or self.runner.left_behind:
                    reconciled = now
                    self.runner.left_behind = False
                    async with self.services.db.transaction() as conn:
                        await self.scheduler.reconcile(conn)
                    await prune_finished(self.services.db.checkpoints, KEEP_THREADS_DAYS)
                    await tidy(self.services, [lease.story_id for lease in self.runner.owned().values()])
                    await digest.tell_when_due(self.services, self.config, self._told)
                await self._tick()
            except (psycopg.OperationalError, StoreError) as error:
                log.warning("the database does not answer", extra={"action": "tick_failed", "why": str(error)})
            except OSError as error:  # a full disk, too many open files: it may pass, and the runs say so themselves
                log.warning("a look at the project failed", extra={"action": "tick_failed", "why": str(error)})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), TICK_S)

    async def _tick(self) -> None:
        services, project = self.services, self.settings.project_id
        looked = self.follower.looked.is_set()  # what a look found is seen by what follows
        async with services.db.transaction() as conn:
            row = await (await conn.execute(QUERIES["get_project"], {"project": project})).fetchone()
            self._project_paused = bool(row and row["paused"])
        await self._heed_panic(row)
        async with services.db.transaction() as conn:
            await self._drop_taken_away(conn)
            cursor = await conn.execute(QUERIES["due_runs"], {"project": project, "now": services.clock()})
            for due in await cursor.fetchall():
                await runs.requeue(conn, project, due["id"], [RunStatus.PAUSED])
            self._idle = await self.scheduler.dispatch(conn)
            self._outlook = await outlook(conn, project, self._idle.reason)
        over = looked and not self.runner.in_hand and self._outlook.finished
        if self.settings.once and over and not self._stop.is_set():
            self._finished = True
            self.stop()

    def _has_others(self, run_id: str) -> bool:
        """Whether other stories are worked on or could start."""
        return bool(self._outlook.startable) or any(run != run_id for run in self.runner.in_hand)

    async def _panic_over(self, reason: str, run: str, anomaly: str) -> None:
        """A run's spending is beyond all measure: everything stops until a person releases it."""
        control = Control(self.services.db, self.settings.project_id, "auto-dev", "daemon", self.services.channels)
        await control.panic(reason, run=run, anomaly=anomaly)

    async def _heed_panic(self, row: DictRow | None) -> None:
        """Panic: no request goes out, every tree is ended now, nothing goes on until a person releases it."""
        services, panic = self.services, panics.of(row)
        if panic is None:
            if self._panic:
                services.gateway.release()
            self._panic = ""
            return
        if not self._panic:
            log.error("panic: everything is stopped", extra={"action": "panic", "why": panic.reason})
        self._panic = panic.line
        services.gateway.halt(panic.reason)
        if self.runner.in_hand:
            await end_tasks(*self.runner.in_hand.values(), again_s=PANIC_AGAIN_S)
            async with services.db.transaction() as conn:
                await panics.stop_runs(conn, self.settings.project_id, panic)

    async def _drop_taken_away(self, conn: AsyncConnection[Any]) -> None:
        """Cut off runs that a person ended, or whose lease is somebody else's by now."""
        for run_id, task in list(self.runner.in_hand.items()):
            row = await runs.get(conn, run_id)
            if row is not None and row["status"] in (RunStatus.ABORTED, RunStatus.SKIPPED):
                task.cancel()

    async def _lease_beats(self) -> None:
        """Prolong the leases; when that fails for too long, stop before somebody else may take over."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            try:
                async with asyncio.timeout(LEASE_BEAT_S), self.services.db.transaction() as conn:
                    await conn.execute(QUERIES["beat_daemon"], {"daemon": self.services.daemon_id})
                    held = await leases.renew(conn, self.settings.project_id, self.services.daemon_id)
                last = loop.time()
                for run_id, lease in self.runner.owned().items():
                    if held.get(lease.story_id) != lease.epoch and run_id in self.runner.in_hand:
                        self.runner.in_hand[run_id].cancel()
            except (psycopg.OperationalError, StoreError, TimeoutError) as error:
                log.warning("leases not prolonged", extra={"action": "lease_beat_failed", "why": str(error)})
                if loop.time() - last > leases.TTL_S - LEASE_BEAT_S:
                    for task in list(self.runner.in_hand.values()):
                        task.cancel()
            await asyncio.sleep(LEASE_BEAT_S)

    async def _listen(self) -> None:
        """Wake at once when somebody says so; polling stays the truth."""
        while True:
            try:
                async with await AsyncConnection.connect(self.services.db.conninfo, autocommit=True) as conn:
                    await conn.execute("LISTEN auto_dev_wake")
                    async for note in conn.notifies():
                        if note.payload == self.settings.project_id:
                            self._wake.set()
                            self._deliverer.wake()
            except psycopg.OperationalError:
                await asyncio.sleep(TICK_S)

    async def _work(self) -> None:
        """The procrastinate worker, started again whenever a lost database ends it."""
        queue = runs.queue_name(self.settings.project_id)
        while not self._stop.is_set():
            connector = procrastinate.PsycopgConnector(conninfo=self.services.db.conninfo, min_size=1, max_size=4)
            app = procrastinate.App(connector=connector)

            @app.task(name="run_story", queue=queue)
            async def run_story(run_id: str) -> None:
                await self.runner.run(run_id)

            try:
                async with app.open_async():
                    await app.run_worker_async(
                        queues=[queue],
                        concurrency=self.config.run.max_parallel,
                        fetch_job_polling_interval=POLL_JOBS_S,
                        delete_jobs="always",
                        install_signal_handlers=False,
                        # A worker that loses the database gives its jobs up at once; their runs go on without it.
                        shutdown_graceful_timeout=0,
                    )
            except (psycopg.Error, procrastinate.exceptions.ProcrastinateException) as error:
                log.warning("the worker lost the database", extra={"action": "worker_lost", "why": str(error)})
                await asyncio.sleep(TICK_S)

    # ── the rest ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _interruption(self) -> RunPausedError | None:
        """Whether a run must stop before its next node."""
        if self._stop.is_set():
            return RunPausedError(STOPPED)
        if self._panic:
            return RunPausedError(self._panic)
        if self._project_paused:
            return RunPausedError(OPERATOR)
        opens = window_opens(self.config, self.services.clock())
        return RunPausedError("outside the schedule", opens) if opens is not None else None

    async def _sync_stories(self) -> None:
        """Read config and stories again; a broken file keeps the last good one and says so."""
        settings = self.settings
        try:
            self.config = configuration.load(settings.root, settings.overrides)
            await self.services.ledger.ensure_caps(BudgetLimits.of(self.config))
            await sync_stories(self.services, settings.folder)
        except AutoDevError as error:
            log.warning("kept the last good state", extra={"action": "reload_failed", "why": str(error)})
            async with self.services.db.transaction() as conn:
                await emit(conn, settings.project_id, "ALERT", text=str(error))


async def sync_stories(services: Services, folder: Path) -> list[str]:
    """Bring the rows in step with the story folder; returns the ids that it holds."""
    found = await asyncio.to_thread(read_stories, services.place.root, folder)
    digests = {story.id: fingerprint(story) for story in found.stories}
    async with services.db.transaction() as conn:
        await backlog.sync(conn, services.place.id, found, digests, services.dependencies == "stacked")
    return [story.id for story in found.stories]
