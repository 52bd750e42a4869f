"""What a node may use. One context per run; LangGraph hands it to every node as the runtime's context."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg.rows import DictRow

from auto_dev.agents.base import AgentRunner
from auto_dev.budget.anomaly import Anomaly, RunWatch
from auto_dev.budget.ledger import Ledger
from auto_dev.budget.limits import Alert, BudgetLimits
from auto_dev.budget.meter import RunMeter
from auto_dev.budget.prices import PriceTable
from auto_dev.config import AgentConfig, Config
from auto_dev.errors import AutoDevError
from auto_dev.forge.base import Forge
from auto_dev.gates.credentials.scanner import Credentials
from auto_dev.model import RunKind
from auto_dev.nodes.state import StoryState
from auto_dev.notify import outbox
from auto_dev.notify.facts import Fact, budget_alert
from auto_dev.place import ProjectPlace
from auto_dev.sandbox.base import Sandbox
from auto_dev.store import leases
from auto_dev.store.database import Database
from auto_dev.store.events import QUERIES, Connection, emit
from auto_dev.store.follow_ups import Predecessor, predecessors
from auto_dev.stories.model import Story
from auto_dev.worktrees.mirror import BaseTip, Mirror
from auto_dev.worktrees.transport import Remote
from auto_dev.worktrees.worktree import Worktrees

if TYPE_CHECKING:  # aiohttp and uvicorn: half a second that a command which only writes rows need not wait
    from auto_dev.budget.gateway import Gateway

FRESH_FOR = timedelta(minutes=1)  # a base branch's tip is looked up again after this


class RunPausedError(AutoDevError):
    """The run stops between two nodes and goes on later from there: nothing is wrong with it.

    ``resume_at`` is set when it resumes by itself. ``cause``: what a person should hear of it under, "" for nothing;
    runs that pause for one cause make one message.
    """

    def __init__(self, reason: str, resume_at: datetime | None = None, *, cause: str = "") -> None:
        super().__init__(reason)
        self.resume_at = resume_at
        self.cause = cause

    @property
    def reason(self) -> str:
        return self.what


class AnomalyError(AutoDevError):
    """The run spends in a way that is not usual, and a person should look. ``kind`` is what the answer may waive.

    ``panic``: not this run alone is to stop.
    """

    def __init__(self, found: Anomaly) -> None:
        super().__init__(found.reason)
        self.kind = found.kind
        self.panic = found.panic


class RunEndedError(AutoDevError):
    """A person ended the run while it was working."""


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    """What was found out about the repository when the daemon started. ``push`` is None without a remote."""

    base_branch: str
    push: Remote | None


async def _no_dispatch(conn: Connection) -> object:
    """Replaced by the daemon's scheduler; a run outside a daemon starts nothing else."""
    return conn


async def _no_panic(reason: str, run: str, anomaly: str) -> None:
    """Replaced by the daemon's control."""
    raise AutoDevError(f"a run outside a daemon stopped: {reason}", where=f"{run}, {anomaly}")


def _alone(run: str) -> bool:
    """A run outside a daemon has no others beside it."""
    return not run


@dataclass(slots=True)
class Services:
    """What all runs of a daemon share."""

    place: ProjectPlace
    db: Database
    repository: RepositoryFacts
    mirror: Mirror
    worktrees: Worktrees
    credentials: Credentials
    ledger: Ledger
    gateway: Gateway
    sandbox: Sandbox
    sockets: Path  # a folder with a short path, for unix sockets
    forge: Forge
    make_agent: Callable[[AgentConfig], AgentRunner]
    prices: Callable[[Config], PriceTable]
    channels: Sequence[str]
    clock: Callable[[], datetime]
    daemon_id: str
    boot_id: str
    pid: int
    dependencies: str  # "stacked" or "merged"
    interruption: Callable[[], RunPausedError | None] = lambda: None
    dispatch: Callable[[Connection], Awaitable[object]] = _no_dispatch
    panic: Callable[[str, str, str], Awaitable[object]] = _no_panic  # reason, run, kind of anomaly
    others: Callable[[str], bool] = _alone  # whether stories beside this run are worked on or could start
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    tips: dict[str, tuple[datetime, BaseTip]] = field(default_factory=dict)

    async def tell(self, conn: Connection, fact: Fact) -> None:
        """Put a message for every configured channel into the outbox, in the caller's transaction."""
        await outbox.enqueue(conn, project_id=self.place.id, channels=self.channels, **fact.row())

    async def base_tip(self, branch: str, *, fresh: bool = False) -> BaseTip:
        """Where stories of ``branch`` start now. The mirror is brought up to date once a minute at most.

        ``fresh``: look now, for something is known to have changed there.
        """
        async with self.lock(f"refresh:{branch}"):
            moment = self.clock()
            known = self.tips.get(branch)
            if fresh or known is None or moment - known[0] > FRESH_FOR:
                tips = await self.mirror.refresh([branch])
                known = self.tips[branch] = (moment, tips[branch])
            return known[1]

    def lock(self, name: str) -> asyncio.Lock:
        """A lock shared by all runs of this daemon, by name."""
        return self.locks.setdefault(name, asyncio.Lock())

    async def record_process(self, run: str, pid: int, started: int) -> None:
        """Write a process tree down, so that a later daemon can sweep it should this one die."""
        await self.db.execute(
            QUERIES["record_process"],
            {"run": run, "pid": pid, "started": started, "boot": self.boot_id, "daemon": self.daemon_id},
        )

    async def forget_process(self, pid: int, started: int) -> None:
        """The tree has ended."""
        await self.db.execute(QUERIES["forget_process"], {"pid": pid, "started": started, "boot": self.boot_id})


