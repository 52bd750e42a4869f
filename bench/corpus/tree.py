"""File trees as values, and the edits that lead from a base to a head."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

TEMPLATES: Final = Path(__file__).parent / "templates"
FILE, PROGRAM, LINK, MODULE = "100644", "100755", "120000", "160000"
_WHEN: Final = "1714550400 +0000"  # fixed: the same content gives the same commit
_WHO: Final = f"corpus <corpus@example.com> {_WHEN}"


@dataclass(frozen=True, slots=True)
class Blob:
    data: bytes
    mode: str = FILE


Tree = dict[str, Blob]
Edit = Callable[[Tree], None]


@cache
def _template(name: str) -> tuple[tuple[str, Blob], ...]:
    root = TEMPLATES / name
    found = []
    for path in sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        # "dot.github" stands for ".github": what rules a repository must not rule this one.
        parts = [f".{part[4:]}" if part.startswith("dot.") else part for part in path.relative_to(root).parts]
        mode = PROGRAM if path.suffix == ".sh" else FILE
        found.append(("/".join(parts), Blob(path.read_bytes(), mode)))
    return tuple(found)


def template(name: str) -> Tree:
    """The files of a repository that cases start from."""
    return dict(_template(name))


def applied(tree: Tree, edits: Iterable[Edit]) -> Tree:
    """``tree`` after ``edits``."""
    changed = dict(tree)
    for edit in edits:
        edit(changed)
    return changed


def write(path: str, content: str | bytes, mode: str = FILE) -> Edit:
    """A file, new or replaced. Text may be indented as a whole and begin with a line break."""
    data = content if isinstance(content, bytes) else _dedent(content).encode()

    def edit(tree: Tree) -> None:
        tree[path] = Blob(data, mode)

    return edit


def edit(path: str, *pairs: tuple[str, str]) -> Edit:
    """Replace texts that stand exactly once."""

    def change(tree: Tree) -> None:
        text = tree[path].data.decode()
        for old, new in pairs:
            if text.count(old) != 1:
                raise ValueError(f"{path}: {old!r} stands {text.count(old)} times")
            text = text.replace(old, new)
        tree[path] = Blob(text.encode(), tree[path].mode)

    return change


def everywhere(old: str, new: str, under: str = "") -> Edit:
    """Replace a text in all files below ``under``."""

    def change(tree: Tree) -> None:
        hits = 0
        for path, blob in list(tree.items()):
            if path.startswith(under) and old.encode() in blob.data:
                tree[path] = Blob(blob.data.replace(old.encode(), new.encode()), blob.mode)
                hits += 1
        if not hits:
            raise ValueError(f"{old!r} stands nowhere below {under!r}")

    return change


def append(path: str, text: str) -> Edit:
    """Add text to the end of a file."""

    def change(tree: Tree) -> None:
        tree[path] = Blob(tree[path].data + _dedent(text).encode(), tree[path].mode)

    return change


def cut(path: str, start: str, end: str = "", *, instead: str = "") -> Edit:
    """Replace what begins with ``start`` and goes up to ``end`` (which stays; "" means the end of the file)."""

    def change(tree: Tree) -> None:
        text = tree[path].data.decode()
        if text.count(start) != 1:
            raise ValueError(f"{path}: {start!r} stands {text.count(start)} times")
        begin = text.index(start)
        stop = text.index(end, begin + len(start)) if end else len(text)
        tree[path] = Blob((text[:begin] + instead + text[stop:]).encode(), tree[path].mode)

    return change


def delete(*paths: str) -> Edit:
    """Remove files; a path that ends with a slash stands for all below."""

    def change(tree: Tree) -> None:
        for path in paths:
            gone = [name for name in tree if name == path or (path.endswith("/") and name.startswith(path))]
            if not gone:
                raise ValueError(f"{path} is not there")
            for name in gone:
                del tree[name]

    return change


def move(old: str, new: str) -> Edit:
    """Rename a file, or with slashes at the ends all files of a folder."""

    def change(tree: Tree) -> None:
        names = [name for name in tree if name == old or (old.endswith("/") and name.startswith(old))]
        if not names:
            raise ValueError(f"{old} is not there")
        for name in names:
            tree[new + name[len(old) :]] = tree.pop(name)

    return change


def mode(path: str, to: str) -> Edit:
    """Change a file's mode."""

    def change(tree: Tree) -> None:
        tree[path] = Blob(tree[path].data, to)

    return change


def link(path: str, target: str) -> Edit:
    """A symbolic link."""
    return write(path, target.encode(), LINK)


def submodule(path: str, sha: str) -> Edit:
    """A gitlink."""
    return write(path, sha.encode(), MODULE)


def _dedent(text: str) -> str:
    """Take off the first line break and the indentation of the first line."""
    if not text.startswith("\n"):
        return text
    text = text[1:]
    margin = text[: len(text) - len(text.lstrip(" "))]
    lines = text.split("\n")
    if margin:
        lines = [line.removeprefix(margin) for line in lines]
    return "\n".join(lines).rstrip(" ")


def differences(base: Tree, head: Tree) -> list[str]:
    """The paths that differ."""
    return sorted(path for path in base.keys() | head.keys() if base.get(path) != head.get(path))


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit to be made on ``ref``, after ``parent`` (a ref of an earlier commit, or "")."""

    ref: str
    parent: str
    before: Mapping[str, Blob]
    after: Mapping[str, Blob]
    message: str


def build(root: Path, commits: Sequence[Commit]) -> dict[str, str]:
    """Make a repository at ``root`` with ``commits``, checked out at ``main``: ref → commit."""
    root.mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    stream = b"".join(_stream(commits))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=root, input=stream, check=True, capture_output=True)
    git(root, "reset", "-q", "--hard", "main")
    rows = git(root, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads").splitlines()
    return {ref.removeprefix("refs/heads/"): sha for ref, sha in (row.split(" ") for row in rows)}


def git(root: Path, *args: str) -> str:
    """The output of a git command in the repository that the corpus made."""
    done = subprocess.run(["git", *args], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _stream(commits: Sequence[Commit]) -> Iterator[bytes]:
    marks: dict[str, int] = {}
    for number, commit in enumerate(commits, start=1):
        message = commit.message.encode()
        yield f"commit refs/heads/{commit.ref}\nmark :{number}\ncommitter {_WHO}\n".encode()
        yield b"data %d\n%s\n" % (len(message), message)
        if commit.parent:
            yield f"from :{marks[commit.parent]}\n".encode()
        for path in differences(dict(commit.before), dict(commit.after)):
            yield from _change(path, commit.after.get(path))
        marks[commit.ref] = number


def _change(path: str, blob: Blob | None) -> Iterator[bytes]:
    name = b'"' + b"".join(b"\\%03o" % byte for byte in path.encode()) + b'"'  # quoted as a whole: any name will do
    if blob is None:
        yield b"D " + name + b"\n"
    elif blob.mode == MODULE:
        yield b"M 160000 " + blob.data + b" " + name + b"\n"
    else:
        yield b"M " + blob.mode.encode() + b" inline " + name + b"\ndata %d\n" % len(blob.data) + blob.data + b"\n"
