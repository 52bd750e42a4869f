"""Reading commits of the mirror, and merging without a worktree. Only plumbing, only object ids."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from auto_dev.errors import GitError
from auto_dev.model import NewCommit
from auto_dev.worktrees import outgoing, parse
from auto_dev.worktrees.folders import delete, scratch
from auto_dev.worktrees.git import GitAt, Identity
from auto_dev.worktrees.names import require_sha
from auto_dev.worktrees.parse import LOG_FORMAT, Commit, FileChange, Link

_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color")
_REMEMBERED: Final = 2_000  # changes between two commits


class MergeConflictError(GitError):
    """Commits cannot be merged by themselves; ``files`` are the paths in conflict."""

    def __init__(self, what: str, files: tuple[str, ...], *, mend: str = "") -> None:
        super().__init__(what, mend=mend)
        self.files = files


def identity_env(identity: Identity, at: int | None = None) -> dict[str, str]:
    """The environment that makes git commit as ``identity``, at a fixed time (seconds since 1970) if one is given."""
    env = {
        "GIT_AUTHOR_NAME": identity.name,
        "GIT_AUTHOR_EMAIL": identity.email,
        "GIT_COMMITTER_NAME": identity.name,
        "GIT_COMMITTER_EMAIL": identity.email,
    }
    if at is not None:
        env |= {"GIT_AUTHOR_DATE": f"{at} +0000", "GIT_COMMITTER_DATE": f"{at} +0000"}
    return env


class History:
    """The commits of the mirror at ``at``."""

    def __init__(self, at: GitAt, identity: Identity | None = None) -> None:
        self._at = at
        self._identity = identity or Identity()
        self._touched: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()

    async def changes(self, base_sha: str, head_sha: str) -> list[FileChange]:
        """The changed files between two commits, renames found. Attributes that an agent wrote have no say."""
        shas = require_sha(base_sha), require_sha(head_sha)
        output = await self._at.run("diff-tree", "-r", "-z", "-M", "--raw", "--numstat", "--no-abbrev", *_PLAIN, *shas)
        return parse.changes(output.stdout)

    async def touched(self, base_sha: str, head_sha: str) -> frozenset[str]:
        """The paths that change between two commits, old and new names; remembered, since commits never change."""
        key = (base_sha, head_sha)
        if key not in self._touched:
            found = await self.changes(base_sha, head_sha)
            self._touched[key] = frozenset(name for change in found for name in (change.path, change.old_path) if name)
            if len(self._touched) > _REMEMBERED:
                self._touched.popitem(last=False)
        return self._touched[key]

    async def read(self, rev: str, path: str) -> bytes | None:
        """The bytes of a file at a commit (of a symlink: its target); None when there is no file of this name."""
        return (await self.read_many(rev, [path]))[path]

    async def read_many(self, rev: str, paths: Sequence[str]) -> dict[str, bytes | None]:
        """The bytes of several files at a commit, in one process."""
        wanted = list(dict.fromkeys(paths))
        if not wanted:
            return {}
        asked = parse.joined([f"{require_sha(rev)}:{path}" for path in wanted])
        # ``%(rest)`` is not used: a path may hold anything but NUL. Answers come in the order of the questions.
        answer = (await self._at.run("cat-file", "--batch", "-z", input=asked)).stdout
        found: dict[str, bytes | None] = {}
        place = 0
        for path in wanted:
            place, found[path] = _blob(answer, place, f"{rev}:{path}")
        return found

    async def holds(self, rev: str, word: str) -> bool:
        """Whether a text file of a commit has ``word``, as a whole word."""
        arguments = ("grep", "--quiet", "-I", "--fixed-strings", "--word-regexp", "--no-textconv", "-e", word)
        return (await self._at.run(*arguments, require_sha(rev), ok=(0, 1))).code == 0

    async def diff(self, base_sha: str, head_sha: str, path: str | None = None, *, limit: int = 400_000) -> str:
        """The patch between two commits as text, of one file if asked; cut after ``limit`` bytes, and says so."""
        only = ["--", path] if path is not None else []
        shas = require_sha(base_sha), require_sha(head_sha)
        output = await self._at.run("diff-tree", "-r", "-p", "-M", *_PLAIN, *shas, *only, cap=limit)
        text = output.stdout.decode("utf-8", "replace")
        return f"{text}\n[… cut after {limit} bytes …]\n" if output.cut else text

    async def log(self, base_sha: str, head_sha: str, *, limit: int = 1000) -> list[Commit]:
        """The commits that ``head_sha`` has and ``base_sha`` lacks, newest first."""
        span = f"{require_sha(base_sha)}..{require_sha(head_sha)}"
        arguments = ("--no-show-signature", "--no-notes", "--no-mailmap", "--no-color", f"--max-count={limit}")
        output = await self._at.run("log", "-z", f"--format={LOG_FORMAT}", *arguments, span)
        return parse.commits(output.stdout)

    async def new_commits(self, head_sha: str, known: Sequence[str]) -> tuple[NewCommit, ...]:
        """As ``outgoing.new_commits``."""
        return await outgoing.new_commits(self._at, head_sha, known)

    async def blobs(self, shas: Sequence[str]) -> dict[str, bytes]:
        """As ``outgoing.blobs``."""
        return await outgoing.blobs(self._at, shas)

    async def holding(self, rev: str, texts: Sequence[str]) -> frozenset[str]:
        """As ``outgoing.holding``."""
        return await outgoing.holding(self._at, rev, texts)

    async def paths(self, rev: str) -> tuple[str, ...]:
        """As ``outgoing.paths``."""
        return await outgoing.paths(self._at, rev)

    async def patches(self, base_sha: str, head_sha: str, folder: Path) -> list[Path]:
        """Write the commits as a ``format-patch`` series into ``folder`` (its old patches are replaced); in order."""
        half = scratch(folder, "half")
        try:
            span = f"{require_sha(base_sha)}..{require_sha(head_sha)}"
            await self._at.run("format-patch", "--quiet", "--no-color", "--no-ext-diff", "-o", str(half), span)
            names = sorted(path.name for path in half.iterdir())
            for old in folder.glob("*.patch"):
                if old.name not in names:
                    old.unlink()
            return [(half / name).replace(folder / name) for name in names]
        finally:
            await delete(half)

    async def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor of two commits; None for unrelated ones."""
        output = await self._at.run("merge-base", require_sha(one), require_sha(other), ok=(0, 1))
        return output.text or None

    async def is_ancestor(self, old: str, new: str) -> bool:
        """Whether ``new`` contains ``old``."""
        output = await self._at.run("merge-base", "--is-ancestor", require_sha(old), require_sha(new), ok=(0, 1))
        return output.code == 0

    async def resolve(self, ref: str) -> str | None:
        """The commit that a full ref name stands at; None when there is no such ref."""
        output = await self._at.run(
            "rev-parse", "--quiet", "--verify", "--end-of-options", f"{ref}^{{commit}}", ok=(0, 1)
        )
        return output.text or None

    async def refs(self, prefix: str) -> dict[str, str]:
        """Every ref below ``prefix`` (with its last slash) and the object that it stands at, in one process."""
        output = await self._at.run("for-each-ref", "--format=%(refname) %(objectname)", prefix)
        rows = (row.rpartition(" ") for row in output.text.splitlines())
        return {name: sha for name, _, sha in rows}

    async def conflicts(self, one: str, other: str) -> tuple[str, ...]:
        """The files that would conflict if two commits were merged."""
        return (await self._merge_tree(require_sha(one), require_sha(other)))[1]

    async def merged_tree(self, one: str, other: str) -> tuple[str, tuple[str, ...]]:
        """The merge of two commits as a tree, with git's markers in the files that conflict, and these files."""
        return await self._merge_tree(require_sha(one), require_sha(other))

    async def merge(self, shas: Sequence[str], message: str) -> str:
        """One commit that contains all ``shas``, made without a worktree; the same input gives the same commit.

        Raises MergeConflictError naming the files.
        """
        if not shas:
            raise GitError("nothing to merge is given")
        merged = require_sha(shas[0])
        for sha in shas[1:]:
            if await self.is_ancestor(require_sha(sha), merged):
                continue
            if await self.is_ancestor(merged, sha):
                merged = sha
                continue
            merged = await self._merge(merged, sha, message)
        return merged

    async def _merge(self, one: str, other: str, message: str) -> str:
        tree, files = await self._merge_tree(one, other)
        if files:
            named = ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
            mend = "Let one of the stories depend on the other, or merge one of them first."
            raise MergeConflictError(f"{one[:10]} and {other[:10]} conflict in {named}", files, mend=mend)
        times = (await self._at.text("log", "--no-walk", "--format=%ct", one, other)).split()
        # A fixed time: a merge that is repeated after a crash is the same commit.
        env = identity_env(self._identity, max(int(time) for time in times))
        arguments = ("commit-tree", tree, "-p", one, "-p", other, "-F", "-")
        return await self._at.text(*arguments, input=f"{message.rstrip()}\n".encode(), env=env)

    async def three_way(self, base: str, ours: str, theirs: str) -> tuple[str, tuple[str, ...]]:
        """What ``theirs`` changed since ``base``, done to ``ours``: the tree, and the files in which it conflicts.

        Any commits or trees. A tree with conflicts holds git's markers in those files.
        """
        # merge-tree takes no base before git 2.40, so that three commits are made which have none but ``base``.
        env = identity_env(self._identity, 1_000_000_000)  # a fixed time: the same commits each time
        root = await self._at.text("commit-tree", f"{require_sha(base)}^{{tree}}", "-m", "base", env=env)
        one, other = [
            await self._at.text("commit-tree", f"{require_sha(sha)}^{{tree}}", "-p", root, "-m", name, env=env)
            for sha, name in ((ours, "ours"), (theirs, "theirs"))
        ]
        return await self._merge_tree(one, other)

    async def chain(self, base: str, head: str) -> list[Link]:
        """The commits that lead from ``base`` to ``head``, oldest first; of a merge only what it did to its branch."""
        span = f"{require_sha(base)}..{require_sha(head)}"
        arguments = ("--first-parent", "--reverse", "--no-show-signature", "--no-notes", "--no-mailmap", "--date=raw")
        output = await self._at.run("log", "-z", f"--format={parse.LINK_FORMAT}", *arguments, span)
        return parse.links(output.stdout)

    async def tree_of(self, sha: str) -> str:
        """The tree of a commit."""
        return await self._at.text("rev-parse", "--verify", "--end-of-options", f"{require_sha(sha)}^{{tree}}")

    async def has(self, sha: str) -> bool:
        """Whether this commit is here."""
        output = await self._at.run("cat-file", "-e", f"{require_sha(sha)}^{{commit}}", check=False)
        return output.code == 0

    async def again(self, link: Link, tree: str, parent: str) -> str:
        """The commit ``link`` on another parent; the same input gives the same commit."""
        name, email = link.author or self._identity.name, link.email or self._identity.email
        author = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email, "GIT_AUTHOR_DATE": f"@{link.author_date}"}
        env = {**identity_env(self._identity), **author, "GIT_COMMITTER_DATE": f"@{link.commit_date}"}
        message = link.message.encode("utf-8", "surrogateescape")
        return await self._at.text("commit-tree", tree, "-p", parent, "-F", "-", input=message, env=env)

    async def _merge_tree(self, one: str, other: str) -> tuple[str, tuple[str, ...]]:
        arguments = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", "--allow-unrelated-histories")
        output = await self._at.run(*arguments, one, other, ok=(0, 1))
        tree, *files = parse.paths(output.stdout)
        return tree, tuple(files)


def _blob(answer: bytes, place: int, name: str) -> tuple[int, bytes | None]:
    """The answer of ``cat-file --batch`` that begins at ``place``: where it ends, and the blob if it is one."""
    missing = b"%s missing\n" % name.encode("utf-8", "surrogateescape")
    if answer.startswith(missing, place):
        return place + len(missing), None
    end = answer.find(b"\n", place)
    header = answer[place:end].split(b" ")
    if end < 0 or len(header) != 3 or not header[2].isdigit():
        raise GitError("an answer of git cannot be read", where="git cat-file")
    start, size = end + 1, int(header[2])
    return start + size + 1, answer[start : start + size] if header[1] == b"blob" else None
