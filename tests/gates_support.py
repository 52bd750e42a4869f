"""A real repository whose changes gates judge, with real commands in real checkouts, and no daemon."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from auto_dev.config import CommandGate
from auto_dev.gates.base import Change, CommandOutcome
from auto_dev.gates.failures import parse_failures
from auto_dev.nodes.bench import GO_ON
from auto_dev.worktrees.git import Git, GitAt
from auto_dev.worktrees.history import History


class Repository:
    """A repository with a base commit; ``change`` makes the head commit."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self.scratch = scratch
        self.runs: list[str] = []
        self.checkouts = 0
        self.judged = "HEAD"
        self.known: dict[tuple[str, str], CommandOutcome] = {}
        root.mkdir(parents=True)
        self.git("init", "-q")
        self.history = History(GitAt(Git(scratch / "git home"), root / ".git"))

    def git(self, *args: str) -> bytes:
        return subprocess.run(("git", *args), cwd=self.root, check=True, capture_output=True, timeout=60).stdout

    def commit(self, files: Mapping[str, str | bytes | None]) -> str:
        for name, content in files.items():
            path = self.root / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "work")
        self.judged = self.git("rev-parse", "HEAD").decode().strip()
        return self.judged

    def clear(self) -> None:
        """Delete all files, for another beginning."""
        self.git("rm", "-q", "-r", "-f", "--ignore-unmatch", ".")

    def changes(self, base: str, head: str) -> tuple[Change, ...]:
        raw = (
            self.git("diff", "--raw", "-z", "-M", "--no-abbrev", base, head)
            .decode("utf-8", "surrogateescape")
            .split("\0")
        )
        found: list[Change] = []
        at = 0
        while at < len(raw) - 1:
            _, mode, _, _, status = raw[at].removeprefix(":").split(" ")
            renamed = status[0] == "R"
            old, path = raw[at + 1], raw[at + (2 if renamed else 1)]
            added = 0 if status[0] == "D" else 1
            found.append(Change(path, status[0], added, 1, old_path=old if renamed else None, mode=mode))
            at += 3 if renamed else 2
        return tuple(found)

    async def read(self, rev: str, path: str) -> bytes | None:
        done = subprocess.run(
            ("git", "cat-file", "blob", f"{rev}:{path}"), cwd=self.root, capture_output=True, timeout=60
        )
        return done.stdout if done.returncode == 0 else None

    async def diff(self, path: str) -> str:
        return self.git("diff", "HEAD~1", "HEAD", "--", path).decode("utf-8", "replace")

    async def run_command(self, gate: CommandGate, sha: str) -> CommandOutcome:
        key = (gate.run, sha)
        if key not in self.known:
            self.known[key] = await self._run(gate, sha, {})
        return self.known[key]

    async def _run(self, gate: CommandGate, sha: str, more: Mapping[str, str]) -> CommandOutcome:
        self.runs.append(gate.name)
        self.checkouts += 1
        checkout = self.scratch / f"checkout {self.checkouts}"
        self.git("worktree", "add", "-q", "--detach", str(checkout), sha)
        environment = {"PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **more}
        process = await asyncio.create_subprocess_shell(
            gate.run, cwd=checkout, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        text = output.decode("utf-8", "replace")
        failures = parse_failures(text, root=str(checkout)) if process.returncode else ()
        return CommandOutcome(gate.name, process.returncode, timed_out=False, tail=text[-8_000:], failures=failures)

    async def again(self, gate: CommandGate, sha: str) -> CommandOutcome:
        return await self._run(gate, sha, {})

    async def on_base(self, gate: CommandGate, paths: Collection[str]) -> CommandOutcome:
        """On the parent of the commit that is judged; known by the files, as the daemon keeps it."""
        key = (gate.run, f"{self.judged} {sorted(paths)}")
        if key not in self.known:
            self.known[key] = await self._run(gate, self._graft(paths), GO_ON)
        return self.known[key]

    def _graft(self, paths: Collection[str]) -> str:
        there = self._paths()
        self.git("switch", "-q", "--detach", f"{self.judged}~1")
        for path in paths:
            if path in there:
                self.git("checkout", "-q", self.judged, "--", path)
            else:
                self.git("rm", "-q", "--ignore-unmatch", "--", path)
        self.git("commit", "-q", "--allow-empty", "-m", "the base with the new tests")
        sha = self.git("rev-parse", "HEAD").decode().strip()
        self.git("switch", "-q", "-")
        return sha

    def _paths(self) -> set[str]:
        listed = self.git("ls-tree", "-r", "-z", "--name-only", self.judged)
        return set(listed.decode("utf-8", "surrogateescape").split("\0"))

    async def holds(self, word: str) -> bool:
        return await self.history.holds(self.judged, word)

    def known_flaky(self, command: str) -> frozenset[str]:
        return frozenset()

    def note_flaky(self, command: str, names: Collection[str]) -> None:
        raise AssertionError(f"nothing is flaky here, and {names} neither")
