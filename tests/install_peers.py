"""Installs what tests drive, in pinned versions: agents (``./dev agents``), stand-ins (``./dev peers``).

Users install agents as these say themselves; what is here is what the adapters were tried with.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auto_dev.errors import AgentError

_NODE: Final = 20  # the oldest major version that the npm packages below run on


@dataclass(frozen=True, slots=True)
class Npm:
    """A package of npm. ``program`` is a path in node_modules; ``prepare`` a script there that is run with node."""

    package: str
    version: str
    integrity: str
    program: str
    prepare: str = ""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package of PyPI in a virtual environment of its own. ``alone``: nothing that it depends on is needed."""

    package: str
    version: str
    hashes: tuple[str, ...]
    program: str
    alone: bool = False


AGENTS: Final[dict[str, Npm | Wheel]] = {
    "claude": Wheel(
        "claude-agent-sdk",
        "0.2.186",
        (
            "0099f4701569b7a625ef7a9c097577cf203671b5f793fec1697192d21c0be6f5",
            "16cb01af8309d371aae7c214b69d1a85f283a5aed06fc16054c1bc356c92f7a3",
            "2cffab71ff508634e2a6841edbcaf0d6ac3cd698e2378967ff4ffceba1d2f1bd",
            "3aedbd01e5727283339362a544506f05cc19863a3b4c26bb9e1656d3e3940c3d",
            "4f98e05618a955fc49190465b4eb01cb3c2fca6e0b9319ee6e6c6dd042619bc6",
            "b68eefc87a966ec94d1d7d51ee97c01cd9849b8cef9da2e00066086a091c2716",
        ),
        "lib/python3.*/site-packages/claude_agent_sdk/_bundled/claude",
        alone=True,
    ),
    "codex": Npm(
        "@openai/codex",
        "0.169.0",
        "sha512-KhzYlkKPxoNssR8CEm45IjqnFWn7UtlF4CiD3tOJPea51xBs7MaHy0UQG9GSbCqk6Lrjn5QdJDV0QD1/FgWlGw==",
        ".bin/codex",
    ),
    "opencode": Npm(
        "opencode-ai",
        "1.18.33",
        "sha512-58P1ffLRXiAY4QeoABqUjqf6DEzm1ihpovvn9Ad+oOLbLiwK/rf88wruT9IATJ7AtNjmi8iA7pC8tN4o5y799Q==",
        "opencode-ai/bin/opencode.exe",
        prepare="opencode-ai/postinstall.mjs",
    ),
    "gemini": Npm(
        "@google/gemini-cli",
        "0.61.0",
        "sha512-dbQ9A0qBtFJNi6XBkHvfZ6Azpn6PNgH/P8h2MZ67RLlX8hSAVjup39CRWqdRxZv7YXIuhrFaytr8y0jKnkoxnQ==",
        "@google/gemini-cli/bundle/gemini.js",
    ),
    "qwen": Npm(  # the newest version that runs on node 20
        "@qwen-code/qwen-code",
        "0.15.10",
        "sha512-A1rAUg7TTO62yuwogzEstMWLVxQ4n4JO26k9t6s93Ed14svp7W+7WEAAZhUMmxPf/q9xQQW7LwX48cuQcgKDBQ==",
        "@qwen-code/qwen-code/cli.js",
    ),
    "aider": Wheel(
        "aider-chat",
        "0.86.2",
        (
            "64f6a0c66c9f4633ad9f479bca3e64ebcba02b9da03c6b604b74a44736b2416e",
            "f38a9d322f5609f0c13af82d50c6a11170185b3fdf26956e4a7e89ba19819159",
        ),
        "bin/aider",
    ),
    "claude-agent-acp": Npm(
        "@agentclientprotocol/claude-agent-acp",
        "0.49.0",
        "sha512-AXwPU9fgPDmaJiDbPG80gAVSTF2F/3ANlsG3NtYeSBjv9fA6PeSEwkrMPt0JWwoHaPiYzjAe0IA5dWadMFh4kA==",
        ".bin/claude-agent-acp",
    ),
}
PEERS: Final[dict[str, Npm | Wheel]] = {
    "local-slack": Npm(
        "local-slack-linux-x64",
        "0.1.8",
        "sha512-2BCTKxKajjZNWCSCj66Jq5VDScUDNpGZ1lA3281I8RvpDE4/ULCwC26TlcW6/4sPbSTs02Q3KjTiltJp3ZBEvg==",
        "local-slack-linux-x64/bin/local-slack",
    ),
    "emulate": Npm(  # the registry's newer ones are another package, or want a newer Node
        "emulate",
        "0.11.2",
        "sha512-BHs1rG/yPQ4kM+9aUz7fg4MDn0MshxOs0Ch2ciuNFPsN4PfCxQWP/9DGFZx+h+RvcIwX5n+hV308Ba7SxBc6nQ==",
        ".bin/emulate",
    ),
    "prism": Npm(  # the newest version that runs on node 20
        "@stoplight/prism-cli",
        "5.14.2",
        "sha512-S/x47zQa7NgoGAD0Q1JlijV7GRDd1zP/FcIpxSh+cJRUUImfALJJm1R3ONLweP97oG/b9BrwRyC+0GNYuzrviw==",
        ".bin/prism",
    ),
}
RECIPES: Final = {**AGENTS, **PEERS}


