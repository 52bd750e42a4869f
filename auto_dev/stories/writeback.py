"""The story's own file, with its status changed and nothing else: pure."""

from __future__ import annotations

import re

_STATUS = re.compile(
    r"^(status[ \t]*:[ \t]*)(?:'[^'\n]*'|\"[^\"\n]*\"|[^#\n]*?)([ \t]*(?:#[^\n]*)?)$", re.IGNORECASE | re.MULTILINE
)
_FRONT = re.compile(r"\A(\ufeff?---[ \t]*\n)(.*?)(^---[ \t]*$)", re.DOTALL | re.MULTILINE)


def with_status(text: str, status: str) -> str | None:
    """``text`` with ``status`` in its frontmatter; None when it has no frontmatter to hold it (an index file, say).

    Line ends are kept; a missing key is added as the last line.
    """
    windows = "\r\n" in text
    plain = text.replace("\r\n", "\n")
    front = _FRONT.match(plain)
    if front is None:
        return None
    opening, body, closing = front.groups()
    changed, found = _STATUS.subn(lambda match: f"{match[1].rstrip()} {status}{match[2]}", body, count=1)
    if not found:
        changed = f"{body}status: {status}\n"
    result = f"{opening}{changed}{closing}{plain[front.end() :]}"
    return result.replace("\n", "\r\n") if windows else result
