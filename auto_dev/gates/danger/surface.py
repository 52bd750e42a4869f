"""What others may use of a file: its public names with their parameters, by syntax tree; and what breaks them. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import tree_sitter
import tree_sitter_go
import tree_sitter_javascript
import tree_sitter_typescript

from auto_dev.gates.danger.view import parse


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter. ``kind``: "" by place and name, "name" by name only, "*" for any number, "**" for any name."""

    name: str
    required: bool = True
    kind: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """A public name. ``params`` is None for what is not called; ``result`` only where a type says it."""

    line: int = 1
    params: tuple[Param, ...] | None = None
    result: str = ""
    inherits: bool = False  # a class whose bases may have what it lost


@dataclass(frozen=True, slots=True)
class Surface:
    """The names of one file. ``passed_on``: name → (module, its name there) of what it exports from elsewhere; a name
    of "*" means all. ``listed``: what the file itself says it exports (``__all__``), None where it does not say."""

    names: Mapping[str, Shape] = field(default_factory=dict)
    passed_on: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    listed: frozenset[str] | None = None


def breaks(name: str, old: Shape, new: Shape) -> str:
    """What of ``old`` its users cannot use any more in ``new``; "" when nothing."""
    if old.params is None or new.params is None:
        return ""
    if any(param.type for param in (*old.params, *new.params)) or old.result or new.result:
        return _breaks_typed(old, new)
    takes_all = any(param.kind == "**" for param in new.params)
    any_number = any(param.kind == "*" for param in new.params)
    by_name = {param.name: param for param in new.params}
    for param in old.params:
        if not param.kind.startswith("*") and param.name not in by_name and not takes_all:
            if any_number and not param.kind:
                continue
            return f"{name} no longer takes {_called(param)}"
    for param in new.params:
        if param.required and not param.kind.startswith("*") and not any(one.name == param.name for one in old.params):
            return f"{name} now needs {_called(param)}"
    places = [param.name for param in old.params if not param.kind]
    now = [param.name for param in new.params if not param.kind]
    if now[: len(places)] != places and not any_number:
        return f"{name} takes its parameters in another order"
    became = [
        param.name
        for param in old.params
        if not param.required and param.name in by_name and by_name[param.name].required
    ]
    return f"{name} now needs {_called(by_name[became[0]])}" if became else ""


def _called(param: Param) -> str:
    return "one more parameter" if param.name.isdigit() else param.name


def _breaks_typed(old: Shape, new: Shape) -> str:
    one, other = (tuple(param.type for param in shape.params or ()) for shape in (old, new))
    if one != other[: len(one)] or any(not param.kind for param in (new.params or ())[len(one) :]):
        return "its parameters changed"
    return "its result changed" if old.result != new.result else ""


