"""Breaking changes of what a library offers: names that are gone or are called in another way. Pure but for reading.

Only what others can reach counts: a program's own functions may be renamed at will.
"""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from auto_dev.gates.danger.act import Act
from auto_dev.gates.danger.surface import Shape, Surface, breaks, go_surface, javascript_surface, python_surface
from auto_dev.gates.danger.view import View, is_aside

Read = Callable[[str, str], Awaitable[bytes | None]]
_WEB: Final = re.compile(
    r"^(?:fastapi|flask|django|uvicorn|gunicorn|starlette|celery|quart|aiohttp-server|tornado|streamlit|dagster|airflow)\b",
    re.IGNORECASE,
)
_INTERNAL: Final = re.compile(
    r"(?:^|/)(?:_[^/]*|internals?|private|utils?|helpers?|common|compat|cli|main|app|settings|config|scripts?|migrations?|tools?|commands?|management|tasks|admin)(?:\.\w+)?(?:/|$)"
)
_JS: Final = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts")
_WHY: Final = "whoever uses it has to change"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that can be read: its files, and what reads one as text."""

    sha: str
    paths: frozenset[str]
    read: Read

    async def text(self, path: str) -> str | None:
        data = await self.read(self.sha, path) if path in self.paths else None
        return data.decode("utf-8", "replace")[:1_000_000] if data is not None else None


async def library_acts(
    views: Sequence[View], base: Commit, head: Commit, ordered: frozenset[str] = frozenset()
) -> list[Act]:
    """What the change takes from the users of the library, in Python, JavaScript, TypeScript and Go.

    ``ordered``: names that the story itself spells; a name may become one of them.
    """
    code = [view for view in views if not is_aside(view.old_path or view.path)]
    found: list[Act] = []
    if any(_old(view).endswith(".py") for view in code):
        found += await _python(code, base, head, ordered)
    if any(_old(view).endswith(_JS) for view in code):
        found += await _javascript(code, base, head, ordered)
    if any(_old(view).endswith(".go") for view in code):
        found += await _go(code, base, head, ordered)
    return found


def _old(view: View) -> str:
    return view.old_path or view.path


def _act(name: str, what: str, path: str, shape: Shape, views: Sequence[View]) -> Act:
    view = next((one for one in views if path in (one.path, one.old_path)), None)
    lines = ((view.before or "") if view is not None else "").split("\n")
    excerpt = lines[shape.line - 1].strip()[:300] if shape.line <= len(lines) else ""
    return Act("api.break", name, f"breaks the public interface: {what}", _WHY, path, shape.line, excerpt)


def _compared(
    old: Mapping[str, Shape],
    new: Mapping[str, Shape],
    elsewhere: Mapping[str, Shape],
    ordered: frozenset[str] = frozenset(),
) -> Iterator[tuple[str, Shape, str]]:
    """Names of ``old`` that ``new`` breaks. A method that moved to another class of the change is inherited."""
    for name, shape in old.items():
        owner, _, member = name.partition(".")
        if member and owner not in new:
            continue  # its class is named already
        if name in new:
            if what := breaks(name, shape, new[name]):
                yield name, shape, what if what.startswith(name) else f"{name}: {what}"
        elif member and new[owner].inherits and any(other.endswith(f".{member}") for other in elsewhere):
            continue
        elif not any(_is_renamed(name, other, old, {**elsewhere, **new}) for other in ordered):
            yield name, shape, f"{name} is gone"


def _is_renamed(name: str, other: str, old: Mapping[str, Shape], now: Mapping[str, Shape]) -> bool:
    """Whether ``other`` is what ``name`` was: called in the same way, with the same members."""
    if other in old or other not in now or "." in name:
        return False
    members = {one[len(name) :] for one in old if one.startswith(f"{name}.") and _is_public(one)}
    there = {one[len(other) :] for one in now if one.startswith(f"{other}.") and _is_public(one)}
    return members == there and not breaks(name, old[name], now[other])


# ── Python ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _python(views: Sequence[View], base: Commit, head: Commit, ordered: frozenset[str]) -> list[Act]:
    folders = await _packages(base)
    found: list[Act] = []
    everywhere: dict[str, Shape] = {}
    for view in views:
        if view.ending == ".py" and view.after is not None:
            everywhere |= python_surface(view.after).names
    for folder in folders:
        mine = [view for view in views if _old(view).startswith(folder + "/") or _old(view) == folder + ".py"]
        if not any(_old(view).endswith(".py") for view in mine):
            continue
        top = f"{folder}/__init__.py"
        curated = python_surface(await base.text(top) or "")
        exported = {
            name: target
            for name, target in curated.passed_on.items()
            if _is_public(name) and _inside(target[0], folder)
        }
        if exported:
            found += await _of_curated(exported, folder, top, base, head, views, everywhere)
        for view in mine:
            if _old(view).endswith(".py") and view.before is not None:
                found += _of_module(
                    view, views, everywhere, ordered, curated=bool(exported), moved=await _moved_to(view, head)
                )
    return found


async def _moved_to(view: View, head: Commit) -> Surface:
    """What stands at the module's old place now."""
    return python_surface(await head.text(_old(view)) or "")


