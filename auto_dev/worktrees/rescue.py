"""What a damaged mirror still has, taken over into a new one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from auto_dev.worktrees.folders import read_small
from auto_dev.worktrees.git import Git
from auto_dev.worktrees.names import is_sha

_OURS = ("refs/heads/auto-dev/", "refs/auto-dev/")


async def take_over(git: Git, broken: Path, made: Path) -> list[str]:
    """Objects, story branches, salvage and worktree records of ``broken`` into ``made``; what could not be saved.

    ``broken`` need not be a repository any more: its files are read one by one, and each ref is taken only when every
    object that it needs is there.
    """
    _link_objects(broken / "objects", made / "objects")
    lost: list[str] = []
    for ref, sha in sorted(_refs(broken).items()):
        whole = await git.run(
            "rev-list",
            "--quiet",
            "--objects",
            sha,
            "--not",
            "--remotes",
            "--",
            git_dir=made,
            check=False,
            timeout_s=600,
        )
        if whole.code == 0:
            whole = await git.run("update-ref", ref, sha, git_dir=made, check=False)
        if whole.code != 0:
            lost.append(ref)
    _copy_records(broken / "worktrees", made / "worktrees")
    return [f"could not be taken over from the damaged mirror: {', '.join(lost)}"] if lost else []


def _refs(broken: Path) -> dict[str, str]:
    """Our refs in ``broken``: where they stand, or by the reflog where they stood last."""
    found: dict[str, str] = {}
    for prefix in _OURS:
        for path in (broken / "logs" / prefix).rglob("*"):
            rows = (read_small(path, 64 * 1024 * 1024) or b"").decode("utf-8", "replace").splitlines()
            shas = [row.split(" ")[1] for row in rows if row.count(" ") > 1]
            if shas and is_sha(shas[-1]):
                found[path.relative_to(broken / "logs").as_posix()] = shas[-1]
    for row in (read_small(broken / "packed-refs", 64 * 1024 * 1024) or b"").decode("utf-8", "replace").splitlines():
        sha, _, ref = row.partition(" ")
        if is_sha(sha) and ref.startswith(_OURS):
            found[ref] = sha
    for prefix in _OURS:
        for path in (broken / prefix).rglob("*"):
            sha = (read_small(path, 100) or b"").decode("ascii", "replace").strip()
            if is_sha(sha) and path.suffix != ".lock":
                found[path.relative_to(broken).as_posix()] = sha
    return found


def _link_objects(source: Path, target: Path) -> None:
    """Hard links of all object files that ``target`` lacks; empty ones are what a crash leaves."""
    for folder, _, names in os.walk(source):
        into = target / Path(folder).relative_to(source)
        if into.name == "info":
            continue
        into.mkdir(parents=True, exist_ok=True)
        for name in names:
            path = Path(folder) / name
            if path.stat().st_size and not (into / name).exists() and not name.startswith("tmp_"):
                try:
                    (into / name).hardlink_to(path)
                except OSError:  # another file system, or one without hard links
                    shutil.copy2(path, into / name)


def _copy_records(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.lock"), dirs_exist_ok=True)
