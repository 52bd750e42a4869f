"""Where a story may not reach: protected and special files, paths outside its scope, too many files."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections import Counter

from auto_dev.gates.base import Change, GateContext, Judgement
from auto_dev.gates.evidence import Finding, entry, weighed
from auto_dev.gates.paths import canonical, hidden, matches, matches_loosely, plain
from auto_dev.gates.special import DATA_FILES, lockfile_manifests, special_kind
from auto_dev.model import Route
from auto_dev.text import line

_SYMLINK, _SUBMODULE, _EXECUTABLE = "120000", "160000", "100755"

# A status in frontmatter, in a bold field or in a table; the value is one short word, so that nothing else rides along.
_STATUS = re.compile(
    r"^\s*(?:(?:[-*]\s+)?(?:\*\*)?status|updated(?:_at)?|completed(?:_at)?)(?:\*\*)?\s*:(?:\*\*)?[^|>{}\[\]]{0,60}$",
    re.IGNORECASE,
)
_CHECKBOX = re.compile(r"^(\s*[-*+]\s+)\[[ xX]\]\s")
_STORY_LIMIT = 2_000_000


class ScopeGate:
    """Asks for protected and special files and for too many files; sends the rest back to the agent."""

    name = "scope"

    async def judge(self, context: GateContext) -> Judgement:
        own = own_story_paths(context)
        findings: list[Finding] = []
        changed = {plain(name) for change in context.changes for name in names_of(change)}
        for number, change in enumerate(context.changes):
            if number % 500 == 499:
                await asyncio.sleep(0)  # a huge change must not hold up the daemon
            if own.intersection(names_of(change)):
                findings += await _own_story(change, context)
                continue
            findings += _paths(change, context)
            findings += await _kind_of_file(change, context)
            findings += await _lockfile(change, changed, context)
        limit = context.policy.gates.scope.max_file_changes
        if (count := len(context.changes)) > limit:
            title = f"{count} files changed, at most {limit} are allowed"
            findings.insert(0, Finding(Route.ASK, title, entry(title, number=count)))
        return weighed(findings, "every change is in scope")


def names_of(change: Change) -> tuple[str, ...]:
    """The names that a change touches: a rename touches two."""
    return (change.path,) if change.old_path in (None, change.path) else (change.path, change.old_path or "")


def own_story_paths(context: GateContext) -> frozenset[str]:
    """Where the story's own file may lie: as its path says, from the repository's root or from the stories folder."""
    path = plain(context.story.path.split("#", 1)[0])
    folder = plain(context.policy.project.stories)
    found = {path, posixpath.normpath(posixpath.join(folder, path))} if path else set[str]()
    return frozenset(found)


def _paths(change: Change, context: GateContext) -> list[Finding]:
    scope = context.policy.gates.scope
    found: list[Finding] = []
    for name in names_of(change):
        if trick := hidden(name):
            title = f"a path with {trick}"
            found.append(Finding(Route.ASK, title, entry(title, file=name, excerpt=ascii(name))))
        protected = next((pattern for pattern in scope.protected_paths if matches_loosely(pattern, name)), None)
        if protected is not None:
            title = f"protected path {line(protected, 100)}"
            found.append(Finding(Route.ASK, title, entry(title, file=name)))
        elif kind := special_kind(canonical(name)):
            found.append(Finding(Route.ASK, f"change of {kind}", entry(f"change of {kind}", file=name)))
        elif scope.allowed_paths and not any(matches(pattern, name) for pattern in scope.allowed_paths):
            title = "outside the allowed paths"
            excerpt = "allowed: " + ", ".join(scope.allowed_paths[:20])
            found.append(Finding(Route.REPAIR, title, entry(title, file=name, excerpt=excerpt)))
    return found


async def _kind_of_file(change: Change, context: GateContext) -> list[Finding]:
    if change.mode == _SUBMODULE:
        title = "change of a submodule"
        return [Finding(Route.ASK, title, entry(title, file=change.path))]
    if change.mode == _SYMLINK:
        target = await context.read(context.head_sha, change.path)
        if target is None or leaves_repository(change.path, target):
            title = "symbolic link out of the repository"
            excerpt = "unreadable" if target is None else ascii(target[:300].decode("utf-8", "replace"))
            return [Finding(Route.ASK, title, entry(title, file=change.path, excerpt=excerpt))]
    suffix = posixpath.splitext(canonical(change.path))[1]
    if change.mode == _EXECUTABLE and suffix in DATA_FILES:
        title = "a data file is executable"
        return [Finding(Route.PROCEED, title, entry(title, file=change.path))]
    return []


def leaves_repository(path: str, target: bytes) -> bool:
    """Whether a symbolic link at ``path`` with ``target`` points out of the repository or into git's own folder."""
    text = target.decode("utf-8", "surrogateescape").replace("\\", "/")
    if not text or text.startswith(("/", "~")) or "\0" in text or re.match(r"[A-Za-z]:", text):
        return True
    # Step by step: a target such as sub/../../../x leaves on the way even where normpath would bring it back.
    depth = [part for part in posixpath.dirname(path).split("/") if part]
    for part in text.split("/"):
        if part == "..":
            if not depth:
                return True
            depth.pop()
        elif part not in ("", "."):
            depth.append(part)
    return ".git" in canonical("/".join(depth)).split("/")


