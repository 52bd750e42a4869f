"""Tables of names, written as plain words."""

from __future__ import annotations


def names(words: str) -> frozenset[str]:
    """The words, as a set."""
    return frozenset(words.split())
