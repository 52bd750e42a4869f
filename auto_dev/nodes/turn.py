"""One turn of an agent in the worktree: brief in, process watched, report out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from auto_dev.agents.base import (
    AgentResult,
    AgentRunner,
    AgentTask,
    Endpoint,
    Outcome,
    Progress,
    Turn,
    upstream_of,
)
from auto_dev.budget.anomaly import RunWatch
from auto_dev.budget.gateway import Grant, Stop, Upstreams
from auto_dev.budget.limits import BudgetExceededError
from auto_dev.errors import AgentError, AutoDevError, BudgetError, StoreError
from auto_dev.model import DecisionStatus, Phase
from auto_dev.nodes.commands import ProcessRecorder
from auto_dev.nodes.context import AnomalyError, RunContext, RunPausedError
from auto_dev.nodes.desk import Desk, Job, record_of
from auto_dev.nodes.leaving import redacted_report, redacted_text
from auto_dev.nodes.spending import Reports, watch_of
from auto_dev.nodes.workplace import GATEWAY_PORT, Workplace, new_socket, workplace
from auto_dev.report import DecisionWish, Report, read_report
from auto_dev.store import decisions
from auto_dev.store.events import QUERIES, emit
from auto_dev.tasks import end_tasks
from auto_dev.text import clean, jsonable, line
from auto_dev.worktrees.folders import set_aside

log = logging.getLogger(__name__)

_GRACE_S: Final = 4.0  # for an agent whose request was refused: to say so and end by itself
_END_AGAIN_S: Final = 10.0
_LIMITED: Final = timedelta(minutes=15)
STOPPED: Final = (RunPausedError, AgentError, AnomalyError, BudgetError)  # what agent_turn raises after it began
_REFUSAL: Final = {"claude-code": 402}  # 400 stops the other agents at once; Claude Code tries that six times


async def agent_turn(context: RunContext, job: Job) -> AgentResult:
    """Let an agent work once. Raises BudgetExceededError, RunPausedError for the provider's limits, AnomalyError, and
    AgentError when it cannot run. How it ended is in ``job.record`` all the same."""
    recorder = ProcessRecorder(context)
    config = job.desk.config
    runner = context.services.make_agent(config)
    turn = Turn(context.story.id, job.phase, job.round, config, context.services.place.root)
    began = await _cost_before(context, job)
    async with (
        upstream_of(runner, turn) as urls,
        _connected(context, job, replace(Upstreams.of(context.policy.gateway), **urls)) as connected,
    ):
        task = _task(context, job, connected, recorder, await answers_of(context))
        async with context.write() as conn:
            await conn.execute(QUERIES["agent_started"], {"run": context.run_id})
            await emit(
                conn, context.project, "AGENT_STARTED", story=context.story.id, run=context.run_id,
                agent=config.kind, phase=job.phase, round=job.round, **_named(job.desk),
            )  # fmt: skip
        ended = await _watch(context, runner, task, connected)
    await recorder.done()
    result = ended if isinstance(ended, AgentResult) else _as_result(ended)
    result = replace(result, detail=await redacted_text(context, result.detail))
    ended = result if isinstance(ended, AgentResult) else ended
    facts = {"outcome": result.outcome, "detail": result.detail, "exit": result.exit_code, "by": config.label}
    facts |= {"cost_before": began, "cost_microusd": await context.services.ledger.cost_of_run(context.run_id) - began}
    context.save(job.record, facts | {"decisions": jsonable(result.data.get("decisions") or [])})
    async with context.write() as conn:
        await emit(
            conn, context.project, "AGENT_ENDED", story=context.story.id, run=context.run_id,
            outcome=result.outcome, detail=result.detail, phase=job.phase, **_named(job.desk),
        )  # fmt: skip
    if connected.watch.found is not None:
        context.watch = None  # the next turn begins with what a person has let pass until then
    _raise_for(ended, connected, context.services.clock() + _LIMITED)
    return result


def _named(desk: Desk) -> dict[str, str]:
    return {"desk": desk.name} if desk.name else {}


async def _cost_before(context: RunContext, job: Job) -> int:
    """What the run had cost when this turn began, also if that was before a crash or a pause."""
    known = (context.load(job.record) or {}).get("cost_before")
    if known is None:
        known = await context.services.ledger.cost_of_run(context.run_id)
        context.save(job.record, {"cost_before": known, "by": job.desk.config.label})
    return int(known)


@dataclass(frozen=True, slots=True)
class Connected:
    """An agent's place and its way to the models."""

    place: Workplace
    grant: Grant
    endpoint: Endpoint
    watch: RunWatch


