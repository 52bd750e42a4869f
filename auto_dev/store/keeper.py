"""The parent of an embedded PostgreSQL: starts it, and stops it when nobody uses it any more.

Run as ``python -I -S keeper.py JSON`` by ``auto_dev.store.embedded``; standard library only, it starts in about 20 ms.
Users hold a shared flock on ``users.lock``. The kernel drops the locks of killed processes, so nothing here counts
references that a ``kill -9`` could leave behind. The keeper holds ``keeper.lock`` for life: whoever finds it free may
start another keeper.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STOP_FAST_S = 60.0  # a fast shutdown writes a checkpoint; after this long it is an immediate one
STOP_IMMEDIATE_S = 10.0
# The keeper may be root in a folder of somebody else's: no link of theirs may lead it elsewhere.
NO_TRICKS = os.O_NOFOLLOW | os.O_CLOEXEC
SYNC_THREADS = 32
EXIT_TAKEN = 3  # another keeper lives
EXIT_FAILED = 1


@dataclass(frozen=True)
class Task:
    """What to keep. ``uid`` and ``gid`` are None when PostgreSQL runs as the keeper's own user."""

    base: str
    data: str
    socket: str
    binaries: str
    uid: int | None
    gid: int | None
    linger_s: float
    initdb: list[str]
    options: list[str]


def main(task: Task) -> int:
    """Take the keeper's lock, leave the starter behind, and keep the server until nobody holds ``users.lock``."""
    lock = _open(task, "keeper.lock")
    if not _flock(lock, fcntl.LOCK_EX, patience_s=2.0):
        return EXIT_TAKEN
    if os.fork():
        os._exit(0)  # the starter waits for this exit: from now on the lock is held
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans of a killed postmaster become ours, so that we can end them
    try:
        _clear_the_way(task)
        if not Path(task.data, "PG_VERSION").exists():
            _create(task)
        return _keep(task)
    except (OSError, RuntimeError) as error:
        _say(f"FATAL: {error}")
        return EXIT_FAILED


# ---------------------------------------------------------------- life


def _keep(task: Task) -> int:
    users = _open(task, "users.lock")
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_r, False)
    os.set_blocking(wake_w, False)
    signal.set_wakeup_fd(wake_w)
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stopping.append(received))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    postmaster = _spawn(task, [f"{task.binaries}/postgres", "-D", task.data, *task.options], signal.SIGINT)
    pause = min(max(task.linger_s / 5, 0.05), 1.0)
    idle_since: float | None = None
    while True:
        if select.select([wake_r], [], [], pause)[0]:
            os.read(wake_r, 512)
        if _reap(postmaster):
            _say(f"PostgreSQL (process {postmaster}) ended by itself")
            _end_orphans(task)
            return EXIT_FAILED
        if stopping or _is_gone(task, users):
            break
        idle_since = _idle_since(users, idle_since)
        # The lock is kept while the server stops: a user who arrives now waits and then starts a new one.
        if idle_since is not None and time.monotonic() - idle_since >= task.linger_s and _flock(users, fcntl.LOCK_EX):
            break
    _stop(postmaster)
    _end_orphans(task)
    return 0


def _idle_since(users: int, idle_since: float | None) -> float | None:
    """When the last user was gone, or None while there is one."""
    if not _flock(users, fcntl.LOCK_EX):
        return None
    fcntl.flock(users, fcntl.LOCK_UN)
    return time.monotonic() if idle_since is None else idle_since


def _is_gone(task: Task, users: int) -> bool:
    """Whether somebody removed the server's folder."""
    try:
        return Path(task.base, "users.lock").stat().st_ino != os.fstat(users).st_ino
    except OSError:
        return True


def _stop(postmaster: int) -> None:
    for number, patience_s in (
        (signal.SIGINT, STOP_FAST_S),
        (signal.SIGQUIT, STOP_IMMEDIATE_S),
        (signal.SIGKILL, STOP_IMMEDIATE_S),
    ):
        with contextlib.suppress(ProcessLookupError):
            os.kill(postmaster, number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if _reap(postmaster):
                return
            time.sleep(0.01)


def _reap(wanted: int) -> bool:
    """Collect every ended child; whether ``wanted`` is gone."""
    gone = False
    while True:
        try:
            pid, _status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return gone
        gone = gone or pid == wanted


# ---------------------------------------------------------------- start


def _clear_the_way(task: Task) -> None:
    """Deal with what an earlier server left: wait for a living one, end its orphans, mend a recycled PID.

    An ended process that nobody has collected yet counts as alive for PostgreSQL, like a recycled PID.
    """
    pid_file = Path(task.data, "postmaster.pid")
    deadline = time.monotonic() + STOP_FAST_S + STOP_IMMEDIATE_S
    asked: set[int] = set()
    while (pid := _recorded_pid(pid_file)) is not None and _alive(pid):
        if not _is_server(pid, task.data):
            _disown(pid_file, pid)
            break
        if pid not in asked:
            _say(f"an earlier server (process {pid}) has lost its keeper; waiting for its end")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
            asked.add(pid)
        if time.monotonic() > deadline:
            raise RuntimeError(f"an earlier server (process {pid}) does not stop")
        time.sleep(0.02)
    _end_orphans(task)
    for left in Path(task.socket).glob(".s.PGSQL.*"):  # in a folder of this server alone, which does not live
        left.unlink(missing_ok=True)


def _recorded_pid(pid_file: Path) -> int | None:
    try:
        first = _read(pid_file).split("\n", 1)[0].strip()
    except FileNotFoundError:
        return None
    # The sign tells a single-user backend from a postmaster.
    return abs(int(first)) if first.lstrip("-").isdigit() else None


def _disown(pid_file: Path, pid: int) -> None:
    """Replace a recycled PID by our own, which PostgreSQL takes for stale because it is its parent's.

    The rest of the file stays, above all the key of the shared memory: PostgreSQL still refuses to start while a
    backend of the old server is attached to it. Removing the file would give that check up.
    """
    lines = _read(pid_file).split("\n")
    _say(f"postmaster.pid names process {pid}, which is not a server of this folder; mended")
    owner = pid_file.lstat()
    fresh = pid_file.with_name("postmaster.pid.mended")
    fresh.unlink(missing_ok=True)
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_TRICKS, 0o600)
    os.write(file, "\n".join([str(os.getpid()), *lines[1:]]).encode())
    if os.geteuid() == 0:
        os.fchown(file, owner.st_uid, owner.st_gid)
    os.close(file)
    fresh.replace(pid_file)


