"""The daily summary: what a person wants to know when coming home.

``gather_summary`` reads it from the database, everything else is pure. Texts in it come from outside: whoever renders
them escapes them.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg_pool import AsyncConnectionPool
from pydantic import TypeAdapter

from auto_dev import sql
from auto_dev.errors import NotifyError
from auto_dev.model import money
from auto_dev.notify.message import Choice, answer_command, safe_url, story_label
from auto_dev.text import line

_QUERIES = sql.load("auto_dev.notify", "summary.sql")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MAX_STORIES = 25  # of one group; the rest is a number, and the mail stays below the 100 KB that Gmail shows
WIDTH = 72


@dataclass(frozen=True, slots=True)
class CompletedStory:
    """A story that was published. ``state``: draft | open | merged | closed | local."""

    story_id: str
    title: str
    cost_microusd: int
    state: str
    branch: str
    number: int | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class WaitingStory:
    """A story whose run waits for a person's answer. ``outcome``: how its question ended, once it has."""

    story_id: str
    title: str
    decision_id: str
    question: str
    why: str
    choices: tuple[Choice, ...]
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class StoppedStory:
    """A story whose run is paused or failed, and why."""

    story_id: str
    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunningStory:
    """``progress`` is in percent."""

    story_id: str
    title: str
    phase: str
    progress: int


@dataclass(frozen=True, slots=True)
class Budget:
    """One window's money in micro-dollars."""

    cap_microusd: int
    spent_microusd: int
    reserved_microusd: int

    @property
    def left_microusd(self) -> int:
        """What may still be spent; what is set aside for requests under way counts as spent."""
        return max(self.cap_microusd - self.spent_microusd - self.reserved_microusd, 0)


@dataclass(frozen=True, slots=True)
class Summary:
    """What happened from ``since`` to ``until`` (aware), and how things stand. ``day`` is the project's local date.

    ``paused_reason`` is "" unless the whole project is paused. The lists hold at most ``MAX_STORIES``; ``cut`` says
    how many more there are.
    """

    project_id: str
    day: date
    since: datetime
    until: datetime
    completed: tuple[CompletedStory, ...]
    waiting: tuple[WaitingStory, ...]
    paused: tuple[StoppedStory, ...]
    failed: tuple[StoppedStory, ...]
    running: tuple[RunningStory, ...]
    queued: int
    blocked: int
    invalid: int
    older_in_review: int
    cost_microusd: int
    today: Budget
    week: Budget
    paused_reason: str = ""
    cut: int = 0

    @property
    def headline(self) -> str:
        return f"Daily Summary - {_MONTHS[self.day.month - 1]} {self.day.day}, {self.day.year}"

    @property
    def cost(self) -> str:
        return money(self.cost_microusd)

    @property
    def completed_heading(self) -> str:
        count = len(self.completed)
        if all(story.state == "local" for story in self.completed):
            return f"Completed ({_count(count, 'branch', 'branches')} ready for review):"
        return f"Completed ({_count(count, 'PR')} ready for review):"

    @property
    def counts_line(self) -> str:
        """``4 queued, 2 blocked, …``, or ""."""
        counts = (
            (self.queued, "queued"),
            (self.blocked, "blocked by other stories"),
            (self.invalid, "with an error in the file"),
            (self.older_in_review, "from earlier still in review"),
            (self.cut, "more not shown here"),
        )
        return ", ".join(f"{count} {what}" for count, what in counts if count)


def story_line(story: CompletedStory | WaitingStory | StoppedStory | RunningStory) -> str:
    """Id and title on one line."""
    return line(story_label(line(story.story_id, 60), line(story.title, 200)), 200)


def completed_line(story: CompletedStory) -> str:
    """Id, title, cost and where it is."""
    return f"{story_line(story)}  {money(story.cost_microusd)}  [{review_label(story)}]"


def review_label(story: CompletedStory) -> str:
    """What a link to the story's result says."""
    if story.state in ("merged", "closed"):
        return f"PR #{story.number} {story.state}"
    return f"Review PR #{story.number}" if story.number else f"branch {line(story.branch, 100)}"


def failed_commands(story: StoppedStory) -> tuple[str, ...]:
    """What to type about a failed story."""
    name = shlex.quote(story.story_id)
    return f"auto-dev logs {name}", f"auto-dev retry {name}", f"auto-dev skip {name}"


def budget_line(summary: Summary) -> str:
    """What is left of the day and of the week."""
    return f"{money(summary.today.left_microusd)} today, {money(summary.week.left_microusd)} this week"


def to_payload(summary: Summary) -> dict[str, Any]:
    """The summary as JSON for the outbox."""
    payload: dict[str, Any] = TypeAdapter(Summary).dump_python(summary, mode="json")
    return payload


def from_payload(payload: Any) -> Summary:
    """The summary that ``to_payload`` stored. Raises pydantic's ValidationError."""
    return TypeAdapter(Summary).validate_python(payload)


async def gather_summary(
    pool: AsyncConnectionPool[AsyncConnection[DictRow]],
    project_id: str,
    *,
    since: datetime,
    until: datetime,
    zone: ZoneInfo,
    daily_microusd: int,
    weekly_microusd: int,
) -> Summary:
    """Read a summary of ``since`` to ``until`` (aware datetimes; what is open now counts as of now).

    The limits are used for a window in which nothing was spent yet. Raises NotifyError for an unknown project.
    """
    day = until.astimezone(zone).date()
    iso = day.isocalendar()
    params = {
        "project": project_id,
        "since": since,
        "until": until,
        "day": day.isoformat(),
        "week": f"{iso.year}-W{iso.week:02d}",
    }
    async with pool.connection() as conn:
        row = await (await conn.execute(_QUERIES["summary"], params)).fetchone()
    if row is None:
        raise NotifyError(f"there is no project {project_id!r} in the database", mend="Start it with `auto-dev start`.")
    return _summary(row, project_id, day, since, until, (daily_microusd, weekly_microusd))


