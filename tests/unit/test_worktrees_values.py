"""Names, git's answers and messages: pure."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.errors import GitError
from auto_dev.gates.base import Change
from auto_dev.worktrees import parse
from auto_dev.worktrees.build import only
from auto_dev.worktrees.collect import with_trailers
from auto_dev.worktrees.git import Identity, Output, failure
from auto_dev.worktrees.layout import private_config
from auto_dev.worktrees.names import branch_for, display_url, is_local, require_url, safe, story_ref
from auto_dev.worktrees.provision import environment
from auto_dev.worktrees.transport import Remote, RemoteFault, classify, remote_error

pytestmark = pytest.mark.unit

# What git refuses in a ref component, and what a path component cannot be.
REFUSED = re.compile(r"[\x00-\x20\x7f~^:?*\[\\/]|\.\.|@\{|^\.|\.$|\.lock$|^-", re.IGNORECASE)


@given(st.text(max_size=300))
def test_every_story_id_becomes_one_component_that_git_and_file_systems_take(story_id: str) -> None:
    name = safe(story_id)
    assert name
    assert not REFUSED.search(name)
    assert len(name) <= 100
    assert name.isascii()
    assert safe(name) == name
    assert story_ref(branch_for(story_id)) == f"refs/heads/auto-dev/{name}"


@given(st.text(max_size=50), st.text(max_size=50))
def test_two_story_ids_never_share_a_name(one: str, other: str) -> None:
    assert (safe(one) == safe(other)) == (one == other) or safe(one) == other or safe(other) == one


@pytest.mark.parametrize("plain", ["WISH-2005a", "SETS-MVP-001", "a", "v1.2.3", "_x", "1"])
def test_ordinary_ids_stay_as_they_are(plain: str) -> None:
    assert branch_for(plain) == f"auto-dev/{plain}"


@pytest.mark.parametrize(
    "branch", ["main", "auto-dev", "auto-dev/", "auto-dev/a/b", "auto-dev/..", "x/auto-dev/a", "auto-dev/-x"]
)
def test_other_branches_are_no_story_branches(branch: str) -> None:
    with pytest.raises(GitError):
        story_ref(branch)


def test_addresses_are_told_apart() -> None:
    assert [is_local(url) for url in ("/a/b", "../b", "file:///x", "a:b", "https://h/x", "./a:b")] == [
        *(True, True, True, False, False, True)
    ]
    assert display_url("https://user:secret@host/x") == "https://host/x"
    assert require_url("git@host:a/b.git") == "git@host:a/b.git"


@pytest.mark.parametrize("url", ["ext::sh -c x", "fd::17", "-x", "gopher://x", "", "https://h/\n"])
def test_addresses_that_run_commands_are_refused(url: str) -> None:
    with pytest.raises(GitError):
        require_url(url)


def test_a_file_change_has_the_very_fields_of_a_gates_change() -> None:
    one = parse.FileChange("a", "R", 1, 2, False, "b", "100644")
    fields = parse.FileChange.__dataclass_fields__
    assert list(fields) == list(Change.__dataclass_fields__)
    assert Change(*(getattr(one, name) for name in fields)) == Change("a", "R", 1, 2, False, "b", "100644")


PATHS = st.binary(min_size=1, max_size=20).filter(lambda raw: b"\0" not in raw and not raw.startswith(b":"))


@given(
    st.lists(st.tuples(PATHS, st.sampled_from("AMDT"), st.integers(0, 9), st.booleans()), unique_by=lambda row: row[0])
)
def test_every_path_of_a_diff_is_read_back(rows: list[tuple[bytes, str, int, bool]]) -> None:
    sha = b"0" * 40
    raw = b"".join(b":100644 100644 %s %s %s\0%s\0" % (sha, sha, kind.encode(), path) for path, kind, _, _ in rows)
    numbers = b"".join(
        (b"-\t-\t%s\0" % path) if binary else (b"%d\t%d\t%s\0" % (count, count, path))
        for path, _, count, binary in rows
    )
    found = parse.changes(raw + numbers)
    assert [(os.fsencode(c.path), c.status, c.additions, c.binary) for c in found] == [
        (path, kind, 0 if binary else count, binary) for path, kind, count, binary in rows
    ]


@given(st.binary(max_size=200))
def test_a_diff_that_is_none_is_a_git_error_at_worst(raw: bytes) -> None:
    try:
        parse.changes(raw)
    except GitError as error:
        assert "cannot be read" in str(error)  # noqa: PT017 (both ends are fine)


def test_a_checkout_is_read() -> None:
    raw = b"# branch.oid (initial)\0# branch.head main\0"
    assert parse.status(raw) == parse.CheckoutState("main", None, False)
    raw = b"# branch.oid abc\0# branch.head (detached)\0? new\nfile\0"
    assert parse.status(raw) == parse.CheckoutState(None, "abc", True)


def test_configuration_is_read() -> None:
    assert parse.config(b"a.b\nx\ny\0c.d\0a.b\nz\0") == {"a.b": "z", "c.d": "true"}


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("fatal: unable to access 'https://h/': Could not resolve host: h", RemoteFault.NETWORK),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 503", RemoteFault.NETWORK),
        ("ssh: connect to host h port 22: Connection timed out", RemoteFault.NETWORK),
        ("fatal: Authentication failed for 'https://h/'", RemoteFault.AUTH),
        ("fatal: could not read Username for 'https://h': terminal prompts disabled", RemoteFault.AUTH),
        ("git@h: Permission denied (publickey).", RemoteFault.AUTH),
        ("remote: Permission to a/b.git denied to c.\nfatal: The requested URL returned error: 403", RemoteFault.AUTH),
        ("! [remote rejected] (pre-receive hook declined)", RemoteFault.REFUSED),
        ("remote: error: GH006: Protected branch update failed", RemoteFault.REFUSED),
        ("! [rejected] (stale info)", RemoteFault.MOVED),
        ("remote: Repository not found.", RemoteFault.MISSING),
        ("fatal: '/x' does not appear to be a git repository", RemoteFault.MISSING),
        ("something new", RemoteFault.OTHER),
    ],
)
def test_what_a_remote_says_is_told_apart(words: str, kind: RemoteFault) -> None:
    assert classify(words) is kind


def test_no_password_of_an_address_is_in_an_error() -> None:
    remote = Remote("https://user:pass@host/x")
    error = remote_error("cannot push to", remote, "fatal: unable to access 'https://user:pass@host/': bad")
    assert "pass" not in str(error)


def test_a_failure_is_one_clean_line() -> None:
    error = failure(("diff-tree", "x"), Output(128, b"", b"hint: no\nfatal: bad \x1b[31mobject\x1b[0m x\nUse it\n"))
    assert str(error) == "git diff-tree: bad object x. The repository is damaged: `git fsck` tells more."


KEYS = st.text(min_size=1).filter(lambda key: key != "Story")


@given(st.text(), st.dictionaries(KEYS, st.text(), max_size=3))
def test_a_message_ends_in_its_trailers_whatever_an_agent_wrote(message: str, more: dict[str, str]) -> None:
    text = with_trailers(message, {"Story": "S-1\nRun: forged", **more})
    body, _, trailers = text.rstrip("\n").rpartition("\n\n")
    assert body.strip()
    assert trailers.splitlines()[0] == "Story: S-1 Run: forged"
    assert "\0" not in text


def test_values_in_a_private_config_are_quoted() -> None:
    text = private_config("sha256", Identity('A "B" \\', "a@b"))
    assert 'name = "A \\"B\\" \\\\"' in text
    assert "objectFormat = sha256" in text


def test_a_pattern_matches_its_path_alone() -> None:
    assert only("a b/*.[x]") == "/a\\ b/\\*.\\[x\\]"


def test_ports_are_numbered_from_one() -> None:
    env = environment(Path("/run"), [5001, 5002])
    assert (env["AUTO_DEV_PORT_1"], env["AUTO_DEV_PORT_2"], env["TMPDIR"]) == ("5001", "5002", "/run/tmp")
