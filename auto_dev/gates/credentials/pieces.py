"""Literals that a program puts together: ``"abc" + "def"``, ``"abc" "def"``, ``["abc", "def"].join("")``. Pure."""

from __future__ import annotations

import re
from typing import Final

_JOINT: Final = re.compile(
    rb"""(?<=[\w+/=.-])(["'`])[ \t]{0,20}(?:(?:\+|\.\.|\\)[ \t]{0,20}(?:\r?\n[ \t]{0,80})?"""
    rb"""|(?:\r?\n)?[ \t]{1,80}(?:\+[ \t]{0,20})?)[bru]?\1(?=[\w+/=.-])"""
)
_LIST: Final = re.compile(
    rb"""\[\s{0,80}(?P<pieces>(?:(["'])[\w+/=.-]{1,200}\2(?:\s{0,80},)?\s{0,80}){2,20})\]\s{0,9}\.join\(\s{0,9}(["'])\3\s{0,9}\)"""
)
_SHORTEST: Final = 2


def joined(data: bytes) -> bytes:
    """``data`` with such literals in one piece."""
    if b".join(" in data:
        data = _LIST.sub(lambda match: b'"' + b"".join(re.findall(rb"[\w+/=.-]+", match["pieces"])) + b'"', data)
    return _JOINT.sub(b"", data)


def line_of_start(value: bytes, data: bytes) -> int:
    """The line of ``data`` (from 1) where ``value`` begins, of which it holds pieces."""
    length = len(value)
    while length > _SHORTEST and value[:length] not in data:
        length -= 1
    return data.count(b"\n", 0, max(data.find(value[:length]), 0)) + 1
