"""One daemon per project: a lock held for life is the truth, the file beside it is information."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from auto_dev import __version__
from auto_dev.errors import AutoDevError
from auto_dev.processes import boot_id, start_ticks

LOOKERS_S = 2.0  # a lock that nobody has named himself on for so long is somebody's all the same
POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Instance:
    """A running daemon: its process, told apart from a later one with the same PID by start time and boot."""

    pid: int
    started: int | None
    boot: str
    version: str
    daemon_id: str

    def alive(self) -> bool:
        """Whether exactly this process still exists."""
        return self.boot == boot_id() and self.started is not None and start_ticks(self.pid) == self.started

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to exactly this process; False when it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except (ProcessLookupError, OSError):
            return False
        try:
            if not self.alive():
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


def _files(state: Path) -> tuple[Path, Path]:
    return state / "daemon.lock", state / "daemon.json"


@contextmanager
def hold(state: Path, daemon_id: str) -> Iterator[Instance]:
    """Be the project's daemon. Raises AutoDevError when another one is."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock, info = _files(state)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, state)
        instance = Instance(os.getpid(), start_ticks(os.getpid()), boot_id(), __version__, daemon_id)
        temporary = info.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(asdict(instance)), "utf-8")
        temporary.replace(info)
        yield instance
        info.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, state: Path) -> None:
    """Take the lock for life. Who only looks (``running``) holds it for a moment and must not make us refuse."""
    deadline = time.monotonic() + LOOKERS_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = read(state)
            alive = other is not None and other.alive()
            if not alive and time.monotonic() < deadline:
                time.sleep(POLL_S)
                continue
            raise AutoDevError(
                f"a daemon already works on this project{f' (PID {other.pid})' if other and alive else ''}",
                mend="`auto-dev status` shows it, `auto-dev stop` ends it.",
            ) from None
        else:
            return


def read(state: Path) -> Instance | None:
    """What the running daemon wrote about itself; None when there is none or it cannot be read."""
    try:
        return Instance(**json.loads(_files(state)[1].read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def running(state: Path) -> Instance | None:
    """The daemon that holds the project's lock now, or None."""
    lock, _ = _files(state)
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        instance = read(state)
        return instance if instance is not None and instance.alive() else None
    finally:
        os.close(descriptor)
    return None
