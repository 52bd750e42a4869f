"""What stories may cost, from what this project's finished stories did cost. Pure and repeatable.

A range is P10 to P90 of a bootstrap: history is drawn anew with replacement, then a cost for each story from that
draw, and the costs are added up. Drawing history anew carries over to a sum what a short history cannot know: if five
samples happen to be cheap, every story of the sum is underestimated by them, not each by chance of its own.

The next story costs more than the dearest or less than the cheapest of n others with a chance of 2 in n + 1. With
fewer than five samples that is most of the time, and the range is widened for it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import sqrt
from statistics import fmean, median, pstdev
from typing import Final

from auto_dev.budget.limits import BudgetLimits
from auto_dev.model import money
from auto_dev.stories.model import Story

ENOUGH: Final = 5  # samples that are worth more than all samples together
RECENT: Final = 200  # older samples say less, and take time
_DRAWS: Final = 500
_KINDS: Final = 20  # with more kinds of stories than this, tags are left out
_ONE_BY_ONE: Final = 30  # above this many stories of one kind their sum is as good as normally distributed
_SEED: Final = 20260209


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A finished story of this project and its whole cost in micro-dollars, failed attempts included.

    ``agent`` is the kind that finished it ("" where that is unknown).
    """

    story_id: str
    cost_microusd: int
    estimate_hours: float | None = None
    tags: tuple[str, ...] = ()
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A range in micro-dollars (None: unknown), what it is based on in one line, and the number of samples."""

    low: int | None
    high: int | None
    basis: str
    n: int

    @property
    def line(self) -> str:
        if self.low is None or self.high is None:
            return f"cost unknown ({self.basis})"
        return f"{money(self.low)} to {money(self.high)} ({self.basis})"


@dataclass(frozen=True, slots=True)
class Scored:
    """An estimate (``low`` and ``high`` are None where there was none) and what the story really cost by its end."""

    run_id: str
    story_id: str
    low: int | None
    high: int | None
    cost_microusd: int
    at: datetime

    @property
    def inside(self) -> bool | None:
        """Whether the cost was within the range; None where there was none."""
        if self.low is None or self.high is None:
            return None
        return self.low <= self.cost_microusd <= self.high

    @property
    def ratio(self) -> float | None:
        """The cost over the middle of the range; None where there is no such number."""
        if self.low is None or self.high is None or self.low + self.high == 0:
            return None
        return 2 * self.cost_microusd / (self.low + self.high)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How ``n`` estimates fared: how many costs were below, within and above their range (aim: 80 % within).

    ``ratio`` is the median of cost over the middle of the range: above 1 the estimates were too low. None without any
    to compare.
    """

    n: int
    below: int
    within: int
    above: int
    ratio: float | None

    @property
    def share_within(self) -> float | None:
        """The share of costs within their range; None without any."""
        return self.within / self.n if self.n else None

    @property
    def line(self) -> str:
        """In words; "" without anything to compare."""
        if not self.n:
            return ""
        text = f"{self.within} of the last {self.n} estimates held"
        if self.n == 1:
            text = f"the last estimate {'held' if self.within else 'did not hold'}"
        return text if self.ratio is None else f"{text}, the cost was {self.ratio:.1f} times their middle in the median"


def accuracy(scored: Sequence[Scored]) -> Accuracy:
    """How good estimates were; those of runs that had none are left out."""
    ranged = [one for one in scored if one.low is not None and one.high is not None]
    ratios = [ratio for one in ranged if (ratio := one.ratio) is not None]
    return Accuracy(
        n=len(ranged),
        below=sum(one.low is not None and one.cost_microusd < one.low for one in ranged),
        within=sum(one.inside is True for one in ranged),
        above=sum(one.high is not None and one.cost_microusd > one.high for one in ranged),
        ratio=median(ratios) if ratios else None,
    )


