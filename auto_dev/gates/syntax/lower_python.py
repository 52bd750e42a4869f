"""Python source as the common tree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tree_sitter import Node

from auto_dev.gates.syntax.code import (
    NOTHING,
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
    Handler,
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
    Try,
    Unary,
    Unit,
    Using,
)
from auto_dev.gates.syntax.lower import Lowering
from auto_dev.gates.syntax.parse import faults, parse

_OPERATORS: Final = {"is": "==", "is not": "!=", "<>": "!="}


def lower_python(source: bytes) -> Unit:
    """The common tree of a Python file. Raises TooLong."""
    root = parse("python", source)
    reader = _Python(source)
    body = reader.body(root)
    lines = source.decode("utf-8", "replace").split("\n")
    return Unit(body, lines, reader.imports, faults(root) if root.has_error else (), reader.deep)


class _Python(Lowering):
    def __init__(self, source: bytes) -> None:
        super().__init__(source)
        self.imports: dict[str, str] = {}

    # expressions

    def name(self, node: Node) -> Expr:
        return Name(self.line(node), self.text(node))

    def member(self, node: Node) -> Expr:
        name = node.child_by_field_name("attribute")
        return Member(self.line(node), self.field(node, "object"), self.text(name) if name else "")

    def call(self, node: Node) -> Expr:
        line, last = self.line(node), self.last(node)
        function = self.field(node, "function")
        given = node.child_by_field_name("arguments")
        if given is None or given.type != "argument_list":
            return Call(line, function, (self.expr(given),) if given is not None else (), (), last)
        plain: list[Expr] = []
        keywords: list[tuple[str, Expr]] = []
        for child in given.named_children:
            if child.type == "keyword_argument":
                name = child.child_by_field_name("name")
                keywords.append((self.text(name) if name else "", self.field(child, "value")))
            elif child.type != "comment":
                plain.append(self.expr(child))
        return Call(line, function, tuple(plain), tuple(keywords), last)

    def index(self, node: Node) -> Expr:
        keys = self.exprs(node.children_by_field_name("subscript"))
        return Index(self.line(node), self.field(node, "value"), keys)

    def string(self, node: Node) -> Expr:
        children = node.children
        begin, end = node.start_byte, node.end_byte
        parts: list[Expr] = []
        if children and children[0].type == "string_start":
            begin = children[0].end_byte
        if children and children[-1].type == "string_end":
            end = children[-1].start_byte
        parts += [self.inner(child) for child in children if child.type == "interpolation"]
        text = self.source[begin:end].decode("utf-8", "replace")
        if not parts:
            return Literal(self.line(node), "string", text)
        return Other(self.line(node), "format", tuple(parts), _outside(self, node))

    def strings(self, node: Node) -> Expr:
        parts = self.exprs(node.named_children)
        if all(isinstance(part, Literal) for part in parts):
            return Literal(self.line(node), "string", "".join(p.text for p in parts if isinstance(p, Literal)))
        return Other(self.line(node), "format", parts)

    def group(self, node: Node) -> Expr:
        items = self.exprs(node.named_children)
        spread = any(child.type in ("list_splat", "dictionary_splat") for child in node.named_children)
        kind = {"list": "list", "set": "set", "dictionary": "map"}.get(node.type, "tuple")
        return Group(self.line(node), kind, items, not spread)

    def pair(self, node: Node) -> Expr:
        return Pair(self.line(node), self.field(node, "key"), self.field(node, "value"))

    def comparison(self, node: Node) -> Expr:
        operands = [child for child in node.children if child.is_named and child.type != "comment"]
        marks = [self.text(child) for child in node.children_by_field_name("operators")]
        values = [self.expr(operand) for operand in operands]
        line = self.line(node)
        pairs: list[Expr] = []
        for mark, left, right in zip(marks, values, values[1:], strict=False):
            operator = " ".join(mark.split())
            pairs.append(Binary(line, _OPERATORS.get(operator, operator), left, right))
        found = pairs[0] if pairs else NOTHING
        for more in pairs[1:]:
            found = Binary(line, "and", found, more)
        return found

    def binary(self, node: Node) -> Expr:
        mark = node.child_by_field_name("operator")
        left, right = self.field(node, "left"), self.field(node, "right")
        return Binary(self.line(node), self.text(mark) if mark else "", left, right)

    def unary(self, node: Node) -> Expr:
        mark = node.child_by_field_name("operator")
        return Unary(self.line(node), self.text(mark) if mark else "not", self.field(node, "argument"))

    def lambda_(self, node: Node) -> Expr:
        body = node.child_by_field_name("body")
        line = self.line(node)
        value = self.expr(body) if body is not None else NOTHING
        params = self.params(node.child_by_field_name("parameters"))
        function = Function(line, "", params, (Leave(line, "return", value),), last=self.last(node), expression=True)
        return Lambda(line, function)

    def await_(self, node: Node) -> Expr:
        return Await(self.line(node), self.inner(node))

    def named(self, node: Node) -> Expr:
        return self.field(node, "value")

    def comprehension(self, node: Node) -> Expr:
        return Other(self.line(node), "comprehension", self.exprs(node.named_children))

    expressions = {  # noqa: RUF012 (a table)
        "identifier": name, "attribute": member, "call": call, "subscript": index, "string": string,
        "concatenated_string": strings, "integer": Lowering.number, "float": Lowering.number,
        "true": Lowering.constant, "false": Lowering.constant, "none": Lowering.constant,
        "list": group, "set": group, "tuple": group, "dictionary": group, "expression_list": group, "pair": pair,
        "comparison_operator": comparison, "boolean_operator": binary, "binary_operator": binary,
        "not_operator": unary, "unary_operator": unary, "lambda": lambda_, "await": await_,
        "parenthesized_expression": Lowering.inner, "named_expression": named,
        "list_comprehension": comprehension, "set_comprehension": comprehension,
        "dictionary_comprehension": comprehension, "generator_expression": comprehension,
    }  # fmt: skip

    # statements

    def plain(self, node: Node) -> Iterable[Stmt]:
        children = [child for child in node.named_children if child.type != "comment"]
        line, last = self.line(node), self.last(node)
        if len(children) == 1:
            child = children[0]
            if child.type == "assignment":
                return self.assignment(child)
            if child.type == "augmented_assignment":
                name = self.field(child, "left")
                mark = child.child_by_field_name("operator")
                value = Binary(line, self.text(mark)[:-1] if mark else "+", name, self.field(child, "right"))
                return (Bind(line, (name.name,) if isinstance(name, Name) else (), value, (name,), last),)
            if child.type == "string":  # a docstring says nothing that runs
                return (Do(line, Literal(line, "string", ""), last),)
            return (Do(line, self.expr(child), last),)
        return (Do(line, Group(line, "tuple", self.exprs(children)), last),)

    def assignment(self, node: Node) -> Iterable[Stmt]:
        targets: list[Expr] = []
        value: Node | None = node
        while value is not None and value.type == "assignment":
            if (left := value.child_by_field_name("left")) is not None:
                targets.append(self.expr(left))
            value = value.child_by_field_name("right")
        names: list[str] = []
        others: list[Expr] = []
        for target in targets:
            parts = target.items if isinstance(target, Group) else target.parts if isinstance(target, Other) else None
            for part in parts if parts is not None else (target,):
                names.append(part.name if isinstance(part, Name) else "")
                if not isinstance(part, Name):
                    others.append(part)
        given = self.expr(value) if value is not None else None
        return (Bind(self.line(node), tuple(names), given, tuple(others), self.last(node)),)

    def if_(self, node: Node) -> Stmt:
        chain = node.children_by_field_name("alternative")
        otherwise: Body = ()
        for part in reversed(chain):
            if part.type == "else_clause":
                otherwise = self.body(part.child_by_field_name("body"))
            else:
                then = self.body(part.child_by_field_name("consequence"))
                otherwise = (If(self.line(part), self.field(part, "condition"), then, otherwise, self.last(part)),)
        then = self.body(node.child_by_field_name("consequence"))
        return If(self.line(node), self.field(node, "condition"), then, otherwise, self.last(node))

    def for_(self, node: Node) -> Stmt:
        target = node.child_by_field_name("left")
        names = self.names_in(target) if target is not None else ()
        body = self.body(node.child_by_field_name("body"))
        other = node.child_by_field_name("alternative")
        otherwise = self.body(other.child_by_field_name("body")) if other is not None else ()
        return Loop(self.line(node), body, self.field(node, "right"), None, names, otherwise)

    def while_(self, node: Node) -> Stmt:
        body = self.body(node.child_by_field_name("body"))
        return Loop(self.line(node), body, None, self.field(node, "condition"))

    def try_(self, node: Node) -> Stmt:
        handlers: list[Handler] = []
        otherwise: Body = ()
        final: Body = ()
        for child in node.named_children:
            if child.type in ("except_clause", "except_group_clause"):
                handlers.append(self.handler(child))
            elif child.type == "else_clause":
                otherwise = self.body(child.child_by_field_name("body"))
            elif child.type == "finally_clause":
                block = next((part for part in child.named_children if part.type == "block"), None)
                final = self.body(block)
        return Try(self.line(node), self.body(node.child_by_field_name("body")), tuple(handlers), otherwise, final)

    def handler(self, node: Node) -> Handler:
        block = next((part for part in node.named_children if part.type == "block"), None)
        values = node.children_by_field_name("value")
        name, types = "", list[str]()
        for given in values:
            value = given
            if given.type == "as_pattern":
                alias = given.child_by_field_name("alias")
                name = self.text(alias) if alias is not None else ""
                value = given.named_children[0]
            parts = value.named_children if value.type in ("tuple", "parenthesized_expression") else [value]
            types += [self.text(part).rsplit(".", 1)[-1] for part in parts]
        return Handler(self.line(node), tuple(types), self.body(block), name)

    def with_(self, node: Node) -> Stmt:
        items: list[tuple[Expr, str]] = []
        clause = next((child for child in node.named_children if child.type == "with_clause"), node)
        for item in clause.named_children:
            value = item.child_by_field_name("value") if item.type == "with_item" else None
            if value is None:
                continue
            name = ""
            if value.type == "as_pattern":
                alias = value.child_by_field_name("alias")
                name = self.text(alias) if alias is not None else ""
                value = value.named_children[0]
            items.append((self.expr(value), name))
        return Using(self.line(node), tuple(items), self.body(node.child_by_field_name("body")))

    def match(self, node: Node) -> Stmt:
        block = node.child_by_field_name("body")
        cases = [child for child in block.named_children if child.type == "case_clause"] if block is not None else []
        bodies = tuple(self.body(case.child_by_field_name("consequence")) for case in cases)
        return Choice(self.line(node), self.field(node, "subject"), bodies)

    def assert_(self, node: Node) -> Stmt:
        return Assert(self.line(node), self.inner(node), self.last(node))

    def leave(self, node: Node) -> Stmt:
        kind = node.type.removesuffix("_statement")
        value = next((child for child in node.named_children if child.type != "comment"), None)
        return Leave(self.line(node), kind, self.expr(value) if value is not None else None)

    def function(self, node: Node, decorators: tuple[Expr, ...] = ()) -> Stmt:
        name = node.child_by_field_name("name")
        block = node.child_by_field_name("body")
        params = self.params(node.child_by_field_name("parameters"))
        waits = any(child.type == "async" for child in node.children)
        return Function(
            self.line(node), self.text(name) if name else "", params, self.body(block), decorators,
            last=self.last(node), asynchronous=waits, document=self.document(block),
        )  # fmt: skip

    def class_(self, node: Node, decorators: tuple[Expr, ...] = ()) -> Stmt:
        name = node.child_by_field_name("name")
        bases = node.child_by_field_name("superclasses")
        block = node.child_by_field_name("body")
        above = tuple(self.exprs(c for c in bases.named_children if c.type != "keyword_argument")) if bases else ()
        text = self.text(name) if name else ""
        return Class(self.line(node), text, self.body(block), above, decorators, document=self.document(block))

    def decorated(self, node: Node) -> Stmt | None:
        marks = tuple(self.inner(child) for child in node.named_children if child.type == "decorator")
        inside = node.child_by_field_name("definition")
        if inside is None:
            return None
        return self.class_(inside, marks) if inside.type == "class_definition" else self.function(inside, marks)

    def delete(self, node: Node) -> Stmt:
        targets = self.exprs(node.named_children)
        names = tuple(target.name if isinstance(target, Name) else "" for target in targets)
        return Bind(self.line(node), names, Other(self.line(node), "deleted"), targets)

    def import_(self, node: Node) -> None:
        module = node.child_by_field_name("module_name")
        source = self.text(module) if module is not None else ""
        for item in node.children_by_field_name("name"):
            name, alias = item.child_by_field_name("name"), item.child_by_field_name("alias")
            full = self.text(name if name is not None else item)
            bound = self.text(alias) if alias is not None else full if source else full.split(".")[0]
            self.imports[bound] = f"{source}.{full}" if source else full

    def nothing(self, _: Node) -> None:
        return None

    statements = {  # noqa: RUF012 (a table)
        "expression_statement": plain, "if_statement": if_, "for_statement": for_, "while_statement": while_,
        "try_statement": try_, "with_statement": with_, "match_statement": match, "assert_statement": assert_,
        "return_statement": leave, "raise_statement": leave, "break_statement": leave, "continue_statement": leave,
        "function_definition": function, "class_definition": class_, "decorated_definition": decorated,
        "delete_statement": delete, "import_statement": import_, "import_from_statement": import_,
        "future_import_statement": nothing, "pass_statement": nothing, "global_statement": nothing,
        "nonlocal_statement": nothing, "type_alias_statement": nothing,
    }  # fmt: skip

    # parts of both

    def params(self, node: Node | None) -> tuple[str, ...]:
        if node is None:
            return ()
        names: list[str] = []
        for child in node.named_children:
            name = child.child_by_field_name("name")
            if name is None and child.type in ("typed_parameter", "list_splat_pattern", "dictionary_splat_pattern"):
                name = child.named_children[0] if child.named_children else None
            if name is None and child.type == "identifier":
                name = child
            if name is not None:
                names.append(self.text(name).lstrip("*"))
        return tuple(names)

    def names_in(self, node: Node) -> tuple[str, ...]:
        """The names that a target binds."""
        if node.type == "identifier":
            return (self.text(node),)
        return tuple(self.text(child) for child in node.named_children if child.type == "identifier")

    def document(self, block: Node | None) -> str:
        first = block.named_children[0] if block is not None and block.named_children else None
        if first is None or first.type != "expression_statement" or len(first.named_children) != 1:
            return ""
        text = first.named_children[0]
        return self.text(text) if text.type == "string" else ""


def _outside(reader: _Python, node: Node) -> str:
    """The fixed text of a format string."""
    return "{}".join(reader.text(child) for child in node.children if child.type == "string_content")
