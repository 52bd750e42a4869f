"""What a message looks like in Slack: (fallback text, blocks). Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from auto_dev.notify import blocks
from auto_dev.notify.blocks import Block
from auto_dev.notify.message import Message, Outcome
from auto_dev.notify.summary import Summary, WaitingStory, budget_line, completed_line, story_line
from auto_dev.text import line

SUMMARY_BUTTONS = 5  # decisions of a summary that get their buttons; the others are one line each
BRIEF = 600  # of an explanation or an excerpt: it is read on a phone, and all of it is one command away
BRIEF_LINES = 10
QUESTION = "Decision needed"  # the headline of a question that is asked for the first time
SHORT = 120  # an excerpt that fits on its title's line


def render_message(
    message: Message, *, dashboard_url: str | None = None, buttons: bool = True
) -> tuple[str, list[Block]]:
    """One message, or several merged, as (text, blocks); the text says all that is needed to act.

    ``buttons``: whether somebody listens to them; else each answer is told as a command.
    """
    if message.outcome is not None and message.paragraphs:
        parts = _ended(message, message.outcome)
    elif message.choices and message.paragraphs:
        parts = _question(message, buttons=buttons)
    else:
        parts = _told(message)
    parts += blocks.link(message.url, message.url_label)
    if dashboard_url and message.path:
        parts += blocks.link(dashboard_url.rstrip("/") + message.path, "Open the dashboard")
    parts += blocks.context(f"{command}  ({what})" for what, command in message.commands)
    return _fallback(message), parts


def _told(message: Message) -> list[Block]:
    parts: list[Block] = [blocks.header(message.headline), *blocks.section(message.story, bold=True)]
    for paragraph in message.paragraphs:
        parts += blocks.section(paragraph)
    parts += blocks.fields(message.details)
    parts += blocks.listing(message.listing)
    for excerpt in message.excerpts:
        parts += blocks.code(excerpt.title, excerpt.text)
    return parts


def _question(message: Message, *, buttons: bool) -> list[Block]:
    """The question first, then why, the evidence in short, and what can be answered."""
    parts = _asked(message)
    for paragraph in message.paragraphs[1:]:
        if paragraph not in message.paragraphs[0]:
            parts += blocks.section(brief(paragraph))
    short = [excerpt for excerpt in message.excerpts if "\n" not in excerpt.text and len(excerpt.text) <= SHORT]
    parts += blocks.labelled((excerpt.title, excerpt.text) for excerpt in short)
    for excerpt in message.excerpts:
        if excerpt not in short:
            parts += blocks.code(excerpt.title, brief(excerpt.text))
    offered = blocks.decision_buttons(message.decision_id, message.choices) if buttons else []
    if offered:
        more = f"or in a terminal: auto-dev decide {shlex.quote(message.decision_id)}"
        return [*parts, *offered, *blocks.context([more])]
    return [*parts, *blocks.context(["\n".join(["Answer in a terminal:", *_answers(message)])])]


def _ended(message: Message, outcome: Outcome) -> list[Block]:
    """The question, and its answer where the buttons were."""
    parts = _asked(message)
    if outcome.answer:
        parts += blocks.section(f"✓ {outcome.answer}", bold=True)
        parts += blocks.quote(brief(outcome.text))
    return [*parts, *blocks.stamped(outcome.said, outcome.at)]


def _asked(message: Message) -> list[Block]:
    question = asked_of(message)
    heading = [blocks.header(question)]
    if blocks.units(question) > blocks.HEADER:
        heading = blocks.section(question, bold=True)
    # What it is beyond a question that is asked for the first time, such as a reminder.
    again = "" if message.outcome or message.headline == QUESTION else message.headline
    return [*heading, *blocks.context([" · ".join(part for part in (message.story, again) if part)])]


def asked_of(message: Message) -> str:
    """The question on one line, without what stands beside it anyway."""
    question = line(without_story(message.paragraphs[0], message.story_id), 2000)
    return question[:1].upper() + question[1:]


def without_story(question: str, story_id: str) -> str:
    """A question that begins with its story's name, without it: the name stands below it."""
    rest = question.removeprefix(story_id)
    if not story_id or rest == question:
        return question
    if rest.startswith(": "):
        return rest[2:]
    title, colon, asked = rest.partition("): ")
    return asked if colon and asked and title.startswith(" (") and len(title) < 120 else question


