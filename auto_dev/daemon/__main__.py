"""The daemon as a process of its own: ``python -m auto_dev.daemon SETTINGS READY_FD``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from auto_dev.daemon import instance
from auto_dev.daemon.compose import daemon, new_daemon_id, with_signals
from auto_dev.daemon.settings import Settings
from auto_dev.errors import AutoDevError, ExitCode
from auto_dev.tasks import alone


class JsonLines(logging.Formatter):
    """One JSON object a line, with a stable ``action`` to search for."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "action": getattr(record, "action", record.name),
            "message": record.getMessage(),
        }
        for name in ("run", "node", "why"):
            if (value := getattr(record, name, None)) is not None:
                entry[name] = str(value)
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


async def _serve(settings: Settings, ready_fd: int) -> ExitCode:
    def say(text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # whoever started us was killed; the order stands
            os.write(ready_fd, f"{text}\n".encode())
        os.close(ready_fd)

    daemon_id = new_daemon_id()
    try:
        with instance.hold(settings.place.state, daemon_id):
            async with daemon(settings, daemon_id) as running:
                await with_signals(running)
                return await running.serve(ready=lambda: say("ready"))
    except AutoDevError as error:
        logging.getLogger(__name__).error("%s", error, extra={"action": "daemon_refused"})
        with contextlib.suppress(OSError):  # the starter has its answer already
            say(str(error))
        return error.exit_code


def main() -> int:
    """Run the daemon of the settings file; the answer to "are you up?" goes to the descriptor."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in ("httpx", "procrastinate", "psycopg.pool"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    settings = Settings.model_validate_json(Path(sys.argv[1]).read_text("utf-8"))
    return int(asyncio.run(alone(_serve(settings, int(sys.argv[2])))))


if __name__ == "__main__":
    sys.exit(main())
