"""Cases go through the product's own path: real rows, a real mirror, the nodes ``baseline`` and ``verify``."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from psycopg.types.json import Jsonb

from auto_dev.config import Config
from auto_dev.daemon import compose
from auto_dev.daemon.scheduler import start_run
from auto_dev.daemon.settings import Settings
from auto_dev.errors import AutoDevError
from auto_dev.model import Phase, PullState, Route, RunStatus, Verdict
from auto_dev.nodes.baseline import baseline
from auto_dev.nodes.context import RunContext, Services, run_context
from auto_dev.nodes.plan import judged as judge_plan
from auto_dev.nodes.state import ASK, REPAIR, StoryState
from auto_dev.nodes.verify import verify
from auto_dev.sandbox.probe import Problem, find
from auto_dev.store import backlog, leases, runs
from auto_dev.store.events import QUERIES, Connection
from auto_dev.stories.fingerprint import fingerprint
from auto_dev.stories.model import Backlog, Story
from bench.corpus.case import CRITICAL, LINT, TESTS, Case
from bench.corpus.tree import Commit, applied, build, template

_LEASE_S: Final = 3600.0
_PYTHON: Final = f"PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONDONTWRITEBYTECODE=1 {sys.executable}"
COMMANDS: Final[Mapping[str, Mapping[str, str]]] = {
    "ledger": {TESTS: f"{_PYTHON} -m pytest -q -p no:cacheprovider", LINT: f"{_PYTHON} -W error -m compileall -q src"},
    "depot": {TESTS: "node --test test/", LINT: "node --check src/server.js"},
    "courier": {TESTS: "GOCACHE={cache} go test ./internal/queue/ ./internal/render/ ./internal/deliver/"},
    "atrium": {},
}
_PLANNED: Final = {"plan": CRITICAL}  # the critical gate reads the plan as well
_PROGRAMS: Final = {"ledger": sys.executable, "depot": "node", "courier": "go"}


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one gate said, as its row tells."""

    gate: str
    verdict: Verdict
    route: Route
    reason: str


@dataclass(frozen=True, slots=True)
class Judged:
    """How a case ended.

    ``rulings`` are those of the first round. ``repair``: the work would have gone back; ``paused``: a person is asked,
    at once or because a repair that changes nothing does not help.
    """

    case: Case
    rulings: tuple[Ruling, ...]
    repair: bool
    paused: bool
    seconds: float

    @property
    def stopped(self) -> bool:
        return self.repair or self.paused

    @property
    def by(self) -> frozenset[str]:
        """The gates that stopped it."""
        return frozenset(one.gate for one in self.rulings if one.route is not Route.PROCEED)

    @property
    def asked_by(self) -> frozenset[str]:
        """The gates that asked a person at once."""
        return frozenset(one.gate for one in self.rulings if one.route is Route.ASK)


def missing(case: Case) -> str:
    """The program that the case needs and that is not here, or ""."""
    program = _PROGRAMS.get(case.repository, "") if case.commands else ""
    return program if program and shutil.which(program) is None else ""


def policy_of(case: Case, cache: Path) -> Config:
    """The configuration under which the case is judged. ``cache`` is shared by the commands, as compilers want it."""
    known = COMMANDS[case.repository]
    commands = [
        {"name": name, "run": known[name].replace("{cache}", str(cache)), "timeout_minutes": 5}
        for name in case.commands
    ]
    data: dict[str, Any] = {
        "gates": {"command": commands},
        "sandbox": {"read": sorted({sys.prefix, sys.base_prefix} - {"/usr"}), "write": [str(cache)]},
    }
    return Config.model_validate(_merged(data, case.policy))


