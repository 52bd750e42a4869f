"""Expressions in one spelling: quotes, spaces, brackets and local names make no difference."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from auto_dev.gates.syntax.code import (
    Await,
    Binary,
    Call,
    Expr,
    Group,
    Index,
    Lambda,
    Literal,
    Member,
    Name,
    Other,
    Pair,
    Unary,
    walk,
)
from auto_dev.gates.syntax.names import names

PARTS: Final = re.compile(  # what takes a part of a list, in this spelling
    r"\.(?:slice\((?!0?\))|(?:splice|filter|skip|take|skip_while|take_while|step_by|nth|find|at)\()|slice<\||if_clause<\|"
    r"|\b(?:islice|filter|takewhile|dropwhile)\(|\[\d*, \d*\]"
)
_LONGEST: Final = 400
_KEPT: Final = 120
_DEEPEST: Final = 60
_SAME: Final = frozenset(("to_string", "to_owned", "into", "clone", "as_str", "as_ref", "iter", "unwrap"))
_MAKERS: Final = names("from bytes str set dict list tuple frozenset int float byte string new vec")
_MIRRORED: Final = {">": "<", ">=": "<="}


def canonical(node: Expr, names: Mapping[str, str] | None = None) -> str:
    """``node`` in one spelling, with ``names`` replaced; what is long is cut and told apart by a digest."""
    return short(_text(node, names or {}, 0))


def short(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_KEPT]}…{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}"


def constant(node: Expr, depth: int = 0) -> bool:
    """Whether the value of ``node`` stands in the source: literals, groups and constructors of them, constants."""
    if isinstance(node, Literal):
        return True
    if depth > 12:
        return False
    if isinstance(node, Group):
        return all(constant(item, depth + 1) for item in node.items)
    if isinstance(node, Pair):
        return constant(node.value, depth + 1)
    if isinstance(node, Unary):
        return constant(node.value, depth + 1)
    if isinstance(node, Name):
        return node.name.isupper() or node.name in ("None", "Ellipsis", "NaN", "Infinity")
    if isinstance(node, Member):
        return _is_enum(node)
    if isinstance(node, Call):
        name = node.function.name if isinstance(node.function, Name | Member) else ""
        if isinstance(node.function, Member) and name in _SAME:
            return constant(node.function.owner, depth + 1)
        made = name[:1].isupper() or name in _MAKERS
        values = (*node.arguments, *(value for _, value in node.keywords))
        return made and all(constant(value, depth + 1) for value in values)
    if isinstance(node, Binary):
        return (
            node.operator in ("+", "-", "*", "/", "%", "|")
            and constant(node.left, depth + 1)
            and constant(node.right, depth + 1)
        )
    return False


def called(node: Expr) -> frozenset[str]:
    """The names of the functions that ``node`` calls."""
    found: set[str] = set()
    for part in walk(node):
        if isinstance(part, Call) and isinstance(part.function, Name | Member):
            found.add(part.function.name)
    return frozenset(found)


def size_of(node: Expr | None) -> int:
    """How many members a literal group has that say something; 1 for anything else."""
    if isinstance(node, Call) and len(node.arguments) == 1 and not node.keywords:
        node = node.arguments[0] if isinstance(node.arguments[0], Group) else node
    if isinstance(node, Call) and (node.arguments or node.keywords):
        name = node.function.name if isinstance(node.function, Name | Member) else ""
        return max(len(node.arguments) + len(node.keywords), 1) if name[:1].isupper() else 1
    return max(len(node.items), 1) if isinstance(node, Group) else 1


def _is_enum(node: Member) -> bool:
    owner: Expr = node
    while isinstance(owner, Member):
        owner = owner.owner
    return isinstance(owner, Name) and (owner.name[:1].isupper() or node.name.isupper() or node.name[:1].isupper())


def _text(node: Expr, names: Mapping[str, str], depth: int) -> str:  # noqa: C901 (one branch for each kind)
    if depth > _DEEPEST:
        return "…"
    if isinstance(node, Literal):
        return f'"{node.text}"' if node.kind == "string" else node.text
    if isinstance(node, Name):
        return names.get(node.name, node.name)
    if isinstance(node, Member):
        return f"{_text(node.owner, names, depth + 1)}.{node.name}"
    if isinstance(node, Call):
        return _call(node, names, depth + 1)
    if isinstance(node, Binary):
        left, right = _text(node.left, names, depth + 1), _text(node.right, names, depth + 1)
        if node.operator in _MIRRORED:
            return f"({right} {_MIRRORED[node.operator]} {left})"
        return f"({left} {node.operator} {right})"
    if isinstance(node, Unary):
        return f"{node.operator} {_text(node.value, names, depth + 1)}"
    if isinstance(node, Group):
        brackets = {"list": "[]", "map": "{}", "set": "{}", "struct": "{}"}.get(node.kind, "()")
        inside = ", ".join(_bounded(_text(item, names, depth + 1)) for item in node.items[:400])
        return f"{node.name}{brackets[0]}{inside}{brackets[1]}"
    if isinstance(node, Pair):
        key = node.key
        said = key.text if isinstance(key, Literal) and key.kind == "string" else _text(key, names, depth + 1)
        return f"{said}: {_text(node.value, names, depth + 1)}"
    if isinstance(node, Index):
        keys = ", ".join(_text(key, names, depth + 1) for key in node.keys)
        return f"{_text(node.owner, names, depth + 1)}[{keys}]"
    if isinstance(node, Await):
        return _text(node.value, names, depth)
    if isinstance(node, Lambda):
        return "lambda " + _body(node, names, depth + 1)
    return _other(node, names, depth + 1)


def _call(node: Call, names: Mapping[str, str], depth: int) -> str:
    function = node.function
    if isinstance(function, Member) and function.name in _SAME and not node.arguments:
        return _text(function.owner, names, depth)
    given = [_bounded(_text(value, names, depth)) for value in node.arguments[:100]]
    given += sorted(f"{name}={_bounded(_text(value, names, depth))}" for name, value in node.keywords[:100])
    return f"{_text(function, names, depth)}({', '.join(given)})"


def _other(node: Other, names: Mapping[str, str], depth: int) -> str:
    parts = ", ".join(_bounded(_text(part, names, depth)) for part in node.parts[:100])
    text = " ".join(node.text.split())
    return f"{node.kind}<{text}|{parts}>" if parts else text


def _body(node: Lambda, names: Mapping[str, str], depth: int) -> str:
    """A lambda by what it does: only short ones are told apart."""
    hidden = {**names, **{name: f"arg{index}" for index, name in enumerate(node.function.params)}}
    texts: list[str] = []
    for statement in node.function.body[:8]:
        value = getattr(statement, "value", None) or getattr(statement, "test", None)
        texts.append(_bounded(_text(value, hidden, depth)) if value is not None else type(statement).__name__)
    return "; ".join(texts)


def _bounded(text: str) -> str:
    return short(text)
