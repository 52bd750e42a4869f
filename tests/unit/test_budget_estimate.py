"""Ranges from history, and how good they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.budget.estimate import Estimate, FinishedRun, estimate, score, size_class
from auto_dev.budget.limits import BudgetLimits
from auto_dev.stories.model import Story

pytestmark = pytest.mark.unit

SMALL = [FinishedRun(f"S{n}", 100_000 + n * 1000, 1.0, ("api",)) for n in range(10)]
LARGE = [FinishedRun(f"L{n}", 9_000_000 + n * 1000, 20.0, ("web",)) for n in range(10)]

histories = st.lists(
    st.builds(
        FinishedRun,
        st.text(max_size=3),
        st.integers(0, 10**12),
        st.none() | st.floats(0, 1000),
        st.lists(st.sampled_from("abc"), max_size=2).map(tuple),
    ),
    max_size=12,
)


def story(hours: float | None = None, *tags: str) -> Story:
    return Story(id="A", title="a", path="a.md", estimate_hours=hours, tags=tags)


def test_without_history_nothing_is_claimed() -> None:
    nothing = estimate([story()], [], BudgetLimits(50_000_000, 200_000_000, 10_000_000))
    assert (nothing.low, nothing.high, nothing.n) == (None, None, 0)
    assert nothing.basis == (
        "no history yet: this project has finished 0 stories; "
        "the limits are $10.00 per story, $50.00 per day and $200.00 per week"
    )
    assert nothing.line == f"cost unknown ({nothing.basis})"
    assert estimate([story()], []).basis == "no history yet: this project has finished 0 stories"


@pytest.mark.parametrize(("hours", "size"), [(None, ""), (0.5, "S"), (2, "S"), (2.1, "M"), (8, "M"), (9, "L")])
def test_sizes(hours: float | None, size: str) -> None:
    assert size_class(hours) == size


def test_a_story_is_measured_by_those_of_its_size() -> None:
    small, large = estimate([story(1)], SMALL + LARGE), estimate([story(10)], SMALL + LARGE)
    assert small.low is not None
    assert small.high is not None
    assert 100_000 <= small.low < small.high < 110_000
    assert large.low is not None
    assert large.low >= 9_000_000
    assert small.n == 10
    assert "10 finished stories of this project, those of like size" in small.basis


def test_a_shared_tag_narrows_it_further_where_there_are_five() -> None:
    other = [FinishedRun(f"T{n}", 500_000, 1.0, ("docs",)) for n in range(5)]
    tagged = estimate([story(1, "docs")], SMALL + other)
    assert (tagged.low, tagged.high, tagged.n) == (500_000, 500_000, 5)
    few = estimate([story(1, "docs")], SMALL + other[:4])
    assert few.n == 14


def test_a_size_with_fewer_than_five_samples_is_measured_by_all() -> None:
    assert estimate([story(4)], SMALL + LARGE).n == 20


def test_little_history_is_said_to_be_little() -> None:
    one = estimate([story()], [FinishedRun("A", 700_000)])
    assert (one.low, one.high) == (700_000, 700_000)
    assert one.line == ("$0.70 to $0.70 (P10 to P90 from 1 finished story of this project, which is little to go by)")


def test_only_recent_history_counts() -> None:
    old = [FinishedRun(f"O{n}", 10**9) for n in range(50)]
    new = [FinishedRun(f"N{n}", 1000) for n in range(200)]
    assert estimate([story()], old + new).high == 1000


def test_the_range_of_many_stories_is_narrower_than_that_many_ranges() -> None:
    history = [FinishedRun(f"A{n}", cost) for n, cost in enumerate([100, 200, 400, 800, 1600] * 6)]
    one, many = estimate([story()], history), estimate([story()] * 25, history)
    assert one.low is not None
    assert one.high is not None
    assert many.low is not None
    assert many.high is not None
    assert 25 * one.low < many.low < 25 * 620 < many.high < 25 * one.high


def test_a_sum_over_more_than_thirty_stories_continues_the_one_over_thirty() -> None:
    history = [FinishedRun(f"A{n}", cost) for n, cost in enumerate([100, 200, 400, 800, 1600] * 6)]
    below, above = estimate([story()] * 30, history), estimate([story()] * 31, history)
    for left, right in ((below.low, above.low), (below.high, above.high)):
        assert left is not None
        assert right is not None
        assert right == pytest.approx(left * 31 / 30, rel=0.1)


def test_ten_thousand_stories_of_many_kinds_are_estimated_too() -> None:
    history = [FinishedRun(f"A{n}", n, 1.0, (f"t{n % 40}",)) for n in range(400)]
    stories = [story(1, f"t{n % 40}") for n in range(10_000)]
    total = estimate(stories, history)
    assert total.low is not None
    assert total.low > 10_000 * 200


@given(histories, st.integers(0, 40))
def test_every_range_lies_between_the_cheapest_and_the_dearest(history: list[FinishedRun], count: int) -> None:
    stories = [story(n % 12, "abc"[n % 3]) for n in range(count)]
    result = estimate(stories, history)
    assert result == estimate(stories, history)
    if not history:
        assert result.low is None
        return
    costs = [run.cost_microusd for run in history]
    assert result.low is not None
    assert result.high is not None
    assert 0 <= result.low <= result.high
    if count <= 30:
        assert min(costs) * count <= result.low
        assert result.high <= max(costs) * count


def test_estimates_are_scored() -> None:
    wide = Estimate(10, 20, "", 5)
    unknown = Estimate(None, None, "", 0)
    result = score(
        {"a": wide, "b": wide, "c": wide, "d": unknown, "e": wide}, {"a": 9, "b": 10, "c": 41, "d": 7, "x": 1}
    )
    assert (result.below, result.within, result.above, result.n) == (1, 1, 1, 3)
    assert result.bias == pytest.approx(60 / 45)
    assert score({}, {"a": 1}).bias is None
