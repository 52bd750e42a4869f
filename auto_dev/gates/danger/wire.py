"""Breaking changes of what programs talk by: options, HTTP routes, OpenAPI, Protocol Buffers, GraphQL. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from auto_dev.gates.danger.act import Act
from auto_dev.gates.danger.view import View, code_of
from auto_dev.gates.yamls import documents

_WHY: Final = "whoever uses it has to change"
_OPTION: Final = re.compile(
    r"\b(?:add_argument|option|Option|addOption|Flags\(\)\.\w+|flag\.\w+|requiredOption|opt)\(\s*(?:[&\w.]+\s*,\s*)?(?P<args>[^()\n]{1,200})"
)
_LONG: Final = re.compile(r"[\"'`](?:-\w\s*[,|]\s*)?--(?:no-)?([a-zA-Z][\w-]+)")
_BARE: Final = re.compile(r"^[\"'`]([a-z][\w-]+)[\"'`]")
_CLAP: Final = re.compile(r"#\[(?:arg|clap)\([^\]]*\blong(?:\s*=\s*\"([\w-]+)\")?")
_OWN_TOOLS: Final = re.compile(r"(?:^|/)(?:scripts?|tools?|hack|bin|dev|bench(?:marks?)?|ci)/", re.IGNORECASE)
_METHODS: Final = "get|post|put|patch|delete|head|options|all|any|Get|Post|Put|Patch|Delete|GET|POST|PUT|PATCH|DELETE|HandleFunc|Handle|route|api_route|websocket"
_ROUTE: Final = re.compile(
    rf"(?:@|\b)(?P<on>[A-Za-z_]\w*)?\.?\b(?P<method>{_METHODS})(?:<[^()\n]{{0,200}}>)?\(\s*(?:http\.Method\w+\s*,\s*)?f?[\"'`](?P<path>(?:[A-Z]+ )?/[^\"'`\s]*)[\"'`]"
    rf"|@(?P<annotated>(?:Get|Post|Put|Patch|Delete|Request)Mapping)\(\s*(?:(?:value|path)\s*=\s*)?\{{?\s*\"(?P<mapped>/[^\"]*)\""
    rf"|@(?P<nest>Get|Post|Put|Patch|Delete)\(\s*[\"'`](?P<nested>[^\"'`\s]*)[\"'`]"
)
_BY_METHOD: Final = re.compile(
    r"\.\s*(?:on|route|add|handle|register|map|addRoute|Method|MethodFunc|Handle)\(\s*[\"'](?P<verb>GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS)[\"']\s*,\s*[\"'](?P<path>/[^\"'\s]*)[\"']"
)
_OBJECT: Final = re.compile(
    r"\bmethod\s*:\s*[\"'](?P<verb>[A-Z]+)[\"']\s*,\s*(?:url|path)\s*:\s*[\"'](?P<path>/[^\"'\s]*)[\"']"
)
_LISTED: Final = re.compile(r"\broute\(\s*[\"'](?P<path>/[^\"']*)[\"'][^\n]*?methods\s*=\s*[\[({](?P<verbs>[^\])}\n]*)")
_SWITCHED: Final = re.compile(
    r"\bcase\s+(?:http\.Method(?P<go>\w+)|[\"'](?P<verb>GET|POST|PUT|PATCH|DELETE)[\"'])|\bMethod\s*==\s*http\.Method(?P<one>\w+)"
)
_COMMAND: Final = re.compile(
    r"\badd_parser\(\s*[\"']([\w-]+)|@\w+\.command\(\s*(?:name\s*=\s*)?[\"']([\w-]+)|\.command\(\s*[\"'`]([\w-]+)|\bUse:\s*\"([\w-]+)|Command::new\(\s*\"([\w-]+)\""
)
_DEMANDED: Final = re.compile(
    r"\badd_argument\(\s*[\"'](?P<name>[\w-]+)[\"'](?P<rest>[^\n]*)|@\w+\.(?P<click>argument|option)\(\s*[\"'](?P<own>[\w-]+)[\"'](?P<more>[^\n]*)|\brequiredOption\(\s*[\"'`](?P<option>[^\"'`\n]+)|MarkFlagRequired\(\s*\"(?P<flag>[\w-]+)"
)
_DJANGO: Final = re.compile(r"\b(?:path|re_path|url)\(\s*r?[\"'](?P<path>[^\"'\s]*)[\"']\s*,")
_CLIENT: Final = re.compile(
    r"^(?:client|http|axios|requests|session|fetch|api|supertest|request|httpx|\$|self|this|c|resp)$", re.IGNORECASE
)


def wire_acts(views: Sequence[View]) -> Iterator[Act]:
    """What the change takes away from those who call the program from outside."""
    yield from _gone(views, "api.option", "the command line option", _options)
    yield from _gone(views, "api.route", "the route", _routes)
    yield from _gone(views, "api.command", "the command", _commands)
    for view in views:
        if view.before is not None and view.after is not None and not _OWN_TOOLS.search(view.path):
            yield from _demanded(view)
        if view.before is not None and view.ending in (".yml", ".yaml", ".json") and _is_openapi(view.before):
            yield from _openapi(view)
        elif view.before is not None and view.ending == ".proto":
            yield from _proto(view)
        elif view.before is not None and view.ending in (".graphql", ".gql", ".graphqls"):
            yield from _graphql(view)


def _gone(views: Sequence[View], rule: str, kind: str, names: Any) -> Iterator[Act]:
    """What some file named before and no changed file names now."""
    now: set[str] = set()
    for view in views:
        if view.after is not None:
            now |= set(names(view.path, view.code))
    for view in views:
        if view.before is None:
            continue
        code = code_of(view.old_path or view.path, view.before)
        for name, line in names(view.old_path or view.path, code).items():
            if name not in now:
                excerpt = view.before.split("\n")[line - 1].strip()[:300]
                yield Act(rule, name, f"{kind} {name} is gone", _WHY, view.path, line, excerpt)


def _options(path: str, code: str) -> dict[str, int]:
    if _OWN_TOOLS.search(path):
        return {}
    found: dict[str, int] = {}
    for match in _OPTION.finditer(code):
        names = [f"--{name}" for name in _LONG.findall(match["args"])]
        if not names and "lag" in match[0][:12] and (bare := _BARE.match(match["args"].strip())):
            names = [f"--{bare[1]}"]
        for name in names:
            found.setdefault(name, code.count("\n", 0, match.start()) + 1)
    for match in _CLAP.finditer(code):
        if match[1]:
            found.setdefault(f"--{match[1]}", code.count("\n", 0, match.start()) + 1)
    return found


def _routes(path: str, code: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for match in _ROUTE.finditer(code):
        if match["on"] and _CLIENT.match(match["on"]):
            continue
        method = match["method"] or match["annotated"] or match["nest"] or ""
        target = match["path"] or match["mapped"] or match["nested"] or ""
        verb = re.sub(r"(?i)mapping|handlefunc|handle|api_route|route|request|any|all", "", method).upper()
        if verb or match["method"] or match["annotated"]:
            found.setdefault(f"{verb} {_shape_of(target)}".strip(), code.count("\n", 0, match.start()) + 1)
    for pattern in (_BY_METHOD, _OBJECT, _LISTED):
        for match in pattern.finditer(code):
            verbs = re.findall(r"[A-Z]+", match["verbs"]) if "verbs" in match.groupdict() else [match["verb"]]
            for verb in verbs:
                found.setdefault(f"{verb} {_shape_of(match['path'])}", code.count("\n", 0, match.start()) + 1)
    for match in _SWITCHED.finditer(code):
        before = [one["path"] for one in _ROUTE.finditer(code[: match.start()]) if one["path"]]
        if before:
            verb = (match["go"] or match["verb"] or match["one"]).upper()
            found.setdefault(f"{verb} {_shape_of(before[-1])}", code.count("\n", 0, match.start()) + 1)
    if path.endswith("urls.py"):
        for match in _DJANGO.finditer(code):
            found.setdefault(_shape_of("/" + match["path"].lstrip("^/")), code.count("\n", 0, match.start()) + 1)
    return found


def _commands(path: str, code: str) -> dict[str, int]:
    if _OWN_TOOLS.search(path):
        return {}
    return {
        next(name for name in match.groups() if name): code.count("\n", 0, match.start()) + 1
        for match in reversed(list(_COMMAND.finditer(code)))
    }


def _demanded(view: View) -> Iterator[Act]:
    """An argument or option that the command line needs now."""
    old, new = (set(_needed(text)) for text in (code_of(view.path, view.before or ""), view.code))
    if not _DEMANDED.search(view.before or "") and not _OPTION.search(view.before or ""):
        return
    for name in sorted(new - old):
        line = next((n for n, row in view.new_rows() if name in row), 1)
        yield Act("api.option", name, f"the command line needs {name} now", _WHY, view.path, line, view.shown(line))


def _needed(code: str) -> Iterator[str]:
    for match in _DEMANDED.finditer(code):
        rest = match["rest"] or match["more"] or ""
        name = match["name"] or match["own"] or match["option"] or match["flag"]
        positional = not name.startswith("-") and match["click"] != "option"
        free = re.search(r"nargs\s*=\s*(?:[\"'][?*]|-1)|default\s*=|required\s*=\s*False", rest)
        if match["option"] or match["flag"] or re.search(r"required\s*=\s*True", rest) or (positional and not free):
            yield name


def _shape_of(path: str) -> str:
    """A route without the names of its parameters, which no caller sees."""
    path = re.sub(r"\{[^}]*\}|<[^>]*>|:\w+|\(\?P<\w+>[^)]*\)", "{}", path)
    return path.rstrip("/$") or "/"


# ── descriptions ──────────────────────────────────────────────────────────────────────────────────────────────────


def _is_openapi(text: str) -> bool:
    return re.search(r"(?m)^[ \t]*[\"']?(?:openapi|swagger)[\"']?\s*:", text[:2_000]) is not None


def _loaded(text: str | None) -> dict[str, Any]:
    try:
        value = (
            json.loads(text or "{}") if (text or "").lstrip().startswith("{") else (documents(text or "") or [None])[0]
        )
    except (ValueError, yaml.YAMLError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _openapi(view: View) -> Iterator[Act]:
    old, new = _loaded(view.before), _loaded(view.after)
    for name, what in _openapi_breaks(old, new):
        yield Act("api.description", name, f"breaks the interface description: {what}", _WHY, view.path, 1)


def _openapi_breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    paths, now = _map(old.get("paths")), _map(new.get("paths"))
    known = {_shape_of(str(path)): _map(value) for path, value in now.items()}
    for path, operations in paths.items():
        target = known.get(_shape_of(str(path)))
        if target is None:
            yield str(path), f"the path {path} is gone"
            continue
        for verb, operation in _map(operations).items():
            if verb not in ("get", "post", "put", "patch", "delete", "head", "options"):
                continue
            if verb not in target:
                yield f"{verb} {path}", f"{verb.upper()} {path} is gone"
            else:
                yield from _parameters(f"{verb.upper()} {path}", _map(operation), _map(target[verb]))
    schemas = _map(_map(old.get("components")).get("schemas") or old.get("definitions"))
    present = _map(_map(new.get("components")).get("schemas") or new.get("definitions"))
    for name, schema in schemas.items():
        if name not in present:
            yield str(name), f"the schema {name} is gone"
        else:
            yield from _schema(str(name), _map(schema), _map(present[name]))


def _parameters(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    one, other = (
        {str(p.get("name")): p for p in side.get("parameters") or () if isinstance(p, dict) and p.get("name")}
        for side in (old, new)
    )
    for name, parameter in other.items():
        if parameter.get("required") and not _map(one.get(name)).get("required"):
            yield f"{where} {name}", f"{where} now needs the parameter {name}"
    for name in one:
        if name not in other:
            yield f"{where} {name}", f"{where} no longer takes the parameter {name}"
    yield from _schema(where, _body(old), _body(new))


def _body(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    content = _map(_map(operation.get("requestBody")).get("content"))
    return _map(_map(next(iter(content.values()), {})).get("schema"))


def _schema(where: str, old: Mapping[str, Any], new: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, str]]:
    if depth > 6 or not old or not new:
        return
    properties, now = _map(old.get("properties")), _map(new.get("properties"))
    for name, value in properties.items():
        if name not in now:
            yield f"{where}.{name}", f"the field {where}.{name} is gone"
            continue
        before, after = _map(value).get("type"), _map(now[name]).get("type")
        if before and after and before != after and (before, after) != ("integer", "number"):
            yield f"{where}.{name}", f"the field {where}.{name} is {after} now, not {before}"
        gone = set(map(str, _map(value).get("enum") or ())) - set(map(str, _map(now[name]).get("enum") or ()))
        if gone and _map(now[name]).get("enum"):
            yield f"{where}.{name}", f"{where}.{name} may no longer be {', '.join(sorted(gone)[:3])}"
        yield from _schema(f"{where}.{name}", _map(value), _map(now[name]), depth + 1)
    for name in set(map(str, new.get("required") or ())) - set(map(str, old.get("required") or ())):
        yield f"{where}.{name}", f"the field {where}.{name} is needed now"


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


_PROTO: Final = re.compile(
    r"(?P<block>message|enum|service|oneof|extend)\s+(?P<name>[\w.]+)\s*\{|(?P<close>\})|rpc\s+(?P<rpc>\w+)\s*(?P<signature>\([^)]*\)\s*returns\s*\([^)]*\))|(?P<type>(?:repeated\s+|optional\s+|required\s+)?(?:map\s*<[^>]*>|[\w.]+))\s+(?P<field>\w+)\s*=\s*(?P<number>\d+)|(?P<value>[A-Z]\w*)\s*=\s*(?P<at>-?\d+)"
)


def _proto(view: View) -> Iterator[Act]:
    old, new = _proto_names(code_of(view.path, view.before or "")), _proto_names(view.code)
    for name, what in old.items():
        if name not in new:
            yield Act("api.proto", name, f"breaks the protocol: {name} is gone", _WHY, view.path, 1)
        elif new[name] != what:
            yield Act(
                "api.proto", name, f"breaks the protocol: {name} was {what} and is {new[name]}", _WHY, view.path, 1
            )


def _proto_names(text: str) -> dict[str, str]:
    """Messages, fields, services, calls and enumerations → number and type."""
    found: dict[str, str] = {}
    stack: list[tuple[str, str]] = []
    for match in _PROTO.finditer(text):
        place = ".".join(name for kind, name in stack if kind != "oneof")
        if match["block"]:
            stack.append((match["block"], match["name"]))
            if match["block"] != "oneof":
                found[f"{place}.{match['name']}".lstrip(".")] = match["block"]
        elif match["close"]:
            if stack:
                stack.pop()
        elif match["rpc"]:
            found[f"{place}.{match['rpc']}"] = " ".join(match["signature"].split())
        elif (
            stack
            and match["field"]
            and stack[-1][0] != "enum"
            and match["type"].split()[0] not in ("option", "syntax", "reserved")
        ):
            found[f"{place}.{match['field']}"] = f"{' '.join(match['type'].split())} = {match['number']}"
        elif stack and stack[-1][0] == "enum" and (match["value"] or match["field"]):
            found[f"{place}.{match['value'] or match['field']}"] = match["at"] or match["number"]
    return found


def _graphql(view: View) -> Iterator[Act]:
    old, new = _graphql_names(view.before or ""), _graphql_names(view.after or "")
    for name in old:
        owner = name.split(".")[0]
        if name not in new and (owner == name or owner in new):
            yield Act("api.graphql", name, f"breaks the schema: {name} is gone", _WHY, view.path, 1)


def _graphql_names(text: str) -> set[str]:
    found: set[str] = set()
    plain = re.sub(r"#[^\n]*|\"\"\".*?\"\"\"", "", text, flags=re.DOTALL)
    for kind, name, body in re.findall(
        r"\b(type|interface|input|enum|union|scalar)\s+(\w+)[^{\n]*(?:\{([^}]*)\})?", plain
    ):
        found.add(name)
        pattern = r"^[ \t]*(\w+)" if kind == "enum" else r"^[ \t]*(\w+)[ \t]*(?:\([^)]*\))?\s*:"
        found |= {f"{name}.{field}" for field in re.findall(pattern, body, re.MULTILINE)}
    return found