@asynccontextmanager
async def _connected(context: RunContext, job: Job, upstreams: Upstreams) -> AsyncIterator[Connected]:
    """A grant of the gateway and a place to work. At the end the token is worth nothing and all requests are booked."""
    services = context.services
    refusal = _REFUSAL.get(job.desk.config.kind, 400)
    watch = await watch_of(context)
    async with services.gateway.grant(
        context.run_id, context.meter(), upstreams, refusal=refusal, watch=watch
    ) as grant:
        socket = None
        if services.sandbox.confines:
            socket = new_socket(services.sockets)
            await grant.listen(socket)
        url = f"http://127.0.0.1:{GATEWAY_PORT}" if socket else services.gateway.url
        endpoint = Endpoint(url, services.gateway.url, grant.token)
        async with workplace(context, job.rooms, socket) as place:
            yield Connected(place, grant, endpoint, watch)


def _task(
    context: RunContext, job: Job, connected: Connected, recorder: ProcessRecorder, answers: Mapping[str, str]
) -> AgentTask:
    """The turn's task: its brief to read, its report to write, its environment by allowlist."""
    desk, config = job.desk, job.desk.config
    name = f"{job.phase}-{job.round}"
    brief_path = desk.briefs / f"{name}.md"
    report_path = desk.out / f"report-{name}.json"
    brief_path.write_text(job.brief, "utf-8")
    set_aside(report_path)  # what an earlier, interrupted turn left there
    named = {
        "AUTO_DEV_STORY": context.story.id,
        "AUTO_DEV_RUN": context.run_id,
        "AUTO_DEV_PHASE": job.phase,
        "AUTO_DEV_BRIEF": str(brief_path),
        "AUTO_DEV_REPORT": str(report_path),
        **{variable: str(path) for variable, path in job.shown.items()},
    }
    models = endpoint_env(connected.endpoint) if config.mode == "api" else {}
    return AgentTask(
        run_id=context.run_id,
        story_id=context.story.id,
        phase=job.phase,
        round=job.round,
        workdir=job.workdir,
        run_dir=desk.folder,
        brief=job.brief,
        brief_path=brief_path,
        report_path=report_path,
        log_path=desk.folder / f"agent-{name}.log",
        env={**connected.place.env, **models, **named, **job.env},
        config=config,
        processes=recorder,
        project_root=context.services.place.root,
        endpoint=connected.endpoint,
        run_tree=connected.place.run_tree,
        home=desk.home,
        last_turn=lambda: connected.grant.last_turn,
        confined=context.services.sandbox.confines,
        answers=answers,
        shown=tuple(job.shown.values()),
    )


async def _watch(
    context: RunContext, runner: AgentRunner, task: AgentTask, connected: Connected
) -> AgentResult | AutoDevError:
    """Listen to the agent until it ends, or until its run must stop: then it has a short grace, and is ended.

    A known error is an end like another: its turn is written down, and what the gateway saw counts before it.
    """
    grant = connected.grant
    working = asyncio.create_task(_listen(context, runner, task, connected), name=f"agent of {task.run_id}")
    stopping = asyncio.create_task(grant.stopped(), name=f"stop of {task.run_id}")
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            grace = 0.0 if stopping.result().kind == "halted" else _GRACE_S
            await asyncio.wait({working}, timeout=grace)
        if working.done():
            return working.result()
        stop = stopping.result()
        return AgentResult(_STOPPED[stop.kind], stop.detail, resets_at=stop.resets_at)
    except StoreError:
        raise
    except AutoDevError as error:
        return error
    finally:
        # The agent's tree is gone when this has returned, not when the garbage collector comes by.
        await end_tasks(working, stopping, again_s=_END_AGAIN_S)


async def _listen(context: RunContext, runner: AgentRunner, task: AgentTask, connected: Connected) -> AgentResult:
    """Write down what the agent tells, book what it reports of requests that nobody metered; its result."""
    reports = Reports(context, connected.watch) if task.config.mode == "subscription" else None
    with context.path("activity.jsonl").open("a", encoding="utf-8") as file:
        async with aclosing(runner.run(task)) as events:
            async for event in events:
                if isinstance(event, AgentResult):
                    return event
                if isinstance(event, Progress):
                    file.write(json.dumps({"kind": event.kind, "text": clean(event.text)}, ensure_ascii=False) + "\n")
                    file.flush()
                elif reports is not None:
                    try:
                        await reports.book(event)
                    except (BudgetError, AnomalyError):
                        await reports.book_rest(events)
                        raise
    raise AgentError("the agent ended without a result", where=runner.name)


