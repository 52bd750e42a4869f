"""What programs send each other: fields that a request needs now, and fields that an answer has no more. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from auto_dev.gates.danger.act import Act
from auto_dev.gates.danger.checks import read_unit
from auto_dev.gates.danger.guards import tokens
from auto_dev.gates.danger.lattice import shape
from auto_dev.gates.danger.view import View, code_of
from auto_dev.gates.syntax.code import (
    Bind,
    Body,
    Call,
    Class,
    Expr,
    Function,
    Group,
    If,
    Index,
    Leave,
    Literal,
    Member,
    Name,
    Pair,
    Stmt,
    dotted,
    lambdas,
    leaf,
    parts,
    statements,
    walk,
)
from auto_dev.gates.syntax.names import names

_WHY: Final = "whoever uses it has to change"
_PLACE: Final = names(
    "api apis http https rest rpc grpc graphql route routes router routers routing handler handlers controller controllers view views"
    " viewset viewsets serializer serializers serialize serializing endpoint endpoints resource resources presenter presenters"
    " schema schemas dto dtos contract contracts openapi webhook webhooks response responses payload payloads server app event events"
)
_SHOWS: Final = re.compile(
    r"(?i)(?:^|_)(?:to_?(?:json|dict|response|payload|api|wire|representation)|as_?(?:json|dict)|json|serialize\w*|serialise\w*|present\w*|"
    r"render_?json|payload|response|dump|marshal\w*|view|body)$|^(?:to|as|serialize|present|render)_?\w*(?:json|dict|response|payload)|\w+_(?:json|payload|response|dto)$"
)
_SENDS: Final = names(
    "json send answer jsonify JSONResponse Response respond reply render writeJSON WriteJSON JSON Encode ok success make_response"
)
_OPTIONAL: Final = re.compile(
    r"\.(?:optional|nullish|default|catch|partial|allow|empty|exists|nullable)\(|Optional\[|\| None|None \|"
)
_ASKED: Final = names("body query params headers form args json data payload request req input event")
_JSON_TAG: Final = re.compile(
    r"^\s*(?P<field>[A-Z]\w*)\s+(?P<type>[^`\n]+?)\s+`[^`\n]*\bjson:\"(?P<name>[^\",\n]*)(?P<rest>[^\"\n]*)\"[^`\n]*`",
    re.MULTILINE,
)
_VALIDATED: Final = re.compile(r"(?:binding|validate):\"[^\"]*\brequired\b")
_STRUCT: Final = re.compile(r"^type\s+(\w+)\s+struct\s*\{(.*?)^\}", re.MULTILINE | re.DOTALL)
_NAMED_REQUEST: Final = re.compile(
    r"(?i)request|req$|input|body|payload|params|query|dto$|create|update|command|form|wanted|schema$|args$"
)


@dataclass(slots=True)
class _Contract:
    """A file's schemas, the keys that its functions send, and what they read of requests and refuse without."""

    needs: dict[str, set[str]] = field(default_factory=dict)
    has: dict[str, set[str]] = field(default_factory=dict)
    sends: dict[str, set[str]] = field(default_factory=dict)
    reads: dict[str, set[str]] = field(default_factory=dict)
    demands: dict[str, set[str]] = field(default_factory=dict)


def contract_acts(views: Sequence[View]) -> Iterator[Act]:
    """What the change asks more of callers, and gives them less."""
    for view in views:
        if view.before is None or view.after is None:
            continue
        if view.ending == ".go":
            yield from _go(view)
        old, new = _contract(view.old_path or view.path, view.before), _contract(view.path, view.after)
        if old is None or new is None:
            continue
        for title, name in _compared(old, new):
            line = next(
                (n for n, row in view.new_rows() if name.rsplit(".", 1)[-1] in row), next(iter(sorted(view.fresh)), 1)
            )
            yield Act("api.field", name, title, _WHY, view.path, line, view.shown(line))


def _compared(old: _Contract, new: _Contract) -> Iterator[tuple[str, str]]:
    for name, needed in new.needs.items():
        if name in old.has:
            for key in sorted(needed - old.needs.get(name, set())):
                yield f"{name} now needs the field {key}", f"{name}.{key}"
            for key in sorted(old.has[name] - new.has[name]):
                yield f"{name} no longer has the field {key}", f"{name}.{key}"
    for name, keys in old.sends.items():
        if name in new.sends or name in new.reads:
            for key in sorted(keys - new.sends.get(name, set())):
                yield f"{name or 'the module'} no longer sends the field {key}", f"{name}.{key}"
    for name, keys in new.demands.items():
        if name in old.reads:
            for key in sorted(keys - old.reads[name] - old.demands.get(name, set())):
                yield f"{name} now needs {key}", f"{name}.{key}"


