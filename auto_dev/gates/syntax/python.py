"""Python tests: what pytest and unittest would collect, what it asserts, what skips it."""

from __future__ import annotations

import ast
import re
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Final

from auto_dev.gates.syntax.canon import PARTS, canonical
from auto_dev.gates.syntax.claims import truth_of, value_of
from auto_dev.gates.syntax.code import (
    Bind,
    Body,
    Call,
    Class,
    Expr,
    Function,
    Group,
    If,
    Literal,
    Member,
    Name,
    Stmt,
    Try,
    Unit,
    Using,
    leaf,
    parts,
    statements,
    walk,
)
from auto_dev.gates.syntax.dialect_python import PythonDialect
from auto_dev.gates.syntax.here import Here
from auto_dev.gates.syntax.lower_python import lower_python
from auto_dev.gates.syntax.parse import TooLong
from auto_dev.gates.syntax.reader import Reader
from auto_dev.gates.syntax.suite import MANY, Suite

_SKIPS: Final = frozenset(("skip", "skipif", "xfail", "skipIf", "skipUnless", "expectedFailure", "importorskip"))
_NO_TEST: Final = frozenset(("fixture", "property", "contextmanager", "hookimpl"))  # pytest takes no such function
_TESTCASE: Final = re.compile(r"test|spec", re.IGNORECASE)
_MARKED: Final = frozenset(("parametrize", "usefixtures", "filterwarnings", "asyncio", "anyio", "django_db", "given"))


def read_python(source: bytes) -> Suite:
    """The tests of a Python file; ``problem`` says why it cannot be parsed. Never raises."""
    try:
        tokenize.detect_encoding(BytesIO(source).readline)
        unit = lower_python(source)
    except (SyntaxError, LookupError) as error:
        return Suite(problem=f"not Python: {error.args[0] if error.args else error}")
    except TooLong:
        return Suite(problem="takes too long to be read")
    if b"\0" in source:
        return Suite(problem="not Python: null bytes")
    return _PythonReader(unit).suite(_broken(unit, source))


def _broken(unit: Unit, source: bytes) -> str:
    """Why Python would not take the source. Two parsers must say so, for each may be older than the source."""
    if not unit.faults:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except (SyntaxError, ValueError) as error:
        return f"not Python: {error.args[0] if error.args else error} in line {unit.faults[0]}"
    except (RecursionError, MemoryError):
        return "nested too deeply to be parsed"
    unit.faults = ()
    return ""


@dataclass(frozen=True, slots=True)
class _Scope:
    """What tests inherit from their class and module."""

    prefix: str = ""
    skips: tuple[str, ...] = ()
    times: tuple[int, int] = (1, 1)
    marks: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


