"""Go and Rust tests."""

from __future__ import annotations

import re
from typing import Final

from auto_dev.gates.syntax.scan import Scan, scan
from auto_dev.gates.syntax.suite import MANY, Case, Suite, bones_of, words_of

_GO_TEST: Final = re.compile(
    r"^[ \t]*func\s+(?:\(\s*\w*\s*\*?\s*(?P<receiver>\w+)[^)]*\)\s*)?(?P<name>(?:Test|Fuzz|Example)(?![a-z])\w*)\s*\(",
    re.MULTILINE,
)
_GO_FUNC: Final = re.compile(r"^[ \t]*func\s+(?P<name>\w+)\s*\(", re.MULTILINE)
_GO_TAKES_T: Final = re.compile(r"\btesting\.(?:T|B|TB|F)\b")
_GO_ASSERT: Final = re.compile(
    r"\b\w+\.(?:Error|Errorf|Fatal|Fatalf|Fail|FailNow)\s*\(|\b(?:assert|require|is|qt|should|must)\.[A-Z]\w*\s*\(|\bExpect\s*\("
)
_GO_TRIVIAL: Final = re.compile(r"\b(?:assert|require)\.True\s*\(\s*\w+\s*,\s*true\s*[,)]")
_GO_WHOLE: Final = re.compile(r"\b(?:cmp\.Diff|cmp\.Equal|reflect\.DeepEqual|slices\.Equal|maps\.Equal)\s*\(")
_GO_SKIP: Final = re.compile(r"\b\w+\.(Skip|Skipf|SkipNow)\s*\(")
_GO_TABLE: Final = re.compile(r"(?:\[\s*\]|\bmap\s*\[\s*\w+\s*\])\s*(?:struct\s*(?=\{)|\*?\w+\s*(?=\{))")
_GO_BUILD: Final = re.compile(r"^//(?:go:build|\s*\+build)\s+(.+)$", re.MULTILINE)
_GO_CALL: Final = re.compile(r"(?<![\w.])(\w+)\s*\(")
_GO_T: Final = re.compile(r"(?:^|,)\s*(?:t|tb|b)\s*(?:,|$)")
_GO_CHECK: Final = re.compile(r"(?i)(?:assert|check|require|verify|expect|must|ensure)")
_GO_LOOP: Final = re.compile(r"\bfor\b")

_RUST_FN: Final = re.compile(r"\bfn\s+(?P<name>\w+)\s*(?:<[^>\n]{0,200}>)?\s*\(")
_ATTRIBUTE_LINES: Final = 40
_RUST_IS_TEST: Final = re.compile(r"#\[\s*(?:\w+\s*::\s*)*(?:test|rstest|test_case|quickcheck|wasm_bindgen_test)\b")
_RUST_ASSERT: Final = re.compile(
    r"\b(?:debug_)?(?:assert|prop_assert)\w*\s*!\s*[(\[{]|\b(?:panic|unreachable)\s*!\s*\("
)
_RUST_TRIVIAL: Final = re.compile(r"\bassert\s*!\s*\(\s*true\b")
_RUST_HELPER: Final = re.compile(r"(?<![\w.])(?:assert|check|verify|expect)_\w+\s*\(")
_RUST_SKIP: Final = re.compile(r"#\[\s*(?:cfg_attr\s*\([^\n]*\b)?(ignore)\b|#\[\s*(cfg)\s*\(")
_RUST_ROW: Final = re.compile(r"#\[\s*(?:case|test_case|values)\b")
_RUST_MOD: Final = re.compile(r"\bmod\s+(\w+)\s*\{")
_RUST_LOOP: Final = re.compile(r"\b(?:for|while|loop)\b|\.\s*for_each\s*\(|\bproptest\s*!")


def read_go(source: str) -> Suite:
    """The tests of a Go file. Never raises."""
    scanned = scan(source, "go")
    bare = scanned.bare
    helpers = _go_helpers(scanned)
    tags = tuple(f"build: {' '.join(match[1].split())}" for match in _GO_BUILD.finditer(source[:4_000]))
    cases: dict[str, Case] = {}
    for match in _GO_TEST.finditer(bare):
        opens = match.end() - 1
        body = _body(scanned, opens)
        if body is None:
            continue
        text, code = bare[slice(*body)], scanned.code[slice(*body)]
        exact = len(_GO_ASSERT.findall(text)) - len(_GO_TRIVIAL.findall(text)) + 2 * len(_GO_WHOLE.findall(text))
        called, foreign = _go_calls(scanned, *body, helpers)
        low = max(exact, 0) + sum(least for least, _ in called)
        high = max(exact, 0) + sum(most for _, most in called) + 3 * len(foreign)
        low += sum(1 for name in foreign if _GO_CHECK.match(name))
        rows = _rows(scanned, *body)
        least, most = (rows, rows) if rows is not None else (1, MANY if _GO_LOOP.search(text) else 1)
        skips = [*tags, *(f"t.{name}" for name in _GO_SKIP.findall(text))]
        name = f"{match['receiver']}.{match['name']}" if match["receiver"] else match["name"]
        if match["name"].startswith("Example"):
            low, high = max(low, 1), max(high, 1)  # its output is compared with a comment
        number = scanned.line(match.start())
        cases[name] = Case(
            name, match["name"], number, scanned.text_of(number)[:300], low * least, high * most, tuple(skips),
            not text.strip("{} \n\t\r;"), words_of(code), bones_of(text),
        )  # fmt: skip
    return Suite(cases)


