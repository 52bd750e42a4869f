"""Settings, scripts and hooks by which less is tested: what goes back, and what honest work must not be stopped for."""

from __future__ import annotations

import pytest

from auto_dev.gates.covers import covers
from auto_dev.model import Route
from tests.unit.test_gates_tampering import Files, judge

pytestmark = pytest.mark.unit

TESTS = {
    "tests/unit/test_a.py": "def test_a():\n    assert f() == 1\n",
    "tests/slow/test_b.py": "def test_b():\n    assert g() == 2\n",
    "src/a.test.ts": "test('a', () => { expect(f()).toBe(1); });\n",
    "src/server/b.test.ts": "test('b', () => { expect(g()).toBe(2); });\n",
    "pkg/a/a_test.go": "package a\n\nfunc TestA(t *testing.T) {\n\tassert.Equal(t, 1, F())\n}\n",
    "cmd/b/b_test.go": "package b\n\nfunc TestB(t *testing.T) {\n\tassert.Equal(t, 1, F())\n}\n",
}
VITEST = "export default defineConfig({ test: { include: ['src/**/*.test.{ts,tsx}'], %s } });\n"
CONFTEST = "import pytest\n\n@pytest.fixture\ndef one():\n    return 1\n"


def step(path: str, before: str, after: str, goal: str = "", **more: Files) -> Route:
    """The route after a change of one file beside tests that stay."""
    old = {**TESTS, path: before} if before else dict(TESTS)
    return judge(old, {**TESTS, path: after, **more.get("new", {})}, goal=goal).route


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("pyproject.toml", '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n', '[tool.pytest.ini_options]\ntestpaths = ["tests/unit"]\n'),
        ("pyproject.toml", "[tool.x]\na = 1\n", '[tool.x]\na = 1\n[tool.pytest.ini_options]\naddopts = "--ignore=tests/slow"\n'),
        ("pyproject.toml", "[tool.x]\na = 1\n", '[tool.x]\na = 1\n[tool.pytest.ini_options]\npython_functions = ["check_*"]\n'),
        ("pyproject.toml", "[tool.coverage.report]\nfail_under = 90\n", "[tool.coverage.report]\nfail_under = 70\n"),
        ("pyproject.toml", "[tool.mypy]\nstrict = true\n", "[tool.mypy]\nstrict = false\n"),
        ("pytest.ini", "", "[pytest]\naddopts = -k 'not b'\n"),
        ("setup.cfg", "[tool:pytest]\naddopts = -ra\n", "[tool:pytest]\naddopts = -ra\nnorecursedirs = slow\n"),
        ("tests/conftest.py", CONFTEST, CONFTEST + "collect_ignore = ['slow/test_b.py']\n"),
        ("vitest.config.ts", VITEST % "", VITEST % "exclude: ['src/server/**']"),
        ("vitest.config.ts", VITEST % "", VITEST.replace("src/**/", "src/") % ""),
        ("vitest.config.ts", VITEST % "coverage: { thresholds: { lines: 80 } }", VITEST % "coverage: { thresholds: { lines: 8 } }"),
        ("vitest.config.ts", VITEST % "", VITEST % "passWithNoTests: true"),
        ("jest.config.js", "module.exports = { verbose: true };\n", "module.exports = { verbose: true, testPathIgnorePatterns: ['/server/'] };\n"),
        ("jest.config.js", "module.exports = { verbose: true };\n", "module.exports = { verbose: true, testNamePattern: 'a' };\n"),
        ("playwright.config.ts", "export default { forbidOnly: true };\n", "export default { forbidOnly: false };\n"),
        ("tsconfig.json", '{ "compilerOptions": { "strict": true } }', '{ "compilerOptions": { "strict": false } }'),
    ],
)  # fmt: skip
def test_settings_by_which_less_is_tested_go_back(path: str, before: str, after: str) -> None:
    assert step(path, before, after) is Route.REPAIR


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("pyproject.toml", '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n', '[tool.pytest.ini_options]\ntestpaths = ["tests", "e2e"]\n'),
        ("pyproject.toml", '[tool.pytest.ini_options]\ntestpaths = ["tests/unit", "tests/slow"]\n', '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n'),
        ("pyproject.toml", "[tool.pytest.ini_options]\nxfail_strict = false\n", "[tool.pytest.ini_options]\nxfail_strict = true\n"),
        ("pyproject.toml", "[tool.coverage.report]\nfail_under = 70\n", "[tool.coverage.report]\nfail_under = 90\n"),
        ("pyproject.toml", "[tool.x]\na = 1\n", "[tool.x]\na = 1\n[tool.mypy]\nstrict = false\n"),
        ("pytest.ini", "[pytest]\naddopts = -ra\n", "[pytest]\naddopts = -ra --strict-markers -p no:cacheprovider\n"),
        ("pytest.ini", "", "[pytest]\ntestpaths = tests\n"),
        ("vitest.config.ts", VITEST % "", VITEST % "exclude: ['node_modules/**', 'e2e/**']"),
        ("vitest.config.ts", VITEST % "", VITEST % "setupFiles: ['src/setup.ts']"),
        ("jest.config.js", "module.exports = {};\n", "module.exports = { testPathIgnorePatterns: ['/dist/', '<rootDir>/e2e/'] };\n"),
        ("tests/conftest.py", CONFTEST, CONFTEST + "collect_ignore = ['generated']\n"),
    ],
)  # fmt: skip
def test_settings_by_which_as_much_is_tested_pass(path: str, before: str, after: str) -> None:
    assert step(path, before, after) is Route.PROCEED


