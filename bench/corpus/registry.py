"""All cases of the corpus."""

from __future__ import annotations

import hashlib

from bench.corpus.case import Case
from bench.corpus.cases import GROUPS


def cases() -> list[Case]:
    """Every case, in a stable order. Raises ValueError for an id or story that stands twice."""
    found = [case for group in GROUPS for case in group.all]
    for what in ("id", "story id"):
        keys = [case.id if what == "id" else case.story.id for case in found]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"two cases have the {what} {twice[0]}")
    return sorted(found, key=lambda case: case.id)


def sample() -> list[Case]:
    """A part of the tuned half, the same at each call, that is judged in half a minute: few cases that run commands."""
    found = []
    for case in cases():
        share = 0.06 if case.commands else 0.2
        if not case.held_out and hashlib.sha256(case.id.encode()).digest()[1] < 256 * share:
            found.append(case)
    return found
