"""Looking after many pull requests with few requests: nothing here changes anything.

One list says of all open pull requests when they last changed; only those that did are read again, and everything is
asked with the etag of the last answer, which costs nothing while it holds. What is remembered is only what was read:
a restart costs requests, never news.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter

from auto_dev.errors import ForgeError
from auto_dev.forge.allowance import Allowance
from auto_dev.forge.base import Checks, Digest, ForgeUnavailableError, News, Pull, Remark, Watched
from auto_dev.forge.cursor import Cursor
from auto_dev.forge.github_answers import IssueAnswer, PullAnswer
from auto_dev.forge.github_client import AllowanceSpentError, GitHubClient, RefusedError
from auto_dev.forge.github_remarks import (
    AnnotationAnswer,
    CheckRunAnswer,
    CheckRunsAnswer,
    CommentAnswer,
    LineAnswer,
    ReviewAnswer,
    StatusesAnswer,
)
from auto_dev.text import line

PAGE: Final = 100
MAX_LIST_PAGES: Final = 3  # of open pull requests; what is not on them is asked for by number
MAX_PAGES: Final = 10  # of one pull request's remarks
MAX_CHECK_PAGES: Final = 3
MAX_ANNOTATED: Final = 5  # failed checks whose annotations are read
# What may not show in the list's time of the last change (GitHub keeps full seconds) is noticed after this long.
LOOK_AGAIN: Final = timedelta(minutes=10)
SETTLED: Final = timedelta(seconds=10)
MERGEABLE_TRIES: Final = 3

Parse = Callable[[Any], Any]
_PULL: Final = TypeAdapter(PullAnswer)
_ISSUE: Final = TypeAdapter(IssueAnswer)
_CHECK_RUNS: Final = TypeAdapter(CheckRunsAnswer)
_STATUSES: Final = TypeAdapter(StatusesAnswer)
_HIDE: Final = ConfigDict(hide_input_in_errors=True)
_PULLS: Final = TypeAdapter(tuple[PullAnswer, ...], config=_HIDE)
_COMMENTS: Final = TypeAdapter(tuple[CommentAnswer, ...], config=_HIDE)
_LINES: Final = TypeAdapter(tuple[LineAnswer, ...], config=_HIDE)
_REVIEWS: Final = TypeAdapter(tuple[ReviewAnswer, ...], config=_HIDE)
_ANNOTATIONS: Final = TypeAdapter(tuple[AnnotationAnswer, ...], config=_HIDE)


@dataclass
class _Memory:
    """What was last read of one pull request."""

    pull: Pull | None = None
    remarks: tuple[Remark, ...] = ()
    since: datetime | None = None  # from when on ``remarks`` were read
    mark: tuple[str, ...] = ()  # how it stood in the list then
    read_at: datetime | None = None
    mergeable_tries: int = 0
    asked_at: datetime | None = None
    annotations: dict[int, tuple[AnnotationAnswer, ...]] = field(default_factory=dict)


class NewsReader:
    """Reads what is new. ``parse`` gives a function that reads a JSON value and raises ForgeError."""

    def __init__(
        self, client: GitHubClient, clock: Callable[[], datetime], parse: Callable[[TypeAdapter[Any]], Parse]
    ) -> None:
        self._client = client
        self._clock = clock
        self._parse = parse
        self._memories: dict[int, _Memory] = {}

    async def digest(self, watched: Sequence[Watched], allowance: Allowance) -> Digest:
        """The news of all; those that were not asked for the longest time come first."""
        wanted = {each.number: each for each in watched}
        self._memories = {number: self._memories.get(number, _Memory()) for number in wanted}
        order = sorted(wanted, key=lambda number: (_stamp(self._memories[number].asked_at), number))
        news: dict[int, News] = {}
        troubles: dict[int, str] = {}
        left_out: list[int] = []
        try:
            listed = await self._open_pulls(set(wanted), allowance) if wanted else {}
        except AllowanceSpentError:
            return Digest(left_out=tuple(order))
        for number in order:
            try:
                news[number] = await self._news(wanted[number], listed.get(number), allowance)
            except AllowanceSpentError:
                left_out.append(number)
                continue
            except ForgeUnavailableError as error:
                if error.resume_at is not None:  # a limit is on all of them
                    raise
                troubles[number] = str(error)
            except ForgeError as error:
                troubles[number] = str(error)
            self._memories[number].asked_at = self._clock()
        return Digest(tuple(news[number] for number in wanted if number in news), tuple(left_out), troubles)

    async def checks(self, sha: str, allowance: Allowance) -> Checks:
        """The checks of a commit that no watched pull request has as its head."""
        return await self._checks(sha, _Memory(), allowance)

    async def _open_pulls(self, wanted: set[int], allowance: Allowance) -> dict[int, PullAnswer]:
        found: dict[int, PullAnswer] = {}
        for page in range(1, MAX_LIST_PAGES + 1):
            query = {"state": "open", "sort": "updated", "direction": "desc", **_page(page)}
            answers = await self._look("/pulls", _PULLS, allowance, query)
            found |= {answer.number: answer for answer in answers if answer.number in wanted}
            if len(answers) < PAGE or len(found) == len(wanted):
                break
        return found

    async def _news(self, watched: Watched, listed: PullAnswer | None, allowance: Allowance) -> News:
        cursor = Cursor.read(watched.cursor)
        memory = self._memories[watched.number]
        mark = _mark_of(listed)
        pull = memory.pull
        changed = pull is None or not mark or mark != memory.mark or self._is_old(memory)
        unknown = pull is not None and not pull.ended and pull.mergeable is None
        if pull is None or changed or (unknown and memory.mergeable_tries < MERGEABLE_TRIES):
            pull = await self._pull(watched.number, allowance)
            memory.mergeable_tries = 1 if changed else memory.mergeable_tries + 1
        if changed or not _covers(memory.since, cursor.since):
            memory.mark = ()  # should one of these fail, all of them are read again
            memory.remarks = await self._remarks(watched.number, cursor.since, allowance)
            memory.since, memory.read_at = cursor.since, self._clock()
            memory.mark = mark if self._is_settled(listed) else ()
        memory.pull = pull
        checks = None if pull.ended else await self._checks(pull.head_sha, memory, allowance)
        remarks = cursor.new(memory.remarks)
        return News(pull, checks, remarks, str(cursor.after(remarks)))

    def _is_old(self, memory: _Memory) -> bool:
        return memory.read_at is None or self._clock() - memory.read_at >= LOOK_AGAIN

    def _is_settled(self, listed: PullAnswer | None) -> bool:
        """Whether a further change would show: two in the same second leave the same time."""
        if listed is None or listed.updated_at is None:
            return False
        return self._clock() - listed.updated_at >= SETTLED

    async def _pull(self, number: int, allowance: Allowance) -> Pull:
        answer: PullAnswer = await self._look(f"/pulls/{number}", _PULL, allowance)
        pull = answer.pull()
        if pull.ended and not pull.ended_by:
            issue: IssueAnswer = await self._look(f"/issues/{number}", _ISSUE, allowance)
            pull = answer.pull(closed_by=line(issue.closed_by.login, 100) if issue.closed_by else "")
        return pull

    async def _remarks(self, number: int, since: datetime | None, allowance: Allowance) -> tuple[Remark, ...]:
        query = {"since": f"{since:%Y-%m-%dT%H:%M:%SZ}"} if since else {}
        reviews = await self._pages(f"/pulls/{number}/reviews", _REVIEWS, allowance, {})
        ordered = {"sort": "created", "direction": "asc"}
        lines = await self._pages(f"/pulls/{number}/comments", _LINES, allowance, ordered | query)
        comments = await self._pages(f"/issues/{number}/comments", _COMMENTS, allowance, query)
        said = [remark for review in reviews if (remark := review.remark())]
        return (*said, *(each.remark() for each in (*lines, *comments) if not each.ours))

    async def _checks(self, sha: str, memory: _Memory, allowance: Allowance) -> Checks:
        done, pending, troubles = [], [], []
        try:
            runs = await self._check_runs(sha, allowance)
            annotated = await self._annotations(runs, memory, allowance)
            for run in runs:
                check = run.check(annotated.get(run.id, ()))
                done += [check] if check else []
                pending += [] if check else [line(run.name, 200)]
        except RefusedError as error:
            troubles.append(_unless_gone(error))
        try:
            answer: StatusesAnswer = await self._look(f"/commits/{sha}/status", _STATUSES, allowance, _page(1))
            for status in answer.statuses:
                check = status.check()
                done += [check] if check else []
                pending += [] if check else [line(status.context, 200)]
        except RefusedError as error:
            troubles.append(_unless_gone(error))
        return Checks(sha, tuple(done), tuple(pending), "; ".join(dict.fromkeys(troubles)))

    async def _check_runs(self, sha: str, allowance: Allowance) -> tuple[CheckRunAnswer, ...]:
        found: list[CheckRunAnswer] = []
        for page in range(1, MAX_CHECK_PAGES + 1):
            query = {"filter": "latest", **_page(page)}
            answer = await self._look(f"/commits/{sha}/check-runs", _CHECK_RUNS, allowance, query)
            found += answer.check_runs
            if len(answer.check_runs) < PAGE:
                break
        return tuple(found)

    async def _annotations(
        self, runs: Sequence[CheckRunAnswer], memory: _Memory, allowance: Allowance
    ) -> Mapping[int, tuple[AnnotationAnswer, ...]]:
        failed = [run for run in runs if run.output.annotations_count and (check := run.check()) and check.failed]
        kept = {run.id: memory.annotations[run.id] for run in failed if run.id in memory.annotations}
        for run in failed[:MAX_ANNOTATED]:
            if run.id not in kept:  # a run that is over says nothing more
                path = f"/check-runs/{run.id}/annotations"
                kept[run.id] = await self._look(path, _ANNOTATIONS, allowance, {"per_page": "20"})
        memory.annotations = kept
        return kept

    async def _pages(
        self, path: str, adapter: TypeAdapter[Any], allowance: Allowance, query: dict[str, str]
    ) -> list[Any]:
        found: list[Any] = []
        for page in range(1, MAX_PAGES + 1):
            answers = await self._look(path, adapter, allowance, query | _page(page))
            found += answers
            if len(answers) < PAGE:
                break
        return found

    async def _look(
        self, path: str, adapter: TypeAdapter[Any], allowance: Allowance, query: Mapping[str, str] | None = None
    ) -> Any:
        return await self._client.look(path, self._parse(adapter), allowance, query)


def _page(page: int) -> dict[str, str]:
    return {"per_page": str(PAGE), "page": str(page)}


def _mark_of(listed: PullAnswer | None) -> tuple[str, ...]:
    """What differs in the list when a pull request changed; () for one that is not there."""
    if listed is None:
        return ()
    return (str(listed.updated_at), listed.head.sha, listed.base.ref, listed.base.sha, str(listed.draft))


def _covers(read_since: datetime | None, wanted: datetime | None) -> bool:
    """Whether what was read from ``read_since`` on (None: from the beginning) holds all from ``wanted`` on."""
    return read_since is None or (wanted is not None and read_since <= wanted)


def _unless_gone(error: RefusedError) -> str:
    """Why checks cannot be read, for a token that lacks the right; other refusals go on."""
    if error.status not in (403, 404):
        raise error
    return str(error)


def _stamp(at: datetime | None) -> float:
    return at.timestamp() if at else 0.0
