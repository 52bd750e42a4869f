"""Files that the host puts into an agent's private home, which the agent may have filled with links and traps."""

from __future__ import annotations

import os
import secrets
import stat
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
        fd = _opened(home)
        try:
            for part in parts[:-1]:
                fd = _below(fd, part)
            _replace(fd, parts[-1], content.encode("utf-8"))
        finally:
            os.close(fd)


def _opened(home: Path) -> int:
    """The home itself, which its owner may enter whatever the agent made of its mode."""
    if stat.S_ISDIR((found := home.lstat()).st_mode) and stat.S_IMODE(found.st_mode) & 0o700 != 0o700:
        home.chmod(0o700)
    return os.open(home, _FOLDER)


def _below(parent: int, name: str) -> int:
    """The folder ``name`` in ``parent``, which is closed; made if need be."""
    try:
        try:
            return os.open(name, _FOLDER, dir_fd=parent)
        except FileNotFoundError:
            pass
        except OSError:  # a link, a file, or a closed folder
            _remove(parent, name)
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
    except OSError:  # a folder: set aside, since one that an agent filled can take for ever to delete
        aside = f".{name}.{secrets.token_hex(4)}.old"
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
