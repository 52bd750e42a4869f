"""The owner's own tests: commands judge with them as they were on the base, and a change of them asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from auto_dev.gates.base import Change
from auto_dev.gates.deselect import is_test_config
from auto_dev.gates.evidence import Finding, entry
from auto_dev.gates.paths import matches_loosely
from auto_dev.gates.scope import names_of
from auto_dev.model import Route

_DONE: Final = {"M": "changed", "D": "deleted", "R": "renamed", "T": "replaced", "A": "added"}


def protecting(patterns: Sequence[str], name: str) -> str | None:
    """The first of ``patterns`` that covers the file ``name``."""
    return next((pattern for pattern in patterns if matches_loosely(pattern, name)), None)


def restored(patterns: Sequence[str], changes: Iterable[Change]) -> tuple[str, ...]:
    """The changed files that commands do not get to see as the agent left them. Pure."""
    names = (name for change in changes for name in names_of(change))
    return tuple(dict.fromkeys(name for name in names if protecting(patterns, name)))


def judge_protected(patterns: Sequence[str], changes: Iterable[Change]) -> list[Finding]:
    """What was done to protected tests. Pure.

    A new file takes nothing away, and no command saw it: a note, unless test runners let it steer the others.
    """
    findings: list[Finding] = []
    for change in changes:
        pattern = next((found for name in names_of(change) if (found := protecting(patterns, name))), None)
        if pattern is None:
            continue
        if change.status == "A" and not is_test_config(change.path):
            kind, route = "new file among protected tests, which no command saw", Route.PROCEED
        else:
            done = _DONE.get(change.status, "changed")
            kind, route = f"protected test {done}; commands ran with the one of the base", Route.ASK
        moved = f"was {change.old_path}" if change.old_path else ""
        findings.append(Finding(route, kind, entry(f"{kind} ({pattern})", file=change.path, excerpt=moved)))
    return findings
