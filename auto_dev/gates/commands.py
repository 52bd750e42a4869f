"""A configured command newly fails on the head commit, in a clean checkout of the committed tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from auto_dev.config import CommandGate
from auto_dev.errors import AutoDevError
from auto_dev.gates.added import added_tests, is_named
from auto_dev.gates.base import CommandOutcome, GateContext, Judgement, Trials
from auto_dev.gates.baseline import NOT_RUN, failures_of, no_tests, why_unusable
from auto_dev.gates.evidence import entry, judged, last
from auto_dev.gates.excerpts import place_of
from auto_dev.gates.failures import parse_failures
from auto_dev.gates.flaky import Trial, settle_runs, wants_another_run, worth_another_run
from auto_dev.model import Route, Verdict

__all__ = ["CommandsGate", "compare", "parse_failures"]

_NAMED = 30  # failing tests that are listed one by one
_TOLD = 12  # of them with what they said


class CommandsGate:
    """One configured command; its gate carries the command's name. It is run once, and only after the cheap gates."""

    expensive = True

    def __init__(self, command: CommandGate) -> None:
        self.command = command
        self.name = command.name

    async def judge(self, context: GateContext) -> Judgement:
        outcome = await context.run_command(self.command, context.head_sha)
        before = context.baseline.get(self.name)
        judgement = compare(before, outcome)
        if judgement.verdict is not Verdict.FAIL or context.trials is None or not worth_another_run(outcome):
            return judgement
        runs, problem = await self._run_again(context, context.trials, outcome)
        vanished = compare(before, runs[-1]).verdict is not Verdict.FAIL
        trial = settle_runs(before, runs, vanished=vanished)
        if trial.flaky:
            context.trials.note_flaky(self.name, trial.flaky)
        added = await added_tests(context) if trial.flaky else []
        own = [name for name in trial.flaky if any(is_named(test, name) for test in added)]
        return weigh_trial(before, runs, trial, own, problem)

    async def _run_again(
        self, context: GateContext, trials: Trials, first: CommandOutcome
    ) -> tuple[list[CommandOutcome], str]:
        """The runs until one of them has no new failure, or no more can be told; and why there are not more, if so."""
        before, known = context.baseline.get(self.name), trials.known_flaky(self.name)
        runs = [first]
        while wants_another_run(before, runs, known, context.policy.gates.flaky.reruns):
            try:
                runs.append(await trials.again(self.command, context.head_sha))
            except AutoDevError as error:  # a setup command that fails now: the first run still stands
                return runs, str(error)
            if compare(before, runs[-1]).verdict is not Verdict.FAIL:
                break
        return runs, ""


def weigh_trial(
    before: CommandOutcome | None, runs: Sequence[CommandOutcome], trial: Trial, own: Sequence[str], problem: str = ""
) -> Judgement:
    """The judgement of several runs. Pure.

    What failed each time is held against the work; what vanished is noted, unless it is a test that the story itself
    adds or changes (``own``).
    """
    judgement = compare(before, trial.outcome)
    if len(runs) == 1:
        more = [entry("it could not be run again", excerpt=problem)] if problem else []
        return judged(judgement.verdict, judgement.reason, judgement.route, (*judgement.evidence, *more))
    notes = [entry(f"flaky: {name}", excerpt="fails in one run and not in another") for name in trial.flaky[:_NAMED]]
    evidence = [*judgement.evidence, *notes, entry("runs", number=len(runs))]
    if own:
        mine = [entry(f"the story's own test is flaky: {name}") for name in own[:_NAMED]]
        reason = f"a test of this story fails now and then, so it proves nothing: {own[0]}"
        if judgement.verdict is Verdict.FAIL:
            reason = f"{judgement.reason}; {reason}"
        return judged(Verdict.FAIL, reason, Route.REPAIR, [*mine, _ending(runs[0]), *evidence])
    if not trial.vanished:
        return judged(judgement.verdict, judgement.reason, judgement.route, evidence)
    count = len(trial.flaky)
    what = f"{_count(count, 'flaky failure')}: {trial.flaky[0]}" + (" …" if count > 1 else "") if count else "a failure"
    reason = f"{judgement.reason}; run again, {what} vanished"
    return judged(Verdict.CONCERNS, reason, evidence=[_ending(runs[0]), *evidence])


