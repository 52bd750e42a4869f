"""Log lines that a stranger can cause: the first of a kind, then one a minute with how many there were."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

EVERY_S: Final = 60.0


class Sparing:
    """Keeps whoever sends a million requests from filling the disk with a million lines."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._seen: dict[str, tuple[float, int]] = {}

    def warn(self, action: str, text: str) -> None:
        """Say ``text``, unless something of this action was said within the minute."""
        said_at, left_out = self._seen.get(action, (float("-inf"), 0))
        if self._clock() - said_at < EVERY_S:
            self._seen[action] = (said_at, left_out + 1)
            return
        more = f" ({left_out} more before)" if left_out else ""
        self._log.warning("%s%s", text, more, extra={"action": action})
        self._seen[action] = (self._clock(), 0)
