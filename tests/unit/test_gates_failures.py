"""The names of what failed, out of the output of real tools."""

from __future__ import annotations

import textwrap
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_dev.gates.failures import parse_counts, parse_failures

pytestmark = pytest.mark.unit

PYTEST = """
    ============================= test session starts ==============================
    collected 4 items

    tests/test_a.py .FF                                                      [ 75%]
    =================================== FAILURES ===================================
    ____________________________________ test_x ____________________________________

        def test_x():
    >       assert 1 == 2
    E       assert 1 == 2

    tests/test_a.py:12: AssertionError
    =========================== short test summary info ============================
    FAILED tests/test_a.py::test_x - assert 1 == 2
    FAILED tests/test_a.py::TestY::test_y[a - b] - ValueError: no - really
    FAILED tests/test_a.py::test_z[hello world]
    ERROR tests/test_b.py - ModuleNotFoundError: No module named 'nope'
    ERROR tests/test_c.py::test_w - fixture 'db' not found
    ========================= 3 failed, 1 passed, 2 errors in 0.12s =========================
    """

UNITTEST = """
    ======================================================================
    FAIL: test_upper (tests.test_s.TestString.test_upper)
    ----------------------------------------------------------------------
    AssertionError: 'foo' != 'FOO'
    ======================================================================
    ERROR: test_split (tests.test_s.TestString.test_split) (i=1)
    ----------------------------------------------------------------------
    Ran 3 tests in 0.001s

    FAILED (failures=1, errors=1)
    """

GO = (
    "--- FAIL: TestAdd (0.00s)\n    --- FAIL: TestAdd/zero (0.00s)\n        add_test.go:12: got 1\nFAIL\n"
    "FAIL\texample.com/add\t0.003s\nok  \texample.com/ok\t0.1s\n"
    "FAIL\texample.com/broken [build failed]\nFAIL\n"
)

CARGO = """
    running 2 tests
    test tests::adds ... FAILED
    test tests::subtracts ... ok
    test src/lib.rs - add (line 3) ... FAILED

    failures:
        tests::adds

    test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
    """

JEST = """
    FAIL src/sum.test.js
      sum
        ✓ adds (2 ms)
        ✕ subtracts (5 ms)

      ● sum › subtracts

        expect(received).toBe(expected)

          at Object.<anonymous> (src/sum.test.js:5:20)

    FAIL src/broken.test.js
      ● Test suite failed to run

    Summary of all failing tests
    FAIL src/sum.test.js
      ● sum › subtracts

    Tests:       1 failed, 1 passed, 2 total
    """

VITEST = """
     ❯ src/sum.test.ts (2 tests | 1 failed) 5ms
       × sum > subtracts 3ms
         → expected 1 to be 2

    ⎯⎯⎯⎯⎯⎯⎯ Failed Tests 1 ⎯⎯⎯⎯⎯⎯⎯

     FAIL  src/sum.test.ts > sum > subtracts
    AssertionError: expected 1 to be 2

     Test Files  1 failed (1)
          Tests  1 failed | 1 passed (2)
    """

MOCHA = """
      sum
        ✔ adds
        1) subtracts

      1 passing (3ms)
      1 failing

      1) sum
           deep
             subtracts:
         AssertionError: no
    """

NODE = """
    ✔ adds (0.5ms)
    ✖ subtracts (1.234ms)
    ℹ tests 2
    ℹ pass 1
    ℹ fail 1

    ✖ failing tests:

    test at a.test.js:3:1
    ✖ subtracts (1.234ms)
    """

TAP = "TAP version 13\nok 1 - adds\nnot ok 2 - subtracts\nnot ok 3 - later # TODO not yet\n    not ok 1 - nested\n"

