"""What every box sees of the machine: programs and the settings they need, and no secret."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PROGRAMS: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix", "/gnu")

# Names in /etc. Everything else there, above all what services and people keep, stays outside.
_FILES: Final = frozenset(
    """
    alpine-release arch-release bash.bashrc debian_version fedora-release gai.conf group host.conf hosts inputrc
    ld.so.cache ld.so.preload locale.alias locale.conf localtime login.defs lsb-release machine-id magic.mime mime.types
    mke2fs.conf netconfig networks nsswitch.conf os-release passwd php.ini pki/tls/cert.pem pki/tls/openssl.cnf profile
    protocols redhat-release resolv.conf rpc services shells ssl/cert.pem ssl/openssl.cnf timezone xattr.conf zprofile
    zshenv zshrc
    """.split()  # noqa: SIM905
)
_FOLDERS: Final = frozenset(
    """
    alternatives chromium crypto-policies fonts java OpenCL opt/chrome php pki/ca-trust pki/java pki/tls/certs profile.d
    R ssl/certs static/pki static/ssl/certs terminfo texmf vulkan xdg zsh
    """.split()  # noqa: SIM905
)
_FOLDERS_BEGIN: Final = ("java-", "python", "maven", "ghc", "lua", "erlang", "dotnet")
_MOST_COPIED: Final = 1 << 17  # bytes

_PROC_SECRETS: Final = ("kcore", "keys", "key-users", "kallsyms", "sched_debug", "timer_list", "latency_stats")


def settings() -> tuple[dict[str, bytes], tuple[Path, ...]]:
    """What a box sees of /etc: small files by content, and folders (and large files) to be mounted.

    Each mount costs bubblewrap 0.2 ms, a copied file next to nothing. What others may not read is left out for root
    too.
    """
    etc = Path("/etc")
    files: dict[str, bytes] = {}
    mounted: list[Path] = []
    for name in sorted(_FILES):
        path = etc / name
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode) or not found.st_mode & stat.S_IROTH:
                continue
            if found.st_size > _MOST_COPIED:
                mounted.append(path)
            else:
                files[str(path)] = path.read_bytes()
        except OSError:
            continue
    names = _FOLDERS | {entry.name for entry in etc.iterdir() if entry.name.startswith(_FOLDERS_BEGIN)}
    for name in sorted(names):
        path = etc / name
        if path.is_dir() and path.stat().st_mode & stat.S_IROTH:
            mounted.append(path)
    return files, tuple(mounted)


def proc_covers() -> Iterator[tuple[str, Path]]:
    """What is laid over a fresh /proc: ("ro", folder) or ("null", file).

    bubblewrap covers a few entries, and only those which ``access(2)`` calls writable: for the real root without
    capabilities that misses /proc/sys, whose files such a process can write nevertheless (tried with 0.8). For an
    ordinary user the modes are enough: there only what anybody may write would be covered.
    """
    root = os.getuid() == 0
    may_write, may_read = (0o222, 0o444) if root else (0o002, 0o004)
    for entry in sorted(Path("/proc").iterdir()):
        if entry.name.isdigit() or entry.is_symlink() or not (root or entry.name in ("sys", *_PROC_SECRETS)):
            continue
        try:
            mode = entry.stat().st_mode
            if stat.S_ISDIR(mode) and (entry.name == "sys" or _has_writable(entry, may_write)):
                yield "ro", entry
            elif stat.S_ISREG(mode) and mode & may_read:
                secret = not mode & stat.S_IROTH or entry.name in _PROC_SECRETS
                if mode & may_write or secret:
                    yield "null", entry
            elif stat.S_ISREG(mode) and mode & may_write:
                yield "null", entry
        except OSError:
            continue


def _has_writable(folder: Path, bits: int) -> bool:
    for above, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                if os.lstat(f"{above}/{name}").st_mode & bits & (0o222 if name in files else 0):
                    return True
            except OSError:
                continue
    return False


def devices() -> Iterator[Path]:
    """What run times ask for the number of processors."""
    for name in ("/sys/devices/system/cpu", "/sys/devices/system/node"):
        if os.path.isdir(name):  # noqa: PTH112
            yield Path(name)


def homes() -> frozenset[Path]:
    """Every account's home folder that may hold something of a person, this process's own included."""
    found = {Path.home()}
    for account in pwd.getpwall():
        path = Path(account.pw_dir)
        if path.is_absolute() and (account.pw_uid in (0, os.getuid()) or account.pw_uid >= 1000):
            found.add(path)
    found = {path for path in found if len(path.parts) > 1 and not str(path).startswith(("/nonexistent", "/var/empty"))}
    return frozenset(found | {path.resolve() for path in found})
