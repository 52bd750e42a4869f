"""Child processes as whole trees: started under a watcher, capped, timed, and ended to the last descendant.

Each command runs under ``auto_dev/watcher.py``, which ends every descendant however the daemon or the command ends.
On Linux that is complete, but for a tree that kills its own watcher; elsewhere (no /proc, no subreaper) only the
command's process group is ended, and a child that leaves the group survives.

Everything that runs code which auto-dev did not write (agents, gate commands, setup commands) is started here.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import marshal
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import (
    SIGABRT,
    SIGBUS,
    SIGCONT,
    SIGFPE,
    SIGILL,
    SIGKILL,
    SIGSEGV,
    SIGSYS,
    SIGTERM,
    SIGTRAP,
    SIGXCPU,
    SIGXFSZ,
)
from typing import IO, Final, Protocol

from auto_dev import watcher
from auto_dev.tasks import end_tasks

log = logging.getLogger(__name__)

OUTPUT_CAP: Final = 4 * 1024 * 1024
_CHUNK: Final = 65536  # what a pipe holds on Linux
_REST_S: Final = 0.001
_OBEY_S: Final = 15.0  # how long a watcher may take beyond the grace before the daemon ends the tree itself
# bubblewrap tells an end by signal n as 128 + n, as shells do. No program chooses these numbers for itself.
_NEVER_CHOSEN: Final = frozenset({SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS})
_CANCEL_GRACE_S: Final = 2.0  # a cancelled tree is gone within 5 s, whatever grace a timeout would give


@dataclass(frozen=True, slots=True)
class Finished:
    """How a tree ended. ``exit_code`` is None when it was ended by a signal or by us; ``signal`` then tells which.

    ``stopped`` is "" or why we ended it: "timeout" | "stopped", or which limit of its box it went beyond: "processes" |
    "memory". ``output_bytes`` counts all that was written, also
    what the cap on ``output`` left out.
    """

    exit_code: int | None
    signal: int | None
    stopped: str
    output_bytes: int
    duration_s: float


OnStart = Callable[[int, int], Awaitable[None]]
OnOutput = Callable[[bytes], None]
Write = Callable[[bytes], Awaitable[None]]
Feed = Callable[[Write], Awaitable[None]]


class RunTree(Protocol):
    """``run_tree``, or the same inside a sandbox: how everything that auto-dev did not write is started.

    ``stdin`` is what the command reads, or a coroutine function that is handed ``write`` and feeds it while it runs
    (its standard input closes when the feed returns). With ``errors`` stderr goes there instead of to ``output``, with
    the same cap, and ``on_output`` sees stdout alone.
    """

    async def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        output: Path,
        stdin: bytes | Feed = b"",
        timeout_s: float,
        output_cap: int = OUTPUT_CAP,
        errors: Path | None = None,
        on_start: OnStart | None = None,
        on_output: OnOutput | None = None,
        grace_s: float = 5.0,
    ) -> Finished: ...


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a sandbox asks of the watcher: ``auto_dev/watcher.py`` says what each entry means.

    ``argv`` goes before the command and makes its box, with ``env`` as its own environment (the command's is in
    ``files``). ``explain`` turns what bubblewrap said when it failed before the command into an error.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[str, bytes]
    explain: Callable[[str], Exception]
    cgroups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    processes: int | None = None
    memory_bytes: int | None = None
    nproc: bool = False


async def run_tree(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    output: Path,
    stdin: bytes | Feed = b"",
    timeout_s: float,
    output_cap: int = OUTPUT_CAP,
    errors: Path | None = None,
    on_start: OnStart | None = None,
    on_output: OnOutput | None = None,
    grace_s: float = 5.0,
) -> Finished:
    """Run ``argv`` to its end and leave no process of its tree behind.

    stdout and stderr go, interleaved, to the file ``output``: at most ``output_cap`` bytes, the middle left out.
    ``on_start(pid, started)`` is awaited once the watcher exists and before the command does (pid and start time in
    clock ticks since boot, of the watcher); ``on_output`` sees every chunk and must be quick. After ``timeout_s`` the
    command's group gets SIGTERM, after ``grace_s`` more the whole tree SIGKILL. Cancelling the call ends the tree.
    ``env`` is the whole environment. Empty ``stdin`` is /dev/null; a feed is cancelled when the tree has ended, an
    error of it ends the tree and is raised, and a write that nobody reads any more raises BrokenPipeError in it (let
    through, that is no error). Raises FileNotFoundError or PermissionError when ``argv[0]`` (found on ``env``'s PATH,
    or relative to ``cwd``) cannot be executed, and OSError when ``output`` or ``errors`` cannot be written.
    """
    return await run_confined(
        None, argv, cwd=cwd, env=env, output=output, stdin=stdin, timeout_s=timeout_s, output_cap=output_cap,
        errors=errors, on_start=on_start, on_output=on_output, grace_s=grace_s,
    )  # fmt: skip


async def run_confined(
    confinement: Confinement | None,
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    output: Path,
    stdin: bytes | Feed,
    timeout_s: float,
    output_cap: int,
    errors: Path | None,
    on_start: OnStart | None,
    on_output: OnOutput | None,
    grace_s: float,
) -> Finished:
    """``run_tree`` for a sandbox: ``confinement`` makes the box in which the command runs, None makes none."""
    frame = _frame(confinement, argv, cwd, env)
    begun = time.monotonic()
    with ExitStack() as stack:
        sink = stack.enter_context(_Sink(output, output_cap, on_output))
        other = stack.enter_context(_Sink(errors, output_cap, None)) if errors is not None else None
        tree = stack.enter_context(_Tree(sink, other, stdin))
        stopped = ""
        async with _fed(tree, stdin) as feed:
            try:
                if on_start is not None:
                    await on_start(tree.pid, tree.started)
                await tree.send(frame)
                failures = {feed, *(each.failed for each in tree.sinks)}
                await asyncio.wait({tree.gone, *failures}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                if not tree.gone.done():
                    stopped = "timeout"
                    await tree.end(0 if any(failure.done() for failure in failures) else grace_s)
            except BaseException:
                await tree.end(min(grace_s, _CANCEL_GRACE_S))
                raise
        tree.drain()
        for each in tree.sinks:
            each.check()
        duration_s = time.monotonic() - begun
        if confinement is not None and tree.unboxed:
            raise confinement.explain((errors or output).read_bytes()[-2000:].decode("utf-8", "replace"))
        return tree.result(argv[0], cwd, stopped, duration_s, confined=confinement is not None)


def _frame(confinement: Confinement | None, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> bytes:
    environment = _environment(argv, env)
    command = [os.fsencode(part) for part in argv]
    if confinement is None:
        return marshal.dumps([command, os.fsencode(cwd), environment, None])
    given: dict[str, object] = {
        "files": dict(confinement.files),
        "cgroups": [[folder, [list(value) for value in values]] for folder, values in confinement.cgroups],
        "processes": confinement.processes,
        "memory": confinement.memory_bytes,
        "nproc": confinement.nproc,
    }
    before = [os.fsencode(part) for part in confinement.argv]
    return marshal.dumps([before + command, b"/", _environment(confinement.argv, confinement.env), given])


@asynccontextmanager
async def _fed(tree: _Tree, stdin: bytes | Feed) -> AsyncIterator[asyncio.Future[None]]:
    """Let the feed, if there is one, run beside the tree; the future is done when it has failed."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    if isinstance(stdin, bytes):
        yield failed
        failed.cancel()
        return

    async def run(feed: Feed) -> None:
        try:
            await feed(tree.write)
        except BrokenPipeError:
            pass  # the command reads no more: its own affair
        except Exception:
            failed.set_result(None)
            raise
        finally:
            tree.close_stdin()

    task = asyncio.create_task(run(stdin))
    try:
        yield failed
    finally:
        await end_tasks(task)
        failed.cancel()
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


