"""SQL lives in ``.sql`` files, in named blocks that each say what they do.

A block begins with ``-- name: the_name`` and ends at the next one; comment lines that follow the name describe it.
Parameters are psycopg's ``%(name)s``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import LiteralString, cast

_NAME = re.compile(r"^-- name:\s*(\w+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Queries:
    """The named statements of one file. ``queries["name"]`` raises KeyError for an unknown one."""

    file: str
    blocks: dict[str, LiteralString]

    def __getitem__(self, name: str) -> LiteralString:
        try:
            return self.blocks[name]
        except KeyError:
            raise KeyError(f"{self.file} has no statement named {name!r}") from None


def parse(text: str, file: str) -> Queries:
    """Split ``text`` into its named blocks. Raises ValueError for a name that stands twice."""
    parts = _NAME.split(text)
    blocks: dict[str, LiteralString] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in blocks:
            raise ValueError(f"{file}: the statement {name!r} stands twice")
        # The text comes from a file of this package, never from outside: that is what LiteralString asks for.
        blocks[name] = cast("LiteralString", body.strip())
    return Queries(file, blocks)


@cache
def load(package: str, file: str) -> Queries:
    """The statements of ``file`` inside the importable ``package``."""
    return parse(resources.files(package).joinpath(file).read_text("utf-8"), file)
