"""Without a forge, a pull request is a file beside its patch series."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.errors import ForgeError
from auto_dev.forge.base import DraftSpec, Pull
from auto_dev.forge.local import LocalForge, folder_name
from auto_dev.model import PullState

pytestmark = pytest.mark.integration

SPEC = DraftSpec("auto-dev/A-1", "main", "A-1: title", "words\n", ("auto-dev",))


def path_of(pull: Pull) -> Path:
    assert pull.url.startswith("file:///")
    return Path(unquote(urlsplit(pull.url).path))


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


async def test_the_text_lies_in_the_storys_folder(tmp_path: Path) -> None:
    forge = LocalForge(tmp_path / "pull requests ü")
    pull = await forge.ensure_draft(SPEC)
    assert (pull.number, pull.state, pull.branch, pull.base) == (0, PullState.LOCAL, "auto-dev/A-1", "main")
    assert path_of(pull) == forge.folder_for(SPEC.branch) / "pull-request.md"
    assert path_of(pull).parent == tmp_path / "pull requests ü" / "A-1"
    assert path_of(pull).read_text("utf-8") == (
        "# A-1: title\n\nBranch `auto-dev/A-1` onto `main`.\nLabels: auto-dev.\n\nwords\n"
    )
    assert names(path_of(pull).parent) == ["pull-request.md"]


async def test_the_same_text_is_not_written_again_and_another_one_replaces_it(tmp_path: Path) -> None:
    forge = LocalForge(tmp_path)
    path = path_of(await forge.ensure_draft(SPEC))
    (path.parent / "0001-x.patch").write_text("the caller's")
    before = path.stat()
    assert path_of(await forge.ensure_draft(SPEC)) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    await forge.ensure_draft(DraftSpec(SPEC.branch, "main", "A-1: new", "new"))
    assert "A-1: new" in path.read_text("utf-8")
    assert names(path.parent) == ["0001-x.patch", "pull-request.md"]


async def test_a_relative_folder_still_gives_a_whole_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert path_of(await LocalForge(Path("out")).ensure_draft(SPEC)).is_file()


async def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "A-1").write_text("a file is in the way")
    with pytest.raises(ForgeError, match="the pull request's text cannot be written") as caught:
        await LocalForge(tmp_path).ensure_draft(SPEC)
    assert "\n" not in str(caught.value)


async def test_a_write_that_fails_leaves_the_old_text_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge = LocalForge(tmp_path)
    path = path_of(await forge.ensure_draft(SPEC))
    old = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ForgeError, match="No space left on device"):
        await forge.ensure_draft(DraftSpec(SPEC.branch, "main", "new", "new"))
    assert path.read_bytes() == old
    assert names(path.parent) == ["pull-request.md"]


async def test_there_are_no_numbers_to_ask_for(tmp_path: Path) -> None:
    forge = LocalForge(tmp_path)
    for call in (forge.get(0), forge.get(7), forge.retarget(0, "main")):
        with pytest.raises(ForgeError, match="pull requests are files here"):
            await call
    await forge.close()


branches = st.text("aA0-_./~%@ .ü\n:*?\\", max_size=20).map(lambda text: f"auto-dev/{text}") | st.text(max_size=300)


@given(branches, branches)
def test_every_branch_has_a_folder_of_its_own_inside(one: str, other: str) -> None:
    name = folder_name(one)
    assert name not in ("", ".", "..")
    assert "/" not in name
    assert len(os.fsencode(name)) < 200
    assert not name.startswith(".")
    assert not name.endswith((".", " "))
    assert (name == folder_name(other)) == (one == other)


@pytest.mark.parametrize("story", ["WISH-2005a", "SETS-MVP-001", "a b", "x_1.2"])
def test_ordinary_stories_keep_their_name(story: str) -> None:
    assert folder_name(f"auto-dev/{story}") == story
