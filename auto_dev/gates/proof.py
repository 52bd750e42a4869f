"""Is the story shown to be done? Its new tests must fail without its change, and each criterion needs evidence.

Strong is a test that fails on the base and passes on the head, named by the report or clearly about the criterion. Weak
is what is there and proves nothing by itself. None is nothing, or something that does not exist.
"""

from __future__ import annotations

from typing import Final

from auto_dev.config import CommandGate
from auto_dev.errors import AutoDevError
from auto_dev.gates.added import added_tests, supporting
from auto_dev.gates.base import CommandOutcome, GateContext, Judgement
from auto_dev.gates.flaky import news
from auto_dev.gates.kinds import is_code, says_generated, why_no_test
from auto_dev.gates.observed import Observation, Runs, Seen, may_run, observe, runs_tests
from auto_dev.gates.strength import Case, conclude, is_challenge, weigh_claims, weigh_criteria

_LEAST_S: Final = 60.0  # for the run on the base, which may hang where the head does not
_TIMES: Final = 3.0  # as long as the head took


class ProofGate:
    """Runs the story's tests on the base, and weighs what the report names for each acceptance criterion."""

    name = "proof"
    expensive = True

    async def judge(self, context: GateContext) -> Judgement:
        no_test = why_no_test(context.story, context.changes, await _generated(context))
        observations, problem = await _observations(context)
        claims = context.report.criteria if context.report is not None else []
        criteria = context.story.acceptance_criteria
        if claims:
            rows = await weigh_claims(criteria, claims, context, observations)
        else:
            rows = weigh_criteria(criteria, observations)
        challenged = any(each.gate == self.name and is_challenge(each.evidence) for each in context.earlier)
        case = Case(
            rows=tuple(rows),
            observations=tuple(observations),
            claimed=bool(claims),
            no_test=no_test,
            problem=problem,
            may_challenge=context.attempts_left > 0 and not challenged,
        )
        return conclude(case)


async def _generated(context: GateContext) -> list[str]:
    """The changed code files that say that a program wrote them."""
    found: list[str] = []
    for change in context.changes:
        if change.status != "D" and is_code(change.path):
            source = await context.read(context.head_sha, change.path)
            if source is not None and says_generated(source):
                found.append(change.path)
    return found


async def _observations(context: GateContext) -> tuple[list[Observation], str]:
    """How the story's tests end without its change and with it, and why that is not known, if so.

    Nothing runs that cannot matter: no new test, no command that runs tests, no difference but the tests.
    """
    tests = await added_tests(context)
    paths = supporting(context.changes, context.policy.gates.tampering.protected)
    apart = [test for test in tests if test.apart]
    if not apart:
        return observe(tests, []), _why_unprovable(context, bool(tests))
    if all(change.path in paths for change in context.changes):
        # The base with the new tests is the head: what passes there passes here.
        return [Observation(test, Seen.PASSED, Seen.PASSED) for test in tests], ""
    proof, trials = context.policy.gates.proof, context.trials
    if not proof.run_on_base or trials is None:
        return observe(tests, []), "new tests are not run on the base here"
    runs: list[Runs] = []
    for command in context.policy.gates.command:
        if not may_run(command, apart) or (proof.commands and command.name not in proof.commands):
            continue
        before = context.baseline.get(command.name)
        on_head = await context.run_command(command, context.head_sha)
        if not proof.commands and not runs_tests(command, (before, on_head)):
            continue
        flaky = trials.known_flaky(command.name)
        if not on_head.ok and _still_fails(before, on_head, flaky):
            return observe(tests, []), f"the command {command.name} does not pass with the change yet"
        try:
            on_base = await trials.on_base(_bounded(command, on_head), paths)
        except AutoDevError as error:  # the setup command, which may need what only the head has
            return observe(tests, []), f"the new tests could not run on the base: {error}"
        runs.append(Runs(command, before, on_base, on_head, flaky))
    if not runs:
        return observe(tests, []), "no configured command seems to run tests"
    return observe(tests, runs), ""


def _why_unprovable(context: GateContext, inside: bool) -> str:
    """Why a test could not show the work here, whatever the agent adds; "" when one could."""
    if inside:
        return "its tests lie in the same files as the code, so they cannot run without the change"
    commands = context.policy.gates.command
    named = context.policy.gates.proof.commands
    if named or any(runs_tests(command, [context.baseline.get(command.name)]) for command in commands):
        return ""
    return "no configured command seems to run tests"


def _still_fails(before: CommandOutcome | None, on_head: CommandOutcome, flaky: frozenset[str]) -> bool:
    if before is None or before.ok:
        new = news(before, on_head)
        return not new or not set(new) <= flaky
    return bool(set(news(before, on_head)) - flaky)


def _bounded(command: CommandGate, on_head: CommandOutcome) -> CommandGate:
    limit_s = min(command.timeout_minutes * 60, max(_LEAST_S, _TIMES * on_head.duration_s))
    return command.model_copy(update={"timeout_minutes": limit_s / 60})
