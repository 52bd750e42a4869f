"""YAML that somebody else wrote, read in a time that grows with its length."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

_DEEPEST: Final = 100  # the parser's time grows with the square of it
_BRACKET: Final = re.compile(r"[\[\]{}]")


def documents(text: str) -> list[Any]:
    """The documents in ``text``. Raises ValueError where brackets nest too deeply, yaml.YAMLError, RecursionError."""
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth = depth + 1 if bracket[0] in "[{" else max(0, depth - 1)
        if depth > _DEEPEST:
            raise ValueError(f"brackets nest deeper than {_DEEPEST}")
    return list(yaml.safe_load_all(text))
