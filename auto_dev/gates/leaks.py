"""Which credentials a branch would carry away: in every commit from base to head, not in the last state only."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from auto_dev.gates.base import Leak
from auto_dev.gates.credentials.assigned import Found
from auto_dev.gates.credentials.scanner import Credentials, Searched, fingerprint
from auto_dev.gates.paths import matches
from auto_dev.model import NewBlob, NewCommit
from auto_dev.text import line

BIGGEST: Final = 64 * 1024 * 1024  # bytes of a file that is looked through
_BATCH: Final = 32 * 1024 * 1024
_MESSAGE: Final = "commit message.md"  # prose: only what looks like a credential by itself counts
_NAMES: Final = "names of files.md"
_MOST: Final = 200  # different values; each costs some hundredths of a second to name


class Outgoing(Protocol):
    """The commits that a push would make leave; ``worktrees.history.History`` is one."""

    async def new_commits(self, head_sha: str, known: Sequence[str]) -> Sequence[NewCommit]: ...

    async def blobs(self, shas: Sequence[str]) -> Mapping[str, bytes]: ...

    async def holding(self, rev: str, texts: Sequence[str]) -> frozenset[str]: ...

    async def read(self, rev: str, path: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value was seen first. ``blob``: the content that holds it, "" for a commit's message."""

    found: Found
    file: str
    commit: str
    blob: str = ""


async def find_leaks(
    history: Outgoing,
    base_sha: str,
    head_sha: str,
    *,
    credentials: Credentials,
    known: Sequence[str] = (),
    allow: Sequence[str] = (),
) -> tuple[Leak, ...]:
    """The credentials that the commits between ``base_sha`` and ``head_sha`` bring.

    ``known``: further commits that have left already, such as the base branch's tip. What the base's files hold is
    nothing new. ``allow``: globs of files and fingerprints that the owner lets pass. Raises AutoDevError.
    """
    commits = await history.new_commits(head_sha, [base_sha, *known])
    places = await _of_messages(commits, credentials)
    for batch in _batches(commits):
        places += await _of_blobs(history, batch, credentials)
    first: dict[str, _Place] = {}
    for place in sorted(places, key=lambda place: not place.file):
        first.setdefault(place.found.value, place)
    rows = {value: _longest_row(value) for value in first}
    old = await history.holding(base_sha, list(rows.values()))
    left = {value: place for value, place in first.items() if rows[value] not in old}
    present = await history.holding(head_sha, [rows[value] for value in left])
    named = await asyncio.to_thread(_fingerprints, list(left)[:_MOST])
    leaks = []
    for value, place in list(left.items())[:_MOST]:
        at_head = rows[value] in present or await _is_at(history, head_sha, place)
        leak = Leak(place.found.kind, value, place.file, place.found.line, place.commit, at_head, named[value])
        if not _allowed(leak, allow):
            leaks.append(leak)
    return tuple(leaks)


def secret_values(leaks: Sequence[Leak]) -> tuple[str, ...]:
    """What must be shown nowhere."""
    return tuple(leak.value for leak in leaks)


async def _of_messages(commits: Sequence[NewCommit], credentials: Credentials) -> list[_Place]:
    texts = [(_MESSAGE, f"{commit.message}\n\n{commit.author}".encode("utf-8", "replace")) for commit in commits]
    return [
        _Place(found, "", commit.sha)
        for commit, searched in zip(commits, await credentials.search(texts), strict=True)
        for found in searched.found
    ]


async def _of_blobs(history: Outgoing, batch: Sequence[tuple[str, NewBlob]], credentials: Credentials) -> list[_Place]:
    readable = [(commit, blob) for commit, blob in batch if blob.size <= BIGGEST]
    contents = await history.blobs([blob.sha for _, blob in readable])
    found = await credentials.search([(blob.path, contents[blob.sha]) for _, blob in readable])
    rows = list(zip(readable, found, strict=True))
    too_large = f"it has more than {BIGGEST // 1024 // 1024} MB"
    rows += [((commit, blob), Searched(unread=too_large)) for commit, blob in batch if blob.size > BIGGEST]
    places = await _of_names(batch, credentials)
    for (commit, blob), searched in rows:
        places += [_Place(hit, blob.path, commit, blob.sha) for hit in searched.found]
        if searched.unread:
            unread = Found(f"it could not be looked through: {searched.unread}", blob.sha, 1)
            places.append(_Place(unread, blob.path, commit, blob.sha))
    return places


async def _of_names(batch: Sequence[tuple[str, NewBlob]], credentials: Credentials) -> list[_Place]:
    """The credentials in the names of files, which leave as well."""
    named = {line(blob.path, 4_096): (commit, blob) for commit, blob in reversed(batch)}
    rows = list(named.values())
    [searched] = await credentials.search([(_NAMES, "\n".join(named).encode("utf-8", "replace"))])
    return [
        _Place(Found(f"{found.kind} in a file's name", found.value, 1), blob.path, commit, blob.sha)
        for found in searched.found
        for commit, blob in rows[found.line - 1 : found.line]
    ]


def _batches(commits: Sequence[NewCommit]) -> list[list[tuple[str, NewBlob]]]:
    """The new contents in portions that fit into memory."""
    batches: list[list[tuple[str, NewBlob]]] = [[]]
    room = _BATCH
    for commit in commits:
        for blob in commit.blobs:
            if blob.size > room and batches[-1]:
                batches.append([])
                room = _BATCH
            batches[-1].append((commit.sha, blob))
            room -= min(blob.size, BIGGEST)
    return [batch for batch in batches if batch]


def _longest_row(value: str) -> str:
    """The row of ``value`` by which it is looked for: git compares row by row."""
    return max((row.strip() for row in value.split("\n")), key=len)


async def _is_at(history: Outgoing, head_sha: str, place: _Place) -> bool:
    """Whether the head's file is the very content of ``place``: an archive does not show what it holds."""
    if not place.blob:
        return False
    data = await history.read(head_sha, place.file)
    kind = "sha256" if len(place.blob) == 64 else "sha1"
    header = b"blob %d\0" % len(data or b"")
    return data is not None and hashlib.new(kind, header + data, usedforsecurity=False).hexdigest() == place.blob


def _fingerprints(values: Sequence[str]) -> dict[str, str]:
    return {value: fingerprint(value) for value in values}


def _allowed(leak: Leak, allow: Sequence[str]) -> bool:
    return any(rule == leak.fingerprint or (leak.file and matches(rule, leak.file)) for rule in allow)
