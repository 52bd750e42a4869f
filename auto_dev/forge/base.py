"""What a forge is to auto-dev: a place for draft pull requests. There is no merge, and no way to leave draft."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from auto_dev.errors import ForgeError
from auto_dev.model import PullState


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
    """A pull request as the forge has it."""

    number: int
    url: str
    state: PullState
    branch: str
    base: str
    head_sha: str = ""


class Forge(Protocol):
    """A forge adapter. Every method may be repeated without a second effect. Raises ForgeError."""

    name: str

    async def ensure_draft(self, spec: DraftSpec) -> Pull:
        """The open pull request of ``spec.branch``: found first, else created as a draft; updated when it differs.

        A person may have merged or closed this very run's pull request since: then that one comes back, with its
        state, and no second one is made.
        """
        ...

    async def get(self, number: int) -> Pull:
        """The pull request as it is now."""
        ...

    async def retarget(self, number: int, base: str) -> Pull:
        """Move the pull request to another base branch (a predecessor was merged); a merged or closed one stays."""
        ...

    async def close(self) -> None:
        """Free connections."""
        ...
