"""The run changed nothing: a person decides, since more of the same rarely helps."""

from __future__ import annotations

from auto_dev.gates.base import GateContext, Judgement
from auto_dev.gates.evidence import entry, judged
from auto_dev.gates.scope import own_story_paths
from auto_dev.model import Route, Verdict
from auto_dev.text import clean, line


class EmptyGate:
    """Asks when there is no change, or none but in the story's own file."""

    name = "empty"

    async def judge(self, context: GateContext) -> Judgement:
        own = own_story_paths(context)
        work = [change for change in context.changes if change.path not in own]
        if work:
            count = len(context.changes)
            return judged(Verdict.PASS, "1 file changed" if count == 1 else f"{count} files changed")
        what = "the run changed nothing but its own story file" if context.changes else "the run changed nothing"
        report = context.report
        if report is not None and report.blocked:
            reason = f"{what}; the agent says that it is blocked: {line(report.blocked, 200)}"
            return judged(Verdict.FAIL, reason, Route.ASK, [_words("the agent is blocked", report.blocked)])
        said = [_words("what the agent says", report.summary)] if report is not None and report.summary else []
        return judged(Verdict.FAIL, what, Route.ASK, said)


def _words(title: str, text: str) -> dict[str, object]:
    return entry(title, excerpt=clean(text, 2_000))
