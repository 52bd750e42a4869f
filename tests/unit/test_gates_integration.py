"""Which of two stories goes first, and what a conflict leads to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest

from auto_dev.config import Config, GatesConfig
from auto_dev.config import IntegrationGate as Settings
from auto_dev.gates.base import Clash, GateContext, Hunk, Judgement
from auto_dev.gates.integration import IntegrationGate, order
from auto_dev.model import Route, Verdict
from auto_dev.stories.model import Story

pytestmark = pytest.mark.unit

MINE = Clash("auto-dev/S-1", (), story="S-1")
OTHER = Clash("auto-dev/S-2", ("a.py", "b.py"), story="S-2", title="Another")


async def unused(*_: Any) -> Any:
    raise AssertionError("the gate needs nothing else")


def judge(
    *clashes: Clash,
    overlaps: Literal["note", "ask"] = "note",
    accepted: Sequence[str] = (),
    created_at: str | None = None,
) -> Judgement:
    async def found() -> Sequence[Clash]:
        return clashes

    context = GateContext(
        story=Story(id="S-1", title="A story", path="S-1.md", created_at=created_at),
        policy=Config(gates=GatesConfig(integration=Settings(overlaps=overlaps))),
        base_sha="base",
        head_sha="head",
        round=0,
        changes=(),
        report=None,
        report_problem="",
        baseline={},
        read=unused,
        diff=unused,
        run_command=unused,
        clashes=found,
        accepted=frozenset(accepted),
    )
    return asyncio.run(IntegrationGate().judge(context))


@pytest.mark.parametrize(
    ("mine", "other", "first"),
    [
        ({"priority": 1}, {"priority": 3, "pull": "draft", "size": 1}, "S-1"),
        ({"priority": 3}, {"priority": 1, "stuck": True}, "S-1"),
        ({"size": 1}, {"pull": "draft", "size": 900}, "S-2"),
        ({"created_at": "2026-01-02"}, {"created_at": "2026-01-01"}, "S-2"),
        ({"created_at": "2026-01-02"}, {}, "S-1"),
        ({"size": 10}, {"size": 21}, "S-1"),
        ({"size": 10}, {"size": 20}, "S-1"),
        ({}, {}, "S-1"),
        ({"story": "S-10"}, {"story": "S-9"}, "S-9"),
    ],
)
def test_who_goes_first(mine: dict[str, Any], other: dict[str, Any], first: str) -> None:
    one, two = replace(MINE, **mine), replace(OTHER, **other)
    assert order(one, two)[0] == first
    assert order(two, one)[0] == first


def test_without_a_conflict_it_passes() -> None:
    assert judge().verdict is Verdict.PASS


def test_a_conflict_with_the_base_goes_back_with_its_hunks() -> None:
    hunk = Hunk("a.py", 3, "<<<<<<< ours\nx\n=======\ny\n>>>>>>> theirs")
    found = judge(Clash("main", ("a.py", "b.py"), (hunk,), "f" * 40))
    assert (found.verdict, found.route) == (Verdict.FAIL, Route.REPAIR)
    assert [(item["file"], item.get("line")) for item in found.evidence] == [("a.py", 3), ("b.py", None)]
    assert found.evidence[0]["excerpt"] == hunk.text


def test_a_conflict_with_an_open_story_is_noted_with_its_files_and_the_order() -> None:
    found = judge(replace(OTHER, pull="draft"))
    assert (found.verdict, found.route) == (Verdict.CONCERNS, Route.PROCEED)
    (item,) = found.evidence
    assert (item["story"], item["files"]) == ("S-2", ["a.py", "b.py"])
    assert item["advice"] == (
        "S-2 first: it is in review already; S-1 is moved onto it then, or may depend on it (depends_on: [S-2])"
    )


def test_a_conflict_asks_once_where_the_owner_wants_it() -> None:
    found = judge(OTHER, overlaps="ask")
    assert (found.verdict, found.route) == (Verdict.FAIL, Route.ASK)
    mark = str(found.evidence[0]["fingerprint"])
    assert judge(OTHER, overlaps="ask", accepted=[mark]).route is Route.PROCEED
    assert judge(replace(OTHER, files=("c.py",)), overlaps="ask", accepted=[mark]).route is Route.ASK


@pytest.mark.parametrize(("overlaps", "ordered", "route"), [
    ("note", False, Route.PROCEED),
    ("note", True, Route.PROCEED),
    ("ask", True, Route.ASK),
])  # fmt: skip
def test_the_owner_says_when_it_asks(overlaps: Literal["note", "ask"], ordered: bool, route: Route) -> None:
    assert judge(replace(OTHER, pull="draft" if ordered else ""), overlaps=overlaps).route is route
