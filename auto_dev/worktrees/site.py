"""A worktree under its lock: the place where its operations work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from auto_dev.errors import GitError
from auto_dev.worktrees.agent_commits import AgentGit, Places, Story
from auto_dev.worktrees.folders import is_plain_folder
from auto_dev.worktrees.git import GitAt
from auto_dev.worktrees.history import identity_env
from auto_dev.worktrees.layout import Record, State, read_record
from auto_dev.worktrees.mirror import LOCAL, Mirror, tips
from auto_dev.worktrees.names import HEADS, base_ref

PRIVATE: Final = ".private"  # the agents' git dirs
LOCKS: Final = ".locks"
WRECKS: Final = ".wrecks"  # folders that were in the way and may hold work: moved here, never deleted


@dataclass(frozen=True, slots=True)
class Worktree:
    """One story's worktree. ``git_dir`` is the host's, ``agent_git_dir`` the one that an agent sees at ``path/.git``.

    ``notes``: what a person may want to know about how it was made, in sentences.
    """

    story_id: str
    run_id: str
    path: Path
    branch: str
    git_dir: Path
    agent_git_dir: Path
    base_sha: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """A locked worktree and what its operations need. ``at`` is git at its host git dir, with the lock inherited."""

    mirror: Mirror
    folder: Path
    worktree: Worktree
    at: GitAt
    agent_git: AgentGit

    @property
    def bare(self) -> GitAt:
        """git at the mirror itself, under the same lock: for what needs no files."""
        return replace(self.at, git_dir=self.mirror.path, work_tree=None)

    @property
    def objects(self) -> Path:
        return self.mirror.path / "objects"

    @property
    def places(self) -> Places:
        git_dirs = [self.worktree.agent_git_dir]
        if is_plain_folder(self.worktree.path / ".git"):
            git_dirs.append(self.worktree.path / ".git")
        return Places(tuple(git_dirs), self.folder / PRIVATE, self.folder / WRECKS)

    def record(self) -> Record:
        """The record of the worktree. Raises GitError unless it is complete and of this run."""
        record = read_record(self.worktree.git_dir)
        if record is None or record.state is not State.READY or record.run_id != self.worktree.run_id:
            what = f"the worktree of {self.worktree.story_id} is not there"
            raise GitError(
                what, where=str(self.worktree.path), mend=f"Retry the story: auto-dev retry {self.worktree.story_id}"
            )
        return record

    async def refs(self) -> dict[str, tuple[str, str]]:
        """The refs that matter → (commit, tree): the story's branch, the run's base, the base branch as fetched."""
        repository = self.mirror.repository
        patterns = [HEADS + self.worktree.branch, base_ref(self.worktree.run_id), LOCAL + repository.base_branch]
        if repository.remote:
            patterns.append(f"refs/remotes/{repository.remote}/{repository.base_branch}")
        found = await tips(self.bare, *patterns)
        return {name: found[name] for name in patterns if name in found}

    async def story(self, record: Record) -> Story:
        """Where the story stands; a branch that a damaged mirror lost begins at the run's base again.

        Raises GitError when the base is lost too.
        """
        found = await self.refs()
        ref = HEADS + record.branch
        if ref not in found:
            tree = await self.bare.run("rev-parse", "--quiet", "--verify", f"{record.base_sha}^{{tree}}", check=False)
            if tree.code != 0:
                what = f"the branch {record.branch} and the commit that it began at are gone"
                raise GitError(what, where=str(self.mirror.path), mend=f"The files are in {self.worktree.path}.")
            await self.bare.run("update-ref", "-m", "restore", ref, record.base_sha, "0" * len(record.base_sha))
            found[ref] = record.base_sha, tree.text
        head, tree_sha = found[ref]
        return Story(record, head, tree_sha, self.objects, {name: sha for name, (sha, _) in found.items()})

    async def commit(self, tree: str, parent: str, message: str) -> str:
        """A new commit by the host."""
        return await self.commit_with(tree, [parent], message)

    async def commit_with(self, tree: str, parents: Sequence[str], message: str) -> str:
        """A new commit by the host, with one parent or several."""
        env = identity_env(self.mirror.repository.identity)
        named = [argument for parent in parents for argument in ("-p", parent)]
        return await self.bare.text("commit-tree", tree, *named, "-F", "-", input=message.encode(), env=env)

    async def move_branch(self, record: Record, new: str, old: str, why: str) -> None:
        if new != old:
            await self.bare.run("update-ref", "-m", why, HEADS + record.branch, new, old)
