"""How commands speak: JSON for programs, short tables for people, one line for errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from auto_dev.text import clean, line

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "done": "green", "in_review": "green", "running": "cyan", "queued": "blue", "waiting": "yellow", "paused": "yellow",
    "failed": "red", "invalid": "red", "skipped": "dim", "blocked": "dim", "backlog": "dim", "parked": "dim",
    "ready": "white",
}  # fmt: skip


def console(*, stderr: bool = False) -> Console:
    """A console that wraps and folds only on a terminal: in a pipe a URL stays in one piece."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(stderr=stderr, highlight=False, soft_wrap=not terminal, width=None if terminal else 2000)


def emit_json(value: Any) -> None:
    """One JSON document on stdout."""
    escape = sys.stdout.encoding.lower() not in ("utf-8", "utf8")
    sys.stdout.write(json.dumps(value, ensure_ascii=escape, indent=2, default=str) + "\n")


def say(text: str = "") -> None:
    """One plain line on stdout; nothing in it is taken for markup."""
    sys.stdout.write(clean(text) + "\n")


def many(count: int, one: str, more: str) -> str:
    """``1 story``, ``2 stories``."""
    return f"{count} {one if count == 1 else more}"


def warn(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"auto-dev: {line(text, 1000)}\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, styles: Sequence[str] = ()) -> None:
    """A table without borders: readable on a narrow terminal and in a pipe."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for index, name in enumerate(columns):
        made.add_column(name, overflow="fold", no_wrap=index == 0)
    for row, style in zip(listed := list(rows), styles or [""] * len(listed), strict=True):
        made.add_row(*(Text(line(cell, 400), style=style if index < 2 else "") for index, cell in enumerate(row)))
    console().print(made)
