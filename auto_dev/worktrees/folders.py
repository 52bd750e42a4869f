"""Folders and small files that an agent may have tampered with: read, written, locked, deleted, never followed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from auto_dev.errors import GitError


def read_small(path: Path, limit: int = 4 * 1024 * 1024) -> bytes | None:
    """The bytes of the regular file ``path``; None for anything else (absent, symlink, pipe) or over ``limit``."""
    try:
        # O_NONBLOCK: opening a named pipe without a writer would wait for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size > limit:
            return None
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(fd)


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace ``path`` as a whole; a crash leaves the old file or the new one. A symlink in its place is replaced."""
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_start(path: Path, limit: int) -> bytes | None:
    """At most ``limit`` bytes from the beginning of the regular file ``path``; None when it is none, or unreadable."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(limit)
    except OSError:
        return None
    finally:
        os.close(fd)


def set_aside(path: Path) -> None:
    """Make ``path`` free, whatever an agent left there. A folder is only renamed: deleting one can take for ever."""
    enter(path.parent)
    if is_plain_folder(path):
        path.rename(path.with_name(f".{path.name}.{secrets.token_hex(4)}.old"))
    else:
        path.unlink(missing_ok=True)


def plain_folder(path: Path) -> Path:
    """Make ``path`` a folder that its owner may use, in the place of whatever else an agent left there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    enter(path.parent)
    if not is_plain_folder(path):
        set_aside(path)
        path.mkdir()
    enter(path)
    return path


def is_plain_folder(path: Path) -> bool:
    """Whether ``path`` is a folder itself and no symlink to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def require_plain_folder(path: Path) -> None:
    """Raises GitError unless ``path`` is a folder that is reached without a symlink below its parent."""
    if not is_plain_folder(path):
        what = "is missing" if not os.path.lexists(path) else "is not a folder any more"
        raise GitError(f"the worktree {what}", where=str(path))


def enter(folder: Path) -> None:
    """Make sure that the owner may enter ``folder`` itself."""
    if is_plain_folder(folder) and (mode := stat.S_IMODE(folder.lstat().st_mode)) & 0o700 != 0o700:
        folder.chmod(mode | 0o700)


def open_up(folder: Path) -> None:
    """Give the owner access to all folders and files under ``folder``: an agent may have taken it away."""
    enter(folder)
    for entry in _walk(folder, unlock=True):
        if entry.is_file(follow_symlinks=False):
            mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
            if mode & 0o600 != 0o600:
                Path(entry.path).chmod(mode | 0o600)


def remove_pipes(folder: Path) -> list[str]:
    """Delete the named pipes under ``folder`` and return their paths: git waits for ever on one in an odd place."""
    pipes = [e.path for e in _walk(folder) if stat.S_ISFIFO(e.stat(follow_symlinks=False).st_mode)]
    for path in pipes:
        Path(path).unlink()
    return pipes


def plain_files(folder: Path) -> list[str]:
    """Paths of all files and symlinks under ``folder``; whatever is named ``.git`` is left out."""
    return [e.path for e in _walk(folder, skip=".git") if e.is_symlink() or e.is_file(follow_symlinks=False)]


def _walk(folder: Path, *, skip: str = "", unlock: bool = False) -> Iterator[os.DirEntry[str]]:
    """Every entry under ``folder``, symlinks not followed. A loop, as an agent can nest deeper than recursion goes."""
    left = [str(folder)]
    while left:
        for entry in _scan(left.pop()):
            if skip and entry.name == skip:
                continue
            if entry.is_dir(follow_symlinks=False):
                if unlock:
                    with contextlib.suppress(OSError):  # gone, or deeper than a path may be long
                        Path(entry.path).chmod(stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode) | 0o700)
                left.append(entry.path)
            yield entry


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _delete(path: Path) -> None:
    """By ``rm``: an agent can nest folders deeper than recursion, open files and path names go, and close them."""
    if not is_plain_folder(path):
        path.unlink(missing_ok=True)
        return
    said = ""
    for command in (["rm", "-rf"], ["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        if not os.path.lexists(path):
            return
        done = subprocess.run(
            [*command, "--", str(path)], check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )  # fmt: skip
        said = done.stderr.decode("utf-8", "replace").strip().split("\n")[0]
    if os.path.lexists(path):
        raise OSError(errno.EBUSY, said.rpartition(": ")[2] or os.strerror(errno.EBUSY), str(path))


async def delete(path: Path) -> None:
    """Delete whatever ``path`` is, never following a symlink; absent is fine. Raises GitError when it resists."""
    try:
        await asyncio.to_thread(_delete, path)
    except OSError as error:
        where = str(error.filename or path)
        raise GitError(f"cannot be deleted: {error.strerror}", where=where, mend="Delete it by hand.") from None


_SCRATCH = re.compile(r"\.(?:half|old|bundle|checkout)-(\d+)-")


def scratch(parent: Path, kind: str) -> Path:
    """A new folder in ``parent`` that bears our PID, so that it is known for a leftover once we are dead."""
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{kind}-{os.getpid()}-", dir=parent))


async def sweep(parent: Path) -> None:
    """Delete the scratch folders in ``parent`` whose makers are dead."""
    for name in sorted(path.name for path in parent.iterdir()) if parent.is_dir() else []:
        match = _SCRATCH.match(name)
        if match and not _is_alive(int(match[1])):
            await delete(parent / name)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def free_name(path: Path) -> Path:
    """``path`` or the first of ``path-1``, ``path-2`` … that does not exist."""
    candidate, number = path, 0
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


@contextlib.asynccontextmanager
async def locked(path: Path, timeout_s: float = 600) -> AsyncIterator[int]:
    """Hold the lock file ``path`` alone, among tasks and processes; yields its descriptor.

    Git processes inherit the descriptor: a lock that is free again proves that no git of a dead owner still works
    there, so the ``*.lock`` files that it left are stale. Raises GitError after ``timeout_s``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline, pause = time.monotonic() + timeout_s, 0.002
        while not _try_lock(fd):
            if time.monotonic() > deadline:
                raise GitError("another process has held it for too long", where=str(path), mend="Stop that process.")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        yield fd
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
