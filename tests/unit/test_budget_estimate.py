"""Ranges from history, and how good they were."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.budget.estimate import FinishedRun, Scored, accuracy, estimate, size_class
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
    assert (one.low, one.high) == (233_333, 2_100_000)
    assert one.line == (
        "$0.23 to $2.10 (P10 to P90 from 1 finished story of this project, "
        "which is little to go by: the range is widened)"
    )


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
    if count <= 30 and len(history) >= 5:
        assert min(costs) * count <= result.low
        assert result.high <= max(costs) * count


def test_a_few_samples_make_a_wider_range_than_they_span() -> None:
    spans = []
    for count in range(1, 7):
        result = estimate([story()], [FinishedRun(f"A{n}", 1_000_000) for n in range(count)])
        assert result.low is not None
        assert result.high is not None
        assert result.low <= 1_000_000 <= result.high
        spans.append(result.high / result.low)
    assert spans == sorted(spans, reverse=True)
    assert spans[0] == pytest.approx(9, rel=0.01)
    assert spans[4] == spans[5] == 1


def test_a_story_is_measured_by_those_of_its_agent_where_there_are_five() -> None:
    cheap = [FinishedRun(f"C{n}", 1_000, 1.0, ("api",), "replay") for n in range(8)]
    dear = [FinishedRun(f"D{n}", 5_000_000, 1.0, ("api",), "claude-code") for n in range(5)]
    for agent, cost, count in (("replay", 1_000, 8), ("claude-code", 5_000_000, 5)):
        result = estimate([story(1, "api")], cheap + dear, agent=agent)
        assert (result.low, result.high, result.n) == (cost, cost, count)
    other = estimate([story(1, "api")], cheap + dear, agent="codex")
    assert other.n == 13
    assert "none of them by the agent codex" in other.basis
    assert estimate([story(1, "api")], cheap + dear).n == 13
    few = estimate([story(1, "api")], cheap + dear[:4], agent="claude-code")
    assert few.n == 12
    assert few.high == 5_000_000


def test_stories_that_cost_nothing_are_history_and_said_to_be_so() -> None:
    free = estimate([story()], [FinishedRun(f"A{n}", 0) for n in range(6)])
    assert (free.low, free.high, free.n) == (0, 0, 6)
    assert "6 finished stories" in free.basis
    assert free.basis.endswith("whose cost was not metered or nothing")
    some = estimate([story()], [FinishedRun(f"A{n}", n) for n in range(6)])
    assert "not metered" not in some.basis


def scored(low: int | None, high: int | None, cost: int) -> Scored:
    return Scored("r", "A", low, high, cost, datetime(2026, 2, 10, tzinfo=UTC))


def test_estimates_are_scored() -> None:
    result = accuracy([scored(10, 20, 9), scored(10, 20, 10), scored(10, 20, 41), scored(None, None, 7)])
    assert (result.below, result.within, result.above, result.n) == (1, 1, 1, 3)
    assert result.share_within == pytest.approx(1 / 3)
    assert result.ratio == pytest.approx(10 / 15)
    assert result.line == "1 of the last 3 estimates held, the cost was 0.7 times their middle in the median"
    assert scored(None, None, 7).inside is None


def test_without_estimates_nothing_is_said_of_them() -> None:
    for none in ([], [scored(None, None, 7)]):
        result = accuracy(none)
        assert (result.n, result.share_within, result.ratio, result.line) == (0, None, None, "")
    nothing = accuracy([scored(0, 0, 0), scored(0, 0, 5)])
    assert (nothing.within, nothing.above, nothing.ratio) == (1, 1, None)
    assert nothing.line == "1 of the last 2 estimates held"


def test_how_earlier_estimates_fared_is_said_with_the_next_one() -> None:
    line = estimate([story()], SMALL, scored=[scored(10, 20, 15)]).line
    assert line.endswith("; the last estimate held, the cost was 1.0 times their middle in the median)")
