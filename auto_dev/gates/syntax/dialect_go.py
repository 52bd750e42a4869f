"""go testing, testify, gomega and ginkgo, quicktest, gotest.tools, gocheck, go-cmp."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from auto_dev.gates.syntax.canon import canonical
from auto_dev.gates.syntax.claims import Claim, claims, equal, value_of
from auto_dev.gates.syntax.code import NOTHING, Call, Expr, Lambda, Literal, Member, Name, Other, dotted, leaf
from auto_dev.gates.syntax.dialect import Dialect, Row, by_row

_FAILS: Final = frozenset(("Error", "Errorf", "Fatal", "Fatalf", "Fail", "FailNow", "Failf", "FailNowf"))
_MADE: Final = re.compile(r"(?:new\()?[&*]?testing\.(?:T|TB|B|F)(?:\{\})?\)?")
_NAMES: Final = frozenset(("t", "tb", "b", "f"))
_TAKERS: Final = frozenset(("t", "b", "tb", "f", "c", "s", "suite", "ts", "st", "tt", "T"))
_PACKAGES: Final = frozenset(("assert", "require", "is", "qt", "should", "must", "a", "r", "check", "be", "td"))

_ROWS: Final[dict[str, Row]] = {
    "Equal": ("equal", 1, 0, False), "EqualValues": ("equal", 1, 0, False), "Exactly": ("equal", 1, 0, False),
    "Same": ("equal", 1, 0, False), "JSONEq": ("equal", 1, 0, False), "YAMLEq": ("equal", 1, 0, False),
    "DeepEqual": ("equal", 0, 1, False), "ElementsMatch": ("equal", 1, 0, False),
    "EqualExportedValues": ("equal", 1, 0, False), "NotEqual": ("equal", 1, 0, True),
    "NotSame": ("equal", 1, 0, True), "NotEqualValues": ("equal", 1, 0, True), "True": ("test", 0, None, False),
    "False": ("test", 0, None, True), "Assert": ("test", 0, None, False), "Nil": ("null", 0, None, False),
    "NotNil": ("defined", 0, None, False), "Zero": ("null", 0, None, False), "NotZero": ("defined", 0, None, False),
    "Empty": ("empty", 0, None, False), "NotEmpty": ("filled", 0, None, False), "Len": ("size", 0, 1, False),
    "Contains": ("contains", 0, 1, False), "NotContains": ("contains", 0, 1, True),
    "Subset": ("contains", 0, 1, False), "Regexp": ("matches", 1, 0, False), "NotRegexp": ("matches", 1, 0, True),
    "InDelta": ("approx", 0, 1, False), "InEpsilon": ("approx", 0, 1, False),
    "InDeltaSlice": ("approx", 0, 1, False), "WithinDuration": ("approx", 0, 1, False),
    "WithinRange": ("range", 0, 1, False), "Greater": ("range", 0, 1, False),
    "GreaterOrEqual": ("range", 0, 1, False), "Less": ("range", 0, 1, False), "LessOrEqual": ("range", 0, 1, False),
    "Positive": ("range", 0, None, False), "Negative": ("range", 0, None, False), "IsType": ("type", 1, 0, False),
    "Implements": ("type", 1, 0, False), "Condition": ("truth", 0, None, False),
    "NoError": ("no error", 0, None, False), "NilError": ("no error", 0, None, False),
    "NoErr": ("no error", 0, None, False), "Error": ("some error", 0, None, False),
    "Err": ("some error", 0, None, False), "EqualError": ("error text", 0, 1, False),
    "ErrorIs": ("error text", 0, 1, False), "ErrorContains": ("error text", 0, 1, False),
    "ErrorAs": ("error", 0, 1, False), "ErrorType": ("error", 0, 1, False), "NotErrorIs": ("error", 0, 1, True),
    "NotPanics": ("runs", 0, None, False), "Panics": ("some error", 0, None, False),
    "PanicsWithValue": ("error text", 1, 0, False), "PanicsWithError": ("error text", 1, 0, False),
    "FileExists": ("defined", 0, None, False), "DirExists": ("defined", 0, None, False),
    "NoFileExists": ("truth", 0, None, True), "Eventually": ("truth", 0, None, False),
    "Never": ("truth", 0, None, True), "HTTPStatusCode": ("called with", 0, 4, False),
    "AssertExpectations": ("called", 0, None, False), "AssertCalled": ("called with", 0, 1, False),
    "AssertNumberOfCalls": ("call count", 0, 1, False), "AssertNotCalled": ("call count", 0, None, False),
}  # fmt: skip
_MATCHERS: Final[dict[str, str]] = {
    "Equal": "equal", "BeEquivalentTo": "equal", "BeIdenticalTo": "equal", "MatchJSON": "equal",
    "MatchYAML": "equal", "BeComparableTo": "equal", "ConsistOf": "equal", "HaveExactElements": "equal",
    "BeNil": "null", "BeZero": "null", "BeTrue": "truth", "BeFalse": "false", "BeTrueBecause": "truth",
    "BeEmpty": "empty", "HaveLen": "size", "HaveCap": "size", "ContainElement": "contains",
    "ContainElements": "contains", "ContainSubstring": "contains", "HaveKey": "has", "HaveKeyWithValue": "contains",
    "HaveField": "partial", "MatchFields": "partial", "MatchRegexp": "matches", "HavePrefix": "matches",
    "HaveSuffix": "matches", "BeNumerically": "range", "BeTemporally": "range", "BeElementOf": "one of",
    "BeAssignableToTypeOf": "type", "HaveOccurred": "some error", "Succeed": "no error", "MatchError": "error text",
    "Panic": "some error", "PanicWith": "error text", "Exit": "eq", "Say": "matches", "HaveHTTPStatus": "eq",
    "BeAnExistingFile": "defined",
    # quicktest, gocheck
    "Equals": "equal", "DeepEquals": "equal", "CmpEquals": "equal", "IsNil": "null", "IsNotNil": "defined",
    "NotNil": "defined", "IsTrue": "truth", "IsFalse": "false", "HasLen": "size", "Matches": "matches",
    "Contains": "contains", "ErrorMatches": "error text", "ErrorIs": "error text", "ErrorAs": "error",
    "PanicMatches": "error text", "Not": "ne", "IsEmpty": "empty", "JSONEquals": "equal",
}  # fmt: skip


class GoDialect(Dialect):
    waits: ClassVar[frozenset[str]] = frozenset(("Sleep", "After", "WithTimeout", "Eventually", "NewTimer"))

    def asserted(self, node: Expr) -> list[Claim] | None:
        if not isinstance(node, Call) or not isinstance(node.function, Member):
            return None
        call, name = node, node.function.name
        if (told := _gomega(call)) is not None:
            return told
        owner = node.function.owner
        root = dotted(owner).split(".")[0] if dotted(owner) else ""
        last = leaf(owner)
        if name in ("Assert", "Check") and len(call.arguments) >= 2 and not _is_taker(call.argument(0)):
            return _checker(call, 0)
        if name in ("Assert", "Check") and len(call.arguments) >= 3 and _is_taker(call.argument(0)):
            return _checker(call, 1)
        plain = name.removesuffix("f")
        known = plain in _ROWS
        if not known or (name in ("Error", "Errorf") and last in ("t", "b", "tb", "f")):
            return None
        if root in _PACKAGES or last in ("Require", "Assert", "assert", "require", "Assertions"):
            return _row(plain, call, 1 if _is_taker(call.argument(0)) else 0)
        if (
            root in _TAKERS and len(call.arguments) >= 1 and name not in ("Error", "Errorf", "Contains", "Len", "Equal")
        ) or root in ("s", "suite", "ts", "c"):
            return _row(plain, call, 0)
        return _row(plain, call, 0) if name.startswith("Assert") and name != "Assert" else None

    def fails(self, node: Expr) -> bool:
        if not isinstance(node, Call):
            return False
        if isinstance(node.function, Name):
            return node.function.name in ("panic", "Fail")
        if not isinstance(node.function, Member) or node.function.name not in _FAILS:
            return False
        owner = leaf(node.function.owner)
        testify = owner in ("assert", "require") and node.function.name.startswith("Fail")
        return (
            testify
            or owner in ("log", "ginkgo")
            or (owner in _TAKERS and not owner.startswith("s"))
            or owner.lower().endswith("t")
        )

    def raises(self, value: Expr | None) -> bool:  # noqa: ARG002
        return False

    def skipped(self, call: Call) -> str:
        function = call.function
        if (
            isinstance(function, Member)
            and function.name in ("Skip", "Skipf", "SkipNow")
            and isinstance(function.owner, Name | Call)
        ):
            return f"t.{function.name}()"
        return "Skip()" if isinstance(function, Name) and function.name == "Skip" and len(call.arguments) <= 2 else ""

    def step(self, call: Call) -> tuple[str, Lambda] | None:
        function = call.function
        if not isinstance(function, Member) or function.name != "Run":
            return None
        name, body = call.argument(0), call.argument(1)
        return (name.text, body) if isinstance(name, Literal) and isinstance(body, Lambda) else None

    def detached(self, names: tuple[str, ...], value: Expr) -> bool:
        """``t := &testing.T{}``: a test of its own, whose failure nobody sees."""
        return not _NAMES.isdisjoint(names) and _MADE.fullmatch(canonical(value)) is not None

    def swallowed(self, types: tuple[str, ...]) -> bool:  # noqa: ARG002
        return False


def _is_taker(node: Expr | None) -> bool:
    """Whether ``node`` is a ``*testing.T`` by its name."""
    return (isinstance(node, Name) and node.name in _TAKERS) or (
        isinstance(node, Call | Member) and leaf(node) in ("T", "GinkgoT")
    )


def _row(name: str, call: Call, shift: int) -> list[Claim]:
    op, subject, expected, negative = _ROWS[name]
    first = call.argument(subject + shift)
    if first is None:
        return [Claim("nothing", call)]
    if (claim := _simple(op, first, call.argument(shift + expected) if expected is not None else None)) is not None:
        return [claim]
    return by_row((op, subject, expected, negative), call, shift)


def _simple(op: str, subject: Expr, expected: Expr | None, *, negative: bool = False) -> Claim | None:
    """The ops that need no table of arguments."""
    nil = Literal(subject.line, "null", "null")
    if op == "null":
        return Claim("defined", subject) if negative else Claim("eq", subject, nil)
    if op == "no error" or (op == "some error" and negative):
        return (
            Claim("eq", subject, nil)
            if (op == "no error") != negative or op == "some error"
            else Claim("some error", subject)
        )
    if op == "empty":
        return Claim("filled", subject) if negative else Claim("size", subject, Literal(subject.line, "number", "0"))
    if op in ("truth", "false"):
        found = claims(subject, negative=negative != (op == "false"))
        return found[0] if len(found) == 1 else Claim("truth", subject, None, negative)
    if op == "equal" and expected is not None and negative:
        return equal(subject, expected, negative=True)
    return None


def _gomega(call: Call) -> list[Claim] | None:
    """``Expect(x).To(Equal(y))``, ``Eventually(x).Should(BeNil())``."""
    function = call.function
    if not isinstance(function, Member) or function.name not in ("To", "ToNot", "NotTo", "Should", "ShouldNot"):
        return None
    root: Expr = function.owner
    while (
        isinstance(root, Call)
        and isinstance(root.function, Member)
        and leaf(root) not in ("Expect", "Eventually", "Consistently")
    ):
        root = root.function.owner
    matcher = call.argument(0)
    if not isinstance(root, Call) or leaf(root) not in ("Expect", "Ω", "Eventually", "Consistently") or matcher is None:
        return None
    negative = "Not" in function.name
    while isinstance(matcher, Call) and leaf(matcher) == "Not" and matcher.arguments:
        negative, matcher = not negative, matcher.arguments[0]
    return [_matched(root.argument(0) or NOTHING, matcher, negative=negative)]


def _matched(subject: Expr, matcher: Expr, *, negative: bool) -> Claim:
    op = _MATCHERS.get(leaf(matcher), "unknown")
    expected = matcher.argument(0) if isinstance(matcher, Call) else None
    if op == "range" and isinstance(matcher, Call):
        if isinstance(expected, Literal) and expected.text == "~":
            return Claim("approx", subject, matcher.argument(1), negative, value_of(matcher.argument(2)))
        if isinstance(expected, Literal) and expected.text == "==":
            return Claim("eq", subject, matcher.argument(1), negative)
        return Claim("range", subject, Other(matcher.line, "bounds", matcher.arguments), negative)
    if (claim := _simple(op, subject, expected, negative=negative)) is not None:
        return claim
    if op == "equal":
        return equal(subject, expected, negative=negative) if expected is not None else Claim("nothing", subject)
    if op in ("ne", "unknown") and isinstance(matcher, Call):
        return Claim(op, subject, matcher, negative)
    return Claim(op, subject, expected, negative)


def _checker(call: Call, shift: int) -> list[Claim]:
    """``c.Assert(x, qt.Equals, y)``, ``assert.Assert(t, cmp.Equal(x, y))``."""
    subject, checker = call.arguments[shift], call.argument(shift + 1)
    name = leaf(checker) if checker is not None else ""
    if name in _MATCHERS and checker is not None:
        expected = call.argument(shift + 2)
        op = _MATCHERS[name]
        if name == "Not" and expected is not None:
            return [_checked(_MATCHERS.get(leaf(checker), "unknown"), subject, expected, negative=True)]
        return [_checked(op, subject, expected, negative=False)]
    return claims(subject)


def _checked(op: str, subject: Expr, expected: Expr | None, *, negative: bool) -> Claim:
    if (claim := _simple(op, subject, expected, negative=negative)) is not None:
        return claim
    if op == "equal" and expected is not None:
        return equal(subject, expected, negative=negative)
    return Claim("unknown" if op == "equal" else op, subject, expected, negative)
