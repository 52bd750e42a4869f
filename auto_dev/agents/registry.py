"""Which kinds of agents there are, and whether a configured one can work here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from auto_dev.agents.acp import AcpAgent, check_acp
from auto_dev.agents.aider import AiderCli
from auto_dev.agents.base import AgentRunner
from auto_dev.agents.chat import ChatAgent
from auto_dev.agents.claude_code import ClaudeCodeCli
from auto_dev.agents.cli import Cli, HasLogin
from auto_dev.agents.codex import CodexCli
from auto_dev.agents.command import CommandAgent, resolve_command
from auto_dev.agents.gemini import GeminiCli
from auto_dev.agents.loop import CliAgent, own_login
from auto_dev.agents.models import Secrets, check_model
from auto_dev.agents.opencode import OpenCodeCli
from auto_dev.agents.programs import find_program, host_env, version_of
from auto_dev.agents.qwen import QwenCli
from auto_dev.agents.replay import ReplayAgent
from auto_dev.config import AgentConfig
from auto_dev.errors import AgentError
from auto_dev.sandbox.hosts import Rules

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


CLIS: Final[dict[str, Callable[[], Cli]]] = {
    "claude-code": ClaudeCodeCli,
    "codex": CodexCli,
    "opencode": OpenCodeCli,
    "gemini": GeminiCli,
    "qwen": QwenCli,
    "aider": AiderCli,
}
AGENTS: Final[dict[str, Callable[[Secrets, Clock], AgentRunner]]] = {
    "acp": lambda secrets, clock: AcpAgent(clock),  # noqa: ARG005
    "command": lambda secrets, clock: CommandAgent(),  # noqa: ARG005
    "chat": lambda secrets, clock: ChatAgent(clock),  # noqa: ARG005
    "replay": lambda secrets, clock: ReplayAgent(clock),  # noqa: ARG005
}


def make_agent(config: AgentConfig, secrets: Secrets, clock: Clock = _now) -> AgentRunner:
    """The agent of ``config``."""
    if config.kind in CLIS:
        return CliAgent(CLIS[config.kind](), secrets, clock)
    return AGENTS[config.kind](secrets, clock)


def check_agent(
    config: AgentConfig, project_root: Path, secrets: Secrets, allow_hosts: Sequence[str] | None = None
) -> None:
    """Find out before any work whether the agent can start: program, login, model, recordings. Raises AgentError.

    ``allow_hosts`` is what its sandbox lets through; None where there is no sandbox.
    """
    if config.kind in CLIS or config.kind in ("command", "acp"):
        program_of(config, project_root)
    if config.kind in CLIS and config.mode == "subscription":
        _check_login(CLIS[config.kind](), secrets, allow_hosts)
    elif config.kind == "chat":
        check_model(config)
    elif config.kind == "replay":
        if config.recording is None:
            raise AgentError(
                'kind = "replay" needs a folder', where="agent.recording", mend='Set recording = "recordings".'
            )
        if not (project_root / config.recording).is_dir():
            raise AgentError(f"there is no folder {project_root / config.recording}", where="agent.recording")


def program_of(config: AgentConfig, project_root: Path) -> list[str]:
    """The argv that begins the agent's program, as found here and now; [] for a kind that has none. Raises AgentError.

    A sandbox must show the first word's installation, which may lie outside of PATH.
    """
    if config.kind in CLIS:
        return find_program(CLIS[config.kind](), config.command, project_root, host_env())
    if config.kind == "acp":
        check_acp(config.command, config.mode)
    return resolve_command(config.command, project_root, host_env()) if config.kind in ("acp", "command") else []


async def detect(config: AgentConfig, project_root: Path) -> tuple[Path, str] | None:
    """Where the agent's program is and what version it has ("" if it does not say); None for a kind that has none.

    Raises AgentError that says how to install it.
    """
    words = program_of(config, project_root)
    if not words:
        return None
    program = Path(words[0])
    return program, await version_of(words[:1], host_env()) if config.kind in CLIS else ""


def _check_login(cli: Cli, secrets: Secrets, allow_hosts: Sequence[str] | None) -> None:
    own_login(cli, secrets)
    if allow_hosts is None or not isinstance(cli, HasLogin):
        return
    rules = Rules.of(allow_hosts)
    missing = [host for host in cli.hosts if not rules.allow(host, 443)]
    if missing:
        wanted = ", ".join(f'"{host}"' for host in missing)
        raise AgentError(
            f"with your own login {cli.name} talks to {', '.join(missing)}, which its sandbox does not let through",
            where="sandbox.allow_hosts",
            mend=f"Set allow_hosts = [{wanted}], with what is in it already.",
        )
