"""JavaScript and TypeScript tests: jest, vitest, mocha, playwright, node:test, bun, ava, tap, QUnit, cypress."""

from __future__ import annotations

from dataclasses import replace

from auto_dev.gates.syntax.bdd import BddReader
from auto_dev.gates.syntax.code import Bind, Call, Do, Function, Lambda, Leave, Stmt, Unit, statements
from auto_dev.gates.syntax.dialect_javascript import JavaScriptDialect
from auto_dev.gates.syntax.lower_javascript import lower_javascript
from auto_dev.gates.syntax.parse import TooLong
from auto_dev.gates.syntax.suite import Case, Suite

_GRAMMARS = {"ts": "typescript", "mts": "typescript", "cts": "typescript", "tsx": "tsx"}
TOP = "(top level)"


def read_javascript(source: bytes, suffix: str = "tsx") -> Suite:
    """The tests of a file with this ``suffix``. Never raises."""
    try:
        unit = lower_javascript(source, _GRAMMARS.get(suffix, "javascript"))
    except TooLong:
        return Suite(problem="takes too long to be read")
    return _JavaScriptReader(unit).suite()


class _JavaScriptReader(BddReader):
    def __init__(self, unit: Unit) -> None:
        functions = {node.name: node for node in statements(unit.body) if isinstance(node, Function) and node.name}
        super().__init__(unit, JavaScriptDialect(), functions)
        self.collect(unit.body)
        self._script()

    def _script(self) -> None:
        """A test file that asserts without declaring a test is one test; mocks of modules belong to every test."""
        loose = tuple(s for s in self.unit.body if isinstance(s, Do | Bind | Leave) and not self._declares(s))
        trace = self.tracer.run(loose)
        if not self.cases and trace.checks:
            self.add(self.case(TOP, TOP, trace.checks[0].line, loose, trace))
        if modules := frozenset(name for name in trace.mocks if name.startswith("module ")):
            self.cases = {name: replace(case, mocks=case.mocks | modules) for name, case in self.cases.items()}

    def _declares(self, statement: Stmt) -> bool:
        """Whether a statement declares tests, or has a function in it that may."""
        value = statement.value if isinstance(statement, Do) else None
        if not isinstance(value, Call) or self.tracer.dialect.mocked(value):
            return False
        return bool(self.cases) and any(isinstance(one, Lambda) for one in value.arguments)

    def helpers(self) -> dict[str, Case]:
        return {**super().helpers(), **self.hooks}  # type: ignore[dict-item]
