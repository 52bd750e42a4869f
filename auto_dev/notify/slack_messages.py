"""What a message looks like in Slack: (fallback text, blocks). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from auto_dev.notify import blocks
from auto_dev.notify.blocks import Block
from auto_dev.notify.message import Message
from auto_dev.notify.summary import Summary, WaitingStory, budget_line, completed_line, story_line
from auto_dev.text import line

SUMMARY_BUTTONS = 5  # decisions of a summary that get their buttons; the others are one line each


def render_message(message: Message, *, dashboard_url: str | None = None) -> tuple[str, list[Block]]:
    """One message, or several merged, as (text, blocks); the text says all that is needed to act."""
    parts: list[Block] = [blocks.header(message.headline), *blocks.section(message.story, bold=True)]
    for paragraph in message.paragraphs:
        parts += blocks.section(paragraph)
    parts += blocks.fields(message.details)
    parts += blocks.listing(message.listing)
    for excerpt in message.excerpts:
        parts += blocks.code(excerpt.title, excerpt.text)
    if message.choices:
        parts += blocks.decision_buttons(
            message.decision_id, [(choice.id, choice.label, choice.recommended) for choice in message.choices]
        )
        answers = (_answer(choice.label, command) for choice, command in message.answers)
        parts += blocks.context(["\n".join(["Or type:", *answers])])
    parts += blocks.link(message.url, message.url_label)
    if dashboard_url and message.path:
        parts += blocks.link(dashboard_url.rstrip("/") + message.path, "Open the dashboard")
    parts += blocks.context(f"{command}  ({what})" for what, command in message.commands)
    return _fallback(message), parts


def _answer(label: str, command: str) -> str:
    return f"{line(label, 60)}: {command}"


def _fallback(message: Message) -> str:
    lines = [f"{message.headline}: {message.story}" if message.story else message.headline]
    lines += [line(paragraph, 500) for paragraph in message.paragraphs]
    lines += [f"{label}: {value}" for label, value in message.details]
    lines += [_answer(choice.label, command) for choice, command in message.answers]
    lines += [*message.listing, *([message.url] if message.url else [])]
    return blocks.escaped("\n".join(lines), blocks.FALLBACK) or "auto-dev"


def render_slack(summary: Summary, *, dashboard_url: str | None = None) -> tuple[str, list[Block]]:
    """The daily summary as (text, blocks)."""
    parts: list[Block] = [blocks.header(summary.headline)]
    if summary.paused_reason:
        parts += blocks.section(f"Everything is paused: {summary.paused_reason}")
    if summary.completed:
        parts += blocks.section(summary.completed_heading, bold=True)
        for story in summary.completed[:20]:
            text = f"✓ {completed_line(story)}"
            parts += blocks.link(story.url, text) or blocks.section(text)
    parts += _waiting(summary.waiting)
    parts += _group("Paused:", [f"‖ {story_line(s)}\n    → {s.reason}" for s in summary.paused])
    parts += _group("Failed:", [f"✗ {story_line(s)}\n    → {s.reason}" for s in summary.failed])
    parts += _group("Still running:", [f"◐ {story_line(s)} ({s.progress} % complete)" for s in summary.running])
    parts += blocks.context([summary.counts_line]) if summary.counts_line else []
    parts += blocks.fields([("Total cost", summary.cost), ("Budget remaining", budget_line(summary))])
    if dashboard_url:
        parts += blocks.link(dashboard_url, "Open the dashboard")
    return blocks.escaped(_summary_fallback(summary), blocks.FALLBACK), parts


def _waiting(stories: Sequence[WaitingStory]) -> list[Block]:
    if not stories:
        return []
    parts = blocks.section("Paused (needs your input):", bold=True)
    for story in stories[:SUMMARY_BUTTONS]:
        parts += blocks.section(f"‖ {story_line(story)}\n    → Decision required: {story.question}")
        parts += blocks.decision_buttons(story.decision_id, [(c.id, c.label, c.recommended) for c in story.choices])
        parts += blocks.context([f"auto-dev decide {story.decision_id}"])
    rest = [f"‖ {story_line(s)}: {line(s.question, 150)} (auto-dev decide {s.decision_id})" for s in stories]
    return parts + blocks.listing(rest[SUMMARY_BUTTONS:])


def _group(heading: str, lines: Sequence[str]) -> list[Block]:
    return [*blocks.section(heading, bold=True), *blocks.listing(lines)] if lines else []


def _summary_fallback(summary: Summary) -> str:
    numbers = (
        (len(summary.completed), "completed"),
        (len(summary.waiting), "need your input"),
        (len(summary.paused), "paused"),
        (len(summary.failed), "failed"),
        (len(summary.running), "still running"),
    )
    return "\n".join(
        [
            summary.headline,
            ", ".join(f"{number} {what}" for number, what in numbers),
            f"Total cost: {summary.cost}. Budget remaining: {budget_line(summary)}.",
            *(f"{s.story_id}: {line(s.question, 200)} (auto-dev decide {s.decision_id})" for s in summary.waiting),
        ]
    )


def metadata(project_id: str, key: str, kind: str, marker: str) -> dict[str, object]:
    """Slack's message metadata: lets other apps, and a later run of this one, recognise the message."""
    payload = {"project": project_id, "key": line(key, 200), "kind": kind, "marker": marker}
    return {"event_type": "auto_dev_message", "event_payload": payload}
