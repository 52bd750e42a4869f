"""What a forge is to auto-dev: a place for draft pull requests. There is no merge, and no way to leave draft."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from auto_dev.errors import ForgeError
from auto_dev.forge.allowance import Allowance
from auto_dev.model import PullState

# Whose words GitHub lets count: they may write to the repository, or belong to those whose it is.
WRITERS: Final = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
FAILED: Final = frozenset({"failure", "timed_out", "startup_failure", "error"})


class ForgeUnavailableError(ForgeError):
    """A passing trouble: the same call may succeed later. ``resume_at`` is set when the forge said when."""

    def __init__(self, what: str, *, where: str = "", mend: str = "", resume_at: datetime | None = None) -> None:
        super().__init__(what, where=where, mend=mend)
        self.resume_at = resume_at


@dataclass(frozen=True, slots=True)
class DraftSpec:
    """The draft that should exist: ``branch`` (head) onto ``base``."""

    branch: str
    base: str
    title: str
    body: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request as the forge has it.

    ``mergeable``: False means that it conflicts with its base, None that this is not known (yet). ``merge_sha`` is the
    commit that merging it made; ``ended_by`` who merged or closed it, "" where that is not known.
    """

    number: int
    url: str
    state: PullState
    branch: str
    base: str
    head_sha: str = ""
    base_sha: str = ""
    title: str = ""
    mergeable: bool | None = None
    merge_sha: str = ""
    ended_by: str = ""
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.state in (PullState.MERGED, PullState.CLOSED)


@dataclass(frozen=True, slots=True)
class Annotation:
    """What a check says about a line. ``level``: notice | warning | failure."""

    path: str
    line: int
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Check:
    """A check that is over. ``conclusion`` in the forge's words: success, failure, neutral, cancelled, skipped, …

    ``summary`` is what it said, cleaned and cut; ``annotations`` are there for failed ones only.
    """

    name: str
    conclusion: str
    url: str = ""
    summary: str = ""
    annotations: tuple[Annotation, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the code may be to blame: what was cancelled, skipped or waits for a person is no failure."""
        return self.conclusion in FAILED


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks of one commit: the newest run of each. ``pending`` are names of those that are not over.

    ``trouble``: why some could not be read (a token without that right), "" when all were.
    """

    sha: str
    done: tuple[Check, ...] = ()
    pending: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.done if check.failed)


class RemarkKind(StrEnum):
    REVIEW = "review"  # the words and the verdict of a whole review
    LINE = "line"  # on a line of the diff
    COMMENT = "comment"  # in the conversation


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody else than auto-dev wrote on a pull request: a text from outside, bounded and cleaned.

    Anybody may write on a public repository: ``association`` is GitHub's word for who it is (OWNER, MEMBER,
    COLLABORATOR, CONTRIBUTOR, NONE, …). ``verdict`` is a review's: APPROVED, CHANGES_REQUESTED, COMMENTED, DISMISSED.
    ``review`` is the review that a line's remark belongs to, ``reply_to`` the remark that it answers.
    """

    kind: RemarkKind
    id: int
    author: str
    association: str
    body: str
    at: datetime
    url: str = ""
    bot: bool = False
    verdict: str = ""
    path: str = ""
    line: int | None = None
    reply_to: int | None = None
    review: int | None = None
    sha: str = ""

    @property
    def by_writer(self) -> bool:
        """Whether the author belongs to the repository. Words of others must not steer an agent."""
        return self.association in WRITERS


@dataclass(frozen=True, slots=True)
class Watched:
    """A pull request to look after. ``cursor`` is the one of its last News that was dealt with; "" for none yet."""

    number: int
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class News:
    """How a watched pull request stands now, and what was said since its cursor, oldest first.

    Everything but ``remarks`` is the whole present state, whether it changed or not. ``cursor`` is kept together with
    what was made of the remarks: with the old one they come again. ``checks`` is None of a pull request that is ended.
    """

    pull: Pull
    checks: Checks | None
    remarks: tuple[Remark, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Digest:
    """The news of a round. ``left_out`` had to wait, as the allowance was used up: they come first the next time.

    ``troubles``: pull requests that could not be read, and why; the others are not held up by them.
    """

    news: tuple[News, ...] = ()
    left_out: tuple[int, ...] = ()
    troubles: Mapping[int, str] = field(default_factory=dict)


class Forge(Protocol):
    """A forge adapter. Every method may be repeated without a second effect. Raises ForgeError."""

    name: str

    async def ensure_draft(self, spec: DraftSpec) -> Pull:
        """The open pull request of ``spec.branch``: found first, else created as a draft; updated when it differs.

        A person may have merged or closed this very run's pull request since: then that one comes back, with its
        state, and no second one is made. What a person wrote into title or text outside of our part stays.
        """
        ...

    async def get(self, number: int) -> Pull:
        """The pull request as it is now."""
        ...

    async def news(self, watched: Sequence[Watched], allowance: Allowance) -> Digest:
        """How all of ``watched`` stand. Only reads; an answer that did not change costs nothing of ``allowance``.

        Raises ForgeUnavailableError when the forge is away or limits us.
        """
        ...

    async def checks(self, sha: str, allowance: Allowance) -> Checks:
        """The checks of any commit, such as the one that a pull request began at."""
        ...

    async def comment(self, number: int, body: str, key: str) -> str:
        """Say ``body`` on the pull request, once per ``key`` whatever happens; returns the comment's address.

        ``body`` is Markdown that is safe already (``forge.markup``). An ended pull request can be answered, too.
        """
        ...

    async def retarget(self, number: int, base: str) -> Pull:
        """Move the pull request to another base branch (a predecessor was merged); a merged or closed one stays."""
        ...

    async def close(self) -> None:
        """Free connections."""
        ...
