"""Whether this machine has a sandbox that works: tried, not guessed, and in one line what is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auto_dev.sandbox import limits
from auto_dev.sandbox.bubblewrap import Bubblewrap
from auto_dev.text import line

_OLDEST: Final = (0, 5, 0)
_TRY_S: Final = 20.0
_INSTALL: Final = (
    ("apt-get", "sudo apt-get install bubblewrap"),
    ("dnf", "sudo dnf install bubblewrap"),
    ("pacman", "sudo pacman -S bubblewrap"),
    ("apk", "sudo apk add bubblewrap"),
    ("zypper", "sudo zypper install bubblewrap"),
    ("nix-env", "nix-env -iA nixpkgs.bubblewrap"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no sandbox, and the one line that mends it (may be empty)."""

    what: str
    mend: str = ""


def find(env: Mapping[str, str]) -> Bubblewrap | Problem:
    """The sandbox of this machine, tried once with a real box (about 50 ms; blocks), or why there is none."""
    if sys.platform != "linux":
        return Problem(f"there is no sandbox for {sys.platform}: only for Linux, by bubblewrap")
    bwrap = shutil.which("bwrap", path=env.get("PATH", os.defpath))
    if bwrap is None:
        return Problem("bubblewrap is not installed", install_line(env))
    try:
        said = subprocess.run([bwrap, "--version"], capture_output=True, text=True, timeout=_TRY_S, check=False, env={})
    except (OSError, subprocess.TimeoutExpired) as error:
        return Problem(f"bubblewrap cannot be run: {error}", install_line(env))
    version = parse_version(said.stdout)
    if version < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        return Problem(f"bubblewrap {line(said.stdout, 40)!r} is too old: {wanted} is the oldest", install_line(env))
    tried = _try(bwrap, version)
    return tried if tried is not None else Bubblewrap(bwrap, version, limits.find())


def parse_version(said: str) -> tuple[int, ...]:
    """``bubblewrap 0.8.0`` → (0, 8, 0); () for anything else."""
    match = re.search(r"bubblewrap (\d+(?:\.\d+)*)", said)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def install_line(env: Mapping[str, str]) -> str:
    """How bubblewrap is installed here."""
    for manager, command in _INSTALL:
        if shutil.which(manager, path=env.get("PATH", os.defpath)):
            return f"Install it: {command}"
    return "Install the package bubblewrap."


def remarks(found: Bubblewrap) -> tuple[str, ...]:
    """What this sandbox cannot do here, in sentences; () if everything holds."""
    said = []
    if found.cgroups.processes is None and os.getuid() == 0:
        said.append(
            "No cgroup may be made here: the number of processes of a box is watched four times a second, not held by "
            "the kernel."
        )
    if found.cgroups.memory is None:
        said.append(
            "No memory cgroup may be made here: memory_gb is watched four times a second, not held by the kernel "
            "(an address space limit would break Node and Java)."
        )
    if found.version < (0, 8):
        said.append("bubblewrap older than 0.8 cannot forbid user namespaces by itself; the system call filter does.")
    return tuple(said)


def _try(bwrap: str, version: tuple[int, ...]) -> Problem | None:
    """Make one box as all others are made; None when that works."""
    args = ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    args += ["--disable-userns"] if version >= (0, 8) else []
    args += ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
    try:
        done = subprocess.run(
            [bwrap, *args, "--", "/bin/sh", "-c", "exit 42"],
            capture_output=True, text=True, errors="replace", timeout=_TRY_S, check=False, env={},
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return Problem(f"bubblewrap cannot make a box: {error}")
    return None if done.returncode == 42 else explain(done.stderr, Path("/proc/sys"))


def explain(said: str, sysctl: Path) -> Problem:
    """What a failure of bubblewrap means on this machine, by its words and by the kernel's settings."""
    words = line(said.strip().rpartition("\n")[2], 200) or "it said nothing"
    if _setting(sysctl / "kernel/apparmor_restrict_unprivileged_userns") == "1" and os.getuid() != 0:
        return Problem(
            f"AppArmor forbids user namespaces to ordinary programs here (bubblewrap: {words})",
            "Give bwrap a profile: sudo apt-get install apparmor-profiles && "
            "sudo ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && "
            "sudo systemctl reload apparmor",
        )
    if _setting(sysctl / "kernel/unprivileged_userns_clone") == "0":
        return Problem(
            f"this kernel forbids user namespaces to ordinary users (bubblewrap: {words})",
            "Allow them: sudo sysctl -w kernel.unprivileged_userns_clone=1",
        )
    if _setting(sysctl / "user/max_user_namespaces") == "0":
        return Problem(
            f"this machine allows no user namespace (bubblewrap: {words})",
            "Allow them: sudo sysctl -w user.max_user_namespaces=15000",
        )
    if in_container():
        return Problem(
            f"this container may not make namespaces (bubblewrap: {words})",
            "Start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined, or use --no-sandbox where the container itself is the box.",
        )
    return Problem(
        f"bubblewrap cannot make a box: {words}", "See whether `bwrap --unshare-all --ro-bind / / true` works."
    )


def in_container() -> bool:
    """Whether this is a container: its runtime left a mark."""
    marks = (Path("/.dockerenv"), Path("/run/.containerenv"), Path("/var/run/secrets/kubernetes.io"))
    return any(mark.exists() for mark in marks) or "container" in os.environ


def _setting(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeError):
        return ""
