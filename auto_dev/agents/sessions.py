"""Which conversation of a program belongs to a run's phase, so that it is taken up again after a crash or a repair.

The file lies in the run's own folder, where no agent writes; the id in it comes from the program and is checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from typing import Final

from auto_dev.agents.base import AgentTask
from auto_dev.model import Phase

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}\Z")  # it becomes an argument: never an option

_AGAIN: Final = """\
You were interrupted in the middle of this task, and go on with it now. What you did so far is in the folder; commands
that were running have been ended. See where you are (the files, `git status`), then complete the task.
The task itself, its rules and the report that is wanted are unchanged."""


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation: its id, and the round and the brief (a digest) that it was last given."""

    id: str
    round: int
    brief: str


class SessionFile:
    """The conversation of one kind of agent in one phase of a run."""

    def __init__(self, task: AgentTask, kind: str) -> None:
        self._path = task.run_dir / f"session-{kind}-{task.phase}.json"
        self._task = task
        self._digest = hashlib.sha256(task.brief.encode("utf-8", "replace")).hexdigest()

    def load(self) -> Session | None:
        """The conversation to take up again, if there is one.

        A review with another brief is about another change: it gets fresh eyes.
        """
        try:
            session = Session(**json.loads(self._path.read_text("utf-8")))
        except (FileNotFoundError, ValueError, TypeError):  # none, or cut short by a crash: begin anew
            return None
        if not usable(session.id) or (self._task.phase is Phase.REVIEW and session.brief != self._digest):
            return None
        return session

    def save(self, session_id: str) -> None:
        """Remember that this turn's conversation is ``session_id``."""
        session = Session(session_id, self._task.round, self._digest)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(asdict(session), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)

    def forget(self) -> None:
        """There is no such conversation any more."""
        self._path.unlink(missing_ok=True)

    def prompt(self, session: Session | None) -> str:
        """What to say: the brief, or only to go on when the conversation has had it already."""
        known = session is not None and session.round == self._task.round and session.brief == self._digest
        text = _AGAIN if known else self._task.brief.rstrip()
        return f"{text}\n\n`AUTO_DEV_REPORT` is `{self._task.report_path}`.\n"


def usable(session_id: str) -> bool:
    """Whether an id that a program gave may be handed to it again."""
    return _ID.match(session_id) is not None
