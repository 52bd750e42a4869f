"""A story that has used up its own limit: its run pauses, and a person is asked whether it may cost more.

The day and the week start over by themselves; a story's limit does not, so without an answer the run would lie there.
The run is paused, not waiting: no node interrupted it, and it goes on where it was when there is money again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from auto_dev.budget.caps import set_limit
from auto_dev.budget.limits import BudgetExceededError, WindowKey, checked_amount
from auto_dev.errors import BudgetError, UsageError
from auto_dev.model import RunStatus, Scope, microusd, money
from auto_dev.nodes.problem import ABANDON, SKIP
from auto_dev.store import runs
from auto_dev.store.decisions import BUDGET, Question
from auto_dev.store.events import QUERIES, Connection, emit
from auto_dev.text import line

RAISE: Final = "raise_budget"


def question(story_id: str, full: BudgetExceededError, since: datetime) -> Question:
    """What is asked when ``full`` stopped a run of the story. ``since`` tells one shortfall of a run from the next."""
    cap, spent = full.cap_microusd, full.spent_microusd
    double = max(cap * 2, cap + 1_000_000)
    return Question(
        key=f"budget:{since.isoformat()}",
        kind=BUDGET,
        question=f"{story_id} has used up its limit: {money(spent)} of {money(cap)}. May it cost more?",
        why="The run is paused and its work is kept. The limits of the day and of the week hold all the same.",
        options=(
            _option("raise", f"Raise its limit to {money(double)} and go on", recommended=True, to_microusd=double),
            {**_option("raise_to", "Raise it to this many dollars"), "wants_text": True},
            SKIP,
            ABANDON,
        ),
    )


def _option(name: str, label: str, *, recommended: bool = False, **data: int) -> dict[str, Any]:
    return {
        "id": name, "label": label, "action": RAISE, "recommended": recommended, "wants_text": False, "data": data,
    }  # fmt: skip


async def raise_limit(
    conn: Connection, row: Mapping[str, Any], option: Mapping[str, Any], *, by: str, now: datetime
) -> None:
    """Carry out the answer that raises the limit, in the answer's transaction. Raises UsageError for no such amount."""
    project, story = row["project_id"], row["story_id"]
    to = _amount(str(row["answer_text"]) if option["wants_text"] else None, option)
    cursor = await conn.execute(QUERIES["story_limit"], {"project": project, "story": story})
    window = await cursor.fetchone()
    before = int(window["cap_microusd"]) if window else 0
    if to <= before:
        raise UsageError(
            f"the limit of {story} is {money(before)} already", mend=f"Name more, such as {money(before * 2)}."
        )
    key = WindowKey(Scope.STORY, story, before)
    await set_limit(conn, project, key, to, by, f"answer to {row['id']}", now)
    await conn.execute(QUERIES["apply_decision"], {"id": row["id"]})
    await emit(
        conn, project, "BUDGET_CHANGED", story=story, scope=Scope.STORY, key=story, from_microusd=before,
        to_microusd=to, by=by, reason=f"answer to {row['id']}",
    )  # fmt: skip
    run = await runs.get(conn, row["run_id"])
    if run is not None and run["status"] == RunStatus.PAUSED and str(run["reason"]).startswith("budget"):
        await runs.requeue(conn, project, row["run_id"], [RunStatus.PAUSED])


def _amount(text: str | None, option: Mapping[str, Any]) -> int:
    """The new limit in micro-dollars."""
    if text is None:
        return int(option["data"]["to_microusd"])
    try:
        return checked_amount(microusd(text.strip().removeprefix("$").replace(",", "")), "the new limit")
    except (ValueError, BudgetError):
        raise UsageError(f"not an amount of dollars: {line(text, 40)!r}", mend="Write it like 25.") from None