def test_a_setting_that_the_story_speaks_of_or_that_moved_is_only_noted() -> None:
    before, after = (
        '[tool.pytest.ini_options]\naddopts = "-ra"\n',
        "[tool.pytest.ini_options]\naddopts = \"-m 'not slow'\"\n",
    )
    assert step("pyproject.toml", before, after) is Route.REPAIR
    assert step("pyproject.toml", before, after, goal="Leave the slow tests out by default.") is Route.PROCEED
    assert step("pyproject.toml", before, after, goal="Skip empty lines.") is Route.REPAIR
    cover = "[tool.coverage.report]\nfail_under = 90\n"
    gone = judge({**TESTS, "pyproject.toml": cover}, {**TESTS, "pyproject.toml": "[tool.x]\na = 1\n"})
    moved = {**TESTS, "pyproject.toml": "[tool.x]\na = 1\n", ".coveragerc": "[report]\nfail_under = 90\n"}
    assert gone.route is Route.REPAIR
    assert judge({**TESTS, "pyproject.toml": cover}, moved).route is Route.PROCEED


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("Makefile", "test:\n\tgo test -race ./...\n", "test:\n\tgo test -race -run 'Test[^B]' ./...\n"),
        ("Makefile", "test:\n\tgo test -race ./...\n", "test:\n\tgo test ./...\n"),
        ("Makefile", "test:\n\tgo test ./...\n", "test:\n\tgo test ./pkg/...\n"),
        ("Makefile", "test:\n\tgo test ./...\n", "test:\n\t-go test ./...\n"),
        ("Makefile", "test:\n\tgo test ./...\n", "test:\n\t@echo tested\n"),
        ("Makefile", "test:\n\tpytest tests\n", "test:\n\t# pytest tests\n"),
        ("package.json", '{"scripts": {"test": "vitest run"}}', '{"scripts": {"test": "vitest run src/a.test.ts"}}'),
        ("package.json", '{"scripts": {"test": "jest"}}', '{"scripts": {"test": "jest --passWithNoTests"}}'),
        ("package.json", '{"scripts": {"ci": "tsc && jest"}}', '{"scripts": {"ci": "tsc"}}'),
        ("deploy/release.sh", "set -e\nnpm test\ndeploy\n", "set -e\nnpm test || echo red\ndeploy\n"),
        ("deploy/release.sh", "set -e\nnpm test\ndeploy\n", "set -e\ndeploy\n"),
        ("deploy/release.sh", "set -e\nnpm test\n", "set -e\n[ -n \"$CI\" ] && exit 0\nnpm test\n"),
        ("ci.yml", "test:\n  script:\n    - pytest -q\n", "test:\n  allow_failure: true\n  script:\n    - pytest -q\n"),
        ("ci.yml", "steps:\n  - run: pytest -q\n", "steps:\n  - run: pytest -q\n    continue-on-error: true\n"),
        ("ci.yml", "steps:\n  - run: pytest -q\n", "steps:\n  - run: pytest -q -k 'not b'\n"),
        ("Makefile", "test:\n\tpytest\n", "test:\n\tpytest -m unit\n"),
        ("Makefile", "test:\n\tpytest\n", "test:\n\tPYTEST_ADDOPTS='-k a' pytest\n"),
        ("Makefile", "test:\n\tpytest\n", "test:\n\tpytest tests/unit/test_a.py::test_a\n"),
        ("tox.ini", "[testenv]\ncommands = pytest tests\n", "[testenv]\ncommands = pytest tests/unit\n"),
    ],
)  # fmt: skip
def test_scripts_by_which_less_is_tested_go_back(path: str, before: str, after: str) -> None:
    assert step(path, before, after) is Route.REPAIR


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("Makefile", "test:\n\tgo test ./...\n", "test:\n\tgo test -race ./...\n"),
        ("Makefile", "test:\n\tgo test ./...\n", "test:\n\tgo test ./...\nbench:\n\tgo test -run '^$' -bench . ./...\n"),
        ("Makefile", "test:\n\tgo test ./pkg/... ./cmd/...\n", "test:\n\tgo test ./...\n"),
        ("Makefile", "check:\n\tpytest tests\n", "test:\n\tpytest tests\ncheck: test\n\truff check\n"),
        ("package.json", '{"scripts": {"test": "jest"}}', '{"scripts": {"test": "vitest run"}}'),
        ("package.json", '{"scripts": {"test": "vitest run"}}', '{"scripts": {"test": "vitest run --coverage"}}'),
        ("deploy/release.sh", "npm test\ndeploy\n", "npm ci\nnpm test || exit 1\ndeploy\n"),
        ("deploy/release.sh", "npm test\ndeploy\n", "npm test || { echo red; exit 1; }\ndeploy --fast || true\n"),
        ("ci.yml", "steps:\n  - run: pip install pytest\n  - run: pytest -q\n", "steps:\n  - run: uv sync\n  - run: pytest -q --durations=5\n"),
    ],
)  # fmt: skip
def test_scripts_by_which_as_much_is_tested_pass(path: str, before: str, after: str) -> None:
    assert step(path, before, after) is Route.PROCEED


