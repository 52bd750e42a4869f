"""The embedded PostgreSQL: one server per folder, shared by all processes of its owner, and gone after the last one.

Every process that uses the server holds a shared flock on ``users.lock``; ``keeper.py`` is the server's parent and
stops it when nobody does. Alive means: it answers a connection. Nothing listens on TCP; the socket lies in a private
folder, and peer authentication lets exactly the folder's owner (and root) in.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from auto_dev.errors import StoreError
from auto_dev.store import binaries, keeper
from auto_dev.store.place import Place, choose

ROLE = "auto_dev"
DATABASE = "postgres"
LINGER = "AUTO_DEV_PG_LINGER"
DEFAULT_LINGER_S = 5.0
START_TIMEOUT_S = 120.0  # crash recovery of a large database takes its time
POLL_S = 0.01
POLL_MOST_S = 0.1  # while it starts; every attempt is a line in its log
ATTEMPTS = 3
LOG_LIMIT = 1_000_000  # bytes of keeper.log

# Small, and busy with short transactions. Everything that "nothing is lost" rests on is named, not left to defaults.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "min_wal_size": "64MB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "dynamic_shared_memory_type": "mmap",  # a killed server must leave nothing in /dev/shm, which may be small, too
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_naptime": "20s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",  # statements carry the text of stories
    "log_checkpoints": "off",
    "logging_collector": "on",
    "log_filename": "server-%a.log",  # one for each day of the week
    "log_rotation_age": "1d",
    "log_truncate_on_rotation": "on",
}
SETTINGS_18: Mapping[str, str] = {"io_method": "sync"}  # no extra worker processes

_FAILURE = re.compile(r"(?:FATAL|PANIC|ERROR|initdb: error):\s*(.+)")


class EmbeddedServer:
    """A running server, kept alive while this is open. ``conninfo`` connects as the role ``auto_dev``."""

    def __init__(self, place: Place, linger_s: float, settings: Mapping[str, str]) -> None:
        self.place = place
        self.conninfo = make_conninfo(host=str(place.socket), user=ROLE, dbname=DATABASE)
        self._linger_s = linger_s
        self._settings = settings
        self._mutex = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, folder: Path, *, linger_s: float | None = None, settings: Mapping[str, str] | None = None
    ) -> AsyncIterator[EmbeddedServer]:
        """Start or join the server of ``folder``. ``settings`` override single PostgreSQL settings, for tests.

        ``linger_s`` (seconds; default ``AUTO_DEV_PG_LINGER`` or 5): how long it stays after its last user.
        Raises StoreError.
        """
        server = cls(choose(folder), _linger() if linger_s is None else linger_s, settings or {})
        users = await _lock(server.place.base / "users.lock", fcntl.LOCK_SH)
        try:
            await server.ensure()
            yield server
        finally:
            os.close(users)

    async def ensure(self) -> None:
        """Return when the server answers; start it again if it died. Raises StoreError."""
        async with self._mutex:
            if await self._answers():
                return
            start = await _lock(self.place.base / "start.lock", fcntl.LOCK_EX)
            try:
                await self._bring_up()
            finally:
                os.close(start)

    async def _answers(self) -> bool:
        """Whether a keeper holds the server and the server lets us in: never told by PID files."""
        if _is_free(self.place.base / "keeper.lock"):
            return False
        try:
            async with await psycopg.AsyncConnection.connect(self.conninfo, connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    async def _bring_up(self) -> None:
        """Start keepers until the server answers. Called under ``start.lock``."""
        deadline = time.monotonic() + START_TIMEOUT_S
        attempts = 0
        log_from = 0
        pause = POLL_S
        while not await self._answers():
            if _is_free(self.place.base / "keeper.lock"):
                if attempts == ATTEMPTS:
                    raise self._failure(log_from, "does not start")
                attempts += 1
                log_from = await asyncio.to_thread(self._start_keeper)
                pause = POLL_S
            elif time.monotonic() > deadline:
                raise self._failure(log_from, f"does not answer after {START_TIMEOUT_S:.0f} seconds")
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 1.2, POLL_MOST_S)

    def _start_keeper(self) -> int:
        """Start a keeper; return where its part of ``keeper.log`` begins. It holds its lock when this returns."""
        place = self.place
        programs = self._programs()
        _write(place.base / "hba.conf", f"local all {ROLE} peer map=owner\n")
        _write(place.base / "ident.conf", "".join(f'owner "{name}" {ROLE}\n' for name in place.clients))
        task = keeper.Task(
            base=str(place.base),
            data=str(place.data),
            socket=str(place.socket),
            binaries=str(programs.folder),
            uid=place.server_uid,
            gid=place.server_gid,
            linger_s=self._linger_s,
            initdb=[
                *("--encoding=UTF8", "--locale=C", f"--username={ROLE}", "--no-instructions", "--data-checksums"),
                *("--auth-local=peer", "--auth-host=reject"),
            ],
            options=self._options(programs),
        )
        log_path = place.base / "keeper.log"
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | keeper.NO_TRICKS, 0o600)
        try:
            if os.fstat(log).st_size > LOG_LIMIT:
                os.ftruncate(log, 0)
            log_from = os.fstat(log).st_size
            started = subprocess.run(
                [sys.executable, "-I", "-S", keeper.__file__, json.dumps(asdict(task))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},  # no secret of ours reaches the server's environment
                start_new_session=True,
                check=False,
            )
        finally:
            os.close(log)
        if started.returncode not in (0, keeper.EXIT_TAKEN):
            raise self._failure(log_from, f"its keeper failed with exit code {started.returncode}")
        return log_from

    def _programs(self) -> binaries.Binaries:
        version = self.place.data / "PG_VERSION"
        found = binaries.find(int(version.read_text("ascii")) if version.exists() else None)
        if self.place.can_run(found.folder / "postgres"):
            return found
        if not found.bundled:
            raise StoreError(
                f"the user {self.place.server_name!r}, who runs the server, cannot execute it",
                where=str(found.folder),
                mend=f"Make it readable, or point {binaries.OVERRIDE} to another PostgreSQL.",
            )
        return binaries.movable_copy(found, self.place.base / "postgresql")

    def _options(self, programs: binaries.Binaries) -> list[str]:
        """Settings as arguments: they win over every file in the data folder."""
        place = self.place
        settings = {
            **SETTINGS,
            **(SETTINGS_18 if programs.major >= 18 else {}),
            "unix_socket_directories": f'"{place.socket}"',
            "hba_file": str(place.base / "hba.conf"),
            "ident_file": str(place.base / "ident.conf"),
            "log_directory": str(place.log),
            **self._settings,
        }
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _failure(self, log_from: int, what: str) -> StoreError:
        """The error with the reason that the server itself gave."""
        log = self.place.base / "keeper.log"
        newest = _newest(self.place.log)
        reasons = _reasons(log, log_from) or (_reasons(newest, 0) if newest else [])
        reason = f": {reasons[-1]}" if reasons else ""
        return StoreError(f"the embedded PostgreSQL {what}{reason}", where=str(self.place.base), mend=f"See {log}.")


def _reasons(path: Path, offset: int) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(offset, file.seek(0, os.SEEK_END) - 20_000))
            return _FAILURE.findall(file.read().decode("utf-8", "replace"))
    except OSError:
        return []


def _newest(folder: Path) -> Path | None:
    return max(folder.glob("*.log"), key=lambda path: path.stat().st_mtime, default=None)


def _linger() -> float:
    text = os.environ.get(LINGER)
    if text is None:
        return DEFAULT_LINGER_S
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 86_400:
        raise StoreError(f"not a number of seconds: {text!r}", where=LINGER, mend="Use a number from 0 to 86399.")
    return value


def _write(path: Path, text: str) -> None:
    """Replace ``path`` in one step; the server's user must be able to read it."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | keeper.NO_TRICKS, 0o644)
    try:
        os.write(fd, text.encode())
        os.fchmod(fd, 0o644)
    finally:
        os.close(fd)
    fresh.replace(path)


async def _lock(path: Path, kind: int) -> int:
    """An open descriptor that holds a flock on ``path``; waits for it while the event loop goes on."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | keeper.NO_TRICKS, 0o600)
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while True:
            try:
                fcntl.flock(fd, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreError("another process holds the lock", where=str(path)) from None
                await asyncio.sleep(POLL_S)
            else:
                return fd
    except BaseException:
        os.close(fd)
        raise


def _is_free(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | keeper.NO_TRICKS, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(fd)
