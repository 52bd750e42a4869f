"""Clean checkouts of committed trees, for gate commands: outside the worktree, where nothing uncommitted can help."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from auto_dev.worktrees.folders import delete, scratch
from auto_dev.worktrees.layout import PrivateSpec, make_private_dir
from auto_dev.worktrees.mirror import Mirror

CHECKOUTS = ".checkouts"


@contextlib.asynccontextmanager
async def clean_checkout(mirror: Mirror, folder: Path, sha: str) -> AsyncIterator[Path]:
    """A new folder with the files of ``sha``; see ``Worktrees.clean_checkout``.

    Not by ``git archive``: that leaves out what an agent's .gitattributes marks ``export-ignore``. The .git is made by
    hand, borrows the mirror's objects and has the tags; host git uses it once, before anybody else sees it.
    """
    place = scratch(folder / CHECKOUTS, "checkout")
    try:
        yield await _filled(mirror, place / mirror.repository.root.name, sha)
    finally:
        await delete(place)


@contextlib.asynccontextmanager
async def checkout_at(mirror: Mirror, place: Path, sha: str) -> AsyncIterator[Path]:
    """The same below ``place``, in the place of whatever is there: who comes again after a crash finds one path."""
    await delete(place)
    place.mkdir(parents=True)
    try:
        yield await _filled(mirror, place / mirror.repository.root.name, sha)
    finally:
        await delete(place)


async def _filled(mirror: Mirror, tree: Path, sha: str) -> Path:
    tree.mkdir()
    repository = mirror.repository
    spec = PrivateSpec(
        mirror.path / "objects", repository.object_format, sha, await mirror.tags(), identity=repository.identity
    )
    make_private_dir(tree / ".git", spec)
    await mirror.git.run("read-tree", "--reset", "-u", sha, git_dir=tree / ".git", work_tree=tree)
    return tree
