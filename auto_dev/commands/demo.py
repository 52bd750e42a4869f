"""``auto-dev demo``: the main job on a shipped repository, played by recorded conversations, with everything else real.

Real: worktrees, gates, checkpoints, the ledger, the agent's loop and its HTTP requests, a bare remote, the GitHub
adapter. Stand-ins, and named as such: the model (recorded answers) and GitHub (a small server on loopback).
"""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import sys
import tempfile
from pathlib import Path

import auto_dev
from auto_dev.commands import output
from auto_dev.commands.here import here
from auto_dev.commands.start import Flags, start
from auto_dev.daemon.clock import now
from auto_dev.daemon.digest import day_summary
from auto_dev.errors import AutoDevError, ExitCode, UsageError
from auto_dev.forge.standin import StandIn
from auto_dev.notify.summary import render_text

MARKER = ".auto-dev-demo"
TOKEN = "demo"  # noqa: S105 (what the stand-in asks for; it guards nothing)
REPOSITORY = "demo/todo"


def examples() -> Path:
    """The shipped demo: inside the installed package, or beside it in a checkout."""
    package = Path(auto_dev.__file__).parent
    for folder in (package / "_examples" / "todo", package.parent / "examples" / "todo"):
        if folder.is_dir():
            return folder
    raise AutoDevError("the demo's files are not part of this installation", mend="Install auto-dev again.")


async def demo(folder: Path | None, *, go_on: bool) -> ExitCode:
    """Play the demo in ``folder`` (default: one in the temp folder, made anew each time); ``go_on`` continues it."""
    place = (folder or Path(tempfile.gettempdir()) / f"auto-dev-demo-{getpass.getuser()}").absolute()
    if go_on and not (place / MARKER).exists():
        raise UsageError(f"there is no demo in {place}", mend="Begin it with `auto-dev demo`.")
    if not go_on:
        _clear(place)
        place.mkdir(parents=True, exist_ok=True)
        (place / MARKER).write_text("made by `auto-dev demo`; may be removed\n", "utf-8")
    _enter(place)
    output.say(f"The demo lies in {place}.")
    with StandIn(place / "github.json", repository=REPOSITORY, token=TOKEN, git_dir=place / "remote.git") as forge:
        output.say(f"Local GitHub stand-in at {forge.url}; recorded answers stand in for the model.\n")
        if not go_on:
            await _make(place, forge.url)
        os.chdir(place / "todo")
        code = await start(Flags(place / "todo" / "plans", foreground=True, once=True, yes=True))
        pages = await _save_pages(forge, place / "pull-requests")
    await _coming_home(place, pages)
    return ExitCode.DONE if code in (ExitCode.DONE, ExitCode.WAITS) else code


async def _save_pages(forge: StandIn, folder: Path) -> Path:
    """Keep what the stand-in shows, since it ends with the demo."""
    import httpx

    folder.mkdir(exist_ok=True)
    async with httpx.AsyncClient(trust_env=False) as client:
        for pull in forge.pulls():
            page = await client.get(forge.page(int(pull["number"])))
            (folder / f"{pull['number']}.html").write_text(page.raise_for_status().text, "utf-8")
    return folder


def _enter(place: Path) -> None:
    """The demo's own state and token, and nothing of the person's: no other database, no channel."""
    for name in ("AUTO_DEV_DATABASE_URL", "SLACK_BOT_TOKEN", "AUTO_DEV_SMTP_URL"):
        os.environ.pop(name, None)
    os.environ["AUTO_DEV_HOME"] = str(place / "state")
    os.environ["GITHUB_TOKEN"] = TOKEN


def _clear(place: Path) -> None:
    if not place.exists() or not any(place.iterdir()):
        return
    if not (place / MARKER).exists():
        raise UsageError(f"{place} holds something else", mend="Choose another folder with --dir.")
    shutil.rmtree(place)


async def _make(place: Path, api_url: str) -> None:
    """A repository with a history of its own, and a bare remote."""
    source, checkout = examples(), place / "todo"
    shutil.copytree(source / "repository", checkout)
    (checkout / "gitignore").rename(checkout / ".gitignore")
    shutil.copytree(source / "recordings", checkout / ".recordings")
    config = checkout / "auto-dev.toml"
    config.write_text(config.read_text("utf-8").replace("@STANDIN@", api_url), "utf-8")
    await _git(checkout, "init", "-q", "-b", "main")
    await _git(checkout, "config", "user.name", "Demo")
    await _git(checkout, "config", "user.email", "demo@example.com")
    await _git(checkout, "add", "-A")
    await _git(checkout, "commit", "-q", "-m", "A small to-do list")
    await _git(place, "clone", "-q", "--bare", str(checkout), str(place / "remote.git"))
    await _git(checkout, "remote", "add", "origin", str(place / "remote.git"))


async def _git(folder: Path, *args: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "git", *args, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    if process.returncode != 0:
        raise AutoDevError(f"git {args[0]} failed: {out.decode('utf-8', 'replace')}", where=str(folder))


async def _coming_home(place: Path, pages: Path) -> None:
    """What a person would see when coming home."""
    from auto_dev.budget.limits import BudgetLimits

    project = await here()
    async with project.database() as db:
        limits = BudgetLimits.of(project.config)
        summary = await day_summary(db.pool, project.project_id, limits, now())
    output.say("\n" + render_text(summary))
    output.say("Look around:")
    output.say(f"  cd {place / 'todo'}")
    output.say(f"  export AUTO_DEV_HOME={place / 'state'} PATH={Path(sys.executable).parent}:$PATH")
    output.say(
        "  auto-dev status; auto-dev prs; auto-dev logs TODO-004; auto-dev budget; git log --all --graph --oneline"
    )
    output.say(f"  The pull requests as pages: {pages}/1.html and so on")
    if summary.waiting:
        output.say(f"Answer a decision as shown above, then go on: auto-dev demo --dir {place} --continue")
