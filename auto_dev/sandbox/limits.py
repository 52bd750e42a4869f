"""Limits on a whole tree of processes, held by the kernel where this process may make cgroups.

Elsewhere RLIMIT_NPROC (which does not bind the real root) and the watcher's look at the tree take over.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

_PREFIX: Final = "auto-dev-"
_OLD_S: Final = 60.0
_numbers = count(1)

Cgroup = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Folders below which boxes may be made: for the number of processes and for memory; None where they may not."""

    processes: Path | None = None
    memory: Path | None = None
    unified: bool = False

    def box(self, processes: int, memory_bytes: int | None) -> tuple[Cgroup, ...]:
        """What one box needs, as ``Confinement`` takes it."""
        name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}-{time.monotonic_ns():x}"
        values: dict[Path, list[tuple[str, str]]] = {}
        if self.processes is not None:
            values.setdefault(self.processes, []).append(("pids.max", str(processes)))
        if self.memory is not None and memory_bytes is not None:
            file = "memory.max" if self.unified else "memory.limit_in_bytes"
            values.setdefault(self.memory, []).append((file, str(memory_bytes)))
        return tuple((str(folder / name), tuple(files)) for folder, files in values.items())


def find() -> Cgroups:
    """Where this process may make cgroups; tried, for modes and mounts tell only half."""
    own = _own()
    if (folder := own.get("")) is not None:
        for place in (folder, *list(folder.parents)[:2]):  # a service's own folder may hold processes, hence no others
            if _usable(place, "pids.max"):
                return Cgroups(place, place if _usable(place, "memory.max") else None, unified=True)
    processes, memory = own.get("pids"), own.get("memory")
    return Cgroups(
        processes if processes is not None and _usable(processes, "pids.max") else None,
        memory if memory is not None and _usable(memory, "memory.limit_in_bytes") else None,
    )


def _own() -> dict[str, Path]:
    """This process's cgroup of each controller, as a folder; "" is the unified hierarchy."""
    mounts: dict[str, tuple[str, Path]] = {}
    with suppress(OSError):  # no /proc, no cgroups
        for row in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
            before, _, after = row.partition(" - ")
            root, place, kind, options = *before.split()[3:5], after.split()[0], after.split()[-1]
            if kind == "cgroup2":
                mounts[""] = root, Path(place)
            elif kind == "cgroup":
                mounts.update({name: (root, Path(place)) for name in options.split(",") if name in ("pids", "memory")})
    found = {}
    with suppress(OSError):
        for row in Path("/proc/self/cgroup").read_text("utf-8", "replace").splitlines():
            _, names, path = row.split(":", 2)
            for name in names.split(","):
                if name in mounts and path.startswith(mounts[name][0]):
                    found[name] = mounts[name][1] / path.removeprefix(mounts[name][0]).lstrip("/")
    return found


def _usable(folder: Path, file: str) -> bool:
    """Whether a cgroup can be made here, has ``file``, and takes a process."""
    if not (folder / "cgroup.procs").exists() or not os.access(folder, os.W_OK):
        return False
    _sweep(folder)
    made = folder / f"{_PREFIX}try-{os.getpid()}-{next(_numbers)}"
    try:
        made.mkdir()
    except OSError:
        return False
    try:
        if not (made / file).exists():
            return False
        script = 'echo $$ > "$0/cgroup.procs"'
        return subprocess.run(["/bin/sh", "-c", script, made], stderr=subprocess.DEVNULL, check=False).returncode == 0
    finally:
        with suppress(OSError):  # the kernel may need a moment: the next search removes it
            made.rmdir()


def _sweep(folder: Path) -> None:
    """Remove what killed watchers left. Those in use cannot be removed."""
    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_ctime > _OLD_S:
                left.rmdir()
