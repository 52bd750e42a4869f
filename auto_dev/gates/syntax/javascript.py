"""JavaScript and TypeScript tests: jest, vitest, mocha, jasmine, playwright, node:test, bun, ava, cypress."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from typing import Final

from auto_dev.gates.syntax.scan import Scan, scan
from auto_dev.gates.syntax.suite import MANY, Case, Suite, bones_of, words_of

_DECLARED: Final = re.compile(
    r"(?<![\w$.])(?P<prefix>[xf]?)(?P<kind>describe|context|suite|it|test|specify)(?P<chain>(?:\s*\.\s*\w+)*)\s*(?=[(`])"
)
_GROUPS: Final = frozenset(("describe", "context", "suite"))
_SKIPS: Final = frozenset(("skip", "todo", "fixme", "skipIf", "todoIf", "runIf", "if", "failing", "fails"))
_TAKES_ARGUMENTS: Final = frozenset(("each", "for", "skipIf", "runIf", "todoIf", "if"))
_HARMLESS: Final = frozenset(
    ("only", "concurrent", "sequential", "slow", "serial", "parallel", "describe", "shuffle", "default", "serialize")
)
_MODIFIERS: Final = _SKIPS | _TAKES_ARGUMENTS | _HARMLESS
_SKIP_CALL: Final = re.compile(
    r"\b(?:this|t|ctx|context|test|it)\s*\.\s*(?:skip|todo|fixme|fail)\s*\(|(?<![\w$.])pending\s*\("
)
_EXPECT: Final = re.compile(
    r"(?<![\w$.])(?:expect|assert|expectTypeOf|assertType)\s*(?=\()"
    r"|(?<![\w$])(?:assert|chai|sinon\.assert)\s*\.\s*\w+(?:\.\w+)*\s*(?=\()"
)
_OTHER: Final = re.compile(
    r"(?<![\w$.])t\s*\.\s*(?:is|not|deepEqual|notDeepEqual|like|equal|equals|same|strictSame|match|true|false|truthy|falsy|"
    r"throws|throwsAsync|rejects|ok|notOk|pass|fail|regex|snapshot|strictEqual|error)\s*\(|\.\s*should\b|(?<![\w$.])fail\s*\("
)
_HELPER: Final = re.compile(r"(?<![\w$])_?(?:expect|assert|check|verify|ensure)[A-Z]\w*\s*\(")
_TRIVIAL: Final = re.compile(
    r"(?<![\w$.])expect\s*\(\s*(true|1|!0|false|0|null|\"\s*\"|'\s*')\s*\)\s*\.\s*\w+\s*\(\s*(?:\1)?\s*\)"
    r"|(?<![\w$.])(?:assert(?:\s*\.\s*ok)?|t\s*\.\s*(?:pass|ok|true|truthy))\s*\(\s*(?:true|1|!0)?\s*\)"
)
_WHOLE: Final = re.compile(r"\.\s*(?:toEqual|toStrictEqual|toMatchObject|deepEqual|deepStrictEqual|eql)\s*(?=\()")
_LOOP: Final = re.compile(r"(?<![\w$])(?:for|while)\s*\(|\.\s*(?:forEach|map|every|some)\s*\(")
_DEEPEST: Final = 40
_STRING: Final = re.compile(r"\s*(['\"`])")


@dataclass(frozen=True, slots=True)
class _Found:
    """A call of ``it`` or ``describe``: where its arguments stand, and what was chained to it."""

    start: int
    opens: int
    closes: int
    group: bool
    name: str
    skips: tuple[str, ...]
    focus: bool
    low: int
    high: int
    bodiless: bool


def read_javascript(source: str) -> Suite:
    """The tests of a JavaScript or TypeScript file. Never raises."""
    scanned = scan(source, "javascript")
    if "\0" in source:
        return Suite(problem="not text")
    found = [call for match in _DECLARED.finditer(scanned.bare) if (call := _call(scanned, match)) is not None]
    cases: dict[str, Case] = {}
    focus: list[tuple[int, str]] = []
    around: list[_Found] = []
    for call in found:
        while around and around[-1].closes < call.start:
            around.pop()
        if len(around) > _DEEPEST:
            return Suite(problem="nested too deeply to be read")
        if call.focus:
            number = scanned.line(call.start)
            focus.append((number, scanned.text_of(number)[:200]))
        if not any(not outer.group for outer in around):  # what a test calls inside declares no test
            if not call.group:
                name = _free(" > ".join([*(outer.name for outer in around), call.name]), cases)
                cases[name] = _case(scanned, call, name, around)
            around.append(call)
    return Suite(cases, focus=tuple(focus))


def _call(scanned: Scan, match: re.Match[str]) -> _Found | None:
    chain = [part.strip() for part in match["chain"].split(".") if part.strip()]
    if any(part not in _MODIFIERS for part in chain):
        return None  # test.beforeEach, test.step, test.use …
    opens: int | None = match.end()
    low = high = 1
    if any(part in _TAKES_ARGUMENTS for part in chain):
        if "each" in chain or "for" in chain:
            low, high = _table(scanned, match.end())
        opens = _after(scanned, match.end())
    if opens is None or opens >= len(scanned.bare) or scanned.bare[opens] != "(" or opens not in scanned.pairs:
        return None
    closes = scanned.pairs[opens]
    name = _first_argument(scanned, opens, closes)
    if not name:
        return None
    literal = _STRING.match(scanned.bare, opens + 1) is not None
    if match["kind"] == "test" and "skip" in chain and not literal:
        return None  # playwright's test.skip(condition) inside a test
    skips = [part for part in chain if part in _SKIPS] + (["x" + match["kind"]] if match["prefix"] == "x" else [])
    if not literal or "${" in scanned.code[opens:closes].split(",", 1)[0]:
        high *= MANY  # declared in a loop
    body = scanned.bare[opens + 1 : closes]
    bodiless = "," not in body
    group = match["kind"] in _GROUPS or "describe" in chain
    focus = match["prefix"] == "f" or "only" in chain
    return _Found(match.start(), opens, closes, group, name, tuple(skips), focus, low, high, bodiless)


def _after(scanned: Scan, at: int) -> int | None:
    """Where the real call opens after ``each(…)`` or ``each`…```."""
    if scanned.bare[at] == "(":
        if at not in scanned.pairs:
            return None
        at = scanned.pairs[at] + 1
    else:
        closing = scanned.bare.find("`", at + 1)
        at = closing + 1 if closing >= 0 else len(scanned.bare)
    while at < len(scanned.bare) and scanned.bare[at].isspace():
        at += 1
    return at


def _table(scanned: Scan, at: int) -> tuple[int, int]:
    """How many rows ``each`` has: exactly for an array literal, else between one and many."""
    inner = at + 1
    while inner < len(scanned.bare) and scanned.bare[inner].isspace():
        inner += 1
    if scanned.bare[at] == "(" and scanned.bare[inner : inner + 1] == "[" and inner in scanned.pairs:
        body = scanned.bare[inner + 1 : scanned.pairs[inner]]
        if "..." not in body:
            size = _elements(scanned, inner)
            return size, size
    return 1, MANY


def _elements(scanned: Scan, opens: int) -> int:
    """How many elements stand between the bracket at ``opens`` and its partner."""
    closes = scanned.pairs.get(opens, opens)
    at, commas, last = opens + 1, 0, opens
    while at < closes:
        character = scanned.bare[at]
        if character in "([{" and at in scanned.pairs:
            at = scanned.pairs[at]
        elif character == ",":
            commas, last = commas + 1, at
        at += 1
    return commas + (1 if scanned.bare[last + 1 : closes].strip() else 0)


def _first_argument(scanned: Scan, opens: int, closes: int) -> str:
    at = opens + 1
    while at < min(closes, opens + 2_000):
        character = scanned.bare[at]
        if character in "([{" and at in scanned.pairs:
            at = scanned.pairs[at]
        elif character == ",":
            break
        at += 1
    text = " ".join(scanned.code[opens + 1 : min(at, closes)].split())
    return text.strip("'\"`")[:200]


def _case(scanned: Scan, call: _Found, name: str, around: list[_Found]) -> Case:
    bare = scanned.bare[call.opens : call.closes]
    comma = bare.find(",")
    body = bare[comma:] if comma >= 0 else ""
    code = scanned.code[call.opens : call.closes][comma:] if comma >= 0 else ""
    low = high = 0
    if not call.bodiless:
        exact = len(_EXPECT.findall(body)) + len(_OTHER.findall(body)) - len(_TRIVIAL.findall(code))
        exact += _whole(scanned, call)
        helpers = len(_HELPER.findall(body))
        low, high = max(exact, 0) + helpers, max(exact, 0) + 3 * helpers
        high *= MANY if _LOOP.search(body) else 1
    for row in (*around, call):
        low, high = low * row.low, min(high * row.high, 1_000_000)
    skips = [f"describe: {skip}" for outer in around for skip in outer.skips]
    skips += [*call.skips, *(" ".join(text.split()) for text in _SKIP_CALL.findall(body))]
    if call.bodiless and not call.skips:
        skips.append("no body")
    number = scanned.line(call.start)
    excerpt = scanned.text_of(number)[:300]
    return Case(
        name, call.name, number, excerpt, low, high, tuple(skips), _hollow(body), words_of(code), bones_of(body)
    )


def _whole(scanned: Scan, call: _Found) -> int:
    """Comparisons with a literal object or array check each of its members: what goes beyond one is added."""
    more = 0
    for match in _WHOLE.finditer(scanned.bare, call.opens, call.closes):
        inner = match.end() + 1
        while inner < call.closes and scanned.bare[inner].isspace():
            inner += 1
        if scanned.bare[inner] in "[{":
            more += max(_elements(scanned, inner) - 1, 0)
    return more


def _hollow(body: str) -> bool:
    """Whether the test's function does nothing: ``() => {}``, ``function () { }``."""
    opens = body.find("{")
    return opens >= 0 and not body[opens:].strip("{}() \n\t\r;,")


def _free(name: str, taken: dict[str, Case]) -> str:
    if name not in taken:
        return name
    return next(f"{name} #{number}" for number in count(2) if f"{name} #{number}" not in taken)
