"""All that a pull request's text is made of, as plain values; every text in them may be hostile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from auto_dev.forge.risk import FileFact

Strength = Literal["strong", "weak", "none", ""]


@dataclass(frozen=True, slots=True)
class CriterionFact:
    """An acceptance criterion and what speaks for it.

    ``evidence`` is what the agent names: a claim. ``observed`` is what auto-dev saw itself, such as a test that fails
    on the base and passes on the head, and ``strength`` what the proof gate makes of it: strong | weak | none, or ""
    where nothing was looked at. ``unproven``: it needed a proof and has none, so that a reviewer looks here first.
    """

    criterion: str
    evidence: tuple[str, ...] = ()
    strength: Strength = ""
    observed: tuple[str, ...] = ()
    unproven: bool = False


@dataclass(frozen=True, slots=True)
class GateFact:
    """A gate's last verdict: "pass" | "concerns" | "fail" | "waived"."""

    gate: str
    verdict: str
    reason: str
    duration_ms: int = 0
    advisory: bool = False
    waived_by: str = ""
    waived_reason: str = ""


@dataclass(frozen=True, slots=True)
class ConcernFact:
    """One thing that a gate found and that did not stop the work: a reviewer's remark, a change to look at."""

    gate: str
    title: str
    file: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class DecisionFact:
    """A question that was answered while the story was worked on. ``via``: cli, slack, …"""

    question: str
    answer: str
    by: str
    via: str = ""


@dataclass(frozen=True, slots=True)
class StackedOn:
    """A predecessor that is not merged yet. ``number`` is None without a forge."""

    story: str
    branch: str
    number: int | None = None


@dataclass(frozen=True, slots=True)
class ConflictFact:
    """Another open story whose branch does not merge with this one. ``advice``: which order is proposed, or ""."""

    story: str
    files: tuple[str, ...] = ()
    number: int | None = None
    advice: str = ""


@dataclass(frozen=True, slots=True)
class PhaseFact:
    """Where time and money went: time at work, without waiting."""

    phase: str
    seconds: float
    cost_microusd: int = 0


@dataclass(frozen=True, slots=True)
class PullFacts:
    """All that the text is made of, as plain values. ``base``: the branch that the pull request targets.

    ``files`` are the changed ones, ``concerns`` what gates found and let pass, ``known_failures`` what failed before
    any work, ``flaky`` what failed now and then, ``replay`` the commands that the gates ran after ``setup``, ``remote``
    what to fetch the branch from, ``web`` the repository's page, "" where there is none. ``duration_s`` is from the
    start on, with all waiting; ``repairs``: how often the agent was sent back with evidence. ``opened_by`` is the run
    whose marker it bears, when that is an earlier one.
    """

    story_id: str
    title: str
    run_id: str
    branch: str
    base: str
    goal: str = ""
    base_sha: str = ""
    head_sha: str = ""
    summary: str = ""
    confidence: float | None = None
    criteria: tuple[CriterionFact, ...] = ()
    gates: tuple[GateFact, ...] = ()
    files: tuple[FileFact, ...] = ()
    concerns: tuple[ConcernFact, ...] = ()
    decisions: tuple[DecisionFact, ...] = ()
    known_failures: tuple[str, ...] = ()
    flaky: tuple[str, ...] = ()
    stacked_on: tuple[StackedOn, ...] = ()
    conflicts: tuple[ConflictFact, ...] = ()
    cost_microusd: int = 0
    budget_microusd: int | None = None
    duration_s: float = 0.0
    phases: tuple[PhaseFact, ...] = ()
    repairs: int = 0
    agent: str = ""
    model: str = ""
    setup: str = ""
    replay: tuple[str, ...] = ()
    remote: str = "origin"
    web: str = ""
    opened_by: str = ""
