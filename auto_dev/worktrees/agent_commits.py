"""The commits that an agent made in its private git dir, brought into the mirror.

The host never runs git under the agent's configuration. It reads the refs as data, makes a small repository of its own
(a view) that borrows the agent's objects, bundles from there, and fetches the bundle with its objects checked. The
bundle is made by a runner that is handed in, so that this one git process can be put into the agent's sandbox.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from auto_dev.errors import GitError
from auto_dev.text import line
from auto_dev.worktrees.folders import delete, enter, free_name, is_plain_folder, open_up, scratch
from auto_dev.worktrees.git import Git, GitAt
from auto_dev.worktrees.layout import AgentRefs, PrivateSpec, Record, make_private_dir, read_agent_refs
from auto_dev.worktrees.names import HEADS, salvage_prefix

_MOST_TIPS = 500
_FSCK = (
    "transfer.fsckObjects=true",
    "fetch.fsck.hasDotgit=error",
    "fetch.fsck.hasDotdot=error",
    "fetch.fsck.hasDot=error",
)


class AgentGit(Protocol):
    """Runs one git command over files that an agent wrote.

    ``argv`` without the leading "git"; ``git_dir`` belongs to the host; ``readable`` are the folders that it reads,
    ``writable`` the one that it writes. Raises GitError.
    """

    async def __call__(
        self, argv: Sequence[str], *, git_dir: Path, readable: Sequence[Path], writable: Path
    ) -> None: ...


def unsandboxed(git: Git, timeout_s: float = 300) -> AgentGit:
    """The runner without a sandbox: host-owned configuration, no protocol at all."""

    async def run(argv: Sequence[str], *, git_dir: Path, readable: Sequence[Path], writable: Path) -> None:
        del readable, writable
        env = {**git.host_env(), "GIT_ALLOW_PROTOCOL": "none"}
        await git.run(*argv, git_dir=git_dir, env=env, timeout_s=timeout_s)

    return run


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of the agent's commits.

    ``parent``: the commit on which the story goes on, with its ``tree``. ``commits``: how many of the agent's are new
    on it. ``salvaged``: refs that keep commits which could not be part of it. ``left_at``: the tree of an older commit
    that the agent had checked out at the end, which therefore says nothing about its work. ``moved``: its git dir is
    not as it was made.
    """

    parent: str
    tree: str
    commits: int = 0
    salvaged: tuple[str, ...] = ()
    left_at: str = ""
    moved: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """Where a story stands: its record, its branch's commit and tree, the mirror's objects, the refs around it."""

    record: Record
    head: str
    tree: str
    objects: Path
    refs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Places:
    """The git dirs that an agent wrote in, the private one first; room for small files; where wrecks are kept."""

    git_dirs: tuple[Path, ...]
    room: Path
    wrecks: Path


async def bring_back(at: GitAt, story: Story, places: Places, run: AgentGit) -> Brought:
    """Bring the agent's commits into the mirror and tell on which commit the story goes on. No branch is moved."""
    record = story.record
    brought = Brought(story.head, story.tree)
    for number, git_dir in enumerate(places.git_dirs):
        refs = read_agent_refs(git_dir)
        if refs.head is None:
            open_up(git_dir)
            refs = read_agent_refs(git_dir)
        unmoved = refs.branch == record.branch and refs.head == story.head and refs.tips <= {story.head, *record.known}
        if number == 0 and unmoved:
            continue
        notes: tuple[str, ...] = ()
        try:
            present = await _fetch(at, story, git_dir, refs, places.room, run)
        except GitError as error:
            # Nothing is lost: what git cannot take over stays as files, and the story goes on with the tree.
            kept = _keep(git_dir, places.wrecks)
            why = line(error.what, 120)
            notes = (f"the agent's commits could not be taken over ({why}); its git dir is kept in {kept}",)
            present = {}
        start = replace(story, head=brought.parent, tree=brought.tree)
        found = await _choose(at, start, refs, present, follow=number == 0)
        brought = Brought(
            found.parent,
            found.tree,
            brought.commits + found.commits,
            brought.salvaged + found.salvaged,
            found.left_at or brought.left_at,
            True,
            brought.notes + notes + found.notes,
        )
    return brought


def _keep(git_dir: Path, wrecks: Path) -> Path | None:
    if not os.path.lexists(git_dir):
        return None
    wrecks.mkdir(parents=True, exist_ok=True)
    kept = free_name(wrecks / git_dir.name.lstrip("."))
    enter(git_dir)
    git_dir.rename(kept)
    return kept


async def _fetch(at: GitAt, story: Story, git_dir: Path, refs: AgentRefs, room: Path, run: AgentGit) -> dict[str, str]:
    """Make every tip of ``refs`` that is a commit present in the mirror: tip → its tree. Raises GitError."""
    wanted = sorted(refs.tips)
    if refs.branch == story.record.branch and refs.head is None:
        raise GitError("its story branch is gone")
    if len(wanted) > _MOST_TIPS:
        raise GitError(f"it has {len(wanted)} branches")
    present = await _trees(at, wanted)
    missing = [tip for tip in wanted if tip not in present]
    if missing:
        if not is_plain_folder(git_dir / "objects"):
            raise GitError("its objects are gone")
        await _bundle(at, story, git_dir / "objects", missing, room, run)
        present |= await _trees(at, missing)
    return present


