"""Go source as the common tree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tree_sitter import Node

from auto_dev.gates.syntax.code import (
    NOTHING,
    Binary,
    Bind,
    Body,
    Call,
    Choice,
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
from auto_dev.gates.syntax.parse import faults, parse

_OPERATORS: Final = {"&&": "and", "||": "or", "!": "not"}
_STRIPPED: Final = frozenset(("&", "*"))


def lower_go(source: bytes) -> Unit:
    """The common tree of a Go file. Raises TooLong."""
    root = parse("go", source)
    reader = _Go(source)
    body = reader.body(root)
    lines = source.decode("utf-8", "replace").split("\n")
    return Unit(body, lines, reader.imports, faults(root) if root.has_error else (), reader.deep)


class _Go(Lowering):
    def __init__(self, source: bytes) -> None:
        super().__init__(source)
        self.imports: dict[str, str] = {}

    # expressions

    def name(self, node: Node) -> Expr:
        return Name(self.line(node), self.text(node))

    def member(self, node: Node) -> Expr:
        name = node.child_by_field_name("field")
        return Member(self.line(node), self.field(node, "operand"), self.text(name) if name is not None else "")

    def qualified(self, node: Node) -> Expr:
        owner, name = node.child_by_field_name("package"), node.child_by_field_name("name")
        line = self.line(node)
        return Member(line, Name(line, self.text(owner) if owner else ""), self.text(name) if name else "")

    def call(self, node: Node) -> Expr:
        given = node.child_by_field_name("arguments")
        arguments = self.exprs(given.named_children) if given is not None else ()
        return Call(self.line(node), self.field(node, "function"), arguments, (), self.last(node))

    def conversion(self, node: Node) -> Expr:
        return Call(self.line(node), self.field(node, "type"), (self.field(node, "operand"),), (), self.last(node))

    def index(self, node: Node) -> Expr:
        return Index(self.line(node), self.field(node, "operand"), (self.field(node, "index"),))

    def sliced(self, node: Node) -> Expr:
        ends = tuple(self.field(node, n) if node.child_by_field_name(n) else NOTHING for n in ("start", "end"))
        return Index(self.line(node), self.field(node, "operand"), ends)

    def string(self, node: Node) -> Expr:
        return Literal(self.line(node), "string", self.text(node)[1:-1])

    def composite(self, node: Node) -> Expr:
        kind_of = node.child_by_field_name("type")
        body = node.child_by_field_name("body")
        kinds = {"slice_type": "list", "array_type": "list", "implicit_length_array_type": "list", "map_type": "map"}
        kind = kinds.get(kind_of.type, "struct") if kind_of is not None else "struct"
        name = self.text(kind_of)[:200] if kind_of is not None and kind != "list" else ""
        return Group(self.line(node), kind, self.elements(body), True, " ".join(name.split()))

    def literal_value(self, node: Node) -> Expr:
        return Group(self.line(node), "struct", self.elements(node))

    def elements(self, node: Node | None) -> tuple[Expr, ...]:
        return self.exprs(node.named_children) if node is not None else ()

    def keyed(self, node: Node) -> Expr:
        key, value = node.child_by_field_name("key"), node.child_by_field_name("value")
        line = self.line(node)
        return Pair(line, self.inner(key) if key else NOTHING, self.inner(value) if value else NOTHING)

    def unary(self, node: Node) -> Expr:
        mark = node.child_by_field_name("operator")
        text = self.text(mark) if mark is not None else ""
        value = self.field(node, "operand")
        return value if text in _STRIPPED else Unary(self.line(node), _OPERATORS.get(text, text), value)

    def binary(self, node: Node) -> Expr:
        mark = node.child_by_field_name("operator")
        text = self.text(mark) if mark is not None else ""
        left, right = self.field(node, "left"), self.field(node, "right")
        return Binary(self.line(node), _OPERATORS.get(text, text), left, right)

    def cast(self, node: Node) -> Expr:
        kind = node.child_by_field_name("type")
        text = self.text(kind) if kind is not None else ""
        return Other(self.line(node), "cast", (self.field(node, "operand"),), text)

    def function(self, node: Node) -> Expr:
        return Lambda(self.line(node), self.function_of(node))

    def list_of(self, node: Node) -> Expr:
        items = self.exprs(node.named_children)
        return items[0] if len(items) == 1 else Group(self.line(node), "tuple", items)

    expressions = {  # noqa: RUF012 (a table)
        "identifier": name, "field_identifier": name, "package_identifier": name, "type_identifier": name,
        "selector_expression": member, "qualified_type": qualified, "call_expression": call,
        "type_conversion_expression": conversion, "index_expression": index, "slice_expression": sliced,
        "interpreted_string_literal": string, "raw_string_literal": string, "rune_literal": string,
        "int_literal": Lowering.number, "float_literal": Lowering.number, "imaginary_literal": Lowering.number,
        "true": Lowering.constant, "false": Lowering.constant, "nil": Lowering.constant,
        "composite_literal": composite, "literal_value": literal_value, "keyed_element": keyed,
        "literal_element": Lowering.inner, "unary_expression": unary, "binary_expression": binary,
        "type_assertion_expression": cast, "func_literal": function, "expression_list": list_of,
        "parenthesized_expression": Lowering.inner,
    }  # fmt: skip

    # statements

    def plain(self, node: Node) -> Stmt:
        return Do(self.line(node), self.inner(node), self.last(node))

    def bind(self, node: Node) -> Iterable[Stmt]:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        targets = left.named_children if left is not None else []
        values = right.named_children if right is not None else []
        return self.bound(node, targets, values)

    def bound(self, node: Node, targets: list[Node], values: list[Node]) -> Iterable[Stmt]:
        line, last = self.line(node), self.last(node)
        names = tuple(self.text(target) if target.type == "identifier" else "" for target in targets)
        others = tuple(self.expr(target) for target in targets if target.type != "identifier")
        given = self.exprs(values)
        if len(given) == len(names) > 1:
            return [Bind(line, (name,), value, others, last) for name, value in zip(names, given, strict=True)]
        value = given[0] if len(given) == 1 else Group(line, "tuple", given) if given else None
        return [Bind(line, names, value, others, last)]

    def spec(self, node: Node) -> Iterable[Stmt]:
        found: list[Stmt] = []
        stack = list(reversed(node.named_children))
        while stack:
            child = stack.pop()
            if child.type in ("var_spec_list", "const_spec_list"):
                stack.extend(reversed(child.named_children))
            elif child.type in ("var_spec", "const_spec"):
                value = child.child_by_field_name("value")
                found.extend(
                    self.bound(child, child.children_by_field_name("name"), value.named_children if value else [])
                )
        return found

    def step(self, node: Node) -> Stmt:
        name = self.inner(node)
        return Bind(self.line(node), (name.name,) if isinstance(name, Name) else (), Binary(0, "++", name, NOTHING))

    def if_(self, node: Node) -> Iterable[Stmt]:
        found: list[Stmt] = []
        if (begin := node.child_by_field_name("initializer")) is not None:
            self.statement_into(begin, found)
        then = self.block(node.child_by_field_name("consequence"))
        other = node.child_by_field_name("alternative")
        otherwise: Body = ()
        if other is not None:
            otherwise = self.statements_of(other) if other.type == "if_statement" else self.block(other)
        found.append(If(self.line(node), self.field(node, "condition"), then, otherwise, self.last(node)))
        return found

    def block(self, node: Node | None) -> Body:
        """The statements of a block; the grammar puts a list between."""
        if node is None:
            return ()
        found: list[Stmt] = []
        for child in node.named_children:
            if child.type == "statement_list":
                for part in child.named_children:
                    self.statement_into(part, found)
            else:
                self.statement_into(child, found)
        return tuple(found)

    def nested(self, node: Node) -> Iterable[Stmt]:
        return self.block(node)

    def for_(self, node: Node) -> Iterable[Stmt]:
        body = self.block(node.child_by_field_name("body"))
        line = self.line(node)
        clause = next((c for c in node.named_children if c.type in ("range_clause", "for_clause")), None)
        if clause is None:
            test = next((c for c in node.named_children if c.type not in ("block", "comment")), None)
            return [Loop(line, body, None, self.expr(test) if test is not None else None)]
        if clause.type == "range_clause":
            left = clause.child_by_field_name("left")
            names = tuple(self.text(c) for c in left.named_children if c.type == "identifier") if left else ()
            return [Loop(line, body, self.field(clause, "right"), None, names)]
        found: list[Stmt] = []
        if (begin := clause.child_by_field_name("initializer")) is not None:
            self.statement_into(begin, found)
        asked = clause.child_by_field_name("condition")
        found.append(Loop(line, body, None, self.expr(asked) if asked is not None else NOTHING))
        return found

    def switch(self, node: Node) -> Iterable[Stmt]:
        found: list[Stmt] = []
        if (begin := node.child_by_field_name("initializer")) is not None:
            self.statement_into(begin, found)
        value = node.child_by_field_name("value")
        cases = [c for c in node.named_children if c.type.endswith("_case")]
        bodies = [self.block(case) if case.type == "default_case" else self.case(case) for case in cases]
        labels: list[tuple[Expr, ...]] = []
        for case in cases:
            given = case.child_by_field_name("value")
            labels.append(self.exprs(given.named_children) if given is not None else ())
        if value is None and node.type == "expression_switch_statement":
            found += self.chain(cases, bodies, labels)
        else:
            asked = self.expr(value) if value is not None else None
            found.append(Choice(self.line(node), asked, tuple(bodies), tuple(labels)))
        return found

    def case(self, node: Node) -> Body:
        return tuple(s for c in node.named_children if c.type == "statement_list" for s in self.body(c))

    def chain(self, cases: list[Node], bodies: list[Body], labels: list[tuple[Expr, ...]]) -> Iterable[Stmt]:
        """``switch { case a == b: … }`` is a chain of ifs."""
        otherwise: Body = next((b for c, b in zip(cases, bodies, strict=True) if c.type == "default_case"), ())
        for case, body, tests in reversed(list(zip(cases, bodies, labels, strict=True))):
            if case.type != "default_case" and tests:
                line = self.line(case)
                test = tests[0]
                for more in tests[1:]:
                    test = Binary(line, "or", test, more)
                otherwise = (If(line, test, body, otherwise, self.last(case)),)
        return otherwise

    def leave(self, node: Node) -> Stmt:
        kind = node.type.removesuffix("_statement")
        value = next((c for c in node.named_children if c.type not in ("comment", "label_name")), None)
        known = kind if kind in ("return", "break", "continue") else "continue"
        return Leave(self.line(node), known, self.expr(value) if value is not None else None)

    def function_declaration(self, node: Node) -> Stmt:
        return self.function_of(node)

    def function_of(self, node: Node) -> Function:
        name = node.child_by_field_name("name")
        names: list[str] = []
        takes: list[str] = []
        for child in self.parameters(node.child_by_field_name("parameters")):
            kind = child.child_by_field_name("type")
            given = child.children_by_field_name("name")
            for said in [self.text(part) for part in given] or [""]:
                names.append(said)
                takes.append(self.text(kind) if kind is not None else "")
        receiver = ""
        for child in self.parameters(node.child_by_field_name("receiver")):
            kind = child.child_by_field_name("type")
            receiver = self.text(kind).lstrip("*").split("[")[0] if kind is not None else ""
        return Function(
            self.line(node), self.text(name) if name is not None else "", tuple(names),
            self.block(node.child_by_field_name("body")), (), tuple(takes), receiver, self.last(node),
        )  # fmt: skip

    @staticmethod
    def parameters(node: Node | None) -> Iterable[Node]:
        if node is None:
            return ()
        return (c for c in node.named_children if c.type in ("parameter_declaration", "variadic_parameter_declaration"))

    def import_(self, node: Node) -> None:
        stack = [node]
        while stack:
            part = stack.pop()
            path = part.child_by_field_name("path")
            if path is None:
                stack.extend(part.named_children)
                continue
            module = self.text(path)[1:-1]
            name = part.child_by_field_name("name")
            self.imports[self.text(name) if name is not None else module.rsplit("/", 1)[-1]] = module

    def nothing(self, _: Node) -> None:
        return None

    statements = {  # noqa: RUF012 (a table)
        "expression_statement": plain, "short_var_declaration": bind, "assignment_statement": bind,
        "var_declaration": spec, "const_declaration": spec, "inc_statement": step, "dec_statement": step,
        "if_statement": if_, "for_statement": for_, "block": nested, "expression_switch_statement": switch,
        "type_switch_statement": switch, "select_statement": switch, "return_statement": leave,
        "break_statement": leave, "continue_statement": leave, "goto_statement": leave,
        "fallthrough_statement": nothing, "defer_statement": plain, "go_statement": plain,
        "function_declaration": function_declaration, "method_declaration": function_declaration,
        "import_declaration": import_, "package_clause": nothing, "type_declaration": nothing,
        "labeled_statement": nested, "empty_statement": nothing, "receive_statement": plain, "send_statement": plain,
        "label_name": nothing, "statement_list": nested,
    }  # fmt: skip
