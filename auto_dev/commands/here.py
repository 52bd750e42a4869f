"""Where a command was called: the repository, its configuration, its state, and the database when it is needed."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auto_dev import config as configuration
from auto_dev.commands import output
from auto_dev.config import Config, ProjectConfig
from auto_dev.daemon.checkout import git_of
from auto_dev.errors import AutoDevError, ConfigError
from auto_dev.place import DATABASE_URL, ProjectPlace, database_folder, place_of, project_id_of, state_home
from auto_dev.worktrees.repository import find_root

if TYPE_CHECKING:
    from auto_dev.daemon.control import Control
    from auto_dev.store.database import Database

NOTE: Final = "project.json"
EMBEDDED: Final = "the embedded server"


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
    async def database(self, *, begin: bool = False) -> AsyncIterator[Database]:
        """The open database. Raises AutoDevError when nothing ever began here (unless it does now, with ``begin``)."""
        from auto_dev.store.database import Database

        if not begin:
            if not self.known:
                mend = "Begin with `auto-dev start DIR`."
                raise AutoDevError(f"auto-dev has not worked on {self.root} yet", mend=mend)
            self._expect_database()
        async with Database.open(self.database_url, database_folder(self.home), size=4) as db:
            if begin:
                self.place.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            yield db

    def note(self, folder: Path) -> None:
        """Write down what later commands must know of the order that begins: folder and database, without a secret."""
        facts = {"id": self.project_id, "folder": str(folder), "database": self._server()}
        target = self.place.state / NOTE
        temporary = target.with_suffix(".tmp")
        temporary.write_text(json.dumps(facts), "utf-8")
        temporary.replace(target)

    def noted(self) -> dict[str, Any]:
        """What the last order noted; empty when there was none."""
        return _read_note(self.place.state / NOTE)

    def _server(self) -> str:
        from auto_dev.store.database import describe, parse_url

        return describe(parse_url(self.database_url)) if self.database_url else EMBEDDED

    def _expect_database(self) -> None:
        """A person who forgets the URL must not be shown another, empty database."""
        noted = self.noted().get("database")
        if noted not in (None, self._server()):
            mend = "Unset it." if noted == EMBEDDED else f"Set {DATABASE_URL} to its URL."
            raise AutoDevError(
                f"this project's state is in {noted}, not in {self._server()}", where=DATABASE_URL, mend=mend
            )

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


async def here(folder: Path | None = None, overrides: dict[str, Any] | None = None, *, lenient: bool = False) -> Here:
    """The project of ``folder`` (default: the current one). Raises GitError, ConfigError.

    ``lenient``: a broken auto-dev.toml is only a warning where the project is known: it must not keep a person from
    looking, deciding and stopping. What is configured is then not known; the daemon goes on with its last good one.
    """
    root, home = await find_root(folder or Path.cwd(), git=git_of(state_home())), state_home()
    try:
        config = configuration.load(root, overrides)
    except ConfigError as error:
        known = _known_id(home, root) if lenient else None
        if known is None:
            raise
        output.warn(f"warning: {error}")
        config = Config(project=ProjectConfig(id=known))
    return Here(root, config, project_id_of(config, root), home, os.environ.get(DATABASE_URL) or None)


def _known_id(home: Path, root: Path) -> str | None:
    """The id under which the checkout at ``root`` was worked on, from the notes; None unless there is exactly one."""
    ending = place_of(home, root, "").state.name  # what tells this path from others
    found = [_read_note(file).get("id") for file in (home / "projects").glob(f"*{ending}/{NOTE}")]
    return found[0] if len(found) == 1 else None


def _read_note(file: Path) -> dict[str, Any]:
    try:
        facts = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
