"""Which test of the base became which of the head: the same, moved, renamed, merged into a table, or gone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from auto_dev.gates.syntax.suite import Case, overlap, within

ALIKE: Final = 0.75  # a renamed test keeps three quarters of its words
SAME_NAME: Final = 0.3  # a moved test keeps its name; its body may change, but not to something else altogether
ABSORBED: Final = 0.6  # a merged or parametrised test still names most of what the old ones named
REWRITTEN: Final = 0.5  # one that was written anew for another behaviour keeps half of its words
_VALUES: Final = re.compile(r'"([^"]{1,80})"|(?<![\w.])(\d[\w.]*)')
_COMPARED: Final = 300  # tests on each side that are compared one with another


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A test in a file. ``home`` is the file's path on the base: one key for both sides of a renamed file."""

    file: str
    home: str
    case: Case


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A test before and after.

    ``after`` is None when it is gone; ``merged``: it lives on inside a larger one; ``parts``: new tests of its file
    that it may have been split into.
    """

    before: Place
    after: Place | None
    merged: bool = False
    parts: tuple[Place, ...] = ()


def pair_up(before: Sequence[Place], after: Sequence[Place]) -> list[Pair]:
    """For every test of the base its counterpart. Pure and deterministic."""
    found: dict[int, Place] = {}
    taken: set[int] = set()
    by_name = {(place.home, place.case.name): place for place in after}
    for index, place in enumerate(before):
        same = by_name.get((place.home, place.case.name))
        if same is not None:
            found[index] = same
            taken.add(id(same))
    _moved(before, after, found, taken)
    _renamed(before, after, found, taken)
    merged = _merged(before, after, found)
    taken |= {id(place) for place in merged.values()}
    _rewritten(before, after, found, taken, merged)
    parts = _split(before, after, found, taken)
    _scattered(before, after, found, merged, taken, parts)
    return [
        Pair(place, found.get(index) or merged.get(index), index in merged, parts.get(index, ()))
        for index, place in enumerate(before)
    ]


def _moved(before: Sequence[Place], after: Sequence[Place], found: dict[int, Place], taken: set[int]) -> None:
    """The same name elsewhere: another class, another file."""
    by_leaf: dict[str, list[Place]] = {}
    for place in after:
        if id(place) not in taken:
            by_leaf.setdefault(place.case.leaf, []).append(place)
    for index, place in enumerate(before):
        if index in found:
            continue
        candidates = [c for c in by_leaf.get(place.case.leaf, [])[:_COMPARED] if id(c) not in taken]
        best = max(candidates, key=lambda c: overlap(place.case.words, c.case.words), default=None)
        if best is not None and overlap(place.case.words, best.case.words) >= SAME_NAME:
            found[index] = best
            taken.add(id(best))


def _renamed(before: Sequence[Place], after: Sequence[Place], found: dict[int, Place], taken: set[int]) -> None:
    """Another name, much the same body; the best matches first."""
    lost = [index for index in range(len(before)) if index not in found][:_COMPARED]
    fresh = [place for place in after if id(place) not in taken][:_COMPARED]
    scored = [
        (overlap(before[index].case.words, place.case.words), index, number)
        for index in lost
        for number, place in enumerate(fresh)
    ]
    for _, index, number in sorted((s for s in scored if s[0] >= ALIKE), key=lambda s: (-s[0], s[1], s[2])):
        if index not in found and id(fresh[number]) not in taken:
            found[index] = fresh[number]
            taken.add(id(fresh[number]))


def _merged(before: Sequence[Place], after: Sequence[Place], found: dict[int, Place]) -> dict[int, Place]:
    """Several tests that became one (a table, a parametrised or longer test) with room for all their assertions."""
    room = {id(place): place.case.high for place in after}
    for index, place in found.items():
        same = _same_checks(before[index].case, place.case)  # nothing came to it, so it absorbed nothing
        room[id(place)] -= room[id(place)] if same else max(before[index].case.low, 1)
    merged: dict[int, Place] = {}
    for index, place in enumerate(before):
        if index in found or len(merged) >= _COMPARED:
            continue
        need = max(place.case.low, 1)
        fitting = (
            c
            for c in _first(after, place)
            if room[id(c)] >= need and not c.case.skips and _lives_on(place.case, c.case)
        )
        best = max(fitting, key=lambda c: within(place.case.bones, c.case.bones), default=None)
        if best is not None and within(place.case.bones, best.case.bones) >= ABSORBED:
            merged[index] = best
            room[id(best)] -= need
    return merged


def _rewritten(
    before: Sequence[Place], after: Sequence[Place], found: dict[int, Place], taken: set[int], merged: dict[int, Place]
) -> None:
    """A new test of the same file about the same, where another name and other values came with another behaviour."""
    for index, place in enumerate(before):
        if index in found or index in merged:
            continue
        fitting = [
            c
            for c in after
            if c.home == place.home
            and id(c) not in taken
            and not c.case.skips
            and min(within(place.case.bones, c.case.bones), within(c.case.bones, place.case.bones)) >= ABSORBED
            and overlap(place.case.words, c.case.words) >= REWRITTEN
        ][:_COMPARED]
        best = max(fitting, key=lambda c: overlap(place.case.words, c.case.words), default=None)
        if best is not None:
            found[index] = best
            taken.add(id(best))


def _same_checks(old: Case, new: Case) -> bool:
    if Counter(old.rows) != Counter(new.rows) or old.times != new.times:
        return False
    return Counter(check.signature for check in old.checks) == Counter(check.signature for check in new.checks)


def _lives_on(old: Case, new: Case) -> bool:
    """Whether most of what ``old`` expected in plain values still stands in ``new``."""
    rows = "\n".join(new.rows)
    told = [values for check in old.checks if check.counts and (values := _VALUES.findall(check.expected))]
    kept = [
        values
        for values in told
        if any(f"'{text or number}'" in new.words or (text or number) in rows for text, number in values)
    ]
    return len(kept) >= ABSORBED * len(told)


def _split(
    before: Sequence[Place], after: Sequence[Place], found: dict[int, Place], taken: set[int]
) -> dict[int, tuple[Place, ...]]:
    """New tests that name little but what one weaker test of their file named before; each serves one test only."""
    fresh = [place for place in after if id(place) not in taken and not place.case.skips][:_COMPARED]
    parts: dict[int, tuple[Place, ...]] = {}
    for index, place in found.items():
        was = before[index].case
        if place.case.high >= was.low or not fresh:
            continue
        fitting = [c for c in fresh if c.home == place.home and within(c.case.bones, was.bones) >= ABSORBED]
        parts[index] = tuple(fitting)
        fresh = [candidate for candidate in fresh if candidate not in fitting]
    return parts


def _scattered(
    before: Sequence[Place], after: Sequence[Place], found: dict[int, Place], merged: dict[int, Place], taken: set[int],
    parts: dict[int, tuple[Place, ...]],
) -> None:  # fmt: skip
    """A test that became several new ones, none of which keeps its name."""
    used = {id(part) for group in parts.values() for part in group}
    for index, place in enumerate(before):
        if index in found or index in merged:
            continue
        fresh = [
            c for c in after
            if c.home == place.home and id(c) not in taken and id(c) not in used and not c.case.skips
            and within(c.case.bones, place.case.bones) >= ABSORBED
        ][:_COMPARED]  # fmt: skip
        whole: set[str] = {bone for c in fresh for bone in c.case.bones}
        told = sum(1 for bone in place.case.bones if bone in whole)
        if (
            len(fresh) < 2
            or sum(c.case.high for c in fresh) < place.case.low
            or told < ABSORBED * len(place.case.bones)
        ):
            continue
        found[index], parts[index] = fresh[0], tuple(fresh[1:])
        taken.add(id(fresh[0]))
        used.update(id(c) for c in fresh)


def _first(after: Sequence[Place], place: Place) -> Iterable[Place]:
    """Candidates, those of the same file first."""
    same = [candidate for candidate in after if candidate.home == place.home]
    return [*same, *(candidate for candidate in after if candidate.home != place.home)][: 2 * _COMPARED]
