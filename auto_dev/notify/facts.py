"""From a fact to the message about it: pure functions, called in the transaction that makes the fact.

``await enqueue(conn, project_id=…, channels=…, **run_failed(…).row())``
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auto_dev.model import PullState, Scope, money
from auto_dev.notify.message import MAX_LISTED, Choice, Excerpt, Message
from auto_dev.notify.summary import Summary, to_payload
from auto_dev.text import line

MAX_EVIDENCE = 3


@dataclass(frozen=True, slots=True)
class Fact:
    """What ``enqueue`` takes: the key makes it one message per channel, however often the fact is stated."""

    key: str
    kind: str
    payload: Mapping[str, Any]
    urgent: bool = False

    def row(self) -> dict[str, Any]:
        """As keyword arguments of ``enqueue``."""
        return {"key": self.key, "kind": self.kind, "payload": self.payload, "urgent": self.urgent}


def _fact(key: str, kind: str, message: Message, *, urgent: bool = False) -> Fact:
    return Fact(key, kind, message.model_dump(mode="json", exclude_defaults=True), urgent)


def decision_opened(
    *,
    decision_id: str,
    story_id: str,
    story_title: str,
    question: str,
    why: str,
    evidence: Sequence[Mapping[str, Any]],
    options: Sequence[Mapping[str, Any]],
    cause: str = "",
) -> Fact:
    """A question for a person. ``evidence`` and ``options`` as the decision's row holds them."""
    message = Message(
        headline="Decision needed",
        story_id=story_id,
        story_title=story_title,
        tone="warn",
        paragraphs=tuple(text for text in (question, why) if text.strip()),
        excerpts=tuple(_excerpt(entry) for entry in evidence[:MAX_EVIDENCE]),
        decision_id=decision_id,
        choices=tuple(_choice(option) for option in options),
        path=f"/decisions/{decision_id}",
        cause=cause,
    )
    return _fact(f"decision:{decision_id}", "decision", message, urgent=True)


def decision_answered(
    *,
    decision_id: str,
    story_id: str,
    story_title: str,
    question: str,
    answer: str,
    answer_text: str = "",
    by: str,
    via: str,
) -> Fact:
    """Who answered what. ``answer`` is the option's label."""
    details = [("Answer", answer), ("By", f"{by} ({via})" if via else by)]
    if answer_text.strip():
        details.insert(1, ("Text", answer_text))
    message = Message(
        headline="Decision answered",
        story_id=story_id,
        story_title=story_title,
        tone="good",
        paragraphs=(question,),
        details=tuple(details),
        decision_id=decision_id,
        path=f"/decisions/{decision_id}",
        about=f"decision:{decision_id}",
    )
    return _fact(f"decided:{decision_id}", "decided", message)


def run_failed(*, run_id: str, story_id: str, story_title: str, reason: str, attempt: int = 1, cause: str = "") -> Fact:
    """A run ended without a result."""
    message = Message(
        headline="Story failed",
        story_id=story_id,
        story_title=story_title,
        tone="bad",
        paragraphs=(reason or "no reason was recorded",),
        details=(("Attempt", str(attempt)),),
        path=f"/stories/{story_id}",
        commands=_story_commands(story_id),
        cause=cause,
    )
    return _fact(f"run_failed:{run_id}", "run_failed", message, urgent=True)


def run_paused(
    *, run_id: str, story_id: str, story_title: str, reason: str, cause: str, since: str, resumes: str = ""
) -> Fact:
    """A run waits for something that is no decision.

    ``cause`` joins those that wait for the same (``budget_cause``); ``since`` tells one pause of a run from the next.
    """
    message = Message(
        headline="Paused",
        story_id=story_id,
        story_title=story_title,
        tone="warn",
        paragraphs=(reason,),
        details=(("Resumes", resumes),) if resumes else (),
        path=f"/stories/{story_id}",
        commands=(("see what is paused", "auto-dev status"),),
        cause=cause,
    )
    return _fact(f"run_paused:{run_id}:{since}", "alert", message)


