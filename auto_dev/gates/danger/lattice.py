"""Conditions as what they refuse: an ``or`` of ``and``s in a spelling that local names do not change. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Final

from auto_dev.gates.syntax.canon import canonical
from auto_dev.gates.syntax.code import (
    Await,
    Binary,
    Call,
    Expr,
    Group,
    Index,
    Literal,
    Member,
    Name,
    Other,
    Pair,
    Unary,
)

Atoms = frozenset[str]
_MOST: Final = 24  # alternatives that are told apart
_DEEPEST: Final = 20
_OPPOSITE: Final = {
    "==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "not in", "not in": "in",
}  # fmt: skip
_MIRRORED: Final = {">": "<", ">=": "<="}
_SWAPPED: Final = frozenset(("==", "!="))
_EMPTY: Final[Atoms] = frozenset()
_LITERAL: Final = re.compile(r"\"[^\"]*\"|\b\d+(?:\.\d+)?\b")


def opposite(node: Expr) -> Expr:
    """``node`` denied, the denial pushed as far in as it goes."""
    if isinstance(node, Await):
        return opposite(node.value)
    if isinstance(node, Unary) and node.operator == "not":
        return node.value
    if isinstance(node, Literal) and node.kind in ("bool", "null"):
        return Literal(node.line, "bool", "false" if node.text == "true" else "true")
    if isinstance(node, Binary):
        if node.operator in ("and", "or"):
            operator = "or" if node.operator == "and" else "and"
            return Binary(node.line, operator, opposite(node.left), opposite(node.right))
        if node.operator in _OPPOSITE:
            return Binary(node.line, _OPPOSITE[node.operator], node.left, node.right)
    if isinstance(node, Other) and node.kind == "choice" and len(node.parts) == 3:
        return Other(node.line, "choice", (node.parts[0], opposite(node.parts[1]), opposite(node.parts[2])))
    return Unary(node.line, "not", node)


def alternatives(node: Expr, known: Mapping[str, Expr], depth: int = 0) -> list[Atoms]:  # noqa: C901
    """When ``node`` holds: each of the sets is enough. ``known``: what local names stand for."""
    if depth > _DEEPEST:
        return [frozenset((shape(node),))]
    deeper = depth + 1
    if isinstance(node, Await):
        return alternatives(node.value, known, deeper)
    if isinstance(node, Name) and node.name in known:
        return alternatives(known[node.name], known, deeper)
    if isinstance(node, Literal) and node.kind in ("bool", "null"):
        return [_EMPTY] if node.text == "true" else []
    if isinstance(node, Unary) and node.operator == "not":
        inner = node.value
        if isinstance(inner, Name) and inner.name in known:
            inner = known[inner.name]
        denied = opposite(inner)
        if isinstance(denied, Unary) and denied.operator == "not":
            return [frozenset((f"not {shape(denied.value)}",))]
        return alternatives(denied, known, deeper)
    if isinstance(node, Binary):
        if node.operator == "or":
            return [*alternatives(node.left, known, deeper), *alternatives(node.right, known, deeper)][:_MOST]
        if node.operator == "and":
            sides = product(alternatives(node.left, known, deeper), alternatives(node.right, known, deeper))
            return [one | other for one, other in sides][:_MOST]
        if node.operator in _OPPOSITE and canonical(node.left) == canonical(node.right):
            return [_EMPTY] if node.operator in ("==", "<=", ">=") else []
    if isinstance(node, Other) and node.kind == "choice" and len(node.parts) == 3:
        test, one, other = node.parts
        either = Binary(node.line, "and", test, one), Binary(node.line, "and", opposite(test), other)
        return [way for part in either for way in alternatives(part, known, deeper)][:_MOST]
    return [frozenset((shape(node),))]


def shape(node: Expr, depth: int = 0) -> str:  # noqa: C901 (one branch for each kind)
    """``node`` in one spelling in which a local name is ``_``: members, calls, constants and values stay."""
    if depth > _DEEPEST:
        return "…"
    deeper = depth + 1
    if isinstance(node, Name):
        return node.name if node.name.isupper() and len(node.name) > 1 else "_"
    if isinstance(node, Literal):
        return f'"{node.text}"' if node.kind == "string" else node.text
    if isinstance(node, Member):
        return f"{shape(node.owner, deeper)}.{node.name}"
    if isinstance(node, Call):
        return _called(node, deeper)
    if isinstance(node, Binary):
        left, right = shape(node.left, deeper), shape(node.right, deeper)
        if node.operator in _MIRRORED:
            return f"({right} {_MIRRORED[node.operator]} {left})"
        if node.operator in _SWAPPED and right < left:
            left, right = right, left
        return f"({left} {node.operator} {right})"
    if isinstance(node, Unary):
        return f"{node.operator} {shape(node.value, deeper)}"
    if isinstance(node, Await):
        return shape(node.value, deeper)
    if isinstance(node, Index):
        return f"{shape(node.owner, deeper)}[{_all(node.keys, deeper)}]"
    if isinstance(node, Group):
        return f"[{_all(node.items, deeper)}]"
    if isinstance(node, Pair):
        return f"{shape(node.key, deeper)}: {shape(node.value, deeper)}"
    if isinstance(node, Other):
        return f"{node.kind}<{_all(node.parts, deeper)}>{node.text[:60]}"
    return "lambda"


def _called(node: Call, depth: int) -> str:
    function = node.function
    name = function.name if isinstance(function, Name) else shape(function, depth)
    given = [shape(one, depth) for one in node.arguments[:20]]
    given += [f"{key}={shape(value, depth)}" for key, value in node.keywords[:20]]
    return f"{name}({', '.join(given)})"


def _all(nodes: Iterable[Expr], depth: int) -> str:
    return ", ".join(shape(one, depth) for one in list(nodes)[:60])


def skeleton(atom: str) -> str:
    """An atom without the names in it: what stays when somebody only renames."""
    return re.sub(r"\"[^\"]*\"|[A-Za-z_]\w*", lambda match: match[0] if match[0][0] == '"' else "_", atom)


def literals(atom: str) -> frozenset[str]:
    """The values that stand in an atom."""
    return frozenset(_LITERAL.findall(atom))


_BOUND: Final = re.compile(r"^\((?P<left>.+?) (?P<operator><=?|>=?) (?P<right>.+)\)$")


def refuses_less(old: str, new: str) -> bool | None:
    """Whether the comparison ``new`` refuses less than ``old`` did, by its number; None where that cannot be told."""
    one, other = _BOUND.match(old), _BOUND.match(new)
    if one is None or other is None or one["operator"][0] != other["operator"][0]:
        return None
    for side, grows in (("left", True), ("right", False)):
        rest = "right" if side == "left" else "left"
        before, after = _number(one[side]), _number(other[side])
        if before is not None and after is not None and one[rest] == other[rest]:
            upward = grows if one["operator"][0] == "<" else not grows
            return after > before if upward else after < before
    return None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(?:\.\d+)?", text) else None