def _go_helpers(scanned: Scan) -> dict[str, tuple[int, int]]:
    """The functions of the file that take a ``testing.T``, with how much they assert at least and at most."""
    helpers: dict[str, tuple[int, int]] = {}
    for match in _GO_FUNC.finditer(scanned.bare):
        opens = match.end() - 1
        closes = scanned.pairs.get(opens, opens)
        if _GO_TAKES_T.search(scanned.bare, opens, closes) and (body := _body(scanned, opens)) is not None:
            text = scanned.bare[slice(*body)]
            count = len(_GO_ASSERT.findall(text))
            helpers[match["name"]] = count, count * (MANY if _GO_LOOP.search(text) else 1)
    return helpers


def _go_calls(
    scanned: Scan, begin: int, end: int, helpers: dict[str, tuple[int, int]]
) -> tuple[list[tuple[int, int]], list[str]]:
    """What the helpers called between two positions assert, and which functions from elsewhere get the ``t``."""
    known: list[tuple[int, int]] = []
    foreign: list[str] = []
    for match in _GO_CALL.finditer(scanned.bare, begin, end):
        opens = match.end() - 1
        if match[1] in helpers:
            known.append(helpers[match[1]])
        elif _GO_T.search(scanned.bare[opens + 1 : min(scanned.pairs.get(opens, opens), opens + 2_000)]):
            foreign.append(match[1])
    return known, foreign


def read_rust(source: str) -> Suite:
    """The tests of a Rust file: ``#[test]`` and its relatives. Never raises."""
    scanned = scan(source, "rust")
    bare = scanned.bare
    modules = [(m.start(), scanned.pairs.get(m.end() - 1, m.end()), m[1]) for m in _RUST_MOD.finditer(bare)]
    cases: dict[str, Case] = {}
    for match in _RUST_FN.finditer(bare):
        attributes = _attributes(scanned, match.start())
        if not _RUST_IS_TEST.search(attributes) or (body := _body(scanned, match.end() - 1)) is None:
            continue
        text, code = bare[slice(*body)], scanned.code[slice(*body)]
        exact = len(_RUST_ASSERT.findall(text)) - len(_RUST_TRIVIAL.findall(text)) + attributes.count("should_panic")
        helpers = len(_RUST_HELPER.findall(text))
        rows = max(len(_RUST_ROW.findall(attributes)), 1)
        low = (max(exact, 0) + helpers) * rows
        high = (max(exact, 0) + 3 * helpers) * rows * (MANY if _RUST_LOOP.search(text) else 1)
        skips = tuple(one or other for one, other in _RUST_SKIP.findall(attributes))
        name = "::".join([*(m for begin, end, m in modules if begin < match.start() < end), match["name"]])
        number = scanned.line(match.start("name"))
        cases[name] = Case(
            name, match["name"], number, scanned.text_of(number)[:300], low, high, skips,
            not text.strip("{} \n\t\r;"), words_of(code), bones_of(text),
        )  # fmt: skip
    return Suite(cases)


def _attributes(scanned: Scan, at: int) -> str:
    """The attributes before the ``fn`` at position ``at``: on its line and on the lines of their own above it."""
    number = scanned.line(at)
    found = [scanned.bare[scanned.starts[number - 1] : at]]
    for above in range(number - 1, max(number - _ATTRIBUTE_LINES, 0), -1):
        text = scanned.bare[scanned.starts[above - 1] : scanned.starts[above]].strip()
        if text and not text.startswith("#["):
            break
        found.append(text)
    return "\n".join(reversed(found))


def _body(scanned: Scan, opens: int) -> tuple[int, int] | None:
    """From the opening brace of the function whose parameters open at ``opens`` to its closing one."""
    closes = scanned.pairs.get(opens)
    if closes is None:
        return None
    begin = scanned.bare.find("{", closes)
    end = scanned.pairs.get(begin)
    return None if begin < 0 or end is None else (begin, end + 1)


def _rows(scanned: Scan, begin: int, end: int) -> int | None:
    """How many rows the largest table in a Go test has: of ``[]struct{…}{ {…}, {…} }`` the inner braces."""
    rows: int | None = None
    for match in _GO_TABLE.finditer(scanned.bare, begin, end):
        at = match.end()
        if "struct" in match.group():
            at = scanned.pairs.get(at, end) + 1
            while at < end and scanned.bare[at].isspace():
                at += 1
        closes = scanned.pairs.get(at)
        if closes is None or closes > end or scanned.bare[at] != "{":
            continue
        if count := _top_level(scanned, at, closes):  # not a list of plain values
            rows = max(rows or 1, count)
    return rows


def _top_level(scanned: Scan, opens: int, closes: int) -> int:
    count, at = 0, opens + 1
    while at < closes:
        if scanned.bare[at] in "([{" and at in scanned.pairs:
            count += scanned.bare[at] == "{"
            at = scanned.pairs[at]
        at += 1
    return count
