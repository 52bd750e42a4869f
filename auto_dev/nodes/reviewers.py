"""One reviewer's turn: fresh eyes, a private home, the committed project to read and nothing to write but a report.

It works on a checkout of its own, made from the head commit, so it sees nothing of the author but the commits. In a
sandbox that checkout is mounted read-only; without one, what it changes there is thrown away with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from auto_dev.agents.base import Outcome
from auto_dev.agents.review_brief import ChangeToReview, review_brief
from auto_dev.config import AgentConfig
from auto_dev.gates.review import Former, Read, Review, Subject, place, why_unusable
from auto_dev.model import Phase
from auto_dev.nodes.briefing import project_rules
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.desk import CHANGE, Desk, Job
from auto_dev.nodes.turn import agent_turn
from auto_dev.nodes.workplace import Rooms, command_files
from auto_dev.report import ReviewReport, read_report

TRIES: Final = 2  # a reviewer whose report cannot be used is asked once more


@dataclass(frozen=True, slots=True)
class Assignment:
    """What all reviewers of a round are given: the commits, the change as text (``diff``) and by files, what the gates
    said, the faults of earlier rounds. ``asked``: how many questions a person had before; an answer gives reviewers
    that failed another chance."""

    base: str
    head: str
    round: int
    asked: int
    diff: str
    files: Sequence[str]
    gates: Sequence[str]
    former: Sequence[Former]
    subject: Subject


async def reviewed(context: RunContext, given: Assignment, number: int, config: AgentConfig) -> Read:
    """What reviewer ``number`` found. A report that is there already is not paid for again."""
    read = Read(Review(config.label, None, "it was not asked"))
    for asked in range(given.asked + 1):
        for again in range(TRIES):
            name = f"reviews/{given.round}-{number}-{asked}-{again}"
            ended = context.load(f"{name}/ended.json") if (context.run_dir / name).is_dir() else None
            if ended is None or ended["head"] != given.head:
                if asked != given.asked:
                    continue
                desk = Desk.apart(config, context.path(name), f"reviewer {number + 1}")
                ended = await _turn(context, given, desk, name, read.review.problem if again else "")
            read = await _read(context, given, config, name, ended)
            if read.review.report is not None:
                return read
    return read


async def _turn(context: RunContext, given: Assignment, desk: Desk, name: str, refused: str) -> dict[str, Any]:
    """Let the reviewer work once, and write down what it left, where it cannot reach it any more."""
    receipt = _receipt(context, f"{name}/receipt.json", given.head)
    change = desk.briefs / "change.diff"
    change.write_text(f"{given.diff.rstrip()}\n\n# The change ends here. receipt: {receipt}\n", "utf-8")
    async with context.services.worktrees.checkout_at(_checkout(desk.folder), given.head) as tree:
        shown = ChangeToReview(change, given.base, given.files, given.gates, _shown(given.former))
        brief = review_brief(
            context.story, shown, rules=project_rules(tree), hint=context.hint, refused=refused
        )  # fmt: skip
        record = f"{name}/turn.json"
        rooms = _rooms(context, desk, tree)
        env = {"GIT_OPTIONAL_LOCKS": "0"}  # git must not want to write what it may only read
        job = Job(desk, Phase.REVIEW, given.round, brief, tree, rooms, record, env, {CHANGE: change})
        result = await agent_turn(context, job)
    report, problem = read_report(desk.out / f"report-{Phase.REVIEW}-{given.round}.json", ReviewReport)
    if report is None and result.outcome is not Outcome.FINISHED:
        problem = f"{problem}; its turn ended as {result.outcome}: {result.detail}".rstrip(": ")
    stopped = result.outcome in (Outcome.TIMED_OUT, Outcome.STUCK)
    ended = {
        "head": given.head,
        "report": report.model_dump(mode="json") if report is not None else None,
        "problem": problem,
        "receipt": receipt,
        "stopped": f"it did not come to its end: {result.detail}" if stopped else "",
        "cost_microusd": (context.load(record) or {}).get("cost_microusd", 0),
    }
    context.save(f"{name}/ended.json", ended)
    return ended


async def _read(context: RunContext, given: Assignment, config: AgentConfig, name: str, ended: dict[str, Any]) -> Read:
    """The review that a turn left, its findings looked up; without a report if it says nothing that counts."""
    told = ended["report"]
    report = ReviewReport.model_validate(told) if told is not None else None
    tree = _checkout(context.path(name)) / context.services.mirror.repository.root.name
    subject = replace(given.subject, folders=(str(tree), str(tree.resolve())))
    placed = await place(report, subject, given.former) if report is not None else ()
    problem = why_unusable(
        report, ended["problem"], placed, receipt=ended["receipt"], stopped=ended["stopped"], former=given.former
    )
    if problem:
        return Read(Review(config.label, None, problem, ended["cost_microusd"]))
    return Read(Review(config.label, report, "", ended["cost_microusd"]), placed)


def _rooms(context: RunContext, desk: Desk, tree: Path) -> Rooms:
    """The reviewer's box: to write only its home and the folder of its report."""
    objects, program = context.services.mirror.path / "objects", command_files(context, desk.config)
    return Rooms(desk.home, writable=(desk.out,), readable=(tree, objects, desk.briefs, *program), looks_only=True)


def _checkout(folder: Path) -> Path:
    return folder / "checkout"


def _receipt(context: RunContext, name: str, head: str) -> str:
    """The word that stands at the end of the change: the same after a crash, so that what was read stays read."""
    known = context.load(name)
    if known is None or known["head"] != head:
        known = {"head": head, "word": secrets.token_hex(4)}
        context.save(name, known)
    return str(known["word"])


def _shown(former: Sequence[Former]) -> list[tuple[str, str, str, str]]:
    return [
        (fault.id, f"{fault.file}:{fault.line}" if fault.line else fault.file, fault.title, fault.detail)
        for fault in former
    ]
