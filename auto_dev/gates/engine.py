"""Running gates. A broken gate neither passes nor crashes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from auto_dev.gates.base import Gate, GateContext, Judgement
from auto_dev.gates.evidence import bounded, digest, entry, identities, judged, names_digest
from auto_dev.model import Route, Verdict
from auto_dev.text import line

GATE_TIMEOUT_S: Final = 900.0  # for gates that run no command; commands have their own limit
# An ask of one of these makes running commands pointless.
_FIRST: Final = ("secrets", "empty", "scope", "tampering", "critical")

_FITTING: Final[dict[Verdict, frozenset[Route]]] = {
    Verdict.PASS: frozenset({Route.PROCEED}),
    Verdict.CONCERNS: frozenset(Route),
    Verdict.FAIL: frozenset({Route.REPAIR, Route.ASK}),
    Verdict.WAIVED: frozenset(),  # only a person waives
}


@dataclass(frozen=True, slots=True)
class Ruled:
    """What one gate said in one round. ``advisory``: its owner made it a note, so that it proceeds whatever it says."""

    gate: str
    judgement: Judgement
    advisory: bool
    duration_ms: int

    @property
    def digest(self) -> str:
        """Equal for the same failure in another round."""
        return digest(self.gate, self.judgement)

    @property
    def names(self) -> str:
        """Equal when the same things fail, whatever they say."""
        return names_digest(self.gate, self.judgement)

    @property
    def marks(self) -> tuple[str, ...]:
        """What the failure consists of; one that comes again in another round has not been mended."""
        return tuple(sorted(identities(self.judgement))) or (self.digest,)

    @property
    def failures(self) -> int:
        """How many faults there are, for comparison with another round."""
        counted = self.judgement.failures
        return max(len(self.judgement.evidence) if counted is None else counted, 1)


def rule(
    gate: str,
    judgement: object,
    *,
    advisory: bool = False,
    waived: str = "",
    accepted: frozenset[str] = frozenset(),
    duration_ms: int = 0,
) -> Ruled:
    """``judgement`` checked, its evidence bounded, advisory and waiver applied.

    What is no judgement, or one whose verdict and route contradict each other, becomes a failure that asks. ``waived``
    is the digest of the failure that a person accepted: it covers that failure and no other. ``accepted`` are the
    fingerprints of single findings that a person accepted in this run: a judgement of nothing else is waived, too.
    """
    try:
        sound = _checked(judgement)
    except Exception as error:  # noqa: BLE001 (a gate may be anybody's code: whatever it does wrong must ask)
        sound = _broken(gate, error)
    if sound.verdict is Verdict.FAIL or sound.route is not Route.PROCEED:
        if (waived and waived == digest(gate, sound)) or _accepted(sound, accepted):
            sound = replace(sound, verdict=Verdict.WAIVED, route=Route.PROCEED)
        elif advisory:
            sound = replace(sound, route=Route.PROCEED)
    return Ruled(gate, sound, advisory, max(duration_ms, 0))


async def run_gates(
    gates: Sequence[Gate],
    context: GateContext,
    *,
    attempts_left: int,
    waived: Mapping[str, str] | None = None,
    heard: Callable[[Ruled], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    redact: Callable[[Judgement], Awaitable[Judgement]] | None = None,
) -> list[Ruled]:
    """Judge with all ``gates``, the cheap ones first; the rulings come in the order of ``gates``.

    Gates with a true ``expensive`` attribute are left out when a person will be asked anyway because the run changed
    nothing, left its scope or touched tests. ``waived``: gate → digest of the failure that a person accepted.
    ``heard`` is told each ruling when it is made. ``clock``: seconds. A gate's exception becomes a failure that asks;
    only cancellation goes through.
    ``redact`` takes credentials out of what a gate says, before anything is made of it.
    """
    accepted = waived or {}
    ruled: dict[int, Ruled] = {}
    ordered = sorted(range(len(gates)), key=lambda index: bool(getattr(gates[index], "expensive", False)))
    for index in ordered:
        gate = gates[index]
        expensive = bool(getattr(gate, "expensive", False))
        if expensive and _pointless(ruled.values(), attempts_left):
            continue
        name = gate.name
        began = clock()
        judgement = await _judge(gate, context, None if expensive else GATE_TIMEOUT_S)
        if redact is not None and isinstance(judgement, Judgement):
            judgement = await redact(judgement)
        ruled[index] = rule(
            name,
            judgement,
            advisory=name in context.policy.gates.advisory,
            waived=accepted.get(name, ""),
            accepted=context.accepted,
            duration_ms=int((clock() - began) * 1000),
        )
        heard(ruled[index])
    return [ruled[index] for index in sorted(ruled)]


async def _judge(gate: Gate, context: GateContext, timeout_s: float | None) -> object:
    try:
        async with asyncio.timeout(timeout_s):
            return await gate.judge(context)
    except Exception as error:  # noqa: BLE001 (custom gates are anybody's code; their failure is evidence, not a crash)
        return _broken(gate.name, error)


def _accepted(judgement: Judgement, accepted: frozenset[str]) -> bool:
    """Whether a person has accepted every finding of ``judgement``; an entry marked ``note`` is none."""
    findings = [item for item in judgement.evidence if not item.get("note")]
    return bool(findings) and all(item.get("fingerprint") in accepted for item in findings)


def _checked(judgement: object) -> Judgement:
    if not isinstance(judgement, Judgement):
        raise TypeError(f"it returned {type(judgement).__name__} instead of a Judgement")
    verdict, route = Verdict(judgement.verdict), Route(judgement.route)
    if route not in _FITTING[verdict]:
        raise ValueError(f"a gate may not say {verdict.value!r} and route {route.value!r}")
    failures: Any = judgement.failures
    if failures is not None and (isinstance(failures, bool) or not isinstance(failures, int) or failures < 0):
        raise ValueError(f"a number of failures is not {failures!r}")
    return Judgement(verdict, line(str(judgement.reason)), route, bounded(judgement.evidence), failures)


def _broken(gate: str, error: Exception) -> Judgement:
    said = line(str(error), 300) if not isinstance(error, TimeoutError) else "it took too long"
    reason = f"the gate {gate!r} itself failed: {type(error).__name__}: {said}"
    where = entry(f"{type(error).__name__} in the gate", excerpt=_where(error))
    return judged(Verdict.FAIL, reason, Route.ASK, [where])


def _where(error: Exception) -> str:
    places: list[str] = []
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{step.tb_lineno} in {code.co_name}")
        step = step.tb_next
    return "\n".join([*places[-8:], line(str(error), 500)])


def _pointless(ruled: Any, attempts_left: int) -> bool:
    """Whether a person will be asked whatever the commands say."""
    asks = {Route.ASK} if attempts_left > 0 else {Route.ASK, Route.REPAIR}
    return any(one.gate in _FIRST and one.judgement.route in asks for one in ruled)
