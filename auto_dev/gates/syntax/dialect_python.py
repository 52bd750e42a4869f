"""pytest, unittest, mock, numpy, pandas, django, hamcrest and assertpy."""

from __future__ import annotations

from typing import ClassVar, Final

from auto_dev.gates.syntax.claims import Claim, claims, tolerance_of
from auto_dev.gates.syntax.code import NOTHING, Call, Expr, Literal, Member, Name, dotted, leaf
from auto_dev.gates.syntax.dialect import Dialect, Row, by_row, places, thrown
from auto_dev.gates.syntax.names import names

GENERAL: Final = frozenset(("Exception", "BaseException", "StandardError", "Warning"))

_ROWS: Final[dict[str, Row]] = {
    "assertEqual": ("equal", 0, 1, False), "assertEquals": ("equal", 0, 1, False),
    "assertIs": ("equal", 0, 1, False), "assertNotEqual": ("equal", 0, 1, True),
    "assertIsNot": ("equal", 0, 1, True), "assertListEqual": ("equal", 0, 1, False),
    "assertTupleEqual": ("equal", 0, 1, False), "assertDictEqual": ("equal", 0, 1, False),
    "assertSetEqual": ("equal", 0, 1, False), "assertSequenceEqual": ("equal", 0, 1, False),
    "assertMultiLineEqual": ("equal", 0, 1, False), "assertCountEqual": ("equal", 0, 1, False),
    "assertItemsEqual": ("equal", 0, 1, False), "assertTrue": ("test", 0, None, False),
    "assertFalse": ("test", 0, None, True), "assert_": ("test", 0, None, False),
    "assertIsNone": ("null", 0, None, False), "assertIsNotNone": ("defined", 0, None, False),
    "assertIn": ("contains", 1, 0, False), "assertNotIn": ("contains", 1, 0, True),
    "assertIsInstance": ("type", 0, 1, False), "assertNotIsInstance": ("type", 0, 1, True),
    "assertAlmostEqual": ("approx", 0, 1, False), "assertNotAlmostEqual": ("approx", 0, 1, True),
    "assertAlmostEquals": ("approx", 0, 1, False), "assertGreater": ("range", 0, 1, False),
    "assertGreaterEqual": ("range", 0, 1, False), "assertLess": ("range", 0, 1, False),
    "assertLessEqual": ("range", 0, 1, False), "assertRegex": ("matches", 0, 1, False),
    "assertNotRegex": ("matches", 0, 1, True), "assertRegexpMatches": ("matches", 0, 1, False),
    "assertHasAttr": ("has", 0, 1, False), "assertStartsWith": ("matches", 0, 1, False),
    "assertEndsWith": ("matches", 0, 1, False),
    # django
    "assertContains": ("contains", 0, 1, False), "assertNotContains": ("contains", 0, 1, True),
    "assertRedirects": ("equal", 0, 1, False), "assertTemplateUsed": ("contains", 0, 1, False),
    "assertQuerysetEqual": ("equal", 0, 1, False), "assertQuerySetEqual": ("equal", 0, 1, False),
    "assertJSONEqual": ("equal", 0, 1, False), "assertHTMLEqual": ("equal", 0, 1, False),
    "assertXMLEqual": ("equal", 0, 1, False), "assertInHTML": ("contains", 1, 0, False),
    "assertURLEqual": ("equal", 0, 1, False), "assertFormError": ("called with", 0, 1, False),
    # numpy, pandas, polars, torch
    "assert_array_equal": ("equal", 0, 1, False), "assert_equal": ("equal", 0, 1, False),
    "assert_string_equal": ("equal", 0, 1, False), "assert_array_almost_equal": ("approx", 0, 1, False),
    "assert_almost_equal": ("approx", 0, 1, False), "assert_allclose": ("approx", 0, 1, False),
    "assert_close": ("approx", 0, 1, False), "assert_approx_equal": ("approx", 0, 1, False),
    "assert_array_less": ("range", 0, 1, False), "assert_frame_equal": ("equal", 0, 1, False),
    "assert_series_equal": ("equal", 0, 1, False), "assert_index_equal": ("equal", 0, 1, False),
    # nose and testtools
    "assert_true": ("test", 0, None, False), "assert_false": ("test", 0, None, True),
    "assert_not_equal": ("equal", 0, 1, True), "assert_is_none": ("null", 0, None, False),
    "assert_is_not_none": ("defined", 0, None, False), "assert_in": ("contains", 1, 0, False),
    "assert_not_in": ("contains", 1, 0, True), "assert_is": ("equal", 0, 1, False),
    "assert_is_instance": ("type", 0, 1, False),
}  # fmt: skip
_CALLS: Final = {
    "assert_called_once_with": "called with", "assert_called_with": "called with", "assert_any_call": "called with",
    "assert_has_calls": "called with", "assert_called_once": "call count", "assert_called": "called",
    "assert_not_called": "call count", "assert_awaited_once_with": "called with",
    "assert_awaited_with": "called with", "assert_any_await": "called with", "assert_has_awaits": "called with",
    "assert_awaited_once": "call count", "assert_awaited": "called", "assert_not_awaited": "call count",
}  # fmt: skip
_RAISES: Final = names("raises assertRaises assertRaisesRegex assertRaisesRegexp assertRaisesMessage")
_WARNS: Final = frozenset(("warns", "deprecated_call", "assertWarns", "assertWarnsRegex", "assertWarnsMessage"))
_LOGS: Final = frozenset(("assertLogs", "assertNoLogs", "assertNumQueries", "RaisesGroup", "RaisesExc"))
_SKIPS: Final = frozenset(("skip", "xfail", "skipTest", "importorskip", "SkipTest", "exit"))
_OWNERS: Final = frozenset(("pytest", "self", "cls", "unittest", "case"))
_MATCHERS: Final = {
    "equal_to": "equal", "is_": "equal", "has_length": "size", "contains_string": "contains", "has_item": "contains",
    "has_items": "contains", "has_entry": "partial", "has_entries": "partial", "has_properties": "partial",
    "instance_of": "type", "not_none": "defined", "none": "null", "close_to": "approx", "greater_than": "range",
    "less_than": "range", "starts_with": "matches", "ends_with": "matches", "matches_regexp": "matches",
    "anything": "nothing", "is_not": "ne", "not_": "ne", "contains_exactly": "equal", "contains_inanyorder": "equal",
}  # fmt: skip
_FLUENT: Final = {
    "is_equal_to": "equal", "is_true": "truth", "is_false": "truth", "is_none": "null", "is_not_none": "defined",
    "is_length": "size", "contains": "contains", "is_instance_of": "type", "matches": "matches",
    "is_close_to": "approx", "is_not_empty": "filled", "contains_only": "equal", "is_in": "one of",
    "has_message": "eq",
}  # fmt: skip


