"""All gates on real changes in real repositories, with real commands in clean checkouts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from auto_dev.config import CommandGate, Config, GatesConfig
from auto_dev.gates.base import Clash, GateContext
from auto_dev.gates.baseline import judge_baseline
from auto_dev.gates.credentials.scanner import Credentials
from auto_dev.gates.engine import Ruled, run_gates
from auto_dev.gates.leaks import find_leaks
from auto_dev.gates.question import question_for
from auto_dev.gates.registry import gates_for
from auto_dev.gates.settle import settle
from auto_dev.model import Route, Verdict
from auto_dev.place import cache_folder
from auto_dev.report import Report
from auto_dev.stories.model import Story
from tests.gates_support import Repository

pytestmark = pytest.mark.integration

STORY = Story(id="S-1", title="Subtract", path="plans/S-1.md", acceptance_criteria=("sub(3, 1) is 2",))
REPORT = Report(summary="Done.", confidence=0.95)
TESTS = f"{sys.executable} -m unittest discover -s tests -t ."

CALC = "def add(a, b):\n    return a + b\n"
TEST_CALC = """import unittest

from calc import add


class TestAdd(unittest.TestCase):
    def test_adds(self):
        self.assertEqual(add(1, 2), 3)

    def test_zero(self):
        self.assertEqual(add(0, 0), 0)
"""
BROKEN = "import unittest\n\n\nclass TestOld(unittest.TestCase):\n    def test_old(self):\n        self.fail('known')\n"


async def no_clashes() -> Sequence[Clash]:
    return ()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "a repö sitory", tmp_path)


Judge = Callable[..., list[Ruled]]


@pytest.fixture
def judge(repository: Repository) -> Judge:
    """Commit ``base``, then ``work``, and run all gates; the gates' rulings."""

    def run(
        base: Mapping[str, str],
        work: Mapping[str, str | bytes | None],
        *,
        command: str = TESTS,
        report: Report | None = REPORT,
        by_hand: Callable[[Path], None] | None = None,
        custom: Sequence[str] = (),
    ) -> list[Ruled]:
        policy = Config(gates=GatesConfig(command=[CommandGate(name="tests", run=command)], custom=list(custom)))
        base_sha = repository.commit(
            {"calc.py": CALC, "tests/test_calc.py": TEST_CALC, "tests/__init__.py": "", **base}
        )
        if by_hand is not None:
            by_hand(repository.root)
        head_sha = repository.commit(work)
        credentials = Credentials(cache_folder(repository.scratch) / "credential-rules")
        context = GateContext(
            story=STORY,
            policy=policy,
            base_sha=base_sha,
            head_sha=head_sha,
            round=0,
            changes=repository.changes(base_sha, head_sha),
            report=report,
            report_problem="",
            baseline={},
            read=repository.read,
            diff=repository.diff,
            run_command=repository.run_command,
            paths=repository.history.paths,
            clashes=no_clashes,
            leaks=partial(find_leaks, repository.history, base_sha, head_sha, credentials=credentials),
            trials=repository,
        )

        async def all_gates() -> list[Ruled]:
            outcome = await repository.run_command(policy.gates.command[0], base_sha)
            assert judge_baseline([outcome]).route is Route.PROCEED
            return await run_gates(gates_for(policy), replace(context, baseline={"tests": outcome}), attempts_left=2)

        return asyncio.run(all_gates())

    return run


def said(ruled: list[Ruled]) -> dict[str, str]:
    return {one.gate: f"{one.judgement.verdict.value}/{one.judgement.route.value}" for one in ruled}


FINE = dict.fromkeys(
    ("secrets", "empty", "scope", "tampering", "critical", "integration", "tests", "proof", "decisions", "confidence"),
    "pass/proceed",
)
GOOD_TEST = TEST_CALC.replace("import add", "import add, sub") + (
    "\n\nclass TestSub(unittest.TestCase):\n    def test_subtracts(self):\n        self.assertEqual(sub(3, 1), 2)\n"
)
SUB = CALC + "\n\ndef sub(a, b):\n    return a - b\n"


