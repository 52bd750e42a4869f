"""The parts of the sandbox that need no box: paths, tools, filters, what an error means."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest

from auto_dev.sandbox import mounts, seccomp
from auto_dev.sandbox.base import Box, SandboxError
from auto_dev.sandbox.probe import Problem, explain, find, install_line, parse_version
from auto_dev.sandbox.system import homes, settings
from auto_dev.sandbox.toolchains import installation, roots, toolchains

pytestmark = pytest.mark.unit


@pytest.fixture
def box(tmp_path: Path) -> Box:
    for name in ("home", "wt"):
        (tmp_path / name).mkdir()
    return Box(tmp_path / "home", (tmp_path / "wt",))


@pytest.fixture
def machine() -> mounts.Machine:
    return mounts.Machine((), (), {}, 1 << 30)


def given(args: list[str]) -> dict[str, str]:
    """Mount point → option."""
    return {args[i + 2]: args[i] for i, arg in enumerate(args) if arg in ("--bind", "--ro-bind", "--symlink")}


def asked(machine: mounts.Machine, box: Box, **more: tuple[Path, ...]) -> dict[str, str]:
    wanted = Box(box.home, more.get("writable", box.writable), more.get("readable", ()), more.get("read_only", ()))
    return given(mounts.arguments(machine, wanted, (), None))


def refused() -> list[Path]:
    dangerous = ["/", "/etc", "/var", "/tmp", "/run", "/home", "/root", "/proc", "/proc/1", "/sys", "/dev", "/dev/sda"]
    return [*map(Path, dangerous), Path.home(), Path.home().parent, Path("relative"), Path("/usr/../etc")]


@pytest.mark.parametrize("number", range(14))
def test_dangerous_paths_are_refused(machine: mounts.Machine, box: Box, number: int) -> None:
    for kind in ("writable", "readable"):
        with pytest.raises(SandboxError):
            asked(machine, box, **{kind: (refused()[number],)})


@pytest.mark.parametrize("path", ["/usr", "/etc/ssl", "/bin"])
def test_the_systems_files_may_not_be_made_writable(machine: mounts.Machine, box: Box, path: str) -> None:
    with pytest.raises(SandboxError, match="system's files"):
        asked(machine, box, writable=(Path(path),))


def test_what_is_read_only_wins_and_holds_its_parents(machine: mounts.Machine, box: Box) -> None:
    wt = box.writable[0]
    (wt / "a" / "b").mkdir(parents=True)
    (wt / "a" / "b" / "kept").touch()
    binds = asked(machine, box, read_only=(wt / "a" / "b" / "kept",))
    assert binds[str(wt / "a" / "b" / "kept")] == "--ro-bind"
    assert [binds[str(path)] for path in (wt, wt / "a", wt / "a" / "b")] == ["--bind"] * 3
    order = list(binds)
    assert order.index(str(wt)) < order.index(str(wt / "a")) < order.index(str(wt / "a" / "b" / "kept"))


def test_the_systems_settings_hold_no_secret() -> None:
    files, mounted = settings()
    names = {Path(name).name for name in files} | {path.name for path in mounted}
    assert not names & {"shadow", "gshadow", "sudoers", "sudoers.d", "ssh", "private", "environment", "etc"}
    assert all(Path(name).stat().st_mode & 0o004 for name in files)


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def shown(path: Path, tools: tuple[Path, ...]) -> bool:
    return any(tool == path or tool in path.parents for tool in tools)


def test_tools_in_a_home_are_shown_and_credentials_are_not() -> None:
    home = Path.home()
    rust = program(home / ".cargo" / "bin" / "cargo")
    (home / ".cargo" / "credentials.toml").write_text("token")
    (home / ".rustup" / "toolchains").mkdir(parents=True)
    node = home / ".nvm" / "versions" / "node" / "v20"
    program(node / "bin" / "node")
    cli = program(node / "lib" / "node_modules" / "@x" / "cli" / "cli.js")
    (node / "bin" / "cli").symlink_to("../lib/node_modules/@x/cli/cli.js")
    tool = program(home / ".local" / "share" / "uv" / "tools" / "ruff" / "bin" / "ruff")
    (home / ".local" / "share" / "uv" / "tools" / "ruff" / "pyvenv.cfg").touch()
    (home / ".local" / "bin").mkdir(parents=True)
    (home / ".local" / "bin" / "ruff").symlink_to(tool)
    secrets = [home / ".npmrc", home / ".ssh" / "id", home / ".local" / "share" / "keyrings" / "login", home / "notes"]
    for secret in secrets:
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.touch()
    path = os.pathsep.join(map(str, (home / ".cargo/bin", node / "bin", home / ".local/bin", home, "/usr/bin", "x")))
    tools = toolchains({"PATH": path})
    assert all(shown(each, tools) for each in (rust, cli, tool, home / ".local/bin", home / ".rustup"))
    assert not any(shown(each, tools) for each in (*secrets, home / ".cargo" / "credentials.toml"))
    assert not set(tools) & homes()
    assert roots({"PATH": path})["RUSTUP_HOME"] == str(home / ".rustup")


def test_a_folder_with_credentials_beside_its_programs_shows_the_programs_alone() -> None:
    root = Path.home() / "tool"
    program(root / "bin" / "tool")
    (root / "lib").mkdir()
    (root / "credentials.json").touch()
    tools = toolchains({"PATH": str(root / "bin")})
    assert root / "bin" in tools
    assert not shown(root / "credentials.json", tools)


def test_a_link_to_a_home_or_to_nothing_shows_neither() -> None:
    place = Path.home() / "links" / "bin"
    place.mkdir(parents=True)
    (place / "home").symlink_to(Path.home())
    (place / "gone").symlink_to("nothing")
    (place / "loop").symlink_to("loop")
    (Path.home() / "secret").write_text("x")
    (place / "secret").symlink_to(Path.home() / "secret")
    tools = toolchains({"PATH": str(place)})
    assert Path.home() not in tools
    assert not shown(Path.home() / "other", tools)


def test_the_python_that_runs_the_relay_is_shown() -> None:
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    assert str(base).startswith(("/usr/", "/opt/")) or shown(base, installation(Path(sys.executable)))


def test_the_filter_is_a_program_for_the_kernel() -> None:
    for machine in ("x86_64", "aarch64"):
        rows = seccomp.program(machine)
        assert rows is not None
        unpacked = list(struct.iter_unpack("=HBBI", rows))
        assert 50 < len(unpacked) < 4096
        for place, (code, if_true, if_false, _) in enumerate(unpacked):
            if code & 0x07 == 0x05:  # a jump stays inside
                assert place + 1 + max(if_true, if_false) < len(unpacked)
        assert unpacked[-1] == (0x06, 0, 0, 0x7FFF0000)
    assert seccomp.program("riscv64") is None


def test_versions_are_read() -> None:
    assert parse_version("bubblewrap 0.8.0\n") == (0, 8, 0)
    assert parse_version("bubblewrap 0.11") == (0, 11)
    assert parse_version("command not found") == ()


@pytest.mark.skipif(sys.platform != "linux", reason="asks for bwrap on Linux alone")
def test_a_missing_bubblewrap_names_its_package(tmp_path: Path) -> None:
    program(tmp_path / "apt-get")
    found = find({"PATH": str(tmp_path)})
    assert found == Problem("bubblewrap is not installed", "Install it: sudo apt-get install bubblewrap")
    assert "bubblewrap" in install_line({"PATH": str(tmp_path / "empty")})


def test_another_program_called_bwrap_is_not_taken_for_it(tmp_path: Path) -> None:
    program(tmp_path / "bwrap", "#!/bin/sh\necho bubblewrap 0.3.1\n")
    found = find({"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert isinstance(found, Problem)
    assert "0.3.1" in found.what or sys.platform != "linux"


def test_a_failure_says_which_setting_forbids_it(tmp_path: Path) -> None:
    said = "bwrap: setting up uid map: Permission denied\n"
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "max_user_namespaces").write_text("0\n")
    found = explain(said, tmp_path)
    assert "no user namespace" in found.what
    assert "setting up uid map" in found.what
    assert "sysctl" in found.mend
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "unprivileged_userns_clone").write_text("0\n")
    assert "ordinary users" in explain(said, tmp_path).what
    (tmp_path / "kernel" / "apparmor_restrict_unprivileged_userns").write_text("1\n")
    assert ("AppArmor" in explain(said, tmp_path).what) == (os.getuid() != 0)