async def sweep(trees: Iterable[tuple[int, int]], boot_id: str) -> int:
    """End the recorded trees (pid and start time of their watchers) that survived a former daemon; how many.

    A process is touched only if it is the recorded one: same boot, same pid, same start time.
    """
    if boot_id != _boot_id():
        return 0
    ended = 0
    for pid, started in trees:
        if start_ticks(pid) != started or pid == os.getpid():
            continue
        log.warning("ending a process tree that survived a former daemon", extra={"action": "sweep", "pid": pid})
        _signal(pid, started, SIGCONT)
        _signal(pid, started, SIGTERM)
        deadline = time.monotonic() + _CANCEL_GRACE_S + 3
        while start_ticks(pid) == started and time.monotonic() < deadline:  # noqa: ASYNC110 (no child of ours)
            await asyncio.sleep(0.02)
        if start_ticks(pid) == started:
            _end_by_force(pid, started)
        ended += 1
    return ended


def boot_id() -> str:
    """What tells this boot of the machine from every other one."""
    return _boot_id()


def start_ticks(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None when there is none, or only a zombie."""
    if watcher.LINUX:
        stat = watcher.stat_of(pid)
        return stat[2] if stat and not stat[3] else None
    import psutil

    try:
        return int(psutil.Process(pid).create_time() * 100)
    except psutil.Error:
        return None


def _boot_id() -> str:
    if watcher.LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    import psutil

    return str(int(psutil.boot_time()))


def _signal(pid: int, started: int, number: int) -> None:
    if watcher.LINUX:
        with suppress(PermissionError):  # another user's process is not ours to end
            watcher.kill_identified(pid, started, number)
    elif start_ticks(pid) == started:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _end_by_force(pid: int, started: int) -> None:
    """End a watcher that does not obey, and all below it: it cannot reap them, so they are killed until none is new."""
    known: set[tuple[int, int]] = set()
    while watcher.LINUX and (found := set(watcher.kill_below(pid, SIGKILL))) - known:
        known |= found
    _signal(pid, started, SIGKILL)


def _end_session(session: int, since: int) -> None:
    """End what is left of a session whose watcher was killed: best effort, a child may have left the session."""
    for _ in range(20):  # what forks while we look is found by the next look
        found = watcher.processes().items() if watcher.LINUX else ()
        left = [
            (pid, started) for pid, (_, of, started, gone) in found if of == session and started >= since and not gone
        ]
        for pid, started in left:
            _signal(pid, started, SIGKILL)
        if not left:
            return


def _environment(argv: Sequence[str], env: Mapping[str, str]) -> dict[bytes, bytes]:
    if not argv or not argv[0] or any("\0" in part for part in argv):
        raise ValueError(f"not a command: {list(argv)!r}")
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise ValueError(f"not an environment variable: {name!r}")
    return {os.fsencode(name): os.fsencode(value) for name, value in env.items()}


class _Sink:
    """A file of at most ``cap`` bytes: the beginning as it comes, the end from memory, a line about what is between."""

    def __init__(self, path: Path, cap: int, on_output: OnOutput | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        note = 80
        self.head_left = max(cap, 0) if cap < 4 * note else (cap - note) // 2
        self.tail_cap = 0 if cap < 4 * note else (cap - note) // 2
        self.tail = bytearray()
        self.total = 0
        self.written = 0
        self.on_output = on_output
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.error: Exception | None = None

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self.failed.cancel()
        os.close(self.fd)

    def take(self, chunk: bytes) -> None:
        """Keep a chunk. An error (disk full, a listener that raises) is kept too, for ``check``."""
        self.total += len(chunk)
        if self.error is not None:
            return
        try:
            if self.head_left:
                self._write(chunk[: self.head_left])
            self.tail += chunk[self.head_left :]
            self.head_left = max(self.head_left - len(chunk), 0)
            if len(self.tail) > 2 * self.tail_cap:
                del self.tail[: len(self.tail) - self.tail_cap]
            if self.on_output is not None:
                self.on_output(chunk)
        except Exception as error:  # noqa: BLE001 (raised again by check, in the caller's task)
            self.error = error
            self.failed.set_result(None)

    def check(self) -> None:
        """Complete the file; raise what went wrong while it was written."""
        if self.error is not None:
            raise self.error
        del self.tail[: max(len(self.tail) - self.tail_cap, 0)]
        if (missing := self.total - self.written - len(self.tail)) and self.tail_cap:
            self._write(f"\n[… {missing} bytes left out …]\n".encode())
        self._write(bytes(self.tail))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            done = os.write(self.fd, view)
            self.written += done
            view = view[done:]


class _Tree:
    """A watcher and what it says. All by callbacks of the event loop: its tasks may be cancelled, this must not."""

    def __init__(self, sink: _Sink, errors: _Sink | None, stdin: bytes | Feed) -> None:
        self.loop = asyncio.get_running_loop()
        self.sinks = (sink,) if errors is None else (sink, errors)
        self.pipes: dict[int, _Sink] = {}  # the reading ends of the command's stdout and stderr
        self.feeding: int | None = None  # the writing end of its stdin, while a feed runs
        self.said = b""
        self.sent = False
        self.gone: asyncio.Future[None] = self.loop.create_future()
        with ExitStack() as stack:
            self._open(stack, stdin)
            self._stack = stack.pop_all()

    def __enter__(self) -> _Tree:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    async def send(self, frame: bytes) -> None:
        """Hand the watcher its command."""
        with suppress(BrokenPipeError, ConnectionResetError):  # the watcher is dead, and ``gone`` will tell
            await self.loop.sock_sendall(self.control, len(frame).to_bytes(4, "big") + frame)
            self.sent = True

    async def end(self, grace_s: float) -> None:
        """Have the tree ended and wait until it is gone. A cancellation meanwhile ends the grace, not the waiting."""
        self._order(b"T%g\n" % grace_s if grace_s else b"K\n")
        deadline = time.monotonic() + grace_s + _OBEY_S
        cancelled = False
        while not self.gone.done():
            left = deadline - time.monotonic()
            if left <= 0:
                log.error("a watcher does not obey: ending its tree", extra={"action": "watcher", "pid": self.pid})
                _end_by_force(self.pid, self.started)
            try:
                await asyncio.wait({self.gone}, timeout=max(left, 0.1))
            except asyncio.CancelledError:
                cancelled = True
                self._order(b"K\n")
        if cancelled:
            raise asyncio.CancelledError

    @property
    def written(self) -> int:
        return sum(sink.total for sink in self.sinks)

    async def write(self, data: bytes) -> None:
        """Write to the command's standard input as fast as it reads. Raises BrokenPipeError when it does no more."""
        view = memoryview(data)
        while view:
            if self.feeding is None:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            try:
                view = view[os.write(self.feeding, view) :]
            except BlockingIOError:
                await self._writable(self.feeding)

    def close_stdin(self) -> None:
        if self.feeding is not None:
            self.loop.remove_writer(self.feeding)
            os.close(self.feeding)
            self.feeding = None

    async def _writable(self, fd: int) -> None:
        ready = asyncio.Event()
        self.loop.add_writer(fd, ready.set)
        try:
            await ready.wait()
        finally:
            self.loop.remove_writer(fd)

    def drain(self) -> None:
        """Take what is left in the pipes. Bounded: a process that escaped could write for ever."""
        for pipe in self.pipes:
            for _ in range(64):
                if not self._read(pipe):
                    break

    def result(self, name: str, cwd: Path, stopped: str, duration_s: float, *, confined: bool) -> Finished:
        """How it ended, from what the watcher said. Raises OSError when the command was not executed."""
        said = self._said()
        if failure := said.get("failed"):
            number = int(failure[1])
            raise OSError(number, os.strerror(number), {"exec": name, "cwd": str(cwd)}.get(failure[0], failure[0]))
        if left := said.get("left"):
            log.error("%s processes could not be ended", left[0], extra={"action": "survivors", "command": name})
        if "exited" not in said:
            log.error("the watcher of a command was killed", extra={"action": "watcher", "command": name})
            if "started" in said:
                _end_session(int(said["started"][0]), self.started)
            return Finished(None, -self.process.returncode or int(SIGKILL), stopped, self.written, duration_s)
        code, told = os.waitstatus_to_exitcode(int(said["exited"][0])), said["exited"][1] == "told"
        if confined and code - 128 in _NEVER_CHOSEN:
            code = 128 - code
        stopped = (stopped or "stopped") if told else said["limit"][0] if "limit" in said else ""
        ended_by = -code if code < 0 else int(SIGTERM) if told else None
        return Finished(None if ended_by else code, ended_by, stopped, self.written, duration_s)

    @property
    def unboxed(self) -> bool:
        """Whether the box could not be made, or the command not be executed in it."""
        return "unboxed" in self._said()

    def _said(self) -> dict[str, list[str]]:
        return {words[0]: words[1:] for line in self.said.decode().splitlines() if (words := line.split())}

    def _open(self, stack: ExitStack, stdin: bytes | Feed) -> None:
        self.control, theirs = socket.socketpair()
        stack.enter_context(self.control)
        self.control.setblocking(False)
        with theirs, ExitStack() as others:
            given: IO[bytes] | int
            if isinstance(stdin, bytes):
                given = others.enter_context(_as_stdin(stdin))
            else:
                given, self.feeding = os.pipe()
                others.callback(os.close, given)
                stack.callback(self.close_stdin)
                os.set_blocking(self.feeding, False)
            writing = []
            for sink in self.sinks:
                pipe, write = os.pipe()
                stack.callback(os.close, pipe)
                others.callback(os.close, write)
                self.pipes[pipe] = sink
                writing.append(write)
                os.set_blocking(pipe, False)
            self.process = _spawn(theirs.fileno(), given, writing[0], writing[-1])
        stack.callback(self._abandon)
        self.pid = self.process.pid
        self.started = start_ticks(self.pid) or 0
        stack.callback(self.loop.remove_reader, self.control)
        self.loop.add_reader(self.control, self._listen)
        for pipe in self.pipes:
            stack.callback(self.loop.remove_reader, pipe)
            self.loop.add_reader(pipe, self._read_paced, pipe)
        if not hasattr(os, "pidfd_open"):
            threading.Thread(target=self._wait_in_thread, daemon=True).start()
            return
        handle = os.pidfd_open(self.pid)
        stack.callback(os.close, handle)
        stack.callback(self.loop.remove_reader, handle)
        self.loop.add_reader(handle, self._reap, handle)

    def _abandon(self) -> None:
        """Leave no zombie when the watcher was started and the rest of the setup failed (no descriptor left)."""
        if not self.gone.done():
            self.control.close()  # it ends at once: it has no command yet
            self.process.wait()

    def _wait_in_thread(self) -> None:
        self.process.wait()
        with suppress(RuntimeError):  # the loop was closed first
            self.loop.call_soon_threadsafe(self._reap, None)

    def _reap(self, handle: int | None) -> None:
        if handle is not None:
            self.loop.remove_reader(handle)
        self.process.wait()
        self._listen()
        self.gone.set_result(None)

    def _order(self, order: bytes) -> None:
        with suppress(OSError):  # the watcher is dead, and ``gone`` will tell
            if self.sent:
                self.control.send(order)
            else:
                self.control.shutdown(socket.SHUT_WR)

    def _listen(self) -> None:
        try:
            while chunk := self.control.recv(4096):
                self.said += chunk
        except BlockingIOError:
            return
        except ConnectionResetError:
            pass  # as good as the end of file
        self.loop.remove_reader(self.control)

    def _read(self, pipe: int) -> int:
        try:
            chunk = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return 0
        if chunk:
            self.pipes[pipe].take(chunk)
        else:
            self.loop.remove_reader(pipe)
        return len(chunk)

    def _read_paced(self, pipe: int) -> None:
        """Read a chunk; after a full one rest a moment, so that an endless stream cannot fill the event loop."""
        if self._read(pipe) == _CHUNK:
            self.loop.remove_reader(pipe)
            self.loop.call_later(_REST_S, self._read_again, pipe)

    def _read_again(self, pipe: int) -> None:
        if not self.gone.done():
            self.loop.add_reader(pipe, self._read_paced, pipe)


@contextmanager
def _as_stdin(data: bytes) -> Iterator[IO[bytes] | int]:
    """A file rather than a pipe: a command that does not read it, or reads slowly, holds up nobody."""
    if not data:
        yield subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file


def _spawn(control: int, stdin: IO[bytes] | int, output: int, errors: int) -> subprocess.Popen[bytes]:
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}  # some Pythons need it
    return subprocess.Popen(
        [sys.executable, "-I", "-S", watcher.__file__, str(control)],
        stdin=stdin,
        stdout=output,
        stderr=errors,
        pass_fds=[control],
        env=kept,
        cwd="/",
        start_new_session=True,  # a terminal's ^C is for the daemon, which then ends its trees in order
    )
