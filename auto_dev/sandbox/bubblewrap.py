"""The sandbox on Linux: each tree of processes in namespaces of its own, made by bubblewrap.

No network but what is forwarded, no process but its own, no file but those of its box and the system's programs, no
right to gain: capabilities dropped, no_new_privs, no further user namespaces, a filter of system calls, no terminal.
Its PID namespace ends the tree: when bubblewrap dies, however, the kernel kills all that is in it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auto_dev.processes import OUTPUT_CAP, Confinement, Feed, Finished, OnOutput, OnStart, RunTree, run_confined
from auto_dev.sandbox import mounts, relay, seccomp
from auto_dev.sandbox.base import Box, SandboxError
from auto_dev.sandbox.limits import Cgroups
from auto_dev.sandbox.toolchains import roots, toolchains
from auto_dev.text import line

_FRESH_S: Final = 60.0  # tools that a person installs meanwhile are seen after this time
_FAILED: Final = re.compile(r"bwrap: (?:execvp|Can't chdir to) (.+?): (.+)")


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """Makes boxes with the program ``bwrap``. ``version`` is its own, such as (0, 8, 0)."""

    bwrap: str
    version: tuple[int, ...]
    cgroups: Cgroups = field(default_factory=Cgroups)
    _machine: list[tuple[float, mounts.Machine]] = field(default_factory=list, repr=False, compare=False)
    _tools: dict[str, tuple[float, tuple[Path, ...]]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def confines(self) -> bool:
        return True

    def enter(self, box: Box) -> RunTree:
        """``run_tree`` whose processes live in ``box``.

        Each call raises SandboxError when the box must not or cannot be made as it was asked for. An end by a signal
        that nobody chooses (SIGKILL, SIGSEGV, …) is told as one, also that of a shell's child; by another signal n it
        is the exit code 128 + n.
        """
        return _Boxed(self, box)

    def tools(self, env: Mapping[str, str]) -> tuple[Path, ...]:
        """``toolchains(env)``, remembered for a minute."""
        key = "\0".join((env.get("PATH", ""), *(f"{name}={value}" for name, value in sorted(roots(env).items()))))
        known = self._tools.get(key)
        if known is None or time.monotonic() - known[0] > _FRESH_S:
            known = self._tools[key] = time.monotonic(), toolchains(env)
        return known[1]

    def machine(self) -> mounts.Machine:
        """The machine's own part of each box, looked at again after a minute."""
        if not self._machine or time.monotonic() - self._machine[0][0] > _FRESH_S:
            self._machine[:] = [(time.monotonic(), mounts.read_machine())]
        return self._machine[0][1]

    def confine(self, box: Box, cwd: Path, env: Mapping[str, str]) -> Confinement:
        """How one command gets into ``box``."""
        given = _environment(box, env)
        machine = self.machine()
        args = self._namespaces()
        args += mounts.arguments(machine, box, self.tools(env), Path(relay.__file__) if box.forwards else None)
        for name, value in given.items():
            args += ["--setenv", name, value]
        args += ["--chdir", str(cwd)]
        files = dict(machine.files)
        argv = [self.bwrap, "--json-status-fd", "{status}", "--block-fd", "{hold}"]
        if (filter_ := seccomp.program()) is not None:
            files["seccomp"] = filter_
            argv += ["--seccomp", "{seccomp}"]
        files["args"] = b"".join(os.fsencode(arg) + b"\0" for arg in args)
        argv += ["--args", "{args}"]
        argv.append("--")
        if box.forwards:
            ports = ",".join(f"{port}={mounts.RUN / f'{port}.sock'}" for port in box.forwards)
            argv += [_python(), "-I", "-S", str(mounts.RUN / "relay.py"), ports]
        cgroups = self.cgroups.box(box.processes, box.memory_bytes)
        counted = self.cgroups.processes is not None
        return Confinement(
            tuple(argv),
            {},
            files,
            _explain,
            cgroups,
            None if counted else box.processes,
            None if self.cgroups.memory is not None else box.memory_bytes,
            nproc=not counted,
        )

    def _namespaces(self) -> list[str]:
        args = ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
        args += ["--hostname", "box"]
        return [*args, "--disable-userns"] if self.version >= (0, 8) else args


@dataclass(frozen=True, slots=True)
class _Boxed:
    sandbox: Bubblewrap
    box: Box

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
    ) -> Finished:
        env = {"PATH": os.defpath, **env}
        self._check(argv, cwd, env)
        confinement = self.sandbox.confine(self.box, cwd, env)
        return await run_confined(
            confinement, argv, cwd=cwd, env={}, output=output, stdin=stdin, timeout_s=timeout_s, output_cap=output_cap,
            errors=errors, on_start=on_start, on_output=on_output, grace_s=grace_s,
        )  # fmt: skip

    def _check(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        """Raise what ``run_tree`` would for a command that is not there, and say so when only the box lacks it."""
        if not argv or not argv[0] or any("\0" in part for part in argv):
            raise ValueError(f"not a command: {list(argv)!r}")
        for name, value in env.items():
            if not name or "=" in name or "\0" in name or "\0" in value:
                raise ValueError(f"not an environment variable: {name!r}")
        seen = mounts.visible(self.box, self.sandbox.tools(env))
        if not os.path.isdir(cwd):  # noqa: PTH112 (another user's folder is none for us)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(cwd))
        if not seen(cwd):
            raise SandboxError("the command's folder is not in its box", where=str(cwd))
        name = argv[0] if "/" not in argv[0] else str(cwd / argv[0])
        found = shutil.which(name, path=env["PATH"])
        if found is None:
            missing = PermissionError if "/" in name and os.path.exists(name) else FileNotFoundError  # noqa: PTH110
            number = errno.EACCES if missing is PermissionError else errno.ENOENT
            raise missing(number, os.strerror(number), argv[0])
        if not seen(Path(found)):
            raise FileNotFoundError(
                errno.ENOENT, "not visible in the sandbox: name its folder in [sandbox] read", found
            )


def _environment(box: Box, env: Mapping[str, str]) -> dict[str, str]:
    """The command's variables, with a home and a place for temporary files that it has."""
    given = {**roots(env), **env, "HOME": str(box.home)}
    if "TMPDIR" in given and not any(Path(given["TMPDIR"]).is_relative_to(up) for up in (box.home, *box.writable)):
        given["TMPDIR"] = "/tmp"  # noqa: S108 (the box's own)
    return given


def _python() -> str:
    """This Python as a box sees it: without the links of a virtual environment, which it may not need to see."""
    base = getattr(sys, "_base_executable", "") or sys.executable
    return str(Path(base).resolve())


def _explain(said: str) -> Exception:
    """What bubblewrap's words mean, when it failed before the command."""
    if (match := _FAILED.search(said)) is not None:
        what, why = match[1], match[2].strip()
        number = errno.EACCES if "denied" in why.lower() else errno.ENOENT
        kind = PermissionError if number == errno.EACCES else FileNotFoundError
        return kind(number, f"{why} (in the sandbox)", what)
    words = line(said.strip().rpartition("\n")[2], 300)
    return SandboxError(f"the box could not be made: {words}", mend="See what `auto-dev doctor` says about it.")
