"""Whether a test went because the story asked for the removal of what it tested."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from auto_dev.gates.syntax.names import names
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
_WORD: Final = re.compile(r"[A-Za-z_$][\w$]{2,}")
_QUOTED: Final = re.compile(r"`([^`\n]{1,100})`")
_SAID: Final = re.compile(
    r"`([^`\n]{3,150})`|\"([^\"\n]{3,150})\"|“([^”\n]{3,150})”|(?<!\w)'([^'\n]{3,150})'(?!\w)"
    r"|\b(test_\w+|Test[A-Z]\w+)"
)
_CAMEL: Final = re.compile(r"[a-z][A-Z]")
_DULL: Final = names("""
    remove removed delete deprecated replace rename unused tests support feature function class method module
    value values option options legacy error errors default string number object return import export update
    create result cleanup parameter argument
    """)


@dataclass(frozen=True, slots=True)
class Subjects:
    """What left the source: ``names`` that are defined nowhere any more, ``modules`` whose file is gone.

    ``spoken``: words of the story that the source says less often than before, such as an option that goes; ``told``:
    what the story says in quotes to remove, which may be a test. All are empty unless the story speaks of a removal.
    Only then does a test that goes with its subject need no
    repair; an agent that deletes a feature to be rid of its test has no such story.
    """

    names: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    spoken: frozenset[str] = frozenset()
    told: frozenset[str] = frozenset()

    def gone_by_order(self, case: Case) -> bool:
        """Whether the story asked for the removal of something that the test uses."""
        if not self.names.isdisjoint(case.words) or not self.told.isdisjoint(map(_plain, (case.name, case.leaf))):
            return True
        return any(word in case.words or f"'{word}'" in case.words or word in case.name for word in self.spoken)

    def file_gone_by_order(self, path: str, source: bytes) -> bool:
        """Whether the story asked for the removal of the module that the test file at ``path`` tests."""
        if not self.told.isdisjoint(map(_plain, (path, posixpath.basename(path)))):
            return True
        if not self.names and not self.modules and not self.spoken:
            return False
        stem = posixpath.basename(path).rsplit(".", 1)[0]
        if _AFFIX.sub("", stem) in self.modules:
            return True
        text = source[:_LIMIT].decode("utf-8", "replace")
        for match in _IMPORTED.finditer(text):
            last = re.split(r"[./]", (match[1] or match[2]).rstrip("/"))
            if not self.modules.isdisjoint(last[-2:]):
                return True
        return not (self.names | self.spoken).isdisjoint(_WORD.findall(text))


def words_of(story: Story) -> str:
    """What the story says, in one text."""
    return " ".join((story.title, story.goal, *story.acceptance_criteria, *story.context, story.body[:20_000]))


def read_subjects(story: Story, files: Iterable[tuple[str, bytes | None, bytes | None]]) -> Subjects:
    """What the changed ``files`` (path on the base, before, after) define no longer. Pure."""
    words = words_of(story)
    if not _REMOVAL.search(words):
        return Subjects()
    before: set[str] = set()
    after: set[str] = set()
    modules: set[str] = set()
    counts: Counter[str] = Counter()
    said = _named(story, words)
    for path, old, new in files:
        if not language_of(path):
            continue
        after |= _defined(new)
        if is_test_name(path):
            continue
        before |= _defined(old)
        for source, sign in ((old, 1), (new, -1)) if said else ():
            text = (source or b"")[:_LIMIT].decode("utf-8", "replace")
            counts.update(
                {word: sign * number for word, number in Counter(_WORD.findall(text)).items() if word in said}
            )
        if old is not None and new is None:
            modules.add(posixpath.basename(path).rsplit(".", 1)[0])
    spoken = frozenset(word for word, number in counts.items() if number > 0)
    return Subjects(frozenset(before - after), frozenset(modules), spoken, _ordered(words))


def _ordered(words: str) -> frozenset[str]:
    """What stands in quotes in the sentences that speak of a removal: it may be a test or its file."""
    found: set[str] = set()
    for sentence in re.split(r"(?<=[.!?])\s+|\n", words):
        if _REMOVAL.search(sentence):
            found.update(_plain(next(filter(None, said))) for said in _SAID.findall(sentence) if any(said))
    return frozenset(found)


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").split())


def _named(story: Story, words: str) -> set[str]:
    """What the story calls by name: in backticks, written like code, or in its title."""
    said = {word for quoted in _QUOTED.findall(words) for word in _WORD.findall(quoted)}
    said |= {word for word in _WORD.findall(words) if "_" in word.strip("_") or _CAMEL.search(word)}
    return said | {word for word in _WORD.findall(story.title) if len(word) > 4 and word.lower() not in _DULL}


def _defined(source: bytes | None) -> set[str]:
    return set(_DEFINED.findall((source or b"")[:_LIMIT].decode("utf-8", "replace")))
