"""What is looked at before anything starts: by ``start``, and by ``doctor`` without starting."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from auto_dev import config as configuration
from auto_dev.agents.models import Secrets
from auto_dev.agents.programs import find_program, host_env
from auto_dev.agents.registry import CLIS, check_agent
from auto_dev.budget.prices import price_table
from auto_dev.commands.here import Here
from auto_dev.config import FILE_NAME, AgentConfig, Config, GatewayConfig, SandboxConfig
from auto_dev.daemon.checkout import look
from auto_dev.daemon.clock import now
from auto_dev.daemon.control import still_panicking
from auto_dev.daemon.graphs import graph_version, load_graph
from auto_dev.daemon.settings import Settings
from auto_dev.errors import AgentError, AutoDevError, BudgetError, ConfigError, ForgeError, GitError
from auto_dev.forge import make_credentials, make_forge
from auto_dev.gates.registry import gates_for
from auto_dev.notify import slack_link
from auto_dev.notify.registry import make_channels
from auto_dev.sandbox import mounts, probe
from auto_dev.sandbox.base import SandboxError
from auto_dev.sandbox.hosts import PRESETS, Rules
from auto_dev.secrets import secret
from auto_dev.store import panics
from auto_dev.store.database import Database
from auto_dev.worktrees.repository import UserRepository

VENDORS: Final = ("anthropic", "openai", "gemini")
_VENDOR_OF_KIND: Final = {"claude-code": "anthropic", "codex": "openai", "gemini": "gemini", "qwen": "openai"}
_VENDOR_OF_MODEL: Final = re.compile(
    r"(?:models/)?(?:(?P<anthropic>anthropic[:/]|claude-)|(?P<openai>openai[:/]|gpt-|chatgpt-|o\d|codex-)"
    r"|(?P<gemini>google[:/]|gemini[:/-]))"
)
UNBOXED_KINDS: Final = ("replay",)  # they run nothing but what the project's owner recorded


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found fit before anything starts. ``confined``: whether agents get a sandbox; ``notes``: to be said."""

    config: Config
    repository: UserRepository
    confined: bool = False
    notes: tuple[str, ...] = ()


async def preflight(settings: Settings) -> Checked:
    """Find now what would otherwise fail in the night. Raises AutoDevError for the first thing that does not fit."""
    config = configuration.load(settings.root, settings.overrides)
    confined, note = await choose_sandbox(config, wanted=settings.sandbox)
    check_paths(settings.root, settings.folder, settings.place.state)
    repository = await look(settings.root, settings.state_home, config)
    check_remote(config, repository)
    check_policy(config, settings.root)
    check_agents(config, settings.root, secret, confined=confined)
    check_price(config)
    check_key(config, secret)
    await check_forge(config, settings.place.pulls)
    for channel in make_channels(config.notify, secret).values():
        await channel.close()
    said = (note, slack_link.plan(config.notify, secret).note)
    return Checked(config, repository, confined, tuple(text for text in said if text))


async def choose_sandbox(config: Config, *, wanted: bool) -> tuple[bool, str]:
    """Whether agents and commands get a sandbox, and what is to be said about it. Raises AutoDevError.

    Without one nothing starts, unless a person gave up on it (``wanted`` is False: --no-sandbox) or the agent only
    plays what was recorded.
    """
    if not wanted:
        return False, ""
    found = await asyncio.to_thread(probe.find, os.environ)
    if not isinstance(found, probe.Problem):
        return True, ""
    if unboxed(config):
        return False, f"no sandbox is used ({found.what}): kind = {config.agent.kind!r} only plays its recordings"
    raise AutoDevError(
        f"there is no sandbox, so an agent would run with your own rights: {found.what}", mend=mend(found)
    )


def mend(problem: probe.Problem) -> str:
    """What helps where there is no sandbox."""
    said = problem.mend + ("" if problem.mend.endswith((".", "!")) or not problem.mend else ".")
    return f"{said} Or add --no-sandbox: agents then run with your own rights.".strip()


def unboxed(config: Config) -> bool:
    """Whether no agent of this policy runs anything but what the project's owner recorded."""
    return all(agent.kind in UNBOXED_KINDS for agent in config.agents().values())


def check_agents(config: Config, root: Path, secrets: Secrets, *, confined: bool) -> None:
    """Every agent that may be called can start: who implements, who takes over, who reviews. Raises AgentError."""
    for where, agent in config.agents().items():
        try:
            check_agent(agent, root, secrets, config.sandbox.allow_hosts if confined else None)
        except AgentError as error:
            if where == "agent":
                raise
            raise AgentError(error.what, where=f"{where}: {error.where}".rstrip(": "), mend=error.mend) from None