def pull_request_ready(
    *,
    run_id: str,
    story_id: str,
    story_title: str,
    state: PullState,
    branch: str,
    base: str,
    number: int | None = None,
    url: str = "",
    cost_microusd: int = 0,
) -> Fact:
    """A draft (or, without a forge, a local branch) waits for review."""
    local = state is PullState.LOCAL
    message = Message(
        headline="Branch ready for review" if local else "Draft pull request ready for review",
        story_id=story_id,
        story_title=story_title,
        tone="good",
        details=(("Branch", f"{branch} onto {base}"), ("Cost", money(cost_microusd))),
        url="" if local else url,
        url_label=f"Review pull request #{number}" if number else "Review the pull request",
        path=f"/stories/{story_id}",
        commands=(("list what is ready", "auto-dev prs"),) if local or not url else (),
    )
    return _fact(f"pull_request:{run_id}", "pull_request", message)


def pull_request_updated(
    *, run_id: str, story_id: str, story_title: str, purpose: str, url: str = "", cost_microusd: int = 0
) -> Fact:
    """A follow-up changed an open pull request."""
    message = Message(
        headline="Pull request updated",
        story_id=story_id,
        story_title=story_title,
        tone="good",
        details=(("Why", purpose), ("Cost of the story", money(cost_microusd))),
        url=url,
        url_label="Review the pull request",
        path=f"/stories/{story_id}",
    )
    return _fact(f"pull_request:{run_id}", "pull_request", message)


def follow_up_stopped(*, story_id: str, story_title: str, number: int, head_sha: str, why: str, url: str = "") -> Fact:
    """No agent answers what came back on a pull request any more: a person has to."""
    message = Message(
        headline="Pull request needs you",
        story_id=story_id,
        story_title=story_title,
        tone="warn",
        paragraphs=(why,),
        url=url,
        url_label=f"See pull request #{number}",
        path=f"/stories/{story_id}",
        commands=(("start the story again", f"auto-dev retry {shlex.quote(story_id)}"),),
    )
    return _fact(f"follow_up_stopped:{number}:{head_sha}", "alert", message)


def budget_alert(*, scope: Scope, window: str, spent_microusd: int, cap_microusd: int) -> Fact:
    """The alert share (80 % by default) of a limit is used. A raised limit is a new fact."""
    share = round(100 * spent_microusd / cap_microusd) if cap_microusd else 100
    message = Message(
        headline=f"{share} % of the {_LIMITS[scope]} is used",
        tone="warn",
        paragraphs=(f"{money(spent_microusd)} of {money(cap_microusd)} ({window}).",),
        path="/budget",
        commands=(("see the budget", "auto-dev budget show"),),
    )
    return _fact(f"budget_alert:{scope}:{window}:{cap_microusd}", "budget_alert", message)


def budget_reached(*, scope: Scope, window: str, spent_microusd: int, cap_microusd: int) -> Fact:
    """A limit is reached: what would cross it waits."""
    message = Message(
        headline=f"The {_LIMITS[scope]} is reached",
        tone="bad",
        paragraphs=(
            f"{money(spent_microusd)} of {money(cap_microusd)} ({window}).",
            "No model request that would cross it is sent. What is under way pauses and goes on when there is money.",
        ),
        path="/budget",
        commands=(("see the budget", "auto-dev budget show"), ("raise a limit", "auto-dev budget raise")),
        cause=budget_cause(scope, window),
    )
    return _fact(f"budget_reached:{scope}:{window}:{cap_microusd}", "budget_alert", message, urgent=True)


def budget_cause(scope: Scope, window: str) -> str:
    """The cause that a reached limit shares with the runs that pause for it (``run_paused``)."""
    return f"budget:{scope}:{window}"