def _contract(path: str, source: str) -> _Contract | None:
    unit = read_unit(path, source)
    if unit is None:
        return None
    found = _Contract()
    place = not _PLACE.isdisjoint(tokens(path))
    _schemas(unit.body, source, found)
    _functions(unit.body, "", found, place)
    return found


# ── schemas ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _schemas(body: Body, source: str, found: _Contract) -> None:
    for node in statements(body):
        if isinstance(node, Bind) and len(node.names) == 1 and node.names[0] and node.value is not None:
            name = node.names[0]
            if (keys := _object(node.value)) is not None and _is_request(name, source):
                found.has[name] = {key for key, _ in keys}
                found.needs[name] = {key for key, value in keys if not _OPTIONAL.search(shape(value) + "(")}
        elif isinstance(node, Class) and _is_model(node):
            _model(node, source, found)


def _object(node: Expr) -> list[tuple[str, Expr]] | None:
    """The fields of ``z.object({…})`` and its like."""
    for part in walk(node):
        if isinstance(part, Call) and leaf(part) in ("object", "strictObject", "Object", "keys") and dotted(part).split(".")[0] in (
            "z", "zod", "yup", "Joi", "joi", "v", "t", "Type", "S", "s"
        ):  # fmt: skip
            given = part.argument(0)
            if isinstance(given, Group):
                return [(shape(one.key).strip('"'), one.value) for one in given.items if isinstance(one, Pair)]
    return None


def _is_request(name: str, source: str) -> bool:
    """Whether what a request carries is read by the schema."""
    used = re.search(
        rf"\b{re.escape(name)}\s*\.\s*(?:safeP|p)arse(?:Async)?\(\s*(?:await\s+)?[\w.]*(?:body|query|params|headers|req|request|ctx|event|input|json)\b|"
        rf"(?:body|query|querystring|params|schema|validator|validate|zValidator|json|input)\b[^\n]{{0,40}}[:(,]\s*{re.escape(name)}\b",
        source,
    )
    return used is not None or (
        _NAMED_REQUEST.search(name) is not None
        and re.search(rf"\bexport\b[^\n]*\b{re.escape(name)}\b", source) is not None
    )


def _is_model(node: Class) -> bool:
    return any(
        leaf(base) in ("BaseModel", "Schema", "Serializer", "ModelSerializer", "SQLModel", "Struct", "TypedDict")
        for base in node.bases
    )


def _model(node: Class, source: str, found: _Contract) -> None:
    name = node.name
    keys: set[str] = set()
    needs: set[str] = set()
    for match in re.finditer(
        r"^[ \t]+(\w+)\s*:\s*([^=\n#]+?)(\s*=\s*([^\n]+))?$", _class_text(name, source), re.MULTILINE
    ):
        keys.add(match[1])
        free = (
            match[4] is not None
            and not re.search(r"\(\s*\.\.\.", match[4])
            and not re.match(r"Field\((?!.*default)", match[4])
        )
        if not free and not re.search(r"Optional\[|\bNone\b|ClassVar|NotRequired", match[2]):
            needs.add(match[1])
    for one in node.body:
        if isinstance(one, Bind) and one.names and one.names[0] == "fields" and isinstance(one.value, Group):
            keys |= {item.text for item in one.value.items if isinstance(item, Literal)}
        if isinstance(one, Class) and one.name == "Meta":
            for inner in one.body:
                if isinstance(inner, Bind) and inner.names[:1] == ("fields",) and isinstance(inner.value, Group):
                    keys |= {item.text for item in inner.value.items if isinstance(item, Literal)}
    answered = re.search(r"(?i)response|out$|read$|view$|public", name)
    found.has[name] = keys
    found.needs[name] = set() if answered else needs


def _class_text(name: str, source: str) -> str:
    match = re.search(rf"^class {re.escape(name)}\b[^\n]*\n((?:[ \t]+[^\n]*\n|\n)*)", source + "\n", re.MULTILINE)
    return match[1] if match else ""


# ── functions ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _functions(body: Body, name: str, found: _Contract, place: bool) -> None:
    """What each function sends and reads; functions in calls are named by the call."""
    found.reads.setdefault(name, set())
    for node in _flat(body):
        if isinstance(node, Function | Class):
            own = f"{name}.{node.name}".lstrip(".")
            _functions(node.body, own, found, place)
            continue
        for one in parts(node)[0]:
            _read(one, name, found)
            _sent(one, name, found, place, returned=isinstance(node, Leave) and node.kind == "return")
            for lam in lambdas(one):
                route = next(
                    (_route(call) for call in walk(one) if isinstance(call, Call) and lam in call.arguments), "λ"
                )
                _functions(lam.function.body, f"{name}.{route}".lstrip("."), found, place)
        if isinstance(node, If):
            _demanded(node, name, found)


