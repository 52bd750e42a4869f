"""JavaScript and TypeScript source, JSX too, as the common tree."""

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
)
from auto_dev.gates.syntax.lower import Lowering
from auto_dev.gates.syntax.parse import faults, parse

_OPERATORS: Final = {"===": "==", "!==": "!=", "&&": "and", "||": "or", "!": "not"}
_BLOCK: Final = frozenset(("statement_block", "program"))


def lower_javascript(source: bytes, grammar: str = "javascript") -> Unit:
    """The common tree of a file in the ``grammar`` javascript, typescript or tsx. Raises TooLong."""
    root = parse(grammar, source)
    if root.has_error and grammar == "javascript":  # types in a .js file (Flow, or checked by TypeScript)
        typed = parse("tsx", source)
        root = root if typed.has_error else typed
    reader = _JavaScript(source)
    body = reader.body(root)
    lines = source.decode("utf-8", "replace").split("\n")
    return Unit(body, lines, reader.imports, faults(root) if root.has_error else (), reader.deep)


class _JavaScript(Lowering):
    def __init__(self, source: bytes) -> None:
        super().__init__(source)
        self.imports: dict[str, str] = {}

    # expressions

    def name(self, node: Node) -> Expr:
        return Name(self.line(node), self.text(node))

    def member(self, node: Node) -> Expr:
        name = node.child_by_field_name("property")
        return Member(self.line(node), self.field(node, "object"), self.text(name) if name else "")

    def index(self, node: Node) -> Expr:
        return Index(self.line(node), self.field(node, "object"), (self.field(node, "index"),))

    def call(self, node: Node) -> Expr:
        line, last = self.line(node), self.last(node)
        function = self.field(node, "function" if node.type == "call_expression" else "constructor")
        given = node.child_by_field_name("arguments")
        if given is None:
            return Call(line, function, (), (), last)
        arguments = (
            self.exprs(given.named_children) if given.type == "arguments" else (self.template(given, table=True),)
        )
        if isinstance(function, Await):  # what the grammar makes of `await f<T>(x)`
            return Await(line, Call(line, function.value, arguments, (), last))
        return Call(line, function, arguments, (), last)

    def string(self, node: Node) -> Expr:
        return Literal(self.line(node), "string", self.text(node)[1:-1])

    def template(self, node: Node, *, table: bool = False) -> Expr:
        holes = [child for child in node.named_children if child.type == "template_substitution"]
        text = self.text(node)[1:-1]
        if not holes and not table:
            return Literal(self.line(node), "string", text)
        fixed: list[str] = []
        at = node.start_byte + 1
        for hole in holes:
            fixed.append(self.source[at : hole.start_byte].decode("utf-8", "replace"))
            at = hole.end_byte
        fixed.append(self.source[at : node.end_byte - 1].decode("utf-8", "replace"))
        kind = "table" if table else "format"
        return Other(self.line(node), kind, tuple(self.inner(hole) for hole in holes), "{}".join(fixed))

    def regex(self, node: Node) -> Expr:
        return Literal(self.line(node), "regex", self.text(node))

    def array(self, node: Node) -> Expr:
        spread = any(child.type == "spread_element" for child in node.named_children)
        return Group(self.line(node), "list", self.exprs(node.named_children), not spread)

    def object_literal(self, node: Node) -> Expr:
        items: list[Expr] = []
        whole = True
        for child in node.named_children:
            line = self.line(child)
            if child.type == "pair":
                items.append(Pair(line, self.key(child.child_by_field_name("key")), self.field(child, "value")))
            elif child.type in ("shorthand_property_identifier", "shorthand_property_identifier_pattern"):
                items.append(Pair(line, Literal(line, "string", self.text(child)), Name(line, self.text(child))))
            elif child.type == "method_definition":
                items.append(Pair(line, self.key(child.child_by_field_name("name")), self.function(child)))
            elif child.type != "comment":
                whole = False
                items.append(self.expr(child))
        return Group(self.line(node), "map", tuple(items), whole)

    def key(self, node: Node | None) -> Expr:
        if node is None:
            return NOTHING
        if node.type == "property_identifier":
            return Literal(self.line(node), "string", self.text(node))
        return self.expr(node)

    def function(self, node: Node) -> Expr:
        return Lambda(self.line(node), self.function_of(node, ""))

    def function_of(self, node: Node, name: str) -> Function:
        block = node.child_by_field_name("body")
        line = self.line(node)
        body: Body = ()
        short = block is not None and block.type != "statement_block"
        if block is not None:
            body = (Leave(self.line(block), "return", self.expr(block)),) if short else self.body(block)
        params = node.child_by_field_name("parameters") or node.child_by_field_name("parameter")
        names = self.names_in(params) if params is not None else ()
        waits = any(child.type == "async" for child in node.children)
        return Function(line, name, names, body, last=self.last(node), asynchronous=waits, expression=short)

    def unary(self, node: Node) -> Expr:
        mark = node.child_by_field_name("operator")
        text = self.text(mark) if mark is not None else ""
        return Unary(self.line(node), _OPERATORS.get(text, text), self.field(node, "argument"))

    def binary(self, node: Node) -> Expr:
        mark = node.child_by_field_name("operator")
        text = self.text(mark) if mark is not None else ""
        left, right = self.field(node, "left"), self.field(node, "right")
        operator = {"==": "==", "!=": "!="}.get(text) or _OPERATORS.get(text, text)
        return Binary(self.line(node), operator, left, right)

    def await_(self, node: Node) -> Expr:
        return Await(self.line(node), self.inner(node))

    def ternary(self, node: Node) -> Expr:
        parts = tuple(self.field(node, name) for name in ("condition", "consequence", "alternative"))
        return Other(self.line(node), "choice", parts)

    def class_expression(self, node: Node) -> Expr:
        return Other(self.line(node), "class", (), self.head(node))

    def cast(self, node: Node) -> Expr:
        children = [child for child in node.named_children if child.type != "comment"]
        return self.expr(children[-1]) if children else self.unknown(node)

    def nested_assignment(self, node: Node) -> Expr:
        return Other(self.line(node), "assignment", (self.field(node, "left"), self.field(node, "right")))

    expressions = {  # noqa: RUF012 (a table)
        "identifier": name, "this": name, "super": name, "property_identifier": name, "type_identifier": name,
        "shorthand_property_identifier": name, "private_property_identifier": name, "import": name,
        "member_expression": member, "subscript_expression": index,
        "call_expression": call, "new_expression": call, "string": string, "template_string": template, "regex": regex,
        "number": Lowering.number, "true": Lowering.constant, "false": Lowering.constant, "null": Lowering.constant,
        "undefined": Lowering.constant, "array": array, "object": object_literal,
        "arrow_function": function, "function_expression": function, "function": function,
        "generator_function": function, "unary_expression": unary, "binary_expression": binary,
        "await_expression": await_, "ternary_expression": ternary, "class": class_expression,
        "parenthesized_expression": Lowering.inner, "as_expression": Lowering.inner,
        "satisfies_expression": Lowering.inner, "non_null_expression": Lowering.inner, "type_assertion": cast,
        "assignment_expression": nested_assignment, "instantiation_expression": Lowering.inner,
    }  # fmt: skip

    # statements

    def plain(self, node: Node) -> Stmt | None:
        child = next((part for part in node.named_children if part.type != "comment"), None)
        if child is None:
            return None
        line, last = self.line(node), self.last(node)
        if child.type in ("assignment_expression", "augmented_assignment_expression"):
            left = child.child_by_field_name("left")
            names = self.names_in(left) if left is not None else ()
            value = self.field(child, "right")
            if child.type.startswith("augmented"):
                value = Binary(line, "+=", self.field(child, "left"), value)
            targets = (self.expr(left),) if left is not None and not names else ()
            return Bind(line, names, value, targets, last)
        if child.type == "update_expression":
            name = self.field(child, "argument")
            return Bind(line, (name.name,) if isinstance(name, Name) else (), Binary(line, "++", name, NOTHING))
        return Do(line, self.expr(child), last)

    def declaration(self, node: Node) -> Iterable[Stmt]:
        found: list[Stmt] = []
        for child in node.named_children:
            if child.type != "variable_declarator":
                continue
            name, value = child.child_by_field_name("name"), child.child_by_field_name("value")
            names = self.names_in(name) if name is not None else ()
            line, last = self.line(child), self.last(child)
            if value is not None and value.type in ("arrow_function", "function_expression") and len(names) == 1:
                found.append(self.function_of(value, names[0]))
                continue
            given = self.expr(value) if value is not None else None
            self.required(names, given)
            whole = name is not None and name.type == "identifier"
            targets = () if whole else (Other(line, "pattern", (), self.text(name) if name is not None else ""),)
            found.append(Bind(line, names, given, targets, last))
        return found

    def required(self, names: tuple[str, ...], value: Expr | None) -> None:
        """``const { a } = require("x")`` and ``await import("x")`` are imports too."""
        call = value.value if isinstance(value, Await) else value
        while isinstance(call, Member):
            call = call.owner
        if isinstance(call, Call) and isinstance(call.function, Name) and call.function.name in ("require", "import"):
            module = call.argument(0)
            if isinstance(module, Literal):
                self.imports.update(dict.fromkeys(names, module.text))

    def if_(self, node: Node) -> Stmt:
        then = node.child_by_field_name("consequence")
        other = node.child_by_field_name("alternative")
        otherwise: Body = ()
        if other is not None:
            otherwise = self.block(next((c for c in other.named_children if c.type != "comment"), None))
        test = self.field(node, "condition")
        return If(self.line(node), test, self.block(then), otherwise, self.last(node))

    def block(self, node: Node | None) -> Body:
        if node is None:
            return ()
        return self.body(node) if node.type in _BLOCK else self.statements_of(node)

    def nested(self, node: Node) -> Iterable[Stmt]:
        return self.body(node)

    def for_in(self, node: Node) -> Stmt:
        left = node.child_by_field_name("left")
        names = self.names_in(left) if left is not None else ()
        body = self.block(node.child_by_field_name("body"))
        return Loop(self.line(node), body, self.field(node, "right"), None, names)

    def for_(self, node: Node) -> Iterable[Stmt]:
        begin = node.child_by_field_name("initializer")
        found: list[Stmt] = []
        if begin is not None:
            self.statement_into(begin, found)
        body = self.block(node.child_by_field_name("body"))
        test = node.child_by_field_name("condition")
        asked = self.expr(test) if test is not None and test.is_named else None
        found.append(Loop(self.line(node), body, None, asked if asked is not None else NOTHING))
        return found

    def while_(self, node: Node) -> Stmt:
        body = self.block(node.child_by_field_name("body"))
        test = self.field(node, "condition") if node.type == "while_statement" else NOTHING  # do … runs once at least
        return Loop(self.line(node), body, None, test)

    def try_(self, node: Node) -> Stmt:
        handler = node.child_by_field_name("handler")
        final = node.child_by_field_name("finalizer")
        handlers: tuple[Handler, ...] = ()
        if handler is not None:
            name = handler.child_by_field_name("parameter")
            caught = self.body(handler.child_by_field_name("body"))
            handlers = (Handler(self.line(handler), (), caught, self.text(name) if name is not None else ""),)
        ending = self.body(final.child_by_field_name("body")) if final is not None else ()
        return Try(self.line(node), self.body(node.child_by_field_name("body")), handlers, (), ending)

    def switch(self, node: Node) -> Stmt:
        block = node.child_by_field_name("body")
        bodies: list[Body] = []
        labels: list[tuple[Expr, ...]] = []
        for case in block.named_children if block is not None else ():
            found: list[Stmt] = []
            for part in case.children_by_field_name("body"):
                self.statement_into(part, found)
            bodies.append(tuple(found))
            value = case.child_by_field_name("value")
            labels.append((self.expr(value),) if value is not None else ())
        return Choice(self.line(node), self.field(node, "value"), tuple(bodies), tuple(labels))

    def leave(self, node: Node) -> Stmt:
        kind = {"return_statement": "return", "throw_statement": "raise", "break_statement": "break"}
        value = next((c for c in node.named_children if c.type not in ("comment", "statement_identifier")), None)
        return Leave(self.line(node), kind.get(node.type, "continue"), self.expr(value) if value is not None else None)

    def function_declaration(self, node: Node) -> Stmt:
        name = node.child_by_field_name("name")
        return self.function_of(node, self.text(name) if name is not None else "")

    def class_(self, node: Node) -> Stmt:
        name = node.child_by_field_name("name")
        block = node.child_by_field_name("body")
        found: list[Stmt] = []
        for child in block.named_children if block is not None else ():
            if child.type == "method_definition":
                found.append(self.function_declaration(child))
            elif child.type in ("public_field_definition", "field_definition"):
                value = child.child_by_field_name("value")
                label = child.child_by_field_name("name") or child.child_by_field_name("property")
                if value is not None and value.type == "arrow_function" and label is not None:
                    found.append(self.function_of(value, self.text(label)))
        return Class(self.line(node), self.text(name) if name is not None else "", tuple(found))

    def export(self, node: Node) -> Iterable[Stmt]:
        inside = node.child_by_field_name("declaration") or node.child_by_field_name("value")
        return self.statements_of(inside) if inside is not None else ()

    def import_(self, node: Node) -> None:
        source = node.child_by_field_name("source")
        if source is None:
            return
        module = self.text(source)[1:-1]
        stack = [child for child in node.named_children if child.type == "import_clause"]
        while stack:
            part = stack.pop()
            if part.type == "identifier":
                self.imports[self.text(part)] = module
            elif part.type == "import_specifier":
                name = part.child_by_field_name("alias") or part.child_by_field_name("name")
                if name is not None:
                    self.imports[self.text(name)] = module
            else:
                stack.extend(part.named_children)

    def labeled(self, node: Node) -> Iterable[Stmt]:
        inside = node.child_by_field_name("body")
        return self.statements_of(inside) if inside is not None else ()

    def namespace(self, node: Node) -> Iterable[Stmt]:
        return self.body(node.child_by_field_name("body"))

    def nothing(self, _: Node) -> None:
        return None

    statements = {  # noqa: RUF012 (a table)
        "expression_statement": plain, "lexical_declaration": declaration, "variable_declaration": declaration,
        "if_statement": if_, "statement_block": nested, "for_in_statement": for_in, "for_statement": for_,
        "while_statement": while_, "do_statement": while_, "try_statement": try_, "switch_statement": switch,
        "return_statement": leave, "throw_statement": leave, "break_statement": leave, "continue_statement": leave,
        "function_declaration": function_declaration, "generator_function_declaration": function_declaration,
        "class_declaration": class_, "abstract_class_declaration": class_, "export_statement": export,
        "import_statement": import_, "labeled_statement": labeled, "internal_module": namespace, "module": namespace,
        "interface_declaration": nothing, "type_alias_declaration": nothing, "ambient_declaration": nothing,
        "enum_declaration": nothing, "empty_statement": nothing, "hash_bang_line": nothing,
        "function_signature": nothing,
    }  # fmt: skip

    def names_in(self, node: Node) -> tuple[str, ...]:
        """The names that a target or a parameter list binds."""
        if node.type == "identifier":
            return (self.text(node),)
        if node.type in ("member_expression", "subscript_expression"):
            return ()
        found: list[str] = []
        stack = [node]
        while stack:
            part = stack.pop()
            if part.type in ("identifier", "shorthand_property_identifier_pattern"):
                found.append(self.text(part))
                continue
            default = part.child_by_field_name("right") or part.child_by_field_name("value")
            if part.type == "pair_pattern" and default is not None:
                stack.append(default)
                continue
            skipped = {default.id} if default is not None else set[int]()
            stack.extend(
                child
                for child in reversed(part.named_children)
                if child.id not in skipped and child.type not in ("type_annotation", "property_identifier", "comment")
            )
        return tuple(found)