def project_paused(*, reason: str, since: str) -> Fact:
    """Nothing starts any more. ``since`` tells one pause from the next (an event's id, a time)."""
    message = Message(
        headline="Everything is paused",
        tone="bad",
        paragraphs=(reason or "no reason was recorded",),
        path="/",
        commands=(("see why", "auto-dev status"), ("go on", "auto-dev resume")),
    )
    return _fact(f"project_paused:{since}", "alert", message, urgent=True)


def panic(*, reason: str, by: str, since: str) -> Fact:
    """Everything was ended at once, and nothing begins again by itself. ``since`` tells one panic from the next."""
    message = Message(
        headline="Panic: everything is stopped",
        tone="bad",
        paragraphs=(
            reason or "no reason was recorded",
            "Every agent is ended and no model request is sent until somebody releases it. The work so far is kept.",
        ),
        details=(("By", by),),
        path="/",
        commands=(("see what was stopped", "auto-dev status"), ("let it go on", "auto-dev release")),
    )
    return _fact(f"panic:{since}", "alert", message, urgent=True)


def reminder(waiting: Sequence[Mapping[str, Any]], *, key: str) -> Fact:
    """What still waits for an answer: ``waiting`` are the decisions' rows, at least one; once per ``key``."""
    first = waiting[0]
    if len(waiting) == 1:
        message = Message(
            headline="Still waiting for you",
            story_id=first["story_id"],
            tone="warn",
            paragraphs=(first["question"],),
            decision_id=first["id"],
            choices=tuple(_choice(option) for option in first["options"]),
            path=f"/decisions/{first['id']}",
        )
    else:
        lines = [f"{row['question']} (auto-dev decide {row['id']})" for row in waiting[:MAX_LISTED]]
        more = len(waiting) - len(lines)
        message = Message(
            headline=f"{len(waiting)} decisions wait for you",
            tone="warn",
            listing=(*lines, *([f"… and {more} more"] if more else [])),
            path="/decisions",
            commands=(("see them all", "auto-dev decide"),),
        )
    return _fact(key, "reminder", message, urgent=True)


def answers_unheard(*, reason: str, since: str) -> Fact:
    """What people answer in Slack does not arrive. ``since`` tells one outage from the next."""
    message = Message(
        headline="Answers in Slack do not arrive",
        tone="warn",
        paragraphs=(reason or "no reason was recorded", "Work goes on. It is tried again all the time."),
        path="/decisions",
        commands=(("answer here", "auto-dev decide"), ("look at the setup", "auto-dev doctor")),
    )
    return _fact(f"answers_unheard:{since}", "alert", message, urgent=True)


def daily_summary(summary: Summary, *, key: str) -> Fact:
    """A summary: once per ``key``, which is ``Slot.key`` for the daily one and anything new for one sent by hand."""
    return Fact(key, "summary", to_payload(summary))


_LIMITS = {
    Scope.DAY: "daily budget",
    Scope.WEEK: "weekly budget",
    Scope.STORY: "story's budget",
    Scope.RUN: "run's budget",
}


def _choice(option: Mapping[str, Any]) -> Choice:
    return Choice(
        id=str(option["id"]),
        label=str(option.get("label") or option["id"]),
        action=str(option.get("action") or ""),
        recommended=bool(option.get("recommended")),
        wants_text=bool(option.get("wants_text")),
    )


def _excerpt(entry: Mapping[str, Any]) -> Excerpt:
    place = ":".join(str(entry[key]) for key in ("file", "line") if entry.get(key))
    title = str(entry.get("title") or "")
    if place and place not in title:
        title = f"{title} ({place})" if title else place
    text = entry.get("excerpt")
    if text is None and entry.get("number") is not None:
        text = entry["number"]
    return Excerpt(title=line(title), text="" if text is None else str(text))


def _story_commands(story_id: str) -> tuple[tuple[str, str], ...]:
    story = shlex.quote(story_id)
    return (
        ("see what happened", f"auto-dev logs {story}"),
        ("try again", f"auto-dev retry {story}"),
        ("leave it out", f"auto-dev skip {story}"),
    )
