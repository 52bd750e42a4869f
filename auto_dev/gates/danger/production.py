"""What production runs on, and what is pointed at it: its settings in every form, and words of it in place of another's. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from auto_dev.gates.danger.act import Act
from auto_dev.gates.danger.flat import Flat, flat_of
from auto_dev.gates.danger.view import View, code_of

_WHY: Final = "users feel it at once"
_PRODUCTION: Final = r"(?:prod|production|prd|live)"
_ELSEWHERE: Final = r"(?:staging|stage|stg|dev|develop|development|test|testing|qa|uat|sandbox|local|localhost|preview|canary|demo|int|preprod)"
_WORD: Final = re.compile(rf"(?<![A-Za-z0-9]){_PRODUCTION}(?![A-Za-z])", re.IGNORECASE)
_OTHER_WORD: Final = re.compile(rf"(?<![A-Za-z0-9]){_ELSEWHERE}(?![A-Za-z])", re.IGNORECASE)
_SETTINGS: Final = (
    ".tf", ".tfvars", ".hcl", ".yml", ".yaml", ".json", ".jsonc", ".json5", ".ini", ".env", ".toml", ".cfg", ".conf", ".cnf",
    ".properties", ".xml", ".cue", ".jsonnet", ".libsonnet", ".dhall", ".nix", ".service", ".pp", ".bicep", ".sops", ".tpl", ".gotmpl",
)  # fmt: skip
_CODE: Final = (".py", ".rb", ".exs", ".js", ".ts", ".mjs", ".cjs", ".php", ".kts", ".sh", ".bash")
_FOLDERS: Final = re.compile(
    r"(?i)(?:^|/)(?:terraform|tf|infra\w*|k8s|kubernetes|deploy\w*|helm|charts?|ansible|environments?|overlays|argocd|manifests|"
    r"inventor(?:y|ies)|clusters?|ops|iac|envs?|config|conf|configs|configuration|settings|group_vars|host_vars|env|etc|stages|"
    r"values|secrets|nomad|systemd|docker|compose|pulumi|cdk|live)/"
)
_HARMLESS: Final = re.compile(
    r"(?i)(?:^|/)(?:webpack|rollup|vite|babel|tsconfig|esbuild|jest|rspack|postcss|metro|next|nuxt)[^/]*$|(?:^|/)requirements[^/]*$|(?:^|/)package(?:-lock)?\.json$|\.lock$|"
    r"(?:^|/)(?:locales?|i18n|translations?|messages|fixtures)/|(?:^|/)\.vscode/|schema\.json$"
)
_PIPELINE: Final = re.compile(
    r"(?i)^\.(?:github/workflows|circleci|woodpecker|buildkite|drone)(?:/|\.)|^\.gitlab-ci|(?:^|/)(?:azure-pipelines|bitbucket-pipelines|jenkinsfile|cloudbuild|buildspec|appveyor)|^\.forgejo/|^\.gitea/"
)
# Keys whose value says where something is or where it goes.
_POINTS: Final = re.compile(
    r"(?i)host|url|uri|dsn|endpoint|server|database|\bdb|bucket|namespace|context|cluster|environment|\benv\b|stage|profile|workspace|"
    r"project|account|subscription|connection|queue|topic|broker|schema|target|address|domain|secret|vault|path|key|from|region|table|index"
)
_GATES: Final = re.compile(
    r"(?i)^\s*(?:-\s*)?(?:when\s*:\s*manual|type\s*:\s*approval|environment\s*:|name\s*:\s*prod\w*|needs\s*:|requires\s*:|if\s*:|only\s*:|rules\s*:|"
    r"required_reviewers|input\s+message|waitForApproval|branches\s*:|filters\s*:)"
)
_BUILD_MODE: Final = re.compile(
    r"(?i)\b(?:NODE_ENV|BABEL_ENV|RAILS_ENV|RACK_ENV|MIX_ENV|APP_ENV|FLASK_ENV|mode|--mode|--configuration|--only|--omit)\b"
)
_HOSTED: Final = re.compile(
    rf"(?i)\b(?:postgres(?:ql)?|mysql|mongodb(?:\+srv)?|redis|rediss|amqps?|kafka|https?|jdbc:\w+|nats|mssql|s3|gs)\S*?://[^\s\"'`]*(?<![A-Za-z0-9]){_PRODUCTION}(?![A-Za-z])"
)
_DATABASE: Final = re.compile(r"(?i)^(?:postgres|mysql|mongodb|redis|amqp|jdbc|nats|mssql|kafka|rediss)")


def is_production(path: str) -> bool:
    """Whether a file holds settings of production, by where it lies and what it is called."""
    if _HARMLESS.search(path):
        return False
    name = posixpath.basename(path).lower()
    ending = posixpath.splitext(name)[1]
    plain = (
        ending in _SETTINGS
        or name.startswith((".env", "env.", "caddyfile", "nginx", "dockerfile", "procfile"))
        or ".env" in name
    )
    if not plain and not (ending in _CODE and _FOLDERS.search(path)) and ending:
        return False
    words = [word for word in re.split(r"[/._-]", path.lower()) if word]
    if "non" in words or "nonprod" in words or "preprod" in words or "pre" in words:
        return False
    named = re.fullmatch(_PRODUCTION, "") is None and any(
        re.fullmatch(_PRODUCTION, word) for word in words if word != "live"
    )
    live = "live" in words and _FOLDERS.search(path) is not None and ending in _SETTINGS
    return named or live


def production_acts(views: Sequence[View]) -> Iterator[Act]:
    """What the change does to production."""
    for view in views:
        old = view.old_path or view.path
        if is_production(old) or is_production(view.path):
            yield from _settings_changed(view)
        elif view.after is not None:
            found = [*_pointed(view), *_sections(view), *_pipeline(view), *_hosts(view)]
            yield from found[:3]


def _settings_changed(view: View) -> Iterator[Act]:
    path = view.path
    before = _lines(view.old_path or path, view.before)
    after = _lines(path, view.after)
    if sorted(before) == sorted(after):
        return  # only comments, spaces and the order
    number = next((n for n, _ in view.new_rows()), 1)
    title = f"changes what production runs on ({view.name})"
    if view.after is None:
        title = f"removes what production runs on ({view.name})"
    yield Act("production.change", path, title, _WHY, path, number, view.shown(number))


def _lines(path: str, text: str | None) -> list[str]:
    return [" ".join(row.split()) for row in code_of(path, text or "").split("\n") if row.strip()]


def _pointed(view: View) -> Iterator[Act]:
    """A line that says production where it said another place before."""
    old_rows = {" ".join(row.split()) for row in code_of(view.old_path or view.path, view.before or "").split("\n")}
    others = {_OTHER_WORD.sub("<place>", row): row for row in old_rows if _OTHER_WORD.search(row)}
    if not others:
        return
    for number, row in view.new_rows():
        text = " ".join(row.split())
        if not _WORD.search(text) or text in old_rows or (_BUILD_MODE.search(text) and "DATABASE" not in text.upper()):
            continue
        was = others.get(_OTHER_WORD.sub("<place>", _WORD.sub("<place>", text)))
        if was is not None and len(_WORD.findall(text)) > len(_WORD.findall(was)):
            title = "points at production what pointed elsewhere"
            shown = f"- {was[:180]}\n+ {text[:180]}"
            yield Act("production.change", f"{view.path}:{text[:80]}", title, _WHY, view.path, number, shown)
            return


def _sections(view: View) -> Iterator[Act]:
    """Values below a key of production, of a resource that is named so, and values that name it now."""
    if (view.ending not in _SETTINGS and not view.name.startswith(".env")) or _HARMLESS.search(view.path):
        return
    old, new = flat_of(view.old_path or view.path, view.before or ""), flat_of(view.path, view.after or "")
    if not old and view.before is not None:
        return
    pipeline = _PIPELINE.search(view.path) is not None
    for name in sorted({**old, **new}):
        before, after = old.get(name), new.get(name)
        if before == after or (before is None and after is None):
            continue
        if how := _of_value(view, name, before, after, new if after is not None else old, pipeline=pipeline):
            line = _line_of(view, name, after)
            yield Act("production.change", f"{view.path}:{name}", how, _WHY, view.path, line, view.shown(line))
            return


def _of_value(view: View, name: str, before: Any, after: Any, around: Flat, *, pipeline: bool) -> str:
    own = name.rsplit(".", 1)[-1]
    if not pipeline and _of_production(name, around):
        return f"changes what production runs on ({name} in {view.name})"
    if (
        re.fullmatch(r"(?i)(?:min_?)?(?:replicas|instances|desired_?count|scale|replica_?count|min_?instances)", own)
        and before
        and after == 0
    ):
        return f"stops what runs: {name} is 0"
    pointing = isinstance(after, str) and _WORD.search(after) and not (isinstance(before, str) and _WORD.search(before))
    if pointing and _POINTS.search(own) and not _BUILD_MODE.search(own.replace("_", " ")) and own.upper() != "NODE_ENV":
        at_once = view.before is not None or re.search(r"[.:/@-]", str(after))
        return f"points {name} at production: {str(after)[:60]}" if at_once else ""
    return ""


def _of_production(name: str, around: Flat) -> bool:
    """Whether ``name`` stands below production, or in a resource or file that says it is production's."""
    steps = name.split(".")
    if any(re.fullmatch(rf"(?i){_PRODUCTION}(?:[-_]\w+)?|\w+[-_](?:prod|production)", step) for step in steps[:-1]):
        return True
    marks = (
        "environment",
        "env",
        "stage",
        "namespace",
        "identifier",
        "name",
        "cluster_identifier",
        "cluster",
        "tier",
        "metadata.namespace",
    )
    places = [""] + [".".join(steps[:n]) + "." for n in range(1, len(steps))]
    for place in places:
        for mark in marks:
            said = around.get(f"{place}{mark}")
            if isinstance(said, str) and _WORD.search(said) and f"{place}{mark}" != name:
                return True
    return False


