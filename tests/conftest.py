"""A real PostgreSQL for the session, a fresh database per test, and no way to the real home folder."""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest

from auto_dev.store.database import Database
from auto_dev.store.embedded import EmbeddedServer

SERVER_PREFIX = "auto-dev-test-"
TEMPLATE = "ready_to_copy"
KEYS_OF = ("ANTHROPIC_", "OPENAI_", "GEMINI_", "GOOGLE_", "GITHUB_", "GH_", "SLACK_")
SETTINGS_OF = ("AUTO_DEV_", "GIT_", "XDG_")
PROXIES = ("_PROXY", "_proxy")
Eventually = Callable[..., Awaitable[Any]]
CACHE = Path(tempfile.gettempdir()) / f"auto-dev-test-cache-{os.getuid()}"
XDG = {"CONFIG": ".config", "CACHE": ".cache", "STATE": ".local/state", "DATA": ".local/share"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker is left with one at the end: by their time limit, then by their kind."""
    kinds = {"acceptance": 0, "integration": 1}

    def cost(item: pytest.Item) -> tuple[float, int]:
        limit = item.get_closest_marker("timeout")
        return -float(limit.args[0]) if limit and limit.args else 0.0, kinds.get(item.path.parent.name, 2)

    items.sort(key=cost)


@pytest.fixture(scope="session")
def git_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The only git configuration that tests see."""
    path = tmp_path_factory.mktemp("git") / "config"
    path.write_text("[user]\n\tname = Test\n\temail = test@example.com\n[init]\n\tdefaultBranch = main\n", "utf-8")
    return path


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, git_config: Path) -> None:
    """No test reads or writes the real home, or sees a key of the person who runs it."""
    for name in os.environ:
        if name.startswith((*KEYS_OF, *SETTINGS_OF)) or name.endswith(PROXIES):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name, folder in (
        ("CONFIG", ".config"),
        ("CACHE", ".cache"),
        ("STATE", ".local/state"),
        ("DATA", ".local/share"),
    ):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / folder))
    monkeypatch.setenv("AUTO_DEV_PG_LINGER", "0.3")
    # The rules of the search for credentials take seconds to compile; each test has a state folder of its own.
    monkeypatch.setenv("AUTO_DEV_CACHE", str(CACHE))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(git_config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


@pytest.fixture
def eventually() -> Eventually:
    """``await eventually(fact, timeout_s=…)``: the first true value of ``fact()``, or a failure at the deadline."""

    async def wait(fact: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while True:
            value = fact()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            assert time.monotonic() < deadline, f"waited {timeout_s} s in vain"
            await asyncio.sleep(0.01)

    return wait


@pytest.fixture(scope="session")
def short_tmp() -> Iterator[Path]:
    """A short folder on fast storage that an unprivileged server's user can reach (pytest's own tree is 0700)."""
    root = Path("/dev/shm")
    if not (root.is_dir() and os.access(root, os.W_OK) and shutil.disk_usage(root).free > 2 * 1024**3):
        root = Path(tempfile.gettempdir())
    _sweep(root)
    folder = Path(tempfile.mkdtemp(prefix=SERVER_PREFIX, dir=root))
    folder.chmod(0o711)
    yield folder
    for lock in folder.rglob("keeper.lock"):
        _wait_until_free(lock)
    subprocess.run(["rm", "-rf", "--", str(folder)], check=True)  # not by recursion: a test may have made it deep


@pytest.fixture(scope="session")
def server(short_tmp: Path) -> Iterator[EmbeddedServer]:
    """The session's PostgreSQL, with the product's own settings, and a migrated database to copy."""
    with ThreadPoolExecutor(1) as thread, asyncio.Runner() as runner:
        opened = EmbeddedServer.open(short_tmp / "pg", linger_s=0)
        running = thread.submit(runner.run, opened.__aenter__()).result()
        _admin(running, f"CREATE DATABASE {TEMPLATE}")
        thread.submit(runner.run, _migrate(url_of(running, TEMPLATE), short_tmp)).result()
        yield running
        thread.submit(runner.run, opened.__aexit__(None, None, None)).result()


@pytest.fixture
def empty_url(server: EmbeddedServer) -> Iterator[str]:
    """The URL of a fresh database that nothing has touched yet."""
    name = f"test_{uuid4().hex}"
    _admin(server, f"CREATE DATABASE {name} STRATEGY FILE_COPY")
    yield url_of(server, name)
    _admin(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(server: EmbeddedServer) -> Iterator[str]:
    """The URL of a fresh migrated database of this test alone."""
    name = f"test_{uuid4().hex}"
    _admin(server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")  # 13 ms, WAL_LOG takes 117
    yield url_of(server, name)
    _admin(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def db(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """An open database of this test alone."""
    async with Database.open(database_url, tmp_path / "unused") as database:
        yield database


def url_of(server: EmbeddedServer, name: str) -> str:
    return f"postgresql:///{name}?host={quote(str(server.place.socket), safe='')}&user=auto_dev"


async def _migrate(url: str, folder: Path) -> None:
    async with Database.open(url, folder):
        pass


def _admin(server: EmbeddedServer, statement: str) -> None:
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        connection.execute(statement.encode())


def _wait_until_free(lock: Path) -> None:
    with lock.open("w") as file:
        deadline = time.monotonic() + 30
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < deadline, "a server of the test session does not stop"
                time.sleep(0.01)
            else:
                return


def _sweep(root: Path) -> None:
    """Remove what a killed session left, once its server is gone."""
    for folder in root.glob(f"{SERVER_PREFIX}*"):
        lock = folder / "pg" / "keeper.lock"
        try:
            if lock.stat().st_mtime > time.time() - 600:
                continue
            with lock.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                subprocess.run(["rm", "-rf", "--", str(folder)], check=True)  # not by recursion: it may be deep
        except (OSError, subprocess.CalledProcessError):
            continue  # in use, or another user's