def test_a_command_that_moved_to_another_file_is_not_gone() -> None:
    before = {**TESTS, "Makefile": "test:\n\tpytest tests\n"}
    assert judge(
        before, {**TESTS, "Makefile": "test:\n\tjust test\n", "justfile": "test:\n  pytest tests\n"}
    ).route is (Route.PROCEED)
    assert judge(before, {**TESTS, "Makefile": "test:\n\tjust test\n"}).route is Route.REPAIR


HOOKS = [
    ("tests/conftest.py", "@pytest.fixture(autouse=True)\ndef _env(request):\n    if 'a' in request.node.name:\n        pytest.skip('no')\n"),
    ("tests/conftest.py", "def pytest_collection_modifyitems(items):\n    items[:] = [i for i in items if 'b' not in i.nodeid]\n"),
    ("tests/conftest.py", "def pytest_collection_modifyitems(config, items):\n    for item in list(items):\n        if item.name == 'test_b':\n            items.remove(item)\n"),
    ("tests/conftest.py", "def pytest_collection_modifyitems(items):\n    skip = pytest.mark.skip(reason='x')\n    for item in items:\n        item.add_marker(skip)\n"),
    ("tests/conftest.py", "@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n    outcome = yield\n    outcome.get_result().outcome = 'passed'\n"),
    ("tests/conftest.py", "def pytest_runtest_makereport(item, call):\n    call.excinfo = None\n"),
    ("tests/conftest.py", "def pytest_sessionfinish(session, exitstatus):\n    session.exitstatus = 0\n"),
    ("tests/conftest.py", "def pytest_ignore_collect(collection_path):\n    return 'slow' in str(collection_path)\n"),
    ("tests/conftest.py", "def pytest_pyfunc_call(pyfuncitem):\n    try:\n        pyfuncitem.obj()\n    except AssertionError:\n        pass\n    return True\n"),
    ("tests/conftest.py", "def pytest_load_initial_conftests(args):\n    args[:] = ['-k', 'not b'] + args\n"),
    ("tests/conftest.py", "def pytest_runtest_call(item):\n    item.obj = lambda: None\n"),
    ("tests/conftest.py", "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n"),
    ("tests/conftest.py", "import os\ndef pytest_unconfigure(config):\n    os._exit(0)\n"),
    ("pkg/a/main_test.go", "package a\n\nfunc TestMain(m *testing.M) {\n\tm.Run()\n\tos.Exit(0)\n}\n"),
    ("pkg/a/main_test.go", "package a\n\nfunc TestMain(m *testing.M) {\n\tfmt.Println(\"later\")\n}\n"),
    ("src/setup.ts", "beforeEach((ctx) => { if (process.env.CI) ctx.skip(); });\n"),
    ("src/setup.ts", "jest.retryTimes(5);\n"),
    ("src/setup.ts", "globalThis.it = it.skip;\n"),
    ("src/setup.ts", "expect.extend({ toEqual: () => ({ pass: true, message: () => '' }) });\n"),
    ("src/setup.ts", "process.on('exit', () => { process.exitCode = 0; });\n"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "added"), HOOKS)
