"""How many requests an hour may go into looking after pull requests: the caller sets it and reads it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

HOUR: Final = timedelta(hours=1)


class Allowance:
    """At most ``per_hour`` requests in any hour. It is shared by all that ask, and lives as long as the daemon."""

    def __init__(self, per_hour: int, clock: Callable[[], datetime]) -> None:
        self.per_hour = per_hour
        self._clock = clock
        self._taken: deque[datetime] = deque()

    @property
    def left(self) -> int:
        """How many requests may go out now."""
        self._forget()
        return max(self.per_hour - len(self._taken), 0)

    def take(self) -> bool:
        """Count one request, unless there is none left."""
        if self.left == 0:
            return False
        self._taken.append(self._clock())
        return True

    def give_back(self) -> None:
        """The last one cost nothing: the answer had not changed."""
        if self._taken:
            self._taken.pop()

    def _forget(self) -> None:
        now = self._clock()
        # A clock that was set back must not lock us out for longer.
        while self._taken and not timedelta(0) <= now - self._taken[0] < HOUR:
            self._taken.popleft()
