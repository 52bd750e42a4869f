"""The beginning of a follow-up: from where the pull request's branch stands now, with what has to be answered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from auto_dev.errors import GitError
from auto_dev.model import Cause, DecisionStatus, Phase
from auto_dev.nodes.answering import request_of
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.footing import (
    Footing,
    Moved,
    clash_text,
    moved_to,
    new_footing,
    note_footing,
    present_footing,
    pulls_of,
    put,
    remote_head,
)
from auto_dev.nodes.problem import ABANDON, SKIP, open_question
from auto_dev.nodes.state import PROCEED, StoryState
from auto_dev.nodes.workplace import provision_worktree
from auto_dev.store import decisions, follow_ups, runs
from auto_dev.store.events import QUERIES
from auto_dev.store.follow_ups import Fact, predecessors
from auto_dev.worktrees.folders import read_start
from auto_dev.worktrees.site import Worktree

_REPORT_LIMIT: Final = 1_000_000  # bytes

LEAVE: Final = {**ABANDON, "id": "leave", "label": "Leave this pull request to me"}


async def begin(state: StoryState, context: RunContext) -> StoryState:
    """The worktree at the branch's present head, moved if its footing did; asks what only a person can tell."""
    services = context.services
    async with services.db.pool.connection() as conn:
        pull = await follow_ups.pull_of(conn, context.project, context.story.id)
        former = await runs.get(conn, context.follows)
        facts = await follow_ups.of_run(conn, context.run_id)
    if pull is None or former is None:
        raise GitError(f"what {context.story.id} published is not known any more", mend="Retry the story.")
    head = await remote_head(context, context.branch) or str(pull["head_sha"])
    if not await _continues(context, str(pull["head_sha"]), head) and not await _answered(context, f"diverged:{head}"):
        return await open_question(state, context, "prepare", _diverged(context, str(pull["head_sha"]), head))
    built_on = predecessors(former["stacked_on"])
    base_branch = str(pull["base"])
    base_sha = await _base_of(context, str(former["base_sha"]), head, base_branch)
    footing = await new_footing(context, base_branch, built_on)
    if footing is None and any(fact.cause is Cause.CONFLICT for fact in facts):
        footing = await present_footing(context, base_branch, built_on)
    moved = await moved_to(services.worktrees.history, base_sha, head, footing) if footing else Moved(base_sha, head)
    if moved.clash is not None and await _must_ask(context, facts) and not await _answered(context, "clash"):
        return await open_question(state, context, "prepare", _clashed(context, moved, footing))
    worktree = await services.worktrees.create(context.story.id, context.run_id, head, context.branch)
    if footing is not None:
        found = await put(context, worktree, moved, footing)
    else:
        await note_footing(context, base_sha, Footing(base_branch, base_sha, built_on))
        found = {"base_sha": base_sha, "start_sha": head, "head_sha": head, "turnless": True}
    return await _made_ready(context, worktree, {**found, "remote_sha": head}, moved, facts)


async def _made_ready(
    context: RunContext, worktree: Worktree, found: StoryState, moved: Moved, facts: Sequence[Fact]
) -> StoryState:
    """What the agent, or without one the gates, need to find in the run's folder and in the worktree."""
    request = request_of(facts)
    parts = [request.text] if request.notes else []
    if moved.clash is not None:
        parts.insert(0, clash_text(context.base_branch, moved.clash.files))
    if parts:
        context.save("follow-up.json", {"text": "\n\n".join(parts), "notes": [note.row() for note in request.notes]})
    else:
        carry_report(context)
    await provision_worktree(context, worktree)
    waived = context.former("waived.json") or {}
    return {
        **found,
        "route": PROCEED,
        "turnless": not parts,
        "round": 0,
        "repairs": 0,
        "seen": {},
        "waived": waived,
    }


