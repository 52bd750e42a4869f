"""Which failing name is which test, as runners of many kinds print it."""

from __future__ import annotations

import pytest

from auto_dev.gates.added import AddedTest, is_named, runs_here, same_file
from auto_dev.gates.criteria import is_about
from auto_dev.gates.failures import parse_failures
from auto_dev.gates.syntax.read import read_suite
from auto_dev.gates.syntax.suite import Case
from auto_dev.gates.testfiles import belongs_to_tests

pytestmark = pytest.mark.unit


def added_as(file: str, name: str, package: str = "") -> AddedTest:
    leaf = name.rsplit(" > ", 1)[-1] if " > " in name else name.rsplit(".", 1)[-1]
    return AddedTest(file, Case(name, leaf, 1, "", 1, 1), fresh=True, apart=True, package=package)


PY = added_as("tests/test_a.py", "TestX.test_y")
FUNCTION = added_as("tests/test_a.py", "test_y")
JS = added_as("web/a.test.ts", "login > refuses a wrong password")
ROWS = added_as("web/a.test.ts", "adds %i and %i to ${sum}")
GO = added_as("pkg/calc/calc_test.go", "TestAdd", "example.com/m/pkg/calc")
GO_ROOT = added_as("calc_test.go", "TestAdd", "example.com/m")
RUST = AddedTest("tests/it.rs", Case("it_works", "it_works", 1, "", 1, 1), fresh=True, apart=True)
JAVA = AddedTest("src/test/java/x/CalcTest.java", None, fresh=True, apart=True)


@pytest.mark.parametrize(
    ("test", "failure", "named"),
    [
        (PY, "tests/test_a.py::TestX::test_y", True),
        (PY, "tests/test_a.py::TestX::test_y[a - b::c]", True),
        (PY, "test_a.py::TestX::test_y", True),
        (PY, "./tests/test_a.py", True),
        (PY, "tests/test_a.py::test_y", False),
        (PY, "other/test_a.py::TestX::test_y", False),
        (PY, "tests/test_ba.py", False),
        (FUNCTION, "tests/test_a.py::test_y", True),
        (FUNCTION, "tests/test_a.py::test_y_more", False),
        (FUNCTION, "tests/test_a.py::TestX::test_y", False),
        (PY, "test_y (tests.test_a.TestX.test_y)", True),
        (PY, "test_y (tests.test_a.TestX)", True),
        (PY, "test_y (test_a.TestX.test_y)", True),
        (PY, "test_y (tests.test_b.TestX.test_y)", False),
        (PY, "test_z (tests.test_a.TestX.test_z)", False),
        (PY, "setUpClass (tests.test_a.TestX)", True),
        (PY, "setUpClass (tests.test_a.TestZ)", False),
        (PY, "tests.test_a (unittest.loader._FailedTest.tests.test_a)", True),
        (PY, "test_a (unittest.loader._FailedTest)", True),
        (PY, "tests.test_b (unittest.loader._FailedTest.tests.test_b)", False),
        (PY, "tests/test_a.py: error: Module has no attribute", True),
        (JS, "web/a.test.ts > login > refuses a wrong password", True),
        (JS, "a.test.ts > login › refuses a wrong password", True),
        (JS, "web/a.test.ts > Test suite failed to run", True),
        (JS, "web/a.test.ts", True),
        (JS, "web/b.test.ts", False),
        (JS, "web/b.test.ts > refuses a wrong password", False),
        (JS, "refuses a wrong password", True),
        (JS, "login refuses a wrong password", True),
        (JS, "a wrong password", False),
        (JS, "web/a.test.ts: error TS2305: no such member", True),
        (ROWS, "web/a.test.ts > adds 1 and 2 to 3", True),
        (ROWS, "adds  and  to", False),
        (ROWS, "subtracts 1 and 2 to 3", False),
        (GO, "example.com/m/pkg/calc.TestAdd", True),
        (GO, "example.com/m/pkg/calc.TestAdd/with_a_name", True),
        (GO, "example.com/m/pkg/calc [build failed]", True),
        (GO, "pkg/calc/calc_test.go: undefined: Sub", True),
        (GO, "calc_test.go: undefined: Sub", True),
        (GO, "example.com/m/pkg/other.TestAdd", False),
        (GO, "example.com/m/pkg/calc.TestSub", False),
        (GO, "TestAdd", True),
        (GO_ROOT, "example.com/m.TestAdd", True),
        (GO_ROOT, "example.com/m/pkg/calc.TestAdd", False),
        (GO_ROOT, "example.com/m/pkg/calc [build failed]", False),
        (RUST, "it_works", True),
        (RUST, "tests/it.rs: error[E0432]: unresolved import", True),
        (RUST, "it_works_too", False),
        (JAVA, "CalcTest > adds() FAILED", True),
        (JAVA, "x.CalcTest.adds", True),
        (JAVA, "adds(x.CalcTest)", True),
        (JAVA, "x.CalcTestMore.adds", False),
    ],
)
def test_a_failure_is_the_test_that_it_names(test: AddedTest, failure: str, named: bool) -> None:
    assert is_named(test, failure) is named