class _PythonReader(Reader):
    def __init__(self, unit: Unit) -> None:
        functions = [node for node in statements(unit.body) if isinstance(node, Function)]
        super().__init__(unit, PythonDialect(), {f.name: f for f in functions if not f.name.startswith("test")})
        self.aliases: dict[str, tuple[str, ...]] = {}
        self.fixtures = {f.name: f for f in functions if any("fixture" in canonical(d) for d in f.decorators)}
        self._collect(unit.body, self._module(unit.body))

    def _module(self, body: Body) -> _Scope:
        skips: list[str] = []
        marks: list[str] = []
        for statement in body:
            if isinstance(statement, Bind) and statement.value is not None:
                found = tuple(self._skips(statement.value))
                for name in statement.names if found else ():
                    self.aliases[name] = found
                if "__test__" in statement.names and truth_of(statement.value) is False:
                    skips.append("module: __test__ = False")
                if "pytestmark" in statement.names:
                    skips += [f"module: {mark}" for mark in found]
                    marks += _labels(statement.value)
            if not isinstance(statement, Function | Class) and not _defines(statement):
                trace = self.tracer.run((statement,))
                skips += [f"module: {skip}" for skip in trace.skips]
        return _Scope(skips=tuple(skips), marks=tuple(marks))

    def _collect(self, body: Body, scope: _Scope) -> None:
        for statement in body:
            if isinstance(statement, Function):
                if statement.name.startswith("test") and not any(leaf(one) in _NO_TEST for one in statement.decorators):
                    self._test(statement, scope)
            elif isinstance(statement, Class):
                if _collected(statement):
                    self._collect(statement.body, self._class(statement, scope))
            elif isinstance(statement, If):
                self._chosen(statement, scope)
            elif isinstance(statement, Try | Using):
                for block in parts(statement)[1]:
                    self._collect(block, scope)
            elif isinstance(statement, Bind):
                self._rebound(statement, scope)

    def _chosen(self, statement: If, scope: _Scope) -> None:
        """Code that never runs defines no tests; what depends on a condition may define none."""
        truth = truth_of(statement.test)
        condition = f"if {canonical(statement.test)[:120]}"
        if truth is not False:
            self._collect(statement.then, scope if truth else replace(scope, skips=(*scope.skips, condition)))
        if truth is not True:
            self._collect(
                statement.otherwise,
                scope if truth is False else replace(scope, skips=(*scope.skips, f"not {condition}")),
            )

    def _rebound(self, statement: Bind, scope: _Scope) -> None:
        """``test_x = None``, ``del test_x`` and ``test_x.__test__ = False`` take a test away after its definition."""
        for name in statement.names:
            if name:
                self.cases.pop(scope.prefix + name, None)
        for target in statement.targets:
            if isinstance(target, Member) and target.name == "__test__" and isinstance(target.owner, Name):
                owner = scope.prefix + target.owner.name
                for name in [n for n in self.cases if n == owner or n.startswith(owner + ".")]:
                    del self.cases[name]

    def _class(self, node: Class, scope: _Scope) -> _Scope:
        bound = [one for one in node.body if isinstance(one, Bind) and "pytestmark" in one.names]
        above = [*node.decorators, *(one.value for one in bound if one.value is not None)]
        skips = (*scope.skips, *(f"class: {mark}" for one in above for mark in self._skips(one)))
        times, rows = self._times(above)
        low, high = scope.times[0] * times[0], scope.times[1] * times[1]
        marks = (*scope.marks, *(label for one in above for label in _labels(one)))
        return _Scope(f"{scope.prefix}{node.name}.", skips, (low, high), marks, (*scope.rows, *rows))

    def _test(self, node: Function, scope: _Scope) -> None:
        skips = [mark for decorator in node.decorators for mark in self._skips(decorator)]
        skips += [text for decorator in node.decorators if (text := _part(decorator))]
        times, rows = self._times(node.decorators)
        here = self.tracer.begin()
        for decorator in node.decorators:
            _name_rows(decorator, here)
        trace = self.tracer.run(node.body, here)
        for decorator in node.decorators:
            if isinstance(decorator, Call):
                trace.mocks.update(self.dialect.mocked(decorator))
        for param in node.params:
            if param in self.fixtures:  # a fixture of this file may check what it hands out
                checked = self.tracer.run(self.fixtures[param].body)
                trace.low, trace.high = trace.low + checked.low, trace.high + checked.high
                trace.checks += checked.checks
        name = scope.prefix + node.name
        case = self.case(
            name, node.name, node.line, node.body, trace, above=node.decorators, skips=(*scope.skips, *skips),
            times=(scope.times[0] * times[0], scope.times[1] * times[1]), rows=(*scope.rows, *rows),
            marks=(*scope.marks, *(label for one in node.decorators for label in _labels(one))),
            waits=_patience(node.decorators), excerpt=_excerpt(self.unit, node),
        )  # fmt: skip
        self.add(case, last=True)  # the last definition wins, as in Python

    def _times(self, decorators: list[Expr] | tuple[Expr, ...]) -> tuple[tuple[int, int], list[str]]:
        """How often the decorators make a test run, and the rows of their tables."""
        low = high = 1
        rows: list[str] = []
        for decorator in decorators:
            if not isinstance(decorator, Call):
                continue
            name = leaf(decorator.function)
            if name == "parametrize":
                values = decorator.argument(1) or decorator.keyword("argvalues")
                values = self.tracer.resolve(values, self.tracer.module)
                least, most = self.tracer.length(values, self.tracer.module) if values is not None else (1, MANY)
                low, high = low * least, high * most
                if isinstance(values, Group):
                    rows += [_row(item) for item in values.items[:1_000]]
            elif name in ("given", "expand", "data", "cases"):
                high *= MANY
                rows += [canonical(one) for one in decorator.arguments[:1_000]] if name in ("data", "cases") else []
            elif name == "example":
                rows.append(canonical(decorator))
        return (low, high), rows

    def _skips(self, expression: Expr) -> Iterator[str]:
        """Skip marks anywhere in a decorator or a ``pytestmark``, with their conditions; also those of single rows."""
        if isinstance(expression, Name):
            yield from self.aliases.get(expression.name, ())
        seen: set[int] = set()
        for node in walk(expression):
            if id(node) in seen:
                continue
            if isinstance(node, Call) and leaf(node.function) in _SKIPS:
                seen.add(id(node.function))
                condition = next(
                    (one for one in node.arguments if not isinstance(one, Literal) or one.kind == "bool"), None
                )
                name = leaf(node.function)
                yield f"{name}({canonical(condition)[:120]})" if condition is not None else name
            elif isinstance(node, Member | Name) and node.name in _SKIPS:
                yield node.name


