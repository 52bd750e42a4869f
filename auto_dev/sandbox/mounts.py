"""The file system of a box, as arguments of bubblewrap: what is there, where, and how.

Paths are the same inside as outside; where one leads through symbolic links, so it does inside. A link that lies in a
folder which the box may write is never followed: an agent could have made it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auto_dev.sandbox.base import Box, SandboxError
from auto_dev.sandbox.system import PROGRAMS, devices, homes, proc_covers, settings

RUN: Final = Path("/run/auto-dev")  # the relay and its sockets, inside
_PRIVATE: Final = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108
_KERNEL: Final = ("/proc", "/sys", "/dev", "/boot")
_WHOLE: Final = ("/etc", "/var", "/home", "/root", "/mnt", "/media", "/srv", "/usr/local", "/var/lib", "/run/user")
_SPECIAL: Final = (stat.S_ISBLK, stat.S_ISCHR)

READ, WRITE, KEEP = "--ro-bind", "--bind", "--ro-bind "  # KEEP: read-only inside something writable


@dataclass(frozen=True, slots=True)
class Machine:
    """What does not change from box to box: arguments for the system's part, contents of its small files."""

    arguments: tuple[str, ...]
    covers: tuple[str, ...]
    files: Mapping[str, bytes]
    memory_bytes: int


def read_machine() -> Machine:
    """The system's folders, /etc and /proc as they are now."""
    arguments: list[str] = []
    for name in PROGRAMS:
        path = Path(name)
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(name), name]  # noqa: PTH115
        elif path.is_dir():
            arguments += ["--ro-bind", name, name]
    files, mounted = settings()
    for path in (*mounted, *devices()):
        arguments += ["--ro-bind-try", str(path), str(path)]
    contents = {}
    for number, (name, content) in enumerate(files.items()):
        contents[f"file{number}"] = content
        arguments += ["--perms", "0644", "--file", f"{{file{number}}}", name]
    arguments += ["--symlink", "/proc/self/mounts", "/etc/mtab"]
    covers: list[str] = []
    for kind, path in proc_covers():
        covers += ["--ro-bind-try", str(path) if kind == "ro" else os.devnull, str(path)]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(tuple(arguments), tuple(covers), contents, memory)


