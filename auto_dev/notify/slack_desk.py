"""What the answers of people in Slack need of the daemon: a small protocol, so that this package knows no database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from auto_dev.errors import NotifyError
from auto_dev.text import line


@dataclass(frozen=True, slots=True)
class Person:
    """Who clicked, as Slack vouches for it. The id is what counts; the name is what the person chose to be called."""

    id: str
    name: str = ""

    @property
    def said(self) -> str:
        """``ann (U012AB3CD)``."""
        name = line(self.name, 60)
        return f"{name} ({self.id})" if name else self.id


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer that an open decision offers. ``wants_text``: words go with it; ``action`` says what for."""

    decision: str
    option: str
    label: str
    question: str
    action: str
    wants_text: bool


class RefusedError(NotifyError):
    """Nothing was changed; the message is what the person is told. ``final``: other words would not help."""

    def __init__(self, what: str, *, mend: str = "", final: bool = True) -> None:
        super().__init__(what, mend=mend)
        self.final = final


class UnavailableError(NotifyError):
    """What was asked for cannot be done now; whether it was done may be unknown."""


class Desk(Protocol):
    """Where answers are handed in."""

    async def look(self, who: Person, decision: str, option: str) -> Asked:
        """What that answer is. Raises RefusedError (may not decide, unknown, closed), UnavailableError."""
        ...

    async def answer(self, who: Person, decision: str, option: str, text: str = "") -> None:
        """Record the answer; it is committed when this returns. Raises RefusedError, UnavailableError."""
        ...

    async def first(self, digest: str, until: datetime) -> bool:
        """Whether this signed request is seen for the first time; remembered ``until``. Raises UnavailableError."""
        ...

    async def trouble(self, text: str) -> None:
        """Tell the project's people, by other ways, that answers in Slack do not arrive. Raises UnavailableError."""
        ...
