"""What GitHub answers about checks, reviews and comments, made into the forge's own values: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from auto_dev.forge.base import Annotation, Check, Remark, RemarkKind
from auto_dev.forge.github_answers import Answer, UserAnswer
from auto_dev.forge.github_requests import COMMENT_MARK
from auto_dev.text import clean, line

REMARK_LIMIT: Final = 4_000  # characters of one remark
SUMMARY_LIMIT: Final = 2_000  # of what a check says
MAX_ANNOTATIONS: Final = 20  # of one check
_HIDDEN = re.compile(
    r"(?P<code>^ {0,3}(?P<fence>`{3,}|~{3,}).*?(?:^ {0,3}(?P=fence)|\Z)|(?<![\\`])(?P<ticks>`+)[^`\n]+(?P=ticks)(?!`))"
    r"|<!--.*?(?:-->|\Z)",
    re.DOTALL | re.MULTILINE,
)
_PENDING = frozenset({"pending", "expected"})


class CommentAnswer(Answer):
    id: int
    html_url: str
    created_at: datetime
    body: str | None = None
    user: UserAnswer | None = None  # None: an account that is gone
    author_association: str = "NONE"

    @property
    def ours(self) -> bool:
        return COMMENT_MARK in (self.body or "")

    def remark(self) -> Remark:
        return Remark(
            RemarkKind.COMMENT, self.id, _login(self.user), self.author_association, readable(self.body),
            self.created_at, self.html_url, _is_bot(self.user),
        )  # fmt: skip


class LineAnswer(CommentAnswer):
    """A comment on a line of the diff. ``line`` is None where a later commit changed that line."""

    path: str
    commit_id: str = ""
    line: int | None = None
    original_line: int | None = None
    in_reply_to_id: int | None = None
    pull_request_review_id: int | None = None

    def remark(self) -> Remark:
        return Remark(
            RemarkKind.LINE, self.id, _login(self.user), self.author_association, readable(self.body),
            self.created_at, self.html_url, _is_bot(self.user),
            path=line(self.path, 500), line=self.line or self.original_line, reply_to=self.in_reply_to_id,
            review=self.pull_request_review_id, sha=self.commit_id,
        )  # fmt: skip


class ReviewAnswer(Answer):
    id: int
    html_url: str
    state: str
    body: str | None = None
    user: UserAnswer | None = None
    author_association: str = "NONE"
    commit_id: str | None = None
    submitted_at: datetime | None = None  # None: it is still being written, and only its author sees it

    def remark(self) -> Remark | None:
        """None for what says nothing by itself: a review that only holds its lines' comments."""
        body = readable(self.body)
        if self.submitted_at is None or (self.state == "COMMENTED" and not body):
            return None
        return Remark(
            RemarkKind.REVIEW, self.id, _login(self.user), self.author_association, body,
            self.submitted_at, self.html_url, _is_bot(self.user),
            verdict=self.state, review=self.id, sha=self.commit_id or "",
        )  # fmt: skip


class OutputAnswer(Answer):
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    annotations_count: int = 0


class CheckRunAnswer(Answer):
    id: int
    name: str
    status: str
    conclusion: str | None = None
    html_url: str | None = None
    details_url: str | None = None
    output: OutputAnswer = OutputAnswer()

    def check(self, annotations: Iterable[AnnotationAnswer] = ()) -> Check | None:
        """None while it is not over."""
        if self.status != "completed" or not self.conclusion:
            return None
        said = [readable(part, SUMMARY_LIMIT) for part in (self.output.title, self.output.summary, self.output.text)]
        return Check(
            line(self.name, 200),
            line(self.conclusion, 40),
            line(self.html_url or self.details_url or "", 500),
            clean("\n\n".join(part for part in said if part), SUMMARY_LIMIT),
            tuple(each.annotation() for each in annotations)[:MAX_ANNOTATIONS],
        )


class CheckRunsAnswer(Answer):
    total_count: int
    check_runs: tuple[CheckRunAnswer, ...]


class AnnotationAnswer(Answer):
    path: str
    start_line: int
    annotation_level: str | None = None
    title: str | None = None
    message: str | None = None

    def annotation(self) -> Annotation:
        text = ": ".join(part for part in (self.title, self.message) if part)
        return Annotation(line(self.path, 500), self.start_line, self.annotation_level or "", readable(text, 500))


class StatusAnswer(Answer):
    context: str
    state: str  # "error" | "failure" | "pending" | "success"
    description: str | None = None
    target_url: str | None = None

    def check(self) -> Check | None:
        """None while it is not over."""
        if self.state in _PENDING:
            return None
        said = readable(self.description, SUMMARY_LIMIT)
        return Check(line(self.context, 200), line(self.state, 40), line(self.target_url or "", 500), said)


class StatusesAnswer(Answer):
    total_count: int
    statuses: tuple[StatusAnswer, ...]


def readable(text: str | None, limit: int = REMARK_LIMIT) -> str:
    """What a person who looks at the page reads: a comment that is hidden there must not reach an agent either."""
    return clean(_HIDDEN.sub(lambda found: found["code"] or "", text or "").strip(), limit)


def _login(user: UserAnswer | None) -> str:
    return line(user.login, 100) if user else "ghost"


def _is_bot(user: UserAnswer | None) -> bool:
    return user is not None and user.type == "Bot"
