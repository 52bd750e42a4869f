"""A test file as the tampering gate sees it: its tests with what they assert and what keeps them from running."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from auto_dev.gates.syntax.strength import Check

MAX_SOURCE: Final = 256 * 1024  # bytes; real test files are far smaller, and a hostile one must not hold up the daemon
MANY: Final = 10  # how often a loop or table whose length cannot be told may run its assertions, seen kindly


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One test.

    ``low`` and ``high``: how many assertions it makes at least and at most, as far as the text tells; ``skips``: what
    may keep it from running, with everything inherited; ``words`` and ``bones``: what its body names, with and without
    literals, for telling a renamed or merged test from a removed one; ``checks``: its assertions; ``rows``: those of
    its table, each in one spelling; ``times``: how often it runs, at least and at most; ``within``: the test that it
    is a subtest of; ``mocks``: what it replaces; ``waits``: (what waits, how long, line); ``marks``: its labels;
    ``swallows``: the functions whose failure ends silently.
    """

    name: str
    leaf: str
    line: int
    excerpt: str
    low: int
    high: int
    skips: tuple[str, ...] = ()
    empty: bool = False
    words: Mapping[str, int] = field(default_factory=dict)
    bones: Mapping[str, int] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    rows: tuple[str, ...] = ()
    times: tuple[int, int] = (1, 1)
    within: str = ""
    mocks: frozenset[str] = frozenset()
    waits: tuple[tuple[str, float, int], ...] = ()
    marks: frozenset[str] = frozenset()
    swallows: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Suite:
    """The tests of one file by qualified name.

    ``problem``: why it could not be read, or not wholly; ``focus``: ``.only`` and such; ``helpers``: functions of the
    file that are no tests but assert; ``functions``: the names of all of them; ``imports``: name → module.
    """

    cases: Mapping[str, Case] = field(default_factory=dict)
    problem: str = ""
    focus: tuple[tuple[int, str], ...] = ()
    helpers: Mapping[str, Case] = field(default_factory=dict)
    imports: Mapping[str, str] = field(default_factory=dict)
    functions: frozenset[str] = frozenset()


LANGUAGES: Final[dict[str, str]] = {
    ".py": "python", ".pyi": "", ".js": "javascript", ".jsx": "javascript", ".mjs": "javascript",
    ".cjs": "javascript", ".ts": "javascript", ".tsx": "javascript", ".mts": "javascript", ".cts": "javascript",
    ".go": "go", ".rs": "rust", ".java": "other", ".kt": "other", ".kts": "other", ".scala": "other",
    ".groovy": "other", ".cs": "other", ".rb": "other", ".php": "other", ".swift": "other", ".ex": "other",
    ".exs": "other", ".dart": "other", ".c": "other", ".cc": "other", ".cpp": "other", ".lua": "other",
    ".pl": "other", ".t": "other", ".sh": "other", ".bats": "other", ".vue": "", ".svelte": "",
}  # fmt: skip

FOLDERS: Final = frozenset(("tests", "test", "__tests__", "spec", "specs", "e2e", "cypress", "testing"))
_NAMES: Final = {
    "python": re.compile(r"^(?:test_.*|.*_test|tests?)\.py$"),
    "javascript": re.compile(r"^.*[._-](?:test|spec|cy|e2e)\.[cm]?[jt]sx?$|^test\.[cm]?[jt]sx?$"),
    "go": re.compile(r"^.*_test\.go$"),
    "rust": re.compile(r"^(?:tests?|.*_test|test_.*)\.rs$"),
    "other": re.compile(
        r"^.*(?:Test|Tests|Spec|IT)\.\w+$|^.*[._-](?:test|tests|spec)\.\w+$|^test[_-].*\.\w+$|^.*\.(?:t|bats)$"
    ),
}


def language_of(path: str) -> str:
    """``python``, ``javascript`` (TypeScript too), ``go``, ``rust``, ``other`` (tests are told by name only) or ""."""
    return LANGUAGES.get(posixpath.splitext(path)[1].lower(), "")


def is_test_name(path: str) -> bool:
    """Whether the file's own name says that it holds tests."""
    if language_of(path) == "go" and any(part.startswith(("_", ".")) or part == "testdata" for part in path.split("/")):
        return False  # go leaves such files and folders out
    pattern = _NAMES.get(language_of(path))
    return pattern is not None and pattern.match(posixpath.basename(path)) is not None


def is_test_path(path: str) -> bool:
    """Whether test runners would look for tests in ``path``, by its name or its folder."""
    language = language_of(path)
    if not language:
        return False
    if is_test_name(path):
        return True
    if language in ("python", "go"):
        return False  # pytest and go take tests by file name
    return not FOLDERS.isdisjoint(part.lower() for part in path.split("/")[:-1])


def overlap(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """How alike two bags of words are: 0 … 1 (Dice). Two empty bags are not alike."""
    total = sum(one.values()) + sum(other.values())
    return 2 * _shared(one, other) / total if total else 0.0


def within(part: Mapping[str, int], whole: Mapping[str, int]) -> float:
    """How much of ``part`` is found in ``whole``: 0 … 1, by kinds of words: a loop names once what copies repeat."""
    return sum(1 for word in part if word in whole) / len(part) if part else 0.0


def _shared(one: Mapping[str, int], other: Mapping[str, int]) -> int:
    if len(other) < len(one):
        one, other = other, one
    return sum(min(count, other.get(word, 0)) for word, count in one.items())