class PythonDialect(Dialect):
    waits: ClassVar[frozenset[str]] = frozenset(("sleep",))
    later: ClassVar[frozenset[str]] = frozenset(("add_done_callback", "call_later", "call_soon", "addCleanup"))

    def asserted(self, node: Expr) -> list[Claim] | None:
        if not isinstance(node, Call):
            return None
        call, name = node, leaf(node.function)
        owner = call.function.owner if isinstance(call.function, Member) else None
        if name in _CALLS and owner is not None:
            return [_mock_call(name, owner, call)]
        if name in _RAISES or name in _WARNS:
            return [raised(call)]
        if name in _LOGS:
            return [Claim("matches", call, call.argument(0))]
        if name == "assert_that" and call.arguments:
            return _hamcrest(call)
        if owner is not None and name in _FLUENT and _begins(owner, "assert_that"):
            return [_known(_FLUENT[name], owner, call.argument(0), call)]
        row = _ROWS.get(name)
        if row is None or (name.startswith("assert_") and owner is not None and not _testing(owner)):
            return None
        return _rowed(row, name, call)

    def fails(self, node: Expr) -> bool:
        if not isinstance(node, Call):
            return False
        name = leaf(node.function)
        owner = node.function.owner if isinstance(node.function, Member) else None
        return name == "fail" and (owner is None or leaf(owner) in ("pytest", "self", "cls", "unittest"))

    def raises(self, value: Expr | None) -> bool:
        return value is not None and leaf(value) in ("AssertionError", "failureException")

    def skipped(self, call: Call) -> str:
        name = leaf(call.function)
        if name not in _SKIPS:
            return ""
        owner = leaf(call.function.owner) if isinstance(call.function, Member) else ""
        if owner in _OWNERS:
            return f"{owner}.{name}()"
        return f"{name}()" if not owner and name in ("skipTest", "SkipTest") else ""

    def context(self, item: Expr) -> tuple[str, Claim | None]:
        if not isinstance(item, Call):
            return "", None
        name = leaf(item.function)
        if name == "suppress":
            return ("swallows" if self.swallowed(tuple(leaf(one) for one in item.arguments)) else ""), None
        if name in _RAISES or name in _WARNS:
            kinds = _kinds(item.argument(0))
            caught = name in _RAISES and any(kind in ("AssertionError", "Exception", "BaseException") for kind in kinds)
            return ("expects failure" if caught else "expects"), raised(item)
        if name in _LOGS:
            return "expects", Claim("matches", item, item.argument(0))
        return "", None

    def mocked(self, call: Call) -> tuple[str, ...]:
        """``patch("a.b")``, ``patch.object(a, "b")``, ``monkeypatch.setattr(a, "b", …)``, ``mocker.patch("a.b")``."""
        name = leaf(call.function)
        path = dotted(call.function)
        first, second = call.argument(0), call.argument(1)
        if name in ("setattr", "object", "spy", "stub") and ("patch" in path or "mocker" in path):
            if isinstance(second, Literal) and second.kind == "string":
                return (second.text,)
            return (first.text.rsplit(".", 1)[-1],) if isinstance(first, Literal) else ()
        if name == "patch" and isinstance(first, Literal):
            return (first.text.rsplit(".", 1)[-1],)
        return ()

    def swallowed(self, types: tuple[str, ...]) -> bool:
        return not types or not {"Exception", "BaseException", "AssertionError"}.isdisjoint(types)