def _merged(data: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(data)
    for key, value in more.items():
        known = made.get(key)
        made[key] = _merged(known, value) if isinstance(value, Mapping) and isinstance(known, Mapping) else value
    return made


@asynccontextmanager
async def bench(cases: Sequence[Case], folder: Path) -> AsyncIterator[Bench]:
    """A repository with the commits of ``cases`` (all of one template), and what judges them."""
    repository = cases[0].repository
    root = folder / repository
    shas = build(root, [Commit("main", "", {}, template(repository), "Begin"), *_commits(cases)])
    async with serving(root, folder / "home") as services:
        cache = folder / "cache"
        cache.mkdir(exist_ok=True)
        yield Bench(services, shas, cache)


@asynccontextmanager
async def serving(root: Path, home: Path) -> AsyncIterator[Services]:
    """The services of a daemon of the repository at ``root``, in a sandbox where there is one."""
    sandbox = not isinstance(find(os.environ), Problem)
    settings = Settings(
        project_id=f"bench-{root.name}", root=root, folder=root / "plans", state_home=home, once=True, sandbox=sandbox
    )
    async with compose.daemon(settings, compose.new_daemon_id()) as daemon:
        yield daemon.services


def _commits(cases: Iterable[Case]) -> Iterable[Commit]:
    for case in cases:
        start, ref = template(case.repository), f"cases/{case.id}"
        base, head = case.trees()
        parent = "main"
        if case.base:
            parent = f"{ref}/base"
            yield Commit(parent, "main", start, base, "Earlier work")
        yield Commit(f"{ref}/head", parent, base, head, case.story.title)
        if case.moved:
            yield Commit(f"{ref}/moved", parent, base, applied(base, case.moved), "Meanwhile")
        for other, edits in case.others.items():
            yield Commit(f"{ref}/{other}", parent, base, applied(base, edits), f"Work on {other}")


class Bench:
    """Judges cases on the services of one repository."""

    def __init__(self, services: Services, shas: Mapping[str, str], cache: Path) -> None:
        self._services = services
        self._shas = shas
        self._cache = cache

    async def judge(self, case: Case) -> Judged:
        """What the gates make of ``case``."""
        ref = f"cases/{case.id}"
        base, head = self._shas.get(f"{ref}/base", self._shas["main"]), self._shas[f"{ref}/head"]
        branch = next((name for name in (f"{ref}/moved", f"{ref}/base") if name in self._shas), "main")
        others = {other: self._shas[f"{ref}/{other}"] for other in case.others}
        return await judge(self._services, case, base, head, branch, policy_of(case, self._cache), others)


async def judge(
    services: Services,
    case: Case,
    base: str,
    head: str,
    base_branch: str,
    policy: Config,
    others: Mapping[str, str] | None = None,
) -> Judged:
    """The gates' word on one change, in a project of its own: no case sees another's open branches."""
    began = time.perf_counter()
    own = replace(services, place=replace(services.place, id=f"{services.place.id}-{case.story.id}"))
    context = await _run_of(own, case.story, base, base_branch, policy, others or {})
    state: StoryState = {"base_sha": base, "head_sha": head, "round": 0, "repairs": 0, "seen": {}, "waived": {}}
    context.save("plan.json", {"summary": case.plan, "problem": ""})
    context.save("start.json", {"stacked_on": [], "base_branch": base_branch})
    answer = await judge_plan(state, context, case.plan)
    if answer["route"] != ASK:
        answer = await baseline(state, context)
    if answer["route"] != ASK:
        state = {**state, **answer}
        _report(context, case, 0)
        answer = await verify(state, context)
    rulings = await _rulings(context)
    repair = answer["route"] == REPAIR
    paused = answer["route"] == ASK
    if repair and case.expect.clean:
        # There is nothing to repair: the agent hands in the same work again, until somebody is asked.
        paused = await _insists(state, context, case, answer)
    return Judged(case, rulings, repair, paused, time.perf_counter() - began)


async def _insists(state: StoryState, context: RunContext, case: Case, answer: StoryState) -> bool:
    for number in range(1, context.policy.run.repair_attempts + 1):
        state = {**state, "seen": answer.get("seen", {}), "round": number, "repairs": number}
        _report(context, case, number)
        answer = await verify(state, context)
        if answer["route"] != REPAIR:
            break
    return answer["route"] == ASK


def _report(context: RunContext, case: Case, round_number: int) -> None:
    if case.report is not None:
        (context.agent_dir / f"report-{Phase.IMPLEMENT}-{round_number}.json").write_bytes(case.report)


async def _rulings(context: RunContext) -> tuple[Ruling, ...]:
    rows = await context.services.db.fetch_all(
        "SELECT gate, verdict, route, reason FROM verdicts WHERE run_id = %(run)s AND round = 0 ORDER BY id",
        {"run": context.run_id},
    )
    return tuple(
        Ruling(_gate(row["gate"]), Verdict(row["verdict"]), Route(row["route"]), row["reason"]) for row in rows
    )


def _gate(name: str) -> str:
    return _PLANNED.get(name, name)


async def _run_of(
    services: Services, story: Story, base: str, base_branch: str, policy: Config, others: Mapping[str, str]
) -> RunContext:
    """A run of ``story`` that is at work: its rows, its lease, its folder. ``others`` are finished and in review."""
    place = services.place
    rest = tuple(
        story.model_copy(update={"id": name, "title": f"Story {name}", "path": f"plans/{name}.md"}) for name in others
    )
    found = Backlog(stories=(story, *rest), problems=(), files=1 + len(rest))
    async with services.db.transaction() as conn:
        await conn.execute(
            QUERIES["upsert_project"], {"project": place.id, "root": str(place.root), "state_dir": str(place.state)}
        )
        await backlog.sync(conn, place.id, found, {one.id: fingerprint(one) for one in found.stories}, stacked=True)
        run = await start_run(conn, place.id, story, policy, base_branch)
        lease = await leases.claim(conn, place.id, story.id, services.daemon_id, _LEASE_S)
        if lease is None:
            raise AutoDevError(f"somebody else works on {story.id}", where=place.id)
        await runs.transition(conn, run, [RunStatus.QUEUED], RunStatus.RUNNING)
        start = {"run": run, "base_sha": base, "base_branch": base_branch, "stacked_on": Jsonb([])}
        await conn.execute(QUERIES["set_base"], start)
        for other in rest:
            await _finished(conn, services, other, others[other.id], base_branch, policy)
        row = await runs.get(conn, run)
    assert row is not None
    return run_context(services, row, lease)


async def _finished(
    conn: Connection, services: Services, story: Story, sha: str, base_branch: str, policy: Config
) -> None:
    """A story whose branch is there and whose draft pull request is open."""
    project, branch = services.place.id, f"auto-dev/{story.id}"
    await services.mirror.at.run("update-ref", f"refs/heads/{branch}", sha)
    run = await start_run(conn, project, story, policy, base_branch)
    await runs.transition(conn, run, [RunStatus.QUEUED], RunStatus.RUNNING)
    await runs.transition(conn, run, [RunStatus.RUNNING], RunStatus.SUCCEEDED)
    await conn.execute(QUERIES["set_head"], {"run": run, "head_sha": sha})
    await conn.execute(
        QUERIES["upsert_pull"],
        {
            "project": project, "story": story.id, "run": run, "branch": branch, "base": base_branch, "head_sha": sha,
            "state": PullState.DRAFT, "number": 1, "url": "", "title": story.title, "opened_by": run,
        },
    )  # fmt: skip


@asynccontextmanager
async def scratch() -> AsyncIterator[Path]:
    """A folder for a run of the corpus, that the embedded database's user may enter."""
    with tempfile.TemporaryDirectory(prefix="auto-dev-corpus-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
