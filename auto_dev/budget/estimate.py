"""What stories may cost, from what this project's finished stories did cost. Pure and repeatable.

A range is P10 to P90 of a bootstrap: history is drawn anew with replacement, then a cost for each story from that
draw, and the costs are added up. Drawing history anew carries over to a sum what a short history cannot know: if five
samples happen to be cheap, every story of the sum is underestimated by them, not each by chance of its own.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, pstdev
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
    """A finished story of this project and its whole cost in micro-dollars, failed attempts included."""

    story_id: str
    cost_microusd: int
    estimate_hours: float | None = None
    tags: tuple[str, ...] = ()


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
class Score:
    """How estimates fared: stories that cost less than, within, and more than their range (aim: 80 % within).

    ``bias`` is the actual sum over the sum of the ranges' middles: above 1 the estimates were too low. None without
    anything to compare.
    """

    below: int
    within: int
    above: int
    bias: float | None

    @property
    def n(self) -> int:
        return self.below + self.within + self.above


def estimate(stories: Sequence[Story], history: Sequence[FinishedRun], limits: BudgetLimits | None = None) -> Estimate:
    """What ``stories`` may cost together: P10 to P90 from ``history``.

    Each story is measured by finished stories of its size that share a tag with it, else by those of its size, where
    there are at least five, else by all. ``history`` is oldest first and only its last 200 count. ``limits`` are named
    where there is none.
    """
    if not history:
        return Estimate(None, None, _no_history(limits), 0)
    if not stories:
        return Estimate(0, 0, "no stories", len(history))
    recent = history[-RECENT:]
    pools = Counter(_pool(story, recent, by_tags=True) for story in stories)
    if len(pools) > _KINDS:
        pools = Counter(_pool(story, recent, by_tags=False) for story in stories)
    used = {index for pool in pools for index in pool}
    groups = [([recent[index].cost_microusd for index in pool], pools[pool]) for pool in sorted(pools)]
    low, high = _range(groups)
    basis = _basis(len(used), len(recent), all_alike=all(len(pool) == len(recent) for pool in pools))
    return Estimate(low, high, basis, len(used))


def score(estimates: Mapping[str, Estimate], actuals: Mapping[str, int]) -> Score:
    """Compare estimates with actual costs in micro-dollars, both by story id; stories that lack one are left out."""
    below = within = above = 0
    middles = 0.0
    total = 0
    for story_id in estimates.keys() & actuals.keys():
        low, high, actual = estimates[story_id].low, estimates[story_id].high, actuals[story_id]
        if low is None or high is None:
            continue
        below += actual < low
        above += actual > high
        within += low <= actual <= high
        middles += (low + high) / 2
        total += actual
    return Score(below, within, above, total / middles if middles else None)


def size_class(hours: float | None) -> str:
    """S up to 2 hours, M up to 8, L above; "" for a story without an estimate."""
    if hours is None:
        return ""
    return "S" if hours <= 2 else "M" if hours <= 8 else "L"


def _pool(story: Story, history: Sequence[FinishedRun], *, by_tags: bool) -> tuple[int, ...]:
    """The samples that measure ``story``, as indexes into ``history``."""
    size = size_class(story.estimate_hours)
    same_size = [index for index, run in enumerate(history) if size_class(run.estimate_hours) == size]
    same_kind = [index for index in same_size if by_tags and set(history[index].tags) & set(story.tags)]
    for candidates in (same_kind, same_size):
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
        return f"P10 to P90 from {stories}, those of like size and tags where there are {ENOUGH}"
    return f"P10 to P90 from {stories}{', which is little to go by' if recent < ENOUGH else ''}"


def _no_history(limits: BudgetLimits | None) -> str:
    text = "no history yet: this project has finished 0 stories"
    if limits is None:
        return text
    return (
        f"{text}; the limits are {money(limits.story)} per story, {money(limits.day)} per day "
        f"and {money(limits.week)} per week"
    )
