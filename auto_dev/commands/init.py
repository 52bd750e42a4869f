"""``auto-dev init``: a configuration with what was found in the repository, to be read and changed."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from auto_dev.commands import output
from auto_dev.commands.checks import installed_agents
from auto_dev.config import FILE_NAME, parse
from auto_dev.daemon.checkout import git_of
from auto_dev.errors import AutoDevError, ExitCode
from auto_dev.place import state_home
from auto_dev.sandbox.hosts import PRESETS
from auto_dev.worktrees.repository import find_root, inspect

_GITHUB = re.compile(r"github\.com[:/]([A-Za-z0-9._-]+/[A-Za-z0-9._-]+?)(?:\.git)?/?$")
# A file of the project → what its tools download from, as a preset of [sandbox] allow_hosts.
HOSTS: Final[Mapping[str, tuple[str, ...]]] = {
    "pypi": ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "Pipfile", "uv.lock", "poetry.lock"),
    "npm": ("package.json",),
    "crates": ("Cargo.toml",),
    "go": ("go.mod",),
    "rubygems": ("Gemfile",),
    "maven": ("pom.xml", "build.gradle", "build.gradle.kts"),
}
_KEY_HINT: Final = {"claude-code": "ANTHROPIC_API_KEY", "codex": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}
_STORY_FOLDERS = ("stories", "plans", "docs/stories", "plans/stories", "work_orders", "backlog")


async def init(*, force: bool, as_json: bool) -> ExitCode:
    """Write ``auto-dev.toml``; an existing one is only replaced with ``force``."""
    git = git_of(state_home())
    root = await find_root(Path.cwd(), git=git)
    target = root / FILE_NAME
    if target.exists() and not force:
        raise AutoDevError("it exists already", where=str(target), mend="Change it by hand, or use --force.")
    repository = await inspect(root, git=git)
    found = detect(root, repository.base_branch, repository.push.url if repository.push else None)
    found["agent"] = installed_agent()
    text = compose(found)
    parse(text, FILE_NAME)  # what we write must be what we accept
    target.write_text(text, "utf-8")
    if as_json:
        output.emit_json({"path": str(target), "found": found})
    else:
        output.say(f"Wrote {target}")
        for text in told(found):
            output.say(f"  {text}")
        ask = "auto-dev start" if found["stories"] else "auto-dev start DIR"
        output.say(f"Read it, commit it, then run `auto-dev doctor` and `{ask}`.")
    return ExitCode.DONE


def told(found: Mapping[str, Any]) -> list[str]:
    """What was found, a line each, as a person reads it."""
    words = {
        "base branch": found["base_branch"],
        "stories": found["stories"] or "no folder of them: name it as DIR, or set [project] stories",
        "agent": found["agent"] or "none is installed: set [agent]",
        "setup": found["setup"] or "none",
        **{f"gate {name}": command for name, command in found["commands"].items()},
        "hosts let through": ", ".join(found["hosts"]) or "none",
        "forge": f"GitHub, {found['repository']}" if found["repository"] else "none: pull requests stay local",
    }
    if not found["commands"]:
        words["gates"] = "none found: nothing would run the project's tests, set [[gates.command]]"
    return [f"{name}: {value}" for name, value in words.items()]


def detect(root: Path, base_branch: str, remote_url: str | None) -> dict[str, Any]:
    """What the files in ``root`` tell: commands that judge the work, setup, stories, forge."""
    commands, setup = detect_commands(root)
    match = _GITHUB.search(remote_url or "")
    return {
        "base_branch": base_branch,
        "stories": next((name for name in _STORY_FOLDERS if (root / name).is_dir()), ""),
        "commands": commands,
        "setup": setup,
        "repository": match[1] if match else "",
        "hosts": [preset for preset, files in HOSTS.items() if any((root / file).is_file() for file in files)],
        "agent": "",
    }


def detect_commands(root: Path) -> tuple[dict[str, str], str]:
    """The commands that check the project, by name, and the command that prepares a fresh checkout."""
    if (root / "package.json").is_file():
        return _node(root)
    if (root / "pyproject.toml").is_file() or (root / "setup.py").is_file():
        return _python(root)
    if (root / "go.mod").is_file():
        return {"tests": "go test ./...", "vet": "go vet ./..."}, ""
    if (root / "Cargo.toml").is_file():
        return {"tests": "cargo test"}, ""
    makefile = root / "Makefile"
    if makefile.is_file() and re.search(r"^test:", makefile.read_text("utf-8", "replace"), re.MULTILINE):
        return {"tests": "make test"}, ""
    return {}, ""


def _node(root: Path) -> tuple[dict[str, str], str]:
    try:
        scripts = json.loads((root / "package.json").read_text("utf-8", "replace")).get("scripts", {})
    except (ValueError, AttributeError):
        scripts = {}
    tools = {
        "pnpm-lock.yaml": ("pnpm", "pnpm install --frozen-lockfile"),
        "yarn.lock": ("yarn", "yarn install --immutable"),
    }
    runner, setup = next((v for k, v in tools.items() if (root / k).is_file()), ("npm", "npm ci"))
    names = {"test": "tests", "lint": "lint", "typecheck": "types", "build": "build"}
    return {label: f"{runner} run {script}" for script, label in names.items() if script in scripts}, setup


def _python(root: Path) -> tuple[dict[str, str], str]:
    try:
        tools = tomllib.loads((root / "pyproject.toml").read_text("utf-8", "replace")).get("tool", {})
    except (OSError, tomllib.TOMLDecodeError):
        tools = {}
    uv = (root / "uv.lock").is_file()
    prefix = "uv run " if uv else ""
    pytest = "pytest" in tools or (root / "conftest.py").is_file() or (root / "tests/conftest.py").is_file()
    commands = {"tests": f"{prefix}pytest -q" if pytest or uv else "python3 -m unittest"}
    if "ruff" in tools:
        commands["lint"] = f"{prefix}ruff check ."
    if "mypy" in tools:
        commands["types"] = f"{prefix}mypy ."
    return commands, "uv sync --frozen" if uv else ""


def installed_agent() -> str:
    """The kind of the first coding agent that is on PATH; "" when there is none."""
    return next(iter(installed_agents()), "")


def compose(found: dict[str, Any]) -> str:
    """The file's text."""
    lines = [
        "# auto-dev works by these rules. All keys are in docs/configuration.md.",
        "[project]",
        f"base_branch = {json.dumps(found['base_branch'])}",
        f"stories = {json.dumps(found['stories'])}" if found["stories"] else '# stories = "plans"',
        "",
        *_agent_lines(found["agent"]),
        "",
        "[budget]                        # US dollars; nothing is sent that would cross a limit",
        "daily = 50",
        "weekly = 200",
        "story = 10",
        "",
        "[run]",
        "max_parallel = 3",
        "repair_attempts = 2",
        "",
    ]
    if found["setup"]:
        lines += ["[setup]                         # once per worktree", f"command = {json.dumps(found['setup'])}", ""]
    for name, command in found["commands"].items():
        lines += ["[[gates.command]]", f"name = {json.dumps(name)}", f"run = {json.dumps(command)}", ""]
    lines += _review_lines(found["agent"])
    lines += _sandbox_lines(found["hosts"])
    if found["repository"]:
        lines += ["[forge]", 'kind = "github"', f"repository = {json.dumps(found['repository'])}", ""]
    else:
        lines += [
            "[forge]",
            'kind = "none"                   # branches, patch series and texts stay on this machine',
            "",
        ]
    lines += [
        "# Messages, and answers by a tap: docs/slack.md. Mail and other services: docs/configuration.md.",
        "# [notify]",
        '# channels = ["slack"]',
        "# [notify.slack]",
        '# channel = "#auto-dev"',
        '# deciders = ["U012AB3CD"]       # whose taps count',
        "",
    ]
    return "\n".join(lines)


