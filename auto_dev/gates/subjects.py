"""Whether a test went because the story asked for the removal of what it tested."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from auto_dev.gates.syntax.suite import Case, is_test_name, language_of
from auto_dev.stories.model import Story

_REMOVAL: Final = re.compile(
    r"\b(?:remov\w*|delet\w*|drop(?:s|ped|ping)?|retir\w*|deprecat\w*|get(?:ting)? rid|no longer|sunset\w*|rip out|"
    r"clean ?up|replac\w*|renam\w*|entfern\w*)\b",
    re.IGNORECASE,
)
_DEFINED: Final = re.compile(
    r"^[ \t]*(?:export\s+)?(?:default\s+)?(?:pub(?:\([^)]*\))?\s+)?(?:abstract\s+|async\s+|static\s+)*"
    r"(?:def|class|function\*?|const|let|var|func(?:\s*\([^)\n]*\))?|fn|struct|enum|trait|interface|type)\s+([A-Za-z_$][\w$]{2,})",
    re.MULTILINE,
)
_IMPORTED: Final = re.compile(r"^[ \t]*(?:from|import)\s+([\w.]+)|['\"]([^'\"\n]{1,200})['\"]", re.MULTILINE)
_AFFIX: Final = re.compile(r"^test[_-]|[._-](?:test|tests|spec|cy|e2e)$|(?:Test|Tests|Spec)$")
_LIMIT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Subjects:
    """What left the source: ``names`` that are defined nowhere any more, ``modules`` whose file is gone.

    Both are empty unless the story speaks of a removal. Only then does a test that goes with its subject need no
    repair; an agent that deletes a feature to be rid of its test has no such story.
    """

    names: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()

    def gone_by_order(self, case: Case) -> bool:
        """Whether the story asked for the removal of something that the test uses."""
        return not self.names.isdisjoint(case.words)

    def file_gone_by_order(self, path: str, source: bytes) -> bool:
        """Whether the story asked for the removal of the module that the test file at ``path`` tests."""
        if not self.names and not self.modules:
            return False
        stem = posixpath.basename(path).rsplit(".", 1)[0]
        if _AFFIX.sub("", stem) in self.modules:
            return True
        text = source[:_LIMIT].decode("utf-8", "replace")
        for match in _IMPORTED.finditer(text):
            last = re.split(r"[./]", (match[1] or match[2]).rstrip("/"))
            if not self.modules.isdisjoint(last[-2:]):
                return True
        return not self.names.isdisjoint(re.findall(r"[A-Za-z_$][\w$]{2,}", text))


def read_subjects(story: Story, files: Iterable[tuple[str, bytes | None, bytes | None]]) -> Subjects:
    """What the changed ``files`` (path on the base, before, after) define no longer. Pure."""
    words = " ".join((story.title, story.goal, *story.acceptance_criteria, *story.context, story.body[:20_000]))
    if not _REMOVAL.search(words):
        return Subjects()
    before: set[str] = set()
    after: set[str] = set()
    modules: set[str] = set()
    for path, old, new in files:
        if not language_of(path):
            continue
        after |= _defined(new)
        if is_test_name(path):
            continue
        before |= _defined(old)
        if old is not None and new is None:
            modules.add(posixpath.basename(path).rsplit(".", 1)[0])
    return Subjects(frozenset(before - after), frozenset(modules))


def _defined(source: bytes | None) -> set[str]:
    return set(_DEFINED.findall((source or b"")[:_LIMIT].decode("utf-8", "replace")))
