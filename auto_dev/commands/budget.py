"""``auto-dev budget``: what was spent, what is left, and changing a limit."""

from __future__ import annotations

import sys
from typing import Any

from auto_dev.budget.ledger import Ledger
from auto_dev.budget.limits import BudgetLimits, BudgetOverview, Window, checked_amount
from auto_dev.commands import output
from auto_dev.commands.here import Here, here, person
from auto_dev.daemon.clock import now
from auto_dev.errors import BudgetError, ExitCode, UsageError
from auto_dev.model import Scope, dollars, microusd, money
from auto_dev.store import backlog
from auto_dev.store.database import Database
from auto_dev.store.events import emit, wake


def _facts(window: Window) -> dict[str, Any]:
    return {
        "key": window.key,
        "cap_usd": dollars(window.cap_microusd),
        "spent_usd": dollars(window.cost_microusd),
        "reserved_usd": dollars(window.reserved_microusd),
        "left_usd": dollars(window.remaining_microusd),
        "resets_at": window.resets_at.isoformat() if window.resets_at else None,
        "alerted": window.alerted_at is not None,
    }


async def show(*, as_json: bool) -> ExitCode:
    """Print today's and this week's window, and the cost of each story."""
    place = await here()
    limits = BudgetLimits.of(place.config)
    if place.known:
        async with place.database() as db:
            ledger = Ledger(db.pool, place.project_id, now)
            overview = await ledger.overview(limits)
            costs = await ledger.costs_by_story()
    else:
        day, week = (Window(key.scope, key.key, key.limit_microusd) for key in limits.shared_windows(now()))
        overview, costs = BudgetOverview(day, week, limits.alert_at), {}
    if as_json:
        stories = {story: dollars(cost) for story, cost in sorted(costs.items())}
        output.emit_json({"day": _facts(overview.day), "week": _facts(overview.week), "stories": stories})
        return ExitCode.DONE
    rows = [
        (name, money(w.cost_microusd), money(w.reserved_microusd), money(w.remaining_microusd), money(w.cap_microusd))
        for name, w in ((f"today {overview.day.key}", overview.day), (f"week {overview.week.key}", overview.week))
    ]
    output.table(("", "spent", "set aside", "left", "limit"), rows)
    for story, cost in sorted(costs.items(), key=lambda item: -item[1]):
        output.say(f"  {story}: {money(cost)}")
    return ExitCode.DONE


async def raise_limit(scope: str, to: float, reason: str, *, yes: bool, as_json: bool) -> ExitCode:
    """Change the limit of today, this week or one story; recorded with who did it."""
    place = await here()
    try:
        amount = checked_amount(microusd(to), "the new limit")
    except (ValueError, BudgetError):
        raise UsageError(f"not an amount of dollars: {to:g}", where="--to", mend="Write it like --to 75.") from None
    limits = BudgetLimits.of(place.config)
    shared = {key.scope: key for key in limits.shared_windows(now())}
    names = {"day": Scope.DAY, "daily": Scope.DAY, "week": Scope.WEEK, "weekly": Scope.WEEK}
    which = names.get(scope.lower(), Scope.STORY)
    async with place.database() as db:
        key = shared[which].key if which in shared else await _story(place, db, scope)
        if not yes and not _confirmed(f"Set the limit of {scope} to {money(amount)}?"):
            raise UsageError("nothing was changed", mend="Confirm, or give --yes.")
        await Ledger(db.pool, place.project_id, now).raise_limit(
            which, key, amount, by=person(), reason=reason, limits=limits
        )
        resumed = await place.control(db).resume_paused("budget")
        async with db.transaction() as conn:
            await emit(conn, place.project_id, "BUDGET_CHANGED", scope=which, key=key, to_microusd=amount, by=person())
            await wake(conn, place.project_id)
    if as_json:
        output.emit_json({"scope": which, "key": key, "limit_usd": dollars(amount), "resumed": resumed})
    else:
        go_on = output.many(len(resumed), "paused run goes", "paused runs go")
        output.say(f"The limit of {scope} is {money(amount)} now; {go_on} on.")
    return ExitCode.DONE


async def _story(place: Here, db: Database, name: str) -> str:
    """The id of the story that a person named. Raises UsageError."""
    async with db.pool.connection() as conn:
        ids = [str(row["id"]) for row in await backlog.rows(conn, place.project_id)]
    found = next((story for story in ids if story.lower() == name.lower()), None)
    if found is None:
        raise UsageError(f"there is no story {name!r}", mend="Say day, week, or a story that `auto-dev status` lists.")
    return found


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def history(days: int, *, as_json: bool) -> ExitCode:
    """Print the cost of each of the last days."""
    place = await here()
    async with place.database() as db:
        rows = await Ledger(db.pool, place.project_id, now).history(days, BudgetLimits.of(place.config))
    if as_json:
        output.emit_json({"days": [{"day": row.key, "cost_usd": dollars(row.cost_microusd)} for row in rows]})
    else:
        output.table(("day", "cost"), [(row.key, money(row.cost_microusd)) for row in rows])
    return ExitCode.DONE
