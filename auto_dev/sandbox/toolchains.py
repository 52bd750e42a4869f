"""Programs that live outside the system's folders, in homes above all: found by PATH, shown to the box read-only.

Never a whole home, never a folder that keeps credentials: of those only the folder with the programs.
"""

# ruff: noqa: PTH110, PTH112, PTH113, PTH114, PTH115, PTH208 (pathlib raises where one may not look; these say no)
from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from os.path import exists, isdir, isfile, islink
from pathlib import Path
from typing import Final

from auto_dev.sandbox.system import PROGRAMS, homes

_MOST_ENTRIES: Final = 4000
_PROGRAM_FOLDERS: Final = ("bin", "sbin", "libexec", "shims")
_INSTALLATION: Final = (
    "lib", "lib64", "libexec", "share", "include", "versions", "plugins", "pyvenv.cfg", "install", "tools", "jmods",
    "pkg",
)  # fmt: skip
# Folders of a home that many programs share: their programs are shown, they are not.
_SHARED: Final = (".local", ".cache", ".config", ".cargo", "go", ".docker", ".m2", ".gradle", ".gem", ".kube", ".aws")
_CREDENTIALS: Final = frozenset(
    """
    credentials credentials.toml credentials.json .credentials.json auth.json config.json .npmrc .netrc .pypirc .git
    .git-credentials id_rsa id_ed25519 id_ecdsa settings.xml settings-security.xml gradle.properties .dockercfg .env
    application_default_credentials.json hosts.yml accessTokens.json azureProfile.json .vault-token
    """.split()  # noqa: SIM905
)
# Environment variable → where the tool keeps itself below the real home. Without the variable it looks in $HOME.
_ROOTS: Final = {
    "RUSTUP_HOME": ".rustup",
    "PYENV_ROOT": ".pyenv",
    "RBENV_ROOT": ".rbenv",
    "NODENV_ROOT": ".nodenv",
    "GOENV_ROOT": ".goenv",
    "VOLTA_HOME": ".volta",
    "ASDF_DATA_DIR": ".asdf",
    "MISE_DATA_DIR": ".local/share/mise",
    "SDKMAN_DIR": ".sdkman",
    "NVM_DIR": ".nvm",
    "UV_PYTHON_INSTALL_DIR": ".local/share/uv/python",
    "UV_TOOL_DIR": ".local/share/uv/tools",
}
_BY_PROGRAM: Final = {"RUSTUP_HOME": ("rustup", "cargo", "rustc")}


def roots(env: Mapping[str, str]) -> dict[str, str]:
    """Where version managers find themselves, though ``$HOME`` in the box is another: variables that ``env`` lacks."""
    found = {}
    path = [Path(entry) for entry in env.get("PATH", "").split(os.pathsep) if entry]
    for name, place in _ROOTS.items():
        folder = Path.home() / place
        programs = _BY_PROGRAM.get(name, ())
        used = any(folder in entry.parents or entry == folder for entry in path) or any(
            os.path.lexists(entry / program) for entry in path for program in programs if Path.home() in entry.parents
        )
        if name not in env and used and isdir(folder) and not _has_credentials(folder):
            found[name] = str(folder)
    return found


def toolchains(env: Mapping[str, str]) -> tuple[Path, ...]:
    """Folders and files, resolved and without those inside another, that the programs on ``env``'s PATH consist of."""
    found: set[Path] = set()
    places = _Places(homes())
    for entry in env.get("PATH", "").split(os.pathsep):
        folder = Path(entry)
        if folder.is_absolute() and isdir(folder) and not places.of_the_system(folder):
            found.update(places.of_folder(folder))
    found.update(Path(value) for value in roots(env).values())
    for name in _ROOTS:
        if (value := env.get(name)) and places.may_be_shown(Path(value)):
            found.add(Path(value))
    found.update(installation(Path(sys.executable)))
    return _outermost(places, found)


def installation(program: Path) -> tuple[Path, ...]:
    """What one program consists of: its folder of installation, and that of the Python that runs it."""
    places = _Places(homes())
    return _outermost(places, set(places.of_program(program)))


def _outermost(places: _Places, found: Iterable[Path]) -> tuple[Path, ...]:
    shown = {path for path in found if places.may_be_shown(path) and not places.of_the_system(path)}
    shown |= {_real(path) for path in shown}
    return tuple(sorted(path for path in shown if exists(path) and not any(up in shown for up in path.parents)))