def _flat(body: Body) -> Iterator[Stmt]:
    for node in body:
        yield node
        if not isinstance(node, Function | Class):
            for block in parts(node)[1]:
                yield from _flat(block)


def _route(call: Call) -> str:
    texts = [one.text for one in call.arguments if isinstance(one, Literal) and one.kind == "string"]
    return " ".join((leaf(call), *texts[:2]))


def _sent(node: Expr, name: str, found: _Contract, place: bool, *, returned: bool) -> None:
    """The keys of maps that are returned where answers are made, or given to what sends them."""
    shows = _SHOWS.search(name.rsplit(".", 1)[-1]) is not None
    groups: list[Group] = []
    if returned and (place or shows):
        groups += [node] if isinstance(node, Group) else []
        groups += [
            one for one in walk(node) if isinstance(one, Group) and one.kind == "map" and isinstance(node, Call | Group)
        ]
    for call in walk(node):
        if isinstance(call, Call) and leaf(call) in _SENDS:
            groups += [one for given in call.arguments for one in walk(given) if isinstance(one, Group)]
    for group in groups:
        if group.kind in ("map", "struct"):
            keys = {
                one.key.text
                for one in group.items
                if isinstance(one, Pair) and isinstance(one.key, Literal) and one.key.kind == "string"
            }
            keys -= {
                key
                for key in keys
                if "-" in key or key.lower() in ("status", "headers", "error", "message", "detail", "code")
            }
            found.sends.setdefault(name, set()).update(keys)


def _read(node: Expr, name: str, found: _Contract) -> None:
    """What is read of a request; a key in brackets of a request's data has to be there."""
    for part in walk(node):
        if isinstance(part, (Name, Member)):
            found.reads[name].add(part.name)
        elif isinstance(part, Literal) and part.kind == "string":
            found.reads[name].add(part.text)
        if isinstance(part, Index) and len(part.keys) == 1 and isinstance(part.keys[0], Literal):
            owner = dotted(part.owner)
            if re.fullmatch(r"(?:request|req)\.(?:json|form|args|POST|GET|data|headers|files)(?:\.\w+)?", owner):
                found.demands.setdefault(name, set()).add(part.keys[0].text)


def _demanded(node: If, name: str, found: _Contract) -> None:
    """A request is refused as bad when something is not there."""
    if not any(_is_bad_request(one) for body in (node.then,) for statement in body for one in parts(statement)[0]):
        return
    for match in re.finditer(
        r"not _\.(?:body|query|params|json|form|args|headers)\.(\w+)|\"(\w+)\" not in _", shape(node.test)
    ):
        found.demands.setdefault(name, set()).add(match[1] or match[2])
    for part in walk(node.test):
        if shape(part) == "not _" and hasattr(part, "value") and isinstance(part.value, Name):
            found.demands.setdefault(name, set()).add(part.value.name)


def _is_bad_request(node: Expr) -> bool:
    return any(
        (isinstance(part, Literal) and part.text in ("400", "422"))
        or (isinstance(part, Name | Member) and re.search(r"BadRequest|StatusUnprocessable|BAD_REQUEST", part.name))
        for part in walk(node)
    )


# ── Go ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _go(view: View) -> Iterator[Act]:
    old, new = _tags(code_of(view.path, view.before or "")), _tags(view.code)
    for struct, fields in old.items():
        if struct not in new:
            continue
        for name in fields:
            if name not in new[struct]:
                yield _go_act(view, struct, name, f"{struct} no longer has the field {name} in JSON")
        for name, required in new[struct].items():
            if required and not fields.get(name, False):
                yield _go_act(view, struct, name, f"{struct} now needs the field {name}")


def _go_act(view: View, struct: str, name: str, title: str) -> Act:
    line = next((n for n, row in view.new_rows() if name in row), next(iter(sorted(view.fresh)), 1))
    return Act("api.field", f"{struct}.{name}", title, _WHY, view.path, line, view.shown(line))


def _tags(code: str) -> Mapping[str, dict[str, bool]]:
    """Struct → name in JSON → whether a request needs it."""
    return {
        name: {
            match["name"] or match["field"]: _VALIDATED.search(match[0]) is not None
            for match in _JSON_TAG.finditer(body)
            if match["name"] != "-"
        }
        for name, body in _STRUCT.findall(code)
    }
