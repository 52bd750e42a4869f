"""What a worktree needs before anybody works in it: copied files, ports, temp and cache folders, the setup command."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auto_dev.config import SetupConfig
from auto_dev.errors import ConfigError, GitError
from auto_dev.processes import Finished, OnStart, RunTree, run_tree
from auto_dev.worktrees import parse
from auto_dev.worktrees.folders import is_plain_folder, locked, plain_folder, read_small, write_atomically
from auto_dev.worktrees.git import GitAt
from auto_dev.worktrees.names import safe
from auto_dev.worktrees.site import LOCKS, Worktree
from auto_dev.worktrees.worktree import Worktrees

PORTS = ".ports.json"
_SHELL = "/bin/sh"


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A worktree made ready. ``env`` is to be added to every child's environment.

    ``setup`` is how the setup command ended: None when there is none or it was done before. ``log`` holds its output.
    """

    env: Mapping[str, str]
    ports: tuple[int, ...]
    copied: tuple[str, ...]
    setup: Finished | None
    log: Path

    @property
    def ok(self) -> bool:
        return self.setup is None or (self.setup.exit_code == 0 and not self.setup.stopped)


async def provision(
    worktrees: Worktrees,
    worktree: Worktree,
    setup: SetupConfig,
    room: Path,
    *,
    logs: Path,
    env: Mapping[str, str],
    run: RunTree = run_tree,
    on_start: OnStart | None = None,
) -> Provisioned:
    """Make ``worktree`` ready. Repeating it keeps files and ports, and runs the setup command only until it succeeded.

    ``room`` is a folder that the worktree's children may write (temp and cache lie there), ``logs`` one that only the
    host writes. ``env`` is the environment by allowlist that children get. Raises ConfigError (``[setup]`` does not
    fit), GitError.
    """
    copied = await copy_files(worktrees, worktree, setup.copy_files)
    ports = await claim_ports(worktrees.folder, worktree.story_id, setup.ports)
    added = environment(room, ports)
    for name in ("TMPDIR", "XDG_CACHE_HOME"):
        plain_folder(Path(added[name]))
    log, done = logs / "setup.log", logs / "setup.done"
    finished = None
    if setup.command and read_small(done) != setup.command.encode():
        finished = await run(
            [_SHELL, "-c", setup.command],
            cwd=worktree.path,
            env={**env, **added},
            output=log,
            timeout_s=setup.timeout_minutes * 60,
            on_start=on_start,
        )
        if finished.exit_code == 0 and not finished.stopped:
            write_atomically(done, setup.command.encode())
    return Provisioned(added, ports, copied, finished, log)


async def provision_checkout(
    root: Path,
    folder: Path,
    setup: SetupConfig,
    room: Path,
    *,
    logs: Path,
    env: Mapping[str, str],
    label: str,
    run: RunTree = run_tree,
    on_start: OnStart | None = None,
) -> Provisioned:
    """Make a clean checkout in ``folder`` ready as a worktree is, but for ports. ``root`` is the user's checkout.

    The checkout is thrown away afterwards, so the setup command always runs; its output goes to ``setup-<label>.log``.
    """
    copied = [os.path.normpath(name) for name in setup.copy_files]
    for name in copied:
        for source, relative in _sources(root, name):
            _copy(source, folder, relative)
    added = environment(room, ())
    for name in ("TMPDIR", "XDG_CACHE_HOME"):
        Path(added[name]).mkdir(parents=True, exist_ok=True)
    log, finished = logs / f"setup-{label}.log", None
    if setup.command:
        finished = await run(
            [_SHELL, "-c", setup.command],
            cwd=folder,
            env={**env, **added},
            output=log,
            timeout_s=setup.timeout_minutes * 60,
            on_start=on_start,
        )
    return Provisioned(added, (), tuple(copied), finished, log)


def environment(room: Path, ports: Sequence[int]) -> dict[str, str]:
    """The variables of a worktree's children: its ports, its temp and its cache folder. Pure."""
    tmp = str(room / "tmp")
    named = {f"AUTO_DEV_PORT_{number}": str(port) for number, port in enumerate(ports, start=1)}
    return {"TMPDIR": tmp, "TMP": tmp, "TEMP": tmp, "XDG_CACHE_HOME": str(room / "cache"), **named}


