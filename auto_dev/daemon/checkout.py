"""The user's repository as the daemon and the commands look at it."""

from __future__ import annotations

from pathlib import Path

from auto_dev.config import Config
from auto_dev.stories.model import Backlog
from auto_dev.stories.reader import read_folder
from auto_dev.worktrees.git import Git
from auto_dev.worktrees.repository import UserRepository, inspect


def git_of(home: Path) -> Git:
    """The hardened git, with an empty home folder of its own."""
    return Git(home / "git-home")


def read_stories(root: Path, folder: Path) -> Backlog:
    """The stories of ``folder``; their paths are relative to the repository where the folder lies inside it."""
    found = read_folder(folder)
    if not folder.is_relative_to(root):
        return found
    prefix = folder.relative_to(root)
    stories = tuple(story.model_copy(update={"path": str(prefix / story.path)}) for story in found.stories)
    problems = tuple(problem.model_copy(update={"path": str(prefix / problem.path)}) for problem in found.problems)
    return found.model_copy(update={"stories": stories, "problems": problems})


async def look(root: Path, home: Path, config: Config) -> UserRepository:
    """The user's repository as it is now. Raises GitError."""
    return await inspect(root, git=git_of(home), base_branch=config.project.base_branch, remote=config.project.remote)


def warnings_about(repository: UserRepository) -> list[str]:
    """What a person should know before work starts from this checkout, in sentences."""
    found = []
    if repository.dirty:
        found.append("the checkout has uncommitted changes; stories start from what is committed")
    if repository.branch is None:
        found.append(f"HEAD is detached; stories start from {repository.base_branch}")
    if repository.shallow:
        found.append("the repository is a shallow clone; its history is fetched from the remote where that is possible")
    if repository.push is None:
        found.append("there is no remote; branches stay local")
    return found
