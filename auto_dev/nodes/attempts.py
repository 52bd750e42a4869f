"""The attempts of a run, read back from its rows and its folder."""

from __future__ import annotations

from auto_dev.gates.attempts import Attempt
from auto_dev.model import Phase
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.turn import report_of, turn_of
from auto_dev.store import runs


async def attempts_of(context: RunContext, until: int) -> tuple[Attempt, ...]:
    """The turns at implementing of the rounds before ``until``, with the verdicts that stopped each."""
    async with context.services.db.pool.connection() as conn:
        rows = await runs.earlier_verdicts(conn, context.run_id, until)
    found = []
    for number in range(until):
        turn = turn_of(context, Phase.IMPLEMENT, number)
        if not turn:
            continue
        report, _ = await report_of(context, Phase.IMPLEMENT, number)
        reasons = tuple(
            f"{row['gate']}: {row['reason']}"
            for row in rows
            if row["round"] == number and row["route"] != "proceed" and row["gate"] != "baseline"
        )
        said = report.summary if report is not None else ""
        by = str(turn.get("by") or context.policy.agent.label)
        found.append(Attempt(number, by, said, reasons, int(turn.get("cost_microusd") or 0)))
    return tuple(found)
