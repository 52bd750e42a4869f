"""A worktree on the story's branch, from the right starting point, with what the project needs in it."""

from __future__ import annotations

from auto_dev.nodes.context import RunContext
from auto_dev.nodes.follow_up import begin
from auto_dev.nodes.footing import first_footing, note_footing
from auto_dev.nodes.problem import ABANDON, SKIP, open_question
from auto_dev.nodes.state import PROCEED, StoryState
from auto_dev.nodes.workplace import provision_worktree
from auto_dev.store import decisions


async def prepare(state: StoryState, context: RunContext) -> StoryState:
    """Make (or find again) the worktree. Asks when the story has no acceptance criterion."""
    if context.follow_up:
        return await begin(state, context)
    if not context.story.acceptance_criteria and not state.get("questions"):
        return await open_question(state, context, "prepare", _criteria_question(context))
    base_sha = state.get("base_sha", "")
    if not base_sha:
        footing = await first_footing(context)
        base_sha = footing.sha
        await note_footing(context, base_sha, footing)
    worktree = await context.services.worktrees.create(context.story.id, context.run_id, base_sha, context.branch)
    await provision_worktree(context, worktree)
    return {"route": PROCEED, "base_sha": base_sha, "round": 0, "repairs": 0, "seen": {}, "waived": {}}


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
