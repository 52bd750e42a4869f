"""Cut GitHub's published OpenAPI description down to the paths that auto-dev uses.

    npm pack @octokit/openapi && tar xf octokit-openapi-*.tgz
    python trim.py package/generated/api.github.com.json api.github.com.trimmed.json

The description is MIT licensed (LICENSE beside this file is the package's own). Only what validation looks at stays:
prose, examples and vendor extensions go.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

USED: dict[str, tuple[str, ...]] = {
    "/repos/{owner}/{repo}": ("get",),
    "/repos/{owner}/{repo}/pulls": ("get", "post"),
    "/repos/{owner}/{repo}/pulls/{pull_number}": ("get", "patch"),
    "/repos/{owner}/{repo}/pulls/{pull_number}/comments": ("get",),
    "/repos/{owner}/{repo}/pulls/{pull_number}/reviews": ("get",),
    "/repos/{owner}/{repo}/labels": ("post",),
    "/repos/{owner}/{repo}/labels/{name}": ("get",),
    "/repos/{owner}/{repo}/issues/{issue_number}": ("get",),
    "/repos/{owner}/{repo}/issues/{issue_number}/comments": ("get", "post"),
    "/repos/{owner}/{repo}/issues/{issue_number}/labels": ("post",),
    "/repos/{owner}/{repo}/commits/{ref}/check-runs": ("get",),
    "/repos/{owner}/{repo}/commits/{ref}/status": ("get",),
    "/repos/{owner}/{repo}/check-runs/{check_run_id}/annotations": ("get",),
    "/repos/{owner}/{repo}/branches/{branch}": ("get",),
    "/repos/{owner}/{repo}/installation": ("get",),
    "/app": ("get",),
    "/app/installations/{installation_id}": ("get",),
    "/app/installations/{installation_id}/access_tokens": ("post",),
}
PROSE = {"description", "summary", "example", "examples", "externalDocs", "tags", "operationId", "title"}


def main(source: Path, target: Path) -> None:
    document = json.loads(source.read_text("utf-8"))
    paths = {path: {m: document["paths"][path][m] for m in methods} for path, methods in USED.items()}
    trimmed: dict[str, Any] = {
        "openapi": document["openapi"],
        "info": {key: document["info"][key] for key in ("title", "version", "license")},
        "servers": document["servers"],
        "paths": _without_prose(paths),
        "components": _components(document, paths),
    }
    target.write_text(json.dumps(trimmed, indent=1, sort_keys=True) + "\n", "utf-8")


def _components(document: dict[str, Any], paths: Any) -> dict[str, Any]:
    """Every component that ``paths`` reaches."""
    found: dict[str, Any] = {}
    todo = _references(_without_prose(paths))
    while todo:
        _, _, kind, name = todo.pop().split("/")
        if name not in found.setdefault(kind, {}):
            component = _without_prose(document["components"][kind][name])
            found[kind][name] = component
            todo |= _references(component)
    return found


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        here = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return here.union(*map(_references, value.values()))
    return set().union(*map(_references, value)) if isinstance(value, list) else set()


def _without_prose(value: Any, *, names: bool = False) -> Any:
    """``value`` without what only people read. With ``names``, its keys are names that the API gave, and all stay."""
    if isinstance(value, list):
        return [_without_prose(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept: dict[str, Any] = {}
    for key, item in value.items():
        if not names and (key.startswith("x-") or key in PROSE):
            continue
        kept[key] = _without_prose(item, names=not names and key in {"properties", "responses", "headers"})
    if kept.get("nullable") is True and isinstance(kept.get("enum"), list) and None not in kept["enum"]:
        kept["enum"] = [*kept["enum"], None]  # meant, but an enumeration without null takes none (OpenAPI 3.0.3)
    if "content" in kept or (value.get("description") and set(value) <= {"description", "content", "headers"}):
        kept.setdefault("description", "")  # a response must have one
    return kept


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