@dataclass(slots=True)
class RunContext:
    """One run: its lease, its frozen policy and story, its folder."""

    services: Services
    lease: leases.Lease
    run_id: str
    story: Story
    policy: Config
    attempt: int
    branch: str
    base_branch: str
    hint: str
    run_dir: Path
    kind: RunKind = RunKind.STORY
    purpose: str = ""  # of a follow-up
    follows: str = ""  # the run whose published work a follow-up goes on from
    stacked_on: tuple[Predecessor, ...] = ()
    watch: RunWatch | None = None  # of what the run spends; made for its first turn

    @property
    def project(self) -> str:
        return self.services.place.id

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        """A transaction that only commits while this run's lease is current (StaleLeaseError otherwise)."""
        async with self.services.db.transaction() as conn:
            await leases.fence(conn, self.lease)
            yield conn

    def limits(self) -> BudgetLimits:
        """The limits of the policy that governs this run."""
        return BudgetLimits.of(self.policy)

    def meter(self) -> RunMeter:
        """Reserves and books this run's model requests."""
        services = self.services
        return RunMeter(
            services.ledger, self.run_id, self.story.id, self.limits(), services.prices(self.policy), self.alert
        )

    async def alert(self, conn: Connection, alert: Alert) -> None:
        """Tell the channels that a limit comes near, in the transaction that brought it there."""
        window = alert.window
        await self.services.tell(
            conn,
            budget_alert(
                scope=window.scope,
                window=window.key,
                spent_microusd=window.cost_microusd,
                cap_microusd=window.cap_microusd,
            ),
        )
        await emit(conn, self.project, "BUDGET_ALERT", story=self.story.id, run=self.run_id, text=alert.line)

    async def record(self, pid: int, started: int) -> None:
        """Write a process tree of this run down."""
        await self.services.record_process(self.run_id, pid, started)

    @property
    def follow_up(self) -> bool:
        """Whether this run goes on from what an earlier one published."""
        return self.kind is RunKind.FOLLOW_UP

    def path(self, name: str) -> Path:
        """A file in the run's folder, which no agent writes to."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        return self.run_dir / name

    @property
    def agent_dir(self) -> Path:
        """The folder that this run's agent may write to, beside its worktree (report, temp, cache)."""
        return self._folder("agent")

    @property
    def home(self) -> Path:
        """The home folder of this run's agent, kept from turn to turn."""
        return self._folder("home")

    @property
    def briefs(self) -> Path:
        """Where the agent reads its briefs; only the host writes there."""
        return self._folder("briefs")

    def _folder(self, name: str) -> Path:
        folder = self.run_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save(self, name: str, value: Any) -> None:
        """Write a JSON file into the run's folder (or one below it that is there), atomically."""
        target = self.path(name)
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")
        temporary.replace(target)

    def load(self, name: str) -> Any:
        """A JSON file of the run's folder, or None."""
        try:
            return json.loads(self.path(name).read_text("utf-8"))
        except FileNotFoundError:
            return None

    def former(self, name: str) -> Any:
        """A JSON file of the run that this one follows, or None."""
        return replace(self, run_dir=self.run_dir.parent / self.follows).load(name) if self.follows else None


def run_context(services: Services, row: DictRow, lease: leases.Lease) -> RunContext:
    """The context of the run in ``row`` (table runs)."""
    policy = row["policy"]
    story = Story.model_validate(policy["story"])
    return RunContext(
        services=services,
        lease=lease,
        run_id=row["id"],
        story=story,
        policy=Config.model_validate(policy["config"]),
        attempt=row["attempt"],
        branch=row["branch"],
        base_branch=row["base_branch"],
        hint=row["hint"],
        run_dir=services.place.runs / story.id / row["id"],
        kind=RunKind(row["kind"]),
        purpose=row["purpose"],
        follows=row["follows"] or "",
        stacked_on=predecessors(row["stacked_on"]),
    )


Node = Callable[[StoryState, RunContext], Awaitable[StoryState]]
