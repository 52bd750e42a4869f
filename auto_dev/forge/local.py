"""No forge: the branch stays, with a folder that holds its patch series and its pull request's text."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from auto_dev.errors import ForgeError
from auto_dev.forge.allowance import Allowance
from auto_dev.forge.base import Checks, Digest, DraftSpec, Pull, Watched
from auto_dev.model import PullState
from auto_dev.text import clean, line

FILE_NAME = "pull-request.md"
BRANCH_PREFIX = "auto-dev/"
_MAX_NAME = 120  # bytes; file systems stop at 255


def folder_name(branch: str) -> str:
    """A folder name for ``branch``: readable, safe on every file system, and no two branches share one."""
    story = branch.removeprefix(BRANCH_PREFIX)
    # "%empty" and "%40…" are of no other story: a percent sign of its own becomes %25.
    name = quote(story, safe=" ()+,=@", errors="surrogatepass").replace("~", "%7E") or "%empty"
    if name.startswith("."):
        name = "%2E" + name[1:]
    if name.endswith((".", " ")):
        name = f"{name[:-1]}%{ord(name[-1]):02X}"
    if story == branch:  # of a branch outside our prefix, which may have a story's name
        name = f"%40{name}"
    if len(name) > _MAX_NAME:
        digest = hashlib.sha256(branch.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{name[:_MAX_NAME]}%23{digest[:16]}"
    return name


class LocalForge:
    """Writes the pull request's text as a file; nothing leaves the machine."""

    name = "none"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder_for(self, branch: str) -> Path:
        """Where the branch's patch series belongs, beside its text."""
        return self._folder / folder_name(branch)

    async def ensure_draft(self, spec: DraftSpec) -> Pull:
        """Write the text of ``spec`` where it differs. The pull request has number 0, a file's URL and state LOCAL."""
        path = (self.folder_for(spec.branch) / FILE_NAME).absolute()
        text = _document(spec).encode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or path.read_bytes() != text:
                _replace(path, text)
        except OSError as error:
            raise ForgeError(
                f"the pull request's text cannot be written: {error.strerror}",
                where=str(path),
                mend="Make room or mend the folder's permissions, then retry.",
            ) from error
        return Pull(0, path.as_uri(), PullState.LOCAL, spec.branch, spec.base)

    async def get(self, number: int) -> Pull:
        raise _no_numbers(number)

    async def checks(self, sha: str, allowance: Allowance) -> Checks:  # noqa: ARG002 (the protocol's)
        """Files have no checks."""
        return Checks(sha)

    async def news(self, watched: Sequence[Watched], allowance: Allowance) -> Digest:  # noqa: ARG002 (the protocol's)
        """Files have no news: nobody can be asked."""
        return Digest(troubles={each.number: str(_no_numbers(each.number)) for each in watched})

    async def comment(self, number: int, body: str, key: str) -> str:  # noqa: ARG002 (the protocol's)
        raise _no_numbers(number)

    async def retarget(self, number: int, base: str) -> Pull:  # noqa: ARG002 (the protocol's)
        raise _no_numbers(number)

    async def close(self) -> None:
        """Nothing is held open."""


def _no_numbers(number: int) -> ForgeError:
    return ForgeError(
        f"there is no pull request {number}: pull requests are files here",
        where='[forge] kind = "none"',
        mend='Set kind = "github" to have them on GitHub.',
    )


def _document(spec: DraftSpec) -> str:
    head = [f"# {line(spec.title)}", "", f"Branch `{line(spec.branch)}` onto `{line(spec.base)}`."]
    if spec.labels:
        head.append(f"Labels: {', '.join(line(label) for label in spec.labels)}.")
    return "\n".join(head) + "\n\n" + clean(spec.body).rstrip() + "\n"


def _replace(path: Path, text: bytes) -> None:
    """Write beside, flush to the disk, then replace: a reader sees the old text or the new one, never a part."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
