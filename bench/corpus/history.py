"""Real history: each commit of a repository as if it were a story, clean by assumption. What would be stopped?"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from auto_dev.config import Config
from auto_dev.stories.model import Story
from bench.corpus.case import CLEAN, Case
from bench.corpus.judge import Judged, judge, scratch, serving

_TEST = re.compile(
    r"(?:^|/)(?:tests?|spec|__tests__|testing)/|(?:^|/)test_[^/]*$|[._-](?:test|spec)s?\.\w+$|_test\.\w+$",
    re.IGNORECASE,
)
_SHOWN = 160  # characters of a reason


async def main(repository: str, commits: int, *, parallel: int, json_out: bool) -> int:
    """Judge the last ``commits`` non-merge commits of the repository at a path, and print what was stopped by what."""
    async with scratch() as folder:
        root = folder / "repository"
        source = Path(repository).expanduser().absolute()
        _git(folder, "clone", "-q", "--shared", "--no-checkout", str(source), str(root))
        _git(root, "remote", "remove", "origin")
        _git(root, "read-tree", "--empty")  # a checkout without files: nothing looks at them
        found = await _judge(root, folder, _commits(root, commits), parallel)
    if json_out:
        print(json.dumps([_row(one) for one in found], indent=1))
    else:
        _print(found)
    return 0


def _git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=folder, check=False, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"git {args[0]} failed: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done.stdout.decode("utf-8", "replace")


def _commits(root: Path, most: int) -> list[tuple[str, str, str]]:
    """(commit, parent, message) of the newest commits with one parent that is here."""
    rows = _git(root, "log", "-z", "--no-merges", f"--max-count={most}", "--format=%H %P%n%B").split("\0")
    found = []
    for row in filter(None, rows):
        shas, _, message = row.partition("\n")
        sha, *parents = shas.split()
        if len(parents) == 1:
            found.append((sha, parents[0], message.strip()))
    return found


async def _judge(root: Path, folder: Path, commits: Sequence[tuple[str, str, str]], parallel: int) -> list[Judged]:
    slots = asyncio.Semaphore(parallel)
    async with serving(root, folder / "home") as services:

        async def one(sha: str, parent: str, message: str) -> Judged:
            async with slots:
                changed = _git(root, "diff-tree", "-r", "--name-only", "--no-commit-id", sha).splitlines()
                # Its parent stands for the base branch: how far main has come since is no conflict of this commit.
                _git(root, "branch", "-q", "-f", f"was/{sha}", parent)
                return await judge(services, _case(sha, message, changed), parent, sha, f"was/{sha}", Config())

        return list(await asyncio.gather(*(one(*commit) for commit in commits)))


def _case(sha: str, message: str, changed: Sequence[str]) -> Case:
    """The commit as a story: its message is all that was asked for, the files that it changed are the evidence."""
    subject, _, rest = message.partition("\n")
    subject = subject or sha
    tests = [path for path in changed if _TEST.search(path)]
    report = {
        "summary": subject,
        "confidence": 0.95,
        "criteria": [{"criterion": subject, "evidence": (tests or list(changed))[:5]}],
    }
    story = Story(
        id=f"H-{sha[:12]}", title=subject, path=f"plans/{sha[:12]}.md", goal=subject, acceptance_criteria=(subject,),
        body=rest.strip(),
    )  # fmt: skip
    return Case(
        id=sha, kind="history", repository="history", story=story, expect=CLEAN, base=(), work=(),
        report=json.dumps(report).encode(),
    )  # fmt: skip


def _row(one: Judged) -> dict[str, object]:
    stops = [{"gate": r.gate, "route": r.route, "reason": r.reason} for r in one.rulings if r.gate in one.by]
    return {"commit": one.case.id, "subject": one.case.story.title, "stops": stops, "paused": one.paused}


def _print(found: Sequence[Judged]) -> None:
    """Commits that touch what is guarded in every repository (CI, hooks, …) are asked about as specified: set aside."""
    guarded = [one for one in found if "scope" in one.by]
    rest = [one for one in found if "scope" not in one.by]
    stopped = [one for one in rest if one.stopped]
    for one in stopped:
        print(f"{one.case.id[:12]} {one.case.story.title[:80]}")
        for ruling in one.rulings:
            if ruling.gate in one.by:
                print(f"    {ruling.gate} {ruling.route}: {ruling.reason[:_SHOWN]}")
    gates = Counter(gate for one in stopped for gate in one.by)
    print(f"\n{len(found)} commits, {len(guarded)} stopped by scope:")
    said = Counter(_kind(r.reason) for one in guarded for r in one.rulings if r.gate == "scope")
    for reason, count in said.most_common():
        print(f"  {count:4} {reason}")
    print(f"of the other {len(rest)}, {len(stopped)} stopped ({len(stopped) / max(len(rest), 1):.1%})")
    for gate, count in gates.most_common():
        print(f"  {gate:12} {count:4} ({count / len(rest):.1%})")


def _kind(reason: str) -> str:
    """A reason without its numbers, so that equal ones can be counted."""
    return re.sub(r" \(×\d+\)|\d+ ", "", reason)[:_SHOWN]
