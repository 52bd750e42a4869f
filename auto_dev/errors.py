"""The one error base. A message says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum


class ExitCode(IntEnum):
    """What the command line exits with."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    WAITS = 3
    BUDGET = 4
    INTERRUPTED = 130


class AutoDevError(Exception):
    """Something that a person can mend.

    ``what`` is wrong, ``where`` it is (a file, a key path, a command; may be empty), and how to ``mend`` it.
    ``str(error)`` is one line: ``where: what. mend``.
    """

    exit_code: ExitCode = ExitCode.ERROR

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what = what.strip()
        self.where = where.strip()
        self.mend = mend.strip()
        super().__init__(self._line())

    def reword(self, change: Callable[[str], str]) -> None:
        """Say the same in other words, such as without a credential."""
        self.what, self.where, self.mend = change(self.what), change(self.where), change(self.mend)
        self.args = (self._line(),)

    def _line(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        if self.mend:
            line = f"{line}{'' if line.endswith(tuple('.!?…')) else '.'} {self.mend}"
        return " ".join(line.split())


class UsageError(AutoDevError):
    """The command was called with arguments that do not fit."""

    exit_code = ExitCode.USAGE


class ConfigError(AutoDevError):
    """auto-dev.toml, a flag or an environment variable does not fit."""


class StoryError(AutoDevError):
    """A story file cannot be used."""


class StoreError(AutoDevError):
    """The database is missing, unfit, or refused a statement."""


class TransitionError(StoreError):
    """A status transition matched no row: the thing was not in a state from which it may go there."""


class StaleLeaseError(StoreError):
    """The lease's epoch has moved on: somebody else owns the story now, and this owner must not write."""


class GitError(AutoDevError):
    """git refused, or the repository is not fit for the work."""


class AgentError(AutoDevError):
    """An agent cannot be started or configured."""


class ForgeError(AutoDevError):
    """The forge refused a request or cannot be reached."""


class NotifyError(AutoDevError):
    """A message could not be delivered."""


class BudgetError(AutoDevError):
    """Money: a limit is reached, a price is unknown, an amount does not fit."""

    exit_code = ExitCode.BUDGET