def raised(call: Call) -> Claim:
    """``raises(ValueError, match="x")``: what must fail, how."""
    name = leaf(call.function)
    kind = call.argument(0) or call.keyword("expected_exception", "expected_warning")
    text = call.keyword("match", "expected_regex", "check")
    if name.endswith(("Regex", "Regexp", "Message")):
        text = call.argument(1)
    subject = next((one for one in call.arguments[1:] if one is not text), NOTHING)
    claim = thrown(subject, kind, text, GENERAL)
    if name in _WARNS:
        return Claim("error text" if claim.op == "error text" else "error", subject, claim.expected or kind)
    return claim


def _kinds(node: Expr | None) -> tuple[str, ...]:
    items = getattr(node, "items", None)
    return tuple(leaf(item) for item in items) if items is not None else ((leaf(node),) if node is not None else ())


def _mock_call(name: str, owner: Expr, call: Call) -> Claim:
    expected = call.argument(0)
    if len(call.arguments) > 1 or call.keywords:
        expected = Call(call.line, Name(call.line, "call"), call.arguments, call.keywords)
    return Claim(_CALLS[name], owner, expected)


def _rowed(row: Row, name: str, call: Call) -> list[Claim]:
    op, subject, _, negative = row
    if op == "null":
        first = call.argument(subject)
        return (
            [Claim("eq", first, Literal(call.line, "null", "null"))] if first is not None else [Claim("nothing", call)]
        )
    if op == "defined":
        first = call.argument(subject)
        return [Claim("defined", first)] if first is not None else [Claim("nothing", call)]
    found = by_row(row, call)
    if op == "approx" and found[0].tolerance is None:
        count = call.keyword("places", "decimal", "significant") or call.argument(2)
        default = {"assertAlmostEqual": 1e-7, "assert_almost_equal": 1e-7, "assert_array_almost_equal": 1e-6}
        tolerance = places(count) if count is not None else default.get(name, tolerance_of(call) or 1e-7)
        return [Claim("approx", found[0].subject, found[0].expected, negative, tolerance)]
    return found


def _testing(owner: Expr) -> bool:
    """``np.testing.assert_equal``, ``pd.testing.…``, ``tm.…``: not a method of a mock."""
    return leaf(owner) in ("testing", "tm", "tools", "npt", "nt", "pd", "np", "torch", "utils", "self", "cls")


def _begins(node: Expr, name: str) -> bool:
    while isinstance(node, Call | Member):
        if isinstance(node, Call) and isinstance(node.function, Name):
            return node.function.name == name
        node = node.function if isinstance(node, Call) else node.owner
    return False


def _hamcrest(call: Call) -> list[Claim] | None:
    subject, matcher = call.argument(0), call.argument(1)
    if subject is None or matcher is None:
        return None  # assertpy's assert_that(x).is_equal_to(y) is read at its end
    if not isinstance(matcher, Call):
        return claims(subject)
    expected = matcher.argument(0)
    if leaf(matcher) == "is_" and isinstance(expected, Call):
        matcher, expected = expected, expected.argument(0)
    return [_known(_MATCHERS.get(leaf(matcher), "unknown"), subject, expected, matcher)]


def _known(op: str, subject: Expr, expected: Expr | None, call: Call) -> Claim:
    if op == "equal":
        return Claim("eq", subject, expected)
    if op == "null":
        return Claim("eq", subject, Literal(call.line, "null", "null"))
    return Claim(op, subject, expected, False, tolerance_of(call) if op == "approx" else None)
