"""What is looked at before anything starts: by ``start``, and by ``doctor`` without starting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from auto_dev import config as configuration
from auto_dev.agents.registry import check_agent
from auto_dev.config import FILE_NAME, Config
from auto_dev.daemon.checkout import look
from auto_dev.daemon.graphs import graph_version, load_graph
from auto_dev.daemon.settings import Settings
from auto_dev.errors import AutoDevError, ConfigError, ForgeError, GitError
from auto_dev.forge import make_forge
from auto_dev.gates.registry import gates_for
from auto_dev.notify.registry import make_channels
from auto_dev.secrets import secret
from auto_dev.worktrees.repository import UserRepository


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found fit before anything starts."""

    config: Config
    repository: UserRepository


async def preflight(settings: Settings) -> Checked:
    """Find now what would otherwise fail in the night. Raises AutoDevError for the first thing that does not fit."""
    config = configuration.load(settings.root, settings.overrides)
    if settings.sandbox:
        raise AutoDevError(
            "this version has no sandbox yet, so an agent would run with your own rights",
            mend="Add --no-sandbox if you accept that.",
        )
    check_paths(settings.root, settings.folder, settings.place.state)
    repository = await look(settings.root, settings.state_home, config)
    check_remote(config, repository)
    check_policy(config, settings.root)
    check_agent(config.agent, settings.root, secret)
    await check_forge(config, settings.place.pulls)
    for channel in make_channels(config.notify, secret).values():
        await channel.close()
    return Checked(config, repository)


def check_paths(*paths: Path) -> None:
    """Folders can be written down as text, as a database and most tools want them."""
    for path in paths:
        try:
            str(path).encode("utf-8")
        except UnicodeEncodeError:
            mend = "Rename or move the folder."
            raise AutoDevError("its path is not UTF-8", where=ascii(str(path)), mend=mend) from None


async def check_forge(config: Config, folder: Path) -> None:
    """The forge can be used as far as that can be told without asking it."""
    token = secret("GITHUB_TOKEN") if config.forge.kind == "github" else None
    await make_forge(config.forge, token, folder).close()


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
    """A remote that is named in the configuration, or needed by the forge, must exist; else branches may stay local."""
    name = config.project.remote
    if repository.remote is None and "remote" in config.project.model_fields_set:
        raise GitError(
            f"there is no remote {name!r}",
            where=f"{repository.root / FILE_NAME}: project.remote",
            mend="Add it with `git remote add`, or take the line out to keep branches local.",
        )
    if repository.push is None and config.forge.kind == "github":
        raise ForgeError(
            f"there is no remote {name!r} to push to",
            where=f"{repository.root / FILE_NAME}: forge.kind",
            mend='Add the remote, or set kind = "none" in [forge].',
        )
