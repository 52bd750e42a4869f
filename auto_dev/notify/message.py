"""What a message says, before any channel gives it a form.

A ``Message`` is what the outbox stores as its payload: plain text only, cleaned and cut when it is made, escaped by
whoever renders it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

from auto_dev.text import clean, line

MAX_LISTED = 25  # stories named in a message that stands for several

DESTRUCTIVE: Final = frozenset({"skip", "abandon"})  # actions that end something

Tone = Literal["good", "info", "warn", "bad"]


def safe_url(url: str) -> str:
    """``url`` when it is an http(s) address that may become a link, else ""."""
    if any(c.isspace() or ord(c) < 32 or c in "<>\"'`|\\^{}" for c in url) or len(url) > 2000:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.hostname else ""


def _short(text: str) -> str:
    return line(text, 200)


def _medium(text: str) -> str:
    return clean(text, 2000).strip()


Short = Annotated[str, AfterValidator(_short)]
Medium = Annotated[str, AfterValidator(_medium)]
Url = Annotated[str, AfterValidator(safe_url)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Choice(_Value):
    """One answer of a decision."""

    id: Short
    label: Short
    action: Short = ""
    recommended: bool = False
    wants_text: bool = False

    @property
    def destructive(self) -> bool:
        """Whether it ends something, so that one tap too many should not be enough."""
        return self.action in DESTRUCTIVE


class Outcome(_Value):
    """How a question ended. ``answer`` is "" for one that is no longer asked."""

    answer: Short = ""
    text: Medium = ""
    said: Short = ""  # ``by ann, in Slack``; or why it is no longer asked
    at: datetime | None = None

    @property
    def one_line(self) -> str:
        """``Use JSON, by ann, in Slack``."""
        return ", ".join(part for part in (self.answer, self.said) if part)


class Excerpt(_Value):
    """A piece of evidence, shown as it is."""

    title: Short = ""
    text: Medium = ""


class Message(_Value):
    """One thing that a person should know.

    ``paragraphs`` explain, ``details`` are label and value, ``commands`` are what it does and what to type; ``listing``
    is one line per story where the message stands for several. ``outcome``: how its question ended. ``path`` leads
    into the dashboard. ``about`` is the key
    of the message that this one follows up; messages with one ``cause`` are delivered as one.
    """

    headline: Short
    story_id: Short = ""
    story_title: Short = ""
    tone: Tone = "info"
    paragraphs: tuple[Medium, ...] = ()
    details: tuple[tuple[Short, Short], ...] = ()
    excerpts: tuple[Excerpt, ...] = ()
    decision_id: Short = ""
    choices: tuple[Choice, ...] = ()
    outcome: Outcome | None = None
    url: Url = ""
    url_label: Short = ""
    path: Short = ""
    commands: tuple[tuple[Short, Short], ...] = ()
    listing: tuple[Short, ...] = ()
    about: str = ""
    cause: str = ""

    @property
    def story(self) -> str:
        """``WINT-0210 - Role Pack Templates``, or "" for a message about no single story."""
        return story_label(self.story_id, self.story_title)

    @property
    def answers(self) -> tuple[tuple[Choice, str], ...]:
        """Each choice with the command that gives it."""
        return tuple((choice, answer_command(self.decision_id, choice)) for choice in self.choices)

    @property
    def one_line(self) -> str:
        """The message as one line of a list."""
        said = self.paragraphs[0] if self.paragraphs else self.headline
        if self.choices:
            said = f"{line(said, 110)} (auto-dev decide {shlex.quote(self.decision_id)})"
        elif self.outcome is not None:
            said = f"{line(said, 90)} → {line(self.outcome.one_line, 90)}"
        return line(f"{self.story}: {said}" if self.story else said, 200)


def story_label(story_id: str, title: str) -> str:
    """Id and title, without saying the id twice where the title repeats it."""
    if not title or title == story_id:
        return story_id
    rest = title.removeprefix(story_id).lstrip(" :-–—") if story_id else title
    return f"{story_id} - {rest or title}" if story_id else title


def answer_command(decision_id: str, choice: Choice) -> str:
    """What to type to give this answer."""
    command = f"auto-dev decide {shlex.quote(decision_id)} --answer {shlex.quote(choice.id)}"
    return f'{command} --text "..."' if choice.wants_text else command


def parse(payload: Mapping[str, Any]) -> Message:
    """The message in an outbox row. Raises pydantic's ValidationError."""
    return Message.model_validate(payload)


def merge(messages: Sequence[Message]) -> Message:
    """Several messages of one cause as one; a single one stays as it is."""
    first = messages[0]
    if len(messages) == 1:
        return first
    stories = len({message.story_id for message in messages if message.story_id})
    if len({message.headline for message in messages}) == 1:
        headline = (
            f"{first.headline} ({stories} stories)" if stories > 1 else f"{first.headline} ({len(messages)} times)"
        )
    else:
        headline = f"{first.headline}, and {len(messages) - 1} more"
    lines = list(dict.fromkeys(message.one_line for message in messages))
    if len(lines) > MAX_LISTED:
        lines = [*lines[:MAX_LISTED], f"… and {len(lines) - MAX_LISTED} more"]
    commands = dict.fromkeys(command for message in messages for command in message.commands)
    return Message(
        headline=headline,
        tone=max((message.tone for message in messages), key=("good", "info", "warn", "bad").index),
        listing=tuple(lines),
        commands=tuple(commands)[:5],
        path=first.path if len({message.path for message in messages}) == 1 else "",
        cause=first.cause,
    )