def python_surface(source: str) -> Surface:
    """The public names of a Python module; methods as ``Class.method``."""
    tree = parse(source)
    if tree is None:
        return Surface()
    names: dict[str, Shape] = {}
    passed: dict[str, tuple[str, str]] = {}
    listed: frozenset[str] | None = None
    for node in _flat(tree.body):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names[node.name] = Shape(node.lineno, _params(node.args))
        elif isinstance(node, ast.ClassDef):
            names[node.name] = Shape(node.lineno, None, inherits=bool(node.bases))
            names.update(_methods(node))
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                passed[alias.asname or alias.name] = ("." * node.level + (node.module or ""), alias.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    names[target.id] = Shape(node.lineno)
                    if target.id == "__all__" and node.value is not None:
                        listed = frozenset(
                            n.value
                            for n in ast.walk(node.value)
                            if isinstance(n, ast.Constant) and isinstance(n.value, str)
                        )
    return Surface(names, passed, listed)


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            for part in ("body", "orelse", "finalbody"):
                yield from _flat(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from _flat(handler.body)
        else:
            yield node


def _methods(node: ast.ClassDef) -> Iterator[tuple[str, Shape]]:
    for child in node.body:
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in child.decorator_list)
            params = _params(child.args)
            yield f"{node.name}.{child.name}", Shape(child.lineno, params if static else params[1:])


def _params(args: ast.arguments) -> tuple[Param, ...]:
    places = [*args.posonlyargs, *args.args]
    optional = len(args.defaults)
    found = [Param(arg.arg, number < len(places) - optional) for number, arg in enumerate(places)]
    if args.vararg:
        found.append(Param(args.vararg.arg, required=False, kind="*"))
    found += [
        Param(arg.arg, default is None, "name") for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
    if args.kwarg:
        found.append(Param(args.kwarg.arg, required=False, kind="**"))
    return tuple(found)


@lru_cache(maxsize=4)
def _language(name: str) -> tree_sitter.Language:
    made = {
        "go": tree_sitter_go.language,
        "javascript": tree_sitter_javascript.language,
        "typescript": tree_sitter_typescript.language_typescript,
        "tsx": tree_sitter_typescript.language_tsx,
    }
    return tree_sitter.Language(made[name]())


def _root(source: str, language: str) -> tree_sitter.Node:
    return tree_sitter.Parser(_language(language)).parse(source.encode("utf-8", "replace")).root_node


def _text(node: tree_sitter.Node | None) -> str:
    return node.text.decode("utf-8", "replace") if node is not None and node.text is not None else ""


def _line(node: tree_sitter.Node) -> int:
    return node.start_point[0] + 1


_JS_LANGUAGES: Final = {".ts": "typescript", ".mts": "typescript", ".cts": "typescript", ".tsx": "tsx"}
_CALLED: Final = (
    "function_declaration",
    "function_expression",
    "arrow_function",
    "generator_function_declaration",
    "function_signature",
)


def javascript_surface(source: str, ending: str) -> Surface:
    """What a JavaScript or TypeScript module exports; methods as ``Class.method``, the default one as ``default``."""
    names: dict[str, Shape] = {}
    passed: dict[str, tuple[str, str]] = {}
    root = _root(source, _JS_LANGUAGES.get(ending, "javascript"))
    local: dict[str, Shape] = {}
    for child in root.named_children:
        if child.type == "export_statement":
            _exported(child, names, passed, local)
        elif child.type == "expression_statement":
            _common_js(child, names, local)
        else:
            local.update(_declared(child))
    return Surface(
        {name: local.get(name, shape) if shape.params is None else shape for name, shape in names.items()}, passed
    )


def _exported(
    node: tree_sitter.Node, names: dict[str, Shape], passed: dict[str, tuple[str, str]], local: dict[str, Shape]
) -> None:
    source = _text(node.child_by_field_name("source")).strip("\"'`")
    declaration = node.child_by_field_name("declaration")
    is_default = any(child.type == "default" for child in node.children)
    if declaration is not None:
        found = dict(_declared(declaration))
        first = next(iter(found.values()), Shape(_line(node)))
        names.update({"default": first} if is_default else found)
        local.update(found)
        return
    clause = next((child for child in node.named_children if child.type == "export_clause"), None)
    if clause is None:
        if source:
            passed[f"*{len(passed)}"] = (source, "*")
        elif is_default:
            value = node.child_by_field_name("value")
            names["default"] = _shape(value) if value is not None else Shape(_line(node))
        return
    for one in clause.named_children:
        inner = _text(one.child_by_field_name("name"))
        outer = _text(one.child_by_field_name("alias")) or inner
        if source:
            passed[outer] = (source, inner)
        else:
            names[outer] = local.get(inner, Shape(_line(one)))


def _declared(node: tree_sitter.Node) -> Iterator[tuple[str, Shape]]:
    name = _text(node.child_by_field_name("name"))
    if node.type in _CALLED:
        yield name or "default", _shape(node)
    elif node.type in ("class_declaration", "abstract_class_declaration", "class"):
        inherits = any(child.type == "class_heritage" for child in node.children)
        yield name or "default", Shape(_line(node), inherits=inherits)
        body = node.child_by_field_name("body")
        for member in body.named_children if body is not None else ():
            inner = _text(member.child_by_field_name("name"))
            hidden = inner.startswith(("#", "_")) or any(_text(c) in ("private", "protected") for c in member.children)
            if member.type == "method_definition" and not hidden:
                yield f"{name or 'default'}.{inner}", _shape(member)
    elif node.type in ("lexical_declaration", "variable_declaration"):
        for one in node.named_children:
            value = one.child_by_field_name("value")
            target = one.child_by_field_name("name")
            if one.type == "variable_declarator" and target is not None and target.type == "identifier":
                yield _text(target), _shape(value) if value is not None else Shape(_line(one))
    elif name:  # an interface, a type, an enumeration, a namespace
        yield name, Shape(_line(node))


def _common_js(node: tree_sitter.Node, names: dict[str, Shape], local: dict[str, Shape]) -> None:
    assignment = node.named_children[0] if node.named_children else None
    if assignment is None or assignment.type != "assignment_expression":
        return
    left, right = _text(assignment.child_by_field_name("left")), assignment.child_by_field_name("right")
    if right is None:
        return
    if match := re.fullmatch(r"(?:module\.)?exports\.(\w+)", left):
        names[match[1]] = local.get(_text(right), _shape(right))
    elif left == "module.exports":
        if right.type != "object":
            names["default"] = local.get(_text(right), _shape(right))
            return
        for one in right.named_children:
            key = _text(one.child_by_field_name("key")) or _text(one.child_by_field_name("name")) or _text(one)
            value = one.child_by_field_name("value")
            names[key.strip("\"'")] = local.get(_text(value) if value is not None else key, _shape(value or one))


def _shape(node: tree_sitter.Node) -> Shape:
    given = node.child_by_field_name("parameters") or node.child_by_field_name("parameter")
    if given is None or node.type not in (*_CALLED, "method_definition"):
        return Shape(_line(node))
    if given.type == "identifier":
        return Shape(_line(node), (Param("0"),))
    # By place: a caller does not see what a parameter is called.
    found = []
    for number, one in enumerate(child for child in given.named_children if child.type != "comment"):
        text = _text(one)
        optional = (
            one.type in ("optional_parameter", "assignment_pattern") or one.child_by_field_name("value") is not None
        )
        rest = text.startswith("...")
        found.append(Param(str(number), not optional and not rest, "*" if rest else ""))
    return Shape(_line(node), tuple(found))


def go_surface(source: str) -> Surface:
    """The exported names of a Go file: functions, ``Type.Method``, types, ``Type.Field``, constants, variables."""
    names: dict[str, Shape] = {}
    for child in _root(source, "go").named_children:
        if child.type == "function_declaration":
            names[_text(child.child_by_field_name("name"))] = _go_shape(child)
        elif child.type == "method_declaration":
            owner = re.search(r"\*?(\w+)(?:\[[^\]]*\])?\s*\)$", _text(child.child_by_field_name("receiver")))
            names[f"{owner[1] if owner else ''}.{_text(child.child_by_field_name('name'))}"] = _go_shape(child)
        elif child.type == "type_declaration":
            for spec in child.named_children:
                names.update(_go_type(spec))
        elif child.type in ("const_declaration", "var_declaration"):
            for spec in _below(child, ("const_spec", "var_spec")):
                for one in spec.children_by_field_name("name"):
                    names[_text(one)] = Shape(_line(one))
    return Surface(
        {name: shape for name, shape in names.items() if all(part[:1].isupper() for part in name.split("."))}
    )


def _below(node: tree_sitter.Node, kinds: tuple[str, ...]) -> Iterator[tree_sitter.Node]:
    for child in node.named_children:
        if child.type in kinds:
            yield child
        else:
            yield from _below(child, kinds)


def _go_type(spec: tree_sitter.Node) -> Iterator[tuple[str, Shape]]:
    name, kind = _text(spec.child_by_field_name("name")), spec.child_by_field_name("type")
    yield name, Shape(_line(spec))
    if kind is None:
        return
    if kind.type == "struct_type":
        for one in _below(kind, ("field_declaration",)):
            for inner in one.children_by_field_name("name"):
                yield f"{name}.{_text(inner)}", Shape(_line(one), (), _flat_text(one.child_by_field_name("type")))
    elif kind.type == "interface_type":
        for one in _below(kind, ("method_elem", "method_spec")):
            yield f"{name}.{_text(one.child_by_field_name('name'))}", _go_shape(one)


def _go_shape(node: tree_sitter.Node) -> Shape:
    found: list[Param] = []
    given = node.child_by_field_name("parameters")
    for one in given.named_children if given is not None else ():
        count = max(len(one.children_by_field_name("name")), 1)
        rest = one.type == "variadic_parameter_declaration"
        kind = _flat_text(one.child_by_field_name("type"))
        found += [Param("", not rest, "*" if rest else "", ("..." if rest else "") + kind)] * count
    return Shape(_line(node), tuple(found), _result(node.child_by_field_name("result")))


def _result(node: tree_sitter.Node | None) -> str:
    """The types of a result, without names."""
    if node is None or node.type != "parameter_list":
        return _flat_text(node) or "nothing"
    return ",".join(_flat_text(one.child_by_field_name("type")) for one in node.named_children)


def _flat_text(node: tree_sitter.Node | None) -> str:
    return " ".join(_text(node).split())
