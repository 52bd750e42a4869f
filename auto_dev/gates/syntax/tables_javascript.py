"""What JavaScript's test frameworks call their assertions."""

from __future__ import annotations

from typing import Final

from auto_dev.gates.syntax.dialect import Row
from auto_dev.gates.syntax.names import names

# The last link of expect(x).….link(y): (op, negative).
MATCHERS: Final[dict[str, tuple[str, bool]]] = {
    "toBe": ("equal", False), "toEqual": ("equal", False), "toStrictEqual": ("equal", False),
    "toEqualTypeOf": ("eq", False), "equal": ("equal", False), "equals": ("equal", False), "eq": ("equal", False),
    "eql": ("equal", False), "eqls": ("equal", False), "deepEqual": ("equal", False), "toHaveValue": ("eq", False),
    "toHaveText": ("eq", False), "toHaveTitle": ("eq", False), "toHaveURL": ("eq", False),
    "toHaveDisplayValue": ("eq", False), "toHaveJSProperty": ("eq", False), "toBeNull": ("null", False),
    "toBeUndefined": ("undefined", False), "toBeNaN": ("null", False), "toBeTrue": ("yes", False),
    "toBeFalse": ("no", False), "true": ("yes", False), "false": ("no", False), "null": ("null", False),
    "undefined": ("undefined", False), "NaN": ("null", False), "empty": ("empty", False),
    "toBeTruthy": ("truth", False), "toBeFalsy": ("truth", True), "ok": ("truth", False),
    "toBeEmpty": ("empty", False), "toBeDefined": ("defined", False), "exist": ("defined", False),
    "exists": ("defined", False), "toBeInstanceOf": ("type", False), "toBeTypeOf": ("type", False),
    "a": ("type", False), "an": ("type", False), "instanceOf": ("type", False), "instanceof": ("type", False),
    "toBeArray": ("type", False), "toBeObject": ("type", False), "toBeString": ("type", False),
    "toBeNumber": ("type", False), "toBeFunction": ("type", False), "toBeAny": ("type", False),
    "toContain": ("contains", False), "toContainEqual": ("contains", False), "include": ("contains", False),
    "contain": ("contains", False), "includes": ("contains", False), "contains": ("contains", False),
    "toContainText": ("contains", False), "toHaveTextContent": ("contains", False),
    "toHaveClass": ("contains", False), "toHaveStyle": ("contains", False), "members": ("contains", False),
    "keys": ("has", False), "string": ("contains", False), "oneOf": ("one of", False),
    "toBeOneOf": ("one of", False), "containSubset": ("partial", False), "toMatch": ("matches", False),
    "match": ("matches", False), "toMatchObject": ("partial", False), "toMatchTypeOf": ("partial", False),
    "toBeGreaterThan": ("range", False), "toBeGreaterThanOrEqual": ("range", False),
    "toBeLessThan": ("range", False), "toBeLessThanOrEqual": ("range", False), "above": ("range", False),
    "below": ("range", False), "least": ("range", False), "most": ("range", False), "greaterThan": ("range", False),
    "lessThan": ("range", False), "gt": ("range", False), "gte": ("range", False), "lt": ("range", False),
    "lte": ("range", False), "within": ("range", False), "toBeWithin": ("range", False),
    "toBeCloseTo": ("approx", False), "closeTo": ("approx", False), "approximately": ("approx", False),
    "toHaveLength": ("size", False), "lengthOf": ("size", False), "length": ("size", False),
    "toHaveCount": ("size", False), "toHaveProperty": ("property", False), "property": ("property", False),
    "toHaveAttribute": ("property", False), "attribute": ("property", False), "ownProperty": ("property", False),
    "toHaveCSS": ("property", False), "toMatchSnapshot": ("snapshot", False),
    "toMatchFileSnapshot": ("snapshot", False), "toHaveScreenshot": ("snapshot", False),
    "matchSnapshot": ("snapshot", False), "toMatchInlineSnapshot": ("inline", False),
    "toMatchAriaSnapshot": ("inline", False), "toThrow": ("throws", False), "toThrowError": ("throws", False),
    "throw": ("throws", False), "throws": ("throws", False),
    "toThrowErrorMatchingInlineSnapshot": ("error text", False), "toThrowErrorMatchingSnapshot": ("error", False),
    "rejectedWith": ("throws", False), "rejected": ("throws", False), "fulfilled": ("runs", False),
    "toHaveBeenCalled": ("called", False), "toBeCalled": ("called", False), "called": ("called", False),
    "toHaveBeenCalledOnce": ("call count", False), "calledOnce": ("call count", False),
    "calledTwice": ("call count", False), "toHaveBeenCalledTimes": ("call count", False),
    "toBeCalledTimes": ("call count", False), "callCount": ("call count", False),
    "toHaveBeenCalledWith": ("called with", False), "toBeCalledWith": ("called with", False),
    "calledWith": ("called with", False), "calledOnceWith": ("called with", False),
    "calledWithExactly": ("called with", False), "calledOnceWithExactly": ("called with", False),
    "toHaveBeenLastCalledWith": ("called with", False), "toHaveBeenNthCalledWith": ("called with", False),
    "toHaveBeenCalledExactlyOnceWith": ("called with", False), "lastCalledWith": ("called with", False),
    "toHaveReturnedWith": ("called with", False), "toHaveReturned": ("called", False),
    "notCalled": ("call count", False), "toBeInTheDocument": ("truth", False), "toBeAttached": ("truth", False),
    "toBeVisible": ("truth", False), "toBeHidden": ("truth", False), "toBeEnabled": ("truth", False),
    "toBeDisabled": ("truth", False), "toBeChecked": ("truth", False), "toBeRequired": ("truth", False),
    "toHaveFocus": ("truth", False), "toBeFocused": ("truth", False), "toBeEditable": ("truth", False),
    "toBeEmptyDOMElement": ("empty", False), "toBeInvalid": ("truth", False), "toBeValid": ("truth", False),
    "toPass": ("runs", False),
}  # fmt: skip
WORDS: Final = names("""
    to be been is that which and has have with at of same but does still also deep nested own ordered any all
    itself resolves rejects eventually soft poll
    """)
