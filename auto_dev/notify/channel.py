"""What a channel is: something that takes a message and returns a receipt, or says why it could not."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from auto_dev.errors import NotifyError


@dataclass(frozen=True, slots=True)
class Item:
    """One outbox row's fact: ``kind`` and payload."""

    kind: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to deliver: one fact, or several of one cause.

    ``key`` is its identity: a repeat of it has the same. ``unconfirmed``: an earlier attempt may have arrived.
    Receipts of this channel: ``earlier`` what a former attempt already reached, ``thread`` of the story's first
    message, ``about`` of the message that this one follows up, ``latest`` of any message.
    """

    project_id: str
    key: str
    items: tuple[Item, ...]
    created_at: datetime
    urgent: bool = False
    unconfirmed: bool = False
    earlier: Mapping[str, Any] = field(default_factory=dict)
    thread: Mapping[str, Any] | None = None
    about: Mapping[str, Any] | None = None
    latest: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """How a decision ended. ``answer`` is the chosen option's label, "" for one that is no longer asked."""

    decision_id: str
    answer: str = ""
    text: str = ""
    by: str = ""
    via: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the channel said. ``problem``: delivered, but not entirely (a refused recipient, a missing permission)."""

    data: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


class SendError(NotifyError):
    """A message was not delivered.

    ``permanent``: no retry will help until a person mends something. ``whole_channel``: every message would fail now.
    ``unconfirmed``: it may have arrived all the same. ``retry_after`` is in seconds. ``reached`` is what to remember
    for the next attempt.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        mend: str = "",
        permanent: bool = False,
        whole_channel: bool = False,
        unconfirmed: bool = False,
        retry_after: float | None = None,
        reached: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(what, where=where, mend=mend)
        self.permanent = permanent
        self.whole_channel = whole_channel
        self.unconfirmed = unconfirmed
        self.retry_after = retry_after
        self.reached = reached or {}


class Channel(Protocol):
    """A way to reach people."""

    name: str

    async def send(self, message: Outgoing) -> Receipt:
        """Deliver ``message``; a repeat must be recognisable. Raises SendError."""
        ...

    async def check(self) -> str:
        """Log in without sending anything; say where messages would go. Raises SendError."""
        ...

    async def close(self) -> None:
        """Free connections."""
        ...


@runtime_checkable
class Settles(Protocol):
    """A channel whose messages can be changed: a question turns into its answer."""

    async def settle(self, message: Outgoing, closed: Mapping[str, Closed]) -> None:
        """Change a delivered message (``earlier`` is its receipt) that asks what is closed by now. Raises SendError."""
        ...


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
