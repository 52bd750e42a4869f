"""``auto-dev doctor``: what would go wrong, found before the night."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from pathlib import Path

from auto_dev import __version__
from auto_dev import config as configuration
from auto_dev.agents.registry import check_agent
from auto_dev.commands import output
from auto_dev.commands.checks import check_forge, check_policy, check_remote
from auto_dev.config import Config
from auto_dev.daemon.checkout import git_of, look, warnings_about
from auto_dev.errors import AutoDevError, ExitCode
from auto_dev.notify.registry import make_channels
from auto_dev.place import DATABASE_URL, database_folder, state_home
from auto_dev.secrets import secret
from auto_dev.store.database import Database
from auto_dev.text import line
from auto_dev.worktrees.repository import find_root

DISK_NEEDED = 1024**3  # bytes
MEMORY_WANTED = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``level``: ok | warning | error."""

    name: str
    level: str
    text: str


async def doctor(*, as_json: bool) -> ExitCode:
    """Look at everything; exit 1 when something would stop the work."""
    findings = [
        _python(),
        _machine(),
        await _git(),
        *await _project(),
        await _found("database", _database()),
        _sandbox(),
    ]
    if as_json:
        output.emit_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            mark = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}[finding.level]
            output.say(f"{mark}  {finding.name}: {line(finding.text, 2000)}")
    return ExitCode.ERROR if any(finding.level == "error" for finding in findings) else ExitCode.DONE


async def _found(name: str, examination: Awaitable[str]) -> Finding:
    try:
        return Finding(name, "ok", await examination)
    except AutoDevError as error:
        return Finding(name, "error", str(error))


async def _project() -> list[Finding]:
    """What concerns this repository; what cannot be looked at because of an error before it is left out."""
    try:
        root = await find_root(Path.cwd(), git=git_of(state_home()))
    except AutoDevError as error:
        return [Finding("repository", "error", str(error))]
    try:
        config = configuration.load(root)
    except AutoDevError as error:
        return [Finding("configuration", "error", str(error))]
    checks = {"repository": _repository, "configuration": _configuration, "agent": _agent, "forge": _forge,
              "channels": _channels}  # fmt: skip
    return [await _found(name, examine(root, config)) for name, examine in checks.items()]


def _python() -> Finding:
    return Finding("auto-dev", "ok", f"{__version__} on Python {sys.version.split()[0]}")


def _machine() -> Finding:
    import psutil

    home = state_home()
    existing = next(path for path in (home, *home.parents) if path.exists())
    free, memory = shutil.disk_usage(existing).free, psutil.virtual_memory().available
    text = f"{free / 1024**3:.0f} GB of disk free at {existing}, {memory / 1024**3:.0f} GB of memory available"
    if free < DISK_NEEDED:
        return Finding("machine", "error", f"{text}; at least 1 GB of disk is needed")
    return Finding("machine", "warning" if memory < MEMORY_WANTED else "ok", text)


async def _git() -> Finding:
    import asyncio

    path = shutil.which("git")
    if path is None:
        return Finding("git", "error", "git is not installed")
    process = await asyncio.create_subprocess_exec(path, "--version", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return Finding("git", "ok", out.decode("utf-8", "replace").strip())


async def _repository(root: Path, config: Config) -> str:
    found = await look(root, state_home(), config)
    check_remote(config, found)
    remote = f"remote {config.project.remote}" if found.push else "no remote: branches stay local"
    return "; ".join((f"{root}, base branch {found.base_branch}, {remote}", *warnings_about(found)))


async def _configuration(root: Path, config: Config) -> str:
    check_policy(config, root)
    if not (root / configuration.FILE_NAME).exists():
        return "no auto-dev.toml: the defaults hold (`auto-dev init` writes one)"
    names = ", ".join(gate.name for gate in config.gates.command) or "none: nothing runs the project's tests"
    return f"auto-dev.toml is fit; commands that judge the work: {names}"


async def _agent(root: Path, config: Config) -> str:
    check_agent(config.agent, root, secret)
    model = f", model {config.agent.model}" if config.agent.model else ""
    return f"{config.agent.kind}{model}"


async def _forge(root: Path, config: Config) -> str:
    await check_forge(config, root)
    return f"GitHub, {config.forge.repository}" if config.forge.kind == "github" else "none: pull requests stay local"


async def _channels(_root: Path, config: Config) -> str:
    channels = make_channels(config.notify, secret)
    for channel in channels.values():
        await channel.close()
    return ", ".join(channels) or "none: what happens is only told by `auto-dev status`"


async def _database() -> str:
    url = os.environ.get(DATABASE_URL) or None
    async with Database.open(url, database_folder(state_home()), size=2) as db:
        row = await db.fetch_one("SELECT current_setting('server_version') AS version")
    return f"PostgreSQL {row['version'] if row else '?'} ({'yours' if url else 'embedded'})"


def _sandbox() -> Finding:
    return Finding("sandbox", "warning", "this version has none: agents run with your rights (start with --no-sandbox)")
