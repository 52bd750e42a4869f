"""What a push would make leave: commits that no known commit contains, and the contents that they bring."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from auto_dev.errors import GitError
from auto_dev.model import NewBlob, NewCommit
from auto_dev.worktrees import parse
from auto_dev.worktrees.git import GitAt
from auto_dev.worktrees.names import require_sha
from auto_dev.worktrees.parse import LOG_FORMAT

_PLAIN = ("--no-show-signature", "--no-notes", "--no-mailmap", "--no-color")
_ANSWER = 64 * 1024 * 1024  # bytes of contents that are read at once


async def new_commits(at: GitAt, head_sha: str, known: Sequence[str]) -> tuple[NewCommit, ...]:
    """The commits that ``head_sha`` has and none of ``known`` contains, parents first, with their new contents.

    A content is new when no tree of ``known`` holds it; it counts for the first commit that has it. A merge brings what
    it has and neither side had.
    """
    span = [require_sha(head_sha), *(f"^{require_sha(sha)}" for sha in known)]
    order = (await at.text("rev-list", "--topo-order", "--reverse", *span)).split()
    if not order:
        return ()
    new = await _new_blobs(at, span)
    asked = ("".join(f"{sha}\n" for sha in order)).encode()
    raw = await at.run(
        "diff-tree", "--stdin", "-z", "-r", "-m", "--root", "--raw", "--no-abbrev", "--no-renames", input=asked
    )
    brought = _brought(raw.stdout, new)
    log = await at.run("log", "-z", f"--format={LOG_FORMAT}", *_PLAIN, "--no-walk=unsorted", "--stdin", input=asked)
    said = {commit.sha: commit for commit in parse.commits(log.stdout)}
    if set(said) != set(order):
        raise GitError("an answer of git cannot be read", where="git log")
    return tuple(
        NewCommit(
            sha,
            f"{said[sha].author} <{said[sha].email}>",
            f"{said[sha].subject}\n\n{said[sha].body}".strip(),
            brought.get(sha, ()),
        )
        for sha in order
    )


async def blobs(at: GitAt, shas: Sequence[str]) -> dict[str, bytes]:
    """The contents named ``shas``; the caller keeps their sum below 256 MB. Raises GitError when one is missing."""
    wanted = list(dict.fromkeys(require_sha(sha) for sha in shas))
    if not wanted:
        return {}
    answer = (await at.run("cat-file", "--batch", input="".join(f"{sha}\n" for sha in wanted).encode())).stdout
    found: dict[str, bytes] = {}
    place = 0
    for sha in wanted:
        end = answer.find(b"\n", place)
        header = answer[place:end].split(b" ")
        if end < 0 or len(header) != 3 or header[0] != sha.encode() or header[1] != b"blob":
            raise GitError(f"the content {sha[:12]} cannot be read", where="git cat-file")
        place = end + 1 + int(header[2])
        found[sha] = answer[end + 1 : place]
        place += 1
    return found


async def holding(at: GitAt, rev: str, texts: Sequence[str]) -> frozenset[str]:
    """Which of ``texts`` (each one line) stand in a file of the commit ``rev``.

    The texts go in by stdin: they may be secrets, and arguments can be read by others.
    """
    wanted = [text for text in dict.fromkeys(texts) if text and "\n" not in text and "\0" not in text]
    if not wanted:
        return frozenset()
    asked = "".join(f"{text}\n" for text in wanted).encode("utf-8", "surrogateescape")
    arguments = ("grep", "-F", "-a", "-h", "--no-color", "--no-textconv", "-f", "-", require_sha(rev), "--")
    found = await at.run(*arguments, input=asked, ok=(0, 1), cap=_ANSWER)
    lines = found.stdout
    return frozenset(text for text in wanted if text.encode("utf-8", "surrogateescape") in lines)


async def paths(at: GitAt, rev: str) -> tuple[str, ...]:
    """The names of all files of a commit."""
    listed = await at.run("ls-tree", "-r", "-z", "--name-only", "--full-tree", require_sha(rev))
    return tuple(parse.paths(listed.stdout))


async def _new_blobs(at: GitAt, span: Sequence[str]) -> Mapping[str, int]:
    """The contents that are reachable from the span's new commits alone → their size in bytes."""
    listed = await at.run("rev-list", "--objects", "--no-object-names", *span)
    kinds = await at.run(
        "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", input=listed.stdout or b"\n"
    )
    rows = (row.split(b" ") for row in kinds.stdout.splitlines())
    return {row[0].decode(): int(row[2]) for row in rows if len(row) == 3 and row[1] == b"blob"}


def _brought(raw: bytes, new: Mapping[str, int]) -> dict[str, tuple[NewBlob, ...]]:
    """``git diff-tree --stdin -z --raw``: commit → the blobs of ``new`` that it is the first to have, by path."""
    found: dict[str, dict[tuple[str, str], NewBlob]] = {}
    first: dict[str, str] = {}
    commit = ""
    fields = iter(raw.split(b"\0"))
    for field in fields:
        if not field:
            continue
        if not field.startswith(b":"):
            commit = field.decode("ascii").strip()
            continue
        path = os.fsdecode(next(fields))
        sha = field.split(b" ")[3].decode("ascii")
        if sha in new and first.setdefault(sha, commit) == commit:
            found.setdefault(commit, {})[path, sha] = NewBlob(path, sha, new[sha])
    return {sha: tuple(rows.values()) for sha, rows in found.items()}
