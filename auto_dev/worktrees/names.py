"""Names that git and the file system take, made from names that people write. Pure."""

from __future__ import annotations

import hashlib
import re

from auto_dev.errors import GitError

BRANCH_PREFIX = "auto-dev/"
HEADS = "refs/heads/"
BASES = "refs/auto-dev/base/"
SALVAGE = "refs/auto-dev/salvage/"

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LONGEST = 100


def safe(name: str) -> str:
    """``name`` as one component of a ref and of a path; what had to change is told apart by a short digest."""
    if len(name) <= _LONGEST and _PLAIN.fullmatch(name) and not name.lower().endswith(".lock"):
        return name
    flat = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:60] or "story"
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{flat}-{digest}"


def branch_for(story_id: str) -> str:
    """The branch of a story: ``auto-dev/<story-id>``."""
    return BRANCH_PREFIX + safe(story_id)


def story_ref(branch: str) -> str:
    """The full ref of a story branch. Raises GitError for any other branch: nothing else is ever written or pushed."""
    name = branch.removeprefix(BRANCH_PREFIX)
    if not branch.startswith(BRANCH_PREFIX) or safe(name) != name:
        raise GitError(f"{branch!r} is not a story branch", mend=f"Story branches are named {BRANCH_PREFIX}<story-id>.")
    return HEADS + branch


def base_ref(run_id: str) -> str:
    """The ref that keeps the base commit of a run."""
    return BASES + safe(run_id)


def salvage_prefix(run_id: str) -> str:
    """Under this stand the salvaged commits of a run, numbered from 1."""
    return f"{SALVAGE}{safe(run_id)}/"


def require_sha(sha: str) -> str:
    """``sha`` when it is a full object id. Raises GitError: any other name could come to mean something else."""
    if not _SHA.fullmatch(sha):
        raise GitError(f"{sha!r} is not a full commit id")
    return sha


def is_sha(text: str) -> bool:
    return _SHA.fullmatch(text) is not None


def is_local(url: str) -> bool:
    """Whether ``url`` is a path on this machine (git's own rule: no scheme, no colon before the first slash)."""
    if url.startswith("file://"):
        return True
    return "://" not in url and ":" not in url.split("/", 1)[0]


def require_url(url: str) -> str:
    """``url`` when it is a path, https, http or ssh. Raises GitError: ``ext::`` and the like run commands."""
    helper = re.match(r"[A-Za-z0-9+.-]+::", url)
    scheme = re.match(r"([A-Za-z0-9+.-]+)://", url)
    known = scheme is None or scheme[1].lower() in ("file", "http", "https", "ssh")
    if not url or url.startswith("-") or helper or not known or any(ord(c) < 32 for c in url):
        raise GitError(f"the remote's address {display_url(url)!r} cannot be used", mend="Use a path, https or ssh.")
    return url


def display_url(url: str) -> str:
    """``url`` for people and logs: without the user and password that some addresses carry."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", url)
