"""Overhead per story and unblock latency.

The floor of a story is one ``git worktree add``, one process, one commit, and as many bare checkpoint inserts as a run
makes, at the same parallelism, on the same server, in the same run of this program.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from auto_dev.place import database_folder
from auto_dev.store.database import Database
from bench.world import World

CHAIN = 20
ALONE = 20  # stories of the measurement one at a time


async def main(stories: int, parallel: int, files: int, chain: int = CHAIN, alone: int = ALONE) -> None:
    """Measure and print."""
    print(f"{stories} stories, {parallel} at a time, {files} files, {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="auto-dev-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the embedded server may run as another user
        await _throughput(World(folder / "wide"), stories, parallel, files)
        await _latency(World(folder / "chain"), "one chain", chain, 1, parallel, files)
        await _latency(World(folder / "chains"), f"{parallel} chains at once", chain, parallel, parallel, files)
        await _parts(World(folder / "parts"), alone, files)


async def _throughput(world: World, stories: int, parallel: int, files: int) -> None:
    world.folder.mkdir()
    world.make(files, {f"S-{number}": [] for number in range(stories)})
    world.once(parallel)
    async with _database(world) as db:
        row = await db.fetch_one(
            "SELECT extract(epoch FROM max(ended_at) - min(started_at)) AS s, count(*) AS n FROM runs"
        )
        assert row is not None
        assert row["n"] == stories
        ours = float(row["s"]) * 1000 / stories
        kept = await db.fetch_one("SELECT count(*) AS n FROM auto_dev_checkpoints.checkpoints")
        inserts = max(round((kept["n"] if kept else 0) / stories), 1)
        floor = await _floor(world, db, stories, parallel, inserts)
    print(f"  throughput           {1000 / ours:7.1f} stories/s")
    print(f"  ours per story       {ours:7.1f} ms")
    print(f"  floor per story      {floor:7.1f} ms  (worktree add, process, commit, {inserts} checkpoint inserts)")
    print(f"  ratio                {ours / floor:7.2f}")


async def _floor(world: World, db: Database, stories: int, parallel: int, inserts: int) -> float:
    """Milliseconds per story of the bare operations."""
    slots = asyncio.Semaphore(parallel)
    adding = asyncio.Lock()  # parallel `git worktree add` fails now and then
    await db.execute("CREATE TABLE bench_floor (thread text, n int, state jsonb, PRIMARY KEY (thread, n))")

    async def story(number: int) -> None:
        async with slots:
            tree = world.folder / "floor" / str(number)
            async with adding:
                await _git(
                    world.repo, "worktree", "add", "-q", "--no-checkout", "-b", f"floor-{number}", str(tree), "main"
                )
            await _git(tree, "checkout", "-q", "-f", "HEAD")
            process = await asyncio.create_subprocess_exec("/bin/sh", "-c", f"echo x > {tree}/floor.txt")
            await process.wait()
            await _git(tree, "add", "-A")
            await _git(tree, "-c", "user.name=b", "-c", "user.email=b@example.com", "commit", "-q", "-m", "floor")
            async with db.pool.connection() as conn:
                for n in range(inserts):
                    await conn.execute(
                        "INSERT INTO bench_floor VALUES (%s, %s, %s)", (str(number), n, '{"route": "x"}')
                    )

    began = time.perf_counter()
    await asyncio.gather(*(story(number) for number in range(stories)))
    took = time.perf_counter() - began
    await db.execute("DROP TABLE bench_floor")
    return took * 1000 / stories


async def _git(folder: Path, *args: str) -> None:
    process = await asyncio.create_subprocess_exec("git", *args, cwd=folder)
    if await process.wait() != 0:
        raise SystemExit(f"git {' '.join(args)} failed")


async def _latency(world: World, label: str, length: int, chains: int, parallel: int, files: int) -> None:
    """From "the predecessor's run ended" to "the dependent's agent started", in ``chains`` of ``length`` stories."""
    world.folder.mkdir()
    plan = {
        f"C{chain}-{number}": [f"C{chain}-{number - 1}"] if number else []
        for chain in range(chains)
        for number in range(length)
    }
    world.make(files, plan)
    world.once(parallel)
    async with _database(world) as db:
        rows = await db.fetch_all(
            "SELECT extract(epoch FROM child.agent_started_at - parent.ended_at) * 1000 AS ms"
            "  FROM story_dependencies d"
            "  JOIN runs child ON child.story_id = d.story_id JOIN runs parent ON parent.story_id = d.depends_on"
        )
    times = sorted(float(row["ms"]) for row in rows)
    assert len(times) == chains * (length - 1)
    p95 = times[int(len(times) * 0.95)]
    print(f"  unblock latency, {label:16} median {statistics.median(times):6.0f} ms, p95 {p95:6.0f} ms")


async def _parts(world: World, count: int, files: int) -> None:
    """Where the time of one story goes when nothing else runs: waiting for git, for the database, and the rest."""
    from auto_dev.commands.here import here
    from auto_dev.commands.start import order
    from auto_dev.daemon.compose import check, daemon
    from auto_dev.daemon.settings import Settings
    from auto_dev.stories.reader import read_folder

    world.folder.mkdir()
    world.make(files, {f"S-{number}": [] for number in range(count)})
    os.environ.update(world.environment())
    os.chdir(world.repo)
    place = await here()
    settings = Settings(
        project_id=place.project_id, root=place.root, folder=world.repo / "plans", state_home=place.home, once=True,
        sandbox=False, overrides={"run": {"max_parallel": 1}},
    )  # fmt: skip
    place.place.state.mkdir(parents=True)
    checked = await check(settings)
    async with place.database() as db:
        await order(place, db, read_folder(settings.folder), checked.config)
    with _stopwatch() as spent:
        async with daemon(settings, "bench") as running:
            await running.serve()
    async with place.database() as db:
        row = await db.fetch_one("SELECT sum(extract(epoch FROM ended_at - started_at)) * 1000 AS ms FROM runs")
    total = float(row["ms"]) / count if row else 0.0
    git, database, children = (spent[name] * 1000 / count for name in ("git", "database", "processes"))
    rest = total - git - database - children
    print(
        f"  one at a time        {total:7.1f} ms a story: git {git:.1f}, agent process {children:.1f}, "
        f"database {database:.1f}, Python and the rest {rest:.1f}"
    )


@contextmanager
def _stopwatch() -> Iterator[dict[str, float]]:
    """Sums the seconds spent waiting for git, the database and child processes while the block runs."""
    import psycopg

    from auto_dev import processes
    from auto_dev.sandbox import base
    from auto_dev.worktrees.git import Git

    spent = {"git": 0.0, "database": 0.0, "processes": 0.0}

    def timed(name: str, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def run(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return await function(*args, **kwargs)
            finally:
                spent[name] += time.perf_counter() - began

        return run

    patched: list[tuple[Any, str, Any]] = [
        (Git, "run", timed("git", Git.run)),
        (psycopg.AsyncCursor, "execute", timed("database", psycopg.AsyncCursor.execute)),
        (psycopg.AsyncCursor, "executemany", timed("database", psycopg.AsyncCursor.executemany)),
        (base, "run_tree", timed("processes", processes.run_tree)),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in patched]
    for owner, name, replacement in patched:
        setattr(owner, name, replacement)
    try:
        yield spent
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)


@asynccontextmanager
async def _database(world: World) -> AsyncIterator[Database]:
    os.environ["AUTO_DEV_PG_LINGER"] = "1"
    async with Database.open(None, database_folder(world.folder / "home"), size=16) as db:
        yield db


if __name__ == "__main__":
    sys.exit("run it as `./dev bench`")
