"""What is not usual in the spending of one run: pure arithmetic over what the gateway sees, with a clock handed in.

The limits hold without it. It notices a run that spends its allowed money in a way that no person would let pass: the
same request again and again, several times the usual cost per minute, most of the day's money while others wait.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from auto_dev.model import MICRO, money

SAME_REQUEST: Final = "same_request"
COST_RATE: Final = "cost_rate"
RUNAWAY_COST: Final = "runaway_cost"
DAY_SHARE: Final = "day_share"
KINDS: Final = (SAME_REQUEST, COST_RATE, RUNAWAY_COST, DAY_SHARE)

REPEATS: Final = 20  # the same request so often is work; once more is a loop
TIMES: Final = 3  # the usual cost per minute, so many times over, pauses the run …
PANIC_TIMES: Final = 10  # … and so many times ends everything
WINDOW_S: Final = 300.0  # what "per minute" is averaged over: requests are lumpy, one of them is no rate
FLOOR: Final = MICRO // 2  # micro-dollars per minute that never alarm, however little is usual
_MINUTES: Final = WINDOW_S / 60


@dataclass(frozen=True, slots=True)
class Anomaly:
    """What is wrong with a run. ``kind`` is one of ``KINDS`` and stable; ``reason`` is one line with the figures.

    ``panic``: not this run alone is to be paused, everything is to be ended.
    """

    kind: str
    reason: str

    @property
    def panic(self) -> bool:
        return self.kind == RUNAWAY_COST


def _alone() -> bool:
    return False


class RunWatch:
    """Watches one run; fits the gateway's ``Watch``. ``found`` is what it last reported, None for nothing.

    ``clock`` gives monotonic seconds. ``usual_per_minute`` is in micro-dollars, None without a history: then the cost
    per minute is not judged. ``day_limit`` is today's limit and ``spent_today`` what this run has cost today already,
    in micro-dollars. ``others`` tells whether other stories are active or could start: alone, a run may use the whole
    day's money. ``waived``: kinds that a person has let pass for this run.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        usual_per_minute: int | None,
        day_limit: int,
        spent_today: int = 0,
        others: Callable[[], bool] = _alone,
        waived: Collection[str] = (),
    ) -> None:
        self.found: Anomaly | None = None
        self._clock = clock
        self._usual = usual_per_minute
        self._day_limit = day_limit
        self._spent = spent_today
        self._others = others
        self._waived = frozenset(waived)
        self._asked: Counter[bytes] = Counter()
        self._recent: deque[tuple[float, float]] = deque()  # when, micro-dollars

    def waive(self, kind: str) -> None:
        """A person let this kind pass for the rest of the run."""
        self._waived |= {kind}
        self.found = None

    def asked(self, digest: bytes) -> str:
        """A request is about to be sent; "" or why the run must pause."""
        self._asked[digest] += 1
        count = self._asked[digest]
        if count <= REPEATS:
            return ""
        return self._report(SAME_REQUEST, f"the same model request was made {count} times (more than {REPEATS})")

    def booked(self, microusd: int, over_s: float = 0.0) -> str:
        """A request cost so much; "" or why the run must pause.

        ``over_s``: the seconds over which it was spent, where a whole turn is booked at once; 0 for one request.
        """
        self._spent += microusd
        now = self._clock()
        share = WINDOW_S / over_s if over_s > WINDOW_S else 1.0
        self._recent.append((now, microusd * share))
        while now - self._recent[0][0] >= WINDOW_S:
            self._recent.popleft()
        one_request = len(self._recent) == 1 and over_s == 0
        return ("" if one_request else self._judge_rate()) or self._judge_share()

    def _judge_rate(self) -> str:
        if self._usual is None:
            return ""
        rate = sum(amount for _, amount in self._recent) / _MINUTES
        basis = max(self._usual, FLOOR / TIMES)
        kind, times = (RUNAWAY_COST, PANIC_TIMES) if rate > PANIC_TIMES * basis else (COST_RATE, TIMES)
        if kind in self._waived:
            kind, times = COST_RATE, TIMES
        if rate <= times * basis:
            return ""
        usual = f"the usual {money(self._usual)}"
        many = f"{rate / self._usual:,.1f} times {usual}" if self._usual else f"where {money(0)} is usual"
        return self._report(kind, f"{money(round(rate))} a minute over the last {_MINUTES:.0f} minutes, {many}")

    def _judge_share(self) -> str:
        if self._day_limit <= 0 or self._spent * 2 <= self._day_limit or DAY_SHARE in self._waived:
            return ""
        if not self._others():
            return ""
        return self._report(
            DAY_SHARE,
            f"this run alone has used {money(self._spent)} of today's {money(self._day_limit)}, "
            "over half, while other stories wait",
        )

    def _report(self, kind: str, reason: str) -> str:
        if kind in self._waived:
            return ""
        if self.found is None or not self.found.panic:  # a panic is not made smaller by what comes after it
            self.found = Anomaly(kind, reason)
        return reason
