"""A command that newly fails is run again: what fails each time counts, what vanishes is flaky. Pure.

Only a run in which nothing fails anew excuses the one before it. A failure whose name differs from run to run, or that
is not named at all, is there in every run, and so it always counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from auto_dev.gates.base import CommandOutcome
from auto_dev.gates.baseline import NOT_RUN, failures_of, no_tests
from auto_dev.gates.failures import is_complaint

_PATIENCE: Final = 2  # times as many runs where all that fails is known to do so now and then


@dataclass(frozen=True, slots=True)
class Trial:
    """What several runs of one command together say.

    ``outcome`` is the run that judges; ``flaky`` what failed in one run and not in a later one, by name (a failure
    without a name leaves it empty); ``vanished``: a first, new failure is gone.
    """

    outcome: CommandOutcome
    flaky: tuple[str, ...] = ()
    vanished: bool = False


def worth_another_run(outcome: CommandOutcome) -> bool:
    """Whether the failure may be one that vanishes: not a complaint about the text of files, and not a time-out."""
    if outcome.ok or outcome.timed_out or no_tests(outcome) or outcome.exit_code in NOT_RUN:
        return False
    names = failures_of(outcome)
    return not names or not all(map(is_complaint, names))


def news(before: CommandOutcome | None, outcome: CommandOutcome) -> Counter[str]:
    """What fails in ``outcome`` and did not on the base."""
    return Counter(failures_of(outcome)) - (Counter(failures_of(before)) if before is not None else Counter())


def wants_another_run(
    before: CommandOutcome | None, runs: Sequence[CommandOutcome], known: Collection[str], reruns: int
) -> bool:
    """Whether one more run may tell more; all of ``runs`` failed anew.

    Twice the same is enough, except where all of it is known to fail now and then.
    """
    done, last = len(runs) - 1, news(before, runs[-1])
    if runs[-1].timed_out:
        return False
    if last and all(name in known for name in last):
        return done < _PATIENCE * reruns
    if done and last == news(before, runs[-2]):
        return False
    return done < reruns


def settle_runs(before: CommandOutcome | None, runs: Sequence[CommandOutcome], *, vanished: bool) -> Trial:
    """What ``runs`` of the head say together. ``vanished``: in the last of them nothing fails anew."""
    last = runs[-1]
    seen: dict[str, None] = {}
    for run in runs[:-1]:
        seen |= dict.fromkeys(news(before, run))
    if vanished:
        return Trial(last, tuple(seen), vanished=True)
    held = news(before, last)
    # Names that come and go while something else fails may be the names of one failure that is called differently.
    flaky = tuple(name for name in seen if name not in held) if held and set(held) <= set(seen) else ()
    return Trial(last, flaky)


def settle_baseline(first: CommandOutcome, again: CommandOutcome) -> CommandOutcome:
    """What two runs on the base say together: what failed in both is known to fail, the rest is flaky.

    A second run that says less than the first (out of time, crashed, nothing named) changes nothing.
    """
    if again.ok:
        return replace(again, flaky=failures_of(first))
    one, two = set(failures_of(first)), set(failures_of(again))
    if again.timed_out or again.exit_code != first.exit_code or not one or not two or not one & two:
        return first
    both = Counter(failures_of(first)) & Counter(failures_of(again))
    return replace(first, failures=tuple(both.elements()), flaky=tuple(sorted(one ^ two)))
