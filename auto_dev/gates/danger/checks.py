"""What the functions of a file refuse, and on what condition: the checks of who may do what. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from auto_dev.gates.danger.guards import (
    DRAWS,
    GUARD,
    HASHES,
    MIDDLEWARE,
    VERDICT,
    answer,
    called_by,
    given_in,
    is_strong,
    is_test,
    is_weak,
    leaves,
    owns,
    raises,
    refused,
    truth,
    unwaited,
)
from auto_dev.gates.danger.lattice import Atoms, alternatives, opposite, shape
from auto_dev.gates.syntax.code import (
    Assert,
    Await,
    Binary,
    Bind,
    Body,
    Call,
    Choice,
    Class,
    Do,
    Expr,
    Function,
    Group,
    If,
    Lambda,
    Leave,
    Literal,
    Loop,
    Name,
    Stmt,
    Try,
    Unary,
    Unit,
    Using,
    dotted,
    lambdas,
    leaf,
    parts,
    walk,
)
from auto_dev.gates.syntax.lower_go import lower_go
from auto_dev.gates.syntax.lower_javascript import lower_javascript
from auto_dev.gates.syntax.lower_python import lower_python
from auto_dev.gates.syntax.lower_rust import lower_rust
from auto_dev.gates.syntax.parse import TooLong

_GRAMMARS: Final = {".ts": "typescript", ".mts": "typescript", ".cts": "typescript", ".tsx": "tsx"}
_JAVASCRIPT: Final = (".js", ".jsx", ".mjs", ".cjs", *_GRAMMARS)
_MOST: Final = 512 * 1024  # bytes of a file that are read


@dataclass(frozen=True, slots=True)
class Check:
    """One way to be refused: when all ``atoms`` hold. ``core``: without the conditions on the way to it."""

    atoms: Atoms
    core: Atoms
    line: int
    call: str = ""  # a call that refuses by itself, by its last name

    @property
    def text(self) -> str:
        return " and ".join(sorted(self.core)) or "always"


@dataclass(slots=True)
class Scope:
    """A function or the module (""), with what it checks, whom it calls and how its statements look."""

    name: str
    line: int
    last: int = 0
    checks: list[Check] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    looks: list[str] = field(default_factory=list)
    sensitive: bool = False
    hashes: set[str] = field(default_factory=set)
    draws: set[str] = field(default_factory=set)


def read_unit(path: str, source: str | None) -> Unit | None:
    """The common tree of a source file; None of another, and of one that cannot be read."""
    ending = posixpath.splitext(path)[1].lower()
    data = (source or "").encode("utf-8", "replace")
    if source is None or len(data) > _MOST:
        return None
    try:
        if ending == ".py":
            return lower_python(data)
        if ending in _JAVASCRIPT:
            return lower_javascript(data, _GRAMMARS.get(ending, "javascript"))
        if ending == ".go":
            return lower_go(data)
        return lower_rust(data) if ending == ".rs" else None
    except TooLong:
        return None


def scopes_of(path: str, source: str, unit: Unit) -> dict[str, Scope]:
    """The scopes of a file by name; a function in a call is named by the call (``app.get /users``)."""
    strong = is_strong(source)
    place = is_strong(path) or (strong and is_weak(posixpath.splitext(path)[0]))
    reader = _Reader(place=place, strong=strong)
    reader.scope("", 1, 0, unit.body, ())
    return reader.found


class _Reader:
    def __init__(self, *, place: bool, strong: bool) -> None:
        self.place = place
        self.strong = strong
        self.found: dict[str, Scope] = {}

    def scope(self, name: str, line: int, last: int, body: Body, decorators: Iterable[Expr]) -> None:
        number = 1
        own = name
        while name in self.found:
            number += 1
            name = f"{own}#{number}"
        scope = Scope(name, line, last)
        scope.sensitive = self.place or is_strong(name) or (self.strong and is_weak(name))
        self.found[name] = scope
        function = _Function(self, scope, scope.sensitive, own)
        for one in decorators:
            function.guard_of(one, frozenset(), mark=True)
        function.block(body, frozenset())

    def inner(self, scope: Scope, name: str, function: Function) -> None:
        full = f"{scope.name}.{name}".lstrip(".") if name else f"{scope.name}.λ".lstrip(".")
        self.scope(full, function.line, function.last, function.body, function.decorators)


class _Function:
    """Reads the statements of one scope."""

    def __init__(self, reader: _Reader, scope: Scope, sensitive: bool, name: str) -> None:
        self.reader = reader
        self.scope = scope
        self.sensitive = sensitive
        self.verdict = sensitive and VERDICT.search(name.rsplit(".", 1)[-1].lstrip("#")) is not None
        self.known: dict[str, Expr] = {}

    def block(self, body: Body, path: Atoms) -> None:
        for statement in body:
            self.scope.looks.append(type(statement).__name__)
            left = self.statement(statement, path)
            if left is None:
                return
            path = left

    def statement(self, node: Stmt, path: Atoms) -> Atoms | None:  # noqa: C901 (one branch for each kind)
        """Read one statement; the conditions for those after it, None when nothing after it runs."""
        if isinstance(node, Function):
            self.reader.inner(self.scope, f"{node.receiver}.{node.name}".lstrip("."), node)
            return path
        if isinstance(node, Class):
            name = f"{self.scope.name}.{node.name}".lstrip(".")
            self.reader.scope(name, node.line, 0, node.body, (*node.decorators, *node.bases))
            return path
        for expression in parts(node)[0]:
            self.expression(expression, path)
        if isinstance(node, If):
            return self.branch(node, path)
        if isinstance(node, Leave):
            return self.leave(node, path)
        if isinstance(node, Do):
            return None if raises(node.value) and self.refusal(node.value, path, node.line) else path
        if isinstance(node, Assert):
            self.refused_when(opposite(node.test), path, node.line, self.sensitive or is_strong(shape(node.test)))
        elif isinstance(node, Bind):
            self.bind(node)
        elif isinstance(node, Try):
            swallowed = any(not any(leaves(one) for one in handler.body) for handler in node.handlers)
            self.block(node.body, path | {"unless it fails"} if swallowed else path)
            for block in (*(handler.body for handler in node.handlers), node.otherwise, node.final):
                self.block(block, path)
        elif isinstance(node, Loop):
            self.block(node.body, path)
            self.block(node.otherwise, path)
        elif isinstance(node, Using):
            self.block(node.body, path)
        elif isinstance(node, Choice):
            for number, body in enumerate(node.bodies):
                labels = node.labels[number] if number < len(node.labels) else ()
                self.block(body, path | {"case " + ", ".join(shape(one) for one in labels)})
        return path

    def bind(self, node: Bind) -> None:
        name = node.names[0] if len(node.names) == 1 else ""
        value = node.value
        for one in node.names:
            self.known.pop(one, None)
        told = isinstance(value, Binary | Unary) and is_test(value)
        told = told or (isinstance(value, Call | Await) and GUARD.match(leaf(unwaited(value))) is not None)
        if name and value is not None and told and not any(isinstance(n, Name) and n.name == name for n in walk(value)):
            self.known[name] = unwaited(value)

    def branch(self, node: If, path: Atoms) -> Atoms | None:
        ways, others = alternatives(node.test, self.known), alternatives(opposite(node.test), self.known)
        words = shape(node.test)
        for ways_in, body in ((ways, node.then), (others, node.otherwise)):
            if self.refuses(body, words):
                self.scope.checks += [Check(path | way, way, node.line) for way in ways_in]
                self.nested(body, path | {"refused"})
            else:
                self.block(body, path | (ways_in[0] if len(ways_in) == 1 else {shape(node.test)}))
        then_leaves = any(leaves(one) for one in node.then)
        else_leaves = any(leaves(one) for one in node.otherwise)
        if then_leaves and else_leaves:
            return None
        if then_leaves and not self.refuses(node.then, words):
            return path | (others[0] if len(others) == 1 else {f"not {words}"})
        return path

    def nested(self, body: Body, path: Atoms) -> None:
        """Functions in a block that refuses; what else it does is of no interest."""
        for statement in body:
            for expression in parts(statement)[0]:
                self.expression(expression, path)

    def refuses(self, body: Body, words: str) -> bool:
        """Whether ``body`` refuses in matters of who may do what."""
        for statement in body:
            value = statement.value if isinstance(statement, Leave | Do) else None
            if isinstance(statement, Leave) and statement.kind in ("break", "continue"):
                return False
            no = isinstance(statement, Leave) and refused(statement, plain=self.sensitive)
            if no or (isinstance(statement, Do) and raises(statement.value)):
                said = shape(value) if value is not None else ""
                return self.sensitive or is_strong(words) or is_strong(said) or (self.reader.strong and owns(words))
        return False

    def leave(self, node: Leave, path: Atoms) -> Atoms | None:
        if node.kind not in ("return", "raise"):
            return None
        if refused(node, plain=self.sensitive):
            about = self.sensitive or (node.value is not None and is_strong(shape(node.value)))
            if about:
                self.scope.checks.append(Check(path, path, node.line))
        elif self.verdict and node.value is not None and (is_test(node.value) or truth(node.value)):
            self.refused_when(opposite(answer(node.value)), path, node.line, sensitive=True)
        return None

    def refusal(self, value: Expr, path: Atoms, line: int) -> bool:
        if self.sensitive or is_strong(shape(value)):
            self.scope.checks.append(Check(path, path, line))
        return True

    def refused_when(self, test: Expr, path: Atoms, line: int, sensitive: bool) -> None:
        if sensitive:
            self.scope.checks += [Check(path | way, way, line) for way in alternatives(test, self.known)]

    def expression(self, node: Expr, path: Atoms) -> None:
        for part in walk(node):
            if isinstance(part, Call):
                self.scope.calls.add(leaf(part))
                self.made_of(dotted(part))
                self.guard_of(part, path)
                self.routed(part)
        for one in lambdas(node):
            self.reader.inner(self.scope, called_by(node, one), one.function)

    def made_of(self, name: str) -> None:
        """Note what is hashed and what is drawn at random."""
        if found := HASHES.search(name):
            self.scope.hashes.add(found[0].lower())
        if found := DRAWS.search(name):
            self.scope.draws.add(found[0].lower())

    def guard_of(self, node: Expr, path: Atoms, *, mark: bool = False) -> None:
        """A call that is a check by its name and its words. ``mark``: a decorator or a base class."""
        name = leaf(node)
        if not name or not (GUARD.match(name) or (mark and is_strong(name))):
            return
        owner = dotted(node)
        given = node.arguments if isinstance(node, Call) else ()
        words = " ".join((owner, *(shape(one) for one in given if not isinstance(one, Lambda))))
        if is_strong(words) or (self.sensitive and (is_weak(words) or is_strong(self.scope.name))):
            texts = [f'"{one.text}"' for one in given if isinstance(one, Literal) and one.kind == "string"]
            core = frozenset((f"not {name}({', '.join(texts)})",))
            self.scope.checks.append(Check(path | core, core, node.line, name))

    def routed(self, node: Call) -> None:
        """The middleware of a route is a check of its handler's."""
        first = node.argument(0)
        route = first.text if isinstance(first, Literal) and first.kind == "string" else ""
        uses = leaf(node) in ("use", "Use", "With", "addHook", "Group", "before_request", "layer", "wrap")
        if not (route.startswith("/") or uses):
            return
        scope = self.scope
        if route:
            full = f"{leaf(node)} {route}"
            scope = self.reader.found.setdefault(full, Scope(full, node.line, node.last))
        for one in given_in(node.arguments):
            name = leaf(one)
            if name and MIDDLEWARE.match(name) and (is_strong(dotted(one)) or is_weak(dotted(one))):
                texts = one.arguments if isinstance(one, Call) else ()
                said = [shape(text) for text in texts if isinstance(text, Literal | Group)]
                core = frozenset((f"not {name}({', '.join(said)})",))
                scope.checks.append(Check(core, core, one.line, name))
