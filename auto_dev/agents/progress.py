"""Whether an agent gets anywhere: changes of its worktree, seen by sizes and times, without reading a file."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_MOST: Final = 200_000  # entries; about a second of one core


def fingerprint(folder: Path, also: Sequence[Path] = (), most: int = _MOST) -> tuple[int, bool]:
    """A number that changes when a file below ``folder`` (or one of ``also``) does, and whether all were seen.

    No link is followed and the repository's own ``.git`` is left out; breadth first, at most ``most`` entries.
    """
    value = 0
    seen = 0
    folders = [str(folder)]
    for path in folders:
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    seen += 1
                    if seen > most:
                        return value, False
                    status = entry.stat(follow_symlinks=False)
                    # A sum, so that the order in which a folder lists its entries does not count.
                    value += hash((path, entry.name, status.st_mtime_ns, status.st_size, status.st_mode, status.st_ino))
                    if stat.S_ISDIR(status.st_mode) and entry.name != ".git":
                        folders.append(entry.path)
        except OSError:  # removed or closed while we looked: the next look sees the change
            value += 1
    for path_ in also:
        try:
            status = path_.lstat()
            value += hash((str(path_), status.st_mtime_ns, status.st_size))
        except OSError:
            continue
    return value, True
