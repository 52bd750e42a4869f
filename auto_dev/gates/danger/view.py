"""A changed file as the critical gate reads it: code without comments, and which of its lines are new. Pure."""

from __future__ import annotations

import ast
import io
import posixpath
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from auto_dev.gates.credentials.names import is_generated
from auto_dev.gates.danger.scan import Scan, scan
from auto_dev.gates.syntax.suite import is_test_name

MOST: Final = 1_000_000  # characters of a file that are read
_PROSE: Final = (".md", ".mdx", ".rst", ".adoc", ".txt", ".html", ".htm", ".css", ".scss", ".svg", ".csv", ".po")
_ASIDE: Final = re.compile(
    r"(?:^|/)(?:tests?|specs?|__tests__|testdata|test[_-]?data|fixtures?|mocks?|__mocks__|e2e|cypress|testing|stubs?|"
    r"examples?|samples?|docs?|documentation|vendor|node_modules|third[_-]party|dist|build|bench(?:marks?)?)/"
    r"|(?:^|/)(?:conftest\.py|changelog[^/]*|license[^/]*|readme[^/]*)$|(?:^|/)test_[^/]*\.py$",
    re.IGNORECASE,
)
_SCRIPTS: Final = (".sh", ".bash", ".zsh", ".ksh", ".bats", ".mk")
_SCRIPT_NAMES: Final = re.compile(r"^(?:gnu)?makefile(?:\..*)?$|^justfile$|^procfile$|^jenkinsfile", re.IGNORECASE)
_HASHED: Final = (
    ".yml",
    ".yaml",
    ".toml",
    ".rb",
    ".tf",
    ".tfvars",
    ".hcl",
    ".ini",
    ".cfg",
    ".conf",
    ".ex",
    ".exs",
    ".env",
)
_BRACES: Final = {
    ".js": "javascript", ".jsx": "javascript", ".mjs": "javascript", ".cjs": "javascript", ".ts": "javascript",
    ".tsx": "javascript", ".mts": "javascript", ".cts": "javascript", ".java": "javascript", ".kt": "javascript",
    ".cs": "javascript", ".php": "javascript", ".swift": "javascript", ".scala": "javascript", ".groovy": "javascript",
    ".vue": "javascript", ".svelte": "javascript", ".proto": "go", ".go": "go", ".rs": "rust",
}  # fmt: skip
_COMMENT: Final = re.compile(r"(?:^|(?<=\s))#[^\n]*", re.MULTILINE)
_DASHES: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class View:
    """A changed file. ``before`` and ``after`` are None where it is not there; ``fresh``: its new lines, from 1.

    A line that was there before, in whatever changed file and whatever indented, is no new one.
    """

    path: str
    before: str | None
    after: str | None
    fresh: frozenset[int]
    old_path: str = ""

    @property
    def name(self) -> str:
        return posixpath.basename(self.path).lower()

    @property
    def ending(self) -> str:
        return posixpath.splitext(self.path)[1].lower()

    @cached_property
    def code(self) -> str:
        """``after`` with comments and docstrings blanked; every character stands where it stood."""
        return code_of(self.path, self.after or "")

    @cached_property
    def rows(self) -> list[str]:
        return self.code.split("\n")

    @cached_property
    def scan(self) -> Scan | None:
        language = _BRACES.get(self.ending)
        return scan(self.after or "", language) if language else None

    @cached_property
    def tree(self) -> ast.Module | None:
        """The syntax tree of a Python file, None of another or a broken one."""
        return parse(self.after) if self.ending == ".py" and self.after is not None else None

    @property
    def is_script(self) -> bool:
        """Whether each of its lines is a command of a shell, by its name or its first line."""
        return is_script(self.path) or re.match(r"#!\s*\S*(?:/|\s)(?:ba|z|k|da)?sh\b", self.after or "") is not None

    def new_rows(self) -> Iterator[tuple[int, str]]:
        """The new lines that hold code."""
        for number in sorted(self.fresh):
            if number <= len(self.rows) and self.rows[number - 1].strip():
                yield number, self.rows[number - 1]

    def is_new(self, first: int, last: int) -> bool:
        """Whether one of the lines ``first``..``last`` is new."""
        return any(number in self.fresh for number in range(first, last + 1))

    def shown(self, number: int, more: int = 0) -> str:
        """The lines from ``number`` on as they stand in the file."""
        return "\n".join((self.after or "").split("\n")[number - 1 : number + more])[:400]


def parse(source: str) -> ast.Module | None:
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def is_aside(path: str) -> bool:
    """Whether nothing runs from there in production: tests, documents, examples, generated and foreign files."""
    ending = posixpath.splitext(path)[1].lower()
    return ending in _PROSE or is_generated(path) or is_test_name(path) or _ASIDE.search(path) is not None


def is_script(path: str) -> bool:
    """Whether each of its lines is a command of a shell."""
    name = posixpath.basename(path).lower()
    return name.endswith(_SCRIPTS) or _SCRIPT_NAMES.match(name) is not None


def views(files: Sequence[tuple[str, str, str | None, str | None]]) -> list[View]:
    """``files`` (path, old path, before, after) as views; what only moved between them is not new. Pure."""
    known: Counter[str] = Counter()
    for _, _, before, _ in files:
        known.update(_lines(before))
    for _, _, _, after in files:
        known.subtract(_lines(after))  # what is left below zero came with this change
    left = {text: -count for text, count in known.items() if count < 0}
    made = []
    for path, old, before, after in files:
        here = Counter(_lines(before))
        fresh = set()
        for number, text in enumerate(_all_lines(after), 1):
            if not text:
                continue
            if here[text] > 0:
                here[text] -= 1
            elif left.get(text, 0) > 0:
                left[text] -= 1
                fresh.add(number)
        made.append(View(path, before, after, frozenset(fresh), old))
    return made


def code_of(path: str, source: str) -> str:
    """``source`` with comments, and Python's docstrings, blanked."""
    source = source[:MOST]
    ending = posixpath.splitext(path)[1].lower()
    if ending == ".py":
        return _python(source)
    if ending in _BRACES:
        return scan(source, _BRACES[ending]).code
    if ending == ".sql":
        return _DASHES.sub(_blank, source)
    name = posixpath.basename(path).lower()
    if ending in _HASHED or is_script(path) or name.startswith(("dockerfile", ".env")):
        return _COMMENT.sub(_blank, source)
    return source


def _python(source: str) -> str:
    rows = source.split("\n")
    tree = parse(source)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                rows[number - 1] = ""  # a docstring: no other statement shares its lines in practice
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                number, column = token.start
                rows[number - 1] = rows[number - 1][:column]
    except (tokenize.TokenError, SyntaxError, IndentationError):
        return _COMMENT.sub(_blank, "\n".join(rows))
    return "\n".join(rows)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _lines(text: str | None) -> Iterable[str]:
    return (line for line in _all_lines(text) if line)


def _all_lines(text: str | None) -> Iterable[str]:
    return (line.strip() for line in (text or "")[:MOST].split("\n"))