def _agent_lines(kind: str) -> list[str]:
    if not kind:
        return [
            "[agent]",
            "# Any program that reads a brief on stdin, works in the current folder and leaves a report; or a coding",
            "# agent that is installed: claude-code, codex, opencode, gemini, aider, qwen.",
            'kind = "command"',
            'command = ["./agent.sh"]',
        ]
    lines = ["[agent]", f"kind = {json.dumps(kind)}".ljust(32) + "# it is installed here"]
    lines.append('# model = "…"                   # default: the agent\'s own; its price must be known')
    if key := _KEY_HINT.get(kind):
        lines.append(f'# mode = "subscription"         # your own login in the place of {key}')
    return lines


def _review_lines(kind: str) -> list[str]:
    """A coding agent reviews, too; a program of one's own would have to know how, so there it is only shown."""
    text = [
        "# Another look at each finished change, with fresh eyes and read-only: faults go back before you see them. It",
        "# costs one reading of the change, once for each time that the work is sent back. Take it out to save that.",
        "[gates.review]",
        '# reviewers = [{ kind = "codex" }]  # default: the agent above',
        "",
    ]
    return text if kind else [f"# {line}" if line == "[gates.review]" else line for line in text]


def _sandbox_lines(hosts: list[str]) -> list[str]:
    chosen = json.dumps(hosts)
    return [
        "[sandbox]",
        "# Agents and commands run in a box: the worktree, no home, no network but the model and these hosts. A preset",
        f"# names where a package manager downloads from: {', '.join(PRESETS)}.",
        '# Other hosts are written "example.com", "*.example.com" or "localhost:8080".',
        f"allow_hosts = {chosen}" if hosts else '# allow_hosts = ["pypi"]',
        "",
    ]