def vendor_of(agent: AgentConfig) -> str | None:
    """Whose models an agent asks for: anthropic | openai | gemini; None where that cannot be told."""
    if agent.kind in _VENDOR_OF_KIND:
        return _VENDOR_OF_KIND[agent.kind]
    match = _VENDOR_OF_MODEL.match(agent.model.strip().lower()) if agent.model else None
    return match.lastgroup if match else None


def key_of(vendor: str) -> str:
    """The name of a vendor's key."""
    return f"{vendor.upper()}_API_KEY"


def upstream_of(config: Config, vendor: str, agent: AgentConfig | None = None) -> str:
    """Where the gateway sends a vendor's requests of an agent, by default the story's own."""
    asking = agent or config.agent
    if asking.kind == "chat" and asking.base_url:
        return asking.base_url
    return str(getattr(config.gateway, f"{vendor}_url"))


def check_price(config: Config) -> None:
    """Every configured model has a price, without which nothing may be spent on it. Raises ConfigError."""
    for where, agent in config.agents().items():
        model = (agent.model or "").removesuffix("[1m]")
        if not model or agent.kind == "replay" or (agent.kind == "claude-code" and model.isalpha()):
            continue  # "sonnet" is what Claude Code makes of it; the gateway sees the model's real name
        try:
            price_table(config.budget.prices, now).check(model)
        except BudgetError as error:
            raise ConfigError(error.what, where=f"{where}.model", mend=error.mend) from None


def check_key(config: Config, secrets: Secrets) -> None:
    """The providers' keys are there, where their own service is asked: one's own may need none. Raises AgentError."""
    for where, agent in config.agents().items():
        vendor = vendor_of(agent)
        if vendor is None or agent.mode == "subscription" or agent.kind in ("command", "replay"):
            continue
        theirs = urlsplit(str(GatewayConfig.model_fields[f"{vendor}_url"].default)).hostname
        if urlsplit(upstream_of(config, vendor, agent)).hostname == theirs and not secrets(key_of(vendor)):
            raise AgentError(
                f"{key_of(vendor)} is not set, which kind = {agent.kind!r} needs",
                where=f"{where}.model" if agent.model else f"{where}.kind",
                mend=f"Set it in the environment, or `keyring set auto-dev {key_of(vendor)}`.",
            )


def installed_agents() -> dict[str, str]:
    """The coding agents that are on PATH: kind → program."""
    found = {}
    for kind, cli in CLIS.items():
        with suppress(AgentError):
            found[kind] = find_program(cli(), (), Path("/"), host_env())[0]
    return found


async def refuse_panic(place: Here, db: Database) -> None:
    """Nothing starts while a panic stands. Raises AutoDevError."""
    async with db.pool.connection() as conn:
        panic = await panics.standing(conn, place.project_id)
    if panic is not None:
        raise still_panicking(panic)


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
    credentials = make_credentials(config.forge, secret, clock=now)
    await make_forge(config.forge, credentials, folder, clock=now).close()
    if credentials is not None:
        await credentials.close()


def check_policy(config: Config, root: Path) -> None:
    """The parts of the configuration that name something outside of it: graph, gates, hosts, files to copy."""
    from auto_dev.budget.gateway import Upstreams

    gates_for(config)
    check_sandbox(config.sandbox)
    Upstreams.of(config.gateway)
    if config.run.graph is not None:
        load_graph(config.run.graph, graph_version(config.run.graph))
    for name in config.setup.copy_files:
        if not (root / name).exists():
            raise ConfigError(
                f"{name!r} does not exist in {root}",
                where=f"{root / FILE_NAME}: setup.copy",
                mend="Create it in your checkout, or take it out of the list.",
            )


def check_sandbox(config: SandboxConfig) -> None:
    """What boxes are to be given exists and may be given. Raises ConfigError."""
    Rules.of(config.allow_hosts)
    for entry in config.allow_hosts:
        if not (entry in PRESETS or "." in entry or ":" in entry):
            near = get_close_matches(entry.lower(), PRESETS, n=1)
            mend = f"Did you mean {near[0]!r}?" if near else f'A host without a dot needs its port: "{entry}:8080".'
            raise ConfigError(f"there is no preset {entry!r}", where="sandbox.allow_hosts", mend=mend)
    for key, paths in (("read", config.read), ("write", config.write)):
        for path in paths:
            try:
                mounts.check_given([Path(path).expanduser()], write=key == "write")
            except SandboxError as error:
                mend = error.mend or f"Mend it, or take it out of [sandbox] {key}."
                raise ConfigError(f"{path!r}: {error.what}", where=f"sandbox.{key}", mend=mend) from None


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