def _real(path: Path) -> Path:
    """``path`` without links; itself where they run in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # RuntimeError: how Python up to 3.12 tells of a circle
        return path


class _Places:
    def __init__(self, homes_: frozenset[Path]) -> None:
        self.homes = homes_
        self.seen: set[Path] = set()
        self.shared = {home / name for home in homes_ for name in _SHARED}
        # What stands above a home, or is one, shows a person's files.
        self.never = {Path("/"), *homes_, *(up for home in homes_ for up in home.parents)}
        self.never |= {Path(name) for name in ("/etc", "/var", "/tmp", "/run", "/root", "/home", "/srv", "/mnt")}  # noqa: S108

    def of_the_system(self, path: Path) -> bool:
        return str(path).startswith(tuple(f"{folder}/" for folder in PROGRAMS)) or str(path) in PROGRAMS

    def may_be_shown(self, path: Path) -> bool:
        return path.is_absolute() and path not in self.never and _real(path) not in self.never

    def of_folder(self, folder: Path) -> Iterator[Path]:
        """A folder on PATH: itself, the installation that it belongs to, and what its entries lead to."""
        real = _real(folder)
        if not self.may_be_shown(real) or real in self.seen:
            return
        self.seen.add(real)
        yield folder
        yield real
        if (root := self._root(real)) is not None:
            yield from self._whole(root)
        try:
            names = sorted(os.listdir(real))[:_MOST_ENTRIES]
        except OSError:
            return  # another user's: PATH names it, nothing in it can be run
        for name in names:
            if islink(real / name):
                yield from self.of_program(real / name)
            elif (interpreter := _interpreter(real / name)) is not None:
                yield from self.of_program(interpreter)
        user_site = real.parent / "lib"
        if real.name == "bin" and real.parent in self.shared and isdir(user_site):  # pip install --user
            yield from user_site.glob("python3*")

    def of_program(self, program: Path) -> Iterator[Path]:
        """A program: the links that lead to it, and its installation."""
        hops = 0
        while islink(program) and hops < 20:  # each stage: a venv's python leads to another python
            hops += 1
            if (root := self._root(program.parent)) is not None:
                yield from self._whole(root)
            program = Path(os.path.normpath(program.parent / os.readlink(program)))
            yield program  # it may lie in a folder that is not shown, and be a link, too, or lead through one
        try:
            real = program.resolve(strict=True)
        except (OSError, RuntimeError):
            return  # a dangling link is nobody's program
        if real in self.seen or self.of_the_system(real):
            return
        self.seen.add(real)
        yield real
        if (root := self._root(real.parent) or self._modules(real)) is not None:
            yield from self._whole(root)
        elif self._is_only_that(real.parent):
            yield real.parent
        if (interpreter := _interpreter(real)) is not None:
            yield from self.of_program(interpreter)

    def _is_only_that(self, folder: Path) -> bool:
        """Whether the folder of a program may be shown with it: no folder that lies directly in a home."""
        if not self.may_be_shown(folder) or _has_credentials(folder):
            return False
        return folder not in self.shared and folder.parent not in self.never | self.shared

    def _whole(self, root: Path) -> Iterator[Path]:
        """An installation, and the one that a virtual environment is made from."""
        if root in self.seen:
            return
        self.seen.add(root)
        yield root
        config = root / "pyvenv.cfg"
        if isfile(config):
            for row in config.read_text("utf-8", "replace").splitlines():
                key, _, value = row.partition("=")
                if key.strip() == "home" and value.strip():
                    yield from self.of_program(Path(value.strip()) / "python3")

    def _root(self, folder: Path) -> Path | None:
        """The installation whose programs are in ``folder``; None if what is around them is not only that."""
        root = folder.parent
        if folder.name not in _PROGRAM_FOLDERS or root in self.shared or not self.may_be_shown(root):
            return None
        if self.of_the_system(root) or _has_credentials(root):
            return None
        return root if any(exists(root / name) for name in _INSTALLATION) else None

    def _modules(self, real: Path) -> Path | None:
        """The outermost node_modules around a script: its packages lie beside each other there."""
        parts = real.parts
        if "node_modules" not in parts:
            return None
        return Path(*parts[: parts.index("node_modules") + 1])


def _has_credentials(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in _CREDENTIALS - {".git", "config.json"}) or (
        folder.name.startswith(".docker") and exists(folder / "config.json")
    )


def _interpreter(path: Path) -> Path | None:
    """The program in a script's first line, when it lies outside the system's folders."""
    try:
        with path.open("rb") as file:
            first = file.readline(256)
    except OSError:
        return None
    if not first.startswith(b"#!/") or b"\0" in first:
        return None
    words = first[2:].decode("utf-8", "replace").split()
    return Path(words[0]) if words and not words[0].startswith(("/usr/", "/bin/")) else None
