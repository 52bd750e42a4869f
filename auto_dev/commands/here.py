"""Where a command was called: the repository, its configuration, its state, and the database when it is needed."""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auto_dev import config as configuration
from auto_dev.config import Config
from auto_dev.daemon.checkout import git_of
from auto_dev.errors import UsageError
from auto_dev.place import DATABASE_URL, ProjectPlace, database_folder, place_of, project_id_of, state_home
from auto_dev.worktrees.repository import find_root

if TYPE_CHECKING:
    from auto_dev.daemon.control import Control
    from auto_dev.store.database import Database


@dataclass(frozen=True, slots=True)
class Here:
    """A project as the command line sees it from a folder inside its checkout."""

    root: Path
    config: Config
    project_id: str
    home: Path
    database_url: str | None

    @property
    def place(self) -> ProjectPlace:
        return place_of(self.home, self.root, self.project_id)

    @property
    def known(self) -> bool:
        """Whether auto-dev ever worked here, as far as can be told without asking the database."""
        return self.place.state.exists()

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """The open database. Raises UsageError when there is nothing in it yet for this project."""
        from auto_dev.store.database import Database

        if not self.known:
            raise UsageError(f"auto-dev has not worked on {self.root} yet", mend="Begin with `auto-dev start DIR`.")
        async with Database.open(self.database_url, database_folder(self.home), size=4) as db:
            yield db

    def control(self, db: Database) -> Control:
        """The project's controls, acting for the person at this terminal."""
        from auto_dev.daemon.control import Control

        return Control(db, self.project_id, person(), "cli", tuple(self.config.notify.channels))


def person() -> str:
    """Who sits at this terminal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


async def here(folder: Path | None = None, overrides: dict[str, Any] | None = None, url: str | None = None) -> Here:
    """The project of ``folder`` (default: the current one). Raises GitError, ConfigError."""
    root = await find_root(folder or Path.cwd(), git=git_of(state_home()))
    config = configuration.load(root, overrides)
    return Here(root, config, project_id_of(config, root), state_home(), url or os.environ.get(DATABASE_URL) or None)
