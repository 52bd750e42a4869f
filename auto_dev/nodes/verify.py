"""The gates judge what was committed, from evidence that auto-dev itself observed."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from psycopg.rows import DictRow

from auto_dev.agents.base import Outcome
from auto_dev.gates.base import Change, CommandOutcome, Earlier, GateContext, Judgement
from auto_dev.gates.decisions import without_answered
from auto_dev.gates.engine import Ruled, run_gates
from auto_dev.gates.engine import rule as rule_one
from auto_dev.gates.protected import restored
from auto_dev.gates.registry import ELSEWHERE, gates_for
from auto_dev.gates.strength import is_challenge
from auto_dev.model import Phase, Route, Verdict
from auto_dev.nodes.bench import CommandBench, known_flaky, note_flaky
from auto_dev.nodes.commands import outcome_from
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.leaving import Leaving, accepted_of, mended
from auto_dev.nodes.overlaps import clashes_of, conflicts_with_base, put_on_base
from auto_dev.nodes.state import REPAIR, StoryState
from auto_dev.nodes.turn import answers_of, report_of, turn_of
from auto_dev.nodes.verdicts import rule
from auto_dev.store import runs

K = TypeVar("K")
V = TypeVar("V")

_ONCE: Final = frozenset({*ELSEWHERE, "plan"})  # verdicts that do not come with every round of this step
_REMEMBERED: Final = 50_000_000  # bytes of files that gates look at, kept for the next gate


async def verify(state: StoryState, context: RunContext) -> StoryState:
    """Run every gate on the committed tree; store the verdicts; route."""
    leaving = await mended(state, context)
    round_number = state.get("round", 0)
    state = {**state, "head_sha": leaving.head_sha, "reported": await _reported(state, context)}
    attempts_left = context.policy.run.repair_attempts - state.get("repairs", 0)
    accepted = state.get("waived", {})
    changes = await _changes(state, context)
    async with CommandBench(
        context,
        f"verify-{round_number}",
        base=state["base_sha"],
        head=state["head_sha"],
        protected=restored(context.policy.gates.tampering.protected, changes),
        known=await known_flaky(context),
    ) as bench:

        def heard(ruled: Ruled) -> None:
            if ruled.gate == "tampering" and ruled.judgement.verdict is Verdict.WAIVED:
                bench.accept_protected()

        ruled = await run_gates(
            gates_for(context.policy),
            await gate_context_of(state, context, bench, changes, leaving),
            attempts_left=attempts_left,
            waived=accepted,
            heard=heard,
            redact=leaving.redact,
        )
    await note_flaky(context, bench.noted)
    if (claim := _turn_verdict(context, round_number)) is not None:
        ruled.insert(0, rule_one("agent", claim, waived=accepted.get("agent", "")))
    if (left := await _markers_left(state, context)) is not None:
        ruled.insert(0, rule_one("conflict", left, waived=accepted.get("conflict", "")))
    ruled += await _dropped(context, ruled, round_number)
    routed = await rule(state, context, "verify", ruled)
    if routed["route"] == REPAIR and conflicts_with_base(ruled):
        routed = {**routed, **await put_on_base(state, context)}
    return {
        "head_sha": leaving.head_sha, "reported": state["reported"], "challenged": _challenged(ruled), **routed
    }  # fmt: skip


async def _reported(state: StoryState, context: RunContext) -> int:
    """The round whose report stands: the present one, but for a turn that was only asked for evidence and left none."""
    present = state.get("round", 0)
    if state.get("challenged") and (await report_of(context, Phase.IMPLEMENT, present))[0] is None:
        return state.get("reported", present)
    return present


def _challenged(ruled: Sequence[Ruled]) -> bool:
    stops = [one for one in ruled if one.judgement.route is not Route.PROCEED]
    return bool(stops) and all(is_challenge(one.judgement.evidence) for one in stops)


async def _dropped(context: RunContext, ruled: Sequence[Ruled], round_number: int) -> list[Ruled]:
    """Nothing proceeds by leaving a gate out: one that judged an earlier round and not this one asks."""
    if any(one.judgement.route is not Route.PROCEED for one in ruled):
        return []
    async with context.services.db.pool.connection() as conn:
        rows = await runs.earlier_verdicts(conn, context.run_id, round_number)
    before = {row["gate"] for row in rows} - _ONCE - {one.gate for one in ruled}
    reason = "it judged an earlier round and did not judge this one"
    return [rule_one(gate, Judgement(Verdict.FAIL, reason, Route.ASK)) for gate in sorted(before)]


async def gate_context_of(
    state: StoryState, context: RunContext, bench: CommandBench, changes: Sequence[Change], leaving: Leaving
) -> GateContext:
    """Everything that the gates may look at for the present round."""
    history = context.services.worktrees.history
    base, head, round_number = state["base_sha"], state["head_sha"], state.get("round", 0)
    report, problem = await report_of(context, Phase.IMPLEMENT, state["reported"])
    if report is not None:
        report = without_answered(report, list(await answers_of(context)))
    outcomes = [outcome_from(row) for row in context.load("baseline.json") or []]
    baseline: dict[str, CommandOutcome] = {outcome.name: outcome for outcome in outcomes}
    return GateContext(
        story=context.story,
        policy=context.policy,
        base_sha=base,
        head_sha=head,
        round=round_number,
        changes=tuple(changes),
        report=report,
        report_problem=problem,
        baseline=baseline,
        read=_remembered(history.read),
        diff=lambda path: history.diff(base, head, path),
        run_command=bench.run,
        earlier=await _earlier(context, round_number) if round_number else (),
        former=await _former(context) if context.follows else (),
        # A person who has accepted something has seen the work: no other turn for better evidence.
        attempts_left=0 if state.get("waived") else context.policy.run.repair_attempts - state.get("repairs", 0),
        trials=bench,
        paths=once(history.paths),
        leaks=leaving.leaks,
        clashes=lambda: clashes_of(state, context, changes),
        accepted=await accepted_of(context),
        holds=once(lambda word: history.holds(head, word)),
    )


async def _changes(state: StoryState, context: RunContext) -> list[Change]:
    found = await context.services.worktrees.history.changes(state["base_sha"], state["head_sha"])
    return [Change(c.path, c.status, c.additions, c.deletions, c.binary, c.old_path, c.mode) for c in found]


async def _earlier(context: RunContext, round_number: int) -> tuple[Earlier, ...]:
    async with context.services.db.pool.connection() as conn:
        rows = await runs.earlier_verdicts(conn, context.run_id, round_number)
    return tuple(map(_told, rows))


async def _former(context: RunContext) -> tuple[Earlier, ...]:
    async with context.services.db.pool.connection() as conn:
        rows = await runs.verdicts(conn, context.follows)
    return tuple(map(_told, rows))


def _told(row: DictRow) -> Earlier:
    return Earlier(
        row["gate"], row["round"], Verdict(row["verdict"]), Route(row["route"]), row["reason"], tuple(row["evidence"])
    )


def once(ask: Callable[[K], Awaitable[V]]) -> Callable[[K], Awaitable[V]]:
    """``ask`` that asks once for each key: each answer costs a process."""
    known: dict[K, V] = {}

    async def asking(key: K) -> V:
        if key not in known:
            known[key] = await ask(key)
        return known[key]

    return asking


def _remembered(read: Callable[[str, str], Awaitable[bytes | None]]) -> Callable[[str, str], Awaitable[bytes | None]]:
    """``read`` that asks once for each file: several gates look at the same ones, and each answer costs a process."""
    known: dict[tuple[str, str], bytes | None] = {}
    room = _REMEMBERED

    async def remembering(rev: str, path: str) -> bytes | None:
        nonlocal room
        if (rev, path) in known:
            return known[(rev, path)]
        content = await read(rev, path)
        if (room := room - len(content or b"")) >= 0:
            known[(rev, path)] = content
        return content

    return remembering


async def _markers_left(state: StoryState, context: RunContext) -> Judgement | None:
    """Whether files that conflicted when the story was moved still hold git's markers."""
    clash = context.load("conflict.json")
    if clash is None:
        return None
    found = await context.services.worktrees.history.read_many(state["head_sha"], clash["files"])
    left = [name for name, data in found.items() if data is not None and has_markers(data)]
    if not left:
        return Judgement(Verdict.PASS, f"{len(found)} files that conflicted with {clash['base']} hold no markers")
    evidence = tuple({"title": "conflict markers are left", "file": name} for name in left)
    named = ", ".join(left[:5])
    return Judgement(Verdict.FAIL, f"conflict markers are left in {named}", Route.REPAIR, evidence)


def has_markers(data: bytes) -> bool:
    """Whether a file holds a conflict as git writes it: both ends, each at the beginning of a line."""
    return (
        re.search(rb"^<{7} ", data, re.MULTILINE) is not None and re.search(rb"^>{7} ", data, re.MULTILINE) is not None
    )


def _turn_verdict(context: RunContext, round_number: int) -> Judgement | None:
    """How the agent's process ended, as a verdict: never a reason to trust it, but worth a look when it went wrong."""
    turn = turn_of(context, Phase.IMPLEMENT, round_number)
    outcome, detail = turn.get("outcome", Outcome.FINISHED), str(turn.get("detail", ""))
    if outcome == Outcome.FINISHED:
        # A verdict of an earlier round must not stand as the last word.
        return Judgement(Verdict.PASS, "the agent's turn ended by itself") if round_number else None
    stopped = outcome in (Outcome.TIMED_OUT, Outcome.STUCK)
    return Judgement(
        Verdict.FAIL if stopped else Verdict.CONCERNS,
        f"the agent's turn ended as {outcome}: {detail}" if detail else f"the agent's turn ended as {outcome}",
        Route.ASK if stopped else Route.PROCEED,
        ({"title": "how the agent ended", "excerpt": detail},) if detail else (),
    )