def carry_report(context: RunContext) -> None:
    """The report on the work that is only moved: the gates judge it as if this run's agent had written it."""
    folder = context.run_dir.parent / context.follows / "agent"
    prefix = f"report-{Phase.IMPLEMENT}-"
    named = {path.stem.removeprefix(prefix): path for path in folder.glob(f"{prefix}*.json")}
    rounds = [name for name in named if re.fullmatch("[0-9]{1,4}", name)]
    if not rounds:
        return
    report = read_start(named[max(rounds, key=int)], _REPORT_LIMIT)  # an agent wrote there
    if report is not None:
        (context.agent_dir / f"{prefix}0.json").write_bytes(report)


async def _continues(context: RunContext, published: str, head: str) -> bool:
    """Whether ``head`` contains all that was published: a person's commits on top of it are taken along."""
    history = context.services.worktrees.history
    return head == published or (await history.has(published) and await history.is_ancestor(published, head))


async def _base_of(context: RunContext, recorded: str, head: str, base_branch: str) -> str:
    """The commit against which the work is judged: a person may have merged a newer base into the branch."""
    services, history = context.services, context.services.worktrees.history
    published = {row["branch"]: str(row["head_sha"]) for row in (await pulls_of(context)).values()}
    tip = published.get(base_branch) or (await services.base_tip(base_branch)).sha
    common = await history.merge_base(head, tip)
    contained = await history.is_ancestor(recorded, head)
    if common is None:
        if contained:
            return recorded
        raise GitError(
            f"{context.branch} has nothing in common with {base_branch} any more",
            mend="Bring the branch back, or close the pull request.",
        )
    return common if not contained or await history.is_ancestor(recorded, common) else recorded


async def _answered(context: RunContext, key: str) -> bool:
    """Whether a person let the run go on at this question."""
    async with context.services.db.pool.connection() as conn:
        row = await (await conn.execute(QUERIES["decision_by_key"], {"run": context.run_id, "key": key})).fetchone()
    return row is not None and row["status"] == DecisionStatus.ANSWERED


async def _must_ask(context: RunContext, facts: Sequence[Fact]) -> bool:
    """Whether a person decides about a clash: so the policy says, or the agent's attempts are used up."""
    if context.policy.decisions.autonomy == "conservative":
        return True
    if any(fact.cause in (Cause.CHECK, Cause.REMARK, Cause.CONFLICT) for fact in facts):
        return False  # counted when the run was made
    async with context.services.db.pool.connection() as conn:
        pull = await follow_ups.pull_of(conn, context.project, context.story.id)
        number = int(pull["number"]) if pull is not None and pull["number"] is not None else 0
        used, _ = await follow_ups.attempts(conn, context.project, context.story.id, number)
    return used >= context.policy.forge.follow_up_attempts


def _diverged(context: RunContext, published: str, head: str) -> decisions.Question:
    return decisions.Question(
        key=f"diverged:{head}",
        kind="diverged",
        question=f"The branch of {context.story.id} was rewritten on the remote. What counts?",
        why=f"auto-dev published {published[:12]}, but {context.branch} is at {head[:12]} now, without that commit.",
        options=(
            _option("adopt", "Go on from the branch as it is there", recommended=True),
            LEAVE,
            SKIP,
        ),
    )


def _clashed(context: RunContext, moved: Moved, footing: Footing | None) -> decisions.Question:
    files = moved.clash.files if moved.clash else ()
    named = ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
    base = footing.base_branch if footing else context.base_branch
    return decisions.Question(
        key="clash",
        kind="conflict",
        question=f"{context.story.id} conflicts with {base} in {named}. Should an agent resolve it?",
        why="The work was to be put onto the newest state of its base, and git cannot do that by itself.",
        options=(_option("resolve", "Let an agent resolve it", recommended=True), LEAVE, SKIP),
        evidence=tuple({"title": "in conflict", "file": name} for name in files[:20]),
    )


def _option(name: str, label: str, *, recommended: bool = False) -> Mapping[str, Any]:
    return {
        "id": name, "label": label, "action": "resume", "recommended": recommended, "wants_text": False, "data": {},
    }  # fmt: skip
