"""``auto-dev doctor``: what would go wrong, found before the night."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from auto_dev import __version__
from auto_dev import config as configuration
from auto_dev.agents.registry import CLIS, check_agent, detect, program_of
from auto_dev.commands import output
from auto_dev.commands.checks import (
    UNBOXED_KINDS,
    VENDORS,
    check_forge,
    check_key,
    check_policy,
    check_price,
    check_remote,
    installed_agents,
    key_of,
    mend,
    unboxed,
    upstream_of,
    vendor_of,
)
from auto_dev.commands.slack_check import check_slack
from auto_dev.config import AgentConfig, Config
from auto_dev.daemon.checkout import git_of, look, warnings_about
from auto_dev.daemon.clock import now
from auto_dev.daemon.git_tokens import takes_token
from auto_dev.errors import AutoDevError, ExitCode
from auto_dev.forge import make_credentials
from auto_dev.notify.registry import make_channels
from auto_dev.place import DATABASE_URL, database_folder, state_home
from auto_dev.sandbox import probe
from auto_dev.secrets import secret
from auto_dev.store.database import Database
from auto_dev.text import line
from auto_dev.worktrees.names import display_url
from auto_dev.worktrees.repository import find_root

DISK_NEEDED = 1024**3  # bytes
MEMORY_WANTED = 4 * 1024**3
CONNECT_S = 2.0
ANSWER_S = 10.0
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_PROGRAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_SHELL_WORDS = frozenset((
    *("alias", "cd", "command", "eval", "exec", "exit", "export", "for", "if", "read", "set", "source", "time", "trap"),
    *("type", "ulimit", "umask", "unset", "until", "while", "case"),
))  # fmt: skip
TESTED = {
    "claude-code": "2.1", "codex": "0.169", "opencode": "1.18", "gemini": "0.61", "qwen": "0.15", "aider": "0.86",
}  # fmt: skip


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
    checks = {"repository": _repository, "configuration": _configuration, "agent": _agent, "agents": _agents,
              "key": _key, "price": _price, "forge": _forge, "channels": _channels}  # fmt: skip
    found = [await _found(name, examine(root, config)) for name, examine in checks.items()]
    found += await _others(root, config)
    found += await _github(root, config) if all(one.level != "error" for one in found if one.name == "forge") else []
    found += [*_commands(config), await _sandbox(config), *_hidden(root, config)]
    return [*found, *await _slack(config), *await _upstreams(config)]


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
    path = shutil.which("git")
    if path is None:
        return Finding("git", "error", "git is not installed")
    process = await asyncio.create_subprocess_exec(path, "--version", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return Finding("git", "ok", out.decode("utf-8", "replace").strip())


async def _repository(root: Path, config: Config) -> str:
    found = await look(root, state_home(), config)
    check_remote(config, found)
    remote = (f"remote {config.project.remote}",) if found.push else ()
    return "; ".join((f"{root}, base branch {found.base_branch}", *remote, *warnings_about(found)))


async def _configuration(root: Path, config: Config) -> str:
    check_policy(config, root)
    if not (root / configuration.FILE_NAME).exists():
        return "no auto-dev.toml: the defaults hold (`auto-dev init` writes one)"
    names = ", ".join(gate.name for gate in config.gates.command) or "none: nothing runs the project's tests"
    return f"auto-dev.toml is fit; commands that judge the work: {names}"


def _commands(config: Config) -> list[Finding]:
    """Commands of setup and gates whose program is not there: the first word, where it is one."""
    commands = {f"gate {gate.name}": gate.run for gate in config.gates.command}
    if config.setup.command:
        commands["setup"] = config.setup.command
    return [
        Finding(
            name, "warning", f"{program!r} is not on PATH, which {command!r} calls; install it, or mend the command"
        )
        for name, command in commands.items()
        if (program := program_in(command)) and shutil.which(program) is None
    ]


def program_in(command: str) -> str:
    """The program that a shell command calls first; "" where only a shell can tell, or for a path."""
    for word in command.split():
        if _ASSIGNMENT.match(word):
            continue
        return word if _PROGRAM.fullmatch(word) and word not in _SHELL_WORDS else ""
    return ""


def _hidden(root: Path, config: Config) -> list[Finding]:
    """A command's own files outside the repository: what lies beside them is not shown in a sandbox."""
    shown = [Path(path).expanduser() for path in config.sandbox.read]
    with suppress(AutoDevError):
        folders = dict.fromkeys(
            path.parent
            for agent in config.agents().values() if agent.kind in ("command", "acp")
            for word in program_of(agent, root)[1:]
            if (path := Path(word)).is_absolute() and path.is_file()
            and not any(path.is_relative_to(folder) for folder in (root, *shown))
        )  # fmt: skip
        return [
            Finding("sandbox", "warning", f"of {folder} the agent sees only the files that its command names; "
                    f'[sandbox] read = ["{folder}"] shows the rest')
            for folder in folders
        ]  # fmt: skip
    return []


async def _agent(root: Path, config: Config) -> str:
    return await _one_agent(root, config, config.agent)


async def _others(root: Path, config: Config) -> list[Finding]:
    """Who takes over or reviews, where the configuration names somebody."""
    names = {"agent.escalation": "escalation"}
    return [
        await _found(names.get(where, "reviewer"), _one_agent(root, config, agent))
        for where, agent in config.agents().items()
        if where != "agent"
    ]


