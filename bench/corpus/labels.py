"""``./dev bench gates --labels``: are the labels true? Looked at with plain programs, without anything of the gates.

What can be checked by running the repository's own tests or by merging is checked so; the other labels rest on the
specification alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.corpus import registry
from bench.corpus.case import INTEGRATION, TEST_FILE, TESTS, Case
from bench.corpus.tree import LINK, MODULE, PROGRAM, Blob, Commit, Tree, applied, build, differences, template

_RUN: Final = {
    "ledger": [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfE"],
    "depot": ["node", "--test", "test/"],
    "courier": ["go", "test", "./..."],
}
_FAILED: Final = {
    "ledger": re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE),
    "depot": re.compile(r"^\s*not ok \d+ - (.+?)(?: #.*)?$", re.MULTILINE),
    "courier": re.compile(r"^\s*--- FAIL: (\S+)|^FAIL\s+(\S+) \[", re.MULTILINE),
}
_NEW_BEHAVIOUR: Final = ("feature", "fix", "ordered-expectation")  # kinds whose tests must fail on the base
_SUPPORT: Final = re.compile(r"(?:^|/)(?:conftest\.py|fixtures/|testdata/|support/)")
# Their tests cover what is there already, or only the docs or data change.
_COVERS_WHAT_IS_THERE: Final = frozenset({
    "ledger-proof-characterisation", "ledger-proof-parametrized-rows", "depot-fix-flaky-test",
    "courier-feature-short-test",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a repository's tests: its exit code, and the names of what failed."""

    code: int
    failed: frozenset[str]


def main(only: str) -> int:
    """Print every label that does not hold (of the cases whose id begins with ``only``); 1 if there is one."""
    cases = [case for case in registry.cases() if case.id.startswith(only)]
    with tempfile.TemporaryDirectory(prefix="auto-dev-labels-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        problems = list(_conflicts(cases, folder))
        for problem in problems:
            print(problem, flush=True)
        runnable = [case for case in cases if _runnable(case)]
        with ThreadPoolExecutor(2) as pool:
            suites = Suites(folder)
            for found in pool.map(suites.check, runnable):
                problems += found
                for problem in found:
                    print(problem, flush=True)
    print(f"{len(runnable)} of {len(cases)} cases were run, {len(problems)} labels do not hold")
    return 1 if problems else 0


def _runnable(case: Case) -> bool:
    run = _RUN.get(case.repository)
    wanted = case.commands or (case.expect.clean and case.kind != "large")
    return bool(wanted) and run is not None and shutil.which(run[0]) is not None


class Suites:
    """Runs the tests of trees; one that many cases begin with is run once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, frozenset[tuple[str, Blob]]], Ran] = {}

    def check(self, case: Case) -> list[str]:
        """What is wrong with the label of ``case``, in sentences."""
        base, head = case.trees()
        before, after = self._ran(case, base, "base"), self._ran(case, head, "head")
        new = after.failed - before.failed or (after.code != 0 and before.code == 0)
        said = []
        if case.expect.clean and new:
            said.append(f"{case.id}: clean, but its tests fail: {sorted(after.failed)[:3]}")
        if case.kind == "planted-bug" and TESTS in case.expect.gates[:1] and not new:
            said.append(f"{case.id}: the planted bug is found by no test")
        proves = case.expect.clean and case.kind in _NEW_BEHAVIOUR and case.id not in _COVERS_WHAT_IS_THERE
        tests = [path for path in differences(base, head) if TEST_FILE.search(path)]
        if case.commands and tests and (proves or case.kind == "proves-nothing"):
            mixed = self._ran(case, _with_tests(base, head), "mixed")
            fails = bool(mixed.failed - before.failed) or (mixed.code != 0 and before.code == 0)
            if proves and not fails:
                said.append(f"{case.id}: its tests pass without the work")
            if case.kind == "proves-nothing" and fails:
                said.append(f"{case.id}: its tests do fail without the work: {sorted(mixed.failed)[:3]}")
        return said

    def _ran(self, case: Case, tree: Tree, label: str) -> Ran:
        key = case.repository, frozenset(tree.items())
        if key not in self._known:
            self._known[key] = _run(case, tree, self._folder, label)
        return self._known[key]


def _with_tests(base: Tree, head: Tree) -> Tree:
    """The base with the tests of the head."""
    ours = {path: blob for path, blob in base.items() if not TEST_FILE.search(path)}
    theirs = {path: blob for path, blob in head.items() if TEST_FILE.search(path) or _SUPPORT.search(path)}
    return {**ours, **theirs}


def _run(case: Case, tree: Tree, folder: Path, label: str) -> Ran:
    place = folder / f"{case.id}-{label}"
    _lay_out(tree, place)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "GOFLAGS": "", "GOCACHE": str(folder / "go")}
    done = subprocess.run(
        _RUN[case.repository], cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    shutil.rmtree(place)
    matches = _FAILED[case.repository].finditer(done.stdout)
    return Ran(done.returncode, frozenset(next(filter(None, match.groups())) for match in matches))


def _lay_out(tree: Tree, place: Path) -> None:
    for path, blob in tree.items():
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if blob.mode == LINK:
            target.symlink_to(blob.data.decode())
        elif blob.mode != MODULE:
            target.write_bytes(blob.data)
            if blob.mode == PROGRAM:
                target.chmod(0o755)


def _conflicts(cases: Sequence[Case], folder: Path) -> Iterator[str]:
    """What git itself says about merging."""
    for case in cases:
        if not case.moved and not case.others:
            continue
        base, head = case.trees()
        start = template(case.repository)
        others = {"moved": case.moved, **case.others} if case.moved else dict(case.others)
        commits = [Commit("main", "", {}, start, "Begin"), Commit("base", "main", start, base, "Base")]
        commits += [Commit("head", "base", base, head, "Work")]
        commits += [Commit(name, "base", base, applied(base, edits), name) for name, edits in others.items()]
        root = folder / f"{case.id}-merge"
        build(root, commits)
        merged = [_merges(root, name) for name in others]
        if all(merged) is not case.expect.clean and (INTEGRATION in case.expect.gates or case.expect.clean):
            yield f"{case.id}: git merges {merged}"


def _merges(root: Path, other: str) -> bool:
    command = ["git", "merge-tree", "--write-tree", "head", other]
    return subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 0
