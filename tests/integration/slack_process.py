"""A door for Slack's requests as a process of its own, to be killed: ``python slack_process.py URL API_URL``.

It prints its port. A press for a decision named ``…-before`` kills it before the answer is committed, ``…-after``
between the commit and the acknowledgement.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from auto_dev.config import Config, NotifyConfig
from auto_dev.daemon.desk import SlackDesk
from auto_dev.notify.slack_answers import Answers
from auto_dev.notify.slack_api import SlackApi
from auto_dev.notify.slack_desk import Person
from auto_dev.notify.slack_http import HttpDoor
from auto_dev.notify.slack_link import Whoami
from auto_dev.store.database import Database
from tests.slack_support import ANN, BOT_TOKEN, SIGNING_SECRET


class Mortal(SlackDesk):
    async def answer(self, who: Person, decision: str, option: str, text: str = "") -> None:
        if decision.endswith("-before"):
            os.kill(os.getpid(), signal.SIGKILL)
        await super().answer(who, decision, option, text)
        if decision.endswith("-after"):
            os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    url, api_url = sys.argv[1:]
    config = Config(notify=NotifyConfig.model_validate({"channels": ["slack"], "slack": {"deciders": [ANN]}}))
    async with Database.open(url, Path("/nonexistent")) as db:
        desk = Mortal(db, "todo", lambda: config, lambda: datetime.now(UTC))
        api = SlackApi(api_url, BOT_TOKEN)
        answers = Answers(desk, api, Whoami(api))
        door = HttpDoor("127.0.0.1:0", SIGNING_SECRET, answers, desk, lambda: datetime.now(UTC))
        await door.serve(lambda: print(door.port, flush=True))


if __name__ == "__main__":
    asyncio.run(main())
