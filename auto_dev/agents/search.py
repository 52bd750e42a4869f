"""A search through files, as a process of its own: a pattern that takes for ever must not take the daemon with it.

Run as ``python -I search.py`` in the folder to search; JSON {"pattern", "path", "glob", "most"} on stdin, lines
``file:number: text`` on stdout. No link is followed.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import sys
from collections.abc import Iterator

_SKIPPED = {".git", "node_modules", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".tox"}
_LARGEST = 2_000_000
_LINE = 300


def files(path: str, glob: str) -> Iterator[str]:
    """Regular files at or below ``path`` whose name or path fits ``glob``."""
    if not os.path.isdir(path):  # noqa: PTH112 (a small script, pathlib costs more than it)
        yield path
        return
    for folder, names, found in os.walk(path):
        names[:] = sorted(name for name in names if name not in _SKIPPED)
        for name in sorted(found):
            full = os.path.normpath(os.path.join(folder, name))  # noqa: PTH118
            if not glob or fnmatch.fnmatch(name, glob) or fnmatch.fnmatch(full, glob):
                yield full


def matches(file: str, pattern: re.Pattern[str]) -> Iterator[str]:
    """``file:number: text`` for each line that fits."""
    if os.path.islink(file) or not os.path.isfile(file) or os.path.getsize(file) > _LARGEST:  # noqa: PTH113, PTH114, PTH202
        return
    with open(file, "rb") as opened:  # noqa: PTH123
        data = opened.read(_LARGEST)
    if b"\0" in data[:4096]:
        return
    for number, text in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if pattern.search(text):
            yield f"{file}:{number}: {text.strip()[:_LINE]}"


def main() -> int:
    wanted = json.load(sys.stdin)
    pattern = re.compile(wanted["pattern"])
    left = int(wanted["most"])
    for file in files(wanted["path"], wanted["glob"]):
        try:
            for found in matches(file, pattern):
                print(found.encode("utf-8", "replace").decode("utf-8"))  # noqa: T201 (its output is what it is for)
                left -= 1
                if left <= 0:
                    print("[… more matches left out: narrow the pattern, the path or the glob …]")  # noqa: T201
                    return 0
        except OSError:  # removed or closed while we looked
            continue
    return 0


if __name__ == "__main__":
    sys.exit(main())
