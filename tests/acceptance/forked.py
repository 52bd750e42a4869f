"""The command as a process that is forked where its modules are loaded already.

Most commands take less time than their imports, and these tests start a thousand of them. A forked process is one like
any other: it has an environment, a folder, files and signals of its own, and ends alone. ``World.spawn`` starts an
interpreter, as a user's shell does.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, Final

_context: Final = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["auto_dev.cli", "auto_dev.commands.start", "auto_dev.commands.status", "auto_dev.daemon.compose"]
)


class Forked:
    """A running ``auto-dev ARGS``. Its output goes to a file, so that nobody has to read it for it to go on.

    ``apart``: its errors do not go where its output goes.
    """

    def __init__(self, args: Sequence[str], cwd: Path, env: Mapping[str, str], *, apart: bool = False) -> None:
        self._args = list(args)
        self._out = _file(self)
        self._err = _file(self) if apart else None
        files = [DupFd(file) for file in (self._out, self._out if self._err is None else self._err)]
        self._process: BaseProcess = _context.Process(target=_main, args=(self._args, str(cwd), dict(env), *files))
        self._process.start()
        self.pid = int(self._process.pid or 0)

    @property
    def returncode(self) -> int | None:
        """As ``subprocess.Popen`` has it: negative for a signal, None while it runs."""
        return self._process.exitcode

    def so_far(self) -> str:
        """What it has printed until now."""
        return _text(self._out)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._args, timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Its output and its errors when it has ended. Raises subprocess.TimeoutExpired."""
        self.wait(timeout)
        return _text(self._out), "" if self._err is None else _text(self._err)

    def send_signal(self, sig: int) -> None:
        with suppress(ProcessLookupError):  # another thread may wait for it, so that its end is not looked at here
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _file(owner: object) -> int:
    with tempfile.TemporaryFile() as file:
        number = os.dup(file.fileno())
    weakref.finalize(owner, os.close, number)
    return number


def _text(file: int) -> str:
    return os.pread(file, os.fstat(file).st_size, 0).decode("utf-8", "replace")


def _main(args: list[str], cwd: str, env: dict[str, str], *files: Any) -> None:
    """In the forked process: what ``python -m auto_dev`` would find, then the command itself."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for to, file in zip((1, 2), files, strict=True):
        os.dup2(file.detach(), to)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.argv = ["auto-dev", *args]
    from auto_dev.cli import main

    main()
