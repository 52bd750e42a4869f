"""Rust's own assertion macros, pretty_assertions, proptest, insta, approx, googletest, assert_cmd."""

from __future__ import annotations

from typing import ClassVar, Final

from auto_dev.gates.syntax.claims import Claim, claims, equal, tolerance_of, truth_of
from auto_dev.gates.syntax.code import Call, Expr, Literal, Member, leaf
from auto_dev.gates.syntax.dialect import Dialect
from auto_dev.gates.syntax.names import names

_PREFIXES: Final = ("debug_", "prop_", "cool_", "k9_")
_EQUAL: Final = names("assert_eq assert_str_eq assert_equal assert_json_eq assert_eq_slice assert_matches_exactly")
_TEST: Final = frozenset(("assert", "assume", "check", "ensure", "assert_true"))
_NEAR: Final = names(
    "assert_relative_eq assert_abs_diff_eq assert_ulps_eq assert_float_eq assert_approx_eq assert_near"
)
_SNAPSHOTS: Final = names("""
    assert_snapshot assert_debug_snapshot assert_json_snapshot assert_yaml_snapshot assert_ron_snapshot
    assert_toml_snapshot assert_csv_snapshot assert_display_snapshot assert_compact_json_snapshot
    """)
_THAT: Final = {
    "eq": "equal", "ne": "ne", "anything": "nothing", "contains": "contains", "contains_substring": "contains",
    "ok": "runs", "err": "some error", "some": "defined", "none": "null", "len": "size", "is_empty": "empty",
    "starts_with": "matches", "elements_are!": "equal", "unordered_elements_are!": "equal", "near": "approx",
    "gt": "range", "lt": "range", "ge": "range", "le": "range", "matches_regex": "matches",
    "contains_regex": "matches", "pat!": "partial", "matches_pattern!": "partial",
}  # fmt: skip
_COMMAND: Final = {"success": "truth", "failure": "some error", "code": "eq", "stdout": "eq", "stderr": "eq"}


class RustDialect(Dialect):
    waits: ClassVar[frozenset[str]] = frozenset(("sleep", "timeout"))

    def asserted(self, node: Expr) -> list[Claim] | None:
        if not isinstance(node, Call):
            return None
        name = leaf(node.function)
        if not name.endswith("!"):
            return _command(node, name)
        name = name[:-1]
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        first, second = node.argument(0), node.argument(1)
        if first is None:
            return [Claim("nothing", node)] if name in _TEST or name in _EQUAL else None
        if name in _EQUAL or name == "assert_ne":
            return (
                [equal(first, second, negative=name == "assert_ne")]
                if second is not None
                else [Claim("unknown", first)]
            )
        if name in _TEST:
            return claims(first)
        if name in _NEAR:
            return [Claim("approx", first, second, False, tolerance_of(node))]
        if name in (
            "assert_matches",
            "assert_let",
            "assert_variant",
            "assert_ok",
            "assert_err",
            "assert_some",
            "assert_none",
        ):
            op = {
                "assert_ok": "defined",
                "assert_err": "some error",
                "assert_some": "defined",
                "assert_none": "eq",
            }.get(name, "type")
            return [Claim(op, first, second if name != "assert_none" else Literal(node.line, "null", "null"))]
        if name in ("assert_ok_eq", "assert_err_eq", "assert_some_eq"):
            return [Claim("eq", first, second)]
        if name in _SNAPSHOTS:
            inline = next((one for one in node.arguments[1:] if isinstance(one, Literal)), None)
            return [Claim("eq", first, inline)] if inline is not None else [Claim("snapshot", node.arguments[-1])]
        if name in ("assert_that", "expect_that", "verify_that"):
            return [_that(first, second)]
        return None

    def fails(self, node: Expr) -> bool:
        if not isinstance(node, Call):
            return False
        name = leaf(node.function)
        if name in ("panic!", "unreachable!", "todo!", "unimplemented!", "bail!"):
            return True
        return name == "assert!" and bool(node.arguments) and truth_of(node.arguments[0]) is False

    def raises(self, value: Expr | None) -> bool:  # noqa: ARG002
        return False

    def swallowed(self, types: tuple[str, ...]) -> bool:  # noqa: ARG002
        return False


def _that(subject: Expr, matcher: Expr | None) -> Claim:
    op = _THAT.get(leaf(matcher), "unknown") if matcher is not None else "unknown"
    expected = matcher.argument(0) if isinstance(matcher, Call) else None
    if op == "equal" and expected is not None:
        return equal(subject, expected)
    if op == "null":
        return Claim("eq", subject, Literal(subject.line, "null", "null"))
    return Claim("unknown" if op == "equal" else "size" if op == "empty" else op, subject, expected)


def _command(call: Call, name: str) -> list[Claim] | None:
    """``cmd.assert().success().stdout("x")`` of assert_cmd."""
    if name not in _COMMAND or not isinstance(call.function, Member):
        return None
    owner: Expr = call.function.owner
    while isinstance(owner, Call) and isinstance(owner.function, Member):
        if owner.function.name == "assert":
            expected = call.argument(0)
            return [Claim(_COMMAND[name], call.function.owner, expected)]
        owner = owner.function.owner
    return None