def _of_module(
    view: View,
    views: Sequence[View],
    everywhere: Mapping[str, Shape],
    ordered: frozenset[str],
    *,
    curated: bool,
    moved: Surface,
) -> Iterator[Act]:
    path = _old(view)
    old = python_surface(view.before or "")
    if old.listed is not None:
        public = {
            name: shape for name, shape in old.names.items() if name.split(".")[0] in old.listed and _is_public(name)
        }
    elif curated or _INTERNAL.search(path):
        return
    else:
        public = {
            name: shape
            for name, shape in old.names.items()
            if _is_public(name) and name != "__all__" and (shape.params is not None or name[:1].isupper())
        }
    now = dict(moved.names) | {name: everywhere.get(inner, Shape()) for name, (_, inner) in moved.passed_on.items()}
    for name, shape, what in _compared(public, now, everywhere, ordered):
        if name in everywhere and "is gone" in what:
            continue  # moved within the library; its old place is an inner one
        yield _act(f"{path}:{name}", what, path, shape, views)


async def _of_curated(
    exported: Mapping[str, tuple[str, str]], folder: str, top: str, base: Commit, head: Commit, views: Sequence[View],
    everywhere: Mapping[str, Shape],
) -> list[Act]:  # fmt: skip
    """The names that the package's own ``__init__`` hands out, wherever they are defined."""
    now = python_surface(await head.text(top) or "")
    found: list[Act] = []
    for name, (module, inner) in exported.items():
        path, old = await _definition(base, folder, module)
        shape = old.names.get(inner, Shape())
        if name not in now.passed_on and name not in now.names:
            found.append(_act(f"{folder}:{name}", f"{name} is gone", top, Shape(), views))
            continue
        target = now.passed_on.get(name)
        _, new = await _definition(head, folder, target[0]) if target else ("", now)
        inner_now = target[1] if target else name
        old_names = {inner: shape} | {k: v for k, v in old.names.items() if k.startswith(f"{inner}.") and _is_public(k)}
        new_names = {
            k.replace(inner_now, inner, 1) if k.split(".")[0] == inner_now else k: v for k, v in new.names.items()
        }
        if inner in old.names and inner not in new_names and inner_now not in new.passed_on:
            found.append(_act(f"{folder}:{name}", f"{name} is gone", path, shape, views))
            continue
        found += [
            _act(f"{folder}:{one}", what, path, one_shape, views)
            for one, one_shape, what in _compared(old_names, new_names or old_names, everywhere)
            if inner in new_names
        ]
    return found


async def _definition(commit: Commit, folder: str, module: str) -> tuple[str, Surface]:
    parts = module.lstrip(".")
    name = folder.rsplit("/", 1)[-1]
    if not module.startswith("."):
        parts = parts.removeprefix(name).lstrip(".")
    place = posixpath.join(folder, *parts.split(".")) if parts else folder
    for path in (f"{place}.py", f"{place}/__init__.py"):
        if (text := await commit.text(path)) is not None:
            return path, python_surface(text)
    return f"{place}.py", Surface()


def _inside(module: str, folder: str) -> bool:
    return module.startswith(".") or module.split(".")[0] == folder.rsplit("/", 1)[-1]


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") and part not in ("__init__", "__call__") for part in name.split("."))


async def _packages(commit: Commit) -> list[str]:
    """The folders of packages that are made to be installed by others; none of a program."""
    if "manage.py" in commit.paths:
        return []
    text = await commit.text("pyproject.toml")
    if text is None and not {"setup.py", "setup.cfg"} & commit.paths:
        return []
    if text is not None and not _is_library(text):
        return []
    tops = {path.split("/")[0] for path in commit.paths if path.endswith("/__init__.py") and path.count("/") == 1}
    below = {
        "/".join(path.split("/")[:2])
        for path in commit.paths
        if re.fullmatch(r"(?:src|lib|python)/\w+/__init__\.py", path)
    }
    return sorted(folder for folder in tops | below if not is_aside(folder + "/x.py"))


def _is_library(pyproject: str) -> bool:
    try:
        data: dict[str, Any] = tomllib.loads(pyproject)
    except tomllib.TOMLDecodeError:
        return False
    project = data.get("project") or {}
    poetry = (data.get("tool") or {}).get("poetry") or {}
    if not project and not poetry:
        return False
    needs = [*map(str, project.get("dependencies", ())), *map(str, poetry.get("dependencies", ()))]
    private = any("Private ::" in str(one) for one in project.get("classifiers", ()))
    return not private and poetry.get("package-mode") is not False and not any(_WEB.match(one) for one in needs)


# ── JavaScript and TypeScript ─────────────────────────────────────────────────────────────────────────────────────


