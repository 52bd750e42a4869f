"""Tests declared by calls: ``describe("…", () => { it("…", () => {…}) })``, in JavaScript and in Go's ginkgo."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from auto_dev.gates.syntax.canon import canonical
from auto_dev.gates.syntax.claims import truth_of, value_of
from auto_dev.gates.syntax.code import (
    Await,
    Bind,
    Body,
    Call,
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
    Pair,
    Stmt,
    leaf,
    parts,
    walk,
)
from auto_dev.gates.syntax.here import Here, Trace
from auto_dev.gates.syntax.names import names
from auto_dev.gates.syntax.reader import Reader
from auto_dev.gates.syntax.suite import MANY

_DEEPEST: Final = 40
_HOOKS: Final = names("beforeEach afterEach before after beforeAll afterAll setup teardown BeforeEach AfterEach")
SKIPS: Final = frozenset(("skip", "todo", "fixme", "skipIf", "todoIf", "runIf", "if", "failing", "fails"))
_TABLES: Final = frozenset(("each", "for", "cases"))
_CURRIED: Final = frozenset(("skipIf", "runIf", "todoIf", "if")) | _TABLES
_HARMLESS: Final = names("only concurrent sequential slow serial parallel describe shuffle default serialize test it")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a declaration inherits from the groups around it."""

    names: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    times: tuple[int, int] = (1, 1)
    here: Here = field(default_factory=Here)
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Declared:
    """A call of ``it`` or ``describe``, taken apart."""

    call: Call
    group: bool
    skips: tuple[str, ...]
    focus: bool
    table: Expr | None


