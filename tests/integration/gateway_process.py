"""A gateway as a process of its own: ``python gateway_process.py SETTINGS``, which prints its URL and tokens as JSON.

SETTINGS is JSON: database, upstream, stories (of which one grant each is made), day, week, story (micro-dollars),
wait_s. It serves until its standard input is closed, and has booked everything when it ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from auto_dev.budget.gateway import Gateway, Upstreams
from auto_dev.budget.ledger import Ledger
from auto_dev.budget.limits import BudgetLimits
from auto_dev.budget.meter import RunMeter
from auto_dev.budget.prices import price_table
from auto_dev.store.database import Database


def now() -> datetime:
    return datetime.now(UTC)


async def main(settings: dict[str, Any]) -> None:
    limits = BudgetLimits(day=settings["day"], week=settings["week"], story=settings["story"])
    base = settings["upstream"]
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(settings["database"], Path("unused")))
        ledger = Ledger(db.pool, "p", now)
        await ledger.ensure_caps(limits)
        prices = price_table({}, now)
        gateway = await stack.enter_async_context(Gateway(lambda name: f"real-{name}", now))
        tokens = []
        for story in settings["stories"]:
            meter = RunMeter(ledger, f"run-{story}", story, limits, prices, wait_s=settings.get("wait_s", 5))
            upstreams = Upstreams(base, base, base)
            tokens.append((await stack.enter_async_context(gateway.grant(f"run-{story}", meter, upstreams))).token)
        print(json.dumps({"url": gateway.url, "tokens": tokens}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
