"""Settings and scripts that decide which tests run, and whether their failure counts."""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from auto_dev.gates.evidence import Finding, entry
from auto_dev.model import Route

_LIMIT: Final = 1_000_000

_CONFIG: Final = re.compile(
    r"^(?:pytest\.ini|\.?pytest\.toml|pyproject\.toml|setup\.cfg|tox\.ini|noxfile\.py|conftest\.py|package\.json|makefile|justfile"
    r"|rakefile|taskfile\.ya?ml|(?:jest|vitest|vite|playwright|karma|ava|cypress|mocha|wdio)\.conf(?:ig)?[\w.]*|\.mocharc[\w.]*"
    r"|\.nycrc[\w.]*|\.coveragerc|cargo\.toml|nextest\.toml|phpunit\.xml[\w.]*|\.rspec|build\.gradle(?:\.kts)?|pom\.xml"
    r"|eslint\.config\.\w+|\.eslintrc[\w.]*|\.eslintignore|mypy\.ini|ruff\.toml|\.ruff\.toml|\.flake8|tsconfig[\w.]*\.json)$"
)
_DESELECTS: Final = re.compile(
    r"--(?:ignore(?:-glob)?|deselect|exclude|skip|testPathIgnorePatterns|passWithNoTests|exclude-group)\b"
    r"|(?:^|[\s\"'=])-k[ =\"']|(?:^|[\s\"'])-m[ =][\"']?not\b"
    r"|\b(?:addopts|collect_ignore(?:_glob)?|norecursedirs|testpaths|python_(?:files|functions|classes))\b"
    r"|\b(?:testPathIgnorePatterns|testMatch|testRegex|testIgnore|excludedGroups?|excludeSpecPattern)\b"
    r"|\bpytest_(?:collection_modifyitems|ignore_collect|collect_file|runtest_\w+|pyfunc_call|sessionfinish)\b"
    r"|\bpytest_(?:report_\w+|exception_interact)\b"
    r"|\b(?:bail|maxfail|fail_under|coverageThreshold|ignoreFailures|skipTests|testFailureIgnore)\b"
    r"|\b(?:ignore_errors|per-file-ignores|extend-ignore)\b",
    re.IGNORECASE,
)
_EXCLUDES: Final = re.compile(r"\bexclude\b|\bignore\b|\bskip\b")
_ALWAYS_GREEN: Final = re.compile(
    r"\|\|\s*(?:true\b|:|exit 0\b|echo\b)|;\s*(?:true|exit 0)\s*[\"']?,?\s*$|^\s*exit 0\s*$|\bset \+e\b"
    r"|\bcontinue-on-error\b"
)
_CHECK: Final = re.compile(
    r"test|lint|check|mypy|ruff|tsc\b|vitest|jest|mocha|\bvet\b|clippy|cargo|coverage", re.IGNORECASE
)
_NOOP: Final = re.compile(r"^\s*(?:true|:|exit 0|echo\b[^&|;]*(?:(?:&&|;)\s*(?:exit 0|true)\s*)?)\s*$")


def is_test_config(path: str) -> bool:
    """Whether ``path`` is a file that may steer which tests or checks run."""
    return _CONFIG.match(posixpath.basename(path).lower()) is not None


def runs_file(commands: Iterable[str], path: str) -> bool:
    """Whether one of the configured ``commands`` names ``path``: then the file is part of the yardstick."""
    words = {word.strip("'\"();&|").removeprefix("./") for command in commands for word in command.split()}
    return path in words


def judge_config(path: str, before: bytes | None, after: bytes | None, commands: tuple[str, ...]) -> list[Finding]:
    """What a change of a settings file or of a script of the yardstick may hide. Pure."""
    if len(before or b"") > _LIMIT or len(after or b"") > _LIMIT:
        return [_note("a test setting too large to be read was changed", path)]
    old, new = _text(before), _text(after)
    found = _scripts(path, old, new, commands) if posixpath.basename(path) == "package.json" else []
    yardstick = runs_file(commands, path)
    if yardstick:
        found.append(_note("a file that a configured command runs was changed", path))
        if old.strip() and after is not None and not new.strip():
            found.append(_finding(Route.REPAIR, "a file that a configured command runs was emptied", path, None, ""))
    known = Counter(part.strip() for part in old.split("\n"))
    for number, text in enumerate(new.split("\n"), 1):
        bare = text.strip()
        if known[bare] > 0:
            known[bare] -= 1
        elif bare and not bare.startswith(("#", "//", ";")):
            if _always_green(bare, path, yardstick):
                found.append(_finding(Route.REPAIR, "a check was made to pass always", path, number, bare))
            elif _DESELECTS.search(bare) or (_EXCLUDES.search(bare) and not _is_code(path) and _steers_tests(path)):
                found.append(_note("a setting that may deselect tests or checks was changed", path, number, bare))
    return found


def _scripts(path: str, old: str, new: str, commands: tuple[str, ...]) -> list[Finding]:
    """The scripts of a package.json that the configured commands call."""
    before, after = _npm_scripts(old), _npm_scripts(new)
    found: list[Finding] = []
    for name, text in after.items():
        if before.get(name) == text or not (_called(name, commands) or name in ("test", "lint", "typecheck", "check")):
            continue
        excerpt = f"- {before.get(name, '(none)')}\n+ {text}"
        if _NOOP.match(text) or "--passWithNoTests" in text or _ALWAYS_GREEN.search(text):
            found.append(_finding(Route.REPAIR, f"the script {name!r} was made to pass always", path, None, excerpt))
        elif name in before:
            found.append(_finding(Route.PROCEED, f"the script {name!r} was changed", path, None, excerpt))
    return found


def _called(name: str, commands: tuple[str, ...]) -> bool:
    return any(re.search(rf"\b(?:npm|pnpm|yarn|bun)\b.*\s{re.escape(name)}\b", command) for command in commands)


def _npm_scripts(text: str) -> dict[str, str]:
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    scripts = data.get("scripts") if isinstance(data, dict) else None
    return {str(name): str(value) for name, value in scripts.items()} if isinstance(scripts, dict) else {}


def _always_green(text: str, path: str, yardstick: bool) -> bool:
    """Whether the line makes a check pass whatever happens; outside the yardstick only where it speaks of a check."""
    if yardstick and _NOOP.match(text):
        return True
    return _ALWAYS_GREEN.search(text) is not None and (yardstick or (not _is_code(path) and bool(_CHECK.search(text))))


def _steers_tests(path: str) -> bool:
    name = posixpath.basename(path).lower()
    return (
        name.startswith((".eslintignore", "pytest", ".mocharc", "mypy", "ruff", ".ruff", ".flake8")) or "test" in name
    )


def _is_code(path: str) -> bool:
    return path.endswith((".py", ".js", ".ts", ".mjs", ".cjs", ".mts"))


def _text(source: bytes | None) -> str:
    return (source or b"").decode("utf-8", "replace")


def _note(title: str, path: str, number: int | None = None, excerpt: str = "") -> Finding:
    return _finding(Route.PROCEED, title, path, number, excerpt)


def _finding(route: Route, title: str, path: str, number: int | None, excerpt: str) -> Finding:
    return Finding(route, title, entry(title, file=path, at=number, excerpt=excerpt[:500]))
