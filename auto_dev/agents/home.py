"""Files that the host puts into an agent's private home, which the agent may have filled with links and traps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def put_files(home: Path, files: Mapping[str, str]) -> None:
    """Write ``files`` (path below ``home`` → content) for the owner alone, in the place of whatever is there.

    No link is followed: what stands where a folder or a file belongs is removed. Raises ValueError for a path that
    leaves the home, OSError when it cannot be written.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path, content in files.items():
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not parts or ".." in parts or path.startswith("/"):
            raise ValueError(f"not a path below the home: {path!r}")
        fd = os.open(home, _FOLDER)
        try:
            for part in parts[:-1]:
                fd = _below(fd, part)
            _replace(fd, parts[-1], content.encode("utf-8"))
        finally:
            os.close(fd)


def _below(parent: int, name: str) -> int:
    """The folder ``name`` in ``parent``, which is closed; made if need be."""
    try:
        try:
            return os.open(name, _FOLDER, dir_fd=parent)
        except FileNotFoundError:
            pass
        except OSError:  # a link or a file
            os.unlink(name, dir_fd=parent)
        os.mkdir(name, 0o700, dir_fd=parent)
        return os.open(name, _FOLDER, dir_fd=parent)
    finally:
        os.close(parent)


def _replace(folder: int, name: str, data: bytes) -> None:
    temporary = f".{name}.{os.getpid()}.new"
    _remove(folder, temporary)
    with os.fdopen(os.open(temporary, _NEW, 0o600, dir_fd=folder), "wb") as file:
        file.write(data)
    try:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except (IsADirectoryError, FileExistsError):
        _remove(folder, name)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _remove(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except OSError:  # a folder
        shutil.rmtree(name, dir_fd=folder)
