"""All cases of the corpus."""

from __future__ import annotations

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