def test_good_work_passes_every_gate(judge: Judge) -> None:
    ruled = judge({}, {"calc.py": SUB, "tests/test_calc.py": GOOD_TEST})
    assert said(ruled) == FINE
    assert next(one for one in ruled if one.gate == "proof").judgement.reason == (
        "1 of 1 criterion proven; 1 test proves the change: failing without it, passing with it"
    )
    assert settle(ruled, 2).route is Route.PROCEED


def test_a_newly_failing_test_goes_back_with_its_name_and_the_output(judge: Judge) -> None:
    ruled = judge({}, {"calc.py": SUB.replace("a - b", "a + b"), "tests/test_calc.py": GOOD_TEST})
    assert said(ruled) == FINE | {"tests": "fail/repair", "proof": "concerns/proceed"}
    settled = settle(ruled, 1)
    assert settled.route is Route.REPAIR
    assert "test_subtracts" in settled.reasons[0]
    assert "AssertionError: 4 != 2" in settled.findings


def test_a_known_failure_is_not_held_against_the_work(judge: Judge) -> None:
    ruled = judge({"tests/test_old.py": BROKEN}, {"calc.py": SUB, "tests/test_calc.py": GOOD_TEST})
    assert said(ruled) == FINE | {"tests": "concerns/proceed"}
    worse = judge({}, {"calc.py": CALC.replace("a + b", "a")})
    assert said(worse)["tests"] == "fail/repair"


def test_a_fixed_known_failure_is_told(judge: Judge) -> None:
    ruled = judge(
        {"tests/test_old.py": BROKEN},
        {"tests/test_old.py": BROKEN.replace("self.fail('known')", "self.assertEqual(1 + 1, 2)")},
    )
    assert next(one for one in ruled if one.gate == "tests").judgement.reason == "passes; 1 known failure is fixed"


def test_a_deleted_test_goes_back_though_the_commands_pass(judge: Judge) -> None:
    ruled = judge(
        {"tests/test_more.py": TEST_CALC.replace("TestAdd", "TestMore").replace("test_", "test_more_")},
        {"tests/test_more.py": None},
    )
    assert said(ruled)["tampering"] == "fail/repair"
    assert said(ruled)["tests"] == "pass/proceed"
    assert "test file deleted" in settle(ruled, 1).findings


def test_a_test_file_that_git_sees_as_renamed_passes(judge: Judge) -> None:
    ruled = judge({}, {"tests/test_calc.py": None, "tests/test_sums.py": TEST_CALC + "\n# moved\n"})
    assert said(ruled) == FINE | {"proof": "concerns/proceed"}  # nothing of the story was done


def test_a_protected_path_asks_and_no_command_runs(judge: Judge, repository: Repository) -> None:
    ruled = judge({}, {"calc.py": SUB, ".github/workflows/ci.yml": "on: push\n"})
    assert said(ruled)["scope"] == "fail/ask"
    assert "tests" not in said(ruled)
    assert repository.runs == ["tests"]  # the baseline alone
    question = question_for(settle(ruled, 2), STORY)
    assert question.kind == "scope"
    assert question.evidence[0]["file"] == ".github/workflows/ci.yml"


def test_links_out_of_the_repository_and_submodules_ask(judge: Judge) -> None:
    def by_hand(root: Path) -> None:
        (root / "way out").symlink_to("../../etc/passwd")
        (root / "fine").symlink_to("calc.py")
        (root / "sub").mkdir()
        for args in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "x")):
            subprocess.run(("git", *args), cwd=root / "sub", check=True, timeout=60)

    ruled = judge({}, {"calc.py": SUB}, by_hand=by_hand)
    scope = next(one for one in ruled if one.gate == "scope").judgement
    assert scope.route is Route.ASK
    assert {item["file"] for item in scope.evidence} == {"sub", "way out"}