# assert.name(a, b), t.name(a, b)
ROWS: Final[dict[str, Row]] = {
    "equal": ("equal", 0, 1, False), "strictEqual": ("equal", 0, 1, False), "deepEqual": ("equal", 0, 1, False),
    "deepStrictEqual": ("equal", 0, 1, False), "equals": ("equal", 0, 1, False), "is": ("equal", 0, 1, False),
    "same": ("equal", 0, 1, False), "strictSame": ("equal", 0, 1, False), "eq": ("equal", 0, 1, False),
    "propEqual": ("equal", 0, 1, False), "sameMembers": ("equal", 0, 1, False),
    "sameDeepMembers": ("equal", 0, 1, False), "notEqual": ("equal", 0, 1, True),
    "notStrictEqual": ("equal", 0, 1, True), "notDeepEqual": ("equal", 0, 1, True),
    "notDeepStrictEqual": ("equal", 0, 1, True), "not": ("equal", 0, 1, True), "notSame": ("equal", 0, 1, True),
    "ok": ("test", 0, None, False), "true": ("yes", 0, None, False), "truthy": ("test", 0, None, False),
    "isTrue": ("yes", 0, None, False), "isOk": ("test", 0, None, False), "assert": ("test", 0, None, False),
    "notOk": ("test", 0, None, True), "false": ("no", 0, None, False), "falsy": ("test", 0, None, True),
    "isFalse": ("no", 0, None, False), "isNotOk": ("test", 0, None, True), "isNull": ("null", 0, None, False),
    "isUndefined": ("undefined", 0, None, False), "isDefined": ("defined", 0, None, False),
    "isNotNull": ("defined", 0, None, False), "exists": ("defined", 0, None, False),
    "isEmpty": ("empty", 0, None, False), "typeOf": ("type", 0, 1, False), "instanceOf": ("type", 0, 1, False),
    "isArray": ("type", 0, None, False), "isString": ("type", 0, None, False), "isObject": ("type", 0, None, False),
    "isFunction": ("type", 0, None, False), "isNumber": ("type", 0, None, False), "type": ("type", 0, 1, False),
    "include": ("contains", 0, 1, False), "notInclude": ("contains", 0, 1, True),
    "deepInclude": ("contains", 0, 1, False), "includeMembers": ("contains", 0, 1, False),
    "has": ("partial", 0, 1, False), "like": ("partial", 0, 1, False),
    "partialDeepStrictEqual": ("partial", 0, 1, False), "match": ("matches", 0, 1, False),
    "regex": ("matches", 0, 1, False), "doesNotMatch": ("matches", 0, 1, True), "notMatch": ("matches", 0, 1, True),
    "property": ("has", 0, 1, False), "propertyVal": ("called with", 0, 2, False), "lengthOf": ("size", 0, 1, False),
    "isAbove": ("range", 0, 1, False), "isBelow": ("range", 0, 1, False), "isAtLeast": ("range", 0, 1, False),
    "isAtMost": ("range", 0, 1, False), "closeTo": ("approx", 0, 1, False), "approximately": ("approx", 0, 1, False),
    "snapshot": ("snapshot", 0, None, False), "matchSnapshot": ("snapshot", 0, None, False),
    "error": ("runs", 0, None, False), "ifError": ("runs", 0, None, False),
    "calledWith": ("called with", 0, 1, False), "calledOnceWithExactly": ("called with", 0, 1, False),
    "calledOnce": ("call count", 0, None, False), "calledTwice": ("call count", 0, None, False),
    "callCount": ("call count", 0, 1, False), "called": ("called", 0, None, False),
    "notCalled": ("call count", 0, None, False), "calledWithExactly": ("called with", 0, 1, False),
    "calledOnceWith": ("called with", 0, 1, False),
}  # fmt: skip
THROWS: Final = frozenset(("throws", "throwsAsync", "rejects", "isRejected", "raises"))
RUNS: Final = frozenset(("doesNotThrow", "doesNotReject", "notThrows", "notThrowsAsync", "resolves"))
CONTEXTS: Final = frozenset(("t", "tt", "st", "assert", "test", "a", "tap", "QUnit", "ctx", "is", "plan", "p"))
STEPS: Final = frozenset(("test", "subtest", "step", "it"))
ANY: Final = {"anything": "defined", "any": "type", "objectContaining": "partial", "arrayContaining": "contains",
               "stringContaining": "contains", "stringMatching": "matches", "closeTo": "approx"}  # fmt: skip
# Names so telling that it does not matter on what they are called.
TELLING: Final = names(
    "strictEqual deepStrictEqual notStrictEqual notDeepStrictEqual deepEqual notDeepEqual strictSame"
)
EXPECTS: Final = frozenset(("expect", "expectTypeOf", "assertType", "should", "expectType"))


# Deno's assertion functions, as methods of node's.
DENO: Final = {
    "assertEquals": "equal", "assertStrictEquals": "equal", "assertNotEquals": "not", "assertMatch": "match",
    "assertStringIncludes": "include", "assertThrows": "throws", "assertRejects": "rejects",
    "assertExists": "exists", "assertInstanceOf": "instanceOf", "assertObjectMatch": "like",
}  # fmt: skip
# cy.get("x").should("have.text", "y"): the last word.
CYPRESS: Final = {
    "text": "eq", "value": "eq", "equal": "eq", "eq": "eq", "length": "size", "attr": "eq", "contain": "contains",
    "include": "contains", "match": "matches", "exist": "defined", "class": "contains", "css": "eq",
}  # fmt: skip