def _summary(
    row: DictRow, project_id: str, day: date, since: datetime, until: datetime, limits: tuple[int, int]
) -> Summary:
    keys = ("completed", "waiting", "paused_stories", "failed", "running")
    lists = {key: [_tidy(entry) for entry in row[key][:MAX_STORIES]] for key in keys}
    budgets = [
        Budget(**window) if window else Budget(limit, 0, 0)
        for window, limit in zip((row["day"], row["week"]), limits, strict=True)
    ]
    return Summary(
        project_id=project_id,
        day=day,
        since=since,
        until=until,
        completed=tuple(_completed(entry) for entry in lists["completed"]),
        waiting=tuple(_waiting(entry) for entry in lists["waiting"]),
        paused=tuple(StoppedStory(**entry) for entry in lists["paused_stories"]),
        failed=tuple(StoppedStory(**entry) for entry in lists["failed"]),
        running=tuple(RunningStory(**entry) for entry in lists["running"]),
        queued=row["queued"],
        blocked=row["blocked"],
        invalid=row["invalid"],
        older_in_review=row["older_in_review"],
        cost_microusd=row["cost_microusd"],
        today=budgets[0],
        week=budgets[1],
        paused_reason=(row["paused_reason"] or "no reason was recorded") if row["paused"] else "",
        cut=sum(len(row[key]) - len(lists[key]) for key in keys),
    )


def _tidy(entry: dict[str, Any]) -> dict[str, Any]:
    """Texts cleaned and cut: they come from story files, agents and people."""
    return {key: line(value, 500) if isinstance(value, str) else value for key, value in entry.items()}


def _completed(entry: dict[str, Any]) -> CompletedStory:
    return CompletedStory(
        story_id=entry["story_id"],
        title=entry["title"],
        cost_microusd=entry["cost_microusd"],
        state=entry["state"] or "local",
        branch=entry["branch"] or "",
        number=entry["number"],
        url=safe_url(entry["url"]),
    )


def _waiting(entry: dict[str, Any]) -> WaitingStory:
    return WaitingStory(
        story_id=entry["story_id"],
        title=entry["title"],
        decision_id=entry["decision_id"],
        question=entry["question"],
        why=entry["why"],
        choices=tuple(Choice.model_validate(choice) for choice in entry["choices"]),
    )


def render_text(summary: Summary) -> str:
    """The summary for a terminal and for a mail's text part: at most 72 columns but for commands and addresses."""
    rule = "─" * WIDTH
    groups = [
        [f"{summary.headline} ({line(summary.project_id, 64)})", rule],
        [f"Everything is paused: {line(summary.paused_reason)}"] if summary.paused_reason else [],
        _completed_text(summary),
        _waiting_text(summary),
        _stopped_text("Paused:", "‖", summary.paused),
        _stopped_text("Failed:", "✗", summary.failed),
        ["Still running:", *(_entry("◐", s, f"{s.progress} % complete") for s in summary.running)]
        if summary.running
        else [],
        [f"{summary.counts_line}."] if summary.counts_line else [],
        [f"Total cost: {summary.cost}", f"Budget remaining: {budget_line(summary)}"],
    ]
    if not (summary.completed or summary.waiting or summary.paused or summary.failed or summary.running):
        groups.insert(2, ["Nothing was completed, and nothing is under way."])
    return "\n\n".join("\n".join(group) for group in groups if group) + "\n"


def _completed_text(summary: Summary) -> list[str]:
    if not summary.completed:
        return []
    lines = [summary.completed_heading]
    for story in summary.completed:
        lines.append(_entry("✓", story, money(story.cost_microusd)))
        lines.append(f"    {review_label(story)}{f': {story.url}' if story.url else ''}")
    return lines


def _waiting_text(summary: Summary) -> list[str]:
    if not summary.waiting:
        return []
    lines = ["Paused (needs your input):"]
    for story in summary.waiting:
        lines.append(_entry("‖", story))
        lines.append(f'    → Decision required: "{line(story.question, 500)}"')
        for choice in story.choices:
            recommended = " (recommended)" if choice.recommended else ""
            lines.append(f"      [{choice.label}]{recommended}")
            lines.append(f"        {answer_command(story.decision_id, choice)}")
    return lines


def _stopped_text(heading: str, mark: str, stories: tuple[StoppedStory, ...]) -> list[str]:
    lines = [heading] if stories else []
    for story in stories:
        lines.append(_entry(mark, story))
        lines.append(f"    → {line(story.reason or 'no reason was recorded', 500)}")
        if mark == "✗":
            lines += [f"      {command}" for command in failed_commands(story)]
    return lines


def _entry(mark: str, story: CompletedStory | WaitingStory | StoppedStory | RunningStory, right: str = "") -> str:
    left = f"{mark} {story_line(story)}"
    room = WIDTH - len(right) - 2
    if right and len(left) > room:
        left = left[: room - 1] + "…"
    return f"{left:<{WIDTH - len(right)}}{right}".rstrip()


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
