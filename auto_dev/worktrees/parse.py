"""What git prints, read into values. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from auto_dev.errors import GitError


@dataclass(frozen=True, slots=True)
class FileChange:
    """One changed file between two commits, as git names it.

    ``status``: A added, M modified, D deleted, R renamed, T type changed. ``old_path`` only for renames. ``mode`` is
    the new mode ("120000" symlink, "160000" submodule; "000000" when deleted). Bytes of a path that are not UTF-8
    are surrogates, so that the path finds its file again.
    """

    path: str
    status: str
    additions: int
    deletions: int
    binary: bool = False
    old_path: str | None = None
    mode: str = "100644"


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit; ``at`` is its author date in seconds since 1970."""

    sha: str
    author: str
    email: str
    at: int
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Link:
    """A commit with all that is needed to make it again elsewhere; dates as git takes them."""

    sha: str
    parents: tuple[str, ...]
    author: str
    email: str
    author_date: str
    commit_date: str
    message: str


def changes(raw: bytes) -> list[FileChange]:
    """The output of ``git diff-tree -r -z -M --raw --numstat BASE HEAD``. Raises GitError when it is something else."""
    fields = iter(raw.split(b"\0"))
    found: dict[str, FileChange] = {}
    counts: dict[str, tuple[int, int, bool]] = {}
    try:
        for field in fields:
            if field.startswith(b":"):
                change = _raw(field, fields)
                found[change.path] = change
            elif field:
                path, numbers = _numstat(field, fields)
                counts[path] = numbers
    except (StopIteration, ValueError, RuntimeError):
        raise GitError("an answer of git cannot be read", where="git diff-tree") from None
    return [_counted(change, counts.get(path, (0, 0, False))) for path, change in found.items()]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a commit has at a path where another one has something else: mode "000000" when it has nothing there."""

    path: str
    mode: str
    sha: str


def entries(raw: bytes) -> list[Entry]:
    """The second side of ``git diff-tree -r -z --raw --no-abbrev --no-renames``. Raises GitError for anything else."""
    fields = iter(raw.split(b"\0"))
    found: list[Entry] = []
    try:
        for field in fields:
            if field:
                _, mode, _, sha, _ = field.decode("ascii").split(" ")
                found.append(Entry(os.fsdecode(_next(fields)), mode, sha))
    except ValueError:
        raise GitError("an answer of git cannot be read", where="git diff-tree") from None
    return found


def _raw(field: bytes, rest: Iterator[bytes]) -> FileChange:
    _, mode, _, _, status = field.decode("ascii").split(" ")
    first = os.fsdecode(_next(rest))
    renamed = status[0] in "RC"
    path = os.fsdecode(_next(rest)) if renamed else first
    return FileChange(path, status[0], 0, 0, old_path=first if renamed else None, mode=mode)


def _numstat(field: bytes, rest: Iterator[bytes]) -> tuple[str, tuple[int, int, bool]]:
    added, deleted, name = field.split(b"\t", 2)
    if not name:  # a rename: the old and the new path follow
        _next(rest)
        name = _next(rest)
    binary = added == b"-"
    return os.fsdecode(name), (0, 0, True) if binary else (int(added), int(deleted), False)


def _next(fields: Iterator[bytes]) -> bytes:
    value = next(fields, None)
    if value is None:
        raise ValueError("the answer ends too early")
    return value


def _counted(change: FileChange, numbers: tuple[int, int, bool]) -> FileChange:
    additions, deletions, binary = numbers
    return FileChange(change.path, change.status, additions, deletions, binary, change.old_path, change.mode)


LOG_FORMAT = "%H%x00%an%x00%ae%x00%at%x00%s%x00%b"


def commits(raw: bytes) -> list[Commit]:
    """The output of ``git log -z --format=LOG_FORMAT``."""
    fields = raw.decode("utf-8", "replace").split("\0")
    rows = zip(*[iter(fields)] * 6, strict=False)
    return [Commit(sha, author, email, int(at or 0), subject, body) for sha, author, email, at, subject, body in rows]


LINK_FORMAT = "%H%x00%P%x00%an%x00%ae%x00%ad%x00%cd%x00%B"


def links(raw: bytes) -> list[Link]:
    """The output of ``git log -z --date=raw --format=LINK_FORMAT``."""
    fields = raw.decode("utf-8", "surrogateescape").split("\0")
    rows = zip(*[iter(fields)] * 7, strict=False)
    return [Link(sha, tuple(parents.split()), *rest) for sha, parents, *rest in rows]


def paths(raw: bytes) -> list[str]:
    """A list of paths that ``-z`` separates, each once, in git's order."""
    return list(dict.fromkeys(os.fsdecode(path) for path in raw.split(b"\0") if path))


def joined(names: list[str]) -> bytes:
    """Paths for a ``-z --stdin``."""
    return b"".join(os.fsencode(name) + b"\0" for name in names)


def config(raw: bytes) -> dict[str, str]:
    """The output of ``git config -z --list``: the last value of each key; a key without a value counts as "true"."""
    found: dict[str, str] = {}
    for entry in os.fsdecode(raw).split("\0"):
        if entry:
            key, newline, value = entry.partition("\n")
            found[key] = value if newline else "true"
    return found


@dataclass(frozen=True, slots=True)
class CheckoutState:
    """``git status --porcelain=v2 --branch``: no ``branch`` when detached, no ``head`` before the first commit."""

    branch: str | None
    head: str | None
    dirty: bool


def status(raw: bytes) -> CheckoutState:
    """The output of ``git status --porcelain=v2 --branch -z``."""
    branch: str | None = None
    head: str | None = None
    dirty = False
    for entry in os.fsdecode(raw).split("\0"):
        if entry.startswith("# branch.oid "):
            oid = entry.removeprefix("# branch.oid ")
            head = None if oid == "(initial)" else oid
        elif entry.startswith("# branch.head "):
            name = entry.removeprefix("# branch.head ")
            branch = None if name == "(detached)" else name
        elif entry and not entry.startswith("#"):
            dirty = True
    return CheckoutState(branch, head, dirty)
