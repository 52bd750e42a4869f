"""How many assertions Python code makes: at least (seen strictly) and at most (seen kindly).

The strict count is taken of the base and the kind one of the head, so that an honest refactoring that cannot be counted
exactly (a helper, a table, a loop) is not held against it, while assertions that are simply gone are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from auto_dev.gates.syntax.suite import MANY

Function: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
Helpers = ast.FunctionDef | ast.AsyncFunctionDef
Weight = tuple[int, int]

NOTHING: Final[Weight] = (0, 0)
ONE: Final[Weight] = (1, 1)
_HELPER: Final[Weight] = (1, 3)  # a checking helper from elsewhere, told by its name alone
_CAP: Final = 1_000_000

_CHECKS: Final = frozenset(("raises", "warns", "deprecated_call", "fail"))
_CHECKED_BY: Final = re.compile(r"_*(?:assert|check|verify|expect|ensure|must|should)(?:_|[A-Z]|\b)")
_ALWAYS: Final = (ast.List, ast.Tuple, ast.Set)


class Weigher:
    """Counts assertions, following calls to ``helpers``: the functions of the same file that are no tests."""

    def __init__(self, helpers: Mapping[str, Helpers]) -> None:
        self._helpers = helpers
        self._known: dict[str, Weight] = {}

    def known(self, name: str) -> Weight | None:
        """The weight of the helper ``name``; None when this file has none of that name or it checks nothing."""
        if name not in self._helpers:
            return None
        if name not in self._known:
            self._known[name] = NOTHING  # stops a helper that calls itself
            self._known[name] = self.body(self._helpers[name].body)
        weight = self._known[name]
        return weight if weight[1] else None

    def body(self, statements: Sequence[ast.stmt]) -> Weight:
        """The weight of a block, up to where it always ends."""
        weight = NOTHING
        for statement in statements:
            weight = _add(weight, self._statement(statement))
            if isinstance(statement, ast.Return | ast.Raise | ast.Continue | ast.Break) or _leaves(statement):
                break
        return weight

    def _statement(self, node: ast.stmt) -> Weight:
        if isinstance(node, ast.Assert):
            return self._assertion(node.test)
        if isinstance(node, ast.If):
            chosen = ([] if never(node.test) else node.body, [] if always(node.test) else node.orelse)
            return _add(self._calls([node.test]), _add(self.body(chosen[0]), self.body(chosen[1])))
        if isinstance(node, ast.For | ast.AsyncFor):
            low, high = self.body(node.body)
            less, more = _length(node.iter)
            return _add((low * less, min(high * more, _CAP)), self.body(node.orelse))
        if isinstance(node, ast.While):
            low, high = NOTHING if never(node.test) else self.body(node.body)
            return low, min(high * MANY, _CAP)
        if isinstance(node, ast.With | ast.AsyncWith):
            return _add(self._calls(item.context_expr for item in node.items), self.body(node.body))
        if isinstance(node, ast.Try):
            return self._try(node)
        if isinstance(node, ast.Match):
            return _total(self.body(case.body) for case in node.cases)
        if isinstance(node, Function):
            return self.body(node.body)  # a callback; a helper is counted where it is called
        if isinstance(node, ast.ClassDef):
            return NOTHING
        if isinstance(node, ast.Raise):
            return ONE if node.exc is not None and "AssertionError" in ast.dump(node.exc) else NOTHING
        return self._calls(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))

    def _try(self, node: ast.Try) -> Weight:
        swallowed = any(_swallows(handler) for handler in node.handlers)
        weight = NOTHING if swallowed else self.body(node.body)
        rest = (*(handler.body for handler in node.handlers), node.orelse, node.finalbody)
        return _add(weight, _total(self.body(block) for block in rest))

    def _calls(self, expressions: Iterable[ast.expr]) -> Weight:
        weight = NOTHING
        for expression in expressions:
            for node in ast.walk(expression):
                if isinstance(node, ast.Call):
                    weight = _add(weight, self._call(node))
        return weight

    def _call(self, node: ast.Call) -> Weight:
        name = name_of(node.func)
        if (known := self.known(name)) is not None:
            return known
        if name in _CHECKS:
            # raises(X, match=…) may stand for several assertions on the exception.
            return 1, 1 + (name != "fail") + any(keyword.arg == "match" for keyword in node.keywords)
        if not _CHECKED_BY.match(name):
            return NOTHING
        if name.lstrip("_").startswith("assert") and isinstance(node.func, ast.Attribute):
            if node.args and all(_constant(argument) for argument in node.args):
                return NOTHING  # self.assertTrue(True)
            return _compared(node.args)
        return _HELPER

    def _assertion(self, test: ast.expr) -> Weight:
        """``assert a and b`` weighs two, ``assert (a, b) == (1, 2)`` too, ``assert True`` nothing."""
        if always(test):
            return NOTHING
        if isinstance(test, ast.BoolOp):
            if isinstance(test.op, ast.And):
                return _total(self._assertion(value) for value in test.values)
            return NOTHING if any(always(value) for value in test.values) else ONE
        if isinstance(test, ast.Compare):
            sides = [test.left, *test.comparators]
            if all(_constant(side) for side in sides) or len({ast.dump(side) for side in sides}) == 1:
                return NOTHING
            low, high = _compared(sides)
            return max(low, len(test.ops)), max(high, len(test.ops))
        if isinstance(test, ast.Call) and isinstance(test.func, ast.Name):
            if test.func.id in ("all", "any") and test.args:
                return 1, MANY
            if (known := self.known(test.func.id)) is not None:
                return max(known[0], 1), max(known[1], 1)
        return ONE


def rows(decorator: ast.expr) -> Weight:
    """How often a decorator makes a test run: the rows of ``parametrize``, many for ``given``, else once."""
    if not isinstance(decorator, ast.Call):
        return ONE
    name = name_of(decorator.func)
    if name == "parametrize":
        values = decorator.args[1] if len(decorator.args) > 1 else None
        values = values or next((k.value for k in decorator.keywords if k.arg == "argvalues"), None)
        return _length(values) if values is not None else (1, MANY)
    if name in ("given", "expand", "data", "cases"):
        return 1, MANY
    return ONE


def name_of(node: ast.expr) -> str:
    """The last name of ``a``, ``a.b`` or a call of them, else ""."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def always(node: ast.expr) -> bool:
    """Whether ``node`` is true whatever happens."""
    if isinstance(node, ast.Constant):
        return bool(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return never(node.operand)
    return isinstance(node, ast.Tuple) and bool(node.elts)  # assert (x == 1, "message")


def never(node: ast.expr) -> bool:
    """Whether ``node`` is false whatever happens."""
    if isinstance(node, ast.Constant):
        return not node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return always(node.operand)
    return isinstance(node, ast.Name) and node.id == "TYPE_CHECKING"


def _length(node: ast.expr) -> Weight:
    """How many items a loop or table has: exactly for a literal, else between one and many."""
    if isinstance(node, _ALWAYS) and not any(isinstance(item, ast.Starred) for item in node.elts):
        return len(node.elts), len(node.elts)
    if isinstance(node, ast.Dict):
        return len(node.keys), len(node.keys)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "range" and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
            count = node.args[0].value
            if isinstance(count, int):
                return min(max(count, 0), MANY * MANY), min(max(count, 0), MANY * MANY)
        if node.func.id in ("enumerate", "sorted", "list", "tuple", "reversed", "set") and node.args:
            return _length(node.args[0])
    return 1, MANY


def _compared(sides: Sequence[ast.expr]) -> Weight:
    """``(a, b) == (1, 2)`` is two checks; ``f() == [1, 2]`` is one, but may stand for two."""
    sizes = [_elements(side) for side in sides]
    packed = [size for size, side in zip(sizes, sides, strict=True) if size > 1 and not _constant(side)]
    return (min(packed) if len(packed) > 1 else 1), max(sizes, default=1)


def _elements(node: ast.expr) -> int:
    if isinstance(node, _ALWAYS):
        return max(len(node.elts), 1)
    return max(len(node.keys), 1) if isinstance(node, ast.Dict) else 1


def _constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant))