async def _lockfile(change: Change, changed: set[str], context: GateContext) -> list[Finding]:
    path = plain(change.path)
    manifests = lockfile_manifests(posixpath.basename(path))
    if not manifests:
        return []
    folder = posixpath.dirname(path)
    # A workspace has one lockfile at its root and manifests below.
    below = [name for name in changed if not folder or name.startswith(folder + "/")]
    if any(matches(f"**/{manifest}", name) for name in below for manifest in manifests):
        return []
    if posixpath.basename(path).startswith("requirements") and not await _compiled(folder, manifests, context):
        return []  # written by hand: it is the manifest itself
    title = f"lockfile changed without {' or '.join(manifests)}"
    return [Finding(Route.REPAIR, title, entry(title, file=change.path))]


async def _compiled(folder: str, manifests: tuple[str, ...], context: GateContext) -> bool:
    for manifest in manifests:
        if await context.read(context.head_sha, posixpath.join(folder, manifest)) is not None:
            return True
    return False


async def _own_story(change: Change, context: GateContext) -> list[Finding]:
    """The story's own file: its status may change, its words may not."""
    old = change.old_path or change.path
    before = await context.read(context.base_sha, old)
    after = await context.read(context.head_sha, change.path)
    moved = _lane(old) != _lane(change.path)
    if before is None and after is not None:
        return []  # the base does not hold the file (the stories live elsewhere): nothing to compare with
    if after is None or moved:
        title = "the story's own file was removed or renamed"
        return [Finding(Route.REPAIR, title, entry(title, file=change.path))]
    lines = status_only(before or b"", after)
    if not lines:
        return []
    title = "the story's own file was changed in more than its status"
    return [Finding(Route.REPAIR, title, entry(title, file=change.path, excerpt="\n".join(lines[:10])))]


def _lane(path: str) -> tuple[str, str]:
    """What stays when a story's file moves from one swim lane (backlog/, completed/) to another."""
    return posixpath.dirname(posixpath.dirname(path)), posixpath.basename(path)


def status_only(before: bytes, after: bytes) -> list[str]:
    """The changed lines of a story file that are no status, updated date or ticked box; empty when there are none."""
    if len(before) > _STORY_LIMIT or len(after) > _STORY_LIMIT:
        return [] if before == after else ["the file is too large to be compared"]
    old, new = (Counter(text.decode("utf-8", "replace").splitlines()) for text in (before, after))
    gone = [text for text in (old - new).elements() if text.strip() and not _STATUS.match(text)]
    come = [text for text in (new - old).elements() if text.strip() and not _STATUS.match(text)]
    ticked = Counter(map(_untick, gone)) & Counter(map(_untick, come))
    left = list((Counter(map(_untick, gone)) - ticked).elements())
    added = list((Counter(map(_untick, come)) - ticked).elements())
    return [f"- {line(text)}" for text in left] + [f"+ {line(text)}" for text in added]


def _untick(text: str) -> str:
    return _CHECKBOX.sub(r"\1[ ] ", text)
