"""Languages that are not read test by test: a deleted test file counts, fewer tests and more skips too."""

from __future__ import annotations

from collections import Counter

from auto_dev.gates.evidence import Finding, entry
from auto_dev.gates.removal import removed_file
from auto_dev.gates.sides import Side
from auto_dev.gates.subjects import Subjects
from auto_dev.gates.syntax.other import count_tests, find_skips
from auto_dev.gates.syntax.suite import MAX_SOURCE, is_test_name
from auto_dev.model import Route


def judge_counts(side: Side, subjects: Subjects) -> list[Finding]:
    """What happened to the tests of ``side`` as far as their number tells. Pure."""
    before = (side.before or b"").decode("utf-8", "replace")[:MAX_SOURCE]
    after = (side.after or b"").decode("utf-8", "replace")[:MAX_SOURCE]
    if side.suite_before is not None and side.suite_after is None:
        if is_test_name(side.old) or count_tests(before):
            return [removed_file(side, count_tests(before), subjects)]
        return []
    if side.suite_before is None:
        return []
    found: list[Finding] = []
    if (now := count_tests(after)) < (was := count_tests(before)):
        title = f"fewer tests than before: {was} → {now}"
        found.append(Finding(Route.REPAIR, "fewer tests in a file", entry(title, file=side.path)))
    known = Counter(text for _, text in find_skips(before))
    for number, text in find_skips(after):
        if known[text] > 0:
            known[text] -= 1
        else:
            title = "a test seems to be skipped"
            found.append(Finding(Route.REPAIR, title, entry(title, file=side.path, at=number, excerpt=text)))
    return found
