"""Rust tests: ``#[test]`` and its relatives, rstest, test_case, proptest, quickcheck, and macros that declare tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from auto_dev.gates.syntax.canon import canonical
from auto_dev.gates.syntax.claims import Claim
from auto_dev.gates.syntax.code import (
    Body,
    Call,
    Class,
    Do,
    Expr,
    Function,
    Lambda,
    Name,
    Unit,
    dotted,
    leaf,
    statements,
)
from auto_dev.gates.syntax.dialect_rust import RustDialect
from auto_dev.gates.syntax.lower_rust import lower_rust
from auto_dev.gates.syntax.parse import TooLong
from auto_dev.gates.syntax.reader import Reader
from auto_dev.gates.syntax.suite import MANY, Suite

_TESTS: Final = frozenset(
    ("test", "rstest", "test_case", "quickcheck", "wasm_bindgen_test", "proptest", "test_log", "gtest", "case")
)
_ROWS: Final = frozenset(("case", "test_case", "values"))


def read_rust(source: bytes) -> Suite:
    """The tests of a Rust file. Never raises."""
    try:
        unit = lower_rust(source)
    except TooLong:
        return Suite(problem="takes too long to be read")
    return _RustReader(unit).suite()


@dataclass(frozen=True, slots=True)
class _Scope:
    prefix: str = ""
    skips: tuple[str, ...] = ()


class _RustReader(Reader):
    def __init__(self, unit: Unit) -> None:
        functions = [node for node in statements(unit.body) if isinstance(node, Function) and node.name]
        super().__init__(unit, RustDialect(), {f.name: f for f in functions if not _is_test(f)})
        self._collect(unit.body, _Scope())

    def _collect(self, body: Body, scope: _Scope) -> None:
        for statement in body:
            if isinstance(statement, Class):
                inner = (*scope.skips, *(s for s in _skips(statement.decorators) if s != "cfg(test)"))
                prefix = f"{scope.prefix}{statement.name}::" if statement.kind == "mod" else scope.prefix
                self._collect(statement.body, _Scope(prefix, inner))
            elif isinstance(statement, Function):
                if _is_test(statement):
                    self._test(statement, scope)
            elif isinstance(statement, Do) and isinstance(statement.value, Call):
                self._declared(statement.value, scope)

    def _test(self, node: Function, scope: _Scope) -> None:
        trace = self.tracer.run(node.body)
        panics = next((d for d in node.decorators if leaf(d) == "should_panic"), None)
        if panics is not None:
            text = panics.keyword("expected") or panics.argument(0) if isinstance(panics, Call) else None
            claim = Claim("error text" if text is not None else "some error", Name(node.line, "panic"), text)
            self.tracer.add(claim, panics.line, panics.line, self.tracer.module)
        else:  # a test that asserts nothing must not panic either
            here = replace(self.tracer.module, guards=("implied",), low=0, high=1)
            self.tracer.add(Claim("runs", Name(node.line, "panic")), node.line, node.line, here)
            trace.high -= 1
        rows = [
            canonical(d) for d in node.decorators if leaf(d) in _ROWS or (isinstance(d, Call) and _begins(d, _ROWS))
        ]
        name = scope.prefix + node.name
        times = (max(len(rows), 1), max(len(rows), 1) * (MANY if any(t == "in" for t in node.takes) else 1))
        case = self.case(
            name, node.name, node.line, node.body, trace, above=node.decorators, rows=rows, times=times,
            skips=(*scope.skips, *_skips(node.decorators)),
        )  # fmt: skip
        self.add(case)

    def _declared(self, call: Call, scope: _Scope) -> None:
        """``mytest!(name, |…| {…})``: a macro of the project that declares a test."""
        first = call.argument(0)
        body = next((one for one in call.arguments if isinstance(one, Lambda)), None)
        if not leaf(call.function).endswith("!") or not isinstance(first, Name) or body is None:
            return
        trace = self.tracer.run(body.function.body)
        name = scope.prefix + first.name
        self.add(self.case(name, first.name, call.line, body.function.body, trace, skips=scope.skips))


def _is_test(node: Function) -> bool:
    return any(leaf(d) in _TESTS or (isinstance(d, Call) and _begins(d, _TESTS)) for d in node.decorators)


def _begins(node: Expr, names: frozenset[str]) -> bool:
    """``case::name(…)`` begins with ``case``."""
    first = dotted(node).split(".")[0]
    return first in names and first != "test"


def _skips(decorators: Iterable[Expr]) -> tuple[str, ...]:
    """``#[ignore]``, ``#[cfg(…)]``, ``#[cfg_attr(…, ignore)]``."""
    found: list[str] = []
    for decorator in decorators:
        name = leaf(decorator)
        if name == "ignore":
            found.append("ignore")
        elif name == "cfg" or (name == "cfg_attr" and "ignore" in canonical(decorator)):
            found.append(canonical(decorator)[:200])
    return tuple(found)