async def copy_files(worktrees: Worktrees, worktree: Worktree, names: Sequence[str]) -> tuple[str, ...]:
    """Copy files that git ignores from the user's checkout; no commit of the worktree will hold them.

    What the worktree already has stays. Raises ConfigError for a name that is missing, tracked, or leads out of the
    repository.
    """
    if not names:
        return ()
    root = worktrees.mirror.repository.root
    wanted = [os.path.normpath(name) for name in names]
    await _refuse_tracked(worktrees, worktree, wanted)
    await worktrees.keep_out(worktree, wanted)
    for name in wanted:
        for source, relative in _sources(root, name):
            _copy(source, worktree.path, relative)
    return tuple(wanted)


async def _refuse_tracked(worktrees: Worktrees, worktree: Worktree, names: Sequence[str]) -> None:
    at = GitAt(worktrees.mirror.git, worktrees.mirror.path)
    asked = parse.joined([f"{worktree.base_sha}:{name}" for name in names])
    answer = await at.run("cat-file", "--batch-check=%(objecttype)", "-z", input=asked)
    for name, row in zip(names, answer.text.splitlines(), strict=True):
        if row in ("blob", "tree", "commit"):
            mend = "Take it out of [setup] copy: every worktree has it."
            raise ConfigError(f"{name!r} is tracked by git", where="[setup] copy", mend=mend)


def _sources(root: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """The regular files that ``name`` stands for → their paths in the repository."""
    source = root / name
    inside = root.resolve()
    if not os.path.lexists(source):
        mend = "Create it in your checkout, or take it out of the list."
        raise ConfigError(f"{name!r} does not exist in {root}", where="[setup] copy", mend=mend)
    found = [source] if not source.is_dir() else sorted(path for path in source.rglob("*") if not path.is_dir())
    for path in found:
        real = path.resolve()
        if not real.is_relative_to(inside) or real.is_relative_to(inside / ".git"):
            mend = "Copy the file itself into the repository's folder."
            raise ConfigError(
                f"{str(path.relative_to(root))!r} leads out of the repository", where="[setup] copy", mend=mend
            )
        if not real.is_file():
            raise ConfigError(f"{str(path.relative_to(root))!r} is no regular file", where="[setup] copy")
        yield real, path.relative_to(root)


def _copy(source: Path, tree: Path, relative: Path) -> None:
    """Copy one file below ``tree`` without going through a symlink that an agent may have put there."""
    folder = tree
    for part in relative.parts[:-1]:
        folder = folder / part
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        if not is_plain_folder(folder):
            raise GitError("not a folder, so nothing can be copied into it", where=str(folder))
    target = folder / relative.name
    if not os.path.lexists(target):
        write_atomically(target, source.read_bytes(), mode=stat.S_IMODE(source.stat().st_mode))


async def claim_ports(folder: Path, story_id: str, count: int) -> tuple[int, ...]:
    """``count`` ports on 127.0.0.1 that are free now and that no other worktree has; a repeated call gives the same.

    They are recorded for all worktrees in one file, since ports that are only "free" are given out twice.
    """
    if count == 0:
        return ()
    async with locked(folder / LOCKS / PORTS):
        claims = _claims(folder)
        taken = {port for name, ports in claims.items() if name != safe(story_id) for port in ports}
        mine = [port for port in claims.get(safe(story_id), []) if port not in taken and _is_free(port)][:count]
        with contextlib.ExitStack() as held:
            while len(mine) < count:
                listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                listener.bind(("127.0.0.1", 0))  # held until all are found, so that each differs
                port = listener.getsockname()[1]
                if port not in taken and port not in mine:
                    mine.append(port)
        claims[safe(story_id)] = mine
        write_atomically(folder / PORTS, json.dumps(claims).encode())
    return tuple(mine)


def _claims(folder: Path) -> dict[str, list[int]]:
    """Worktree → its ports; those of worktrees that are gone are free again."""
    raw = read_small(folder / PORTS)
    try:
        claims = json.loads(raw) if raw else {}
    except ValueError:
        claims = {}  # cut short by a full disk: ports are found anew
    return {name: [int(port) for port in ports] for name, ports in claims.items() if (folder / name).is_dir()}


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
