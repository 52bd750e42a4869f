"""The state of a story's graph: small and JSON-only. Long things are files in the run folder or rows."""

from __future__ import annotations

from typing import Any, Final, TypedDict

GRAPH_VERSION: Final = "story/1"

PROCEED: Final = "proceed"
REPAIR: Final = "repair"
ASK: Final = "ask"
AGAIN: Final = "again"  # from `publish`: the ground moved, and what stands on it is judged again
STOP: Final = "stop"  # the run ends here: skipped or aborted by a person


class StoryState(TypedDict, total=False):
    """What the checkpoints hold of a run: under 4 KB.

    ``route`` is the last node's answer to where the run goes next; after ``ask`` it is a node's name.
    ``base_sha`` is what the work is judged against; ``start_sha`` where this run's branch began, when that is another
    commit; ``remote_sha`` where the remote's branch stood when a follow-up began. ``turnless``: what is on the branch
    was moved or brought in by the host, and no agent has to work on it. ``round`` counts the agent's turns at
    implementing (verdict rows hang on it), ``repairs`` those since a person last spoke. ``seen`` maps a gate to the
    digest of its last failure, ``waived`` to one that a person accepted. ``trail`` tells what stopped each round since
    a person last spoke (``gates.settle.Round``); ``escalated``: the work is now the other agent's, which
    `[agent.escalation]` names. ``reported``: the round whose report stands for the work; ``challenged``: the work went
    back for better evidence alone, so that a turn without a report loses nothing.
    """

    run_id: str
    story_id: str
    route: str
    round: int
    repairs: int
    base_sha: str
    start_sha: str
    head_sha: str
    turnless: bool
    remote_sha: str
    asked_by: str
    decision_id: str
    questions: int
    seen: dict[str, str]
    waived: dict[str, str]
    trail: list[dict[str, Any]]
    escalated: bool
    reported: int
    challenged: bool


def start_of(state: StoryState) -> str:
    """The commit that this run's branch began at."""
    return state.get("start_sha") or state["base_sha"]
