"""From the files of a worktree to a tree object, with the host's index and without running anything that is in there.

``git add -A`` and ``git status`` would do, but they take a nested repository as a gitlink and look into it with its own
configuration; ``ls-files`` and ``update-index`` do not.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from auto_dev.errors import GitError
from auto_dev.text import line
from auto_dev.worktrees import parse
from auto_dev.worktrees.folders import is_plain_folder, open_up, plain_files, remove_pipes
from auto_dev.worktrees.git import GitAt, GitCommandError, GitTimeoutError, Output
from auto_dev.worktrees.layout import Record

MOST_BYTES = 4 * 1024**3  # of new and changed files in one commit
_DENIED = re.compile(r"Permission denied|could not open directory|unable to index file", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Staged:
    """The files of a worktree as a ``tree`` object; ``changed``: the index was not up to date; sentences."""

    tree: str
    changed: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Unsaved:
    """What differs from the index. ``paths`` are added, updated or (when gone) dropped; ``drop`` is only dropped."""

    paths: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


async def stage(at: GitAt, record: Record, head: str, *, submodules_as_files: bool = False) -> Staged:
    """Write the worktree's files as a tree: tracked, and new ones that are not ignored.

    Files in nested repositories count as plain files. With ``submodules_as_files`` so does what stands in the folders
    of the base's submodules. Raises GitError.
    """
    index = Path(at.env.get("GIT_INDEX_FILE", at.git_dir / "index"))
    try:
        if not _is_whole(index, len(head) // 2):
            raise GitCommandError("the index is cut short", where=str(index))
        return await _stage(at, record, submodules_as_files=submodules_as_files)
    except GitCommandError:
        # Our own index is damaged, by a full disk or a crash of the machine. It is only a cache of the head.
        index.unlink(missing_ok=True)
        await at.run("read-tree", head)
        return await _stage(at, record, submodules_as_files=submodules_as_files)


async def _stage(at: GitAt, record: Record, *, submodules_as_files: bool) -> Staged:
    found = await _unsaved(at, record, submodules_as_files=submodules_as_files)
    if found.drop:
        await at.run("update-index", "--force-remove", "-z", "--stdin", input=parse.joined(list(found.drop)))
    notes = found.notes
    if found.paths:
        _refuse_huge(_work_tree(at), found.paths)
        arguments = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
        output = await _with_access(at, arguments, parse.joined(list(found.paths)))
        notes += tuple(line(row) for row in output.complaint.splitlines() if row.startswith("Ignoring path"))
    # Always, as a killed call may have left the index up to date and the head not.
    return Staged(await at.text("write-tree"), bool(found.paths or found.drop), notes)


def _refuse_huge(tree: Path, paths: Iterable[str]) -> None:
    """Raise GitError for more than a commit can hold: a file without an end would keep git busy and fill the disk."""
    total, largest, name = 0, 0, ""
    for path in paths:
        try:
            info = (tree / path).lstat()
        except OSError:
            continue  # gone, or not to be looked at: git tells
        if stat.S_ISREG(info.st_mode):
            total += info.st_size
            if info.st_size > largest:
                largest, name = info.st_size, path
    if total > MOST_BYTES:
        raise GitError(
            f"new and changed files hold {total / 1e9:.1f} GB, {line(repr(name), 100)} alone {largest / 1e9:.1f} GB",
            where=str(tree),
            mend=f"Delete or ignore what is not meant to be committed: at most {MOST_BYTES / 1e9:.1f} GB at once.",
        )


def _is_whole(index: Path, hash_size: int) -> bool:
    """Whether the checksum at the end of an index file fits; git itself does not look."""
    try:
        data = index.read_bytes()
    except FileNotFoundError:
        return False
    name = "sha1" if hash_size == 20 else "sha256"
    return hashlib.new(name, data[:-hash_size], usedforsecurity=False).digest() == data[-hash_size:]


async def _unsaved(at: GitAt, record: Record, *, submodules_as_files: bool) -> _Unsaved:
    tree = _work_tree(at)
    listed, notes = await _list(at)
    paths = [path for path in listed if not path.endswith("/")]
    nested = [path for path in listed if path.endswith("/")]
    drop: list[str] = []
    for folder in record.submodules:
        inside = tree / folder
        if not is_plain_folder(inside) or not any(inside.iterdir()):
            continue
        if submodules_as_files:
            drop.append(folder)
            nested.append(f"{folder}/")
        elif not os.path.lexists(inside / ".git"):
            notes.append(f"files in the folder of the submodule {folder!r} are not committed")
    if nested:
        paths += await _not_ignored(at, _inside(tree, nested))
        named = ", ".join(repr(folder) for folder in nested if folder[:-1] not in drop)
        notes += [f"repositories inside are taken as plain files: {named}"] if named else []
    paths = [path for path in dict.fromkeys(paths) if not _is_below(path, record.kept_out)]
    paths, beyond = _beyond_symlinks(tree, paths)
    # A file that became a folder: its entry has to go before those of the files in the folder come.
    folders = {path for path in paths if path not in record.submodules and is_plain_folder(tree / path)}
    paths = [path for path in paths if path not in folders]
    return _Unsaved(tuple(paths), (*drop, *beyond, *sorted(folders)), tuple(notes))


async def load_tree(at: GitAt, tree: str) -> None:
    """Make the index hold ``tree`` and the work tree its files; what differs is overwritten, what is new stays."""
    await at.run("read-tree", "--reset", "-u", tree)


async def gitlinks(at: GitAt) -> tuple[str, ...]:
    """The submodules in the index."""
    rows = parse.paths((await at.run("ls-files", "-z", "--stage")).stdout)
    return tuple(row.split("\t", 1)[1] for row in rows if row.startswith("160000 "))


async def _list(at: GitAt) -> tuple[list[str], list[str]]:
    arguments = ("ls-files", "-z", "--others", "--modified", "--deleted", "--exclude-standard")
    notes: list[str] = []
    try:
        output = await _with_access(at, arguments)
    except GitTimeoutError:
        pipes = remove_pipes(_work_tree(at))
        if not pipes:
            raise
        notes.append(f"{len(pipes)} named pipes were deleted")
        output = await at.run(*arguments)
    return parse.paths(output.stdout), notes


async def _with_access(at: GitAt, arguments: Sequence[str], stdin: bytes = b"") -> Output:
    """Run a command over the work tree; where an agent took our access away, take it back and try once more."""
    output = await at.run(*arguments, input=stdin, check=False)
    if _DENIED.search(output.complaint):
        open_up(_work_tree(at))
        output = await at.run(*arguments, input=stdin, check=False)
    if output.code != 0:
        return await at.run(*arguments, input=stdin)  # raises
    return output


async def _not_ignored(at: GitAt, paths: list[str]) -> list[str]:
    if not paths:
        return []
    # check-ignore does not take literal paths; "./" keeps one that begins with ":" from being read as magic.
    asked = parse.joined([f"./{path}" for path in paths])
    at = replace(at, env={**at.env, "GIT_LITERAL_PATHSPECS": "0"})
    output = await at.run("check-ignore", "--no-index", "-z", "--stdin", input=asked, ok=(0, 1))
    ignored = set(parse.paths(output.stdout))
    return [path for path in paths if f"./{path}" not in ignored]


def _inside(tree: Path, folders: Iterable[str]) -> list[str]:
    prefix = len(str(tree)) + 1
    return [path[prefix:] for folder in folders for path in plain_files(tree / folder)]


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _beyond_symlinks(tree: Path, paths: list[str]) -> tuple[list[str], list[str]]:
    """``paths`` that git may look at, and those whose folder became a symlink, which can only be dropped."""
    beyond: set[str] = set()
    plain: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        if folder in plain:
            continue
        parts = folder.split("/") if folder else []
        above = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
        if any(_is_symlink(tree / part) for part in above if part not in plain):
            beyond.add(path)
        else:
            plain.update(above, (folder,))
    return [path for path in paths if path not in beyond], sorted(beyond)


def _is_symlink(path: Path) -> bool:
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except OSError:
        return False


def _work_tree(at: GitAt) -> Path:
    if at.work_tree is None:
        raise GitError("no work tree is given")
    return at.work_tree
