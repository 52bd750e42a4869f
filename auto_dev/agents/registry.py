"""Which kinds of agents there are, and whether a configured one can work here."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from auto_dev.agents.base import AgentRunner
from auto_dev.agents.chat import ChatAgent
from auto_dev.agents.command import CommandAgent, resolve_command
from auto_dev.agents.environment import agent_env
from auto_dev.agents.models import Secrets, model_spec
from auto_dev.agents.replay import ReplayAgent
from auto_dev.config import AgentConfig
from auto_dev.errors import AgentError

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


AGENTS: Final[dict[str, Callable[[Secrets, Clock], AgentRunner]]] = {
    "command": lambda secrets, clock: CommandAgent(),  # noqa: ARG005
    "chat": ChatAgent,
    "replay": lambda secrets, clock: ReplayAgent(clock),  # noqa: ARG005
}

# A way to run them all the same until their adapters come: the brief is on stdin.
_BY_COMMAND: Final = {
    "claude-code": ["claude", "-p", "--permission-mode", "acceptEdits"],
    "codex": ["codex", "exec", "--skip-git-repo-check", "-"],
    "opencode": ["sh", "-c", 'opencode run "$(cat)"'],
    "gemini": ["gemini", "--approval-mode", "yolo"],
    "aider": ["sh", "-c", 'aider --yes-always --message-file "$AUTO_DEV_BRIEF"'],
    "qwen": ["qwen", "--approval-mode", "yolo"],
}


def make_agent(config: AgentConfig, secrets: Secrets, clock: Clock = _now) -> AgentRunner:
    """The agent of ``config``. Raises AgentError for a kind that this version has no adapter for."""
    if config.kind not in AGENTS:
        example = _BY_COMMAND.get(config.kind)
        words = ", ".join("'" + word + "'" if '"' in word else f'"{word}"' for word in example or ["./agent.sh"])
        raise AgentError(
            f"this version has no adapter for {config.kind}",
            where="agent.kind",
            mend=f'Use kind = "command" with command = [{words}].',
        )
    return AGENTS[config.kind](secrets, clock)


def check_agent(config: AgentConfig, project_root: Path, secrets: Secrets) -> None:
    """Find out before any work whether the agent can start: adapter, command, key, recordings. Raises AgentError."""
    make_agent(config, secrets)
    if config.kind == "command":
        resolve_command(config.command, project_root, agent_env(os.environ, {}))
    elif config.kind == "chat":
        model_spec(config, secrets)
    elif config.kind == "replay":
        if config.recording is None:
            raise AgentError(
                'kind = "replay" needs a folder', where="agent.recording", mend='Set recording = "recordings".'
            )
        if not (project_root / config.recording).is_dir():
            raise AgentError(f"there is no folder {project_root / config.recording}", where="agent.recording")
