"""What a body names, for telling a renamed, moved or merged test from a removed one. Local names do not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from auto_dev.gates.syntax.code import (
    Bind,
    Body,
    Call,
    Expr,
    Function,
    Lambda,
    Literal,
    Loop,
    Member,
    Name,
    Other,
    Try,
    Using,
    children,
    parts,
)
from auto_dev.gates.syntax.names import names
from auto_dev.gates.syntax.parse import tick

_DULL: Final = names("self this t it test expect describe assert None nil cls super b toBe toEqual")
_LIMIT: Final = 20_000  # words of one test


def bag(body: Body, above: Iterable[Expr] = ()) -> tuple[Counter[str], Counter[str]]:
    """The words of a body (and of the expressions ``above`` it), and its bones: what it calls or reaches into."""
    local = _local(body)
    words: list[str] = []
    bones: list[str] = []
    pending: list[Expr] = [*above]
    blocks: list[Body] = [body]
    while (blocks or pending) and len(words) < _LIMIT:
        while pending:
            node = pending.pop()
            tick()
            _say(node, local, words, bones)
            if isinstance(node, Lambda):
                blocks.append(node.function.body)
            else:
                pending.extend(children(node))
        if blocks:
            for statement in blocks.pop():
                expressions, nested = parts(statement)
                pending.extend(expressions)
                blocks.extend(nested)
    return Counter(words), Counter(bones)


def _say(node: Expr, local: set[str], words: list[str], bones: list[str]) -> None:
    if isinstance(node, Name):
        if node.name not in local and node.name not in _DULL:
            words.append(node.name)
    elif isinstance(node, Member):
        if node.name not in _DULL:
            words.append(node.name)
            bones.append(node.name)
    elif isinstance(node, Literal):
        words.append(f"'{node.text[:80]}'")
    elif isinstance(node, Other) and node.text:
        words.extend(node.text.split()[:200])
    if isinstance(node, Call):
        if isinstance(node.function, Name) and node.function.name not in _DULL and node.function.name not in local:
            bones.append(node.function.name)
        words.extend(name for name, _ in node.keywords)


def _local(body: Body) -> set[str]:
    """The names that are bound anywhere in ``body``."""
    found: set[str] = set()
    blocks: list[Body] = [body]
    while blocks:
        for statement in blocks.pop():
            if isinstance(statement, Bind | Loop):
                found.update(statement.names)
            elif isinstance(statement, Function):
                found.add(statement.name)
                found.update(statement.params)
            elif isinstance(statement, Using):
                found.update(name for _, name in statement.items)
            elif isinstance(statement, Try):
                found.update(handler.name for handler in statement.handlers)
            expressions, nested = parts(statement)
            blocks.extend(nested)
            stack = list(expressions)
            while stack:
                node = stack.pop()
                if isinstance(node, Lambda):
                    found.update(node.function.params)
                    blocks.append(node.function.body)
                else:
                    stack.extend(children(node))
    found.discard("")
    return found
