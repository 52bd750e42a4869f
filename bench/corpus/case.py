"""A labelled case: what a run was to do, what it did, and what the gates should make of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from auto_dev.stories.model import Story
from bench.corpus.tree import Edit, Tree, applied, differences, template

# What a gate is called in the product, by what the specification calls it (SPEC §9). One place for renames.
TESTS: Final = "tests"
LINT: Final = "lint"
PROOF: Final = "proof"
TAMPERING: Final = "tampering"
SCOPE: Final = "scope"
SECRETS: Final = "secrets"
CONFIDENCE: Final = "confidence"
CRITICAL: Final = "critical"
QUESTIONS: Final = "decisions"
INTEGRATION: Final = "integration"
EMPTY: Final = "empty"
BASELINE: Final = "baseline"

_PREFIX: Final = {"ledger": "LED", "depot": "DEP", "atrium": "ATR", "courier": "COU"}
LANGUAGE: Final = {"ledger": "python", "depot": "javascript", "atrium": "typescript", "courier": "go"}
_TEST_NAME: Final = re.compile(
    r"^\s*(?:def (test_\w+)|func (Test\w+)|(?:test|it)(?:\.each\([^\n]*\))?\(\s*['\"`]([^'\"`]+))", re.MULTILINE
)
TEST_FILE: Final = re.compile(r"(?:^|/)(?:test_[^/]+\.py|[^/]+(?:\.test\.[jt]sx?|\.spec\.ts|_test\.go))$")


@dataclass(frozen=True, slots=True)
class Expect:
    """``gates``: any of them has to stop the run; none: nothing may. ``ask``: it has to ask a person at once."""

    gates: tuple[str, ...] = ()
    ask: bool = False

    @property
    def clean(self) -> bool:
        return not self.gates


CLEAN: Final = Expect()


def stops(*gates: str) -> Expect:
    """One of ``gates`` sends the work back or asks; the first one is the gate that the case belongs to."""
    return Expect(gates)


def asks(*gates: str) -> Expect:
    """One of ``gates`` asks a person."""
    return Expect(gates, ask=True)


@dataclass(frozen=True, slots=True)
class Case:
    """One case. Edits of ``base`` lead from the template to the base commit, ``work`` from there to the head commit.

    ``moved``: what the base branch got since, on top of the base commit. ``others``: story id → the work of another
    story whose pull request is open. ``commands``: which of the template's commands are configured and run.
    ``report``: the bytes that the agent left, None for no report. ``plan``: its plan's summary. ``policy``: what
    differs from the default configuration.
    """

    id: str
    kind: str
    repository: str
    story: Story
    expect: Expect
    base: tuple[Edit, ...]
    work: tuple[Edit, ...]
    report: bytes | None
    plan: str = ""
    commands: tuple[str, ...] = ()
    moved: tuple[Edit, ...] = ()
    others: Mapping[str, tuple[Edit, ...]] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)

    @property
    def held_out(self) -> bool:
        """Half of the cases, by their id: who mends a gate does not look at these."""
        return hashlib.sha256(self.id.encode()).digest()[0] % 2 == 1

    @property
    def language(self) -> str:
        return LANGUAGE[self.repository]

    def trees(self) -> tuple[Tree, Tree]:
        """The files of the base and of the head commit."""
        base = applied(template(self.repository), self.base)
        return base, applied(base, self.work)


def story(name: str, title: str, *criteria: str, goal: str = "", body: str = "", **more: Any) -> Story:
    """A story of the file ``plans/<name>.md``."""
    return Story(
        id=name, title=title, path=f"plans/{name}.md", goal=goal or f"{title}.", acceptance_criteria=criteria,
        body=body, **more,
    )  # fmt: skip


HONEST: Final = b"an honest report, made of the other arguments"


@dataclass(slots=True)
class Cases:
    """Collects the cases of one module."""

    repository: str
    all: list[Case] = field(default_factory=list)

    def add(
        self,
        name: str,
        kind: str,
        title: str,
        criteria: Sequence[str] | str,
        *work: Edit,
        expect: Expect = CLEAN,
        goal: str = "",
        body: str = "",
        base: Sequence[Edit] = (),
        commands: Sequence[str] = (),
        confidence: float | None = 0.93,
        evidence: Sequence[Sequence[str]] | None = None,
        summary: str = "",
        decisions: Sequence[Mapping[str, Any]] = (),
        blocked: str | bool | None = None,
        report: bytes | None = HONEST,
        plan: str = "",
        moved: Sequence[Edit] = (),
        others: Mapping[str, Sequence[Edit]] | None = None,
        policy: Mapping[str, Any] | None = None,
        number: int = 0,
    ) -> None:
        """Add the case ``<repository>-<name>``. Its report is an honest one unless told otherwise."""
        identity = f"{self.repository}-{name}"
        number = number or int(hashlib.sha256(identity.encode()).hexdigest()[:6], 16) % 900_000 + 100_000
        wanted = [criteria] if isinstance(criteria, str) else list(criteria)
        tale = story(f"{_PREFIX[self.repository]}-{number}", title, *wanted, goal=goal, body=body)
        if report is HONEST:
            before = applied(template(self.repository), base)
            shown = evidence if evidence is not None else _evidence(identity, before, applied(before, work), wanted)
            report = json.dumps({
                "summary": summary or f"{title}.",
                "confidence": confidence,
                "criteria": [{"criterion": text, "evidence": list(e)} for text, e in zip(wanted, shown, strict=False)],
                "decisions": list(decisions),
                "blocked": blocked,
            }).encode()  # fmt: skip
        self.all.append(
            Case(
                id=identity, kind=kind, repository=self.repository, story=tale, expect=expect, base=tuple(base),
                work=tuple(work), report=report, plan=plan, commands=tuple(commands), moved=tuple(moved),
                others={other: tuple(edits) for other, edits in (others or {}).items()}, policy=dict(policy or {}),
            )
        )  # fmt: skip


def _evidence(identity: str, before: Tree, after: Tree, criteria: Sequence[str]) -> list[list[str]]:
    """What an honest agent names for its criteria: the tests that it added, else what it changed. In varied forms."""
    changed = differences(before, after)
    tests = []
    for path in changed:
        if TEST_FILE.search(path) and path in after:
            known = set(_names(before[path].data.decode("utf-8", "replace"))) if path in before else set()
            tests += [(path, name) for name in _names(after[path].data.decode("utf-8", "replace")) if name not in known]
    form = hashlib.sha256(f"form {identity}".encode()).digest()[0] % 4
    shown = []
    for number, _ in enumerate(criteria):
        if tests:
            path, name = tests[number % len(tests)]
            shown.append([(f"{path}::{name}", f"{name} in {path}", f"{path}: {name} passes", f"test `{name}`")[form]])
        else:
            here = [path for path in changed if path in after] or changed
            shown.append([f"{here[number % len(here)]}", "the whole test suite passes"] if here else [])
    return shown


def _names(text: str) -> list[str]:
    return [next(group for group in match.groups() if group) for match in _TEST_NAME.finditer(text)]
