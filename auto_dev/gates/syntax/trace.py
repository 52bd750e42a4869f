"""What a test does, followed through its branches, loops, helpers and callbacks: its assertions and how often they run.

The strict count is taken of the base and the kind one of the head, so that an honest refactoring that cannot be counted
exactly (a helper, a table, a loop) is not held against it, while assertions that are simply gone are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from auto_dev.gates.syntax.calls import Calls
from auto_dev.gates.syntax.canon import canonical
from auto_dev.gates.syntax.claims import Claim, claims, truth_of
from auto_dev.gates.syntax.code import (
    NOTHING,
    Assert,
    Await,
    Bind,
    Body,
    Call,
    Choice,
    Do,
    Expr,
    Function,
    Group,
    If,
    Lambda,
    Leave,
    Literal,
    Loop,
    Member,
    Name,
    Other,
    Stmt,
    Try,
    Using,
    leaf,
)
from auto_dev.gates.syntax.flow import asserts, calls_in, ends, fails, last_call, says_so, silent
from auto_dev.gates.syntax.here import Here, Trace
from auto_dev.gates.syntax.parse import tick
from auto_dev.gates.syntax.suite import MANY

_PLATFORM: Final = (
    "platform",
    "version_info",
    "os.name",
    "GOOS",
    "GOARCH",
    "cfg!",
    "python_implementation",
    "isCI",
    "NODE_VERSION",
)


class Tracer(Calls):
    """Follows tests through one file, statement by statement."""

    def run(self, body: Body, here: Here | None = None) -> Trace:
        """The trace of one test's body."""
        self.trace = Trace()
        begin = here or self.begin()
        self.body(body, begin)
        return self.trace

    def body(self, statements: Sequence[Stmt], here: Here) -> None:
        for statement in statements:
            if isinstance(statement, Function):
                here.local[statement.name] = statement  # followed where it is called
                if statement.name in self.unit.imports:
                    self.trace.mocks.add(statement.name)
        for statement in statements:
            if isinstance(statement, Leave):
                self._leave(statement, here)
                return
            after = self._statement(statement, here)
            if after is None:
                return
            here = after

    def _statement(self, node: Stmt, here: Here) -> Here | None:
        """Follow one statement; how it goes on after it, None when it never does."""
        tick()
        if isinstance(node, Do):
            return self._do(node, here)
        if isinstance(node, Assert):
            self.claimed(claims(node.test), node.line, node.last, here)
            self.inner_calls(node.test, here)
            return here
        if isinstance(node, Bind):
            return self._bind(node, here)
        if isinstance(node, If):
            return self._if(node, here)
        if isinstance(node, Loop):
            self._loop(node, here)
            return here
        if isinstance(node, Try):
            self._try(node, here)
            return here
        if isinstance(node, Using):
            self._using(node, here)
            return here
        if isinstance(node, Choice):
            if node.test is not None:
                self.expression(node.test, here)
            for body in node.bodies:
                if fails(body, self.dialect) and not asserts(body, self.dialect):
                    self.add(Claim("fail", node.test or NOTHING), node.line, node.line, here)
                else:
                    self.body(body, here.guarded("branch"))
        return here

    def _leave(self, node: Leave, here: Here) -> None:
        if node.kind == "raise" and self.dialect.raises(node.value) and here.guards:
            self.add(Claim("fail"), node.line, node.line, here)
        elif node.value is not None:
            self.expression(node.value, replace(here, awaited=True))

    def _do(self, node: Do, here: Here) -> Here | None:
        value = node.value
        awaited = replace(here, awaited=True) if isinstance(value, Await) else here
        inner = value.value if isinstance(value, Await) else value
        if isinstance(inner, Member) and (found := self.dialect.asserted(inner)) is not None:
            self.claimed(found, node.line, node.last, awaited)
            return here
        if isinstance(inner, Call):
            if skip := self.dialect.skipped(inner):
                if inner.arguments and self._conditional(inner):
                    self.trace.skips.append(f"{skip} if {canonical(inner.arguments[0], here.names)[:120]}")
                    return here
                self.trace.skips.append(skip)
                return None if not here.guards else here
            if self.dialect.fails(inner):
                self.add(Claim("fail"), node.line, node.last, here)
                return None
        self.expression(value, here, node.last)
        return here

    @staticmethod
    def _conditional(call: Call) -> bool:
        """``test.skip(condition, why)`` of playwright; a text alone is only the reason."""
        first = call.arguments[0]
        text = isinstance(first, Literal) or (isinstance(first, Other) and first.kind == "format")
        return not text and leaf(call.function) in ("skip", "fixme", "fail")

    def _bind(self, node: Bind, here: Here) -> Here:
        if node.value is not None:
            self.expression(node.value, here, node.last)
            for target in node.targets:
                if isinstance(target, Member) and isinstance(node.value, Lambda | Name | Call):
                    self.trace.mocks.add(target.name)
            if isinstance(node.value, Lambda) or self.dialect.stands_in(node.value):
                self.trace.mocks.update(name for name in node.names if name in self.unit.imports)
        self.bound(node, here)
        if node.value is not None and self.dialect.detached(node.names, node.value):
            return here.guarded("swallowed")
        return here

    def _if(self, node: If, here: Here) -> Here | None:
        truth = truth_of(node.test)
        if truth is not None:
            self.body(node.then if truth else node.otherwise, here)
            return None if truth and ends(node.then, self.dialect) else here
        for chosen, other, negative in ((node.then, node.otherwise, True), (node.otherwise, node.then, False)):
            if fails(chosen, self.dialect) and not asserts(chosen, self.dialect):
                self.expression(node.test, here)
                # What raises deep in a component or a mock is seldom meant as an assertion.
                doubtful = here.depth > 0 and not says_so(chosen, self.dialect)
                where = replace(here, low=0) if doubtful else here
                self.claimed(claims(node.test, negative=negative), node.line, node.line, where)
                self.body(other, here)
                return here
        self.expression(node.test, here)
        return self._branches(node, here)

    def _branches(self, node: If, here: Here) -> Here:
        """Both ways of an ``if`` that is no assertion itself; how it goes on after it."""
        trace = self.trace
        begin, skipped = len(trace.checks), len(trace.skips)
        condition = canonical(node.test, here.names)[:120]
        self.body(node.then, here.guarded("if"))
        middle = len(trace.checks)
        self.body(node.otherwise, here.guarded("if"))
        if len(trace.skips) > skipped:
            trace.skips[skipped:] = [s if " if " in s else f"{s} if {condition}" for s in trace.skips[skipped:]]
            return here
        first, second = trace.checks[begin:middle], trace.checks[middle:]
        ended = ends(node.then, self.dialect) and not node.otherwise
        kind = "if"
        if any(word in condition for word in _PLATFORM):
            kind = "platform"
        elif (first and (second or ended)) or self._asserted_before(node.test, here, begin):
            kind = "branch"
        at = len(here.guards)
        for check in (*first, *second):
            if len(check.guards) > at and check.guards[at] == "if":
                check.guards = (*check.guards[:at], kind, *check.guards[at + 1 :])
        return here.guarded(kind) if ended else here

    def _asserted_before(self, test: Expr, here: Here, end: int) -> bool:
        """Whether the condition was asserted itself: ``assert(x); if (!x) return;`` is there for the compiler."""
        if isinstance(test, Call) and self.dialect.asserted(test) is not None:
            return True
        subjects = {canonical(claim.subject, here.names) for claim in claims(test)}
        return any(check.subject in subjects and check.counts for check in self.trace.checks[:end])

    def _loop(self, node: Loop, here: Here) -> None:
        low, high = 1, MANY
        if node.over is not None:
            self.expression(node.over, here)
            low, high = self.length(node.over, here)
            self._rows(node, here)
        elif node.test is not None:
            if truth_of(node.test) is False:
                return
            self.expression(node.test, here)
        inner = replace(here.times(low, high), loops=here.loops + 1)
        if node.over is not None:
            inner = inner.looped(canonical(node.over, here.names))
        for index, name in enumerate(node.names):
            inner.names[name] = f"each{here.loops}.{index}"
            inner.values.pop(name, None)
        self.body(node.body, inner)
        self.body(node.otherwise, here)

    def _rows(self, node: Loop, here: Here) -> None:
        """The rows of a table, where the loop over it is what the test is made of."""
        table = self.resolve(node.over, here)
        if isinstance(table, Group) and table.items and here.loops == 0 and len(self.trace.rows) < 2_000:
            self.trace.rows += [canonical(item, here.names) for item in table.items[:1_000]]

    def _try(self, node: Try, here: Here) -> None:
        swallows = any(
            self.dialect.swallowed(handler.types) and silent(handler.body, self.dialect) for handler in node.handlers
        )
        swallows = swallows or any(
            isinstance(s, Leave) and s.kind in ("return", "break", "continue") for s in node.final
        )
        expected = fails(node.otherwise, self.dialect) or any(
            isinstance(s, Do) and self.dialect.fails(s.value) for s in node.body
        )  # try: f(); fail() except X: … asks for an error
        if expected and node.handlers:
            self.body(tuple(s for s in node.body if not (isinstance(s, Do) and self.dialect.fails(s.value))), here)
            kinds = node.handlers[0].types
            op = "some error" if not kinds or self.dialect.swallowed(kinds) else "error"
            asked = op == "error" or not swallows
            self.add(
                Claim(op if asked else "nothing", NOTHING, Name(node.line, ",".join(kinds))), node.line, node.line, here
            )
        else:
            if any(silent(handler.body, self.dialect) for handler in node.handlers):
                self.trace.swallows |= calls_in(node.body)
            self.body(node.body, here.guarded("swallowed") if swallows else here)
        for handler in node.handlers:
            if handler.name:
                here.names[handler.name] = "error"
            self.body(handler.body, here if expected else here.guarded("except"))
        self.body(node.otherwise if not expected else (), here)
        self.body(node.final, here)

    def _using(self, node: Using, here: Here) -> None:
        inner = here
        for item, name in node.items:
            kind, claim = self.dialect.context(item)
            if claim is not None:
                subject = claim.subject if claim.subject is not NOTHING else last_call(node.body)
                self.add(replace(claim, subject=subject), node.line, node.line, here)
            if kind in ("swallows", "expects failure"):
                inner = inner.guarded("swallowed")
            if claim is None:
                self.expression(item, here)
            if isinstance(item, Call) and leaf(item.function) == "suppress":
                self.trace.swallows |= calls_in(node.body)
            if name:
                here.names[name] = canonical(item, here.names)
        self.body(node.body, inner)
