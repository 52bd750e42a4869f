"""The hardened runner: every git process of auto-dev is started here.

No configuration that an agent can write is ever read: the git dir is always named and belongs to the host, the
environment is an allowlist, the user's global configuration is replaced by a file of our own. With that none of the
planted vectors runs; ``-c`` overrides alone let 10 of 22 through (docs/decisions/0003-git.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from auto_dev.errors import GitError
from auto_dev.text import line
from auto_dev.worktrees.folders import write_atomically

OLDEST = (2, 38)  # merge-tree --write-tree, cat-file -z
_OUTPUT_CAP = 256 * 1024 * 1024
_STDERR_CAP = 64 * 1024
_LOCKED = re.compile(r"Unable to create '.*\.lock': File exists|could not lock config file|Another git process seems")
_VERSION = re.compile(r"git version (\d+)\.(\d+)")

# ``safe.directory``: the mirror's source and a remote on this machine may belong to another user. In a file and not
# in ``-c``, because git takes ``-c`` away from the upload-pack that it starts in another repository. For the same
# reason core.hooksPath is in ``-c``: a local remote keeps its own hooks, which may refuse a push.
_CONFIG = """\
[safe]
\tdirectory = *
[gc]
\tauto = 0
[maintenance]
\tauto = false
[core]
\tprotectHFS = true
\tprotectNTFS = true
\tfilesRefLockTimeout = 10000
\tpackedRefsTimeout = 10000
\tfsync = committed,loose-object
\tfsyncMethod = batch
[protocol "ext"]
\tallow = never
[submodule]
\trecurse = false
"""
_BELT = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.attributesFile=/dev/null",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the commits of the host are by."""

    name: str = "auto-dev"
    email: str = "auto-dev@localhost"


@dataclass(frozen=True, slots=True)
class Output:
    """How a git process ended. ``cut``: more was written than asked for, and the process was stopped."""

    code: int
    stdout: bytes
    stderr: bytes
    cut: bool = False

    @property
    def text(self) -> str:
        """stdout without the last newline; undecodable bytes survive as surrogates, so that paths round-trip."""
        return os.fsdecode(self.stdout).rstrip("\n")

    @property
    def complaint(self) -> str:
        return self.stderr.decode("utf-8", "replace")


class GitCommandError(GitError):
    """A git command failed; ``code`` and ``stderr`` are git's own."""

    def __init__(self, what: str, *, where: str = "", mend: str = "", code: int = -1, stderr: str = "") -> None:
        super().__init__(what, where=where, mend=mend)
        self.code = code
        self.stderr = stderr


class GitTimeoutError(GitError):
    """A git command did not end in its time and was killed."""


