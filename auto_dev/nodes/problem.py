"""Turning what a node cannot settle into a decision: the row exists before the graph interrupts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auto_dev.errors import AutoDevError, ConfigError
from auto_dev.nodes.context import AnomalyError, RunContext
from auto_dev.nodes.leaving import redacted_question
from auto_dev.nodes.state import ASK, StoryState
from auto_dev.notify import facts
from auto_dev.store import decisions

RETRY: Mapping[str, Any] = {
    "id": "retry", "label": "Try again", "action": "retry", "recommended": True, "wants_text": False, "data": {},
}  # fmt: skip
SKIP: Mapping[str, Any] = {
    "id": "skip", "label": "Skip this story", "action": "skip", "recommended": False, "wants_text": False, "data": {},
}  # fmt: skip
ABANDON: Mapping[str, Any] = {
    "id": "abandon", "label": "Abandon this run", "action": "abandon", "recommended": False, "wants_text": False,
    "data": {},
}  # fmt: skip


async def open_question(state: StoryState, context: RunContext, node: str, question: decisions.Question) -> StoryState:
    """Open the decision (once per place in the run) without any credential, tell the channels, route to ``ask``."""
    question = await redacted_question(context, question)
    async with context.write() as conn:
        row, new = await decisions.ask(conn, context.project, context.story.id, context.run_id, question)
        if new:
            await context.services.tell(conn, asked(row, context.story.title))
    return {"route": ASK, "asked_by": node, "decision_id": row["id"], "questions": state.get("questions", 0) + 1}


def asked(row: Mapping[str, Any], title: str) -> facts.Fact:
    """The message about a decision that was just opened. ``title``: the story's."""
    return facts.decision_opened(
        decision_id=row["id"],
        story_id=row["story_id"],
        story_title=title,
        question=row["question"],
        why=row["why"],
        evidence=row["evidence"],
        options=row["options"],
    )


async def ask_about(state: StoryState, context: RunContext, node: str, error: AutoDevError) -> StoryState:
    """A known error in a node: the story waits for a person, the others go on."""
    number = state.get("questions", 0)
    evidence: Sequence[Mapping[str, Any]] = ({"title": "error", "excerpt": str(error)},)
    return await open_question(
        state,
        context,
        node,
        decisions.Question(
            key=f"problem:{node}:{number}",
            kind="problem",
            question=f"{context.story.id} stopped in step “{node}”: {error.what.rstrip('.')}. What now?",
            why=". ".join(part for part in (error.where, error.mend, _frozen(context, error)) if part),
            options=(RETRY, SKIP, ABANDON),
            evidence=evidence,
        ),
    )


def _frozen(context: RunContext, error: AutoDevError) -> str:
    if not isinstance(error, ConfigError):
        return ""
    return (
        "This run keeps the configuration that it began with: mend auto-dev.toml, then call "
        f"`auto-dev retry {context.story.id}`; “Try again” goes on with the old one"
    )


async def ask_about_anomaly(state: StoryState, context: RunContext, node: str, error: AnomalyError) -> StoryState:
    """Something in the spending is not usual: only this run waits, and going on waives it for the rest of the run."""
    go_on = {
        "id": "go_on", "label": "Go on, this is all right", "action": "resume", "recommended": False,
        "wants_text": False, "data": {"waives": error.kind},
    }  # fmt: skip
    hint = {
        "id": "hint", "label": "Go on, and tell the agent this", "action": "resume", "recommended": False,
        "wants_text": True, "data": {},
    }  # fmt: skip
    stop = {**ABANDON, "label": "Stop and keep the work", "recommended": True}
    return await open_question(
        state,
        context,
        node,
        decisions.Question(
            key=f"anomaly:{error.kind}:{node}:{state.get('questions', 0)}",
            kind="anomaly",
            question=f"{context.story.id} spends in an unusual way: {error.what.rstrip('.')}. Go on?",
            why="The limits hold all the same; the run was stopped so that you can look at what it does.",
            options=(go_on, hint, stop, SKIP),
            evidence=({"title": "what was seen", "excerpt": error.what},),
        ),
    )