def test_no_change_asks(judge: Judge) -> None:
    ruled = judge({}, {})
    assert said(ruled)["empty"] == "fail/ask"
    assert "tests" not in said(ruled)


def test_hostile_sources_are_judged_without_a_crash(judge: Judge) -> None:
    ruled = judge(
        {"tests/test_b.py": TEST_CALC.replace("TestAdd", "TestB")},
        {
            "tests/test_b.py": b"\xff\xfe\x00def test(",
            "tests/test_huge.py": b"x = 1\n" * 900_000,
            "tests/test_binary.py": bytes(range(256)) * 50,
            "web/a.test.ts": b"it('a', () => {" * 20_000,
            "na\xefve \u200b name.py": b"x = 1\n",
        },
        command=f"{sys.executable} -c pass",
    )
    assert said(ruled)["tampering"] == "fail/repair"
    assert said(ruled)["scope"] == "fail/ask"


def test_pytest_is_understood_as_it_speaks_today(repository: Repository, judge: Judge) -> None:
    pytest_run = f"{sys.executable} -m pytest -q -p no:cacheprovider"
    rows = "import pytest\n@pytest.mark.parametrize('s', ['a - b', 'c'])\ndef test_s(s):\n    assert s == 'c'\n"
    base = {"tests/test_x.py": rows}
    ruled = judge(base, {"calc.py": SUB.replace("a + b", "a * b")}, command=pytest_run)
    tests = next(one for one in ruled if one.gate == "tests").judgement
    assert (tests.verdict, tests.route) == (Verdict.FAIL, Route.REPAIR)
    assert tests.reason == "1 new failure: tests/test_calc.py::TestAdd::test_adds"


@pytest.mark.parametrize(
    ("files", "options", "says"),
    [
        ({"README.md": "x"}, "", "no tests yet"),
        ({"test_a.py": "import nope\n"}, "", "interrupted"),
        ({"test_a.py": "def test_a(): pass\n"}, "--no-such-option", "called wrongly"),
        ({"test_a.py": "def test_a(): pass\n"}, "no/such/folder", "called wrongly"),
        ({"test_a.py": "def test_a(): assert 0\n"}, "", "every test fails (1 of 1)"),
        ({"test_a.py": "def test_a(): assert 0\ndef test_b(): pass\n"}, "", "1 known failure"),
        ({"test_a.py": "import os\ndef test_a(): os.abort()\n"}, "", "ended by a signal"),
    ],
)
def test_the_baseline_tells_an_unusable_pytest_from_a_failing_one(
    repository: Repository, files: dict[str, str], options: str, says: str
) -> None:
    sha = repository.commit(files)
    gate = CommandGate(name="tests", run=f"{sys.executable} -m pytest -q -p no:cacheprovider {options}")
    outcome = asyncio.run(repository.run_command(gate, sha))
    assert says in judge_baseline([outcome]).reason, outcome


def test_the_custom_gate_of_the_documentation_works(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "gates.md").read_text("utf-8")
    module = ModuleType("my_package")
    exec(text.split("```python\n")[1].split("```")[0], vars(module))
    monkeypatch.setitem(sys.modules, "my_package", module)

    unlicensed = judge({}, {"new.py": "x = 1\n"}, custom=["my_package:LicenseGate"])
    assert unlicensed[-1].gate == "license"
    assert (unlicensed[-1].judgement.verdict, unlicensed[-1].judgement.route) == (Verdict.FAIL, Route.REPAIR)
    assert unlicensed[-1].judgement.evidence[0]["file"] == "new.py"
    licensed = judge({}, {"other.py": "# SPDX-License-Identifier: MIT\n"}, custom=["my_package:LicenseGate"])
    assert licensed[-1].judgement.verdict is Verdict.PASS
