"""Questions that are closed by now: which ones a message asks, and what it says instead. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from auto_dev.notify.channel import Closed, Item
from auto_dev.notify.message import Message, Outcome
from auto_dev.notify.summary import Summary, WaitingStory

_VIA: Final = {"slack": "in Slack", "cli": "on the command line", "dashboard": "in the dashboard"}
NO_LONGER: Final = "No longer asked: its run ended in another way"


def asked_in(items: Iterable[Item]) -> list[str]:
    """The decisions that a message asks for, each once."""
    found: list[str] = []
    for item in items:
        if item.kind == "summary":
            found += [str(story.get("decision_id") or "") for story in _dicts(item.payload.get("waiting"))]
        elif item.payload.get("choices"):
            found.append(str(item.payload.get("decision_id") or ""))
    return [decision for decision in dict.fromkeys(found) if decision]


def closed_of(row: Mapping[str, Any]) -> Closed:
    """How the decision of a database row ended; its ``options`` give the answer's label."""
    if row["status"] != "answered":
        return Closed(row["id"])
    label = next((str(o.get("label") or o["id"]) for o in row["options"] if o["id"] == row["answer"]), row["answer"])
    at = row["answered_at"]
    return Closed(
        decision_id=row["id"],
        answer=label,
        text=row["answer_text"],
        by=row["answered_by"] or "",
        via=row["answered_via"] or "",
        at=datetime.fromisoformat(at) if isinstance(at, str) else at,
    )


def outcome(end: Closed) -> Outcome:
    """What to show of it: who, what, and by which way."""
    if not end.answer:
        return Outcome(said=NO_LONGER)
    said = ", ".join(part for part in (f"by {end.by or 'somebody'}", _VIA.get(end.via, end.via)) if part)
    return Outcome(answer=end.answer, text=end.text, said=said, at=end.at)


def settled_message(message: Message, closed: Mapping[str, Closed]) -> Message:
    """``message`` as it reads when its question is closed; unchanged when it is not."""
    end = closed.get(message.decision_id)
    if end is None or not message.choices:
        return message
    return message.model_copy(update={"choices": (), "excerpts": (), "outcome": outcome(end), "tone": "good"})


def settled_summary(summary: Summary, closed: Mapping[str, Closed]) -> Summary:
    """``summary`` with the outcome of the questions that are closed by now."""

    def settled(story: WaitingStory) -> WaitingStory:
        end = closed.get(story.decision_id)
        return story if end is None else replace(story, choices=(), outcome=outcome(end).one_line)

    return replace(summary, waiting=tuple(settled(story) for story in summary.waiting))


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