def _swallows(handler: ast.ExceptHandler) -> bool:
    """Whether a failed assertion ends silently in this handler."""
    names = "" if handler.type is None else ast.dump(handler.type)
    catches = handler.type is None or any(f"'{n}'" in names for n in ("Exception", "BaseException", "AssertionError"))
    if not catches:
        return False
    parts = [node for statement in handler.body for node in ast.walk(statement)]
    return not any(
        isinstance(node, ast.Raise | ast.Assert) or (isinstance(node, ast.Call) and _fails(node)) for node in parts
    )


def _fails(node: ast.Call) -> bool:
    name = name_of(node.func)
    return name == "fail" or _CHECKED_BY.match(name) is not None


def _leaves(node: ast.stmt) -> bool:
    """``pytest.skip(…)``, ``self.skipTest(…)`` as a statement: nothing after it runs."""
    if not (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute)
    ):
        return False
    call = node.value.func
    return call.attr == "skipTest" or (call.attr in ("skip", "xfail", "exit") and name_of(call.value) == "pytest")


def _add(one: Weight, other: Weight) -> Weight:
    return min(one[0] + other[0], _CAP), min(one[1] + other[1], _CAP)


def _total(weights: Iterable[Weight]) -> Weight:
    total = NOTHING
    for weight in weights:
        total = _add(total, weight)
    return total
