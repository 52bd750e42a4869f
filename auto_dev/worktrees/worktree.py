"""The worktrees of a project: one per story, made, collected, reset and removed without ever losing work.

Every operation holds the worktree's lock and may be repeated after a crash at any point: it looks at what is there and
completes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from auto_dev.errors import GitError
from auto_dev.worktrees import build, collect
from auto_dev.worktrees.agent_commits import AgentGit, unsandboxed
from auto_dev.worktrees.checkout import CHECKOUTS, checkout_at, clean_checkout
from auto_dev.worktrees.collect import Collected
from auto_dev.worktrees.folders import enter, is_plain_folder, locked, sweep
from auto_dev.worktrees.git import GitAt
from auto_dev.worktrees.graft import graft
from auto_dev.worktrees.history import History
from auto_dev.worktrees.join import join
from auto_dev.worktrees.layout import Record, State, read_record, write_record
from auto_dev.worktrees.mirror import Mirror
from auto_dev.worktrees.names import HEADS, require_sha, safe, story_ref
from auto_dev.worktrees.site import LOCKS, PRIVATE, Site, Worktree

__all__ = ["CleanupReport", "Collected", "Worktree", "WorktreeInfo", "Worktrees"]


@dataclass(frozen=True, slots=True)
class WorktreeInfo:
    """A worktree as listed. ``unsaved``: what is in no commit, in words; "" when nothing is."""

    story_id: str
    run_id: str
    branch: str
    path: Path
    base_sha: str
    unsaved: str = ""


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """The story ids that were removed, and story id (or folder name) → why it was kept."""

    removed: tuple[str, ...]
    kept: Mapping[str, str]


class Worktrees:
    """The worktrees in ``folder`` that hang off ``mirror``. ``agent_git`` runs git over an agent's files.

    ``history`` reads commits; ``clean_checkout`` gives gates a folder of their own.
    """

    def __init__(
        self, mirror: Mirror, folder: Path, *, agent_git: AgentGit | None = None, timeout_s: float = 120
    ) -> None:
        if "\n" in str(folder):
            raise GitError("the folder has a line break in its name", where=repr(str(folder)), mend="Choose another.")
        self.mirror = mirror
        self.folder = folder
        self.timeout_s = timeout_s  # for one git process
        self.history = History(mirror.at, mirror.repository.identity)
        self._agent_git = agent_git or unsandboxed(mirror.git)

    async def create(self, story_id: str, run_id: str, start_sha: str, branch: str) -> Worktree:
        """The worktree of a run, on ``branch`` from the commit ``start_sha``. Repeating it is harmless.

        What the same run has done is kept; what another run left unsaved is salvaged first. Raises GitError.
        """
        story_ref(branch)
        require_sha(start_sha)
        wanted = self._worktree(Record(story_id, run_id, branch, start_sha, ""))
        async with self._site(wanted) as site:
            record = read_record(wanted.git_dir)
            notes: tuple[str, ...] = ()
            if record is not None and record.state is State.READY:
                if record.run_id == run_id and is_plain_folder(wanted.path):
                    return await build.adopt(site, record)
                if record.run_id == run_id:
                    restored = await collect.restore(site, record)
                    return replace(wanted, base_sha=record.base_sha, notes=restored.notes)
                earlier = replace(site, worktree=self._worktree(record))
                if ref := await collect.salvage(earlier, record.run_id):
                    notes = (f"unsaved work of the run {record.run_id} is kept in {ref}",)
            await build.clear(site, record)
            head, base_sha, refs = await build.claim_branch(site, start_sha, record.run_id if record else run_id)
            return replace(await build.build(site, head, base_sha, refs), notes=notes)

    async def collect(self, worktree: Worktree, message: str, trailers: Mapping[str, str] | None = None) -> Collected:
        """Bring the agent's commits and all uncommitted files onto the story's branch. Repeating it is harmless.

        What is uncommitted is committed by the host, with the trailers ``Story``, ``Run`` and ``trailers``.
        Raises GitError.
        """
        async with self._site(worktree) as site:
            return await collect.collect(site, message, trailers or {})

    async def join(
        self,
        worktree: Worktree,
        base_sha: str,
        unwanted: Collection[str],
        known: Sequence[str],
        message: str,
        trailers: Mapping[str, str] | None = None,
    ) -> str:
        """As ``join.join``: the story's commits from the first of ``unwanted`` on become one. Its new head."""
        async with self._site(worktree) as site:
            return await join(site, base_sha, unwanted, known, message, trailers or {})

    async def salvage(self, worktree: Worktree, run_id: str | None = None) -> str | None:
        """Keep what is unsaved under ``refs/auto-dev/salvage/<run>/<n>``: the ref, or None when nothing is."""
        async with self._site(worktree) as site:
            return await collect.salvage(site, run_id or worktree.run_id)

    async def reset(self, worktree: Worktree, sha: str) -> str | None:
        """Make branch and files those of ``sha`` again; ignored files stay. The salvage ref of what was unsaved."""
        require_sha(sha)
        async with self._site(worktree) as site:
            return await collect.reset(site, sha)

    async def lay(self, worktree: Worktree, tree: str) -> None:
        """Make the files those of ``tree``, uncommitted: the next ``collect`` commits what became of them.

        Only after ``reset``, which keeps what would be overwritten.
        """
        require_sha(tree)
        async with self._site(worktree) as site:
            await collect.lay(site, tree)

    async def remove(self, worktree: Worktree) -> str | None:
        """Delete the worktree; its branch stays. The salvage ref of what was unsaved. Repeating it is harmless."""
        async with self._site(worktree) as site:
            record = read_record(worktree.git_dir)
            ref = None
            if record is not None and record.state is State.READY:
                ref = await collect.salvage(site, worktree.run_id)
            await build.clear(site, record)
            return ref

    def get(self, story_id: str) -> Worktree | None:
        """The worktree of a story, if it has one that is complete."""
        record = read_record(self.mirror.path / "worktrees" / safe(story_id))
        return self._worktree(record) if record is not None and record.state is State.READY else None

    async def keep_out(self, worktree: Worktree, paths: Iterable[str]) -> None:
        """No commit of this worktree will hold ``paths`` (copied files with secrets), whatever its .gitignore says."""
        async with self._site(worktree) as site:
            record = site.record()
            merged = tuple(sorted({*record.kept_out, *paths}))
            if merged != record.kept_out:
                write_record(worktree.git_dir, replace(record, kept_out=merged))
                build.write_excludes(site, merged)

    async def list(self, *, look: bool = True) -> tuple[WorktreeInfo, ...]:
        """All worktrees, by story id; with ``look`` each is searched for unsaved work."""
        found = []
        for record in self._records():
            worktree = self._worktree(record)
            unsaved = await self._unsaved(worktree) if look else ""
            found.append(
                WorktreeInfo(record.story_id, record.run_id, record.branch, worktree.path, record.base_sha, unsaved)
            )
        return tuple(found)

    async def cleanup(self, leased: set[str]) -> CleanupReport:
        """Remove each worktree whose story is not in ``leased`` and that holds nothing unsaved; tell why some stay."""
        removed: list[str] = []
        kept: dict[str, str] = {}
        for record in self._records():
            worktree = self._worktree(record)
            if record.story_id in leased:
                kept[record.story_id] = "a run is using it"
            elif unsaved := await self._unsaved(worktree):
                kept[record.story_id] = unsaved
            else:
                await self.remove(worktree)
                removed.append(record.story_id)
        for folder in (self.mirror.path, self.folder / PRIVATE, self.folder / CHECKOUTS):
            await sweep(folder)
        ours = {safe(record.story_id) for record in self._records()}
        folders = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        for name in folders:
            if not name.startswith(".") and name not in ours:
                kept[name] = "not a worktree of ours"
        return CleanupReport(tuple(removed), kept)

    def clean_checkout(self, sha: str) -> contextlib.AbstractAsyncContextManager[Path]:
        """A folder with the committed files of ``sha`` and a small .git of its own; deleted when the block ends."""
        return clean_checkout(self.mirror, self.folder, require_sha(sha))

    async def graft(self, onto: str, source: str, paths: Collection[str]) -> str:
        """A commit on top of ``onto`` whose files ``paths`` are those of ``source``; see ``graft``. Raises GitError."""
        return await graft(self.mirror, onto, source, paths)

    def checkout_at(self, place: Path, sha: str) -> contextlib.AbstractAsyncContextManager[Path]:
        """The same in a folder of the caller's choice, which is emptied first."""
        return checkout_at(self.mirror, place, require_sha(sha))

    def _records(self) -> tuple[Record, ...]:
        folder = self.mirror.path / "worktrees"
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        return tuple(record for name in names if (record := read_record(folder / name)) is not None)

    def _worktree(self, record: Record) -> Worktree:
        name = safe(record.story_id)
        return Worktree(
            story_id=record.story_id,
            run_id=record.run_id,
            path=self.folder / name,
            branch=record.branch,
            git_dir=self.mirror.path / "worktrees" / name,
            agent_git_dir=self.folder / PRIVATE / f"{name}.git",
            base_sha=record.base_sha,
        )

    async def _unsaved(self, worktree: Worktree) -> str:
        async with self._site(worktree) as site:
            record = read_record(worktree.git_dir)
            if record is None or record.state is not State.READY or record.run_id != worktree.run_id:
                return ""  # half made or half removed: no work is in it
            return await collect.look(site)

    @contextlib.asynccontextmanager
    async def _site(self, worktree: Worktree) -> AsyncIterator[Site]:
        async with locked(self.folder / LOCKS / safe(worktree.story_id)) as hold:
            # Every git that worked here inherited this lock, so none is left: its lock files are stale.
            stale = [worktree.git_dir / "index.lock", worktree.git_dir / "HEAD.lock"]
            for lock in (*stale, self.mirror.path / f"{HEADS}{worktree.branch}.lock"):
                lock.unlink(missing_ok=True)
            enter(worktree.path)
            at = GitAt(self.mirror.git, worktree.git_dir, worktree.path, hold=(hold,), timeout_s=self.timeout_s)
            yield Site(self.mirror, self.folder, worktree, at, self._agent_git)