def test_a_name_full_of_placeholders_is_compared_in_a_moment() -> None:
    hostile = added_as("a.test.js", "%s" * 99 + "!")
    assert not is_named(hostile, "a" * 300)


def test_the_real_output_of_unittest_for_a_file_that_cannot_be_imported() -> None:
    output = (
        "E\n======\nERROR: tests.test_new (unittest.loader._FailedTest.tests.test_new)\n------\n"
        "ImportError: Failed to import test module: tests.test_new\n"
    )
    names = parse_failures(output)
    assert names == ("tests.test_new (unittest.loader._FailedTest.tests.test_new)",)
    assert is_named(added_as("tests/test_new.py", "TestA.test_b"), names[0])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a/b.py", "b.py", True), ("./b.py", "b.py", True), ("/w/a/b.py", "a/b.py", True), ("a/b.py", "c/b.py", False),
        ("ab.py", "b.py", False), ("b.py", "b.py", True),
    ],
)  # fmt: skip
def test_paths_are_compared_as_seen_from_different_folders(one: str, other: str, same: bool) -> None:
    assert same_file(one, other) is same


@pytest.mark.parametrize(
    ("path", "belongs"),
    [
        ("tests/test_a.py", True), ("tests/conftest.py", True), ("conftest.py", True), ("tests/data/x.json", True),
        ("src/__tests__/a.ts", True), ("src/a.test.tsx", True), ("src/__snapshots__/a.snap", True),
        ("pkg/a_test.go", True),
        ("pkg/testdata/in.txt", True), ("jest.config.js", True), ("vitest.setup.ts", True), ("src/setupTests.ts", True),
        ("pytest.ini", True), ("src/a.py", False), ("package.json", False), ("pyproject.toml", False),
        ("src/testing/client.py", False), ("src/contest.py", False), ("src/latest/a.go", False),
        ("docs/tests.md", False),
        ("Tests/Helper.swift", True), ("src/lib.rs", False), ("spec/models/user_spec.rb", True),
    ],
)  # fmt: skip
def test_what_belongs_to_the_tests_goes_along_with_them(path: str, belongs: bool) -> None:
    assert belongs_to_tests(path) is belongs


@pytest.mark.parametrize(
    ("file", "source", "here"),
    [
        ("test_a.py", '@pytest.mark.skipif(sys.platform == "win32", reason="x")\ndef test_a(): assert f()', True),
        ("test_a.py", 'pytestmark = pytest.mark.skipif(os.name == "nt", reason="x")\ndef test_a(): assert f()', True),
        ("test_a.py", '@unittest.skipIf(sys.platform.startswith("win"), "x")\ndef test_a(): assert f()', True),
        ("test_a.py", 'def test_a():\n    if sys.platform == "win32":\n        pytest.skip("x")\n    assert f()', True),
        ("a.test.js", "it.skipIf(process.platform === 'win32')('a', () => { expect(f()).toBe(1); });", True),
        (
            "a_test.go",
            'func TestA(t *testing.T) {\n if runtime.GOOS == "windows" { t.Skip("x") }\n t.Fatal("x")\n}',
            True,
        ),
        ("test_a.py", '@pytest.mark.skipif(sys.platform == "linux", reason="x")\ndef test_a(): assert f()', False),
        ("test_a.py", '@pytest.mark.skipif(sys.platform != "win32", reason="x")\ndef test_a(): assert f()', False),
        ("test_a.py", '@pytest.mark.skipif(sys.platform == "win32" or x, reason="x")\ndef test_a(): assert f()', False),
        ("test_a.py", "@pytest.mark.skip\ndef test_a(): assert f()", False),
        ("test_a.py", "@pytest.mark.skipif(CI, reason='x')\ndef test_a(): assert f()", False),
    ],
)
def test_a_test_that_is_skipped_on_windows_alone_runs_here(file: str, source: str, here: bool) -> None:
    if file.endswith(".go"):
        source = "package a\n" + source
    (case,) = read_suite(file, source.encode()).cases.values()
    assert case.skips
    assert runs_here(case) is here


def test_a_test_that_holds_the_text_which_a_criterion_quotes_is_about_it() -> None:
    case = Case("test_shows", "test_shows", 1, "", 1, 1, words={"EUR 12.50": 1, "str": 1})
    shows = AddedTest("tests/test_a.py", case, fresh=True, apart=True)
    assert is_about(shows, "Amounts in statements and on the command line are written `EUR 12.50`")
    assert not is_about(shows, "Amounts in statements and on the command line are written `USD 12.50`")
    assert not is_about(shows, "Amounts are formatted by `str` in statements and on the command line")
