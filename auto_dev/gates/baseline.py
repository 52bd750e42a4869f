"""The project's own commands before any work: known failures are recorded, an unusable baseline asks at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from auto_dev.gates.base import CommandOutcome, Judgement
from auto_dev.gates.evidence import entry, judged, last
from auto_dev.gates.failures import parse_counts, parse_failures
from auto_dev.model import Route, Verdict

# pytest's exit codes 2–5 mean something else with other tools (make: 2), so its own words are looked for.
_PYTEST: Final = re.compile(
    r"^(?:=+ test session starts|INTERNALERROR>|!+ .*(?:Interrupted|Exit)|ERROR: (?:usage|file or directory not found)"
    r"|collected \d+ items?|no tests (?:ran|collected)|usage: (?:pytest|py\.test|__main__\.py)"
    r"|\d+ (?:errors?|warnings?|deselected) in \d)"
    r"|^ERROR: .*(?:unrecognized arguments|not found: )",
    re.MULTILINE,
)
NOT_RUN: Final = {
    126: "it cannot be executed (exit code 126)",
    127: "the command was not found (exit code 127)",
}
_PYTEST_BROKEN: Final = {
    2: "pytest was interrupted, usually by an error while it collected the tests (exit code 2)",
    3: "pytest met an internal error (exit code 3)",
    4: "pytest was called wrongly (exit code 4)",
}
_NO_TESTS: Final = 5
# node's runner counts a file without tests, such as a fixture, as a test that passes.
_NO_TEST_INSIDE: Final = re.compile(
    r"^(?:ok \d{1,6} - |✔ )\S*/\S+\.[cm]?[jt]s(?: \(\d[\d.]*m?s\))?[ \t]*$", re.MULTILINE
)


def judge_baseline(outcomes: Mapping[str, CommandOutcome] | Iterable[CommandOutcome]) -> Judgement:
    """The judgement of the configured commands' outcomes on the base commit. Pure."""
    runs = list(outcomes.values() if isinstance(outcomes, Mapping) else outcomes)
    if not runs:
        return judged(Verdict.CONCERNS, "no command is configured, so nothing but the other gates checks the work")
    unusable = [(run, why) for run in runs if (why := why_unusable(run))]
    if unusable:
        run, why = unusable[0]
        more = f" (and {len(unusable) - 1} more)" if len(unusable) > 1 else ""
        evidence = [_evidence(run, why) for run, why in unusable]
        return judged(Verdict.FAIL, f"before any work, {run.name!r} is unusable: {why}{more}", Route.ASK, evidence)
    failing = [run for run in runs if not run.ok and not no_tests(run)]
    if len(failing) == len(runs) and not any(failures_of(run) for run in failing):
        reason = "every command fails before any work, and none says what: auto-dev could not tell good work from bad"
        return judged(Verdict.FAIL, reason, Route.ASK, [_evidence(run, "fails") for run in failing])
    notes = [(run, _known(run)) for run in runs if not run.ok or run.flaky]
    if notes:
        reason = "; ".join(f"{run.name}: {note}" for run, note in notes)
        return judged(Verdict.CONCERNS, reason, evidence=[_evidence(run, note) for run, note in notes])
    return judged(Verdict.PASS, "every command passes before any work")


def why_unusable(run: CommandOutcome) -> str:
    """Why nothing can be told from ``run``, or "" when it can: it passed, or it failed in an orderly way."""
    if run.timed_out:
        return f"it did not end within its time ({run.duration_s:.0f} s)"
    code = run.exit_code
    if code is None or code < 0 or 128 < code <= 192:
        return "it was ended by a signal" + ("" if code is None else f" ({code - 128 if code > 0 else -code})")
    if code in NOT_RUN:
        return NOT_RUN[code]
    if code in _PYTEST_BROKEN and is_pytest(run.tail):
        return _PYTEST_BROKEN[code]
    counts = parse_counts(run.tail) if code else None
    if counts is not None and counts[0] <= len(_NO_TEST_INSIDE.findall(run.tail)) and counts[1] > 0:
        return f"every test fails ({counts[1]} of {counts[1]})"
    return ""


def no_tests(run: CommandOutcome) -> bool:
    """Whether pytest ran and found no test to run."""
    return run.exit_code == _NO_TESTS and not run.timed_out and not run.failures and is_pytest(run.tail)


def is_pytest(output: str) -> bool:
    """Whether ``output`` speaks as pytest does."""
    return _PYTEST.search(output) is not None


def failures_of(run: CommandOutcome) -> tuple[str, ...]:
    """The names of what failed in ``run``: as the runner recorded them, else as its tail tells."""
    return run.failures or (() if run.ok else parse_failures(run.tail))


def _known(run: CommandOutcome) -> str:
    flaky = f"{len(run.flaky)} flaky" if run.flaky else ""
    if run.ok:
        return f"{flaky}: passed when it ran again"
    if no_tests(run):
        return "no tests yet"
    names = failures_of(run)
    if names:
        count = "1 known failure" if len(names) == 1 else f"{len(names)} known failures"
        return f"{count}, {flaky}" if flaky else count
    return f"fails with exit code {run.exit_code}, and auto-dev cannot tell what fails"


def _evidence(run: CommandOutcome, why: str) -> dict[str, Any]:
    names = [*failures_of(run)[:40], *(f"flaky: {name}" for name in run.flaky[:40])]
    text = "\n".join(names) if names else last(run.tail, 2_000)
    return entry(f"{run.name}: {why}", excerpt=text, number=run.exit_code)
