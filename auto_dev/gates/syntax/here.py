"""Where a trace stands, and what it found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from auto_dev.gates.syntax.code import Expr, Function, Lambda
from auto_dev.gates.syntax.strength import Check

CAP: Final = 1_000_000  # how often anything is taken to run at most


@dataclass(frozen=True, slots=True)
class Here:
    """Where the trace stands: what guards it, how often it comes by, what local names stand for."""

    guards: tuple[str, ...] = ()
    low: int = 1
    high: int = 1
    awaited: bool = False
    depth: int = 0
    loops: int = 0
    over: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, Expr] = field(default_factory=dict)
    local: dict[str, Function] = field(default_factory=dict)

    def guarded(self, guard: str) -> Here:
        return self if guard in self.guards else replace(self, guards=(*self.guards, guard))

    def looped(self, over: str) -> Here:
        return replace(self, over=(*self.over, over))

    def times(self, low: int, high: int) -> Here:
        return replace(self, low=min(self.low * low, CAP), high=min(self.high * high, CAP))


@dataclass(slots=True)
class Trace:
    """What was found on the way. ``waits``: (function, how long or often, line); ``rows``: of its tables;
    ``swallows``: the functions whose failure ends silently."""

    checks: list[Check] = field(default_factory=list)
    skips: list[str] = field(default_factory=list)
    mocks: set[str] = field(default_factory=set)
    waits: list[tuple[str, float, int]] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    swallows: set[str] = field(default_factory=set)
    steps: list[tuple[str, Lambda, Here]] = field(default_factory=list)
    low: int = 0
    high: int = 0
