"""Which PostgreSQL is taken, with stand-in programs that only tell a version."""

from __future__ import annotations

from pathlib import Path

import pytest

from auto_dev.errors import StoreError
from auto_dev.store import binaries

pytestmark = pytest.mark.integration


def _install(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Path]]:
    """The folders that the search finds: fill them. Nothing of this machine counts."""
    places: dict[str, list[Path]] = {"system": [], "wheel": []}
    monkeypatch.setattr(binaries, "_system_folders", lambda: iter(places["system"]))
    monkeypatch.setattr(
        binaries,
        "_wheel",
        lambda: (found for path in places["wheel"] if (found := binaries._look(path, bundled=True))),
    )
    return places


def test_the_newest_of_the_system_is_preferred_to_the_wheel(tmp_path: Path, installed: dict[str, list[Path]]) -> None:
    installed["system"] += [_install(tmp_path / "15", "15.4"), _install(tmp_path / "17", "17beta1")]
    installed["wheel"] += [_install(tmp_path / "18", "18.0")]
    assert binaries.find() == binaries.Binaries(tmp_path / "17", 17)


def test_the_wheel_is_taken_when_the_systems_is_too_old(tmp_path: Path, installed: dict[str, list[Path]]) -> None:
    installed["system"] += [_install(tmp_path / "14", "14.9 (Debian 14.9-1)")]
    installed["wheel"] += [_install(tmp_path / "18", "18.0")]
    assert binaries.find() == binaries.Binaries(tmp_path / "18", 18, bundled=True)


def test_existing_data_takes_its_own_version_wherever_it_is(tmp_path: Path, installed: dict[str, list[Path]]) -> None:
    installed["system"] += [_install(tmp_path / "17", "17.1")]
    installed["wheel"] += [_install(tmp_path / "18", "18.0"), _install(tmp_path / "16", "16.14")]
    assert binaries.find(16).folder == tmp_path / "16"
    with pytest.raises(StoreError, match=r"made by PostgreSQL 15, and only 16, 17, 18 is here. Install PostgreSQL 15"):
        binaries.find(15)


def test_nothing_at_all_and_only_old_ones_are_told_apart(tmp_path: Path, installed: dict[str, list[Path]]) -> None:
    with pytest.raises(StoreError, match=r"there is no PostgreSQL here\. Install PostgreSQL 15 or later"):
        binaries.find()
    installed["system"] += [_install(tmp_path / "13", "13.1")]
    with pytest.raises(StoreError, match="only PostgreSQL 13 is here"):
        binaries.find()


def test_programs_that_do_not_run_are_passed_over(tmp_path: Path, installed: dict[str, list[Path]]) -> None:
    broken = _install(tmp_path / "broken", "17.0")
    (broken / "postgres").write_text("#!/nowhere/sh\n")
    silent = _install(tmp_path / "silent", "17.0")
    (silent / "postgres").write_text("#!/bin/sh\nexit 1\n")
    half = _install(tmp_path / "half", "17.0")
    (half / "initdb").unlink()
    installed["system"] += [broken, silent, half, tmp_path / "missing", _install(tmp_path / "16", "16.1")]
    assert binaries.find().major == 16


def test_the_override_wins_and_must_fit(
    tmp_path: Path, installed: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed["system"] += [_install(tmp_path / "17", "17.1")]
    monkeypatch.setenv(binaries.OVERRIDE, str(_install(tmp_path / "own", "16.2")))
    assert binaries.find().major == 16
    with pytest.raises(StoreError, match="this is PostgreSQL 16, but the data was made by 17"):
        binaries.find(17)
    monkeypatch.setenv(binaries.OVERRIDE, str(_install(tmp_path / "old", "12.2")))
    with pytest.raises(StoreError, match="PostgreSQL 12 is too old"):
        binaries.find()
    monkeypatch.setenv(binaries.OVERRIDE, str(tmp_path / "nowhere"))
    with pytest.raises(StoreError, match="no postgres and initdb there that run"):
        binaries.find()


def test_the_wheel_is_found_without_being_imported() -> None:
    import sys

    found = list(binaries._wheel())
    assert 18 in {each.major for each in found}
    assert all(each.bundled for each in found)
    assert binaries.WHEEL not in sys.modules