class BddReader(Reader):
    """``groups`` and ``tests``: the names of the functions that declare them; ``prefixes``: letter → meaning."""

    groups: frozenset[str] = frozenset(("describe", "context", "suite"))
    tests: frozenset[str] = frozenset(("it", "test", "specify"))
    prefixes: dict[str, str] = {"x": "skip", "f": "only"}  # noqa: RUF012 (a table)
    roots: frozenset[str] = frozenset(("QUnit", "Deno", "Bun", "mocha"))

    def collect(self, body: Body) -> None:
        """Everything that the file declares."""
        self.aliases: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.declare(body, Scope(here=self.tracer.begin()))

    def declare(self, body: Body, scope: Scope) -> None:
        """The declarations in a block."""
        if scope.depth > _DEEPEST:
            return
        for statement in body:
            if isinstance(statement, Function):
                scope.here.local[statement.name] = statement
        for statement in body:
            self._statement(statement, scope)
            if isinstance(statement, Leave) and statement.kind == "return" and statement.value is None:
                return

    def _statement(self, statement: Stmt, scope: Scope) -> None:
        if isinstance(statement, Bind):
            self._bind(statement, scope)
        elif isinstance(statement, Do | Leave) and statement.value is not None:
            value = statement.value.value if isinstance(statement.value, Await) else statement.value
            self._call(value, scope)
        elif isinstance(statement, If):
            self._if(statement, scope)
        elif isinstance(statement, Loop):
            low, high = self.tracer.length(statement.over, scope.here) if statement.over is not None else (1, MANY)
            self._repeated(statement.body, statement.names, (low, high), scope)
        elif not isinstance(statement, Function):
            for block in parts(statement)[1]:
                self.declare(block, replace(scope, depth=scope.depth + 1))

    def _bind(self, statement: Bind, scope: Scope) -> None:
        value = statement.value
        if isinstance(value, Call) and self._declared(value, scope) is not None:
            if statement.names == ("_",) or leaf(value) != "suite":
                self._call(value, scope)
            elif len(value.arguments) == 1 and statement.names:  # uvu: const test = suite("x")
                self.aliases[statement.names[0]] = ("test", ())
        elif value is not None and len(statement.names) == 1 and (known := self._alias(value)) is not None:
            self.aliases[statement.names[0]] = known
        self.tracer.bound(statement, scope.here)

    def _alias(self, value: Expr) -> tuple[str, tuple[str, ...]] | None:
        """``cond ? describe : describe.skip`` and ``base.extend({…})`` declare what their parts declare."""
        if isinstance(value, Call) and leaf(value.function) != "extend":
            return None
        names = [part for part in walk(value) if isinstance(part, Name) and part.name in (*self.groups, *self.tests)]
        skipping = [part.name for part in walk(value) if isinstance(part, Member) and part.name in SKIPS]
        if not names or (isinstance(value, Call) and isinstance(value.function, Name)):
            return None
        condition = canonical(value.parts[0])[:120] if isinstance(value, Other) and value.kind == "choice" else ""
        if not skipping:
            return names[0].name, ()
        never = isinstance(value, Other) and value.kind == "choice" and truth_of(value.parts[0]) is not None
        return names[0].name, (f"skipped if not {condition}" if condition and not never else skipping[0],)

    def _if(self, statement: If, scope: Scope) -> None:
        truth = truth_of(statement.test)
        condition = f"if {canonical(statement.test, scope.here.names)[:120]}"
        inner = replace(scope, depth=scope.depth + 1)
        if truth is not False:
            self.declare(statement.then, inner if truth else replace(inner, skips=(*scope.skips, condition)))
        if truth is not True:
            self.declare(
                statement.otherwise,
                inner if truth is False else replace(inner, skips=(*scope.skips, f"not {condition}")),
            )

    def _repeated(self, body: Body, names: tuple[str, ...], times: tuple[int, int], scope: Scope) -> None:
        for index, name in enumerate(names):
            scope.here.names[name] = f"each{scope.depth}.{index}"
        low, high = scope.times[0] * times[0], scope.times[1] * times[1]
        self.declare(body, replace(scope, times=(low, high), depth=scope.depth + 1))

    def _call(self, value: Expr, scope: Scope) -> None:
        if not isinstance(value, Call):
            return
        if (declared := self._declared(value, scope)) is not None:
            self._take(declared, scope)
            return
        name = leaf(value.function)
        body = next((one for one in value.arguments if isinstance(one, Lambda)), None)
        if name in _HOOKS and body is not None:
            trace = self.tracer.run(body.function.body, self._here(scope))
            if trace.checks:
                self.hooks[" > ".join((*scope.names, name))] = self.case(
                    name, name, value.line, body.function.body, trace
                )
            return
        if isinstance(value.function, Member) and name in ("forEach", "map") and body is not None:
            times = self.tracer.length(value.function.owner, scope.here)
            self._repeated(body.function.body, body.function.params, times, scope)
            return
        function = scope.here.local.get(name) or self.functions.get(name)
        if isinstance(value.function, Name) and function is not None and scope.depth < _DEEPEST:
            local = replace(scope, depth=scope.depth + 5)  # a function that declares tests for others
            self.declare(function.body, local)
            return
        if isinstance(value.function, Lambda):
            self.declare(value.function.function.body, replace(scope, depth=scope.depth + 1))
        elif body is not None and not scope.names and isinstance(value.function, Name):
            self.declare(body.function.body, replace(scope, depth=scope.depth + 1))

    @property
    def hooks(self) -> dict[str, object]:
        return self.__dict__.setdefault("_hooks", {})  # type: ignore[no-any-return]

    def _declared(self, call: Call, scope: Scope) -> Declared | None:  # noqa: C901
        """``call`` taken apart when it declares a test or a group."""
        chain: list[str] = []
        curried: list[tuple[str, tuple[Expr, ...]]] = []
        node: Expr = call.function
        while not isinstance(node, Name):
            if isinstance(node, Call):
                curried.append((leaf(node.function), node.arguments))
                node = node.function
            elif isinstance(node, Member):
                chain.append(node.name)
                node = node.owner
            else:
                return None
        root, known = node.name, tuple[str, ...]()
        if root in self.aliases and root not in scope.here.local:
            root, known = self.aliases[root]
        if root in self.roots and chain:
            root = chain.pop()
        skips = list(known)
        focus = False
        if root not in self.groups and root not in self.tests:
            meaning, rest = self.prefixes.get(root[:1]), root[1:]
            if meaning is None or (rest not in self.groups and rest not in self.tests):
                return None
            if meaning == "skip":
                skips.append(root)
            focus, root = meaning == "only", rest
        if any(part not in SKIPS and part not in _TABLES and part not in _HARMLESS for part in chain):
            return None  # test.beforeEach, test.step, test.use …
        if {"each", "for", "skipIf", "runIf", "if", "todoIf"} & set(chain) and not curried:
            return None
        if not call.arguments:
            return None
        table = next((given[0] for name, given in curried if name in _TABLES and given), None)
        for part in reversed(chain):
            if part in SKIPS:
                condition = next((given[0] for name, given in curried if name == part and given), None)
                skips += self._skip(part, condition, scope)
        group = root in self.groups or "describe" in chain
        if "skip" in chain and not curried and not isinstance(call.arguments[0], Literal | Other | Name):
            return None  # playwright's test.skip(condition) inside a test
        if (
            "skip" in chain
            and root in self.tests
            and not any(isinstance(one, Lambda | Name) for one in call.arguments[1:])
            and not curried
        ):
            return (
                None
                if not isinstance(call.arguments[0], Literal)
                else Declared(call, group, tuple(skips), focus, table)
            )
        return Declared(call, group, tuple(skips), focus or "only" in chain, table)

    @staticmethod
    def _skip(part: str, condition: Expr | None, scope: Scope) -> list[str]:
        if condition is None:
            return [part]
        truth = truth_of(condition)
        if truth is not None:
            return [part] if truth != (part in ("runIf", "if")) else []
        return [f"{part}({canonical(condition, scope.here.names)[:120]})"]

    def _take(self, declared: Declared, scope: Scope) -> None:
        call = declared.call
        first = call.arguments[0]
        literal = isinstance(first, Literal)
        leaf_name = _label(first, scope)
        body = next((one for one in reversed(call.arguments) if isinstance(one, Lambda)), None)
        function = body.function if body is not None else self._named(call, scope)
        options = [
            pair for one in call.arguments if isinstance(one, Group) for pair in one.items if isinstance(pair, Pair)
        ]
        skips = (
            *scope.skips,
            *((f"describe: {skip}" for skip in declared.skips) if declared.group else declared.skips),
        )
        skips += tuple(_option(pair) for pair in options if _option(pair))
        times, rows = self._times(declared, scope)
        if not literal and not isinstance(first, Other) and declared.table is None:
            times = (times[0], times[1] * MANY)
        if isinstance(first, Other) and first.kind == "format" and scope.times == (1, 1):
            times = (times[0], times[1] * MANY)  # declared in a loop that could not be seen
        if declared.focus or any(_key(pair) == "only" and truth_of(pair.value) for pair in options):
            self.focus.append((call.line, self.unit.excerpt(call.line, 0, 200)))
        here = self._here(scope)
        if function is not None and declared.table is not None:
            here.names.update({name: f"row.{index}" for index, name in enumerate(function.params)})
        names = (*scope.names, leaf_name)
        low, high = scope.times[0] * times[0], scope.times[1] * times[1]
        if declared.group:
            inner = Scope(names, tuple(skips), (low, high), here, scope.depth + 1)
            if function is not None:
                self.declare(function.body, inner)
            return
        trace = self.tracer.run(function.body, here) if function is not None else Trace()
        if function is None and not skips:
            skips += ("no body",)
        waits = [("timeout", value, call.line) for one in call.arguments if (value := value_of(one)) is not None]
        waits += [
            (_key(p), value_of(p.value) or 0.0, p.line) for p in options if _key(p) in ("retry", "timeout", "retries")
        ]
        name = " > ".join(names)
        case = self.case(
            name, leaf_name, call.line, function.body if function is not None else (), trace,
            above=(declared.table,) if declared.table is not None else (), skips=skips, times=(low, high), rows=rows,
            waits=waits,
        )  # fmt: skip
        self.add(case)
        self.steps(trace, name, skips=tuple(skips), times=(low, high), mark=" > ")

    def _named(self, call: Call, scope: Scope) -> Function | None:
        """The function that is given by its name."""
        for argument in reversed(call.arguments[1:]):
            if isinstance(argument, Name) and (
                found := scope.here.local.get(argument.name) or self.functions.get(argument.name)
            ):
                return found
            if isinstance(argument, Call):  # it("x", wrap(async () => {…}))
                inner = next((one for one in argument.arguments if isinstance(one, Lambda)), None)
                if inner is not None:
                    return inner.function
            if isinstance(argument, Name | Member | Call):
                return Function(argument.line, "", (), (Do(argument.line, argument),))
        return None

    def _times(self, declared: Declared, scope: Scope) -> tuple[tuple[int, int], list[str]]:
        table = self.tracer.resolve(declared.table, scope.here)
        if table is None:
            return (1, 1), []
        if isinstance(table, Group):
            rows = [canonical(item, scope.here.names) for item in table.items[:1_000]]
            return (self.tracer.length(table, scope.here), rows)
        if isinstance(table, Other) and table.kind == "table":
            lines = [" ".join(text.split()) for text in table.text.split("\n") if text.strip()]
            columns = max(lines[0].count("|") + 1, 1) if lines else 1
            values = [canonical(part, scope.here.names) for part in table.parts]
            rows = [" | ".join(values[at : at + columns]) for at in range(0, len(values), columns)]
            return (len(rows) or 1, len(rows) or 1), rows
        return (1, MANY), []

    @staticmethod
    def _here(scope: Scope) -> Here:
        here = scope.here
        return replace(here, names=dict(here.names), values=dict(here.values), local=dict(here.local))


def _label(node: Expr, scope: Scope) -> str:
    """What a test is called."""
    if isinstance(node, Literal):
        return " ".join(node.text.split())[:200]
    if isinstance(node, Other) and node.kind == "format":
        return " ".join(node.text.split())[:200]
    if isinstance(node, Group):  # Deno.test({ name: "x", fn() {} })
        name = next((pair.value for pair in node.items if isinstance(pair, Pair) and _key(pair) == "name"), None)
        return name.text[:200] if isinstance(name, Literal) else "(object)"
    return "(anonymous)" if isinstance(node, Lambda) else canonical(node, scope.here.names)[:200]


def _key(pair: Pair) -> str:
    return pair.key.text if isinstance(pair.key, Literal) else ""


def _option(pair: Pair) -> str:
    """``{ skip: true }`` as an option of a test."""
    key = _key(pair)
    if key not in ("skip", "todo", "ignore", "fails") or truth_of(pair.value) is False:
        return ""
    return key if truth_of(pair.value) else f"{key}({canonical(pair.value)[:120]})"
