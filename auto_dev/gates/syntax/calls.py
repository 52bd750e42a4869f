"""What the calls in a test's expressions do: assertions, helpers, callbacks, mocks, waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from auto_dev.gates.syntax.canon import called, canonical, constant, size_of
from auto_dev.gates.syntax.claims import Claim, value_of
from auto_dev.gates.syntax.code import (
    Await,
    Call,
    Expr,
    Function,
    Lambda,
    Literal,
    Member,
    Name,
    Stmt,
    Unit,
    children,
    dotted,
    leaf,
)
from auto_dev.gates.syntax.dialect import Dialect
from auto_dev.gates.syntax.flow import RECOVER, recovers, silent
from auto_dev.gates.syntax.here import CAP, Here, Trace
from auto_dev.gates.syntax.parse import tick
from auto_dev.gates.syntax.strength import Check
from auto_dev.gates.syntax.suite import MANY
from auto_dev.gates.syntax.values import Values

_CHECKS: Final = 400  # kept for one test; more are counted only
_INLINED: Final = 4  # helpers that call helpers
# What may stand, seen kindly, for several assertions: a helper from elsewhere; raises(X, match=…).
_STANDS_FOR: Final = {"unknown": 3, "some error": 2, "error": 2, "error text": 3, "error words": 3}


class Calls(Values):
    """Follows expressions. ``trace``: what was found so far."""

    def __init__(self, unit: Unit, dialect: Dialect, helpers: Mapping[str, Function]) -> None:
        super().__init__(unit, dialect, helpers)
        self.trace = Trace()
        self._following: set[str] = set()

    def body(self, statements: Sequence[Stmt], here: Here) -> None:
        """Follow a block."""
        raise NotImplementedError

    def expression(self, node: Expr, here: Here, last: int = 0) -> None:
        """Find what the calls in ``node`` do."""
        tick()
        if isinstance(node, Await):
            self.expression(node.value, replace(here, awaited=True), last)
        elif isinstance(node, Call):
            self._call(node, here, last)
        elif not isinstance(node, Lambda | Literal | Name):
            for child in children(node):
                self.expression(child, here, last)

    def _call(self, node: Call, here: Here, last: int) -> None:
        if len(self.trace.checks) < _CHECKS and (found := self.dialect.asserted(node)) is not None:
            self.claimed(found, node.line, max(last, node.last), here)
            self.inner_calls(node, here)
            self._validators(node, found, here)
            return
        if skip := self.dialect.skipped(node):
            self.trace.skips.append(skip)
        self.trace.mocks.update(self.dialect.mocked(node))
        self._waited(node)
        if (step := self.dialect.step(node)) is not None:
            self.trace.steps.append((*step, here))
            return
        if isinstance(node.function, Lambda):
            self._enter(node.function.function, node.arguments, here)
        elif self._helper(node, here, last):
            pass
        name = leaf(node.function)
        handled = name in ("then", "catch", "finally") and isinstance(node.function, Member)
        if name == "catch" and isinstance(node.function, Member) and self._drops(node):
            self.trace.swallows |= called(node.function.owner)
        self.expression(node.function, replace(here, awaited=True) if handled else here, last)
        for argument in (*node.arguments, *(value for _, value in node.keywords)):
            if isinstance(argument, Lambda):
                self._callback(node, name, argument, here)
            elif isinstance(argument, Name) and argument.name in here.local:
                self._enter(here.local[argument.name], (), here)
            else:
                self.expression(argument, here, last)

    def _drops(self, node: Call) -> bool:
        """``.catch(() => {})``: nobody hears of what went wrong."""
        given = node.argument(0)
        return isinstance(given, Lambda) and silent(given.function.body, self.dialect)

    def _callback(self, node: Call, name: str, given: Lambda, here: Here) -> None:
        inner = here
        if name in self.dialect.loops and isinstance(node.function, Member):
            low, high = self.length(node.function.owner, here)
            inner = here.looped(canonical(node.function.owner, here.names)).times(low, high)
        elif name in self.dialect.later and not here.awaited:
            inner = here.guarded("callback")
        self._enter(given.function, (), replace(inner, awaited=here.awaited or given.function.expression))

    def inner_calls(self, node: Expr, here: Here) -> None:
        """Mocks and waits among the arguments of an assertion."""
        for child in children(node):
            if isinstance(child, Call):
                self.trace.mocks.update(self.dialect.mocked(child))
                self._waited(child)
            if not isinstance(child, Lambda):
                self.inner_calls(child, here)

    def _validators(self, node: Call, found: list[Claim], here: Here) -> None:
        """Functions that look at what was thrown, or that must run through, assert something themselves."""
        runs = any(claim.op == "runs" for claim in found)
        for index, argument in enumerate(node.arguments):
            if isinstance(argument, Lambda) and (index > 0 or runs):
                self._enter(argument.function, (), replace(here, awaited=True))

    def _helper(self, node: Call, here: Here, last: int) -> bool:
        """Follow a call of a function of this file; count one from elsewhere whose name says that it checks."""
        name = leaf(node.function)
        function = here.local.get(name) or self.helpers.get(name)
        if function is not None:
            key = f"{name}:{function.line}"
            if here.depth < _INLINED and key not in self._following and len(self.trace.checks) < _CHECKS:
                self._following.add(key)
                begin = len(self.trace.checks)
                self._enter(function, node.arguments, here, node)
                self._following.discard(key)
                if here.depth == 0:
                    text = self.unit.excerpt(node.line, max(last, node.last))
                    for check in self.trace.checks[begin:]:  # shown where the test calls the helper
                        check.line, check.text = node.line, text
                if function.asynchronous and not here.awaited:
                    for check in self.trace.checks[begin:]:
                        check.guards = (*check.guards, "not awaited")
            return True
        if not self.dialect.helper(name):
            return False
        self.add(Claim("unknown", node), node.line, max(last, node.last), here)
        return True

    def _enter(self, function: Function, arguments: Sequence[Expr], here: Here, call: Call | None = None) -> None:
        """Follow a function's body with what it is given."""
        if here.depth > 3 * _INLINED:
            return
        if recovers(function.body, self.dialect):
            self.trace.swallows.add(RECOVER)
        names = dict(here.names)
        for index, param in enumerate(function.params):
            names[param] = (
                canonical(arguments[index], here.names) if index < len(arguments) else f"given{here.depth}.{index}"
            )
        for name, value in call.keywords if call is not None else ():
            names[name] = canonical(value, here.names)
        values = {name: value for name, value in here.values.items() if name not in function.params}
        for param, argument in zip(function.params, arguments, strict=False):
            if (known := self.resolve(argument, here)) is not None:
                values[param] = known
        local = here.local if call is None else dict(here.local)
        inner = replace(here, depth=here.depth + 1, names=names, values=values, local=dict(local))
        if call is not None:
            inner = replace(inner, awaited=False)
        self.body(function.body, inner)

    def _waited(self, node: Call) -> None:
        if leaf(node.function) in self.dialect.waits and len(self.trace.waits) < 200:
            amounts = [value_of(argument) for argument in node.arguments]
            known = [amount for amount in amounts if amount is not None]
            if known:
                self.trace.waits.append((dotted(node.function) or leaf(node.function), max(known), node.line))

    def claimed(self, found: list[Claim], line: int, last: int, here: Here) -> None:
        for claim in found:
            self.add(claim, line, last, here)

    def add(self, claim: Claim, line: int, last: int, here: Here) -> None:
        trace = self.trace
        many = MANY if claim.many else 1
        parts = (
            size_of(self.resolve(claim.expected, here))
            if claim.expected is not None and claim.op in ("eq", "partial")
            else 1
        )
        kind = max(_STANDS_FOR.get(claim.op, 1), parts)
        low, high = here.low, min(here.high * many, CAP)
        if "except" in here.guards:
            low = 0
        awaits = ("not awaited",) if claim.promise and not here.awaited else ()
        expected = canonical(claim.expected, here.names) if claim.expected is not None else ""
        resolved = self.resolve(claim.expected, here) if claim.expected is not None else None
        check = Check(
            claim.op, canonical(claim.subject, here.names), expected, line, self.unit.excerpt(line, last),
            claim.negative, canonical(claim.subject), resolved is not None and constant(resolved), parts,
            claim.tolerance, (*here.guards, *awaits), here.awaited, low, high,
            self.uses(claim.subject, here), self.uses(claim.expected, here, claim.subject), here.over, claim.choices,
        )  # fmt: skip
        if check.counts:
            trace.low = min(trace.low + low, CAP)
            trace.high = min(trace.high + high * kind, CAP)
        if len(trace.checks) < _CHECKS:
            trace.checks.append(check)
