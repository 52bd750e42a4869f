"""The branch leaves (to a story branch only) and a draft pull request says what is in it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from auto_dev.forge.answer import compose_answer
from auto_dev.forge.base import DraftSpec, ForgeUnavailableError, Pull
from auto_dev.forge.body import (
    DecisionFact,
    GateFact,
    PullFacts,
    StackedOn,
    compose_body,
    compose_title,
)
from auto_dev.forge.local import LocalForge
from auto_dev.forge.risk import FileFact
from auto_dev.gates.base import Leak
from auto_dev.model import DecisionStatus, FileStatus, Phase, PullState, Route
from auto_dev.nodes.answering import answer_of
from auto_dev.nodes.commands import outcome_from
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.footing import pulls_of
from auto_dev.nodes.leaving import Cleared, Leaving, redacted_text
from auto_dev.nodes.pull_parts import concerns_of, conflicts_of, criteria_of, flaky_of, phases_of, web_of
from auto_dev.nodes.settling import unavailable, unsettled
from auto_dev.nodes.state import PROCEED, StoryState, start_of
from auto_dev.nodes.turn import report_of
from auto_dev.nodes.verdicts import rule
from auto_dev.store import decisions, follow_ups, runs
from auto_dev.store.events import QUERIES, emit
from auto_dev.store.follow_ups import FOLLOW_UPS
from auto_dev.stories.writeback import with_status
from auto_dev.worktrees.edit import commit_file
from auto_dev.worktrees.push import push
from auto_dev.worktrees.transport import Remote, RemoteError

PUSH_RETRIES_S = (2.0, 10.0, 30.0)


async def publish(state: StoryState, context: RunContext) -> StoryState:
    """Push, then find or create the draft. Every effect is looked for before it is made, so the node may repeat."""
    services = context.services
    if (elsewhere := await unsettled(state, context)) is not None:
        return elsewhere
    head = await with_status_written(context, state["head_sha"])
    leaving = Leaving(context, state["base_sha"], head)
    ruled = await leaving.clear(state)
    if ruled.judgement.route is not Route.PROCEED:
        return await rule(state, context, "publish", [ruled])
    if services.repository.push is not None:
        await push_patiently(context, Cleared(head, ruled), services.repository.push)
        async with context.write() as conn:
            await emit(
                conn, context.project, "BRANCH_PUSHED", story=context.story.id, run=context.run_id,
                branch=context.branch, sha=head,
            )  # fmt: skip
    context.save("waived.json", state.get("waived", {}))  # what a person accepted also counts for a follow-up
    opened_by = await _opened_by(context)
    facts = await pull_facts({**state, "head_sha": head}, context, opened_by)
    leaks = await leaving.leaks()
    if isinstance(services.forge, LocalForge):
        await services.worktrees.history.patches(state["base_sha"], head, services.forge.folder_for(context.branch))
    spec = DraftSpec(
        branch=context.branch,
        base=context.base_branch,
        title=await redacted_text(context, compose_title(context.story.id, context.story.title), leaks),
        body=await redacted_text(context, compose_body(facts), leaks),
        labels=(context.policy.forge.label,),
    )
    try:
        pull = await services.forge.ensure_draft(spec)
    except ForgeUnavailableError as error:
        raise unavailable(error, services.clock()) from error
    await _record(context, spec, pull, head, opened_by)
    if context.follow_up:
        await answer({**state, "head_sha": head}, context, pull.number, leaks)
    return {"route": PROCEED, "head_sha": head}


async def _record(context: RunContext, spec: DraftSpec, pull: Pull, head: str, opened_by: str) -> None:
    """Write the pull request down; what was noted about another commit of it asks for nothing any more."""
    async with context.write() as conn:
        await conn.execute(
            QUERIES["upsert_pull"],
            {
                "project": context.project,
                "story": context.story.id,
                "run": context.run_id,
                "branch": context.branch,
                "base": context.base_branch,
                "head_sha": head,
                "state": pull.state,
                "number": pull.number if pull.state is not PullState.LOCAL else None,
                "url": pull.url,
                "title": spec.title,
                "opened_by": opened_by,
            },
        )
        if pull.number:
            await conn.execute(
                FOLLOW_UPS["drop_outdated"],
                {"project": context.project, "number": pull.number, "head_sha": head, "failed": []},
            )
        await emit(
            conn, context.project, "PULL_REQUEST_READY", story=context.story.id, run=context.run_id, url=pull.url
        )


async def _opened_by(context: RunContext) -> str:
    """The run whose marker the pull request bears: by it one that a person closed meanwhile is known again."""
    if not context.follow_up:
        return context.run_id
    async with context.services.db.pool.connection() as conn:
        row = await follow_ups.pull_of(conn, context.project, context.story.id)
    return str(row["opened_by"] or row["run_id"]) if row else context.run_id


async def answer(state: StoryState, context: RunContext, number: int, leaks: Sequence[Leak]) -> None:
    """One comment that says what was done about each thing that came back; nothing when nobody asked for anything."""
    services, history = context.services, context.services.worktrees.history
    request = context.load("follow-up.json")
    if request is None:
        return
    clash = context.load("conflict.json") or {}
    report, _ = await report_of(context, Phase.IMPLEMENT, state.get("reported", state.get("round", 0)))
    changed = await history.changes(start_of(state), state["head_sha"])
    async with services.db.pool.connection() as conn:
        verdicts = await runs.verdicts(conn, context.run_id)
    facts = answer_of(
        request["notes"], report, base=context.base_branch, began=start_of(state), head=state["head_sha"],
        files=[] if clash else [change.path for change in changed], resolved=clash.get("files", ()), gates=verdicts,
    )  # fmt: skip
    try:
        said = await redacted_text(context, compose_answer(facts), leaks)
        await services.forge.comment(number, said, f"follow-up:{context.run_id}")
    except ForgeUnavailableError as error:
        raise unavailable(error, services.clock()) from error


async def with_status_written(context: RunContext, head: str) -> str:
    """The branch's head, with ``status: done`` in the story's file where the project wants that."""
    path = context.story.path
    if not context.policy.project.write_back:
        return head
    tip = await context.services.worktrees.history.resolve(f"refs/heads/{context.branch}") or head
    content = await context.services.worktrees.history.read(tip, path)
    if content is None:
        return tip  # a story that is not part of the repository, or whose file the work removed
    changed = with_status(content.decode("utf-8", "surrogateescape"), FileStatus.DONE)
    if changed is None or changed.encode("utf-8", "surrogateescape") == content:
        return tip
    message = f"{context.story.id}: status done\n\nStory: {context.story.id}\nRun: {context.run_id}\n"
    data = changed.encode("utf-8", "surrogateescape")
    return await commit_file(context.services.mirror, context.branch, tip, path, data, message)


async def push_patiently(context: RunContext, cleared: Cleared, remote: Remote) -> None:
    """Push; a network that is down for a moment is waited for, a refusal is a matter for a person."""
    for pause_s in (*PUSH_RETRIES_S, None):
        try:
            await push(context.services.mirror, context.branch, cleared.head_sha, remote)
        except RemoteError as error:
            if not error.retryable or pause_s is None:
                raise
            await asyncio.sleep(pause_s)
        else:
            return


async def pull_facts(state: StoryState, context: RunContext, opened_by: str) -> PullFacts:
    """Everything that the pull request's text says, gathered from rows, git and the run's folder."""
    services = context.services
    report, _ = await report_of(context, Phase.IMPLEMENT, state.get("reported", state.get("round", 0)))
    cost = await services.ledger.cost_of_story(context.story.id)
    changes = await services.worktrees.history.changes(state["base_sha"], state["head_sha"])
    async with services.db.pool.connection() as conn:
        verdicts = await runs.verdicts(conn, context.run_id)
        answered = [
            row for row in await decisions.of_run(conn, context.run_id) if row["status"] == DecisionStatus.ANSWERED
        ]
        row = await runs.get(conn, context.run_id)
        phases = await runs.phases(conn, context.project, context.run_id)
        flaky = await runs.flaky(conn, context.project, context.run_id)
    started = row["started_at"] if row else None
    known = [outcome_from(entry) for entry in context.load("baseline.json") or []]
    concerns = {
        str(entry["file"]): f"{verdict['gate']}: {verdict['reason']}"
        for verdict in verdicts
        if verdict["verdict"] != "pass"
        for entry in verdict["evidence"]
        if entry.get("file")
    }
    return PullFacts(
        story_id=context.story.id,
        title=context.story.title,
        run_id=context.run_id,
        opened_by=opened_by,
        branch=context.branch,
        base=context.base_branch,
        goal=context.story.goal,
        base_sha=state["base_sha"],
        head_sha=state["head_sha"],
        summary=report.summary if report else "",
        confidence=report.confidence if report else None,
        criteria=criteria_of(context.story.acceptance_criteria, verdicts, report),
        gates=tuple(_gate(verdict) for verdict in verdicts),
        files=tuple(
            FileFact(c.path, c.status, c.additions, c.deletions, c.binary, c.mode, concerns.get(c.path, ""))
            for c in changes
        ),
        decisions=tuple(
            DecisionFact(
                entry["question"],
                _answer_label(entry),
                entry["answered_by"],
                entry["answered_via"],
            )
            for entry in answered
        ),
        concerns=concerns_of(verdicts),
        conflicts=conflicts_of(verdicts, await _numbers(context)),
        flaky=flaky_of(flaky),
        phases=phases_of(phases),
        setup=context.policy.setup.command or "",
        web=web_of(context.policy.forge),
        known_failures=tuple(name for o in known if not o.ok for name in (o.failures or (f"the command {o.name}",))),
        stacked_on=await _stacked_on(context),
        cost_microusd=cost,
        budget_microusd=context.limits().story,
        duration_s=(services.clock() - started).total_seconds() if started else 0.0,
        repairs=state.get("round", 0),
        agent=context.policy.agent.kind,
        model=context.policy.agent.model or "",
        replay=tuple(gate.run for gate in context.policy.gates.command),
        remote=context.policy.project.remote if services.repository.push else str(services.mirror.path),
    )


def _gate(row: dict[str, object]) -> GateFact:
    return GateFact(
        gate=str(row["gate"]),
        verdict=str(row["verdict"]),
        reason=str(row["reason"]),
        duration_ms=int(str(row["duration_ms"])),
        advisory=bool(row["advisory"]),
        waived_by=str(row["waived_by"] or ""),
        waived_reason=str(row["waived_reason"] or ""),
    )


def _answer_label(row: dict[str, object]) -> str:
    options = row["options"]
    assert isinstance(options, list)
    label = next((str(o["label"]) for o in options if o["id"] == row["answer"]), str(row["answer"]))
    return f"{label}: {row['answer_text']}" if row["answer_text"] else label


async def _numbers(context: RunContext) -> dict[str, int | None]:
    """The number of each story's pull request."""
    rows = await context.services.db.fetch_all(QUERIES["pull_rows"], {"project": context.project})
    return {str(row["story_id"]): row["number"] for row in rows}


async def _stacked_on(context: RunContext) -> tuple[StackedOn, ...]:
    pulls = await pulls_of(context)
    return tuple(
        StackedOn(one.story, one.branch, pulls[one.story]["number"] if one.story in pulls else None)
        for one in context.stacked_on
    )
