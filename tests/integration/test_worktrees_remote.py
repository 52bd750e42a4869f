"""The user's repository, the mirror and the remote: found, mirrored, refreshed, pushed to; errors say the mend."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from auto_dev.errors import GitError
from auto_dev.worktrees.adopt import fetch_story, forget_story, keep_theirs
from auto_dev.worktrees.git import Git
from auto_dev.worktrees.mirror import Mirror
from auto_dev.worktrees.push import is_ours, push
from auto_dev.worktrees.repository import UserRepository, inspect
from auto_dev.worktrees.transport import Remote, RemoteError, RemoteFault
from auto_dev.worktrees.worktree import Worktrees

pytestmark = pytest.mark.integration


def git(*args: str, cwd: Path) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def commit(root: Path, name: str) -> str:
    (root / name).write_text(f"{name}\n")
    git("add", "-A", cwd=root)
    git("commit", "-qm", name, cwd=root)
    return git("rev-parse", "HEAD", cwd=root)


@dataclass(frozen=True)
class Place:
    """A user's checkout with one commit, its bare remote, and room for our state."""

    root: Path
    origin: Path
    state: Path

    async def look(self, **options: str) -> UserRepository:
        return await inspect(self.root, git=Git(self.state / "git"), **options)

    async def mirror(self, **options: str) -> Mirror:
        runner = Git(self.state / "git")
        mirror = Mirror(self.state, await inspect(self.root, git=runner, **options), runner)
        await mirror.ensure()
        return mirror

    def there(self, *args: str) -> str:
        return git(f"--git-dir={self.origin}", *args, cwd=self.origin)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "user ü", tmp_path / "origin x.git", tmp_path / "state")
    git("init", "-q", "--bare", "-b", "main", str(place.origin), cwd=tmp_path)
    git("init", "-q", "-b", "main", str(place.root), cwd=tmp_path)
    commit(place.root, "base")
    git("remote", "add", "origin", str(place.origin), cwd=place.root)
    git("push", "-q", "-u", "origin", "main", cwd=place.root)
    return place


# The user's repository


async def test_a_repository_is_found_from_a_folder_inside(place: Place) -> None:
    (place.root / "sub").mkdir()
    found = await inspect(place.root / "sub", git=Git(place.state / "git"))
    assert (found.root, found.git_dir) == (place.root, place.root / ".git")
    assert (found.branch, found.base_branch, found.dirty, found.shallow) == ("main", "main", False, False)
    assert found.fetch == found.push == Remote(str(place.origin))
    assert (found.identity.name, found.identity.email) == ("Test", "test@example.com")


async def test_no_repository_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(GitError, match=r"no git repository\. Run `git init`"):
        await inspect(tmp_path, git=Git(tmp_path / "git"))
    with pytest.raises(GitError, match="no such folder"):
        await inspect(tmp_path / "gone", git=Git(tmp_path / "git"))


async def test_a_bare_repository_is_a_clear_error(place: Place) -> None:
    with pytest.raises(GitError, match=r"bare\. Clone it"):
        await inspect(place.origin, git=Git(place.state / "git"))
    with pytest.raises(GitError, match=r"inside a \.git folder"):
        await inspect(place.root / ".git", git=Git(place.state / "git"))


async def test_an_unborn_branch_is_a_clear_error(tmp_path: Path) -> None:
    git("init", "-q", str(tmp_path / "new"), cwd=tmp_path)
    with pytest.raises(GitError, match=r"no commit yet\. Make a first commit"):
        await inspect(tmp_path / "new", git=Git(tmp_path / "git"))


async def test_a_detached_head_needs_a_base_branch(place: Place) -> None:
    git("checkout", "-q", "--detach", cwd=place.root)
    with pytest.raises(GitError, match=r"detached.*base_branch = "):
        await place.look()
    found = await place.look(base_branch="main")
    assert (found.branch, found.base_branch) == (None, "main")


async def test_a_missing_base_branch_is_a_clear_error(place: Place) -> None:
    git("remote", "remove", "origin", cwd=place.root)
    with pytest.raises(GitError, match=r"'develop' does not exist\. Create it"):
        await place.look(base_branch="develop")


