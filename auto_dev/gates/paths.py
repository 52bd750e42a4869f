"""Paths and patterns of the scope gate.

Two ways to compare: *exactly* for what is allowed (``Src/`` is another folder than ``src/``), and *loosely* for what is
protected: case, Unicode look-alike forms and invisible characters do not help a path to slip through.
"""

from __future__ import annotations

import unicodedata
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

_GLOB: Final = frozenset("*?[")


def plain(path: str) -> str:
    """``path`` composed (NFC), without ``./``, doubled and trailing slashes; case and characters stay."""
    parts = (path if path.isascii() else unicodedata.normalize("NFC", path)).split("/")
    return "/".join(part for part in parts if part not in ("", "."))


@lru_cache(maxsize=4096)
def canonical(path: str) -> str:
    """What ``path`` may become on some file system: compatibility forms, case, invisible characters, ``\\`` undone."""
    if path.isascii() and path.isprintable():  # nearly all paths, and a change may have very many
        path = path.lower()
    else:
        for _ in range(2):  # case folding may make new compatibility forms
            path = unicodedata.normalize("NFKC", path).casefold()
        path = "".join(character for character in path if not (_invisible(character) or _blank(character)))
    parts: list[str] = []
    for part in path.replace("\\", "/").split("/"):
        if part in ("", "."):
            continue
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        else:
            parts.append(part.rstrip(" .") or part)  # Windows drops trailing dots and spaces
    return "/".join(parts)


def hidden(path: str) -> str:
    """What is odd about the characters of ``path``, or ""."""
    if not path.isprintable() and any(_invisible(character) for character in path):
        return "invisible or control characters"
    if "\\" in path:
        return "a backslash"
    if any(part in ("..", ".git") for part in canonical(path).split("/")):
        return "a part that git reserves"
    return ""


def matches(pattern: str, path: str) -> bool:
    """Whether ``pattern`` covers ``path`` exactly.

    A pattern without ``*``, ``?``, ``[`` is a path: it covers itself and all below. A glob with a slash is anchored at
    the root, one without matches at any depth; ``**`` spans folders; a matched folder covers what is below it. The
    empty pattern (also ``.`` and ``/``) covers everything.
    """
    return _covers(plain(pattern), plain(path))


def matches_loosely(pattern: str, path: str) -> bool:
    """Like ``matches``, but for protection: on the canonical forms of both."""
    return _covers(canonical(pattern), canonical(path))


def _covers(pattern: str, path: str) -> bool:
    if not pattern or path == pattern or path.startswith(pattern + "/"):
        return True  # also the literal reading of a name such as app/[id]
    if _GLOB.isdisjoint(pattern):
        return False
    parts = pattern.split("/")
    if len(parts) == 1:
        parts = ["**", *parts]
    return _reaches(parts, path.split("/"))


def _reaches(pattern: list[str], path: list[str]) -> bool:
    """Whether ``pattern`` matches the whole or a leading part of ``path``: a set of positions, so no blow-up."""
    states = _spread({0}, pattern)
    for part in path:
        moved: set[int] = set()
        for state in states:
            if state >= len(pattern):
                continue
            if pattern[state] == "**":
                moved.add(state)
            elif fnmatchcase(part, pattern[state]):
                moved.add(state + 1)
        states = _spread(moved, pattern)
        if len(pattern) in states:
            return True
        if not states:
            return False
    return False


def _spread(states: set[int], pattern: list[str]) -> set[int]:
    """``states`` and those that a ``**`` which matches nothing leads to."""
    spread = set(states)
    for state in states:
        at = state
        while at < len(pattern) and pattern[at] == "**":
            at += 1
            spread.add(at)
    return spread


def _invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Cc", "Cs", "Co")


def _blank(character: str) -> bool:
    """Drawn as nothing, yet used in honest names (emoji): undone for comparison, not held against the path."""
    return "\ufe00" <= character <= "\ufe0f" or character in "\u034f\u115f\u1160\u3164\uffa0"
