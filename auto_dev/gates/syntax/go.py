"""Go tests: functions and suite methods with their subtests and tables, and what ginkgo declares."""

from __future__ import annotations

import re
from typing import Final

from auto_dev.gates.syntax.bdd import BddReader
from auto_dev.gates.syntax.code import Function, Unit, statements
from auto_dev.gates.syntax.dialect_go import GoDialect
from auto_dev.gates.syntax.lower_go import lower_go
from auto_dev.gates.syntax.parse import TooLong
from auto_dev.gates.syntax.suite import Suite

_TEST: Final = re.compile(r"(?:Test|Fuzz|Example)(?![a-z])\w*$")
_SYSTEM: Final = re.compile(  # go builds such a file only for that system
    r"_((?:aix|android|darwin|dragonfly|freebsd|illumos|ios|js|netbsd|openbsd|plan9|solaris|wasip1|windows)"
    r"|(?:\w+_)?(?:386|arm|arm64|loong64|mips\w*|ppc64\w*|riscv64|s390x|wasm))_test\.go$"
)
_BUILD: Final = re.compile(r"^//(?:go:build|\s*\+build)\s+(.+)$", re.MULTILINE)


def read_go(source: bytes, name: str = "") -> Suite:
    """The tests of a Go file. Never raises."""
    try:
        unit = lower_go(source)
    except TooLong:
        return Suite(problem="takes too long to be read")
    head = source[:4_000].decode("utf-8", "replace").split("\npackage ", 1)[0]
    tags = tuple(f"build: {' '.join(match[1].split())}" for match in _BUILD.finditer(head))
    if match := _SYSTEM.search(name):
        tags = (*tags, f"build: only for {match[1]}")
    return _GoReader(unit, tags).suite()


class _GoReader(BddReader):
    groups: frozenset[str] = frozenset(("Describe", "Context", "When", "DescribeTable"))
    tests: frozenset[str] = frozenset(("It", "Specify", "Entry"))
    prefixes: dict[str, str] = {"P": "skip", "X": "skip", "F": "only"}  # noqa: RUF012 (a table)
    roots: frozenset[str] = frozenset(("ginkgo",))

    def __init__(self, unit: Unit, tags: tuple[str, ...]) -> None:
        functions = [node for node in statements(unit.body) if isinstance(node, Function) and node.name]
        tests = [f for f in functions if _TEST.match(f.name) and f in unit.body]
        helpers = {f.name: f for f in functions if f not in tests}
        super().__init__(unit, GoDialect(), helpers)
        for function in tests:
            self._test(function, tags)
        if any("ginkgo" in module for module in unit.imports.values()):
            self.collect(unit.body)

    def _test(self, node: Function, tags: tuple[str, ...]) -> None:
        name = f"{node.receiver}.{node.name}" if node.receiver else node.name
        trace = self.tracer.run(node.body)
        if node.name.startswith("Example"):
            trace.low, trace.high = max(trace.low, 1), max(trace.high, 1)  # its output is compared with a comment
        self.add(self.case(name, node.name, node.line, node.body, trace, skips=tags))
        self.steps(trace, name, skips=(*tags, *trace.skips))
