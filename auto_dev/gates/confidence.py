"""The agent's own confidence: below the minimum, or unknown, a person is asked."""

from __future__ import annotations

from auto_dev.gates.base import GateContext, Judgement
from auto_dev.gates.evidence import entry, judged
from auto_dev.model import Route, Verdict
from auto_dev.text import clean


class ConfidenceGate:
    """Asks when the report is missing or broken, names no confidence, or one below ``gates.confidence.minimum``."""

    name = "confidence"

    async def judge(self, context: GateContext) -> Judgement:
        report, minimum = context.report, context.policy.gates.confidence.minimum
        if report is None:
            problem = context.report_problem or "the agent left no report"
            return judged(
                Verdict.FAIL,
                f"confidence unknown: {problem}",
                Route.ASK,
                [entry("the agent's report cannot be used", excerpt=clean(problem, 1_000))],
            )
        said = [entry("what the agent says", excerpt=clean(report.summary, 2_000))] if report.summary else []
        if report.confidence is None:
            return judged(Verdict.FAIL, "confidence unknown: the report does not state it", Route.ASK, said)
        claim = entry("the agent's confidence", number=report.confidence)
        if report.confidence < minimum:
            reason = f"the agent's confidence is {report.confidence:.0%}, the minimum is {minimum:.0%}"
            return judged(Verdict.FAIL, reason, Route.ASK, [claim, *said])
        return judged(Verdict.PASS, f"the agent's confidence is {report.confidence:.0%}", evidence=[claim])
