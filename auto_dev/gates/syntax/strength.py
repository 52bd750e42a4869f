"""How much an assertion proves: a small partial order, the same for every language and framework.

    exact value  >  pattern, bounds, approximation  >  { type or shape, truth }  >  defined  >  nothing

Type and truth do not imply each other: ``isinstance(x, bool)`` holds for False, and any truthy value passes a look at
its truth. A check of an error, one of calls and one of a value are not compared at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final


class Level(IntEnum):
    NOTHING = 0
    DEFINED = 1
    TRUTH = 2
    SHAPE = 3
    PATTERN = 4
    EXACT = 5


# What an assertion does → how much it proves, and in which words a finding says so.
OPS: Final[dict[str, tuple[Level, str]]] = {
    "nothing": (Level.NOTHING, "an assertion that always holds"),
    "defined": (Level.DEFINED, "a look whether there is a value"),
    "runs": (Level.DEFINED, "a look whether it runs"),
    "truth": (Level.TRUTH, "a look at its truth"),
    "filled": (Level.TRUTH, "a look whether it is empty"),
    "ne": (Level.TRUTH, "a look whether it differs"),
    "fail": (Level.TRUTH, "a place that must not be reached"),
    "type": (Level.SHAPE, "a look at its type"),
    "has": (Level.SHAPE, "a look at its shape"),
    "some size": (Level.SHAPE, "bounds of its size"),
    "size": (Level.PATTERN, "its size"),
    "contains": (Level.PATTERN, "a part"),
    "matches": (Level.PATTERN, "a pattern"),
    "range": (Level.PATTERN, "bounds"),
    "approx": (Level.PATTERN, "an approximation"),
    "partial": (Level.PATTERN, "a partial comparison"),
    "one of": (Level.PATTERN, "one of several values"),
    "snapshot": (Level.PATTERN, "a recorded snapshot"),
    "eq": (Level.EXACT, "an exact comparison"),
    "some error": (Level.TRUTH, "a look whether anything fails"),
    "error": (Level.PATTERN, "a look at the error's type"),
    "error words": (Level.PATTERN, "a look at the error's text"),
    "error text": (Level.EXACT, "a look at the error's type and text"),
    "called": (Level.TRUTH, "a look whether it is called"),
    "call count": (Level.PATTERN, "a count of its calls"),
    "some call": (Level.PATTERN, "a look at some of its calls"),
    "called with": (Level.EXACT, "a look at the arguments of its calls"),
    "unknown": (Level.EXACT, "an assertion of its own kind"),
}

_ERRORS: Final = frozenset(("some error", "error", "error words", "error text", "runs"))
_CALLS: Final = frozenset(("called", "call count", "some call", "called with"))
_EMPTY: Final = frozenset(("true", "false", "null", "undefined", '""', "0", "[]", "{}", "()"))


def aspect_of(op: str) -> str:
    """What of its subject an assertion looks at: value, error or calls. Only equal aspects can be compared."""
    return "error" if op in _ERRORS else "calls" if op in _CALLS else "value"


@dataclass(slots=True, eq=False)
class Check:
    """One assertion of a test.

    ``subject`` and ``expected``: what is examined and what it is compared with, in one spelling, local names replaced
    by what they stand for; ``spoken``: the subject as written; ``constant``: ``expected`` stands in the source;
    ``parts``: how many members a whole literal has; ``guards``: what may keep it from running or from counting;
    ``low`` and ``high``: how often it runs at least and at most; ``uses`` and ``computes``: the functions called for
    the subject and for what is expected; ``over``: what the loops around it run over; ``choices``: of how many
    conditions one suffices.
    """

    op: str
    subject: str
    expected: str
    line: int
    text: str
    negative: bool = False
    spoken: str = ""
    constant: bool = False
    parts: int = 1
    tolerance: float | None = None
    guards: tuple[str, ...] = ()
    awaited: bool = False
    low: int = 1
    high: int = 1
    uses: frozenset[str] = field(default=frozenset())
    computes: frozenset[str] = field(default=frozenset())
    over: tuple[str, ...] = ()
    choices: int = 1

    @property
    def level(self) -> Level:
        level = OPS[self.op][0]
        if self.negative and level > Level.TRUTH and self.op != "type":
            return Level.TRUTH if self.op in ("eq", "called with", "call count", "error") else Level.SHAPE
        return level

    @property
    def demanded(self) -> Level:
        """The level that must be kept: comparing with true, null or an empty value is little more than its truth."""
        if self.op == "unknown":
            return Level.TRUTH
        if self.op == "eq" and self.expected in _EMPTY:
            return Level.TRUTH
        return self.level

    @property
    def aspect(self) -> str:
        return aspect_of(self.op)

    @property
    def counts(self) -> bool:
        """Whether its failure would fail the test."""
        return (
            self.high > 0
            and self.level > Level.NOTHING
            and not ("swallowed" in self.guards or "not awaited" in self.guards)
        )

    @property
    def signature(self) -> tuple[object, ...]:
        return (self.op, self.negative, self.subject, self.expected, self.tolerance)

    @property
    def says(self) -> str:
        return OPS[self.op][1]


def weaker(old: Check, new: Check) -> str:
    """In which way ``new`` proves less than ``old`` about the same thing; "" when it does not or cannot be compared."""
    if not new.counts and old.counts:
        return _uncounted(new)
    if old.aspect != new.aspect or "unknown" in (old.op, new.op):
        return ""
    if "runs" in (old.op, new.op) and old.op != new.op:
        return ""  # what failed must run now, or the other way round
    if old.demanded > new.level:
        if old.negative != new.negative and old.op == new.op and old.expected == new.expected:
            return "" if old.op not in ("eq", "one of") else "the comparison was turned round"
        return f"{old.says} became {new.says}"
    if {old.level, new.level} == {Level.TRUTH, Level.SHAPE} and old.level < new.level and new.op == "type":
        return f"{old.says} became {new.says}" if _may_be_falsy(new.expected) else ""
    if new.choices > old.choices and old.demanded > Level.DEFINED:
        return "another condition suffices as well"
    both = old.tolerance is not None and new.tolerance is not None
    if both and old.tolerance is not None and new.tolerance is not None and new.tolerance > old.tolerance * 1.000001:
        return f"a wider tolerance: {old.tolerance:g} became {new.tolerance:g}"
    return ""


def _uncounted(new: Check) -> str:
    if new.level is Level.NOTHING:
        return "it always holds now"
    if not new.high:
        return "it never runs now"
    return "its failure is swallowed" if "swallowed" in new.guards else "it is not awaited any more"


def _may_be_falsy(kind: str) -> bool:
    """Whether a value of this type may be false: the built-in ones."""
    words = {word.strip("()'\" ").lower() for word in kind.replace("(", ",").split(",")}
    return bool(
        words & {"bool", "boolean", "int", "float", "number", "str", "string", "list", "dict", "tuple", "object"}
    )
