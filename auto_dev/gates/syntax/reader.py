"""What the readers of all languages share: from a traced body to a test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from typing import Final

from auto_dev.gates.syntax.code import Bind, Body, Do, Expr, Function, Leave, Literal, Stmt, Unit
from auto_dev.gates.syntax.dialect import Dialect
from auto_dev.gates.syntax.here import CAP, Trace
from auto_dev.gates.syntax.suite import Case, Suite
from auto_dev.gates.syntax.trace import Tracer
from auto_dev.gates.syntax.words import bag

_CASES: Final = 5_000  # of one file


class Reader:
    """Collects the tests of one file. Subclasses find them."""

    def __init__(self, unit: Unit, dialect: Dialect, helpers: Mapping[str, Function]) -> None:
        self.unit = unit
        self.dialect = dialect
        self.functions = helpers
        self.tracer = Tracer(unit, dialect, helpers)
        self.cases: dict[str, Case] = {}
        self.focus: list[tuple[int, str]] = []

    def suite(self, problem: str = "") -> Suite:
        problem = problem or (f"syntax error in line {self.unit.faults[0]}" if self.unit.faults else "")
        if self.unit.deep and not problem:
            problem = "nested too deeply to be read wholly"
        return Suite(
            self.cases, problem, tuple(self.focus), self.helpers(), self.unit.imports, frozenset(self.functions)
        )

    def add(self, case: Case, *, last: bool = False) -> None:
        """Take up a test; of two with one name the second gets a number, or (``last``) takes the place of the first."""
        if len(self.cases) >= _CASES:
            return
        name = case.name
        if last:
            self.cases.pop(name, None)
        elif name in self.cases:
            name = next(f"{name} #{number}" for number in count(2) if f"{name} #{number}" not in self.cases)
            case = _renamed(case, name)
        self.cases[name] = case

    def case(
        self, name: str, leaf: str, line: int, body: Body, trace: Trace, *,
        above: Iterable[Expr] = (), skips: Iterable[str] = (), times: tuple[int, int] = (1, 1),
        rows: Iterable[str] = (),
        within: str = "", marks: Iterable[str] = (), waits: Iterable[tuple[str, float, int]] = (), excerpt: str = "",
    ) -> Case:  # fmt: skip
        """A test from its traced body."""
        words, bones = bag(body, above)
        low, high = (min(trace.low * times[0], CAP), min(trace.high * times[1], CAP))
        return Case(
            name, leaf, line, excerpt or self.unit.excerpt(line), low, high,
            tuple(dict.fromkeys((*skips, *trace.skips))), hollow(body), words, bones, tuple(trace.checks),
            (*rows, *trace.rows), times, within, frozenset(trace.mocks), (*waits, *trace.waits), frozenset(marks),
            frozenset(trace.swallows),
        )  # fmt: skip

    def steps(
        self, trace: Trace, name: str, *, skips: tuple[str, ...] = (), times: tuple[int, int] = (1, 1), mark: str = "/"
    ) -> None:
        """The subtests that a traced body declares, each as a test of its own."""
        for label, body, here in trace.steps:
            full = f"{name}{mark}{label.replace(' ', '_') if mark == '/' else label}"
            inner = replace(
                here, awaited=False, depth=0, names=dict(here.names), values=dict(here.values), local=dict(here.local)
            )
            found = self.tracer.run(body.function.body, inner)
            self.add(
                self.case(full, label, body.line, body.function.body, found, skips=skips, times=times, within=name)
            )
            self.steps(found, full, skips=(*skips, *found.skips), times=times, mark=mark)

    def helpers(self) -> dict[str, Case]:
        """The functions of the file that are no tests but assert something by themselves."""
        found: dict[str, Case] = {}
        for name, function in list(self.functions.items())[:_CASES]:
            trace = self.tracer.run(function.body)
            if trace.checks:
                found[name] = self.case(name, name, function.line, function.body, trace)
        return found


def hollow(body: Body) -> bool:
    """Whether a body does nothing."""
    return all(_idle(statement) for statement in body)


def _idle(statement: Stmt) -> bool:
    if isinstance(statement, Do):
        return isinstance(statement.value, Literal)
    if isinstance(statement, Bind):
        return statement.value is None
    return isinstance(statement, Leave) and (statement.value is None or isinstance(statement.value, Literal)) and (
        statement.kind == "return"
    )  # fmt: skip


def _renamed(case: Case, name: str) -> Case:
    return replace(case, name=name)