def test_hooks_by_which_less_is_tested_go_back_once_they_are_new(path: str, added: str) -> None:
    base = {"tests/conftest.py": CONFTEST}.get(path, "")
    assert step(path, base, base + added) is Route.REPAIR
    old = {**TESTS, path: base + added}
    assert judge(old, {**old, path: base + added + "\n\n"}).route is Route.PROCEED


@pytest.mark.parametrize(
    ("path", "added"),
    [
        ("tests/conftest.py", "@pytest.fixture(autouse=True)\ndef _env(monkeypatch):\n    monkeypatch.setenv('A', '1')\n"),
        ("tests/conftest.py", "@pytest.fixture\ndef docker():\n    if not which('docker'):\n        pytest.skip('no docker')\n"),
        ("tests/conftest.py", "def pytest_collection_modifyitems(items):\n    items.sort(key=lambda i: i.name)\n    items[:] = sorted(items)\n"),
        ("tests/conftest.py", "def pytest_collection_modifyitems(items):\n    for item in items:\n        item.add_marker(pytest.mark.asyncio)\n"),
        ("tests/conftest.py", "@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n    outcome = yield\n    item.report = outcome.get_result()\n"),
        ("tests/e2e/conftest.py", "import pytest\n@pytest.fixture(autouse=True)\ndef _browser():\n    pytest.skip('none here')\n"),
        ("pkg/a/main_test.go", "package a\n\nfunc TestMain(m *testing.M) {\n\tsetup()\n\tos.Exit(m.Run())\n}\n"),
        ("src/setup.ts", "import '@testing-library/jest-dom';\nbeforeEach(() => { vi.useFakeTimers(); });\n"),
        ("src/setup.ts", "expect.extend({ toBeEven(n) { return { pass: n % 2 === 0, message: () => '' }; } });\n"),
    ],
)  # fmt: skip
def test_hooks_that_prepare_tests_pass(path: str, added: str) -> None:
    base = {"tests/conftest.py": CONFTEST}.get(path, "")
    assert step(path, base, base + added) is Route.PROCEED


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("tests", "tests/a/test_b.py", True),
        ("tests/unit", "tests/a/test_b.py", False),
        ("./pkg/...", "pkg/a/a_test.go", True),
        ("./...", "pkg/a/a_test.go", True),
        ("src/**/*.test.{ts,tsx}", "src/a/b.test.tsx", True),
        ("src/*.test.ts", "src/a/b.test.ts", False),
        ("<rootDir>/e2e/", "e2e/a.spec.ts", True),
        ("\\\\.spec\\\\.ts$", "a/b.spec.ts", True),
        ("**/?(*.)+(spec|test).[jt]s?(x)", "a/b.test.tsx", True),
        ("test_*.py", "tests/test_a.py", True),
        ("(a+)+$", "tests/test_a.py", True),
        ("slow", "tests/slow/test_b.py", True),
        ("slow", "tests/slower/test_b.py", False),
    ],
)
def test_patterns_mean_files(pattern: str, path: str, expected: bool) -> None:
    assert covers(pattern, path) is expected


@pytest.mark.parametrize("path", ["tests/unit/check_a.py", "tests/unit/_test_a.py", "docs/a.py"])
def test_tests_that_moved_into_a_file_that_pytest_does_not_take_are_gone(path: str) -> None:
    moved = {name: text for name, text in TESTS.items() if name != "tests/unit/test_a.py"}
    assert judge(TESTS, {**moved, path: TESTS["tests/unit/test_a.py"]}).route is Route.REPAIR
    assert judge(TESTS, {**moved, "tests/unit/test_z.py": TESTS["tests/unit/test_a.py"]}).route is Route.PROCEED
