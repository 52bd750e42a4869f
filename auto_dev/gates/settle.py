"""The one conclusion of a round: proceed, repair or ask. Repairs converge, or a person hears of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from auto_dev.gates.engine import Ruled
from auto_dev.gates.evidence import lines_of, shared
from auto_dev.model import Route, Verdict

_FINDINGS: Final = 16_000  # characters that go back to the agent
_STALLED: Final = 2  # so many repairs after which the same things fail are enough


@dataclass(frozen=True, slots=True)
class Round:
    """What stopped one round, in few bytes: the trail of these is part of the run's state.

    ``marks``: gate → what its failure consists of; ``names``: a digest of all that failed, without its output;
    ``count``: how many faults there were.
    """

    marks: Mapping[str, tuple[str, ...]]
    names: str
    count: int

    @classmethod
    def of(cls, stopped: Sequence[Ruled]) -> Self:
        """The round that these rulings stopped."""
        names = "-".join(sorted(one.names[:8] for one in stopped))
        return cls({one.gate: one.marks for one in stopped}, names, sum(one.failures for one in stopped))

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """Back from its JSON."""
        return cls({gate: tuple(marks) for gate, marks in row["marks"].items()}, row["names"], row["count"])

    def to_json(self) -> dict[str, Any]:
        """As the run's state keeps it."""
        return {
            "marks": {gate: list(marks) for gate, marks in self.marks.items()},
            "names": self.names,
            "count": self.count,
        }

    def again(self, earlier: Round) -> list[str]:
        """The gates that fail now by something that they failed by then."""
        return [gate for gate, marks in self.marks.items() if set(marks) & set(earlier.marks.get(gate, ()))]


@dataclass(frozen=True, slots=True)
class Settled:
    """The conclusion of a round.

    ``reasons``: one line for each gate that stops; ``why``: why a person is asked where gates want a repair, or why
    another agent takes over, or ""; ``findings``: the evidence as text for the agent; ``digests``: gate → digest of
    what stops, which a waiver accepts; ``stopped``: the rulings that stop; ``turn``: how the agent's turn failed, or
    ""; ``round``: what is to be added to the trail; ``escalate``: another agent takes the next attempt.
    """

    route: Route
    reasons: tuple[str, ...]
    findings: str
    why: str
    digests: Mapping[str, str]
    stopped: tuple[Ruled, ...]
    turn: str = ""
    round: Round | None = None
    escalate: bool = False


def settle(
    ruled: Sequence[Ruled], attempts_left: int, trail: Sequence[Round] = (), *, escalation: bool = False
) -> Settled:
    """The one conclusion of a round. Pure.

    Any gate that asks: ask. Else any that wants a repair: repair while attempts are left, unless the repairs do not get
    on (``stuck``, by the ``trail`` of what stopped the rounds since a person last spoke): then another agent takes the
    next attempt where there is one (``escalation``), else ask. Else proceed.
    """
    stopped = tuple(one for one in ruled if one.judgement.route is not Route.PROCEED)
    now = Round.of(stopped) if stopped else None
    route, why, escalate = Route.PROCEED, "", False
    if any(one.judgement.route is Route.ASK for one in stopped):
        route = Route.ASK
    elif now is not None:
        why = stuck(now, trail)
        if attempts_left <= 0:
            route, why = Route.ASK, "; ".join(text for text in ("the repair attempts are used up", why) if text)
        else:
            escalate = bool(why) and escalation
            route = Route.ASK if why and not escalate else Route.REPAIR
    reasons = tuple(f"{one.gate}: {one.judgement.reason}" for one in stopped)
    failed = (one for one in ruled if one.gate == "agent" and one.judgement.verdict is not Verdict.PASS)
    turn = next((one.judgement.reason for one in failed if one not in stopped), "")
    digests = {one.gate: one.digest for one in stopped}
    return Settled(route, reasons, findings_text(stopped), why, digests, stopped, turn, now, escalate)


def stuck(now: Round, trail: Sequence[Round]) -> str:
    """Why more of the same will not help, or "". Pure.

    Fewer faults than in every round before are progress, whatever stays. Without progress: what failed in the round
    before fails again, or what failed in an earlier one does (in circles), or the same things fail once more, though
    they say something else each time.
    """
    if not trail or now.count < min(one.count for one in trail):
        return ""
    if again := now.again(trail[-1]):
        return f"the repair changed nothing about {', '.join(again)}"
    for back, earlier in enumerate(reversed(trail[:-1]), 2):
        if again := now.again(earlier):
            return f"the repairs go in circles: {', '.join(again)} fails again as it did {back} rounds before"
    if len(trail) >= _STALLED and all(one.names == now.names for one in trail[-_STALLED:]):
        return f"the same things fail after {_STALLED} repairs"
    return ""


def findings_text(stopped: Sequence[Ruled]) -> str:
    """What the gates found, as text for the agent: the evidence itself, bounded, each gate with its share."""
    if not stopped:
        return ""
    texts = ["\n".join([f"## {one.gate}: {one.judgement.reason}", *lines_of(one.judgement)]) for one in stopped]
    head = "These checks do not pass. Mend the cause in the code; do not weaken, skip or remove a check or a test."
    return "\n\n".join([head, *shared(texts, _FINDINGS)])
