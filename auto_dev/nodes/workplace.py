"""Where code that auto-dev did not write runs: in a box, with a home of its own and no way out but those listed here.

A box shows the folders of one run and nothing of the user's; the gateway and the egress proxy, which lets through what
the policy names, are reached over unix sockets. Without a sandbox (``--no-sandbox``) the same code gets the user's own
folders and network, and the gateway over TCP.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auto_dev.agents.environment import agent_env, boxed_env
from auto_dev.agents.registry import program_of
from auto_dev.config import AgentConfig
from auto_dev.errors import AutoDevError
from auto_dev.nodes.context import RunContext
from auto_dev.processes import RunTree
from auto_dev.sandbox.base import Box
from auto_dev.sandbox.hosts import Rules, entries_for
from auto_dev.sandbox.proxy import EgressProxy, proxy_env
from auto_dev.sandbox.toolchains import installation
from auto_dev.text import line
from auto_dev.worktrees import provision
from auto_dev.worktrees.folders import enter
from auto_dev.worktrees.site import Worktree

GATEWAY_PORT: Final = 8377  # inside a box, where every port is free
PROXY_PORT: Final = 8378


@dataclass(frozen=True, slots=True)
class Workplace:
    """How processes are started here, and their environment. ``refused``: hosts that the proxy turned away."""

    run_tree: RunTree
    env: Mapping[str, str]
    refused: list[str] = field(default_factory=list)
    rules: Rules = field(default_factory=Rules)

    def hint(self, story: str) -> str:
        """What a person may want to know when something failed for want of the network; "" when nothing was refused."""
        if not self.refused:
            return ""
        refused = tuple(dict.fromkeys(self.refused))
        entries = ", ".join(f'"{entry}"' for entry in entries_for(refused, self.rules))
        if not entries:
            return f"The sandbox refused {', '.join(refused)}."
        mend = f"set [sandbox] allow_hosts = [{entries}] and call `auto-dev retry {story}`"
        return f"The sandbox refused {', '.join(refused)}; to let it through, {mend}."


@dataclass(frozen=True, slots=True)
class Rooms:
    """The folders of one box. ``home`` is made; ``read_only`` are paths inside a writable one.

    ``looks_only``: also what the policy lets every box write (``[sandbox] write``) can only be read.
    """

    home: Path
    writable: tuple[Path, ...]
    readable: tuple[Path, ...] = ()
    read_only: tuple[Path, ...] = ()
    looks_only: bool = False


def worktree_rooms(
    context: RunContext, worktree: Worktree, config: AgentConfig | None = None, home: Path | None = None
) -> Rooms:
    """What an agent (by default the story's own, or the setup command) in its worktree works with.

    Every writable folder lies in one that only the host writes, so that none can be replaced by a link.
    """
    program = command_files(context, config or context.policy.agent)
    return Rooms(
        home=home or context.home,
        writable=(worktree.path, worktree.agent_git_dir, context.agent_dir),
        readable=(context.services.mirror.path / "objects", context.briefs, *program),
        read_only=(worktree.path / ".git",),
    )


def command_files(context: RunContext, config: AgentConfig) -> tuple[Path, ...]:
    """What an agent's own program consists of. Of a command only the files that it names: they may lie in the user's
    checkout, among others that are none of the agent's business; ``[sandbox] read`` shows more. Raises AgentError.
    """
    words = program_of(config, context.services.place.root)
    if config.kind not in ("command", "acp"):
        return installation(Path(words[0])) if words else ()
    return tuple(path for word in words if (path := Path(word)).is_absolute() and path.is_file())


def checkout_rooms(context: RunContext, folder: Path, room: Path) -> Rooms:
    """What a command that judges a clean checkout works with: nothing that the agent ever wrote but the commit."""
    home = room / "home"
    return Rooms(home, writable=(folder, room), readable=(context.services.mirror.path / "objects",))


@asynccontextmanager
async def workplace(context: RunContext, rooms: Rooms, gateway: Path | None = None) -> AsyncIterator[Workplace]:
    """A place to start processes in, for as long as the block lasts. ``gateway``: the socket of the run's grant."""
    services, policy = context.services, context.policy.sandbox
    rooms.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in (rooms.home, *rooms.writable):
        enter(folder)  # the agent may have closed it in an earlier turn
    if not services.sandbox.confines:
        yield Workplace(services.sandbox.enter(Box(rooms.home)), agent_env(os.environ, {}))
        return
    refused: list[str] = []
    env = boxed_env(os.environ, rooms.home)
    async with AsyncExitStack() as stack:
        forwards = {GATEWAY_PORT: gateway} if gateway is not None else {}
        rules = Rules.of(policy.allow_hosts)
        # Also where nothing is allowed: a refusal that names the host tells more than a name that does not resolve.
        proxy = await stack.enter_async_context(EgressProxy(rules, on_refused=refused.append))
        socket = new_socket(services.sockets)
        await proxy.listen(socket)
        forwards[PROXY_PORT] = socket
        env |= proxy_env(PROXY_PORT)
        shared = tuple(Path(path).expanduser() for path in policy.write)
        read = tuple(Path(path).expanduser() for path in policy.read)
        box = Box(
            home=rooms.home,
            writable=(*rooms.writable, *(() if rooms.looks_only else shared)),
            readable=(*rooms.readable, *read, *(shared if rooms.looks_only else ())),
            read_only=rooms.read_only,
            forwards=forwards,
            processes=policy.processes,
            memory_bytes=None if policy.memory_gb is None else int(policy.memory_gb * 1024**3),
        )
        yield Workplace(services.sandbox.enter(box), env, refused, rules)


async def provision_worktree(context: RunContext, worktree: Worktree) -> Mapping[str, str]:
    """Make the worktree usable (copied files, ports, setup command); returns what children's environment needs.

    Raises AutoDevError with the end of its output when the setup command fails.
    """
    async with workplace(context, worktree_rooms(context, worktree)) as place:
        made = await provision.provision(
            context.services.worktrees,
            worktree,
            context.policy.setup,
            context.agent_dir,
            logs=context.path("."),
            env=place.env,
            run=place.run_tree,
            on_start=context.record,
        )
        _require_setup(made, context, place)
    return made.env


async def provision_checkout(context: RunContext, folder: Path, room: Path, label: str) -> Mapping[str, str]:
    """The same for a clean checkout that commands judge; ``room`` is theirs to write."""
    async with workplace(context, checkout_rooms(context, folder, room)) as place:
        made = await provision.provision_checkout(
            context.services.place.root,
            folder,
            context.policy.setup,
            room,
            logs=context.path("."),
            env=place.env,
            label=label,
            run=place.run_tree,
            on_start=context.record,
        )
        _require_setup(made, context, place)
    return made.env


def _require_setup(made: provision.Provisioned, context: RunContext, place: Workplace) -> None:
    """Raise AutoDevError when the setup command of a folder failed, with the end of what it said."""
    if made.ok:
        return
    with made.log.open("rb") as file:
        file.seek(max(file.seek(0, 2) - 2000, 0))
        end = file.read().decode("utf-8", "replace")
    finished = made.setup
    how = finished.stopped or f"exit status {finished.exit_code}" if finished else ""
    raise AutoDevError(
        f"the setup command failed ({how}): {line(end, 2000)[-300:]}",
        where=f"[setup] command = {context.policy.setup.command!r}",
        mend=f"{place.hint(context.story.id)} Its whole output is in {made.log}.".strip(),
    )


def new_socket(folder: Path) -> Path:
    """A path for a unix socket: short, for they end at 108 bytes."""
    return folder / f"{secrets.token_hex(6)}.sock"
