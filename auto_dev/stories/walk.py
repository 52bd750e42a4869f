"""The walk over a folder: the only input of this package."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from auto_dev import text as texts
from auto_dev.errors import StoryError
from auto_dev.stories.model import Problem
from auto_dev.stories.problems import error, warning

MAX_BYTES: Final = 2 * 1024 * 1024
SUFFIXES: Final = (".md", ".markdown", ".mdx", ".yaml", ".yml")

Files = list[tuple[str, bytes | Problem]]


def walk(folder: Path) -> tuple[Files, list[Problem]]:
    """The files that may hold stories, by path relative to ``folder``, in a stable order, and what was left out.

    Names that begin with ``_`` or ``.`` are passed over. Links out of the folder are not followed. Raises StoryError.
    """
    shown = texts.line(str(folder))
    try:
        root = folder.resolve(strict=True)
        is_folder = root.is_dir()
    except FileNotFoundError:
        raise StoryError("no such folder", where=shown, mend="Give the folder that holds the stories.") from None
    except (OSError, RuntimeError, ValueError) as fault:
        raise StoryError(f"cannot be read: {getattr(fault, 'strerror', None) or fault}", where=shown) from None
    if not is_folder:
        raise StoryError("not a folder", where=shown, mend="Give the folder that holds the stories.")
    search = _Search(root)
    search.run()
    if not search.files and not search.problems:
        mend = "Put a story there as a Markdown file, or give another folder."
        raise StoryError("no story in this folder", where=shown, mend=mend)
    return search.files, search.problems


class _Search:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: Files = []
        self.problems: list[Problem] = []
        self.regular: list[Path] = []
        self.links: list[Path] = []

    def run(self) -> None:
        pending = [self.root]
        while pending:
            pending += self._list(pending.pop())
        real = {str(path) for path in self.regular}
        for link in sorted(self.links, key=self._order):
            target = self._target(link)
            if target is not None and str(target) not in real:
                real.add(str(target))
                self.regular.append(link)
        for path in sorted(self.regular, key=self._order):
            self.files.append((self._name(path), self._read(path)))

    def _order(self, path: Path) -> tuple[str, ...]:
        return path.relative_to(self.root).parts

    def _name(self, path: Path) -> str:
        return texts.clean(path.relative_to(self.root).as_posix()).replace("\n", " ")

    def _list(self, folder: Path) -> list[Path]:
        """Take note of a folder's files and links; returns the folders in it."""
        deeper = []
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as fault:
            self.problems.append(error(self._name(folder), f"the folder cannot be read: {fault.strerror}"))
            return []
        for entry in entries:
            if entry.name.startswith(("_", ".")):
                continue
            path = folder / entry.name
            if entry.is_symlink():
                self.links.append(path)
            elif entry.is_dir(follow_symlinks=False):
                deeper.append(path)
            elif path.suffix.lower() in SUFFIXES:
                self.regular.append(path)
        return deeper

    def _target(self, link: Path) -> Path | None:
        """Where a link to a story file inside of the folder leads; anything else is not followed, and says so."""
        wanted = link.suffix.lower() in SUFFIXES
        try:
            target = link.resolve(strict=True)
            is_folder = target.is_dir()
        except (OSError, RuntimeError) as fault:
            if wanted or not link.suffix:
                reason = getattr(fault, "strerror", None) or "it leads to itself"
                self.problems.append(warning(self._name(link), f"a link that cannot be followed: {reason}"))
            return None
        if not (wanted or is_folder):
            return None
        if not target.is_relative_to(self.root):
            message = "a link that leads out of the folder is not followed"
            self.problems.append(warning(self._name(link), message, "Put the file itself there."))
            return None
        if is_folder:
            self.problems.append(warning(self._name(link), "a link to a folder is not followed"))
            return None
        return target

    def _read(self, path: Path) -> bytes | Problem:
        name = self._name(path)
        try:
            # Not blocking: a pipe would wait for a writer for ever.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return error(name, "not a regular file")
                data = file.read(MAX_BYTES + 1)
        except OSError as fault:
            return error(name, f"cannot be read: {fault.strerror}", "Check who may read it.")
        if len(data) > MAX_BYTES:
            return error(name, "larger than 2 MB", "Split it, or move what is no story elsewhere.")
        return data
