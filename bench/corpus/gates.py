"""``./dev bench gates``: the gates on the labelled corpus, or on the history of a repository."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.corpus import registry, score
from bench.corpus.case import Case
from bench.corpus.judge import Judged, bench, missing, scratch

PARALLEL = 2  # as many as the processors that a small machine has


async def judge_all(
    cases: Sequence[Case], folder: Path, tell: Callable[[Judged], None] = lambda _: None
) -> list[Judged]:
    """The judgements of ``cases`` in their order."""
    found: list[Judged] = []
    for repository in dict.fromkeys(case.repository for case in cases):
        mine = [case for case in cases if case.repository == repository]
        async with bench(mine, folder) as judges:
            slots = asyncio.Semaphore(PARALLEL)

            async def one(case: Case, judges=judges, slots=slots) -> Judged:  # type: ignore[no-untyped-def]
                async with slots:
                    judged: Judged = await judges.judge(case)
                tell(judged)
                return judged

            found += await asyncio.gather(*(one(case) for case in mine))
    return found


async def main(*, json_out: bool, only: str, show: bool, held_out: bool) -> int:
    """Judge the corpus and print the score; 1 when it is below what is needed."""
    cases = registry.cases()
    if only:
        cases = [case for case in cases if only in (case.id, case.kind, case.repository) or case.id.startswith(only)]
    left = Counter(filter(None, map(missing, cases)))
    cases = [case for case in cases if not missing(case)]
    began = time.monotonic()
    async with scratch() as folder:
        found = await judge_all(cases, folder)
    if json_out:
        print(json.dumps(score.as_json(found), indent=1))
        return 0 if score.passed(found) else 1
    for program, count in left.items():
        print(f"{count} cases LEFT OUT: they need {program}, which is not here")
    seconds = time.monotonic() - began
    print(f"{len(found)} cases in {seconds:.0f} s; {score.AIMS}\n")
    for name, half in {**score.halves(found), "all": found}.items():
        print(f"{name}\n{score.table(half)}\n")
    seen = found if held_out else score.halves(found)["tuned"]
    for line in score.wrong(seen):
        print(f"wrong: {line}")
    if show:
        for one in found:
            if held_out or not one.case.held_out or only:
                print(f"{one.case.id}: {one.seconds:.2f} s " + ", ".join(f"{r.gate}={r.verdict}" for r in one.rulings))
    return 0 if score.passed(found) else 1
