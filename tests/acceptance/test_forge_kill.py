"""kill -9 of the daemon at every boundary of push, pull request, label and body: one of each in the end."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from auto_dev.forge.marks import BEGIN, read_marker
from auto_dev.forge.standin import StandIn
from tests.acceptance.conftest import CONFIG, ONCE, World
from tests.acceptance.forked import Forked

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

TOKEN = "made-up-token"
FORGE = '\n[forge]\nkind = "github"\nrepository = "o/r"\napi_url = "{url}"\n'
HOOK = """#!/bin/sh
{log}
[ -e "{folder}/{name}.killed" ] && exit 0
touch "{folder}/{name}.killed"
kill -9 "$(cat "{folder}/pid")"
"""


class Killing(StandIn):
    """Kills who asks, once before and once after each kind of change is made, and once when it has only looked."""

    victim: Forked | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.killed: list[tuple[str, str]] = []

    def __enter__(self) -> Killing:
        self.start()
        return self

    def answer(self, method: str, target: str, authorization: str, raw: bytes) -> tuple[int, Any]:
        kind = f"{method} {re.sub(r'[0-9]+', 'N', target.split('?')[0].removeprefix('/repos/o/r'))}"
        if method != "GET" and self._kill("before", kind):
            return 503, {"message": "nobody hears this"}
        answer = super().answer(method, target, authorization, raw)
        self._kill("after", kind)
        return answer

    def _kill(self, moment: str, kind: str) -> bool:
        if self.victim is None or (moment, kind) in self.killed:
            return False
        self.killed.append((moment, kind))
        with contextlib.suppress(ProcessLookupError):
            victim = os.pidfd_open(self.victim.pid)
            signal.pidfd_send_signal(victim, signal.SIGKILL)
            select.select([victim], [], [], 60)  # it is dead when this request goes on
            os.close(victim)
        return True


def work(world: World, forge: Killing) -> int:
    """Start the daemon again and again until it ends by itself; returns how often it was killed."""
    for kills in range(60):
        forge.victim = process = world.fork(*ONCE)
        (world.folder / "pid").write_text(str(process.pid))
        out, _ = process.communicate(timeout=120)
        if process.returncode != -signal.SIGKILL:
            forge.victim = None
            assert process.returncode == 0, out
            return kills
    raise AssertionError("the work never ends")


def hook(world: World, name: str) -> None:
    """A push is cut where the remote has not moved yet (pre-receive), or where it has (post-receive).

    One of them at a time: git's own process goes on without the daemon, and comes to the other.
    """
    path = world.remote / "hooks" / name
    log = f'cat >> "{world.folder}/pushes.log"' if name == "post-receive" else "cat > /dev/null"
    path.write_text(HOOK.format(folder=world.folder, name=name, log=log))
    path.chmod(0o755)


def made(forge: StandIn) -> Counter[str]:
    """What was changed with success, by kind."""
    return Counter(f"{each['method']} {each['path']}" for each in forge.changes() if each["status"] < 300)


def assert_pushed_once(world: World, runs: int) -> None:
    """One push per run, and the branch is where the last one put it."""
    pushed = [line.split()[1] for line in (world.folder / "pushes.log").read_text().splitlines()]
    assert len(pushed) == len(set(pushed)) == runs
    assert world.git("rev-parse", "auto-dev/A-1", cwd=world.remote) == pushed[-1]


def test_every_effect_happens_once_wherever_the_daemon_is_killed(make_world: Any, tmp_path: Path) -> None:
    with Killing(tmp_path / "github.json", repository="o/r", token=TOKEN) as forge:
        config = CONFIG + FORGE.format(url=forge.url)
        world: World = make_world({"A-1": []}, config=config, env={"GITHUB_TOKEN": TOKEN})
        forge.state.git_dir = world.remote
        hook(world, "pre-receive")
        assert work(world, forge) >= 10
        changes = ("POST /pulls", "POST /labels", "POST /issues/N/labels")
        assert set(forge.killed) >= {(moment, kind) for kind in changes for moment in ("before", "after")}
        assert set(forge.killed) >= {("after", "GET /pulls"), ("after", "GET /labels/auto-dev")}
        [pull] = forge.pulls()
        assert (pull["draft"], pull["state"], pull["labels"]) == (True, "open", ["auto-dev"])
        assert made(forge)["POST /repos/o/r/pulls"] == made(forge)["POST /repos/o/r/labels"] == 1
        assert (world.folder / "pre-receive.killed").exists()
        assert_pushed_once(world, 1)

        first = read_marker(pull["body"])
        forge.state.patch(1, {"body": f"Kim looks.\n\n{pull['body']}", "title": "Mine"})
        assert world.run("retry", "A-1")[0] == 0
        hook(world, "post-receive")
        assert work(world, forge) >= 1
        assert (world.folder / "post-receive.killed").exists()
        assert_pushed_once(world, 2)
        assert {("before", "PATCH /pulls/N"), ("after", "PATCH /pulls/N")} <= set(forge.killed)
        [pull] = forge.pulls()
        assert (pull["number"], pull["title"], pull["labels"]) == (1, "Mine", ["auto-dev"])
        assert pull["body"].startswith(f"Kim looks.\n\n{BEGIN}\n")
        assert pull["body"].count("<!-- auto-dev story=") == pull["body"].count(BEGIN) == 1
        assert first != read_marker(pull["body"]) is not None
        assert made(forge)["POST /repos/o/r/pulls"] == 1
