"""Rust source as the common tree. What stands in macros is parsed as arguments, where it can be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tree_sitter import Node

from auto_dev.gates.syntax.code import (
    NOTHING,
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
    Index,
    Lambda,
    Leave,
    Literal,
    Loop,
    Member,
    Name,
    Other,
    Pair,
    Stmt,
    Unary,
    Unit,
)
from auto_dev.gates.syntax.lower import Lowering
from auto_dev.gates.syntax.parse import faults, parse, parse_piece

_OPERATORS: Final = {"&&": "and", "||": "or", "!": "not"}
_PIECE: Final = 4_000  # bytes of a macro that are parsed on their own
_NESTED: Final = 6  # macros in macros
_BUDGET: Final = 600_000  # bytes of macros that are parsed for one file
_ITEMS: Final = frozenset(("proptest", "quickcheck", "cfg_if"))  # macros around whole functions
_GUESSED: Final = frozenset(("async_block", "unsafe_block", "block", "const_block", "gen_block", "try_block"))


def lower_rust(source: bytes) -> Unit:
    """The common tree of a Rust file. Raises TooLong."""
    root = parse("rust", source)
    reader = _Rust(source)
    body = reader.body(root)
    lines = source.decode("utf-8", "replace").split("\n")
    return Unit(body, lines, {}, faults(root) if root.has_error else (), reader.deep)


class _Rust(Lowering):
    def __init__(
        self, source: bytes, first: int = 1, depth: int = 0, nested: int = 0, spent: list[int] | None = None
    ) -> None:
        super().__init__(source, first, depth)
        self.nested = nested
        self.spent = spent if spent is not None else [0]

    # expressions

    def name(self, node: Node) -> Expr:
        return Name(self.line(node), self.text(node))

    def path(self, node: Node) -> Expr:
        owner, name = node.child_by_field_name("path"), node.child_by_field_name("name")
        line, text = self.line(node), self.text(name) if name is not None else ""
        return Member(line, self.expr(owner), text) if owner is not None else Name(line, text)

    def member(self, node: Node) -> Expr:
        name = node.child_by_field_name("field")
        return Member(self.line(node), self.field(node, "value"), self.text(name) if name is not None else "")

    def call(self, node: Node) -> Expr:
        given = node.child_by_field_name("arguments")
        arguments = self.exprs(given.named_children) if given is not None else ()
        return Call(self.line(node), self.field(node, "function"), arguments, (), self.last(node))

    def generic(self, node: Node) -> Expr:
        return self.field(node, "function")

    def macro(self, node: Node) -> Expr:
        """``name!(…)`` as a call of ``name!``; ``vec![…]`` as a list."""
        called = node.child_by_field_name("macro")
        function = self.expr(called) if called is not None else NOTHING
        name = function.name if isinstance(function, Name | Member) else ""
        if isinstance(function, Name | Member):
            function.name = f"{name}!"
        tree = next((child for child in node.named_children if child.type == "token_tree"), None)
        line, last = self.line(node), self.last(node)
        arguments = self.arguments(tree) if tree is not None else ()
        if arguments is None:
            text = self.head(tree) if tree is not None else ""
            return Call(line, function, (Other(line, "tokens", (), " ".join(text.split())),), (), last)
        if name == "vec":
            return (
                arguments[0]
                if len(arguments) == 1 and isinstance(arguments[0], Group)
                else Other(line, "vec", arguments)
            )
        plain = [value for value in arguments if not isinstance(value, Pair)]
        keywords = [(v.key.name, v.value) for v in arguments if isinstance(v, Pair) and isinstance(v.key, Name)]
        return Call(line, function, tuple(plain), tuple(keywords), last)

    def arguments(self, tree: Node) -> tuple[Expr, ...] | None:
        """The arguments in a macro's brackets, or None where they are no expressions."""
        size = tree.end_byte - tree.start_byte
        if self.nested >= _NESTED or size > _PIECE or self.spent[0] > _BUDGET:
            return None
        self.spent[0] += size
        inside = self.source[tree.start_byte + 1 : tree.end_byte - 1]
        opened = self.source[tree.start_byte : tree.start_byte + 1]
        listed = opened == b"["
        head, tail = (b"fn f(){[", b"];}") if listed else (b"fn f(){f(", b");}")
        source = head + inside + tail
        root = parse_piece("rust", source)
        node = root.child(0).child_by_field_name("body") if root.child_count else None
        while node is not None and node.type in ("block", "expression_statement"):
            node = node.named_child(0) if node.named_child_count else None
        if node is None or node.type not in ("call_expression", "array_expression") or node.end_byte < len(source) - 3:
            return None
        reader = _Rust(source, self.line(tree), self.depth, self.nested + 1, self.spent)
        found = reader.expr(node)
        self.deep = self.deep or reader.deep
        if isinstance(found, Call):
            return found.arguments
        return (found,) if isinstance(found, Group) else None

    def string(self, node: Node) -> Expr:
        text = "".join(self.text(c) for c in node.named_children if c.type in ("string_content", "escape_sequence"))
        return Literal(self.line(node), "string", text)

    def character(self, node: Node) -> Expr:
        return Literal(self.line(node), "string", self.text(node)[1:-1])

    def boolean(self, node: Node) -> Expr:
        return Literal(self.line(node), "bool", self.text(node))

    def group(self, node: Node) -> Expr:
        length = node.child_by_field_name("length")
        kind = "list" if node.type == "array_expression" else "tuple"
        children = [c for c in node.named_children if c.type != "attribute_item"]
        return Group(self.line(node), kind, self.exprs(children), length is None)

    def struct(self, node: Node) -> Expr:
        name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
        items: list[Expr] = []
        whole = True
        for child in body.named_children if body is not None else ():
            line = self.line(child)
            if child.type == "field_initializer":
                key = child.child_by_field_name("field")
                text = self.text(key) if key is not None else ""
                items.append(Pair(line, Literal(line, "string", text), self.field(child, "value")))
            elif child.type == "shorthand_field_initializer":
                items.append(Pair(line, Literal(line, "string", self.text(child)), Name(line, self.text(child))))
            elif child.type == "base_field_initializer":
                whole = False
        return Group(self.line(node), "struct", tuple(items), whole, self.text(name) if name is not None else "")

    def unary(self, node: Node) -> Expr:
        mark = self.text(node)[:1]
        value = self.inner(node)
        return value if mark == "*" else Unary(self.line(node), _OPERATORS.get(mark, mark), value)

    def binary(self, node: Node) -> Expr:
        mark = node.child_by_field_name("operator")
        text = self.text(mark) if mark is not None else ""
        left, right = self.field(node, "left"), self.field(node, "right")
        return Binary(self.line(node), _OPERATORS.get(text, text), left, right)

    def closure(self, node: Node) -> Expr:
        block = node.child_by_field_name("body")
        params = node.child_by_field_name("parameters")
        line = self.line(node)
        body: Body = ()
        short = block is not None and block.type != "block"
        if block is not None:
            body = (Leave(self.line(block), "return", self.expr(block)),) if short else self.body(block)
        names = self.names_in(params) if params is not None else ()
        return Lambda(line, Function(line, "", names, body, last=self.last(node), expression=short))

    def block_expression(self, node: Node) -> Expr:
        """A block that stands where a value does."""
        block = node if node.type == "block" else next((c for c in node.named_children if c.type == "block"), None)
        line = self.line(node)
        function = Function(line, "", (), self.body(block), last=self.last(node))
        return Call(line, Lambda(line, function), (), (), self.last(node))

    def await_(self, node: Node) -> Expr:
        return Await(self.line(node), self.inner(node))

    def condition(self, node: Node) -> Expr:
        """``let Some(x) = y`` asks for a shape."""
        pattern = node.child_by_field_name("pattern")
        text = self.text(pattern) if pattern is not None else ""
        line = self.line(node)
        return Call(line, Name(line, "matches!"), (self.field(node, "value"), Other(line, "pattern", (), text)), ())

    def control(self, node: Node) -> Expr:
        """``if``, ``match``, ``loop`` as a value."""
        line = self.line(node)
        function = Function(line, "", (), self.statements_of(node), last=self.last(node))
        return Call(line, Lambda(line, function), (), (), self.last(node))

    def returned(self, node: Node) -> Expr:
        return Other(self.line(node), node.type, self.exprs(node.named_children))

    def keyword(self, node: Node) -> Expr:
        """``name = value`` among the arguments of a macro."""
        return Pair(self.line(node), self.field(node, "left"), self.field(node, "right"))

    def tokens(self, node: Node) -> Expr:
        return Other(self.line(node), "tokens", (), " ".join(self.head(node).split()))

    expressions = {  # noqa: RUF012 (a table)
        "identifier": name, "self": name, "super": name, "crate": name, "type_identifier": name, "metavariable": name,
        "primitive_type": name, "scoped_identifier": path, "scoped_type_identifier": path, "field_expression": member,
        "call_expression": call, "generic_function": generic, "macro_invocation": macro, "string_literal": string,
        "raw_string_literal": string, "char_literal": character, "boolean_literal": boolean,
        "integer_literal": Lowering.number, "float_literal": Lowering.number, "unit_expression": Lowering.constant,
        "array_expression": group, "tuple_expression": group, "struct_expression": struct,
        "unary_expression": unary, "reference_expression": Lowering.inner, "parenthesized_expression": Lowering.inner,
        "try_expression": Lowering.inner, "binary_expression": binary, "closure_expression": closure,
        "async_block": block_expression, "unsafe_block": block_expression, "block": block_expression,
        "await_expression": await_, "let_condition": condition, "if_expression": control, "match_expression": control,
        "loop_expression": control, "while_expression": control, "for_expression": control,
        "return_expression": returned, "assignment_expression": keyword, "token_tree": tokens,
        "type_cast_expression": Lowering.inner,
    }  # fmt: skip

    # statements

    def index(self, node: Node) -> Expr:
        children = self.exprs(node.named_children)
        return Index(self.line(node), children[0], children[1:]) if children else NOTHING

    expressions["index_expression"] = index

    def plain(self, node: Node) -> Iterable[Stmt]:
        child = next((part for part in node.named_children if not part.type.endswith("comment")), None)
        if child is None:
            return ()
        if child.type in self.statements:
            return self.statements_of(child)
        return (Do(self.line(node), self.expr(child), self.last(node)),)

    def let(self, node: Node) -> Iterable[Stmt]:
        pattern, value = node.child_by_field_name("pattern"), node.child_by_field_name("value")
        names = self.names_in(pattern) if pattern is not None else ()
        given = self.expr(value) if value is not None else None
        whole = pattern is not None and pattern.type == "identifier"
        targets = () if whole else (Other(self.line(node), "pattern", (), self.text(pattern) if pattern else ""),)
        found: list[Stmt] = [Bind(self.line(node), names, given, targets, self.last(node))]
        other = node.child_by_field_name("alternative")
        if other is not None and given is not None:  # let … else { panic!() }
            asked = Call(self.line(node), Name(self.line(node), "matches!"), (given,))
            found.append(
                If(self.line(other), Unary(self.line(other), "not", asked), self.body(other), (), self.last(other))
            )
        return found

    def assignment(self, node: Node) -> Stmt:
        left = node.child_by_field_name("left")
        names = (self.text(left),) if left is not None and left.type == "identifier" else ()
        value = self.field(node, "right")
        if node.type == "compound_assignment_expr":
            value = Binary(self.line(node), "+=", self.field(node, "left"), value)
        targets = (self.expr(left),) if left is not None and not names else ()
        return Bind(self.line(node), names, value, targets, self.last(node))

    def if_(self, node: Node) -> Stmt:
        other = node.child_by_field_name("alternative")
        otherwise: Body = ()
        if other is not None:
            inside = next((c for c in other.named_children if not c.type.endswith("comment")), None)
            if inside is not None:
                otherwise = self.body(inside) if inside.type == "block" else self.statements_of(inside)
        then = self.body(node.child_by_field_name("consequence"))
        return If(self.line(node), self.field(node, "condition"), then, otherwise, self.last(node))

    def for_(self, node: Node) -> Stmt:
        pattern = node.child_by_field_name("pattern")
        names = self.names_in(pattern) if pattern is not None else ()
        body = self.body(node.child_by_field_name("body"))
        return Loop(self.line(node), body, self.field(node, "value"), None, names)

    def while_(self, node: Node) -> Stmt:
        test = node.child_by_field_name("condition")
        body = self.body(node.child_by_field_name("body"))
        return Loop(self.line(node), body, None, self.expr(test) if test is not None else None)

    def match(self, node: Node) -> Stmt:
        block = node.child_by_field_name("body")
        bodies: list[Body] = []
        for arm in block.named_children if block is not None else ():
            value = arm.child_by_field_name("value")
            if arm.type == "match_arm" and value is not None:
                bodies.append(self.body(value) if value.type == "block" else self.statements_of(value))
        return Choice(self.line(node), self.field(node, "value"), tuple(bodies))

    def nested_block(self, node: Node) -> Iterable[Stmt]:
        block = node if node.type == "block" else next((c for c in node.named_children if c.type == "block"), None)
        return self.body(block)

    def leave(self, node: Node) -> Stmt:
        kind = node.type.removesuffix("_expression")
        value = next((c for c in node.named_children if c.type != "label"), None)
        return Leave(self.line(node), kind, self.expr(value) if value is not None else None)

    def macro_statement(self, node: Node) -> Iterable[Stmt]:
        """Macros around functions are read as if the functions stood there."""
        called = node.child_by_field_name("macro")
        tree = next((child for child in node.named_children if child.type == "token_tree"), None)
        if called is not None and tree is not None and self.text(called).rsplit("::", 1)[-1] in _ITEMS:
            return self.items(tree)
        return (Do(self.line(node), self.expr(node), self.last(node)),)

    def items(self, tree: Node) -> Body:
        if self.nested >= _NESTED:
            return ()
        inside = self.source[tree.start_byte + 1 : tree.end_byte - 1]
        reader = _Rust(inside, self.line(tree), self.depth, self.nested + 1, self.spent)
        body = reader.body(parse("rust", inside))
        self.deep = self.deep or reader.deep
        return body

    def body(self, node: Node | None) -> Body:
        """Statements and items, with the attributes that stand above each."""
        if node is None:
            return ()
        if node.type not in ("block", "source_file", "declaration_list", "unsafe_block", "async_block"):
            return self.statements_of(node)
        found: list[Stmt] = []
        marks: list[Expr] = []
        for child in node.named_children:
            if child.type == "attribute_item":
                marks.append(self.attribute(child))
            elif child.type == "function_item":
                found.append(self.function_of(child, tuple(marks)))
                marks = []
            elif child.type in ("mod_item", "impl_item", "trait_item"):
                found.append(self.module(child, tuple(marks)))
                marks = []
            elif not child.type.endswith("comment"):
                self.statement_into(child, found)
                marks = []
        return tuple(found)

    def attribute(self, node: Node) -> Expr:
        """``#[name(…)]`` as a call or a name."""
        inside = next((child for child in node.named_children if child.type == "attribute"), None)
        if inside is None or not inside.named_child_count:
            return NOTHING
        name = self.expr(inside.named_child(0))
        tree, value = inside.child_by_field_name("arguments"), inside.child_by_field_name("value")
        line, last = self.line(node), self.last(node)
        if value is not None:
            return Call(line, name, (self.expr(value),), (), last)
        if tree is None:
            return name
        given = self.arguments(tree)
        if given is None:
            return Call(line, name, (self.tokens(tree),), (), last)
        plain = tuple(value for value in given if not isinstance(value, Pair))
        keywords = tuple((v.key.name, v.value) for v in given if isinstance(v, Pair) and isinstance(v.key, Name))
        return Call(line, name, plain, keywords, last)

    def function_of(self, node: Node, marks: tuple[Expr, ...]) -> Function:
        name = node.child_by_field_name("name")
        params = node.child_by_field_name("parameters")
        names: list[str] = []
        takes: list[str] = []
        for child in params.named_children if params is not None else ():
            if child.type == "parameter":
                pattern, kind = child.child_by_field_name("pattern"), child.child_by_field_name("type")
                names.append(self.text(pattern) if pattern is not None else "")
                takes.append(self.text(kind) if kind is not None else "")
            elif child.type == "attribute_item":
                marks = (*marks, self.attribute(child))
        waits = any(c.type == "function_modifiers" and "async" in self.text(c) for c in node.named_children)
        body = self.body(node.child_by_field_name("body"))
        return Function(
            self.line(node), self.text(name) if name is not None else "", tuple(names), body, marks, tuple(takes),
            last=self.last(node), asynchronous=waits,
        )  # fmt: skip

    def module(self, node: Node, marks: tuple[Expr, ...]) -> Class:
        name = node.child_by_field_name("name") or node.child_by_field_name("type")
        kind = node.type.removesuffix("_item")
        body = self.body(node.child_by_field_name("body"))
        return Class(self.line(node), self.text(name) if name is not None else "", body, (), marks, kind)

    def function_statement(self, node: Node) -> Stmt:
        return self.function_of(node, ())

    def const(self, node: Node) -> Stmt:
        name = node.child_by_field_name("name")
        value = node.child_by_field_name("value")
        given = self.expr(value) if value is not None else None
        return Bind(self.line(node), (self.text(name),) if name is not None else (), given)

    def nothing(self, _: Node) -> None:
        return None

    statements = {  # noqa: RUF012 (a table)
        "expression_statement": plain, "let_declaration": let, "assignment_expression": assignment,
        "compound_assignment_expr": assignment, "if_expression": if_, "for_expression": for_,
        "while_expression": while_, "loop_expression": while_, "match_expression": match,
        "unsafe_block": nested_block, "async_block": nested_block, "block": nested_block,
        "return_expression": leave, "break_expression": leave, "continue_expression": leave,
        "macro_invocation": macro_statement, "function_item": function_statement, "const_item": const,
        "static_item": const, "use_declaration": nothing, "inner_attribute_item": nothing, "empty_statement": nothing,
        "struct_item": nothing, "enum_item": nothing, "type_item": nothing, "macro_definition": nothing,
        "extern_crate_declaration": nothing, "union_item": nothing, "label": nothing,
    }  # fmt: skip

    def names_in(self, node: Node) -> tuple[str, ...]:
        """The names that a pattern binds; a name with a capital is a variant or a constant."""
        found: list[str] = []
        stack = [node]
        while stack:
            part = stack.pop()
            if part.type == "identifier":
                text = self.text(part)
                if text[:1].islower() or text[:1] == "_":
                    found.append(text)
                continue
            kind = part.child_by_field_name("type")
            skipped = kind.id if kind is not None else -1
            stack.extend(child for child in reversed(part.named_children) if child.id != skipped)
        return tuple(found)
