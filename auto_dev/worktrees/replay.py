"""A story's commits on another base, made in the mirror: no worktree, no configuration, nothing of an agent's runs.

Only the commits after ``base`` are taken, so that it does not matter how what lies before them was merged: as it was,
rebased, or squashed into one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from auto_dev.errors import GitError
from auto_dev.worktrees.history import History
from auto_dev.worktrees.parse import Link

MOST: Final = 1000  # commits; a branch with more was built on something else than its recorded base


@dataclass(frozen=True, slots=True)
class Clash:
    """Where a story and its new base do not fit: the new base with the story's changes, as files with git's markers."""

    tree: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """``head`` is the story on its new base. With a ``clash`` it is that base alone."""

    head: str
    clash: Clash | None = None


async def replay(history: History, base: str, head: str, onto: str) -> Replayed:
    """The commits ``base``..``head`` on top of ``onto``; the same input gives the same commits. Raises GitError.

    Authors, dates and messages stay. What ``onto`` has already falls away. Where single commits conflict but the whole
    does not (a later one took an earlier one back), they become one.
    """
    links = await history.chain(base, head)
    if len(links) > MOST:
        raise GitError(
            f"{head[:12]} has {len(links)} commits that {base[:12]} lacks",
            mend="The branch was built on another base by now: rebase it by hand.",
        )
    done = await _one_by_one(history, links, onto)
    if done is not None or not links:
        return Replayed(done or onto)
    common = await history.merge_base(head, onto)
    # Somebody may have merged a newer base into the branch: its changes are the base's own, not the story's.
    newer = common is not None and common != base and await history.is_ancestor(base, common)
    tree, files = await history.three_way(common if newer and common else base, onto, head)
    if files:
        return Replayed(onto, Clash(tree, files))
    messages = dict.fromkeys(link.message.strip() for link in links)
    whole = replace(links[-1], message="\n\n".join(messages) + "\n")
    return Replayed(await history.again(whole, tree, onto))


async def _one_by_one(history: History, links: list[Link], onto: str) -> str | None:
    """Each commit with its own message and author; None when one does not fit."""
    parent, tree = onto, await history.tree_of(onto)
    for link in links:
        if not link.parents:
            return None
        changed, files = await history.three_way(link.parents[0], parent, link.sha)
        if files:
            return None
        if changed != tree:
            parent, tree = await history.again(link, changed, parent), changed
    return parent
