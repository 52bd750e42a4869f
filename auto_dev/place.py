"""Where auto-dev keeps things: paths only, nothing is read or written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from auto_dev.config import Config

DATABASE_URL = "AUTO_DEV_DATABASE_URL"  # the environment variable that names a server of the user's own

CACHE = "AUTO_DEV_CACHE"  # the environment variable that names another folder for caches


@dataclass(frozen=True, slots=True)
class ProjectPlace:
    """Where a project lives. ``root`` is the user's checkout, which is only read; ``state`` is ours."""

    id: str
    root: Path
    state: Path

    @property
    def runs(self) -> Path:
        return self.state / "runs"

    @property
    def worktrees(self) -> Path:
        return self.state / "worktrees"

    @property
    def pulls(self) -> Path:
        return self.state / "pull-requests"


def state_home(environment: Mapping[str, str] | None = None) -> Path:
    """The folder of everything that auto-dev keeps: ``$AUTO_DEV_HOME``, else under ``$XDG_STATE_HOME``."""
    env = os.environ if environment is None else environment
    if given := env.get("AUTO_DEV_HOME"):
        return Path(given).expanduser().absolute()
    base = env.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base).expanduser().absolute() / "auto-dev"


def place_of(home: Path, root: Path, project_id: str) -> ProjectPlace:
    """Where a project's state lies: two checkouts with one name do not share it."""
    suffix = f"-{_digest(root)}"
    return ProjectPlace(project_id, root, home / "projects" / f"{project_id.removesuffix(suffix)}{suffix}")


def project_id_of(config: Config, root: Path) -> str:
    """The project's id in the database: configured, else the folder's name and what tells its path from others."""
    if config.project.id:
        return config.project.id
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in root.name).strip("-._")
    return f"{(name or 'project')[:50]}-{_digest(root)}"


def cache_folder(home: Path, environment: Mapping[str, str] | None = None) -> Path:
    """Where what can be made again lies: ``$AUTO_DEV_CACHE``, else in the state folder; never in the user's cache."""
    env = os.environ if environment is None else environment
    given = env.get(CACHE)
    return Path(given).expanduser().absolute() if given else home / "cache"


def database_folder(home: Path) -> Path:
    """The embedded server's folder, shared by all projects of a user."""
    return home / "postgres"


def _digest(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:8]