def compare(before: CommandOutcome | None, now: CommandOutcome) -> Judgement:
    """What the command's outcome on the head means, given the one on the base. Pure.

    By the names of what fails where both tell them, else by how the command ended. Without a baseline every failure
    is new.
    """
    known = Counter(failures_of(before)) if before is not None else Counter[str]()
    failing = Counter(failures_of(now))
    if now.ok:
        return _passed(before, known, now)
    new, fixed = failing - known, known - failing
    if now.timed_out:
        if before is not None and before.timed_out:
            return _cannot_tell(now, "it ran out of time before the work too")
        return _failed(now, f"did not end within its time ({now.duration_s:.0f} s)", new)
    if before is None or before.ok:
        return _failed(now, _what(now, new), new)
    if no_tests(before) and no_tests(now):
        return judged(Verdict.CONCERNS, "still no tests: nothing was checked", evidence=[_ending(now)])
    if not known and not _became_usable(before, now):
        return _cannot_tell(now, "it failed before the work too, without naming what fails")
    if new or not failing:
        return _failed(now, _what(now, new), new)
    if (cut := why_unusable(now)) and now.exit_code != before.exit_code and cut != why_unusable(before):
        return _failed(now, f"only known failures are named, but {cut}", new)
    if not fixed and now.exit_code != before.exit_code:
        change = f"the exit code went from {before.exit_code} to {now.exit_code}"
        return _failed(now, f"the known failures are named, but {change}", new)
    return _still(failing, fixed)


def _passed(before: CommandOutcome | None, known: Counter[str], now: CommandOutcome) -> Judgement:
    took = entry("duration in seconds", number=round(now.duration_s, 1))
    if before is None or before.ok:
        return judged(Verdict.PASS, "passes", evidence=[took])
    count = known.total()
    if not count:
        return judged(Verdict.PASS, "passes; it failed before the work", evidence=[took])
    reason = f"passes; {_count(count, 'known failure')} {'is' if count == 1 else 'are'} fixed"
    return judged(Verdict.PASS, reason, evidence=[entry("fixed", excerpt="\n".join(list(known)[:_NAMED])), took])


def _still(failing: Counter[str], fixed: Counter[str]) -> Judgement:
    count = failing.total()
    reason = f"no new failure; {_count(count, 'known failure')} {'remains' if count == 1 else 'remain'}"
    evidence = [entry("known before the work", excerpt="\n".join(list(failing)[:_NAMED]))]
    if fixed:
        reason += f", {fixed.total()} fixed"
        evidence.append(entry("fixed", excerpt="\n".join(list(fixed)[:_NAMED])))
    return judged(Verdict.CONCERNS, reason, evidence=evidence)


def _cannot_tell(now: CommandOutcome, why: str) -> Judgement:
    reason = f"still fails, and auto-dev cannot tell whether the work broke more: {why}"
    return judged(Verdict.CONCERNS, reason, evidence=[_ending(now)])


def _failed(now: CommandOutcome, reason: str, new: Counter[str]) -> Judgement:
    first = _first(new.items())
    names = [_newly(now, name, count, told=place < _TOLD) for place, (name, count) in enumerate(first)]
    if len(new) > _NAMED:
        names.append(entry(f"… and {len(new) - _NAMED} more"))
    took = entry("duration in seconds", number=round(now.duration_s, 1))
    # What failed comes first: it is what an agent must see when room is short.
    evidence = [*names, _ending(now), took]
    return judged(Verdict.FAIL, reason, Route.REPAIR, evidence, failures=new.total() or 1)


def _newly(now: CommandOutcome, name: str, count: int, *, told: bool) -> dict[str, Any]:
    """One failure: its name, where it is, and with ``told`` what it said."""
    said = now.excerpts.get(name, "")
    file, at = place_of(said) or ("", None)
    said = said if told else ""
    return entry(f"newly fails: {name}" + (f" (×{count})" if count > 1 else ""), file=file, at=at, excerpt=said)


def _what(now: CommandOutcome, new: Counter[str]) -> str:
    if count := new.total():
        return f"{_count(count, 'new failure')}: {next(iter(new))}" + (" …" if count > 1 else "")
    return why_unusable(now) or ("no tests ran" if no_tests(now) else f"fails with exit code {now.exit_code}")


def _became_usable(before: CommandOutcome, now: CommandOutcome) -> bool:
    """Whether the command had nothing to work on before (not found, no tests) and has now: then any failure is new."""
    return no_tests(before) or (before.exit_code in NOT_RUN and now.exit_code not in NOT_RUN)


def _ending(now: CommandOutcome) -> dict[str, Any]:
    told = f"how {now.name} ended" if now.exit_code is None else f"{now.name} ended with exit code"
    return entry(told, excerpt=last(now.tail), number=now.exit_code)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _first(items: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return list(items)[:_NAMED]
