"""``auto-dev budget``: what was spent, what is left, who changed a limit, and what estimates were worth."""

from __future__ import annotations

import sys
from typing import Any

from auto_dev.budget.estimate import Accuracy, Scored, accuracy
from auto_dev.budget.ledger import Ledger
from auto_dev.budget.limits import BudgetLimits, BudgetOverview, Window, WindowKey, checked_amount
from auto_dev.commands import output
from auto_dev.commands.here import Here, here, person
from auto_dev.daemon.clock import now
from auto_dev.errors import BudgetError, ExitCode, UsageError
from auto_dev.model import Scope, dollars, microusd, money
from auto_dev.store import backlog
from auto_dev.store.database import Database
from auto_dev.store.events import QUERIES, emit, wake

SCOPES = {"day": Scope.DAY, "daily": Scope.DAY, "week": Scope.WEEK, "weekly": Scope.WEEK, "story": Scope.STORY}
CHANGES = 100  # how many `history --changes` shows
ESTIMATES = 50


def both(name: str, amount_microusd: int | None) -> dict[str, Any]:
    """An amount as JSON: dollars to read, micro-dollars to reckon with."""
    usd = None if amount_microusd is None else dollars(amount_microusd)
    return {f"{name}_usd": usd, f"{name}_microusd": amount_microusd}


def window_facts(window: Window, alert_at: float) -> dict[str, Any]:
    """One window as JSON. ``spent`` is all that was charged, ``overrun`` the part of it that nobody had set aside."""
    shared = window.scope in (Scope.DAY, Scope.WEEK)
    return {
        "scope": window.scope,
        "key": window.key,
        **both("cap", window.cap_microusd),
        **both("spent", window.cost_microusd),
        **both("reserved", window.reserved_microusd),
        **both("overrun", window.overrun_microusd),
        **both("left", window.remaining_microusd),
        **both("alert", int(window.cap_microusd * alert_at) if shared else None),
        "resets_at": window.resets_at.isoformat() if window.resets_at else None,
        "alerted": window.alerted_at is not None,
    }


async def show(*, as_json: bool) -> ExitCode:
    """Print today's and this week's window, and those of the stories."""
    place = await here()
    limits = BudgetLimits.of(place.config)
    own: list[Window] = []
    usual: int | None = None
    if place.known:
        async with place.database() as db:
            ledger = Ledger(db.pool, place.project_id, now)
            overview = await ledger.overview(limits)
            own = await own_windows(db, place.project_id)
            usual = await ledger.usual_per_minute()
            fared = accuracy(await ledger.estimates(ESTIMATES))
    else:
        day, week = (Window(key.scope, key.key, key.limit_microusd) for key in limits.shared_windows(now()))
        overview, fared = BudgetOverview(day, week, limits.alert_at), accuracy(())
    windows = [overview.day, overview.week, *own]
    if as_json:
        facts = [window_facts(window, limits.alert_at) for window in windows]
        stories = {window.key: dollars(window.cost_microusd) for window in own if window.scope is Scope.STORY}
        output.emit_json({
            "day": facts[0], "week": facts[1], "stories": dict(sorted(stories.items())), "windows": facts,
            "alert_at": limits.alert_at, **both("usual_per_minute", usual), "estimates": _accuracy_facts(fared),
        })  # fmt: skip
        return ExitCode.DONE
    output.table(("", "spent", "set aside", "left", "limit", "starts over"), [_row(w, limits) for w in windows])
    for window in windows[:2]:
        if window.alarms(limits.alert_at):
            output.say(f"  {window.key}: over {limits.alert_at:.0%} of its limit are spent")
    for window in windows:
        if window.overrun_microusd:
            more = f"{window.key}: {money(window.overrun_microusd)} were billed beyond what was set aside"
            output.say(f"  {more}; they count as spent")
    if fared.line:
        output.say(f"  {fared.line}")
    return ExitCode.DONE