def estimate(
    stories: Sequence[Story],
    history: Sequence[FinishedRun],
    limits: BudgetLimits | None = None,
    *,
    agent: str = "",
    scored: Sequence[Scored] = (),
) -> Estimate:
    """What ``stories`` may cost together, worked on by ``agent`` ("": any): P10 to P90 from ``history``.

    Each story is measured by finished stories of its size that share a tag with it and had the same agent; where there
    are fewer than five, by those of its size with that agent, else all with that agent, else all. ``history`` is oldest
    first and only its last 200 count. ``limits`` are named where there is none. ``scored`` are earlier estimates: how
    they fared is said.
    """
    if not history:
        return Estimate(None, None, _no_history(limits), 0)
    if not stories:
        return Estimate(0, 0, "no stories", len(history))
    recent = history[-RECENT:]
    pools = Counter(_pool(story, recent, agent, by_tags=True) for story in stories)
    if len(pools) > _KINDS:
        pools = Counter(_pool(story, recent, agent, by_tags=False) for story in stories)
    used = {index for pool in pools for index in pool}
    groups = [([recent[index].cost_microusd for index in pool], pools[pool]) for pool in sorted(pools)]
    low, high = _range(groups)
    if len(used) < ENOUGH:
        low, high = round(low / (1 + 2 / len(used))), round(high * (1 + 2 / len(used)))
    basis = _basis(len(used), len(recent), all_alike=all(len(pool) == len(recent) for pool in pools))
    notes = [basis]
    if agent and all(recent[index].agent != agent for index in used):
        notes.append(f"none of them by the agent {agent}")
    if not any(recent[index].cost_microusd for index in used):
        notes.append("whose cost was not metered or nothing")
    if fared := accuracy(scored).line:
        notes.append(fared)
    return Estimate(low, high, "; ".join(notes), len(used))


def size_class(hours: float | None) -> str:
    """S up to 2 hours, M up to 8, L above; "" for a story without an estimate."""
    if hours is None:
        return ""
    return "S" if hours <= 2 else "M" if hours <= 8 else "L"


def _pool(story: Story, history: Sequence[FinishedRun], agent: str, *, by_tags: bool) -> tuple[int, ...]:
    """The samples that measure ``story``, as indexes into ``history``."""
    size = size_class(story.estimate_hours)
    same_agent = [index for index, run in enumerate(history) if not agent or run.agent == agent]
    same_size = [index for index in same_agent if size_class(history[index].estimate_hours) == size]
    same_kind = [index for index in same_size if by_tags and set(history[index].tags) & set(story.tags)]
    for candidates in (same_kind, same_size, same_agent):
        if len(candidates) >= ENOUGH:
            return tuple(candidates)
    return tuple(range(len(history)))


def _range(groups: Sequence[tuple[list[int], int]]) -> tuple[int, int]:
    """P10 and P90 of the sum over groups of (costs to draw from, number of stories)."""
    chance = random.Random(_SEED)  # noqa: S311 (statistics; the same history gives the same estimate)
    sums = sorted(sum(_draw(costs, count, chance) for costs, count in groups) for _ in range(_DRAWS))
    return _quantile(sums, 0.1), _quantile(sums, 0.9)


def _draw(costs: list[int], count: int, chance: random.Random) -> float:
    drawn = chance.choices(costs, k=len(costs))
    if count <= _ONE_BY_ONE:
        return sum(chance.choices(drawn, k=count))
    return max(chance.gauss(count * fmean(drawn), sqrt(count) * pstdev(drawn)), 0.0)


def _quantile(ordered: Sequence[float], share: float) -> int:
    return round(ordered[round(share * (len(ordered) - 1))])


def _basis(used: int, recent: int, *, all_alike: bool) -> str:
    stories = f"{used} finished {'story' if used == 1 else 'stories'} of this project"
    if not all_alike:
        return f"P10 to P90 from {stories}, those of like size, tags and agent where there are {ENOUGH}"
    return f"P10 to P90 from {stories}{', which is little to go by: the range is widened' if recent < ENOUGH else ''}"


def _no_history(limits: BudgetLimits | None) -> str:
    text = "no history yet: this project has finished 0 stories"
    if limits is None:
        return text
    return (
        f"{text}; the limits are {money(limits.story)} per story, {money(limits.day)} per day "
        f"and {money(limits.week)} per week"
    )