def _create(task: Task) -> None:
    """Make the data folder beside its final place, sync it, rename it: a half-made one never counts."""
    for left in Path(task.data).parent.glob("data.new-*"):
        shutil.rmtree(left, ignore_errors=True)
    fresh = Path(f"{task.data}.new-{os.getpid()}")
    fresh.mkdir(mode=0o700)
    if task.uid is not None and task.gid is not None:
        os.chown(fresh, task.uid, task.gid, follow_symlinks=False)
    pid = _spawn(task, [f"{task.binaries}/initdb", "-D", str(fresh), *task.initdb, "--no-sync"], signal.SIGKILL)
    _pid, status = os.waitpid(pid, 0)
    if status:
        shutil.rmtree(fresh, ignore_errors=True)
        raise RuntimeError(f"initdb failed with exit code {os.waitstatus_to_exitcode(status)}")
    _sync_all(fresh)
    fresh.rename(task.data)
    _sync(Path(task.data).parent)


def _sync_all(folder: Path) -> None:
    """Bring a whole tree to disk. Many at once, so that they share the journal's commits.

    On a busy disk that took 0.13 s for the 1,000 files of a new data folder, where initdb's own pass, one file after
    the other, took 3 to 4 s.
    """
    from concurrent.futures import ThreadPoolExecutor  # only here: a warm start does without it

    with ThreadPoolExecutor(SYNC_THREADS) as threads:
        for _ in threads.map(_sync, [folder, *folder.rglob("*")]):
            pass


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | NO_TRICKS)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _spawn(task: Task, command: list[str], on_parent_death: int) -> int:
    """Start ``command`` as the server's user; it gets the signal ``on_parent_death`` when this process dies."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        if task.uid is not None and task.gid is not None:
            os.setgroups([])
            os.setgid(task.gid)
            os.setuid(task.uid)
        os.umask(0o077)
        _prctl(PR_SET_PDEATHSIG, on_parent_death)  # after the change of user, which clears it
        for number in (signal.SIGPIPE, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if os.getppid() == parent:
            os.execve(command[0], command, {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "PGDATA": task.data})  # noqa: S606
    except OSError as error:
        _say(f"FATAL: {command[0]}: {error.strerror}")
    finally:
        os._exit(127)


# ---------------------------------------------------------------- other processes


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_server(pid: int, data: str) -> bool:
    """Whether a process is a PostgreSQL process of this data folder: it has made the folder its working directory."""
    proc = Path("/proc", str(pid))
    if not Path("/proc/self/cwd").exists():
        with os.popen(f"ps -o command= -p {pid}") as listing:  # noqa: S605 (an int)
            command = listing.read()
        return "postgres" in command and data in command
    try:
        same_folder = os.path.samestat(Path(proc, "cwd").stat(), Path(data).stat())
        return same_folder and Path(proc, "exe").readlink().name.split(" ")[0] == "postgres"
    except OSError:
        return False  # gone, or another user's: PostgreSQL refuses a folder that is not its own user's


def _end_orphans(task: Task) -> None:
    """End what a killed postmaster left: its backends notice by themselves, but not while they compute."""
    for number, patience_s in ((signal.SIGQUIT, 2.0), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience_s
        told: set[int] = set()
        while orphans := _servers(task.data):
            for pid in orphans:
                if pid not in told:
                    told.add(pid)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
        else:
            return


def _servers(data: str) -> list[int]:
    if not Path("/proc/self/cwd").exists() or not Path(data).exists():
        return []
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _is_server(pid, data)]


# ---------------------------------------------------------------- small


def _open(task: Task, name: str) -> int:
    return os.open(Path(task.base, name), os.O_RDWR | os.O_CREAT | NO_TRICKS, 0o600)


def _read(path: Path) -> str:
    file = os.open(path, os.O_RDONLY | NO_TRICKS)
    try:
        return os.read(file, 4096).decode("utf-8", "replace")
    finally:
        os.close(file)


def _flock(fd: int, kind: int, patience_s: float = 0.0) -> bool:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        else:
            return True


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _say(text: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    os.write(2, f"{stamp} UTC keeper[{os.getpid()}] {text}\n".encode("utf-8", "replace"))


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(Task(**json.loads(sys.argv[1]))))