def _row(window: Window, limits: BudgetLimits) -> tuple[str, ...]:
    name = {Scope.DAY: "today ", Scope.WEEK: "week ", Scope.STORY: "", Scope.RUN: "run "}[window.scope] + window.key
    amounts = (window.cost_microusd, window.reserved_microusd, window.remaining_microusd, window.cap_microusd)
    resets = window.resets_at.astimezone(limits.zone).strftime("%a %Y-%m-%d %H:%M") if window.resets_at else ""
    return (name, *(money(amount) for amount in amounts), resets)


async def own_windows(db: Database, project: str) -> list[Window]:
    """The windows of stories and runs, the dearest first."""
    rows = await db.fetch_all(QUERIES["own_windows"], {"project": project})
    return [Window(**{**row, "scope": Scope(row["scope"])}) for row in rows]


async def raise_limit(
    which: str | None, to: float, reason: str, *, scope: str | None, yes: bool, as_json: bool
) -> ExitCode:
    """Change the limit of today, this week or one story; recorded with who did it and why."""
    place = await here()
    try:
        amount = checked_amount(microusd(to), "the new limit")
    except (ValueError, BudgetError):
        raise UsageError(f"not an amount of dollars: {to:g}", where="--to", mend="Write it like --to 75.") from None
    limits = BudgetLimits.of(place.config)
    wanted, name = scope_of(which, scope)
    async with place.database() as db:
        ledger = Ledger(db.pool, place.project_id, now)
        target = await _target(place, db, limits, wanted, name)
        before = await _cap(db, place.project_id, ledger, limits, target)
        shown = f"{wanted} {target.key}"
        verb = "Raise" if amount > before else "Lower"
        question = f"{verb} the limit of {shown} from {money(before)} to {money(amount)}?"
        if not yes and not _confirmed(question):
            raise UsageError("nothing was changed", mend="Confirm, or give --yes.")
        await ledger.raise_limit(wanted, target.key, amount, by=person(), reason=reason, limits=limits)
        story = target.key if wanted is Scope.STORY else None
        resumed = await place.control(db).resume_paused("budget", story) if amount > before else []
        async with db.transaction() as conn:
            await emit(
                conn, place.project_id, "BUDGET_CHANGED", story=story, scope=wanted, key=target.key,
                from_microusd=before, to_microusd=amount, by=person(), reason=reason,
            )  # fmt: skip
            await wake(conn, place.project_id)
    if as_json:
        facts = {"scope": wanted, "key": target.key, **both("limit", amount), **both("from", before)}
        output.emit_json({**facts, "by": person(), "reason": reason, "resumed": resumed})
    else:
        go_on = output.many(len(resumed), "paused run goes", "paused runs go")
        output.say(f"The limit of {shown} is {money(amount)} now (it was {money(before)}); {go_on} on.")
    return ExitCode.DONE


def scope_of(which: str | None, scope: str | None) -> tuple[Scope, str]:
    """What ``WHICH`` and ``--scope`` mean: a scope and, for a story, its name. Raises UsageError.

    A story may be called "week": then ``--scope story`` says that it is meant.
    """
    if scope is not None and scope.lower() not in SCOPES:
        raise UsageError(f"there is no scope {scope!r}", where="--scope", mend="Say day, week or story.")
    said = SCOPES.get(scope.lower()) if scope is not None else None
    meant = SCOPES.get(which.lower()) if which is not None else None
    if said is Scope.STORY or (said is None and which is not None and meant in (None, Scope.STORY)):
        if not which or (said is None and meant is Scope.STORY):
            raise UsageError("which story?", mend="`auto-dev budget raise STORY --to 20`.")
        return Scope.STORY, which
    if said is None and meant is None:
        raise UsageError("which limit?", mend="Say day, week, or a story that `auto-dev status` lists.")
    if said is not None and which is not None and meant is not said:
        raise UsageError(f"{which!r} is no {said}", where="--scope", mend=f"Leave it out: --scope {said} is enough.")
    return said or meant or Scope.DAY, ""


