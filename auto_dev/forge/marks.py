"""The part of a pull request's text that is auto-dev's: between two hidden marks, cut to what a forge takes. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote

from auto_dev.text import line

BODY_LIMIT: Final = 65_536  # characters that GitHub takes
BEGIN: Final = "<!-- auto-dev writes anew what is between this line and its last one; what you add outside stays -->"
_LEAST = 400  # of our part that is worth writing
_END = re.compile(
    r"^<!-- auto-dev story=(?P<story>\S*) run=(?P<run>\S*)(?: title=(?P<title>[0-9a-f]{16}))? -->[ \t]*$", re.MULTILINE
)
_FENCE = re.compile(r"(`{3,})")
_CUT = "\n\n*The rest is left out: a pull request may not be longer. `auto-dev logs` has all of it.*\n"


@dataclass(frozen=True, slots=True)
class Marker:
    """Whose pull request it is. ``title`` is a digest of the title that auto-dev gave it, "" where that is unknown."""

    story: str
    run: str
    title: str = field(default="", compare=False)


def marker(story_id: str, run_id: str) -> str:
    """The comment, invisible when rendered, by which auto-dev knows its own pull requests again."""
    return f"<!-- auto-dev story={quote(line(story_id), safe='')} run={quote(line(run_id), safe='')} -->"


def read_marker(body: str) -> Marker | None:
    """The marker in ``body``, or None when auto-dev did not write it. An agent's text cannot hold a later one."""
    found = _last_end(body.replace("\r\n", "\n"))
    return Marker(unquote(found["story"]), unquote(found["run"]), found["title"] or "") if found else None


def with_title(body: str, title: str) -> str:
    """``body`` whose marker remembers ``title``, so that a person's other one is told from it later."""
    found = _last_end(body)
    if found is None:
        return body
    mark = f"<!-- auto-dev story={found['story']} run={found['run']} title={title_digest(title)} -->"
    return body[: found.start()] + mark + body[found.end() :]


def title_digest(title: str) -> str:
    """Equal for titles that look the same: a forge may leave invisible characters out."""
    seen = "".join(char for char in unicodedata.normalize("NFC", title) if unicodedata.category(char) != "Cf")
    return hashlib.sha256(" ".join(seen.split()).encode("utf-8", "replace")).hexdigest()[:16]


def renewed(body: str, ours: str) -> str:
    """``body`` as the forge has it with our part replaced by ``ours``; what a person wrote around it stays.

    Ours is what gives way when both are too long; where no room is left for it, all stays as it is.
    """
    body = body.replace("\r\n", "\n")
    end = _last_end(body)
    if end is None:
        return fit_body(ours)
    begin = max(body.find(BEGIN, 0, end.start()), 0)
    before, after = body[:begin], body[end.end() :].rstrip()
    room = BODY_LIMIT - length(before) - length(after)
    if room < _LEAST:
        return body
    return f"{before}{fit_body(ours.strip(), room)}{after}"


def fit_body(body: str, limit: int = BODY_LIMIT) -> str:
    """``body`` cut at the end of a line to at most ``limit`` characters, with a note; its marker stays."""
    if length(body) <= limit:
        return body
    found = _last_end(body)
    tail = f"\n{found[0].strip()}" + ("\n" if body.endswith("\n") else "") if found else ""
    return fit(body[: found.start()] if found else body, limit - length(tail)) + tail


def fit(text: str, limit: int) -> str:
    """``text`` cut at the end of a line to at most ``limit`` characters, with a note."""
    if length(text) <= limit:
        return text
    kept = _take(text, limit - length(_CUT) - len(_CLOSE))
    kept = kept[: kept.rfind("\n")] if "\n" in kept else kept
    return _closed(kept).rstrip() + _CUT


def length(text: str) -> int:
    """Characters as the stricter ones count them: in UTF-16, an emoji is two."""
    return len(text) + sum(char > "\uffff" for char in text)


_CLOSE: Final = "\n\n</details>"


def _last_end(body: str) -> re.Match[str] | None:
    found = None
    for found in _END.finditer(body):  # noqa: B007 (the last one is wanted)
        pass
    return found


def _closed(text: str) -> str:
    """``text`` without a code block that it does not end, and with its fold closed: either would swallow the rest."""
    opened, fence_ticks, position, folded = 0, "", 0, False
    for each in text.splitlines(keepends=True):
        found = _FENCE.match(each)
        if not fence_ticks and found:
            opened, fence_ticks = position, found[1]
        elif fence_ticks and each.strip() == fence_ticks:
            fence_ticks = ""
        elif not fence_ticks and each.startswith("<details"):
            folded = True
        elif not fence_ticks and each.startswith("</details>"):
            folded = False
        position += len(each)
    return (text[:opened] if fence_ticks else text).rstrip() + (_CLOSE if folded else "")


def _take(text: str, limit: int) -> str:
    text = text[: max(limit, 0)]
    while length(text) > limit:
        text = text[: len(text) - (length(text) - limit + 1) // 2]
    return text
