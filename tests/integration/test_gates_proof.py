"""The proof gate on real repositories with real test runners: what proves a story, what does not, what needs none."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from auto_dev.config import CommandGate, Config, GatesConfig, TamperingGate
from auto_dev.gates.base import CommandOutcome, Earlier, GateContext, Judgement
from auto_dev.gates.proof import ProofGate
from auto_dev.model import Route, Verdict
from auto_dev.report import CriterionClaim, Report
from auto_dev.stories.model import Story
from tests.gates_support import Repository

pytestmark = pytest.mark.integration

PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider"
UNITTEST = f"{sys.executable} -m unittest discover -s tests -t ."
NODE = "node --test"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

APP = "def add(a, b):\n    return a + b\n"
SUB = APP + "\n\ndef sub(a, b):\n    return a - b\n"
OLD = "from app import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
NEW = "from app import sub\n\n\ndef test_sub():\n    assert sub(3, 1) == 2\n"
IDLE = "from app import add\n\n\ndef test_zero():\n    assert add(0, 0) == 0\n"
BASE = {"app.py": APP, "test_old.py": OLD, "README.md": "# App\n"}
STORY = Story(
    id="S-1",
    title="Subtract",
    path="S-1.md",
    goal="Numbers are subtracted.",
    acceptance_criteria=("sub(3, 1) is 2",),
)


@dataclass
class Judged:
    """What the gate said, and which commands ran in which order."""

    judgement: Judgement
    runs: list[str]
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def said(self) -> str:
        return f"{self.judgement.verdict}/{self.judgement.route}"

    @property
    def strengths(self) -> list[str]:
        return [row["strength"] for row in self.rows]


@dataclass
class Stage:
    """Commits a base and work on it, and lets the gate judge. The same work again is the same commits."""

    repository: Repository
    known: dict[str, GateContext] = field(default_factory=dict)

    def judge(
        self,
        work: Mapping[str, str | None],
        *,
        base: Mapping[str, str] = BASE,
        story: Story = STORY,
        claims: Mapping[str, list[str]] | None = None,
        commands: tuple[str, ...] = (PYTEST,),
        earlier: tuple[Earlier, ...] = (),
        former: tuple[Earlier, ...] = (),
        attempts_left: int = 2,
        protected: tuple[str, ...] = (),
    ) -> Judged:
        key = repr((base, work, commands, protected))
        if key not in self.known:
            self.known[key] = self._prepare(base, work, commands, protected)
        context = self.known[key]
        criteria = [CriterionClaim(criterion=text, evidence=evidence) for text, evidence in (claims or {}).items()]
        context = replace(
            context,
            story=story,
            round=len(earlier),
            report=Report(summary="Done.", confidence=0.95, criteria=criteria),
            earlier=earlier,
            former=former,
            attempts_left=attempts_left,
        )
        self.repository.judged = context.head_sha
        self.repository.runs.clear()
        judgement = asyncio.run(ProofGate().judge(context))
        rows = [dict(item) for item in judgement.evidence if "criterion" in item]
        return Judged(judgement, list(self.repository.runs), rows)

    def _prepare(
        self, base: Mapping[str, str], work: Mapping[str, str | None], commands: Sequence[str], protected: Sequence[str]
    ) -> GateContext:
        gates = [CommandGate(name=f"tests{number or ''}", run=run) for number, run in enumerate(commands)]
        tampering = TamperingGate(protected=list(protected))
        self.repository.clear()
        base_sha = self.repository.commit(base)
        head_sha = self.repository.commit(work)
        return GateContext(
            story=STORY,
            policy=Config(gates=GatesConfig(command=gates, tampering=tampering)),
            base_sha=base_sha,
            head_sha=head_sha,
            round=0,
            changes=self.repository.changes(base_sha, head_sha),
            report=None,
            report_problem="",
            baseline=asyncio.run(self._baseline(gates, base_sha)),
            read=self.repository.read,
            diff=self.repository.diff,
            run_command=self.repository.run_command,
            trials=self.repository,
            paths=self.repository.history.paths,
            holds=self.repository.holds,
        )

    async def _baseline(self, gates: list[CommandGate], sha: str) -> dict[str, CommandOutcome]:
        return {gate.name: await self.repository.run_command(gate, sha) for gate in gates}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(Repository(tmp_path / "a repö sitory", tmp_path))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, git_config: Path) -> Iterator[Stage]:
    """One for tests that differ in the report alone: the commands run once."""
    folder = tmp_path_factory.mktemp("proof")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(git_config))
        yield Stage(Repository(folder / "repository", folder))


PASSES, NOTES, SENT_BACK = "pass/proceed", "concerns/proceed", "fail/repair"


# ── new tests, without and with the story's change ────────────────────────────────────────────────────────────────


def test_a_new_test_that_cannot_be_imported_on_the_base_proves_the_story(stage: Stage) -> None:
    judged = stage.judge({"app.py": SUB, "test_sub.py": NEW})
    assert judged.said == PASSES, judged.judgement
    assert judged.strengths == ["strong"]
    assert judged.rows[0]["proof"] == ["test_sub.py::test_sub"]
    assert judged.runs == ["tests", "tests"]  # the head, and the base with the new test


def test_a_new_test_that_passes_on_the_base_goes_back_once(stage: Stage) -> None:
    work = {"app.py": SUB, "test_zero.py": IDLE}
    judged = stage.judge(work)
    assert judged.said == SENT_BACK
    assert "1 new test passes without the change too" in judged.judgement.reason
    assert "test_zero.py::test_zero" in judged.judgement.reason
    challenge = Earlier("proof", 0, Verdict.FAIL, Route.REPAIR, "", judged.judgement.evidence)
    again = stage.judge(work, earlier=(challenge,))
    assert again.said == NOTES
    assert "passes without the change too" in again.judgement.reason


def test_a_challenge_never_leads_to_a_person(stage: Stage) -> None:
    assert stage.judge({"app.py": SUB, "test_zero.py": IDLE}, attempts_left=0).said == NOTES


def test_one_proving_test_lets_the_others_guard(stage: Stage) -> None:
    """The file that cannot be imported on the base keeps none of the others from running there."""
    judged = stage.judge({"app.py": SUB, "test_sub.py": NEW, "test_zero.py": IDLE})
    assert judged.said == PASSES
    titles = [item["title"] for item in judged.judgement.evidence]
    assert "passes without the change too, or is not run: test_zero.py::test_zero" in titles
    assert "fails without the change, passes with it: test_sub.py::test_sub" in titles


def test_a_changed_test_proves_too(stage: Stage) -> None:
    wrong = {**BASE, "app.py": APP.replace("a + b", "a + b + 1"), "test_old.py": OLD.replace("== 3", "== 4")}
    judged = stage.judge({"app.py": APP, "test_old.py": OLD}, base=wrong)
    assert judged.said == PASSES
    assert "fails without the change, passes with it: test_old.py::test_add" in str(judged.judgement.evidence)


def test_a_new_row_of_a_table_proves_too(stage: Stage) -> None:
    table = (
        "import pytest\nfrom app import {}\n\n\n@pytest.mark.parametrize('n', [{}])\n"
        "def test_double(n):\n    assert double(n) == 2 * n\n"
    )
    base = {
        "app.py": "def double(n):\n    return n + n if n > 0 else 0\n",
        "test_app.py": table.format("double", "1, 2"),
    }
    work = {"app.py": "def double(n):\n    return 2 * n\n", "test_app.py": table.format("double", "1, 2, -3")}
    judged = stage.judge(work, base=base)
    assert judged.said == PASSES, judged.judgement


def test_helpers_fixtures_and_data_go_along(stage: Stage) -> None:
    base = {
        "app.py": "def load(text):\n    return text\n",
        "tests/conftest.py": "",
        "tests/helpers.py": "X = 1\n",
        "tests/test_old.py": "def test_old():\n    pass\n",
        "pytest.ini": "[pytest]\npythonpath = . tests\n",
    }
    work = {
        "app.py": "def load(text):\n    return text.strip()\n",
        "tests/conftest.py": "import pytest\nfrom pathlib import Path\n\n\n@pytest.fixture\ndef data():\n"
        "    return (Path(__file__).parent / 'data' / 'in.txt').read_text()\n",
        "tests/helpers.py": "def want(text):\n    return text.strip()\n",
        "tests/data/in.txt": "  x  \n",
        "tests/test_load.py": "from app import load\nfrom helpers import want\n\n\ndef test_load(data):\n"
        "    assert load('  x  ') == want(data)\n\n\ndef test_data(data):\n    assert data == '  x  \\n'\n",
    }
    judged = stage.judge(work, base=base)
    assert judged.said == PASSES
    titles = [item["title"] for item in judged.judgement.evidence]
    assert "fails without the change, passes with it: tests/test_load.py::test_load" in titles
    assert "passes without the change too, or is not run: tests/test_load.py::test_data" in titles


def test_unittest_is_understood(stage: Stage) -> None:
    case = (
        "import unittest\nfrom app import {0}\n\n\nclass Test{1}(unittest.TestCase):\n"
        "    def test_{0}(self):\n        self.assertEqual({0}(3, 1), {2})\n"
    )
    base = {"app.py": APP, "tests/__init__.py": "", "tests/test_old.py": case.format("add", "Add", 4)}
    judged = stage.judge(
        {"app.py": SUB, "tests/test_sub.py": case.format("sub", "Sub", 2)}, base=base, commands=(UNITTEST,)
    )
    assert judged.said == PASSES, judged.judgement
    idle = stage.judge(
        {"app.py": SUB + "x = 1\n", "tests/test_more.py": case.format("add", "More", 4)},
        base=base,
        commands=(UNITTEST,),
    )
    assert idle.said == SENT_BACK


NODE_BASE = {
    "app.mjs": "export const add = (a, b) => a + b;\n",
    "app.test.mjs": "import { test } from 'node:test';\nimport assert from 'node:assert';\n"
    "import { add } from './app.mjs';\ntest('adds', () => { assert.strictEqual(add(1, 2), 3); });\n",
    "old.cjs": "module.exports = { twice: (n) => n + n };\n",
}
NODE_SUB = "export const add = (a, b) => a + b;\nexport const sub = (a, b) => a - b;\n"
NODE_TEST = (
    "import {{ describe, it }} from 'node:test';\nimport assert from 'node:assert';\n"
    "import {{ {0} }} from './app.mjs';\n"
    "describe('numbers', () => {{ it('{1}', () => {{ assert.strictEqual({0}(3, 1), {2}); }}); }});\n"
)


@needs_node
@pytest.mark.parametrize("reporter", ["", " --test-reporter=tap", " --test-reporter=spec"])
def test_node_is_understood(stage: Stage, reporter: str) -> None:
    """A missing export keeps the whole file from loading; a missing method fails one test of it."""
    new = NODE_TEST.format("sub", "subtracts two numbers", 2)
    judged = stage.judge({"app.mjs": NODE_SUB, "sub.test.mjs": new}, base=NODE_BASE, commands=(NODE + reporter,))
    assert judged.said == PASSES, judged.judgement
    assert judged.rows[0]["proof"] == ["sub.test.mjs::numbers > subtracts two numbers"]
    thrice = (
        "const { describe, it } = require('node:test');\nconst assert = require('node:assert');\n"
        "const old = require('./old.cjs');\n"
        "describe('old', () => {\n  it('trebles', () => { assert.strictEqual(old.thrice(2), 6); });\n"
        "  it('doubles', () => { assert.strictEqual(old.twice(2), 4); });\n});\n"
    )
    work = {"old.cjs": "module.exports = { twice: (n) => n + n, thrice: (n) => 3 * n };\n", "old.test.cjs": thrice}
    judged = stage.judge(work, base=NODE_BASE, commands=(NODE + reporter,))
    assert judged.said == PASSES
    titles = [item["title"] for item in judged.judgement.evidence]
    assert "fails without the change, passes with it: old.test.cjs::old > trebles" in titles
    assert "passes without the change too, or is not run: old.test.cjs::old > doubles" in titles


@needs_node
def test_an_idle_test_of_node_goes_back(stage: Stage) -> None:
    idle = NODE_TEST.format("add", "adds three and one", 4)
    judged = stage.judge({"app.mjs": NODE_SUB, "more.test.mjs": idle}, base=NODE_BASE, commands=(NODE,))
    assert judged.said == SENT_BACK


@needs_node
def test_only_commands_that_may_run_the_new_tests_run_on_the_base(stage: Stage) -> None:
    base = {**BASE, **NODE_BASE}
    lint = f"{sys.executable} -c 'print(1)'"
    judged = stage.judge({"app.py": SUB, "test_sub.py": NEW}, base=base, commands=(PYTEST, NODE, lint))
    assert judged.said == PASSES
    assert judged.runs.count("tests") == 2
    assert judged.runs.count("tests1") == 0
    assert (
        judged.runs.count("tests2") == 1
    )  # it might print that it runs tests, so its outcome on the head is looked at


# ── what cannot be known ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_failing_head_is_not_run_on_the_base(stage: Stage) -> None:
    claims = {STORY.acceptance_criteria[0]: ["test_sub.py::test_sub"]}
    judged = stage.judge({"app.py": SUB.replace("a - b", "a"), "test_sub.py": NEW}, claims=claims)
    assert judged.said == NOTES
    assert "does not pass with the change yet" in judged.judgement.reason
    assert judged.runs == ["tests"]


def test_a_hanging_base_proves_nothing_and_stops_nothing(stage: Stage) -> None:
    """It is ended after three times what the head took, but a minute at least."""
    outcome = CommandOutcome("tests", None, timed_out=True, tail="", duration_s=60)

    async def hangs(gate: CommandGate, paths: object) -> CommandOutcome:
        assert gate.timeout_minutes == 1
        return outcome

    stage.repository.on_base = hangs  # type: ignore[method-assign]
    assert stage.judge({"app.py": SUB, "test_sub.py": NEW}).said == NOTES


def test_without_a_command_that_runs_tests_nothing_is_asked_for(stage: Stage) -> None:
    claims = {STORY.acceptance_criteria[0]: ["test_sub.py::test_sub", "app.py:5"]}
    judged = stage.judge({"app.py": SUB, "test_sub.py": NEW}, claims=claims, commands=("true",))
    assert judged.said == NOTES
    assert "no configured command seems to run tests" in judged.judgement.reason
    assert stage.judge({"app.py": SUB + "x = 1\n"}, claims={"x": ["app.py"]}, commands=("true",)).said == NOTES


def test_the_owners_protected_tests_prove_nothing_for_the_story(stage: Stage) -> None:
    judged = stage.judge({"app.py": SUB, "accept/test_sub.py": NEW}, protected=("accept/",))
    assert judged.said == SENT_BACK
    assert judged.strengths == ["weak"]
    assert judged.runs == []


# ── what needs no proof ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("work", "title", "why"),
    [
        ({"README.md": "# App\n\nMore.\n"}, "Subtract", "no code was changed"),
        ({"setup.cfg": "[x]\n", "ci.yaml": "a: 1\n"}, "Subtract", "no code was changed"),
        ({"app.py": None, "test_old.py": None}, "Subtract", "code was only removed or moved"),
        ({"app.py": "def add(a, b):\n    return sum((a, b))\n"}, "Refactor add", "the story changes no behaviour"),
        ({"gen.py": "# Code generated by x. DO NOT EDIT.\nX = 1\n"}, "Subtract", "no code was changed"),
        ({"api_pb2.py": "X = 1\n"}, "Subtract", "no code was changed"),
        ({"test_more.py": IDLE}, "Cover add with tests", "only tests were changed"),
    ],
)
def test_a_change_that_needs_no_test_passes_and_runs_nothing(
    shared: Stage, work: dict[str, str | None], title: str, why: str
) -> None:
    story = STORY.model_copy(update={"title": title})
    name = next(iter(work))
    for claims in ({}, {STORY.acceptance_criteria[0]: [f"{name}:1"]}):
        judged = shared.judge(work, story=story, claims=claims)
        assert judged.said == PASSES, judged.judgement
        assert judged.judgement.reason == f"no new test is needed: {why}"
        assert judged.runs == []


def test_only_tests_in_a_story_about_something_else_go_back(shared: Stage) -> None:
    judged = shared.judge({"test_zero.py": IDLE})
    assert judged.said == SENT_BACK
    assert judged.runs == []


def test_a_story_without_new_tests_goes_back_once_and_costs_no_run(shared: Stage) -> None:
    judged = shared.judge({"app.py": SUB})
    assert judged.said == SENT_BACK
    assert judged.runs == []
    challenge = Earlier("proof", 0, Verdict.FAIL, Route.REPAIR, "", judged.judgement.evidence)
    again = shared.judge({"app.py": SUB}, earlier=(challenge,))
    assert again.said == NOTES
    assert "no test was added or changed" in again.judgement.reason
    assert again.runs == []


# ── what the report names ─────────────────────────────────────────────────────────────────────────────────────────

TWO = STORY.model_copy(update={"acceptance_criteria": ("sub(3, 1) is 2", "add still works as before")})


@pytest.mark.parametrize(
    "evidence",
    [
        ["test_sub.py::test_sub"], ["`test_sub` in test_sub.py"], ["test_sub.py:4"], ["test_sub.py"],
        ["./test_sub.py::test_sub passes"], ["/home/agent/work/test_sub.py::test_sub"],
        ["app.py:5", "test_sub.py::test_sub"],
    ],
)  # fmt: skip
def test_a_named_test_that_proves_is_strong(shared: Stage, evidence: list[str]) -> None:
    judged = shared.judge({"app.py": SUB, "test_sub.py": NEW}, claims={"sub(3, 1) is 2": evidence})
    assert (judged.said, judged.strengths) == (PASSES, ["strong"])
    assert judged.rows[0]["proof"] == ["test_sub.py::test_sub"]
    assert judged.rows[0]["named"] == evidence


@pytest.mark.parametrize(
    ("evidence", "why"),
    [
        ([], "its evidence is empty"),
        ([" "], "its evidence is empty"),
        (["tests/test_login.py::test_sub"], "tests/test_login.py::test_sub does not exist"),
        (["test_sub.py::test_subtracts_all"], "test_sub.py::test_subtracts_all does not exist"),
        (["src/nowhere.py:12"], "src/nowhere.py does not exist"),
        (["the function `no_such_thing` does it"], "no_such_thing is in no file"),
    ],
)
def test_empty_and_invented_evidence_is_rejected(shared: Stage, evidence: list[str], why: str) -> None:
    """Though the story is done and a test shows it: the report must be right about it."""
    judged = shared.judge({"app.py": SUB, "test_sub.py": NEW}, claims={"sub(3, 1) is 2": evidence})
    assert judged.said == SENT_BACK
    assert judged.strengths == ["none"]
    assert "1 criterion has no evidence: sub(3, 1) is 2" in judged.judgement.reason
    assert why in judged.rows[0]["why"]


def test_a_criterion_that_the_report_leaves_out_is_rejected(shared: Stage) -> None:
    story = STORY.model_copy(
        update={"acceptance_criteria": ("sub(3, 1) is 2", "the number is printed", "it is logged")}
    )
    judged = shared.judge({"app.py": SUB, "test_sub.py": NEW}, story=story, claims={"sub(3, 1) is 2": ["test_sub"]})
    assert (judged.said, judged.strengths) == (SENT_BACK, ["strong", "none", "none"])


def test_a_claim_that_is_clearly_about_no_criterion_proves_none_and_rejects_none(shared: Stage) -> None:
    story = STORY.model_copy(update={"acceptance_criteria": ("sub(3, 1) is 2", "the number is printed")})
    claims = {"sub(3, 1) is 2": ["test_sub"], "Remark": ["nowhere.py"], "Another": ["done"]}
    judged = shared.judge({"app.py": SUB, "test_sub.py": NEW}, story=story, claims=claims)
    assert judged.strengths == ["strong", "weak"]
    assert judged.rows[1]["why"] == "no claim of the report is clearly about it"


def test_a_follow_up_keeps_what_the_published_work_has_shown(shared: Stage) -> None:
    published = shared.judge({"app.py": SUB, "test_sub.py": NEW}, claims={"sub(3, 1) is 2": ["test_sub"]})
    former = Earlier("proof", 0, Verdict.PASS, Route.PROCEED, "", published.judgement.evidence)
    work = {"app.py": SUB + "\n\n# more\n"}
    later = shared.judge(work, claims={"R1": ["done"], "R2": ["done"]}, former=(former,))
    assert (later.strengths, later.rows[0]["proof"]) == (["strong"], published.rows[0]["proof"])
    assert later.judgement.route is Route.PROCEED


@pytest.mark.parametrize(
    "evidence",
    [
        ["app.py:5"],
        ["`sub` in app.py"],
        ["test_old.py::test_add"],
        ["pytest passes"],
        ["sub_numbers"],
        ["I checked it by hand"],
    ],
)
def test_what_is_there_and_proves_nothing_goes_back_once(shared: Stage, evidence: list[str]) -> None:
    work = {"app.py": SUB + "\n\nsub_numbers = sub\n"}
    judged = shared.judge(work, claims={"sub(3, 1) is 2": evidence})
    assert (judged.said, judged.strengths) == (SENT_BACK, ["weak"])
    assert judged.judgement.reason == "1 criterion rests on weak evidence: sub(3, 1) is 2"
    assert judged.rows[0]["unproven"]
    challenge = Earlier("proof", 0, Verdict.FAIL, Route.REPAIR, "", judged.judgement.evidence)
    again = shared.judge(work, claims={"sub(3, 1) is 2": evidence}, earlier=(challenge,))
    assert again.said == NOTES
    assert "0 of 1 criterion proven" in again.judgement.reason


def test_a_test_that_passes_on_both_sides_shows_that_something_stays(shared: Stage) -> None:
    claims = {"sub(3, 1) is 2": ["test_sub"], "add still works as before": ["test_zero.py::test_zero"]}
    judged = shared.judge({"app.py": SUB, "test_sub.py": NEW, "test_zero.py": IDLE}, story=TWO, claims=claims)
    assert (judged.said, judged.strengths) == (PASSES, ["strong", "weak"])


def test_a_proving_test_that_nobody_named_counts_where_it_is_clearly_about_the_criterion(shared: Stage) -> None:
    claims = {"sub(3, 1) is 2": ["test_zero.py::test_zero"], "add still works as before": ["test_old.py"]}
    judged = shared.judge({"app.py": SUB, "test_sub.py": NEW, "test_zero.py": IDLE}, story=TWO, claims=claims)
    assert judged.said == PASSES
    assert judged.rows[0]["proof"] == ["test_sub.py::test_sub"]


def test_claims_find_their_criteria_when_the_words_differ(shared: Stage) -> None:
    story = STORY.model_copy(update={"acceptance_criteria": ("The result of `sub(3, 1)` is 2.", "Errors are logged")})
    claims = {"AC2": ["app.py"], "the result of sub(3,1) is 2": ["test_sub"]}
    judged = shared.judge({"app.py": SUB, "test_sub.py": NEW}, story=story, claims=claims)
    assert judged.strengths == ["strong", "weak"]


def test_without_claims_what_was_seen_is_told_and_nothing_stops(shared: Stage) -> None:
    story = STORY.model_copy(
        update={"acceptance_criteria": ("Subtracting gives sub of two numbers", "The web page is blue")}
    )
    judged = shared.judge({"app.py": SUB, "test_sub.py": NEW}, story=story)
    assert judged.said == NOTES
    assert judged.judgement.reason.startswith("0 of 2 criteria proven; 1 test proves the change")


def test_a_hostile_report_is_judged_in_a_moment(shared: Stage) -> None:
    evidence = [
        "a_" * 5_000,
        "x" * 20_000,
        "::" * 5_000,
        "a/" * 5_000 + "b.py",
        ":1" * 5_000,
        "-- `" * 3_000,
        "\x00.py",
        "../../etc/passwd",
    ]
    judged = shared.judge({"app.py": SUB, "test_sub.py": NEW}, claims={"sub(3, 1) is 2": evidence * 10})
    assert judged.said == SENT_BACK
