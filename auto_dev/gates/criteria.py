"""Which claim of a report is about which acceptance criterion, and which test is clearly about one. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from auto_dev.gates.added import AddedTest
from auto_dev.report import CriterionClaim

_ALIKE: Final = 0.5  # of the words of both
_ABOUT: Final = 0.5  # of a criterion's words that a test names
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD: Final = re.compile(r"[^\W_]+")
_NUMBERED: Final = re.compile(
    r"^\W*(?:ac|a\.c\.|(?:acceptance )?criterion|criteria|#)?[\s#-]*(\d{1,3})(?:\W|$)", re.IGNORECASE
)
_QUOTED: Final = re.compile(r"[`\"“”]([^`\"“”\n]{3,80})[`\"“”]")
_ENDINGS: Final = ("ingly", "edly", "ings", "ing", "ies", "ed", "es", "s", "ly")
_STOP: Final = frozenset(
    re.findall(
        r"\w+",
        """the and for with that this from into when then than each every all any are was were has have had
        not only also its must should shall can could will would may might does did done who what which
        where there their they them you your but out one two new given after before while upon via per use
        using used user users test tests assert self none true false return def""",
    )
)


def words_of(text: str) -> frozenset[str]:
    """The telling words of ``text``, however they are joined, without their endings."""
    parts = _WORD.findall(_CAMEL.sub(" ", text.replace("_", " ")))
    folded = (part.casefold() for part in parts)
    return frozenset(_stem(word) for word in folded if (len(word) > 2 or word.isdigit()) and word not in _STOP)


def _stem(word: str) -> str:
    ending = next((each for each in _ENDINGS if word.endswith(each) and len(word) - len(each) >= 3), "")
    return word[: len(word) - len(ending)] if ending else word


def assign(
    criteria: Sequence[str], claims: Sequence[CriterionClaim]
) -> tuple[list[list[CriterionClaim]], list[CriterionClaim]]:
    """For each of ``criteria`` the claims about it, and the claims that are about none of them.

    By the same words, by one being part of the other, by number, by most of the words; and in the end by order, where
    as many of both are left.
    """
    found: list[list[CriterionClaim]] = [[] for _ in criteria]
    left = list(claims)
    for about in (_same, _part):
        for claim in list(left):
            at = next((n for n, criterion in enumerate(criteria) if about(criterion, claim.criterion)), None)
            if at is not None:
                found[at].append(claim)
                left.remove(claim)
    _by(_number(len(criteria)), found, left)
    _by_likeness(criteria, found, left)
    empty = [at for at, has in enumerate(found) if not has]
    if left and len(left) == len(empty):
        for at, claim in zip(empty, left, strict=True):
            found[at].append(claim)
        left = []
    return found, left


def _by(place: Callable[[str], int | None], found: list[list[CriterionClaim]], left: list[CriterionClaim]) -> None:
    for claim in list(left):
        if (at := place(claim.criterion)) is not None:
            found[at].append(claim)
            left.remove(claim)


def _number(count: int) -> Callable[[str], int | None]:
    def place(text: str) -> int | None:
        match = _NUMBERED.match(text)
        return int(match[1]) - 1 if match and 1 <= int(match[1]) <= count else None

    return place


def _by_likeness(criteria: Sequence[str], found: list[list[CriterionClaim]], left: list[CriterionClaim]) -> None:
    scored = sorted(
        (
            (_likeness(criterion, claim.criterion), -at, -number)
            for at, criterion in enumerate(criteria)
            for number, claim in enumerate(left)
        ),
        reverse=True,
    )
    taken: set[int] = set()
    for score, at, number in scored:
        if score >= _ALIKE and -number not in taken:
            found[-at].append(left[-number])
            taken.add(-number)
    left[:] = [claim for number, claim in enumerate(left) if number not in taken]


def _same(one: str, other: str) -> bool:
    return _bare(one) == _bare(other) != ""


def _part(one: str, other: str) -> bool:
    short, long = sorted((_bare(one), _bare(other)), key=len)
    return len(short) >= 12 and short in long


def _bare(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


def _likeness(one: str, other: str) -> float:
    first, second = words_of(one), words_of(other)
    total = len(first) + len(second)
    return 2 * len(first & second) / total if total else 0.0


def is_about(test: AddedTest, criterion: str) -> bool:
    """Whether ``test`` clearly corresponds to ``criterion``: it names most of what the criterion speaks of, or the very
    text that the criterion quotes."""
    wanted, named = words_of(criterion), _words_of_test(test)
    for quoted in map(words_of, _QUOTED.findall(criterion)):
        if len(quoted) > 1 and quoted <= named:
            return True
    shared = wanted & named
    return len(shared) >= min(2, len(wanted)) > 0 and len(shared) >= _ABOUT * len(wanted)


def closest(tests: Iterable[AddedTest], criterion: str) -> list[AddedTest]:
    """``tests``, those first that share the most words with ``criterion``."""
    wanted = words_of(criterion)
    return sorted(tests, key=lambda test: -len(wanted & _words_of_test(test)))


def _words_of_test(test: AddedTest) -> frozenset[str]:
    if test.case is None:
        return words_of(test.file)
    return words_of(" ".join((test.case.name, *test.case.words)))
