"""``auto-dev summary``: the day in one page, on the terminal or to the channels."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from auto_dev.budget.limits import BudgetLimits
from auto_dev.commands import output
from auto_dev.commands.here import here
from auto_dev.daemon.clock import now
from auto_dev.daemon.digest import day_summary
from auto_dev.errors import ConfigError, ExitCode
from auto_dev.model import dollars
from auto_dev.notify import facts, outbox
from auto_dev.notify.outbox import Deliverer
from auto_dev.notify.registry import make_channels
from auto_dev.notify.summary import render_text
from auto_dev.secrets import secret
from auto_dev.text import jsonable


async def summary(*, send: bool, as_json: bool) -> ExitCode:
    """Gather today's facts; print them, or send them with ``send``."""
    place = await here()
    async with place.database() as db:
        limits = BudgetLimits.of(place.config)
        gathered = await day_summary(db.pool, place.project_id, limits, now())
        if send:
            channels = make_channels(place.config.notify, secret)
            if not channels:
                raise ConfigError("no channel is configured", where="notify.channels", mend='Set channels = ["email"].')
            fact = facts.daily_summary(gathered, key=f"summary:{now().isoformat()}")
            async with db.transaction() as conn:
                await outbox.enqueue(conn, project_id=place.project_id, channels=tuple(channels), **fact.row())
            deliverer = Deliverer(db.pool, place.project_id, channels, now)
            await deliverer.deliver_due()
            async with db.pool.connection() as conn:
                failed = await outbox.problems(conn, place.project_id)
            for channel in channels.values():
                await channel.close()
            for problem in failed:
                waiting = output.many(problem.waiting, "message waits", "messages wait")
                output.warn(f"error: {problem.channel}: {problem.error} ({waiting} to be sent again)")
            if failed:
                return ExitCode.ERROR
    if as_json:
        output.emit_json(_public(asdict(gathered)))
    else:
        output.say(render_text(gathered))
    return ExitCode.DONE


def _public(value: Any) -> Any:
    """``value`` with dollars for micro-dollars and times as ISO 8601."""
    if isinstance(value, dict):
        amounts = {key: key.endswith("_microusd") for key in value}
        return {
            key.removesuffix("_microusd") + "_usd" if amounts[key] else key:
                dollars(inner) if amounts[key] and inner is not None else _public(inner)
            for key, inner in value.items()
        }  # fmt: skip
    if isinstance(value, (list, tuple)):
        return [_public(inner) for inner in value]
    return value.isoformat() if isinstance(value, (date, datetime)) else jsonable(value)