RUFF = (
    "app/a.py:3:8: F401 [*] `os` imported but unused\n"
    "app/a.py:9:8: F401 [*] `os` imported but unused\nFound 2 errors.\n"
)
RUFF_LONG = "F401 [*] `os` imported but unused\n --> app/a.py:3:8\n  |\n3 | import os\n  |\n"
MYPY = (
    'app/a.py:3: error: Name "x" already defined on line 2  [no-redef]\n'
    "app/a.py:4: note: see there\nFound 1 error in 1 file\n"
)
TSC = "src/a.ts(3,5): error TS2322: Type 'string' is not assignable to type 'number'.\n"
TSC_PRETTY = "src/a.ts:3:5 - error TS2322: Type 'string' is not assignable to type 'number'.\n"
ESLINT = (
    "\n/repo/src/a.js\n  3:5   error    'x' is not defined  no-undef\n"
    "  9:1   warning  Unexpected console  no-console\n\n✖ 2 problems (1 error, 1 warning)\n"
)
RUSTC = "error[E0308]: mismatched types\n --> src/main.rs:2:5\n  |\nnote: return type\n --> src/main.rs:1:1\n"
GO_VET = "# example.com/add\n./add.go:12:3: undefined: y\n"
BLACK = "would reformat app/a.py\nOh no!\n1 file would be reformatted.\n"
PRETTIER = "Checking formatting...\n[warn] src/a.js\n[warn] Code style issues found in the above file.\n"
GRADLE = "com.x.FooTest > testBar() FAILED\n    org.opentest4j.AssertionFailedError\n"
SUREFIRE = "[ERROR] Failures: \n[ERROR]   FooTest.testBar:23 expected: <1> but was: <2>\n"
RSPEC = "Failed examples:\n\nrspec ./spec/a_spec.rb:12 # Sum subtracts\n"
PHPUNIT = "There was 1 failure:\n\n1) Tests\\FooTest::testBar\nFailed asserting that false is true.\n"
JUNIT_XML = (
    '<testsuite><testcase classname="a.B" name="c" time="1"><failure message="x">y</failure></testcase>'
    '<testcase classname="a.B" name="d"/></testsuite>\n'
)

CASES = {
    "pytest": (
        PYTEST,
        (
            "tests/test_a.py::test_x",
            "tests/test_a.py::TestY::test_y[a - b]",
            "tests/test_a.py::test_z[hello world]",
            "tests/test_b.py",
            "tests/test_c.py::test_w",
        ),
    ),
    "pytest verbose": ("tests/a.py::test_x FAILED        [ 50%]\ntests/a.py::test_y PASSED\n", ("tests/a.py::test_x",)),
    "unittest": (
        UNITTEST,
        ("test_upper (tests.test_s.TestString.test_upper)", "test_split (tests.test_s.TestString.test_split) (i=1)"),
    ),
    "go": (GO, ("example.com/add.TestAdd", "example.com/add.TestAdd/zero", "example.com/broken [build failed]")),
    "cargo": (CARGO, ("tests::adds", "src/lib.rs - add (line N)")),
    "jest": (JEST, ("src/sum.test.js > sum › subtracts", "src/broken.test.js > Test suite failed to run")),
    "vitest": (VITEST, ("src/sum.test.ts > sum > subtracts",)),
    "mocha": (MOCHA, ("sum deep subtracts",)),
    "node:test": (NODE, ("subtracts",)),
    "tap": (TAP, ("subtracts", "nested")),
    "ruff": (RUFF, ("app/a.py: F401 [*] `os` imported but unused",) * 2),
    "ruff, long form": (RUFF_LONG, ("app/a.py: F401 [*] `os` imported but unused",)),
    "mypy": (MYPY, ('app/a.py: error: Name "x" already defined on line N [no-redef]',)),
    "tsc": (TSC, ("src/a.ts: error TS2322: Type 'string' is not assignable to type 'number'.",)),
    "tsc, pretty": (TSC_PRETTY, ("src/a.ts: error TS2322: Type 'string' is not assignable to type 'number'.",)),
    "eslint": (
        ESLINT,
        ("src/a.js: error 'x' is not defined no-undef", "src/a.js: warning Unexpected console no-console"),
    ),
    "rustc": (RUSTC, ("src/main.rs: error[E0308]: mismatched types",)),
    "go vet": (GO_VET, ("add.go: undefined: y",)),
    "black": (BLACK, ("app/a.py: not formatted",)),
    "prettier": (PRETTIER, ("src/a.js: not formatted",)),
    "gradle": (GRADLE, ("com.x.FooTest > testBar()",)),
    "surefire": (SUREFIRE, ("FooTest.testBar",)),
    "rspec": (RSPEC, ("./spec/a_spec.rb # Sum subtracts",)),
    "phpunit": (PHPUNIT, ("Tests\\FooTest::testBar",)),
    "junit xml": (JUNIT_XML, ("a.B.c",)),
    "log lines": ("ERROR root:something went wrong\nFAILED to connect\nok\n", ()),
    "a stack trace": ('  File "/a/b.py", line 3, in x\n    at f (src/x.js:3:4)\n', ()),
}


