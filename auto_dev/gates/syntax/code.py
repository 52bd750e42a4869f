"""The small common tree that source code of every language is read into: only what tells what a test checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(slots=True, eq=False)
class Literal:
    """A value that stands in the source. ``kind``: number, string, bool, null, regex; ``text``: in one spelling."""

    line: int
    kind: str
    text: str


@dataclass(slots=True, eq=False)
class Name:
    line: int
    name: str


@dataclass(slots=True, eq=False)
class Member:
    """``owner.name``; also ``owner::name``, ``owner?.name``."""

    line: int
    owner: Expr
    name: str


@dataclass(slots=True, eq=False)
class Index:
    line: int
    owner: Expr
    keys: tuple[Expr, ...]


@dataclass(slots=True, eq=False)
class Call:
    """A call, also ``new X()`` and a macro. ``last``: the line where it ends."""

    line: int
    function: Expr
    arguments: tuple[Expr, ...] = ()
    keywords: tuple[tuple[str, Expr], ...] = ()
    last: int = 0

    def keyword(self, *names: str) -> Expr | None:
        """The first keyword argument with one of these names."""
        return next((value for name, value in self.keywords if name in names), None)

    def argument(self, index: int) -> Expr | None:
        return self.arguments[index] if index < len(self.arguments) else None


@dataclass(slots=True, eq=False)
class Unary:
    """``operator``: not, -, + …"""

    line: int
    operator: str
    value: Expr


@dataclass(slots=True, eq=False)
class Binary:
    """``operator`` as in Python: ==, !=, <, in, not in, and, or, +, isinstance … (``===`` and ``is`` are ``==``)."""

    line: int
    operator: str
    left: Expr
    right: Expr


@dataclass(slots=True, eq=False)
class Group:
    """A list, tuple, set, map or struct that stands in the source. ``whole``: its length can be told."""

    line: int
    kind: str
    items: tuple[Expr, ...]
    whole: bool = True
    name: str = ""


@dataclass(slots=True, eq=False)
class Pair:
    """One entry of a map or struct."""

    line: int
    key: Expr
    value: Expr


@dataclass(slots=True, eq=False)
class Lambda:
    line: int
    function: Function


@dataclass(slots=True, eq=False)
class Await:
    line: int
    value: Expr


@dataclass(slots=True, eq=False)
class Other:
    """Anything else, with the expressions in it. ``kind`` and ``text`` tell one from another."""

    line: int
    kind: str
    parts: tuple[Expr, ...] = ()
    text: str = ""


Expr = Literal | Name | Member | Index | Call | Unary | Binary | Group | Pair | Lambda | Await | Other


@dataclass(slots=True, eq=False)
class Do:
    """An expression for its effect. ``last``: the line where it ends."""

    line: int
    value: Expr
    last: int = 0


@dataclass(slots=True, eq=False)
class Assert:
    """Python's own ``assert``."""

    line: int
    test: Expr
    last: int = 0


@dataclass(slots=True, eq=False)
class Bind:
    """Names get a value; an empty name stands for a target that is no name. ``value`` None: only declared."""

    line: int
    names: tuple[str, ...]
    value: Expr | None
    targets: tuple[Expr, ...] = ()
    last: int = 0


@dataclass(slots=True, eq=False)
class If:
    line: int
    test: Expr
    then: Body
    otherwise: Body = ()
    last: int = 0


@dataclass(slots=True, eq=False)
class Loop:
    """``over``: what a for loop runs over; ``test``: what a while loop asks; both None: it runs until left."""

    line: int
    body: Body
    over: Expr | None = None
    test: Expr | None = None
    names: tuple[str, ...] = ()
    otherwise: Body = ()


@dataclass(slots=True, eq=False)
class Handler:
    """``types``: the names of what is caught; empty: everything. ``name``: of the caught error."""

    line: int
    types: tuple[str, ...]
    body: Body
    name: str = ""


@dataclass(slots=True, eq=False)
class Try:
    line: int
    body: Body
    handlers: tuple[Handler, ...] = ()
    otherwise: Body = ()
    final: Body = ()


@dataclass(slots=True, eq=False)
class Using:
    """Python's ``with``: each item with the name it is bound to, or ""."""

    line: int
    items: tuple[tuple[Expr, str], ...]
    body: Body


@dataclass(slots=True, eq=False)
class Choice:
    """``switch``, ``match``, ``select``: one of the bodies runs. ``test``: what is looked at."""

    line: int
    test: Expr | None
    bodies: tuple[Body, ...]
    labels: tuple[tuple[Expr, ...], ...] = ()


@dataclass(slots=True, eq=False)
class Leave:
    """``kind``: return, raise, break, continue."""

    line: int
    kind: str
    value: Expr | None = None


