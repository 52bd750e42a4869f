"""Settings as flat tables: TOML, INI, JSON with comments, YAML, and the object that a JavaScript config exports."""

from __future__ import annotations

import configparser
import posixpath
import tomllib
from collections.abc import Iterable
from typing import Any, Final

import yaml

from auto_dev.gates.syntax.canon import canonical
from auto_dev.gates.syntax.code import Bind, Call, Do, Expr, Group, Lambda, Leave, Literal, Name, Pair, Unit, statements
from auto_dev.gates.syntax.lower_javascript import lower_javascript
from auto_dev.gates.syntax.lower_python import lower_python
from auto_dev.gates.syntax.parse import TooLong
from auto_dev.gates.yamls import documents

Settings = dict[str, tuple[str, ...]]

_ENTRIES: Final = 5_000
_DEEPEST: Final = 20
_SCRIPTS: Final = (".js", ".cjs", ".mjs", ".ts", ".cts", ".mts")
_INI: Final = frozenset(("setup.cfg", "tox.ini", "pytest.ini", "mypy.ini", ".flake8", ".coveragerc", ".pylintrc"))
_JSON: Final = frozenset((".eslintrc", ".nycrc", ".mocharc", ".c8rc", ".swcrc", ".babelrc"))


def read_settings(path: str, source: bytes) -> Settings:
    """Key path → values of a settings file; {} for one that cannot be read so. Never raises."""
    name = posixpath.basename(path).lower()
    suffix = posixpath.splitext(name)[1]
    text = source.decode("utf-8", "replace")
    found: Settings = {}
    try:
        if suffix == ".toml":
            _flatten(tomllib.loads(text), "", found)
        elif name in _INI or suffix in (".ini", ".cfg"):
            _ini(text, found)
        elif suffix in (".yml", ".yaml"):
            for document in documents(text):
                _flatten(document, "", found)
        elif suffix in (".json", ".jsonc", ".json5") or name in _JSON:
            _objects(lower_javascript(b"settings = " + source), found)
        elif suffix in _SCRIPTS:
            _objects(lower_javascript(source, "typescript" if suffix.endswith("ts") else "javascript"), found)
        elif suffix == ".py":
            _python(lower_python(source), found)
    except (ValueError, configparser.Error, yaml.YAMLError, RecursionError, TooLong):
        return {}
    return found


def _flatten(value: Any, key: str, found: Settings, depth: int = 0) -> None:
    if depth > _DEEPEST or len(found) >= _ENTRIES:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            _flatten(inner, f"{key}.{name}" if key else str(name), found, depth + 1)
    elif isinstance(value, list):
        if any(isinstance(item, dict) for item in value):
            for number, item in enumerate(value[:200]):
                _flatten(item, f"{key}.{number}", found, depth + 1)
        found[key] = tuple(_word(item) for item in value[:_ENTRIES] if not isinstance(item, dict | list))
    else:
        found[key] = (_word(value),)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _ini(text: str, found: Settings) -> None:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    parser.read_string(text)
    for section in parser.sections():
        for key, value in parser.items(section):
            words = [part.split("#")[0].strip() for line in (value or "").split("\n") for part in line.split(",")]
            found[f"{section}.{key}"] = tuple(word for word in words if word)


def _objects(unit: Unit, found: Settings) -> None:
    """The object literals that a script exports, wherever they are handed to ``defineConfig`` or the like."""
    for statement in unit.body:
        value = statement.value if isinstance(statement, Do | Bind | Leave) else None
        for group in _groups(value):
            _object(group, "", found)


def _groups(value: Expr | None) -> Iterable[Group]:
    if isinstance(value, Group) and value.kind == "map":
        yield value
    elif isinstance(value, Group):
        for item in value.items:
            yield from _groups(item)
    elif isinstance(value, Call):
        for argument in value.arguments:
            yield from _groups(argument)
    elif isinstance(value, Lambda):
        for statement in value.function.body:
            if isinstance(statement, Leave):
                yield from _groups(statement.value)


def _object(group: Group, key: str, found: Settings, depth: int = 0) -> None:
    if depth > _DEEPEST or len(found) >= _ENTRIES:
        return
    for item in group.items:
        if not isinstance(item, Pair):
            continue
        name = item.key.text if isinstance(item.key, Literal) else canonical(item.key)
        inner = f"{key}.{name}" if key else name
        value = item.value
        if isinstance(value, Group) and value.kind == "map":
            _object(value, inner, found, depth + 1)
        elif isinstance(value, Group):
            found[inner] = tuple(_plain(part) for part in value.items)
            for number, part in enumerate(value.items[:200]):
                if isinstance(part, Group) and part.kind == "map":
                    _object(part, f"{inner}.{number}", found, depth + 1)
        elif not isinstance(value, Lambda):
            found[inner] = (_plain(value),)


def _plain(value: Expr) -> str:
    return value.text if isinstance(value, Literal) else canonical(value)


def _python(unit: Unit, found: Settings) -> None:
    """The names that a ``conftest.py`` sets for pytest."""
    for statement in statements(unit.body):
        if isinstance(statement, Bind) and statement.value is not None:
            values = statement.value.items if isinstance(statement.value, Group) else (statement.value,)
            for name in statement.names:
                if name:
                    found[name] = (*found.get(name, ()), *(_plain(value) for value in values))
        elif isinstance(statement, Do) and isinstance(statement.value, Call):
            owner = getattr(statement.value.function, "owner", None)  # collect_ignore.append("x")
            if isinstance(owner, Name) and statement.value.arguments:
                added = (part for one in statement.value.arguments for part in getattr(one, "items", (one,)))
                found[owner.name] = (*found.get(owner.name, ()), *(_plain(value) for value in added))
