"""Words that announce what only a person may decide, in plans and in questions; and words that only look so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from auto_dev.config import Config, DecisionsConfig
from auto_dev.gates.base import GateContext
from auto_dev.gates.critical import judge_plan
from auto_dev.gates.danger.plan import plan_acts
from auto_dev.gates.decisions import DecisionsGate
from auto_dev.model import Route, Verdict
from auto_dev.report import DecisionWish, Report
from auto_dev.stories.model import Story

pytestmark = pytest.mark.unit

ASKED = [
    "Shall I force-push the cleaned history to main?",
    "May the old date columns be dropped?",
    "Should I delete all customers without an order?",
    "Can I run the migration against production?",
    "Is it fine to remove the password check for internal calls?",
    "May I rotate the API keys?",
    "Should the /v1/invoices endpoint be removed?",
    "Do you want me to wipe the database?",
    "Should I disable TLS verification in the client?",
    "OK to rewrite the git history?",
    "Shall the backups be deleted?",
    "Can the response field total be renamed?",
    "Shall I keep the column or drop the table?",
    "Should clerks be granted the admin role?",
    "May I point staging at the production database?",
    "Should I use git reset --hard to clean up?",
    "Shall tokens never expire?",
    "Can the admin page be reachable without a login?",
    "Should old invoices be purged?",
    "May I make the field required in the request body?",
    "Should I rm -rf the data folder?",
    "Shall I drop support for the v1 API?",
    "Can I tear down the staging environment?",
    "Should the bucket be made public? I would make the bucket public.",
    "Shall I delete the remote branch release/1?",
]  # fmt: skip
HARMLESS = [
    "Are dates in the URL meant as well?",
    "Should the changelog mention it?",
    "ISO 8601 with or without milliseconds?",
    "Tabs or spaces?",
    "Should the button say Delete or Remove?",
    "Shall the table be sorted by name?",
    "Which column comes first in the table?",
    "Should I remove the unused import?",
    "May I rename the local variable?",
    "Drop down or radio buttons?",
    "Should the log message name the user?",
    "Should the list be cleared after a search?",
    "Is the login page in scope?",
    "Should tests use the staging environment?",
    "Does the endpoint return 404 or 410?",
    "Should I add a new endpoint or extend the existing one?",
    "Should we use a token bucket for the limiter?",
    "Name it production_mode or prod?",
    "Should invoices be sorted newest first?",
    "Should the API return an empty list or 404?",
    "May I add an index to the table?",
    "Should the default be 20 or 50?",
    "Should error messages mention the role?",
    "How long should the timeout be?",
]  # fmt: skip
ANNOUNCED = [
    "Disable authentication for internal services and remove the key check, then measure.",
    "Delete the old parcels table and rebuild it.",
    "The sessions table is dropped and recreated.",
    "I will set the replicas in production to 1.",
    "Then push with --force to origin.",
    "Remove the role check in the handler.",
    "Turn off CSRF protection for the API.",
    "Grant the analysts write access to all tables.",
    "Rename the column name to full_name.",
    "Open the port to the internet.",
    "Remove the DELETE /messages/{id} endpoint.",
    "Allow anonymous access to the reports.",
    "Commit the API key to the config for now.",
    "Drop the deprecated public function parse().",
    "Run scripts/purge.sh against production.",
    "Empty the orders collection first.",
    "Overwrite the existing customer data with the import.",
    "Reset the database, then seed it.",
]  # fmt: skip
PLANNED = [
    "Describe it in docs/api.md. No migration is needed, nothing is deleted, and production is not touched.",
    "Add a delete button that asks first.",
    "Add tests for the login page.",
    "Extract the permission check into a helper and call it from both routes.",
    "Keep the column; only hide it in the UI.",
    "Add a drop zone for files.",
    "Remove the duplicated helper from format.ts.",
    "Reset the form state after a booking.",
    "Add a column to the CSV export.",
    "Sort the table by date and remove the extra padding.",
    "Rename the helper function to formatDate.",
    "Fix the off-by-one in the table header.",
    "Add rate limiting to the login endpoint.",
    "Cache the rendered page and clear the cache when a product changes.",
    "Delete the temporary file after the test.",
    "Change the endpoint's documentation.",
    "The deploy workflow stays as it is.",
    "Remove dead code in the router and simplify the tests.",
    "Use the token from the header.",
    "Validate the signature before parsing.",
    "Bump the library and update the lockfile.",
    "Replace the hand-written parser with a table of rules.",
    "Move the role check from the route to the middleware.",
    "Split the module table.ts into two files.",
    "Clear the list of errors before validating.",
    "Remove the old log entries from the README.",
    "Fix the flaky test that deletes a user twice.",
    "Refactor: extract the login form into a component.",
    "Change the route names in the comments.",
]  # fmt: skip


def judged(question: str, tier: int) -> tuple[Verdict, Route, list[Any]]:
    async def unused(*_: Any) -> Any:
        raise AssertionError("the gate reads the report alone")

    context = GateContext(
        story=Story(id="S-1", title="A story", path="S-1.md"),
        policy=Config(decisions=DecisionsConfig(autonomy="aggressive")), base_sha="base", head_sha="head", round=0,
        changes=(), report=Report(summary="x", confidence=0.9, decisions=[DecisionWish(question=question, tier=tier)]),
        report_problem="", baseline={}, read=unused, diff=unused, run_command=unused, paths=unused,
    )  # fmt: skip
    found = asyncio.run(DecisionsGate().judge(context))
    return found.verdict, found.route, [item["tier"] for item in found.evidence]


@pytest.mark.parametrize("question", ASKED)
def test_a_question_about_such_an_act_is_asked_whatever_the_agent_calls_it(question: str) -> None:
    assert judged(question, 1) == (Verdict.FAIL, Route.ASK, [4])


@pytest.mark.parametrize("question", HARMLESS)
def test_another_question_keeps_its_tier(question: str) -> None:
    assert judged(question, 2) == (Verdict.CONCERNS, Route.PROCEED, [2])


@pytest.mark.parametrize("plan", ANNOUNCED)
def test_a_plan_that_announces_it_asks(plan: str) -> None:
    assert judge_plan(plan, "aggressive").route is Route.ASK


@pytest.mark.parametrize("plan", PLANNED)
def test_a_plan_that_only_speaks_of_it_does_not(plan: str) -> None:
    assert [act.rule for act in plan_acts(plan) if act.tier == 4] == []
