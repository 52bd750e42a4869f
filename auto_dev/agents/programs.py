"""Where an agent's program is, and what version it has."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from auto_dev.agents.cli import Cli
from auto_dev.agents.command import resolve_command
from auto_dev.agents.environment import agent_env
from auto_dev.errors import AgentError
from auto_dev.processes import run_tree
from auto_dev.text import line

_VERSION_S: Final = 60.0  # a first start of a Node program on a cold disk takes its time
_NUMBER: Final = re.compile(r"\d+\.\d+[0-9A-Za-z.+-]*")


def find_program(cli: Cli, command: Sequence[str], root: Path, env: Mapping[str, str]) -> list[str]:
    """The program's path and further words for it: of ``[agent] command`` if that is set, else as found on PATH.

    Raises AgentError that says how to install it.
    """
    if command:
        return resolve_command(command, root, env)
    for name in cli.programs:
        if found := shutil.which(name, path=env.get("PATH")):
            return [found]
    raise AgentError(f"{cli.name} is not installed: no `{cli.programs[0]}` on PATH", mend=cli.install)


async def version_of(program: Sequence[str], env: Mapping[str, str]) -> str:
    """What the program says its version is; "" when it does not say. It runs in an empty home."""
    with tempfile.TemporaryDirectory(prefix="auto-dev-version-") as folder:
        output = Path(folder) / "output"
        home = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"), folder)
        try:
            done = await run_tree(
                [*program, "--version"],
                cwd=Path(folder),
                env={**env, **home, "NO_COLOR": "1", "DISABLE_AUTOUPDATER": "1"},
                output=output,
                timeout_s=_VERSION_S,
                output_cap=65536,
            )
        except OSError as error:
            raise AgentError(f"{program[0]} cannot be executed: {error.strerror}") from None
        found = _NUMBER.search(line(await asyncio.to_thread(output.read_text, "utf-8", "replace"), 4000))
        return found[0] if found and done.exit_code == 0 else ""


def host_env() -> dict[str, str]:
    """The environment in which programs are looked up and asked for their version."""
    return agent_env(os.environ, {})
