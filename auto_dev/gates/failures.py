"""What failed, by name, out of the output of test runners, linters, type checkers and compilers.

The names serve to compare two runs, so they hold nothing that differs between runs: no line numbers, durations, folders
of the checkout. A failed test stands once; a lint error as often as it is reported, so that an added duplicate shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from auto_dev.text import clean, line

_LIMIT: Final = 4 * 1024 * 1024  # characters looked at, from the end: summaries stand there
_LINE: Final = 2_000  # characters of one line looked at
_NAMES: Final = 5_000
_NAME: Final = 300

_DURATION: Final = re.compile(r"\s*(?:[(\[<]\s*)?\d+(?:\.\d+)?\s?(?:µs|us|ms|s|m)(?:[)\]]| ?/ ?\d+ ?ms\))?\s*$")
_COMPLAINT: Final = re.compile(r"^(?:(?!::)\S)+\.\w+: ")
_AT_LINE: Final = re.compile(r"\b(lines?) \d+(?:[-–]\d+)?")

Lines = Sequence[str]


def parse_failures(output: str, root: str = "") -> tuple[str, ...]:
    """The names of what failed in ``output``. Never raises; unknown formats give ().

    ``root`` is the folder that the command ran in: tools that print absolute paths (ESLint) become comparable.
    """
    text = output[-_LIMIT:]
    if root and root != "/":
        text = text.replace(root.rstrip("/") + "/", "")
    lines = _lines(text)
    tests: dict[str, None] = {}
    for parser in TESTS.values():
        for name in parser(lines):
            if len(tests) >= _NAMES:
                break
            tests.setdefault(line(name, _NAME))
    lint: list[str] = []
    for parser in LINTS.values():
        for name in parser(lines):
            if len(lint) >= _NAMES:
                break
            lint.append(line(_AT_LINE.sub(r"\1 N", name), _NAME))
    return tuple(name for name in (*tests, *lint) if name)


def is_complaint(name: str) -> bool:
    """Whether ``name`` is what a linter, type checker or compiler says of a file, and not the name of a test."""
    return _COMPLAINT.match(name) is not None


def parse_counts(output: str) -> tuple[int, int] | None:
    """How many tests passed and failed, summed over all summaries in ``output``; None when there is none."""
    text = "\n".join(_lines(output[-_LIMIT:]))
    passed = failed = 0
    found = False
    for pattern in _COUNTS:
        for match in pattern.finditer(text):
            found = True
            groups = match.groupdict()
            bad = sum(int(groups[key] or 0) for key in ("failed", "errors") if key in groups)
            passed += max(int(groups["ran"]) - bad, 0) if groups.get("ran") else int(groups.get("passed") or 0)
            failed += bad
    return (passed, failed) if found else None


def _lines(text: str) -> list[str]:
    return [part[:_LINE] for part in clean(text).split("\n")]


_N: Final = r"\d{1,9}"
_COUNTS: Final = (
    # pytest: "=== 1 failed, 2 passed, 1 error in 0.12s ==="
    re.compile(
        rf"^=* ?(?=(?:{_N} \w+(?:, )?)+ in \d)(?:(?P<failed>{_N}) failed(?:, )?)?(?:(?P<passed>{_N}) passed(?:, )?)?"
        rf"(?:{_N} (?:skipped|deselected|xfailed|xpassed|warnings?)(?:, )?)*(?:(?P<errors>{_N}) errors?)?[^\n]* in \d",
        re.MULTILINE,
    ),
    # unittest: "Ran 3 tests in 0.001s … FAILED (failures=1, errors=1)"
    re.compile(
        rf"^Ran (?P<ran>{_N}) tests? in [^\n]*\n+FAILED "
        rf"\((?:failures=(?P<failed>{_N}))?(?:, )?(?:errors=(?P<errors>{_N}))?",
        re.MULTILINE,
    ),
    # jest, vitest: "Tests:       1 failed, 2 passed, 3 total", "      Tests  1 failed | 2 passed (3)"
    re.compile(
        rf"^ *Tests:? +(?=\d)(?:(?P<failed>{_N}) failed)?(?:,| \|)? ?(?:{_N} (?:skipped|todo)(?:,| \|)? ?)*"
        rf"(?:(?P<passed>{_N}) passed)?",
        re.MULTILINE,
    ),
    # cargo: "test result: FAILED. 3 passed; 1 failed;"
    re.compile(rf"^test result: \w+\. (?P<passed>{_N}) passed; (?P<failed>{_N}) failed", re.MULTILINE),
    # TAP of node:test: "# pass 3\n# fail 1"
    re.compile(rf"^[#ℹ] pass (?P<passed>{_N})\n[#ℹ] fail (?P<failed>{_N})", re.MULTILINE),
    # mocha: "3 passing (10ms)\n  1 failing"
    re.compile(rf"^ *(?P<passed>{_N}) passing \([^\n]*\n(?: *{_N} pending\n)? *(?P<failed>{_N}) failing", re.MULTILINE),
)

_PYTEST: Final = re.compile(r"^(?:\[gw\d+\] )?(?:FAILED|ERROR|SUBFAIL(?:ED)?(?:[(\[].*?[)\]])?) (\S.*)$")
# In two steps, from the end: one pattern for the whole line would try each "::" with each place that may end it.
_PYTEST_VERDICT: Final = re.compile(r" (?:FAILED|ERROR)(?: +\[ {0,3}\d{1,3}%\])?$")
_PYTEST_VERBOSE: Final = re.compile(r"^(?:\[gw\d+\] )?(\S+?::.*)$")
_PYTEST_NODE: Final = re.compile(r"^(?:\S+\.(?:py|rst|txt|md|ya?ml|ipynb)(?:::|$| - )|\S+::)")


def _pytest(lines: Lines) -> Iterator[str]:
    for text in lines:
        match = _PYTEST.match(text)
        if match is None and (verdict := _PYTEST_VERDICT.search(text := text.rstrip())) is not None:
            match = _PYTEST_VERBOSE.match(text[: verdict.start()])
        if match and _PYTEST_NODE.match(match[1]):
            yield _node_id(match[1])


def _node_id(text: str) -> str:
    """``tests/a.py::test_x[a - b] - message`` without its message: " - " inside the brackets belongs to the name."""
    depth = 0
    for index, character in enumerate(text):
        if character == "[":
            depth += 1
        elif character == "]":
            depth = max(depth - 1, 0)
        elif depth == 0 and text.startswith(" - ", index):
            return text[:index]
    return text.split(" - ", 1)[0] if depth else text.rstrip()


_UNITTEST: Final = re.compile(r"^(?:FAIL|ERROR): ([\w.]+ \([\w.<>]+\)(?: .{0,200})?)$")


def _unittest(lines: Lines) -> Iterator[str]:
    for text in lines:
        if match := _UNITTEST.match(text):
            yield match[1].strip()


_GO_TEST: Final = re.compile(r"^\s*--- FAIL: (\S+)")
_GO_PACKAGE: Final = re.compile(r"^FAIL\t(\S+)(?:\s+(\[.*\]))?")


def _go(lines: Lines) -> Iterator[str]:
    """Test names stand before the line of their package."""
    waiting: list[str] = []
    for text in lines:
        if match := _GO_TEST.match(text):
            waiting.append(match[1])
        elif match := _GO_PACKAGE.match(text):
            yield from (f"{match[1]}.{name}" for name in waiting)
            if not waiting:
                yield f"{match[1]} {match[2] or ''}".strip()
            waiting = []
    yield from waiting


_CARGO: Final = re.compile(r"^test (\S.*?)(?: - should panic)? \.\.\. FAILED\s*$")
_NEXTEST: Final = re.compile(r"^\s+(?:FAIL|TIMEOUT|SIGABRT|SIGSEGV) \[\s*[\d.]+s\] +(?:\(.*?\) +)?(\S.*)$")


def _cargo(lines: Lines) -> Iterator[str]:
    for text in lines:
        if match := _CARGO.match(text) or _NEXTEST.match(text):
            yield _AT_LINE.sub(r"\1 N", match[1])


_JS_FILE: Final = re.compile(r"^ *(?:FAIL|❯) +(?:\|[^|]*\| +)?(\S+\.[cm]?[jt]sx?)(.*)$")
_JS_FULL: Final = re.compile(r"^ *FAIL +(?:\|[^|]*\| +)?(\S+\.[cm]?[jt]sx? > .+)$")
_JS_BULLET: Final = re.compile(r"^ {0,4}● (.+)$")
_JS_MARK: Final = re.compile(r"^\s*(?:✕|✖|×|✗|✘|\(fail\)) +(.+)$")
_JS_NOISE: Final = re.compile(r"^(?:Console|failing tests:|\d+ (?:problems?|failed|failing)|Validation |Deprecat)")


def _javascript(lines: Lines) -> Iterator[str]:
    """jest, vitest, node:test, bun: the fullest names that a file's failures have, else the file itself."""
    file = ""
    files: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for text in lines:
        if match := _JS_FULL.match(text):
            full = match[1].split(" > ", 1)
            files.setdefault(full[0], ({}, {}))[0].setdefault(_untimed(full[1]))
        elif match := _JS_FILE.match(text):
            file = match[1]
            if text.lstrip().startswith("FAIL"):
                files.setdefault(file, ({}, {}))
        elif match := _JS_BULLET.match(text):
            if file and not _JS_NOISE.match(match[1]):
                files.setdefault(file, ({}, {}))[0].setdefault(_untimed(match[1]))
        elif (match := _JS_MARK.match(text)) and not _JS_NOISE.match(match[1]):
            files.setdefault(file, ({}, {}))[1].setdefault(_untimed(match[1]))
    for path, (full_names, marks) in files.items():
        names = full_names or marks
        yield from (f"{path} > {name}" if path else name for name in names)
        if path and not names:
            yield path