async def _trees(at: GitAt, shas: Sequence[str]) -> dict[str, str]:
    """Those of ``shas`` that the mirror has as commits → their trees."""
    if not shas:
        return {}
    asked = "".join(f"{sha}^{{commit}} {sha}\n{sha}^{{tree}} {sha}\n" for sha in shas)
    answer = await at.text("cat-file", "--batch-check=%(objecttype) %(objectname) %(rest)", input=asked.encode())
    rows = [row.split(" ") for row in answer.splitlines()]
    commits = {row[2] for row in rows if len(row) == 3 and row[0] == "commit"}
    return {row[2]: row[1] for row in rows if len(row) == 3 and row[0] == "tree" and row[2] in commits}


async def _bundle(at: GitAt, story: Story, theirs: Path, tips: Sequence[str], room: Path, run: AgentGit) -> None:
    place = scratch(room, "bundle")
    try:
        view, out = place / "view.git", place / "out"
        out.mkdir()
        names = [f"refs/tips/{number:04}" for number in range(len(tips))]
        refs = "".join(f"{tip} {name}\n" for tip, name in zip(tips, names, strict=True)).encode()
        object_format = "sha256" if len(story.head) == 64 else "sha1"
        make_private_dir(view, PrivateSpec(story.objects, object_format, "ref: refs/heads/none", refs))
        (view / "objects/info/alternates").write_bytes(os.fsencode(f"{story.objects}\n{theirs}\n"))
        bundle = out / "commits.bundle"
        command = ["bundle", "create", "--quiet", str(bundle), *names, "--not", story.head]
        await run(command, git_dir=view, readable=(story.objects, theirs), writable=out)
        await at.run(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
            "--no-recurse-submodules", str(bundle), *names, config=_FSCK,
        )  # fmt: skip
    finally:
        await delete(place)


async def _choose(at: GitAt, story: Story, refs: AgentRefs, present: dict[str, str], *, follow: bool) -> Brought:
    """Which commit the story goes on from: the agent's when it continues the branch, else the branch's own."""
    record = story.record
    head = refs.head if refs.head in present else None
    own = refs.refs.get(HEADS + record.branch)
    own = own if own in present else None
    parent, commits, left_at = story.head, 0, ""
    notes: list[str] = []
    candidates = [tip for tip in dict.fromkeys((head, own)) if tip] if follow else []
    for tip in candidates:
        behind, ahead = await _distance(at, parent, tip)
        if behind or not ahead:
            continue
        if await _leaks(at, record, parent, tip):
            notes.append("the agent committed a copied file: its files are taken, its commits are not")
            continue
        parent, commits = tip, commits + ahead
        if tip == own and head and refs.branch != record.branch and (await _distance(at, head, own))[0] == 0:
            left_at = present[head]
            notes.append("an older commit was checked out at the end; the story's own branch counts")
    kept = await _salvage(at, record, parent, refs, present)
    if kept:
        notes.append(f"commits that do not continue the story's branch are kept in {', '.join(kept)}")
    return Brought(parent, present.get(parent, story.tree), commits, tuple(kept), left_at, True, tuple(notes))


async def _distance(at: GitAt, one: str, other: str) -> tuple[int, int]:
    """How many commits only ``one`` and only ``other`` has."""
    left, right = (await at.text("rev-list", "--left-right", "--count", f"{one}...{other}")).split()
    return int(left), int(right)


async def _leaks(at: GitAt, record: Record, old: str, tip: str) -> bool:
    """Whether a commit after ``old`` touches a copied file: such files hold secrets, and history is pushed."""
    if not record.kept_out:
        return False
    return bool(await at.text("rev-list", "-1", f"{old}..{tip}", "--", *record.kept_out))


async def _salvage(at: GitAt, record: Record, parent: str, refs: AgentRefs, present: dict[str, str]) -> list[str]:
    """Keep every tip that ``parent`` does not contain under a salvage ref; the refs, old or new."""
    tips = sorted(tip for tip in refs.tips if tip in present and tip not in record.known and tip != parent)
    if not tips:
        return []
    loose = set((await at.text("rev-list", *tips, "--not", parent, *record.known)).split())
    return [await keep(at, record.run_id, tip) for tip in tips if tip in loose]


async def keep(at: GitAt, run_id: str, sha: str) -> str:
    """The salvage ref of ``run_id`` that keeps ``sha``; made when there is none yet."""
    prefix = salvage_prefix(run_id)
    rows = [
        row.split(" ")
        for row in (await at.text("for-each-ref", "--format=%(objectname) %(refname)", prefix)).splitlines()
    ]
    for have, ref in rows:
        if have == sha:
            return ref
    number = (
        max((int(ref.removeprefix(prefix)) for _, ref in rows if ref.removeprefix(prefix).isdigit()), default=0) + 1
    )
    await at.run("update-ref", "-m", "salvage", f"{prefix}{number}", sha, "0" * len(sha))
    return f"{prefix}{number}"
