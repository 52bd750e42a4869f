"""Imports point one way; importing a module has no side effect worth a test of its own: it is quick."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import auto_dev

pytestmark = pytest.mark.unit

PACKAGE = Path(auto_dev.__file__).parent

# Lower layers first. Packages inside one tuple of SIBLINGS never import each other.
BASE = (
    "errors",
    "model",
    "text",
    "sql",
    "report",
    "tasks",
    "watcher",
    "processes",
    "sandbox",
    "secrets",
    "config",
    "place",
    "stories",
)
SIBLINGS = ("store", "budget", "gates", "worktrees", "agents", "forge", "notify")
ABOVE = ("nodes", "graphs", "daemon", "commands", "cli", "__main__")


def layer(name: str) -> int:
    if name in BASE:
        return 0
    return 1 if name in SIBLINGS else 2 + ABOVE.index(name)


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imports(path: Path, known: set[str]) -> set[str]:
    """Modules of this package that ``path`` imports anywhere, functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            short = name.removeprefix("auto_dev.")
            if name.startswith("auto_dev.") and short in known:
                found.add(short)
    return found


GRAPH = {name: imports(path, set(modules())) - {name} for name, path in modules().items() if name}


def test_every_top_level_name_has_a_layer() -> None:
    tops = {name.split(".")[0] for name in GRAPH}
    assert tops - {*BASE, *SIBLINGS, *ABOVE} == set()


@pytest.mark.parametrize("name", sorted(GRAPH))
def test_imports_point_down(name: str) -> None:
    top = name.split(".")[0]
    for target in GRAPH[name]:
        other = target.split(".")[0]
        if other == top:
            continue
        assert layer(other) <= layer(top), f"{name} imports {target}, which lies above it"
        if layer(top) == layer(other) == 1:
            pytest.fail(f"{name} imports its sibling {target}")


def test_there_is_no_import_cycle() -> None:
    # Type-only imports count as well: a cycle in the types is a cycle in the design.
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in done:
            return
        assert name not in path, f"import cycle: {' -> '.join((*path[path.index(name) :], name))}"
        for target in sorted(GRAPH[name]):
            visit(target, (*path, name))
        done.add(name)

    for name in sorted(GRAPH):
        visit(name, ())
