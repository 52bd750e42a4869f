"""A worktree on the story's branch, from the right starting point, with what the project needs in it."""

from __future__ import annotations

from dataclasses import dataclass

from auto_dev.errors import GitError
from auto_dev.model import PullState
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.problem import ABANDON, SKIP, open_question
from auto_dev.nodes.state import PROCEED, StoryState
from auto_dev.nodes.workplace import provision_worktree
from auto_dev.store import decisions
from auto_dev.store.events import QUERIES


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """The commit that a story starts from, the branch its pull request targets, and what it is stacked on."""

    sha: str
    base_branch: str
    stacked_on: tuple[str, ...] = ()


async def prepare(state: StoryState, context: RunContext) -> StoryState:
    """Make (or find again) the worktree. Asks when the story has no acceptance criterion."""
    if not context.story.acceptance_criteria and not state.get("questions"):
        return await open_question(state, context, "prepare", _criteria_question(context))
    services = context.services
    base_sha = state.get("base_sha", "")
    if not base_sha:
        start = await starting_point(context)
        base_sha = start.sha
        context.base_branch = start.base_branch
        context.save("start.json", {"stacked_on": start.stacked_on, "base_branch": start.base_branch})
        async with context.write() as conn:
            await conn.execute(
                QUERIES["set_base"],
                {"run": context.run_id, "base_sha": base_sha, "base_branch": start.base_branch},
            )
    worktree = await services.worktrees.create(context.story.id, context.run_id, base_sha, context.branch)
    await provision_worktree(context, worktree)
    return {"route": PROCEED, "base_sha": base_sha, "round": 0, "repairs": 0, "seen": {}, "waived": {}}


async def starting_point(context: RunContext) -> StartingPoint:
    """The base branch's tip, or the predecessors' branches while their pull requests are not merged."""
    services = context.services
    open_branches: list[str] = []
    async with services.db.pool.connection() as conn:
        for needed in context.story.depends_on:
            cursor = await conn.execute(QUERIES["get_pull"], {"project": context.project, "story": needed})
            pull = await cursor.fetchone()
            if pull is not None and pull["state"] in (PullState.DRAFT, PullState.OPEN, PullState.LOCAL):
                open_branches.append(pull["branch"])
    base_branch = context.story.base_branch or services.repository.base_branch
    if not open_branches:
        return StartingPoint((await services.base_tip(base_branch)).sha, base_branch)
    heads = []
    for branch in open_branches:
        head = await services.worktrees.history.resolve(f"refs/heads/{branch}")
        if head is None:
            raise GitError(f"the branch {branch} of a story that this one depends on is missing", mend="Run it again.")
        heads.append(head)
    if len(heads) == 1:
        return StartingPoint(heads[0], open_branches[0], tuple(open_branches))
    message = f"Merge what {context.story.id} builds on: {', '.join(open_branches)}"
    merged = await services.worktrees.history.merge(heads, message)
    return StartingPoint(merged, base_branch, tuple(open_branches))


def _criteria_question(context: RunContext) -> decisions.Question:
    """Both answers let ``prepare`` run again; with a person's criteria the work is judged by them."""
    return decisions.Question(
        key="criteria",
        kind="criteria",
        question=f"{context.story.id} has no acceptance criterion. How will its work be judged?",
        why=f"{context.story.path} states no acceptance criteria, neither in its frontmatter nor under a heading.",
        options=(
            {
                "id": "criteria",
                "label": "These are the criteria, one a line",
                "action": "criteria",
                "recommended": True,
                "wants_text": True,
                "data": {},
            },
            {
                "id": "proceed",
                "label": "Go on without",
                "action": "retry",
                "recommended": False,
                "wants_text": False,
                "data": {},
            },
            SKIP,
            ABANDON,
        ),
    )
