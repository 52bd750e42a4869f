"""Mail: subject, text part and HTML part, from templates. Everything from outside is escaped by jinja2."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from auto_dev.model import money
from auto_dev.notify.message import Message, answer_command
from auto_dev.notify.summary import Summary, budget_line, failed_commands, render_text, review_label, story_line
from auto_dev.text import line

if TYPE_CHECKING:
    from jinja2 import Environment

COLOURS = {"good": "#1a7f37", "info": "#0969da", "warn": "#9a6700", "bad": "#cf222e"}


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail before it has addresses."""

    subject: str
    text: str
    html: str


@cache
def _environment(*, html: bool) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("auto_dev.notify", "templates"),
        autoescape=html,  # noqa: S701 (off for the plain text part alone)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _html(template: str, values: dict[str, Any]) -> str:
    from mrml import ParserOptions, RenderOptions, noop_loader, to_html

    mjml = _environment(html=True).get_template(template).render(values)
    # No includes are followed and no fonts are fetched: a mail loads nothing from anywhere.
    output = to_html(mjml, ParserOptions(include_loader=noop_loader()), RenderOptions(disable_comments=True, fonts={}))
    return output.content


def render_mail(message: Message, project_id: str, *, dashboard_url: str | None = None) -> Mail:
    """One message, or several merged, as a mail."""
    where = dashboard_url.rstrip("/") + message.path if dashboard_url and message.path else ""
    values = {"m": message, "project": line(project_id, 64), "dashboard": where, "colour": COLOURS[message.tone]}
    what = f"{message.headline}: {message.story}" if message.story else message.headline
    return Mail(
        subject=line(f"[auto-dev {line(project_id, 40)}] {what}", 200),
        text=_environment(html=False).get_template("message.txt.j2").render(values),
        html=_html("message.mjml.j2", values),
    )


def render_email(summary: Summary, *, dashboard_url: str | None = None) -> Mail:
    """The daily summary as a mail."""
    values = {
        "s": summary,
        "dashboard": dashboard_url or "",
        "colours": COLOURS,
        "money": money,
        "label": story_line,
        "review": review_label,
        "command": answer_command,
        "failed": failed_commands,
        "budget": budget_line(summary),
    }
    parts = (
        (len(summary.completed), "completed"),
        (len(summary.waiting), "waiting for you"),
        (len(summary.failed), "failed"),
    )
    counts = ", ".join(f"{number} {what}" for number, what in parts if number) or "nothing new"
    text = render_text(summary) + (f"\nDashboard: {dashboard_url}\n" if dashboard_url else "")
    return Mail(
        subject=line(f"[auto-dev {line(summary.project_id, 40)}] {summary.headline}: {counts}", 200),
        text=text,
        html=_html("summary.mjml.j2", values),
    )
