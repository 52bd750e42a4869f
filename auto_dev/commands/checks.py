"""What is looked at before anything starts: by ``start``, and by ``doctor`` without starting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from auto_dev.agents.registry import check_agent
from auto_dev.config import FILE_NAME, Config
from auto_dev.daemon.graphs import graph_version, load_graph
from auto_dev.daemon.settings import Settings
from auto_dev.errors import AutoDevError, ConfigError, GitError
from auto_dev.forge import make_forge
from auto_dev.gates.registry import gates_for
from auto_dev.notify.registry import make_channels
from auto_dev.secrets import secret
from auto_dev.worktrees.repository import UserRepository

if TYPE_CHECKING:
    from auto_dev.daemon.compose import Checked


async def preflight(settings: Settings) -> Checked:
    """Find now what would otherwise fail in the night. Raises AutoDevError for the first thing that does not fit."""
    from auto_dev.daemon.compose import check

    checked = await check(settings)
    if settings.sandbox:
        raise AutoDevError(
            "this version has no sandbox yet, so an agent would run with your own rights",
            mend="Add --no-sandbox if you accept that.",
        )
    check_remote(checked.config, checked.repository)
    check_policy(checked.config, settings.root)
    check_agent(checked.config.agent, settings.root, secret)
    await make_forge(checked.config.forge, checked.token, settings.place.pulls).close()
    for channel in make_channels(checked.config.notify, secret).values():
        await channel.close()
    return checked


def check_policy(config: Config, root: Path) -> None:
    """The parts of the configuration that name something outside of it: graph, gates, files to copy."""
    gates_for(config)
    if config.run.graph is not None:
        load_graph(config.run.graph, graph_version(config.run.graph))
    for name in config.setup.copy_files:
        if not (root / name).exists():
            raise ConfigError(
                f"{name!r} does not exist in {root}",
                where=f"{root / FILE_NAME}: setup.copy",
                mend="Create it in your checkout, or take it out of the list.",
            )


def check_remote(config: Config, repository: UserRepository) -> None:
    """A remote that is named in the configuration must exist; without one named, branches may stay local."""
    if repository.remote is None and "remote" in config.project.model_fields_set:
        raise GitError(
            f"there is no remote {config.project.remote!r}",
            where=f"{repository.root / FILE_NAME}: project.remote",
            mend="Add it with `git remote add`, or take the line out to keep branches local.",
        )
