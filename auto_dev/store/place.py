"""Where an embedded server lives and as whom it runs.

PostgreSQL refuses uid 0. As root it runs as an existing unprivileged user, who must be able to reach the folder;
where it cannot (``/root`` is 0700), the server lives in ``/var/lib/auto-dev`` and nothing else is changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from auto_dev.errors import StoreError
from auto_dev.store.keeper import NO_TRICKS

SYSTEM_ROOT = Path("/var/lib/auto-dev")
SOCKET_NAME = ".s.PGSQL.5432"
SUN_PATH = 103  # bytes without the final NUL: 107 on Linux, 103 on macOS and BSD
SERVER_USERS = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of a server. ``server_uid`` is None when it runs as this process's own user.

    ``clients`` are the names of the users who may connect.
    """

    base: Path
    socket: Path
    server_uid: int | None
    server_gid: int | None
    server_name: str
    clients: tuple[str, ...]

    @property
    def data(self) -> Path:
        return self.base / "server" / "data"

    @property
    def log(self) -> Path:
        return self.base / "server" / "log"

    def can_run(self, program: Path) -> bool:
        """Whether the server's user can execute ``program``."""
        if self.server_uid is None or self.server_gid is None:
            return os.access(program, os.X_OK)
        return may_pass(program, self.server_uid, self.server_gid)


def choose(folder: Path) -> Place:
    """The place for the server of ``folder``, with all its folders made. Raises StoreError."""
    folder = folder.resolve()
    try:
        return _as_root(folder) if os.geteuid() == 0 else _as_user(folder)
    except OSError as error:
        raise StoreError(
            f"cannot make the database's folder: {error.strerror}", where=str(error.filename or folder)
        ) from error


def _as_user(folder: Path) -> Place:
    uid = os.geteuid()
    name = user_name(uid)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != uid:
        raise StoreError(
            f"the folder belongs to {user_name(folder.stat().st_uid)!r}, not to {name!r}",
            where=str(folder),
            mend="Run as its owner, or choose another state folder.",
        )
    for part in (folder / "server", folder / "server" / "log"):
        part.mkdir(exist_ok=True, mode=0o700)
    socket = _socket_folder(folder, uid)
    private_folder(socket, uid)
    return Place(folder, socket, None, None, name, (name,))


def _as_root(folder: Path) -> Place:
    owner = folder.stat().st_uid if folder.exists() else 0
    server = pwd.getpwuid(owner) if owner else _server_user()
    base = _base_for_root(folder, server)
    for part in (base / "server", base / "server" / "log"):
        private_folder(part, server.pw_uid, server.pw_gid)
    socket = _socket_folder(base, server.pw_uid)
    private_folder(socket, server.pw_uid, server.pw_gid)
    if owner:
        for name in ("users.lock", "start.lock", "keeper.lock", "keeper.log"):  # its owner uses them without root, too
            fd = os.open(base / name, os.O_RDWR | os.O_CREAT | NO_TRICKS, 0o600)
            os.fchown(fd, server.pw_uid, server.pw_gid)
            os.close(fd)
    clients = tuple(dict.fromkeys((user_name(owner), "root")))
    return Place(base, socket, server.pw_uid, server.pw_gid, server.pw_name, clients)


def _base_for_root(folder: Path, server: pwd.struct_passwd) -> Path:
    system = SYSTEM_ROOT / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    exists, reachable = (folder / "server").exists(), may_pass(folder, server.pw_uid, server.pw_gid)
    if exists and not reachable:
        raise StoreError(
            f"the user {server.pw_name!r}, who runs the database server, can no longer reach it",
            where=str(folder),
            mend="Give the folder and its parents back the permission to pass (chmod o+x).",
        )
    if reachable and not (system / "server").exists():
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o711)
            # The umask may have closed a parent that was made just now.
            if not may_pass(folder / "server", server.pw_uid, server.pw_gid):
                return _system_base(system)
        return folder
    return _system_base(system)


def _system_base(system: Path) -> Path:
    for each in (SYSTEM_ROOT, system):
        each.mkdir(exist_ok=True)
        status = each.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
            raise StoreError("not a folder that only root may change", where=str(each), mend=f"Remove {each}.")
        each.chmod(0o755)
    return system


def _server_user() -> pwd.struct_passwd:
    for name in SERVER_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return entry
    raise StoreError(
        "PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody'",
        mend="Run auto-dev as an ordinary user, or use --database-url.",
    )


def user_name(uid: int) -> str:
    """The user's name, which PostgreSQL's peer authentication goes by. Raises StoreError when there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise StoreError(
            f"the user {uid} has no name, and PostgreSQL's peer authentication needs one",
            mend="Add the user to /etc/passwd, or use --database-url.",
        ) from None


def may_pass(path: Path, uid: int, gid: int) -> bool:
    """Whether the user may reach ``path``: every part of it that exists has the search bit for them."""
    for part in (*reversed(path.parents), path):
        try:
            status = part.stat()
        except FileNotFoundError:
            return True  # the rest will be made by us
        shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
        if not (status.st_mode >> shift) & 1:
            return False
    return True


def _socket_folder(base: Path, uid: int) -> Path:
    """Inside the base when its path fits; else a private folder in /tmp whose name follows from the base.

    Not in $XDG_RUNTIME_DIR: a login shell has it and cron has not, and both must find the same server.
    """
    inside = base / "socket"
    text = str(inside)
    # libpq splits hosts at commas, and the server's list of folders knows quotes.
    plain = text.isprintable() and not set(text) & set(',"\\')
    if plain and len(os.fsencode(inside / SOCKET_NAME)) <= SUN_PATH:
        return inside
    return Path("/tmp") / f"auto-dev-{uid}-{hashlib.sha256(os.fsencode(base)).hexdigest()[:16]}"  # noqa: S108


def private_folder(folder: Path, uid: int, gid: int | None = None) -> None:
    """Make ``folder`` with mode 0700 for ``uid``; refuse one that somebody else prepared. Raises StoreError."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | NO_TRICKS)
    except (NotADirectoryError, PermissionError) as error:
        raise _prepared(folder, uid) from error
    try:  # on the descriptor: the name may lead elsewhere by now
        if gid is not None and os.fstat(fd).st_uid == os.geteuid() != uid:
            os.fchown(fd, uid, gid)
        status = os.fstat(fd)
        if status.st_uid != uid:
            raise _prepared(folder, uid)
        if stat.S_IMODE(status.st_mode) != 0o700:
            os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


def _prepared(folder: Path, uid: int) -> StoreError:
    return StoreError(
        f"not a folder that belongs to the user {uid}", where=str(folder), mend="Remove it, and find out who made it."
    )
