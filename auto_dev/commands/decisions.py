"""``decide --history``: what was decided, by whom, and through which channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from auto_dev.commands import output
from auto_dev.commands.here import here
from auto_dev.errors import ExitCode
from auto_dev.model import DecisionStatus
from auto_dev.store import decisions
from auto_dev.text import line

_MOST: Final = 200


async def history(*, as_json: bool) -> ExitCode:
    """Print the latest closed decisions, the newest first."""
    place = await here(lenient=True)
    found: list[dict[str, Any]] = []
    if place.known:
        async with place.database() as db, db.pool.connection() as conn:
            found = [facts(row) for row in await decisions.closed_ones(conn, place.project_id, _MOST)]
    if as_json:
        output.emit_json({"decisions": found})
        return ExitCode.DONE
    for decision in found:
        output.say(
            f"{decision['asked_at'][:16].replace('T', ' ')}  {line(decision['question'], 300)}  [{decision['id']}]"
        )
        output.say(f"    {_ending(decision)}")
    if not found:
        output.say("Nothing was decided yet.")
    return ExitCode.DONE


def facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """One closed decision, as ``decide --history --json`` gives it. Without an answer it fell away with its run."""
    chosen = next((option for option in row["options"] if option["id"] == row["answer"]), None)
    return {
        "id": row["id"],
        "story": row["story_id"],
        "kind": row["kind"],
        "question": row["question"],
        "status": row["status"],
        "answer": row["answer"],
        "label": chosen["label"] if chosen else None,
        "text": row["answer_text"],
        "by": row["answered_by"],
        "via": row["answered_via"],
        "asked_at": row["created_at"].isoformat(timespec="seconds"),
        "answered_at": row["answered_at"].isoformat(timespec="seconds") if row["answered_at"] else None,
    }


def _ending(decision: Mapping[str, Any]) -> str:
    if decision["status"] != DecisionStatus.ANSWERED:
        return "→ not answered: its run ended in another way"
    text = f": {line(decision['text'], 200)}" if decision["text"] else ""
    when = str(decision["answered_at"])[:16].replace("T", " ")
    return (
        f"→ {line(decision['label'] or decision['answer'], 200)}{text}  ({decision['by']}, {decision['via']}, {when})"
    )
