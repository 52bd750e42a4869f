"""GitHub: draft pull requests over its REST API; Enterprise by ``api_url``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ConfigDict, TypeAdapter, ValidationError

from auto_dev.errors import ForgeError
from auto_dev.forge.allowance import Allowance
from auto_dev.forge.base import Checks, Digest, DraftSpec, ForgeUnavailableError, Pull, Watched
from auto_dev.forge.body import TITLE_LIMIT
from auto_dev.forge.comments import mark_of, with_mark
from auto_dev.forge.credentials import Bearer, Credentials
from auto_dev.forge.examine import Seen, examine
from auto_dev.forge.github_answers import LabelAnswer, PullAnswer
from auto_dev.forge.github_client import Clock, GitHubClient, Patience, RefusedError, Sleep, UncertainError
from auto_dev.forge.github_news import NewsReader
from auto_dev.forge.github_remarks import CommentAnswer
from auto_dev.forge.marks import fit_body, read_marker, renewed, title_digest, with_title
from auto_dev.text import clean, line

PAGE: Final = 100
MAX_PAGES: Final = 10  # of one branch's pull requests
MAX_COMMENT_PAGES: Final = 20
LABEL_COLOR: Final = "6e5494"
LABEL_LIMIT: Final = 50

Value = TypeVar("Value")
_PULL: Final = TypeAdapter(PullAnswer)
_PULLS: Final = TypeAdapter(list[PullAnswer], config=ConfigDict(hide_input_in_errors=True))
_LABEL: Final = TypeAdapter(LabelAnswer)
_COMMENT: Final = TypeAdapter(CommentAnswer)
_COMMENTS: Final = TypeAdapter(list[CommentAnswer], config=ConfigDict(hide_input_in_errors=True))


class GitHubForge:
    """Draft pull requests of one repository. It looks before it acts, so every call may be repeated."""

    name = "github"

    def __init__(
        self,
        repository: str,
        credentials: Credentials,
        api_url: str = "https://api.github.com",
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        patience: Patience = Patience(),  # noqa: B008 (frozen)
    ) -> None:
        self._repository = repository
        self._credentials = credentials
        self._owner = repository.split("/")[0]
        self._client = GitHubClient(
            repository,
            api_url,
            auth=Bearer(credentials),
            hide=credentials.hide,
            app=credentials.kind == "app",
            transport=transport,
            clock=clock,
            sleep=sleep,
            jitter=jitter,
            patience=patience,
        )
        self._known_labels: set[str] = set()
        self._commenting = asyncio.Lock()
        self._reader = NewsReader(self._client, clock, lambda adapter: lambda value: self._parse(adapter, value))

    def __repr__(self) -> str:
        return f"GitHubForge({self._repository!r})"

    async def ensure_draft(self, spec: DraftSpec) -> Pull:
        spec = _presentable(spec)
        found = choose(await self._of_branch(spec.branch), spec)
        answer = found or await self._create(spec)
        if answer.state == "open":
            answer = await self._update(answer, spec)
            await self._label(answer, spec.labels)
        return answer.pull()

    async def get(self, number: int) -> Pull:
        return (await self._get(number)).pull()

    async def retarget(self, number: int, base: str) -> Pull:
        answer = await self._get(number)
        if answer.state == "open" and answer.base.ref != base:
            answer = self._parse(_PULL, await self._client.patch(f"/pulls/{number}", {"base": base}))
        return answer.pull()

    async def checks(self, sha: str, allowance: Allowance) -> Checks:
        return await self._reader.checks(sha, allowance)

    async def news(self, watched: Sequence[Watched], allowance: Allowance) -> Digest:
        return await self._reader.digest(watched, allowance)

    async def comment(self, number: int, body: str, key: str) -> str:
        text, mark, failures = with_mark(body, key), mark_of(key), 0
        async with self._commenting:
            while True:
                found = await self._comment_with(number, mark)
                if found is not None:
                    return found.html_url
                try:
                    made = await self._client.post(f"/issues/{number}/comments", {"body": text})
                    return self._parse(_COMMENT, made).html_url
                except UncertainError:
                    failures += 1
                    if failures >= self._client.attempts:
                        raise
                # The pause comes first: a request whose answer was lost may still be at work.
                await self._client.pause(failures)

    async def examine(self, base_branch: str) -> list[Seen]:
        """What ``doctor`` tells."""
        return await examine(self._client, self._credentials, base_branch)

    async def close(self) -> None:
        await self._client.close()

    async def _get(self, number: int) -> PullAnswer:
        if number < 1:
            raise ForgeError(f"there is no pull request {number}", where=self._repository)
        return self._parse(_PULL, await self._client.get(f"/pulls/{number}"))

    async def _comment_with(self, number: int, mark: str) -> CommentAnswer | None:
        """The comment that has our mark, of all of the pull request's conversation."""
        for page in range(1, MAX_COMMENT_PAGES + 1):
            query = {"per_page": str(PAGE), "page": str(page)}
            answers = self._parse(_COMMENTS, await self._client.get(f"/issues/{number}/comments", query))
            for answer in answers:
                if mark in (answer.body or ""):
                    return answer
            if len(answers) < PAGE:
                return None
        raise ForgeError(
            f"pull request {number} has more than {PAGE * MAX_COMMENT_PAGES} comments",
            where=self._repository,
            mend="Nothing more is said there: it could not be told whether it was said already.",
        )

    async def _of_branch(self, branch: str) -> list[PullAnswer]:
        """Every pull request of the branch, newest first, whatever its state."""
        found: list[PullAnswer] = []
        for page in range(1, MAX_PAGES + 1):
            query = {
                "state": "all",
                "head": f"{self._owner}:{branch}",
                "sort": "created",
                "direction": "desc",
                "per_page": str(PAGE),
                "page": str(page),
            }
            answers = self._parse(_PULLS, await self._client.get("/pulls", query))
            # GitHub ignores a head filter that it cannot read and lists everything; forks have branches of this name.
            found += [answer for answer in answers if answer.head.ref == branch and _same_repository(answer)]
            if len(answers) < PAGE:
                break
        return found

    async def _create(self, spec: DraftSpec) -> PullAnswer:
        """Make the draft. After every failure that may hide a success it looks again before it tries again."""
        body = {"title": spec.title, "head": spec.branch, "base": spec.base, "body": spec.body, "draft": True}
        failures = 0
        while True:
            try:
                answer = self._parse(_PULL, await self._client.post("/pulls", body))
            except (UncertainError, RefusedError) as error:
                if isinstance(error, RefusedError) and not _exists_already(error):
                    raise
                trouble: ForgeError = error
            else:
                return self._expect_draft(answer)
            failures += 1
            # The pause comes first: a request whose answer was lost may still be at work.
            await self._client.pause(failures)
            found = choose(await self._of_branch(spec.branch), spec)
            if found is not None:
                return found
            if failures >= self._client.attempts:
                raise trouble

    def _expect_draft(self, answer: PullAnswer) -> PullAnswer:
        if not answer.draft:
            raise ForgeError(
                f"a draft was asked for, but the forge made pull request {answer.number} an ordinary one",
                where=answer.html_url,
                mend='Convert it to a draft by hand. This server cannot make drafts: set [forge] kind = "none".',
            )
        return answer

    async def _update(self, answer: PullAnswer, spec: DraftSpec) -> PullAnswer:
        changes = differences(answer, spec)
        if not changes:
            return answer
        return self._parse(_PULL, await self._client.patch(f"/pulls/{answer.number}", changes))

    async def _label(self, answer: PullAnswer, labels: Sequence[str]) -> None:
        has = {label.name.lower() for label in answer.labels}
        missing = [label for label in labels if label.lower() not in has]
        for label in missing:
            await self._ensure_label(label)
        if missing:
            await self._client.post(f"/issues/{answer.number}/labels", {"labels": missing}, repeat=True)

    async def _ensure_label(self, name: str) -> None:
        if name in self._known_labels:
            return
        try:
            self._parse(_LABEL, await self._client.get(f"/labels/{quote(name, safe='')}"))
        except RefusedError as error:
            if error.status != 404:
                raise
            body = {"name": name, "color": LABEL_COLOR, "description": "Made by auto-dev"}
            try:
                await self._client.post("/labels", body, repeat=True)
            except RefusedError as refused:
                if not _exists_already(refused):  # somebody was faster, or our own first try got through
                    raise
        self._known_labels.add(name)

    def _parse(self, adapter: TypeAdapter[Value], value: Any) -> Value:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: ValidationError) -> UncertainError:
        path = ".".join(str(part) for part in error.errors()[0]["loc"])
        return UncertainError(
            f"GitHub's answer is not what it publishes ({path or 'all of it'}: {error.errors()[0]['msg']})",
            where=self._repository,
            mend="Check [forge] api_url.",
        )