async def test_the_remotes_head_is_the_base_branch_by_default(place: Place) -> None:
    git("remote", "set-head", "origin", "main", cwd=place.root)
    git("switch", "-qc", "topic", cwd=place.root)
    found = await place.look()
    assert (found.branch, found.base_branch) == ("topic", "main")


async def test_addresses_are_literal(place: Place) -> None:
    git("remote", "set-url", "origin", "../origin x.git", cwd=place.root)
    assert (await place.look()).push == Remote(str(place.origin))
    git("remote", "set-url", "origin", "work:team/repo.git", cwd=place.root)
    git("config", "url.ssh://git@example.com/.insteadOf", "work:", cwd=place.root)
    git("config", "url.https://example.org/.pushInsteadOf", "work:", cwd=place.root)
    git("config", "core.sshCommand", "ssh -i key", cwd=place.root)
    found = await place.look()
    assert found.fetch == Remote("ssh://git@example.com/team/repo.git", "ssh -i key")
    assert found.push == Remote("https://example.org/team/repo.git", "ssh -i key")


async def test_dirty_and_detached_and_shallow_are_seen(place: Place, tmp_path: Path) -> None:
    (place.root / "untracked").write_text("u\n")
    assert (await place.look()).dirty
    git("clone", "-q", "--depth=1", f"file://{place.root}", str(tmp_path / "shallow"), cwd=tmp_path)
    assert (await inspect(tmp_path / "shallow", git=Git(place.state / "git"))).shallow


