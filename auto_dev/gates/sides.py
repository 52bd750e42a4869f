"""A changed file with its tests before and after."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Final

from auto_dev.gates.base import Change
from auto_dev.gates.syntax.read import read_suite
from auto_dev.gates.syntax.suite import FOLDERS, MAX_SOURCE, Suite, is_test_path, language_of

_SYMLINK: Final = "120000"
_PYTHON_TEST: Final = re.compile(rb"^[ \t]*(?:async\s+)?def test", re.MULTILINE)
_RUST_TEST: Final = re.compile(rb"#\[\s*(?:\w+\s*::\s*)*(?:test|rstest|test_case|quickcheck)\b")
_JS_TEST: Final = re.compile(rb"['\"](?:vitest|@jest/globals|node:test|ava|@playwright/test|bun:test)['\"]")


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A changed file; ``suite_*`` is None where the file does not exist or holds neither tests nor their helpers.

    ``old``: its path on the base; ``helps``: no runner takes it, but tests may call what it holds.
    """

    path: str
    old: str
    before: bytes | None
    after: bytes | None
    suite_before: Suite | None
    suite_after: Suite | None
    language: str
    helps: bool = False

    @property
    def holds_tests(self) -> bool:
        return not self.helps and (self.suite_before is not None or self.suite_after is not None)


def side_of(change: Change, before: bytes | None, after: bytes | None) -> Side:
    """``change`` with the tests in the file's sources. Pure; it takes the processor for some tens of milliseconds."""
    old = change.old_path or change.path
    was_named, is_named = is_test_path(old), is_test_path(change.path)
    had = before is not None and (was_named or looks_like_tests(old, before))
    # A runner that took the old name may not take the new one: tests in a renamed file count only if it still would.
    # Of a new file pytest looks at the name alone.
    fresh = before is None and language_of(change.path) == "python"
    looks = after is not None and not fresh and looks_like_tests(change.path, after)
    has = after is not None and (is_named or (not was_named and (had or looks)))
    if change.mode == _SYMLINK and has:
        after = b""  # the link's target is no test source
    helps = not had and not has and _helps(old) and _helps(change.path) and before is not None and after is not None
    return Side(
        path=change.path,
        old=old,
        before=before,
        after=after,
        suite_before=read_suite(old, before) if (had or helps) and before is not None else None,
        suite_after=read_suite(change.path, after) if (has or helps) and after is not None else None,
        language=language_of(old) or language_of(change.path),
        helps=helps,
    )


def looks_like_tests(path: str, source: bytes) -> bool:
    """Whether a file that is not named like one holds tests."""
    pattern = {"python": _PYTHON_TEST, "javascript": _JS_TEST, "rust": _RUST_TEST}.get(language_of(path))
    return pattern is not None and len(source) <= MAX_SOURCE and pattern.search(source) is not None


def _helps(path: str) -> bool:
    """Whether tests keep their helpers in such a file."""
    if language_of(path) in ("", "other"):
        return False
    folders = {part.lower() for part in path.split("/")[:-1]}
    return not FOLDERS.isdisjoint(folders) or posixpath.basename(path) == "conftest.py"
