"""Host git runs nothing that an agent planted: every vector against every operation, judged by canary files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from auto_dev.worktrees.git import Git
from auto_dev.worktrees.mirror import Mirror
from auto_dev.worktrees.push import push
from auto_dev.worktrees.repository import inspect
from auto_dev.worktrees.worktree import Worktree, Worktrees

pytestmark = pytest.mark.integration

HOOKS = [
    *("applypatch-msg", "commit-msg", "post-applypatch", "post-checkout", "post-commit", "post-index-change"),
    *("post-merge", "post-rewrite", "pre-applypatch", "pre-auto-gc", "pre-commit", "pre-merge-commit", "pre-push"),
    *("pre-rebase", "prepare-commit-msg", "push-to-checkout", "reference-transaction", "sendemail-validate"),
    *("fsmonitor-watchman", "update", "pre-receive", "post-receive", "post-update"),
]
COMMANDS = [
    *("status", "commit", "add", "diff", "log", "show", "ls-files", "update-index", "write-tree", "commit-tree"),
    *("update-ref", "fetch", "push"),
]


def git(*args: str, cwd: Path) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


@dataclass(frozen=True)
class Ground:
    """A project with a remote and one worktree in which an agent has worked; ``fired`` is where canaries show."""

    worktrees: Worktrees
    worktree: Worktree
    base: str
    fired: Path

    def canary(self, name: str) -> str:
        """A command that leaves a file in ``fired`` when anybody runs it."""
        script = self.fired.parent / "canaries" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\n: > '{self.fired}/{name}'\nexit 0\n")
        script.chmod(0o755)
        return str(script)


@pytest.fixture
async def ground(tmp_path: Path) -> Ground:
    origin, root, state = tmp_path / "origin.git", tmp_path / "user", tmp_path / "state"
    git("init", "-q", "--bare", "-b", "main", str(origin), cwd=tmp_path)
    git("init", "-q", "-b", "main", str(root), cwd=tmp_path)
    (root / "src").mkdir()
    (root / "src" / "app.py").write_text("".join(f"print({number})\n" for number in range(30)))
    (root / "README.md").write_text("# Demo\n")
    git("add", "-A", cwd=root)
    git("commit", "-qm", "base", cwd=root)
    git("remote", "add", "origin", str(origin), cwd=root)
    git("push", "-q", "origin", "main", cwd=root)
    runner = Git(state / "git")
    mirror = Mirror(state, await inspect(root, git=runner), runner)
    await mirror.ensure()
    base = (await mirror.refresh())["main"].sha
    worktrees = Worktrees(mirror, state / "worktrees")
    worktree = await worktrees.create("S-1", "run-1", base, "auto-dev/S-1")
    fired = tmp_path / "fired"
    fired.mkdir()
    return Ground(worktrees, worktree, base, fired)


def config(ground: Ground, *settings: tuple[str, str]) -> None:
    """Plant settings wherever an agent can: its private git dir, a .git folder of its own, a nested repository."""
    for git_dir in evil_git_dirs(ground):
        for key, value in settings:
            git("config", "--file", str(git_dir / "config"), "--add", key, value, cwd=ground.fired)


def evil_git_dirs(ground: Ground) -> list[Path]:
    tree = ground.worktree.path
    nested = tree / "nested"
    if not nested.exists():
        git("init", "-q", str(nested), cwd=tree)
        (nested / "inner.txt").write_text("inner\n")
        git("add", "-A", cwd=nested)
        git("commit", "-qm", "inner", cwd=nested)
        (nested / "more.txt").write_text("more\n")
    return [ground.worktree.agent_git_dir, nested / ".git"]


def attributes(ground: Ground, line: str) -> None:
    (ground.worktree.path / ".gitattributes").write_text(f"* {line}\n")
    info = ground.worktree.agent_git_dir / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text(f"* {line}\n")


Plant = Callable[[Ground, str], None]
VECTORS: dict[str, Plant] = {}


def vector(plant: Plant) -> Plant:
    VECTORS[plant.__name__] = plant
    return plant


@vector
def hooks_in_the_git_dir(ground: Ground, run: str) -> None:
    for git_dir in evil_git_dirs(ground):
        for hook in HOOKS:
            path = git_dir / "hooks" / hook
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(run)


@vector
def hooks_path(ground: Ground, run: str) -> None:
    folder = ground.worktree.path / ".husky"
    folder.mkdir()
    for hook in HOOKS:
        (folder / hook).symlink_to(run)
    config(ground, ("core.hooksPath", str(folder)))


@vector
def fsmonitor(ground: Ground, run: str) -> None:
    config(ground, ("core.fsmonitor", run))


@vector
def clean_and_smudge_filters(ground: Ground, run: str) -> None:
    attributes(ground, "filter=evil")
    config(ground, ("filter.evil.clean", run), ("filter.evil.smudge", run), ("filter.evil.required", "true"))


@vector
def process_filter(ground: Ground, run: str) -> None:
    attributes(ground, "filter=evil")
    config(ground, ("filter.evil.process", run))


@vector
def textconv(ground: Ground, run: str) -> None:
    attributes(ground, "diff=evil")
    config(ground, ("diff.evil.textconv", run))


@vector
def diff_driver(ground: Ground, run: str) -> None:
    attributes(ground, "diff=evil")
    config(ground, ("diff.evil.command", run))


@vector
def diff_external(ground: Ground, run: str) -> None:
    config(ground, ("diff.external", run))


@vector
def merge_driver(ground: Ground, run: str) -> None:
    attributes(ground, "merge=evil")
    config(ground, ("merge.evil.driver", f"{run} %O %A %B"))


@vector
def push_url(ground: Ground, run: str) -> None:
    config(
        ground,
        ("protocol.ext.allow", "always"),
        ("remote.origin.url", f"ext::{run}"),
        ("remote.origin.pushurl", f"ext::{run}"),
    )


@vector
def instead_of(ground: Ground, run: str) -> None:
    config(ground, ("protocol.ext.allow", "always"), (f"url.ext::{run} .insteadOf", "/"))


@vector
def receive_and_upload_pack(ground: Ground, run: str) -> None:
    config(
        ground,
        ("remote.origin.url", "/"),
        ("remote.origin.receivepack", run),
        ("remote.origin.uploadpack", run),
        ("uploadpack.packObjectsHook", run),
    )


@vector
def promisor_remote(ground: Ground, run: str) -> None:
    config(
        ground,
        ("protocol.ext.allow", "always"),
        ("extensions.partialClone", "evil"),
        ("remote.evil.url", f"ext::{run}"),
        ("remote.evil.promisor", "true"),
    )


@vector
def include_path(ground: Ground, run: str) -> None:
    (ground.worktree.path / ".included").write_text(f"[core]\n\tfsmonitor = {run}\n[diff]\n\texternal = {run}\n")
    config(ground, ("include.path", str(ground.worktree.path / ".included")))


@vector
def aliases(ground: Ground, run: str) -> None:
    config(ground, *((f"alias.{name}", f"!{run}") for name in COMMANDS))


@vector
def submodule_with_a_command_url(ground: Ground, run: str) -> None:
    (ground.worktree.path / ".gitmodules").write_text(
        f'[submodule "evil"]\n\tpath = nested\n\turl = ext::{run}\n\tupdate = !{run}\n\tignore = none\n'
    )
    config(
        ground,
        ("protocol.ext.allow", "always"),
        ("submodule.evil.url", f"ext::{run}"),
        ("submodule.evil.update", f"!{run}"),
        ("submodule.recurse", "true"),
    )
    git("add", "-f", "nested", cwd=ground.worktree.path)
    git("commit", "-qm", "a gitlink", cwd=ground.worktree.path)


@vector
def ssh_command(ground: Ground, run: str) -> None:
    config(ground, ("core.sshCommand", run), ("remote.origin.url", "ssh://127.0.0.1/x"))


@vector
def credential_helper(ground: Ground, run: str) -> None:
    config(ground, ("credential.helper", f"!{run}"), ("core.askPass", run))


@vector
def signing_program(ground: Ground, run: str) -> None:
    config(ground, ("commit.gpgSign", "true"), ("push.gpgSign", "true"), ("gpg.program", run), ("gpg.ssh.program", run))


@vector
def signature_in_the_log(ground: Ground, run: str) -> None:
    config(ground, ("log.showSignature", "true"), ("gpg.program", run))
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=ground.worktree.path)
    raw = git("cat-file", "commit", "HEAD", cwd=ground.worktree.path)
    head, _, body = raw.partition("\n\n")
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n -----END PGP SIGNATURE-----"
    text = f"{head}\n{signature}\n\n{body}\n"
    done = subprocess.run(
        ["git", "hash-object", "-w", "-t", "commit", "--stdin"],
        cwd=ground.worktree.path, input=text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    git("update-ref", "HEAD", done.stdout.strip(), cwd=ground.worktree.path)


@vector
def editors(ground: Ground, run: str) -> None:
    config(ground, ("core.editor", run), ("sequence.editor", run))


@vector
def pagers(ground: Ground, run: str) -> None:
    config(ground, ("core.pager", run), *((f"pager.{name}", run) for name in COMMANDS), ("interactive.diffFilter", run))


@vector
def trailer_command(ground: Ground, run: str) -> None:
    config(ground, ("trailer.story.key", "Story"), ("trailer.story.command", run), ("trailer.story.cmd", run))


@vector
def core_worktree(ground: Ground, run: str) -> None:
    elsewhere = ground.fired.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "bait").write_text("bait\n")
    config(ground, ("core.worktree", str(elsewhere)), ("core.fsmonitor", run))


@vector
def alternate_refs_command(ground: Ground, run: str) -> None:
    config(ground, ("core.alternateRefsCommand", run), ("core.gitProxy", run))


@vector
def git_folder_instead_of_the_gitfile(ground: Ground, run: str) -> None:
    tree = ground.worktree.path
    (tree / ".git").unlink()
    git("init", "-q", cwd=tree)
    git("commit", "-q", "--allow-empty", "-m", "another root", cwd=tree)
    hooks(tree / ".git", run)


def hooks(git_dir: Path, run: str) -> None:
    (git_dir / "hooks").mkdir(exist_ok=True)
    for hook in HOOKS:
        (git_dir / "hooks" / hook).unlink(missing_ok=True)
        (git_dir / "hooks" / hook).symlink_to(run)
    with (git_dir / "config").open("a") as file:
        file.write(f"[core]\n\tfsmonitor = {run}\n")


@vector
def gitfile_to_a_git_dir_of_its_own(ground: Ground, run: str) -> None:
    own = ground.fired.parent / "own"
    git("init", "-q", str(own), cwd=ground.fired)
    hooks(own / ".git", run)
    (ground.worktree.path / ".git").unlink()
    (ground.worktree.path / ".git").write_text(f"gitdir: {own}/.git\n")


@vector
def symlink_instead_of_the_gitfile(ground: Ground, run: str) -> None:
    own = ground.worktree.path / "own"
    git("init", "-q", str(own), cwd=ground.fired)
    hooks(own / ".git", run)
    (ground.worktree.path / ".git").unlink()
    (ground.worktree.path / ".git").symlink_to("own/.git")


@vector
def git_folder_in_other_letters(ground: Ground, run: str) -> None:
    for name in (".GIT", ".Git", "git~1", ".git ", ".gi\u200ct"):
        other = ground.worktree.path / name
        git("init", "-q", "--bare", str(other), cwd=ground.fired)
        hooks(other, run)


@vector
def commondir_in_the_private_git_dir(ground: Ground, run: str) -> None:
    own = ground.fired.parent / "common"
    git("init", "-q", "--bare", str(own), cwd=ground.fired)
    hooks(own, run)
    (ground.worktree.agent_git_dir / "commondir").write_text(f"{own}\n")


@vector
def git_entries_in_a_committed_tree(ground: Ground, run: str) -> None:
    tree = ground.worktree.path
    blob = git("hash-object", "-w", run, cwd=tree)

    def mktree(text: str) -> str:
        done = subprocess.run(["git", "mktree"], cwd=tree, input=text, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    hook = mktree(f"100755 blob {blob}\tpost-checkout")
    inner = mktree(f"040000 tree {hook}\thooks")
    outer = mktree(f"040000 tree {inner}\t.git")
    sha = git("commit-tree", outer, "-p", "HEAD", "-m", "a .git in the tree", cwd=tree)
    git("update-ref", "HEAD", sha, cwd=tree)


@vector
def odd_index_entries(ground: Ground, run: str) -> None:
    index = ground.worktree.agent_git_dir / "index"
    data = index.read_bytes().replace(b"README.md", b".git/HEAD")
    index.write_bytes(data)
    (ground.worktree.path / "src" / ".git").write_text(f"gitdir: {run}\n")


@vector
def refs_that_look_like_commands(ground: Ground, run: str) -> None:
    heads = ground.worktree.agent_git_dir / "refs" / "heads"
    for name in (f"$({Path(run).name})", "--upload-pack=x", "-c", "a;b", "a b"):
        (heads / name).write_text(f"{ground.base}\n")
    (ground.worktree.agent_git_dir / "HEAD").write_text("ref: refs/heads/--upload-pack=x\n")


def change(worktree: Worktree) -> None:
    path = worktree.path / "src" / "app.py"
    path.write_text(path.read_text().replace("print(0)", "print('changed')"))


async def every_operation(ground: Ground) -> None:
    worktrees, worktree, base = ground.worktrees, ground.worktree, ground.base
    mirror = worktrees.mirror
    await worktrees.list()
    await worktrees.cleanup(set())
    await worktrees.salvage(worktree)
    collected = await worktrees.collect(worktree, "Work")
    head = collected.head_sha
    assert await worktrees.create("S-1", "run-1", base, "auto-dev/S-1") == worktree
    (worktree.path / "again.txt").write_text("again\n")
    head = (await worktrees.collect(worktree, "More")).head_sha
    history = worktrees.history
    for change in await history.changes(base, head):
        await history.read(head, change.path)
        await history.diff(base, head, change.path)
    await history.log(base, head)
    await history.patches(base, head, ground.fired.parent / "patches")
    await history.conflicts(base, head)
    other = await worktrees.create("S-2", "run-2", base, "auto-dev/S-2")
    with (other.path / "src" / "app.py").open("a") as file:  # the same file, so that a merge driver would be asked
        file.write("print('other')\n")
    second = (await worktrees.collect(other, "Other")).head_sha
    merged = await history.merge([head, second], "merge")
    assert b"changed" in (await history.read(merged, "src/app.py") or b"")
    async with worktrees.clean_checkout(head) as folder:
        assert (folder / "again.txt").read_text() == "again\n"
    assert mirror.repository.push is not None
    await push(mirror, "auto-dev/S-1", head, mirror.repository.push)
    await mirror.refresh()
    (worktree.path / "unsaved.txt").write_text("unsaved\n")
    await worktrees.reset(worktree, head)
    (worktree.path / "unsaved.txt").write_text("unsaved\n")
    assert await worktrees.remove(worktree) is not None
    assert not worktree.path.exists()


@pytest.mark.parametrize("name", VECTORS)
async def test_no_host_operation_runs_what_was_planted(ground: Ground, name: str) -> None:
    run = ground.canary(name)
    change(ground.worktree)
    VECTORS[name](ground, run)
    for fired in ground.fired.iterdir():  # planting itself runs git as the agent would
        fired.unlink()
    await every_operation(ground)
    assert [path.name for path in ground.fired.iterdir()] == []


async def test_the_canaries_are_live(ground: Ground) -> None:
    """Plain git in the worktree, as a careless host would run it, sets off what the test above proves silent."""
    live = set()
    for name in ("hooks_in_the_git_dir", "hooks_path", "fsmonitor", "clean_and_smudge_filters", "textconv",
                 "diff_external", "signing_program", "editors", "aliases", "include_path"):  # fmt: skip
        fresh = replace(ground, worktree=await ground.worktrees.create(name, name, ground.base, f"auto-dev/{name}"))
        tree = fresh.worktree.path
        change(fresh.worktree)
        VECTORS[name](fresh, ground.canary(name))
        for arguments in (["status"], ["diff"], ["add", "-A"], ["commit", "-m", "x"], ["commit", "--amend"], ["fetch"]):
            plain = ["git", *arguments]
            env = {**os.environ, "EDITOR": "true"}
            subprocess.run(
                plain, cwd=tree, env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=20, check=False
            )
        if (ground.fired / name).exists():
            live.add(name)
    assert len(live) >= 8, live
