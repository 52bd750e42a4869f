"""Who takes a turn, the folders that are theirs alone, and the task that they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auto_dev.config import AgentConfig
from auto_dev.model import Phase
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.workplace import Rooms, provision_worktree, worktree_rooms
from auto_dev.worktrees.site import Worktree

CHANGE: Final = "AUTO_DEV_CHANGE"  # the variable that names the file with the change to review


@dataclass(frozen=True, slots=True)
class Desk:
    """An agent and its folders: nobody else's conversation, home or report lies there.

    ``folder`` is the host's (conversations, logs), where no agent writes; ``out`` takes the report; ``briefs`` holds
    what it is given to read, which only the host writes. ``name``: whose desk it is, in events.
    """

    config: AgentConfig
    folder: Path
    home: Path
    out: Path
    briefs: Path
    name: str = ""

    @classmethod
    def worker(cls, context: RunContext, *, escalated: bool = False) -> Desk:
        """Of who plans and implements: the configured agent, or with ``escalated`` the one that takes over from it.

        The latter knows nothing of the former's conversation, for its folder and home are others.
        """
        takes_over = context.policy.agent.escalated if escalated else None
        if takes_over is None:
            return cls(context.policy.agent, context.path("."), context.home, context.agent_dir, context.briefs)
        place = context.path("escalated")
        place.mkdir(exist_ok=True)
        return cls(takes_over, place, place / "home", context.agent_dir, context.briefs, "escalation")

    @classmethod
    def apart(cls, config: AgentConfig, folder: Path, name: str) -> Desk:
        """One that shares nothing with anybody."""
        for place in (folder, folder / "out", folder / "briefs"):
            place.mkdir(parents=True, exist_ok=True)
        return cls(config, folder, folder / "home", folder / "out", folder / "briefs", name)


@dataclass(frozen=True, slots=True)
class Job:
    """One turn: ``desk`` works in ``workdir`` on ``brief``, in a box with these ``rooms``.

    ``env``: what children's environment needs besides; ``shown``: variable → a file that the agent is to read;
    ``record``: the file of the run's folder that tells how the turn ended.
    """

    desk: Desk
    phase: Phase
    round: int
    brief: str
    workdir: Path
    rooms: Rooms
    record: str
    env: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, Path] = field(default_factory=dict)


async def worktree_job(
    context: RunContext, worktree: Worktree, phase: Phase, round_number: int, desk: Desk, brief: str
) -> Job:
    """A turn in the story's worktree, which is made ready for it."""
    env = await provision_worktree(context, worktree)
    rooms = worktree_rooms(context, worktree, desk.config, desk.home)
    return Job(desk, phase, round_number, brief, worktree.path, rooms, record_of(phase, round_number), env)


def record_of(phase: Phase, round_number: int) -> str:
    """The file of the run's folder that tells how a turn of the story's agent ended."""
    return f"turn-{phase}-{round_number}.json"
