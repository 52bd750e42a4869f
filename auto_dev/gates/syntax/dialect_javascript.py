"""jest, vitest, jasmine, mocha, chai, should, node:assert, node:test, ava, tap, QUnit, playwright, cypress, bun."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final

from auto_dev.gates.syntax.claims import Claim, claims, equal, truth_of, value_of
from auto_dev.gates.syntax.code import NOTHING, Call, Expr, Group, Lambda, Literal, Member, Name, dotted, leaf, walk
from auto_dev.gates.syntax.dialect import Dialect, by_row, places, thrown
from auto_dev.gates.syntax.names import names
from auto_dev.gates.syntax.tables_javascript import (
    ANY,
    CONTEXTS,
    CYPRESS,
    DENO,
    EXPECTS,
    MATCHERS,
    ROWS,
    RUNS,
    STEPS,
    TELLING,
    THROWS,
    WORDS,
)

_LEAST: Final = frozenset(("toBeGreaterThanOrEqual", "least", "gte", "greaterThanOrEqual"))
_ABOVE: Final = frozenset(("toBeGreaterThan", "above", "gt", "greaterThan"))
GENERAL: Final = frozenset(("Error", "Exception"))


class JavaScriptDialect(Dialect):
    waits: ClassVar[frozenset[str]] = names("setTimeout sleep delay wait waitForTimeout setDefaultTimeout")
    later: ClassVar[frozenset[str]] = names("""
        then catch finally on once addEventListener setTimeout setInterval setImmediate nextTick subscribe
        queueMicrotask addListener
        """)

    def asserted(self, node: Expr) -> list[Claim] | None:  # noqa: C901 (one branch for each family)
        root, links = _chain(node)
        if not links:
            return _alone(root) if isinstance(root, Call) else None
        last, call = links[-1]
        names = [name for name, _ in links]
        if isinstance(root, Call) and isinstance(root.function, Name) and root.function.name in EXPECTS:
            return _expected(root.argument(0) or NOTHING, links)
        if isinstance(root, Name) and root.name in ("expect", "expectTypeOf") and call is not None:
            if names[0] in ("soft", "poll", "unverified") and links[0][1] is not None:
                return _expected(links[0][1].argument(0) or NOTHING, links[1:])
            return None  # expect.assertions(2), expect.any(String)
        if "should" in names:
            at = names.index("should")
            if (asked := links[at][1]) is not None:
                return _cypress(node, asked)
            return _expected(_upto(node, len(links) - at), links[at + 1 :])
        if call is None:
            return None
        if last in ("and", "should") and dotted(root).startswith("cy"):
            return _cypress(node, call)
        if last == "expect" and call.arguments and (not isinstance(root, Name) or len(links) > 1):
            return _answered(node, links)
        if isinstance(root, Name) and (root.name in (*CONTEXTS, "chai", "sinon") or last in TELLING):
            if root.name in ("chai", "sinon") and "assert" not in names:
                return None
            if len([name for name in names if name not in ("assert", "strict", "not")]) == 1 or names == ["not"]:
                return _method(last, call, assertion=root.name != "test")
        return None

    def fails(self, node: Expr) -> bool:
        if not isinstance(node, Call):
            return False
        name = leaf(node.function)
        if isinstance(node.function, Name):
            return name == "fail" or (
                name == "assert" and bool(node.arguments) and truth_of(node.arguments[0]) is False
            )
        return name in ("fail", "unreachable") and dotted(node.function).split(".")[0] in (*CONTEXTS, "expect", "chai")

    def raises(self, value: Expr | None) -> bool:
        return value is not None and isinstance(value, Call)

    def skipped(self, call: Call) -> str:
        if isinstance(call.function, Name):
            return "pending()" if call.function.name == "pending" else ""
        owner = dotted(call.function).split(".")
        if owner[-1] in ("skip", "todo", "fixme", "fail") and owner[0] in ("this", "t", "ctx", "context", "test", "it"):
            if owner[-1] == "fail" and owner[0] != "test":
                return ""
            body = [one for one in call.arguments if isinstance(one, Lambda)]
            return "" if body else f"{owner[0]}.{owner[-1]}()"
        return ""

    def step(self, call: Call) -> tuple[str, Lambda] | None:
        function = call.function
        if not isinstance(function, Member) or function.name not in STEPS or not isinstance(function.owner, Name):
            return None
        if function.owner.name not in ("t", "tt", "st", "ctx", "context", "s"):
            return None
        name, body = call.argument(0), next((one for one in call.arguments if isinstance(one, Lambda)), None)
        return (name.text, body) if isinstance(name, Literal) and body is not None else None

    def mocked(self, call: Call) -> tuple[str, ...]:
        """``jest.mock("./x")``, ``jest.spyOn(x, "a").mockReturnValue(1)``, ``sinon.stub(x, "a")``."""
        path = dotted(call.function)
        first, second = call.argument(0), call.argument(1)
        if path in ("jest.mock", "vi.mock", "vitest.mock", "jest.doMock", "vi.doMock", "mock.module"):
            if isinstance(first, Literal) and not any("Actual" in leaf(part) for part in _calls_in(second)):
                return (f"module {first.text}",)
            return ()
        name = leaf(call.function)
        if name.startswith(("mockReturn", "mockImplementation", "mockResolved", "mockRejected")) or name in (
            "returns",
            "resolves",
            "callsFake",
        ):
            inner = call.function.owner if isinstance(call.function, Member) else NOTHING
            if (
                isinstance(inner, Call)
                and leaf(inner.function) in ("spyOn", "stub", "replace")
                and isinstance(inner.argument(1), Literal)
            ):
                return (getattr(inner.argument(1), "text", ""),)
        if path in ("sinon.replace", "sinon.stub") and isinstance(second, Literal):
            return (second.text,)
        return ()


def _chain(node: Expr) -> tuple[Expr, list[tuple[str, Call | None]]]:
    """``expect(x).not.toBe(3)``: its root ``expect(x)`` and the links after it, each with its call."""
    links: list[tuple[str, Call | None]] = []
    while True:
        if isinstance(node, Call) and isinstance(node.function, Member):
            links.append((node.function.name, node))
            node = node.function.owner
        elif isinstance(node, Member):
            links.append((node.name, None))
            node = node.owner
        else:
            break
    return node, links[::-1]


def _upto(node: Expr, back: int) -> Expr:
    """``node`` without its last ``back`` links."""
    for _ in range(back):
        if isinstance(node, Call) and isinstance(node.function, Member):
            node = node.function.owner
        elif isinstance(node, Member):
            node = node.owner
    return node


def _alone(root: Call) -> list[Claim] | None:
    name = leaf(root.function) if isinstance(root.function, Name) else ""
    if name in ("assert", "ok"):
        return claims(root.arguments[0]) if root.arguments else [Claim("nothing", root)]
    if name in ("expect", "expectTypeOf"):
        return [Claim("nothing", root)]
    if name in ("assertType", "expectType"):
        return [Claim("type", root.argument(0) or root)]
    return _method(DENO[name], root) if name in DENO else None


def _expected(subject: Expr, links: list[tuple[str, Call | None]]) -> list[Claim]:
    """The claims of ``expect(subject)`` with these links; chai may chain several."""
    negative = False
    found: list[Claim] = []
    for name, call in links:
        if name == "not":
            negative = not negative
        elif name in MATCHERS and (call is not None or not name.startswith("to")):
            if call is None and name in ("include", "contain", "a", "an", "length", "match", "any", "string", "own"):
                continue
            found.append(_matched(subject, name, call, negative=negative))
        elif call is not None and name not in WORDS:
            found.append(Claim("unknown", subject, call.argument(0), negative))
    specific = [claim for claim in found if claim.op not in ("type", "defined")]
    kept = (specific or found or [Claim("nothing", subject)])[:4]
    waits = any(name in ("resolves", "rejects", "eventually") for name, _ in links)
    return [replace(claim, promise=True) for claim in kept] if waits else kept


def _matched(subject: Expr, name: str, call: Call | None, *, negative: bool) -> Claim:  # noqa: C901
    op, turned = MATCHERS[name]
    negative = negative != turned
    expected = call.argument(0) if call is not None else None
    if op == "equal":
        if isinstance(expected, Call) and dotted(expected.function).startswith("expect."):
            return Claim(ANY.get(leaf(expected), "partial"), subject, expected.argument(0), negative)
        return equal(subject, expected, negative=negative) if expected is not None else Claim("nothing", subject)
    if op in ("null", "undefined"):
        return Claim("defined", subject) if negative else Claim("eq", subject, Literal(subject.line, "null", op))
    if op in ("yes", "no"):
        return equal(subject, Literal(subject.line, "bool", "true" if op == "yes" else "false"), negative=negative)
    if op == "defined":
        return (
            Claim("eq", subject, Literal(subject.line, "null", "undefined")) if negative else Claim("defined", subject)
        )
    if op == "empty":
        return Claim("filled", subject) if negative else Claim("size", subject, Literal(subject.line, "number", "0"))
    if op == "truth":
        found = claims(subject, negative=negative)
        return found[0] if len(found) == 1 else Claim("truth", subject, None, negative)
    if op == "throws":
        if negative:
            return Claim("runs", subject)
        text = expected if isinstance(expected, Literal) else (call.argument(1) if call is not None else None)
        return thrown(subject, None if isinstance(expected, Literal) else expected, text, GENERAL)
    if op == "size":
        return (
            Claim("filled", subject)
            if negative and value_of(expected) == 0
            else Claim("size", subject, expected, negative)
        )
    if op == "property":
        value = call.argument(1) if call is not None else None
        return Claim(
            "has" if value is None else "eq", Member(subject.line, subject, leaf_text(expected)), value, negative
        )
    if op == "inline":
        return Claim("eq" if expected is not None else "snapshot", subject, expected, negative)
    if op == "approx":
        return _near(subject, name, call, negative=negative)
    if op == "partial" and isinstance(expected, Group) and not expected.items:
        return Claim("type", subject, expected)
    sized = isinstance(subject, Member) and subject.name in ("length", "size")
    least = 0 if name in ("toBeGreaterThan", "above", "gt") else 1
    if op == "range" and sized and isinstance(subject, Member) and value_of(expected) == least:
        return Claim("filled", subject.owner)
    if op == "range" and sized and not negative and _always(name, value_of(expected)):
        return Claim("nothing", subject)
    if op == "range" and expected is not None:
        return Claim(op, subject, Call(subject.line, Name(subject.line, name), (expected,)), negative)
    if op == "called" and negative:
        return Claim("call count", subject, Literal(subject.line, "number", "0"))
    if op == "called with" and call is not None and len(call.arguments) > 1:
        expected = Group(subject.line, "tuple", call.arguments)
    if op == "contains" and isinstance(expected, Literal) and expected.kind == "string" and not expected.text:
        return Claim("nothing", subject)
    if op == "eq" and expected is None:
        return Claim("nothing", subject)
    return Claim(op, subject, expected, negative)


def _always(name: str, limit: float | None) -> bool:
    """Whether no size is below the ``limit``."""
    return limit is not None and ((limit <= 0 and name in _LEAST) or (limit < 0 and name in _ABOVE))


def _near(subject: Expr, name: str, call: Call | None, *, negative: bool) -> Claim:
    expected, second = (call.argument(0), call.argument(1)) if call is not None else (None, None)
    tolerance = (places(second) if second is not None else 0.005) if name == "toBeCloseTo" else value_of(second)
    return Claim("approx", subject, expected, negative, tolerance)


def _method(name: str, call: Call, *, assertion: bool = True) -> list[Claim] | None:
    """``assert.name(…)``, ``t.name(…)``."""
    first, second = call.argument(0), call.argument(1)
    if name in THROWS:
        kind, text = (None, second) if isinstance(second, Literal) else (second, None)
        if isinstance(second, Group | Lambda):
            told = isinstance(second, Lambda) or bool(second.items)
            return [Claim("error text" if told else "some error", first or NOTHING, second, promise=name == "rejects")]
        return [replace(thrown(first or NOTHING, kind, text, GENERAL), promise=name != "throws" and name != "raises")]
    if name in RUNS:
        return [Claim("runs", first or NOTHING)]
    if name in ("pass", "plan", "end"):
        return [Claim("nothing", call)] if name == "pass" else None
    if name not in ROWS or not assertion:
        return None
    op, subject, expected, negative = ROWS[name]
    if op in ("null", "undefined") and first is not None:
        return [Claim("eq", first, Literal(call.line, "null", op))]
    if op in ("yes", "no") and first is not None:
        return [equal(first, Literal(call.line, "bool", "true" if op == "yes" else "false"))]
    if op == "empty" and first is not None:
        return [Claim("size", first, Literal(call.line, "number", "0"))]
    return by_row((op, subject, expected, negative), call)


def _cypress(node: Expr, call: Call) -> list[Claim] | None:
    """``cy.get("x").should("have.text", "y")``."""
    said, value = call.argument(0), call.argument(1)
    subject = _upto(node, 1)
    if not isinstance(said, Literal):
        return [Claim("unknown", subject, said)] if said is not None else None
    words = said.text.split(".")
    op = CYPRESS.get(words[-1])
    return [Claim(op or "truth", subject, value, "not" in words)]


def _answered(node: Expr, links: list[tuple[str, Call | None]]) -> list[Claim]:
    """``request(app).get("/").expect(200).expect("X-Header", "y", done)`` of supertest: its last link."""
    call = links[-1][1]
    given = (
        [one for one in call.arguments if not (isinstance(one, Name) and one.name in ("done", "cb", "next"))]
        if call
        else []
    )
    asked = next((index for index, (name, _) in enumerate(links) if name == "expect"), len(links) - 1)
    subject = _upto(node, len(links) - asked)
    if not given:
        return []
    if isinstance(given[0], Lambda):
        return []
    if len(given) > 1 and isinstance(given[0], Literal) and given[0].kind == "string":
        regex = isinstance(given[1], Literal) and given[1].kind == "regex"
        return [Claim("matches" if regex else "eq", Member(subject.line, subject, given[0].text), given[1])]
    found: list[Claim] = []
    for one in given[:2]:
        status = isinstance(one, Literal) and one.kind == "number"
        regex = isinstance(one, Literal) and one.kind == "regex"
        op = "matches" if regex else "unknown" if isinstance(one, Call) else "eq"
        found.append(Claim(op, Member(subject.line, subject, "status" if status else "body"), one))
    return found


def leaf_text(node: Expr | None) -> str:
    return node.text if isinstance(node, Literal) else leaf(node) if node is not None else ""


def _calls_in(node: Expr | None) -> list[Expr]:
    """The calls in a mock's factory, as far as a look needs."""
    if not isinstance(node, Lambda):
        return []
    found: list[Expr] = []
    for statement in node.function.body:
        value = getattr(statement, "value", None)
        if value is not None:
            found += [part for part in walk(value) if isinstance(part, Call | Member)]
    return found
