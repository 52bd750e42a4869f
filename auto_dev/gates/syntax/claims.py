"""What a condition claims about which value: ``len(x) == 3`` is a claim about the size of ``x``, in any language."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from auto_dev.gates.syntax.canon import canonical, constant
from auto_dev.gates.syntax.code import (
    NOTHING,
    Await,
    Binary,
    Call,
    Expr,
    Group,
    Lambda,
    Literal,
    Member,
    Name,
    Other,
    Unary,
)
from auto_dev.gates.syntax.names import names
from auto_dev.gates.syntax.strength import OPS, Level


@dataclass(frozen=True, slots=True)
class Claim:
    """``op``: a key of ``OPS``; ``expected``: what ``subject`` is compared with; ``many``: for each of several
    values; ``promise``: it holds only when it is awaited; ``choices``: of how many conditions one suffices."""

    op: str
    subject: Expr = NOTHING
    expected: Expr | None = None
    negative: bool = False
    tolerance: float | None = None
    many: bool = False
    promise: bool = False
    choices: int = 1


# The last name of a function → what it claims. With the owner as subject: x.startswith("a").
_METHODS: Final[dict[str, str]] = {
    "startswith": "matches", "endswith": "matches", "startsWith": "matches", "endsWith": "matches",
    "starts_with": "matches", "ends_with": "matches", "includes": "contains", "contains": "contains",
    "Contains": "contains", "has": "has", "hasOwnProperty": "has", "contains_key": "has", "issubset": "partial",
    "issuperset": "partial", "is_some": "defined", "is_ok": "defined", "is_err": "some error", "isSome": "defined",
    "isOk": "defined", "equals": "eq", "Equal": "eq", "eq": "eq", "eq_ignore_ascii_case": "matches",
    "is_some_and": "truth", "is_ok_and": "truth", "is_match": "matches", "match": "matches", "is_visible": "truth",
    "ok": "truth",
}  # fmt: skip
# With the first argument as subject: isinstance(x, T), strings.Contains(x, "a").
_FUNCTIONS: Final[dict[str, str]] = {
    "isinstance": "type", "issubclass": "type", "callable": "type", "isArray": "type", "isInteger": "type",
    "isFinite": "type", "isNaN": "truth", "hasattr": "has", "isclose": "approx", "allclose": "approx",
    "array_equal": "eq", "DeepEqual": "eq", "isDeepStrictEqual": "eq", "isEqual": "eq", "EqualFold": "matches",
    "HasPrefix": "matches", "HasSuffix": "matches", "Contains": "contains", "ContainsAny": "matches", "As": "type",
    "matches!": "type", "is": "eq", "Is": "eq", "Equal": "eq", "ContainsFunc": "contains",
}  # fmt: skip
_PACKAGES: Final = names("""
    strings bytes slices maps reflect cmp math np numpy errors proto Array Object Number assert torch jnp util
    _ os filepath regexp re fnmatch ptr lo td
    """)
_SEARCHES: Final = frozenset(("match", "search", "fullmatch", "fnmatch", "MatchString", "findall", "test"))
_SIZES: Final = frozenset(("len", "size", "length", "count", "Len", "byteLength"))
_ALWAYS: Final = Level.NOTHING


def claims(test: Expr, *, negative: bool = False) -> list[Claim]:
    """What holds when ``test`` does (``negative``: when it does not). ``a and b`` claims two things."""
    if isinstance(test, Await):
        return claims(test.value, negative=negative)
    if isinstance(test, Unary) and test.operator == "not":
        return claims(test.value, negative=not negative)
    if (truth := truth_of(test)) is not None:
        return [Claim("nothing", test)] if truth != negative else [Claim("fail", test)]
    if isinstance(test, Binary):
        if test.operator in ("and", "or"):
            sides = [*claims(test.left, negative=negative), *claims(test.right, negative=negative)]
            return sides if (test.operator == "and") != negative else [_weakest(test, sides)]
        return [compared(test, negative=negative)]
    if isinstance(test, Call):
        return [_asked(test, negative=negative)]
    if isinstance(test, Other) and test.kind == "choice":
        return [_weakest(test, [one for part in test.parts[1:] for one in claims(part, negative=negative)])]
    return [Claim("truth", test, None, negative)]


def compared(test: Binary, *, negative: bool = False) -> Claim:
    """What a comparison claims."""
    operator, left, right = test.operator, test.left, test.right
    if operator in ("==", "!="):
        return equal(left, right, negative=negative != (operator == "!="))
    if operator in ("in", "not in"):
        negative = negative != (operator == "not in")
        if isinstance(right, Group) and right.kind != "map":
            if not negative and any(canonical(item) == canonical(left) for item in right.items):
                return Claim("nothing", test)
            return Claim("one of", left, right, negative)
        if isinstance(left, Literal) and left.kind == "string" and not left.text:
            return Claim("nothing", test)
        return Claim("contains", right, left, negative)
    if operator in ("instanceof", "is_a"):
        return Claim("type", left, right, negative)
    if operator in ("<", "<=", ">", ">="):
        return _bounds(operator, left, right, negative=negative)
    return Claim("truth", test, None, negative)


def equal(left: Expr, right: Expr, *, negative: bool = False) -> Claim:
    """``left == right``, whichever of the two is the value under test."""
    left, right = _bare(left), _bare(right)
    if canonical(left) == canonical(right):
        return Claim("nothing", Binary(left.line, "==", left, right))
    if constant(left) and constant(right) and isinstance(left, Literal) and isinstance(right, Literal):
        return Claim("fail" if not negative else "nothing", left, right)
    if constant(left) and not constant(right):
        left, right = right, left
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Call) and _last(one) in ("approx", "closeTo", "Approx"):
            return Claim("approx", other, one.argument(0), negative, tolerance_of(one))
        if (isinstance(one, Call) and _last(one) == "ANY") or (isinstance(one, Name | Member) and _last(one) == "ANY"):
            return Claim("nothing", other)
    if isinstance(right, Literal) and (known := _with_literal(left, right, negative=negative)) is not None:
        return known
    if isinstance(left, Unary) and left.operator == "typeof":
        return Claim("type", left.value, right, negative)
    if isinstance(left, Call) and _last(left) == "type" and len(left.arguments) == 1:
        return Claim("type", left.arguments[0], right, negative)
    if (sized := _sized(left)) is not None:
        return Claim("size", sized, right, negative)
    return Claim("eq", left, right, negative)


def _with_literal(left: Expr, right: Literal, *, negative: bool) -> Claim | None:
    """``left`` compared with a number, text, true or null."""
    if right.kind == "bool" and isinstance(left, Call | Binary | Unary) and _speaks(left):
        inner = claims(left, negative=negative != (right.text == "false"))
        if len(inner) == 1:
            return inner[0]
    if right.kind == "null":
        return Claim("defined", left) if negative else Claim("eq", left, right)
    if right.text == "0" and isinstance(left, Call) and _last(left) in ("Compare", "cmp", "compare"):
        return Claim("eq", left.arguments[0] if left.arguments else left, left.argument(1), negative)
    if right.kind == "string" and not right.text and isinstance(left, Call) and _last(left) == "Diff":
        return Claim("eq", left.arguments[0] if left.arguments else left, left.argument(1), negative)
    if (
        right.text in ("-1", "0")
        and negative
        and isinstance(left, Call)
        and _last(left) in ("indexOf", "find", "Index")
    ):
        return Claim("contains", _owner(left), left.argument(0))
    if (sized := _sized(left)) is not None:
        return Claim("filled", sized) if negative and right.text == "0" else Claim("size", sized, right, negative)
    return None


def _bounds(operator: str, left: Expr, right: Expr, *, negative: bool) -> Claim:
    """``left < right`` and its like."""
    if canonical(left) == canonical(right):
        return (
            Claim("nothing", Binary(left.line, operator, left, right))
            if operator in ("<=", ">=")
            else Claim("fail", left)
        )
    if (operator in (">", ">=") and constant(left)) or (
        operator in ("<", "<=") and constant(left) and not constant(right)
    ):
        left, right, operator = right, left, {"<": ">", "<=": ">=", ">": "<", ">=": "<="}[operator]
    if negative:
        operator = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[operator]
    limit = value_of(right)
    if (near := _distance(left)) is not None and operator in ("<", "<="):
        return Claim("approx", near.left, near.right, False, limit)
    if (sized := _sized(left)) is not None:
        if operator == ">=" and limit == 0:
            return Claim("nothing", left)
        if (operator, limit) in ((">", 0), (">=", 1)):
            return Claim("filled", sized)
        if (operator, limit) in (("<", 1), ("<=", 0)):
            return Claim("size", sized, Literal(left.line, "number", "0"))
        return Claim("some size", sized, Binary(left.line, operator, NOTHING, right))
    if (
        isinstance(left, Call)
        and _last(left) in ("indexOf", "find", "Index")
        and (operator, limit) in ((">=", 0), (">", -1))
    ):
        return Claim("contains", _owner(left), left.argument(0))
    if isinstance(left, Call) and _last(left) in ("abs", "Abs") and (operator, limit) == (">=", 0):
        return Claim("nothing", left)
    return Claim("range", left, Binary(left.line, operator, NOTHING, right))


def _asked(test: Call, *, negative: bool) -> Claim:  # noqa: C901
    """What a call claims that answers yes or no."""
    name, first, second = _last(test), test.argument(0), test.argument(1)
    owner = test.function.owner if isinstance(test.function, Member) else None
    packaged = owner is None or (isinstance(owner, Name) and owner.name in _PACKAGES)
    if name in ("all", "every", "any", "some") and (first is not None or owner is not None):
        return _for_each(test, name, first, negative=negative)
    if name == "isinstance" and isinstance(second, Name) and second.name == "object":
        return Claim("nothing", test)
    if name in ("len", "size", "bool", "Boolean") and first is not None and owner is None:
        return Claim("filled" if name in ("len", "size") else "truth", first, None, negative)
    if name in ("is_none", "isNone") and owner is not None:
        return Claim("defined", owner) if negative else Claim("eq", owner, Literal(test.line, "null", "null"))
    if name in ("is_empty", "isEmpty") and owner is not None:
        zero = Literal(test.line, "number", "0")
        return Claim("filled", owner) if negative else Claim("size", owner, zero)
    if name in _SEARCHES and first is not None:
        pattern, text = _pattern(owner, first, second, packaged=packaged)
        if isinstance(pattern, Literal) and pattern.text.strip("/^$") in ("", ".*", ".+", "[\\s\\S]*"):
            return Claim("nothing" if pattern.text.strip("/^$") != ".+" else "filled", test)
        return Claim("matches", text, pattern, negative)
    if packaged and name in _FUNCTIONS and first is not None:
        op = _FUNCTIONS[name]
        if op == "eq":
            return (
                equal(first, second, negative=negative) if second is not None else Claim("truth", test, None, negative)
            )
        if name == "matches!" and second is not None and any(mark in canonical(second) for mark in ('"', "==")):
            op = "contains"
        return Claim(op, first, second, negative, tolerance_of(test) if op == "approx" else None)
    if (
        owner is not None
        and name in _METHODS
        and (first is not None or _METHODS[name] in ("defined", "truth", "some error"))
    ):
        if first is not None and isinstance(first, Literal) and first.kind == "string" and not first.text:
            return Claim("nothing", test)
        op = _METHODS[name]
        if op == "some error" and negative:
            return Claim("defined", owner)
        if op == "defined" and negative:
            return Claim("some error" if name in ("is_ok", "isOk") else "eq", owner, Literal(test.line, "null", "null"))
        return (
            equal(owner, first, negative=negative)
            if op == "eq" and first is not None
            else Claim(op, owner, first, negative)
        )
    return Claim("truth", test, None, negative)


def _pattern(owner: Expr | None, first: Expr, second: Expr | None, *, packaged: bool) -> tuple[Expr, Expr]:
    """Pattern and text of ``re.search(p, s)``, ``pattern.search(s)``, ``/p/.test(s)``, ``s.match(/p/)``."""
    if packaged and second is not None:
        return first, second
    turned = isinstance(first, Literal) and first.kind == "regex"
    return (
        (first, owner) if owner is not None and (packaged or turned) else (owner if owner is not None else first, first)
    )


def _for_each(test: Call, name: str, first: Expr | None, *, negative: bool) -> Claim:
    """``all(x > 0 for x in xs)``, ``xs.every(x => x > 0)``: the condition in it, many times."""
    inner: Expr | None = None
    if isinstance(first, Other) and first.kind == "comprehension" and first.parts:
        inner = first.parts[0]
    elif isinstance(first, Lambda) and first.function.body:
        inner = getattr(first.function.body[-1], "value", None)
    elif isinstance(first, Group):
        if name == "any" and any(truth_of(item) for item in first.items):
            return Claim("nothing", test)
        parts = [one for item in first.items for one in claims(item)]
        return replace(_weakest(test, parts), many=name == "all") if parts else Claim("nothing", test)
    if inner is None:
        return Claim("truth", test, None, negative, many=True)
    parts = claims(inner)
    single = len(parts) == 1 and name in ("all", "every") and not negative
    found = parts[0] if single else _weakest(inner, parts)
    if name in ("any", "some") or negative:
        found = replace(found, op="contains" if OPS[found.op][0] > Level.PATTERN else found.op)
    return replace(found, subject=test, many=True)


def _weakest(test: Expr, sides: list[Claim]) -> Claim:
    """``a or b`` proves no more than the weaker of the two, and never an exact value."""
    if not sides:
        return Claim("truth", test)
    lowest = min(sides, key=lambda claim: OPS[claim.op][0])
    if OPS[lowest.op][0] is Level.NOTHING:
        return Claim("nothing", test)
    op = "one of" if OPS[lowest.op][0] > Level.PATTERN else lowest.op
    choices = max(sum(claim.choices for claim in sides), 1) if isinstance(test, Binary) else 1
    return Claim(op, lowest.subject, test, lowest.negative, choices=choices)


def truth_of(node: Expr) -> bool | None:
    """Whether ``node`` is true or false whatever happens; None when that depends."""
    if isinstance(node, Literal):
        if node.kind == "bool":
            return node.text == "true"
        if node.kind == "null":
            return False
        return node.text not in ("", "0", "0.0") if node.kind in ("string", "number") else True
    if isinstance(node, Group) and node.kind in ("tuple", "list", "map", "set"):
        return bool(node.items) if node.whole else None
    if isinstance(node, Unary) and node.operator == "not":
        inner = truth_of(node.value)
        return None if inner is None else not inner
    if isinstance(node, Lambda) or (isinstance(node, Unary) and node.operator == "typeof"):
        return True
    if isinstance(node, Binary) and node.operator in ("and", "or"):
        sides = (truth_of(node.left), truth_of(node.right))
        if node.operator == "or":
            opposite = canonical(Unary(0, "not", node.left)) == canonical(node.right)
            return True if True in sides or opposite else False if sides == (False, False) else None
        return False if False in sides else True if sides == (True, True) else None
    if isinstance(node, Binary) and isinstance(node.left, Literal) and isinstance(node.right, Literal):
        same = node.left.text == node.right.text
        return {"==": same, "!=": not same}.get(node.operator)
    if isinstance(node, Name) and node.name == "TYPE_CHECKING":
        return False
    return None


def tolerance_of(call: Call) -> float | None:
    """How far off an approximation may be."""
    named = call.keyword("abs", "abs_tol", "atol", "delta", "rel", "rel_tol", "rtol", "epsilon", "max_relative")
    return value_of(named) if named is not None else None


def value_of(node: Expr | None) -> float | None:
    """The number that ``node`` is, if it is one."""
    if isinstance(node, Unary) and node.operator == "-":
        inner = value_of(node.value)
        return None if inner is None else -inner
    if isinstance(node, Literal) and node.kind == "number":
        try:
            return float(node.text)
        except ValueError:
            return None
    if isinstance(node, Member | Name) and node.name.upper() in ("EPSILON", "ε"):
        return 2.2e-16
    return None


def _bare(node: Expr) -> Expr:
    return node.value if isinstance(node, Await) else node


def _sized(node: Expr) -> Expr | None:
    """``x`` of ``len(x)``, ``x.length``, ``x.size()``."""
    if isinstance(node, Call) and _last(node) in _SIZES:
        if isinstance(node.function, Member):
            return node.function.owner if not node.arguments else None
        return node.arguments[0] if len(node.arguments) == 1 else None
    if isinstance(node, Member) and node.name in ("length", "size", "byteLength"):
        return node.owner
    return None


def _distance(node: Expr) -> Binary | None:
    """``a - b`` of ``abs(a - b)`` and ``(a - b).abs()``."""
    if not isinstance(node, Call) or _last(node) not in ("abs", "Abs", "fabs"):
        return None
    inner = node.arguments[0] if node.arguments else _owner(node)
    return inner if isinstance(inner, Binary) and inner.operator == "-" else None


def _owner(call: Call) -> Expr:
    if isinstance(call.function, Member):
        packaged = isinstance(call.function.owner, Name) and call.function.owner.name in _PACKAGES
        return call.arguments[0] if packaged and call.arguments else call.function.owner
    return call


def _last(node: Expr) -> str:
    """The name that is called, or the last one of a path."""
    if isinstance(node, Call):
        node = node.function
    return node.name if isinstance(node, Name | Member) else ""


def _speaks(node: Expr) -> bool:
    """Whether ``node`` itself claims something, so that ``node == true`` says the same."""
    if isinstance(node, Binary):
        return node.operator in ("==", "!=", "<", "<=", ">", ">=", "in", "not in", "instanceof", "and", "or")
    return isinstance(node, Call) or (isinstance(node, Unary) and node.operator == "not")
