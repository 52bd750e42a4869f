"""What a language's test frameworks call their assertions, skips, mocks and steps."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from auto_dev.gates.syntax.canon import constant
from auto_dev.gates.syntax.claims import Claim, claims, equal, tolerance_of, value_of
from auto_dev.gates.syntax.code import Call, Expr, Lambda, Literal, dotted, leaf, walk

CHECKING: Final = re.compile(r"_*(?:assert|check|verify|expect|ensure|must|should|require|eqnice)(?:_|[A-Z0-9]|!|$)")
_MOCKS: Final = frozenset(("Mock", "MagicMock", "AsyncMock", "create_autospec"))
_FAKES: Final = frozenset(("vi.fn", "jest.fn", "mock.fn", "sinon.stub", "sinon.fake"))
NEVER: Final = frozenset(("checkout", "expected", "checked", "require", "expect", "checkbox", "should", "must"))

# How an assertion reads its arguments: (op, index of the subject, index of what is expected, negative).
# "test": the subject is a condition; "equal": two values, whichever is the one under test.
Row = tuple[str, int, int | None, bool]


class Dialect:
    """Base of the four dialects. Everything here is a pure question about one call."""

    waits: ClassVar[frozenset[str]] = frozenset()
    loops: ClassVar[frozenset[str]] = frozenset(("forEach", "for_each", "map", "every", "some", "each", "flatMap"))
    later: ClassVar[frozenset[str]] = frozenset()

    def asserted(self, node: Expr) -> list[Claim] | None:
        """What ``node`` claims when it is an assertion, else None. A call, or ``expect(x).to.be.true``."""
        raise NotImplementedError

    def fails(self, node: Expr) -> bool:
        """Whether ``node`` makes the test fail."""
        raise NotImplementedError

    def raises(self, value: Expr | None) -> bool:
        """Whether raising ``value`` makes the test fail as a failed assertion does."""
        raise NotImplementedError

    def skipped(self, call: Call) -> str:  # noqa: ARG002 (for those that have no such thing)
        """How ``call`` keeps the rest of its test from running, or ""."""
        return ""

    def step(self, call: Call) -> tuple[str, Lambda] | None:  # noqa: ARG002
        """The name and body of the subtest that ``call`` declares."""
        return None

    def context(self, item: Expr) -> tuple[str, Claim | None]:  # noqa: ARG002
        """What entering ``item`` (Python's ``with``) means: ("expects", claim), ("swallows", None) or ("", None)."""
        return "", None

    def mocked(self, call: Call) -> tuple[str, ...]:  # noqa: ARG002
        """The names (of functions, or of modules as in imports) that ``call`` replaces."""
        return ()

    def detached(self, names: tuple[str, ...], value: Expr) -> bool:  # noqa: ARG002
        """Whether ``names`` shadow what the test reports its failures to, so that nothing after it counts."""
        return False

    def stands_in(self, value: Expr) -> bool:
        """Whether ``value`` makes a mock: ``Mock(return_value=2)``, ``vi.fn().mockReturnValue(2)``."""
        return any(
            isinstance(part, Call) and (leaf(part.function) in _MOCKS or dotted(part.function) in _FAKES)
            for part in walk(value)
        )

    def swallowed(self, types: tuple[str, ...]) -> bool:
        """Whether a handler of these types catches a failed assertion."""
        return not types

    def helper(self, name: str) -> bool:
        """Whether the name alone tells that a function from elsewhere checks something."""
        return CHECKING.match(name) is not None and name not in NEVER


def by_row(row: Row, call: Call, shift: int = 0) -> list[Claim]:
    """The claims of an assertion that is called with plain arguments."""
    op, subject, expected, negative = row
    first = call.argument(subject + shift)
    if first is None:
        return [Claim("nothing", call)]
    second = call.argument(expected + shift) if expected is not None else None
    if op == "test":
        return claims(first, negative=negative)
    if op == "equal":
        return [equal(first, second, negative=negative)] if second is not None else [Claim("nothing", call)]
    if op == "size":
        if value_of(second) == 0 and negative:
            return [Claim("filled", first)]
        return [Claim("size", first, second, negative)]
    if op == "contains" and isinstance(second, Literal) and second.kind == "string" and not second.text:
        return [Claim("nothing", call)]
    if op == "approx":
        extra = [argument for argument in call.arguments[shift + 2 :] if value_of(argument) is not None]
        tolerance = tolerance_of(call) or (value_of(extra[0]) if extra else None)
        first, second = (
            (second, first) if second is not None and constant(first) and not constant(second) else (first, second)
        )
        return [Claim(op, first, second, negative, tolerance)]
    return [Claim(op, first, second, negative)]


def thrown(subject: Expr, kind: Expr | None, text: Expr | None, general: frozenset[str]) -> Claim:
    """The claim that ``subject`` fails with an error of type ``kind``; one of the ``general`` types says little."""
    said = isinstance(text, Literal) and text.text.strip("/^$i") in ("", ".*", ".+")
    if isinstance(kind, Call) and isinstance(kind.argument(0), Literal) and text is None:
        return Claim("error text", subject, kind)  # toThrow(new OddError("odd"))
    if text is not None and not said:
        return Claim("error text" if kind is not None else "error words", subject, text)
    if kind is None or leaf(kind) in general:
        return Claim("some error", subject, None)
    return Claim("error", subject, kind)


def places(count: Expr | None) -> float | None:
    """The tolerance of so many decimal places."""
    number = value_of(count)
    return None if number is None or abs(number) > 300 else 10.0**-number
