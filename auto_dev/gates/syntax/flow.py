"""Where control goes: blocks that end, that fail the test, that swallow a failure."""

from __future__ import annotations

from typing import Final

from auto_dev.gates.syntax.canon import called
from auto_dev.gates.syntax.claims import truth_of
from auto_dev.gates.syntax.code import (
    NOTHING,
    Assert,
    Await,
    Body,
    Call,
    Do,
    Expr,
    If,
    Leave,
    Stmt,
    leaf,
    parts,
    statements,
    walk,
)
from auto_dev.gates.syntax.dialect import Dialect

RECOVER: Final = "recover"
_TELLS: Final = frozenset(
    ("done", "reject", "next", "exit", "cb", "callback", "end")
)  # how a callback reports a failure


def called_by(statement: Stmt) -> Expr | None:
    """The expression of a statement, without ``await``."""
    value = statement.value if isinstance(statement, Do | Leave) else None
    return value.value if isinstance(value, Await) else value


def fails(body: Body, dialect: Dialect) -> bool:
    """Whether a block makes the test fail in any case."""
    for statement in body:
        if isinstance(statement, Do) and dialect.fails(statement.value):
            return True
        if isinstance(statement, Leave):
            return statement.kind == "raise" and dialect.raises(statement.value)
        if isinstance(statement, Assert) and truth_of(statement.test) is False:
            return True
    return False


def says_so(body: Body, dialect: Dialect) -> bool:
    """Whether a block that fails calls the framework to do so, and does not only raise an error."""
    return any(isinstance(s, Assert) or (isinstance(s, Do) and dialect.fails(s.value)) for s in body)


def ends(body: Body, dialect: Dialect) -> bool:
    """Whether nothing that follows the block runs after it."""
    for statement in body:
        if isinstance(statement, Leave):
            return True
        value = called_by(statement)
        if isinstance(value, Call) and (dialect.fails(value) or dialect.skipped(value)):
            return True
        both = isinstance(statement, If) and statement.otherwise
        if isinstance(statement, If) and both and ends(statement.then, dialect) and ends(statement.otherwise, dialect):
            return True
    return False


def asserts(body: Body, dialect: Dialect) -> bool:
    """Whether a block holds assertions of its own, apart from the failing."""
    for statement in body:
        if isinstance(statement, Assert):
            return truth_of(statement.test) is not False
        value = called_by(statement)
        if isinstance(value, Call) and not dialect.fails(value) and dialect.asserted(value) is not None:
            return True
    return False


def silent(body: Body, dialect: Dialect) -> bool:
    """Whether a failed assertion ends silently in the handler with this ``body``."""
    stack = list(body)
    while stack:
        statement = stack.pop()
        if isinstance(statement, Assert) or (isinstance(statement, Leave) and statement.kind == "raise"):
            return False
        value = called_by(statement)
        if isinstance(value, Call):
            name = leaf(value.function)
            if name in _TELLS or dialect.fails(value) or dialect.helper(name) or dialect.asserted(value) is not None:
                return False
        for block in parts(statement)[1]:
            stack.extend(block)
    return True


def calls_in(body: Body) -> frozenset[str]:
    """The names of the functions that a block calls, apart from those in functions of its own."""
    found: set[str] = set()
    for statement in statements(body):
        for expression in parts(statement)[0]:
            found |= called(expression)
    return frozenset(found)


def recovers(body: Body, dialect: Dialect) -> bool:
    """Whether Go code stops a panic and says nothing of it."""
    inside = list(statements(body))
    names = {
        leaf(value.function) for s in inside for one in parts(s)[0] for value in walk(one) if isinstance(value, Call)
    }
    return RECOVER in names and silent(body, dialect) and not any(dialect.helper(name) for name in names)


def last_call(body: Body) -> Expr:
    """What a block is about: the expression of its last statement."""
    for statement in reversed(body):
        value = getattr(statement, "value", None)
        if isinstance(value, Await):
            return value.value
        if value is not None:
            return value  # type: ignore[no-any-return]
    return NOTHING