async def test_a_repository_inside_of_which_git_was_started_is_not_confused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon may be started by a git hook, which has GIT_DIR and GIT_INDEX_FILE set."""
    monkeypatch.setenv("GIT_DIR", str(place.origin))
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent")
    assert (await place.look()).root == place.root


# The mirror


async def test_a_linked_worktree_of_the_user_is_mirrored_too(place: Place, tmp_path: Path) -> None:
    git("worktree", "add", "-q", "-b", "topic", str(tmp_path / "linked"), cwd=place.root)
    runner = Git(place.state / "git")
    found = await inspect(tmp_path / "linked", git=runner)
    mirror = Mirror(place.state, found, runner)
    await mirror.ensure()
    assert (found.git_dir, (await mirror.refresh())["topic"].source) == (place.root / ".git", "local")


async def test_the_remotes_branch_counts_and_commits_it_lacks_are_told_once(place: Place) -> None:
    base = git("rev-parse", "HEAD", cwd=place.root)
    commit(place.root, "ahead")
    mirror = await place.mirror()
    tip = (await mirror.refresh())["main"]
    assert (tip.sha, tip.source) == (base, "remote")
    assert tip.warnings == ("your branch 'main' has 1 commit that the remote lacks: stories do not see them",)
    assert (await mirror.refresh())["main"].warnings == ()


async def test_without_a_remote_the_local_branch_counts(place: Place) -> None:
    git("remote", "remove", "origin", cwd=place.root)
    mirror = await place.mirror()
    sha = commit(place.root, "more")
    tip = (await mirror.refresh())["main"]
    assert (tip.sha, tip.source, tip.warnings) == (sha, "local", ())


async def test_a_remote_that_does_not_answer_is_told_and_the_local_branch_counts(place: Place) -> None:
    mirror = await place.mirror()
    shutil.rmtree(place.origin)
    sha = commit(place.root, "more")
    tip = (await mirror.refresh())["main"]
    assert (tip.sha, tip.source) == (sha, "local")
    assert "cannot be used" in tip.warnings[0]
    assert (await mirror.refresh())["main"].warnings == ()


async def test_a_branch_that_only_the_user_has_is_local(place: Place) -> None:
    git("switch", "-qc", "topic", cwd=place.root)
    sha = commit(place.root, "topic")
    mirror = await place.mirror()
    tips = await mirror.refresh(["main", "topic"])
    assert (tips["topic"].sha, tips["topic"].source, tips["main"].source) == (sha, "local", "remote")


async def test_a_branch_that_nobody_has_is_a_clear_error(place: Place) -> None:
    mirror = await place.mirror()
    with pytest.raises(GitError, match="'nowhere' is neither on the remote nor in your repository"):
        await mirror.refresh(["nowhere"])


async def test_what_others_pushed_is_fetched(place: Place, tmp_path: Path) -> None:
    mirror = await place.mirror()
    await mirror.refresh()
    git("clone", "-q", str(place.origin), str(tmp_path / "other"), cwd=tmp_path)
    sha = commit(tmp_path / "other", "theirs")
    git("push", "-q", cwd=tmp_path / "other")
    assert (await mirror.refresh())["main"].sha == sha


async def test_objects_are_hard_links_and_survive_a_gc_of_the_user(place: Place) -> None:
    mirror = await place.mirror()
    base = (await mirror.refresh())["main"].sha
    loose = next(path for path in (mirror.path / "objects").rglob("*") if path.is_file())
    assert loose.stat().st_nlink > 1
    git("checkout", "-q", "--orphan", "other", cwd=place.root)
    commit(place.root, "other")
    git("branch", "-qD", "main", cwd=place.root)
    git("update-ref", "-d", "refs/remotes/origin/main", cwd=place.root)
    git("reflog", "expire", "--expire=now", "--all", cwd=place.root)
    git("gc", "-q", "--prune=now", cwd=place.root)
    worktree = await Worktrees(mirror, place.state / "w").create("A", "r", base, "auto-dev/A")
    assert (worktree.path / "base").exists()


async def test_a_shallow_clone_gets_its_history_from_the_remote(place: Place, tmp_path: Path) -> None:
    for name in ("one", "two"):
        commit(place.root, name)
    git("push", "-q", cwd=place.root)
    git("clone", "-q", "--depth=1", f"file://{place.origin}", str(tmp_path / "shallow"), cwd=tmp_path)
    shallow = replace(place, root=tmp_path / "shallow")
    mirror = await shallow.mirror()
    sha = (await mirror.refresh())["main"].sha
    assert git(f"--git-dir={mirror.path}", "rev-list", "--count", sha, cwd=tmp_path) == "3"
    assert not (mirror.path / "shallow").exists()


async def test_a_shallow_clone_without_a_remote_works_and_says_so(place: Place, tmp_path: Path) -> None:
    commit(place.root, "one")
    git("clone", "-q", "--depth=1", f"file://{place.root}", str(tmp_path / "shallow"), cwd=tmp_path)
    git("remote", "remove", "origin", cwd=tmp_path / "shallow")
    runner = Git(place.state / "git")
    mirror = Mirror(place.state, await inspect(tmp_path / "shallow", git=runner), runner)
    notes = await mirror.ensure()
    assert "shallow" in notes[0]
    base = (await mirror.refresh())["main"].sha
    worktrees = Worktrees(mirror, place.state / "w")
    worktree = await worktrees.create("A", "r", base, "auto-dev/A")
    git("commit", "-q", "--allow-empty", "-m", "mine", cwd=worktree.path)
    assert (await worktrees.collect(worktree, "Work")).agent_commits == 1


async def test_ensure_may_be_called_by_many_at_once(place: Place) -> None:
    runner = Git(place.state / "git")
    found = await inspect(place.root, git=runner)
    await asyncio.gather(*(Mirror(place.state, found, Git(place.state / "git")).ensure() for _ in range(6)))
    assert [path.name for path in place.state.glob(".mirror-*")] == []


@pytest.mark.parametrize("damage", ["HEAD", "config", "refs", "objects", "packs", "file", "ref"])
async def test_a_damaged_mirror_is_made_anew_and_what_it_still_has_is_kept(place: Place, damage: str) -> None:
    mirror = await place.mirror()
    base = (await mirror.refresh())["main"].sha
    worktrees = Worktrees(mirror, place.state / "w")
    worktree = await worktrees.create("A", "r", base, "auto-dev/A")
    (worktree.path / "work").write_text("w\n")
    head = (await worktrees.collect(worktree, "Work")).head_sha
    (worktree.path / "unsaved").write_text("u\n")
    match damage:
        case "packs":
            for path in (mirror.path / "objects").rglob(f"{base[2:]}"):
                path.unlink()  # not written through: the user's file is a hard link to it
                path.write_bytes(b"")
        case "file":
            shutil.move(mirror.path, place.state / "away")
            mirror.path.write_text("not a repository\n")
        case "ref":
            (mirror.path / "refs/heads/auto-dev/A").write_text("0" * 39 + "\n")
        case "refs" | "objects":
            shutil.rmtree(mirror.path / damage)
        case _:
            (mirror.path / damage).unlink()
    again = Mirror(place.state, mirror.repository, mirror.git)
    notes = await again.ensure()
    assert "damaged" in notes[0]
    assert (await again.refresh())["main"].sha == base
    kept = await Worktrees(again, place.state / "w").history.resolve("refs/heads/auto-dev/A")
    if damage not in ("objects", "file"):
        assert kept == head
    if damage != "file":
        found = await Worktrees(again, place.state / "w").create("A", "r", base, "auto-dev/A")
        collected = await Worktrees(again, place.state / "w").collect(found, "More")
        names = {change.path for change in await worktrees.history.changes(base, collected.head_sha)}
        assert names == {"work", "unsaved"}
    assert list(place.state.glob("mirror.git.broken*")), "never deleted"


async def test_ignore_rules_outside_the_tree_count(place: Place) -> None:
    (place.root / ".git" / "info" / "exclude").write_text("private\n")
    mirror = await place.mirror()
    base = (await mirror.refresh())["main"].sha
    worktrees = Worktrees(mirror, place.state / "w")
    worktree = await worktrees.create("A", "r", base, "auto-dev/A")
    (worktree.path / "private").write_text("p\n")
    assert git("status", "--porcelain", cwd=worktree.path) == ""
    assert not (await worktrees.collect(worktree, "Work")).committed


async def test_the_hint_fetches_the_branch(place: Place) -> None:
    mirror = await place.mirror()
    base = (await mirror.refresh())["main"].sha
    await Worktrees(mirror, place.state / "w").create("A", "r", base, "auto-dev/A")
    subprocess.run(mirror.fetch_hint("auto-dev/A"), shell=True, cwd=place.root, check=True, capture_output=True)
    assert git("rev-parse", "auto-dev/A", cwd=place.root) == base


# Pushing


@dataclass(frozen=True)
class Story:
    mirror: Mirror
    worktrees: Worktrees
    base: str
    head: str

    @property
    def remote(self) -> Remote:
        assert self.mirror.repository.push is not None
        return self.mirror.repository.push


@pytest.fixture
async def story(place: Place) -> Story:
    mirror = await place.mirror()
    base = (await mirror.refresh())["main"].sha
    worktrees = Worktrees(mirror, place.state / "w")
    worktree = await worktrees.create("A", "r", base, "auto-dev/A")
    (worktree.path / "work").write_text("w\n")
    return Story(mirror, worktrees, base, (await worktrees.collect(worktree, "Work")).head_sha)


async def test_a_push_sets_the_story_branch_and_nothing_else(place: Place, story: Story) -> None:
    first = await push(story.mirror, "auto-dev/A", story.head, story.remote)
    second = await push(story.mirror, "auto-dev/A", story.head, story.remote)
    assert (first.pushed, first.previous, second.pushed) == (True, None, False)
    refs = place.there("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    assert refs == [f"refs/heads/auto-dev/A {story.head}", f"refs/heads/main {story.base}"]


@pytest.mark.parametrize(
    "branch", ["main", "auto-dev/../main", "auto-dev/", "refs/heads/main", "auto-dev/a/b", "auto-dev"]
)
async def test_no_other_branch_can_be_pushed(place: Place, story: Story, branch: str) -> None:
    with pytest.raises(GitError, match="not a story branch"):
        await push(story.mirror, branch, story.head, story.remote)
    assert "auto-dev" not in place.there("for-each-ref")


async def test_a_base_branch_that_looks_like_a_story_is_never_pushed(place: Place, story: Story) -> None:
    mirror = Mirror(place.state, replace(story.mirror.repository, base_branch="auto-dev/A"), story.mirror.git)
    with pytest.raises(GitError, match="base branch"):
        await push(mirror, "auto-dev/A", story.head, story.remote)


@pytest.mark.parametrize("url", ["ext::sh -c x", "--upload-pack=x", "", "fd::3", "https://h/\nx"])
async def test_addresses_that_run_commands_are_refused(story: Story, url: str) -> None:
    with pytest.raises(GitError, match="cannot be used"):
        await push(story.mirror, "auto-dev/A", story.head, Remote(url))


async def test_our_own_rewritten_branch_is_overwritten(place: Place, story: Story) -> None:
    await push(story.mirror, "auto-dev/A", story.head, story.remote)
    worktree = await story.worktrees.create("A", "run-2", story.base, "auto-dev/A")
    (worktree.path / "other").write_text("o\n")
    head = (await story.worktrees.collect(worktree, "Another try")).head_sha
    result = await push(story.mirror, "auto-dev/A", head, story.remote)
    assert (result.pushed, result.previous) == (True, story.head)
    assert place.there("rev-parse", "auto-dev/A") == head


async def test_a_commit_of_somebody_else_is_never_overwritten(place: Place, story: Story, tmp_path: Path) -> None:
    await push(story.mirror, "auto-dev/A", story.head, story.remote)
    git("clone", "-q", "-b", "auto-dev/A", str(place.origin), str(tmp_path / "reviewer"), cwd=tmp_path)
    theirs = commit(tmp_path / "reviewer", "review")
    git("push", "-q", cwd=tmp_path / "reviewer")
    worktree = story.worktrees.get("A")
    assert worktree is not None
    (worktree.path / "more").write_text("m\n")
    head = (await story.worktrees.collect(worktree, "More")).head_sha
    with pytest.raises(RemoteError, match="not auto-dev's") as error:
        await push(story.mirror, "auto-dev/A", head, story.remote)
    assert (error.value.kind, error.value.retryable) == (RemoteFault.MOVED, False)
    assert place.there("rev-parse", "auto-dev/A") == theirs


async def test_a_hook_that_declines_is_told_with_its_words(place: Place, story: Story) -> None:
    hook = place.origin / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'ticket number missing' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(RemoteError, match="hook declined") as error:
        await push(story.mirror, "auto-dev/A", story.head, story.remote)
    assert error.value.kind is RemoteFault.REFUSED
    assert "ticket number missing" in str(error.value)


async def test_a_remote_that_is_gone_is_told(place: Place, story: Story) -> None:
    shutil.rmtree(place.origin)
    with pytest.raises(RemoteError) as error:
        await push(story.mirror, "auto-dev/A", story.head, story.remote)
    assert error.value.kind is RemoteFault.MISSING


async def test_a_host_that_does_not_answer_may_be_tried_again(story: Story) -> None:
    with pytest.raises(RemoteError) as error:
        await push(story.mirror, "auto-dev/A", story.head, Remote("http://127.0.0.1:9/x.git"))
    assert error.value.retryable


# A real smart HTTP remote that asks for a token

TOKEN = "ghs_" + "s3cr3t" * 5


class Fixed:
    """One token, and ``more`` that come after a refusal."""

    def __init__(self, token: str, *more: str) -> None:
        self._tokens = [token, *more]

    async def token(self) -> str:
        return self._tokens[0]

    async def refused(self, token: str) -> bool:
        if token == self._tokens[0] and len(self._tokens) > 1:
            self._tokens.pop(0)
            return True
        return False


class _Handler(BaseHTTPRequestHandler):
    project: Path
    seen: list[str]
    elsewhere = ""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_args: object) -> None:
        """Quiet."""

    def _answer(self) -> None:
        if self.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.elsewhere + self.path)
            self.end_headers()
            return
        expected = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
        given = self.headers.get("Authorization", "")
        self.seen.append(given)
        if given != f"Basic {expected}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self._body()
        env = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.project), "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command, "PATH_INFO": unquote(path), "QUERY_STRING": query, "REMOTE_USER": "x",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(row.split(": ", 1) for row in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


@contextlib.contextmanager
def serving(project: Path, elsewhere: str = "") -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []
    handler = type("Handler", (_Handler,), {"project": project, "seen": seen, "elsewhere": elsewhere})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def http(place: Place) -> Iterator[tuple[str, list[str]]]:
    git("config", "http.receivepack", "true", cwd=place.origin)
    with serving(place.origin.parent) as (url, seen):
        yield f"{url}/{place.origin.name.replace(' ', '%20')}", seen


async def test_a_token_pushes_over_http_and_is_written_nowhere(
    place: Place, story: Story, http: tuple[str, list[str]], tmp_path: Path
) -> None:
    home = tmp_path / "home of the user"
    home.mkdir()
    (home / ".gitconfig").write_text(f"[credential]\n\thelper = store --file={tmp_path}/stored\n")
    environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
    mirror = Mirror(place.state, story.mirror.repository, Git(place.state / "git", environ))
    result = await push(mirror, "auto-dev/A", story.head, Remote(http[0], tokens=Fixed(TOKEN)))
    assert result.pushed
    assert place.there("rev-parse", "auto-dev/A") == story.head
    found = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert found == []
    assert TOKEN not in repr(Remote(http[0], tokens=Fixed(TOKEN)))


async def test_a_wrong_token_is_an_error_about_access_without_the_token(
    story: Story, http: tuple[str, list[str]]
) -> None:
    with pytest.raises(RemoteError) as error:
        await push(story.mirror, "auto-dev/A", story.head, Remote(http[0], tokens=Fixed("wrong-token-123")))
    assert error.value.kind is RemoteFault.AUTH
    assert "wrong-token-123" not in str(error.value)


async def test_a_token_that_has_run_out_is_replaced_once(
    place: Place, story: Story, http: tuple[str, list[str]]
) -> None:
    tokens = Fixed("ghs_" + "old" * 8, TOKEN)
    await push(story.mirror, "auto-dev/A", story.head, Remote(http[0], tokens=tokens))
    assert place.there("rev-parse", "auto-dev/A") == story.head
    with pytest.raises(RemoteError) as error:
        await push(
            story.mirror, "auto-dev/A", story.head, Remote(http[0], tokens=Fixed("bad-1-bad", "bad-2-bad", TOKEN))
        )
    assert error.value.kind is RemoteFault.AUTH


async def test_without_a_token_nobody_is_asked(story: Story, http: tuple[str, list[str]]) -> None:
    with pytest.raises(RemoteError) as error:
        await push(story.mirror, "auto-dev/A", story.head, Remote(http[0]))
    assert error.value.kind is RemoteFault.AUTH


async def test_a_token_does_not_follow_a_redirect_to_another_host(place: Place, story: Story) -> None:
    with serving(place.origin.parent) as (thief, seen), serving(place.origin.parent, elsewhere=thief) as (url, _):
        with pytest.raises(RemoteError):
            await push(story.mirror, "auto-dev/A", story.head, Remote(f"{url}/x.git", tokens=Fixed(TOKEN)))
        assert all(not given for given in seen)


# The remote's story branches


async def test_a_story_branch_is_fetched_by_many_at_once_and_counts_as_nobodys_of_ours(place: Place) -> None:
    mirror = await place.mirror()
    remote = Remote(str(place.origin))
    assert await fetch_story(mirror, "auto-dev/A-1", remote) is None
    for number in range(5):
        sha = commit(place.root, f"by a person {number}")
        git("push", "-q", "origin", "HEAD:auto-dev/A-1", cwd=place.root)
        found = await asyncio.gather(*(fetch_story(mirror, "auto-dev/A-1", remote) for _ in range(6)))
        assert found == [sha] * 6
        assert not await is_ours(mirror, sha)
    await keep_theirs(mirror, "r1", sha)
    assert await is_ours(mirror, sha)


async def test_what_a_merged_story_left_in_the_mirror_goes_and_salvage_stays(place: Place) -> None:
    mirror = await place.mirror()
    remote, sha = Remote(str(place.origin)), git("rev-parse", "HEAD", cwd=place.root)
    for ref in ("refs/heads/auto-dev/A-1", "refs/heads/auto-dev/B-1", "refs/auto-dev/base/r1", "refs/auto-dev/base/r2"):
        await mirror.at.run("update-ref", ref, sha)
    git("push", "-q", "origin", "HEAD:auto-dev/A-1", cwd=place.root)
    await fetch_story(mirror, "auto-dev/A-1", remote)
    await keep_theirs(mirror, "r1", sha)
    for _ in range(2):
        await forget_story(mirror, "auto-dev/A-1", ["r1", "r-unknown"])
    left = (await mirror.at.text("for-each-ref", "--format=%(refname)", "refs/heads", "refs/auto-dev")).split()
    assert left == ["refs/auto-dev/base/r2", "refs/auto-dev/salvage/r1/1", "refs/heads/auto-dev/B-1"]
    assert place.there("rev-parse", "auto-dev/A-1") == sha
    with pytest.raises(GitError, match="is not a story branch"):
        await forget_story(mirror, "main", [])