async def _target(place: Here, db: Database, limits: BudgetLimits, scope: Scope, name: str) -> WindowKey:
    """The window that is meant. Raises UsageError for a story that does not exist."""
    for key in limits.shared_windows(now()):
        if key.scope is scope:
            return key
    async with db.pool.connection() as conn:
        ids = [str(row["id"]) for row in await backlog.rows(conn, place.project_id)]
    found = next((story for story in ids if story.lower() == name.lower()), None)
    if found is None:
        raise UsageError(f"there is no story {name!r}", mend="Say day, week, or a story that `auto-dev status` lists.")
    return WindowKey(Scope.STORY, found, limits.story)


async def _cap(db: Database, project: str, ledger: Ledger, limits: BudgetLimits, target: WindowKey) -> int:
    """The limit in force."""
    overview = await ledger.overview(limits)
    windows = [overview.day, overview.week, *await own_windows(db, project)]
    found = next((one for one in windows if (one.scope, one.key) == (target.scope, target.key)), None)
    return target.limit_microusd if found is None else found.cap_microusd


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def history(days: int, *, changes: bool, as_json: bool) -> ExitCode:
    """Print the cost of each of the last days, or who changed which limit."""
    place = await here()
    async with place.database() as db:
        ledger = Ledger(db.pool, place.project_id, now)
        if changes:
            return _print_changes(await ledger.changes(CHANGES), as_json=as_json)
        rows = await ledger.history(days, BudgetLimits.of(place.config))
    if as_json:
        facts = [{"day": row.key, **both("cost", row.cost_microusd), **both("cap", row.cap_microusd)} for row in rows]
        output.emit_json({"days": facts})
    else:
        lines = [(row.key, money(row.cost_microusd), money(row.cap_microusd)) for row in rows]
        output.table(("day", "cost", "limit"), lines)
    return ExitCode.DONE


def _print_changes(rows: list[Any], *, as_json: bool) -> ExitCode:
    if as_json:
        facts = [
            {
                "at": row["at"].isoformat(timespec="seconds"), "scope": row["scope"], "key": row["key"],
                **both("from", row["from_microusd"]), **both("to", row["to_microusd"]), "by": row["by"],
                "reason": row["reason"],
            }
            for row in rows
        ]  # fmt: skip
        output.emit_json({"changes": facts})
    elif not rows:
        output.say("No limit was ever changed.")
    else:
        lines = [
            (
                f"{row['at']:%Y-%m-%d %H:%M}", f"{row['scope']} {row['key']}",
                f"{money(row['from_microusd'])} → {money(row['to_microusd'])}", row["by"], row["reason"],
            )
            for row in rows
        ]  # fmt: skip
        output.table(("when (UTC)", "limit", "change", "by", "why"), lines)
    return ExitCode.DONE


async def estimates(*, as_json: bool) -> ExitCode:
    """Print what stories were estimated at and what they cost."""
    place = await here()
    async with place.database() as db:
        scored = await Ledger(db.pool, place.project_id, now).estimates(ESTIMATES)
    fared = accuracy(scored)
    if as_json:
        facts = [
            {
                "story": one.story_id, "run": one.run_id, **both("low", one.low), **both("high", one.high),
                **both("cost", one.cost_microusd), "within": one.inside, "at": one.at.isoformat(timespec="seconds"),
            }
            for one in scored
        ]  # fmt: skip
        output.emit_json({"estimates": facts, "accuracy": _accuracy_facts(fared)})
    elif not scored:
        output.say("No story is finished yet.")
    else:
        output.table(("story", "estimate", "cost", ""), [_scored_row(one) for one in scored])
        if fared.line:
            output.say(fared.line)
    return ExitCode.DONE


def _scored_row(one: Scored) -> tuple[str, ...]:
    said = "none" if one.low is None or one.high is None else f"{money(one.low)} to {money(one.high)}"
    held = "" if one.inside is None or one.low is None else "within" if one.inside else "outside"
    return one.story_id, said, money(one.cost_microusd), held


def _accuracy_facts(fared: Accuracy) -> dict[str, Any]:
    return {"n": fared.n, "below": fared.below, "within": fared.within, "above": fared.above, "ratio": fared.ratio}
