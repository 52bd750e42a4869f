"""Which test files a setting or an argument means: a folder, a glob, a regular expression, a Go package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final

from auto_dev.gates.syntax.suite import is_test_path

_LONGEST: Final = 200
_STARS: Final = 12
_KEPT: Final = 5_000  # test files that are looked at
_SLOW: Final = re.compile(r"\)[*+{]")  # a repeated group may take for ever
_BRACES: Final = re.compile(r"\{([^{}]*,[^{}]*)\}|[?*+@]\(([^()]*)\)")


def tests_of(base: Iterable[str], head: Iterable[str]) -> tuple[str, ...]:
    """The test files that are on both sides."""
    return tuple(sorted(path for path in set(base) & set(head) if is_test_path(path))[:_KEPT])


def meant(patterns: Sequence[str], tests: Sequence[str]) -> set[str]:
    """Those of ``tests`` that any of ``patterns`` means."""
    return {path for path in tests if any(covers(pattern, path) for pattern in patterns)}


def covers(pattern: str, path: str) -> bool:
    """Whether ``pattern`` may mean ``path``. What is too wild to be tried is taken to mean everything."""
    found = _compiled(pattern)
    if found is None:
        return True
    folder, matchers = found
    if folder and (path == folder or path.startswith(f"{folder}/") or f"/{folder}/" in f"/{path}/"):
        return True
    return any(matcher.search(path) for matcher in matchers)


@lru_cache(maxsize=2_000)
def _compiled(pattern: str) -> tuple[str, tuple[re.Pattern[str], ...]] | None:
    """A folder or file by its name, and what is searched for in a path; None: everything."""
    bare = pattern.strip().strip("'\"").replace("<rootDir>", "").lstrip("!").split("::")[0]
    bare = bare.removesuffix("...").removeprefix("./").strip("/")
    if bare in ("", ".", "**", "**/*") or len(bare) > _LONGEST or bare.count("*") > _STARS or _SLOW.search(bare):
        return None
    matchers = [re.compile(_translated(one)) for one in _spread(bare)] if re.search(r"[*?\[{(]", bare) else []
    if re.search(r"[\\^$.|()+]", bare):
        with suppress(re.error, OverflowError):  # then it is a glob only
            matchers.append(re.compile(bare.replace("\\\\", "\\")))
    return bare, tuple(matchers)


def _spread(glob: str, depth: int = 0) -> list[str]:
    """``a.{ts,tsx}`` → ``a.ts``, ``a.tsx``."""
    match = _BRACES.search(glob)
    if match is None or depth > 4:
        return [glob]
    inside = (
        match[1].split(",") if match[1] is not None else [*match[2].split("|"), *([""] if match[0][0] in "?*" else [])]
    )
    return [
        one for part in inside[:10] for one in _spread(glob[: match.start()] + part + glob[match.end() :], depth + 1)
    ][:100]


def _translated(glob: str) -> str:
    """A glob as a regular expression: one without a slash names a file or folder at any depth."""
    pieces = re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]*\]|.", glob)
    anchored = "^" if "/" in glob else r"(?:^|/)"
    return f"{anchored}{''.join(_piece(piece) for piece in pieces)}(?:/|$)"


def _piece(piece: str) -> str:
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(piece)
    return known or (piece.replace("[!", "[^") if len(piece) > 2 and _is_set(piece) else re.escape(piece))


def _is_set(piece: str) -> bool:
    try:
        re.compile(piece)
    except re.error:
        return False
    return True
