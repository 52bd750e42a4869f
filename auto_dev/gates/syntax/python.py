"""Python tests by syntax tree: what pytest and unittest would collect, what it asserts, what skips it."""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from auto_dev.gates.syntax.suite import Case, Suite
from auto_dev.gates.syntax.weight import Function, Helpers, Weigher, name_of, never, rows

_SKIP_MARKS: Final = frozenset(("skip", "skipif", "xfail", "skipIf", "skipUnless", "expectedFailure", "importorskip"))
_SKIP_CALLS: Final = frozenset(("skip", "xfail", "skipTest", "importorskip", "SkipTest", "exit"))
_SKIP_OWNERS: Final = frozenset(("pytest", "self", "cls", "unittest", "case"))
_SKIP_WORD: Final = re.compile(rb"(?i)skip|xfail|expectedFailure|exit")
_TESTCASE: Final = re.compile(r"test|spec", re.IGNORECASE)


def read_python(source: bytes) -> Suite:
    """The tests of a Python file; ``problem`` says why it cannot be parsed. Never raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        return _Reader(tree, may_skip=_SKIP_WORD.search(source) is not None).suite()
    except (SyntaxError, ValueError, LookupError) as error:
        return Suite(problem=f"not Python: {error.args[0] if error.args else error}")
    except (RecursionError, MemoryError):
        return Suite(problem="nested too deeply to be parsed")


@dataclass(frozen=True, slots=True)
class _Scope:
    """What tests inherit from their class and module."""

    prefix: str = ""
    skips: tuple[str, ...] = ()
    rows: tuple[int, int] = (1, 1)


class _Reader:
    def __init__(self, tree: ast.Module, *, may_skip: bool) -> None:
        self.tree = tree
        self.may_skip = may_skip  # else looking for skips is a waste of time
        self.aliases: dict[str, tuple[str, ...]] = {}
        self.cases: dict[str, Case] = {}
        functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
        self.weigher = Weigher({f.name: f for f in functions if not f.name.startswith("test")})
        self.fixtures = {f.name for f in functions if any("fixture" in ast.dump(d) for d in f.decorator_list)}

    def suite(self) -> Suite:
        scope = _Scope()
        for statement in self.tree.body:
            if isinstance(statement, ast.Assign) and (marks := tuple(_marks(statement.value))):
                for target in statement.targets:
                    if isinstance(target, ast.Name):
                        self.aliases[target.id] = marks
                        if target.id == "pytestmark":
                            scope = replace(scope, skips=tuple(f"module: {mark}" for mark in marks))
            if self.may_skip and not any(isinstance(node, (*Function, ast.ClassDef)) for node in ast.walk(statement)):
                scope = replace(scope, skips=(*scope.skips, *(f"module: {m}" for m in _skip_calls(statement))))
        self._body(self.tree.body, scope)
        return Suite(self.cases)

    def _body(self, statements: Sequence[ast.stmt], scope: _Scope) -> None:
        for statement in statements:
            if isinstance(statement, Function):
                if statement.name.startswith("test"):
                    self._case(statement, scope)
            elif isinstance(statement, ast.ClassDef):
                if _collected(statement):
                    self._body(statement.body, self._class_scope(statement, scope))
            elif isinstance(statement, ast.If):
                # Code that never runs defines no tests.
                self._body([] if never(statement.test) else statement.body, scope)
                self._body(statement.orelse, scope)
            elif isinstance(statement, ast.Try | ast.With):
                for nested in _blocks(statement):
                    self._body(nested, scope)
            else:
                self._rebound(statement, scope)

    def _rebound(self, statement: ast.stmt, scope: _Scope) -> None:
        """``test_x = None``, ``del test_x`` and ``test_x.__test__ = False`` take a test away after its definition."""
        targets = statement.targets if isinstance(statement, ast.Assign | ast.Delete) else []
        for target in targets:
            if isinstance(target, ast.Name):
                self.cases.pop(scope.prefix + target.id, None)
            elif isinstance(target, ast.Attribute) and target.attr == "__test__" and isinstance(target.value, ast.Name):
                owner = scope.prefix + target.value.id
                for name in [n for n in self.cases if n == owner or n.startswith(owner + ".")]:
                    del self.cases[name]

    def _class_scope(self, node: ast.ClassDef, scope: _Scope) -> _Scope:
        marks = [mark for decorator in node.decorator_list for mark in self._decorator(decorator)]
        low, high = scope.rows
        for decorator in node.decorator_list:
            less, more = rows(decorator)
            low, high = low * less, high * more
        for statement in node.body:
            if isinstance(statement, ast.Assign) and any(_is(target, "pytestmark") for target in statement.targets):
                marks += _marks(statement.value)
        inherited = (*scope.skips, *(f"class: {mark}" for mark in marks))
        return _Scope(f"{scope.prefix}{node.name}.", inherited, (low, high))

    def _case(self, node: Helpers, scope: _Scope) -> None:
        skips = [mark for decorator in node.decorator_list for mark in self._decorator(decorator)]
        skips += _skip_calls(*node.body)
        low, high = self.weigher.body(node.body)
        for times in (scope.rows, *(rows(decorator) for decorator in node.decorator_list)):
            low, high = low * times[0], high * times[1]
        for argument in (*node.args.args, *node.args.kwonlyargs):
            if argument.arg in self.fixtures and (check := self.weigher.known(argument.arg)):
                low, high = low + check[0], high + check[1]  # a fixture of this file may check what it hands out
        name = scope.prefix + node.name
        words, bones = _words(node)
        text = ast.unparse(node.body[0])[:200] if len(node.body) == 1 else f"{len(node.body)} statements"
        excerpt = f"def {node.name}(…): {text}"
        self.cases.pop(name, None)  # the last definition wins, as in Python
        self.cases[name] = Case(
            name, node.name, node.lineno, excerpt, low, high, (*scope.skips, *skips), _hollow(node), words, bones
        )

    def _decorator(self, decorator: ast.expr) -> Iterator[str]:
        yield from _marks(decorator)
        if isinstance(decorator, ast.Name):
            yield from self.aliases.get(decorator.id, ())


def _collected(node: ast.ClassDef) -> bool:
    """Whether pytest or unittest would look into the class."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and _is(statement.targets[0], "__test__"):
            return not never(statement.value)
    if node.bases:
        bases = " ".join(name_of(base) for base in node.bases)
        return node.name.startswith("Test") or _TESTCASE.search(f"{node.name} {bases}") is not None
    has_init = any(isinstance(s, Function) and s.name == "__init__" for s in node.body)
    return node.name.startswith("Test") and not has_init


