"""The values of a settings file, or of the constants of a source file, in one flat table of names. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any, Final

import yaml

from auto_dev.gates.danger.checks import read_unit
from auto_dev.gates.danger.lattice import shape
from auto_dev.gates.syntax.code import (
    Binary,
    Bind,
    Body,
    Call,
    Class,
    Expr,
    Function,
    Group,
    Lambda,
    Leave,
    Literal,
    Name,
    Pair,
    Unary,
    lambdas,
    leaf,
    parts,
    walk,
)
from auto_dev.gates.syntax.names import names
from auto_dev.gates.yamls import documents

Flat = dict[str, Any]
ENDLESS: Final = (
    "infinity",
    "none",
    "null",
    "never",
    "number.max_safe_integer",
    'float("inf")',
    "math.inf",
    "undefined",
)
ENDS: Final = re.compile(r"expires?(?:_?(?:in|at))?|exp|max_?age|ttl", re.IGNORECASE)
_MOST: Final = 5_000
_SIGNING: Final = names("sign encode cookie set_cookie setCookie session SignJWT")


def flat_of(path: str, source: str) -> Flat:
    """Name → value of a settings file or of the constants of a source file; empty when it is neither."""
    ending = path.rsplit(".", 1)[-1].lower()
    try:
        if ending == "json":
            return _flattened(json.loads(source))
        if ending in ("yml", "yaml"):
            return _flattened(documents(source))
        if ending == "toml":
            return _flattened(tomllib.loads(source))
    except (ValueError, yaml.YAMLError, RecursionError):
        return {}
    if ending in ("tf", "tfvars", "hcl"):
        return _blocks(source)
    if ending in ("env", "ini", "cfg", "conf", "properties") or "/.env" in f"/{path}":
        return {
            key: _plain(value)
            for key, value in re.findall(r"(?m)^[ \t]*(?:export[ \t]+)?([\w.-]+)[ \t]*[=:][ \t]*([^\n]*)$", source)
        }
    unit = read_unit(path, source)
    found: Flat = {}
    if unit is not None:
        _of_body(unit.body, "", found)
    return found


def _flattened(value: Any, name: str = "", found: Flat | None = None, depth: int = 0) -> Flat:
    found = {} if found is None else found
    if depth > 30 or len(found) > _MOST:
        return found
    if isinstance(value, dict):
        for key, inner in value.items():
            _flattened(inner, f"{name}.{key}".lstrip("."), found, depth + 1)
    elif isinstance(value, list) and not all(isinstance(one, str | int | float) for one in value):
        for number, inner in enumerate(value):
            label = inner.get("name", number) if isinstance(inner, dict) else number
            _flattened(inner, f"{name}.{label}".lstrip("."), found, depth + 1)
    else:
        found[name] = frozenset(map(str, value)) if isinstance(value, list) else value
    return found


def _blocks(source: str) -> Flat:
    """A HashiCorp file: the arguments of its blocks, named by the block."""
    found: Flat = {}
    stack: list[str] = []
    for row in source.split("\n"):
        text = re.sub(r"(?:#|//).*$", "", row).strip()
        if match := re.match(r"^([\w-]+)\s*=\s*(.+?)\s*$", text):
            found[".".join((*stack, match[1]))] = _plain(match[2])
        opened = text.count("{") - text.count("}")
        if opened > 0:
            stack.append(re.sub(r"[\"{=\s]+", ".", text).strip("."))
        elif opened < 0 and stack:
            stack.pop()
    return found


def _plain(text: str) -> Any:
    text = text.strip().strip(",").strip("\"'")
    if text.lower() in ("true", "yes", "on", "false", "no", "off"):
        return text.lower() in ("true", "yes", "on")
    if re.fullmatch(r"-?\d+(?:\.\d+)?", text):
        return float(text)
    if text.startswith("[") and text.endswith("]"):
        return frozenset(re.findall(r"[\"']([^\"']+)[\"']", text))
    return text


# ── constants of source files ─────────────────────────────────────────────────────────────────────────────────────


def _of_body(body: Body, name: str, found: Flat) -> None:
    for node in body:
        if len(found) > _MOST:
            return
        if isinstance(node, Function | Class):
            _of_body(node.body, f"{name}.{node.name}".lstrip("."), found)
            continue
        if isinstance(node, Bind) and node.value is not None and len(node.names) == 1:
            own = node.names[0] or (leaf(node.targets[0]) if node.targets else "")
            if own:
                _of_value(node.value, f"{name}.{own}".lstrip("."), found)
        elif not isinstance(node, Bind):
            for one in parts(node)[0]:
                _of_value(one, name, found, bare=not isinstance(node, Leave))
        for block in parts(node)[1]:
            _of_body(block, name, found)
        for one in (lam for expression in parts(node)[0] for lam in lambdas(expression)):
            _of_body(one.function.body, f"{name}.λ".lstrip("."), found)


def _of_value(node: Expr, name: str, found: Flat, *, bare: bool = False) -> None:
    value = value_of(node)
    if value is None and ENDS.fullmatch(name.rsplit(".", 1)[-1]):
        value = shape(node)
    if value is not None and not bare:
        found[name] = value
        if isinstance(node, Group) and node.kind != "map":
            return
    for part in _entries(node):
        key, inner = part
        _of_value(inner, f"{name}.{key}".lstrip("."), found)
    if isinstance(node, Group):
        return
    for call in walk(node):
        if isinstance(call, Call):
            if leaf(call) in _SIGNING:
                found[f"{name}.{leaf(call)}().".lstrip(".")] = "called"
            given = [(key, inner) for key, inner in call.keywords]
            given += [entry for one in call.arguments if isinstance(one, Group) for entry in _entries(one)]
            for key, inner in given:
                _of_value(inner, f"{name}.{leaf(call)}().{key}".lstrip("."), found)


def _entries(node: Expr) -> list[tuple[str, Expr]]:
    if not isinstance(node, Group):
        return []
    return [
        (one.key.text if isinstance(one.key, Literal) else shape(one.key) if not isinstance(one.key, Name) else one.key.name, one.value)
        for one in node.items
        if isinstance(one, Pair)
    ]  # fmt: skip


def value_of(node: Expr) -> Any:
    """The value that stands in the source: a number, a text, a truth or a set of texts; None of anything else."""
    if isinstance(node, Literal):
        if node.kind == "number":
            return _number(node.text)
        if node.kind == "bool":
            return node.text == "true"
        return {"null": "none", "string": node.text}.get(node.kind)
    if isinstance(node, Unary) and node.operator == "-":
        value = value_of(node.value)
        return -value if isinstance(value, float) else None
    if isinstance(node, Binary) and node.operator in ("*", "+", "/", "-"):
        one, other = value_of(node.left), value_of(node.right)
        if not isinstance(one, float) or not isinstance(other, float):
            return None
        made = {"*": one * other, "+": one + other, "-": one - other, "/": one / other if other else 0.0}
        return made[node.operator]
    if isinstance(node, Group) and node.kind != "map" and node.items:
        texts = [
            one.text if isinstance(one, Literal) else shape(one) if isinstance(one, Name) else "" for one in node.items
        ]
        names = [one.name if isinstance(one, Name) else text for one, text in zip(node.items, texts, strict=True)]
        return (
            frozenset(names) if all(names) and not any(isinstance(one, Pair | Lambda) for one in node.items) else None
        )
    if isinstance(node, Call) and leaf(node) in ("timedelta", "frozenset", "set", "Set", "tuple", "list"):
        return _made(node)
    text = shape(node)
    return text if text.lower() in ENDLESS or (isinstance(node, Name) and node.name in ("Infinity", "None")) else None


def _made(node: Call) -> Any:
    if leaf(node) != "timedelta":
        return value_of(node.arguments[0]) if node.arguments else None
    units = {"days": 86400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0, "weeks": 604800.0}
    given = [(units.get(key, 0.0), value_of(value)) for key, value in node.keywords]
    given += [(86400.0, value_of(node.arguments[0]))] if node.arguments else []
    return sum(unit * value for unit, value in given if isinstance(value, float)) or None


def _number(text: str) -> float | None:
    try:
        return float(int(text, 0)) if text[:2].lower() == "0x" else float(text)
    except ValueError:
        return None
