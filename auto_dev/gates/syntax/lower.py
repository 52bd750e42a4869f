"""What the readers of all languages share: from a tree-sitter tree to the common tree, bounded in depth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Final

from tree_sitter import Node

from auto_dev.gates.syntax.code import Body, Do, Expr, Literal, Other, Stmt
from auto_dev.gates.syntax.parse import DEEPEST, tick

_COMMENTS: Final = frozenset(("comment", "line_comment", "block_comment"))
_KEPT: Final = 200  # characters of what is not read further


class Lowering:
    """Base of the four readers.

    ``expressions`` and ``statements`` map tree-sitter's node types to methods; what has no entry becomes ``Other`` with
    the expressions in it.
    """

    expressions: ClassVar[dict[str, Callable[..., Expr]]] = {}
    statements: ClassVar[dict[str, Callable[..., Stmt | Iterable[Stmt] | None]]] = {}

    def __init__(self, source: bytes, first: int = 1, depth: int = 0) -> None:
        self.source = source
        self.first = first  # the line at which ``source`` begins
        self.depth = depth
        self.deep = False

    def text(self, node: Node) -> str:
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def head(self, node: Node) -> str:
        """The first words of ``node``."""
        end = min(node.end_byte, node.start_byte + _KEPT)
        return self.source[node.start_byte : end].decode("utf-8", "replace")

    def line(self, node: Node) -> int:
        return node.start_point.row + self.first

    def last(self, node: Node) -> int:
        return node.end_point.row + self.first

    def expr(self, node: Node) -> Expr:
        """``node`` as an expression."""
        handler = self.expressions.get(node.type)
        self.depth += 1
        tick()
        try:
            if self.depth > DEEPEST:
                self.deep = True
                return Other(self.line(node), "deep", (), self.head(node))
            return handler(self, node) if handler is not None else self.unknown(node)
        finally:
            self.depth -= 1

    def exprs(self, nodes: Iterable[Node]) -> tuple[Expr, ...]:
        return tuple(self.expr(node) for node in nodes if node.type not in _COMMENTS)

    def unknown(self, node: Node) -> Expr:
        parts = self.exprs(node.named_children)
        text = "" if parts else self.head(node)
        return Other(self.line(node), node.type, parts, text)

    def body(self, node: Node | None) -> Body:
        """The statements in a block, or the one statement that stands in place of a block."""
        if node is None:
            return ()
        found: list[Stmt] = []
        for child in node.named_children:
            self.statement_into(child, found)
        return tuple(found)

    def statement_into(self, node: Node, found: list[Stmt]) -> None:
        """Append what ``node`` says as statements to ``found``."""
        if node.type in _COMMENTS:
            return
        handler = self.statements.get(node.type)
        self.depth += 1
        tick()
        try:
            if self.depth > DEEPEST:
                self.deep = True
                found.append(Do(self.line(node), Other(self.line(node), "deep", (), self.head(node))))
                return
            if handler is None:
                found.append(Do(self.line(node), self.expr(node), self.last(node)))
                return
            made = handler(self, node)
        finally:
            self.depth -= 1
        if made is None:
            return
        if isinstance(made, Iterable):
            found.extend(made)
        else:
            found.append(made)

    def statements_of(self, node: Node) -> Body:
        """``node`` itself as statements."""
        found: list[Stmt] = []
        self.statement_into(node, found)
        return tuple(found)

    def field(self, node: Node, name: str) -> Expr:
        """The expression in the field ``name`` of ``node``."""
        child = node.child_by_field_name(name)
        return self.expr(child) if child is not None else Other(self.line(node), "missing")

    def number(self, node: Node) -> Expr:
        return Literal(self.line(node), "number", number(self.text(node)))

    def constant(self, node: Node) -> Expr:
        kind, text = _CONSTANTS[node.type]
        return Literal(self.line(node), kind, text)

    def inner(self, node: Node) -> Expr:
        """What stands in brackets, or under a mark that changes nothing for the reader: ``(x)``, ``&x``, ``x!``."""
        first = next((child for child in node.named_children if child.type not in _COMMENTS), None)
        return self.expr(first) if first is not None else self.unknown(node)


_CONSTANTS: Final[dict[str, tuple[str, str]]] = {
    "true": ("bool", "true"), "false": ("bool", "false"),
    "none": ("null", "null"), "null": ("null", "null"), "nil": ("null", "null"), "undefined": ("null", "undefined"),
    "unit_expression": ("null", "unit"),
}  # fmt: skip


def number(text: str) -> str:
    """A number in one spelling: ``1_000`` and ``1000``, ``0x10`` and ``16``, ``1.50`` and ``1.5``."""
    plain = text.replace("_", "").lower()
    for suffix in ("i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32", "u64", "u128", "usize"):
        if plain.endswith(suffix) and not plain.startswith("0x"):
            plain = plain.removesuffix(suffix)
            break
    plain = plain.removesuffix("n").removesuffix("l") if not plain.startswith("0x") else plain
    if len(plain) > 40:
        return plain
    try:
        return str(int(plain, 0)) if plain[:1].isdigit() and "." not in plain and "e" not in plain[2:] else _real(plain)
    except ValueError:
        return _real(plain)


def _real(text: str) -> str:
    try:
        return repr(float(text))
    except ValueError:
        return text