def install(names: Sequence[str], folder: Path) -> list[str]:
    """Install ``names`` below ``folder``, their programs in its ``bin``; returns a line for each.

    What is there already in the wanted version stays. Raises AgentError.
    """
    if unknown := [name for name in names if name not in RECIPES]:
        raise AgentError(f"there is no {unknown[0]!r}", mend=f"Known are {', '.join(RECIPES)}.")
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    return [_install(name, RECIPES[name], folder) for name in names]


def _install(name: str, recipe: Npm | Wheel, folder: Path) -> str:
    place, stamp = folder / name, folder / name / ".installed"
    link, told = folder / "bin" / name, f"{name} {recipe.version}"
    if stamp.is_file() and stamp.read_text("utf-8") == repr(recipe) and link.exists():
        return f"{told} is there"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    program = _npm(recipe, place) if isinstance(recipe, Npm) else _wheel(recipe, place)
    link.unlink(missing_ok=True)
    link.symlink_to(Path("..") / program.relative_to(folder))
    stamp.write_text(repr(recipe), "utf-8")
    return f"{told} installed"


def _npm(recipe: Npm, place: Path) -> Path:
    _check_node()
    named = f"{recipe.package}@{recipe.version}"
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--save-exact", "--loglevel=error"]
    _run(["npm", "install", "--prefix", str(place), *options, named])
    lock = json.loads((place / "package-lock.json").read_text("utf-8"))
    found = lock["packages"][f"node_modules/{recipe.package}"]["integrity"]
    if found != recipe.integrity:
        raise AgentError(f"{named} is not what it was: npm has {found}, wanted is {recipe.integrity}")
    modules = place / "node_modules"
    if recipe.prepare:
        _run(["node", str(modules / recipe.prepare)])
    return modules / recipe.program


def _wheel(recipe: Wheel, place: Path) -> Path:
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(python)]
    pinned = place / "requirement.txt"
    named = f"{recipe.package}=={recipe.version}"
    pinned.write_text(" ".join([named, *(f"--hash=sha256:{each}" for each in recipe.hashes)]) + "\n", "utf-8")
    _run([sys.executable, "-m", "uv", "venv", "-q", "--allow-existing", str(place)])
    _run([*pip, "--no-deps", "--require-hashes", "-r", str(pinned)])
    if not recipe.alone:
        _run([*pip, named])  # what it depends on; itself is there already
    found = sorted(place.glob(recipe.program))
    if not found:
        raise AgentError(f"{named} has no {recipe.program}", mend="Its wheel for this platform may hold no program.")
    return found[0]


def _check_node() -> None:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise AgentError("node and npm are not installed", mend=f"Install Node {_NODE} or newer.")
    said = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    version = re.match(r"v(\d+)", said)
    if version is None or int(version[1]) < _NODE:
        raise AgentError(f"node is {said.strip()}, too old", mend=f"Install Node {_NODE} or newer.")


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]
        raise AgentError(f"`{' '.join(argv)}` failed: {' / '.join(last)}")


def main() -> None:
    """``python -m tests.install_peers agents|peers --folder FOLDER [NAME…]``"""
    parser = argparse.ArgumentParser(prog="./dev", description="Install what tests drive.")
    parser.add_argument("group", choices=("agents", "peers"), help="real agents, or stand-ins of services")
    parser.add_argument("--folder", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; without: the whole group")
    given = parser.parse_args()
    try:
        for name in given.names or (AGENTS if given.group == "agents" else PEERS):
            sys.stdout.write(f"{install([name], given.folder.resolve())[0]}\n")
            sys.stdout.flush()
    except AgentError as error:
        sys.exit(f"dev: {error}")


if __name__ == "__main__":
    main()
