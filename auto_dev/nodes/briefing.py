"""What an agent is told: the story, and for another try what was found, what was tried and what is there so far."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from auto_dev.agents.brief import compose_brief
from auto_dev.gates.attempts import tried
from auto_dev.gates.evidence import shared
from auto_dev.model import Phase
from auto_dev.nodes.attempts import attempts_of
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.leaving import redacted_text
from auto_dev.nodes.state import StoryState
from auto_dev.worktrees.folders import read_start
from auto_dev.worktrees.parse import FileChange

_RULE_FILES: Final = ("AGENTS.md", "CLAUDE.md", "CONTRIBUTING.md")
_RULES_LIMIT: Final = 12_000  # characters
_CHANGE_LIMIT: Final = 9_000  # characters of the change so far
_FILES: Final = 60
_SHOWN: Final = 6  # files whose change is shown: those that the findings name


async def plan_brief(context: RunContext, folder: Path) -> str:
    """The brief for a plan."""
    return compose_brief(context.story, Phase.PLAN, 0, rules=project_rules(folder), hint=context.hint)


async def work_brief(state: StoryState, context: RunContext, folder: Path) -> str:
    """The brief for a turn at implementing. A later round begins with the evidence of the one before."""
    number = state.get("round", 0)
    found = (context.load(f"findings-{number - 1}.json") or {}) if number else {}
    return compose_brief(
        context.story,
        Phase.IMPLEMENT,
        number,
        rules=project_rules(folder),
        findings=found.get("findings", ""),
        hint=context.hint,
        context=(context.load("plan.json") or {}).get("summary", ""),
        follow_up=(context.load("follow-up.json") or {}).get("text", ""),
        tried=tried(await attempts_of(context, number)),
        change=await _change_so_far(state, context, found.get("files", [])) if number else "",
        takes_over=state.get("escalated", False),
    )


def file_lines(changes: list[FileChange]) -> list[str]:
    """Changed files, a line each."""
    lines = [
        f"{change.status} `{change.path}` (+{change.additions} −{change.deletions})"
        + (f", was `{change.old_path}`" if change.old_path else "")
        for change in changes[:_FILES]
    ]
    return lines + ([f"… and {len(changes) - _FILES} more"] if len(changes) > _FILES else [])


def project_rules(folder: Path) -> str:
    """What the repository says to whoever works in it."""
    # The agent may have put anything there: a link, a pipe, a file without an end.
    found = {name: read_start(folder / name, 4 * _RULES_LIMIT) for name in _RULE_FILES}
    return "\n\n".join(
        f"{name}:\n{data.decode('utf-8', 'replace')[:_RULES_LIMIT]}" for name, data in found.items() if data is not None
    )


async def _change_so_far(state: StoryState, context: RunContext, named: list[str]) -> str:
    """What the branch changes: all files by name, and the change of those that the findings name."""
    history = context.services.worktrees.history
    base, head = state["base_sha"], state["head_sha"]
    changes = await history.changes(base, head)
    paths = [change.path for change in changes if change.path in named][:_SHOWN]
    diffs = [await history.diff(base, head, path, limit=4 * _CHANGE_LIMIT) for path in paths]
    text = "\n".join([*file_lines(changes), "", *shared(diffs, _CHANGE_LIMIT)]).strip()
    return await redacted_text(context, text)