async def _javascript(views: Sequence[View], base: Commit, head: Commit, ordered: frozenset[str]) -> list[Act]:
    changed = {_old(view) for view in views if _old(view).endswith(_JS)}
    roots = sorted({root for path in changed if (root := _nearest(path, base)) is not None})
    found: list[Act] = []
    for root in roots:
        for entry in await _entries(base, root):
            old = await _exports(base, entry, set())
            if not old:
                continue
            present = entry if entry in head.paths else next(iter(await _entries(head, root)), "")
            new = await _exports(head, present, set()) if present else {}
            names = {name: shape for name, (_, shape) in new.items()}
            for name, shape, what in _compared({n: s for n, (_, s) in old.items()}, names, {}, ordered):
                path = old[name][0]
                if path in changed or entry in changed:
                    found.append(_act(f"{root}:{name}", what, path, shape, views))
    return found


def _nearest(path: str, commit: Commit) -> str | None:
    folder = posixpath.dirname(path)
    while True:
        if posixpath.join(folder, "package.json") in commit.paths:
            return folder
        if not folder:
            return None
        folder = posixpath.dirname(folder)


async def _entries(commit: Commit, root: str) -> list[str]:
    """The modules that the users of the package import; none of a private one."""
    try:
        data = json.loads(await commit.text(posixpath.join(root, "package.json")) or "{}")
    except ValueError:
        return []
    if not isinstance(data, dict) or data.get("private") is True or not data.get("name"):
        return []
    named = [text for key in ("main", "module", "types", "exports") for text in _strings(data.get(key))]
    if not named:
        named = ["index.js"]
    found: list[str] = []
    for text in named:
        plain = re.sub(r"(?:\.d)?\.[cm]?[jt]sx?$", "", text.removeprefix("./"))
        for stem in (plain, re.sub(r"^(?:dist|lib|build|out)(?:/(?:esm|cjs|es|types))?/", "src/", plain)):
            found += [path for ending in _JS if (path := posixpath.join(root, stem + ending)) in commit.paths]
    return list(dict.fromkeys(found))


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for one in value.values() for text in _strings(one)]
    return []


async def _exports(commit: Commit, path: str, seen: set[str]) -> dict[str, tuple[str, Shape]]:
    """What a module exports, through what it passes on: name → where it is defined, and its shape."""
    if path in seen or len(seen) > 200:
        return {}
    seen.add(path)
    text = await commit.text(path)
    if text is None:
        return {}
    surface = javascript_surface(text, posixpath.splitext(path)[1])
    found = {name: (path, shape) for name, shape in surface.names.items() if not name.startswith("_")}
    for outer, (source, inner) in surface.passed_on.items():
        target = _resolved(commit, path, source)
        below = await _exports(commit, target, seen if inner == "*" else set(seen)) if target else {}
        if inner == "*":
            found |= {name: one for name, one in below.items() if name != "default" and name not in found}
            continue
        found[outer] = below.get(inner, (path, Shape()))
        found |= {f"{outer}{name[len(inner) :]}": one for name, one in below.items() if name.startswith(f"{inner}.")}
    return found


def _resolved(commit: Commit, path: str, source: str) -> str:
    if not source.startswith("."):
        return ""
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), source))
    stem = re.sub(r"\.[cm]?jsx?$", "", place)
    for one in (place, *(stem + e for e in _JS), *(f"{place}/index{e}" for e in _JS)):
        if one in commit.paths:
            return one
    return ""


# ── Go ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _go(views: Sequence[View], base: Commit, head: Commit, ordered: frozenset[str]) -> list[Act]:
    folders = sorted(
        {
            posixpath.dirname(_old(view))
            for view in views
            if _old(view).endswith(".go") and not _old(view).endswith("_test.go")
        }
    )
    found: list[Act] = []
    for folder in folders:
        if not await _is_public_package(folder, base):
            continue
        old, places = await _package(base, folder)
        new, _ = await _package(head, folder)
        for name, shape, what in _compared(old, new, {}, ordered):
            found.append(_act(f"{folder}:{name}", what, places[name], shape, views))
    return found


async def _package(commit: Commit, folder: str) -> tuple[dict[str, Shape], dict[str, str]]:
    names: dict[str, Shape] = {}
    places: dict[str, str] = {}
    for path in sorted(commit.paths):
        if posixpath.dirname(path) == folder and path.endswith(".go") and not path.endswith("_test.go"):
            for name, shape in go_surface(await commit.text(path) or "").names.items():
                names[name], places[name] = shape, path
    return names, places


async def _is_public_package(folder: str, commit: Commit) -> bool:
    """Whether other modules import it. Beside a program only ``pkg/``, ``api/`` and their like are meant for others."""
    if "go.mod" not in commit.paths or re.search(r"(?:^|/)(?:internal|cmd|main|testdata|examples?)(?:/|$)", folder):
        return False
    mains = [path for path in commit.paths if re.fullmatch(r"(?:cmd/(?:[\w.-]+/)?)?main\.go", path)]
    root = [
        path
        for path in commit.paths
        if re.fullmatch(r"[\w.-]+\.go", path) and not path.endswith("_test.go") and path != "main.go"
    ]
    texts = [await commit.text(path) or "" for path in root[:3]]
    is_library = any(not re.search(r"(?m)^package main\b", text) for text in texts) or not mains
    return is_library or re.match(r"(?:pkg|api|client|sdk)(?:/|$)", folder) is not None
