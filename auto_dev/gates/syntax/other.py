"""Languages whose tests are not read one by one: their declarations and skip marks are counted."""

from __future__ import annotations

import re
from typing import Final

_TESTS: Final = re.compile(
    r"@(?:Test|ParameterizedTest)\b|\[(?:Test|Fact|Theory|TestMethod|TestCase)\b|^\s*(?:it|test|specify|scenario)\s*[('\"]"
    r"|function\s+test\w+\s*\(|^\s*def\s+test_\w+|\bfunc\s+test\w+\s*\(|^\s*@test\b|\bTEST(?:_F|_P)?\s*\(|\bok\s*\(",
    re.MULTILINE,
)
_SKIPS: Final = re.compile(
    r"@(?:Disabled|Ignore|Ignored|tag\s+:?skip\w*)\b|\[Ignore\b|\bSkip\s*=|^\s*(?:xit|xdescribe|xcontext|xspecify)\b"
    r"|^\s*(?:skip|pending)\b|markTestSkipped|markTestIncomplete|XCTSkip|Assume\.|assumeTrue\s*\(|GTEST_SKIP|DISABLED_"
    r"|\bskip:\s*(?:true|['\"])|Assert\.Ignore|Inconclusive\s*\(",
    re.MULTILINE,
)


def count_tests(source: str) -> int:
    """How many tests ``source`` seems to declare."""
    return len(_TESTS.findall(source))


def find_skips(source: str) -> list[tuple[int, str]]:
    """Line number and text of everything in ``source`` that seems to keep a test from running."""
    found: list[tuple[int, str]] = []
    for match in _SKIPS.finditer(source):
        begin = match.start() + len(match.group()) - len(match.group().lstrip())
        number = source.count("\n", 0, begin) + 1
        text = source[source.rfind("\n", 0, begin) + 1 : (source.find("\n", begin) + 1 or len(source) + 1) - 1]
        found.append((number, text.strip()[:200]))
        if len(found) >= 500:
            break
    return found