def choose(found: Sequence[PullAnswer], spec: DraftSpec) -> PullAnswer | None:
    """The pull request that ``spec`` means, of all that its branch has (newest first); None: it has to be made.

    An open one counts, first of all one that has the base already. Else one of the very same run that a person has
    merged or closed meanwhile: a step that is repeated after a crash must not open a second one.
    """
    ours = read_marker(spec.body)
    still_open = [answer for answer in found if answer.state == "open"]
    if still_open:
        return max(still_open, key=lambda a: (a.base.ref == spec.base, read_marker(a.body or "") is not None, a.number))
    return next((a for a in found if ours is not None and read_marker(a.body or "") == ours), None)


def differences(answer: PullAnswer, spec: DraftSpec) -> dict[str, str]:
    """What to change so that ``answer`` is as ``spec`` says, and a person's words stay.

    A pull request that a person opened from the branch keeps all of its words: it has text, and our marker is not in
    it. In ours, what they wrote around our part stays, and so does a title that is not the one we gave last.
    """
    changes: dict[str, str] = {}
    body = answer.body or ""
    theirs, ours = read_marker(body), read_marker(spec.body)
    foreign = bool(body.strip()) and theirs is None and ours is not None
    renamed = theirs is not None and bool(theirs.title) and theirs.title != title_digest(answer.title)
    if not foreign:
        if answer.title != spec.title and not renamed:
            changes["title"] = spec.title
        wanted = renewed(body, spec.body) if theirs is not None else spec.body
        if body.replace("\r\n", "\n").strip() != wanted.strip():
            changes["body"] = wanted
    if answer.base.ref != spec.base:
        changes["base"] = spec.base
    return changes


def _presentable(spec: DraftSpec) -> DraftSpec:
    """``spec`` as GitHub can take it. Raises ForgeError for what cannot be meant."""
    if not spec.branch or not spec.base or spec.branch == spec.base or ":" in spec.branch:  # "fork:branch"
        raise ForgeError(f"a pull request needs two branches, not {spec.branch!r} onto {spec.base!r}")
    title = line(spec.title, TITLE_LIMIT) or spec.branch
    labels = dict.fromkeys(name for name in (line(label, LABEL_LIMIT) for label in spec.labels) if name)
    return DraftSpec(spec.branch, spec.base, title, fit_body(with_title(clean(spec.body), title)), tuple(labels))


def _same_repository(answer: PullAnswer) -> bool:
    head, base = answer.head.repo, answer.base.repo
    return head is not None and base is not None and head.full_name.lower() == base.full_name.lower()


def _exists_already(error: RefusedError) -> bool:
    return error.status == 422 and ("already exists" in error.said.lower() or "already_exists" in error.said)


__all__ = ["ForgeUnavailableError", "GitHubForge", "Patience", "choose", "differences"]
