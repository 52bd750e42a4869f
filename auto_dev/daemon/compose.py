"""The daemon's composition root: every adapter is chosen and built here, from settings and configuration."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets as random
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from auto_dev import config as configuration
from auto_dev.agents.registry import make_agent
from auto_dev.budget.gateway import Gateway
from auto_dev.budget.ledger import Ledger
from auto_dev.budget.prices import price_table
from auto_dev.config import Config
from auto_dev.daemon.checkout import git_of, look
from auto_dev.daemon.clock import now
from auto_dev.daemon.desk import SlackDesk
from auto_dev.daemon.digest import quiet_hours
from auto_dev.daemon.git_tokens import with_tokens
from auto_dev.daemon.service import Daemon
from auto_dev.daemon.settings import Settings
from auto_dev.errors import ForgeError
from auto_dev.forge import make_credentials, make_forge
from auto_dev.gates.credentials.scanner import Credentials
from auto_dev.nodes.context import RepositoryFacts, Services
from auto_dev.notify import slack_link
from auto_dev.notify.outbox import Deliverer
from auto_dev.notify.registry import make_channels
from auto_dev.place import DATABASE_URL, cache_folder, database_folder
from auto_dev.processes import boot_id
from auto_dev.sandbox.base import Sandbox, SandboxError, Unconfined
from auto_dev.sandbox.probe import Problem, find
from auto_dev.secrets import secret, shield
from auto_dev.store.database import Database
from auto_dev.worktrees.boxed import agent_git as boxed_git
from auto_dev.worktrees.mirror import Mirror
from auto_dev.worktrees.repository import UserRepository
from auto_dev.worktrees.worktree import Worktrees

log = logging.getLogger(__name__)


def new_daemon_id() -> str:
    """An id that no other daemon has: host, process and chance."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{random.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found fit before anything starts."""

    config: Config
    repository: UserRepository


async def check(settings: Settings) -> Checked:
    """Look at configuration and repository. Raises AutoDevError for the first thing that does not fit."""
    config = configuration.load(settings.root, settings.overrides)
    repository = await look(settings.root, settings.state_home, config)
    if config.forge.kind == "github" and repository.push is None:
        raise ForgeError(
            f"there is no remote {config.project.remote!r} to push to",
            where="project.remote",
            mend='Add the remote, or set kind = "none" in [forge].',
        )
    return Checked(config, repository)


def sandbox_for(settings: Settings) -> Sandbox:
    """The sandbox of this machine, or none where the owner asked for none. Raises SandboxError when there is none."""
    if not settings.sandbox:
        return Unconfined()
    found = find(os.environ)
    if isinstance(found, Problem):
        raise SandboxError(found.what, mend=found.mend)
    return found


def short_folder() -> str:
    """Where unix sockets can lie: a path of 108 bytes is all that they have."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    return given if given and len(given) < 40 and os.access(given, os.W_OK) else "/tmp"  # noqa: S108 (in a folder of its own)


@asynccontextmanager
async def daemon(settings: Settings, daemon_id: str) -> AsyncIterator[Daemon]:
    """A daemon, ready to ``serve``; everything it uses is closed afterwards."""
    shield()
    checked = await check(settings)
    config, place = checked.config, settings.place
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(
            Database.open(
                os.environ.get(DATABASE_URL), database_folder(settings.state_home), size=config.run.max_parallel * 2 + 6
            )
        )
        channels = make_channels(config.notify, secret)
        for channel in channels.values():
            stack.push_async_callback(channel.close)
        credentials = make_credentials(config.forge, secret, clock=now)
        if credentials is not None:
            stack.push_async_callback(credentials.close)
        forge = make_forge(config.forge, credentials, place.pulls, clock=now)
        stack.push_async_callback(forge.close)
        sandbox = sandbox_for(settings)
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="auto-dev-", dir=short_folder())))
        gateway = await stack.enter_async_context(Gateway(secret, now))
        repository = with_tokens(checked.repository, credentials, config.forge.api_url)
        mirror = Mirror(place.state, repository, git_of(settings.state_home))
        notes = [*await mirror.ensure()]
        tips = await mirror.refresh()
        notes += [note for tip in tips.values() for note in tip.warnings]
        for note in notes:
            log.warning(note, extra={"action": "repository_note"})
        services = Services(
            place=place,
            db=db,
            repository=RepositoryFacts(repository.base_branch, repository.push),
            mirror=mirror,
            worktrees=Worktrees(
                mirror,
                place.worktrees,
                agent_git=boxed_git(sandbox, mirror.git, place.state / "boxes") if sandbox.confines else None,
            ),
            credentials=Credentials(cache_folder(settings.state_home) / "credential-rules"),
            ledger=Ledger(db.pool, settings.project_id, now),
            gateway=gateway,
            sandbox=sandbox,
            sockets=sockets,
            forge=forge,
            make_agent=lambda config: make_agent(config, secret),
            prices=lambda policy: price_table(policy.budget.prices, now),
            channels=tuple(channels),
            clock=now,
            daemon_id=daemon_id,
            boot_id=boot_id(),
            pid=os.getpid(),
            dependencies=config.project.dependencies,
        )
        running: Daemon
        deliverer = Deliverer(
            db.pool, settings.project_id, channels, now, quiet=lambda at: quiet_hours(running.config, at)
        )
        running = Daemon(settings, services, deliverer, config, socket.gethostname())
        attend(running)
        yield running


def attend(running: Daemon) -> None:
    """Let the daemon take answers from Slack, where that is configured. Raises NotifyError for a missing secret."""
    notify, services = running.config.notify, running.services
    if (mode := slack_link.plan(notify, secret).mode) != "off":
        desk = SlackDesk(services.db, services.place.id, lambda: running.config, now)
        running.attended = slack_link.open_link(notify, secret, desk, now, mode).run


async def with_signals(running: Daemon) -> None:
    """Make SIGTERM, SIGINT and SIGHUP end the daemon: the first one gently, the second one at once."""
    import signal

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, running.stop)
