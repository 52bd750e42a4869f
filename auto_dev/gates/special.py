"""Files that act beyond the change itself: they steer CI, git, agents, package sources or auto-dev (in lower case)."""

from __future__ import annotations

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
    (".github", "codeowners"): _OWNERS,
    ("docs", "codeowners"): _OWNERS,
    ("codeowners",): _OWNERS,
    (".gitlab", "ci"): _CI,
    (".gitlab", "codeowners"): _OWNERS,
    (".vscode", "tasks.json"): _RUNS,
    (".config", "lefthook.yml"): _HOOK,
}

# A folder of this name, wherever it lies.
FOLDERS: Final[dict[str, str]] = {
    ".circleci": _CI, ".buildkite": _CI, ".woodpecker": _CI, ".teamcity": _CI, ".forgejo": _CI, ".gitea": _CI,
    ".ci": _CI,
    ".husky": _HOOK, ".githooks": _HOOK, ".lefthook": _HOOK,
    ".claude": _AGENT, ".codex": _AGENT, ".cursor": _AGENT, ".gemini": _AGENT, ".opencode": _AGENT, ".continue": _AGENT,
    ".windsurf": _AGENT, ".qwen": _AGENT, ".roo": _AGENT, ".kiro": _AGENT, ".clinerules": _AGENT, ".junie": _AGENT,
    ".devcontainer": _RUNS,
}  # fmt: skip

# A file of this name, wherever it lies.
FILES: Final[dict[str, str]] = {
    ".gitlab-ci.yml": _CI, ".travis.yml": _CI, "azure-pipelines.yml": _CI, "jenkinsfile": _CI, ".drone.yml": _CI,
    "bitbucket-pipelines.yml": _CI, ".woodpecker.yml": _CI, "appveyor.yml": _CI, ".appveyor.yml": _CI,
    "cloudbuild.yaml": _CI, "cloudbuild.yml": _CI, ".cirrus.yml": _CI,
    ".pre-commit-config.yaml": _HOOK, ".pre-commit-hooks.yaml": _HOOK, "lefthook.yml": _HOOK, "lefthook.yaml": _HOOK,
    "agents.md": _AGENT, "agents.override.md": _AGENT, "claude.md": _AGENT, "claude.local.md": _AGENT,
    "gemini.md": _AGENT, "qwen.md": _AGENT, ".cursorrules": _AGENT, ".windsurfrules": _AGENT, ".clinerules": _AGENT,
    ".mcp.json": _AGENT, "opencode.json": _AGENT, "opencode.jsonc": _AGENT, ".aider.conf.yml": _AGENT,
    ".gitattributes": _GIT, ".gitmodules": _GIT, ".gitconfig": _GIT, ".lfsconfig": _GIT,
    ".envrc": _RUNS, "sitecustomize.py": _RUNS, "usercustomize.py": _RUNS,
    ".npmrc": _REGISTRY, ".yarnrc": _REGISTRY, ".yarnrc.yml": _REGISTRY, ".pypirc": _REGISTRY, "pip.conf": _REGISTRY,
    "auto-dev.toml": _POLICY,
    ".env": _SECRETS, ".env.local": _SECRETS, ".env.production": _SECRETS, ".netrc": _SECRETS,
}  # fmt: skip

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
    for part in parts:
        if kind := FOLDERS.get(part):
            return kind
    return FILES.get(parts[-1], "")


def lockfile_manifests(name: str) -> tuple[str, ...]:
    """The manifests of the lockfile called ``name``, or () for another file."""
    lowered = name.lower()
    if lowered.startswith("requirements") and lowered.endswith(".txt"):
        return (name[:-4] + ".in",)
    return _LOCKFILES.get(lowered, ())
