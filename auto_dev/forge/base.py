"""What a forge is to auto-dev: a place for draft pull requests. There is no merge, and no way to leave draft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from auto_dev.model import PullState


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
        """The open pull request of ``spec.branch``: found first, else created as a draft; updated when it differs."""
        ...

    async def get(self, number: int) -> Pull:
        """The pull request as it is now."""
        ...

    async def retarget(self, number: int, base: str) -> Pull:
        """Move the pull request to another base branch (a predecessor was merged)."""
        ...

    async def close(self) -> None:
        """Free connections."""
        ...
