"""A story that has used up its own limit asks for more, and goes on where it was when it gets it."""

from __future__ import annotations

from typing import Any

import pytest

from auto_dev.errors import ExitCode, UsageError
from tests.integration.test_turns import booked, configured, key, working
from tests.model_server import ModelServer

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("key")]
__all__ = ["key"]

BUDGET = "[budget]\ndaily = 20\nweekly = 20\nstory = 0.6\n"


@pytest.fixture
async def short(project: Any) -> Any:
    """A project whose only story ran out of its limit, and the model's server."""
    async with ModelServer(working(9)) as server:
        made = configured(project({"A-1": []}), server.url, more=BUDGET)
        assert await made.once() is ExitCode.BUDGET
        yield made, server


async def decision_of(made: Any) -> dict[str, Any]:
    (row,) = await made.fetch("SELECT * FROM decisions WHERE status = 'open'")
    return dict(row)


async def test_more_money_lets_it_go_on_where_it_was(short: tuple[Any, Any]) -> None:
    made, server = short
    assert await made.statuses() == {"A-1": "paused"}
    row = await decision_of(made)
    assert (row["kind"], [option["id"] for option in row["options"]]) == (
        "budget", ["raise", "raise_to", "skip", "abandon"],
    )  # fmt: skip
    assert await booked(made) <= 600_000
    async with made.open(order=False) as daemon:
        control = made.control(daemon)
        for wrong in ("much", "-3", "0.6", "nan"):
            with pytest.raises(UsageError):
                await control.answer(row["id"], "raise_to", wrong)
        assert (await decision_of(made))["id"] == row["id"], "a wrong amount leaves the question open"
        await control.answer(row["id"], "raise_to", "$5")
        with pytest.raises(UsageError, match="was answered by me"):
            await control.answer(row["id"], "raise")
        assert await daemon.serve() is ExitCode.DONE
    assert await made.statuses() == {"A-1": "in_review"}
    assert await booked(made) == server.record.cost_microusd
    (run,) = await made.fetch("SELECT attempt FROM runs")
    assert run["attempt"] == 1
    (change,) = await made.fetch("SELECT * FROM budget_raises WHERE scope = 'story' AND by = 'me'")
    assert (change["to_microusd"], change["reason"]) == (5_000_000, f"answer to {row['id']}")


@pytest.mark.parametrize(("answer", "status"), [("skip", "skipped"), ("abandon", "ready")])
async def test_it_may_be_left_at_that(short: tuple[Any, Any], answer: str, status: str) -> None:
    made, _ = short
    row = await decision_of(made)
    async with made.open(order=False) as daemon:
        await made.control(daemon).answer(row["id"], answer)
    assert await made.statuses() == {"A-1": status}


async def test_the_question_falls_away_when_the_run_goes_on_by_another_word(short: tuple[Any, Any]) -> None:
    made, _ = short
    first = await decision_of(made)
    async with made.open(order=False) as daemon:
        await made.control(daemon).resume()
        assert await daemon.serve() is ExitCode.BUDGET, "there is no more money than before"
    second = await decision_of(made)
    assert second["id"] != first["id"]
    (closed,) = await made.fetch("SELECT status FROM decisions WHERE id = %s", first["id"])
    assert closed["status"] == "cancelled"


async def test_one_message_tells_of_it(project: Any) -> None:
    async with ModelServer(working(9)) as server:
        made = configured(project({"A-1": []}), server.url, more=BUDGET)
        async with made.open() as daemon:
            daemon.services.channels = ("slack",)
            await daemon.serve()
        kinds = [row["kind"] for row in await made.fetch("SELECT kind FROM outbox")]
        assert kinds.count("decision") == 1
        assert "alert" not in kinds