async def _one_agent(root: Path, config: Config, agent: AgentConfig) -> str:
    check_agent(agent, root, secret, config.sandbox.allow_hosts)
    kind, model = agent.kind, f", model {agent.model}" if agent.model else ""
    found = await detect(agent, root)
    if found is None:
        return f"{kind}{model}"
    program, version = found
    tested = f", tested with {TESTED[kind]}" if kind in TESTED else ""
    said = f" {version or 'of an unknown version'}{tested}" if kind in CLIS else ""
    return f"{kind}{said}: {program}{model}"


async def _agents(_root: Path, _config: Config) -> str:
    installed = installed_agents()
    missing = ", ".join(kind for kind in CLIS if kind not in installed)
    return f"installed: {', '.join(installed) or 'none'}" + (f"; not installed: {missing}" if missing else "")


async def _forge(root: Path, config: Config) -> str:
    await check_forge(config, root)
    return f"GitHub, {config.forge.repository}" if config.forge.kind == "github" else "none: pull requests stay local"


async def _github(root: Path, config: Config) -> list[Finding]:
    """What GitHub itself says of the token or App, the repository and its base branch."""
    if config.forge.kind == "none":
        return []
    from auto_dev.forge.github import GitHubForge
    from auto_dev.forge.github_client import Patience

    patience = Patience(attempts=1, connect_s=CONNECT_S, answer_s=ANSWER_S, max_wait_s=0)
    credentials = make_credentials(config.forge, secret, clock=now, patience=patience)
    assert credentials is not None
    forge = GitHubForge(config.forge.repository or "", credentials, config.forge.api_url, clock=now, patience=patience)
    try:
        repository = await look(root, state_home(), config)
        seen = [Finding("forge", each.level, each.text) for each in await forge.examine(repository.base_branch)]
    except AutoDevError as error:
        return [Finding("forge", "error", str(error))]
    finally:
        await forge.close()
        await credentials.close()
    if repository.push and not takes_token(repository.push.url, config.forge.api_url):
        where = display_url(repository.push.url)
        seen.append(Finding("forge", "ok", f"pushes go to {where} by your own access, not with the token"))
    return seen


async def _channels(_root: Path, config: Config) -> str:
    channels = make_channels(config.notify, secret)
    for channel in channels.values():
        await channel.close()
    return ", ".join(channels) or "none: what happens is only told by `auto-dev status`"


async def _slack(config: Config) -> list[Finding]:
    """Whether messages would arrive in Slack, and answers come back."""
    if "slack" not in config.notify.channels:
        return []
    return [Finding("slack", level, text) for level, text in await check_slack(config.notify, secret)]


async def _database() -> str:
    url = os.environ.get(DATABASE_URL) or None
    async with Database.open(url, database_folder(state_home()), size=2) as db:
        row = await db.fetch_one("SELECT current_setting('server_version') AS version")
    return f"PostgreSQL {row['version'] if row else '?'} ({'yours' if url else 'embedded'})"


async def _key(_root: Path, config: Config) -> str:
    """Which keys there are, by name alone."""
    check_key(config, secret)
    if config.agent.mode == "subscription":
        return 'mode = "subscription": the agent logs in by itself, and its cost is what it reports'
    present = [key_of(vendor) for vendor in VENDORS if secret(key_of(vendor))]
    if present:
        return ", ".join(present)
    vendor = vendor_of(config.agent)
    if vendor is not None and config.agent.kind not in UNBOXED_KINDS:  # check_key wants one for the provider's own
        return f"none: {upstream_of(config, vendor)} is asked without"
    return "none: agents can ask no model of Anthropic, OpenAI or Google"


async def _price(_root: Path, config: Config) -> str:
    check_price(config)
    if config.agent.model is None:
        return "no model is configured: a request for one without a known price is refused"
    return f"the price of {config.agent.model} is known"


async def _sandbox(config: Config) -> Finding:
    found = await asyncio.to_thread(probe.find, os.environ)
    if isinstance(found, probe.Problem):
        level = "warning" if unboxed(config) else "error"
        return Finding("sandbox", level, f"{found.what}. {mend(found)}")
    said = " ".join((f"bubblewrap {'.'.join(map(str, found.version))} works.", *(remarks := probe.remarks(found))))
    return Finding("sandbox", "warning" if remarks else "ok", said)


async def _upstreams(config: Config) -> list[Finding]:
    """Whether the services that are asked can be reached: those of the agent's models, else all that have a key."""
    if unboxed(config):
        return []
    agents = [agent for agent in config.agents().values() if agent.kind not in UNBOXED_KINDS]
    urls = {upstream_of(config, vendor, agent) for agent in agents if (vendor := vendor_of(agent))}
    if any(vendor_of(agent) is None for agent in agents):
        urls |= {upstream_of(config, one) for one in VENDORS if secret(key_of(one))}
    return list(await asyncio.gather(*(_upstream(url) for url in sorted(urls))))


async def _upstream(url: str) -> Finding:
    """One TCP connection, to the service or to the proxy that leads there; nothing is sent."""
    from auto_dev.budget.gateway.upstream import proxy_for

    proxy = proxy_for(url)
    parts = urlsplit(proxy or url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 443)
    way = f" through the proxy {parts.hostname}" if proxy else ""
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError) as error:
        why = f"no answer in {CONNECT_S:g} s" if isinstance(error, TimeoutError) else error.strerror or str(error)
        return Finding("gateway", "warning", f"{url} cannot be reached{way} now: {why}")
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return Finding("gateway", "ok", f"{url} can be reached{way}")
