"""Doors that a change opens: checks of who may do what that are gone, and settings that let everybody in. Pure."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from auto_dev.gates.danger.act import Act
from auto_dev.gates.danger.view import View, code_of, parse

# Settings that open something up in whichever code they are new: rule, what is seen, title, why.
_OPENED: Final = tuple(
    (rule, re.compile(pattern, re.IGNORECASE), title, why)
    for rule, title, why, patterns in (
        ("access.cors", "lets every website call (CORS *)", "a foreign page may act with its visitor's rights", (
            r"allow_origins\s*=\s*\[\s*[\"']\*[\"']", r"\borigins\s*[=:]\s*\[?\s*[\"']\*[\"']",
            r"CORS_(?:ALLOW_ALL_ORIGINS|ORIGIN_ALLOW_ALL)\s*=\s*True", r"Access-Control-Allow-Origin[\"']?\s*[,:=)]+\s*[\"']?\*",
            r"@CrossOrigin(?:\(\s*\)|\(\s*(?:origins\s*=\s*)?[\"']\*)", r"AllowAllOrigins:\s*true", r"AllowAnyOrigin\(\)",
            r"Access-Control-Allow-Origin[\"']?\s*[,:\]=]\s*[=(]?\s*\w[\w.?\[\]\"'()]*\borigin\b", r"origin\s*:\s*\(?\w*,?\s*\w*\)?\s*=>\s*\w+\(\s*null\s*,\s*true", r"allow_origin_regex\s*=\s*r?[\"']\.\*",
            r"AllowedOrigins:\s*\[\]string\{\s*\"\*\"", r"\bcors\([^)\n]*origin\s*:\s*(?:[\"']\*[\"']|true)",
        )),
        ("access.tls", "does not check certificates", "anybody on the way can read and change what is sent", (
            r"(?<!signature)\bverify\s*=\s*False\b(?!.*jwt)", r"rejectUnauthorized\s*:\s*false", r"InsecureSkipVerify\s*:\s*true",
            r"NODE_TLS_REJECT_UNAUTHORIZED\W{1,6}0", r"_create_unverified_context", r"\bCERT_NONE\b", r"check_hostname\s*=\s*False",
            r"danger_accept_invalid_(?:certs|hostnames)\(\s*true", r"\bssl_?verify\s*[:=]\s*[\"']?(?:false|no|0)\b", r"SSL::VERIFY_NONE",
            r"CURLOPT_SSL_VERIFY(?:PEER|HOST)\s*(?:,|=>)\s*(?:false|0)", r"insecure-skip-tls-verify[\"']?\s*[:=]\s*[\"']?true",
            r"StrictHostKeyChecking[= ]+no", r"TrustAllCerts|NoopHostnameVerifier",
        )),
        ("access.jwt", "accepts tokens without checking them", "anybody can make one", (
            r"verify_(?:signature|exp|aud|iss)[\"']?\s*[:=]\s*False", r"jwt\.decode\([^)\n]*verify\s*=\s*False",
            r"algorithms?[\"']?\s*[:=]\s*\[?\s*[\"']none[\"']", r"ignoreExpiration\s*:\s*true", r"\bParseUnverified\(",
            r"UnsafeAllowNoneSignatureType",
        )),
        ("access.csrf", "switches the check against forged requests off", "a foreign page may act with its visitor's rights", (
            r"@csrf_exempt\b", r"csrf\(\)\s*\.\s*disable\(", r"csrf\s*\(\s*\w+\s*->\s*\w+\.disable\(", r"CSRF_ENABLED\s*=\s*False",
            r"skip_before_action\s+:verify_authenticity_token", r"csrf\(AbstractHttpConfigurer::disable",
        )),
        ("access.rights", "grants more than is needed", "whoever gets in may do anything", (
            r"\broles/(?:owner|editor)\b", r"\bcluster-admin\b", r"AdministratorAccess\b", r"permissions\s*:\s*write-all",
            r"\bverbs\s*:\s*\[\s*[\"']\*[\"']", r"\bprivileged\s*:\s*true", r"\bNOPASSWD\b", r"allowPrivilegeEscalation\s*:\s*true",
            r"[\"']?\bacl\b[\"']?\s*[=:]\s*[\"']?public-read", r"--allow-unauthenticated", r"\bpublicly_?accessible\s*[:=]\s*true",
        )),
        ("access.open", "lets everybody in without a password", "anybody may act in another's name", (
            r"POSTGRES_HOST_AUTH_METHOD\W{1,4}trust", r"MYSQL_ALLOW_EMPTY_PASSWORD\W{1,4}(?:yes|true|1)", r"^\s*host\s+all\s+all\s+\S+\s+trust", r"PermitEmptyPasswords\s+yes", r"PermitRootLogin\s+yes",
            r"ANONYMOUS_ENABLED\W{1,4}true", r"xpack\.security\.enabled\W{1,4}false", r"protected-mode\s+no", r"\bpull_request_target\b",
        )),
        ("credentials.default", "falls back on a secret that stands in the code", "anybody who reads it can sign and log in", (
            r"(?:\.get|getenv|getOrDefault|env|fetch|config)\(\s*[\"']\w*(?:SECRET|SIGNING|PASSWORD|PRIVATE|JWT|AUTH|API_KEY|TOKEN)\w*[\"']\s*,\s*(?:default\s*=\s*)?[\"'][^\"']+[\"']",
            r"(?:env|environ|config)[\w.\[\]\"']*(?:SECRET|SIGNING|PASSWORD|PRIVATE|JWT|API_KEY|TOKEN)\w*[\"'\])]*\s*(?:\?\?|\|\||\bor\b)\s*[\"'`][^\"'`]+",
        )),
        ("access.mode", "lets everybody write to a file", "every user and process of the machine may change it", (
            r"\bchmod(?:Sync)?\([^)\n]*0o?777", r"os\.Chmod\([^)\n]*0o?777", r"mode\s*[:=]\s*[\"']?0?777\b", r"umask\(\s*0o?0*\s*\)",
        )),
    )
    for pattern in patterns
)  # fmt: skip
_WILDCARD: Final = re.compile(r"[\"']?\b(?:Action|actions|Principal|AWS|identifiers)[\"']?\s*[:=]\s*\[?\s*[\"']\*[\"']")
_RESOURCE: Final = re.compile(r"[\"']?\b(?:Resource|resources)[\"']?\s*[:=]\s*\[?\s*[\"']\*[\"']")
_DENIED: Final = re.compile(r"effect[\"']?\s*[:=]\s*[\"']deny", re.IGNORECASE)
_WORLD: Final = re.compile(r"[\"']?(?:0\.0\.0\.0/0|::/0)[\"']?")
# What lets everybody in where something was guarded before.
_LETS_IN: Final = re.compile(
    r"\bAllowAny\b|\bpermitAll\(\)|@AllowAnonymous\b|@PermitAll\b|@Public\(\)|skip_before_action\s+:(?:authenticate|require|authorize)\w*|"
    r"\bauth(?:entication)?(?:_required|Required)?\s*[:=]\s*false\b|\blogin_required\s*=\s*False|allow_anonymous\s*[:=]\s*true|"
    r"authorize\s*[:=]\s*false",
    re.IGNORECASE,
)
_DEFINES: Final = re.compile(
    r"^\s*(?:(?:export|public|private|protected|async|static|default|abstract)\s+)*(?:def|class|function|func|fn)\b"
)

_GUARD: Final = (
    r"login_?required|permissions?_?required|roles?_?(?:required|allowed)|admin_?(?:required|only)|staff_member_required|"
    r"user_passes_test|(?:jwt|token|auth|fresh_jwt|scopes?)_?required|requires?_?(?:auth\w*|login|roles?|permissions?|admin|scopes?|user|owner)|"
    r"(?:ensure|check|assert|verify|validate)_?(?:auth\w*|logged_?in|permissions?|access|roles?|owner(?:ship)?|admin|token|jwt|signature)|"
    r"is_?(?:authenticated|admin(?:user)?|authorized|owner|staff|superuser)|has_?(?:perm(?:ission)?s?|roles?|access|scope|authority)|"
    r"authenticated?_?user!?|authorize!?|authenticate!?|auth_?(?:middleware|guard)|(?:jwt|roles?|permissions?|admin)_?guard|useguards|"
    r"preauthorize|postauthorize|secured|rolesallowed|(?:get_)?current_(?:active_)?user|loginrequiredmixin|permissionrequiredmixin|"
    r"userpassestestmixin|accessmixin|csrf_protect|protect_from_forgery|permission_classes|authentication_classes|"
    r"passport\.authenticate|jwt\.verify|permissiondenied|forbidden(?:error|exception)?|unauthorized(?:error|exception)?|"
    r"with_?auth|protected_?route|require_signature|timingsafeequal|compare_digest"
)
_GUARDS: Final = re.compile(rf"(?<![\w])(?:{_GUARD})(?![\w])", re.IGNORECASE)
_REFUSAL: Final = re.compile(
    r"\b(?:abort|HTTPException|status|sendStatus|HttpResponse|AbortWithStatus\w*|http\.Error)\b[^\n]{0,60}\b40[13]\b"
)
_WORDS: Final = re.compile(r"[\"'`]([^\"'`\n]{3,80})[\"'`]|\b([A-Za-z_]\w{4,60})\b")
_COMMON: Final = frozenset(
    (
        *("return", "false", "true", "null", "none", "undefined", "const", "function", "async", "await", "export"),
        *("import", "default", "class", "public", "static", "string", "request", "response", "router"),
    )
)


def access_acts(view: View) -> Iterator[Act]:
    """What the new lines of a file open up."""
    for number, row in view.new_rows():
        for rule, pattern, title, why in _OPENED:
            if pattern.search(row):
                yield Act(rule, f"{view.path}:{title}", title, why, view.path, number, view.shown(number))
                break
        else:
            yield from _wildcards(view, number, row)
            if view.before is not None and _LETS_IN.search(row) and not _is_new_thing(view, number, row):
                title = "lets everybody in where somebody was checked"
                why = "who may do what is a person's decision"
                yield Act(
                    "access.open", f"{view.path}:{row.strip()[:80]}", title, why, view.path, number, view.shown(number)
                )


def _wildcards(view: View, number: int, row: str) -> Iterator[Act]:
    around = "\n".join(view.rows[max(number - 7, 0) : number + 6])
    widened = (
        _RESOURCE.search(row)
        and view.before is not None
        and len(_RESOURCE.findall(view.before)) < len(_RESOURCE.findall(view.code))
        and re.search(r"(?i)resources?[\"']?\s*[:=]", view.before)
    )
    if (_WILDCARD.search(row) or widened) and not _DENIED.search(around):
        title = "grants more than is needed (a wildcard)"
        yield Act(
            "access.rights",
            f"{view.path}:*",
            title,
            "whoever gets in may do anything",
            view.path,
            number,
            view.shown(number),
        )
    if _WORLD.search(row) and re.search(r"\bingress\b|SecurityGroupIngress|source_ranges|\binbound\b", around):
        title = "opens a network to everybody"
        yield Act(
            "access.network",
            f"{view.path}:world",
            title,
            "the whole world can reach it",
            view.path,
            number,
            view.shown(number),
        )


def _is_new_thing(view: View, number: int, row: str) -> bool:
    """Whether what the line belongs to came with this change: a new page may be open to everybody from the start."""
    if row.lstrip().startswith(("@", "[")):
        return any(
            _DEFINES.match(view.rows[n - 1]) and n in view.fresh
            for n in range(number, min(number + 6, len(view.rows) + 1))
        )
    indent = len(row) - len(row.lstrip())
    for n in range(number - 1, 0, -1):
        text = view.rows[n - 1]
        if text.strip() and len(text) - len(text.lstrip()) < indent and _DEFINES.match(text):
            return n in view.fresh
    words = {one for one, _ in _WORDS.findall(row) if one}
    return bool(words) and not any(word in (view.before or "") for word in words)


def lost_guards(views: Sequence[View]) -> Iterator[Act]:
    """Checks of who may do what that are gone, while what they guarded is still there.

    Where as many came as went, in whatever file, they were moved or renamed.
    """
    before, after = (sum(_count(text) for text in texts) for texts in _sides(views))
    if after >= before:
        return
    for view in views:
        if view.before is None or view.after is None or view.name.endswith((".d.ts", ".pyi")):
            continue  # a declaration checks nothing
        found = list(_of_python(view) if view.ending == ".py" and view.tree is not None else _of_rows(view))
        yield from found


def _sides(views: Sequence[View]) -> tuple[list[str], list[str]]:
    return (
        [code_of(view.old_path or view.path, view.before) for view in views if view.before is not None],
        [view.code for view in views if view.after is not None],
    )


def _count(code: str) -> int:
    return len(_GUARDS.findall(_without_imports(code))) + len(_REFUSAL.findall(code))


def _without_imports(code: str) -> str:
    return re.sub(r"(?m)^[ \t]*(?:from[ \t]+\S+[ \t]+)?(?:import|use|using|require)\b[^\n]*$", "", code)


def _of_python(view: View) -> Iterator[Act]:
    old_tree = parse(view.before or "")
    if old_tree is None or view.tree is None:
        return
    old, new = _python_guards(old_tree), _python_guards(view.tree)
    for name, (guards, _) in old.items():
        if name not in new or len(new[name][0]) >= len(guards):
            continue
        outer = [other for other in new if other and name.startswith(other + ".")] + [""]
        if any(len(new.get(one, ([], 0))[0]) > len(old.get(one, ([], 0))[0]) for one in outer if one != name):
            continue  # the class or the module checks now
        gone = ", ".join(sorted((Counter(guards) - Counter(new[name][0])).elements())[:3])
        title = f"{name or 'the module'} is no longer guarded by {gone}"
        why = "who may do what is a person's decision"
        line = new[name][1]
        yield Act("access.guard", f"{name}:{gone}", title, why, view.path, line, view.shown(line, 2))


def _python_guards(tree: ast.Module) -> dict[str, tuple[list[str], int]]:
    """Function or class → the guards around and directly in it, and its line; "" is the module itself."""
    found: dict[str, tuple[list[str], int]] = {"": ([], 1)}

    def visit(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                inner = f"{name}.{child.name}".lstrip(".")
                found.setdefault(inner, ([], child.lineno))
                around: list[ast.AST] = [*child.decorator_list]
                around += child.bases if isinstance(child, ast.ClassDef) else [child.args]
                for part in around:
                    found[inner][0].extend(_names(part))
                for statement in child.body:
                    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                        visit(ast.Module([statement], []), inner)
                    else:
                        found[inner][0].extend(_names(statement))
            elif not isinstance(child, (ast.Import, ast.ImportFrom)):
                found[name][0].extend(_names(child))

    visit(tree, "")
    return found


def _names(node: ast.AST) -> list[str]:
    text = ast.unparse(node)
    return [match.lower() for match in _GUARDS.findall(text)] + [match[-3:] for match in _REFUSAL.findall(text)]


def _of_rows(view: View) -> Iterator[Act]:
    old = code_of(view.old_path or view.path, view.before or "")
    if _count(old) <= _count(view.code):
        return
    left = Counter(row.strip() for row in old.split("\n")) - Counter(row.strip() for row in view.rows)
    kept = sum((Counter(row.strip() for row in old.split("\n")) & Counter(row.strip() for row in view.rows)).values())
    for row in left:
        if not (_GUARDS.search(_without_imports(row)) or _REFUSAL.search(row)):
            continue
        words = {one or two for one, two in _WORDS.findall(row)}
        words = {word for word in words if not _GUARDS.search(word) and word.lower() not in _COMMON}
        if any(word in view.code for word in words) or (not words and kept > 5):
            line = next((n for n, text in enumerate(view.rows, 1) if any(word in text for word in words)), 1)
            title = "a check of who may do this is gone"
            why = "who may do what is a person's decision"
            shown = f"- {row[:200]}\n+ {view.shown(line)}"
            yield Act("access.guard", f"{view.path}:{row[:80]}", title, why, view.path, line, shown)
            return