_STOPPED: Final[Mapping[str, Outcome]] = {
    "budget": Outcome.OVER_BUDGET,
    "rate_limit": Outcome.RATE_LIMITED,
    "refused": Outcome.UNAVAILABLE,
    "anomaly": Outcome.OVER_BUDGET,
    "halted": Outcome.OVER_BUDGET,
}


def _as_result(error: AutoDevError) -> AgentResult:
    """A turn that an error ended, as it is written down."""
    stopped = isinstance(error, (BudgetExceededError, AnomalyError))
    return AgentResult(Outcome.OVER_BUDGET if stopped else Outcome.FAILED, line(error.what))


def _raise_for(result: AgentResult | AutoDevError, connected: Connected, later: datetime) -> None:
    """What the gateway saw counts before what the agent said of it. ``later``: the end of a limit that states none."""
    found, stop = connected.watch.found, connected.grant.stop
    if found is not None:
        raise AnomalyError(found)
    if stop is not None:
        raise _stopped(stop, later)
    if isinstance(result, AutoDevError):
        raise result
    if result.outcome is Outcome.OVER_BUDGET:
        raise RunPausedError(f"budget: {result.detail}", result.resets_at, cause="budget")
    if result.outcome is Outcome.RATE_LIMITED:
        raise RunPausedError(f"rate limit: {result.detail}", result.resets_at or later)
    if result.outcome is Outcome.UNAVAILABLE:
        raise AgentError(result.detail or "the agent cannot be started")


def _stopped(stop: Stop, later: datetime) -> AutoDevError:
    if stop.kind == "budget":
        return stop.error or RunPausedError(f"budget: {stop.detail}", stop.resets_at, cause="budget")
    if stop.kind == "rate_limit":
        return RunPausedError(f"rate limit: {stop.detail}", stop.resets_at or later)
    if stop.kind == "halted":
        return RunPausedError(f"panic: {stop.detail}")
    return AgentError(stop.detail)


def endpoint_env(endpoint: Endpoint) -> dict[str, str]:
    """What points every SDK and agent that goes by the environment at the gateway, with the turn's token."""
    return {
        "ANTHROPIC_BASE_URL": endpoint.url,
        "ANTHROPIC_API_KEY": endpoint.token,
        "OPENAI_BASE_URL": f"{endpoint.url}/v1",
        "OPENAI_API_BASE": f"{endpoint.url}/v1",
        "OPENAI_API_KEY": endpoint.token,
        "GOOGLE_GEMINI_BASE_URL": endpoint.url,
        "GEMINI_API_KEY": endpoint.token,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


async def report_of(context: RunContext, phase: Phase, round_number: int) -> tuple[Report | None, str]:
    """The report that the agent left in that turn, or what is wrong with it; no credential is in either.

    What it asked a person for while it worked (a permission, say) counts as a question of its report.
    """
    report, problem = read_report(context.agent_dir / f"report-{phase}-{round_number}.json")
    asked = turn_of(context, phase, round_number).get("decisions") or []
    if report is not None and asked:
        wishes = [DecisionWish.model_validate(one) for one in asked]
        report = report.model_copy(update={"decisions": [*report.decisions, *wishes]})
    return await redacted_report(context, report) if report else None, await redacted_text(context, problem)


async def answers_of(context: RunContext) -> dict[str, str]:
    """The agent's own questions that a person has answered in this run → the chosen option's label, or the text."""
    async with context.services.db.pool.connection() as conn:
        rows = await decisions.of_run(conn, context.run_id)
    found: dict[str, str] = {}
    for row in rows:
        if row["status"] == DecisionStatus.ANSWERED:
            chosen = next((str(option["label"]) for option in row["options"] if option["id"] == row["answer"]), "")
            asked = (str(entry["question"]) for entry in row["evidence"] if entry.get("question"))
            found |= {question: row["answer_text"] or chosen for question in asked if question in row["question"]}
    return found


def turn_of(context: RunContext, phase: Phase, round_number: int) -> dict[str, Any]:
    """How that turn ended: {"outcome", "detail", "exit", "by", "cost_microusd"}; no outcome when it has not yet."""
    return context.load(record_of(phase, round_number)) or {}