class Git:
    """Starts git. ``home`` is a folder of ours that no agent can write; ``environ`` is the daemon's own environment."""

    def __init__(self, home: Path, environ: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.environ = dict(os.environ if environ is None else environ)
        self._prepared = False

    async def prepare(self) -> None:
        """Write our configuration and check git's version, once. Raises GitError when git is missing or too old."""
        if self._prepared:
            return
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self.home / "gitconfig", _CONFIG.encode())
        found = await self._start(["git", "version"], env=self.host_env(), timeout_s=20)
        match = _VERSION.search(found.text)
        if match is None or (int(match[1]), int(match[2])) < OLDEST:
            raise GitError(
                f"git {OLDEST[0]}.{OLDEST[1]} or newer is needed, found: {line(found.text)}", mend="Update git."
            )
        self._prepared = True

    def host_env(self) -> dict[str, str]:
        """The environment of a git that works on our own repositories."""
        return {
            "PATH": self.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.home / "gitconfig"),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_ALLOW_PROTOCOL": "file",
            "GIT_ASKPASS": "",  # empty: ask nobody
            "GIT_EDITOR": "false",
            "GIT_PAGER": "cat",
            "GIT_DEFAULT_REF_FORMAT": "files",
        }

    async def run(
        self,
        *args: str,
        git_dir: Path,
        work_tree: Path | None = None,
        input: bytes = b"",  # noqa: A002 (subprocess calls it so)
        check: bool = True,
        ok: Sequence[int] = (0,),
        timeout_s: float = 120,
        env: Mapping[str, str] | None = None,
        config: Sequence[str] = (),
        hold: Sequence[int] = (),
        cap: int | None = None,
        cwd: Path | None = None,
    ) -> Output:
        """Run ``git --git-dir=… [--work-tree=…] ARGS`` and return its output.

        ``env`` replaces the host environment; ``config`` are ``key=value`` overrides; ``hold`` are descriptors that the
        process inherits. With ``cap`` (bytes) a longer stdout is cut and the process stopped. A contended lock is
        tried again.
        Raises GitCommandError (exit code not in ``ok``, with ``check``), GitTimeoutError.
        """
        await self.prepare()
        argv = ["git", f"--git-dir={git_dir}", "--no-pager", *_BELT]
        if work_tree is not None:
            argv.insert(2, f"--work-tree={work_tree}")
        for setting in config:
            argv += ["-c", setting]
        argv += args
        output = await self._persist(
            argv,
            env=env or self.host_env(),
            cwd=cwd or work_tree or git_dir,
            stdin=input,
            timeout_s=timeout_s,
            hold=hold,
            cap=cap,
        )
        if check and output.code not in ok and not output.cut:
            raise failure(args, output)
        return output

    async def run_user(
        self, *args: str, cwd: Path, ok: Sequence[int] = (0,), check: bool = True, timeout_s: float = 120
    ) -> Output:
        """Run a reading git command in the user's own checkout, under the user's own configuration.

        Raises GitCommandError, GitTimeoutError.
        """
        await self.prepare()
        argv = ["git", "--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
        argv += ["-c", "safe.directory=*", *args]
        output = await self._persist(
            argv, env=self.user_env(), cwd=cwd, stdin=b"", timeout_s=timeout_s, hold=(), cap=None
        )
        if check and output.code not in ok:
            raise failure(args, output)
        return output

    def user_env(self) -> dict[str, str]:
        """The environment of a git that reads the user's repository: the user's configuration, nothing else."""
        names = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
        env = self.host_env()
        for name in names:
            env.pop(name, None)
            if name in self.environ:
                env[name] = self.environ[name]
        return env

    async def _persist(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdin: bytes,
        timeout_s: float,
        hold: Sequence[int],
        cap: int | None,
    ) -> Output:
        for pause in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 0.0):
            output = await self._start(argv, env=env, cwd=cwd, stdin=stdin, timeout_s=timeout_s, hold=hold, cap=cap)
            if output.code in (0, 1) or not pause or not _LOCKED.search(output.complaint):
                break
            await asyncio.sleep(pause)
        return output

    async def _start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdin: bytes = b"",
        timeout_s: float,
        hold: Sequence[int] = (),
        cap: int | None = None,
    ) -> Output:
        loop = asyncio.get_running_loop()
        collector = _Collector(_OUTPUT_CAP if cap is None else cap)
        try:
            transport, _ = await loop.subprocess_exec(
                lambda: collector,
                *argv,
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=cwd,
                env=dict(env),
                pass_fds=tuple(hold),
                start_new_session=True,  # its own group: helpers such as ssh end with it
            )
        except (FileNotFoundError, NotADirectoryError):
            if cwd is not None and not cwd.is_dir():
                raise GitError("the folder is missing", where=str(cwd)) from None
            raise GitError("git is not installed", mend="Install git and put it on the PATH.") from None
        except PermissionError as error:
            raise GitError("access is denied", where=str(error.filename or cwd), mend="Check who owns it.") from None
        name = _command_name(argv[1:])
        try:
            if stdin and isinstance(pipe := transport.get_pipe_transport(0), asyncio.WriteTransport):
                pipe.write(stdin)  # git may end without reading all; its exit code then says why
                pipe.write_eof()
            async with asyncio.timeout(timeout_s):
                await collector.enough
                # A helper that outlives git (ssh with ControlPersist) may hold the pipes open: it is not waited for.
                await asyncio.wait([collector.closed], timeout=0 if collector.cut else 2)
        except TimeoutError:
            raise GitTimeoutError(f"did not end within {timeout_s:g} seconds", where=f"git {name}") from None
        finally:
            if transport.get_returncode() is None:
                await _end(transport.get_pid(), collector)
            transport.close()
        if collector.cut and cap is None:
            raise GitError("wrote more than 256 MB", where=f"git {name}")
        code = transport.get_returncode()
        return Output(-1 if code is None else code, bytes(collector.stdout), bytes(collector.stderr), collector.cut)


