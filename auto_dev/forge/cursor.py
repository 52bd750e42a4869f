"""Up to where a pull request's remarks were dealt with, as a text that the caller keeps: pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from auto_dev.errors import ForgeError
from auto_dev.forge.base import Remark

# A forge's servers may show a remark a little after a later one; within this time ids tell what is new.
OVERLAP: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Cursor:
    """``at``: when the newest remark was made; ``seen``: keys and times of those not older than ``OVERLAP`` before."""

    at: datetime | None = None
    seen: dict[str, datetime] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Raises ForgeError for a text that no cursor wrote."""
        if not text:
            return cls()
        try:
            value = json.loads(text)
            return cls(_time(value["at"]), {str(key): _time(at) for key, at in value["seen"].items()})
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            raise ForgeError(f"not a cursor of a pull request: {text[:80]!r}") from None

    def __str__(self) -> str:
        if self.at is None:
            return ""
        seen = {key: int(at.timestamp()) for key, at in sorted(self.seen.items())}
        return json.dumps({"at": int(self.at.timestamp()), "seen": seen}, separators=(",", ":"))

    @property
    def since(self) -> datetime | None:
        """From when on remarks may be new; None: from the beginning."""
        return self.at - OVERLAP if self.at else None

    def new(self, remarks: Iterable[Remark]) -> tuple[Remark, ...]:
        """Those of ``remarks`` that were not dealt with, oldest first. An edit makes no new remark."""
        since = self.since
        fresh = [each for each in remarks if (since is None or each.at >= since) and key_of(each) not in self.seen]
        return tuple(sorted(fresh, key=lambda each: (each.at, each.id)))

    def after(self, remarks: Iterable[Remark]) -> Cursor:
        """The cursor when ``remarks`` are dealt with, too."""
        seen = self.seen | {key_of(each): each.at for each in remarks}
        at = max((*([self.at] if self.at else []), *seen.values()), default=None)
        return Cursor(at, {key: when for key, when in seen.items() if at is not None and when >= at - OVERLAP})


def key_of(remark: Remark) -> str:
    return f"{remark.kind[0]}{remark.id}"


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
