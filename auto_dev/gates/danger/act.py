"""One thing that a change would do, with the tier of the decision that it takes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

DESTRUCTIVE: Final = 4
EXTERNAL: Final = 5


@dataclass(frozen=True, slots=True)
class Act:
    """``rule`` is what kind of act it is and ``subject`` what it is done to: together they are its fingerprint, so that
    the same act is known again in another line, another file or the plan. ``costly``: it may not be undone for money.
    """

    rule: str
    subject: str
    title: str
    why: str
    file: str = ""
    line: int = 0
    excerpt: str = ""
    tier: int = DESTRUCTIVE
    costly: bool = True

    @property
    def fingerprint(self) -> str:
        text = f"{self.rule}\0{' '.join(self.subject.lower().split())}"
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