@pytest.mark.parametrize("name", CASES)
def test_failures_are_named_as_the_tool_names_them(name: str) -> None:
    output, expected = CASES[name]
    assert parse_failures(textwrap.dedent(output), root="/repo") == expected


@pytest.mark.parametrize("name", [name for name in CASES if name != "eslint"])
def test_colours_and_line_ends_change_nothing(name: str) -> None:
    output, expected = CASES[name]
    coloured = "\r\n".join(f"\x1b[31m{line}\x1b[0m" for line in textwrap.dedent(output).split("\n"))
    assert parse_failures(coloured) == expected


def test_a_known_lint_error_that_moved_has_the_same_name_and_a_duplicate_stands_twice() -> None:
    moved = parse_failures(RUFF.replace(":3:8:", ":77:1:"))
    assert moved == parse_failures(RUFF)
    assert len(parse_failures(RUFF + "app/a.py:30:8: F401 [*] `os` imported but unused\n")) == 3


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        (PYTEST, (1, 5)),
        ("5 failed in 0.10s\n", (0, 5)),
        ("=== 2 failed, 3 warnings, 1 error in 1.00s ===\n", (0, 3)),
        ("3 passed, 1 warning in 0.10s\n", (3, 0)),
        ("no tests ran in 0.01s\n", None),
        (UNITTEST, (1, 2)),
        (CARGO, (1, 2)),
        (JEST, (1, 1)),
        (VITEST, (1, 1)),
        (MOCHA, (1, 1)),
        (NODE, (1, 1)),
        ("Tests: see below\n", None),
        ("", None),
    ],
)
def test_counts_of_summaries(output: str, counts: tuple[int, int] | None) -> None:
    assert parse_counts(textwrap.dedent(output)) == counts


WORDS = st.sampled_from(
    [
        "FAILED ", "ERROR ", "a.py::b", " - ", "[", "]", "--- FAIL: ", "FAIL\t", "FAIL ", "x.test.js",
        " > ", "✕ ", "● ", "not ok ",
        "1 failing\n", "1) ", ":", "test ", " ... FAILED", "a.py:1:2: ", "error", "  3:5  error  ", "-->",
        "<testcase ", ">", "<failure",
        "1 failed, ", "in 0.1s", "Ran 3 tests in 1s\n", "FAILED (failures=", "\n", "\n    ", "\x1b[3", "\ud800",
        "\0", "Tests: ", "9" * 30,
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.text() | st.lists(WORDS, max_size=30).map("".join))
def test_no_output_crashes_the_parsers_and_names_are_clean(output: str) -> None:
    names = parse_failures(output)
    parse_counts(output)
    for name in names:
        assert name == name.strip() != ""
        assert "\n" not in name
        assert len(name) <= 300
        name.encode("utf-8")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=1, max_size=8, unique=True),
    st.text(st.characters(blacklist_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=30),
)
def test_every_failed_test_of_a_pytest_summary_is_named(names: list[str], message: str) -> None:
    lines = [f"FAILED tests/test_{name}.py::test_{name} - {message}" for name in names]
    found = parse_failures("\n".join(lines))
    assert found[: len(names)] == tuple(f"tests/test_{name}.py::test_{name}" for name in names)


@pytest.mark.parametrize(
    "hostile",
    [
        "a" * 4_000_000,
        "x:1:1: y\n" * 200_000,
        "(a" * 1_000_000,
        "A > " * 500_000,
        "1 failed, " * 200_000,
        "1 failing\n" + " 1) x\n" * 100_000,
        "<testcase " * 200_000,
        "test " * 300_000 + "... FAILED",
        "● " * 300_000,
    ],
    ids=lambda text: text[:8],
)
def test_hostile_output_is_read_in_a_moment(hostile: str) -> None:
    began = time.monotonic()
    parse_failures(hostile)
    parse_counts(hostile)
    assert time.monotonic() - began < 10