def _untimed(name: str) -> str:
    return _DURATION.sub("", name).strip() or name


_TAP: Final = re.compile(r"^\s*not ok\b *(?:\d+)? *(?:- )?(.*)$")
_TAP_DIRECTIVE: Final = re.compile(r"# *(?:todo|skip)", re.IGNORECASE)


def _tap(lines: Lines) -> Iterator[str]:
    for text in lines:
        if (match := _TAP.match(text)) and not _TAP_DIRECTIVE.search(match[1]):
            yield match[1].strip() or "not ok"


_MOCHA_HEAD: Final = re.compile(r"^ *\d+ failing\s*$")
_MOCHA_ITEM: Final = re.compile(r"^ *\d+\) (.+)$")


def _mocha(lines: Lines) -> Iterator[str]:
    """After "N failing": ``1) suite`` and deeper lines, up to the one that ends in a colon."""
    start = next((at for at, text in enumerate(lines) if _MOCHA_HEAD.match(text)), None)
    if start is None:
        return
    for at in range(start, len(lines)):
        match = _MOCHA_ITEM.match(lines[at])
        if not match:
            continue
        parts = [match[1].strip()]
        for following in lines[at + 1 : at + 8]:
            if parts[-1].endswith(":") or not following.strip():
                break
            parts.append(following.strip())
        if parts[-1].endswith(":"):
            yield " ".join(parts)[:-1]


