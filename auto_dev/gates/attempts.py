"""What was tried in a run and what came of it: for the agent that tries again, and for the person who is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from auto_dev.gates.evidence import entry, shared
from auto_dev.model import money
from auto_dev.text import clean, line

_SHOWN: Final = 8  # attempts, the last ones
_ROOM: Final = 6_000  # characters of all of them together, for an agent
_SAID: Final = 800
_REASONS: Final = 6


@dataclass(frozen=True, slots=True)
class Attempt:
    """One turn at the work. ``by``: which agent; ``said``: its own summary, a claim; ``reasons``: what stopped it, a
    line for each gate; ``cost_microusd``: of the turn alone."""

    round: int
    by: str
    said: str = ""
    reasons: tuple[str, ...] = ()
    cost_microusd: int = 0


def tried(attempts: Sequence[Attempt]) -> str:
    """The attempts so far as text for the agent that makes the next one; the last one's evidence it gets besides."""
    if not attempts:
        return ""
    texts = [
        "\n".join([
            f"- Attempt {one.round + 1}, by {one.by}. It said: {clean(one.said, _SAID).strip() or '(nothing)'}",
            *(f"  - did not pass: {line(reason, 300)}" for reason in one.reasons[:_REASONS]),
        ])
        for one in attempts[-_SHOWN:]
    ]  # fmt: skip
    return "\n".join(shared(texts, _ROOM))


def as_evidence(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    """The same for a person: one piece of evidence for each attempt."""
    return [
        entry(
            f"attempt {one.round + 1} by {one.by}, {money(one.cost_microusd)}",
            excerpt="\n".join([*(line(reason, 300) for reason in one.reasons[:_REASONS]), _claim(one)]).strip(),
        )
        for one in attempts[-_SHOWN:]
    ]


def _claim(one: Attempt) -> str:
    return f"The agent said: {clean(one.said, _SAID)}" if one.said.strip() else ""