def _row(item: Expr) -> str:
    """A row of a table without its name and marks: what is tested."""
    if isinstance(item, Call) and leaf(item.function) == "param":
        inside = item.arguments
        return canonical(inside[0] if len(inside) == 1 else Group(item.line, "tuple", inside))
    return canonical(item)


def _part(decorator: Expr) -> str:
    """``parametrize("x", CASES[1:])``: not every row is tried."""
    if not isinstance(decorator, Call) or leaf(decorator.function) != "parametrize":
        return ""
    values = decorator.argument(1) or decorator.keyword("argvalues")
    text = canonical(values) if values is not None and not isinstance(values, Group) else ""
    return f"only {text[:120]}" if PARTS.search(text) else ""


def _name_rows(decorator: Expr, here: Here) -> None:
    """The parameters of a table are local names like any other."""
    if not isinstance(decorator, Call) or leaf(decorator.function) != "parametrize":
        return
    names = decorator.argument(0)
    if isinstance(names, Literal):
        said = [part.strip() for part in names.text.split(",") if part.strip()]
    elif isinstance(names, Group):
        said = [part.text for part in names.items if isinstance(part, Literal)]
    else:
        said = []
    at = sum(1 for value in here.names.values() if value.startswith("row."))
    for index, name in enumerate(said):
        here.names[name] = f"row.{at + index}"


def _labels(expression: Expr) -> Iterator[str]:
    """``slow`` of ``@pytest.mark.slow``."""
    for node in walk(expression):
        if (
            isinstance(node, Member)
            and isinstance(node.owner, Member)
            and node.owner.name == "mark"
            and node.name not in _MARKED
        ):
            yield node.name


def _patience(decorators: tuple[Expr, ...]) -> list[tuple[str, float, int]]:
    """Timeouts, retries and numbers of examples that decorators set."""
    found: list[tuple[str, float, int]] = []
    for decorator in decorators:
        name = leaf(decorator)
        if name in ("flaky", "retry", "timeout") and not isinstance(decorator, Call):
            found.append((name, 2.0, decorator.line))
        if isinstance(decorator, Call) and name in ("flaky", "retry", "timeout", "repeat"):
            values = [value_of(v) for v in (*decorator.arguments, *(v for _, v in decorator.keywords))]
            found.append((name, max([v for v in values if v is not None], default=2.0), decorator.line))
        if (
            isinstance(decorator, Call)
            and name == "settings"
            and (count := value_of(decorator.keyword("max_examples")))
        ):
            found.append(("examples", count, decorator.line))
    return found


def _collected(node: Class) -> bool:
    """Whether pytest or unittest would look into the class."""
    for statement in node.body:
        if isinstance(statement, Bind) and "__test__" in statement.names and statement.value is not None:
            return truth_of(statement.value) is not False
    if node.bases:
        bases = " ".join(leaf(base) for base in node.bases)
        return node.name.startswith("Test") or _TESTCASE.search(f"{node.name} {bases}") is not None
    has_init = any(isinstance(s, Function) and s.name == "__init__" for s in node.body)
    return node.name.startswith("Test") and not has_init


def _defines(statement: Stmt) -> bool:
    """Whether functions or classes are defined in the statement."""
    return any(isinstance(part, Function | Class) for part in statements((statement,)))


def _excerpt(unit: Unit, node: Function) -> str:
    first = node.body[0] if node.body else None
    text = unit.excerpt(first.line, getattr(first, "last", 0), 200) if len(node.body) == 1 and first is not None else ""
    return f"def {node.name}(…): {text or f'{len(node.body)} statements'}"