_GRADLE: Final = re.compile(r"^(\S+ > \S.*) FAILED\s*$")
_SUREFIRE: Final = re.compile(r"^\[ERROR\]\s+(\w+(?:\.\w+)+)(?::\d+)(?:->\S+)?(?: .*)?$")
_SUREFIRE_OLD: Final = re.compile(
    r"^(?:\[ERROR\] +)?(\w+\([\w.$]+\)|[\w.$]+\.\w+) +(?:--)? *Time elapsed: .*<<< (?:FAILURE|ERROR)!"
)
_DOTNET: Final = re.compile(r"^\s+Failed (\S.*?) \[[^\]]*m?s\]\s*$")
_RSPEC: Final = re.compile(r"^rspec (\S+?)(?::\d+|\[[\d:]+\])+ # (.+)$")
_PHPUNIT: Final = re.compile(r"^\d+\) ([\w\\]+::\w+.*)$")
_XML_CASE: Final = re.compile(r"<testcase\b([^>]*[^/>])>\s*<(?:failure|error)\b")
_XML_NAME: Final = re.compile(r"\b(classname|name)=\"([^\"]*)\"")


def _junit(lines: Lines) -> Iterator[str]:
    """JVM, .NET, Ruby, PHP runners and JUnit XML on the terminal."""
    for at, text in enumerate(lines):
        for pattern in (_GRADLE, _SUREFIRE, _SUREFIRE_OLD, _DOTNET, _PHPUNIT):
            if match := pattern.match(text):
                yield match[1]
                break
        if match := _RSPEC.match(text):
            yield f"{match[1]} # {match[2]}"
        if "<testcase" in text:
            for case in _XML_CASE.finditer(text + "\n" + (lines[at + 1] if at + 1 < len(lines) else "")):
                names = dict(_XML_NAME.findall(case[1]))
                yield ".".join(part for part in (names.get("classname"), names.get("name")) if part)


