"""Comments of our own: each has a hidden mark by which it is found again, so that it is made once. Pure."""

from __future__ import annotations

from urllib.parse import quote

from auto_dev.forge.github_requests import COMMENT_MARK
from auto_dev.forge.marks import BODY_LIMIT, fit
from auto_dev.text import clean, line


def mark_of(key: str) -> str:
    """The hidden mark of ``key``."""
    return f"{COMMENT_MARK}{quote(line(key), safe='')} -->"


def with_mark(body: str, key: str) -> str:
    """``body`` that ends in the mark, as long as a forge takes it."""
    mark = mark_of(key)
    return f"{fit(clean(body).strip(), BODY_LIMIT - len(mark) - 2)}\n\n{mark}"