def _marks(expression: ast.expr) -> Iterator[str]:
    """Skip marks anywhere in a decorator or a ``pytestmark``; ``pytest.param(…, marks=…)`` too."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Attribute | ast.Name) and (name := name_of(node)) in _SKIP_MARKS:
            yield name


def _skip_calls(*statements: ast.stmt) -> Iterator[str]:
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                owner = name_of(node.func.value) if isinstance(node.func, ast.Attribute) else ""
                name = name_of(node.func)
                if name in _SKIP_CALLS and (owner in _SKIP_OWNERS or (not owner and name in ("skipTest", "SkipTest"))):
                    yield f"{owner}.{name}()" if owner else f"{name}()"


def _words(node: Helpers) -> tuple[Counter[str], Counter[str]]:
    words: Counter[str] = Counter()
    bones: Counter[str] = Counter()
    # The rows of a table name what several former tests named in their bodies.
    for statement in (*node.decorator_list, *(node.body[1:] if _documented(node) else node.body)):
        for part in ast.walk(statement):
            if isinstance(part, ast.Name):
                words[part.id] += 1
            elif isinstance(part, ast.Attribute):
                words[part.attr] += 1
                bones[part.attr] += 1
            elif isinstance(part, ast.Constant):
                words[repr(part.value)[:80]] += 1
            elif isinstance(part, ast.keyword) and part.arg:
                words[part.arg] += 1
            if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
                bones[part.func.id] += 1
    return words, bones


def _hollow(node: Helpers) -> bool:
    """Whether the body does nothing."""
    return all(
        isinstance(statement, ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        or (
            isinstance(statement, ast.Return) and (statement.value is None or isinstance(statement.value, ast.Constant))
        )
        for statement in node.body
    )


def _documented(node: Helpers) -> bool:
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        yield getattr(node, name, [])
    for handler in getattr(node, "handlers", []):
        yield handler.body


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
