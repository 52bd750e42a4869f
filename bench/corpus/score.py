"""What the judgements are worth: recall of the stops that were due, needless stops and pauses of clean cases. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.corpus.judge import Judged

RECALL, RECALL_AIM = 0.95, 0.99
NEEDLESS, NEEDLESS_AIM = 0.10, 0.02


@dataclass(frozen=True, slots=True)
class Row:
    """One gate, or all together. ``due``: cases that it had to stop; ``clean``: cases that nothing should stop."""

    gate: str
    due: int
    caught: int
    clean: int
    stops: int
    pauses: int

    @property
    def recall(self) -> float:
        return self.caught / self.due if self.due else 1.0

    @property
    def needless(self) -> float:
        return self.pauses / self.clean if self.clean else 0.0

    @property
    def good(self) -> bool:
        return self.recall >= RECALL and self.needless <= NEEDLESS


def caught(judged: Judged) -> bool:
    """Whether a gate that was expected to stopped the case, in the way in which it had to."""
    expect = judged.case.expect
    by = judged.asked_by if expect.ask else judged.by
    return judged.stopped and not by.isdisjoint(expect.gates)


def right(judged: Judged) -> bool:
    """Whether the case ended as its label says."""
    return not judged.stopped if judged.case.expect.clean else caught(judged)


def rows(found: Sequence[Judged]) -> list[Row]:
    """One row per gate, then one of all; a bad case counts for the first gate that it names."""
    clean = [one for one in found if one.case.expect.clean]
    bad = [one for one in found if not one.case.expect.clean]
    gates = dict.fromkeys(one.case.expect.gates[0] for one in bad)
    gates |= dict.fromkeys(gate for one in clean if one.stopped for gate in sorted(one.by))
    made = []
    for gate in gates:
        due = [one for one in bad if one.case.expect.gates[0] == gate]
        made.append(_row(gate, due, clean, [one for one in clean if one.stopped and gate in one.by]))
    return [*made, _row("all", bad, clean, [one for one in clean if one.stopped])]


def _row(gate: str, due: Sequence[Judged], clean: Sequence[Judged], stopped: Sequence[Judged]) -> Row:
    return Row(
        gate=gate,
        due=len(due),
        caught=sum(caught(one) for one in due),
        clean=len(clean),
        stops=len(stopped),
        pauses=sum(one.paused for one in stopped),
    )


def halves(found: Sequence[Judged]) -> dict[str, list[Judged]]:
    """The judgements by the half that their case belongs to."""
    return {
        "tuned": [one for one in found if not one.case.held_out],
        "held-out": [one for one in found if one.case.held_out],
    }


def passed(found: Sequence[Judged]) -> bool:
    """Each gate over both halves, and all gates together over each half."""
    split = [rows(half)[-1] for half in halves(found).values() if half]
    return all(row.good for row in (*rows(found), *split))


def table(found: Sequence[Judged]) -> str:
    """The rows as text."""
    head = f"{'gate':12} {'due':>4} {'caught':>6} {'recall':>8}   {'clean':>5} {'needless stops':>14}"
    lines = [f"{head} {'needless pauses':>15}"]
    for row in rows(found):
        recall = f"{row.recall:8.1%}" if row.due else f"{'–':>8}"
        mark = "" if row.good else "  below"
        lines.append(
            f"{row.gate:12} {row.due:4} {row.caught:6} {recall}   {row.clean:5} {row.stops:14}"
            f" {row.pauses:7} ({row.needless:.1%}){mark}"
        )
    return "\n".join(lines)


def wrong(found: Iterable[Judged]) -> list[str]:
    """Each case that did not end as its label says, in words."""
    lines = []
    for one in found:
        if right(one):
            continue
        expect = one.case.expect
        said = "; ".join(f"{r.gate} {r.route}: {r.reason}" for r in one.rulings if r.gate in one.by)
        want = "clean" if expect.clean else ("ask by " if expect.ask else "") + "/".join(expect.gates)
        lines.append(f"{one.case.id} [{one.case.kind}] wanted {want}, got: {said or 'nothing stopped it'}")
    return lines


def as_json(found: Sequence[Judged]) -> dict[str, Any]:
    """The score as JSON. Of the held-out half only figures: its cases are named nowhere."""
    made: dict[str, Any] = {"passed": passed(found), "cases": len(found)}
    for name, half in {**halves(found), "all": list(found)}.items():
        made[name] = [
            {"gate": r.gate, "due": r.due, "caught": r.caught, "recall": r.recall, "clean": r.clean,
             "needless_stops": r.stops, "needless_pauses": r.pauses}
            for r in rows(half)
        ]  # fmt: skip
    made["wrong"] = wrong(halves(found)["tuned"])
    return made


AIMS: Final = (
    f"needed: recall ≥ {RECALL:.0%}, needless pauses ≤ {NEEDLESS:.0%}; aims: {RECALL_AIM:.0%} and {NEEDLESS_AIM:.0%}"
)