def _line_of(view: View, name: str, after: Any) -> int:
    own = name.rsplit(".", 1)[-1]
    rows = [(number, row) for number, row in view.new_rows()]
    for number, row in rows:
        if own in row and (not isinstance(after, str) or after[:20] in row):
            return number
    return rows[0][0] if rows else 1


def _pipeline(view: View) -> Iterator[Act]:
    """A pipeline that deploys to production now, or does it without what held it back."""
    if not _PIPELINE.search(view.path):
        return
    deploys = re.compile(r"(?i)deploy|release|publish|prod|kubectl|helm|terraform|ship")
    for number, row in view.new_rows():
        if re.search(rf"(?i)^\s*(?:-\s*)?(?:environment|stage|target|env)\s*:\s*[\"']?{_PRODUCTION}[\"']?\s*$", row):
            title = "a pipeline works on production"
            yield Act(
                "production.change", f"{view.path}:{row.strip()}", title, _WHY, view.path, number, view.shown(number)
            )
            return
    if view.before is None or not deploys.search(view.code):
        return
    kept = {" ".join(row.split()) for row in view.rows}
    old = code_of(view.old_path or view.path, view.before).split("\n")
    for number, row in enumerate(old):
        text = " ".join(row.split())
        near = "\n".join(old[max(number - 12, 0) : number + 12])
        if text and text not in kept and _GATES.match(row) and deploys.search(near) and not _replaced(view, row):
            title = "takes away what a deployment waited for"
            yield Act("production.change", f"{view.path}:{text[:80]}", title, _WHY, view.path, 1, f"- {text[:200]}")
            return


def _replaced(view: View, row: str) -> bool:
    """Whether another line with the same key is new."""
    key = row.split(":", 1)[0].strip().lstrip("- ")
    return any(text.strip().lstrip("- ").startswith(key) for _, text in view.new_rows())


def _hosts(view: View) -> Iterator[Act]:
    """Addresses of production in any new line."""
    for number, row in view.new_rows():
        match = _HOSTED.search(row)
        if match is None or _HOSTED.search(view.before or ""):
            continue
        if _DATABASE.match(match[0]) or (view.ending in _SETTINGS and view.before is not None):
            title = "works on a production database" if _DATABASE.match(match[0]) else "points at production"
            yield Act("production.data", view.path, title, "its data is real", view.path, number, view.shown(number))
            return