# file:line:column: message (ruff, flake8, gcc, go vet, tsc, pyright …); mypy names a severity and no column.
_PLACE: Final = r"^\s*(?P<file>[^\s:()][^:()]{0,400})"
_SEVERITY: Final = r"(?:fatal error|error|warning)"
_LINT: Final = (
    re.compile(_PLACE + r":\d+:\d+: (?!note\b|info\b|help\b)(?P<what>\S.*)$"),
    re.compile(_PLACE + rf":\d+: (?P<what>{_SEVERITY}\b.*)$"),
    re.compile(_PLACE + rf":\d+:\d+ - (?P<what>{_SEVERITY}\b.*)$"),
    re.compile(_PLACE + rf"\(\d+,\d+\): (?P<what>{_SEVERITY}\b.*)$"),
)


def _placed(lines: Lines) -> Iterator[str]:
    for text in lines:
        if ":" not in text and "(" not in text:
            continue
        for pattern in _LINT:
            if match := pattern.match(text):
                yield f"{match['file'].removeprefix('./')}: {match['what']}"
                break


_STYLISH: Final = re.compile(r"^\s+\d+:\d+ +(error|warning|✖|×|⚠) +(\S.*)$")


def _stylish(lines: Lines) -> Iterator[str]:
    """ESLint and stylelint: the file on a line of its own, its errors below."""
    file = ""
    for text in lines:
        if match := _STYLISH.match(text):
            yield f"{file}: {match[1]} {' '.join(match[2].split())}"
        elif text.strip() and not text[0].isspace():
            file = text.strip()


_ARROW: Final = re.compile(r"^\s*--> ([^:]+):\d+:\d+")


def _arrows(lines: Lines) -> Iterator[str]:
    """rustc and ruff's long form: the message, then ``--> file:line:column``."""
    for at, text in enumerate(lines):
        if match := _ARROW.match(text):
            message = next((before.strip() for before in reversed(lines[max(at - 3, 0) : at]) if before.strip()), "")
            if message and not message.startswith(("note", "help", "-->", "|")):
                yield f"{match[1]}: {message}"


_FORMAT: Final = re.compile(r"^(?:[Ww]ould reformat:? |\[(?:warn|error)\] (?!Code style|Error occurred))(\S.*)$")
_ISORT: Final = re.compile(r"^ERROR: (\S+ Imports are incorrectly sorted.*)$")


def _formatters(lines: Lines) -> Iterator[str]:
    """black, ruff format, prettier, isort."""
    for text in lines:
        if match := _FORMAT.match(text):
            yield f"{match[1].strip()}: not formatted"
        elif match := _ISORT.match(text):
            yield match[1]


Parser = Callable[[Lines], Iterator[str]]

TESTS: Final[dict[str, Parser]] = {
    "pytest": _pytest,
    "unittest": _unittest,
    "go": _go,
    "cargo": _cargo,
    "javascript": _javascript,
    "tap": _tap,
    "mocha": _mocha,
    "junit": _junit,
}
LINTS: Final[dict[str, Parser]] = {
    "placed": _placed,
    "stylish": _stylish,
    "arrows": _arrows,
    "formatters": _formatters,
}