def arguments(machine: Machine, box: Box, also: Iterable[Path], relay: Path | None) -> list[str]:
    """All mounts of a box. ``also``: further readable paths that may be absent. Raises SandboxError."""
    scratch = str(max((box.memory_bytes or machine.memory_bytes) // 2, 1 << 26))
    args = ["--perms", "0755", "--dir", "/etc", *machine.arguments, "--proc", "/proc", *machine.covers, "--dev", "/dev"]
    for place in _PRIVATE:
        mode = "0755" if place == "/run" else "1777"
        args += ["--perms", mode, "--size", scratch, "--tmpfs", place]
    args += ["--symlink", "../run", "/var/run"]
    args += _binds(box, also)
    if relay is not None:
        args += ["--ro-bind", str(relay), str(RUN / "relay.py")]
        for port, socket in box.forwards.items():
            args += ["--bind", str(socket), str(RUN / f"{port}.sock")]
    return [*args, "--remount-ro", "/"]


def _binds(box: Box, also: Iterable[Path]) -> list[str]:
    """The box's own paths, parents before what lies in them."""
    writable = (box.home, *box.writable)
    check = _Check(tuple(Path(os.path.normpath(path)) for path in writable), homes())
    wanted: dict[Path, str] = {}
    links: dict[Path, str] = {}
    sources = ((also, READ, False), (box.readable, READ, True), (writable, WRITE, True), (box.read_only, KEEP, True))
    for paths, how, needed in sources:
        for path in paths:
            if not needed and not os.path.exists(path):  # noqa: PTH110 (unlike pathlib's, no error for "may not look")
                continue
            check.asked(path, how)
            real, through = check.follow(path)
            check.asked(real, how)
            links.update(through)
            wanted[real] = how
    _hold_parents(wanted)
    args: list[str] = []
    for path, how in sorted(wanted.items(), key=lambda item: (len(item[0].parts), str(item[0]))):
        if how is READ and any(wanted.get(up) is READ for up in path.parents):
            continue
        args += [how.strip(), str(path), str(path)]
    seen = {Path(name) for name in PROGRAMS} | set(wanted)
    for link, target in links.items():
        if not any(up in seen for up in link.parents):  # else it is there already, with the folder that it lies in
            args += ["--symlink", target, str(link)]
    return args


def _hold_parents(wanted: dict[Path, str]) -> None:
    """Keep what is read-only in its place: a folder above it could be renamed, and another put there.

    A mount point cannot be renamed, so each folder between it and the writable one becomes one.
    """
    for path in [path for path, how in wanted.items() if how is KEEP]:
        above = [up for up in path.parents if wanted.get(up) is WRITE]
        if not above:
            continue
        for up in path.parents:
            if up == above[-1]:
                break
            wanted.setdefault(up, WRITE)


def check_given(paths: Iterable[Path], *, write: bool) -> None:
    """Find out before any run whether boxes may be given these paths. Raises SandboxError for the first that they
    may not, or that is not there.
    """
    check = _Check((), homes())
    how = WRITE if write else READ
    for path in paths:
        check.asked(path, how)
        real, _ = check.follow(path)
        check.asked(real, how)


class _Check:
    def __init__(self, writable: tuple[Path, ...], homes_: frozenset[Path]) -> None:
        self.writable = writable
        self.homes = homes_
        self.above_homes = {Path("/"), *(up for home in homes_ for up in home.parents)}

    def asked(self, path: Path, how: str) -> None:
        """Raise SandboxError for what no box may be given."""
        if not path.is_absolute() or "\0" in str(path) or ".." in path.parts:
            raise SandboxError("a box takes absolute paths without '..'", where=str(path))
        text = str(path)
        if path in self.homes:
            raise SandboxError(
                "a whole home folder holds keys and passwords: it is not given to a box",
                where=text,
                mend="Name the folders in it that are needed.",
            )
        if (
            path in self.above_homes
            or text in (*_WHOLE, *_PRIVATE)
            or (_below(path, _KERNEL) and not _below(path, ("/dev/shm",)))  # noqa: S108
        ):
            raise SandboxError("this is not given to a box", where=text, mend="Name a folder further below.")
        if how is WRITE and (text in PROGRAMS or _below(path, ("/etc",))):
            raise SandboxError("a box may not write the system's files", where=text)

    def follow(self, path: Path) -> tuple[Path, dict[Path, str]]:
        """Where ``path`` really is, and the links on the way. Raises SandboxError when there is nothing."""
        links: dict[Path, str] = {}
        place, left = Path("/"), list(path.parts[1:])
        while left:
            step = place / left.pop(0)
            if not os.path.islink(step):  # noqa: PTH114
                place = step
                continue
            if len(links) > 40 or any(step != up and up in step.parents for up in self.writable):
                raise SandboxError(
                    "a symbolic link in a folder that the box may write is not followed",
                    where=str(step),
                    mend="Remove it, or name what it leads to.",
                )
            target = os.readlink(step)  # noqa: PTH115
            links[step] = target
            there = Path(os.path.normpath(step.parent / target))
            place, left = Path("/"), [*there.parts[1:], *left]
        try:
            mode = place.stat().st_mode
        except OSError as error:
            reason = error.strerror or str(error)
            raise SandboxError(f"a box needs this path, but: {reason}", where=str(path)) from None
        if any(special(mode) for special in _SPECIAL):
            raise SandboxError("a box takes files and folders, no devices", where=str(path))
        return place, links


def _below(path: Path, folders: Iterable[str]) -> bool:
    return any(path == Path(folder) or Path(folder) in path.parents for folder in folders)


def visible(box: Box, also: Iterable[Path]) -> Callable[[Path], bool]:
    """Whether a path of the machine can be seen in the box, by where it lies."""
    seen = {*(Path(name) for name in PROGRAMS), *also, box.home, *box.writable, *box.readable}
    real = {path.resolve() for path in seen} | seen
    return lambda path: any(place in real for place in _ways(path)) or str(path) in _PRIVATE


def _ways(path: Path) -> Iterator[Path]:
    for one in (path, path.resolve()):
        yield one
        yield from one.parents
