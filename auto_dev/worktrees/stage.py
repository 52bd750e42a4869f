"""From the files of a worktree to a tree object, with the host's index and without running anything that is in there.

``git add -A`` and ``git status`` would do, but they take a nested repository as a gitlink and look into it with its own
configuration; ``ls-files`` and ``update-index`` do not.
"""

from __future__ import annotations

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

_DENIED = re.compile(r"Permission denied|could not open directory|unable to index file", re.IGNORECASE)
_BAD_INDEX = re.compile(
    r"index file (?:corrupt|smaller)|bad (?:signature|index|hash)|unknown index|index uses .* extension", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Unsaved:
    """What differs from the index. ``paths`` are added, updated or (when gone) dropped; ``drop`` is only dropped."""

    paths: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.paths or self.drop)


async def unsaved(at: GitAt, record: Record, head: str, *, submodules_as_files: bool = False) -> Unsaved:
    """The files that changed since the index was written: modified, deleted, new and not ignored.

    Files in nested repositories count as plain files. With ``submodules_as_files`` so does what stands in the folders
    of the base's submodules. Raises GitError.
    """
    tree = _work_tree(at)
    listed, notes = await _list(at, head)
    paths: list[str] = []
    nested: list[str] = []
    for path in listed:
        (nested if path.endswith("/") else paths).append(path)
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
        notes += [
            f"the repository inside {folder!r} is taken as plain files" for folder in nested if folder[:-1] not in drop
        ]
    paths = [path for path in dict.fromkeys(paths) if not _is_below(path, record.kept_out)]
    paths, beyond = _beyond_symlinks(tree, paths)
    # A file that became a folder: its entry has to go before those of the files in the folder come.
    folders = [path for path in paths if path not in record.submodules and is_plain_folder(tree / path)]
    paths = [path for path in paths if path not in set(folders)]
    return Unsaved(tuple(paths), tuple(drop + beyond + folders), tuple(notes))


async def write_tree(at: GitAt, found: Unsaved) -> tuple[str, tuple[str, ...]]:
    """Bring the index up to date with ``found`` and write it as a tree: its id, and what could not be taken."""
    if found.drop:
        await at.run("update-index", "--force-remove", "-z", "--stdin", input=parse.joined(list(found.drop)))
    notes: tuple[str, ...] = ()
    if found.paths:
        arguments = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
        output = await _with_access(at, arguments, parse.joined(list(found.paths)))
        notes = tuple(line(row) for row in output.complaint.splitlines() if row.startswith("Ignoring path"))
    return await at.text("write-tree"), notes


async def load_tree(at: GitAt, tree: str) -> None:
    """Make the index hold ``tree`` and the work tree its files; what differs is overwritten, what is new stays."""
    await at.run("read-tree", "--reset", "-u", tree)


async def gitlinks(at: GitAt) -> tuple[str, ...]:
    """The submodules in the index."""
    rows = parse.paths((await at.run("ls-files", "-z", "--stage")).stdout)
    return tuple(row.split("\t", 1)[1] for row in rows if row.startswith("160000 "))


async def _list(at: GitAt, head: str) -> tuple[list[str], list[str]]:
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
    except GitCommandError as error:
        if not _BAD_INDEX.search(error.stderr):
            raise
        # Our own index, cut short by a full disk or a crash of the machine: it is only a cache of the head.
        (at.git_dir / "index").unlink()
        await at.run("read-tree", head)
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
