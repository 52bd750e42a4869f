"""Files of a worktree for an agent's tools: nothing outside is reached by ``..``, an absolute path or a link.

Every folder on the way is opened on its own, relative to the one before and without following links. What other
processes do in the same moment is the sandbox's matter.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

MAX_READ: Final = 2_000_000  # bytes
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SKIPPED: Final = frozenset({".git", "node_modules", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".tox"})


class FileProblem(Exception):  # noqa: N818 (an answer for the agent, not a fault)
    """Why a file cannot be had; the text is for the agent."""


class Folder:
    """A worktree as an agent may see it. Paths are relative to it, or absolute and inside."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def parts(self, path: str) -> list[str]:
        """The components of ``path``. Raises FileProblem when it leaves the worktree."""
        if "\0" in path:
            raise FileProblem("a path cannot hold a NUL")
        given = path.strip() or "."
        if given.startswith("/"):
            root = str(self._root)
            if given != root and not given.startswith(root + "/"):
                raise FileProblem(f"{path} is outside of the worktree; give a path relative to it")
            given = given[len(root) :]
        parts = [part for part in given.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise FileProblem(f"{path} leaves the worktree: '..' is not allowed")
        return parts

    def read(self, path: str) -> bytes:
        """A regular file's bytes. Raises FileProblem, also when it is larger than MAX_READ."""
        with self._parent(path) as (folder, name), _open(folder, name, os.O_RDONLY | os.O_NONBLOCK) as fd:
            if os.fstat(fd).st_size > MAX_READ:
                raise FileProblem(
                    f"{path} is too large ({os.fstat(fd).st_size:,} bytes); use the shell to look at parts"
                )
            return _read_all(fd)

    def write(self, path: str, data: bytes) -> bool:
        """Write a regular file, with the folders on the way; whether it is new. Raises FileProblem."""
        if any(part.casefold() == ".git" for part in self.parts(path)):
            raise FileProblem("nothing in .git may be written")
        with self._parent(path, create=True) as (folder, name):
            new = not _exists(folder, name)
            with _open(folder, name, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK) as fd:
                os.ftruncate(fd, 0)
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
        return new

    def listing(self, path: str, most: int) -> tuple[list[str], bool]:
        """Files and folders (these with a slash) below ``path``, breadth first, and whether that is all of them.

        Folders of caches and dependencies are named and not entered.
        """
        found: list[str] = []
        with self._folder(path) as top:
            waiting = [""]
            for prefix in waiting:
                with _descend(top, prefix.split("/")[:-1]) as fd, os.scandir(fd) as entries:
                    for entry in sorted(entries, key=lambda e: e.name):
                        if len(found) >= most:
                            return found, False
                        is_folder = entry.is_dir(follow_symlinks=False)
                        found.append(prefix + entry.name + ("/" if is_folder else ""))
                        if is_folder and entry.name not in _SKIPPED:
                            waiting.append(f"{prefix}{entry.name}/")
        return found, True

    def check_folder(self, path: str) -> list[str]:
        """The components of an existing file or folder that is reached without a link. Raises FileProblem."""
        parts = self.parts(path)
        if parts:
            with self._parent(path) as (folder, name):
                if stat.S_ISLNK(_lstat(folder, name, path).st_mode):
                    raise FileProblem(f"{path} is a symbolic link")
        return parts

    @contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        with self._walk(self.parts(path), path, create=False) as fd:
            yield fd

    @contextmanager
    def _parent(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        parts = self.parts(path)
        if not parts:
            raise FileProblem("give the path of a file")
        try:
            with self._walk(parts[:-1], path, create=create) as fd:
                yield fd, parts[-1]
        except OSError as error:
            raise FileProblem(_explain(error, path)) from None

    @contextmanager
    def _walk(self, parts: list[str], path: str, *, create: bool) -> Iterator[int]:
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise FileProblem(_explain(error, str(self._root))) from None
        try:
            with _descend(root, parts, create=create) as fd:
                yield fd
        except OSError as error:
            raise FileProblem(_explain(error, path)) from None
        finally:
            os.close(root)


@contextmanager
def _descend(top: int, parts: list[str], *, create: bool = False) -> Iterator[int]:
    fd = os.dup(top)
    try:
        for part in parts:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=fd)
            below = os.open(part, _FOLDER, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _open(folder: int, name: str, flags: int) -> Iterator[int]:
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileProblem(f"{name} is not a regular file")
        yield fd
    finally:
        os.close(fd)


def _read_all(fd: int) -> bytes:
    with os.fdopen(os.dup(fd), "rb") as file:
        return file.read(MAX_READ + 1)


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _lstat(folder: int, name: str, path: str) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        raise FileProblem(_explain(error, path)) from None


def _explain(error: OSError, path: str) -> str:
    if error.errno == errno.ELOOP:
        return f"{path} is, or goes over, a symbolic link; links are not followed"
    if error.errno == errno.ENOTDIR:
        return f"{path} is, or goes over, something that is no folder (or a symbolic link)"
    if error.errno == errno.ENXIO:
        return f"{path} is not a regular file"
    return f"{path}: {error.strerror}"