class _Collector(asyncio.SubprocessProtocol):
    """What a process writes. ``enough``: it ended, or wrote more than ``cap``; ``closed``: its pipes are closed too."""

    def __init__(self, cap: int) -> None:
        loop = asyncio.get_running_loop()
        self.stdout, self.stderr = bytearray(), bytearray()
        self.cut = False
        self.enough: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._cap = cap

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self.stderr += data[: _STDERR_CAP - len(self.stderr)]
            return
        room = self._cap - len(self.stdout)
        self.stdout += data[:room]
        if len(data) > room:
            self.cut = True
            _settle(self.enough)

    def process_exited(self) -> None:
        _settle(self.exited)
        _settle(self.enough)

    def connection_lost(self, _error: Exception | None) -> None:
        _settle(self.closed)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass(frozen=True, slots=True)
class GitAt:
    """git bound to a place: a git dir of the host, perhaps a work tree, and the locks that are held."""

    git: Git
    git_dir: Path
    work_tree: Path | None = None
    hold: tuple[int, ...] = ()
    timeout_s: float = 120
    env: Mapping[str, str] = field(default_factory=dict)

    async def run(
        self,
        *args: str,
        input: bytes = b"",  # noqa: A002 (subprocess calls it so)
        check: bool = True,
        ok: Sequence[int] = (0,),
        env: Mapping[str, str] | None = None,
        config: Sequence[str] = (),
        cap: int | None = None,
    ) -> Output:
        """As ``Git.run``."""
        full = {**self.git.host_env(), **self.env, **(env or {})}
        return await self.git.run(
            *args, git_dir=self.git_dir, work_tree=self.work_tree, input=input, check=check, ok=ok,
            timeout_s=self.timeout_s, env=full, config=config, hold=self.hold, cap=cap,
        )  # fmt: skip

    async def text(self, *args: str, input: bytes = b"", env: Mapping[str, str] | None = None) -> str:  # noqa: A002
        """stdout of ``run``, without the last newline."""
        return (await self.run(*args, input=input, env=env)).text


def failure(args: Sequence[str], output: Output) -> GitCommandError:
    """The error for a command that failed: git's own last words, on one line."""
    words = [text for text in output.complaint.splitlines() if not text.startswith(("hint:", "warning:"))]
    fatal = [text for text in words if text.startswith(("fatal:", "error:", "remote: error:", "!"))]
    gist = line(" / ".join(dict.fromkeys(fatal or words[-3:]))) or f"exit code {output.code}"
    return GitCommandError(
        gist.removeprefix("fatal: ").removeprefix("error: "),
        where=f"git {_command_name(args)}",
        mend=_mend(gist),
        code=output.code,
        stderr=output.complaint,
    )


def _mend(gist: str) -> str:
    if "No space left" in gist:
        return "Free disk space."
    if "Permission denied" in gist and "publickey" not in gist:
        return "Check who owns the folder."
    if ".lock" in gist and "exists" in gist:
        return "If no git process is running there, delete that lock file."
    if "missing" in gist or "bad object" in gist or "corrupt" in gist:
        return "The repository is damaged: `git fsck` tells more."
    return ""


def _command_name(args: Sequence[str]) -> str:
    skip = False
    for arg in args:
        if skip:
            skip = False
        elif arg == "-c":
            skip = True
        elif not arg.startswith("-"):
            return arg
    return ""


async def _end(pid: int, collector: _Collector) -> None:
    """End the whole group of a process: SIGTERM first, on which git removes its lock files."""
    try:
        _signal(pid, signal.SIGTERM)
        await asyncio.wait([collector.exited], timeout=2)
    finally:
        _signal(pid, signal.SIGKILL)
    await asyncio.wait([collector.exited], timeout=5)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
