"""What GitHub answers: small models of the fields that are read, and refusals in plain words. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from auto_dev.forge.base import Pull
from auto_dev.model import PullState
from auto_dev.text import line


class Answer(BaseModel):
    """GitHub adds fields at any time; only those named here are read."""

    # A server may echo the token: what it sent is not repeated in an error.
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class RepositoryAnswer(Answer):
    full_name: str


class RefAnswer(Answer):
    ref: str
    sha: str = ""
    repo: RepositoryAnswer | None = None  # None: a fork that is gone


class LabelAnswer(Answer):
    name: str


class UserAnswer(Answer):
    login: str
    type: str = "User"  # "User" | "Bot" | "Organization" | "Mannequin"


class PullAnswer(Answer):
    number: int
    html_url: str
    state: str  # "open" | "closed"
    title: str
    head: RefAnswer
    base: RefAnswer
    body: str | None = None
    draft: bool = False
    merged_at: datetime | None = None
    closed_at: datetime | None = None
    updated_at: datetime | None = None
    labels: tuple[LabelAnswer, ...] = ()
    merge_commit_sha: str | None = None
    # Not in lists; GitHub works mergeable out when it is first asked for and says null until then.
    mergeable: bool | None = None
    merged_by: UserAnswer | None = None

    @property
    def pull_state(self) -> PullState:
        if self.merged_at is not None:
            return PullState.MERGED
        if self.state != "open":
            return PullState.CLOSED
        return PullState.DRAFT if self.draft else PullState.OPEN

    def pull(self, closed_by: str = "") -> Pull:
        """The same as the forge's own value. ``closed_by`` is not part of a pull request's answer."""
        state = self.pull_state
        merged = state is PullState.MERGED
        return Pull(
            number=self.number,
            url=self.html_url,
            state=state,
            branch=self.head.ref,
            base=self.base.ref,
            head_sha=self.head.sha,
            base_sha=self.base.sha,
            title=line(self.title),
            mergeable=self.mergeable,
            # That of an open one is only a trial.
            merge_sha=(self.merge_commit_sha or "") if merged else "",
            ended_by=self.merged_by.login if merged and self.merged_by else closed_by,
            ended_at=self.merged_at or self.closed_at,
        )


class IssueAnswer(Answer):
    """A pull request seen as an issue: only there GitHub says who closed it."""

    closed_by: UserAnswer | None = None


def messages(raw: bytes) -> str:
    """What an error answer says, on one line; "" for an answer that is not GitHub's JSON (an HTML page)."""
    try:
        value: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(value, dict):
        return ""
    parts = [value.get("message")]
    errors = value.get("errors")
    parts += [_detail(error) for error in (errors if isinstance(errors, list) else [errors])]
    return line("; ".join(part for part in parts if isinstance(part, str) and part), 300)


def _detail(error: Any) -> str:
    if isinstance(error, dict):
        if isinstance(error.get("message"), str):
            return str(error["message"])
        return " ".join(str(error[key]) for key in ("field", "code") if isinstance(error.get(key), str))
    return error if isinstance(error, str) else ""


def limit_wait(status: int, headers: Mapping[str, str], message: str, now: datetime) -> float | None:
    """Seconds until a rate limit lets requests through again, or None when the answer is not about a rate limit.

    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api: ``retry-after`` first, then
    ``x-ratelimit-reset`` when nothing remains, else at least a minute.
    """
    if status not in (403, 429):
        return None
    after = retry_after(headers, now)
    if after is not None:
        return after
    if headers.get("x-ratelimit-remaining") == "0":
        reset = number(headers.get("x-ratelimit-reset"))
        return 60.0 if reset is None else max(reset - now.timestamp(), 0.0) + 1
    if status == 429 or "rate limit" in message.lower():
        return 60.0
    return None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The ``retry-after`` header in seconds: a number or a date; None when absent or unreadable."""
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = number(value)
    if seconds is None:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    return max(seconds, 0.0)


def number(value: str | None) -> float | None:
    """A header's whole number; None for anything else."""
    # Twelve digits end in the year 33658: enough for any time that a server may name, and no overflow.
    return float(value) if value and value.isascii() and value.isdigit() and len(value) <= 12 else None


def explain(
    status: int, message: str, headers: Mapping[str, str], repository: str, *, app: bool = False
) -> tuple[str, str]:
    """What a refusal means and how to mend it. ``app``: a GitHub App asked, not a token of a person."""
    said = f" ({message})" if message else ""
    low = message.lower()
    who = "App" if app else "token"
    if status == 401:
        mend = "Look at the App's settings." if app else "Set GITHUB_TOKEN to one that is valid and not expired."
        return f"GitHub does not accept the {who}{said}", mend
    if status == 403 and "x-github-sso" in headers:
        return (
            f"the token is not authorised for the organisation's single sign-on{said}",
            "Authorise it in GitHub under Settings, Developer settings, Configure SSO.",
        )
    if status in (403, 404):
        what = (
            f"the {who} may not do this in {repository}{said}"
            if status == 403
            else f"the {who} cannot see {repository}, or what was asked for is not there{said}"
        )
        check = "" if status == 403 else "Check [forge] repository and api_url. "
        return what, f"{check}{_needs(headers, app=app)}"
    if status == 410:
        return f"{repository} has this switched off, or it is gone{said}", "Check the repository's settings."
    if status == 422:
        return _explain_invalid(low, said, repository)
    return f"GitHub answered {status}{said}", ""


def _needs(headers: Mapping[str, str], *, app: bool) -> str:
    """The rights that help: those that GitHub names, where it does."""
    named = line(headers.get("x-accepted-github-permissions", ""), 200).replace("=", ": ")
    if app:
        return f"The App needs {named or 'Contents and Pull requests: write'}, accepted where it is installed."
    needed = f"'{named}'" if named else "'Contents: write' and 'Pull requests: write'"
    return f"The token needs the repo scope, or {needed} where it is a fine-grained one."


def _explain_invalid(low: str, said: str, repository: str) -> tuple[str, str]:
    if "draft pull requests are not supported" in low:
        mend = 'They need a public repository or a paid plan; without, set [forge] kind = "none" and take the branches.'
        return f"{repository} cannot have draft pull requests, and auto-dev makes no other{said}", mend
    if "no commits between" in low:
        return f"the branch has nothing that its base does not have{said}", ""
    if "head" in low and "invalid" in low:
        return f"GitHub does not know the branch{said}", "It must be pushed before its pull request is made."
    if "base" in low and "invalid" in low:
        return f"GitHub does not know the base branch{said}", "Push it, or check [project] base_branch."
    return f"GitHub refused what was sent{said}", ""