def brief(text: str) -> str:
    """As much of ``text`` as one reads on a phone."""
    lines = text.strip("\n").splitlines()
    short = "\n".join(lines[:BRIEF_LINES])
    if len(short) > BRIEF:
        return short[: BRIEF - 1].rstrip() + "…"
    return short + ("\n…" if len(lines) > BRIEF_LINES else "")


def _answers(message: Message) -> list[str]:
    return [_answer(choice.label, command) for choice, command in message.answers]


def _answer(label: str, command: str) -> str:
    return f"{line(label, 60)}: {command}"


def _fallback(message: Message) -> str:
    """What a notification shows, and whoever cannot see blocks."""
    if message.paragraphs and (message.choices or message.outcome):
        asked = asked_of(message)
        lines = [f"{message.story}: {asked}" if message.story else asked]
        lines += [
            line(paragraph, 500) for paragraph in message.paragraphs[1:] if paragraph not in message.paragraphs[0]
        ]
    else:
        lines = [f"{message.headline}: {message.story}" if message.story else message.headline]
        lines += [line(paragraph, 500) for paragraph in message.paragraphs]
    lines += [f"{label}: {value}" for label, value in message.details]
    lines += _answers(message)
    if message.outcome is not None:
        lines += [message.outcome.one_line, line(message.outcome.text, 500)]
    lines += [*message.listing, *([message.url] if message.url else [])]
    return blocks.escaped("\n".join(entry for entry in lines if entry), blocks.FALLBACK) or "auto-dev"


def render_slack(
    summary: Summary, *, dashboard_url: str | None = None, buttons: bool = True
) -> tuple[str, list[Block]]:
    """The daily summary as (text, blocks)."""
    parts: list[Block] = [blocks.header(summary.headline)]
    if summary.paused_reason:
        parts += blocks.section(f"Everything is paused: {summary.paused_reason}")
    if summary.completed:
        parts += blocks.section(summary.completed_heading, bold=True)
        for story in summary.completed[:20]:
            text = f"✓ {completed_line(story)}"
            parts += blocks.link(story.url, text) or blocks.section(text)
    parts += _waiting(summary.waiting, buttons=buttons)
    parts += _group("Paused:", [f"‖ {story_line(s)}\n    → {s.reason}" for s in summary.paused])
    parts += _group("Failed:", [f"✗ {story_line(s)}\n    → {s.reason}" for s in summary.failed])
    parts += _group("Still running:", [f"◐ {story_line(s)} ({s.progress} % complete)" for s in summary.running])
    parts += blocks.context([summary.counts_line]) if summary.counts_line else []
    parts += blocks.fields([("Total cost", summary.cost), ("Budget remaining", budget_line(summary))])
    if dashboard_url:
        parts += blocks.link(dashboard_url, "Open the dashboard")
    return blocks.escaped(_summary_fallback(summary), blocks.FALLBACK), parts


def _waiting(stories: Sequence[WaitingStory], *, buttons: bool) -> list[Block]:
    if not stories:
        return []
    parts = blocks.section("Paused (needs your input):", bold=True)
    for story in stories[:SUMMARY_BUTTONS]:
        said = f"‖ {story_line(story)}\n    → Decision required: {without_story(story.question, story.story_id)}"
        if story.outcome:
            parts += blocks.section(f"{said}\n    ✓ {line(story.outcome, 300)}")
            continue
        parts += blocks.section(said)
        parts += blocks.decision_buttons(story.decision_id, story.choices) if buttons else []
        parts += blocks.context([f"auto-dev decide {story.decision_id}"])
    return parts + blocks.listing(_waiting_line(story) for story in stories[SUMMARY_BUTTONS:])


def _waiting_line(story: WaitingStory) -> str:
    end = f"✓ {line(story.outcome, 150)}" if story.outcome else f"(auto-dev decide {story.decision_id})"
    return f"‖ {story_line(story)}: {line(story.question, 150)} {end}"


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
            *(_waiting_line(story) for story in summary.waiting),
        ]
    )


def metadata(project_id: str, key: str, kind: str, marker: str) -> dict[str, object]:
    """Slack's message metadata: lets other apps, and a later run of this one, recognise the message."""
    payload = {"project": project_id, "key": line(key, 200), "kind": kind, "marker": marker}
    return {"event_type": "auto_dev_message", "event_payload": payload}