@dataclass(slots=True, eq=False)
class Function:
    """A function with what is written above it. ``receiver``: the type of a Go method; ``takes``: parameter → type."""

    line: int
    name: str
    params: tuple[str, ...] = ()
    body: Body = ()
    decorators: tuple[Expr, ...] = ()
    takes: tuple[str, ...] = ()
    receiver: str = ""
    last: int = 0
    asynchronous: bool = False
    document: str = ""
    expression: bool = False  # an arrow function or closure whose body is its value


@dataclass(slots=True, eq=False)
class Class:
    """A class, a Rust module or impl block (``kind``)."""

    line: int
    name: str
    body: Body = ()
    bases: tuple[Expr, ...] = ()
    decorators: tuple[Expr, ...] = ()
    kind: str = "class"
    document: str = ""


Stmt = Do | Assert | Bind | If | Loop | Try | Using | Choice | Leave | Function | Class
Body = tuple[Stmt, ...]


@dataclass(slots=True, eq=False)
class Unit:
    """A source file. ``faults``: lines of syntax errors; ``deep``: nested deeper than what is read."""

    body: Body
    lines: list[str]
    imports: dict[str, str] = field(default_factory=dict)
    faults: tuple[int, ...] = ()
    deep: bool = False

    def excerpt(self, line: int, last: int = 0, limit: int = 300) -> str:
        """The source from ``line`` to ``last``, in one line."""
        lines = (text[: 4 * limit].strip() for text in self.lines[line - 1 : min(max(last, line), line + 30)])
        text = " ".join(" ".join(part for part in lines if not part.startswith(("//", "# "))).split())
        return text if len(text) <= limit else text[: limit - 1] + "…"


NOTHING: Final = Other(0, "nothing")


def children(node: Expr) -> tuple[Expr, ...]:
    """The expressions directly in ``node``; a lambda's body is not among them."""
    inside = _CHILDREN.get(type(node))
    return inside(node) if inside is not None else ()


# By type, for this is asked for every expression several times.
_CHILDREN: Final[dict[type, Callable[[Any], tuple[Expr, ...]]]] = {
    Call: lambda node: (node.function, *node.arguments, *(value for _, value in node.keywords)),
    Binary: lambda node: (node.left, node.right),
    Group: lambda node: node.items,
    Member: lambda node: (node.owner,),
    Pair: lambda node: (node.key, node.value),
    Index: lambda node: (node.owner, *node.keys),
    Unary: lambda node: (node.value,),
    Await: lambda node: (node.value,),
    Other: lambda node: node.parts,
}


def walk(node: Expr) -> Iterator[Expr]:
    """``node`` and every expression in it, in source order; lambdas are not entered."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(children(current)))


def parts(node: Stmt) -> tuple[tuple[Expr, ...], tuple[Body, ...]]:
    """The expressions and the blocks directly in a statement."""
    if isinstance(node, Do):
        return (node.value,), ()
    if isinstance(node, Assert):
        return (node.test,), ()
    if isinstance(node, Bind):
        return (*((node.value,) if node.value is not None else ()), *node.targets), ()
    if isinstance(node, If):
        return (node.test,), (node.then, node.otherwise)
    if isinstance(node, Loop):
        return tuple(one for one in (node.over, node.test) if one is not None), (node.body, node.otherwise)
    if isinstance(node, Try):
        return (), (node.body, *(handler.body for handler in node.handlers), node.otherwise, node.final)
    if isinstance(node, Using):
        return tuple(item for item, _ in node.items), (node.body,)
    if isinstance(node, Choice):
        return ((node.test,) if node.test is not None else ()), node.bodies
    if isinstance(node, Leave):
        return ((node.value,) if node.value is not None else ()), ()
    return node.decorators, (node.body,)


def statements(body: Body) -> Iterator[Stmt]:
    """Every statement in ``body`` in source order, also in nested blocks, functions and lambdas."""
    stack = list(reversed(body))
    while stack:
        current = stack.pop()
        yield current
        expressions, blocks = parts(current)
        inside = [*blocks, *(lam.function.body for one in expressions for lam in lambdas(one))]
        for block in reversed(inside):
            stack.extend(reversed(block))


def lambdas(node: Expr) -> list[Lambda]:
    """The lambdas directly in ``node``."""
    return [part for part in walk(node) if isinstance(part, Lambda)]


def leaf(node: Expr) -> str:
    """The last name of ``a``, ``a.b``, ``a.b()``, else ""."""
    while isinstance(node, Call):
        node = node.function
    return node.name if isinstance(node, Name | Member) else ""


def dotted(node: Expr) -> str:
    """``a.b.c`` of names and members (calls and indexes on the way are passed over), else ""."""
    parts: list[str] = []
    while True:
        if isinstance(node, Member):
            parts.append(node.name)
            node = node.owner
        elif isinstance(node, Call):
            node = node.function
        elif isinstance(node, Index):
            node = node.owner
        else:
            break
    if isinstance(node, Name):
        parts.append(node.name)
        return ".".join(reversed(parts))
    return ""
