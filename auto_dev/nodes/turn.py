"""One turn of an agent in the worktree: brief in, process watched, report out."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

from auto_dev.agents.base import AgentResult, AgentTask, Endpoint, Outcome, Progress
from auto_dev.agents.brief import compose_brief
from auto_dev.agents.environment import agent_env
from auto_dev.errors import AgentError
from auto_dev.model import Phase
from auto_dev.nodes.commands import ProcessRecorder
from auto_dev.nodes.context import RunContext, RunPausedError
from auto_dev.processes import run_tree
from auto_dev.report import Report, read_report
from auto_dev.store.events import QUERIES, emit
from auto_dev.worktrees.site import Worktree

log = logging.getLogger(__name__)

_RULE_FILES = ("AGENTS.md", "CLAUDE.md", "CONTRIBUTING.md")
_RULES_LIMIT = 12_000  # characters


async def agent_turn(
    context: RunContext, worktree: Worktree, phase: Phase, round_number: int, *, extra: str = ""
) -> AgentResult:
    """Let the agent work once. Raises RunPausedError for budget and rate limits, AgentError when it cannot run."""
    recorder = ProcessRecorder(context)
    task = await _task(context, worktree, phase, round_number, extra, recorder)
    async with context.write() as conn:
        await conn.execute(QUERIES["agent_started"], {"run": context.run_id})
        await emit(
            conn, context.project, "AGENT_STARTED", story=context.story.id, run=context.run_id,
            agent=context.policy.agent.kind, phase=phase, round=round_number,
        )  # fmt: skip
    result = await _watch(context, task)
    await recorder.done()
    facts = {"outcome": result.outcome, "detail": result.detail, "exit": result.exit_code}
    context.save(f"turn-{phase}-{round_number}.json", facts)
    async with context.write() as conn:
        await emit(
            conn, context.project, "AGENT_ENDED", story=context.story.id, run=context.run_id,
            outcome=result.outcome, detail=result.detail, phase=phase,
        )  # fmt: skip
    _raise_for(result)
    return result


async def _task(
    context: RunContext, worktree: Worktree, phase: Phase, round_number: int, extra: str, recorder: ProcessRecorder
) -> AgentTask:
    """The turn's task: brief and report path in the agent's folder, environment by allowlist, meter of this run."""
    name = f"{phase}-{round_number}"
    findings = context.load(f"findings-{round_number - 1}.json") if round_number else None
    brief = compose_brief(
        context.story,
        phase,
        round_number,
        rules=_project_rules(worktree.path),
        findings=(findings or {}).get("findings", ""),
        hint=context.hint,
        context=extra,
    )
    brief_path = context.agent_dir / f"brief-{name}.md"
    report_path = context.agent_dir / f"report-{name}.json"
    brief_path.write_text(brief, "utf-8")
    _clear(report_path)
    named = {
        "AUTO_DEV_STORY": context.story.id,
        "AUTO_DEV_RUN": context.run_id,
        "AUTO_DEV_PHASE": phase,
        "AUTO_DEV_BRIEF": str(brief_path),
        "AUTO_DEV_REPORT": str(report_path),
    }
    return AgentTask(
        run_id=context.run_id,
        story_id=context.story.id,
        phase=phase,
        round=round_number,
        workdir=worktree.path,
        run_dir=context.path("."),
        brief=brief,
        brief_path=brief_path,
        report_path=report_path,
        log_path=context.path(f"agent-{name}.log"),
        env=agent_env(os.environ, {**named, **await context.provision(worktree)}),
        config=context.policy.agent,
        meter=context.meter(),
        processes=recorder,
        project_root=context.services.place.root,
        endpoint=Endpoint("", "", ""),
        run_tree=run_tree,
        home=context.agent_dir / "home",
        last_turn=time.monotonic,
    )


async def _watch(context: RunContext, task: AgentTask) -> AgentResult:
    runner = context.services.make_agent(context.policy)
    activity = context.path("activity.jsonl")
    result: AgentResult | None = None
    # Closed at once when the loop is left by an error: the agent's tree must not wait for the garbage collector.
    with activity.open("a", encoding="utf-8") as file:
        async with aclosing(runner.run(task)) as events:
            async for event in events:
                if isinstance(event, Progress):
                    file.write(json.dumps({"kind": event.kind, "text": event.text}, ensure_ascii=False) + "\n")
                    file.flush()
                elif isinstance(event, AgentResult):
                    result = event
    if result is None:
        raise AgentError("the agent ended without a result", where=runner.name)
    return result


def _raise_for(result: AgentResult) -> None:
    if result.outcome is Outcome.OVER_BUDGET:
        raise RunPausedError(f"budget: {result.detail}", result.resets_at, cause="budget")
    if result.outcome is Outcome.RATE_LIMITED:
        raise RunPausedError(f"rate limit: {result.detail}", result.resets_at)
    if result.outcome is Outcome.UNAVAILABLE:
        raise AgentError(result.detail or "the agent cannot be started")


def report_of(context: RunContext, phase: Phase, round_number: int) -> tuple[Report | None, str]:
    """The report that the agent left in that turn, or what is wrong with it."""
    return read_report(context.agent_dir / f"report-{phase}-{round_number}.json")


def turn_of(context: RunContext, phase: Phase, round_number: int) -> dict[str, Any]:
    """How that turn ended: {"outcome", "detail", "exit"}."""
    return context.load(f"turn-{phase}-{round_number}.json") or {}


def _project_rules(folder: Path) -> str:
    parts = []
    for name in _RULE_FILES:
        path = folder / name
        if path.is_file() and not path.is_symlink():
            parts.append(f"{name}:\n{path.read_text('utf-8', 'replace')[:_RULES_LIMIT]}")
    return "\n\n".join(parts)


def _clear(path: Path) -> None:
    """Remove what an earlier, interrupted turn left in the report's place, whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
