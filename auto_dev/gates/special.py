"""Files that act beyond the change itself: they steer CI, git, agents, package sources or auto-dev (in lower case)."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

_CI: Final = "a CI workflow"
_HOOK: Final = "a hook"
_AGENT: Final = "agent settings"
_GIT: Final = "git's own settings"
_RUNS: Final = "a file that runs by itself on developers' machines"
_REGISTRY: Final = "package registry settings"
_POLICY: Final = "auto-dev's own policy"
_OWNERS: Final = "the review rules"
_SECRETS: Final = "a file of secrets"

# A folder or file at the repository's root, and all below it.
ROOTS: Final[dict[tuple[str, ...], str]] = {
    (".github", "workflows"): _CI,
    (".github", "actions"): _CI,
    (".github", "copilot-instructions.md"): _AGENT,
    (".github", "instructions"): _AGENT,
    (".github", "prompts"): _AGENT,
    (".github", "agents"): _AGENT,
    (".github", "chatmodes"): _AGENT,
    (".github", "skills"): _AGENT,
    (".github", "hooks"): _AGENT,
    (".github", "codeowners"): _OWNERS,
    (".github", "settings.yml"): _OWNERS,
    (".github", "mergify.yml"): _OWNERS,
    ("docs", "codeowners"): _OWNERS,
    ("codeowners",): _OWNERS,
    ("agent.md",): _AGENT,
    ("crush.md",): _AGENT,
    ("warp.md",): _AGENT,
    (".gitlab", "ci"): _CI,
    (".gitlab", "codeowners"): _OWNERS,
}

# A folder of this name, wherever it lies.
FOLDERS: Final[dict[str, str]] = {
    ".circleci": _CI, ".buildkite": _CI, ".woodpecker": _CI, ".teamcity": _CI, ".forgejo": _CI, ".gitea": _CI,
    ".ci": _CI, ".azure-pipelines": _CI, ".azuredevops": _CI, ".semaphore": _CI, ".tekton": _CI, ".harness": _CI,
    ".builds": _CI, ".drone": _CI, ".jenkins": _CI,
    ".husky": _HOOK, ".githooks": _HOOK, ".git-hooks": _HOOK, ".lefthook": _HOOK, ".hooks": _HOOK,
    ".claude": _AGENT, ".codex": _AGENT, ".cursor": _AGENT, ".gemini": _AGENT, ".opencode": _AGENT, ".continue": _AGENT,
    ".windsurf": _AGENT, ".qwen": _AGENT, ".roo": _AGENT, ".kiro": _AGENT, ".clinerules": _AGENT, ".junie": _AGENT,
    ".agent": _AGENT, ".agents": _AGENT, ".amazonq": _AGENT, ".augment": _AGENT, ".goose": _AGENT, ".crush": _AGENT,
    ".factory": _AGENT, ".trae": _AGENT, ".openhands": _AGENT, ".copilot": _AGENT, ".claude-plugin": _AGENT,
    ".devcontainer": _RUNS, ".run": _RUNS, ".mise": _RUNS, ".mvn": _RUNS, ".idx": _RUNS,
    ".ssh": _SECRETS, ".gnupg": _SECRETS,
}  # fmt: skip

# A file or folder of this name in a folder of this name, wherever that lies.
INSIDE: Final[dict[tuple[str, str], str]] = {
    (".vscode", "tasks.json"): _RUNS, (".vscode", "settings.json"): _RUNS, (".vscode", "launch.json"): _RUNS,
    (".vscode", "mcp.json"): _AGENT,
    (".idea", "runconfigurations"): _RUNS, (".idea", "workspace.xml"): _RUNS, (".idea", "watchertasks.xml"): _RUNS,
    (".idea", "externaltools.xml"): _RUNS, (".zed", "tasks.json"): _RUNS, (".zed", "settings.json"): _RUNS,
    (".fleet", "run.json"): _RUNS, (".cargo", "config.toml"): _RUNS, (".cargo", "config"): _RUNS,
    (".yarn", "releases"): _RUNS, (".yarn", "plugins"): _RUNS, (".config", "mise"): _RUNS,
    (".config", "mise.toml"): _RUNS, (".config", "lefthook.yml"): _HOOK, (".config", "git"): _GIT,
    (".config", "dotnet-tools.json"): _RUNS, (".bundle", "config"): _REGISTRY, (".m2", "settings.xml"): _REGISTRY,
    ("wrapper", "gradle-wrapper.properties"): _REGISTRY, ("wrapper", "gradle-wrapper.jar"): _REGISTRY,
    (".cargo", "credentials.toml"): _SECRETS, (".cargo", "credentials"): _SECRETS, (".docker", "config.json"): _SECRETS,
    (".aws", "credentials"): _SECRETS, (".kube", "config"): _SECRETS,
}  # fmt: skip

# A file of this name, wherever it lies.
FILES: Final[dict[str, str]] = {
    ".travis.yml": _CI, ".drone.star": _CI, ".drone.jsonnet": _CI, "appveyor.yml": _CI, ".appveyor.yml": _CI,
    "cloudbuild.json": _CI, ".cirrus.star": _CI, "codemagic.yaml": _CI, "wercker.yml": _CI, ".screwdriver.yaml": _CI,
    ".mergify.yml": _OWNERS, ".kodiak.toml": _OWNERS, "bors.toml": _OWNERS,
    "prek.toml": _HOOK, ".overcommit.yml": _HOOK, "hk.pkl": _HOOK, "husky.config.js": _HOOK,
    "agents.md": _AGENT, "agents.override.md": _AGENT, "claude.md": _AGENT,
    "claude.local.md": _AGENT, "gemini.md": _AGENT, "qwen.md": _AGENT,
    ".cursorrules": _AGENT, ".cursorignore": _AGENT, ".windsurfrules": _AGENT, ".clinerules": _AGENT,
    ".goosehints": _AGENT, ".roomodes": _AGENT, ".roorules": _AGENT, ".aiderignore": _AGENT, ".mcp.json": _AGENT,
    "opencode.json": _AGENT, "opencode.jsonc": _AGENT, "crush.json": _AGENT, ".crush.json": _AGENT,
    ".gitattributes": _GIT, ".gitmodules": _GIT, ".gitconfig": _GIT, ".lfsconfig": _GIT,
    ".envrc": _RUNS, ".tool-versions": _RUNS, ".autoenv": _RUNS, ".devcontainer.json": _RUNS, ".gitpod.yml": _RUNS,
    ".gitpod.dockerfile": _RUNS, ".replit": _RUNS, "devbox.json": _RUNS, "sitecustomize.py": _RUNS,
    "usercustomize.py": _RUNS, ".pdbrc": _RUNS, ".pythonrc": _RUNS, ".gdbinit": _RUNS, ".lldbinit": _RUNS,
    ".rprofile": _RUNS, ".irbrc": _RUNS, ".pryrc": _RUNS, ".exrc": _RUNS, ".nvimrc": _RUNS, ".nvim.lua": _RUNS,
    ".lvimrc": _RUNS, ".dir-locals.el": _RUNS, ".bashrc": _RUNS, ".zshrc": _RUNS, ".profile": _RUNS,
    ".npmrc": _REGISTRY, ".yarnrc": _REGISTRY, "bunfig.toml": _REGISTRY, ".pypirc": _REGISTRY, "pip.conf": _REGISTRY,
    "pip.ini": _REGISTRY, "uv.toml": _REGISTRY, "poetry.toml": _REGISTRY, ".condarc": _REGISTRY, ".gemrc": _REGISTRY,
    "nuget.config": _REGISTRY, ".terraformrc": _REGISTRY, "terraform.rc": _REGISTRY,
    "auto-dev.toml": _POLICY,
    ".netrc": _SECRETS, "_netrc": _SECRETS, ".pgpass": _SECRETS, ".git-credentials": _SECRETS, ".htpasswd": _SECRETS,
}  # fmt: skip

# A file whose name is written in several ways, wherever it lies.
NAMES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"jenkinsfile(?:[._-].*)?|.*\.jenkinsfile"), _CI),
    (re.compile(r"(?:.*\.)?gitlab-ci(?:[._-].*)?\.ya?ml"), _CI),
    (re.compile(r"\.?azure-pipelines?(?:[._-].*)?\.ya?ml"), _CI),
    (re.compile(r"(?:\.drone|\.woodpecker|\.cirrus|\.build|bitbucket-pipelines|cloudbuild|buildspec)\.ya?ml"), _CI),
    (re.compile(r"\.pre-commit-(?:config|hooks)\.ya?ml"), _HOOK),
    (re.compile(r"\.?lefthook(?:-local)?\.(?:ya?ml|toml|json)"), _HOOK),
    (
        re.compile(r"\.?(?:huskyrc|lintstagedrc|lint-staged\.config|simple-git-hooks)(?:\.(?:[cm]?[jt]s|json|ya?ml))?"),
        _HOOK,
    ),
    (re.compile(r"\.aider\..*\.ya?ml"), _AGENT),
    (re.compile(r"\.?(?:mise|rtx)(?:\.[\w-]+)?\.toml"), _RUNS),
    (re.compile(r"\.?pnpmfile\.[cm]?js"), _RUNS),
    (re.compile(r".*\.code-workspace"), _RUNS),
    (re.compile(r"\.yarnrc\.ya?ml"), _REGISTRY),
    (re.compile(r"\.env(?:\.(?:local|prod(?:uction)?|live|stag(?:e|ing)|[\w-]+\.local))?"), _SECRETS),
)

# Lockfile → the manifests (one name or glob each) of which one must change with it.
_LOCKFILES: Final[dict[str, tuple[str, ...]]] = {
    "package-lock.json": ("package.json",),
    "npm-shrinkwrap.json": ("package.json",),
    "yarn.lock": ("package.json",),
    "pnpm-lock.yaml": ("package.json", "pnpm-workspace.yaml"),
    "bun.lock": ("package.json",),
    "bun.lockb": ("package.json",),
    "deno.lock": ("deno.json", "deno.jsonc", "package.json"),
    "uv.lock": ("pyproject.toml",),
    "poetry.lock": ("pyproject.toml",),
    "pdm.lock": ("pyproject.toml",),
    "pylock.toml": ("pyproject.toml",),
    "pipfile.lock": ("Pipfile",),
    "cargo.lock": ("Cargo.toml",),
    "go.sum": ("go.mod",),
    "go.work.sum": ("go.work", "go.mod"),
    "gemfile.lock": ("Gemfile", "*.gemspec"),
    "composer.lock": ("composer.json",),
    "mix.lock": ("mix.exs",),
    "pubspec.lock": ("pubspec.yaml",),
    "package.resolved": ("Package.swift",),
    "gradle.lockfile": ("build.gradle", "build.gradle.kts", "libs.versions.toml"),
    "packages.lock.json": ("*.csproj", "*.fsproj", "Directory.Packages.props"),
    "flake.lock": ("flake.nix",),
}

DATA_FILES: Final = frozenset(
    (".md", ".txt", ".json", ".toml", ".yml", ".yaml", ".csv", ".lock", ".png", ".jpg", ".svg", ".css", ".html", ".ini")
)


def special_kind(path: str) -> str:
    """What the file at the canonical ``path`` steers, or "" when it is an ordinary one."""
    parts = tuple(path.split("/"))
    for length in range(1, min(len(parts), 2) + 1):
        if kind := ROOTS.get(parts[:length]):
            return kind
    for pair in pairwise(parts):
        if kind := INSIDE.get(pair):
            return kind
    for part in parts:
        if kind := FOLDERS.get(part):
            return kind
    name = parts[-1]
    return FILES.get(name) or next((kind for pattern, kind in NAMES if pattern.fullmatch(name)), "")


def lockfile_manifests(name: str) -> tuple[str, ...]:
    """The manifests of the lockfile called ``name``, or () for another file."""
    lowered = name.lower()
    if lowered.startswith("requirements") and lowered.endswith(".txt"):
        return (name[:-4] + ".in",)
    return _LOCKFILES.get(lowered, ())
