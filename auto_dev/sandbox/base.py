"""What is asked of a sandbox, whatever makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from auto_dev.errors import AutoDevError
from auto_dev.processes import RunTree, run_tree


class SandboxError(AutoDevError):
    """A box cannot be made, or must not be made as it was asked for."""


@dataclass(frozen=True, slots=True)
class Box:
    """What one tree of processes may see and do. Everything that is not named here is not there, or read-only.

    ``writable``, ``readable``: folders and files at the same path inside as outside. ``read_only``: paths inside a
    writable folder that may be read but neither written nor replaced. ``home``: what ``$HOME`` is, writable.
    ``forwards``: TCP port on 127.0.0.1 inside → unix socket outside; there is no other network. ``processes`` and
    ``memory_bytes`` bound the whole tree.
    """

    home: Path
    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    read_only: tuple[Path, ...] = ()
    forwards: Mapping[int, Path] = field(default_factory=dict)
    processes: int = 4096
    memory_bytes: int | None = None


class Sandbox(Protocol):
    """Makes boxes. ``confines`` is False for the one that does not (``--no-sandbox``)."""

    @property
    def confines(self) -> bool: ...

    def enter(self, box: Box) -> RunTree:
        """``run_tree`` whose processes live in ``box``."""
        ...


class Unconfined:
    """No sandbox: every process has the user's own rights. Only for who asked for it (``--no-sandbox``)."""

    confines = False

    def enter(self, box: Box) -> RunTree:
        del box
        return run_tree
